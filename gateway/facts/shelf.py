"""Keep what is known in memory, within a bound of bytes. Floor 3: no I/O, no clock.

The bound is of bytes because that is what runs out: one token's facts take 1 KiB,
another's 40. An entry dies by either clock (`facts.cached` says why); of those alive
the one not used for longest makes room.

An entry has up to three ages: calm (it is simply found), near its end (found once, as
a call to learn it anew), and outlived (kept for those who cannot learn better).
"""

import enum
import sys
from collections import OrderedDict
from dataclasses import dataclass
from itertools import chain
from math import inf
from typing import Final

import msgspec

from gateway.values import Knowledge

ENTRY_BYTES: Final = 384
"""What an entry costs beside its knowledge: name, slot, links, times (measured)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """When an entry grows old: monotonic times, and `dies_at` by the wall clock.

    `until` ends belief. `calm_until` comes before it, and `kept_until` after it,
    where they differ; `dies_at` ends it all.
    """

    until: float
    dies_at: float = inf
    calm_until: float = inf
    kept_until: float = 0.0


class _Entry:
    __slots__ = (
        "calm_until",
        "dies_at",
        "kept_until",
        "knowledge",
        "until",
        "weight",
    )

    def __init__(self, knowledge: Knowledge, ends: Ends, weight: int) -> None:
        self.knowledge = knowledge
        self.until = ends.until
        self.calm_until = min(ends.calm_until, ends.until)
        self.kept_until = max(ends.kept_until, ends.until)
        self.dies_at = ends.dies_at
        self.weight = weight


class Shelf:
    """Entries by name, each with its ends by either clock.

    `ousted` counts those that made room, `outdated` those found too old.
    """

    __slots__ = ("_entries", "_limit_bytes", "held_bytes", "ousted", "outdated")

    def __init__(self, limit_bytes: int) -> None:
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._limit_bytes = limit_bytes
        self.held_bytes = 0
        self.ousted = 0
        self.outdated = 0

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, name: bytes, monotonic: float, now: float) -> Knowledge | None:
        """Give what is known and not near its end, and note that it was used."""
        entry = self._entries.get(name)
        if entry is None:
            return None
        if monotonic < entry.calm_until and now < entry.dies_at:
            self._entries.move_to_end(name)
            return entry.knowledge
        if monotonic >= entry.kept_until or now >= entry.dies_at:
            # Dropped, not skipped: a clock set back must not find it again.
            self.drop(name)
            self.outdated += 1
        return None

    def find_aging(self, name: bytes, monotonic: float) -> Knowledge | None:
        """Give what `find` held back as near its end, and believed: once.

        From then on it is found to its end: one call to learn it anew is enough.
        """
        entry = self._entries.get(name)
        if entry is None or monotonic >= entry.until:
            return None
        entry.calm_until = entry.until
        self._entries.move_to_end(name)
        return entry.knowledge

    def find_outlived(
        self, name: bytes, monotonic: float, now: float
    ) -> Knowledge | None:
        """Give what is still kept, though it may be believed no more."""
        entry = self._entries.get(name)
        if entry is None or monotonic >= entry.kept_until or now >= entry.dies_at:
            return None
        return entry.knowledge

    def keep(self, name: bytes, knowledge: Knowledge, ends: Ends) -> None:
        """Put `knowledge` in the place of what was there; the oldest make room."""
        self.drop(name)
        entry = _Entry(knowledge, ends, weigh(knowledge) + ENTRY_BYTES)
        self._entries[name] = entry
        self.held_bytes += entry.weight
        while self.held_bytes > self._limit_bytes:
            _, oldest = self._entries.popitem(last=False)
            self.held_bytes -= oldest.weight
            self.ousted += 1

    def drop(self, name: bytes) -> None:
        """Forget `name`; an absent one is no error."""
        entry = self._entries.pop(name, None)
        if entry is not None:
            self.held_bytes -= entry.weight


def weigh(value: object) -> int:
    """Estimate the memory of a value and all it holds, in bytes.

    What exists only once (None, an enumeration's member) costs nothing more; other
    shared parts (a provider's name) count each time: it errs to the safe side.
    """
    if value is None or isinstance(value, (bool, enum.Enum)):
        return 0
    parts: list[object] = []
    if isinstance(value, msgspec.Struct):
        parts = [getattr(value, field) for field in value.__struct_fields__]
    elif isinstance(value, dict):
        parts = list(chain.from_iterable(value.items()))
    elif isinstance(value, (tuple, frozenset)):
        parts = list(value)
    return sys.getsizeof(value) + sum(map(weigh, parts))
