import asyncio
import contextlib
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from grpc_health.v1 import health_pb2

from gateway.app import App
from gateway.config.addresses import Address
from gateway.server import CannotListen, Server, turn_away
from gateway.tasks import running, spawn
from gateway.wire.deadlines import Deadlines
from tests.facts.doubles import Cupboard
from tests.wired import ADMIN_TOKEN, listening, wired

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n"
REQUEST = b"GET /song HTTP/1.1\r\nHost: h\r\n\r\n"
NAMES = ("proxy", "status", "admin")


def public(port: int = 9, more: str = "") -> str:
    """Write a configuration with one public route to a port of this machine."""
    return f"""
upstreams: {{api: {{targets: ["http://127.0.0.1:{port}"]}}}}
routes: [{{id: song, match: {{path: /song}}, access: public, upstream: api}}]
{more}
"""


@asynccontextmanager
async def built(text: str, folder: Path) -> AsyncIterator[tuple[Server, App]]:
    """Build a server that is not open yet; it is closed in any case."""
    async with wired(text, folder) as app:
        server = Server(app, Deadlines(asyncio.get_running_loop()))
        try:
            yield server, app
        finally:
            await server.close()


@asynccontextmanager
async def serving(text: str, folder: Path) -> AsyncIterator[tuple[Server, App]]:
    """Run a server."""
    async with built(text, folder) as (server, app):
        await server.start()
        yield server, app


class Singer:
    """An upstream that sings half a song, and the other half at the test's word."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.begun = asyncio.Event()
        self.port = 0

    async def sing(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(HEAD + b"half")
            self.begun.set()
            await self.go.wait()
            writer.write(b"half")
            await reader.read()
        writer.close()


@pytest.fixture
async def singer():
    """A running upstream."""
    singer = Singer()
    listener = await asyncio.start_server(singer.sing, "127.0.0.1", 0)
    singer.port = listener.sockets[0].getsockname()[1]
    yield singer
    singer.go.set()
    listener.close()


@asynccontextmanager
async def connected(
    server: Server,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect to the clients' door."""
    port = server.addresses["proxy"].port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def answered(line: socket.socket) -> bytes:
    """Send a request on a connection that is there; give all that comes."""
    line.sendall(REQUEST)
    reader, writer = await asyncio.open_connection(sock=line)
    try:
        async with asyncio.timeout(5):
            return await reader.read()
    finally:
        writer.close()


async def knocked(port: int, after: float) -> str:
    """Come after so many seconds; tell how it went."""
    await asyncio.sleep(after)
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return "refused"
    writer.write(b"GET /other HTTP/1.1\r\nHost: h\r\n\r\n")
    try:
        answer = await reader.read()
    except ConnectionResetError:
        return "reset"
    finally:
        writer.close()
    return "served" if answer.startswith(b"HTTP/1.1 404 ") else repr(answer)


@asynccontextmanager
async def half_heard(
    server: Server, singer: Singer
) -> AsyncIterator[asyncio.StreamReader]:
    """Connect, and hear the first half of the song."""
    async with connected(server) as (reader, writer):
        writer.write(REQUEST)
        async with asyncio.timeout(5):
            await reader.readuntil(b"\r\n\r\nhalf")
        assert singer.begun.is_set()
        yield reader


async def told(server: Server, name: str, path: str, **options: Any) -> tuple[int, str]:
    """Ask one of the other listeners; gives the status and the text."""
    url = f"http://{server.addresses[name]}{path}"
    method = "POST" if "json" in options else "GET"
    async with (
        aiohttp.ClientSession() as http,
        http.request(method, url, **options) as answer,
    ):
        return answer.status, await answer.text()


async def probes(server: Server) -> dict[str, int]:
    """Ask every probe; gives the statuses."""
    paths = ("/livez", "/startupz", "/readyz")
    return {path: (await told(server, "status", path))[0] for path in paths}


def refuses(port: int) -> bool:
    """Tell whether nobody takes connections there."""
    with socket.socket() as line:
        return line.connect_ex(("127.0.0.1", port)) != 0


