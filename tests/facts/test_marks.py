import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import StoreUnavailable
from gateway.facts.fingerprints import Fingerprint, Kind
from gateway.facts.marks import UNKNOWN_LIFE, Marks, TokenTerms, merged, renewed
from gateway.values import (
    LONGEST_CLOCK_SKEW,
    Mark,
    MarkKind,
    MarkRecord,
    TokenFacts,
)
from tests.fakes import Clock

TERMS = {
    "melon": TokenTerms(lifetime=300.0),
    "nugu": TokenTerms(),
    "ottm": TokenTerms(asked=True),
}


@pytest.fixture
def marks(clock):
    """No marks yet."""
    return Marks(clock=clock, terms=TERMS)


def facts(clock: Clock, **known) -> TokenFacts:
    """Give facts issued a minute ago, as the token itself says."""
    told = TokenFacts(
        provider="melon",
        subject="ada",
        client="c1",
        session_id="s1",
        token_id="j1",
        issued_at=clock.now() - 60,
        learned_at=clock.now() - 30,
    )
    return msgspec.structs.replace(told, **known)


def without_iat(clock: Clock, provider: str, **known) -> TokenFacts:
    """Give facts of a token that does not tell when it was issued."""
    return facts(clock, provider=provider, issued_at=None, **known)


async def test_nothing_is_covered_without_marks(marks, clock):
    """And it costs next to nothing to know."""
    assert not marks.covers("melon", "token", facts(clock))
    assert not marks.covers("melon", "token", None)
    assert () == marks.list()


async def test_a_jwt_is_marked_whatever_its_signature_looks_like(marks, clock):
    """An ECDSA signature has a second, equally valid form."""
    await marks.add(marks.mark_token("melon", "eyJh.claims.signature", clock.now() + 9))

    assert marks.covers("melon", "eyJh.claims.another", None)
    assert not marks.covers("melon", "eyJh.others.signature", None)


@pytest.mark.parametrize("form", ["v2.local.{}", "v4.public.{}", "a.b.{}", "e.b.{}"])
async def test_three_parts_alone_make_no_jwt(marks, clock, form):
    """To revoke one PASETO must not revoke them all."""
    await marks.add(marks.mark_token("melon", form.format("one"), clock.now() + 9))

    assert marks.covers("melon", form.format("one"), None)
    assert not marks.covers("melon", form.format("another"), None)


async def test_a_marked_token_is_refused(marks, clock):
    """This one, of this provider, known or not; nobody else's."""
    await marks.add(marks.mark_token("melon", "token", clock.now() + 240))

    assert marks.covers("melon", "token", None)
    assert marks.covers("melon", "token", facts(clock))
    assert not marks.covers("melon", "token2", facts(clock))
    assert not marks.covers("nugu", "token", facts(clock))


async def test_what_is_added_here_is_told_and_what_is_taken_over_is_not(marks, clock):
    """Who revokes at one of several processes is not let in by another."""
    told: list[Mark] = []

    async def spread(mark: Mark) -> None:
        told.append(mark)

    ada, bob = (marks.mark(MarkKind.SUBJECT, "melon", name) for name in ("ada", "bob"))
    marks.spread = spread
    await marks.add(ada)
    marks.take(MarkRecord(bob))

    assert [ada] == told
    assert {"ada", "bob"} == {mark.name for mark in marks.list()}


async def test_a_mark_that_others_cannot_be_told_is_an_error_and_in_force(marks, clock):
    """Who asked is told, and here at least nobody is let in."""

    async def spread(mark: Mark) -> None:
        raise StoreUnavailable("a worker does not answer")

    marks.spread = spread
    with pytest.raises(StoreUnavailable):
        await marks.add(marks.mark(MarkKind.SUBJECT, "melon", "ada"))

    assert ["ada"] == [mark.name for mark in marks.list()]


async def test_a_marked_token_stays_refused_when_learned_afresh(marks, clock):
    """A provider that does not know of the revocation does not undo it."""
    await marks.add(marks.mark_token("ottm", "token"))
    clock.advance(60)
    fresh = without_iat(clock, "ottm", learned_at=clock.now())

    assert marks.covers("ottm", "token", fresh)


