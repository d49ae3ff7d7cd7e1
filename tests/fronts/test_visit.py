"""Proves the way of one request at the main door: its answer, its record, its faults."""

import asyncio
import dataclasses
from typing import Any

import msgspec
import pytest

from gateway.dialects import rfc6750
from gateway.values import Answer, Denial, Exchange, Timeouts
from tests.fronts.house import (
    DIALECTS,
    OK,
    ROUTES,
    Door,
    api,
    door,
    public,
    read_responses,
    request,
)
from tests.wire.harness import HandLoop, replies, until

REDIRECT = (
    b"HTTP/1.1 302 Found\r\nLocation: https://x.example/\r\nContent-Length: 0\r\n\r\n"
)


def told_of(exchange: Exchange, *fields: str) -> tuple[object, ...]:
    """Give some fields of a record."""
    record = msgspec.structs.asdict(exchange)
    return tuple(record[name] for name in fields)


# ------------------------------------------------------------------------ records

RECORDS: list[tuple[str, str | None, dict[str, Any]]] = [
    (
        "GET /api/a?x=SECRET",
        "Tr",
        {
            "method": "GET",
            "host": "books.example",
            "path": "/api/a",
            "status": 200,
            "decision": "allow",
            "reason": "ok",
            "source": "provider",
            "route": "api",
            "provider": "idp",
            "upstream": "u",
            "client": "shop",
            "peer": "127.0.0.1",
            "scheme": "http",
            "request_bytes": 0,
            "response_bytes": 2,
            "failure": "",
        },
    ),
    (
        "GET /admin/a",
        "Tr",
        {
            "status": 403,
            "decision": "deny",
            "reason": "insufficient_scope",
            "source": "provider",
            "route": "admin",
            "provider": "idp",
            "upstream": "",
            "client": "shop",
        },
    ),
    (
        "GET /api/a",
        None,
        {"status": 401, "decision": "deny", "reason": "no_credentials", "route": "api"},
    ),
    (
        "GET /api/a",
        "Tx",
        {"status": 401, "decision": "deny", "reason": "inactive", "client": ""},
    ),
    (
        "GET /api/a",
        "Tdown",
        {"status": 503, "decision": "error", "reason": "provider_unavailable"},
    ),
    (
        "GET /api/a",
        "Tstore",
        {"status": 503, "decision": "error", "reason": "provider_unavailable"},
    ),
    (
        "GET /public/%61",
        None,
        {"status": 200, "decision": "allow", "reason": "public", "path": "/public/%61"},
    ),
    (
        "GET /nowhere",
        None,
        {"status": 404, "decision": "deny", "reason": "no_route", "route": ""},
    ),
    (
        "POST /read",
        None,
        {"status": 405, "decision": "deny", "reason": "method_not_allowed"},
    ),
    (
        "GET /public/../a",
        None,
        {"status": 400, "decision": "deny", "reason": "bad_target", "path": ""},
    ),
    (
        "HEAD /api/a",
        "Tr",
        {"status": 200, "method": "HEAD", "response_bytes": 0},
    ),
    (
        "HEAD /api/a",
        None,
        {"status": 401, "method": "HEAD", "response_bytes": 0},
    ),
    (
        "GET /dead/a",
        None,
        {
            "status": 502,
            "decision": "allow",
            "reason": "upstream_unreachable",
            "route": "dead",
            "upstream": "dead",
            "failure": "upstream closed or unreachable",
        },
    ),
]


@pytest.mark.parametrize(("line", "token", "record"), RECORDS)
async def test_every_request_has_one_record(line, token, record):
    """With what was decided and why, and nothing of the query or the token."""
    routes = [*ROUTES, public("/dead/**", upstream="dead")]
    async with door(routes=routes) as d:
        told = await d.ask(line, token=token)
        exchange = d.only()

        assert record == {
            name: value
            for name, value in msgspec.structs.asdict(exchange).items()
            if name in record
        }
        assert told.status == exchange.status
        assert told.value(b"x-request-id") == exchange.request_id.encode()
        assert 0 <= exchange.upstream_wait <= exchange.duration < 5
        assert 0 <= d.clock.now() - exchange.started_at < 5