async def is_refused(port: int) -> bool:
    """Tell whether a client is refused, once it has an answer at all."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


async def until(met: Callable[[], object]) -> None:
    """Let the loop run until something is true."""
    async with asyncio.timeout(5):
        while not met():  # noqa: ASYNC110 -- many things have no event
            await asyncio.sleep(0)


def events(folder: Path) -> list[dict[str, Any]]:
    """Read the log of a server that is closed."""
    lines = (folder / "events.log").read_text().splitlines()
    return [json.loads(line) for line in lines]


def cut(folder: Path) -> int:
    """Read how many exchanges the end of a server has cut."""
    ends = (each["cut"] for each in events(folder) if each["event"] == "stopped")
    told: int = next(ends)
    return told


@pytest.fixture
def busy():
    """A port that somebody has."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


# ------------------------------------------------------------------------- opening


async def test_probes_are_answered_before_the_clients_door_opens(tmp_path, busy):
    """Alive from the start, and started only when clients can come."""
    text = listening(proxy=busy) + public()
    async with built(text, tmp_path) as (server, _):
        with pytest.raises(CannotListen):
            await server.start()

        assert {"/livez": 200, "/startupz": 503, "/readyz": 503} == await probes(server)


async def test_once_open_it_is_ready(tmp_path):
    """Every probe says so."""
    async with serving(public(), tmp_path) as (server, _):
        assert {"/livez": 200, "/startupz": 200, "/readyz": 200} == await probes(server)
        assert server.started
        assert "<Server: serving, 0 connections>" == repr(server)


@pytest.mark.parametrize("name", NAMES)
async def test_a_busy_port_is_told_by_the_name_of_its_listener(tmp_path, busy, name):
    """With the address, the reason, and what to do; what was opened is closed."""
    text = listening(**{name: busy}) + public()
    async with built(text, tmp_path) as (server, _):
        with pytest.raises(CannotListen) as caught:
            await server.start()
        opened = [address.port for address in server.addresses.values()]

    message = str(caught.value)
    address = f"127.0.0.1:{busy}"
    assert message.startswith(f"listen.{name}: cannot listen on {address}: ")
    assert "the port is in use" in message
    assert f"--{name}-port" in message
    assert {"status": 0, "admin": 1, "proxy": 2}[name] == len(opened)
    assert all(map(refuses, opened))
    assert frozenset() == running()


async def test_an_address_that_is_not_ours_is_told_as_such(tmp_path):
    """Another port would not help here."""
    text = 'listen: {status: "192.0.2.1:0"}\n' + public()
    async with built(text, tmp_path) as (server, _):
        with pytest.raises(CannotListen) as caught:
            await server.start()

    assert "listen.status: cannot listen on 192.0.2.1:0: " in str(caught.value)
    assert "in use" not in str(caught.value)


async def test_the_log_tells_the_ports_that_the_system_chose(tmp_path):
    """Port 0 is of no use to anybody who looks for the door."""
    async with serving(public(), tmp_path) as (server, _):
        expected = {name: str(server.addresses[name]) for name in NAMES}
        ports = {address.port for address in server.addresses.values()}

    event = next(each for each in events(tmp_path) if each["event"] == "listening")
    assert expected == {name: event[name] for name in NAMES}
    assert 3 == len(ports - {0})


async def test_the_clients_door_leads_through_the_gateway(tmp_path, singer):
    """A request is relayed; what no route matches is refused."""
    singer.go.set()
    async with serving(public(singer.port), tmp_path) as (server, _):
        song = await told(server, "proxy", "/song")
        status, _text = await told(server, "proxy", "/other")

    assert (200, "halfhalf") == song
    assert 404 == status


async def test_the_admin_listener_wants_the_configured_token(tmp_path):
    """And explains by the rules that are in force."""
    body = {"method": "GET", "url": "http://h/song"}
    bearer = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    async with serving(public(), tmp_path) as (server, _):
        refused, _text = await told(server, "admin", "/api/explain", json=body)
        status, text = await told(
            server, "admin", "/api/explain", json=body, headers=bearer
        )

    assert 401 == refused
    assert 200 == status
    assert ("song", "allow") == (
        json.loads(text)["route"]["id"],
        json.loads(text)["decision"],
    )


