"""melon's own OAuth endpoints, guarded: forms are judged before the provider sees them."""

import base64

import pytest

from tests.functional.partner import FORM, Partner
from tests.functional.words import refusal

LIKES = "/oauth/likes"

BAD_FORM = refusal(
    400, "invalid_request", "A parameter is missing, repeated or malformed"
)


@pytest.fixture(scope="module")
def melon(gateway):
    """A partner of melon."""
    return Partner("melon", gateway)


def test_refusing_consent_goes_back_in_the_guides_words(melon):
    """`error=access_denied&error_description=User%20denied%20access&state=xyz`."""
    answer = melon.decide("deny")

    assert 302 == answer.status
    assert (
        "https://partner.site.com/callback"
        "?error=access_denied&error_description=User%20denied%20access&state=xyz"
    ) == answer.header("Location")


@pytest.mark.parametrize(
    "missing", ["response_type", "client_id", "redirect_uri", "scope"]
)
def test_authorize_without_a_required_parameter(melon, missing):
    """Answered directly, never by a redirect."""
    assert BAD_FORM == melon.authorize(**{missing: None}).worded


def test_authorize_with_a_repeated_parameter(melon):
    """RFC 6749 §3.1."""
    asked = "/oauth/authorize?response_type=code&client_id=demo&client_id=demo"

    assert BAD_FORM == melon.ask("GET", asked).worded


def test_authorize_for_an_unknown_scope(melon):
    """Only the guide's five scopes are known."""
    expected = refusal(
        400, "invalid_scope", "A requested scope is unknown or malformed"
    )

    assert expected == melon.authorize(scope="streaming everything").worded


def test_the_guides_slip_reaches_the_provider(melon):
    """A list joined by `/` is the provider's to judge; it is no 400 of ours."""
    answer = melon.authorize(scope="user-private-read/streaming")

    assert 302 == answer.status
    assert "error=invalid_scope" in (answer.header("Location") or "")


def test_authorize_wants_the_code_flow(melon):
    """The implicit flow is not there."""
    expected = refusal(
        400, "unsupported_response_type", "The response type is not supported"
    )

    assert expected == melon.authorize(response_type="token").worded


def test_the_endpoints_methods_are_the_guides(melon):
    """GET only, and POST only."""
    authorize = melon.ask("POST", "/oauth/authorize", FORM, body=b"a=b")
    token = melon.ask("GET", "/oauth/token")

    assert (405, "GET, HEAD") == (authorize.status, authorize.header("Allow"))
    assert (405, "POST") == (token.status, token.header("Allow"))


def test_a_refresh_token_gives_a_token_that_works(melon):
    """And the refresh answer leaves the old token alone."""
    first = melon.tokens()

    answer = melon.refresh(first["refresh_token"])

    assert 200 == answer.status
    assert first["access_token"] != answer.json["access_token"]
    for token in (first["access_token"], answer.json["access_token"]):
        assert 200 == melon.ask("GET", LIKES, token=token).status


def test_client_credentials_may_come_as_basic(melon):
    """The guide says so for the code grant; both ways at once is RFC 6749 §2.3's 400."""
    basic = ("Authorization", "Basic " + base64.b64encode(b"demo:demo-secret").decode())
    grant = {
        "grant_type": "authorization_code",
        "redirect_uri": "https://partner.site.com/callback",
    }

    both = melon.post(
        "token", basic, code=melon.code(), **grant, client_secret="demo-secret"
    )
    once = melon.post("token", basic, code=melon.code(), **grant)

    assert BAD_FORM == both.worded
    assert 200 == once.status


def test_token_request_without_client_credentials(melon):
    """401 `invalid_client`; the challenge is that of the way they could be sent."""
    answer = melon.post("token", grant_type="refresh_token", refresh_token="a")

    status, headers, body = refusal(
        401, "invalid_client", "Client credentials are required"
    )
    challenge = {"www-authenticate": 'Basic realm="melon"'}
    assert (status, {**headers, **challenge}, body) == answer.worded


def test_token_request_of_an_unknown_grant_type(melon):
    """The provider never sees it."""
    answer = melon.post("token", grant_type="password", **melon.credentials)

    expected = refusal(400, "unsupported_grant_type", "The grant type is not supported")
    assert expected == answer.worded


@pytest.mark.parametrize(
    ("target", "kind", "body"),
    [
        ("/oauth/token", FORM, "grant_type=refresh_token&grant_type=refresh_token"),
        ("/oauth/token?grant_type=refresh_token", FORM, "refresh_token=a"),
        ("/oauth/token", ("Content-Type", "application/json"), "{}"),
        ("/oauth/token", FORM, "grant_type=%FF"),
    ],
    ids=["repeated", "in the URI", "JSON", "no UTF-8"],
)
def test_token_request_of_a_wrong_form(melon, target, kind, body):
    """One reading only: nothing repeated, nothing in the URI, a form, UTF-8."""
    credentials = "&client_id=demo&client_secret=demo-secret"

    answer = melon.ask("POST", target, kind, body=(body + credentials).encode())

    assert BAD_FORM == answer.worded


def test_a_code_works_once(melon):
    """The provider's own refusal passes unchanged."""
    code = melon.code()
    melon.exchange(code)

    answer = melon.exchange(code)

    assert 400 == answer.status
    assert (
        b'{"error":"invalid_grant","error_description":"Invalid authorization code"}'
        == (answer.body)
    )


def test_the_redirect_uri_must_be_a_registered_one(melon):
    """The provider's own check, behind the guard."""
    answer = melon.authorize(redirect_uri="https://evil.example/callback")

    assert 400 == answer.status
    assert answer.header("Location") is None
