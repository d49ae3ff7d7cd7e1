"""The neighbours of the gateways under test, and the loop they all run on."""

import pytest
import uvloop

from tests.faults.back import behaving
from tests.faults.stage import knowing
from tests.stores.servers import serving


def pytest_asyncio_loop_factories(config, item):
    """Run every test of this folder on the loop that serves."""
    return {"uvloop": uvloop.new_event_loop}


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