async def test_the_status_listener_shows_the_metrics_of_this_server(tmp_path):
    """Its own state among them; memory is no server that could be away."""
    async with serving(public(), tmp_path) as (server, _):
        _, text = await told(server, "status", "/metrics")

    assert "\ngateway_draining 0.0\n" in text
    assert "\ngateway_redis_up" not in text


# --------------------------------------------------------------------------- the store


async def test_a_lost_store_is_told_once_and_so_is_its_return(tmp_path):
    """It is looked at every few seconds; nobody wants a line each time."""
    store = Cupboard()
    async with built(public(), tmp_path) as (server, app):
        app.generation.store = store
        await server.start()
        seen = []
        for fails in (False, True, True, False, False):
            store.fails = fails
            await server._check_store()
            up = app.metrics_registry.get_sample_value("gateway_redis_up")
            seen.append((up, server.conditions()["store"]))

    assert [(1, True), (0, False), (0, False), (1, True), (1, True)] == seen
    names = [(each["event"], each["level"]) for each in events(tmp_path)]
    assert [("store_lost", "warning"), ("store_back", "info")] == [
        each for each in names if "store" in each[0]
    ]


async def test_a_lost_store_keeps_nobody_from_starting(tmp_path):
    """Every replica would be away at once, for a trouble that all share."""
    async with built(public(), tmp_path) as (server, app):
        store = Cupboard()
        store.fails = True
        app.generation.store = store
        await server.start()
        status, text = await told(server, "status", "/readyz?verbose")

    assert 200 == status
    assert "[!] store degraded" in text


# ----------------------------------------------------------------------------- ending


async def test_what_was_begun_is_finished(tmp_path, singer):
    """Not ready, no new connections, the song to its end, and nobody is cut."""
    async with serving(public(singer.port), tmp_path) as (server, app):
        async with half_heard(server, singer) as reader:
            draining = spawn(server.drain(), name="drain")
            await until(lambda: server.draining)
            ready = (await probes(server))["/readyz"]
            shown = app.metrics_registry.get_sample_value("gateway_draining")
            told_of = repr(server)
            # Who knocks now is not heard; by the second knock the door is closed.
            assert await is_refused(server.addresses["proxy"].port)
            assert not draining.done()
            singer.go.set()
            async with asyncio.timeout(5):
                rest = await reader.read()
        async with asyncio.timeout(5):
            await draining
        await server.close()

    assert b"half" == rest
    assert (503, 1) == (ready, shown)
    assert "<Server: draining, 1 connections>" == told_of
    assert 0 == cut(tmp_path)


async def test_who_is_already_queued_is_served_once_more(tmp_path, singer):
    """And told to come no more."""
    singer.go.set()
    async with serving(public(singer.port), tmp_path) as (server, _):
        # The loop does not turn between this and the drain: the kernel has queued them.
        port = server.addresses["proxy"].port
        queued = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
        draining = spawn(server.drain(), name="drain")
        answers = await asyncio.gather(*map(answered, queued))
        async with asyncio.timeout(5):
            await draining

    for answer in answers:
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"\r\nconnection: close\r\n" in answer.lower()


async def test_nobody_new_is_let_in_and_nobody_is_reset_at_the_door(tmp_path):
    """However many knock while it closes: served, or refused before they said a word."""
    async with serving(public(), tmp_path) as (server, _):
        port = server.addresses["proxy"].port
        crowd = asyncio.gather(*(knocked(port, 0.02 * turn) for turn in range(50)))
        await asyncio.sleep(0.1)
        await server.drain()
        told = await crowd

    assert {"served", "refused"} == set(told)


