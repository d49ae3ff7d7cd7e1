import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import tasks
from gateway.errors import ProviderUnavailable, TooManyUnknown
from gateway.facts.budget import UnknownSettings, UnknownTokens
from gateway.facts.cached import CachedFacts, CacheSettings
from gateway.facts.chain import Chain
from gateway.facts.shared import CacheResources
from gateway.stores.memory import MemoryStore
from gateway.values import Invalid, Knowledge, Notes, Reason, Source, TokenFacts
from tests.facts.doubles import OLD_SECRET, SECRET, Cupboard, Oracle, Tally, Tower
from tests.fakes import Clock

ADA = TokenFacts(provider="melon", subject="ada")
NO = Invalid(Reason.INACTIVE)
TTL = 60.0


@dataclass
class House:
    """One process's cache of one provider, and those around it."""

    clock: Clock
    oracle: Oracle = field(default_factory=lambda: Oracle(ADA))
    cupboard: Any = field(default_factory=Cupboard)
    tally: Tally = field(default_factory=Tally)

    def facts(
        self,
        provider: str = "melon",
        secrets: tuple[str, ...] = (SECRET,),
        oracle: Oracle | None = None,
        **limits,
    ) -> CachedFacts:
        """Build a cache; each is a process of its own."""
        return CachedFacts(
            provider,
            Chain([oracle or self.oracle]),
            resources=CacheResources(
                secrets=secrets,
                store=self.cupboard,
                clock=self.clock,
                events=self.tally,
            ),
            settings=CacheSettings(**limits),
            method="userinfo",
        )

    @property
    def questions(self) -> int:
        """How often the provider was asked."""
        return len(self.oracle.asked)


@pytest.fixture
def house(clock):
    """A provider that says *ada*, an empty store."""
    return House(clock)


def begun(learning: Coroutine[None, None, Knowledge]) -> asyncio.Task[Knowledge]:
    """Begin to learn, as a client's request does that may go away."""
    return asyncio.get_running_loop().create_task(learning)


def subject_of(knowledge: Knowledge) -> str | None:
    """Tell whose token it is."""
    assert isinstance(knowledge.found, TokenFacts)
    return knowledge.found.subject


