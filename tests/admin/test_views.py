import pytest

from gateway.admin.openapi import openapi
from gateway.admin.pages import PAGES
from gateway.admin.readings import READABLE
from tests.admin.doubles import AUTHORIZED

READ = sorted((READABLE | PAGES) - {"/static/"})


@pytest.mark.parametrize("path", READ)
async def test_what_may_be_read_is_there(anybody, path):
    """For loopback, without the token."""
    async with anybody.get(path) as answer:
        assert 200 == answer.status
        expected = "application/json" if path in READABLE else "text/html"
        assert expected == answer.content_type
        assert "no-store" == answer.headers["Cache-Control"]


@pytest.mark.parametrize("path", READ)
@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "10.0.0.1"},
        {"Forwarded": "for=10.0.0.1"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic d3Jvbmc6d3Jvbmc="},
    ],
)
async def test_nobody_else_may_read_it(anybody, path, headers):
    """What a proxy passes on is not from here; who brings a wrong token is told."""
    async with anybody.get(path, headers=headers) as answer:
        assert 401 == answer.status
    async with anybody.get(path, headers={**headers, **AUTHORIZED}) as answer:
        assert 200 == answer.status


async def test_everything_else_needs_the_token(anybody, application):
    """Whatever is added to the application is closed until somebody opens it."""
    paths = {
        (route.method, route.resource.canonical)
        for route in application().router.routes()
        if route.resource is not None
    }
    closed = {
        (method, path.replace("{id}", "0"))
        for method, path in paths
        if method not in ("GET", "HEAD") or path not in READ
    } - {("GET", "/static/{name}"), ("HEAD", "/static/{name}")}

    assert len(closed) > 8
    for method, path in closed:
        headers = {"Origin": str(anybody.make_url("")).rstrip("/")}
        async with anybody.request(
            method, path, headers=headers, allow_redirects=False
        ) as answer:
            assert 401 == answer.status, (method, path)


async def test_without_a_configured_token_there_is_only_reading(
    aiohttp_client, application
):
    """On loopback; explaining and changing are off."""
    client = await aiohttp_client(application(token=None))
    for path, status in (("/", 200), ("/api/overview", 200), ("/sign-in", 403)):
        async with client.get(path, allow_redirects=False) as answer:
            assert status == answer.status
    async with client.post("/api/explain", json={}) as answer:
        assert 403 == answer.status


async def test_the_description_knows_every_resource(application):
    """And none that is not there."""
    there = {
        (route.method.lower(), route.resource.canonical)
        for route in application().router.routes()
        if route.resource is not None
        and route.resource.canonical.startswith("/api/")
        and route.method != "HEAD"
    }
    told = {
        (method, path)
        for path, methods in openapi()["paths"].items()
        for method in methods
    }

    assert there == told