async def test_a_mark_says_nothing_of_the_token(marks):
    """It is a hash, the same in every process, whatever its secrets are."""
    mark = marks.mark_token("melon", "secret-token")

    assert Fingerprint("", Kind.MARK, "melon")("secret-token").hex() == mark.name
    assert "secret-token" not in repr(mark)


@pytest.mark.parametrize(
    ("kind", "name", "field"),
    [
        (MarkKind.SUBJECT, "ada", "subject"),
        (MarkKind.CLIENT, "c1", "client"),
        (MarkKind.SESSION, "s1", "session_id"),
        (MarkKind.PROVIDER, "", "issuer"),
    ],
)
async def test_a_mark_by_name_refuses_what_was_issued_up_to_it(
    marks, clock, kind, name, field
):
    """Whoever logs in again is let in; others never notice."""
    await marks.add(marks.mark(kind, "melon", name))

    assert marks.covers("melon", "t", facts(clock))
    assert marks.covers("melon", "t", facts(clock, issued_at=clock.now()))
    assert not marks.covers("melon", "t", facts(clock, issued_at=clock.now() + 1))
    assert not marks.covers("nugu", "t", facts(clock, provider="nugu"))
    if kind is not MarkKind.PROVIDER:
        assert not marks.covers("melon", "t", facts(clock, **{field: "another"}))
        assert not marks.covers("melon", "t", facts(clock, **{field: None}))
        assert not marks.covers("melon", "t", None)


async def test_a_marked_token_id_is_refused_whenever_issued(marks, clock):
    """It names one token: that of a refresh token's `ati`, say."""
    await marks.add(marks.mark(MarkKind.TOKEN_ID, "melon", "j1"))
    later = clock.now() + 10

    assert marks.covers("melon", "t", facts(clock, issued_at=later))
    assert not marks.covers("melon", "t", facts(clock, token_id="j2"))
    assert not marks.covers("melon", "t", facts(clock, token_id=None))


async def test_a_marked_provider_is_refused_before_anything_is_known(marks, clock):
    """Its tokens are not even worth a question."""
    await marks.add(marks.mark(MarkKind.PROVIDER, "melon", ""))

    assert marks.covers("melon", "t", None)
    assert not marks.covers("ottm", "t", None)


async def test_kinds_do_not_answer_for_each_other(marks, clock):
    """A client named like a subject is not that subject."""
    await marks.add(marks.mark(MarkKind.CLIENT, "melon", "ada"))

    assert not marks.covers("melon", "t", facts(clock))


@given(st.floats(1, 300), st.floats(-1000, 1000))
async def test_an_upper_bound_of_the_lifetime_errs_to_the_safe_side(life, offset):
    """No token issued up to the mark slips through, whatever its true lifetime."""
    clock = Clock()
    marks = Marks(clock=clock, terms=TERMS)
    await marks.add(marks.mark(MarkKind.SUBJECT, "melon", "ada"))
    issued_at = clock.now() + offset
    token = without_iat(clock, "melon", expires_at=issued_at + life)
    covered = marks.covers("melon", "t", token)

    assert covered or issued_at > clock.now()
    if offset > 300 - life + 1:
        assert not covered


async def test_without_iat_and_lifetime_a_fresh_word_of_the_provider_clears(
    marks, clock
):
    """It was asked after the mark and vouches for the token."""
    await marks.add(marks.mark(MarkKind.SUBJECT, "ottm", "ada"))
    before = without_iat(clock, "ottm", learned_at=clock.now())
    after = without_iat(clock, "ottm", learned_at=clock.now() + 0.1)

    assert marks.covers("ottm", "t", before)
    assert not marks.covers("ottm", "t", after)


async def test_a_signature_checked_again_clears_nothing(marks, clock):
    """It says today what it said before the revocation."""
    await marks.add(marks.mark(MarkKind.SUBJECT, "nugu", "ada"))
    again = without_iat(
        clock, "nugu", learned_at=clock.now() + 100, expires_at=clock.now() + 2e9
    )

    assert marks.covers("nugu", "t", again)


async def test_a_provider_nobody_told_of_is_treated_like_that_too(marks, clock):
    """The safe side is the default."""
    await marks.add(marks.mark(MarkKind.SUBJECT, "other", "ada"))
    again = without_iat(clock, "other", learned_at=clock.now() + 100)

    assert marks.covers("other", "t", again)


