import msgspec
import pytest

from gateway.errors import StoreUnavailable
from gateway.facts.mark_ledger import CLOCKS_DIFFER, Book, Ledger
from gateway.facts.sealed import SealBroken
from gateway.ports import STORED_LIMIT_BYTES
from gateway.values import Mark, MarkKind, MarkRecord
from tests.facts.doubles import OLD_SECRET, SECRET
from tests.facts.mark_doubles import Library, Watchman
from tests.fakes import Clock


def ada(clock: Clock, **changes) -> Mark:
    """Mark a subject for ten minutes."""
    mark = Mark(
        kind=MarkKind.SUBJECT,
        provider="melon",
        name="ada@example.org",
        moment=clock.now(),
        expires_at=clock.now() + 600,
    )
    return msgspec.structs.replace(mark, **changes)


def ledger(library: Library, clock: Clock, *secrets: str) -> Ledger:
    """Give a process's ledger in the library."""
    books = [Book(secret) for secret in secrets or (SECRET,)]
    return Ledger(books, journal=library.reader(), clock=clock, events=Watchman())


async def test_what_is_noted_stands_there_for_all(clock):
    """And what comes later adds to it, in any order."""
    library = Library()
    here, there = ledger(library, clock), ledger(library, clock)
    mark = ada(clock)
    later = ada(clock, moment=clock.now() + 5, expires_at=clock.now() + 100)
    await here.note(MarkRecord(later))
    record = await there.note(MarkRecord(mark))

    assert (later.moment, mark.expires_at) == (
        record.mark.moment,
        record.mark.expires_at,
    )
    assert record == await here.note(MarkRecord(mark))
    assert 2 == len(library.news)


async def test_a_lifted_mark_stays_lifted_until_it_is_made_again(clock):
    """Whoever still has it writes it back in vain; who makes one now is heard."""
    book = ledger(Library(), clock)
    await book.note(MarkRecord(ada(clock)))
    await book.note(MarkRecord(ada(clock), clock.now() + 3))

    assert not (await book.note(MarkRecord(ada(clock)))).in_force
    # The clock of who lifted it was ahead.
    again = await book.note(MarkRecord(ada(clock)), fresh=True)
    assert again.in_force
    assert 0 < again.mark.moment - clock.now() < 3.001


async def test_who_was_overtaken_loses_nothing_and_takes_nothing(clock):
    """Both records are in what stands there at the end."""
    library = Library()
    book = Book(SECRET)
    other = ada(clock, expires_at=clock.now() + 9000)
    field = book.field(other)
    library.overtakers = [(0, field, book.seal(MarkRecord(other), field))]
    record = await ledger(library, clock).note(MarkRecord(ada(clock), clock.now()))

    assert (other.expires_at, clock.now()) == (
        record.mark.expires_at,
        record.lifted_at,
    )


async def test_who_is_always_overtaken_gives_up_loudly(clock):
    """It is an error to whoever revokes."""
    library, book = Library(), Book(SECRET)
    field = book.field(ada(clock))
    library.overtakers = [
        (0, field, book.seal(MarkRecord(ada(clock, moment=float(n))), field))
        for n in range(20)
    ]

    with pytest.raises(StoreUnavailable):
        await ledger(library, clock).note(MarkRecord(ada(clock)))


async def test_a_mark_is_written_under_every_listed_secret(clock):
    """Whoever has only one of them reads it."""
    library = Library(books=2)
    await ledger(library, clock, SECRET, OLD_SECRET).note(MarkRecord(ada(clock)))

    for number, secret in enumerate((SECRET, OLD_SECRET)):
        ((field, value),) = library.books[number].items()
        assert MarkRecord(ada(clock)) == Book(secret).open(value, field, clock.now())


async def test_a_dump_tells_nothing(clock):
    """Neither who was revoked, nor at which provider."""
    library = Library()
    await ledger(library, clock).note(MarkRecord(ada(clock)))
    dump = repr((library.books, Book(SECRET).name))

    assert not [word for word in ("ada", "melon", "subject", SECRET) if word in dump]


async def test_what_others_made_is_an_alarm_and_is_replaced(clock):
    """One flipped bit, another field or another secret: nothing opens."""
    book, record = Book(SECRET), MarkRecord(ada(clock))
    field = book.field(record.mark)
    value = book.seal(record, field)
    forged = [
        (value[:-1] + bytes([value[-1] ^ 1]), field),
        (value, book.field(ada(clock, name="eve"))),
        (Book(OLD_SECRET).seal(record, field), field),
        (b"x", field),
    ]

    for each, where in forged:
        with pytest.raises(SealBroken):
            book.open(each, where, clock.now())
    library = Library()
    library.books[0][field] = b"garbage"
    here = ledger(library, clock)
    assert record == await here.note(record)
    assert record == book.open(library.books[0][field], field, clock.now())


async def test_a_record_outlives_its_mark_by_what_clocks_differ(clock):
    """Then it is over, for who reads it and for who adds to it."""
    book, record = Book(SECRET), MarkRecord(ada(clock))
    field = book.field(record.mark)
    value = book.seal(record, field)
    clock.advance(600 + CLOCKS_DIFFER - 1)
    assert record == book.open(value, field, clock.now())

    clock.advance(1)
    assert book.open(value, field, clock.now()) is None


async def test_a_name_that_is_too_long_is_an_error(clock):
    """It cannot be kept, and is not cut."""
    with pytest.raises(StoreUnavailable):
        await ledger(Library(), clock).note(
            MarkRecord(ada(clock, name="x" * STORED_LIMIT_BYTES))
        )


async def test_a_full_book_is_an_error_but_takes_what_it_has(clock):
    """Extending needs no room."""
    here = ledger(Library(limit=1), clock)
    await here.note(MarkRecord(ada(clock)))
    await here.note(MarkRecord(ada(clock, moment=clock.now() + 1)))

    with pytest.raises(StoreUnavailable):
        await here.note(MarkRecord(ada(clock, name="bob")))
    assert "<Ledger: 1 books>" == repr(here)


async def test_what_is_over_can_be_erased_unless_it_was_replaced(clock):
    """Nobody's newer word is lost."""
    library = Library()
    here = ledger(library, clock)
    await here.note(MarkRecord(ada(clock)))
    ((field, value),) = library.books[0].items()
    await here.erase(0, field, b"another")
    assert library.books[0]

    await here.erase(0, field, value)
    assert not library.books[0]
