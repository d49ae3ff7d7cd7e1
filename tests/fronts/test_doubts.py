"""Proves what an upstream's own 401 does: facts go, now and then, and no mark comes."""

import pytest

from gateway.errors import StoreUnavailable
from gateway.fronts.doubts import LIMIT, PAUSE, Doubts
from gateway.rules.policy import Case, judge
from gateway.tasks import running
from gateway.values import (
    Credentials,
    Permit,
    Route,
    Secret,
    Source,
    TokenFacts,
    TokenPlace,
)
from tests.fronts.house import Facts, door, request
from tests.wire.harness import until

UNAUTHORIZED = b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"


def permit(token: str, source: Source = Source.L1) -> Permit:
    """Have a token let through."""
    route, facts = Route(id="r", provider="idp"), TokenFacts(provider="idp")
    credentials = Credentials(Secret(token), TokenPlace.HEADER)
    decision = judge(Case(route, facts, 0.0, False, None), credentials, source)
    assert isinstance(decision, Permit)
    return decision


@pytest.fixture
def facts(clock):
    """What is known, and what was forgotten of it."""
    return Facts(clock)


@pytest.fixture
def doubts(facts, clock):
    """Doubts about those."""
    return Doubts({"idp": facts}, clock)


async def settled() -> None:
    """Wait until everybody has forgotten."""
    await until(lambda: not running())


async def test_a_tokens_facts_are_dropped_once_in_a_while(doubts, facts, clock):
    """A broken upstream does not turn every request into a question."""
    for _ in range(3):
        doubts.doubt(permit("T1"))
    doubts.doubt(permit("T2"))
    await settled()
    assert ["T1", "T2"] == facts.forgotten

    clock.advance(PAUSE)
    doubts.doubt(permit("T1"))
    await settled()

    assert ["T1", "T2", "T1"] == facts.forgotten


async def test_what_the_provider_said_just_now_is_not_doubted(doubts, facts):
    """Asking again would bring the same."""
    doubts.doubt(permit("T1", Source.PROVIDER))
    await settled()

    assert [] == facts.forgotten


async def test_few_are_remembered(doubts):
    """Whoever has many tokens fills no memory."""
    for number in range(LIMIT + 10):
        doubts.doubt(permit(f"T{number}"))
    await settled()

    assert f"<Doubts: {LIMIT}>" == repr(doubts)


async def test_a_store_that_does_not_answer_is_no_crash(clock):
    """What it has ends by itself."""

    class Frail(Facts):
        async def forget(self, token: str, *, source: str) -> None:
            raise StoreUnavailable("away")

    Doubts({"idp": Frail(clock)}, clock).doubt(permit("T1"))
    await settled()


async def test_an_upstreams_401_has_the_provider_asked_again():
    """The client hears it as it is; the next request does not go by old facts."""
    async with door() as d:
        d.facts.remembered.add("Tr")
        d.upstream.answer = lambda _: UNAUTHORIZED
        told = await d.ask("GET /api/x", token="Tr")
        await until(lambda: d.facts.forgotten)

        assert 401 == told.status
        assert ["Tr"] == d.facts.forgotten
        assert [] == d.ledger.marks

        await d.ask("GET /api/x", token="Tr")
        assert ["Tr"] == d.facts.asked


@pytest.mark.parametrize("status", [b"403", b"500", b"200"])
async def test_no_other_answer_is_a_doubt(status):
    """A 403 is about the resource."""
    async with door() as d:
        d.facts.remembered.add("Tr")
        d.upstream.answer = lambda _: UNAUTHORIZED.replace(b"401", status)
        await d.ask("GET /api/x", token="Tr")

        assert [] == d.facts.forgotten


async def test_a_public_route_has_no_token_to_doubt():
    """Whatever its upstream says of the one it was sent."""
    async with door() as d:
        d.facts.remembered.add("Tr")
        d.upstream.answer = lambda _: UNAUTHORIZED
        await d.exchange(request("GET /small/x", token="Tr"))

        assert [] == d.facts.forgotten
