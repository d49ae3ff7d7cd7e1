"""A plain front over the real protocols: everything is permitted, nothing is known.

With it the data plane is tested at the byte level: a raw client socket on one side, an
upstream that records and says exactly what a test wants on the other.
"""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import cast

from gateway.rules.headers import header_lines
from gateway.tasks import running
from gateway.values import (
    Origin,
    Reason,
    Timeouts,
    UpstreamSettings,
    WireLimits,
)
from gateway.wire.deadlines import Deadlines
from gateway.wire.downstream import Downstream
from gateway.wire.heads import ParsedHead, Plan, ResponseHead
from gateway.wire.message import serialise_response
from gateway.wire.pool import Pool
from gateway.wire.relay import Relay

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class HandLoop:
    """As much of a loop as `Deadlines` needs, moved by hand."""

    def __init__(self) -> None:
        self._now = 1000.0
        self.timers: list[asyncio.TimerHandle] = []
        self.crashes: list[object] = []
        self._loop = cast("asyncio.AbstractEventLoop", self)

    def call_exception_handler(self, context: object) -> None:
        self.crashes.append(context)

    def get_debug(self) -> bool:
        return False

    def time(self) -> float:
        return self._now

    def call_later(self, delay, callback, *args, context=None):
        timer = asyncio.TimerHandle(self._now + delay, callback, args, self._loop)
        self.timers.append(timer)
        return timer

    def deadlines(self) -> Deadlines:
        """Make deadlines that pass when this loop is moved."""
        deadlines = Deadlines(self._loop)
        deadlines.time = self.time
        return deadlines

    def advance(self, seconds: float) -> None:
        """Let time pass, then look at the deadlines once."""
        self._now += seconds
        due = [timer for timer in self.timers if timer.when() <= self._now]
        self.timers = [timer for timer in self.timers if timer not in due]
        for timer in due:
            timer._run()


async def turns(count: int = 5) -> None:
    """Let everything happen that can in so many turns of the loop."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(met: Callable[[], object]) -> None:
    """Let the loop run until something is true."""
    async with asyncio.timeout(5):
        while not met():  # noqa: ASYNC110 -- many things have no event
            await asyncio.sleep(0)


HOP_BY_HOP = {
    b"connection",
    b"content-length",
    b"transfer-encoding",
    b"upgrade",
    b"expect",
    b"keep-alive",
}

TUNNELS = {b"websocket", b"raw"}

STATUS = {
    Reason.REVOKED: 401,
    Reason.BAD_MESSAGE: 400,
    Reason.TARGET_TOO_LONG: 414,
    Reason.HEADERS_TOO_LARGE: 431,
    Reason.BODY_TOO_LARGE: 413,
    Reason.EXPECTATION_FAILED: 417,
    Reason.REQUEST_TIMEOUT: 408,
    Reason.CODING_NOT_IMPLEMENTED: 501,
    Reason.VERSION_NOT_SUPPORTED: 505,
    Reason.UPSTREAM_INVALID: 502,
    Reason.UPSTREAM_UNREACHABLE: 502,
    Reason.UPSTREAM_BUSY: 503,
    Reason.UPSTREAM_TIMEOUT: 504,
}


class PlainFront:
    """Relays everything; refuses paths that begin with `/deny` with a 401."""

    def __init__(self, pool: Pool, loop: asyncio.AbstractEventLoop) -> None:
        self.pool = pool
        self.loop = loop
        self.connections: set[Downstream] = set()
        self.ends_in: float | None = None
        self.body_limit = self.body_rate = 0
        self.connection_limit = 100
        self.done: list[Relay] = []

    def handle(self, connection: Downstream, head: ParsedHead) -> None:
        if head.target.startswith(b"/deny"):
            self._answer(connection, 401)
            return
        upgrade = head.upgrade if head.upgrade in TUNNELS else b""
        headers = [each for each in head.headers if each[0] not in HOP_BY_HOP]
        plan = Plan(
            target=head.target,
            lines=header_lines(headers),
            upgrade=upgrade,
            body_limit=self.body_limit,
            body_rate=self.body_rate,
        )
        owner = _Owner(self, connection)
        Relay(owner, connection, self.pool, head, plan).start(time.monotonic())

    def refuse(self, connection: Downstream, reason: Reason) -> None:
        self._answer(connection, STATUS[reason])

    def opened(self, connection: Downstream) -> bool:
        if len(self.connections) == self.connection_limit:
            return False
        self.connections.add(connection)
        return True

    def closed(self, connection: Downstream) -> None:
        self.connections.discard(connection)

    def only(self) -> Downstream:
        """Give the one connection there is."""
        (connection,) = self.connections
        return connection

    def _answer(self, connection: Downstream, status: int) -> None:
        connection.answer(
            lambda framing: serialise_response(status, b"", b"", framing), b"no"
        )


class _Owner:
    def __init__(self, front: PlainFront, connection: Downstream) -> None:
        self._front = front
        self._connection = connection

    def response_lines(self, head: ResponseHead) -> bytes:
        return header_lines(
            [each for each in head.headers if each[0] not in HOP_BY_HOP]
        )

    def ends_at(self) -> float | None:
        ends_in = self._front.ends_in
        return None if ends_in is None else time.monotonic() + ends_in

    def relayed(self, relay: Relay) -> None:
        self._front.done.append(relay)

    def relay_failed(self, relay: Relay, reason: Reason) -> None:
        self._front.done.append(relay)
        self._front._answer(self._connection, STATUS[reason])


class Upstream:
    """A raw upstream: one script for every connection, every byte on record."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.connections = 0
        self.received: list[bytes] = []
        self._writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self.connections += 1
        self._writers.append(writer)
        try:
            await self._script(_Recording(reader, self.received), writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()


class _Recording(asyncio.StreamReader):
    """Reads through, and keeps what it read."""

    def __init__(self, inner: asyncio.StreamReader, record: list[bytes]) -> None:
        self._inner = inner
        self._record = record

    async def read(self, n: int = -1) -> bytes:
        data = await self._inner.read(n)
        self._record.append(data)
        return data

    async def readuntil(self, separator: bytes = b"\n") -> bytes:  # type: ignore[override]
        data = await self._inner.readuntil(separator)
        self._record.append(data)
        return data

    async def readexactly(self, n: int) -> bytes:
        data = await self._inner.readexactly(n)
        self._record.append(data)
        return data


def replies(*answers: bytes) -> Script:
    """Answer each request head with the next of `answers`, then close."""

    async def script(reader, writer):
        for answer in answers:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
        await reader.read()

    return script


def repeats(answer: bytes) -> Script:
    """Answer every request head with the same bytes."""

    async def script(reader, writer):
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)

    return script


