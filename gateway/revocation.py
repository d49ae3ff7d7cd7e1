"""The marks of this process and, where a store is shared, those of all. Floor 5.

Whoever serves has one of these, and so has the parent of several workers.
"""

from collections.abc import Callable, Mapping
from typing import Final

from gateway.config.model import Config
from gateway.config.revocation import Revocation as RevocationConfig
from gateway.errors import GatewayError
from gateway.facts.mark_ledger import Book, Ledger
from gateway.facts.mark_stream import ClearSight, MarkStream, SightSettings
from gateway.facts.marks import LIMIT, Marks, TokenTerms
from gateway.ports import Clock, MarkEvents, Sight
from gateway.stores._journal import open_journal

READING: Final = 5.0
"""Seconds for a store that is new to tell all marks; else it is not taken."""

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
        self._ledger: Ledger | None = None
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
        ledger = self._ledger = Ledger(
            books, journal=journal, clock=clock, events=events
        )
        self.marks = make_marks(clock=clock, terms=terms, ledger=ledger)
        self.sight = self.stream = MarkStream(
            self.marks,
            ledger,
            journal=journal,
            clock=clock,
            events=events,
            settings=_sight(config.revocation),
        )

    def __repr__(self) -> str:
        return f"<Revocation: {self.marks!r}, {self.stream!r}>"

    @property
    def known(self) -> bool:
        """Tell whether the marks that there are have ever been read."""
        return self.stream is None or self.stream.read

    async def start(self, within: float = FIRST_READING) -> None:
        """Begin to hear of marks; wait a moment for those that there are."""
        if self.stream is not None:
            await self.stream.start(within)

    async def prove(self, within: float) -> None:
        """Begin, and see that all marks there are could be read.

        Raises `GatewayError` when they could not within so many seconds.
        """
        await self.start(within)
        if not self.known or self.sight.blind:
            raise GatewayError(
                "store.url: the revocations in the store could not be read in"
                f" {within:g} s; nothing was changed"
            )

    def serve(
        self, marks: Marks, terms: Mapping[str, TokenTerms], settings: RevocationConfig
    ) -> None:
        """Look after these marks from now on, which somebody else looked after.

        They stay in force, whatever is read here; and what was read here joins them.
        """
        marks.govern(terms, self._ledger)
        for record in () if self.marks is marks else self.marks.records():
            marks.take(record)
        self.marks = marks
        if self.stream is not None:
            self.stream.serve(marks, _sight(settings))

    async def close(self) -> None:
        """Hear of no more."""
        if self.stream is not None:
            await self.stream.close()


def _sight(settings: RevocationConfig) -> SightSettings:
    return SightSettings(blind_ttl=settings.blind_ttl, max_blind=settings.max_blind)
