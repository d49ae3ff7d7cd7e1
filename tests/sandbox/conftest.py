"""A running sandbox, and a partner who uses it."""

import aiohttp
import pytest

from gateway.sandbox.app import Sandbox, start
from gateway.sandbox.keys import SandboxKeys
from tests.sandbox.partner import Partner


@pytest.fixture(scope="session")
def keys() -> SandboxKeys:
    """Keys that take a while to make, once for all tests."""
    return SandboxKeys.generate()


@pytest.fixture
async def sandbox(keys, clock):
    """A sandbox on a free port."""
    running: Sandbox = await start(port=0, keys=keys, clock=clock)
    yield running
    await running.close()


@pytest.fixture
async def partner(sandbox):
    """A partner of the sandbox."""
    async with aiohttp.ClientSession() as http:
        yield Partner(http, sandbox.url)