class Client:
    """A raw client socket."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.reader = reader
        self.writer = writer

    def read_on(self) -> None:
        """Begin to read, after `House.connect_narrow`."""
        cast("asyncio.Transport", self.writer.transport).resume_reading()

    async def send(self, data: bytes, *, step: int = 0) -> None:
        if not step:
            self.writer.write(data)
            return
        for at in range(0, len(data), step):
            self.writer.write(data[at : at + step])
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    async def read_head(self) -> bytes:
        async with asyncio.timeout(5):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def read_all(self) -> bytes:
        """Read to the end of the connection; a reset is told at the end."""
        data = b""
        async with asyncio.timeout(5):
            while True:
                try:
                    piece = await self.reader.read(65536)
                except ConnectionResetError:
                    return data + b"<reset>"
                if not piece:
                    return data
                data += piece


class House:
    """The data plane between a raw client and a raw upstream."""

    def __init__(
        self,
        front: PlainFront,
        upstream: Upstream,
        port: int,
        upstream_server: asyncio.Server,
    ) -> None:
        self.front = front
        self.upstream = upstream
        self.upstream_server = upstream_server
        self._port = port

    async def connect(self) -> Client:
        return Client(*await asyncio.open_connection("127.0.0.1", self._port))

    async def connect_narrow(self) -> Client:
        """Connect a client that reads nothing by itself, with little room to write to.

        What the kernel holds for it is small, so that the gateway feels its slowness.
        """
        narrow = socket.socket()
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        narrow.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(narrow, ("127.0.0.1", self._port))
        reader, writer = await asyncio.open_connection(sock=narrow, limit=1024)
        cast("asyncio.Transport", writer.transport).pause_reading()
        await until(lambda: self.front.connections)
        transport = self.front.only()._transport
        assert transport is not None
        transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDBUF, 4096
        )
        return Client(reader, writer)

    async def exchange(self, data: bytes, *, step: int = 0) -> bytes:
        """Send bytes, read to the end of the connection."""
        client = await self.connect()
        await client.send(data, step=step)
        try:
            return await client.read_all()
        finally:
            client.writer.close()


@asynccontextmanager
async def house(
    script: Script,
    *,
    limits: WireLimits | None = None,
    timeouts: Timeouts | None = None,
    connections: int = 4,
    waiting: int = 4,
    hand: HandLoop | None = None,
) -> AsyncIterator[House]:
    """Build the house; prove on leaving that nothing is left behind.

    With a `hand`, deadlines pass when it is moved, not by themselves.
    """
    loop = asyncio.get_running_loop()
    upstream = Upstream(script)
    upstream_server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
    port = upstream_server.sockets[0].getsockname()[1]
    deadlines = Deadlines(loop) if hand is None else hand.deadlines()
    settings = UpstreamSettings(
        name="u",
        origins=(Origin("http", "127.0.0.1", port),),
        timeouts=timeouts or Timeouts(),
        connections=connections,
        waiting=waiting,
    )
    pool = Pool(settings, deadlines)
    front = PlainFront(pool, loop)
    server = await loop.create_server(
        lambda: cast(
            "asyncio.Protocol", Downstream(front, limits or WireLimits(), deadlines)
        ),
        "127.0.0.1",
        0,
    )
    try:
        port = server.sockets[0].getsockname()[1]
        yield House(front, upstream, port, upstream_server)
    finally:
        server.close()
        for connection in list(front.connections):
            connection.abort()
        pool.abort()
        upstream.close()
        upstream_server.close()
        await turns(20)
        assert not running()
        assert not front.connections
