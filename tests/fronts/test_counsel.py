"""Proves the advice that engines are given, whatever wire they ask over."""

import asyncio
import dataclasses
from typing import Any

import msgspec
import pytest

from gateway.facts.mark_stream import ClearSight
from gateway.fronts.counsel import Advice, Counsel, Door, Leave, Question, Refusal
from gateway.gatekeeper import ShadowingGatekeeper
from gateway.rules.keeping import Keeping, Trust
from gateway.rules.routing import Routes
from gateway.values import Reason, RouteKind, TokenPlace
from tests.fronts import house
from tests.fronts.house import METADATA, ROUTES, api, door, oauth
from tests.wire.harness import until

ABLE = Door(name="able", rewrites=True, drops=True, preflights=True)
PLAIN = Door(name="plain")
NOTING = Door(name="noting", folds=True)
WORDS = Door(name="words", rewrites=True, preflights=True, permits=False)


def question(line: str, *headers: tuple[bytes, bytes], **more: Any) -> Question:
    """Make the question about a request."""
    method, _, target = line.partition(" ")
    bearer = more.pop("token", None)
    told = [] if bearer is None else [(b"authorization", b"Bearer " + bearer.encode())]
    known: dict[str, Any] = {
        "door": ABLE,
        "method": method,
        "authority": b"books.example",
        "target": target.encode(),
        "headers": [*told, *headers],
        "peer": "192.0.2.7",
        "scheme": "https",
    }
    return Question(**{**known, **more})


class Dark(ClearSight):
    """Nobody's marks are heard of."""

    blind = True


def counsel(d: house.Door) -> Counsel:
    """Give the counsel of a house."""
    return Counsel(lambda: d.front.setup, lambda: d.reception)


async def advised(d: house.Door, line: str, *headers: Any, **more: Any) -> Advice:
    """Ask one question."""
    return await counsel(d).advise(question(line, *headers, **more))


async def refused(d: house.Door, line: str, *headers: Any, **more: Any) -> Refusal:
    """Ask one question that is refused."""
    advice = await advised(d, line, *headers, **more)
    assert isinstance(advice, Refusal)
    return advice


async def test_leave_tells_the_target_the_upstream_and_the_changes():
    """All that the main door would have done."""
    async with door() as d:
        advice = await advised(
            d, "GET /strip/a?access_token=x", (b"x-auth-subject", b"root"), token="Tr"
        )
        assert isinstance(advice, Refusal)
        advice = await advised(
            d, "GET /query/a?b=1&access_token=Tr", (b"x-auth-subject", b"root")
        )

        assert isinstance(advice, Leave)
        assert (b"/query/a?b=1", "u") == (advice.target, advice.upstream)
        assert (b"x-auth-subject", b"ada") in advice.put
        assert b"authorization" in advice.drop


@pytest.mark.parametrize("method", ["post", "Post", "connect", "trace", "GET /x", "é"])
async def test_no_method_passes_for_another_by_its_case(method):
    """HTTP/2 takes any, and some upstreams read `post` as POST; routes do not."""
    routes = [api("/a"), api("/a", "write", id="write", methods=frozenset({"POST"}))]
    async with door(routes=routes) as d:
        odd = question("GET /a", token="Tr")
        advice = await counsel(d).advise(msgspec.structs.replace(odd, method=method))

        assert isinstance(advice, Refusal)
        assert 400 == advice.answer.status


async def test_the_target_is_rewritten_as_the_route_says():
    """The engine asks for it byte for byte."""
    async with door() as d:
        advice = await advised(d, "GET /strip/%61?q", token="Tr")

        assert isinstance(advice, Leave)
        assert b"/v1/%61?q" == advice.target


async def test_an_engine_that_cannot_rewrite_is_the_wrong_door_for_a_rewriting_route():
    """The upstream would be asked for another path than the route says."""
    async with door() as d:
        refusal = await refused(d, "GET /strip/a", token="Tr", door=PLAIN)

        assert 421 == refusal.answer.status


async def test_leave_is_given_for_no_other_route_than_the_engine_chose():
    """It may read a path in another way, and has chosen the upstream already."""
    async with door() as d:
        refusal = await refused(d, "GET /api/a", token="Tr", route="public")
        advice = await advised(d, "GET /api/a", token="Tr", route="api")

        assert 421 == refusal.answer.status
        assert isinstance(advice, Leave)


async def test_who_waits_for_so_long_only_is_told_in_time():
    """What could not be known is a 503; what is being learned is learned."""
    async with door() as d:
        d.facts.gate.clear()
        refusal = await refused(d, "GET /locked/a", token="Tr", within=0.01)
        d.facts.gate.set()

        assert 503 == refusal.answer.status
        assert (b"Retry-After", b"1") in refusal.answer.headers
        assert Reason.PROVIDER_UNAVAILABLE == d.only().reason