@pytest.mark.skipif(sys.platform != "linux", reason="a filter of Linux sockets")
@pytest.mark.parametrize(
    ("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
)
def test_who_comes_to_a_door_that_turns_away_is_not_even_queued(family, host):
    """So whoever has a connection has one that will be accepted."""
    with socket.create_server((host, 0), family=family) as door:
        place = door.getsockname()[:2]
        early = socket.create_connection(place, timeout=5)
        turn_away(door)
        with pytest.raises(TimeoutError):
            socket.create_connection(place, timeout=0.2)
        early.sendall(b"hello")
        accepted, _ = door.accept()
        heard = accepted.recv(10)
        accepted.close()
        early.close()

    assert b"hello" == heard


def test_a_socket_without_handshakes_is_left_alone(tmp_path):
    """A Unix domain socket has none that could be dropped."""
    with socket.socket(socket.AF_UNIX) as door, socket.socket(socket.AF_UNIX) as line:
        door.bind(str(tmp_path / "door"))
        door.listen()
        turn_away(door)
        line.connect(str(tmp_path / "door"))


async def test_a_request_on_its_way_to_a_kept_connection_is_answered(tmp_path, singer):
    """It seemed idle when the end began; only then is the client told to go."""
    singer.go.set()
    async with (
        serving(public(singer.port), tmp_path) as (server, app),
        connected(server) as (reader, writer),
    ):
        await until(lambda: len(app.front))
        draining = spawn(server.drain(), name="drain")
        await until(lambda: server.draining)
        writer.write(REQUEST)
        async with asyncio.timeout(5):
            answer = await reader.read()
            await draining

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nconnection: close\r\n" in answer.lower()


async def test_who_is_still_on_the_way_in_is_waited_for(tmp_path, singer):
    """A balancer's header or a handshake may take longer than the door is open."""
    singer.go.set()
    listen = listening().replace("}", ", proxy_protocol: [127.0.0.1/32]}")
    async with (
        serving(listen + public(singer.port), tmp_path) as (server, _),
        connected(server) as (reader, writer),
    ):
        door = server._door
        await until(lambda: door is not None and door.arriving)
        draining = spawn(server.drain(), name="drain")
        await until(lambda: server.draining)
        assert await is_refused(server.addresses["proxy"].port)
        writer.write(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + REQUEST)
        async with asyncio.timeout(5):
            answer = await reader.read()
            await draining

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nconnection: close\r\n" in answer.lower()


async def test_idle_connections_hold_nothing_up(tmp_path):
    """They are closed, not waited for."""
    async with (
        serving(public(), tmp_path) as (server, app),
        connected(server) as (reader, _),
    ):
        await until(lambda: len(app.front))
        async with asyncio.timeout(5):
            await server.drain()
            assert b"" == await reader.read()


async def test_what_still_runs_at_the_deadline_is_cut(tmp_path, singer):
    """Visibly: half a song is no whole one. The log tells how many there were."""
    text = public(singer.port, "drain: {deadline: 50ms}")
    async with (
        serving(text, tmp_path) as (server, _),
        half_heard(server, singer) as reader,
    ):
        await server.drain()
        await server.close()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(4)

    assert 1 == cut(tmp_path)


async def test_a_second_stop_does_not_wait(tmp_path, singer):
    """Far from the deadline, which is 25 s here."""
    async with (
        serving(public(singer.port), tmp_path) as (server, _),
        half_heard(server, singer) as reader,
    ):
        life = spawn(server.serve(), name="serve")
        server.stop()
        await until(lambda: server.draining)
        server.stop()
        async with asyncio.timeout(5):
            await life
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(4)

    assert 1 == cut(tmp_path)


async def test_closing_lets_go_of_every_connection(tmp_path):
    """Also of those that never asked for anything, and though nobody drained."""
    async with (
        serving(public(), tmp_path) as (server, app),
        connected(server) as (reader, _),
    ):
        await until(lambda: len(app.front))
        await server.close()
        with contextlib.suppress(ConnectionResetError):
            async with asyncio.timeout(5):
                assert b"" == await reader.read()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_in_good_order(tmp_path, number):
    """Kubernetes sends the one, Ctrl-C the other."""
    async with serving(public(), tmp_path) as (server, _):
        life = spawn(server.serve(), name="serve")
        await asyncio.sleep(0)
        assert signal.getsignal(number) not in (
            signal.SIG_DFL,
            signal.default_int_handler,
        )
        signal.raise_signal(number)
        async with asyncio.timeout(5):
            await life
        ports = [address.port for address in server.addresses.values()]

        assert all(map(refuses, ports))
        assert frozenset() == running()
    assert ["listening", "draining", "stopped"] == [
        each["event"] for each in events(tmp_path)[:3]
    ]


async def test_what_was_never_opened_can_be_closed(tmp_path):
    """A start that failed early leaves nothing to trip over."""
    async with built(public(), tmp_path) as (server, _):
        await server.close()
        await server.drain()

    assert not server.started


# ------------------------------------------------------------------ the decision door

ASKED = {"X-Original-URI": "/song", "X-Original-Method": "GET", "Host": "h"}


def asking(port: int = 0) -> str:
    """Write a configuration with a decision door."""
    places = {"proxy": 0, "status": 0, "admin": 0, "authz": port}
    told = (f'{name}: "127.0.0.1:{place}"' for name, place in places.items())
    return f"listen: {{{', '.join(told)}}}\n" + public()


async def test_engines_ask_where_it_is_configured(tmp_path):
    """And nowhere by default: nobody opens a port for what is not wanted."""
    async with serving(public(), tmp_path) as (server, _):
        assert "authz" not in server.addresses
    async with serving(asking(), tmp_path) as (server, _):
        status, _text = await told(server, "authz", "/nginx", headers=ASKED)

        assert 200 == status

    listened = [each for each in events(tmp_path) if each["event"] == "listening"]
    assert str(server.addresses["authz"]) == listened[-1]["authz"]


async def test_a_busy_decision_port_is_told_too(tmp_path, busy):
    """By its name in the configuration."""
    async with built(asking(busy), tmp_path) as (server, _):
        with pytest.raises(CannotListen, match=r"listen\.authz: cannot listen on"):
            await server.start()


async def test_an_engine_is_answered_to_the_end(tmp_path):
    """On the connection it has: once more, and told to come no more."""
    question = "".join(f"{name}: {value}\r\n" for name, value in ASKED.items())
    line = f"GET /nginx HTTP/1.1\r\n{question}\r\n".encode()
    async with serving(asking(), tmp_path) as (server, _):
        place = server.addresses["authz"]
        idle_reader, idle = await asyncio.open_connection(*place)
        reader, writer = await asyncio.open_connection(*place)
        idle.write(line)
        assert (
            b"connection: close"
            not in (await idle_reader.readuntil(b"\r\n\r\n")).lower()
        )
        draining = spawn(server.drain(), name="drain")
        await until(lambda: server.draining)
        writer.write(line)
        async with asyncio.timeout(5):
            last = await reader.read()
            rest = await idle_reader.read()
            await draining
        writer.close()
        idle.close()

        assert last.startswith(b"HTTP/1.1 200 ")
        assert b"\r\nconnection: close\r\n" in last.lower()
        assert b"" == rest
        assert refuses(place.port)


# ------------------------------------------------------------- the same, over gRPC


def calling(port: int = 0) -> str:
    """Write a configuration with a decision door for Envoy."""
    places = {"proxy": 0, "status": 0, "admin": 0, "authz_grpc": port}
    told = (f'{name}: "127.0.0.1:{place}"' for name, place in places.items())
    return f"listen: {{{', '.join(told)}}}\n" + public()


async def health(address: Address) -> int:
    """Ask for the health of a decision door."""
    async with grpc.aio.insecure_channel(str(address)) as channel:
        call = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        answer = await call(health_pb2.HealthCheckRequest(), timeout=5)
        return int(answer.status)


async def test_envoy_asks_where_it_is_configured(tmp_path):
    """And hears that all is well, until the end begins."""
    states = health_pb2.HealthCheckResponse
    async with serving(calling(), tmp_path) as (server, _):
        place = server.addresses["authz_grpc"]
        assert states.SERVING == await health(place)
        draining = spawn(server.drain(), name="drain")
        await until(lambda: server.draining)

        assert states.NOT_SERVING == await health(place)
        async with asyncio.timeout(5):
            await draining
        assert refuses(place.port)


async def test_a_busy_port_for_envoy_is_told_too(tmp_path, busy):
    """By its name in the configuration."""
    async with built(calling(busy), tmp_path) as (server, _):
        with pytest.raises(CannotListen, match=r"listen\.authz_grpc: cannot listen on"):
            await server.start()
