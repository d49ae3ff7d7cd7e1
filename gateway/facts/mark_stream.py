"""Hear of every mark that any process makes, and know when one does not. Floor 3.

Each process follows the news by a client of its own: a mark made elsewhere is in force
here a network's way later. News can be missed (a lost connection, another server after
a failover, a store that was emptied), so what stands in the books is read as a whole
at the start, after every failure, when a book is smaller than what is known, and now
and then. Reading only adds; and what is known here and missing there is written back.

Blind is who has had no answer for `BLIND` seconds, or has not read the books since the
last failure. The known marks stay in force all the while.
"""

import asyncio
import contextlib
from math import inf
from typing import Final

import msgspec

from gateway.errors import StoreUnavailable
from gateway.facts.mark_ledger import Ledger
from gateway.facts.marks import Marks
from gateway.facts.sealed import SealBroken
from gateway.ports import Clock, Journal, MarkEvents
from gateway.tasks import spawn
from gateway.values import MarkKind, MarkRecord

_What = tuple[MarkKind, str, str]

BLIND: Final = 1.0
"""Seconds without an answer after which marks may have been missed."""

_TICK: Final = 0.05
"""Seconds by which a deadline of `BLIND` may seem to be missed: timers are coarse."""

REST: Final = 0.1
"""Seconds between two tries to reach the store."""

REREAD: Final = 10.0
"""Seconds at least between two readings of the books for the sake of their size."""

REREAD_ANYWAY: Final = 600.0
"""Seconds after which they are read without a reason."""


class SightSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How long what is believed while blind; seconds."""

    blind_ttl: float = 10.0
    max_blind: float = 300.0


class ClearSight:
    """Keeps `ports.Sight` where nobody else makes marks."""

    blind = False
    lost = False
    trust = inf

    def dared(self) -> None:
        """Nothing is dared here."""


class MarkStream:
    """Follows the journal for `marks`. Keeps `ports.Sight`."""

    def __init__(
        self,
        marks: Marks,
        ledger: Ledger,
        *,
        journal: Journal,
        clock: Clock,
        events: MarkEvents,
        settings: SightSettings,
    ) -> None:
        self._marks = marks
        self._ledger = ledger
        self._journal = journal
        self._clock = clock
        self._events = events
        self._max_blind = settings.max_blind
        self._seen_at = clock.monotonic()
        self._told_blind = self._told_lost = False
        self._tried_at = self._read_at = -inf
        self._in_touch = self._current = self._closing = False
        self._following: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._first_read = asyncio.Event()
        self.trust = settings.blind_ttl
        # Who has never read the books has been blind for ever.
        self.blind = self.lost = True
        self.dares = 0
        """Requests that were let on though sight was lost."""
        self.evicting = False
        """Whether the store may forget marks by itself."""

    def __repr__(self) -> str:
        return f"<MarkStream: {'blind' if self.blind else 'seeing'}>"

    def dared(self) -> None:
        """Count a request that was let on though sight is lost."""
        self.dares += 1

    @property
    def read(self) -> bool:
        """Tell whether the books were ever read as a whole."""
        return self._first_read.is_set()

    async def start(self, within: float) -> None:
        """Begin to follow; wait so many seconds for the first reading at most."""
        self._following = spawn(self._follow(), name="follow-marks")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._first_read.wait()

    def serve(self, marks: Marks, settings: SightSettings) -> None:
        """Follow for these marks, by these settings; what was heard stays known.

        Marks that are new here are compared with the books at once, and written there
        where they are missing.
        """
        self._max_blind, self.trust = settings.max_blind, settings.blind_ttl
        if marks is not self._marks:
            self._marks, self._read_at = marks, -inf

    async def close(self) -> None:
        """Follow no more, and let go of the connections."""
        self._closing = True
        tasks = [task for task in (self._following, self._reading) if task]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=BLIND)
        await self._journal.close()

    # ------------------------------------------------------------- following

    async def _follow(self) -> None:
        try:
            while not self._closing:
                try:
                    await self._hear()
                except StoreUnavailable:
                    self._in_touch = self._current = False
                    self._stop_reading()
                    self._look()
                    await asyncio.sleep(REST)
        finally:
            # Even by a fault of ours: who does not follow sees nothing.
            self.blind = self.lost = True

    async def _hear(self) -> None:
        if not self._in_touch:
            # Before the books are read: what is written meanwhile is news.
            await self._journal.turn_to_end()
            self._in_touch, self._tried_at = True, -inf
        if self._must_read(min(await self._journal.sizes())):
            self._tried_at = self._clock.monotonic()
            self._reading = spawn(self._read(), name="read-marks")
        for number, field, value in await self._journal.news():
            with contextlib.suppress(SealBroken):
                record = self._ledger.opened(number, field, value)
                if record is not None:
                    self._marks.take(record)
        self._look()

    def _look(self) -> None:
        """See, or take note that nothing was seen for too long."""
        now = self._clock.monotonic()
        unseen = now - self._seen_at
        if self._in_touch and self._current:
            self._seen_at = now
            if self.blind:
                self.blind = self.lost = False
                self._told_blind = self._told_lost = False
                self._events.seeing(unseen)
            return
        if unseen >= BLIND - _TICK and not self._told_blind:
            self.blind = self._told_blind = True
            self._events.blind()
        if unseen >= self._max_blind and not self._told_lost:
            self.lost = self._told_lost = True
            self._events.lost()

    # ------------------------------------------------------------- reading the books

    def _must_read(self, size: int) -> bool:
        if self._reading is not None and not self._reading.done():
            return False
        now = self._clock.monotonic()
        if not self._current:
            return now >= self._tried_at + BLIND
        if size < len(self._marks):
            return now >= self._tried_at + REREAD
        return now >= self._read_at + REREAD_ANYWAY

    def _stop_reading(self) -> None:
        if self._reading is not None:
            self._reading.cancel()

    async def _read(self) -> None:
        """Read all books, then write back what they lost; try again later if not."""
        with contextlib.suppress(StoreUnavailable):
            seen = [
                await self._read_book(number) for number in range(self._ledger.books)
            ]
            self._current = True
            self._read_at = self._clock.monotonic()
            self._look()
            self._first_read.set()
            policy = await self._journal.eviction()
            self.evicting = policy not in {"", "noeviction"}
            if self.evicting:
                self._events.evicting(policy)
            for record in self._marks.records():
                if any(book.get(_what(record)) != record for book in seen):
                    await self._ledger.note(record)

    async def _read_book(self, number: int) -> dict[_What, MarkRecord]:
        seen: dict[_What, MarkRecord] = {}
        async for page in self._journal.pages(number):
            for field, value in page:
                with contextlib.suppress(SealBroken):
                    record = self._ledger.opened(number, field, value)
                    if record is None:
                        await self._ledger.erase(number, field, value)
                        continue
                    seen[_what(record)] = record
                    self._marks.take(record)
            await asyncio.sleep(0)
        return seen


def _what(record: MarkRecord) -> _What:
    mark = record.mark
    return mark.kind, mark.provider, mark.name