async def test_bodies_are_counted_both_ways():
    """Decoded bytes, without their framing."""
    body = b"2\r\nab\r\n3;x=y\r\ncde\r\n0\r\nT: 1\r\n\r\n"
    async with door() as d:
        d.upstream.answer = lambda _: (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n"
        )
        raw = request("POST /public/a", "Transfer-Encoding: chunked") + body
        told = read_responses(await d.exchange(raw))[0]

        assert b"abcd" == told.body
        assert b"abcde" == d.upstream.only().body
        assert (5, 4) == told_of(d.only(), "request_bytes", "response_bytes")


# ------------------------------------------------------------- what goes upstream

ROUTE_AND_TOKEN = [
    ("/public/a", None),
    ("/optional/a", None),
    ("/optional/a", "Tr"),
    ("/api/a", "Tr"),
    ("/pass/a", "Tr"),
    ("/cors/a", None),
    ("/oauth/userinfo", "Tr"),
]


@pytest.mark.parametrize(("path", "token"), ROUTE_AND_TOKEN)
async def test_nobody_names_himself(path, token):
    """Whatever a client says of its identity stays with us (SECURITY §1 C)."""
    spoofed = [
        f"{name}: root"
        for name in (
            "X-Auth-Subject",
            "x-auth-subject",
            "X-AUTH-SCOPES",
            "X-Auth-Client",
            "X-Auth-Device",
            "X-Auth-Email",
            "X_Auth_Subject",
            "X-Auth_Subject",
            "x_forwarded_user",
            "X.Auth.Subject",
            "X-Forwarded-User",
            "X-Real-IP",
            "X-Original-URL",
            "X-HTTP-Method-Override",
            "Proxy",
        )
    ]
    async with door() as d:
        told = await d.ask(
            f"GET {path}",
            *spoofed,
            "X-Auth-Subject:",
            "Connection: close, x-auth-subject, X-Auth-Client, authorization,"
            " x-request-id, x-forwarded-for, host",
            token=token,
        )
        received = d.upstream.only()

        assert 200 == told.status
        assert not [line for line in received.headers if b"root" in line[1]]
        assert not [name for name in received.names if b"_" in name or b"." in name]
        identified = token is not None and not path.startswith("/oauth")
        assert ([b"ada"] if identified else []) == received.values(b"x-auth-subject")
        assert ([b"shop"] if identified else []) == received.values(b"x-auth-client")
        assert [b"127.0.0.1"] == received.values(b"x-forwarded-for")
        assert [d.only().request_id.encode()] == received.values(b"x-request-id")
        assert [b"books.example"] == received.values(b"host")


@pytest.mark.parametrize(
    ("path", "token", "sent"),
    [
        ("/api/a", "Tr", []),
        ("/optional/a", "Tr", []),
        ("/public/a", "Tr", []),
        ("/pass/a", "Tr", [b"Bearer Tr"]),
        ("/passing/a", "Tr", [b"Bearer Tr"]),
        ("/oauth/userinfo", "Tr", [b"Bearer Tr"]),
    ],
)
async def test_the_token_goes_on_only_where_a_route_says_so(path, token, sent):
    """Authorization is stripped by default (SECURITY §1 F)."""
    async with door() as d:
        await d.ask(f"GET {path}", token=token)

        assert sent == d.upstream.only().values(b"authorization")


HOP_BY_HOP = [
    "Keep-Alive: timeout=5",
    "Proxy-Connection: keep-alive",
    "Proxy-Authorization: Basic x",
    "TE: trailers",
    "Trailer: X-T",
    "Upgrade: h2c",
    "HTTP2-Settings: AAMAAABk",
    "X-Hop: a",
]


