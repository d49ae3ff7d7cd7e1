import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Network

import pytest
import trustme

from gateway.rules.forwarded import TrustedProxies
from gateway.tasks import running, spawn
from gateway.values import Origin, UpstreamSettings, WireLimits
from gateway.wire.deadlines import Deadlines
from gateway.wire.entrance import Entrance
from gateway.wire.pool import Pool
from gateway.wire.tls import Certificates, TlsSettings
from tests.wire.harness import (
    PlainFront,
    Script,
    Upstream,
    repeats,
    turns,
    until,
)
from tests.wire.pki import Pki

REQUEST = b"GET /song HTTP/1.1\r\nHost: h\r\n\r\n"
DENIED = REQUEST.replace(b"/song", b"/deny")
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
V1 = b"PROXY TCP4 203.0.113.7 10.0.0.1 50000 8443\r\n"
V2 = (
    b"\r\n\r\n\x00\r\nQUIT\n\x21\x11"
    + struct.pack("!H", 15)
    + bytes([203, 0, 113, 9, 10, 0, 0, 1])
    + struct.pack("!HH", 50000, 8443)
    + b"tlv"
)
LOCAL = b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
BALANCERS = TrustedProxies([IPv4Network("127.0.0.0/8")])
NOBODY = TrustedProxies()


class Place:
    """A data plane behind an entrance."""

    def __init__(self, entrance: Entrance, front: PlainFront, port: int) -> None:
        self.entrance = entrance
        self.front = front
        self.port = port
        self.guests: list[Guest] = []

    async def connect(
        self,
        context: ssl.SSLContext | None = None,
        *,
        first: bytes = b"",
        step: int = 0,
    ) -> "Guest":
        """Connect, send `first`, shake hands; `step` cuts all that is sent."""
        guest = Guest(*await asyncio.open_connection("127.0.0.1", self.port), step)
        self.guests.append(guest)
        await guest.begin(context, first)
        return guest


