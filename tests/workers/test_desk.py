import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily

from gateway.admin.guards import Problem
from gateway.errors import ProviderUnavailable, StoreUnavailable
from gateway.facts.marks import Marks, TokenTerms
from gateway.tasks import spawn
from gateway.values import Mark, MarkKind, Secret
from gateway.workers.desk import ANSWER, Desk, Explainer, Scraper
from gateway.workers.link import (
    Expiry,
    Explain,
    Keep,
    Lift,
    Link,
    Question,
    Scrape,
)
from gateway.workers.metrics import Snapshot, snapshot
from gateway.workers.worker import SPREAD
from tests.fakes import Clock

ADA = Secret("ada")


class Hand:
    """A worker, and its post."""

    def __init__(self, number: int, link: Link | None = None) -> None:
        self.number = number
        self.link = link
        self.serving = link is not None
        self.restarts = 0
        self.last: Snapshot = []
        self.heard: list[Question] = []
        self.ends: float | None = None
        self.things = 0
        self.failure: Exception | None = None
        self.go = asyncio.Event()
        self.go.set()

    async def respond(self, question: Question) -> object:
        self.heard.append(question)
        await self.go.wait()
        if self.failure is not None:
            raise self.failure
        match question:
            case Expiry():
                return (self.ends,)
            case Explain():
                return {"decision": "allow", "by": self.number}
            case Scrape():
                return snapshot(
                    [CounterMetricFamily("gateway_things", "Things.", self.things)]
                )
            case _:
                return None


@asynccontextmanager
async def hand(number: int) -> AsyncIterator[Hand]:
    """Have a worker that answers."""
    ours, theirs = socket.socketpair()
    hand = Hand(number, Link(ours, _nothing))
    assert hand.link is not None
    there = Link(theirs, hand.respond)
    listening = []
    for link in (hand.link, there):
        await link.open()
        listening.append(spawn(link.listen(), name="listen"))
    try:
        yield hand
    finally:
        hand.go.set()
        there.close()
        await asyncio.gather(*listening)


async def _nothing(_: Question) -> None:
    """Be asked nothing."""


@pytest.fixture
async def hands():
    """Two workers at their posts, and a post that is empty."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(hand(1)),
            await stack.enter_async_context(hand(2)),
            Hand(3),
        ]


@pytest.fixture
def marks(clock: Clock):
    """The parent's marks; it knows how long tokens live."""
    terms = {"p": TokenTerms(lifetime=300)}
    return Marks(clock=clock, terms=terms)


@pytest.fixture
def desk(hands, marks):
    """The desk in front of them, which has little patience."""
    return Desk(hands, marks, ["p"], within=0.2)


def kept(hand: Hand) -> list[Mark]:
    """Give the marks that a worker was told to keep."""
    return [each.mark for each in hand.heard if isinstance(each, Keep)]


# ------------------------------------------------------------------------ revocation


async def test_a_revocation_is_done_when_every_worker_has_it(desk, hands):
    """The same mark for all; and an empty post's next worker gets it first."""
    mark = await desk.revoke("p", MarkKind.SUBJECT, ADA)

    assert [[mark], [mark], []] == [kept(each) for each in hands]
    assert [mark] == list(await desk.marks())


async def test_a_token_is_revoked_to_the_end_that_any_worker_knows(desk, hands, clock):
    """And its facts go; the mark itself holds nothing of the token."""
    hands[1].ends = clock.now() + 60
    token = Secret("the-token")
    mark = await desk.revoke("p", MarkKind.TOKEN, token)

    assert hands[1].ends < mark.expires_at < clock.now() + 3600
    assert Keep(mark, "the-token") in hands[0].heard
    assert "the-token" not in str(mark)


async def test_an_end_that_nobody_can_tell_is_the_longest_there_is(desk, hands, clock):
    """By the provider's `token_lifetime`; a worker in trouble is no obstacle."""
    hands[0].failure = StoreUnavailable("trouble")
    with pytest.raises(Problem):
        await desk.revoke("p", MarkKind.TOKEN, Secret("the-token"))
    (mark,) = await desk.marks()

    assert clock.now() + 300 <= mark.expires_at


async def test_a_provider_that_is_not_there_is_nobodys(desk, hands):
    """No worker is bothered with it."""
    with pytest.raises(LookupError):
        await desk.revoke("other", MarkKind.SUBJECT, ADA)

    assert [[], [], []] == [each.heard for each in hands]


async def test_a_worker_that_does_not_confirm_is_told_of(desk, hands):
    """Not *done*: but all others have the mark, and who hangs has it in its queue."""
    hands[0].go.clear()
    with pytest.raises(Problem) as caught:
        await desk.revoke("p", MarkKind.SUBJECT, ADA)
    hands[0].go.set()

    assert (503, "not_everywhere") == (caught.value.status, caught.value.body["error"])
    assert "1 of the workers" in caught.value.body["message"]
    (mark,) = await desk.marks()
    assert [[mark], [mark]] == [kept(each) for each in hands[:2]]


