import asyncio
from collections.abc import Callable

import pytest

from gateway.errors import StoreUnavailable
from gateway.facts.mark_ledger import CLOCKS_DIFFER, Book, Ledger
from gateway.facts.mark_stream import (
    BLIND,
    REREAD,
    REREAD_ANYWAY,
    ClearSight,
    MarkStream,
    SightSettings,
)
from gateway.facts.marks import Marks, TokenTerms
from gateway.values import LONGEST_CLOCK_SKEW, MarkKind
from tests.facts.doubles import OLD_SECRET, SECRET
from tests.facts.mark_doubles import Library, Watchman
from tests.fakes import Clock

SUBJECT = (MarkKind.SUBJECT, "melon", "ada")


class Process:
    """One process: its marks, and its stream of those of others."""

    def __init__(self, library: Library, clock: Clock, *secrets: str) -> None:
        books = [Book(secret) for secret in secrets or (SECRET,)]
        self.watch = Watchman()
        self.reader = library.reader()
        self.ledger = Ledger(books, journal=self.reader, clock=clock, events=self.watch)
        self.marks = Marks(
            clock=clock, terms={"melon": TokenTerms(lifetime=60)}, ledger=self.ledger
        )
        self.stream = MarkStream(
            self.marks,
            self.ledger,
            journal=self.reader,
            clock=clock,
            events=self.watch,
            settings=SightSettings(blind_ttl=7, max_blind=100),
        )

    async def revoke(self, name: str = "ada") -> None:
        """Revoke a subject."""
        await self.marks.add(self.marks.mark(MarkKind.SUBJECT, "melon", name))

    def knows(self, *names: str) -> bool:
        """Tell whether these, and no others, are revoked here."""
        return sorted(names) == sorted(mark.name for mark in self.marks.list())


async def until(holds: Callable[[], object]) -> None:
    """Let the streams flow until something holds."""
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 -- streams tell nobody of their steps
            await asyncio.sleep(0.002)


@pytest.fixture
async def start(clock):
    """Start processes that share a library; all are closed in the end."""
    started: list[Process] = []

    async def starting(library: Library, *secrets: str) -> Process:
        process = Process(library, clock, *secrets)
        started.append(process)
        await process.stream.start(2 if library.answers else 0.01)
        return process

    yield starting
    for process in started:
        await process.stream.close()


async def test_a_mark_made_by_one_is_in_force_at_all(start):
    """And so is its lifting."""
    library = Library()
    here, there = await start(library), await start(library)
    await here.revoke()
    assert here.knows("ada")
    await until(lambda: there.knows("ada"))

    await there.marks.lift(*SUBJECT)
    assert there.knows()
    await until(here.knows)
    assert "<MarkStream: seeing>" == repr(here.stream)


async def test_who_comes_later_knows_all_before_it_is_ready(start):
    """A restart forgets nothing, neither marks nor liftings."""
    library = Library()
    first = await start(library)
    await first.revoke("ada")
    await first.revoke("bob")
    await first.marks.lift(*SUBJECT)
    await first.stream.close()

    later = await start(library)

    assert later.stream.read
    assert later.knows("bob")
    assert 2 == len(later.marks)


async def test_a_mark_that_the_store_does_not_take_is_nowhere(start):
    """Whoever makes it hears of it, and nothing is kept in silence."""
    library = Library()
    here = await start(library)
    library.answers = False
    with pytest.raises(StoreUnavailable):
        await here.revoke()

    assert here.knows()


async def test_a_lifting_that_the_store_does_not_take_is_none(start):
    """The mark stays in force."""
    library = Library()
    here = await start(library)
    await here.revoke()
    library.answers = False
    with pytest.raises(StoreUnavailable):
        await here.marks.lift(*SUBJECT)

    assert here.knows("ada")


async def test_marks_that_the_store_lost_are_written_back(start, clock):
    """From whoever has them; what was lifted stays so."""
    library = Library()
    here, there = await start(library), await start(library)
    await here.revoke("ada")
    await here.revoke("bob")
    await here.marks.lift(*SUBJECT)
    await until(lambda: there.knows("bob"))
    library.books[0].clear()
    clock.advance(REREAD)
    await until(lambda: 2 == len(library.books[0]))

    assert (await start(library)).knows("bob")
    assert there.knows("bob")


async def test_a_failover_to_a_store_that_knows_less_loses_nothing(start):
    """What was lost with the old one is read and written after the reconnection."""
    library = Library()
    here, there = await start(library), await start(library)
    await here.revoke()
    await until(lambda: there.knows("ada"))
    library.answers = False
    await until(lambda: not here.stream._in_touch)
    library.books[0].clear()
    library.news.clear()
    library.answers = True
    await until(lambda: library.books[0])
    await here.revoke("bob")

    await until(lambda: there.knows("ada", "bob"))


