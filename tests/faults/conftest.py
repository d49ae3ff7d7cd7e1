"""The neighbours of the gateways under test, and the loop they all run on."""

import asyncio

import pytest
import uvloop

from tests.faults.back import behaving
from tests.faults.stage import knowing
from tests.stores.servers import serving


def pytest_asyncio_loop_factories(config, item):
    """Run the tests of this folder on the loop that serves.

    One also runs on the reference, which counts what is unwritten otherwise.
    """
    loops = {"uvloop": uvloop.new_event_loop}
    if "reads_slowly" in item.name:
        return {**loops, "asyncio": asyncio.new_event_loop}
    return loops


@pytest.fixture
async def provider():
    """A provider that answers at once."""
    async with knowing() as running:
        yield running


@pytest.fixture
async def back():
    """An upstream that answers at once."""
    async with behaving() as running:
        yield running


@pytest.fixture(scope="module")
def valkey():
    """A store."""
    with serving("valkey") as server:
        yield server