async def settled() -> None:
    """Let every task get as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


# ------------------------------------------------------------------- remembering


async def test_what_was_learned_is_recalled(house, clock):
    """The provider is asked once; the source and the age are told."""
    facts = house.facts()
    now = clock.now()

    assert facts.recall("t") is None
    learned = await facts.learn("t")
    clock.advance(5)

    known = TokenFacts(provider="melon", subject="ada", learned_at=now)
    assert Knowledge(known, Source.PROVIDER, now) == learned
    assert Knowledge(known, Source.L1, now) == facts.recall("t")
    assert Knowledge(known, Source.L1, now) == await facts.learn("t")
    assert 1 == house.questions


async def test_the_moment_before_the_question_counts(house, clock):
    """What a slow provider says is as old as the question."""
    house.oracle.gate.clear()
    facts = house.facts()
    began = clock.now()
    learning = begun(facts.learn("t"))
    await settled()
    clock.advance(2)
    house.oracle.gate.set()
    knowledge = await learning

    assert began == knowledge.obtained_at
    clock.advance(TTL - 2)
    assert facts.recall("t") is None


async def test_facts_are_believed_for_their_ttl_and_no_hit_extends_it(house, clock):
    """However often the token is used (oathkeeper #968)."""
    facts = house.facts(ttl=TTL)
    await facts.learn("t")
    for _ in range(59):
        clock.advance(1)
        assert facts.recall("t") is not None
    clock.advance(1)

    assert facts.recall("t") is None


async def test_facts_are_never_believed_up_to_exp_less_the_margin(house, clock):
    """Whatever the ttl says."""
    house.oracle.says = [TokenFacts(provider="melon", expires_at=clock.now() + 30)]
    facts = house.facts(expiry_margin=10.0)
    await facts.learn("t")
    (ttl,) = house.cupboard.ttls.values()

    assert 20 == ttl
    clock.advance(19.9)
    assert facts.recall("t") is not None
    clock.advance(0.1)
    assert facts.recall("t") is None


@pytest.mark.parametrize("exp", [-5.0, 0.0, 5.0])
async def test_facts_at_their_end_are_not_kept_at_all(house, clock, exp):
    """No entry with a life of nothing or less (lua-resty-openidc)."""
    house.oracle.says = [TokenFacts(provider="melon", expires_at=clock.now() + exp)]
    facts = house.facts(expiry_margin=5.0)
    learned = await facts.learn("t")

    assert Source.PROVIDER is learned.source
    assert facts.recall("t") is None
    assert not house.cupboard.kept


async def test_a_clock_set_forward_ends_belief_and_set_back_never_revives_it(
    house, clock
):
    """`exp` goes by the wall clock; what it ended stays ended."""
    house.oracle.says = [TokenFacts(provider="melon", expires_at=clock.now() + 300)]
    facts = house.facts()
    await facts.learn("t")
    clock.step(400)

    assert facts.recall("t") is None
    clock.step(-400)
    assert facts.recall("t") is None


async def test_a_clock_set_back_does_not_extend_the_ttl(house, clock):
    """It is counted on the clock that cannot be set."""
    facts = house.facts()
    await facts.learn("t")
    clock.step(-3600)
    clock.advance(TTL)

    assert facts.recall("t") is None


async def test_a_ttl_of_nothing_asks_every_time_but_shares_a_question(house):
    """No memory, no store; callers of the same moment still ask once."""
    facts = house.facts(ttl=0.0)
    await asyncio.gather(*(facts.learn("t") for _ in range(10)))
    assert 1 == house.questions

    await facts.learn("t")
    assert 2 == house.questions
    assert facts.recall("t") is None
    assert 0 == house.cupboard.gets == len(house.cupboard.kept)


# ------------------------------------------------------------------- negatives


async def test_a_verdict_is_remembered_for_a_while(house, clock):
    """An invalid token does not reach the provider on every request."""
    house.oracle.says = [NO]
    facts = house.facts(negative_ttl=10.0)
    learned = await facts.learn("t")
    clock.advance(9.9)

    assert Knowledge(NO, Source.PROVIDER, learned.obtained_at) == learned
    assert Knowledge(NO, Source.L1, learned.obtained_at) == facts.recall("t")
    clock.advance(0.1)
    assert facts.recall("t") is None


async def test_verdicts_are_not_shared_through_the_store(house):
    """A flood of invented tokens leaves nothing in it."""
    house.oracle.says = [NO]
    await house.facts().learn("t")

    assert not house.cupboard.kept


async def test_a_verdict_that_time_turns_over_is_not_kept(house):
    """A token that is not valid yet may be the next moment."""
    house.oracle.says = [Invalid(Reason.NOT_YET_VALID)]
    facts = house.facts()
    await facts.learn("t")

    assert facts.recall("t") is None


async def test_a_flood_of_invented_tokens_pushes_out_no_good_one(house):
    """They fill a shelf of their own, and that is bounded."""
    facts = house.facts(negative_bytes=10_000)
    await facts.learn("good")
    house.oracle.says = [NO]
    for number in range(200):
        await facts.learn(f"invented-{number}")

    assert facts.recall("good") is not None
    stats = facts.stats()
    assert 1 == stats.entries
    assert 10 < stats.negatives < 30
    assert stats.bytes < 12_000


async def test_memory_is_bounded_in_bytes(house):
    """Good tokens make room for each other."""
    facts = house.facts(memory_bytes=20_000)
    for number in range(200):
        await facts.learn(f"t{number}")

    assert facts.stats().bytes <= 20_000
    assert facts.recall("t0") is None
    assert facts.recall("t199") is not None


async def test_a_token_that_turned_good_is_good(house, clock):
    """Facts take the place of the verdict, and the other way round."""
    house.oracle.says = [NO, ADA, NO]
    facts = house.facts()
    found = []
    for _ in range(3):
        await facts.learn("t", max_age=0.0)
        knowledge = facts.recall("t")
        assert knowledge is not None
        found.append(type(knowledge.found))
        clock.advance(1)

    assert [Invalid, TokenFacts, Invalid] == found
    assert (0, 1) == (facts.stats().entries, facts.stats().negatives)


# ------------------------------------------------------------------- one question


async def test_a_herd_asks_once(house):
    """2,000 requests with one cold token are one question."""
    house.oracle.gate.clear()
    facts = house.facts()
    herd = [begun(facts.learn("t")) for _ in range(2000)]
    await settled()
    house.oracle.gate.set()
    found = {knowledge.obtained_at for knowledge in await asyncio.gather(*herd)}

    assert 1 == house.questions
    assert 1 == len(found)
    assert 1999 == house.tally.counts["coalesced", "melon"]


async def test_different_tokens_share_nothing(house):
    """Each has its own question and its own answer (Traefik, 2026)."""
    house.oracle.says = [
        TokenFacts(provider="melon", subject=str(number)) for number in range(100)
    ]
    facts = house.facts()
    await asyncio.gather(*(facts.learn(f"t{number}") for number in range(100)))
    known = {facts.recall(f"t{number}").found.subject for number in range(100)}

    assert 100 == house.questions == len(known)


async def test_a_leader_that_goes_away_fails_nobody(house):
    """The question has a task of its own."""
    house.oracle.gate.clear()
    facts = house.facts()
    leader = begun(facts.learn("t"))
    await settled()
    follower = begun(facts.learn("t"))
    await settled()
    leader.cancel()
    await settled()
    house.oracle.gate.set()

    assert "ada" == subject_of(await follower)
    assert leader.cancelled()
    assert 1 == house.questions


async def test_an_answer_nobody_waits_for_is_remembered(house):
    """It was asked for once; the next one has it."""
    house.oracle.gate.clear()
    facts = house.facts()
    gone = begun(facts.learn("t"))
    await settled()
    gone.cancel()
    await settled()
    house.oracle.gate.set()
    await settled()

    assert facts.recall("t") is not None
    assert not tasks.running()


async def test_a_failure_is_shared_with_those_who_waited_and_nobody_else(house):
    """Each gets its own exception; the next caller asks again."""
    house.oracle.gate.clear()
    house.oracle.says = [ProviderUnavailable("hung"), ADA]
    facts = house.facts()
    waiting = [begun(facts.learn("t")) for _ in range(3)]
    await settled()
    house.oracle.gate.set()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)

    assert [ProviderUnavailable] * 3 == [type(outcome) for outcome in outcomes]
    assert 3 == len({id(outcome) for outcome in outcomes})
    assert {"hung"} == {str(outcome) for outcome in outcomes}
    assert "ada" == (await facts.learn("t")).found.subject
    assert 2 == house.questions


