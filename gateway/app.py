"""The gateway of one process: what lasts, and the configuration that serves. Floor 5.

What serves is one `Generation`; another takes its place between two requests, whole or
not at all. What lasts are the log, the metrics, the clients' door with its connections,
and the revocation marks: nobody who was shut out is ever let in by a change.
"""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry

from gateway.admin.desk import Desk, Explanations, Judged
from gateway.admin.recent import Recent
from gateway.config.load import Loaded
from gateway.config.model import Config
from gateway.errors import StoreUnavailable
from gateway.facts.cached import CachedFacts
from gateway.facts.grants import Grants
from gateway.facts.marks import Marks
from gateway.fronts.counsel import Counsel
from gateway.fronts.forward_auth import ForwardAuth
from gateway.fronts.proxy import MakeVisit, ProxyFront
from gateway.fronts.reception import Reception
from gateway.fronts.traced import Tracing
from gateway.generation import Generation, Lasting
from gateway.observe.access_log import AccessLog
from gateway.observe.caches import watch_caches
from gateway.observe.lag import LoopLag
from gateway.observe.logs import Log, watch_lines
from gateway.observe.metrics import Metrics
from gateway.observe.providers import watch_keys, watch_questions
from gateway.observe.revocations import watch as watch_revocations
from gateway.observe.stores import watch_store
from gateway.observe.upstreams import UpstreamMetrics
from gateway.plugins import plugins, registry, stores_by_scheme
from gateway.ports import Observer, Store
from gateway.providers import Known
from gateway.revocation import Revocation
from gateway.rules.forwarded import TrustedProxies
from gateway.rules.routing import Routes
from gateway.tasks import spawn
from gateway.values import WireLimits
from gateway.wire.deadlines import Deadlines
from gateway.wire.pool import Pool

if TYPE_CHECKING:
    from gateway.observe.tracing import Traces

__all__ = ["App", "SystemClock", "plugins", "registry", "stores_by_scheme"]

AFTERLIFE: Final = 10.0
"""Seconds after its last request for which a generation's own things stay open: for
questions whose askers went away, and explanations."""

_LOOK_EVERY: Final = 0.25
"""Seconds between two looks whether the last request of a generation has ended: polled,
since to be told would cost every request."""


class SystemClock:
    """Keeps `ports.Clock` by asking the system."""

    now = staticmethod(time.time)  # noqa: TID251 -- the one place that asks
    monotonic = staticmethod(time.monotonic)


