"""ottm end to end: opaque tokens, learned grants, and every error a 400 with a code."""

import json

import pytest

from tests.functional.harness import bearer, exchange, head
from tests.functional.partner import CALLBACK, FORM, Partner
from tests.functional.words import Worded, envelope

ME = "/membership/v1/me"
BENEFITS = "/membership/v1/benefits"
USERINFO = "/oauth2/v1/userinfo"


@pytest.fixture(scope="module")
def ottm(gateway):
    """A partner of ottm."""
    return Partner("ottm", gateway)


@pytest.fixture(scope="module")
def token(ottm):
    """A token with all scopes, for tests that do not spoil it."""
    return ottm.token()


def told(
    code: str, message: str, error: str, description: str, more: str = ""
) -> Worded:
    """A refusal beside which the standard's challenge tells the error as well."""
    challenge = (
        f'Bearer realm="ottm", error="{error}", error_description="{description}"'
    )
    return envelope(code, message, challenge + more)


INVALID = told(
    "10075", "Invalid oauth2 token", "invalid_token", "The access token is invalid"
)
INVALID_REQUEST = envelope("10051", "Invalid request")
INVALID_SCOPE = envelope("10071", "Invalid oauth2 scope")
# What the provider itself says has no challenge.
FROM_PROVIDER = {
    "10075": envelope("10075", "Invalid oauth2 token"),
    "10076": envelope("10076", "Unauthorized oauth2 client"),
    "10051": INVALID_REQUEST,
}


# ----------------------------------------------------------------------- allowed


def test_the_flow_ends_in_a_token_whose_grant_is_known(ottm):
    """Scope and expiry are learned from the token answer as it passes by."""
    answer = ottm.tokens()

    me = ottm.ask("GET", ME, token=answer["access_token"])
    benefits = ottm.ask("GET", BENEFITS, token=answer["access_token"])

    assert "openid profile" == answer["scope"]
    assert ("Bearer", 3599) == (answer["token_type"], answer["expires_in"])
    assert {"access_token", "refresh_token", "id_token"} < answer.keys()
    assert (200, 200) == (me.status, benefits.status)
    heard = me.json["gateway"]
    assert "e68a06bf9f2d4496882877cbecad27eb" == heard["x-auth-subject"]
    assert "demo" == heard["x-auth-client"]
    assert "openid profile" == heard["x-auth-scopes"]


def test_authorize_as_the_samples_write_it(ottm):
    """The query begins with `?&`: empty pairs are accepted, both ways."""
    asked = (
        "/auth/authorize?&scope=openid%20profile&response_type=code&state=xxx"
        f"&redirect_uri={CALLBACK}&client_id=demo"
    )
    page = ottm.ask("GET", asked)
    answer = ottm.decide(state="xxx")

    assert 200 == page.status
    assert (answer.header("Location") or "").startswith(f"{CALLBACK}?&code=")
    assert (answer.header("Location") or "").endswith("&state=xxx")


def test_userinfo_is_the_providers_own(ottm, token):
    """The token is passed on, and the answer comes back unchanged."""
    answer = ottm.ask("GET", USERINFO, token=token)

    assert 200 == answer.status
    assert {
        "sub": "e68a06bf9f2d4496882877cbecad27eb",
        "nickname": "test",
        "email": "test@flask.global",
    } == answer.json


def test_a_refreshed_token_is_learned_as_well(ottm):
    """And the old one goes on."""
    first = ottm.tokens()

    answer = ottm.refresh(first["refresh_token"])

    assert 200 == answer.status
    for token in (first["access_token"], answer.json["access_token"]):
        assert 200 == ottm.ask("GET", BENEFITS, token=token).status


# ----------------------------------------------------------------------- refused


def test_no_token(ottm):
    """10075, with the bare challenge for standard clients."""
    expected = envelope("10075", "Invalid oauth2 token", 'Bearer realm="ottm"')

    assert expected == ottm.ask("GET", ME).worded


def test_insufficient_scope(ottm):
    """10074: the token's scope does not cover this API."""
    token = ottm.token(scope="openid")
    expected = told(
        "10074",
        "Insufficient oauth2 scope",
        "insufficient_scope",
        "The access token does not grant a needed scope",
        ', scope="openid profile"',
    )

    assert 200 == ottm.ask("GET", ME, token=token).status
    assert expected == ottm.ask("GET", BENEFITS, token=token).worded


def test_unknown_token(ottm):
    """10075: the provider says so."""
    assert INVALID == ottm.ask("GET", ME, token="2oPLZgMJ7tsZT6e1fDJfnog3").worded


def test_refresh_token_as_access_token(ottm):
    """Opaque both; the provider's userinfo tells them apart."""
    token = ottm.tokens()["refresh_token"]

    assert INVALID == ottm.ask("GET", ME, token=token).worded


def test_id_token_as_access_token(ottm):
    """A JWT of the same provider, and yet no access token."""
    token = ottm.tokens()["id_token"]

    assert INVALID == ottm.ask("GET", ME, token=token).worded