async def test_a_failure_nobody_waits_for_disturbs_nobody(house):
    """No exception is left lying about; an outage is not remembered."""
    house.oracle.gate.clear()
    house.oracle.says = [ProviderUnavailable("hung")]
    facts = house.facts()
    gone = begun(facts.learn("t"))
    await settled()
    gone.cancel()
    house.oracle.gate.set()
    await settled()

    assert facts.recall("t") is None
    assert not tasks.running()


async def test_a_bug_in_a_verifier_is_an_outage_and_is_reported(house):
    """Whoever waits is answered; nobody waits for ever."""
    reports = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reports.append(context))
    house.oracle.says = [ZeroDivisionError("a bug")]
    facts = house.facts()

    with pytest.raises(ProviderUnavailable):
        await facts.learn("t")
    await settled()
    (report,) = reports
    assert isinstance(report["exception"], ZeroDivisionError)
    assert "task learn a token of melon crashed" == report["message"]


# ------------------------------------------------------------------- forgetting


async def test_a_forgotten_token_is_asked_for_again(house):
    """It is gone here and in the store."""
    facts = house.facts()
    await facts.learn("t")
    await facts.forget("t", source="admin")

    assert facts.recall("t") is None
    assert not house.cupboard.kept
    assert 1 == house.tally.counts["forgotten", "admin"]
    await facts.learn("t")
    assert 2 == house.questions


async def test_a_verdict_can_be_forgotten_too(house):
    """Whoever says *forget* wants to hear it anew."""
    house.oracle.says = [NO, ADA]
    facts = house.facts()
    await facts.learn("t")
    await facts.forget("t", source="admin")

    assert facts.recall("t") is None


async def test_a_forget_beats_the_answer_in_flight(house):
    """Those who waited get it; it is kept nowhere, and the next one asks."""
    house.oracle.gate.clear()
    house.oracle.says = [ADA, NO]
    facts = house.facts()
    waiting = begun(facts.learn("t"))
    await settled()
    await facts.forget("t", source="admin")
    later = begun(facts.learn("t"))
    await settled()
    house.oracle.gate.set()

    assert "ada" == subject_of(await waiting)
    assert NO == (await later).found
    assert not house.cupboard.ttls
    assert NO == facts.recall("t").found


async def test_a_forget_beats_the_answer_on_its_way_to_the_store(house):
    """What was written after all is taken back."""
    house.cupboard.gate.clear()
    facts = house.facts()
    waiting = begun(facts.learn("t"))
    await settled()
    await facts.forget("t", source="admin")
    house.cupboard.gate.set()
    await waiting

    assert not house.cupboard.kept
    assert facts.recall("t") is None


async def test_a_store_that_does_not_answer_does_not_keep_memory_from_forgetting(
    house,
):
    """It is counted; the entry ends with its ttl."""
    facts = house.facts()
    await facts.learn("t")
    house.cupboard.fails = True
    await facts.forget("t", source="admin")

    assert facts.recall("t") is None
    assert 1 == house.tally.counts["cache", "l2", "error"]


# ------------------------------------------------------------------- the store


async def test_what_one_process_learned_another_need_not_ask(house, clock):
    """It is as old there as it is here, and dies at the same moment."""
    first, second = house.facts(), house.facts()
    learned = await first.learn("t")
    clock.advance(20)
    shared = await second.learn("t")

    assert Knowledge(learned.found, Source.L2, learned.obtained_at) == shared
    assert 1 == house.questions
    clock.advance(39.9)
    assert Source.L1 is second.recall("t").source
    clock.advance(0.1)
    assert second.recall("t") is None


async def test_the_reader_measures_by_its_own_ttl(house, clock):
    """A writer of yesterday's configuration does not decide for us."""
    await house.facts(ttl=3600.0).learn("t")
    facts = house.facts(ttl=30.0)
    clock.advance(29)
    assert Source.L2 is (await facts.learn("t")).source
    clock.advance(1)

    assert facts.recall("t") is None
    assert Source.PROVIDER is (await facts.learn("t")).source


@pytest.mark.parametrize(("step", "source"), [(-0.5, "l2"), (-5.0, "provider")])
async def test_an_entry_from_the_future_is_not_believed(house, clock, step, source):
    """A clock set back would make it young again; a small difference does not."""
    await house.facts().learn("t")
    clock.step(step)

    assert source == (await house.facts().learn("t")).source


