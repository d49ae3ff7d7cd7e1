"""The parent of several workers: it serves no client. Floor 5.

Opening: the port is taken for all workers, then the probes are answered, then every
post is held; ready is who has had all of them serve once and has one now. Ending: not
ready, every worker ends in good order, a second signal has them hurry; then whatever
is left is killed. If the parent itself is killed, its workers see that and end alone.

A post that is empty when the end begins has a successor only if somebody waits there.
"""

import asyncio
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from prometheus_client.registry import Collector

from gateway.admin.views import admin_app
from gateway.app import SystemClock
from gateway.config.addresses import Address
from gateway.config.load import Loaded
from gateway.config.model import Config
from gateway.config.source import Source
from gateway.config.traces import essence
from gateway.console import settled
from gateway.errors import GatewayError
from gateway.facts.marks import TokenTerms
from gateway.fronts.status import status_app
from gateway.observe.audit import AuditLog
from gateway.observe.logs import Log, configure
from gateway.observe.parent import ParentReadings
from gateway.observe.reloads import ReloadMetrics
from gateway.observe.revocations import RevocationLog
from gateway.operators import Operators
from gateway.reloads import Reloads
from gateway.revocation import READING, Revocation
from gateway.server import Windows, clear
from gateway.tasks import spawn
from gateway.workers.consent import Consent
from gateway.workers.console import Console
from gateway.workers.desk import Desk, Explainer, Scraper
from gateway.workers.link import Build, Keep, Prepare, Question
from gateway.workers.post import House, Pace, Post

_MARGIN: Final = 1.5
"""Seconds for a worker to say that it has ended, beyond the drain's own deadline."""


_WATCHED: Final = (
    "admin_refused_total",
    "tls_certificate_expiry_timestamp_seconds",
    "tls_last_reload_successful",
)


