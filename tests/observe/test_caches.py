import pytest
from prometheus_client import CollectorRegistry

from gateway.facts.cached import CachedFacts, CacheSettings
from gateway.facts.chain import Chain
from gateway.facts.shared import CacheResources
from gateway.observe.caches import watch_caches
from gateway.observe.metrics import Metrics
from gateway.values import Invalid, Reason, TokenFacts
from tests.facts.doubles import Cupboard, Oracle

NO = Invalid(Reason.INACTIVE)


@pytest.fixture
def facts(clock):
    """A cache with room for one token's facts."""
    oracle = Oracle()
    oracle.says = [TokenFacts(provider="melon"), TokenFacts(provider="melon"), NO]
    return CachedFacts(
        "melon",
        Chain([oracle]),
        resources=CacheResources(secrets=("s" * 32,), store=Cupboard(), clock=clock),
        settings=CacheSettings(memory_bytes=1200, ttl=60, negative_ttl=10),
    )


async def test_what_is_in_memory_is_shown_and_what_is_no_more(facts, clock):
    """By kind, and by why; all providers together, and those before them."""
    registry = CollectorRegistry()
    watch_caches(Metrics(registry), lambda: [facts, facts], {("l1", "age"): 7})
    for token in ("a", "b", "c"):
        await facts.learn(token)

    def value(name: str, **labels: str) -> float | None:
        found: float | None = registry.get_sample_value(f"gateway_{name}", labels)
        return found

    assert 2 == value("cache_entries", tier="l1")
    assert 2 == value("cache_entries", tier="negative")
    assert 2 == value("cache_evictions_total", tier="l1", reason="room")
    assert 0 == value("cache_evictions_total", tier="negative", reason="age")
    assert 7 == value("cache_evictions_total", tier="l1", reason="age")
    clock.advance(20)
    facts.recall("c")
    assert 2 == value("cache_evictions_total", tier="negative", reason="age")