async def test_an_entry_beyond_its_end_is_refused_though_the_store_has_it(house, clock):
    """A store that lost the expiry, or a stale replica, changes nothing."""
    await house.facts().learn("t")
    clock.advance(TTL)
    facts = house.facts()

    assert Source.PROVIDER is (await facts.learn("t")).source


async def test_a_lost_store_is_a_miss(house):
    """The provider is asked, the client never notices, and it is counted."""
    house.cupboard.fails = True
    facts = house.facts()

    assert "ada" == (await facts.learn("t")).found.subject
    assert facts.recall("t") is not None
    assert 2 == house.tally.counts["cache", "l2", "error"]


async def test_a_tampered_entry_is_a_miss_and_an_alarm(house):
    """And is replaced by what the provider says."""
    await house.facts().learn("t")
    (key,) = house.cupboard.kept
    house.cupboard.kept[key] = house.cupboard.kept[key][:-1] + b"?"

    assert Source.PROVIDER is (await house.facts().learn("t")).source
    assert 1 == house.tally.counts["seal_alarm",]
    assert Source.L2 is (await house.facts().learn("t")).source


@pytest.mark.parametrize("value", [b"", b"garbage", b"\x01" + b"x" * 100_000])
async def test_garbage_in_the_store_is_taken_away(house, value):
    """Also when the provider then says that the token is not good."""
    await house.facts().learn("t")
    (key,) = house.cupboard.kept
    house.cupboard.kept[key] = value
    house.oracle.says = [NO]

    assert NO == (await house.facts().learn("t")).found
    assert not house.cupboard.kept


async def test_an_entry_copied_under_another_token_never_opens(house):
    """Whoever can write to the store cannot lend a token's facts."""
    facts = house.facts()
    await facts.learn("admin")
    await facts.learn("mine")
    admin, mine = house.cupboard.kept
    house.cupboard.kept[mine] = house.cupboard.kept[admin]
    knowledge = await house.facts().learn("mine")

    assert Source.PROVIDER is knowledge.source
    assert 1 == house.tally.counts["seal_alarm",]


@pytest.mark.parametrize(
    "other",
    [
        {"provider": "nugu"},
        {"oracle": Oracle(NO, identity="another endpoint")},
        {"secrets": (OLD_SECRET,)},
    ],
    ids=["provider", "verifiers", "secret"],
)
async def test_facts_are_shared_only_by_those_who_ask_the_same(house, other):
    """Another provider's, verifier's or deployment's word is not ours."""
    await house.facts().learn("t")
    knowledge = await house.facts(**other).learn("t")

    assert Source.PROVIDER is knowledge.source


async def test_nothing_readable_is_stored(house):
    """Neither the token nor what is known of it."""
    await house.facts().learn("secret-token")
    ((key, value),) = house.cupboard.kept.items()

    for word in (b"secret", b"token", b"ada", b"melon"):
        assert word not in key.removeprefix("gateway:").encode() + value


async def test_facts_that_cannot_be_sealed_are_remembered_here(house):
    """A claim beyond the codec costs the store only."""
    house.oracle.says = [TokenFacts(provider="melon", claims={"big": 2**70})]
    facts = house.facts()
    await facts.learn("t")

    assert facts.recall("t") is not None
    assert not house.cupboard.kept


async def test_what_the_provider_takes_back_is_taken_from_the_store(house, clock):
    """No other process goes on believing it."""
    house.oracle.says = [ADA, NO]
    facts = house.facts()
    await facts.learn("t")
    clock.advance(1)
    await facts.learn("t", max_age=0.5)

    assert not house.cupboard.kept


async def test_forgetting_reaches_entries_under_every_listed_secret(house):
    """In a change of secrets, processes write under either."""
    await house.facts(secrets=(OLD_SECRET,)).learn("t")
    await house.facts(secrets=(SECRET, OLD_SECRET)).forget("t", source="admin")

    assert not house.cupboard.kept


@pytest.mark.parametrize("private", ["signature", "store"])
async def test_the_store_is_left_out_where_it_could_only_cost(house, private):
    """Verifiers that ask nobody are faster; a store of our own knows no more."""
    house.oracle.local = private == "signature"
    house.cupboard.shared = private != "store"
    facts = house.facts()
    await facts.learn("t")
    await facts.forget("t", source="admin")

    assert 0 == house.cupboard.gets == len(house.cupboard.kept)


# ------------------------------------------------------------------- age


async def test_facts_too_old_for_the_caller_are_learned_anew(house, clock):
    """Memory and store are passed over; what is learned serves everybody."""
    facts = house.facts()
    await facts.learn("t")
    clock.advance(10)

    assert Source.L1 is (await facts.learn("t", max_age=10.0)).source
    assert Source.PROVIDER is (await facts.learn("t", max_age=9.9)).source
    assert clock.now() == facts.recall("t").obtained_at
    assert Source.L2 is (await house.facts().learn("t", max_age=1.0)).source


