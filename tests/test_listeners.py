import asyncio
import contextlib
import os
import socket
import ssl
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from gateway.app import App
from gateway.config.addresses import Address
from gateway.listeners import CannotOpen, DecisionDoor, Door, SocketFile
from gateway.tasks import running
from gateway.wire.deadlines import Deadlines
from gateway.wire.tls import TlsUnusable
from gateway.workers.parent import bind
from tests.wire.harness import Upstream, repeats, until
from tests.wire.pki import Pki
from tests.wired import EventLog, configured

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
REQUEST = b"GET /song HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


class Place:
    """An app, its upstream, and what the log was told."""

    def __init__(self, app: App, upstream: Upstream, log: EventLog) -> None:
        self.app = app
        self.upstream = upstream
        self.log = log
        self.deadlines = Deadlines(asyncio.get_running_loop())

    def sent(self) -> bytes:
        """What the upstream was asked, in lower case."""
        return b"".join(self.upstream.received).lower()


@asynccontextmanager
async def placed(listen: str, folder: Path, more: str = "") -> AsyncIterator[Place]:
    """Build an app with one public route that listens so."""
    upstream = Upstream(repeats(ANSWER))
    behind = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
    port = behind.sockets[0].getsockname()[1]
    text = f"""
listen: {{{listen}}}
upstreams: {{api: {{targets: ["http://127.0.0.1:{port}"]}}}}
routes: [{{id: song, match: {{path: /song}}, access: public, upstream: api}}]
{more}
"""
    log = EventLog(folder / "events.log")
    deadlines = Deadlines(asyncio.get_running_loop())
    app = App(configured(text), deadlines=deadlines, log=log.log)
    try:
        yield Place(app, upstream, log)
    finally:
        app.front.abort()
        await app.close()
        upstream.close()
        behind.close()
        log.events()
        await until(lambda: not len(app.front))


@asynccontextmanager
async def opened(
    listen: str, folder: Path, more: str = "", *, look_every: float = 5.0
) -> AsyncIterator[tuple[Door, Place]]:
    """Open the door."""
    async with placed(listen, folder, more) as place:
        door = Door(place.app, place.deadlines, look_every=look_every)
        await door.open()
        try:
            yield door, place
        finally:
            door.abort()
            await until(lambda: not running())


async def asked(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: bytes = b""
) -> bytes:
    """Put the request, and read to the end."""
    try:
        writer.write(first + REQUEST)
        async with asyncio.timeout(5):
            return await reader.read()
    finally:
        writer.close()


def tls(pki: Pki, rest: str = "") -> str:
    """Write the section."""
    files = f"certificate: {pki.certificate}, key: {pki.key}"
    return f'proxy: "127.0.0.1:0", tls: {{{files}{rest}}}'


@pytest.fixture
def pki(tmp_path):
    """An authority and a certificate."""
    return Pki(tmp_path)


@pytest.fixture
def path(tmp_path):
    """Where a socket may be; pytest's own folders may be too deep for one."""
    place = Path("/tmp") / f"gateway-test-{os.getpid()}-{tmp_path.name[-20:]}.sock"  # noqa: S108
    yield place
    place.unlink(missing_ok=True)


# ------------------------------------------------------------------------------ TCP


async def test_a_plain_door_leads_straight_in(tmp_path):
    """Its address tells the port that the system chose; closed, nobody is there."""
    async with opened('proxy: "127.0.0.1:0"', tmp_path) as (door, place):
        told = await asked(*await asyncio.open_connection(*door.address))
        assert f"<Door 127.0.0.1:{door.address.port}>" == repr(door)
        assert 1 == len(door.sockets)
        door.close()

        assert told.endswith(b"ok")
        assert b"x-forwarded-proto: http\r\n" in place.sent()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*door.address)


async def test_a_socket_may_be_inherited(tmp_path):
    """A worker serves on what its parent has opened."""
    async with placed('proxy: "127.0.0.1:1"', tmp_path) as place:
        door = Door(place.app, place.deadlines)
        inherited = socket.create_server(("127.0.0.1", 0))
        port = inherited.getsockname()[1]
        await door.open(inherited)
        told = await asked(*await asyncio.open_connection("127.0.0.1", port))
        door.abort()

    assert told.endswith(b"ok")
    assert ("127.0.0.1", port) == door.address


