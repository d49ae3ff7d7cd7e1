"""Keep entries in this process: the store that needs no server. Floor 3.

It is not shared, so facts do not come here (this process's cache knows them sooner):
what it holds is what must not get lost, the learned grants.

Bounded in bytes. Room is made by what has run out, then by what would run out soonest
*before the newcomer*: an entry never pushes out one that outlives it, so nothing
short-lived costs a grant, and among grants of one lifetime the oldest goes. What finds
no room that way is refused with `StoreUnavailable`, like a server's `noeviction`: a
record that cannot be kept is a failure somebody hears of.
"""

import heapq
from typing import Final

import msgspec

from gateway.config.store import NOTHING_MORE, StoreAccess
from gateway.errors import StoreUnavailable
from gateway.ports import STORED_LIMIT_BYTES, Clock

SCHEMES: Final = ("memory",)

ENTRY_BYTES: Final = 450
"""What an entry costs beside its key and value: slots, links, times (measured)."""


class _Entry(msgspec.Struct, frozen=True, gc=False):
    value: bytes
    ends_at: float
    weight: int


class MemoryStore:
    """Keeps `ports.Store` in a dictionary."""

    shared = False

    def __init__(self, clock: Clock, *, limit_bytes: int = 64 * 1024 * 1024) -> None:
        self._clock = clock
        self._limit_bytes = limit_bytes
        self._held_bytes = 0
        self._entries: dict[str, _Entry] = {}
        self._ends: list[tuple[float, str]] = []

    def __repr__(self) -> str:
        return f"<MemoryStore: {len(self._entries)} entries, {self._held_bytes} bytes>"

    async def get(self, key: str) -> bytes | None:
        """Give the value, or None when there is none or it has run out."""
        entry = self._entries.get(key)
        if entry is None or self._clock.monotonic() >= entry.ends_at:
            return None
        return entry.value

    async def put(self, key: str, value: bytes, *, ttl: float) -> None:
        """Keep `value`, or raise `StoreUnavailable` when there is no room for it."""
        if len(value) > STORED_LIMIT_BYTES:
            raise StoreUnavailable("the value is too long to be kept")
        now = self._clock.monotonic()
        entry = _Entry(value, now + ttl, len(key) + len(value) + ENTRY_BYTES)
        self._make_room(entry, now)
        self._drop(key)
        self._entries[key] = entry
        self._held_bytes += entry.weight
        heapq.heappush(self._ends, (entry.ends_at, key))
        if len(self._ends) > 2 * len(self._entries) + 64:
            # Ends of entries that were replaced or deleted pile up otherwise.
            self._ends = [(entry.ends_at, key) for key, entry in self._entries.items()]
            heapq.heapify(self._ends)

    async def add(self, key: str, value: bytes, *, ttl: float) -> bool:
        """Keep `value` if nothing is there; tell whether it was."""
        if await self.get(key) is not None:
            return False
        await self.put(key, value, ttl=ttl)
        return True

    async def delete(self, key: str) -> None:
        """Forget `key`; an absent key is no error."""
        self._drop(key)

    async def ping(self) -> None:
        """Answer: it is always there."""

    async def close(self) -> None:
        """Let go of everything."""
        self._entries.clear()
        self._ends.clear()
        self._held_bytes = 0

    def _make_room(self, newcomer: _Entry, now: float) -> None:
        while self._ends and (
            self._ends[0][0] <= now
            or self._held_bytes + newcomer.weight > self._limit_bytes
        ):
            ends_at, key = self._ends[0]
            entry = self._entries.get(key)
            if entry is not None and entry.ends_at == ends_at:
                if ends_at > max(now, newcomer.ends_at):
                    break
                self._drop(key)
            heapq.heappop(self._ends)
        if self._held_bytes + newcomer.weight > self._limit_bytes:
            raise StoreUnavailable("the store is full of entries that live longer")

    def _drop(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._held_bytes -= entry.weight


def open_store(
    url: str, *, clock: Clock, access: StoreAccess = NOTHING_MORE
) -> MemoryStore:
    """Open `memory://`, where nobody is asked who he is."""
    return MemoryStore(clock)
