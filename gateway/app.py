"""The one place that wires, and knows the plug-ins. Floor 5.

A plug-in is a module in its folder; its file name is its name in configuration. From
a loaded configuration this builds everything that serves it, each part given only the
promises it needs.
"""

import asyncio
import hashlib
import importlib
import pkgutil
import secrets
import time
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry

import gateway.dialects
import gateway.stores
import gateway.verifiers
from gateway.admin.desk import Desk, Explanations, Judged
from gateway.admin.recent import Recent
from gateway.breaker import BreakerSettings
from gateway.config.addresses import origin_of
from gateway.config.compile import (
    claim_paths,
    compile_identity,
    compile_keeping,
    compile_limits,
    compile_routes,
    compile_upstreams,
)
from gateway.config.load import Loaded
from gateway.config.model import Config, Provider
from gateway.config.registry import Registry
from gateway.errors import StoreUnavailable
from gateway.facts.budget import UnknownSettings, UnknownTokens
from gateway.facts.cached import JITTER, CachedFacts, CacheSettings
from gateway.facts.chain import Chain
from gateway.facts.grants import Grants
from gateway.facts.marks import Marks, TokenTerms
from gateway.facts.renewals import Renewals
from gateway.facts.shared import CacheResources
from gateway.fronts.counsel import Counsel
from gateway.fronts.forward_auth import ForwardAuth
from gateway.fronts.logout import Logouts, Notary
from gateway.fronts.oauth import Guards, TokenEndpoint
from gateway.fronts.proxy import ProxyFront
from gateway.fronts.reception import Reception, Setup
from gateway.gatekeeper import Gatekeeper
from gateway.observe.caches import watch_caches
from gateway.observe.lag import LoopLag
from gateway.observe.logs import Log
from gateway.observe.metrics import Metrics
from gateway.observe.providers import KeyHolder, watch_keys, watch_questions
from gateway.observe.revocations import RevocationLog
from gateway.observe.revocations import watch as watch_revocations
from gateway.observe.stores import measured
from gateway.observe.upstreams import UpstreamLog, UpstreamMetrics
from gateway.ports import FlightLock, Observer, Store, Verifier, VerifierContext
from gateway.provider_http import ProviderClient
from gateway.revocation import Revocation
from gateway.rules.engine_headers import EngineHeaders
from gateway.rules.forwarded import TrustedProxies
from gateway.rules.headers import HeaderRules
from gateway.rules.routing import Routes
from gateway.stores._flight import open_flight_lock
from gateway.values import WireLimits
from gateway.wire.deadlines import Deadlines
from gateway.wire.pool import Pool


class SystemClock:
    """Keeps `ports.Clock` by asking the system."""

    now = staticmethod(time.time)  # noqa: TID251 -- the one place that asks
    monotonic = staticmethod(time.monotonic)


def plugins(package: ModuleType) -> dict[str, Any]:
    """Import every module of a plug-in folder, by file name."""
    return {
        module.name: importlib.import_module(f"{package.__name__}.{module.name}")
        for module in pkgutil.iter_modules(package.__path__)
        if module.name.isidentifier() and not module.name.startswith("_")
    }


def stores_by_scheme() -> dict[str, Any]:
    """Give the store modules by the URL schemes they open."""
    modules = plugins(gateway.stores).values()
    return {scheme: module for module in modules for scheme in module.SCHEMES}


def registry() -> Registry:
    """Tell configuration which plug-ins there are."""
    return Registry(
        dialects=plugins(gateway.dialects),
        verifiers=plugins(gateway.verifiers),
        store_schemes=frozenset(stores_by_scheme()),
    )