def test_token_whose_grant_nobody_saw(ottm, sandbox):
    """The provider accepts it, but its scope was never learned: a new one cures that."""
    form = (
        f"grant_type=authorization_code&code={ottm.code()}&redirect_uri={CALLBACK}"
        "&client_id=demo&client_secret=demo-secret"
    ).encode()
    past_us = exchange(
        sandbox.port, head("POST", "/ottm/oauth2/v1/token", "localhost", [FORM], form)
    )
    token = past_us.json["access_token"]

    assert INVALID == ottm.ask("GET", ME, token=token).worded
    assert 200 == ottm.ask("GET", USERINFO, token=token).status


def test_malformed_token(ottm):
    """10075: *expired, malformed or otherwise invalid*."""
    expected = told(
        "10075",
        "Invalid oauth2 token",
        "invalid_request",
        "The access token is malformed",
    )

    assert expected == ottm.ask("GET", ME, token="a!b").worded


def test_two_tokens(ottm, token):
    """10051: in two headers, and in header and query."""
    expected = told(
        "10051",
        "Invalid request",
        "invalid_request",
        "The request carries its credentials in a wrong way",
    )
    twice = ottm.ask("GET", ME, bearer(token), token=token)
    both = ottm.ask("GET", f"{ME}?access_token={token}", token=token)

    assert expected == twice.worded
    assert expected == both.worded


def test_wrong_method(ottm, token):
    """405 keeps its status, and carries it as the code."""
    answer = ottm.ask("POST", ME, token=token, body=b"")

    status, headers, body = envelope(
        "405", "The resource does not allow this method", status=405
    )
    assert (status, {**headers, "allow": "GET, HEAD"}, body) == answer.worded


def test_unknown_route(ottm, token):
    """404 in the envelope."""
    expected = envelope("404", "There is no such resource", status=404)

    assert expected == ottm.ask("GET", "/membership/v2/me", token=token).worded


# ----------------------------------------------------------------------- revoked


def test_revoked_by_the_operator(ottm):
    """On the API and on userinfo, though the provider would still accept it."""
    token = ottm.token()
    assert 200 == ottm.ask("GET", ME, token=token).status

    ottm.gateway.revoke("ottm", token)

    assert INVALID == ottm.ask("GET", ME, token=token).worded
    assert INVALID == ottm.ask("GET", USERINFO, token=token).worded


def test_revoked_by_its_client(ottm):
    """The provider's own endpoint, routed through the gateway."""
    token = ottm.token()
    assert 200 == ottm.ask("GET", ME, token=token).status

    answer = ottm.revoke(token)

    assert 200 == answer.status
    assert INVALID == ottm.ask("GET", ME, token=token).worded


# -------------------------------------------------------- guarded OAuth endpoints


@pytest.mark.parametrize(
    "missing", ["scope", "response_type", "redirect_uri", "client_id"]
)
def test_authorize_without_a_required_parameter(ottm, missing):
    """10051."""
    assert INVALID_REQUEST == ottm.authorize(**{missing: None}).worded


def test_authorize_for_an_unknown_scope(ottm):
    """10071: not one of the allowed scopes."""
    assert INVALID_SCOPE == ottm.authorize(scope="openid email").worded


def test_the_samples_raw_space_is_a_400(ottm):
    """It breaks the request line: nothing behind it can be believed."""
    answer = ottm.ask("GET", "/auth/authorize?&scope=openid profile&client_id=demo")

    assert 400 == answer.status


@pytest.mark.parametrize("grant_type", ["password", "client_credentials", ""])
def test_unknown_grant_types(ottm, grant_type):
    """10051, before the provider sees them."""
    answer = ottm.post("token", grant_type=grant_type, **ottm.credentials)

    assert INVALID_REQUEST == answer.worded


def test_missing_client_credentials(ottm):
    """10051 too: 10076 is the provider's word."""
    answer = ottm.post("token", grant_type="refresh_token", refresh_token="a")

    assert INVALID_REQUEST == answer.worded


def test_a_grant_that_the_client_is_not_registered_for(ottm):
    """10076 comes from the provider, and passes unchanged."""
    partner = Partner("ottm", ottm.gateway, client="demo-code-only")
    refresh = partner.tokens()["refresh_token"]

    answer = partner.refresh(refresh)

    assert FROM_PROVIDER["10076"] == answer.worded
    assert {
        "error": {"code": "10076", "message": "Unauthorized oauth2 client"},
        "payload": None,
    } == json.loads(answer.body)


def test_userinfo_needs_a_token(ottm):
    """Refused by us without one, by the provider with a bad one."""
    without = ottm.ask("GET", USERINFO)
    bad = ottm.ask("GET", USERINFO, token="2oPLZgMJ7tsZT6e1fDJfnog3")

    assert (400, "10075") == (without.status, without.json["error"]["code"])
    assert FROM_PROVIDER["10075"] == bad.worded


def test_a_code_works_once(ottm):
    """10051, the provider's."""
    code = ottm.code()
    ottm.exchange(code)

    assert FROM_PROVIDER["10051"] == ottm.exchange(code).worded
