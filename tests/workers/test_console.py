import asyncio
import contextlib
import socket

import pytest

from gateway.admin.troubles import Workers
from gateway.errors import StoreUnavailable
from gateway.tasks import spawn
from gateway.workers.console import Console
from gateway.workers.link import Link, Question, Recall, Show
from tests.admin.samples import SETTLED, exchange, picture
from tests.fakes import Clock


class Post:
    """A worker's post, and a worker at the other end of its link."""

    def __init__(self, number: int, *, manner: str = "good") -> None:
        self.number = number
        self.serving = manner != "gone"
        self.restarts = number
        self._manner = manner
        ours, theirs = socket.socketpair()
        self.link: Link | None = Link(ours, self._refuse)
        self._worker = Link(theirs, self._respond)
        self._listening: list[asyncio.Task[None]] = []

    async def _refuse(self, question: Question) -> object:
        raise LookupError(question)

    async def _respond(self, question: Question) -> object:
        if self._manner == "hung":
            await asyncio.sleep(60)
        match question:
            case Show():
                return picture(worker=self.number)
            case Recall():
                return (exchange(request_id=str(self.number)),)
            case _:
                raise LookupError(question)

    async def open(self) -> None:
        """Begin to talk."""
        for link in (self.link, self._worker):
            if link is not None:
                await link.open()
                self._listening.append(spawn(link.listen(), name="listen"))
        if self._manner == "gone":
            self.close()
            self.link = None

    def close(self) -> None:
        """Hang up."""
        self._worker.close()
        if self.link is not None:
            self.link.close()


@pytest.fixture
async def posts():
    """Give posts whose workers behave as named."""
    there: list[Post] = []

    async def make(*manners: str) -> list[Post]:
        for number, manner in enumerate(manners, 1):
            there.append(Post(number, manner=manner))
            await there[-1].open()
        return there

    yield make
    for post in there:
        post.close()
        for task in post._listening:
            with contextlib.suppress(asyncio.CancelledError):
                await task


def console(posts: list[Post], clock: Clock) -> Console:
    """Make a console that waits for nobody long."""
    return Console(posts, SETTLED, clock, within=0.2)


async def test_the_workers_are_one_picture(posts, clock):
    """Counts are added up."""
    told = await console(await posts("good", "good"), clock).picture()

    assert (4, 14) == (told.in_flight, told.connections)


async def test_everybodys_exchanges_are_told_with_their_worker(posts, clock):
    """The view sorts them."""
    seen = await console(await posts("good", "good"), clock).recent()

    assert [(1, "1"), (2, "2")] == [
        (each.worker, each.exchange.request_id) for each in seen
    ]


@pytest.mark.parametrize("manner", ["hung", "gone"])
async def test_who_does_not_answer_is_left_out(posts, clock, manner):
    """The others' word is better than none."""
    here = console(await posts("good", manner), clock)

    assert 7 == (await here.picture()).connections
    assert ["1"] == [each.exchange.request_id for each in await here.recent()]


async def test_when_nobody_answers_that_is_told(posts, clock):
    """An empty picture would read as *all quiet*."""
    with pytest.raises(StoreUnavailable):
        await console(await posts("gone"), clock).picture()


async def test_the_parents_own_part_needs_no_worker(posts, clock):
    """Who serves, what is configured, what time it is."""
    here = console(await posts("good", "gone"), clock)

    assert Workers(wanted=2, serving=1, restarts=3) == here.workers()
    assert SETTLED is here.settled()
    assert clock.now() == here.now()