async def test_before_it_is_open_there_is_nothing_to_close(tmp_path):
    """A start that failed early leaves nothing to trip over."""
    async with placed('proxy: "127.0.0.1:0"', tmp_path) as place:
        door = Door(place.app, place.deadlines)
        assert [] == door.sockets
        door.abort()


# ---------------------------------------------------------------------- Unix sockets


async def test_clients_come_by_a_unix_domain_socket(tmp_path, path):
    """Nobody outside of its group; the upstream hears `unix`, which is no address."""
    async with opened(f'proxy: "unix:{path}"', tmp_path) as (door, place):
        mode = stat.S_IMODE(path.stat().st_mode)
        told = await asked(*await asyncio.open_unix_connection(path))

        assert f"unix:{path}" == str(door.address)
        assert 0o660 == mode
        assert told.endswith(b"ok")
        assert b"x-forwarded-for: unix\r\n" in place.sent()
    assert not path.exists()


@pytest.mark.parametrize(
    ("trusted", "expected"), [("[]", b": unix\r\n"), ("[unix]", b": 203.0.113.7, unix")]
)
async def test_its_peers_are_believed_only_if_told_so(
    tmp_path, path, trusted, expected
):
    """A proxy on the same machine, that says who the client is."""
    more = f"trusted_proxies: {trusted}"
    told = REQUEST.replace(b"\r\n", b"\r\nX-Forwarded-For: 203.0.113.7\r\n", 1)
    async with opened(f'proxy: "unix:{path}"', tmp_path, more) as (_, place):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(told)
        await reader.read()
        writer.close()

        forwarded = place.sent().replace(b"\r\nx-forwarded-for: ", b", ")
        assert expected in forwarded or expected[1:] in forwarded


async def test_a_socket_that_nobody_listens_on_is_replaced(tmp_path, path):
    """A process that was killed left it."""
    stale = SocketFile(path)
    stale.socket.close()
    async with opened(f'proxy: "unix:{path}"', tmp_path):
        told = await asked(*await asyncio.open_unix_connection(path))

    assert told.endswith(b"ok")


@pytest.mark.parametrize("backlog", [0, 5])
def test_a_socket_that_somebody_listens_on_is_not_touched(path, backlog):
    """Two processes would serve half of the clients each, for a while."""
    with socket.socket(socket.AF_UNIX) as taken:
        taken.bind(str(path))
        taken.listen(backlog)
        with contextlib.ExitStack() as queue:
            for _ in range(2 * (1 - bool(backlog))):
                line = queue.enter_context(socket.socket(socket.AF_UNIX))
                line.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    line.connect(str(path))
            with pytest.raises(CannotOpen) as caught:
                SocketFile(path)

        assert str(caught.value).startswith(
            f"listen.proxy: cannot listen on unix:{path}: Address already in use"
        )
        assert path.is_socket()


def test_a_file_that_is_no_socket_is_not_touched(path):
    """Somebody mistyped a path."""
    path.write_text("precious")

    with pytest.raises(CannotOpen, match="Address already in use"):
        SocketFile(path)
    assert "precious" == path.read_text()


def test_a_folder_that_is_not_there_is_told(tmp_path):
    """With the path, and what to do."""
    with pytest.raises(CannotOpen, match="No such file"):
        SocketFile(Path("/nowhere/gateway.sock"))


def test_a_successors_socket_is_left_in_place(path):
    """Whoever ends late does not take it away."""
    first = SocketFile(path)
    first.socket.close()
    second = SocketFile(path)
    first.remove()

    assert path.is_socket()
    assert f"<SocketFile {path}>" == repr(second)
    second.socket.close()
    second.remove()
    second.remove()
    assert not path.exists()


async def test_an_inherited_socket_is_its_parents_to_remove(tmp_path, path):
    """Else the first worker that ends would shut the others out."""
    file = SocketFile(path)
    async with placed(f'proxy: "unix:{path}"', tmp_path) as place:
        door = Door(place.app, place.deadlines)
        await door.open(file.socket)
        told = await asked(*await asyncio.open_unix_connection(path))
        door.abort()

    assert told.endswith(b"ok")
    assert path.is_socket()
    file.remove()