class Parent:
    """Runs workers. Keeps `fronts.status.StatusState`."""

    def __init__(
        self, loaded: Loaded, *, log: Log, command: Sequence[str], pace: Pace
    ) -> None:
        """`command` runs a worker (`House.command`)."""
        config = self.config = loaded.config
        """The configuration in force."""
        self._log = log
        self._pace = pace
        self._build = _build(loaded)
        self.reloads: Reloads | None = None
        """What changes it, if anything does."""
        self._windows = Windows()
        self._stop = asyncio.Event()
        self._begun = False
        self._tasks: list[asyncio.Task[None]] = []
        self._posts: list[Post] = []
        self._addresses = {"proxy": config.listen.proxy}
        if config.listen.authz is not None:
            self._addresses["authz"] = config.listen.authz
        clock = self._clock = SystemClock()
        self._revocation = self._look_after_marks(config)
        self._ledger = _ledger_of(config)
        marks = self._marks = self._revocation.marks
        self._desk = Desk(self._posts, marks, tuple(config.providers))
        self._console = Console(self._posts, settled(loaded), clock)
        self._scraper = Scraper(self._posts, asyncio.get_running_loop())
        self._readings = ParentReadings(_WATCHED)
        self.show(self._readings)
        self._house = House(
            command=command,
            build=lambda: self._build,
            marks=marks.list,
            hear=self._hear,
            bind=self._bind,
            left=self._scraper.gone.add,
            log=log,
            clock=clock,
            pace=pace,
        )
        self.addresses = self._windows.addresses
        self.draining = False

    def _look_after_marks(self, config: Config) -> Revocation:
        return Revocation(
            config,
            clock=self._clock,
            terms=_terms(config),
            events=RevocationLog(self._log),
        )

    def __repr__(self) -> str:
        state = "draining" if self.draining else "serving"
        return f"<Parent: {state}, {sum(each.serving for each in self._posts)} workers>"

    @property
    def started(self) -> bool:
        """Tell whether all have served, one does now, and the marks were read."""
        serving = any(post.serving for post in self._posts)
        return self._begun and serving and self._revocation.known

    def conditions(self) -> Mapping[str, bool]:
        """Tell which parts are well: which workers serve, and what they say."""
        told = {f"worker {post.number}": post.serving for post in self._posts}
        for post in self._posts:
            for name, well in post.conditions.items():
                told[name] = told.get(name, True) and well
        return told

    def show(self, collector: Collector) -> None:
        """Show what the parent counts by itself, along with the workers' metrics."""
        self._scraper.own.register(collector)

    # ----------------------------------------------------------------- opening

    async def start(self) -> None:
        """Open every listener and have every worker serve.

        Raises `CannotListen`, or what keeps a worker from its start.
        """
        listen = self.config.listen
        doors = self._take_ports()
        self._posts += [
            Post(number, each, self._house) for number, each in enumerate(doors, 1)
        ]
        status = status_app(self, self._scraper.registry)
        await self._windows.open("status", listen.status, status)
        operators = Operators(
            lambda: self.config,
            log=self._log,
            clock=self._clock,
            watch=self._readings.watch,
        )
        admin = admin_app(
            explainer=Explainer(self._posts),
            desk=self._desk,
            console=self._console,
            keeper=operators.keeper,
            reloader=self.reloads,
            auditor=AuditLog(self._log),
        )
        await self._windows.open("admin", listen.admin, admin, operators)
        self._tasks += [
            spawn(post.hold(), name=f"post-{post.number}") for post in self._posts
        ]
        await asyncio.gather(
            self._revocation.start(), *(post.started for post in self._posts)
        )
        self._begun = True
        self.addresses |= self._addresses
        told = {name: str(address) for name, address in self.addresses.items()}
        self._log.info("listening", **told)

    def _take_ports(self) -> list[dict[str, socket.socket]]:
        """Bind the sockets of each worker; nobody else has the ports."""
        if (grpc := self.config.listen.authz_grpc) is not None:
            # Every worker binds it by itself.
            with clear("authz_grpc", grpc), bind(grpc, alone=True):
                self.addresses["authz_grpc"] = grpc
        doors: list[dict[str, socket.socket]] = [{} for _ in range(self.config.workers)]
        for name, address in self._addresses.items():
            with clear(name, address):
                # Without SO_REUSEPORT: we would share the port with another gateway.
                with bind(address, alone=True) as probe:
                    port: int = probe.getsockname()[1]
                self._addresses[name] = address._replace(port=port)
                for each in doors:
                    each[name] = bind(self._addresses[name])
        return doors

    def _bind(self) -> dict[str, socket.socket]:
        """Bind the sockets of one worker anew; raises `OSError`."""
        return {name: bind(address) for name, address in self._addresses.items()}

    async def _hear(self, post: Post, question: Question) -> None:
        """Do what a worker asks for."""
        if not isinstance(question, Keep):
            raise GatewayError("expected nothing but marks from a worker")
        await self._desk.spread(question.mark, post)

    # ------------------------------------------------------------- live change

    async def reload(self, loaded: Loaded) -> None:
        """Have all workers serve by another configuration, or none.

        Raises `ConfigError` or `GatewayError` when one of them, or we, cannot.
        """
        pace, config = self._pace, loaded.config
        ledger = await asyncio.to_thread(_ledger_of, config)
        fresh = None
        if ledger != self._ledger:
            fresh = self._look_after_marks(config)
        build = _build(loaded)
        consent = Consent(self._posts, prove=pace.start, act=pace.hung)
        try:
            if fresh is not None:
                await fresh.prove(READING)
            await consent.gain(Prepare(build.document, build.base))
        except BaseException:
            await consent.withdraw()
            if fresh is not None:
                await fresh.close()
            raise
        # In one step: whoever is not asked any more is built by this.
        self._build, self.config, self._ledger = build, config, ledger
        old, self._revocation = self._revocation, fresh or self._revocation
        self._revocation.serve(self._marks, _terms(config), config.revocation)
        self._desk.providers = frozenset(config.providers)
        self._console.settle(settled(loaded))
        self._log.level(config.log.level)
        if silent := await consent.carry_out():
            self._log.warning("workers_silent", count=silent)
        if fresh is not None:
            await old.close()

    # ------------------------------------------------------------------ ending

    async def serve(self) -> None:
        """Serve until a signal, then end in good order."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        if self.reloads is not None:
            loop.add_signal_handler(signal.SIGHUP, self.reloads.ask, "signal")
            self.reloads.watch()
        await self._stop.wait()
        if self.reloads is not None:
            self.reloads.close()
        await self.drain()
        await self.close()

    def stop(self) -> None:
        """End in good order; a second call ends at once."""
        if self._stop.is_set():
            for post in self._posts:
                self._tasks.append(spawn(post.hurry(), name="hurry"))
        self._stop.set()

    async def drain(self) -> None:
        """Have every worker finish what was begun."""
        self.draining = True
        deadline = self.config.drain.deadline
        self._log.info("draining", seconds=deadline)
        wanted = [post for post in self._posts if post.wanted]
        for post in self._posts:
            if post not in wanted:
                post.close_door()
        within = deadline + _MARGIN
        await asyncio.gather(
            *(
                post.relieve(within) if post in wanted else post.drain(within)
                for post in self._posts
            )
        )

    async def close(self) -> None:
        """End what is left, and let go of everything."""
        for post in self._posts:
            post.close_door()
        if not self.draining:
            for post in self._posts:
                post.kill()
        await asyncio.gather(*self._tasks)
        await self._windows.close()
        await self._revocation.close()
        self._log.info("stopped")


def bind(address: Address, *, alone: bool = False) -> socket.socket:
    """Bind a socket that takes nobody yet; who listens on it opens it."""
    family, kind, protocol, _, where = socket.getaddrinfo(
        *address, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    door = socket.socket(family, kind, protocol)
    try:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if not alone:
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            # As asyncio does: `[::]` and `0.0.0.0` are two addresses.
            door.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        door.bind(where)
    except OSError:
        door.close()
        raise
    return door


def _terms(config: Config) -> dict[str, TokenTerms]:
    return {
        name: TokenTerms(lifetime=provider.token_lifetime)
        for name, provider in config.providers.items()
    }


def _build(loaded: Loaded) -> Build:
    return Build(loaded.document, str(loaded.base))


def _ledger_of(config: Config) -> bytes:
    """Give what tells where, and under which secrets, marks are written down."""
    return essence((config.store, config.secret))


async def look_after(loaded: Loaded, source: Source) -> None:
    """Run workers until a signal comes; raises what keeps them from a start."""
    clock = SystemClock()
    with closing(
        configure(loaded.config.log.level, sys.stderr, clock, worker=0)
    ) as log:
        asyncio.get_running_loop().set_exception_handler(log.loop_failure)
        for warning in loaded.warnings:
            log.warning("configuration", text=warning)
        parent = Parent(loaded, log=log, command=command(), pace=Pace())
        counts = ReloadMetrics(clock.now())
        parent.show(counts)
        parent.reloads = Reloads(source, parent, log=log, clock=clock, counts=counts)
        try:
            await parent.start()
            await parent.serve()
        except BaseException:
            await parent.close()
            raise


def command() -> tuple[str, ...]:
    """Give what runs a worker: the program that runs now."""
    # `python -m gateway` finds us where it was started, an installed one does not look.
    found_here = Path(sys.argv[0]).name == "__main__.py"
    safe = () if found_here else ("-P",)
    return (sys.executable, *safe, "-m", "gateway.workers")
