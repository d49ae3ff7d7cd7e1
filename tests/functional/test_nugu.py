"""nugu end to end: tokens for 68 years, bound to a device, refused in nugu's words."""

import time
from functools import partial

import pytest

from gateway.sandbox.keys import sign_hs256
from gateway.values import Secret
from tests.functional import samples, words
from tests.functional.partner import DEVICE, FORM, Partner
from tests.functional.words import Worded

DEVICES = "/v1/devices/me"
OURS = ("Device-Serial-Number", DEVICE)


@pytest.fixture(scope="module")
def nugu(gateway):
    """A partner of nugu."""
    return Partner("nugu", gateway)


@pytest.fixture(scope="module")
def token(nugu):
    """A good token, for tests that do not spoil it."""
    return nugu.token()


def claims(**changes: object) -> dict[str, object]:
    """Claims as nugu's sample has them, for 68 years."""
    fixed = {
        "exp": int(time.time()) + 2147483647,  # noqa: TID251 -- the process's clock
        "user_name": "ALDFAKK1B8ZR56315C5D",
        "jti": "ae8ed411-e9cc-44dc-8eb5-87857c3d36ae",
        "client_id": "speaker.nugu.nu110",
        "scope": [],
        "ext": {"dvc": DEVICE},
    }
    return {**fixed, **changes}


def told(status: int, error: str, description: str, scheme: str = "Bearer") -> Worded:
    """A refusal whose challenge tells the error as well."""
    attributes = (
        f'{scheme} realm="NUGU", error="{error}", error_description="{description}"'
    )
    return refusal(status, error, description, attributes)


refusal = partial(words.refusal, kind="application/json;charset=UTF-8")

INVALID = told(401, "invalid_token", "The access token is invalid")
EXPIRED = told(401, "invalid_token", "The access token expired")
OTHER_DEVICE = told(
    401, "access_denied", "The access token was made for another device"
)
BAD_FORM = refusal(
    400, "invalid_request", "A parameter is missing, repeated or malformed"
)
# To the byte, as the document's sample has it.
BAD_CLIENT = told(401, "invalid_client", "Bad client credentials", "Form")


# ----------------------------------------------------------------------- allowed


def test_the_flow_ends_in_a_token_for_its_device(nugu):
    """Authorize with `data`, consent, code, token, API: all through the gateway."""
    answer = nugu.tokens()

    device = nugu.ask("GET", DEVICES, OURS, token=answer["access_token"])

    assert 2147483646 == answer["expires_in"]
    assert "Bearer" == answer["token_type"]
    assert (200, DEVICE) == (device.status, device.json["deviceSerialNumber"])
    assert "ALDFAKK1B8ZR56315C5D" == device.json["gateway"]["X-Auth-Subject".lower()]


def test_the_code_comes_back_as_the_document_shows(nugu):
    """302 with the code, and the state as it came: here empty."""
    answer = nugu.decide(state="")

    location = answer.header("Location") or ""
    assert 302 == answer.status
    assert location.startswith("https://partner.site.com/callback?code=")
    assert location.endswith("&state=")


# ----------------------------------------------------------------------- refused


def test_no_token(nugu):
    """`unauthorized`, one of the document's 401s."""
    expected = refusal(
        401, "unauthorized", "A bearer token is required", 'Bearer realm="NUGU"'
    )

    assert expected == nugu.ask("GET", DEVICES, OURS).worded


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Device-Serial-Number", "ANOTHER")],
        [("Device-Serial-Number", DEVICE.lower())],
        [OURS, ("Device-Serial-Number", "ANOTHER")],
        [("X-Auth-Device", DEVICE)],
    ],
    ids=["none", "another", "lower case", "two", "of the upstream"],
)
def test_the_device_is_the_tokens_own(nugu, token, headers):
    """Exactly one, exactly equal to `ext.dvc`."""
    answer = nugu.ask("GET", DEVICES, *headers, token=token)

    assert OTHER_DEVICE == answer.worded


def test_token_without_a_device(nugu, keys):
    """A token that names no device fits none."""
    token = sign_hs256(claims(ext={}), keys.nugu)

    assert OTHER_DEVICE == nugu.ask("GET", DEVICES, OURS, token=token).worded


def test_expired(nugu, keys):
    """A token whose own `exp` has passed."""
    token = sign_hs256(claims(exp=int(time.time()) - 1), keys.nugu)  # noqa: TID251

    assert EXPIRED == nugu.ask("GET", DEVICES, OURS, token=token).worded