class Guest:
    """A client to the byte, with TLS of its own, so that bytes can be put together."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, step: int
    ) -> None:
        self._reader = reader
        self.writer = writer
        self._step = step
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls: ssl.SSLObject | None = None

    async def begin(self, context: ssl.SSLContext | None, first: bytes) -> None:
        if context is None:
            await self._write(first)
            return
        self.tls = context.wrap_bio(self._in, self._out, server_hostname="localhost")
        while True:
            with contextlib.suppress(ssl.SSLWantReadError):
                self.tls.do_handshake()
                break
            # What came first and the hello in one piece.
            await self._write(first + self._out.read())
            first = b""
            await self._fill()
        await self._write(self._out.read())

    async def send(self, data: bytes) -> None:
        if self.tls is not None:
            self.tls.write(data)
            data = self._out.read()
        await self._write(data)

    async def read(self) -> bytes:
        """Read what comes next; nothing is the end."""
        if self.tls is None:
            async with asyncio.timeout(5):
                return await self._reader.read(65536)
        while True:
            try:
                return self.tls.read(65536)
            except ssl.SSLWantReadError:
                if not await self._fill():
                    return b""
            except ssl.SSLZeroReturnError:
                return b""

    async def read_all(self) -> bytes:
        """Read to the end of the connection; a reset is told at the end."""
        data = b""
        try:
            while piece := await self.read():
                data += piece
        except (ConnectionError, ssl.SSLError):
            data += b"<reset>"
        return data

    async def ask(self) -> bytes:
        await self.send(REQUEST)
        return await self.hear()

    async def hear(self) -> bytes:
        """Read to the end of `ANSWER`, or of the connection."""
        data = b""
        while not data.endswith(b"ok") and (piece := await self.read()):
            data += piece
        return data

    async def _fill(self) -> bool:
        async with asyncio.timeout(5):
            data = await self._reader.read(65536)
        if not data and not self._in.pending:
            self._in.write_eof()
        self._in.write(data)
        return bool(data)

    async def _write(self, data: bytes) -> None:
        step = self._step or len(data) or 1
        for at in range(0, len(data), step):
            self.writer.write(data[at : at + step])
            await turns(2 if self._step else 0)


@asynccontextmanager
async def place(
    *,
    pki: Pki | None = None,
    announcers: TrustedProxies = NOBODY,
    script: Script | None = None,
    limits: WireLimits | None = None,
    client_required: bool | None = None,
) -> AsyncIterator[Place]:
    """Open one; prove on leaving that nothing is left behind."""
    loop = asyncio.get_running_loop()
    upstream = Upstream(script or repeats(ANSWER))
    behind = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
    deadlines = Deadlines(loop)
    origin = Origin("http", "127.0.0.1", behind.sockets[0].getsockname()[1])
    pool = Pool(UpstreamSettings(name="u", origins=(origin,)), deadlines)
    front = PlainFront(pool, loop)
    certificates = None
    if pki is not None:
        certificates = Certificates(
            TlsSettings(
                certificate=pki.certificate,
                key=pki.key,
                client_ca=None if client_required is None else pki.ca,
                client_required=bool(client_required),
            )
        )
    bounds = limits or WireLimits()
    entrance = Entrance(
        front,
        bounds,
        deadlines,
        inside=lambda: len(front.connections),
        announcers=announcers,
        certificates=certificates,
    )
    listener = socket.create_server(("127.0.0.1", 0))
    here = Place(entrance, front, listener.getsockname()[1])
    serving = spawn(entrance.serve(listener), name="accept")
    try:
        yield here
    finally:
        for guest in here.guests:
            guest.writer.close()
        serving.cancel()
        entrance.abort()
        for connection in list(front.connections):
            connection.abort()
        pool.abort()
        upstream.close()
        behind.close()
        await until(lambda: not running() and not front.connections)
        assert not len(entrance)


@pytest.fixture
def pki(tmp_path):
    """An authority and a certificate."""
    return Pki(tmp_path)


# --------------------------------------------------------------------- PROXY header


@pytest.mark.parametrize("step", [0, 1, 7])
@pytest.mark.parametrize(
    ("header", "peer"),
    [(V1, "203.0.113.7"), (V2, "203.0.113.9"), (LOCAL, "127.0.0.1")],
)
@pytest.mark.parametrize("secure", [False, True])
async def test_a_balancer_says_whom_it_speaks_for(pki, header, peer, step, secure):
    """Before TLS, and before the request; however the network cuts it."""
    async with place(pki=pki if secure else None, announcers=BALANCERS) as here:
        context = pki.client() if secure else None
        guest = await here.connect(context, first=header, step=step)

        assert (await guest.ask()).endswith(b"ok")
        assert peer == here.front.only().peer


async def test_who_waits_at_the_door_is_let_in_by_the_handful():
    """One in each turn of those inside, and the queue at a busy door never ends."""
    async with place(announcers=BALANCERS) as here:
        await turns()
        queue = [socket.create_connection(("127.0.0.1", here.port)) for _ in range(64)]
        taken = 0
        while len(here.entrance) < len(queue):
            await turns(1)
            taken += 1
        for each in queue:
            each.close()

    assert taken < len(queue) / 2


@pytest.mark.parametrize("secure", [False, True])
async def test_who_is_cut_before_it_is_looked_at_leaves_nothing(pki, secure):
    """No place taken, and no socket that stays open with nobody to close it."""
    async with place(pki=pki if secure else None) as here:
        await turns()
        knocking = socket.create_connection(("127.0.0.1", here.port))
        knocking.setblocking(False)
        while not len(here.entrance):
            await turns(1)
        here.entrance.abort()
        await until(lambda: not len(here.entrance))
        rest = await asyncio.get_running_loop().sock_recv(knocking, 1)
        knocking.close()

    assert b"" == rest
    assert not here.entrance.refused.total()


async def test_the_header_and_a_request_may_come_together(pki):
    """Not one byte of the request is lost."""
    async with place(announcers=BALANCERS) as here:
        guest = await here.connect(first=V1 + REQUEST)

        assert (await guest.hear()).endswith(b"ok")


@pytest.mark.parametrize(
    "first",
    [REQUEST, b"G", b"\x16\x03\x01", V1.replace(b"TCP4", b"TCP5"), V1 + V1 + REQUEST],
)
async def test_a_balancer_without_a_header_is_not_heard(first):
    """Nor is one whose header is in doubt: nothing is guessed."""
    async with place(announcers=BALANCERS) as here:
        guest = await here.connect(first=first)
        heard = await guest.read_all()

        assert b"200 OK" not in heard
        assert not here.front.done


@pytest.mark.parametrize("header", [V1, V2, LOCAL])
async def test_from_others_a_header_is_no_http(header):
    """Whoever is not trusted cannot choose an address; it is refused as a message."""
    async with place() as here:
        guest = await here.connect(first=header + REQUEST)

        assert (await guest.read_all()).startswith(b"HTTP/1.1 400 ")
        assert not here.front.done


async def test_others_may_come_without_a_header():
    """They keep the address that they have."""
    elsewhere = TrustedProxies([IPv4Network("192.0.2.0/24")])
    async with place(announcers=elsewhere) as here:
        guest = await here.connect()

        assert (await guest.ask()).endswith(b"ok")
        assert "127.0.0.1" == here.front.only().peer


async def test_a_header_has_a_deadline():
    """A balancer that says nothing, or half, holds nothing."""
    limits = WireLimits(header_timeout=0.2)
    async with place(announcers=BALANCERS, limits=limits) as here:
        guest = await here.connect(first=V1[:20])
        await until(lambda: len(here.entrance))

        assert b"" == (await guest.read_all()).removesuffix(b"<reset>")
        await until(lambda: here.entrance.refused)
        assert {"proxy_header": 1} == here.entrance.refused


@pytest.mark.parametrize(
    ("first", "refused"), [(b"", {}), (V1[:20], {"proxy_header": 1})]
)
async def test_a_balancer_may_look_whether_we_are_there(first, refused):
    """It connects and goes; only half a header is worth a count."""
    async with place(announcers=BALANCERS) as here:
        guest = await here.connect(first=first)
        await until(lambda: len(here.entrance))
        guest.writer.close()
        await until(lambda: not len(here.entrance))

        assert refused == here.entrance.refused


# ------------------------------------------------------------------------------ TLS


@pytest.mark.parametrize("step", [0, 1])
async def test_requests_pass_through_tls(pki, step):
    """One after the other, and the front knows that it is https."""
    async with place(pki=pki) as here:
        guest = await here.connect(pki.client(), step=step)

        assert (await guest.ask()).endswith(b"ok")
        assert (await guest.ask()).endswith(b"ok")
        assert "https" == here.front.only().scheme
        assert "127.0.0.1" == here.front.only().peer


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [((), None), (("h2", "http/1.1"), "http/1.1"), (("http/1.1",), "http/1.1")],
)
async def test_http_1_1_is_what_we_agree_on(pki, offered, chosen):
    """RFC 7301; a client that offers nothing speaks it anyway."""
    async with place(pki=pki) as here:
        guest = await here.connect(pki.client(alpn=offered))
        assert guest.tls is not None

        assert chosen == guest.tls.selected_alpn_protocol()
        assert (await guest.ask()).endswith(b"ok")


async def test_a_client_of_http_2_alone_gets_nowhere(pki):
    """Python cannot end the handshake for it; what it says then is no HTTP/1.1."""
    async with place(pki=pki) as here:
        guest = await here.connect(pki.client(alpn=("h2",)))
        assert guest.tls is not None
        await guest.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

        assert guest.tls.selected_alpn_protocol() is None
        assert (await guest.read_all()).startswith(b"HTTP/1.1 505 ")
        assert not here.front.done


async def test_old_versions_of_tls_are_refused(pki):
    """RFC 8996."""
    old = pki.client()
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        old.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    async with place(pki=pki) as here:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await here.connect(old)

        await until(lambda: here.entrance.refused)
        assert {"handshake": 1} == here.entrance.refused
        assert not here.front.connections


@pytest.mark.parametrize("first", [REQUEST, b"\x80garbage" * 9, V1])
async def test_what_is_not_tls_is_closed(pki, first):
    """In the clear nothing is answered, and nothing of it counts later."""
    async with place(pki=pki) as here:
        guest = await here.connect(first=first)

        assert b"HTTP" not in await guest.read_all()
        await until(lambda: here.entrance.refused)
        assert {"handshake": 1} == here.entrance.refused


async def test_a_client_that_says_hello_at_once_is_heard(pki):
    """Its hello is with the kernel before anybody has taken the connection in."""
    async with place(pki=pki) as here:
        url = ("127.0.0.1", here.port)
        lines = [socket.create_connection(url) for _ in range(5)]

        def shake(line: socket.socket) -> bytes:
            with pki.client().wrap_socket(line, server_hostname="localhost") as tls:
                tls.sendall(REQUEST)
                return bytes(tls.recv(12))

        told = await asyncio.gather(*(asyncio.to_thread(shake, each) for each in lines))

    assert [b"HTTP/1.1 200"] * 5 == told


async def test_a_handshake_has_a_deadline(pki):
    """A client that only connects does not hold a connection for ever."""
    limits = WireLimits(header_timeout=0.2)
    async with place(pki=pki, limits=limits) as here:
        guest = await here.connect()
        await until(lambda: len(here.entrance))

        assert b"" == (await guest.read_all()).removesuffix(b"<reset>")
        await until(lambda: here.entrance.refused)
        assert {"handshake": 1} == here.entrance.refused


async def test_who_shakes_hands_counts_as_a_connection(pki):
    """Else the limit would be none."""
    async with place(pki=pki, limits=WireLimits(connections=2)) as here:
        inside = await here.connect(pki.client())
        assert (await inside.ask()).endswith(b"ok")
        arriving = await here.connect()
        await until(lambda: len(here.entrance))
        refused = await here.connect()

        assert b"" == (await refused.read_all()).removesuffix(b"<reset>")
        assert {"limit": 1} == here.entrance.refused
        arriving.writer.close()
        await until(lambda: not len(here.entrance))
        assert (await (await here.connect(pki.client())).ask()).endswith(b"ok")


async def test_a_client_that_leaves_in_the_handshake_leaves_nothing(pki):
    """No task, no place taken."""
    async with place(pki=pki) as here:
        guest = await here.connect(first=b"\x16\x03\x01")
        await until(lambda: len(here.entrance))
        guest.writer.transport.abort()

        await until(lambda: not len(here.entrance))
        assert not here.entrance.refused


async def test_a_request_right_behind_the_handshake_is_not_lost(pki):
    """TLS 1.3: the client's last word and its request come in one packet."""
    async with place(pki=pki) as here:
        guest = await here.connect()
        guest.tls = pki.client().wrap_bio(
            guest._in, guest._out, server_hostname="localhost"
        )
        for _ in range(2):
            with contextlib.suppress(ssl.SSLWantReadError):
                guest.tls.do_handshake()
                break
            guest.writer.write(guest._out.read())
            await guest._fill()
        await guest.send(REQUEST)

        assert (await guest.hear()).endswith(b"ok")


