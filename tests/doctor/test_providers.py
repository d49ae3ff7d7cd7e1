import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from email.utils import formatdate
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.app import SystemClock
from gateway.doctor.finding import Finding
from gateway.doctor.providers import examine
from gateway.values import Secret
from tests.signing import SECRET, sign
from tests.verifiers.provider import RememberedGrants
from tests.wired import configured

Answer = Callable[[web.Request], web.Response]
CREDENTIALS = "client_id: api, client_secret: a-client-secret"


@asynccontextmanager
async def answering(answer: Answer) -> AsyncIterator[str]:
    """Run a provider that answers everything so; gives where it is."""
    app = web.Application()

    async def handle(request: web.Request) -> web.Response:
        await request.read()
        return answer(request)

    app.router.add_route("*", "/{path:.*}", handle)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server()
    try:
        yield str(server.make_url("")).rstrip("/")
    finally:
        await server.close()


async def found(settings: str, token: str | None = None) -> list[Finding]:
    """Look at a provider that is configured so."""
    text = f"providers: {{acme: {{any_client: true, {settings}}}}}\n"
    provider = configured(text).config.providers["acme"]
    return await examine(
        "acme",
        provider,
        grants=RememberedGrants(),
        clock=SystemClock(),
        token=None if token is None else Secret(token),
    )


def introspection(url: str) -> str:
    """Configure an introspection endpoint."""
    return f"verify: [introspection], introspection: {{url: '{url}', {CREDENTIALS}}}"


def says(value: Any, status: int = 200, **headers: str) -> Answer:
    """Answer everything with this JSON."""
    return lambda _: web.json_response(value, status=status, headers=headers)


INACTIVE = says({"active": False})


async def test_an_endpoint_that_says_no_is_as_it_should_be():
    """It was reached, it accepted us, and it knows an invented token for one."""
    async with answering(INACTIVE) as base:
        first, clock = await found(introspection(f"{base}/introspect?key=SECRET"))

    assert ("good", "provider acme: introspection") == (first.level, first.about)
    assert "accepts our credentials" in first.told
    assert "SECRET" not in first.told
    assert ("good", "provider acme: clock") == (clock.level, clock.about)


@pytest.mark.parametrize(
    ("answer", "level", "told", "todo"),
    [
        (
            says({}, 401),
            "bad",
            "does not accept our credentials (401)",
            "client_secret",
        ),
        (
            says({}, 403),
            "bad",
            "does not accept our credentials (403)",
            "may this client",
        ),
        (says({}, 404), "bad", "answered 404", "is the URL right"),
        (says({}, 503), "bad", "answered 503", "its log tells more"),
        (says({}, 302, Location="/x"), "bad", "answered 302", "the final URL"),
        (says({}, 429), "bad", "answered 429", "limits our questions"),
        (says({"hello": 1}), "bad", "no usable answer", "kind of endpoint"),
        (
            says({"active": True, "exp": 4e9}),
            "bad",
            "an invented token is good",
            "let in",
        ),
    ],
)
async def test_what_is_wrong_is_told_with_what_to_do(answer, level, told, todo):
    """Each answer that is not a no."""
    async with answering(answer) as base:
        first, *_ = await found(introspection(f"{base}/introspect"))

    assert level == first.level
    assert told in first.told
    assert todo in first.todo
    assert "a-client-secret" not in repr(first)


async def test_nobody_there_is_told(unused_tcp_port):
    """And there is no clock to compare."""
    (only,) = await found(introspection(f"http://127.0.0.1:{unused_tcp_port}/"))

    assert "bad" == only.level
    assert "Is it running there" in only.todo


@pytest.mark.parametrize(
    ("ahead", "level", "told"),
    [
        (0, "good", "within a few seconds"),
        (30, "warn", "ahead of ours"),
        (-30, "warn", "behind ours"),
        (3600, "bad", "ahead of ours"),
    ],
)
async def test_its_clock_is_compared_with_ours(ahead, level, told):
    """Expiry is judged by ours."""
    date = formatdate(time.time() + ahead, usegmt=True)  # noqa: TID251 -- real clocks
    async with answering(says({"active": False}, Date=date)) as base:
        _, clock = await found(introspection(f"{base}/introspect"))

    assert level == clock.level
    assert told in clock.told


async def test_a_date_that_a_cache_kept_is_no_clock():
    """It is old for a good reason."""
    date = formatdate(0, usegmt=True)
    async with answering(says({"active": False}, Date=date, Age="60")) as base:
        (only,) = await found(introspection(f"{base}/introspect"))

    assert "good" == only.level


# ---------------------------------------------------------------- the trap


def good(**claims: Any) -> str:
    """Make a token that has time left, also when all tests take theirs."""
    return sign({"exp": time.time() + 3600, **claims})  # noqa: TID251 -- real clocks


@pytest.mark.parametrize(
    ("token", "level", "told"),
    [
        (good(azp="api"), "bad", "the very client that asks"),
        (good(client_id="api"), "bad", "the very client that asks"),
        (good(azp="shop", aud="other"), "bad", "not in its audience"),
        (good(azp="shop", aud=["api"]), "warn", "called inactive"),
        (sign({"exp": 1}), "warn", "it expired"),
        ("opaque", "warn", "called inactive"),
        ("a.b.c", "warn", "called inactive"),
    ],
)
async def test_the_trap_of_the_introspecting_client_is_found(token, level, told):
    """Keycloak calls such tokens inactive (dotnet/AspNetCore.Docs#36588)."""
    async with answering(INACTIVE) as base:
        _, trap, _ = await found(introspection(f"{base}/introspect"), token)

    assert level == trap.level
    assert told in trap.told
    assert token not in repr(trap)