async def test_a_change_of_secrets_takes_all_marks_along(start):
    """Old alone, then both, then new alone: each finds what the others made."""
    library = Library(books=2)
    clock_books = {OLD_SECRET: 1, SECRET: 0}
    assert len(clock_books) == len(library.books)
    old_side, new_side = Library(), Library()
    old_side.books, new_side.books = [library.books[1]], [library.books[0]]
    old = await start(old_side, OLD_SECRET)
    await old.revoke("ada")

    both = await start(library, SECRET, OLD_SECRET)
    assert both.knows("ada")
    await both.revoke("bob")
    await until(lambda: 2 == len(library.books[0]))
    assert 2 == len(library.books[1])

    assert (await start(new_side, SECRET)).knows("ada", "bob")


async def test_who_never_read_the_marks_is_blind_and_lost(start):
    """It is not ready, and says so."""
    library = Library()
    library.answers = False
    here = await start(library)

    assert not here.stream.read
    assert (True, True) == (here.stream.blind, here.stream.lost)
    assert "<MarkStream: blind>" == repr(here.stream)

    library.answers = True
    await until(lambda: not here.stream.blind)
    assert (True, False) == (here.stream.read, here.stream.lost)


async def test_a_store_that_is_silent_for_a_second_makes_blind(start, clock):
    """After `max_blind` it is lost; what is known stays in force all the while."""
    library = Library()
    here = await start(library)
    await here.revoke()
    await until(lambda: not here.stream.blind)
    library.answers = False
    await until(lambda: not here.stream._in_touch)
    assert not here.stream.blind

    clock.advance(BLIND)
    await until(lambda: here.stream.blind)
    assert not here.stream.lost
    clock.advance(100)
    await until(lambda: here.stream.lost)
    assert here.knows("ada")
    library.answers = True
    await until(lambda: not here.stream.blind)
    assert not here.stream.lost
    assert ["seeing", "blind", "lost", "seeing"] == here.watch.told


async def test_a_policy_that_evicts_is_alarmed_whenever_books_are_read(start):
    """A store that makes room by itself forgets marks."""
    library = Library()
    library.policy = "allkeys-lru"
    here = await start(library)
    await until(lambda: here.stream.evicting)
    assert here.watch.told.count("allkeys-lru") == 1

    library.answers = False
    await until(lambda: not here.stream._in_touch)
    library.policy = "noeviction"
    library.answers = True
    await until(lambda: not here.stream.evicting)


async def test_what_somebody_else_wrote_is_an_alarm_and_nothing_more(start):
    """In a book and in the news; the marks go on."""
    library = Library()
    library.books[0]["forged"] = b"x"
    here, there = await start(library), await start(library)
    library.news.append((0, "forged", b"y"))
    await here.revoke()
    await until(lambda: there.knows("ada"))

    await until(lambda: 2 == there.watch.told.count("alarm"))


async def test_what_is_over_is_taken_out_of_the_books(start, clock):
    """When they are read, which they are now and then."""
    library = Library()
    here = await start(library)
    await here.revoke()
    clock.advance(60 + LONGEST_CLOCK_SKEW + CLOCKS_DIFFER + REREAD_ANYWAY)

    await until(lambda: not library.books[0])
    assert here.knows()


async def test_who_is_slow_to_write_back_tries_again(start, clock):
    """A book that is full for now is no reason to be blind."""
    library = Library(limit=1)
    here = await start(library)
    await here.revoke()
    library.books[0].clear()
    library.limit = 0
    clock.advance(REREAD)
    await until(lambda: 2 <= here.reader.readings)
    assert not library.books[0]
    library.limit = 1
    await until(lambda: clock.advance(REREAD) or library.books[0])

    assert not here.stream.lost


async def test_who_follows_no_more_is_blind(start):
    """Even when a fault of ours has ended it: nobody may believe that he sees."""
    library = Library()
    here = await start(library)
    library.news.append("no news at all")  # type: ignore[arg-type]
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    await until(lambda: here.stream.blind)

    assert here.stream.lost


async def test_what_was_dared_is_counted(start):
    """Requests that went on though nobody knew what was revoked."""
    here = await start(Library())
    here.stream.dared()
    ClearSight().dared()

    assert 1 == here.stream.dares
    assert (7, False) == (here.stream.trust, ClearSight().blind)


async def test_a_stream_that_never_began_can_be_closed(clock):
    """A command that only explains has no use for it."""
    process = Process(Library(), clock)
    await process.stream.close()

    assert process.reader.closed
