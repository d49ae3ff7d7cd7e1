"""Attacks are tried on both event loops: uvloop serves, asyncio is the reference."""

import asyncio

import uvloop


def pytest_asyncio_loop_factories(config, item):
    """Run every asynchronous test of this folder twice, but what takes long."""
    served = {"uvloop": uvloop.new_event_loop}
    if item.path.name in {"test_floods.py", "test_nginx.py"}:
        return served
    return {"asyncio": asyncio.new_event_loop, **served}