async def test_a_worker_that_is_gone_is_not_waited_for(desk, hands):
    """Its successor will have the mark before it serves."""
    hands[0].go.clear()
    revoking = spawn(_revoked(desk), name="revoke")
    async with asyncio.timeout(5):
        while not hands[0].heard:  # noqa: ASYNC110 -- it has no event
            await asyncio.sleep(0)
        hands[0].link.close()
        await revoking


async def _revoked(desk: Desk) -> None:
    await desk.revoke("p", MarkKind.SUBJECT, ADA)


async def test_marks_beyond_the_bound_are_refused(hands, clock):
    """As by a single process; no worker hears of one."""
    desk = Desk(hands, Marks(clock=clock, terms={}, limit=0), ["p"])
    with pytest.raises(StoreUnavailable):
        await desk.revoke("p", MarkKind.SUBJECT, ADA)

    assert [[], [], []] == [each.heard for each in hands]


async def test_a_mark_is_lifted_everywhere(desk, hands):
    """Or it is said that it was not."""
    mark = await desk.revoke("p", MarkKind.SUBJECT, ADA)
    await desk.lift(mark)

    assert [Lift(MarkKind.SUBJECT, "p", "ada")] * 2 == [
        each.heard[-1] for each in hands[:2]
    ]
    assert [] == list(await desk.marks())


async def test_a_mark_that_one_worker_made_is_told_to_the_others(desk, hands, marks):
    """A client that revokes its token at one is refused by all."""
    mark = marks.mark(MarkKind.TOKEN_ID, "p", "jti")
    await desk.spread(mark, hands[0])

    assert [[], [mark], []] == [kept(each) for each in hands]
    assert [mark] == list(await desk.marks())


async def test_its_maker_learns_when_a_mark_is_not_everywhere(desk, hands, marks):
    """As when a store does not take it."""
    hands[1].go.clear()
    with pytest.raises(StoreUnavailable):
        await desk.spread(marks.mark(MarkKind.TOKEN_ID, "p", "jti"), hands[0])


# ----------------------------------------------------------------------- explanation


async def test_any_worker_explains(hands):
    """The first that serves."""
    hands[0].serving = False
    told = await Explainer(hands).explain("GET", "/a", {"x": "y"}, Secret("t"))

    assert {"decision": "allow", "by": 2} == told
    assert [Explain("GET", "/a", {"x": "y"}, "t")] == hands[1].heard


async def test_who_hangs_explains_nothing(hands):
    """The next one does; if there is none, that is said."""
    hands[0].go.clear()
    told = await Explainer(hands, within=0.2).explain("GET", "/a", {}, None)
    with pytest.raises(StoreUnavailable):
        await Explainer(hands[:1], within=0.2).explain("GET", "/a", {}, None)

    assert {"decision": "allow", "by": 2} == told


async def test_an_outage_is_the_workers_to_tell(hands):
    """It is no reason to ask another one."""
    hands[0].failure = ProviderUnavailable("down")
    with pytest.raises(ProviderUnavailable):
        await Explainer(hands).explain("GET", "/a", {}, None)

    assert [] == hands[1].heard


# --------------------------------------------------------------------------- metrics


async def scraped(scraper: Scraper) -> dict[str, float]:
    """Scrape as the status listener does: on a thread."""
    text = await asyncio.to_thread(generate_latest, scraper.registry)
    lines = (line for line in text.decode().splitlines() if not line.startswith("#"))
    return {
        name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)
    }


async def test_a_scrape_asks_every_worker(hands):
    """And tells of the parent itself, and how many serve."""
    scraper = Scraper(hands, asyncio.get_running_loop())
    hands[0].things, hands[1].things, hands[2].restarts = 3, 4, 2
    told = await scraped(scraper)

    assert 7 == told["gateway_things_total"]
    assert 2 == told["gateway_workers"]
    assert 2 == told["gateway_worker_restarts_total"]
    assert 0 < told['process_resident_memory_bytes{worker="0"}']


async def test_who_hangs_counts_with_what_it_told_last(hands):
    """And the scrape does not hang with it."""
    scraper = Scraper(hands, asyncio.get_running_loop(), within=0.2)
    hands[0].things, hands[1].things = 3, 4
    await scraped(scraper)
    hands[0].go.clear()
    hands[1].things = 5
    async with asyncio.timeout(5):
        told = await scraped(scraper)

    assert 8 == told["gateway_things_total"]


async def test_what_a_worker_counted_outlives_it(hands):
    """The sum of all never falls."""
    scraper = Scraper(hands, asyncio.get_running_loop())
    hands[0].things, hands[1].things = 3, 4
    await scraped(scraper)
    scraper.gone.add(hands[0].last)
    hands[0].link, hands[0].last, hands[0].serving = None, [], False
    told = await scraped(scraper)

    assert 7 == told["gateway_things_total"]
    assert 1 == told["gateway_workers"]


def test_patience_adds_up():
    """A worker that spreads a mark waits for longer than its parent does for others."""
    assert ANSWER < SPREAD