# ------------------------------------------------------------------------------ TLS


async def test_clients_come_by_tls(tmp_path, pki):
    """The upstream hears that they do, and a metric how long that can last."""
    async with opened(tls(pki), tmp_path) as (door, place):
        context = pki.client()
        connection = await asyncio.open_connection(
            *door.address, ssl=context, server_hostname="localhost"
        )
        told = await asked(*connection)
        value = place.app.metrics_registry.get_sample_value

        assert told.endswith(b"ok")
        assert b"x-forwarded-proto: https\r\n" in place.sent()
        assert door.renewal is not None
        assert door.renewal.certificates.not_after == value(
            "gateway_tls_certificate_expiry_timestamp_seconds", {"listener": "proxy"}
        )
        assert 1 == value("gateway_tls_last_reload_successful", {"listener": "proxy"})


async def test_a_real_http_client_is_content(tmp_path, pki):
    """Kept alive, and closed in good order."""
    async with opened(tls(pki), tmp_path) as (door, _):
        url = f"https://localhost:{door.address.port}/song"
        async with aiohttp.ClientSession() as http:
            for _ in range(3):
                async with http.get(url, ssl=pki.client()) as answer:
                    assert (200, b"ok") == (answer.status, await answer.read())


@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_the_least_version_is_as_configured(tmp_path, pki, version):
    """A client of TLS 1.2 is refused where 1.3 is the least."""
    old = pki.client()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    async with opened(tls(pki, f", min_version: {version}"), tmp_path) as (door, place):
        try:
            connection = await asyncio.open_connection(
                *door.address, ssl=old, server_hostname="localhost"
            )
            told = await asked(*connection)
        except (ssl.SSLError, ConnectionError):
            told = b""
        refused = place.app.metrics_registry.get_sample_value(
            "gateway_connections_refused_total", {"reason": "handshake"}
        )

    assert ((b"ok", 0) if version == "1.2" else (b"", 1)) == (told[-2:], refused)


async def test_a_client_certificate_may_be_required(tmp_path, pki):
    """And one that has it comes in."""
    rest = f", client_ca: {pki.ca}, client_certificates: required"
    async with opened(tls(pki, rest), tmp_path) as (door, _):
        context = pki.client(shown_by=pki.authority)
        known = await asked(
            *await asyncio.open_connection(
                *door.address, ssl=context, server_hostname="localhost"
            )
        )
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            connection = await asyncio.open_connection(
                *door.address, ssl=pki.client(), server_hostname="localhost"
            )
            assert b"" == await asked(*connection)

    assert known.endswith(b"ok")


async def test_renewed_files_are_taken_up_while_it_serves(tmp_path, pki):
    """The log tells, with the new expiry."""
    async with opened(tls(pki), tmp_path, look_every=0.01) as (door, place):
        assert door.renewal is not None
        certificates = door.renewal.certificates
        before = certificates.context
        pki.issue()
        await until(lambda: certificates.context is not before)
        connection = await asyncio.open_connection(
            *door.address, ssl=pki.client(), server_hostname="localhost"
        )
        assert (await asked(*connection)).endswith(b"ok")
    [event] = [each for each in place.log.events() if "certificate" in each["event"]]

    assert ("certificate_renewed", int(certificates.not_after)) == (
        event["event"],
        event["not_after"],
    )


async def test_a_broken_renewal_is_told_and_the_old_pair_serves_on(tmp_path, pki):
    """Once, and a metric shows it until it is mended."""
    async with opened(tls(pki), tmp_path) as (door, place):
        assert door.renewal is not None
        pki.key.write_text("nothing of use")
        for _ in range(4):
            await door.renewal.look()
        connection = await asyncio.open_connection(
            *door.address, ssl=pki.client(), server_hostname="localhost"
        )
        assert (await asked(*connection)).endswith(b"ok")
        shown = place.app.metrics_registry.get_sample_value(
            "gateway_tls_last_reload_successful", {"listener": "proxy"}
        )
    [event] = [each for each in place.log.events() if "certificate" in each["event"]]

    assert 0 == shown
    assert ("certificate_unusable", "warning") == (event["event"], event["level"])
    assert str(pki.certificate) in event["text"]


