"""The last ten minutes, in slots of five seconds. Floor 4: reads counters, adds none.

Requests are counted once, in the metrics. Every five seconds the difference to the last
look is kept, and only of what happened: an idle gateway keeps nothing. Slots are cut by
the wall clock, so those of several processes are the same and can be added up.
"""

import asyncio
from collections import deque
from collections.abc import Hashable, Mapping, Sequence
from typing import Final, Protocol, TypeVar

import msgspec

from gateway.ports import Clock

BEAT: Final = 5.0
"""Seconds of one slot."""
KEPT: Final = 120

Key = TypeVar("Key", bound=Hashable)


class Counts(Protocol):
    """What is counted anyway, since the start of the process."""

    def decided(self) -> Mapping[tuple[str, str, str], int]:
        """Count exchanges by route, decision and reason."""
        ...

    def looked_up(self) -> Mapping[tuple[str, str, str, str], int]:
        """Count tokens looked up by provider, method, source and result."""
        ...

    def asked(self) -> Mapping[tuple[str, str, str], int]:
        """Count questions to providers by provider, endpoint and code."""
        ...

    def durations(self) -> Sequence[int]:
        """Count exchanges by their duration, a number for each bucket."""
        ...


class Decided(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """So many exchanges of a route ended so."""

    route: str
    decision: str
    reason: str
    count: int


class LookedUp(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """So many tokens of a provider were looked up with this outcome."""

    provider: str
    source: str
    result: str
    count: int


class Asked(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """So many questions to a provider were answered so, or not at all."""

    provider: str
    endpoint: str
    code: str
    count: int


class Tally(msgspec.Struct, frozen=True, array_like=True):
    """What happened in some time. `durations` is empty or has every bucket."""

    decided: tuple[Decided, ...] = ()
    looked_up: tuple[LookedUp, ...] = ()
    asked: tuple[Asked, ...] = ()
    durations: tuple[int, ...] = ()


class Beat(msgspec.Struct, frozen=True, array_like=True):
    """What happened in the slot that began at `slot * BEAT`."""

    slot: int
    tally: Tally


class Pulse:
    """Takes the pulse of one process. `beat` is called at the end of every slot."""

    def __init__(self, counts: Counts, clock: Clock) -> None:
        self._counts = counts
        self._clock = clock
        self._kept: deque[Beat] = deque(maxlen=KEPT)
        self._last = _Count(counts)
        self._slot = int(clock.now() // BEAT)

    def __repr__(self) -> str:
        return f"<Pulse: {len(self._kept)} beats>"

    async def run(self) -> None:
        """Beat for ever, at the end of every slot."""
        while True:
            await asyncio.sleep(BEAT - self._clock.now() % BEAT)
            self.beat()

    def beat(self) -> None:
        """Close the slot that is open, and begin that of now."""
        now = _Count(self._counts)
        tally = now.since(self._last)
        if tally.decided or tally.looked_up or tally.asked:
            self._kept.append(Beat(self._slot, tally))
        self._last = now
        self._slot = int(self._clock.now() // BEAT)
        while self._kept and self._kept[0].slot <= self._slot - KEPT:
            self._kept.popleft()

    def beats(self) -> tuple[Beat, ...]:
        """Give the slots in which something happened, the open one among them."""
        current = _Count(self._counts).since(self._last)
        if not (current.decided or current.looked_up or current.asked):
            return tuple(self._kept)
        return (*self._kept, Beat(self._slot, current))

    def total(self) -> Tally:
        """Give what happened since the start of the process."""
        return _Count(self._counts).since(None)


class _Count:
    """The counters at one moment."""

    def __init__(self, counts: Counts) -> None:
        self.decided = dict(counts.decided())
        self.looked_up = dict(counts.looked_up())
        self.asked = dict(counts.asked())
        self.durations = tuple(counts.durations())

    def since(self, before: "_Count | None") -> Tally:
        """Tell what was counted since then; a counter that is gone has counted nought."""
        looked_up: dict[tuple[str, str, str], int] = {}
        then = before.looked_up if before else {}
        for (provider, _method, source, result), count in _more(self.looked_up, then):
            key = (provider, source, result)
            looked_up[key] = looked_up.get(key, 0) + count
        decided = _more(self.decided, before.decided if before else {})
        asked = _more(self.asked, before.asked if before else {})
        durations = self.durations
        if before is not None:
            pairs = zip(self.durations, before.durations, strict=True)
            durations = tuple(max(0, now - then) for now, then in pairs)
        return Tally(
            tuple(Decided(*key, count) for key, count in decided),
            tuple(LookedUp(*key, count) for key, count in looked_up.items()),
            tuple(Asked(*key, count) for key, count in asked),
            durations,
        )


def _more(now: Mapping[Key, int], then: Mapping[Key, int]) -> list[tuple[Key, int]]:
    grown = ((key, count - then.get(key, 0)) for key, count in now.items())
    return [(key, count) for key, count in grown if count > 0]
