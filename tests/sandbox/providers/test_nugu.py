from typing import Any

import jwt
import pytest

from gateway.sandbox.keys import SandboxKeys
from tests.sandbox.partner import CALLBACK, DEMO

MONTH = 30 * 24 * 3600
BAD_CLIENT = b'{"error":"invalid_client","error_description":"Bad client credentials"}'


def error(code: str, description: str) -> bytes:
    """Spell an error body as it is on the wire."""
    return f'{{"error":"{code}","error_description":"{description}"}}'.encode()


def read(token: str, keys: SandboxKeys) -> dict[str, Any]:
    """Check a token's signature and give its claims."""
    return jwt.decode(
        token, keys.nugu, algorithms=["HS256"], options={"verify_exp": False}
    )


async def test_code_returns_with_the_empty_state(partner):
    """`{redirect_uri}?code=…&state=`, as in the sample."""
    answer = await partner.decide("nugu", state="")
    code = answer.answered["code"]

    assert f"{CALLBACK}?code={code}&state=" == answer.headers["Location"]
    assert 20 == len(code)


async def test_token_answer_is_the_documents(partner, keys, clock):
    """Its members and claims; 68 years, rounded down; the device that was named."""
    code = await partner.code("nugu")
    reply = await partner.exchange("nugu", code)
    tokens = reply.json
    access = read(tokens["access_token"], keys)
    refresh = read(tokens["refresh_token"], keys)
    user, ticket = "ALDFAKK1B8ZR56315C5D", access["ext"]["tkn"]

    assert "application/json;charset=UTF-8" == reply.headers["Content-Type"]
    assert [
        "access_token",
        "token_type",
        "refresh_token",
        "expires_in",
        "jti",
    ] == list(tokens)
    assert ("Bearer", 2147483646) == (tokens["token_type"], tokens["expires_in"])
    assert [
        ("exp", int(clock.now()) + 1 + 2147483646),
        ("user_name", user),
        ("jti", tokens["jti"]),
        ("client_id", "demo"),
        ("scope", []),
        ("ext", {"usr": user, "poc": "demo", "dvc": "SERIAL1", "tkn": ticket}),
    ] == list(access.items())
    assert [
        ("exp", int(clock.now()) + MONTH),
        ("user_name", user),
        ("jti", refresh["jti"]),
        ("client_id", "demo"),
        ("scope", []),
        ("ati", tokens["jti"]),
        ("ext", access["ext"]),
    ] == list(refresh.items())
    assert (32, True) == (len(ticket), ticket.isupper())


async def test_renewed_refresh_token_is_the_old_one_with_a_new_ati(
    partner, keys, clock
):
    """It keeps its `jti` and its `exp`, and so ends when the first one would."""
    first = await partner.tokens("nugu")
    clock.advance(1000)
    second = (await partner.refresh("nugu", first["refresh_token"])).json
    before, after = (read(each["refresh_token"], keys) for each in (first, second))
    clock.advance(MONTH - 1000)
    late = await partner.refresh("nugu", second["refresh_token"])

    assert second["jti"] == after["ati"] != before["ati"]
    assert {**before, "ati": second["jti"]} == after
    assert b'{"error":"invalid_grant","error_description":"Invalid refresh token"}' == (
        late.body
    )


async def test_refused_code_is_named(partner):
    """The one answer that repeats what it was given: the sample does."""
    answer = await partner.exchange("nugu", "0rrbEjnOfqxIv6uNic6C")

    assert 400 == answer.status
    assert (
        b'{"error":"invalid_grant","error_description":'
        b'"Invalid authorization code: 0rrbEjnOfqxIv6uNic6C"}' == answer.body
    )


@pytest.mark.parametrize(
    "changes", [{"client_secret": "guess"}, {"client_id": None}, {"client_secret": ""}]
)
async def test_bad_credentials_are_challenged_by_a_form(partner, changes):
    """Client authentication is in the body only, hence the scheme `Form`."""
    answer = await partner.exchange("nugu", "code", **changes)

    assert (401, BAD_CLIENT) == (answer.status, answer.body)
    assert (
        'Form realm="NUGU", error="invalid_client",'
        ' error_description="Bad client credentials"'
        == answer.headers["WWW-Authenticate"]
    )


async def test_basic_is_not_for_the_token_endpoint(partner):
    """The document knows body parameters only."""
    answer = await partner.exchange(
        "nugu",
        "code",
        basic="Basic ZGVtbzpkZW1vLXNlY3JldA==",
        client_id=None,
        client_secret=None,
    )

    assert (401, BAD_CLIENT) == (answer.status, answer.body)


@pytest.mark.parametrize(
    ("form", "status", "body"),
    [
        (
            DEMO,
            400,
            error("invalid_request", "Invalid request"),
        ),
        (
            {**DEMO, "grant_type": "implicit"},
            400,
            error("unsupported_grant_type", "Unsupported grant type"),
        ),
        (
            {
                "client_id": "demo-code-only",
                "client_secret": "demo-code-only-secret",
                "grant_type": "refresh_token",
            },
            401,
            error("unauthorized_client", "Unauthorized client"),
        ),
    ],
)
async def test_token_endpoint_refuses_in_its_own_words(partner, form, status, body):
    """400 for the request, 401 for the client."""
    answer = await partner.post("nugu", "token", **form)

    assert (status, body) == (answer.status, answer.body)


async def test_other_redirect_uri_has_a_word_of_its_own(partner):
    """`redirect_uri_mismatch`, at both endpoints."""
    code = await partner.code("nugu")
    at_token = await partner.exchange("nugu", code, redirect_uri="https://other/")
    at_authorize = await partner.authorize("nugu", redirect_uri="https://other/")

    for answer in (at_token, at_authorize):
        assert (400, "redirect_uri_mismatch") == (answer.status, answer.json["error"])


@pytest.mark.parametrize(
    "data",
    [
        None,
        "",
        "not json",
        "[]",
        "{}",
        '{"deviceSerialNumber":""}',
        '{"deviceSerialNumber":7}',
        '{"deviceSerialNumber":"\\ud800"}',
        "[" * 1500,
    ],
)
async def test_data_must_name_a_device(partner, data):
    """JSON with a serial number that can be written down."""
    answer = await partner.authorize("nugu", data=data)

    assert 302 == answer.status
    assert "invalid_request" == answer.answered["error"]


async def test_samples_slip_is_an_invalid_request(partner):
    """`%3A%DEVICE…` lacks a quote, and its %DE is no UTF-8."""
    answer = await partner.ask(
        "GET",
        "/nugu/v1/auth/oauth/authorize?client_id=demo&response_type=code"
        f"&redirect_uri={CALLBACK}&scope=a&state="
        "&data=%7B%22deviceSerialNumber%22%3A%DEVICE_SERIAL_NUMBER%22%7D",
    )

    assert (400, "invalid_request") == (answer.status, answer.json["error"])


async def test_state_must_be_there(partner):
    """The table says required; the sample shows that it may be empty."""
    answer = await partner.authorize("nugu", state=None)

    assert {"error": "invalid_request", "error_description": "Invalid request"} == (
        answer.answered
    )


async def test_consent_page_names_the_device(partner):
    """There are no scopes to tick: the device is what is allowed."""
    page = await partner.authorize("nugu")

    assert b"SERIAL1" in page.body
    assert b"checkbox" not in page.body
