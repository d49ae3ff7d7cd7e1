"""The admin application, with keepers of its promises that do as a test wants."""

import pytest

from gateway.admin.views import admin_app
from tests.admin.doubles import (
    AUTHORIZED,
    TOKEN,
    Console,
    Desk,
    Explainer,
    Reloader,
    keeper,
)


@pytest.fixture
def explainer():
    """Explains every request alike."""
    return Explainer()


@pytest.fixture
def desk():
    """Holds no mark yet."""
    return Desk()


@pytest.fixture
def console():
    """Tells of one process that is well."""
    return Console()


@pytest.fixture
def reloader():
    """The configuration of the files is in force."""
    return Reloader()


@pytest.fixture
def application(explainer, desk, console, reloader):
    """Give the application; `options` are those of `admin_app`, and the token."""

    def make(token=TOKEN, **options):
        parts = {"explainer": explainer, "desk": desk, "console": console}
        parts["reloader"] = reloader
        return admin_app(**{**parts, "keeper": keeper(token), **options})

    return make


@pytest.fixture
async def admin(aiohttp_client, application):
    """A client that has the admin token."""
    return await aiohttp_client(application(), headers=AUTHORIZED)


@pytest.fixture
async def anybody(aiohttp_client, application):
    """A client on loopback that has no token."""
    return await aiohttp_client(application())