async def test_a_mark_outlives_the_last_token_it_concerns(marks, clock):
    """Up to its `exp` and the skew a route may allow, not a moment less."""
    await marks.add(marks.mark_token("melon", "t", clock.now() + 100))
    clock.advance(100 + LONGEST_CLOCK_SKEW - 0.1)
    assert marks.covers("melon", "t", None)
    assert 1 == len(marks.list())

    clock.advance(0.2)
    assert not marks.covers("melon", "t", None)
    assert () == marks.list()


@pytest.mark.parametrize(
    ("provider", "life"), [("melon", 300.0), ("nugu", UNKNOWN_LIFE)]
)
async def test_where_exp_is_unknown_the_longest_life_counts(
    marks, clock, provider, life
):
    """The provider's, if it is configured, else as good as for ever."""
    mark = marks.mark_token(provider, "t")

    assert clock.now() + life + LONGEST_CLOCK_SKEW == mark.expires_at
    assert clock.now() == mark.moment


@pytest.mark.parametrize(
    ("step", "passed"), [(1e6, 100), (-1e6, 101 + LONGEST_CLOCK_SKEW)]
)
async def test_a_stepped_clock_ends_no_mark(marks, clock, step, passed):
    """While either clock says that the token may be alive, it stays revoked."""
    await marks.add(marks.mark_token("melon", "t", clock.now() + 100))
    clock.step(step)
    clock.advance(passed)

    assert marks.covers("melon", "t", None)
    assert 1 == len(marks.list())


async def test_marking_again_only_extends(marks, clock):
    """An older mark that comes late takes nothing back."""
    first = marks.mark(MarkKind.SUBJECT, "melon", "ada", clock.now() + 500)
    clock.advance(10)
    second = marks.mark(MarkKind.SUBJECT, "melon", "ada", clock.now() + 50)
    await marks.add(second)
    await marks.add(first)

    (held,) = marks.list()
    assert (second.moment, first.expires_at) == (held.moment, held.expires_at)


async def test_a_lifted_mark_refuses_no_more(marks, clock):
    """And whoever lifts learns whether there was one."""
    mark = marks.mark_token("melon", "t")
    await marks.add(mark)

    assert await marks.lift(mark.kind, mark.provider, mark.name)
    assert not await marks.lift(mark.kind, mark.provider, mark.name)
    assert not marks.covers("melon", "t", None)


async def test_marks_are_listed_newest_first(marks, clock):
    """As an operator looks for them."""
    made: list[Mark] = []
    for name in ("a", "b", "c"):
        made.insert(0, marks.mark(MarkKind.SUBJECT, "melon", name))
        await marks.add(made[0])
        clock.advance(1)

    assert tuple(made) == marks.list()
    assert "<Marks: 3 of 100000>" == repr(marks)


async def test_a_full_set_is_loud_and_loses_nothing(clock):
    """A revocation that is not in force must not look like one that is."""
    marks = Marks(clock=clock, terms=TERMS, limit=2)
    await marks.add(marks.mark_token("melon", "a", clock.now() + 10))
    await marks.add(marks.mark_token("melon", "b", clock.now() + 1000))
    with pytest.raises(StoreUnavailable):
        await marks.add(marks.mark_token("melon", "c"))

    assert [True, True, False] == [
        marks.covers("melon", token, None) for token in ("a", "b", "c")
    ]


async def test_a_full_set_takes_what_it_has_already(clock):
    """Extending needs no room."""
    marks = Marks(clock=clock, terms=TERMS, limit=1)
    await marks.add(marks.mark_token("melon", "a"))
    clock.advance(5)
    await marks.add(marks.mark_token("melon", "a"))

    assert [clock.now()] == [mark.moment for mark in marks.list()]


async def test_marks_that_are_over_make_room(clock):
    """Only they."""
    marks = Marks(clock=clock, terms=TERMS, limit=2)
    await marks.add(marks.mark_token("melon", "a", clock.now() + 10))
    await marks.add(marks.mark_token("melon", "b", clock.now() + 1000))
    clock.advance(10 + LONGEST_CLOCK_SKEW)
    await marks.add(marks.mark_token("melon", "c"))

    assert marks.covers("melon", "b", None)
    assert marks.covers("melon", "c", None)


# ------------------------------------------------------------- what others say


