"""Proves the guarded OAuth endpoints: what is refused, learned, revoked, passed on."""

import json
from collections.abc import Mapping
from urllib.parse import urlencode

import pytest

from gateway.values import Invalid, MarkKind, Reason, RouteKind, Timeouts
from tests.fronts.house import (
    METADATA,
    ROUTES,
    Door,
    Received,
    Told,
    door,
    oauth,
    read_responses,
    request,
)
from tests.wire.harness import Script, replies, until

FORM = "Content-Type: application/x-www-form-urlencoded"
CODE = {
    "grant_type": "authorization_code",
    "code": "C1",
    "redirect_uri": "https://partner.example/cb",
    "client_id": "shop",
    "client_secret": "S1",
}
GRANT = {
    "access_token": "Tnew",
    "token_type": "Bearer",
    "expires_in": 300,
    "scope": "read write",
}


def answer(body: object, status: int = 200, *lines: str) -> bytes:
    """Write a provider's answer."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = [f"HTTP/1.1 {status} X", "Content-Type: application/json", *lines]
    return "\r\n".join([*head, f"Content-Length: {len(text)}", "", ""]).encode() + text


def answering(body: object, status: int = 200, *lines: str):
    """Make the upstream answer so."""
    return lambda _: answer(body, status, *lines)


async def post(
    d: Door, path: str, form: Mapping[str, object] | bytes, *lines: str
) -> Told:
    """Post a form."""
    body = form if isinstance(form, bytes) else urlencode(form).encode()
    return await d.ask(f"POST {path}", FORM, *lines, body=body)


def error(told: Told) -> str:
    """Give the error code of a refusal."""
    return str(json.loads(told.body)["error"])


# ---------------------------------------------------------------------- authorize

AUTHORIZE = {
    "response_type": "code",
    "client_id": "shop",
    "redirect_uri": "https://partner.example/cb",
    "scope": "read",
    "state": "x",
}


async def test_a_good_authorization_request_passes_as_it_is():
    """No token is asked for; the query is not touched."""
    query = urlencode(AUTHORIZE) + "&access_token=x"
    async with door() as d:
        told = await d.ask(f"GET /oauth/authorize?{query}", "Cookie: session=1")

        assert 200 == told.status
        assert f"/oauth/authorize?{query}".encode() == d.upstream.only().target
        assert [b"session=1"] == d.upstream.only().values(b"cookie")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"client_id": ""}, "invalid_request"),
        ({"redirect_uri": "//evil.example"}, "invalid_request"),
    ],
)
async def test_a_bad_authorization_request_is_refused_and_never_redirected(
    change, code
):
    """400 in the provider's form: a redirect would be the attacker's."""
    async with door() as d:
        told = await d.ask(f"GET /oauth/authorize?{urlencode({**AUTHORIZE, **change})}")

        assert (400, code) == (told.status, error(told))
        assert told.value(b"location") is None
        assert b"no-store" == told.value(b"cache-control")
        assert not d.upstream.raw


# ------------------------------------------------------------------ token: the form


async def test_a_good_token_request_passes_as_it_came():
    """Byte for byte, but that the answer must be readable to us."""
    body = urlencode(CODE).encode()
    async with door() as d:
        d.upstream.answer = answering(GRANT, 200, "X-A: b", "Set-Cookie: c=d")
        told = await post(
            d, "/oauth/token", CODE, "Accept-Encoding: gzip, br", "X-B: c"
        )
        received = d.upstream.only()

        assert (200, GRANT) == (told.status, json.loads(told.body))
        assert (b"b", b"c=d") == (told.value(b"x-a"), told.value(b"set-cookie"))
        assert ("POST", b"/oauth/token", body) == (
            received.method,
            received.target,
            received.body,
        )
        assert [b"identity"] == received.values(b"accept-encoding")
        assert [b"%d" % len(body)] == received.values(b"content-length")
        assert [b"c"] == received.values(b"x-b")


async def test_a_chunked_form_is_sent_on_with_its_length():
    """It was read whole, so its length is known; Basic credentials pass."""
    body = b"grant_type=client_credentials"
    async with door() as d:
        d.upstream.answer = answering(GRANT)
        raw = request(
            "POST /oauth/token",
            FORM,
            "Transfer-Encoding: chunked",
            "Authorization: Basic c2hvcDpTMQ==",
        ) + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        (told,) = read_responses(await d.exchange(raw))
        received = d.upstream.only()

        assert 200 == told.status
        assert body == received.body
        assert {b"transfer-encoding", b"expect"}.isdisjoint(received.names)
        assert [b"Basic c2hvcDpTMQ=="] == received.values(b"authorization")
        assert ["shop"] == [grant.client for _, _, grant in d.ledger.grants]


@pytest.mark.parametrize(
    ("form", "lines", "status", "code"),
    [
        ({**CODE, "code": ""}, [], 400, "invalid_request"),
        ({**CODE, "grant_type": "password"}, [], 400, "unsupported_grant_type"),
        (
            {"grant_type": "refresh_token", "refresh_token": "R"},
            [],
            401,
            "invalid_client",
        ),
        (b"code=1&code=2", [], 400, "invalid_request"),
        (b"%zz", [], 400, "invalid_request"),
        (b"", [], 401, "invalid_client"),
        (CODE, ["Content-Encoding: gzip"], 400, "invalid_request"),
        (CODE, ["Authorization: Basic c2hvcDpTMQ=="], 400, "invalid_request"),
    ],
)
async def test_a_bad_token_request_is_refused_before_the_provider_sees_it(
    form, lines, status, code
):
    """In the provider's own error form."""
    async with door() as d:
        told = await post(d, "/oauth/token", form, *lines)

        assert (status, code) == (told.status, error(told))
        assert b"no-store" == told.value(b"cache-control")
        assert "token" == d.only().route.removeprefix("oauth-")
        assert not d.upstream.raw


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_provider_may_insist_on_https(scheme):
    """As a trusted proxy tells it; a client's own word does not count."""
    forwarded = f"X-Forwarded-Proto: {scheme}"
    async with door(trusted="127.0.0.0/8") as trusting, door() as doubting:
        trusting.upstream.answer = answering(GRANT)
        told = await post(trusting, "/melon/token", CODE, forwarded)
        doubted = await post(doubting, "/melon/token", CODE, forwarded)

        assert (200 if scheme == "https" else 400) == told.status
        assert 400 == doubted.status
        assert "https_required" == doubting.only().reason
        assert not doubting.upstream.raw