async def test_hop_by_hop_fields_stay_on_their_hop():
    """The known ones, and those that Connection lists (RFC 9110 §7.6.1)."""
    async with door() as d:
        told = await d.ask(
            "GET /ws/a",
            *HOP_BY_HOP,
            "Connection: Upgrade, HTTP2-Settings, x-HOP",
            "X-End: b",
            token="Tr",
        )
        received = d.upstream.only()

        assert 200 == told.status
        assert b"x-end" in received.names
        assert received.names.isdisjoint(
            {line.partition(":")[0].lower().encode() for line in HOP_BY_HOP}
        )
        assert b"connection" not in received.names


@pytest.mark.parametrize(
    ("sent", "arrives", "token"),
    [
        ("/public/%61?a=%zz&&b=+", "/public/%61?a=%zz&&b=+", None),
        ("/public/a?", "/public/a?", None),
        ("/public/", "/public/", None),
        ("/public/a;b=c", "/public/a;b=c", None),
        ("/slash/a%2Fb", "/slash/a%2Fb", None),
        ("/api/x%5Fy", "/api/x%5Fy", "Tr"),
        ("/api/x%255Fy", "/api/x%255Fy", "Tr"),
        ("/api/x%25255Fy", "/api/x%25255Fy", "Tr"),
        ("/strip/a%20b?q", "/v1/a%20b?q", "Tr"),
        ("/strip", "/v1", "Tr"),
        ("/query/a?a=1&access_token=Tr&b=%2", "/query/a?a=1&b=%2", None),
        ("/query/a?access_token=Tr", "/query/a", None),
        ("http://books.example/public/a?b", "/public/a?b", None),
        ("http://books.example", "/", None),
    ],
)
async def test_the_target_that_was_judged_is_the_target_that_is_sent(
    sent, arrives, token
):
    """Byte for byte, but for what the route takes off and the token."""
    async with door(routes=[*ROUTES, public("/")]) as d:
        told = await d.ask(f"GET {sent}", token=token)

        assert 200 == told.status
        assert arrives.encode() == d.upstream.only().target


async def test_the_authority_of_an_absolute_target_is_the_host():
    """RFC 9112 §3.2.2: for the route, and for the upstream."""
    async with door() as d:
        await d.ask("GET http://Named.Example:8080/x")

        assert "named" == d.only().route
        assert [b"Named.Example:8080"] == d.upstream.only().values(b"host")


@pytest.mark.parametrize(
    "host", ["NAMED.EXAMPLE", "named.example.", "named.example:80"]
)
async def test_a_host_is_one_however_it_is_spelled(host):
    """Case, port and a trailing dot make no other policy (SECURITY §1 B)."""
    raw = b"GET /x HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % host.encode()
    async with door() as d:
        await d.exchange(raw)

        assert ("named", "named.example") == told_of(d.only(), "route", "host")


# ------------------------------------------------------------------ trusted hops

FORWARDED = (
    "X-Forwarded-For: 6.6.6.6, 203.0.113.7",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: shop.example",
)


async def test_a_stranger_is_believed_nothing():
    """Its own word about where it comes from is replaced by ours."""
    async with door() as d:
        await d.ask("GET /public/a", *FORWARDED, "Forwarded: for=6.6.6.6")
        received = d.upstream.only()

        assert ("127.0.0.1", "http") == told_of(d.only(), "peer", "scheme")
        assert [b"127.0.0.1"] == received.values(b"x-forwarded-for")
        assert [b"http"] == received.values(b"x-forwarded-proto")
        assert [b"books.example"] == received.values(b"x-forwarded-host")
        assert [] == received.values(b"forwarded")


async def test_a_trusted_proxy_is_believed():
    """The rightmost address that is no proxy of ours, and the scheme it tells."""
    async with door(trusted="127.0.0.0/8") as d:
        await d.ask("GET /public/a", *FORWARDED)
        received = d.upstream.only()

        assert ("203.0.113.7", "https") == told_of(d.only(), "peer", "scheme")
        assert [b"6.6.6.6, 203.0.113.7", b"127.0.0.1"] == received.values(
            b"x-forwarded-for"
        )
        assert [b"https"] == received.values(b"x-forwarded-proto")


