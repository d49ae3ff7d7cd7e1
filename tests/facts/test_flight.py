import asyncio

import pytest

from gateway.errors import ProviderUnavailable, StoreUnavailable
from gateway.facts.fingerprints import Fingerprint, Kind
from gateway.facts.flight import PATIENCE, SharedFlights
from gateway.values import Invalid, Knowledge, Reason, Source, TokenFacts
from tests.facts.doubles import SECRET, Tally, Tower
from tests.fakes import Clock

ADA = Knowledge(TokenFacts(provider="melon", subject="ada"), Source.PROVIDER, 1.0)
STORED = Knowledge(TokenFacts(provider="melon", subject="ada"), Source.L2, 1.0)
NO = Invalid(Reason.INACTIVE, client="shop")
NAME = Fingerprint(SECRET, Kind.FLIGHT, "melon", "oracle")
KEY = NAME.store_key("t")


class Process:
    """One process: it counts how often it asked, and finds in the store what is there."""

    def __init__(self, tower: Tower, clock: Clock, secret: str = SECRET) -> None:
        self.tally = Tally()
        self.flights = SharedFlights(
            NAME, secret, lock=tower, clock=clock, events=self.tally
        )
        self.says: Knowledge | Exception = ADA
        self.stored: Knowledge | None = None
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def ask(self) -> Knowledge:
        """Say what is to be said."""
        self.asked += 1
        await self.gate.wait()
        if isinstance(self.says, Exception):
            raise self.says
        return self.says

    async def look(self) -> Knowledge | None:
        """Find it in the store, or not."""
        return self.stored

    async def learn(self) -> Knowledge:
        """Learn of the token."""
        return await self.flights.learn("t", ask=self.ask, look=self.look)


@pytest.fixture
def tower(clock):
    """What all share."""
    return Tower(clock)


@pytest.fixture
def process(tower, clock):
    """One of them."""
    return Process(tower, clock)


@pytest.fixture
def other(tower, clock):
    """Another."""
    return Process(tower, clock)


async def both(first: Process, second: Process) -> tuple[Knowledge, Knowledge]:
    """Let the second come while the first asks."""
    first.gate.clear()
    learning = asyncio.gather(first.learn(), second.learn())
    for _ in range(10):
        await asyncio.sleep(0)
    assert (1, 0) == (first.asked, second.asked)
    first.gate.set()
    one, two = await learning
    return one, two


async def test_one_asks_and_the_other_looks_in_the_store(process, other, tower):
    """Facts do not travel by notification: they are there already."""
    other.stored = STORED

    assert (ADA, STORED) == await both(process, other)
    assert 0 == other.asked
    assert [(b"+", False)] == tower.told
    assert {("cache", "flight", "hit"): 1} == other.tally.counts


async def test_a_verdict_travels_with_the_word_alone(process, other, tower, clock):
    """Whole, and sealed: the store is trusted with nothing."""
    process.says = Knowledge(NO, Source.PROVIDER, 1.0)
    _, heard = await both(process, other)

    assert Knowledge(NO, Source.L2, clock.now()) == heard
    assert 0 == other.asked
    assert b"inactive" not in tower.words[KEY]
    assert b"shop" not in tower.words[KEY]


async def test_facts_that_will_not_do_are_asked_for(process, other):
    """Too old for this caller, or not in the store at all."""
    assert (ADA, ADA) == await both(process, other)
    assert 1 == other.asked


async def test_a_word_that_does_not_open_is_an_alarm_and_a_question(process, tower):
    """Somebody else wrote it."""
    tower.words[KEY] = b"-garbage"

    assert ADA == await process.learn()
    assert {("cache", "flight", "hit"): 1, ("seal_alarm",): 1} == process.tally.counts


async def test_a_verdict_of_long_ago_is_not_believed(process, other, tower, clock):
    """A replica that is stale, or a list that lost its expiry."""
    process.says = Knowledge(NO, Source.PROVIDER, 1.0)
    await process.learn()
    clock.advance(60)
    tower.until.clear()

    assert ADA == await other.learn()