@pytest.mark.parametrize(
    ("header", "body"),
    [
        ("Content-Length: 65537", b""),
        ("Content-Length: 65537", b"x" * 65_537),
        ("Transfer-Encoding: chunked", b"10001\r\n" + b"x" * 65_537 + b"\r\n0\r\n\r\n"),
    ],
)
async def test_a_form_over_64_kib_is_refused(header, body):
    """Held bodies are bounded."""
    async with door() as d:
        raw = request("POST /oauth/token", FORM, header) + body
        (told,) = read_responses(await d.exchange(raw))

        assert 413 == told.status
        assert not d.upstream.raw


async def test_a_form_is_asked_for_only_by_who_may_send_it():
    """The endpoint needs no token, so whoever waits hears 100 Continue."""
    async with door() as d:
        d.upstream.answer = answering(GRANT)
        body = urlencode(CODE).encode()
        client = await d.connect()
        await client.send(
            request(
                "POST /oauth/token",
                FORM,
                "Expect: 100-continue",
                f"Content-Length: {len(body)}",
            )
        )
        interim = await client.read_head()
        await client.send(body)
        final = await client.read_all()
        client.writer.close()

        assert b"HTTP/1.1 100 Continue\r\n\r\n" == interim
        assert final.startswith(b"HTTP/1.1 200 ")


async def test_a_broken_form_is_a_bad_message():
    """The provider is not asked with half a form."""
    async with door() as d:
        raw = (
            request("POST /oauth/token", FORM, "Transfer-Encoding: chunked") + b"x\r\n"
        )
        (told,) = read_responses(await d.exchange(raw))

        assert 400 == told.status
        assert "bad_message" == d.only().reason
        assert not d.upstream.raw


async def test_a_client_that_goes_before_its_form_is_there_is_recorded():
    """The provider is not asked in its name."""
    async with door() as d:
        client = await d.connect()
        await client.send(request("POST /oauth/token", FORM, "Content-Length: 9"))
        await until(lambda: d.reception.in_flight)
        client.writer.close()
        await until(lambda: d.exchanges)

        assert (499, "client_gone") == (d.only().status, d.only().reason)
        assert not d.upstream.raw


# ---------------------------------------------------------------- token: the grant


