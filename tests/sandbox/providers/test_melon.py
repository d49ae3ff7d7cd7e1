import base64
from typing import Any

import jwt
import pytest

from gateway.sandbox.keys import SandboxKeys
from tests.sandbox.partner import CALLBACK, DEMO


def error(status: int, code: str, description: str) -> tuple[int, bytes]:
    """Spell an error as it is on the wire."""
    body = f'{{"error":"{code}","error_description":"{description}"}}'
    return status, body.encode()


BAD_CLIENT = error(401, "invalid_client", "Bad client credentials")
MALFORMED = error(
    400, "invalid_request", "A parameter is missing, repeated or malformed"
)


def basic(text: str) -> str:
    """Spell credentials as HTTP Basic."""
    return "Basic " + base64.b64encode(text.encode()).decode()


def read(token: str, keys: SandboxKeys) -> dict[str, Any]:
    """Check a token's signature and give its claims."""
    return jwt.decode(
        token, keys.melon, algorithms=["HS256"], options={"verify_exp": False}
    )


async def test_code_returns_as_in_the_guide(partner):
    """`callback?code=…&state=xyz`."""
    answer = await partner.decide("melon")

    assert 302 == answer.status
    assert (
        f"{CALLBACK}?code={answer.answered['code']}&state=xyz"
        == (answer.headers["Location"])
    )


async def test_token_answer_is_the_guides(partner, keys, clock):
    """Its members, its claims, in its order; a refresh token has `ati`, never `exp`."""
    tokens = await partner.tokens("melon", scope="streaming user-playlist-read")
    access = read(tokens["access_token"], keys)
    refresh = read(tokens["refresh_token"], keys)

    assert ["access_token", "token_type", "refresh_token", "expires_in"] == list(tokens)
    assert ("bearer", 299) == (tokens["token_type"], tokens["expires_in"])
    assert [
        ("sub", "YjY5NjJjMjY2ZTIwMTZhNzDzOY6MhKsaWo4HQp8e4zBSoONY3kPY"),
        ("scope", ["streaming", "user-playlist-read"]),
        ("name", "송근욱"),
        ("preferred_username", "마시마렁"),
        ("exp", int(clock.now()) + 300),
        ("authorities", ["ROLE_USER"]),
        ("jti", access["jti"]),
        ("client_id", "demo"),
    ] == list(access.items())
    assert [
        *list(access.items())[:2],
        ("ati", access["jti"]),
        *list(access.items())[2:4],
        ("authorities", ["ROLE_USER"]),
        ("jti", refresh["jti"]),
        ("client_id", "demo"),
    ] == list(refresh.items())


async def test_refresh_token_never_runs_out(partner, keys, clock):
    """Valid until the person destroys it; a renewed one names the new access token."""
    tokens = await partner.tokens("melon")
    clock.advance(10 * 365 * 24 * 3600.0)
    renewed = await partner.refresh("melon", tokens["refresh_token"])
    access = read(renewed.json["access_token"], keys)
    refresh = read(renewed.json["refresh_token"], keys)

    assert 200 == renewed.status
    assert access["jti"] == refresh["ati"]
    assert refresh["jti"] == read(tokens["refresh_token"], keys)["jti"]


async def test_client_may_use_basic_for_both_grants(partner):
    """Said in the guide; RFC 6749 §2.3.1 encodes both halves."""
    alone = {"client_id": None, "client_secret": None}
    code = await partner.code("melon")
    given = await partner.exchange(
        "melon", code, basic=basic("demo:demo%2Dsecret"), **alone
    )
    renewed = await partner.refresh(
        "melon", given.json["refresh_token"], basic=basic("demo:demo-secret"), **alone
    )

    assert [200, 200] == [given.status, renewed.status]


async def test_two_ways_to_authenticate_are_one_too_many(partner):
    """RFC 6749 §2.3."""
    code = await partner.code("melon")
    answer = await partner.exchange("melon", code, basic=basic("demo:demo-secret"))

    assert MALFORMED == (answer.status, answer.body)


@pytest.mark.parametrize(
    "changes",
    [
        {"client_secret": "guess"},
        {"client_id": "stranger"},
        {"client_id": None, "client_secret": None, "basic": basic("demo:guess")},
    ],
)
async def test_bad_credentials_are_challenged(partner, changes):
    """RFC 6749 §5.2: 401, with the scheme that would be accepted."""
    answer = await partner.exchange("melon", "code", **changes)

    assert BAD_CLIENT == (answer.status, answer.body)
    assert 'Basic realm="melon"' == answer.headers["WWW-Authenticate"]
    assert "application/json;charset=UTF-8" == answer.headers["Content-Type"]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (
            {"client_id": "demo"},
            error(401, "invalid_client", "Client credentials are missing"),
        ),
        (DEMO, MALFORMED),
        ({**DEMO, "grant_type": "authorization_code", "code": "x"}, MALFORMED),
        ({**DEMO, "grant_type": "refresh_token"}, MALFORMED),
        (
            {**DEMO, "grant_type": "password"},
            error(400, "unsupported_grant_type", "The grant type is not supported"),
        ),
        (
            {
                **DEMO,
                "grant_type": "authorization_code",
                "code": "x",
                "redirect_uri": CALLBACK,
            },
            error(400, "invalid_grant", "Invalid authorization code"),
        ),
        (
            {**DEMO, "grant_type": "refresh_token", "refresh_token": "x"},
            error(400, "invalid_grant", "Invalid refresh token"),
        ),
        (
            {
                "grant_type": "refresh_token",
                "client_id": "demo-code-only",
                "client_secret": "demo-code-only-secret",
            },
            error(400, "unauthorized_client", "The client may not do this"),
        ),
    ],
)
async def test_token_endpoint_refuses_in_rfc_6749s_words(partner, form, expected):
    """RFC 6749 §5.2."""
    answer = await partner.post("melon", "token", **form)

    assert expected == (answer.status, answer.body)


async def test_other_redirect_uri_is_an_invalid_grant(partner):
    """RFC 6749 §5.2 has no word of its own for it."""
    code = await partner.code("melon")
    answer = await partner.exchange("melon", code, redirect_uri="https://other/")

    assert error(400, "invalid_grant", "Redirect URI mismatch") == (
        answer.status,
        answer.body,
    )


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"scope": "streaming everything"}, "invalid_scope"),
        ({"scope": "user-private-read/streaming"}, "invalid_scope"),
        ({"scope": ""}, "invalid_request"),
        ({"scope": None}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": None}, "invalid_request"),
    ],
)
async def test_faults_travel_on_the_redirect(partner, changes, code):
    """RFC 6749 §4.1.2.1, once client and address are known."""
    answer = await partner.authorize("melon", **changes)

    assert 302 == answer.status
    assert answer.headers["Location"].startswith(f"{CALLBACK}?error={code}&")
    assert "xyz" == answer.answered["state"]