async def test_a_trusted_proxy_need_not_say_anything():
    """Then it is the client."""
    async with door(trusted="127.0.0.0/8") as d:
        await d.ask("GET /public/a", "X-Forwarded-Proto: gopher")

        assert ("127.0.0.1", "http") == told_of(d.only(), "peer", "scheme")


# ---------------------------------------------------------------- what comes back


async def test_the_answer_passes_end_to_end():
    """Its fields in order, less the hop-by-hop ones; ours are added."""
    async with door() as d:
        d.upstream.answer = lambda _: (
            b"HTTP/1.1 203 Fine\r\nX-A: 1\r\nKeep-Alive: timeout=5\r\n"
            b"Connection: X-Hop\r\nX-Hop: 1\r\nX-A: \xff2\r\nX-Request-Id: theirs\r\n"
            b"Date: Mon, 01 Jan 2024 00:00:00 GMT\r\nContent-Length: 2\r\n\r\nhi"
        )
        answer = await d.exchange(request("GET /public/a"))

        assert (
            b"HTTP/1.1 203 Fine\r\nx-a: 1\r\nx-a: \xff2\r\n"
            b"date: Mon, 01 Jan 2024 00:00:00 GMT\r\nx-request-id: %b\r\n"
            b"content-length: 2\r\nconnection: close\r\n\r\nhi"
            % d.only().request_id.encode()
            == answer
        )


async def test_interim_responses_come_before_the_answer():
    """They are relayed, and have no Date (RFC 9110 §6.6.1)."""
    async with door(replies(b"HTTP/1.1 103 Hints\r\nLink: </a>\r\n\r\n" + OK)) as d:
        interim, final = read_responses(await d.exchange(request("GET /public/a")))

        assert (103, 200) == (interim.status, final.status)
        assert b"</a>" == interim.value(b"link")
        assert interim.value(b"date") is None
        assert b"Fri, 15 Jan 2027 08:00:00 GMT" == final.value(b"date")


async def test_a_redirect_is_the_clients_business():
    """It is passed on, not followed."""
    async with door() as d:
        d.upstream.answer = lambda _: REDIRECT
        told = await d.ask("GET /public/a")

        assert (302, b"https://x.example/") == (told.status, told.value(b"location"))
        assert 1 == len(d.upstream.requests)


async def test_an_answer_to_a_query_token_is_private():
    """RFC 6750 §2.3: its URL is a credential."""
    async with door() as d:
        told = await d.ask("GET /query/a?access_token=Tr")

        assert b"private" == told.value(b"cache-control")
        assert b"no-referrer" == told.value(b"referrer-policy")


@pytest.mark.parametrize(
    ("script", "status", "reason", "failure"),
    [
        (
            replies(b"HTTP/1.1 999 ?\r\n\r\n"),
            502,
            "upstream_invalid",
            "upstream's answer is in doubt",
        ),
        (replies(), 504, "upstream_timeout", "upstream timed out"),
    ],
)
async def test_a_failing_upstream_is_told_in_the_routes_dialect(
    script, status, reason, failure
):
    """The gatekeeper had said yes; what failed is in the record, not in the answer."""
    timeouts = Timeouts(first_byte=0.05)
    async with door(script, timeouts=timeouts) as d:
        told = await d.ask("GET /locked/a", token="Tr")

        assert status == told.status
        assert b'"payload":null' in told.body.replace(b" ", b"")
        assert b"no-store" == told.value(b"cache-control")
        assert ("allow", reason, failure, "locked", "u") == told_of(
            d.only(), "decision", "reason", "failure", "route", "upstream"
        )


async def test_an_answer_that_is_cut_is_told_so():
    """The status was sent; the failure says that it was not all."""

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK.replace(b"Length: 2", b"Length: 9"))

    async with door(script) as d:
        answer = await d.exchange(request("GET /public/a"))

        assert answer.endswith(b"hi<reset>")
        assert (200, "allow", 2, "upstream closed or unreachable") == told_of(
            d.only(), "status", "decision", "response_bytes", "failure"
        )


# ---------------------------------------------------------------------- refusals