async def test_a_grant_is_learned_before_the_client_has_its_token():
    """Client, scopes and end; what was known of the token is forgotten."""
    async with door() as d:
        learned: list[int] = []

        def answering_later(_: Received) -> bytes:
            d.clock.advance(5)
            return answer(GRANT)

        d.upstream.answer = answering_later
        client = await d.connect()
        body = urlencode(CODE).encode()
        asked_at = d.clock.now()
        await client.send(request("POST /oauth/token", FORM, body=body))
        await client.read_head()
        learned.append(len(d.ledger.grants))
        await client.read_all()
        client.writer.close()
        ((provider, token, grant),) = d.ledger.grants

        assert [1] == learned
        assert ("idp", "Tnew") == (provider, token)
        assert frozenset({"read", "write"}) == grant.scopes
        assert ("idp", "shop", asked_at, asked_at + 300) == (
            grant.provider,
            grant.client,
            grant.issued_at,
            grant.expires_at,
        )
        assert ["Tnew"] == d.facts.forgotten
        assert "" == d.only().failure


@pytest.mark.parametrize(
    "path",
    ["/elsewhere/token", "/other/token"],
    ids=["another path", "another origin beside it"],
)
async def test_only_the_configured_endpoint_teaches(path):
    """Whoever could answer elsewhere could grant himself anything."""
    async with door() as d:
        d.upstream.answer = answering(GRANT)
        told = await post(d, path, CODE)

        assert 200 == told.status
        assert [] == d.ledger.grants
        assert [] == d.facts.forgotten


async def test_a_provider_without_an_endpoint_teaches_nothing():
    """Nothing is learned that nobody asked to learn."""
    async with door(teaching=False) as d:
        d.upstream.answer = answering(GRANT)
        await post(d, "/oauth/token", CODE)

        assert [] == d.ledger.grants
        assert "<Guards: 0 teaching>" == repr(d.front.setup.guards)


@pytest.mark.parametrize("length", [True, False])
async def test_a_routes_own_body_limit_counts(length):
    """Announced or found while reading; the provider sees nothing."""
    body = urlencode(CODE).encode()
    async with door() as d:
        if length:
            told = await post(d, "/tight/token", body)
        else:
            chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
            head = request("POST /tight/token", FORM, "Transfer-Encoding: chunked")
            (told,) = read_responses(await d.exchange(head + chunks))

        assert 413 == told.status
        assert not d.upstream.raw


async def test_a_routes_own_deadline_counts():
    """A provider that is too slow for this route is a 504."""

    async def script(reader, writer):
        await reader.read()

    async with door(script) as d:
        form = {"grant_type": "client_credentials", "client_id": "a"}
        told = await post(d, "/tight/token", form)

        assert 504 == told.status


async def test_a_host_that_the_client_chooses_teaches_nothing():
    """Another virtual host of the provider's origin could grant anything."""
    async with door() as d:
        d.upstream.answer = answering(GRANT)
        told = await post(d, "/any/token", CODE)

        assert 200 == told.status
        assert b"/oauth/token" == d.upstream.only().target
        assert not d.ledger.grants


async def test_the_rewritten_path_is_the_one_that_counts():
    """A route with another prefix leads to the same endpoint."""
    async with door(trusted="127.0.0.0/8") as d:
        d.upstream.answer = answering(GRANT)
        await post(d, "/melon/token", CODE, "X-Forwarded-Proto: https")

        assert b"/oauth/token" == d.upstream.only().target
        assert 1 == len(d.ledger.grants)


@pytest.mark.parametrize(
    ("status", "body", "failure"),
    [
        (201, GRANT, ""),
        (400, {"error": "invalid_grant"}, ""),
        (200, b"<html>", "token answer not understood"),
        (
            200,
            b'{"access_token":"a","access_token":"b"}',
            "token answer not understood",
        ),
        (200, {**GRANT, "token_type": "mac"}, "token answer teaches nothing"),
        (200, {**GRANT, "expires_in": "300"}, "token answer teaches nothing"),
    ],
)
async def test_what_teaches_nothing_is_passed_on_all_the_same(status, body, failure):
    """The client's answer is the provider's; what we made of it is in the record."""
    async with door() as d:
        d.upstream.answer = answering(body, status)
        told = await post(d, "/oauth/token", CODE)

        assert status == told.status
        assert [] == d.ledger.grants
        assert (status, failure) == (d.only().status, d.only().failure)