REFUSED = [
    ("GET /api/a", {}, 401, Reason.NO_CREDENTIALS),
    ("GET /admin/a", {"token": "Tr"}, 403, Reason.INSUFFICIENT_SCOPE),
    ("GET /api/a", {"token": "Tx"}, 401, Reason.INACTIVE),
    ("GET /api/a", {"token": "Tdown"}, 503, Reason.PROVIDER_UNAVAILABLE),
    ("GET /locked/a", {"token": "Tx"}, 400, Reason.INACTIVE),
    ("GET /nowhere", {}, 404, Reason.NO_ROUTE),
    ("POST /read", {}, 405, Reason.METHOD_NOT_ALLOWED),
    ("TRACE /public/a", {}, 405, Reason.METHOD_NOT_ALLOWED),
    ("CONNECT /public/a", {}, 405, Reason.METHOD_NOT_ALLOWED),
    ("GET /public/../a", {}, 400, Reason.BAD_TARGET),
    ("GET http://books.example/public/a", {}, 400, Reason.BAD_TARGET),
    ("OPTIONS *", {}, 400, Reason.BAD_TARGET),
    ("GET /public/a", {"authority": b"a,b"}, 400, Reason.BAD_MESSAGE),
    ("GET /public/a", {"authority": b""}, 400, Reason.BAD_MESSAGE),
    ("POST /oauth/token", {}, 421, Reason.WRONG_DOOR),
    ("POST /oauth/revoke", {}, 421, Reason.WRONG_DOOR),
    ("GET /metadata", {}, 421, Reason.WRONG_DOOR),
    ("GET /oauth/authorize?scope=a&scope=b", {}, 400, Reason.INVALID_FORM),
    ("GET /api/a", {"token": "Tcrash"}, 500, Reason.INTERNAL),
]


@pytest.mark.parametrize(("line", "more", "status", "reason"), REFUSED)
async def test_a_refusal_is_worded_and_recorded(line, more, status, reason):
    """By the dialect of its route, as at the main door."""
    async with door(routes=[*ROUTES, METADATA]) as d:
        refusal = await refused(d, line, **more)
        exchange = d.only()
        crashes, d.crashes[:] = len(d.crashes), []

        assert status == refusal.answer.status == exchange.status
        assert (reason, "able") == (exchange.reason, exchange.door)
        assert refusal.request_id.decode() == exchange.request_id
        assert (reason is Reason.INTERNAL) == bool(crashes)


async def test_leave_is_recorded_too():
    """With the door's name, and nothing of a query or an upstream's answer."""
    async with door() as d:
        await advised(d, "GET /api/a?q=SECRET", token="Tr")
        exchange = d.only()

        assert ("able", "allow", "ok") == (
            exchange.door,
            exchange.decision,
            exchange.reason,
        )
        assert ("api", "shop", "192.0.2.7", "https", "/api/a") == (
            exchange.route,
            exchange.client,
            exchange.peer,
            exchange.scheme,
            exchange.path,
        )


async def test_bytes_that_readers_disagree_on_are_refused():
    """As at the main door (SECURITY, a value that shrinks between check and use)."""
    async with door() as d:
        refusal = await refused(d, "GET /api/a", (b"x-role", b"\x85admin"), token="Tr")

        assert 400 == refusal.answer.status


async def test_an_engine_that_cannot_rewrite_gets_no_leave_for_a_token_in_the_query():
    """The token would go upstream."""
    async with door() as d:
        refusal = await refused(d, "GET /query/a?access_token=Tr", door=PLAIN)

        assert 400 == refusal.answer.status
        assert Reason.MALFORMED_REQUEST == d.only().reason


@pytest.mark.parametrize("name", [b"x_auth_subject", b"x-auth-new"])
async def test_an_engine_that_cannot_drop_gets_no_leave_for_what_looks_like_ours(name):
    """It would reach an upstream that folds names."""
    async with door() as d:
        refusal = await refused(
            d, "GET /api/a", (name, b"root"), token="Tr", door=PLAIN
        )
        advice = await advised(d, "GET /api/a", (name, b"root"), token="Tr")

        assert 400 == refusal.answer.status
        assert isinstance(advice, Leave)
        assert name in advice.drop


PREFLIGHT = (
    (b"origin", b"https://app.example"),
    (b"access-control-request-method", b"PUT"),
)


async def test_a_preflight_is_answered_where_the_engine_hands_answers_on():
    """It carries no token, and reaches no upstream."""
    async with door() as d:
        refusal = await refused(d, "OPTIONS /cors/a", *PREFLIGHT)

        assert 204 == refusal.answer.status
        assert ("allow", "preflight") == (d.only().decision, d.only().reason)


@pytest.mark.parametrize("asking", [PLAIN, NOTING], ids=lambda each: each.name)
async def test_a_preflight_is_no_leave_to_forward(asking):
    """To these engines a 204 would be."""
    async with door() as d:
        refusal = await refused(d, "OPTIONS /cors/a", *PREFLIGHT, door=asking)

        assert 403 == refusal.answer.status