async def test_an_answer_to_head_has_no_body():
    """Neither an upstream's nor ours; the lengths are those of the bodies not sent."""
    async with door() as d:
        refused = await d.ask("HEAD /api/a")
        allowed = await d.ask("HEAD /api/a", token="Tr")
        same = await d.ask("GET /api/a")

        assert (401, b"") == (refused.status, refused.body)
        assert same.value(b"content-length") == refused.value(b"content-length")
        assert (200, b"") == (allowed.status, allowed.body)


async def test_a_refusal_keeps_a_connection_that_is_in_order():
    """Only doubt about the message closes it."""
    async with door() as d:
        answer = await d.exchange(
            request("GET /api/a", close=False)
            + request("GET /nowhere", close=False)
            + request("GET /public/a")
        )

        assert [401, 404, 200] == [each.status for each in read_responses(answer)]


@pytest.mark.parametrize(
    ("line", "host", "status", "reason"),
    [
        ("TRACE /public/a", b"h", 405, "method_not_allowed"),
        ("CONNECT h:443", b"h", 405, "method_not_allowed"),
        ("GET ftp://h/", b"h", 400, "bad_target"),
        ("GET /public/..", b"h", 400, "bad_target"),
        ("GET /public/a", b"h,h", 400, "bad_message"),
        ("GET http://h/public/a", b"h,h", 400, "bad_message"),
    ],
)
async def test_a_head_that_is_no_request_is_the_last(line, host, status, reason):
    """Nothing is decided, and nothing after it is believed (RFC 9112 §2.2)."""
    raw = line.encode() + b" HTTP/1.1\r\nHost: %b\r\n\r\n" % host
    async with door() as d:
        (told,) = read_responses(await d.exchange(raw + request("GET /public/b")))

        assert (status, b"close") == (told.status, told.value(b"connection"))
        assert reason == d.only().reason
        assert not d.upstream.raw


@pytest.mark.parametrize(
    ("header", "body"),
    [
        ("Content-Length: 11", b"x" * 11),
        ("Transfer-Encoding: chunked", b"b\r\n" + b"x" * 11 + b"\r\n0\r\n\r\n"),
    ],
)
async def test_a_body_over_the_routes_limit_is_refused(header, body):
    """At once where its length is told, else when it has come so far."""
    async with door() as d:
        raw = request("POST /small/a", header) + body
        told = read_responses(await d.exchange(raw))

        assert [413] == [each.status for each in told]
        assert not d.upstream.requests
        assert ("deny", "body_too_large") == told_of(d.only(), "decision", "reason")


async def test_facts_too_large_to_tell_are_a_refusal():
    """A header that would burst the upstream is not sent."""
    async with door() as d:
        d.facts.known["Tbig"] = d.facts.facts("read", subject="x" * 9000)
        told = await d.ask("GET /api/a", token="Tbig")

        assert 401 == told.status
        assert ("deny", "inconsistent", "shop") == told_of(
            d.only(), "decision", "reason", "client"
        )
        assert not d.upstream.raw


ORIGIN = "Origin: https://app.example"


async def test_a_preflight_is_answered_here():
    """It carries no token, so nobody else could judge it."""
    async with door() as d:
        told = await d.ask(
            "OPTIONS /cors/a", ORIGIN, "Access-Control-Request-Method: PUT"
        )

        assert 204 == told.status
        assert b"https://app.example" == told.value(b"access-control-allow-origin")
        assert b"no-store" == told.value(b"cache-control")
        assert told.value(b"content-length") is None
        assert told.value(b"date") is not None
        assert ("allow", "preflight") == told_of(d.only(), "decision", "reason")
        assert not d.upstream.raw


@pytest.mark.parametrize("line", ["GET /cors/a", "POST /cors/small"])
async def test_answers_and_refusals_of_a_route_with_cors_say_so(line):
    """A page can read why it was refused."""
    cors = next(route.cors for route in ROUTES if route.id == "cors")
    small = public("/cors/small", cors=cors, body_limit_bytes=1)
    async with door(routes=[*ROUTES, small]) as d:
        told = await d.ask(line, ORIGIN, body=b"ab" if "POST" in line else None)

        assert (413 if "POST" in line else 200) == told.status
        assert b"https://app.example" == told.value(b"access-control-allow-origin")
        assert b"Origin" == told.value(b"vary")