async def test_a_grant_that_cannot_be_kept_is_noted_and_the_answer_given():
    """The code is spent: the client must have its token."""
    async with door() as d:
        d.ledger.full = True
        d.upstream.answer = answering(GRANT)
        told = await post(d, "/oauth/token", CODE)

        assert 200 == told.status
        assert "grant could not be stored" == d.only().failure


async def test_an_answer_without_scope_is_a_grant_of_unknown_scope():
    """It teaches whose token it is and how long it lives."""
    async with door() as d:
        d.upstream.answer = answering({**GRANT, "scope": None})
        await post(d, "/oauth/token", CODE)

        assert [None] == [grant.scopes for _, _, grant in d.ledger.grants]


# --------------------------------------------------------------- token: the renewal

RENEWAL = {
    "grant_type": "refresh_token",
    "refresh_token": "R1",
    "client_id": "shop",
    "client_secret": "S1",
}


@pytest.mark.parametrize(
    ("path", "code"),
    [("/oauth/token", "invalid_grant"), ("/ottm/token", {"code": "10075"})],
)
async def test_what_is_revoked_is_not_renewed(path, code):
    """In the provider's own form, before the provider sees it."""
    ottm = oauth(RouteKind.OAUTH_TOKEN, "/ottm/token", "POST", dialect="ottm")
    async with door(routes=[*ROUTES, ottm]) as d:
        d.ledger.barred.add("shop")
        d.ledger.barred_at = d.clock.now()
        told = await post(d, path, RENEWAL)
        refused = json.loads(told.body)["error"]

        assert 400 == told.status
        assert code == refused or code.items() <= refused.items()
        assert "grant_revoked" == d.only().reason
        assert not d.upstream.raw


async def test_a_client_in_the_header_is_a_client_too():
    """HTTP Basic (RFC 6749 §2.3.1)."""
    form = {"grant_type": "refresh_token", "refresh_token": "R1"}
    async with door() as d:
        d.ledger.barred.add("shop")
        told = await post(d, "/oauth/token", form, "Authorization: Basic c2hvcDpTMQ==")

        assert (400, "invalid_grant") == (told.status, error(told))


async def test_others_renew_and_codes_are_exchanged():
    """The mark is about what was issued before it: a new login is welcome."""
    async with door() as d:
        d.ledger.barred.add("shop")
        d.ledger.barred_at = d.clock.now()
        d.upstream.answer = answering(GRANT)
        told = [
            await post(d, "/oauth/token", {**RENEWAL, "client_id": "kiosk"}),
            await post(d, "/oauth/token", CODE),
        ]

        assert [200, 200] == [each.status for each in told]


@pytest.mark.parametrize("path", ["/oauth/token", "/elsewhere/token"])
async def test_who_logged_in_again_renews_again(path):
    """Its new refresh token was seen passing, where grants are learned or not."""
    async with door() as d:
        d.ledger.barred.add("shop")
        d.ledger.barred_at = d.clock.now()
        d.clock.advance(1)
        d.upstream.answer = answering({**GRANT, "refresh_token": "R2"})
        await post(d, path, CODE)
        renewed = await post(d, path, {**RENEWAL, "refresh_token": "R2"})
        stolen = await post(d, path, RENEWAL)

        assert (200, 400) == (renewed.status, stolen.status)


async def test_a_host_that_the_client_chooses_vouches_for_no_refresh_token():
    """Another virtual host of the provider's origin could say anything is new."""
    async with door() as d:
        d.ledger.barred.add("shop")
        d.ledger.barred_at = d.clock.now()
        d.clock.advance(1)
        d.upstream.answer = answering({**GRANT, "refresh_token": "R1"})
        await post(d, "/any/token", CODE)

        assert 400 == (await post(d, "/oauth/token", RENEWAL)).status


async def test_a_subject_that_the_refresh_token_names_is_judged():
    """Where `jwt` reads it; what cannot be read now is a 503, never a guess."""
    async with door(reading=True) as d:
        d.ledger.barred.add("marked")
        d.facts.known |= {
            "R1": Invalid(Reason.REFRESH_TOKEN, client="marked"),
            "R2": Invalid(Reason.REFRESH_TOKEN, client="shop"),
        }
        d.upstream.answer = answering(GRANT)
        told = [
            await post(d, "/oauth/token", {**RENEWAL, "refresh_token": token})
            for token in ("R1", "R2", "Tdown", "Tstore")
        ]

        assert [400, 200, 503, 503] == [each.status for each in told]
        assert 1 == len(d.upstream.requests)


