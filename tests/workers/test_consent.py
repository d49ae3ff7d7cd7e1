import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from gateway.errors import ConfigError, GatewayError
from gateway.tasks import spawn
from gateway.workers.consent import Consent
from gateway.workers.link import Adopt, Discard, Link, Prepare, Question

PREPARE = Prepare({"version": 1}, "/etc")


class Worker:
    """A worker at the other end of a link: it notes what it is told."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.link: Link | None = Link(ours, self._nothing)
        self.own = Link(theirs, self._respond)
        self.told: list[str] = []
        self.objection: Exception | None = None
        self.on_prepare: Callable[[], object] | None = None
        self.hangs = False

    async def _nothing(self, question: Question) -> None:
        """Workers ask nothing here."""

    async def _respond(self, question: Question) -> None:
        self.told.append(type(question).__name__)
        if self.hangs:
            await asyncio.sleep(60)
        if isinstance(question, Prepare):
            if self.on_prepare is not None:
                self.on_prepare()
            if self.objection is not None:
                raise self.objection

    async def open(self) -> None:
        """Listen at both ends."""
        assert self.link is not None
        for link in (self.link, self.own):
            await link.open()
            _ = spawn(link.listen(), name="listen")

    def close(self) -> None:
        """Hang up."""
        self.own.close()
        if self.link is not None:
            self.link.close()


@asynccontextmanager
async def workers(count: int) -> AsyncIterator[list[Worker]]:
    """Have so many workers."""
    made = [Worker() for _ in range(count)]
    for each in made:
        await each.open()
    try:
        yield made
    finally:
        for each in made:
            each.close()


def consent(posts: list[Worker]) -> Consent:
    """Begin a change."""
    return Consent(posts, prove=1.0, act=0.3)


async def test_all_prove_before_any_adopts():
    """And all adopt."""
    async with workers(2) as posts:
        asked = consent(posts)
        await asked.gain(PREPARE)
        proven = [list(each.told) for each in posts]
        silent = await asked.carry_out()

        assert [["Prepare"]] * 2 == proven
        assert [["Prepare", "Adopt"]] * 2 == [each.told for each in posts]
        assert 0 == silent
        assert "<Consent of 2 workers>" == repr(asked)


async def test_one_objection_is_one_for_all():
    """Whoever asked hears it, and all forget what they were asked."""
    async with workers(3) as posts:
        posts[1].objection = ConfigError(["a.yaml:3: gone"])
        asked = consent(posts)
        with pytest.raises(ConfigError) as caught:
            await asked.gain(PREPARE)
        await asked.withdraw()

        assert ["a.yaml:3: gone"] == caught.value.problems
        assert [["Prepare", "Discard"]] * 3 == [each.told for each in posts]


async def test_a_worker_that_dies_is_no_objection():
    """Its successor is built by what is in force by then."""
    async with workers(2) as posts:
        posts[0].on_prepare = posts[0].own.close
        asked = consent(posts)
        await asked.gain(PREPARE)

        assert 0 == await asked.carry_out()
        assert ["Prepare", "Adopt"] == posts[1].told


async def test_a_worker_that_does_not_answer_is_one():
    """It is hung, or slow; nobody knows whether it could."""
    async with workers(2) as posts:
        posts[1].hangs = True
        asked = Consent(posts, prove=0.1, act=0.1)
        with pytest.raises(GatewayError, match="did not answer in time"):
            await asked.gain(PREPARE)


async def test_one_that_comes_meanwhile_is_asked_too():
    """Else it would be the only one to serve by the former configuration."""
    async with workers(2) as posts:
        late, link = posts[1], posts[1].link
        late.link = None

        def come() -> None:
            late.link = link

        posts[0].on_prepare = come
        asked = consent(posts)
        await asked.gain(PREPARE)
        await asked.carry_out()

        assert [["Prepare", "Adopt"]] * 2 == [each.told for each in posts]


async def test_who_does_not_confirm_is_counted():
    """It adopts as soon as it answers again: it has been told."""
    async with workers(2) as posts:
        asked = consent(posts)
        await asked.gain(PREPARE)
        posts[0].hangs = True

        assert 1 == await asked.carry_out()
        assert {Adopt.__name__, Discard.__name__} & set(posts[0].told)