def test_refresh_token_as_access_token(nugu):
    """It is signed with the same key and names the same device; `ati` tells."""
    token = nugu.tokens()["refresh_token"]

    assert INVALID == nugu.ask("GET", DEVICES, OURS, token=token).worded


def test_token_of_another_provider(nugu, keys):
    """Each provider has its own key, and its own cache."""
    token = sign_hs256(claims(), keys.melon)

    assert INVALID == nugu.ask("GET", DEVICES, OURS, token=token).worded


def test_token_that_somebody_else_signed(nugu):
    """A wrong key."""
    token = sign_hs256(claims(), Secret("another key of more than 32 characters"))

    assert INVALID == nugu.ask("GET", DEVICES, OURS, token=token).worded


def test_two_tokens(nugu, token):
    """In two headers, and in header and query, where no route takes the query's."""
    expected = told(
        400, "invalid_request", "The request carries its credentials in a wrong way"
    )
    twice = nugu.ask(
        "GET", DEVICES, OURS, ("Authorization", f"Bearer {token}"), token=token
    )
    both = nugu.ask("GET", f"{DEVICES}?access_token={token}", OURS, token=token)

    assert expected == twice.worded
    assert expected == both.worded


def test_malformed_token(nugu):
    """400, as the provider has it."""
    expected = told(400, "invalid_request", "The access token is malformed")

    assert expected == nugu.ask("GET", DEVICES, OURS, token="a!b").worded


def test_wrong_method(nugu, token):
    """405 in nugu's body form."""
    answer = nugu.ask("DELETE", DEVICES, OURS, token=token)

    status, headers, body = refusal(
        405, "method_not_allowed", "The resource does not allow this method"
    )
    assert (status, {**headers, "allow": "GET, HEAD"}, body) == answer.worded


def test_unknown_route(nugu, token):
    """404 in nugu's body form."""
    expected = refusal(404, "not_found", "There is no such resource")

    assert expected == nugu.ask("GET", "/v1/devices", OURS, token=token).worded


# ----------------------------------------------------------------------- revoked


def test_revoked_by_the_operator(nugu):
    """68 years end with the next request."""
    token = nugu.token()
    assert 200 == nugu.ask("GET", DEVICES, OURS, token=token).status

    nugu.gateway.revoke("nugu", token)

    assert INVALID == nugu.ask("GET", DEVICES, OURS, token=token).worded


def test_revoked_by_its_client(nugu):
    """The provider's own endpoint, routed through the gateway."""
    token = nugu.token()
    assert 200 == nugu.ask("GET", DEVICES, OURS, token=token).status

    answer = nugu.revoke(token)

    assert 200 == answer.status
    assert INVALID == nugu.ask("GET", DEVICES, OURS, token=token).worded


def test_revoked_with_its_refresh_token(nugu):
    """The client revokes the refresh token; its `ati` names the access token."""
    answer = nugu.tokens()
    token = answer["access_token"]
    assert 200 == nugu.ask("GET", DEVICES, OURS, token=token).status

    assert 200 == nugu.revoke(answer["refresh_token"]).status

    assert INVALID == nugu.ask("GET", DEVICES, OURS, token=token).worded


# ------------------------------------------------------------- the seed's samples


@pytest.mark.parametrize("sample", [samples.NUGU_ACCESS, samples.NUGU_RENEWED_ACCESS])
def test_the_documents_own_access_tokens_are_fresh(nugu, keys, sample):
    """Of 2019, good until 2087: signed with our key, not a byte changed otherwise."""
    token = samples.resigned(sample, keys.nugu)

    answer = nugu.ask("GET", DEVICES, OURS, token=token)
    elsewhere = nugu.ask("GET", DEVICES, ("Device-Serial-Number", "X"), token=token)

    assert 200 == answer.status
    assert "speaker.nugu.nu110" == answer.json["gateway"]["x-auth-client"]
    assert OTHER_DEVICE == elsewhere.worded


@pytest.mark.parametrize("sample", [samples.NUGU_REFRESH, samples.NUGU_RENEWED_REFRESH])
def test_the_documents_own_refresh_tokens_are_no_access_tokens(nugu, keys, sample):
    """They have `ati`, and ran out in 2019."""
    token = samples.resigned(sample, keys.nugu)

    status, _, body = nugu.ask("GET", DEVICES, OURS, token=token).worded

    assert 401 == status
    assert b'"invalid_token"' in body


