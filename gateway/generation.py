"""All that one configuration decides, built and proven beside what serves. Floor 5.

A configuration that replaces another becomes a `Generation` of its own: built on a
thread, then proven, and only then does it take over, in one step (`app.App.adopt`).
Requests that have begun finish under the generation they began with; what only that
one used is closed after the last of them.

What did not change is handed on as it is, with everything it remembers:

- of a provider its facts, keys, breaker and connections, where its settings, the files
  and secrets they name, the claims that routes ask of it, the `secret`, the store and
  the limit of unknown tokens are the same (else the shared store serves its facts);
- of an upstream its connections and what is known of its targets;
- of the store its connections, and with `memory://` all that is in it;
- the marks, always: only where they are written down may change (`revocation`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

import gateway.dialects
import gateway.verifiers
from gateway.admin.desk import Judged
from gateway.config.addresses import origin_of
from gateway.config.changes import version
from gateway.config.compile import (
    claim_paths,
    compile_identity,
    compile_keeping,
    compile_limits,
    compile_routes,
    compile_upstreams,
)
from gateway.config.load import Loaded
from gateway.config.model import Config
from gateway.config.traces import essence
from gateway.errors import GatewayError, StoreUnavailable
from gateway.facts.budget import UnknownSettings, UnknownTokens
from gateway.facts.grants import Grants
from gateway.facts.marks import Marks, TokenTerms
from gateway.facts.renewals import Renewals
from gateway.facts.shared import CacheResources
from gateway.fronts.logout import Logouts
from gateway.fronts.oauth import Guards, TokenEndpoint
from gateway.fronts.reception import Reception, Setup
from gateway.gatekeeper import Gatekeeper, ShadowingGatekeeper
from gateway.observe.access_log import AccessLog
from gateway.observe.logs import Log
from gateway.observe.metrics import Metrics
from gateway.observe.revocations import RevocationLog
from gateway.observe.stores import measured
from gateway.observe.upstreams import UpstreamLog
from gateway.plugins import plugins, stores_by_scheme
from gateway.ports import Clock, FlightLock, Observer, Store
from gateway.providers import Known, wire
from gateway.revocation import READING, Revocation
from gateway.rules.engine_headers import EngineHeaders
from gateway.rules.forwarded import TrustedProxies
from gateway.rules.headers import HeaderRules
from gateway.rules.routing import Routes
from gateway.stores._flight import open_flight_lock
from gateway.values import WireLimits
from gateway.wire.deadlines import Deadlines
from gateway.wire.pool import Pool

if TYPE_CHECKING:
    from gateway.observe.tracing import Traces


class Lasting(msgspec.Struct, frozen=True, kw_only=True):
    """What outlives every generation."""

    clock: Clock
    log: Log
    metrics: Metrics
    deadlines: Deadlines
    pseudonym: bytes
    observers: tuple[Observer, ...]
    access_log: AccessLog | None
    traces: "Traces | None" = None
    make_marks: Callable[..., Marks]


class Stock(msgspec.Struct, frozen=True):
    """A store, and the lock of questions in it."""

    store: Store
    lock: FlightLock | None

    async def close(self) -> None:
        """Let go of the connections."""
        if self.lock is not None:
            await self.lock.close()
        await self.store.close()


@dataclass(slots=True, eq=False)
class Part:
    """Something that generations hand on, as long as what it was made of is the same."""

    essence: bytes
    thing: Any
    close: Callable[[], Awaitable[None]]
    begun: bool = False
    """Whether it is looked after already: nobody begins with that twice."""


class Generation:
    """Everything that serves one configuration, but for what is `Lasting`.

    Building it opens nothing and reads files: for a thread, where there is a loop.
    """

    def __init__(
        self, loaded: Loaded, lasting: Lasting, before: "Generation | None" = None
    ) -> None:
        config = loaded.config
        self.loaded = loaded
        self.config = config
        self.version = version(config)
        self.limits: WireLimits = compile_limits(config)
        self.routes = Routes(compile_routes(config))
        self.parts: dict[tuple[str, str], Part] = {}
        self._before = {} if before is None else before.parts
        self._lasting = lasting
        self._secrets = tuple(map(str, config.secret))
        stock: Stock = self._part("store", "", essence(config.store), self._stock)
        self.store, self._lock = stock.store, stock.lock
        self.grants = Grants(
            self._secrets,
            store=self.store,
            clock=lasting.clock,
            events=lasting.metrics,
        )
        self._budget: UnknownTokens = self._part(
            "budget", "", essence(_unknown_settings(config)), self._new_budget
        )
        self.providers = self._providers()
        self.sources = {name: each.source for name, each in self.providers.items()}
        self.terms = {
            name: TokenTerms(
                lifetime=provider.token_lifetime,
                asked=not self.providers[name].chain.local,
            )
            for name, provider in config.providers.items()
        }
        self.revocation = self._revocation(first=before is None)
        self.marks: Marks = self.revocation.marks if before is None else before.marks
        self.pools = self._pools()
        self.headers = HeaderRules(
            compile_identity(config), pseudonym=lasting.pseudonym
        )
        in_shadow = any(route.shadow for route in self.routes)
        keeper = ShadowingGatekeeper if in_shadow else Gatekeeper
        self.gatekeeper = keeper(
            self.routes,
            self.sources,
            self.marks,
            lasting.clock,
            self.revocation.sight,
        )
        self.reception = self._reception(before)
        self.setup = self._setup()
        self._before = {}

    def __repr__(self) -> str:
        return f"<Generation {self.version}: {len(self.routes)} routes>"

    # -------------------------------------------------------------- its life

    async def start(self) -> None:
        """Find every upstream and every mark, and begin to look after them."""
        marks = [] if self._has_begun("marks", "") else [self.revocation.start()]
        await asyncio.gather(*marks, self._start_pools())

    async def prove(self, before: "Generation") -> None:
        """Begin beside the generation that serves, and see that it could be replaced.

        Raises `GatewayError`; then `close_but` is due.
        """
        if self.parts["store", ""] is not before.parts["store", ""]:
            await self._prove_store()
        await self._start_pools(but=before)
        if self.parts["marks", ""] is not before.parts["marks", ""]:
            self._has_begun("marks", "")
            await self.revocation.prove(READING)

    async def _start_pools(self, *, but: "Generation | None" = None) -> None:
        """Begin with those that nobody has begun with; what `but` has is its own."""
        known = () if but is None else but.parts.values()
        fresh = [
            pool
            for name, pool in self.pools.items()
            if self.parts["pool", name] not in known
            and not self._has_begun("pool", name)
        ]
        await asyncio.gather(*(pool.start() for pool in fresh))

    def _has_begun(self, kind: str, name: str) -> bool:
        """Tell whether somebody has begun with a part, and take note that one does."""
        part = self.parts[kind, name]
        part.begun, before = True, part.begun
        return before

    async def close_but(self, others: Iterable["Generation"]) -> None:
        """Let go of everything that none of the others has."""
        kept = {id(part) for other in others for part in other.parts.values()}
        for part in self.parts.values():
            if id(part) not in kept:
                await part.close()

    async def _prove_store(self) -> None:
        try:
            await self.store.ping()
        except StoreUnavailable as error:
            raise GatewayError(
                "store.url: the store does not answer; nothing was changed"
            ) from error

    # -------------------------------------------------------------- its parts

    def _part(
        self,
        kind: str,
        name: str,
        made_of: bytes,
        make: Callable[[], tuple[Any, Callable[[], Awaitable[None]]]],
    ) -> Any:
        """Take a part over as it is, or make it; give the thing."""
        part = self._before.get((kind, name))
        if part is None or part.essence != made_of:
            part = Part(made_of, *make())
        self.parts[kind, name] = part
        return part.thing

    def _stock(self) -> tuple[Stock, Callable[[], Awaitable[None]]]:
        config, clock = self.config, self._lasting.clock
        url, access = str(config.store.url), config.store.access()
        module = stores_by_scheme()[url.partition("://")[0]]
        opened: Store = module.open_store(url, clock=clock, access=access)
        traces = self._lasting.traces
        through = None if traces is None else traces.store
        store = measured(opened, self._lasting.metrics, through)
        lock = None
        if store.shared:
            lock = open_flight_lock(url, clock=clock, access=access)
        stock = Stock(store, lock)
        return stock, stock.close

    def _new_budget(self) -> tuple[UnknownTokens, Callable[[], Awaitable[None]]]:
        made = UnknownTokens(_unknown_settings(self.config), self._lasting.clock)
        return made, _nothing_to_close

    def _revocation(self, *, first: bool) -> Revocation:
        config, lasting = self.config, self._lasting

        def make() -> tuple[Revocation, Callable[[], Awaitable[None]]]:
            made = Revocation(
                config,
                clock=lasting.clock,
                terms=self.terms,
                events=RevocationLog(lasting.log, lasting.metrics),
                make_marks=lasting.make_marks if first else Marks,
            )
            return made, made.close

        made_of = essence((self._secrets, self.parts["store", ""].essence))
        made: Revocation = self._part("marks", "", made_of, make)
        return made

    def _providers(self) -> dict[str, Known]:
        claims = claim_paths(self.config)
        around = (
            self._secrets,
            self.parts["store", ""].essence,
            self.parts["budget", ""].essence,
        )
        return {
            name: self._part(
                "provider",
                name,
                essence((*around, name, provider, claims[name])),
                lambda name=name: self._known(name, claims[name]),  # type: ignore[misc]
            )
            for name, provider in self.config.providers.items()
        }

    def _known(
        self, name: str, claims: frozenset[str]
    ) -> tuple[Known, Callable[[], Awaitable[None]]]:
        lasting = self._lasting
        made = wire(
            name,
            self.config.providers[name],
            claims=claims,
            grants=self.grants,
            resources=CacheResources(
                secrets=self._secrets,
                store=self.store,
                clock=lasting.clock,
                events=lasting.metrics,
                budget=self._budget,
                lock=self._lock,
            ),
            watchers=(lasting.metrics, lasting.log),
            traces=lasting.traces,
        )
        return made, made.client.close

    def _pools(self) -> dict[str, Pool]:
        lasting = self._lasting
        settings = compile_upstreams(self.config)

        def make(name: str) -> tuple[Pool, Callable[[], Awaitable[None]]]:
            pool = Pool(
                settings[name], lasting.deadlines, events=UpstreamLog(lasting.log)
            )

            async def close() -> None:
                pool.abort()

            return pool, close

        return {
            name: self._part(
                "pool",
                name,
                essence((name, upstream)),
                lambda name=name: make(name),  # type: ignore[misc]
            )
            for name, upstream in self.config.upstreams.items()
        }

    # ----------------------------------------------------------------- the door

    def _reception(self, before: "Generation | None") -> Reception:
        lasting = self._lasting
        observers: list[Observer] = [lasting.metrics, *lasting.observers]
        if lasting.access_log is not None and self.config.log.access:
            observers.append(lasting.access_log)
        if before is None:
            return Reception(lasting.clock, observers)
        return before.reception.successor(observers)

    def _setup(self) -> Setup:
        guards = Guards(
            sources=self.sources,
            teachers=teachers(self.config),
            grants=self.grants,
            marker=self.marks,
            renewals=self._renewals(),
            logouts=Logouts(
                self._secrets,
                notaries={
                    name: each.notary
                    for name, each in self.providers.items()
                    if each.notary is not None
                },
                marker=self.marks,
                store=self.store,
                clock=self._lasting.clock,
            ),
            clock=self._lasting.clock,
        )
        return Setup(
            gatekeeper=self.gatekeeper,
            headers=self.headers,
            guards=guards,
            pools=self.pools,
            dialects=plugins(gateway.dialects),
            proxies=TrustedProxies(self.config.trusted_proxies),
            engines=EngineHeaders(self.headers),
            keeping=compile_keeping(self.config),
        )

    def _renewals(self) -> Renewals:
        return Renewals(
            self._secrets,
            store=self.store,
            clock=self._lasting.clock,
            events=self._lasting.metrics,
            revocations=self.marks,
            # Whoever comes after a verifier that asks would be sent refresh tokens.
            readers={
                name: self.sources[name]
                for name, provider in self.config.providers.items()
                if provider.verify[0] == "jwt"
            },
        )

    def judged(self) -> Judged:
        """Give what explains its decisions."""
        return Judged(
            routes=self.routes,
            gatekeeper=self.gatekeeper,
            sources=self.sources,
            revocations=self.marks,
            headers=self.headers,
            upstreams={name: pool.settings for name, pool in self.pools.items()},
            dialects=self.setup.dialects,
            clock=self._lasting.clock,
        )


async def _nothing_to_close() -> None:
    """Let go of what holds nothing."""


def _unknown_settings(config: Config) -> UnknownSettings:
    limit = config.limits.unknown_tokens
    # So many may be asked about before the first is paid for.
    at_once = [provider.questions.at_once for provider in config.providers.values()]
    return UnknownSettings(
        burst=limit.burst,
        per_second=limit.per_minute / 60,
        debt=max(at_once, default=0),
    )


def teachers(config: Config) -> Mapping[str, TokenEndpoint]:
    """Give the token endpoints whose answers teach, by provider."""
    return {
        name: _token_endpoint(provider.settings("learned"))
        for name, provider in config.providers.items()
        if "learned" in provider.verify
    }


def _token_endpoint(settings: Any) -> TokenEndpoint:
    url = str(settings.token_endpoint)
    return TokenEndpoint(origin_of(url), urlsplit(url).path.encode())