async def test_a_renewed_certificate_is_shown_to_whoever_comes_next(pki):
    """And whoever is there is not disturbed."""
    async with place(pki=pki) as here:
        old = await here.connect(pki.client())
        pki.issue()
        assert here.entrance.certificates is not None
        here.entrance.certificates.refresh()
        here.entrance.certificates.refresh()
        new = await here.connect(pki.client())

        assert (await old.ask()).endswith(b"ok")
        assert (await new.ask()).endswith(b"ok")
        assert old.tls is not None
        assert new.tls is not None
        assert old.tls.getpeercert(binary_form=True) != new.tls.getpeercert(
            binary_form=True
        )


@pytest.mark.parametrize("required", [True, False])
async def test_a_client_certificate_lets_in(pki, required):
    """One that our authority has signed."""
    async with place(pki=pki, client_required=required) as here:
        guest = await here.connect(pki.client(shown_by=pki.authority))

        assert (await guest.ask()).endswith(b"ok")


async def test_without_a_certificate_only_optional_lets_in(pki):
    """That is the difference."""
    async with place(pki=pki, client_required=False) as here:
        assert (await (await here.connect(pki.client())).ask()).endswith(b"ok")
    async with place(pki=pki, client_required=True) as here:
        # TLS 1.3: the client believes to be in before it hears the alert.
        guest = await here.connect(pki.client())
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await guest.send(REQUEST)

        assert b"HTTP" not in await guest.read_all()
        await until(lambda: here.entrance.refused)
        assert {"handshake": 1} == here.entrance.refused