async def test_who_boards_a_flight_that_took_an_old_word_asks_again(house, clock):
    """Once for all of them."""
    await house.facts().learn("t")
    clock.advance(10)
    facts = house.facts()
    relaxed, *strict = await asyncio.gather(
        facts.learn("t"), *(facts.learn("t", max_age=5.0) for _ in range(5))
    )

    assert Source.L2 is relaxed.source
    assert {clock.now()} == {knowledge.obtained_at for knowledge in strict}
    assert 2 == house.questions


# ------------------------------------------------------------------- counting


async def test_everything_is_counted(house, clock):
    """Look-ups by tier, answers by who gave them."""
    house.oracle.says = [ADA, NO, ProviderUnavailable("hung")]
    facts, other = house.facts(), house.facts()
    for token in ("good", "bad", "gone"):
        assert facts.recall(token) is None
        try:
            await facts.learn(token)
        except ProviderUnavailable:
            continue
        assert facts.recall(token) is not None
    await other.learn("good")

    assert {
        ("cache", "l1", "miss"): 3,
        ("cache", "l1", "hit"): 1,
        ("cache", "l1", "negative_hit"): 1,
        ("cache", "l2", "miss"): 3,
        ("cache", "l2", "hit"): 1,
        ("validation", "melon", "userinfo", "provider", "active"): 1,
        ("validation", "melon", "userinfo", "provider", "inactive"): 1,
        ("validation", "melon", "userinfo", "provider", "error"): 1,
        ("validation", "melon", "userinfo", "l1", "active"): 1,
        ("validation", "melon", "userinfo", "l1", "inactive"): 1,
        ("validation", "melon", "userinfo", "l2", "active"): 1,
    } == house.tally.counts


async def test_counting_is_left_to_whoever_wants_it(clock):
    """Without a counter everything goes on."""
    cupboard = Cupboard()
    resources = CacheResources(secrets=(SECRET,), store=cupboard, clock=clock)
    facts = CachedFacts(
        "melon",
        Chain([Oracle(ADA, NO)]),
        resources=resources,
        settings=CacheSettings(),
    )
    await asyncio.gather(facts.learn("t"), facts.learn("t"))
    (key,) = cupboard.kept
    cupboard.kept[key] = b"garbage"
    other = CachedFacts(
        "melon", Chain([Oracle()]), resources=resources, settings=CacheSettings()
    )

    assert facts.recall("t") is not None
    assert "ada" == subject_of(await other.learn("t"))


async def test_its_looks_tell_no_secret(house):
    """A log line's worth."""
    facts = house.facts()
    await facts.learn("secret-token")

    assert "<CachedFacts melon: CacheStats(entries=1, negatives=0, bytes=" in repr(
        facts
    )
    resources = CacheResources(
        secrets=(SECRET,), store=house.cupboard, clock=house.clock
    )
    assert SECRET not in repr(resources)


# ------------------------------------------------------------------- whatever happens


class Server(MemoryStore):
    """A store whose entries run out, as a server's do."""

    shared = True


class World:
    """The forty lines that say what a cache may do."""

    def __init__(self) -> None:
        clock = Clock()
        self.house = House(clock, cupboard=Server(clock))
        self.caches = [self.house.facts(ttl=TTL, expiry_margin=5.0) for _ in range(2)]
        self.elapsed = 0.0
        self.stepped = False
        self.forgotten_at = -1.0
        self.learned: dict[float, float] = {}
        self.number = 0

    async def do(self, action: str, cache: int, amount: float) -> None:
        """Let one thing happen."""
        clock = self.house.clock
        if action == "advance":
            self.elapsed += amount
            clock.advance(amount)
        elif action == "step":
            clock.step(amount - 50)
            self.stepped = True
        elif action == "forget":
            await self.caches[cache].forget("t", source="admin")
            await self.caches[1 - cache].forget("t", source="admin")
            self.forgotten_at = self.elapsed
        elif action == "recall":
            knowledge = self.caches[cache].recall("t")
            if knowledge is not None:
                self.check(knowledge)
        else:
            self.number += 1
            facts = TokenFacts(
                provider="melon",
                expires_at=clock.now() + amount,
                token_id=str(self.number),
            )
            self.house.oracle.says = [facts]
            self.learned[self.number] = self.elapsed
            self.check(await self.caches[cache].learn("t"))

    def check(self, knowledge: Knowledge) -> None:
        """No answer is too old, beyond its end, or from before a forget."""
        found = knowledge.found
        assert isinstance(found, TokenFacts)
        assert found.token_id is not None
        learned = self.learned[int(found.token_id)]
        assert learned >= self.forgotten_at
        if knowledge.source is Source.PROVIDER:
            return
        # By the clock that cannot be set. Without a step, or a store, it is one ttl.
        whole = 1 if not self.stepped else 2
        assert self.elapsed - learned < whole * TTL + 1e-6
        assert found.expires_at is not None
        assert self.house.clock.now() < found.expires_at - 5