MOMENTS = st.sampled_from([1.0, 2.0, 3.0, 4.0])
RECORDS = st.builds(
    lambda moment, ends, lifted: MarkRecord(
        Mark(
            kind=MarkKind.SUBJECT,
            provider="melon",
            name="ada",
            moment=moment,
            expires_at=1_800_000_000.0 + ends,
        ),
        lifted,
    ),
    MOMENTS,
    MOMENTS,
    st.just(0.0) | MOMENTS,
)


class Yes:
    """A ledger that agrees with everything, as if nobody else had written."""

    async def note(self, record: MarkRecord, *, fresh: bool = False) -> MarkRecord:
        return record


@given(st.lists(RECORDS, min_size=1, max_size=6), st.randoms())
async def test_records_come_in_any_order_and_as_often_as_they_like(records, random):
    """All processes that heard the same know the same: the latest of everything."""
    known = []
    for _ in range(2):
        marks = Marks(clock=Clock(), terms=TERMS, ledger=Yes())
        for record in records:
            marks.take(record)
        known.append(marks.records())
        records = [*records, random.choice(records)]
        random.shuffle(records)
    lifted = max(record.lifted_at for record in records)
    moment = max(record.mark.moment for record in records)

    assert known[0] == known[1]
    assert (moment > lifted) == known[0][0].in_force


async def test_a_lifted_mark_is_remembered_where_others_may_have_it(clock):
    """Who hears of the mark again does not put it in force again."""
    shared = Marks(clock=clock, terms=TERMS, ledger=Yes())
    alone = Marks(clock=clock, terms=TERMS)
    mark = alone.mark(MarkKind.SUBJECT, "melon", "ada")
    for marks in (shared, alone):
        await marks.add(mark)
        assert await marks.lift(mark.kind, mark.provider, mark.name)
        assert () == marks.list()
    shared.take(MarkRecord(mark))

    assert () == shared.list()
    assert (1, 0) == (len(shared), len(alone))
    assert not shared.covers("melon", "t", facts(clock))


async def test_a_mark_made_after_a_lifting_is_in_force_whatever_the_clocks_say(clock):
    """The clock of who lifted it may be ahead."""
    marks = Marks(clock=clock, terms=TERMS, ledger=Yes())
    mark = marks.mark(MarkKind.SUBJECT, "melon", "ada")
    marks.take(MarkRecord(mark, clock.now() + 5))
    await marks.add(mark)

    assert marks.covers("melon", "t", facts(clock))
    assert mark == renewed(mark, MarkRecord(mark))


async def test_a_mark_ended_elsewhere_is_ended_here(marks, clock):
    """One that was never heard of is no error."""
    mark = marks.mark(MarkKind.SUBJECT, "melon", "ada")
    marks.take(MarkRecord(mark))
    assert marks.covers("melon", "t", facts(clock))

    for _ in range(2):
        marks.end(mark.kind, mark.provider, mark.name)
    assert not marks.covers("melon", "t", facts(clock))


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (MarkKind.SUBJECT, True),
        (MarkKind.CLIENT, True),
        (MarkKind.SESSION, True),
        (MarkKind.TOKEN_ID, False),
        (MarkKind.PROVIDER, False),
    ],
)
async def test_it_is_known_whether_anybody_is_named(clock, kind, names):
    """Who lets tokens through unasked must ask first then; lifted marks name nobody."""
    marks = Marks(clock=clock, terms=TERMS, ledger=Yes())
    assert not marks.names_holders()
    await marks.add(marks.mark(kind, "melon", "x"))
    assert names is marks.names_holders()

    await marks.lift(kind, "melon", "x")
    assert not marks.names_holders()


async def test_whoever_looks_for_revoked_tokens_is_told_of_news_only(marks):
    """A mark that is known already is no reason to look again."""
    alerts: list[bool] = []
    marks.alert = lambda: alerts.append(True)
    mark = marks.mark(MarkKind.SUBJECT, "melon", "ada")
    for _ in range(2):
        await marks.add(mark)
        marks.take(MarkRecord(mark))
    await marks.lift(mark.kind, mark.provider, mark.name)

    assert [True] == alerts
    assert MarkRecord(mark, 7.0) == merged(MarkRecord(mark, 7.0), MarkRecord(mark, 5.0))