class App:
    """Everything that serves one configuration; belongs to the running loop."""

    def __init__(
        self,
        loaded: Loaded,
        *,
        deadlines: Deadlines,
        log: Log,
        observers: tuple[Observer, ...] = (),
        make_marks: Callable[..., Marks] = Marks,
    ) -> None:
        config = loaded.config
        self.loaded = loaded
        self.config = config
        self.log = log
        self.clock = SystemClock()
        self.limits: WireLimits = compile_limits(config)
        self.metrics_registry = CollectorRegistry()
        self.metrics = Metrics(self.metrics_registry)
        self.store = measured(_open_store(config, self.clock), self.metrics)
        self._flight_lock = _open_flight_lock(config, self.clock, self.store)
        self._secrets = tuple(map(str, config.secret))
        self.clients: dict[str, ProviderClient] = {}
        self.grants = Grants(
            self._secrets, store=self.store, clock=self.clock, events=self.metrics
        )
        claims = claim_paths(config)
        self._lag = LoopLag(self.metrics.loop_lag)
        self._notaries: dict[str, Notary] = {}
        self._chains = {
            name: self._chain(name, provider, claims[name])
            for name, provider in config.providers.items()
        }
        self.sources = self._sources()
        self.revocation = Revocation(
            config,
            clock=self.clock,
            terms=self._terms(),
            events=RevocationLog(log, self.metrics),
            make_marks=make_marks,
        )
        self.marks = self.revocation.marks
        self.routes = Routes(compile_routes(config))
        self.pools = {
            name: Pool(settings, deadlines, events=UpstreamLog(log))
            for name, settings in compile_upstreams(config).items()
        }
        self._dialects = plugins(gateway.dialects)
        self._headers = HeaderRules(compile_identity(config), pseudonym=_pseudonym())
        self._gatekeeper = Gatekeeper(
            self.routes, self.sources, self.marks, self.clock, self.revocation.sight
        )
        self.recent = Recent()
        watchers: tuple[Observer, ...] = (self.metrics, self.recent, *observers)
        self.reception = Reception(self.clock, watchers)
        self.front = ProxyFront(
            self._setup(), self.reception, connection_limit=self.limits.connections
        )
        self.counsel = Counsel(lambda: self.front.setup, self.reception)
        self.forward_auth = ForwardAuth(
            self.counsel,
            peers=TrustedProxies(config.trusted_peers),
            hops=TrustedProxies((*config.trusted_peers, *config.trusted_proxies)),
        )
        self.marks.alert = self.front.end_revoked
        self.explainer = Explanations(self._judged)
        self.desk = Desk(self.marks, lambda: self.sources)
        self._watch()

    def __repr__(self) -> str:
        return f"<App: {len(self.routes)} routes>"

    async def start(self) -> None:
        """Find every upstream and every mark, and begin to look after them."""
        self._lag.start()
        await asyncio.gather(
            self.revocation.start(), *(pool.start() for pool in self.pools.values())
        )

    async def close(self) -> None:
        """Let go of every connection."""
        self._lag.stop()
        for pool in self.pools.values():
            pool.abort()
        for client in self.clients.values():
            await client.close()
        if self._flight_lock is not None:
            await self._flight_lock.close()
        await self.revocation.close()
        await self.store.close()

    async def store_answers(self) -> bool:
        """Tell whether the shared store answers now."""
        try:
            await self.store.ping()
        except StoreUnavailable:
            return False
        return True

    # ---------------------------------------------------------------- the facts

    def _sources(self) -> Mapping[str, CachedFacts]:
        resources = CacheResources(
            secrets=self._secrets,
            store=self.store,
            clock=self.clock,
            events=self.metrics,
            budget=UnknownTokens(_unknown_settings(self.config), self.clock),
            lock=self._flight_lock,
        )
        return {
            name: CachedFacts(
                name,
                self._chains[name],
                resources=resources,
                settings=_cache_settings(provider),
                method="+".join(provider.verify),
            )
            for name, provider in self.config.providers.items()
        }

    def _chain(self, name: str, provider: Provider, claims: frozenset[str]) -> Chain:
        client = ProviderClient(
            name,
            ca_file=str(provider.ca_file) if provider.ca_file else None,
            at_once=provider.questions.at_once,
            waiting=provider.questions.waiting,
            breaker=BreakerSettings(
                failures=provider.questions.failures,
                pause=provider.questions.pause,
                longest_pause=provider.questions.longest_pause,
            ),
            events=_Both(self.metrics, self.log),
        )
        self.clients[name] = client
        context = VerifierContext(
            provider=name,
            http=client,
            clock=self.clock,
            grants=self.grants,
            claims=claims,
            clock_skew=provider.clock_skew,
        )
        modules = plugins(gateway.verifiers)
        verifiers: list[Verifier] = [
            modules[kind].build(provider.settings(kind), context)
            for kind in provider.verify
        ]
        for verifier in verifiers:
            if isinstance(verifier, KeyHolder):
                watch_keys(self.metrics, name, verifier)
            if isinstance(verifier, Notary):
                self._notaries[name] = verifier
        assumed = frozenset(provider.assume_scopes) or None
        return Chain(verifiers, assume_scopes=assumed)

    def _terms(self) -> dict[str, TokenTerms]:
        return {
            name: TokenTerms(
                lifetime=provider.token_lifetime, asked=not self._chains[name].local
            )
            for name, provider in self.config.providers.items()
        }

    # ----------------------------------------------------------------- the door

    def _setup(self) -> Setup:
        guards = Guards(
            sources=self.sources,
            teachers=_teachers(self.config),
            grants=self.grants,
            marker=self.marks,
            renewals=self._renewals(),
            logouts=Logouts(
                self._secrets,
                notaries=self._notaries,
                marker=self.marks,
                store=self.store,
                clock=self.clock,
            ),
            clock=self.clock,
        )
        return Setup(
            gatekeeper=self._gatekeeper,
            headers=self._headers,
            guards=guards,
            pools=self.pools,
            dialects=self._dialects,
            proxies=TrustedProxies(self.config.trusted_proxies),
            engines=EngineHeaders(self._headers),
            keeping=compile_keeping(self.config),
        )

    def _renewals(self) -> Renewals:
        return Renewals(
            self._secrets,
            store=self.store,
            clock=self.clock,
            events=self.metrics,
            revocations=self.marks,
            # Whoever comes after a verifier that asks would be sent refresh tokens.
            readers={
                name: self.sources[name]
                for name, provider in self.config.providers.items()
                if provider.verify[0] == "jwt"
            },
        )

    def _judged(self) -> Judged:
        return Judged(
            routes=self.routes,
            gatekeeper=self._gatekeeper,
            sources=self.sources,
            revocations=self.marks,
            headers=self._headers,
            upstreams={name: pool.settings for name, pool in self.pools.items()},
            dialects=self._dialects,
            clock=self.clock,
        )

    def _watch(self) -> None:
        metrics = self.metrics
        self.metrics_registry.register(UpstreamMetrics(self.pools.values))
        names = {
            "route": [route.id for route in self.routes],
            "provider": list(self.config.providers),
            "upstream": list(self.config.upstreams),
        }
        metrics.configured(digest(self.config), self.clock.now(), names)
        metrics.watch("http_requests_in_flight", lambda: self.reception.in_flight)
        metrics.watch("revocation_marks", lambda: len(self.marks.list()))
        if self.revocation.stream is not None:
            watch_revocations(metrics, self.revocation.stream)
        watch_caches(metrics, self.sources.values)
        for name, client in self.clients.items():
            watch_questions(metrics, name, client)