def test_the_documents_own_signatures_are_not_ours(nugu):
    """As they stand in the document, nugu's key signed them."""
    for token in (samples.NUGU_ACCESS, samples.NUGU_RENEWED_ACCESS):
        assert INVALID == nugu.ask("GET", DEVICES, OURS, token=token).worded


# -------------------------------------------------------- guarded OAuth endpoints


@pytest.mark.parametrize(
    "missing", ["client_id", "response_type", "redirect_uri", "scope", "data", "state"]
)
def test_authorize_without_a_required_parameter(nugu, missing):
    """All six of the document's table are required."""
    assert BAD_FORM == nugu.authorize(**{missing: None}).worded


@pytest.mark.parametrize(
    "data",
    ["", "DEVICE", "{}", '{"deviceSerialNumber":""}', '{"deviceSerialNumber":1}', "[]"],
)
def test_data_names_the_device(nugu, data):
    """The unique device key must be present."""
    assert BAD_FORM == nugu.authorize(data=data).worded


def test_the_documents_slip_in_data(nugu):
    """The sample lacks a quote, which makes `%DE` a byte that is no UTF-8."""
    asked = (
        "/v1/auth/oauth/authorize?client_id=demo&response_type=code&state=&scope=device"
        "&redirect_uri=https%3A%2F%2Fpartner.site.com%2Fcallback"
        "&data=%7B%22deviceSerialNumber%22%3A%DEVICE_SERIAL_NUMBER%22%7D"
    )

    assert BAD_FORM == nugu.ask("GET", asked).worded


def test_missing_client_credentials(nugu):
    """401 with scheme `Form`, to the byte: here the gateway's own."""
    answer = nugu.post("token", grant_type="refresh_token", refresh_token="a")

    assert BAD_CLIENT == answer.worded


def test_client_credentials_come_in_the_body_only(nugu):
    """HTTP Basic is no client authentication to nugu."""
    basic = ("Authorization", "Basic ZGVtbzpkZW1vLXNlY3JldA==")

    answer = nugu.post("token", basic, grant_type="refresh_token", refresh_token="a")

    assert BAD_CLIENT == answer.worded


def test_wrong_client_credentials(nugu):
    """The same bytes, from the provider, passed unchanged."""
    answer = nugu.post(
        "token",
        grant_type="authorization_code",
        code="a",
        redirect_uri="https://partner.site.com/callback",
        client_id="demo",
        client_secret="wrong",
    )

    assert BAD_CLIENT == answer.worded


def test_a_refused_code_is_the_providers_to_echo(nugu):
    """The document's 400 sample repeats the code; the gateway passes it unchanged."""
    answer = nugu.exchange("0rrbEjnOfqxIv6uNic6C")

    assert 400 == answer.status
    assert "application/json;charset=UTF-8" == answer.header("Content-Type")
    assert (
        b'{"error":"invalid_grant","error_description":'
        b'"Invalid authorization code: 0rrbEjnOfqxIv6uNic6C"}'
    ) == answer.body


def test_unsupported_grant_type(nugu):
    """One of the document's 400s, in our own words."""
    expected = refusal(400, "unsupported_grant_type", "The grant type is not supported")

    answer = nugu.post("token", grant_type="password", **nugu.credentials)

    assert expected == answer.worded


def test_unsupported_response_type(nugu):
    """Another of the document's 400s."""
    expected = refusal(
        400, "unsupported_response_type", "The response type is not supported"
    )

    assert expected == nugu.authorize(response_type="token").worded


def test_a_refresh_answer_renews_the_access_token_only(nugu):
    """Same refresh `jti` and `exp`, new `ati`; both access tokens work."""
    first = nugu.tokens()

    answer = nugu.refresh(first["refresh_token"])

    assert 200 == answer.status
    assert first["jti"] != answer.json["jti"]
    for token in (first["access_token"], answer.json["access_token"]):
        assert 200 == nugu.ask("GET", DEVICES, OURS, token=token).status


def test_a_form_is_a_form(nugu):
    """`application/x-www-form-urlencoded`, once, whatever else the body looks like."""
    target = "/v1/auth/oauth/token"
    body = b"grant_type=refresh_token&refresh_token=a&client_id=a&client_secret=b"

    twice = nugu.ask("POST", target, FORM, FORM, body=body)
    text = nugu.ask("POST", target, ("Content-Type", "text/plain"), body=body)
    coded = nugu.ask("POST", target, FORM, ("Content-Encoding", "gzip"), body=body)

    assert [BAD_FORM] * 3 == [twice.worded, text.worded, coded.worded]
