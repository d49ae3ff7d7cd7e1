"""One provider, wired: how it is asked, and what is known of its tokens. Floor 5."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

import gateway.verifiers
from gateway.breaker import BreakerSettings
from gateway.config.model import Provider
from gateway.facts.cached import JITTER, CachedFacts, CacheSettings
from gateway.facts.chain import Chain
from gateway.facts.grants import Grants
from gateway.facts.shared import CacheResources
from gateway.fronts.logout import Notary
from gateway.observe.providers import KeyHolder
from gateway.plugins import plugins
from gateway.ports import ProviderEvents, Verifier, VerifierContext
from gateway.provider_http import ProviderClient

if TYPE_CHECKING:
    from gateway.observe.tracing import Traces


class Known(msgspec.Struct, frozen=True):
    """One provider: how it is asked, and what is known of its tokens."""

    client: ProviderClient
    chain: Chain
    source: CachedFacts
    notary: Notary | None
    keys: KeyHolder | None


def wire(
    name: str,
    provider: Provider,
    *,
    claims: frozenset[str],
    grants: Grants,
    resources: CacheResources,
    watchers: Iterable[ProviderEvents],
    traces: "Traces | None" = None,
) -> Known:
    """Make everything that knows of one provider's tokens; nobody is asked yet.

    `claims` are those worth keeping; `watchers` hear of every question, and
    `traces` records those that requests wait for.
    """
    client = _client(name, provider, watchers)
    context = VerifierContext(
        provider=name,
        http=client if traces is None else traces.provider(name, client),
        clock=resources.clock,
        grants=grants,
        claims=claims,
        clock_skew=provider.clock_skew,
    )
    modules = plugins(gateway.verifiers)
    verifiers: list[Verifier] = [
        modules[kind].build(provider.settings(kind), context)
        for kind in provider.verify
    ]
    assumed = frozenset(provider.assume_scopes) or None
    chain = Chain(verifiers, assume_scopes=assumed)
    source = CachedFacts(
        name,
        chain,
        resources=resources,
        settings=_cache_settings(provider),
        method="+".join(provider.verify),
    )
    notary = next((each for each in verifiers if isinstance(each, Notary)), None)
    keys = next((each for each in verifiers if isinstance(each, KeyHolder)), None)
    return Known(client, chain, source, notary, keys)


class _All:
    """Tells all watchers about every question to a provider."""

    def __init__(self, watchers: Iterable[ProviderEvents]) -> None:
        self._watchers = tuple(watchers)

    def provider_request(
        self, provider: str, endpoint: str, code: str, seconds: float
    ) -> None:
        for watcher in self._watchers:
            watcher.provider_request(provider, endpoint, code, seconds)


def _client(
    name: str, provider: Provider, watchers: Iterable[ProviderEvents]
) -> ProviderClient:
    questions = provider.questions
    return ProviderClient(
        name,
        ca_file=str(provider.ca_file) if provider.ca_file else None,
        at_once=questions.at_once,
        waiting=questions.waiting,
        breaker=BreakerSettings(
            failures=questions.failures,
            pause=questions.pause,
            longest_pause=questions.longest_pause,
        ),
        events=_All(watchers),
    )


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