moves = st.tuples(
    st.sampled_from(["advance", "step", "forget", "recall", "recall", "learn"]),
    st.integers(0, 1),
    st.floats(0, 100),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(moves, max_size=40))
def test_whatever_happens_nothing_old_expired_or_forgotten_is_believed(moves):
    """Two processes, one store, a clock that is set at will."""

    async def happen() -> None:
        world = World()
        for move in moves:
            await world.do(*move)

    asyncio.run(happen())


async def test_a_token_that_comes_again_is_spared_the_fingerprint(house):
    """It is noted beside the token, for this cache alone."""
    facts, others = house.facts(), house.facts("another")
    known = (await facts.learn("t")).found
    notes: Notes = {}

    assert known == facts.recall("t", notes).found
    assert 32 == len(notes[facts])
    # Not even looked at: the notes are of one token.
    assert known == facts.recall("", notes).found
    assert others.recall("t", notes) is None


async def test_a_word_from_the_future_is_not_young(house, clock):
    """A clock was set back: who wants a recent word has the provider asked again."""
    facts = house.facts()
    await facts.learn("t")
    clock.step(-30)

    assert clock.now() == (await facts.learn("t", max_age=20.0)).obtained_at
    assert 2 == house.questions


async def test_a_word_of_a_clock_ahead_is_young_for_nobody_who_asks(house, clock):
    """Of another process, by half a second: believed, but its age is not known."""
    here, there = house.facts(), house.facts()
    clock.step(0.5)
    await there.learn("t")
    clock.step(-0.5)

    assert Source.PROVIDER is (await here.learn("t", max_age=20.0)).source
    assert 2 == house.questions


# ------------------------------------------------------------------- refreshing


async def test_hot_facts_are_learned_anew_behind_the_callers_back(house, clock):
    """One question, and nobody waits for it."""
    facts = house.facts(refresh_ahead=10.0)
    began = clock.now()
    await facts.learn("t")
    clock.advance(49.9)
    assert facts.recall("t") is not None
    await settled()
    assert 1 == house.questions

    clock.advance(0.1)
    house.oracle.gate.clear()
    for _ in range(5):
        known = facts.recall("t")
        await settled()
        assert (Source.L1, began) == (known.source, known.obtained_at)
    assert 2 == house.questions
    assert 1 == house.tally.counts["cache", "l1", "refresh"]

    house.oracle.gate.set()
    await settled()
    clock.advance(49)
    assert began + 50 == facts.recall("t").obtained_at


async def test_cold_facts_are_not_refreshed(house, clock):
    """They run out, and nobody asks."""
    facts = house.facts(refresh_ahead=10.0)
    await facts.learn("t")
    clock.advance(60)
    await settled()

    assert facts.recall("t") is None
    assert 1 == house.questions


async def test_a_refresh_that_fails_is_not_repeated(house, clock):
    """The facts serve to their end all the same; then the caller asks."""
    facts = house.facts(refresh_ahead=10.0)
    await facts.learn("t")
    house.oracle.says = [ProviderUnavailable("down")]
    clock.advance(55)
    for _ in range(5):
        assert facts.recall("t") is not None
        await settled()
    assert 2 == house.questions

    clock.advance(5)
    assert facts.recall("t") is None


async def test_a_refresh_that_hears_no_ends_belief_at_once(house, clock):
    """The provider's last word counts."""
    facts = house.facts(refresh_ahead=10.0)
    await facts.learn("t")
    house.oracle.says = [NO]
    clock.advance(55)
    facts.recall("t")
    await settled()

    assert NO == facts.recall("t").found


async def test_nothing_newer_is_to_be_learned_near_exp(house, clock):
    """The provider would say the same."""
    house.oracle.says = [TokenFacts(provider="melon", expires_at=clock.now() + 50)]
    facts = house.facts(refresh_ahead=10.0)
    await facts.learn("t")
    clock.advance(49)
    facts.recall("t")
    await settled()

    assert 1 == house.questions


async def test_short_lives_are_refreshed_in_their_second_half_only(house, clock):
    """Else every hit were a question."""
    facts = house.facts(ttl=4.0, refresh_ahead=10.0)
    await facts.learn("t")
    clock.advance(1.9)
    facts.recall("t")
    await settled()
    assert 1 == house.questions

    clock.advance(0.2)
    facts.recall("t")
    await settled()
    assert 2 == house.questions


async def test_a_refresh_takes_what_another_process_learned_meanwhile(house, clock):
    """If that is young; the old word of the store will not do."""
    here, there = house.facts(refresh_ahead=10.0), house.facts(refresh_ahead=10.0)
    await here.learn("t")
    clock.advance(40)
    await there.learn("t", max_age=5.0)
    clock.advance(12)
    here.recall("t")
    await settled()

    assert 2 == house.questions
    assert clock.now() - 12 == here.recall("t").obtained_at