class _Both:
    """Tells two about every question to a provider."""

    def __init__(self, metrics: Metrics, log: Log) -> None:
        self._listeners = (metrics, log)

    def provider_request(
        self, provider: str, endpoint: str, code: str, seconds: float
    ) -> None:
        for listener in self._listeners:
            listener.provider_request(provider, endpoint, code, seconds)


def _open_store(config: Config, clock: SystemClock) -> Store:
    url = str(config.store.url)
    module = stores_by_scheme()[url.partition("://")[0]]
    store: Store = module.open_store(url, clock=clock, access=config.store.access())
    return store


def _open_flight_lock(
    config: Config, clock: SystemClock, store: Store
) -> FlightLock | None:
    if not store.shared:
        return None
    access = config.store.access()
    return open_flight_lock(str(config.store.url), clock=clock, access=access)


def _cache_settings(provider: Provider) -> CacheSettings:
    cache = provider.cache
    return CacheSettings(
        ttl=cache.ttl,
        negative_ttl=cache.negative_ttl,
        expiry_margin=provider.expiry_margin,
        refresh_ahead=cache.refresh_ahead,
        grace=cache.grace,
        jitter=JITTER,
        memory_bytes=cache.memory,
    )


def _unknown_settings(config: Config) -> UnknownSettings:
    limit = config.limits.unknown_tokens
    return UnknownSettings(burst=limit.burst, per_second=limit.per_minute / 60)


def _teachers(config: Config) -> dict[str, TokenEndpoint]:
    """Give the token endpoints whose answers teach, by provider."""
    return {
        name: _token_endpoint(provider.settings("learned"))
        for name, provider in config.providers.items()
        if "learned" in provider.verify
    }


def _token_endpoint(settings: Any) -> TokenEndpoint:
    url = str(settings.token_endpoint)
    return TokenEndpoint(origin_of(url), urlsplit(url).path.encode())


def _pseudonym() -> bytes:
    # RFC 9110 §7.6.3; random, so that chained gateways are told apart.
    return b"gateway-" + secrets.token_hex(4).encode()


def digest(config: Config) -> str:
    """Name a configuration by what it says."""
    # The same in every process: the order of a set is not, nor are secrets shown.
    told = repr(_ordered(config.model_dump()))
    return hashlib.blake2b(told.encode(), digest_size=6).hexdigest()


def _ordered(value: Any) -> Any:
    match value:
        case dict():
            return {name: _ordered(each) for name, each in value.items()}
        case frozenset():
            return sorted(map(repr, value))
        case tuple() | list():
            return [_ordered(each) for each in value]
        case _:
            return value
