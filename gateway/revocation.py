"""The marks of this process and, where a store is shared, those of all. Floor 5.

Whoever serves has one of these, and so has the parent of several workers.
"""

from collections.abc import Callable, Mapping
from typing import Final

from gateway.config.model import Config
from gateway.facts.mark_ledger import Book, Ledger
from gateway.facts.mark_stream import ClearSight, MarkStream, SightSettings
from gateway.facts.marks import LIMIT, Marks, TokenTerms
from gateway.ports import Clock, MarkEvents, Sight
from gateway.stores._journal import open_journal

FIRST_READING: Final = 2.0
"""Seconds for which a start waits for the marks; later the process is not ready."""


class Revocation:
    """Builds the marks, and looks after the stream of others'."""

    def __init__(
        self,
        config: Config,
        *,
        clock: Clock,
        terms: Mapping[str, TokenTerms],
        events: MarkEvents,
        make_marks: Callable[..., Marks] = Marks,
    ) -> None:
        self.stream: MarkStream | None = None
        self.sight: Sight = ClearSight()
        if config.store.url.startswith("memory:"):
            self.marks = make_marks(clock=clock, terms=terms)
            return
        books = [Book(str(secret)) for secret in config.secret]
        journal = open_journal(
            str(config.store.url),
            [book.name for book in books],
            limit=LIMIT,
            access=config.store.access(),
        )
        ledger = Ledger(books, journal=journal, clock=clock, events=events)
        self.marks = make_marks(clock=clock, terms=terms, ledger=ledger)
        self.sight = self.stream = MarkStream(
            self.marks,
            ledger,
            journal=journal,
            clock=clock,
            events=events,
            settings=SightSettings(
                blind_ttl=config.revocation.blind_ttl,
                max_blind=config.revocation.max_blind,
            ),
        )

    def __repr__(self) -> str:
        return f"<Revocation: {self.marks!r}, {self.stream!r}>"

    @property
    def known(self) -> bool:
        """Tell whether the marks that there are have ever been read."""
        return self.stream is None or self.stream.read

    async def start(self) -> None:
        """Begin to hear of marks; wait a moment for those that there are."""
        if self.stream is not None:
            await self.stream.start(FIRST_READING)

    async def close(self) -> None:
        """Hear of no more."""
        if self.stream is not None:
            await self.stream.close()
