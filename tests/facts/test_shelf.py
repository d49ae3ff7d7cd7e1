import gc
import os
import tracemalloc

import pytest

from gateway.facts.shelf import ENTRY_BYTES, Ends, Shelf, weigh
from gateway.values import Invalid, Knowledge, Reason, Source, TokenFacts


def known(subject: str = "ada", **facts) -> Knowledge:
    """Give something to keep."""
    found = TokenFacts(provider="melon", subject=subject, **facts)
    return Knowledge(found, Source.L1, 1_800_000_000.0)


def test_what_is_kept_is_found():
    """Under its name, and no other."""
    shelf = Shelf(10_000)
    shelf.keep(b"a", known(), Ends(until=10))

    assert known() == shelf.find(b"a", 0, 0)
    assert shelf.find(b"b", 0, 0) is None


@pytest.mark.parametrize(("monotonic", "now"), [(10, 0), (0, 20), (11, 21)])
def test_an_entry_ends_by_either_clock(monotonic, now):
    """And is gone then: a clock set back does not find it again."""
    shelf = Shelf(10_000)
    shelf.keep(b"a", known(), Ends(until=10, dies_at=20))

    assert shelf.find(b"a", 9.9, 19.9) is not None
    assert shelf.find(b"a", monotonic, now) is None
    assert shelf.find(b"a", 0, 0) is None
    assert (0, 0) == (len(shelf), shelf.held_bytes)


def test_the_one_not_used_for_longest_makes_room():
    """A hit counts as use."""
    weight = weigh(known()) + ENTRY_BYTES
    shelf = Shelf(2 * weight)
    shelf.keep(b"a", known(), Ends(until=10))
    shelf.keep(b"b", known(), Ends(until=10))
    shelf.find(b"a", 0, 0)
    shelf.keep(b"c", known(), Ends(until=10))

    assert [True, False, True] == [
        shelf.find(name, 0, 0) is not None for name in (b"a", b"b", b"c")
    ]
    assert 2 * weight == shelf.held_bytes


def test_an_entry_that_is_replaced_counts_once():
    """The same token, learned anew."""
    shelf = Shelf(10_000)
    shelf.keep(b"a", known("a much longer name than the next one"), Ends(until=10))
    shelf.keep(b"a", known(), Ends(until=10))

    assert weigh(known()) + ENTRY_BYTES == shelf.held_bytes
    assert known() == shelf.find(b"a", 0, 0)


def test_an_entry_larger_than_the_shelf_is_not_kept():
    """One user's huge claim does not break the bound."""
    shelf = Shelf(1_000)
    shelf.keep(b"a", known("x" * 2_000), Ends(until=10))

    assert (0, 0) == (len(shelf), shelf.held_bytes)


def test_dropping_what_is_not_there_is_no_error():
    """Whoever forgets need not know."""
    shelf = Shelf(1_000)
    shelf.drop(b"a")

    assert 0 == shelf.held_bytes


def test_every_part_of_a_value_is_weighed():
    """What a provider can make longer makes the entry heavier."""
    plain = weigh(known())

    for heavier in (
        known("a" * 100),
        known(scopes=frozenset({"a" * 100})),
        known(audience=("a" * 100,)),
        known(claims={"a" * 100: 1}),
        known(claims={"a": ("a" * 100,)}),
    ):
        assert plain + 50 < weigh(heavier)


def facts_number(number: int) -> Knowledge:
    """Give facts of which no part is shared with another's."""
    found = TokenFacts(
        provider="melon",
        subject=f"subject-{number}" * 4,
        client=f"client-{number}",
        scopes=frozenset({f"streaming-{number}", f"likes-{number}"}),
        issued_at=1.8e9 - number,
        expires_at=1.8e9 + number,
        token_id=f"jti-{number}" * 3,
        claims={"name": f"송근욱 {number}"},
        learned_at=1.8e9 + number / 7,
    )
    return Knowledge(found, Source.L1, found.learned_at)


def verdict_number(number: int) -> Knowledge:
    """Give a negative, as a flood of invented tokens makes them."""
    return Knowledge(Invalid(Reason.INACTIVE), Source.L1, 1.8e9 + number / 7)


@pytest.mark.parametrize("make", [facts_number, verdict_number])
def test_the_bound_is_an_honest_one(make):
    """The bytes counted are at least those taken, and not much more."""
    shelf = Shelf(100_000_000)
    gc.collect()
    tracemalloc.start()
    for number in range(5_000):
        ends = Ends(until=1e3 + number, dies_at=1.8e9 + number * 1.1)
        shelf.keep(os.urandom(32), make(number), ends)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert taken <= shelf.held_bytes <= taken * 1.5


def test_what_nears_its_end_is_told_once_and_then_found():
    """One call to learn it anew is enough."""
    shelf = Shelf(10_000)
    shelf.keep(b"a", known(), Ends(until=10, calm_until=8))

    assert known() == shelf.find(b"a", 7.9, 0)
    assert shelf.find(b"a", 8, 0) is None
    assert known() == shelf.find_aging(b"a", 8)
    assert known() == shelf.find(b"a", 9.9, 0)
    assert shelf.find(b"a", 10, 0) is None
    assert shelf.find_aging(b"a", 10) is None
    assert shelf.find_aging(b"b", 0) is None


def test_what_outlived_its_end_is_found_by_those_who_ask_for_it():
    """Until it is kept no longer, by either clock."""
    shelf = Shelf(10_000)
    shelf.keep(b"a", known(), Ends(until=10, kept_until=20, dies_at=30))

    assert shelf.find(b"a", 15, 0) is None
    assert shelf.find_aging(b"a", 15) is None
    assert known() == shelf.find_outlived(b"a", 19.9, 29.9)
    assert shelf.find_outlived(b"a", 20, 0) is None
    assert shelf.find_outlived(b"a", 15, 30) is None
    assert shelf.find_outlived(b"b", 0, 0) is None
    assert shelf.find(b"a", 20, 0) is None
    assert 0 == len(shelf)


def test_who_is_gone_is_counted_by_why():
    """Whether the bound is too small is told by those that made room."""
    weight = weigh(known()) + ENTRY_BYTES
    shelf = Shelf(2 * weight)
    for name in (b"a", b"b", b"c"):
        shelf.keep(name, known(), Ends(until=10))
    shelf.drop(b"b")
    shelf.find(b"c", 10, 0)

    assert (1, 1) == (shelf.ousted, shelf.outdated)


def test_being_told_of_counts_as_use():
    """Hot facts are not those that make room."""
    weight = weigh(known()) + ENTRY_BYTES
    shelf = Shelf(2 * weight)
    shelf.keep(b"a", known(), Ends(until=10, calm_until=0))
    shelf.keep(b"b", known(), Ends(until=10))
    shelf.find_aging(b"a", 0)
    shelf.keep(b"c", known(), Ends(until=10))

    assert shelf.find(b"a", 0, 0) is not None
    assert shelf.find(b"b", 0, 0) is None