@pytest.mark.parametrize("required", [True, False])
async def test_a_strangers_certificate_is_refused(pki, required):
    """Also where none is asked for: it claims something that is not so."""
    async with place(pki=pki, client_required=required) as here:
        guest = await here.connect(pki.client(shown_by=trustme.CA()))
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await guest.send(REQUEST)

        assert b"HTTP" not in await guest.read_all()


# --------------------------------------------------------- the wire's corners, on TLS


async def test_a_long_download_passes_whole(pki):
    """32 MiB to a client that takes its time; little of it waits in the gateway."""
    size = 32 * 1024 * 1024

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // 65536):
            writer.write(b"x" * 65536)
            await writer.drain()
        await reader.read()

    async with place(pki=pki, script=script) as here:
        guest = await here.connect(pki.client())
        await guest.send(REQUEST)
        received, held = 0, 0
        while received < size:
            received += len((await guest.read()).rpartition(b"\r\n\r\n")[2])
            transport = here.front.only()._transport
            held = max(held, transport.get_write_buffer_size() if transport else 0)

        assert size == received
        assert held < 1024 * 1024


async def test_an_upload_passes_whole(pki):
    """In pieces as they come."""
    seen = asyncio.get_running_loop().create_future()

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        seen.set_result(await reader.readexactly(3_000_000))
        writer.write(ANSWER)
        await reader.read()

    async with place(pki=pki, script=script) as here:
        guest = await here.connect(pki.client())
        head = b"PUT /song HTTP/1.1\r\nHost: h\r\nContent-Length: 3000000\r\n\r\n"
        await guest.send(head)
        for _ in range(300):
            await guest.send(b"y" * 10_000)
            await guest.writer.drain()

        assert (await guest.hear()).endswith(b"ok")
        assert b"y" * 3_000_000 == seen.result()