async def test_a_good_token_that_is_active_is_told():
    """No trap."""

    def answer(request: web.Request) -> web.Response:
        return web.json_response({"active": "GOOD" in bodies.pop(0), "exp": 4e9})

    bodies = ["", "GOOD"]
    async with answering(answer) as base:
        _, told, _ = await found(introspection(f"{base}/introspect"), "GOOD")

    assert ("good", "the token that was given is active") == (told.level, told.told)


async def test_where_keycloak_answers_the_trap_is_mentioned():
    """Before somebody falls into it."""
    path = "/realms/r/protocol/openid-connect/token/introspect"
    async with answering(INACTIVE) as base:
        _, note, _ = await found(introspection(base + path))

    assert "note" == note.level
    assert "--token-file" in note.todo


# ------------------------------------------------------- the other verifiers


async def test_keys_of_the_configuration_ask_nobody():
    """They are right, or the file had not been loaded."""
    (only,) = await found(f"verify: [jwt], jwt: {{algorithms: [HS256], key: {SECRET}}}")

    assert ("good", "1 key in the configuration; nobody is asked") == (
        only.level,
        only.told,
    )


JWK = {
    "kty": "OKP",
    "crv": "Ed25519",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
}


@pytest.mark.parametrize(
    ("document", "level", "told"),
    [
        ({"keys": [JWK]}, "good", "publishes 1 key"),
        ({"keys": []}, "bad", "not usable"),
        ({"hello": 1}, "bad", "not usable"),
    ],
)
async def test_published_keys_are_fetched(document, level, told):
    """As a first token would have them fetched."""
    async with answering(says(document)) as base:
        settings = f"verify: [jwt], jwt: {{algorithms: [EdDSA], jwks_url: '{base}/k'}}"
        first, _ = await found(settings)

    assert level == first.level
    assert told in first.told
    assert (level == "good") == (not first.todo)


async def test_discovery_is_followed_to_the_keys():
    """And the issuer must name itself as it is configured."""

    def answer(request: web.Request) -> web.Response:
        here = f"http://{request.host}"
        told = {"issuer": here, "jwks_uri": f"{here}/keys"}
        return web.json_response({"keys": [JWK]} if request.path == "/keys" else told)

    async with answering(answer) as base:
        settings = "verify: [jwt], jwt: {algorithms: [EdDSA], discovery: '%s'}"
        right, _ = await found(settings % base)
        wrong, _ = await found(settings % f"{base}/realm")

    assert ("good", "bad") == (right.level, wrong.level)
    assert "name itself exactly so" in wrong.todo


@pytest.mark.parametrize(
    ("answer", "level"),
    [
        (says({}, 401), "good"),
        (says({}, 400), "bad"),
        (says({"sub": "ada"}), "bad"),
    ],
    ids=["401", "400", "yes"],
)
async def test_userinfo_must_refuse_what_was_invented(answer, level):
    """In a way that `invalid_when` knows."""
    async with answering(answer) as base:
        first, *_ = await found(
            f"verify: [userinfo], assume_scopes: [a], userinfo: {{url: '{base}/me'}}"
        )

    assert level == first.level
    assert (level == "good") == (not first.todo)


async def test_what_is_learned_asks_nobody():
    """It is no question, but told: nothing is passed over."""
    async with answering(says({}, 401)) as base:
        told = await found(
            "verify: [learned, userinfo],"
            f" learned: {{token_endpoint: '{base}/token'}},"
            f" userinfo: {{url: '{base}/me'}}"
        )

    assert ["note", "good", "good"] == [each.level for each in told]
    assert "learned" in json.dumps([each.about for each in told])


async def test_a_token_that_is_refused_for_another_reason_is_told():
    """By our own word for it."""
    answers = [{"active": False}, {"active": True, "exp": 1}]
    async with answering(lambda _: web.json_response(answers.pop(0))) as base:
        _, told, _ = await found(introspection(f"{base}/introspect"), "GOOD")

    assert ("warn", "the token that was given is expired") == (told.level, told.told)


async def test_a_provider_that_falls_silent_meanwhile_is_told():
    """Between the invented token and the good one."""
    answers = [(200, {"active": False}), (503, {}), (503, {})]

    def answer(_: web.Request) -> web.Response:
        status, members = answers.pop(0)
        return web.json_response(members, status=status)

    async with answering(answer) as base:
        _, told, _ = await found(introspection(f"{base}/introspect"), "GOOD")

    assert ("bad", True) == (told.level, "answered 503" in told.told)


async def test_what_cannot_be_read_is_no_failure():
    """Neither a date nor the claims of what only looks like a JWT."""
    unreadable = f"{good().split('.')[0]}.!!.x"
    answer = says({"active": False}, Date="yesterday")
    async with answering(answer) as base:
        first, trap = await found(introspection(f"{base}/introspect"), unreadable)

    assert ("good", "warn") == (first.level, trap.level)
