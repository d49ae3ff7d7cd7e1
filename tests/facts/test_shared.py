import pytest

from gateway.facts.fingerprints import Kind, fingerprints
from gateway.facts.shared import CacheResources, SharedFacts
from gateway.values import TokenFacts
from tests.facts.doubles import OLD_SECRET, SECRET, Cupboard, Tally

ADA = TokenFacts(provider="melon", subject="ada", learned_at=1_800_000_000.0)


@pytest.fixture
def cupboard():
    """A shared store one can look into."""
    return Cupboard()


@pytest.fixture
def tally():
    """Counts."""
    return Tally()


@pytest.fixture
def shared(cupboard, tally, clock):
    """Build the shared facts under these secrets."""

    def build(*secrets: str) -> SharedFacts:
        resources = CacheResources(
            secrets=secrets, store=cupboard, clock=clock, events=tally
        )
        return SharedFacts(fingerprints(secrets, Kind.FACTS, "melon"), resources)

    return build


def always(_: TokenFacts) -> bool:
    """Take any facts."""
    return True


async def test_what_was_written_is_read(shared, cupboard, tally):
    """With its ttl in the store, and counted as a hit."""
    await shared(SECRET).write("t", ADA, 42.0)

    assert [42.0] == list(cupboard.ttls.values())
    assert (ADA, True) == await shared(SECRET).read("t", always)
    assert {("cache", "l2", "hit"): 1} == tally.counts


async def test_nothing_is_a_miss(shared, tally):
    """And no entry is there."""
    assert (None, False) == await shared(SECRET).read("t", always)
    assert {("cache", "l2", "miss"): 1} == tally.counts


async def test_facts_that_will_not_do_are_a_miss_but_there(shared, tally):
    """Whoever learns better can take them away."""
    await shared(SECRET).write("t", ADA, 42.0)

    assert (None, True) == await shared(SECRET).read("t", lambda facts: facts != ADA)
    assert {("cache", "l2", "miss"): 1} == tally.counts


async def test_facts_that_ran_out_are_a_miss_but_there(shared, clock):
    """The end is inside the seal: a store need not keep time."""
    await shared(SECRET).write("t", ADA, 42.0)
    clock.advance(42)

    assert (None, True) == await shared(SECRET).read("t", always)


async def test_what_does_not_open_is_a_miss_an_alarm_and_there(shared, cupboard, tally):
    """Nobody parses it."""
    await shared(SECRET).write("t", ADA, 42.0)
    (key,) = cupboard.kept
    cupboard.kept[key] = b"garbage"

    assert (None, True) == await shared(SECRET).read("t", always)
    assert {("cache", "l2", "miss"): 1, ("seal_alarm",): 1} == tally.counts


async def test_a_store_in_trouble_is_a_counted_miss(shared, cupboard, tally):
    """Whatever is asked of it."""
    cupboard.fails = True
    facts = shared(SECRET)
    await facts.write("t", ADA, 42.0)
    await facts.erase("t")

    assert (None, False) == await facts.read("t", always)
    assert {("cache", "l2", "error"): 3} == tally.counts


async def test_what_cannot_be_sealed_is_not_written(shared, cupboard):
    """No room for it in the store's limit."""
    huge = TokenFacts(provider="melon", claims={"x": "y" * 100_000})
    await shared(SECRET).write("t", huge, 42.0)

    assert not cupboard.kept


async def test_the_first_secret_names_and_all_are_erased(shared, cupboard):
    """A change of secrets goes process by process."""
    await shared(OLD_SECRET).write("t", ADA, 42.0)
    both = shared(SECRET, OLD_SECRET)

    assert (None, False) == await both.read("t", always)
    await both.erase("t")
    assert not cupboard.kept
