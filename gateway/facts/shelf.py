"""Keep what is known in memory, within a bound of bytes. Floor 3: no I/O, no clock.

The bound is of bytes because that is what runs out: one token's facts take 1 KiB,
another's 40. An entry dies by either clock (`facts.cached` says why); of those alive
the one not used for longest makes room.
"""

import enum
import sys
from collections import OrderedDict
from itertools import chain
from typing import Final

import msgspec

from gateway.values import Knowledge

ENTRY_BYTES: Final = 320
"""What an entry costs beside its knowledge: name, slot, links, times (measured)."""


class _Entry(msgspec.Struct, frozen=True, gc=False):
    knowledge: Knowledge
    until: float
    dies_at: float
    weight: int


class Shelf:
    """Entries by name, each with an end by either clock.

    `until` is a monotonic time, `dies_at` a wall-clock one.
    """

    __slots__ = ("_entries", "_limit_bytes", "held_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._limit_bytes = limit_bytes
        self.held_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, name: bytes, monotonic: float, now: float) -> Knowledge | None:
        """Give what is known and not yet at its end, and note that it was used."""
        entry = self._entries.get(name)
        if entry is None:
            return None
        if monotonic < entry.until and now < entry.dies_at:
            self._entries.move_to_end(name)
            return entry.knowledge
        # Dropped, not skipped: a clock that is set back must not find it again.
        self.drop(name)
        return None

    def keep(
        self, name: bytes, knowledge: Knowledge, until: float, dies_at: float
    ) -> None:
        """Put `knowledge` in the place of what was there; the oldest make room."""
        self.drop(name)
        entry = _Entry(knowledge, until, dies_at, weigh(knowledge) + ENTRY_BYTES)
        self._entries[name] = entry
        self.held_bytes += entry.weight
        while self.held_bytes > self._limit_bytes:
            _, oldest = self._entries.popitem(last=False)
            self.held_bytes -= oldest.weight

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
