"""What comes before HTTP: whom a balancer speaks for, then TLS. Floor 3.

Rules of this room:
- who is in here counts as an open connection, and has a deadline;
- whether a PROXY header comes is decided by the peer's address alone, never by its
  bytes: from those that announce clients it must come, from others it is no HTTP;
- of the header exactly its own bytes are read: the rest is still with the kernel when
  TLS or HTTP begins, so nothing said before the handshake can be taken for a request
  after it (CVE-2021-23222, a man in the middle's prefix).

Why not `create_server(ssl=…)`: there handshakes are counted by nobody, a PROXY header
cannot come first, and the certificate is that of the start. Why not `start_tls`: what a
client says at once is read before it can begin (uvloop cannot be paused while it makes
a connection), or reaches the application before it knows its transport.
"""

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final, cast

from gateway.errors import MessageError
from gateway.rules.forwarded import TrustedProxies
from gateway.tasks import spawn
from gateway.values import WireLimits
from gateway.wire.deadlines import Deadlines
from gateway.wire.downstream import Downstream, Front
from gateway.wire.proxy_protocol import read_proxy_header
from gateway.wire.tls import Certificates

REFUSALS: Final = ("limit", "proxy_header", "handshake")
"""Why a connection was refused before it could ask anything."""

_WRITE_BUFFER: Final = 64 * 1024
"""As of a connection without TLS; asyncio would hold half a megabyte for each."""

_GOODBYE: Final = 2.0
"""Seconds for a client to answer our close of TLS."""

_TAKEN_A_TURN: Final = 16
"""Connections let in before the others have their turn."""

_BREATH: Final = 0.1
"""Seconds to wait when nobody can be taken in: without descriptors, say."""


class Entrance:
    """What all connections of one door pass."""

    def __init__(
        self,
        front: Front,
        limits: WireLimits,
        deadlines: Deadlines,
        *,
        inside: Callable[[], int],
        announcers: TrustedProxies,
        certificates: Certificates | None,
    ) -> None:
        """`inside` counts the connections that are through."""
        self.front = front
        self.limits = limits
        self.deadlines = deadlines
        self.certificates = certificates
        self.refused = Counter[str]()
        self._inside = inside
        self._announcers = announcers
        self._arriving: dict[socket.socket, asyncio.Task[None]] = {}

    def __repr__(self) -> str:
        return f"<Entrance: {len(self)} arriving>"

    def __len__(self) -> int:
        """Count who is on the way in."""
        return len(self._arriving)

    async def serve(self, listener: socket.socket) -> None:
        """Take connections in until cancelled, and close the listener."""
        await accept(listener, self._take_in)

    def abort(self) -> None:
        """Cut whoever is still arriving."""
        for task in self._arriving.values():
            task.cancel()

    def arrived(self, line: socket.socket) -> None:
        """Take note that a connection is through, or gone."""
        self._arriving.pop(line, None)

    def _take_in(self, line: socket.socket, address: object) -> None:
        if len(self) + self._inside() >= self.limits.connections:
            self.refused["limit"] += 1
            line.close()
            return
        peer = address[0] if isinstance(address, tuple) else "unix"
        self._arriving[line] = attend(
            line, self._receive(line, peer), self.arrived, name="entrance"
        )

    async def _receive(self, line: socket.socket, peer: str) -> None:
        try:
            source = None
            if self._announcers.trusts(peer):
                source = await self._announced(line)
            await self._enter(line, source)
        except ConnectionResetError:
            pass  # It went by itself, as those do who only look whether we are there.
        except OSError:
            # Not TLS, too old, too slow, no certificate of a client that must have one.
            self.refused["handshake"] += 1
        except MessageError:
            self.refused["proxy_header"] += 1

    async def _announced(self, line: socket.socket) -> str | None:
        """Read the PROXY header in time; on any failure the line is closed."""
        try:
            async with asyncio.timeout(self.limits.header_timeout):
                return await _read_source(line)
        except TimeoutError:
            line.close()
            raise MessageError("a PROXY header that takes too long") from None
        except BaseException:
            line.close()
            raise

    async def _enter(self, line: socket.socket, source: str | None) -> None:
        if line.family != socket.AF_UNIX:
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        loop, certificates = asyncio.get_running_loop(), self.certificates
        tls = certificates is not None
        _ = await loop.connect_accepted_socket(
            lambda: _Guest(self, line, source),
            line,
            ssl=certificates.context if certificates is not None else None,
            ssl_handshake_timeout=self.limits.header_timeout if tls else None,
            ssl_shutdown_timeout=_GOODBYE if tls else None,
        )


async def accept(
    listener: socket.socket, take_in: Callable[[socket.socket, object], None]
) -> None:
    """Hand connections on, with their address, until cancelled; close the listener."""
    loop = asyncio.get_running_loop()
    listener.setblocking(False)
    try:
        while True:
            try:
                line, address = await loop.sock_accept(listener)
            except OSError:
                await asyncio.sleep(_BREATH)
                continue
            take_in(line, address)
            for line, address in _queued(listener):
                take_in(line, address)
            # A queue without end must not keep others from their turn.
            await asyncio.sleep(0)
    finally:
        listener.close()


def attend(
    line: socket.socket,
    work: Coroutine[Any, Any, None],
    forget: Callable[[socket.socket], None],
    *,
    name: str,
) -> asyncio.Task[None]:
    """Do the work of letting a connection in; `forget` hears when that is over.

    Also where it is cut, and that before it has begun: it could not tell by itself.
    """
    task = spawn(work, name=name)

    def ended(task: asyncio.Task[None]) -> None:
        forget(line)
        if task.cancelled():
            line.close()

    task.add_done_callback(ended)
    return task


def _queued(listener: socket.socket) -> Iterator[tuple[socket.socket, object]]:
    """Give who waits besides the one that was let in.

    With one in a turn of all who are inside already, a queue at a busy door never ends.
    """
    with contextlib.suppress(OSError):
        for _ in range(_TAKEN_A_TURN - 1):
            line, address = listener.accept()
            line.setblocking(False)
            yield line, address


async def _read_source(line: socket.socket) -> str | None:
    """Read a PROXY header and not a byte more."""
    loop, data = asyncio.get_running_loop(), b""
    while isinstance(told := read_proxy_header(data), int):
        piece = await loop.sock_recv(line, told)
        if not piece:
            broken = MessageError("a PROXY header that breaks off")
            raise broken if data else ConnectionResetError
        data += piece
    return told.source


class _Guest(Downstream):
    """A connection that came through an entrance."""

    def __init__(
        self, entrance: Entrance, line: socket.socket, source: str | None
    ) -> None:
        tls = entrance.certificates is not None
        super().__init__(
            entrance.front,
            entrance.limits,
            entrance.deadlines,
            scheme="https" if tls else "http",
        )
        self._entrance = entrance
        self._line = line
        self._source = source

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to speak HTTP, as the client that was announced."""
        self._entrance.arrived(self._line)
        written = cast("asyncio.WriteTransport", transport)
        written.set_write_buffer_limits(_WRITE_BUFFER)
        super().connection_made(transport)
        if self._source is not None:
            self.peer = self._source