async def test_a_refresh_token_that_cannot_be_remembered_is_noted():
    """The client has its tokens; renewing them may be refused later."""
    async with door(reading=True) as d:
        d.ledger.barred.add("marked")
        d.upstream.answer = answering({**GRANT, "refresh_token": "Tdown"})
        told = await post(d, "/oauth/token", CODE)

        assert 200 == told.status
        assert "refresh token could not be remembered" == d.only().failure


# ---------------------------------------------------------------- token: the answer


@pytest.mark.parametrize(
    ("script", "status", "reason"),
    [
        (replies(b"HTTP/1.1 999 ?\r\n\r\n"), 502, "upstream_invalid"),
        (replies(answer(b"x" * 65_537)), 502, "upstream_invalid"),
        (replies(b""), 504, "upstream_timeout"),
    ],
    ids=["in doubt", "too large", "silent"],
)
async def test_a_provider_that_fails_is_told_in_its_form(
    script: Script, status: int, reason: str
):
    """Never a verdict on the client; and never asked twice."""
    async with door(script, timeouts=Timeouts(first_byte=0.05)) as d:
        told = await post(d, "/oauth/token", CODE)

        assert status == told.status
        assert ("allow", reason, reason) == (
            d.only().decision,
            d.only().reason,
            d.only().failure,
        )


async def test_a_provider_that_is_not_there_is_a_502():
    """Its code was not spent."""
    async with door() as d:
        told = await post(d, "/dead/token", CODE)

        assert 502 == told.status
        assert "upstream_unreachable" == d.only().reason


async def test_a_request_that_has_been_here_is_a_loop():
    """RFC 9110 §7.6, here as everywhere."""
    async with door() as d:
        told = await post(d, "/oauth/token", CODE, "Via: 1.1 gateway-test")

        assert 508 == told.status
        assert not d.upstream.raw


async def test_an_answer_without_a_body_is_passed_on_without_one():
    """204 has none."""
    async with door() as d:
        d.upstream.answer = lambda _: b"HTTP/1.1 204 No Content\r\n\r\n"
        told = await post(d, "/oauth/token", CODE)

        assert (204, None) == (told.status, told.value(b"content-length"))


async def test_a_client_that_goes_while_the_provider_answers_loses_nothing_of_the_grant():
    """The token exists; whoever shows it later is known."""
    async with door() as d:
        client = await d.connect()

        def answering_after_the_client_left(_: Received) -> bytes:
            client.writer.transport.abort()
            return answer(GRANT)

        d.upstream.answer = answering_after_the_client_left
        await client.send(
            request("POST /oauth/token", FORM, body=urlencode(CODE).encode())
        )
        await until(lambda: d.exchanges)

        assert 1 == len(d.ledger.grants)


async def test_a_fault_of_ours_is_an_answer():
    """Reported, and told with an id."""
    async with door() as d:
        d.facts.known["Tcrash"] = RuntimeError()
        told = await post(
            d,
            "/oauth/revoke",
            {"token": "Tcrash", "client_id": "shop", "client_secret": "S1"},
        )
        (context,) = d.crashes
        d.crashes.clear()

        assert 500 == told.status
        assert isinstance(context["exception"], RuntimeError)


# --------------------------------------------------------------------- revocation

OWNER = {"client_id": "shop", "client_secret": "S1"}


