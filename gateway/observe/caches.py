"""Tell operators what is in memory, read when it is scraped. Floor 4."""

from collections.abc import Callable, Iterable, Mapping

from gateway.facts.cached import CachedFacts
from gateway.observe.metrics import Metrics

_TIERS = ("l1", "negative")
_REASONS = ("room", "age")


def watch_caches(
    metrics: Metrics,
    sources: Callable[[], Iterable[CachedFacts]],
    before: Mapping[tuple[str, str], int],
) -> None:
    """Show what is known of tokens, all providers together.

    `before` is what caches have dropped that are not in use any more: no count falls.
    """
    watch = metrics.watch
    watch(
        "cache_entries", lambda: sum(each.stats().entries for each in sources()), "l1"
    )
    watch(
        "cache_entries",
        lambda: sum(each.stats().negatives for each in sources()),
        "negative",
    )
    for tier in _TIERS:
        for reason in _REASONS:
            watch(
                "cache_evictions_total",
                _dropped(sources, before, tier, reason),
                tier,
                reason,
            )


def _dropped(
    sources: Callable[[], Iterable[CachedFacts]],
    before: Mapping[tuple[str, str], int],
    tier: str,
    reason: str,
) -> Callable[[], float]:
    return lambda: (
        before.get((tier, reason), 0)
        + sum(each.stats().dropped[tier, reason] for each in sources())
    )
