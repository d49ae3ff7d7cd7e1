"""Attacks are tried on both event loops: uvloop serves, asyncio is the reference."""

import asyncio

import uvloop


def pytest_asyncio_loop_factories(config, item):
    """Run every asynchronous test of this folder twice."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
