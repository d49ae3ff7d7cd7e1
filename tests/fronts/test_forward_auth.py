"""Proves the decision door's wire: what each engine sends, and what it is told."""

import asyncio
import dataclasses
import re

import pytest

from gateway.rules.keeping import Keeping, Trust
from tests.fronts.engines import desk, question
from tests.fronts.house import Told, door
from tests.wire.harness import until

DOORS = ("nginx", "nginx_refusal", "traefik", "caddy", "envoy")
LEAVING = ("nginx", "traefik", "caddy", "envoy")


def names(told: Told) -> set[bytes]:
    """Give the names of an answer's headers."""
    return {name for name, _ in told.headers}


@pytest.mark.parametrize("engine", LEAVING)
async def test_leave_tells_who_calls(engine):
    """A 200 without a body, and the identity for the upstream."""
    async with door() as d, desk(d) as asked:
        told = await asked.ask(engine, "GET /api/a", token="Tr")

        assert (200, b"") == (told.status, told.body)
        assert b"ada" == told.value(b"x-auth-subject")
        assert b"u" == told.value(b"x-gateway-upstream")
        assert b"no-store" == told.value(b"cache-control")
        assert None is told.value(b"authorization")
        assert engine == d.only().door


@pytest.mark.parametrize("engine", LEAVING)
async def test_nothing_in_leave_is_the_clients_word(engine):
    """Not an identity, not a target: what the answer lacks, the engine takes out."""
    spoofed = [
        "X-Auth-Subject: root",
        "X-Auth-Device: root",
        "X-Auth-Stale: root",
        "X-Gateway-Target: /root",
        "X-Gateway-Upstream: root",
        "X-Request-Id: root",
        "X-Envoy-Auth-Headers-To-Remove: accept",
    ]
    async with door() as d, desk(d) as asked:
        told = await asked.ask(engine, "GET /api/a", *spoofed, token="Tr")

        assert 200 == told.status
        assert not [value for _, value in told.headers if b"root" in value]
        removed = told.value(b"x-envoy-auth-headers-to-remove")
        assert (engine == "envoy") == (removed is not None)
        assert b"accept" not in (removed or b"").split(b",")


async def test_nginx_is_told_what_to_ask_the_upstream_for():
    """Without the token, and rewritten; others cannot use it."""
    async with door() as d, desk(d) as asked:
        told = await asked.ask("nginx", "GET /query/a?x=1&access_token=Tr&y")

        assert (200, b"/query/a?x=1&y") == (
            told.status,
            told.value(b"x-gateway-target"),
        )


@pytest.mark.parametrize("engine", ["traefik", "caddy", "envoy"])
async def test_who_cannot_take_a_token_out_of_the_query_gets_no_leave(engine):
    """It would be in the upstream's log."""
    async with door() as d, desk(d) as asked:
        told = await asked.ask(engine, "GET /query/a?access_token=Tr")

        assert 400 == told.status
        assert not d.upstream.requests


async def test_envoy_is_told_what_to_take_out():
    """All names of ours that the answer does not have, and what it showed us of them."""
    async with door() as d, desk(d) as asked:
        told = await asked.ask(
            "envoy", "GET /api/a", "X_Auth_Subject: root", "X-Auth-New: 1", token="Tr"
        )
        removed = told.value(b"x-envoy-auth-headers-to-remove")

        assert removed is not None
        assert {
            b"authorization",
            b"x-auth-device",
            b"x-auth-stale",
            b"x_auth_subject",
            b"x-auth-new",
        } <= set(removed.split(b","))
        assert b"x-auth-subject" not in removed.split(b",")


async def test_nginx_gets_two_refusals_and_asks_for_the_words():
    """auth_request knows 401 and 403 alone."""
    async with door() as d, desk(d) as asked:
        folded = await asked.ask("nginx", "GET /locked/a", token="Tx")
        worded = await asked.ask("nginx_refusal", "GET /locked/a", token="Tx")

        assert (403, b"") == (folded.status, folded.body)
        assert 400 == worded.status
        assert b'"code": "10075"' in worded.body
        assert ["nginx", "nginx_refusal"] == [each.door for each in d.exchanges]


