"""A TCP proxy that misbehaves on the test's word: what networks and crashes do."""

import asyncio
import enum
import socket
import struct
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

RESET = struct.pack("ii", 1, 0)


class Cut(enum.Enum):
    """What the near side hears when the far side is gone: of `HALF_OPEN` nothing."""

    RESET = enum.auto()
    CLOSE = enum.auto()
    HALF_OPEN = enum.auto()


def reset(writer: Writer) -> None:
    """End a connection as a crash does: with a reset."""
    if not writer.is_closing():
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()


class FaultProxy:
    """Passes bytes on to a port of this machine, as badly as it is told to.

    What is told holds for old connections too; a cut only for new ones.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.latency = 0.0  # seconds that every piece waits, either way
        self.step = 0  # bytes passed on at once; 0: as they come
        self.cut_at = -1  # after so many bytes of answers; -1: never
        self.cut = Cut.RESET
        self.accepted = 0
        self._flows = asyncio.Event()
        self._flows.set()
        self._open: set[tuple[Writer, Writer]] = set()
        self._server: asyncio.Server

    async def start(self) -> None:
        """Listen: on the same port every time."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """Listen no more: who knocks is refused; what is open stays."""
        self._server.close()

    def stall(self) -> None:
        """Pass nothing on, and keep every connection open: a black hole."""
        self._flows.clear()

    def flow(self) -> None:
        """Be a good network again, for what is open and what comes."""
        self.latency, self.step, self.cut_at = 0.0, 0, -1
        self._flows.set()

    def reset_all(self) -> None:
        """Reset every open connection, both ways."""
        for near, far in list(self._open):
            reset(near)
            reset(far)

    async def _serve(self, reader: Reader, near: Writer) -> None:
        self.accepted += 1
        with suppress(OSError):
            answers, far = await asyncio.open_connection("127.0.0.1", self.target)
            self._open.add((near, far))
            asked = self._pass(reader, far, far, -1)
            with suppress(OSError):
                await asyncio.gather(asked, self._pass(answers, near, far, self.cut_at))
            self._open.discard((near, far))
            far.close()
        near.close()

    async def _pass(self, reader: Reader, to: Writer, far: Writer, left: int) -> None:
        while piece := await reader.read(self.step or 65536):
            await asyncio.sleep(self.latency)
            await self._flows.wait()
            if 0 <= left <= len(piece):
                await self._end(to, far, piece[:left])
                return
            left = max(-1, left - len(piece))
            if not to.is_closing():
                to.write(piece)
                await to.drain()
        await self._flows.wait()
        if not to.is_closing():
            to.write_eof()

    async def _end(self, near: Writer, far: Writer, last: bytes) -> None:
        near.write(last)
        far.transport.abort()
        # A reset would overtake what is still on its way to the near side.
        await asyncio.sleep(0.01)
        if self.cut is Cut.RESET:
            reset(near)
        elif self.cut is Cut.CLOSE:
            near.close()


@asynccontextmanager
async def faulty(target: int) -> AsyncIterator[FaultProxy]:
    """Run a proxy to a port of this machine."""
    proxy = FaultProxy(target)
    await proxy.start()
    try:
        yield proxy
    finally:
        proxy.refuse()
        proxy.flow()
        proxy.reset_all()
