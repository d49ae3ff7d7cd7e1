import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import (
    ConfigError,
    GatewayError,
    ProviderUnavailable,
    StoreUnavailable,
)
from gateway.tasks import spawn
from gateway.values import Mark, MarkKind
from gateway.workers.link import (
    LIMIT_BYTES,
    Build,
    Drain,
    Expiry,
    Explain,
    Keep,
    Lift,
    Link,
    LinkLost,
    Look,
    Open,
    Question,
    Scrape,
)

MARK = Mark(kind=MarkKind.SUBJECT, provider="p", name="ada", moment=1.5, expires_at=9.0)


class Respondent:
    """Answers with what it was asked, or as it was told to."""

    def __init__(self) -> None:
        self.heard: list[Question] = []
        self.failure: Exception | None = None
        self.answer: object = None
        self.go = asyncio.Event()
        self.go.set()

    async def respond(self, question: Question) -> object:
        self.heard.append(question)
        await self.go.wait()
        if self.failure is not None:
            raise self.failure
        return self.answer


@asynccontextmanager
async def linked(
    *, limit_bytes: int = LIMIT_BYTES
) -> AsyncIterator[tuple[Link, Link, Respondent]]:
    """Join two links; the respondent is behind the second."""
    here, there = socket.socketpair()
    respondent = Respondent()
    first = Link(here, Respondent().respond, limit_bytes=limit_bytes)
    second = Link(there, respondent.respond, limit_bytes=limit_bytes)
    for link in (first, second):
        await link.open()
    listening = [spawn(link.listen(), name="listen") for link in (first, second)]
    try:
        yield first, second, respondent
    finally:
        respondent.go.set()
        first.close()
        second.close()
        async with asyncio.timeout(5):
            await asyncio.gather(*listening)


QUESTIONS: list[Question] = [
    Build({"version": 1, "routes": [{"id": "a", "n": None}]}, "/etc/gateway"),
    Open((MARK,)),
    Explain("GET", "http://h/a", {"X-A": "b"}, "token"),
    Expiry("p", "token"),
    Keep(MARK, "token"),
    Lift(MarkKind.SUBJECT, "p", "ada"),
    Scrape(),
    Look(),
    Drain(hurry=True),
]


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda each: type(each).__name__)
async def test_every_question_arrives_as_it_was_asked(question):
    """And is answered."""
    async with linked() as (link, _, respondent):
        await link.tell(question, 5)

    assert [question] == respondent.heard


async def test_answers_find_their_questions():
    """Though they come in another order, and both sides ask."""
    async with linked() as (first, second, respondent):
        respondent.go.clear()
        slow = spawn(first.tell(Look(), 5), name="slow")
        await asyncio.sleep(0)
        await second.tell(Look(), 5)
        assert not slow.done()
        respondent.answer = {"store": True}
        respondent.go.set()

        assert {"store": True} == await first.ask(Look(), dict[str, bool], 5)
        await slow


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (KeyError("p"), LookupError),
        (StoreUnavailable("full"), StoreUnavailable),
        (ProviderUnavailable("down"), ProviderUnavailable),
        (GatewayError("no"), GatewayError),
    ],
)
async def test_what_failed_there_fails_here(failure, expected):
    """By the same kind, so that whoever asked can word it."""
    async with linked() as (link, _, respondent):
        respondent.failure = failure
        with pytest.raises(expected) as caught:
            await link.tell(Look(), 5)

    assert str(failure) in str(caught.value)


async def test_problems_of_a_configuration_are_told_one_by_one():
    """As the command line shows them."""
    async with linked() as (link, _, respondent):
        respondent.failure = ConfigError(["a", "b"])
        with pytest.raises(ConfigError) as caught:
            await link.tell(Look(), 5)

    assert ["a", "b"] == caught.value.problems


async def test_a_crash_there_is_told_there_and_not_waited_for():
    """Whoever asked learns at once that there will be no answer."""
    told: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(context["exception"]))
    async with linked() as (link, _, respondent):
        respondent.failure = ZeroDivisionError("token=abc")
        with pytest.raises(GatewayError, match="crashed") as caught:
            await link.tell(Look(), 5)

    assert "abc" not in str(caught.value)
    assert [respondent.failure] == told


async def test_who_does_not_answer_is_not_waited_for():
    """A late answer is nobody's any more, and the link goes on."""
    async with linked() as (link, _, respondent):
        respondent.go.clear()
        with pytest.raises(LinkLost, match="in time"):
            await link.tell(Look(), 0.05)
        respondent.go.set()
        await link.tell(Scrape(), 5)

        assert "<Link: open, 0 waiting>" == repr(link)


@pytest.mark.parametrize("leaves", ["first", "second"])
async def test_who_waits_is_told_that_the_other_is_gone(leaves):
    """Whichever end was closed; and nothing can be asked any more."""
    async with linked() as (first, second, respondent):
        respondent.go.clear()
        asked = asyncio.gather(first.tell(Look(), 60), return_exceptions=True)
        while not respondent.heard:  # noqa: ASYNC110 -- it has no event
            await asyncio.sleep(0)
        (first if leaves == "first" else second).close()
        async with asyncio.timeout(5):
            (told,) = await asked
        with pytest.raises(LinkLost):
            await first.tell(Look(), 5)

    assert isinstance(told, LinkLost)
    assert first.lost


async def test_what_is_said_first_is_heard_first():
    """A mark that is told before a question is in force when that is looked at."""
    async with linked() as (link, _, respondent):
        marks = [
            Keep(
                Mark(
                    kind=MarkKind.SUBJECT,
                    provider="p",
                    name=f"{number}",
                    moment=0,
                    expires_at=1,
                )
            )
            for number in range(50)
        ]
        await asyncio.gather(*(link.tell(mark, 5) for mark in marks))

    assert marks == respondent.heard


async def test_a_message_that_is_too_long_is_not_sent():
    """Neither a question nor an answer; the link goes on."""
    async with linked(limit_bytes=2000) as (link, _, respondent):
        with pytest.raises(LinkLost, match="too much"):
            await link.tell(Expiry("p", "x" * 2000), 5)
        respondent.answer = "x" * 2000
        with pytest.raises(GatewayError, match="too much"):
            await link.ask(Look(), str, 5)
        respondent.answer = "short"

        assert "short" == await link.ask(Look(), str, 5)


async def test_nothing_piles_up_for_who_does_not_read():
    """What waits to be sent is bounded too."""
    here, there = socket.socketpair()
    link = Link(here, Respondent().respond, limit_bytes=1_000_000)
    await link.open()
    long = Expiry("p", "x" * 100_000)
    asked = (link.tell(long, 0.1) for _ in range(20))
    told = await asyncio.gather(*asked, return_exceptions=True)
    link.close()
    there.close()

    assert {"no answer in time", "there is too much to say"} == set(map(str, told))


@given(data=st.binary(min_size=1, max_size=200))
def test_nonsense_ends_the_talk_and_nothing_else(data):
    """Whatever comes: no crash, no endless wait for a message of gigabytes."""

    async def hear() -> Link:
        here, there = socket.socketpair()
        respondent = Respondent()
        link = Link(here, respondent.respond, limit_bytes=64)
        await link.open()
        there.sendall(data)
        there.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(5):
            await link.listen()
        there.close()
        return link

    assert asyncio.run(hear()).lost