@pytest.mark.parametrize("engine", DOORS)
async def test_a_challenge_reaches_the_client(engine):
    """Whoever refuses, the client is told what to bring."""
    async with door() as d, desk(d) as asked:
        told = await asked.ask(engine, "GET /api/a")

        assert 401 == told.status
        assert b'Bearer realm="books"' == told.value(b"www-authenticate")


async def test_leave_that_may_be_kept_says_how_long_and_for_what():
    """And has nothing in it that is this request's alone."""
    async with door() as d, desk(d) as asked:
        held = Keeping(30.0, {"idp": Trust(20.0)})
        d.front.setup = dataclasses.replace(d.front.setup, keeping=held)
        told = await asked.ask("nginx", "GET /public/a")
        refused = await asked.ask("nginx", "GET /api/a")

        assert b"max-age=30" == told.value(b"cache-control")
        assert b"authorization, referer" == told.value(b"vary")
        assert None is told.value(b"x-request-id")
        assert b"no-store" == refused.value(b"cache-control")


# ------------------------------------------------------- the form of the question


@pytest.mark.parametrize("engine", DOORS)
async def test_only_trusted_peers_may_ask(engine):
    """Nothing is judged, and nobody learns whether a token is good."""
    async with door() as d, desk(d, peers=("192.0.2.0/24",)) as asked:
        told = await asked.ask(engine, "GET /api/a", token="Tr")

        assert 403 == told.status
        assert ("untrusted_peer", engine) == (d.only().reason, d.only().door)
        assert [] == d.facts.asked


@pytest.mark.parametrize("manner", ["missing", "doubled", "empty"])
@pytest.mark.parametrize("engine", DOORS)
async def test_a_header_of_the_convention_is_there_exactly_once(engine, manner):
    """A missing one would be the client's to bring, and of two one is a lie."""
    path, method, own = question(engine, "GET", "/public/a", "books.example")
    changed = [line for line in own if line != "Host: 127.0.0.1"]
    async with door() as d, desk(d) as asked:
        for line in changed:
            name = line.partition(":")[0]
            others = [each for each in own if each != line]
            more = {"missing": [], "doubled": [line, line], "empty": [f"{name}:"]}
            answer = await asked.raw(path, *others, *more[manner], method=method)

            assert answer[8:12] in (b" 400", b" 403"), line

        assert not [each for each in d.exchanges if each.decision == "allow"]


@pytest.mark.parametrize(
    "changed",
    [
        "X-Forwarded-Method: get",
        "X-Forwarded-Method: GET, POST",
        "X-Forwarded-Proto: http, https",
        "X-Forwarded-Proto: gopher",
        "X-Forwarded-Host: books.example, evil.example",
        "X-Forwarded-Host: u@books.example",
        "X-Forwarded-Uri: http://books.example/public/a",
        "X-Forwarded-Uri: /public/a#/x",
        "X-Forwarded-Uri: /public/../api/a",
        "X-Forwarded-Uri: /public/a, /api/b",
        "X-Forwarded-Uri: public/a",
    ],
)
async def test_a_value_that_is_none_is_refused(changed):
    """The same strict reading as at the main door."""
    path, _, own = question("traefik", "GET", "/public/a", "books.example")
    name = changed.partition(":")[0]
    kept = [line for line in own if not line.startswith(f"{name}:")]
    async with door() as d, desk(d) as asked:
        told = await asked.send(path, *kept, changed)

        assert 400 == told.status
        assert "deny" == d.only().decision


@pytest.mark.parametrize("engine", ["nginx", "envoy"])
async def test_other_conventions_headers_mean_nothing(engine):
    """One path each: no guessing which of them the engine wrote."""
    lies = [
        "X-Forwarded-Method: OPTIONS",
        "X-Forwarded-Uri: /public/a",
        "X-Forwarded-Host: named.example",
        "X-Original-URL: /public/a",
        "X-Rewrite-URL: /public/a",
        "X-HTTP-Method-Override: OPTIONS",
        "Forwarded: host=named.example",
    ]
    async with door() as d, desk(d) as asked:
        told = await asked.ask(engine, "GET /api/a", *lies)

        assert 401 == told.status


