"""Bounds for the listeners that aiohttp serves: status and admin. Floor 4.

Left to itself aiohttp lets in as many as come, and answers a message it cannot read
with the line it choked on, which may hold a token (SECURITY §0, items 10 and 11). Its
keep-alive deadline is also that of a head: it runs until a whole one has come, from the
connection's begin or its last answer, however the bytes drip.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

from aiohttp import web

from gateway.fronts.handshakes import Handshakes
from gateway.tasks import spawn
from gateway.wire.tls import Certificates

CONNECTIONS: Final = 256
"""Of one listener. Beyond, the oldest goes: a probe must always get in."""

STRANGERS: Final = 16
"""Connections of those who are only told that they may not ask: what they hold, they
take from nobody."""

HEAD_SECONDS: Final = 10.0
BACKLOG: Final = 128


class BoundedSite(web.BaseSite):
    """What `web.SockSite` is, with bounds."""

    def __init__(
        self,
        runner: web.BaseRunner,
        door: socket.socket,
        *,
        connections: int = CONNECTIONS,
        head_seconds: float = HEAD_SECONDS,
        knows: Callable[[str], bool] | None = None,
        certificates: Certificates | None = None,
        refused: Counter[str] | None = None,
        **options: Any,
    ) -> None:
        """`door` is bound; `options` are aiohttp's.

        Where `knows` tells who may ask, all others have a few connections of their own.
        With `certificates` it speaks TLS, and counts in `refused` who cannot.
        """
        super().__init__(runner)
        self._door = door
        self._knows = knows
        self._options = options
        self._connections = connections
        self._head_seconds = head_seconds
        self._handshakes: Handshakes | None = None
        self._accepting: asyncio.Task[None] | None = None
        if certificates is not None:
            self._handshakes = Handshakes(
                certificates,
                self._handler,
                seconds=head_seconds,
                refused=Counter() if refused is None else refused,
            )

    @property
    def name(self) -> str:
        """Tell where it listens."""
        scheme = "http" if self._handshakes is None else "https"
        host, port, *_ = self._door.getsockname()
        return f"{scheme}://{host}:{port}"

    async def start(self) -> None:
        """Open it; raises `OSError`."""
        await super().start()
        if self._handshakes is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(self._handler, sock=self._door)
            return
        self._door.listen(BACKLOG)
        work = self._handshakes.serve(self._door)
        self._accepting = spawn(work, name="accept-tls")

    async def stop(self) -> None:
        """Let nobody in any more, and cut those who are on the way in."""
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.wait([self._accepting])
            self._door.close()
        await super().stop()

    def begin_anew(self) -> None:
        """Have everybody shake hands again: nobody stays whom old files let in."""
        if self._handshakes is not None:
            self._handshakes.abort()
        self.close_idle()

    def close_idle(self) -> None:
        """Close every connection, those in use after their answer."""
        for each in (
            () if self._runner.server is None else self._runner.server.connections
        ):
            if isinstance(each, _Handler):
                each.close_when_idle()

    def _handler(self) -> "_Handler":
        server = self._runner.server
        if server is None:
            raise RuntimeError("the runner is not set up, or no more")
        return _Handler(
            server,
            connections=self._connections,
            knows=self._knows,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=self._head_seconds,
            access_log=None,
            **self._options,
        )


class _Handler(web.RequestHandler):
    __slots__ = ("_knows", "_limit", "stranger")

    def __init__(
        self,
        manager: web.Server,
        *,
        connections: int,
        knows: Callable[[str], bool] | None,
        **options: Any,
    ) -> None:
        super().__init__(manager, **options)
        self._knows = knows
        self._limit = connections
        self.stranger = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        self.stranger = self._knows is not None and not self._knows(str(peer[0]))
        there = [] if self._manager is None else self._manager.connections
        alike = [
            each
            for each in there
            if isinstance(each, _Handler) and each.stranger == self.stranger
        ]
        if not self.stranger and len(alike) > self._limit:
            _abort_first(alike)
        elif self.stranger and len(alike) > STRANGERS:
            self.force_close()

    def close_when_idle(self) -> None:
        """Close now, or once the request under way is answered."""
        # aiohttp's own `close` leaves the transport of an idle connection open.
        if self._waiter is not None:
            self.force_close()
        else:
            self.close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status != 400:
            return super().handle_error(request, status, exc, message)
        # Neither told nor logged: `message` and `exc` hold the bytes it choked on.
        answer = web.Response(status=400, text="bad request\n")
        answer.force_close()
        return answer


def _abort_first(handlers: Sequence[web.RequestHandler]) -> None:
    for handler in handlers:
        if handler.transport is not None and not handler.transport.is_closing():
            handler.transport.abort()
            return