class App:
    """Everything that serves in this process; belongs to the running loop.

    `make_marks` makes the marks that last; `access_log` is told of requests as long as
    the configuration wants it.
    """

    def __init__(
        self,
        loaded: Loaded,
        *,
        deadlines: Deadlines,
        log: Log,
        observers: tuple[Observer, ...] = (),
        access_log: AccessLog | None = None,
        make_marks: Callable[..., Marks] = Marks,
        afterlife: float = AFTERLIFE,
    ) -> None:
        self.log = log
        self.clock = SystemClock()
        self.metrics_registry = CollectorRegistry()
        self.metrics = Metrics(self.metrics_registry)
        self.recent = Recent()
        self._traces = _traces(loaded.config)
        self._lasting = Lasting(
            clock=self.clock,
            log=log,
            metrics=self.metrics,
            deadlines=deadlines,
            pseudonym=_pseudonym(),
            observers=self._observers(*observers),
            access_log=access_log,
            traces=self._traces,
            make_marks=make_marks,
        )
        self._afterlife = afterlife
        self.generation = Generation(loaded, self._lasting)
        self._lag = LoopLag(self.metrics.loop_lag)
        self._dropped = Counter[tuple[str, str]]()
        self._leaving: dict[Generation, asyncio.Task[None]] = {}
        self.adopted: list[Callable[[], None]] = []
        """Called, one after the other, when a generation has taken over."""
        self.marks = self.generation.marks
        self.front = ProxyFront(
            self.generation.setup,
            self.generation.reception,
            connection_limit=self.limits.connections,
            traced=self._traced(),
        )
        self.counsel = Counsel(lambda: self.front.setup, lambda: self.front.reception)
        nobody = TrustedProxies(())
        self.forward_auth = ForwardAuth(self.counsel, peers=nobody, hops=nobody)
        self.marks.alert = self.front.end_revoked
        self.explainer = Explanations(self._judged)
        self.desk = Desk(self.marks, lambda: self.sources)
        self._watch()
        self._settle()

    def __repr__(self) -> str:
        return f"<App: {len(self.routes)} routes>"

    def _observers(self, *observers: Observer) -> tuple[Observer, ...]:
        if self._traces is None:
            return (self.recent, *observers)
        from gateway.observe.tracing import Exemplars  # noqa: PLC0415 -- an extra

        return (Exemplars(self.metrics), self.recent, *observers)

    def _traced(self) -> MakeVisit | None:
        """Choose how requests are served: recorded, or as fast as can be."""
        if self._traces is None:
            return None
        believes_all = self.config.tracing.parent == "anybody"
        return Tracing(self._traces, believes_all=believes_all).visit

    # --------------------------------------------------- what is in force now

    @property
    def config(self) -> Config:
        """Give the configuration in force."""
        return self.generation.config

    @property
    def loaded(self) -> Loaded:
        """Give the configuration in force as it was loaded."""
        return self.generation.loaded

    @property
    def limits(self) -> WireLimits:
        """Give the bounds for clients that come now."""
        return self.generation.limits

    @property
    def routes(self) -> Routes:
        """Give the route table."""
        return self.generation.routes

    @property
    def store(self) -> Store:
        """Give the store."""
        return self.generation.store

    @property
    def grants(self) -> Grants:
        """Give the grants that were learned."""
        return self.generation.grants

    @property
    def sources(self) -> Mapping[str, CachedFacts]:
        """Give the facts, by provider."""
        return self.generation.sources

    @property
    def providers(self) -> Mapping[str, Known]:
        """Give the providers, by name."""
        return self.generation.providers

    @property
    def pools(self) -> Mapping[str, Pool]:
        """Give the connections to upstreams, by name."""
        return self.generation.pools

    @property
    def revocation(self) -> Revocation:
        """Give what looks after the marks."""
        return self.generation.revocation

    @property
    def reception(self) -> Reception:
        """Give what visits share that begin now."""
        return self.generation.reception

    @property
    def in_flight(self) -> int:
        """Count the requests under way, whichever configuration they began with."""
        generations = (self.generation, *self._leaving)
        return sum(each.reception.in_flight for each in generations)

    # ------------------------------------------------------------------- life

    async def start(self) -> None:
        """Find every upstream and every mark, and begin to look after them."""
        self._lag.start()
        await self.generation.start()

    async def close(self) -> None:
        """Let go of every connection."""
        self._lag.stop()
        leaving = dict(self._leaving)
        for task in leaving.values():
            task.cancel()
        if leaving:
            await asyncio.wait(leaving.values())
        kept = [self.generation]
        for each in leaving:
            await each.close_but(kept)
            kept.append(each)
        await self.generation.close_but(())
        if self._traces is not None:
            await asyncio.to_thread(self._traces.close)

    async def store_answers(self) -> bool:
        """Tell whether the shared store answers now."""
        try:
            await self.store.ping()
        except StoreUnavailable:
            return False
        return True

    # ------------------------------------------------------------- live change

    async def prepare(self, loaded: Loaded) -> Generation:
        """Build and prove another generation; what serves goes on untouched.

        Raises `ConfigError` or `GatewayError`. What is prepared must be adopted
        before anything else is, or let go of (`discard`).
        """
        before = self.generation
        made = await asyncio.to_thread(Generation, loaded, self._lasting, before)
        try:
            await made.prove(before)
        except BaseException:
            await self.discard(made)
            raise
        return made

    async def discard(self, made: Generation) -> None:
        """Let go of what was prepared and is not wanted."""
        await made.close_but((self.generation, *self._leaving))

    def adopt(self, made: Generation) -> None:
        """Serve by this generation from now on: one step, between two requests."""
        old, self.generation = self.generation, made
        made.revocation.serve(self.marks, made.terms, made.config.revocation)
        if (
            made.revocation.stream is not None
            and old.revocation.stream is not None
            and made.revocation is not old.revocation
        ):
            made.revocation.stream.dares += old.revocation.stream.dares
        self.front.take_over(
            made.setup, made.reception, connection_limit=made.limits.connections
        )
        for name, source in old.sources.items():
            if made.sources.get(name) is not source:
                self._dropped.update(source.stats().dropped)
        self._settle()
        for told in self.adopted:
            told()
        self._leaving[old] = spawn(self._see_out(old), name="generation-leaving")

    async def reload(self, loaded: Loaded) -> None:
        """Prepare another generation and adopt it; raises as `prepare` does."""
        self.adopt(await self.prepare(loaded))

    async def _see_out(self, old: Generation) -> None:
        """Close what only `old` used, some time after the last of its requests."""
        while old.reception.in_flight > 0:  # noqa: ASYNC110 -- see _LOOK_EVERY
            await asyncio.sleep(_LOOK_EVERY)
        await asyncio.sleep(self._afterlife)
        del self._leaving[old]
        await old.close_but((self.generation, *self._leaving))

    # ----------------------------------------------------------- what is shown

    def _watch(self) -> None:
        """Show what is true now, whichever generation serves."""
        metrics, access = self.metrics, self._lasting.access_log
        self.metrics_registry.register(UpstreamMetrics(lambda: [*self.pools.values()]))
        metrics.watch("http_requests_in_flight", lambda: self.in_flight)
        metrics.watch("revocation_marks", lambda: len(self.marks.list()))
        watch_lines(metrics, self.log, access)
        watch_caches(metrics, lambda: [*self.sources.values()], self._dropped)
        watch_revocations(metrics, lambda: self.revocation.stream)
        watch_store(metrics, lambda: self.store)

    def _settle(self) -> None:
        """Have everything that lasts go by the generation in force."""
        metrics, config, made = self.metrics, self.config, self.generation
        names = {
            "route": [route.id for route in self.routes],
            "provider": [*config.providers],
            "upstream": [*config.upstreams],
        }
        metrics.configured(made.version, self.clock.now(), names)
        for name, each in self.providers.items():
            watch_questions(metrics, name, each.client)
            watch_keys(metrics, name, each.keys)
        self.forward_auth.trust(
            peers=TrustedProxies(config.trusted_peers),
            hops=TrustedProxies((*config.trusted_peers, *config.trusted_proxies)),
        )
        self.log.level(config.log.level)
        if self._lasting.access_log is not None:
            self._lasting.access_log.one_in = config.log.sample

    def _judged(self) -> Judged:
        return self.generation.judged()


def _traces(config: Config) -> "Traces | None":
    if not config.tracing.enabled:
        return None
    # An extra: nobody else needs what it imports.
    from gateway.observe.tracing import open_traces  # noqa: PLC0415

    return open_traces()


def _pseudonym() -> bytes:
    # RFC 9110 §7.6.3; random, so that chained gateways are told apart.
    return b"gateway-" + secrets.token_hex(4).encode()
