"""Write marks down where all processes read them, sealed. Floor 3.

For each listed secret the store has a book of its own, and a mark is written into all
of them: while secrets are being changed, who has one of them only finds every mark,
and what was written before the change is copied by whoever knows both.

A record is sealed under the secret alone, since operators list marks without having a
token; its field is a keyed hash of what it names. So a dump tells neither who was
revoked nor, without the secret, of whom a guess is right. A value that was made by
somebody else, or moved to another field or book, does not open: an alarm, and nothing.

Two who write about the same mark lose nothing: each reads what stands there, adds to
it, and swaps it in; who was overtaken does so once more.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

from gateway.errors import StoreUnavailable
from gateway.facts.fingerprints import LAYOUT, framed, subkey
from gateway.facts.marks import merged, renewed
from gateway.facts.sealed import SealBroken, Sealer
from gateway.ports import Clock, Journal, MarkEvents
from gateway.values import Mark, MarkRecord

CLOCKS_DIFFER: Final = 60.0
"""Seconds for which a record outlives its mark: some clock may be late."""

_TRIES: Final = 8
_NO_TOKEN: Final = ""


class Book:
    """What one secret makes of records."""

    def __init__(self, secret: str) -> None:
        self._key = subkey(secret, "mark book")
        self._sealer = Sealer(MarkRecord, secret)
        named = blake2b(b"name", key=self._key, digest_size=8).hexdigest()
        # One hash tag for all: a cluster keeps all books in one place.
        self.name: Final = f"gateway:{LAYOUT}:{{marks}}:{named}"

    def field(self, mark: Mark) -> str:
        """Give the field of a mark: who cannot read the book learns nothing by it."""
        what = framed(mark.kind) + framed(mark.provider) + framed(mark.name)
        return blake2b(what, key=self._key, digest_size=16).hexdigest()

    def seal(self, record: MarkRecord, field: str) -> bytes:
        """Give the value to write; raises `StoreUnavailable` when it is too long."""
        value = self._sealer.seal(
            record,
            token=_NO_TOKEN,
            key=self._key_of(field),
            believe_until=record.mark.expires_at + CLOCKS_DIFFER,
        )
        if value is None:
            raise StoreUnavailable("the mark's name is too long to be kept")
        return value

    def open(self, value: bytes, field: str, now: float) -> MarkRecord | None:
        """Give the record, or None when it is over; `SealBroken` if it is not ours."""
        key = self._key_of(field)
        return self._sealer.open(value, token=_NO_TOKEN, key=key, now=now)

    def _key_of(self, field: str) -> str:
        return f"{self.name}:{field}"


class Ledger:
    """Keeps `ports.MarkLedger` in a journal with one book for each secret."""

    def __init__(
        self,
        books: Sequence[Book],
        *,
        journal: Journal,
        clock: Clock,
        events: MarkEvents,
    ) -> None:
        self._books = tuple(books)
        self._journal = journal
        self._clock = clock
        self._events = events

    def __repr__(self) -> str:
        return f"<Ledger: {len(self._books)} books>"

    @property
    def books(self) -> int:
        """Count the books."""
        return len(self._books)

    async def note(self, record: MarkRecord, *, fresh: bool = False) -> MarkRecord:
        """Write it down and give what stands there now: the latest of everything."""
        for number, book in enumerate(self._books):
            record = await self._note(number, book.field(record.mark), record, fresh)
        return record

    async def erase(self, number: int, field: str, value: bytes) -> None:
        """Take out a record that is over, unless it was replaced."""
        await self._journal.swap(number, field, value, None)

    def opened(self, number: int, field: str, value: bytes) -> MarkRecord | None:
        """Give the record that was read; None when it is over. Raises `SealBroken`."""
        now = self._clock.now()
        try:
            return self._books[number].open(value, field, now)
        except SealBroken:
            self._events.seal_alarm()
            raise

    async def _note(
        self,
        number: int,
        field: str,
        record: MarkRecord,
        fresh: bool,  # noqa: FBT001
    ) -> MarkRecord:
        for _ in range(_TRIES):
            value = await self._journal.get(number, field)
            known = None if value is None else self._known(number, field, value)
            if known is not None:
                if fresh:
                    record = MarkRecord(renewed(record.mark, known), record.lifted_at)
                record = merged(known, record)
            if record == known:
                return record
            sealed = self._books[number].seal(record, field)
            if await self._journal.swap(number, field, value, sealed):
                return record
        raise StoreUnavailable("others are writing the same mark")

    def _known(self, number: int, field: str, value: bytes) -> MarkRecord | None:
        try:
            return self.opened(number, field, value)
        except SealBroken:
            return None