async def test_what_is_being_asked_already_is_not_refreshed(house, clock):
    """Somebody wants it more recent: his answer will do."""
    facts = house.facts(refresh_ahead=10.0)
    await facts.learn("t")
    clock.advance(40)
    house.oracle.gate.clear()
    asking = asyncio.gather(facts.learn("t", max_age=5.0))
    await settled()
    clock.advance(11)
    assert facts.recall("t") is not None
    house.oracle.gate.set()
    await asking

    assert 2 == house.questions
    assert 0 == house.tally.counts["cache", "l1", "refresh"]


async def test_where_nobody_is_asked_nothing_is_refreshed(house, clock):
    """A signature does not grow old."""
    facts = house.facts(oracle=Oracle(ADA, local=True), refresh_ahead=10.0)
    await facts.learn("t")
    clock.advance(55)
    facts.recall("t")
    await settled()

    assert 0 == house.tally.counts["cache", "l1", "refresh"]


async def test_what_was_learned_together_does_not_run_out_together(house, clock):
    """Chance takes some of the ttl away, and never adds to it."""
    facts = house.facts(jitter=0.1)
    names = [f"t{number}" for number in range(100)]
    for name in names:
        await facts.learn(name)
    clock.advance(53.9)
    assert all(facts.recall(name) for name in names)
    clock.advance(3)
    assert 10 < sum(facts.recall(name) is None for name in names) < 90
    clock.advance(3.1)
    assert not any(facts.recall(name) for name in names)


# ------------------------------------------------------------------------ grace


DOWN = ProviderUnavailable("down", retry_after=7)


async def test_in_grace_facts_outlive_their_ttl_while_the_provider_is_down(
    house, clock
):
    """Told apart, counted, and never longer than grace: no hit extends it."""
    facts = house.facts(grace=30.0)
    learned = await facts.learn("t")
    house.oracle.says = [DOWN]
    clock.advance(TTL)
    for _ in range(29):
        clock.advance(1)
        assert facts.recall("t") is None
        stale = await facts.learn("t")
        assert Knowledge(learned.found, Source.STALE, learned.obtained_at) == stale
    assert (
        29 == house.tally.counts["validation", "melon", "userinfo", "stale", "active"]
    )

    clock.advance(1)
    with pytest.raises(ProviderUnavailable):
        await facts.learn("t")


async def test_grace_covers_those_who_came_during_a_refresh_that_fails(house, clock):
    """The question was begun while the facts were good, and ended after that."""
    facts = house.facts(grace=30.0, refresh_ahead=10.0)
    await facts.learn("t")
    house.oracle.says = [DOWN]
    house.oracle.gate.clear()
    clock.advance(TTL - 1)
    assert facts.recall("t") is not None
    await settled()
    clock.advance(1)
    assert facts.recall("t") is None
    learning = begun(facts.learn("t"))
    await settled()
    house.oracle.gate.set()

    assert Source.STALE is (await learning).source
    assert 2 == house.questions


async def test_without_grace_an_outage_is_an_outage(house, clock):
    """The default."""
    facts = house.facts()
    await facts.learn("t")
    house.oracle.says = [DOWN]
    clock.advance(TTL)

    with pytest.raises(ProviderUnavailable):
        await facts.learn("t")


async def test_who_can_be_asked_is_asked_in_grace_too(house, clock):
    """Yes renews, and no ends it."""
    facts = house.facts(grace=1000.0)
    await facts.learn("t")
    clock.advance(TTL)
    assert Source.PROVIDER is (await facts.learn("t")).source

    house.oracle.says = [NO, DOWN]
    clock.advance(TTL)
    assert NO == (await facts.learn("t")).found
    clock.advance(10)
    with pytest.raises(ProviderUnavailable):
        await facts.learn("t")


async def test_exp_always_wins_over_grace(house, clock):
    """By the wall clock, less the margin; set back later, it revives nothing."""
    end = clock.now() + 100
    house.oracle.says = [TokenFacts(provider="melon", expires_at=end)]
    facts = house.facts(grace=1000.0, expiry_margin=10.0)
    await facts.learn("t")
    house.oracle.says = [DOWN]
    clock.advance(89.9)
    assert Source.STALE is (await facts.learn("t")).source
    clock.advance(0.1)
    for step in (0.0, -3600.0):
        clock.step(step)
        facts.recall("t")
        with pytest.raises(ProviderUnavailable):
            await facts.learn("t")


async def test_what_was_forgotten_has_no_grace(house, clock):
    """A revoked token does not come back because its provider is away."""
    facts = house.facts(grace=1000.0)
    await facts.learn("t")
    house.oracle.says = [DOWN]
    clock.advance(TTL)
    await facts.forget("t", source="admin")

    with pytest.raises(ProviderUnavailable):
        await facts.learn("t")


async def test_a_caller_that_wants_young_facts_gets_no_old_ones(house, clock):
    """`max_fact_age` holds in an outage too."""
    facts = house.facts(grace=1000.0)
    await facts.learn("t")
    house.oracle.says = [DOWN]
    clock.advance(TTL)

    with pytest.raises(ProviderUnavailable):
        await facts.learn("t", max_age=TTL - 1)
    assert Source.STALE is (await facts.learn("t", max_age=TTL)).source


# ----------------------------------------------------------------------- budget


