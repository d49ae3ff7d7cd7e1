"""Listeners and their life: open, serve, drain, close. Floor 5.

Order matters. Opening: status first, so that probes are answered from the start, then
admin, then the clients' door. Ending (SIGTERM or SIGINT): readiness goes off, nobody
new is let in, every answer says `Connection: close`; what was on its way arrives (who
is queued is accepted, a request on a connection that seemed idle is answered); then
the door and idle connections are closed, and what still runs at the deadline is cut.
A second signal does not wait.
"""

import asyncio
import contextlib
import ctypes
import errno
import os
import signal
import socket
import struct
from asyncio.trsock import TransportSocket
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from aiohttp import web

from gateway.admin.views import admin_app
from gateway.app import App
from gateway.certificates import Renewal
from gateway.config.addresses import Address
from gateway.console import Console, Observatory
from gateway.errors import GatewayError
from gateway.fronts.bounded import BoundedSite
from gateway.fronts.status import status_app
from gateway.listeners import DecisionDoor, Door, bind_all
from gateway.observe.audit import AuditLog
from gateway.operators import Operators
from gateway.reloads import Reloads
from gateway.tasks import spawn
from gateway.wire.deadlines import Deadlines

if TYPE_CHECKING:
    from gateway.fronts.ext_authz import GrpcDoor

_ARRIVING: Final = 0.5
"""Seconds in which what was on its way when the end began arrives: the last packet of
a handshake, a request on a connection that has been kept alive."""
_STORE_CHECK: Final = 5.0

_SO_ATTACH_FILTER: Final = 26
_SYN_DROPPED: Final = tuple(
    struct.pack("HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, 13),  # load the byte of flags
        (0x54, 0, 0, 0x12),  # of SYN and ACK
        (0x15, 0, 1, 0x02),  # is it SYN alone?
        (0x06, 0, 0, 0),  # then drop it
        (0x06, 0, 0, 0xFFFFFFFF),  # else take all of it
    )
)


class CannotListen(GatewayError):
    """A listener's address cannot be had; the message says which and what to do."""


class Windows:
    """The listeners that are not for clients."""

    def __init__(self) -> None:
        self._runners: list[web.AppRunner] = []
        self._renewing: list[asyncio.Task[None]] = []
        self.renewals: list[Renewal] = []
        """What looks after their certificates."""
        self.addresses: dict[str, Address] = {}
        """Where each is, by name."""

    def __repr__(self) -> str:
        return f"<Windows: {', '.join(map(str, self.addresses.values()))}>"

    async def open(
        self,
        name: str,
        address: Address,
        application: web.Application,
        operators: Operators | None = None,
    ) -> None:
        """Open one, for `operators` by their certificate; raises `CannotListen`."""
        runner = web.AppRunner(
            application, access_log=None, handler_cancellation=True, shutdown_timeout=1
        )
        await runner.setup()
        self._runners.append(runner)
        sites: list[BoundedSite] = []
        certificates = operators.certificates if operators else None
        refused = operators.unheard if operators else None
        with clear(name, address):
            doors = await bind_all(address)
            for door in doors:
                site = BoundedSite(
                    runner, door, certificates=certificates, refused=refused
                )
                await site.start()
                sites.append(site)
        # Port 0 lets the system choose: tell which one it chose.
        self.addresses[name] = address._replace(port=doors[0].getsockname()[1])
        if operators is not None and operators.renewal is not None:
            self._renew(operators.renewal, sites)

    def _renew(self, renewal: Renewal, sites: Sequence[BoundedSite]) -> None:
        def begin_anew() -> None:
            for site in sites:
                site.begin_anew()

        renewal.taken_up = begin_anew
        self.renewals.append(renewal)
        self._renewing.append(spawn(renewal.run(), name="certificates-admin"))

    async def close(self) -> None:
        """Close all, the last one first."""
        for task in self._renewing:
            task.cancel()
        for runner in reversed(self._runners):
            await runner.cleanup()


