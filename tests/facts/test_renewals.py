"""Holds refresh grants to the marks: who may renew, who may not, who is let in again."""

import pytest

from gateway.errors import ProviderUnavailable, StoreUnavailable
from gateway.facts.cached import CachedFacts, CacheSettings
from gateway.facts.chain import Chain
from gateway.facts.marks import Marks, TokenTerms
from gateway.facts.renewals import REMEMBERED, Renewals
from gateway.facts.shared import CacheResources
from gateway.tasks import running
from gateway.values import Invalid, MarkKind, Reason
from tests.facts.doubles import SECRET, Cupboard, Oracle, Tally
from tests.fakes import Clock
from tests.wire.harness import until


class Desk:
    """Everything around refresh grants; `oracle` reads refresh tokens of melon."""

    def __init__(self, clock: Clock, *, reads: bool) -> None:
        self.clock = clock
        self.cupboard = Cupboard()
        self.marks = Marks(clock=clock, terms={"melon": TokenTerms(lifetime=300.0)})
        self.oracle = Oracle(
            Invalid(Reason.REFRESH_TOKEN, client="shop", renews="t", subject="ada"),
            local=True,
        )
        resources = CacheResources(
            secrets=(SECRET,), store=self.cupboard, clock=clock, events=Tally()
        )
        source = CachedFacts(
            "melon",
            Chain([self.oracle]),
            resources=resources,
            settings=CacheSettings(),
        )
        self.renewals = Renewals(
            [SECRET],
            store=self.cupboard,
            clock=clock,
            events=Tally(),
            revocations=self.marks,
            readers={"melon": source} if reads else {},
        )

    async def mark(self, kind: MarkKind, name: str, provider: str = "melon") -> None:
        """Put a mark in force, now."""
        await self.marks.add(self.marks.mark(kind, provider, name))

    async def refuses(self, client: str | None = "shop", *, which: str = "R1") -> bool:
        """Ask to renew."""
        refused = await self.renewals.refuses("melon", which, client)
        await until(lambda: not running())
        return refused


@pytest.fixture
def desk(clock):
    """A provider whose refresh tokens can be read."""
    return Desk(clock, reads=True)


@pytest.fixture
def blind(clock):
    """One whose refresh tokens say nothing."""
    return Desk(clock, reads=False)


async def test_without_a_mark_nobody_is_asked(desk):
    """It costs nothing, and nothing is written down."""
    assert not await desk.refuses()
    await desk.renewals.record("melon", "R1", "shop", desk.clock.now())

    assert [] == desk.oracle.asked
    assert {} == desk.cupboard.kept
    assert 0 == desk.cupboard.gets


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (MarkKind.CLIENT, "shop"),
        (MarkKind.SUBJECT, "ada"),
        (MarkKind.PROVIDER, ""),
    ],
)
async def test_what_is_marked_is_not_renewed(desk, kind, name):
    """Whose it is, as the client and as the token itself say."""
    await desk.mark(kind, name)

    assert await desk.refuses()


async def test_the_token_itself_may_be_marked(blind):
    """Nothing needs to be known of it."""
    await blind.marks.add(blind.marks.mark_token("melon", "R1"))

    assert await blind.refuses()
    assert not await blind.refuses(which="R2")


@pytest.mark.parametrize("asking", ["shop", "other", None])
async def test_the_client_of_the_token_counts_as_well_as_who_asks(desk, asking):
    """Either may be the one that is marked."""
    await desk.mark(MarkKind.CLIENT, "shop")

    assert await desk.refuses(asking)


async def test_others_go_on(desk, blind):
    """Another subject, another client, another provider."""
    await desk.mark(MarkKind.SUBJECT, "eve")
    await desk.mark(MarkKind.CLIENT, "kiosk")
    await desk.mark(MarkKind.CLIENT, "shop", provider="nugu")
    # Nobody can tell whose an opaque refresh token is.
    await blind.mark(MarkKind.SUBJECT, "ada")

    assert not await desk.refuses()
    assert not await blind.refuses()


async def test_a_token_that_tells_its_moment_is_compared_with_the_marks(desk):
    """Issued after it: let in again."""
    await desk.mark(MarkKind.SUBJECT, "ada")
    desk.oracle.says = [
        Invalid(Reason.REFRESH_TOKEN, subject="ada", issued_at=desk.clock.now() + 1)
    ]

    assert not await desk.refuses("other")


async def test_who_logs_in_again_is_let_in_and_goes_on_being(blind, clock):
    """Tokens issued since the mark are remembered; those before it stay refused."""
    await blind.mark(MarkKind.CLIENT, "shop")
    clock.advance(1)
    await blind.renewals.record("melon", "R2", "shop", clock.now())

    assert await blind.refuses(which="R1")
    assert not await blind.refuses(which="R2")
    assert [REMEMBERED] == list(blind.cupboard.ttls.values())


async def test_a_newer_mark_ends_what_was_remembered(blind, clock):
    """It is for everything up to its moment."""
    await blind.mark(MarkKind.CLIENT, "shop")
    clock.advance(1)
    await blind.renewals.record("melon", "R2", "shop", clock.now())
    clock.advance(1)
    await blind.mark(MarkKind.CLIENT, "shop")

    assert await blind.refuses(which="R2")


async def test_an_answer_asked_for_before_the_mark_does_not_outlive_it(blind, clock):
    """Its moment is that of the question."""
    asked_at = clock.now()
    clock.advance(1)
    await blind.mark(MarkKind.CLIENT, "shop")
    await blind.renewals.record("melon", "R2", "shop", asked_at)

    assert await blind.refuses(which="R2")


async def test_what_cannot_be_known_is_never_guessed(desk, blind):
    """The store or the provider's keys are away: neither yes nor no."""
    await blind.mark(MarkKind.CLIENT, "shop")
    blind.cupboard.fails = True
    await desk.mark(MarkKind.SUBJECT, "eve")
    desk.oracle.says = [ProviderUnavailable("no keys")]

    with pytest.raises(StoreUnavailable):
        await blind.refuses()
    with pytest.raises(ProviderUnavailable):
        await desk.refuses()


async def test_a_broken_store_refuses_nobody_whom_no_mark_names(blind):
    """It is only asked about those who are named."""
    await blind.mark(MarkKind.CLIENT, "kiosk")
    blind.cupboard.fails = True

    assert not await blind.refuses()


async def test_it_shows_no_token(blind):
    """In logs it is its readers."""
    assert "<Renewals: 0 readers>" == repr(blind.renewals)
