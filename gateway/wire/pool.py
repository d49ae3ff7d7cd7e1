"""The connections to one upstream: few, reused, bounded. Floor 3.

The hot path is `take_idle`: a list pop. Everything that can wait (connecting, queueing
for a free slot) is `take`, awaited in the asker's task. Idle connections are kept last
in, first out, so that a quiet upstream's connections grow old and are closed.
"""

import asyncio
import collections
import contextlib
import itertools
import ssl

from gateway.errors import UpstreamUnavailable
from gateway.values import Origin, UpstreamSettings
from gateway.wire.deadlines import Deadlines
from gateway.wire.upstream import UpstreamConnection


class UpstreamBusy(UpstreamUnavailable):
    """All connections are in use and the queue for one is full: 503."""


class Pool:
    """The connections to the origins of one upstream."""

    def __init__(self, settings: UpstreamSettings, deadlines: Deadlines) -> None:
        self.settings = settings
        self._deadlines = deadlines
        self._idle: list[UpstreamConnection] = []
        self._open: dict[UpstreamConnection, Origin] = {}
        self._connecting = 0
        self._waiters: collections.deque[asyncio.Future[UpstreamConnection | None]] = (
            collections.deque()
        )
        self._numbers = itertools.count(1)
        self._origins = itertools.cycle(settings.origins)
        self._tls = _tls_context(settings)
        self._closed = False

    def __repr__(self) -> str:
        busy = len(self._open) - len(self._idle)
        return f"<Pool {self.settings.name}: {busy} busy, {len(self._idle)} idle>"

    def take_idle(self) -> UpstreamConnection | None:
        """Give a connection that is ready now, if there is one."""
        while self._idle:
            connection = self._idle.pop()
            if connection.alive:
                return connection
        return None

    async def take(self, *, fresh: bool = False) -> UpstreamConnection:
        """Give a connection: idle (unless `fresh`), new, or the next to be free.

        Raises `UpstreamBusy`, `TimeoutError` or `UpstreamUnavailable`.
        """
        while True:
            connection = None if fresh else self.take_idle()
            if connection is not None:
                return connection
            limit = self.settings.connections * len(self.settings.origins)
            if len(self._open) + self._connecting < limit:
                return await self._connect()
            if fresh and self._idle:
                # Room for a fresh one is made by giving up an idle one.
                self._idle.pop(0).drop()
            waited = await self._wait()
            if waited is not None and not fresh:
                return waited
            if waited is not None:
                waited.drop()

    async def _wait(self) -> UpstreamConnection | None:
        if len(self._waiters) >= self.settings.waiting:
            raise UpstreamBusy(f"{self.settings.name}: every connection is in use")
        waiter: asyncio.Future[UpstreamConnection | None] = (
            asyncio.get_running_loop().create_future()
        )
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(self.settings.timeouts.first_byte):
                return await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled():
                self._pass_on(waiter.result())
            with contextlib.suppress(ValueError):
                self._waiters.remove(waiter)
            raise

    async def _connect(self) -> UpstreamConnection:
        """Try each origin once, each within the connect deadline."""
        failure: Exception | None = None
        for _ in self.settings.origins:
            origin = next(self._origins)
            self._connecting += 1
            try:
                return await self._connect_to(origin)
            except (OSError, TimeoutError, ssl.CertificateError) as error:
                failure = error
            except BaseException:
                self._pass_on(None)
                raise
            finally:
                self._connecting -= 1
        self._pass_on(None)
        if isinstance(failure, TimeoutError):
            raise TimeoutError(f"{self.settings.name}: connect timeout") from failure
        raise UpstreamUnavailable(f"{self.settings.name}: no connection") from failure

    async def _connect_to(self, origin: Origin) -> UpstreamConnection:
        loop = asyncio.get_running_loop()
        tls = self._tls if origin.scheme == "https" else None
        async with asyncio.timeout(self.settings.timeouts.connect):
            _, connection = await loop.create_connection(
                lambda: UpstreamConnection(self, self._deadlines, next(self._numbers)),
                origin.host,
                origin.port,
                ssl=tls,
                server_hostname=origin.host if tls else None,
            )
        if self._closed:
            connection.drop()
            raise UpstreamUnavailable(f"{self.settings.name}: closing")
        self._open[connection] = origin
        return connection

    def give_back(self, connection: UpstreamConnection) -> None:
        """Take a connection that may serve again (`Keeper`)."""
        self._pass_on(connection)

    def gone(self, connection: UpstreamConnection) -> None:
        """Take note that a connection is no more, and let a waiter open another."""
        if self._open.pop(connection, None) is None:
            return
        if connection in self._idle:
            self._idle.remove(connection)
        self._pass_on(None)

    def _pass_on(self, connection: UpstreamConnection | None) -> None:
        """Hand a connection (or, with None, the room for one) to who waits longest."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        if connection is None:
            return
        if self._closed:
            connection.drop()
            return
        connection.deadline = self._deadlines.time() + self.settings.keepalive
        self._idle.append(connection)

    def close(self) -> None:
        """Close idle connections now, busy ones as they finish; open no more."""
        self._closed = True
        for connection in self._idle[:]:
            connection.drop()
        self._idle.clear()

    def abort(self) -> None:
        """Close every connection now."""
        self.close()
        for connection in list(self._open):
            connection.overdue()


def _tls_context(settings: UpstreamSettings) -> ssl.SSLContext | None:
    if all(origin.scheme != "https" for origin in settings.origins):
        return None
    context = ssl.create_default_context(cafile=settings.ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