class Server:
    """A running gateway. Keeps `fronts.status.StatusState`."""

    def __init__(
        self, app: App, deadlines: Deadlines, *, reloads: Reloads | None = None
    ) -> None:
        self._app = app
        self._reloads = reloads
        self._deadlines = deadlines
        self._windows = Windows()
        self._door: Door | None = None
        self._authz: DecisionDoor | None = None
        self._grpc: GrpcDoor | None = None
        self._checking: asyncio.Task[None] | None = None
        self._beating: asyncio.Task[None] | None = None
        self._store_up = True
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self.addresses = self._windows.addresses
        self._opened = False
        self.draining = False
        self.observatory = Observatory(
            app, lambda: (self.started, self.draining, self._store_up)
        )
        app.metrics.watch("draining", lambda: self.draining)
        app.metrics.watch(
            "redis_up", lambda: self._store_up if app.store.shared else None
        )

    def __repr__(self) -> str:
        state = "draining" if self.draining else "serving"
        return f"<Server: {state}, {len(self._app.front)} connections>"

    @property
    def started(self) -> bool:
        """Tell whether clients are let in, and the marks there are have been read."""
        return self._opened and self._app.revocation.known

    def conditions(self) -> Mapping[str, bool]:
        """Tell which parts are well: names, never details."""
        told = {"store": self._store_up}
        if (stream := self._app.revocation.stream) is not None:
            told["revocations"] = not stream.blind
        return told

    # ----------------------------------------------------------------- opening

    async def start(self) -> None:
        """Open every listener; raises `CannotListen`."""
        app, listen = self._app, self._app.config.listen
        status = status_app(self, app.metrics_registry)
        await self._windows.open("status", listen.status, status)
        operators = Operators(
            lambda: app.config, log=app.log, clock=app.clock, watch=app.metrics.watch
        )
        admin = admin_app(
            explainer=app.explainer,
            desk=app.desk,
            console=Console(self.observatory, app),
            keeper=operators.keeper,
            reloader=self._reloads,
            auditor=AuditLog(app.log),
        )
        await self._windows.open("admin", listen.admin, admin, operators)
        await self.open_doors({})
        told = {name: str(address) for name, address in self.addresses.items()}
        app.log.info("listening", **told)

    async def open_doors(self, inherited: Mapping[str, socket.socket]) -> None:
        """Let clients and engines in, by sockets of one's own where none is inherited."""
        app, listen = self._app, self._app.config.listen
        self._store_up = await app.store_answers()
        await app.start()
        self._checking = spawn(self._watch_store(), name="watch-store")
        self._beating = spawn(self.observatory.pulse.run(), name="pulse")
        self._door = Door(app, self._deadlines)
        with clear("proxy", listen.proxy):
            await self._door.open(inherited.get("proxy"))
        self.addresses["proxy"] = self._door.address
        if listen.authz is not None:
            self._authz = DecisionDoor(app, listen.authz)
            with clear("authz", listen.authz):
                await self._authz.open(inherited.get("authz"))
            self.addresses["authz"] = self._authz.address
        if listen.authz_grpc is not None:
            await self._open_grpc(listen.authz_grpc)
        self._opened = True

    async def _open_grpc(self, address: Address) -> None:
        # Its C core writes lines of its own to standard error, where only ours belong.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
        # An extra: nobody else needs what it imports.
        from gateway.fronts.ext_authz import ExtAuthz, GrpcDoor  # noqa: PLC0415

        app = self._app
        front = ExtAuthz(
            app.counsel,
            trusts=app.forward_auth.trusts,
            ready=lambda: self.started and not self.draining,
        )
        self._grpc = GrpcDoor(front, app.limits, shared=app.config.workers > 1)
        with clear("authz_grpc", address):
            self.addresses["authz_grpc"] = await self._grpc.open(address)

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
        if self._reloads is not None:
            if self._reloads.by_signal:
                loop.add_signal_handler(signal.SIGHUP, self._reloads.ask, "signal")
            self._reloads.watch()
        await self._stop.wait()
        if self._reloads is not None:
            self._reloads.close()
        await self.drain()
        await self.close()

    def stop(self) -> None:
        """End in good order; a second call ends at once."""
        if self._stop.is_set():
            self.hurry()
        self._stop.set()

    def hurry(self) -> None:
        """Wait for nobody any more while draining."""
        self._hurry.set()

    async def drain(self) -> None:
        """Let what was begun finish, for as long as the configuration allows."""
        self.draining = True
        deadline = self._app.config.drain.deadline
        self._app.log.info("draining", seconds=deadline, open=len(self._app.front))
        self._app.front.last_call()
        if self._door is not None:
            for each in self._door.sockets:
                turn_away(each)
        if self._authz is not None:
            self._authz.last_call()
            for asked in self._authz.sockets:
                turn_away(asked)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline):
                await self._let_arrive()
                if self._door is not None:
                    self._door.close()
                self._app.front.drain()
                if self._authz is not None:
                    await self._authz.drain()
                if self._grpc is not None:
                    self._grpc.drain(deadline)
                # Polled: it ends in two ways, and only while the process ends.
                while self._somebody_here() and not self._hurry.is_set():  # noqa: ASYNC110
                    await asyncio.sleep(0.02)

    def _somebody_here(self) -> bool:
        arriving = 0 if self._door is None else self._door.arriving
        asking = 0 if self._authz is None else len(self._authz)
        calling = self._grpc is not None and not self._grpc.ended
        return bool(len(self._app.front) or arriving or asking or calling)

    async def _let_arrive(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ARRIVING):
                await self._hurry.wait()

    async def close(self) -> None:
        """Cut what is left, and let go of everything."""
        if self._door is not None:
            self._door.abort()
        cut = self._app.in_flight
        self._app.front.abort()
        if self._authz is not None:
            await self._authz.close()
        if self._grpc is not None:
            await self._grpc.close()
        for task in (self._checking, self._beating):
            if task is not None:
                task.cancel()
        await self._windows.close()
        await self._app.close()
        self._app.log.info("stopped", cut=cut)


def turn_away(listener: socket.socket | TransportSocket) -> None:
    """Let nobody new knock at a listening socket; who has knocked is queued as before.

    Closing a listener resets the connections in its queue, and while it accepts there
    is always one more. So the kernel is told to drop packets that begin a handshake
    (a classic BPF program on the TCP header): what has begun completes, and who comes
    now tries again a second later and finds nobody, which is a refusal and no reset.
    Where the system cannot do that, the moment of the race stays.
    """
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        return
    program = ctypes.create_string_buffer(b"".join(_SYN_DROPPED))
    told = struct.pack("HL", len(_SYN_DROPPED), ctypes.addressof(program))
    with contextlib.suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, told)


@contextlib.contextmanager
def clear(name: str, address: Address) -> Iterator[None]:
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