async def test_files_that_broke_after_the_check_keep_it_from_opening(tmp_path, pki):
    """There is nothing in force yet that could serve on."""
    async with placed(tls(pki), tmp_path) as place:
        pki.key.write_text("nothing of use")
        with pytest.raises(TlsUnusable):
            Door(place.app, place.deadlines)


async def test_what_still_shakes_hands_is_cut_at_the_end(tmp_path, pki):
    """No task is left behind."""
    async with opened(tls(pki), tmp_path) as (door, _):
        reader, writer = await asyncio.open_connection(*door.address)
        await until(running)
        door.abort()
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(5):
                assert b"" == await reader.read()
        writer.close()


# -------------------------------------------------------------------- PROXY protocol


async def test_a_balancer_says_whom_it_speaks_for(tmp_path, pki):
    """Before TLS; the upstream hears of the client, not of the balancer."""
    listen = tls(pki) + ", proxy_protocol: [127.0.0.0/8]"
    async with opened(listen, tmp_path) as (door, place):
        reader, writer = await asyncio.open_connection(*door.address)
        writer.write(b"PROXY TCP4 203.0.113.7 10.0.0.1 50000 8443\r\n")
        await writer.start_tls(pki.client(), server_hostname="localhost")
        told = await asked(reader, writer)

        assert told.endswith(b"ok")
        assert b"x-forwarded-for: 203.0.113.7\r\n" in place.sent()


async def test_a_balancer_may_come_by_the_unix_domain_socket(tmp_path, path):
    """And a connection without the header is refused there, and counted."""
    listen = f'proxy: "unix:{path}", proxy_protocol: [unix]'
    async with opened(listen, tmp_path) as (_, place):
        line = b"PROXY TCP6 2001:db8::7 ::1 50000 8443\r\n"
        told = await asked(*await asyncio.open_unix_connection(path), first=line)
        with contextlib.suppress(ConnectionError):
            assert b"" == await asked(*await asyncio.open_unix_connection(path))

        assert told.endswith(b"ok")
        assert b"x-forwarded-for: 2001:db8::7\r\n" in place.sent()
        assert 1 == place.app.metrics_registry.get_sample_value(
            "gateway_connections_refused_total", {"reason": "proxy_header"}
        )


# ---------------------------------------------------------------- the decision door


@asynccontextmanager
async def deciding(
    folder: Path, inherited: socket.socket | None = None, more: str = ""
) -> AsyncIterator[DecisionDoor]:
    """Open the decision door."""
    async with placed('authz: "127.0.0.1:0"', folder, more) as place:
        address = place.app.config.listen.authz
        assert address is not None
        door = DecisionDoor(place.app, address)
        await door.open(inherited)
        try:
            yield door
        finally:
            await door.close()


async def decided(door: DecisionDoor, target: str, **headers: str) -> int:
    """Ask as nginx does; gives the status."""
    told = {"X-Original-URI": target, "X-Original-Method": "GET", "Host": "h"}
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"http://{door.address}/nginx", headers={**told, **headers}) as answer,
    ):
        return answer.status


async def test_a_question_may_be_as_long_as_the_request_it_is_about(tmp_path):
    """The engine took the request: to choke on it here would refuse a good one."""
    long, longer = "/song?" + "a" * 8_000, "b" * 20_000
    async with deciding(tmp_path) as door:
        assert 200 == await decided(door, long, **{"X-Cookies": longer})
        await until(lambda: not len(door))
        assert f"<DecisionDoor {door.address}: 0 connections>" == repr(door)


async def test_a_question_without_end_is_not_read(tmp_path):
    """It has the bounds of a request."""
    async with deciding(tmp_path, more="limits: {headers: 1KiB}") as door:
        assert 400 == await decided(door, "/song", **{"X-Cookies": "b" * 2_000})


async def test_the_decision_door_can_be_inherited(tmp_path):
    """As the clients' is, by one of several workers."""
    with bind(Address("127.0.0.1", 0)) as socket_of_the_parent:
        place = socket_of_the_parent.getsockname()
        async with deciding(tmp_path, socket_of_the_parent.dup()) as door:
            assert place == tuple(door.address)
            assert 200 == await decided(door, "/song")