@pytest.mark.parametrize(
    ("form", "marks"),
    [
        ({"token": "Tr", **OWNER}, [(MarkKind.TOKEN, "Tr")]),
        ({"token": "Trefresh", **OWNER}, [(MarkKind.TOKEN_ID, "id-1")]),
        ({"token": "Tr", "client_id": "shop"}, []),
        ({"token": "Tr"}, []),
        ({"token": "Tr", "client_id": "other", "client_secret": "S1"}, []),
        ({"token": "Tx", **OWNER}, []),
        ({"token": "Tnobodys", **OWNER}, []),
        ({"token": "Tidless", **OWNER}, []),
        ({"token": "Tdown", **OWNER}, []),
        ({"token": "Tstore", **OWNER}, []),
    ],
)
@pytest.mark.parametrize("remembered", [True, False])
async def test_a_200_forgets_and_marks_only_a_clients_own_token(
    form, marks, remembered
):
    """RFC 7009 §2.2: a 200 is also the answer to somebody else's token."""
    async with door() as d:
        refused = Reason.REFRESH_TOKEN
        d.facts.known |= {
            "Trefresh": Invalid(refused, client="shop", renews="id-1"),
            "Tidless": Invalid(refused, client="shop"),
            "Tnobodys": d.facts.facts("read", client=None),
        }
        if remembered and form["token"] not in ("Tdown", "Tstore"):
            d.facts.remembered.add(form["token"])
        told = await post(d, "/oauth/revoke", form)

        assert 200 == told.status
        assert [form["token"]] == d.facts.forgotten
        assert marks == [(mark.kind, mark.name) for mark in d.ledger.marks]
        assert "" == d.only().failure


async def test_a_mark_lives_as_long_as_its_token():
    """No longer is needed, no shorter is safe."""
    async with door() as d:
        await post(d, "/oauth/revoke", {"token": "Tr", **OWNER})

        assert [d.clock.now() + 300] == [mark.expires_at for mark in d.ledger.marks]


async def test_a_refused_revocation_changes_nothing():
    """The provider said no, so the token is good."""
    async with door() as d:
        d.upstream.answer = answering({"error": "invalid_client"}, 401)
        told = await post(d, "/oauth/revoke", {"token": "Tr", **OWNER})

        assert 401 == told.status
        assert [] == d.facts.forgotten
        assert [] == d.ledger.marks


async def test_a_revocation_that_never_arrived_changes_nothing():
    """The client hears that it failed."""
    revoke = next(route for route in ROUTES if route.id == "oauth-revoke")
    dead = oauth(revoke.kind, "/dead/revoke", "POST", upstream="dead")
    async with door(routes=[*ROUTES, dead]) as d:
        told = await post(d, "/dead/revoke", {"token": "Tr", **OWNER})

        assert 502 == told.status
        assert [] == d.facts.forgotten


async def test_a_malformed_revocation_is_refused():
    """Before anybody is asked about anything."""
    async with door() as d:
        told = await post(d, "/oauth/revoke", {"token": "", **OWNER})

        assert (400, "invalid_request") == (told.status, error(told))
        assert [] == d.facts.asked
        assert not d.upstream.raw


async def test_a_mark_that_cannot_be_kept_is_noted():
    """The provider has revoked it; our own memory of it is gone."""
    async with door() as d:
        d.ledger.full = True
        told = await post(d, "/oauth/revoke", {"token": "Tr", **OWNER})

        assert 200 == told.status
        assert "revocation mark could not be stored" == d.only().failure
        assert ["Tr"] == d.facts.forgotten


# ----------------------------------------------------------------------- userinfo


async def test_userinfo_asks_the_provider_itself():
    """The token goes on as it is, known or not; nobody else is asked."""
    async with door() as d:
        told = await d.ask("GET /oauth/userinfo", token="Tunheard")

        assert 200 == told.status
        assert [b"Bearer Tunheard"] == d.upstream.only().values(b"authorization")
        assert [] == d.facts.asked


async def test_userinfo_refuses_a_revoked_token():
    """A mark counts here too."""
    async with door() as d:
        d.ledger.revoked.add("Tr")
        told = await d.ask("GET /oauth/userinfo", token="Tr")

        assert 401 == told.status
        assert "revoked" == d.only().reason
        assert not d.upstream.raw


# ------------------------------------------------------------- protected resources


async def test_a_resource_describes_itself():
    """RFC 9728 §3.2: without a token, at any page's request, and nothing upstream."""
    async with door(routes=[*ROUTES, METADATA]) as d:
        told = await d.ask("GET /metadata", token="whatever")
        head = await d.ask("HEAD /metadata")
        posted = await d.ask("POST /metadata", body=b"x")

        assert (200, METADATA.document) == (told.status, told.body)
        assert b"application/json" == told.value(b"content-type")
        assert b"*" == told.value(b"access-control-allow-origin")
        assert (200, b"") == (head.status, head.body)
        assert (405, b"GET, HEAD") == (posted.status, posted.value(b"allow"))
        assert ("allow", "metadata") == (
            d.exchanges[0].decision,
            d.exchanges[0].reason,
        )
        assert not d.upstream.requests