async def test_traefiks_door_does_not_believe_nginxs_headers():
    """Nor the other way round."""
    path, _, own = question("nginx", "GET", "/public/a", "books.example")
    async with door() as d, desk(d) as asked:
        told = await asked.send("/traefik", *own)

        assert (400, path) == (told.status, "/nginx")


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
async def test_envoys_method_and_path_are_the_requests_own(method):
    """Whatever they are: no router stands before the reading."""
    async with door() as d, desk(d) as asked:
        told = await asked.ask("envoy", f"{method} /public/%61%0Ab?x=%zz")
        dotted = await asked.ask("envoy", f"{method} /public/..;/a")

        assert (400, 400) == (told.status, dotted.status)
        fine = await asked.ask("envoy", f"{method} /public/%61b?x=%zz")
        assert 200 == fine.status
        assert method == d.exchanges[-1].method


@pytest.mark.parametrize(
    "path", ["/", "/nginx/", "/nginx?x", "/envoy", "/NGINX", "/caddy/a", "/envoyer/a"]
)
async def test_other_paths_are_no_doors(path):
    """Nor is anything asked there."""
    async with door() as d, desk(d) as asked:
        told = await asked.send(path, "Host: books.example")

        assert 404 == told.status
        assert [] == d.exchanges


async def test_the_client_is_whom_a_trusted_hop_names():
    """The rightmost address that is no hop of ours, as at the main door."""
    async with door() as d, desk(d) as asked:
        forwarded = "X-Forwarded-For: 203.0.113.9, 192.0.2.7, 127.0.0.1"
        await asked.ask("nginx", "GET /public/a", forwarded)
        await asked.ask("nginx", "GET /public/a")

        assert ["192.0.2.7", "127.0.0.1"] == [each.peer for each in d.exchanges]


@pytest.mark.parametrize(("told", "scheme"), [("wss", "https"), ("ws", "http")])
async def test_a_websockets_scheme_is_understood(told, scheme):
    """Traefik names it so."""
    path, _, own = question("traefik", "GET", "/public/a", "books.example")
    async with door() as d, desk(d) as asked:
        await asked.send(path, *own[:-1], f"X-Forwarded-Proto: {told}")

        assert scheme == d.only().scheme


async def test_an_engine_that_goes_away_leaves_nothing_behind():
    """Its question ends with it; what is being learned is learned."""
    path, _, own = question("nginx", "GET", "/api/a", "books.example")
    told = [f"GET {path} HTTP/1.1", *own, "Authorization: Bearer Tr", "", ""]
    async with door() as d, desk(d) as asked:
        d.facts.gate.clear()
        _, writer = await asyncio.open_connection("127.0.0.1", asked.port)
        writer.write("\r\n".join(told).encode())
        await until(lambda: d.facts.asked)
        writer.close()
        await until(lambda: d.exchanges)
        d.facts.gate.set()

        assert (499, "client_gone") == (d.only().status, d.only().reason)


async def test_a_closing_door_makes_each_answer_the_last():
    """So that the engine looks for another."""
    async with door() as d, desk(d) as asked:
        asked.forward_auth.closing = True
        told = await asked.ask("nginx", "GET /public/a")

        assert b"close" == told.value(b"connection")


async def test_no_answer_tells_which_library_serves_it():
    """Some engines hand it on to clients."""
    async with door() as d, desk(d) as asked:
        for path in ("/nginx", "/none"):
            told = await asked.send(path, "Host: h")

            assert not [v for _, v in told.headers if re.search(b"(?i)aiohttp", v)]


@pytest.mark.parametrize(("route", "status"), [("public", 200), ("api", 421)])
async def test_traefik_names_the_route_it_has_chosen(route, status):
    """Its own reading of the path may have led it elsewhere."""
    path, _, own = question("traefik", "GET", "/public/a", "books.example")
    async with door() as d, desk(d) as asked:
        told = await asked.send(f"{path}/{route}", *own)

        assert status == told.status