async def test_an_engine_that_takes_two_refusals_is_given_no_other():
    """401, and 403 for all the rest; the words are asked for apart."""
    async with door() as d:
        statuses = []
        for line, token in (
            ("GET /api/a", "Tx"),
            ("GET /locked/a", "Tx"),
            ("GET /api/a", "Tdown"),
            ("GET /nowhere", None),
        ):
            refusal = await refused(d, line, token=token, door=NOTING)
            statuses.append((refusal.answer.status, refusal.answer.body))

        assert [(401, b""), (403, b""), (403, b""), (403, b"")] == statuses


async def test_who_asks_for_the_words_never_gets_leave():
    """The decision has changed in between: to try again is all there is to say."""
    async with door() as d:
        refusal = await refused(d, "GET /api/a", token="Tr", door=WORDS)

        assert 503 == refusal.answer.status
        assert Reason.DECISION_CHANGED == d.only().reason


async def test_leave_may_be_kept_where_that_is_dared():
    """As long as what it rests on lasts, and by no request but its like."""
    async with door() as d:
        held = Keeping(30.0, {"idp": Trust(20.0)})
        setup = dataclasses.replace(d.front.setup, keeping=held)
        d.facts.known["Tr"] = d.facts.facts("read", learned_at=d.clock.now() - 5)
        told = []
        for each in (d.front.setup, setup):
            d.front.setup = each
            advice = await advised(d, "GET /api/a", token="Tr")
            assert isinstance(advice, Leave)
            told.append((advice.max_age, advice.vary))

        vary = (b"authorization", b"referer")
        assert [(0, vary), (15, vary)] == told


async def test_nothing_is_kept_while_revocations_are_not_heard_of():
    """An engine would go on for longer than we do."""
    async with door(sight=Dark()) as d:
        held = Keeping(30.0, {"idp": Trust(20.0)})
        d.front.setup = dataclasses.replace(d.front.setup, keeping=held)
        advice = await advised(d, "GET /public/a")

        assert isinstance(advice, Leave)
        assert 0 == advice.max_age


@pytest.mark.parametrize("headers", [(), ((b"authorization", b"Bearer Tr"),)])
async def test_no_engine_sends_on_a_token_that_a_route_in_shadow_takes_out(headers):
    """One that was not judged either: only an engine that rewrites can leave it out."""
    line = "GET /trial?a=1&access_token=T2"
    async with door() as d:
        keeper = ShadowingGatekeeper(
            Routes([api("/trial", "read", shadow=True)]),
            {"idp": d.facts},
            d.ledger,
            d.clock,
            ClearSight(),
        )
        d.front.setup = dataclasses.replace(d.front.setup, gatekeeper=keeper)
        leave = await advised(d, line, *headers)
        refusal = await refused(d, line, *headers, door=PLAIN)

        assert isinstance(leave, Leave)
        assert b"/trial?a=1" == leave.target
        assert 421 == refusal.answer.status


async def test_who_asks_for_the_words_hears_what_only_the_changes_refuse():
    """Too much identity, a loop, a name that looks like ours: the reason, not a 503."""
    async with door() as d:
        d.facts.known["Tbig"] = d.facts.facts("read", subject="x" * 9000)
        told = [
            await refused(d, "GET /api/a", token="Tbig", door=WORDS),
            await refused(
                d, "GET /api/a", (b"x-auth-new", b"1"), token="Tr", door=WORDS
            ),
        ]

        assert [401, 400] == [each.answer.status for each in told]


async def test_a_page_of_another_origin_may_read_the_refusal():
    """As at the main door."""
    cors = next(route for route in ROUTES if route.id == "cors").cors
    async with door(routes=[api("/cors/**", "read", cors=cors)]) as d:
        refusal = await refused(
            d, "GET /cors/a", (b"origin", b"https://app.example"), token="Tx"
        )

        allowed = (b"access-control-allow-origin", b"https://app.example")
        assert allowed in refusal.answer.headers


async def test_a_userinfo_endpoint_is_handed_its_token():
    """The provider judges it; the engine puts it where the provider wants it."""
    places = frozenset(TokenPlace)
    routes = [
        oauth(RouteKind.OAUTH_USERINFO, "/oauth/userinfo", "GET", token_from=places)
    ]
    async with door(routes=routes) as d:
        advice = await advised(d, "GET /oauth/userinfo?access_token=Tr")

        assert isinstance(advice, Leave)
        assert (b"authorization", b"Bearer Tr") in advice.put
        assert b"/oauth/userinfo" == advice.target


async def test_an_engine_that_gives_up_leaves_a_record_and_nothing_else():
    """The one question in flight is others' too."""
    async with door() as d:
        d.facts.gate.clear()
        asking = asyncio.ensure_future(  # noqa: TID251 -- cancelled below
            counsel(d).advise(question("GET /api/a", token="Tr"))
        )
        await until(lambda: d.facts.asked)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

        assert (499, "error") == (d.only().status, d.only().decision)


async def test_a_question_that_is_none_is_refused_and_recorded():
    """Whoever reads the wire says why."""
    async with door() as d:
        refusal = counsel(d).refuse(PLAIN, "192.0.2.9", Reason.BAD_QUESTION)

        assert 400 == refusal.answer.status
        assert ("plain", "192.0.2.9") == (d.only().door, d.only().peer)
