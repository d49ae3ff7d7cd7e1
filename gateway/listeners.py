"""The clients' door: TCP or a Unix domain socket, with or without TLS. Floor 5.

Plain connections go straight to `wire.downstream`. Where TLS or a PROXY header comes
first, they pass `wire.entrance`.
"""

import asyncio
import contextlib
import functools
import socket
from pathlib import Path
from typing import Final, cast

from aiohttp import web

from gateway.app import App
from gateway.certificates import LOOK_EVERY, Renewal
from gateway.config.addresses import Address, UnixAddress
from gateway.errors import GatewayError
from gateway.fronts.bounded import BoundedSite
from gateway.rules.forwarded import TrustedProxies
from gateway.tasks import spawn
from gateway.wire.deadlines import Deadlines
from gateway.wire.downstream import Downstream
from gateway.wire.entrance import REFUSALS, Entrance

BACKLOG: Final = 1024

_OWN_BYTES: Final = 256
_OWN_HEADERS: Final = 28
"""What a question has beside the request it is about."""

SOCKET_MODE: Final = 0o660
"""Who may connect to a Unix domain socket: its owner and group."""


class CannotOpen(GatewayError):
    """The clients' door cannot be opened; the message says why and what to do."""


class Door:
    """The clients' listener of one process."""

    def __init__(
        self, app: App, deadlines: Deadlines, *, look_every: float = LOOK_EVERY
    ) -> None:
        """Read the certificate, if there is one; raises `TlsUnusable`."""
        self._app = app
        self._deadlines = deadlines
        self._file: SocketFile | None = None
        self._servers: list[asyncio.Server] = []
        self._tasks: list[asyncio.Task[None]] = []
        listen = app.config.listen
        self.address: Address = listen.proxy
        """Where it is: of port 0, once open, the port that the system chose."""
        self.sockets: list[socket.socket] = []
        """What listens; empty before it is open, and after it was closed."""
        self.renewal: Renewal | None = None
        """What looks after the certificate, if there is one."""
        if listen.tls is not None:
            self.renewal = Renewal("proxy", listen.tls, app.log, every=look_every)
        self._entrance: Entrance | None = None
        if self.renewal is not None or listen.proxy_protocol:
            self._entrance = Entrance(
                app.front,
                app.limits,
                deadlines,
                inside=lambda: len(app.front),
                announcers=TrustedProxies(listen.proxy_protocol),
                certificates=self.renewal.certificates if self.renewal else None,
            )
        app.adopted.append(self._go_by_the_new)
        self._watch()

    def __repr__(self) -> str:
        return f"<Door {self.address}>"

    @property
    def arriving(self) -> int:
        """Count who is still on the way in: with a PROXY header, or a handshake."""
        return 0 if self._entrance is None else len(self._entrance)

    async def open(self, inherited: socket.socket | None = None) -> None:
        """Let clients in, by a socket of one's own or one that was inherited.

        Raises `OSError`, or `CannotOpen` for a Unix domain socket.
        """
        self.sockets = await self._bind() if inherited is None else [inherited]
        for listener in self.sockets:
            await self._serve(listener)
        if not isinstance(self.address, UnixAddress):
            port = self.sockets[0].getsockname()[1]
            self.address = self.address._replace(port=port)
        if self.renewal is not None:
            self._tasks.append(spawn(self.renewal.run(), name="certificates"))

    def close(self) -> None:
        """Let nobody in any more; who is already inside stays."""
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        if self._file is not None:
            self._file.remove()
        self.sockets = []

    def abort(self) -> None:
        """Close, and cut whoever is still on the way in."""
        self.close()
        if self._entrance is not None:
            self._entrance.abort()

    async def _bind(self) -> list[socket.socket]:
        if isinstance(self.address, UnixAddress):
            self._file = SocketFile(Path(self.address.host))
            return [self._file.socket]
        return await bind_all(self.address)

    async def _serve(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        if self._entrance is not None:
            listener.listen(BACKLOG)
            work = self._entrance.serve(listener)
            self._tasks.append(spawn(work, name="accept"))
        elif listener.family == socket.AF_UNIX:
            server = await loop.create_unix_server(
                self._downstream, sock=listener, backlog=BACKLOG
            )
            self._servers.append(server)
        else:
            server = await loop.create_server(
                self._downstream, sock=listener, backlog=BACKLOG
            )
            self._servers.append(server)

    def _go_by_the_new(self) -> None:
        """Have who comes from now on bounded by the configuration in force."""
        if self._entrance is not None:
            self._entrance.limits = self._app.limits

    def _downstream(self) -> asyncio.Protocol:
        made = Downstream(self._app.front, self._app.limits, self._deadlines)
        # It is one by its methods; a compiled class can have no base that is not.
        return cast("asyncio.Protocol", made)

    def _watch(self) -> None:
        watch, entrance = self._app.metrics.watch, self._entrance
        if entrance is not None:
            for why in REFUSALS:
                watch(
                    "connections_refused_total",
                    functools.partial(entrance.refused.__getitem__, why),
                    why,
                )
        if self.renewal is not None:
            self.renewal.show(watch)


async def bind_all(address: Address) -> list[socket.socket]:
    """Bind it; a name such as localhost may stand for an address of each family."""
    loop, bound = asyncio.get_running_loop(), list[socket.socket]()
    found = await loop.getaddrinfo(*address, type=socket.SOCK_STREAM)
    try:
        for family, *_, where in dict.fromkeys(found):
            bound.append(socket.create_server(where, family=family))
    except OSError:
        for each in bound:
            each.close()
        raise
    return bound


class DecisionDoor:
    """The listener of one process at which engines ask over HTTP."""

    def __init__(self, app: App, address: Address) -> None:
        self._app = app
        self.address = address
        """Where it is: of port 0, once open, the port that the system chose."""
        self.sockets: list[socket.socket] = []
        """What listens; empty before it is open, and after it was closed."""
        self._sites: list[BoundedSite] = []
        self._runner = web.ServerRunner(
            web.Server(app.forward_auth.handle, handler_cancellation=True),
            shutdown_timeout=1,
        )

    def __repr__(self) -> str:
        return f"<DecisionDoor {self.address}: {len(self)} connections>"

    def __len__(self) -> int:
        """Count the open connections."""
        server = self._runner.server
        return 0 if server is None else len(server.connections)

    async def open(self, inherited: socket.socket | None = None) -> None:
        """Let engines in, by a socket of one's own or one that was inherited."""
        limits = self._app.limits
        await self._runner.setup()
        bound = await bind_all(self.address) if inherited is None else [inherited]
        self.sockets = bound
        for listener in bound:
            site = BoundedSite(
                self._runner,
                listener,
                knows=self._app.forward_auth.trusts,
                connections=limits.connections,
                head_seconds=limits.idle_timeout,
                # The target and the head of another request are in this one's.
                max_line_size=limits.target_bytes + _OWN_BYTES,
                max_field_size=limits.header_bytes,
                max_headers=limits.header_count + _OWN_HEADERS,
                auto_decompress=False,
            )
            await site.start()
            self._sites.append(site)
        port = self.sockets[0].getsockname()[1]
        self.address = self.address._replace(port=port)

    def last_call(self) -> None:
        """Make every coming answer the last of its connection."""
        self._app.forward_auth.closing = True

    async def drain(self) -> None:
        """Let nobody in any more, and close the connections on which nobody asks."""
        self.sockets = []
        for site in self._sites:
            await site.stop()
            site.close_idle()

    async def close(self) -> None:
        """Cut what is left."""
        self.sockets = []
        await self._runner.cleanup()


class SocketFile:
    """A Unix domain socket, bound to its path; it listens once a server has it."""

    def __init__(self, path: Path) -> None:
        """Bind it, in place of one that nobody listens on; raises `CannotOpen`."""
        self._path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _clear_away(path)
            self.socket.bind(str(path))
            # Before anybody can connect: it does not listen yet.
            path.chmod(SOCKET_MODE)
            self._identity = _identity(path)
        except OSError as error:
            self.socket.close()
            raise CannotOpen(
                f"listen.proxy: cannot listen on unix:{path}: {error.strerror};"
                " choose another path, or end what is there"
            ) from error

    def __repr__(self) -> str:
        return f"<SocketFile {self._path}>"

    def remove(self) -> None:
        """Take the file away, unless it is a successor's by now."""
        with contextlib.suppress(OSError):
            if _identity(self._path) == self._identity:
                self._path.unlink()


def _identity(path: Path) -> tuple[int, int]:
    found = path.lstat()
    # The number of a file that was removed is soon given to another.
    return found.st_ino, found.st_mtime_ns


def _clear_away(path: Path) -> None:
    """Remove a socket that a process left when it was killed; nothing else."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a full queue is somebody, too
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        except BlockingIOError:
            pass