# ----------------------------------------------------------------------- waiting


async def test_a_known_token_is_decided_without_a_task():
    """On a hit nothing waits and nobody is asked."""
    async with door() as d:
        d.facts.remembered.add("Tr")
        told = await d.ask("GET /api/a", token="Tr")

        assert 200 == told.status
        assert ("l1", []) == (d.only().source, d.facts.asked)


async def test_requests_behind_one_that_waits_keep_their_order():
    """A question to the provider holds this connection, and no other."""
    async with door() as d:
        d.facts.gate.clear()
        client = await d.connect()
        await client.send(
            request("GET /api/1", token="Tr", close=False) + request("GET /public/2")
        )
        await until(lambda: d.facts.asked)
        other = await d.ask("GET /public/3")
        assert 200 == other.status
        d.facts.gate.set()
        answers = read_responses(await client.read_all())
        client.writer.close()

        assert [200, 200] == [each.status for each in answers]
        assert [b"/public/3", b"/api/1", b"/public/2"] == [
            each.target for each in d.upstream.requests
        ]


async def test_a_client_that_goes_while_it_is_judged_is_recorded():
    """The question goes on for others; the upstream is not asked."""
    async with door() as d:
        d.facts.gate.clear()
        client = await d.connect()
        await client.send(request("GET /api/a", token="Tr"))
        await until(lambda: d.facts.asked)
        client.writer.close()
        await until(lambda: not len(d.front))
        d.facts.gate.set()
        await until(lambda: d.exchanges)

        assert (499, "error", "client_gone", "client gone") == told_of(
            d.only(), "status", "decision", "reason", "failure"
        )
        assert "Tr" in d.facts.remembered
        assert not d.upstream.raw


async def test_a_client_that_goes_while_its_upstream_fails_is_recorded():
    """There is nobody to be told of the failure."""
    gone = asyncio.Event()

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        gone.set()
        await reader.read()

    async with door(script) as d:
        client = await d.connect()
        await client.send(request("GET /public/a"))
        await gone.wait()
        client.writer.close()
        await until(lambda: d.exchanges)

        assert (499, "allow", "client gone") == told_of(
            d.only(), "status", "decision", "failure"
        )


# ------------------------------------------------------------------------- faults


def the_crash(d: Door) -> object:
    """Give the one exception that was reported, and take it off the list."""
    (context,) = d.crashes
    d.crashes.clear()
    return context["exception"]


@pytest.mark.parametrize("remembered", [True, False], ids=["at once", "in a task"])
async def test_a_fault_of_ours_costs_one_answer(remembered):
    """500 with an id, a report, and the next request is served (SECURITY §1 G)."""
    async with door() as d:
        if remembered:
            d.facts.remembered.add("Tcrash")
        answer = await d.exchange(
            request("GET /api/a", token="Tcrash", close=False)
            + request("GET /public/a")
        )
        first, second = read_responses(answer)

        assert (500, 200) == (first.status, second.status)
        assert d.exchanges[0].request_id.encode() == first.value(b"x-request-id")
        assert b"no-store" == first.value(b"cache-control")
        assert b"Tcrash" not in answer
        assert ("error", "internal", "crashed") == told_of(
            d.exchanges[0], "decision", "reason", "failure"
        )
        assert isinstance(the_crash(d), RuntimeError)


class Broken:
    """A dialect whose answer to a missing token cannot be written."""

    def answer(self, denial: Denial) -> Answer:
        answer = rfc6750.answer(denial)
        lines: Any = [("a header", "of text")]
        return dataclasses.replace(answer, headers=tuple(lines))