@pytest.fixture
def poor(house, clock):
    """A cache whose clients may bring two unknown tokens."""
    budget = UnknownTokens(UnknownSettings(burst=2, per_second=0.1), clock)

    def build(oracle: Oracle | None = None) -> CachedFacts:
        resources = CacheResources(
            secrets=(SECRET,),
            store=house.cupboard,
            clock=clock,
            budget=budget,
            events=house.tally,
        )
        return CachedFacts(
            "melon",
            Chain([oracle or house.oracle]),
            resources=resources,
            settings=CacheSettings(),
        )

    return build


async def test_who_brings_too_many_unknown_tokens_must_wait(house, poor, clock):
    """Nobody is asked for this client; others are, and so is he later."""
    house.oracle.says = [NO]
    facts = poor()
    for name in ("a", "b"):
        await facts.learn(name, client="192.0.2.1")
    with pytest.raises(TooManyUnknown) as caught:
        await facts.learn("c", client="192.0.2.1")
    assert 10 == caught.value.retry_after
    assert 2 == house.questions

    await facts.learn("c", client="192.0.2.2")
    clock.advance(10)
    await facts.learn("d", client="192.0.2.1")
    assert 4 == house.questions
    assert 4 == house.tally.counts["rate_limit", "unknown_tokens", "True"]
    assert 1 == house.tally.counts["rate_limit", "unknown_tokens", "False"]


async def test_only_an_invalid_token_is_charged_for_and_only_once(house, poor):
    """Good ones, known ones, outages, and the others who wait for one answer: free."""
    facts, ada = poor(), "192.0.2.1"
    for number in range(5):
        await facts.learn(f"good{number}", client=ada)
    house.oracle.says = [DOWN]
    for number in range(5):
        with pytest.raises(ProviderUnavailable):
            await facts.learn(f"down{number}", client=ada)
    house.oracle.says = [NO]
    await asyncio.gather(*(facts.learn("bad", client=ada) for _ in range(5)))
    assert NO == (await facts.learn("bad", client=ada)).found

    assert NO == (await facts.learn("worse", client=ada)).found
    with pytest.raises(TooManyUnknown):
        await facts.learn("worst", client=ada)


async def test_who_has_spent_it_keeps_what_the_store_knows(house, poor):
    """Those behind the same address as an attacker."""
    await house.facts().learn("good")
    house.oracle.says = [NO]
    facts = poor()
    for name in ("a", "b"):
        await facts.learn(name, client="192.0.2.1")

    assert "ada" == subject_of(await facts.learn("good", client="192.0.2.1"))


async def test_where_nobody_is_asked_nothing_is_charged(poor):
    """A wrong signature costs the provider nothing."""
    facts = poor(Oracle(NO, local=True))
    for number in range(5):
        assert NO == (await facts.learn(f"t{number}", client="192.0.2.1")).found


# ------------------------------------------------------------- other processes


@pytest.fixture
def fleet(house, clock):
    """Processes that share a store and a flight lock."""
    tower = Tower(clock)

    def build(**limits) -> CachedFacts:
        resources = CacheResources(
            secrets=(SECRET,),
            store=house.cupboard,
            clock=clock,
            events=house.tally,
            lock=tower,
        )
        return CachedFacts(
            "melon",
            Chain([house.oracle]),
            resources=resources,
            settings=CacheSettings(**limits),
            method="userinfo",
        )

    return build


@pytest.mark.parametrize(
    ("said", "source"), [(ADA, Source.L2), (NO, Source.L2), (DOWN, None)]
)
async def test_all_processes_together_ask_once(house, fleet, said, source):
    """Facts, a verdict and an outage are everybody's."""
    house.oracle.says = [said]
    house.oracle.gate.clear()
    processes = [fleet() for _ in range(4)]
    learning = asyncio.gather(
        *(process.learn("t") for process in processes for _ in range(5)),
        return_exceptions=True,
    )
    await settled()
    house.oracle.gate.set()
    outcomes = await learning

    assert 1 == house.questions
    sources = {getattr(outcome, "source", None) for outcome in outcomes}
    assert {source, None if said is DOWN else Source.PROVIDER} == sources
    # And each remembers it.
    assert (said is DOWN) == any(each.recall("t") is None for each in processes)


async def test_facts_that_are_not_shared_are_asked_for_by_each(house, fleet):
    """With a ttl of nothing there is no store to look into."""
    first, second = fleet(ttl=0.0), fleet(ttl=0.0)
    await asyncio.gather(first.learn("t"), second.learn("t"))

    assert 2 == house.questions


async def test_an_outage_that_another_found_is_no_bar_to_grace(house, fleet, clock):
    """It is an outage like any other."""
    here, there = fleet(grace=100.0), fleet()
    await here.learn("t")
    clock.advance(TTL)
    house.cupboard.kept.clear()
    house.oracle.says = [DOWN]
    with pytest.raises(ProviderUnavailable):
        await there.learn("t")

    assert Source.STALE is (await here.learn("t")).source
    assert 2 == house.questions