async def test_an_unfinished_answer_ends_without_a_goodbye(pki):
    """No close_notify: no client takes a part for the whole."""

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
        await writer.drain()
        writer.transport.abort()

    async with place(pki=pki, script=script) as here:
        guest = await here.connect(pki.client())
        await guest.send(REQUEST)

        assert (await guest.read_all()).endswith(b"<reset>")


async def test_a_last_answer_is_followed_by_a_goodbye(pki):
    """`Connection: close`, close_notify, and the connection is gone."""
    async with place(pki=pki) as here:
        guest = await here.connect(pki.client())
        await guest.send(REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))

        assert (await guest.read_all()).endswith(b"ok")
        guest.writer.close()
        await until(lambda: not here.front.connections)


async def test_a_client_that_never_says_goodbye_is_not_waited_for(pki):
    """Its answer is long out; two seconds are enough."""
    async with place(pki=pki) as here:
        guest = await here.connect(pki.client())
        await guest.send(REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))

        assert (await guest.hear()).endswith(b"ok")
        assert here.front.connections
        async with asyncio.timeout(4):
            await until(lambda: not here.front.connections)


async def test_a_client_that_says_goodbye_is_gone(pki):
    """Both halves: HTTP has no use for one."""
    async with place(pki=pki) as here:
        guest = await here.connect(pki.client())
        await guest.ask()
        guest.writer.close()

        await until(lambda: not here.front.connections)


async def test_idle_connections_are_cut_by_aborting(pki):
    """As the end of a drain does."""
    async with place(pki=pki) as here:
        guest = await here.connect(pki.client())
        await guest.ask()
        here.front.only().abort()

        assert b"<reset>" == await guest.read_all()