async def test_an_answer_that_cannot_be_written_cuts_the_connection():
    """Nobody waits for ever on a fault of ours."""
    async with door(dialects={**DIALECTS, "rfc6750": Broken()}) as d:
        answer = await d.exchange(request("GET /api/a"))

        assert answer in (b"", b"<reset>")
        assert 1 == len(d.exchanges)
        assert isinstance(the_crash(d), TypeError)


async def test_a_fault_after_the_client_has_gone_is_recorded():
    """Reported, and counted as what it is."""
    async with door() as d:
        d.facts.gate.clear()
        client = await d.connect()
        await client.send(request("GET /api/a", token="Tcrash"))
        await until(lambda: d.facts.asked)
        client.writer.close()
        await until(lambda: not len(d.front))
        d.facts.gate.set()
        await until(lambda: d.exchanges)

        assert (500, "error", "internal") == told_of(
            d.only(), "status", "decision", "reason"
        )
        assert isinstance(the_crash(d), RuntimeError)


# ------------------------------------------------------------------------ tunnels

SWITCH = b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Switch, then say everything twice."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(SWITCH)
    while data := await reader.read(100):
        writer.write(data * 2)


UPGRADE = ("Connection: Upgrade", "Upgrade: websocket")


async def test_a_granted_upgrade_becomes_a_tunnel():
    """On a route that lists it, after the upstream's 101."""
    async with door(echo) as d:
        client = await d.connect()
        await client.send(request("GET /ws/a", *UPGRADE, token="Tr", close=False))
        head = await client.read_head()
        await client.send(b"la")
        assert b"lala" == await client.reader.readexactly(4)
        client.writer.close()
        await until(lambda: d.exchanges)

        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"connection: upgrade\r\nupgrade: websocket\r\n" in head
        assert (101, "") == told_of(d.only(), "status", "failure")


async def test_an_upgrade_is_not_asked_for_where_no_route_lists_it():
    """The request goes on as an ordinary one."""
    async with door() as d:
        told = await d.ask("GET /api/a", *UPGRADE, token="Tr")

        assert 200 == told.status
        assert d.upstream.only().names.isdisjoint({b"upgrade", b"connection"})


@pytest.mark.parametrize(
    ("path", "content_type", "cut"),
    [
        ("/api/a", b"text/event-stream", True),
        ("/api/a", b"audio/mpeg", False),
        ("/ending/a", b"audio/mpeg", True),
    ],
)
async def test_what_ends_with_its_token(path, content_type, cut):
    """Events do, songs do not, unless the route says so."""

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: 4\r\n\r\nla"
            % content_type
        )
        await asyncio.sleep(0.1)
        writer.write(b"la")

    routes = [*ROUTES, api("/ending/**", end_with_token=True)]
    async with door(script, routes=routes) as d:
        expiry = d.clock.now() + 0.03
        d.facts.known["Tshort"] = d.facts.facts("read", expires_at=expiry)
        answer = await d.exchange(request(f"GET {path}", token="Tshort"))

        assert answer.endswith(b"la<reset>" if cut else b"lala")
        assert ("token expired" if cut else "") == d.only().failure


async def test_what_has_no_expiry_does_not_end():
    """Userinfo tells none; the provider's word stands for it."""
    async with door(echo, hand=HandLoop()) as d:
        d.facts.known["Tlong"] = d.facts.facts("read", expires_at=None)
        client = await d.connect()
        await client.send(request("GET /ws/a", *UPGRADE, token="Tlong", close=False))
        await client.read_head()
        await client.send(b"la")

        assert b"lala" == await client.reader.readexactly(4)
        client.writer.close()
        await until(lambda: d.exchanges)


# ---------------------------------------------------------------------- reception


async def test_what_is_in_flight_is_counted():
    """For the metrics, and for the last word of a process that ends."""
    async with door() as d:
        d.facts.gate.clear()
        client = await d.connect()
        await client.send(request("GET /api/a", token="Tr"))
        await until(lambda: d.facts.asked)
        assert 1 == d.reception.in_flight
        d.facts.gate.set()
        await client.read_all()
        client.writer.close()

        assert 0 == d.reception.in_flight
