"""What went through the door lately, in numbers. Floor 4: pure.

Lately is the last ten minutes. Durations are known by bucket, so a quantile is an
estimate: evenly spread within its bucket, as Prometheus has it.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from gateway.admin.picture import Picture, summed
from gateway.admin.pulse import BEAT, KEPT, Beat, Tally
from gateway.values import Reason

WINDOW: Final = BEAT * KEPT
"""Seconds that are lately."""

OUTCOMES: Final = ("allowed", "denied", "failed")
SHADOW: Final = "shadow"
"""The decision about who was let through though a rule says no (`enforce: shadow`)."""
SOURCES: Final = ("l1", "l2", "provider", "stale")

_UPSTREAM: Final = {
    Reason.UPSTREAM_INVALID,
    Reason.UPSTREAM_UNREACHABLE,
    Reason.UPSTREAM_BUSY,
    Reason.UPSTREAM_TIMEOUT,
}


class Outcomes(msgspec.Struct, frozen=True, kw_only=True):
    """What became of requests. `failed`: by us, a provider or an upstream."""

    allowed: int = 0
    denied: int = 0
    failed: int = 0

    @property
    def all(self) -> int:
        """Count them all."""
        return self.allowed + self.denied + self.failed


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """How long requests took, in seconds; None where there was none."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """One slot of `seconds` from `at` on."""

    at: float
    seconds: float
    requests: Outcomes
    latency: Latency


class ReasonCount(msgspec.Struct, frozen=True):
    """So many requests were refused or failed for this reason."""

    reason: str
    decision: str
    count: int


def outcomes(tally: Tally, route: str | None = None) -> Outcomes:
    """Count what became of requests, of one route or of all."""
    counts = dict.fromkeys(OUTCOMES, 0)
    for each in tally.decided:
        if route is None or each.route == route:
            counts[outcome(each.decision, each.reason)] += each.count
    return Outcomes(**counts)


def shadowed(tally: Tally) -> int:
    """Count those that were allowed because their route is in shadow."""
    return sum(each.count for each in tally.decided if each.decision == SHADOW)


def outcome(decision: str, reason: str) -> str:
    """Tell what became of a request, in the words of `Outcomes`."""
    if decision == "error" or reason in _UPSTREAM:
        return "failed"
    return "denied" if decision == "deny" else "allowed"


def lately(picture: Picture, now: float) -> Tally:
    """Give what happened within the window."""
    return summed(beat.tally for beat in within(picture.beats, now))


def latency(counts: Sequence[int], bounds: Sequence[float]) -> Latency:
    """Estimate how long requests took, from a histogram of their durations."""
    return Latency(
        p50=quantile(0.5, counts, bounds),
        p95=quantile(0.95, counts, bounds),
        p99=quantile(0.99, counts, bounds),
    )


def quantile(
    share: float, counts: Sequence[int], bounds: Sequence[float]
) -> float | None:
    """Estimate a quantile, evenly spread within its bucket, as Prometheus does."""
    rank, below = share * sum(counts), 0
    if not rank:
        return None
    for number, count in enumerate(counts):
        if count and below + count >= rank:
            if number >= len(bounds):
                return bounds[-1]
            low = bounds[number - 1] if number else 0.0
            return low + (bounds[number] - low) * (rank - below) / count
        below += count
    return bounds[-1]


def within(beats: Iterable[Beat], now: float) -> list[Beat]:
    """Pick the slots that are not over for longer than the window."""
    first = int(now // BEAT) - KEPT
    return [beat for beat in beats if beat.slot > first]


def series(
    beats: Iterable[Beat], bounds: Sequence[float], now: float
) -> tuple[Moment, ...]:
    """Give every slot of the window, the quiet ones too, in order."""
    by_slot = {beat.slot: beat.tally for beat in beats}
    last = int(now // BEAT)
    slots = (
        (slot, by_slot.get(slot, Tally())) for slot in range(last - KEPT + 1, last + 1)
    )
    return tuple(
        Moment(
            at=slot * BEAT,
            seconds=BEAT,
            requests=outcomes(tally),
            latency=latency(tally.durations, bounds),
        )
        for slot, tally in slots
    )


def reasons(tally: Tally) -> tuple[ReasonCount, ...]:
    """Count why requests were refused or failed, the most frequent first."""
    counts: dict[tuple[str, str], int] = {}
    for each in tally.decided:
        if outcome(each.decision, each.reason) != "allowed":
            key = (each.reason, each.decision)
            counts[key] = counts.get(key, 0) + each.count
    told = (ReasonCount(*key, count) for key, count in counts.items())
    return tuple(sorted(told, key=lambda each: (-each.count, each.reason)))


def sources(tally: Tally) -> dict[str, int]:
    """Count where the facts of tokens came from."""
    counts = dict.fromkeys(SOURCES, 0)
    for each in tally.looked_up:
        counts[each.source] = counts.get(each.source, 0) + each.count
    return counts
