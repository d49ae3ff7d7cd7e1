"""Upstreams that speak WebSocket, and whatever else may follow an upgrade."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.functional.harness import Backstage
from tests.functional.lab import KEY

FRAME = random.Random(9).randbytes(300_000)  # noqa: S311 -- the same bytes every time
"""What `/socket/flood` sends, again and again, each time a whole frame."""

SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %b\r\n\r\n"
)

CONFIG = """
drain: {{deadline: 1s}}
providers: {{lab: {{verify: [jwt], jwt: {{algorithms: [HS256], key: {key}}}}}}}
upstreams:
  sockets: {{targets: ["http://127.0.0.1:{sockets}"]}}
  raw: {{targets: ["http://127.0.0.1:{raw}"]}}
routes:
  - {{id: socket, match: {{path: "/socket/**"}}, provider: lab, upstream: sockets, upgrades: [websocket]}}
  - id: quiet
    match: {{path: "/socket/quiet"}}
    provider: lab
    upstream: sockets
    upgrades: [websocket]
    timeouts: {{idle: 1s}}
  - {{id: raw, match: {{path: "/raw/**"}}, provider: lab, upstream: raw, upgrades: [chat, websocket]}}
"""

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Sockets:
    """A WebSocket server, which does as its path says, and notes what became of it."""

    def __init__(self) -> None:
        self.port = 0
        self.asked: list[dict[str, str]] = []
        """The headers of every handshake, by lower-case name."""
        self.fragments: list[list[str]] = []
        """The frames that each fragmented message came in."""
        self.closed: list[tuple[int, str] | None] = []
        """The code and reason that each connection was closed with; None: without."""
        self.sent = 0
        """Bytes of payload given away by `/socket/flood`."""
        self.over = asyncio.Event()
        """Set in the end, for whom nothing else ends."""

    async def start(self) -> Server:
        """Listen on a free port."""
        server = await serve(
            self._serve,
            "127.0.0.1",
            0,
            select_subprotocol=lambda _, offered: offered[-1] if offered else None,
            max_size=None,
            ping_interval=None,
            close_timeout=1,
        )
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _serve(self, channel: ServerConnection) -> None:
        request = channel.request
        assert request is not None
        self.asked.append(
            {name.lower(): value for name, value in request.headers.raw_items()}
        )
        act = getattr(self, "_" + request.path.removeprefix("/socket/"))
        with contextlib.suppress(ConnectionClosed):
            await act(channel)
        await channel.wait_closed()
        close = channel.protocol.close_rcvd
        self.closed.append(None if close is None else (close.code, close.reason))

    async def _echo(self, channel: ServerConnection) -> None:
        async for message in channel:
            await channel.send(message)

    async def _fragments(self, channel: ServerConnection) -> None:
        parts = [str(part) async for part in channel.recv_streaming()]
        self.fragments.append(parts)
        await channel.send(parts)

    async def _ping(self, channel: ServerConnection) -> None:
        answered = await channel.ping(b"are you there")
        await answered
        await channel.send("the pong came")

    async def _leave(self, channel: ServerConnection) -> None:
        await channel.close(4002, "come back later")

    async def _flood(self, channel: ServerConnection) -> None:
        while True:
            await channel.send(FRAME)
            self.sent += len(FRAME)

    async def _quiet(self, channel: ServerConnection) -> None:
        await channel.wait_closed()

    async def _deaf(self, channel: ServerConnection) -> None:
        channel.transport.pause_reading()
        await self.over.wait()
        channel.transport.resume_reading()


@contextmanager
def open_sockets(stage: Backstage) -> Iterator[Sockets]:
    """Run a WebSocket server backstage."""
    sockets = Sockets()
    server = stage.run(sockets.start())
    try:
        yield sockets
    finally:
        stage.call(sockets.over.set)
        stage.call(server.close)
        stage.run(server.wait_closed())


class Raw:
    """A server of no protocol: each test says what it does with a connection."""

    def __init__(self) -> None:
        self.port = 0
        self.script: Script | None = None

    async def start(self) -> asyncio.Server:
        """Listen on a free port."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        assert self.script is not None
        try:
            await self.script(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@contextmanager
def open_raw(stage: Backstage) -> Iterator[Raw]:
    """Run such a server backstage."""
    raw = Raw()
    server = stage.run(raw.start())
    try:
        yield raw
    finally:
        stage.call(server.close)


def config(sockets: Sockets, raw: Raw) -> str:
    """Write the configuration that leads to them."""
    return CONFIG.format(key=KEY, sockets=sockets.port, raw=raw.port)