async def test_a_word_nobody_knows_is_a_question(process, tower):
    """Of a later version, perhaps."""
    tower.words[KEY] = b"* something new"

    assert ADA == await process.learn()


async def test_an_outage_is_everybodys_for_a_moment(process, other, tower):
    """Those who wait and those who come do not queue up behind a provider that hangs."""
    process.says = ProviderUnavailable("hangs")
    with pytest.raises(ProviderUnavailable, match="hangs"):
        await process.learn()
    assert [(b"?", True)] == tower.told

    with pytest.raises(ProviderUnavailable, match="another process"):
        await other.learn()
    assert 0 == other.asked


async def test_those_who_wait_hear_of_the_outage(process, other, tower):
    """At once, not at a deadline of their own."""
    tower.hold(KEY)
    learning = asyncio.gather(other.learn(), return_exceptions=True)
    await asyncio.sleep(0)
    tower.tell(KEY, b"?")
    (failure,) = await learning

    assert isinstance(failure, ProviderUnavailable)
    assert 0 == other.asked


async def test_a_bug_is_an_outage_for_the_others(process, tower):
    """Whatever went wrong, the lock is not left behind."""
    process.says = ValueError("a bug")
    with pytest.raises(ValueError, match="a bug"):
        await process.learn()

    assert [(b"?", True)] == tower.told


async def test_a_leader_that_died_is_followed_by_the_next(process, tower):
    """When the lock has run out."""
    tower.hold(KEY)
    learning = asyncio.gather(process.learn())
    await asyncio.sleep(0)
    assert 0 == process.asked
    tower.tell(KEY, None)

    (learned,) = await learning
    assert ADA == learned
    assert [(b"+", False)] == tower.told


async def test_patience_ends(process, tower, clock):
    """However many die one after the other: then everybody asks for himself."""

    async def wait(key: str, seconds: float) -> bytes | None:
        clock.advance(seconds)
        return None

    tower.hold(KEY)
    tower.wait = wait
    began = clock.monotonic()

    assert ADA == await process.learn()
    assert PATIENCE == clock.monotonic() - began
    assert [] == tower.told


async def test_without_a_store_everybody_asks_for_himself(process, other, tower):
    """Nobody waits; neither the lock's taking nor its release was heard of: counted."""
    tower.fails = True

    one, two = await asyncio.gather(process.learn(), other.learn())
    assert (ADA, ADA) == (one, two)
    assert {("cache", "flight", "error"): 2} == process.tally.counts


async def test_a_lock_that_was_taken_unheard_is_released(process, other, tower):
    """Else the others would wait for its end."""
    take = tower.take

    async def take_unheard(key: str, owner: str) -> tuple[str, float]:
        await take(key, owner)
        raise StoreUnavailable("too late")

    tower.take = take_unheard
    assert ADA == await process.learn()
    tower.take = take

    assert {} == tower.holders
    assert [(b"+", False)] == tower.told


async def test_a_store_lost_while_waiting_is_a_question_of_ones_own(process, tower):
    """Whoever has the lock keeps it."""
    tower.hold(KEY)
    learning = asyncio.gather(process.learn())
    await asyncio.sleep(0)
    tower.fails = True
    tower.changed.set()

    (learned,) = await learning
    assert ADA == learned
    assert {("cache", "flight", "error"): 1} == process.tally.counts
    assert {KEY: "another"} == tower.holders


async def test_a_store_lost_while_asking_costs_nothing(process, tower):
    """The answer is ours all the same."""
    process.gate.clear()
    learning = asyncio.gather(process.learn())
    await asyncio.sleep(0)
    tower.fails = True
    process.gate.set()

    (learned,) = await learning
    assert ADA == learned
    assert {("cache", "flight", "error"): 1} == process.tally.counts


async def test_what_cannot_be_sealed_is_asked_for_by_each(process, other):
    """A client with half a surrogate pair in its name."""
    verdict = Knowledge(
        Invalid(Reason.REFRESH_TOKEN, client="\ud800"), Source.PROVIDER, 1.0
    )
    process.says = other.says = verdict

    assert (verdict, verdict) == await both(process, other)
