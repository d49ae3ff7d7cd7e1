"""Listeners and their life: open, serve, drain, close. Floor 5.

Order matters. Opening: status first, so that probes are answered from the start, then
admin, then the clients' door. Ending (SIGTERM or SIGINT): readiness goes off, what is
already queued is accepted, the door is closed, every answer says `Connection: close`,
and what still runs at the deadline is cut. A second signal does not wait.
"""

import asyncio
import contextlib
import errno
import signal
from collections.abc import Iterator, Mapping
from typing import Final

from aiohttp import web

from gateway.admin.views import admin_app
from gateway.app import App
from gateway.config.addresses import Address
from gateway.errors import GatewayError
from gateway.fronts.status import status_app
from gateway.tasks import spawn
from gateway.wire.deadlines import Deadlines
from gateway.wire.downstream import Downstream

BACKLOG: Final = 1024
_ACCEPT_QUEUED: Final = 0.2
"""Seconds in which connections that the kernel already accepted are taken in."""
_STORE_CHECK: Final = 5.0


class CannotListen(GatewayError):
    """A listener's address cannot be had; the message says which and what to do."""


class Server:
    """A running gateway. Keeps `fronts.status.StatusState`."""

    def __init__(self, app: App, deadlines: Deadlines) -> None:
        self._app = app
        self._deadlines = deadlines
        self._runners: list[web.AppRunner] = []
        self._door: asyncio.Server | None = None
        self._checking: asyncio.Task[None] | None = None
        self._store_up = True
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self.addresses: dict[str, Address] = {}
        self.started = False
        self.draining = False
        app.metrics.watch("draining", lambda: self.draining)
        app.metrics.watch("store_up", lambda: self._store_up)

    def __repr__(self) -> str:
        state = "draining" if self.draining else "serving"
        return f"<Server: {state}, {len(self._app.front)} connections>"

    def conditions(self) -> Mapping[str, bool]:
        """Tell which parts are well: names, never details."""
        return {"store": self._store_up}

    # ----------------------------------------------------------------- opening

    async def start(self) -> None:
        """Open every listener; raises `CannotListen`."""
        app, listen = self._app, self._app.config.listen
        await self._open(
            "status", listen.status, status_app(self, app.metrics_registry)
        )
        admin = admin_app(
            explainer=app.explainer,
            desk=app.desk,
            token=app.config.admin.token,
            hosts=(listen.admin.host,),
        )
        await self._open("admin", listen.admin, admin)
        self._store_up = await app.store_answers()
        self._checking = spawn(self._watch_store(), name="watch-store")
        loop = asyncio.get_running_loop()
        with _clear("proxy", listen.proxy):
            self._door = await loop.create_server(
                lambda: Downstream(app.front, app.limits, self._deadlines),
                listen.proxy.host,
                listen.proxy.port,
                backlog=BACKLOG,
            )
        bound = self._door.sockets[0].getsockname()
        self.addresses["proxy"] = listen.proxy._replace(port=bound[1])
        self.started = True
        told = {name: str(address) for name, address in self.addresses.items()}
        app.log.info("listening", **told)

    async def _open(
        self, name: str, address: Address, application: web.Application
    ) -> None:
        runner = web.AppRunner(
            application, access_log=None, handler_cancellation=True, shutdown_timeout=1
        )
        await runner.setup()
        self._runners.append(runner)
        with _clear(name, address):
            await web.TCPSite(runner, address.host, address.port).start()
        # Port 0 lets the system choose: tell which one it chose.
        self.addresses[name] = address._replace(port=runner.addresses[0][1])

    async def _watch_store(self) -> None:
        while True:
            await asyncio.sleep(_STORE_CHECK)
            await self._check_store()

    async def _check_store(self) -> None:
        up = await self._app.store_answers()
        if up != self._store_up:
            tell = self._app.log.info if up else self._app.log.warning
            tell("store_back" if up else "store_lost")
        self._store_up = up

    # ------------------------------------------------------------------ ending

    async def serve(self) -> None:
        """Serve until a signal, then end in good order."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        await self._stop.wait()
        await self.drain()
        await self.close()

    def stop(self) -> None:
        """End in good order; a second call ends at once."""
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    async def drain(self) -> None:
        """Let what was begun finish, for as long as the configuration allows."""
        self.draining = True
        deadline = self._app.config.drain.deadline
        self._app.log.info("draining", seconds=deadline, open=len(self._app.front))
        self._app.front.drain()
        await asyncio.sleep(_ACCEPT_QUEUED)
        if self._door is not None:
            self._door.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline):
                # Polled: it ends in two ways, and only while the process ends.
                while len(self._app.front) and not self._hurry.is_set():  # noqa: ASYNC110
                    await asyncio.sleep(0.02)

    async def close(self) -> None:
        """Cut what is left, and let go of everything."""
        if self._door is not None:
            self._door.close()
        cut = self._app.reception.in_flight
        self._app.front.abort()
        if self._checking is not None:
            self._checking.cancel()
        for runner in reversed(self._runners):
            await runner.cleanup()
        await self._app.close()
        self._app.log.info("stopped", cut=cut)


@contextlib.contextmanager
def _clear(name: str, address: Address) -> Iterator[None]:
    """Say which listener could not be opened, and what to do about it."""
    try:
        yield
    except OSError as error:
        why = (
            "the port is in use"
            if error.errno == errno.EADDRINUSE
            else error.strerror or "no such address"
        )
        raise CannotListen(
            f"listen.{name}: cannot listen on {address}: {why}; choose another port"
            f" (listen.{name} in the configuration, --{name}-port of `gateway demo`)"
        ) from error
