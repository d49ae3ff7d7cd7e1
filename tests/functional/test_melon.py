"""melon end to end: the real command, the provider's own flow, its own words."""

import base64
import time
from urllib.parse import unquote

import pytest

from gateway.sandbox.keys import sign_hs256
from gateway.values import Secret
from tests.functional import samples
from tests.functional.partner import Partner
from tests.functional.words import Worded, refusal

LIKES = "/oauth/likes"
STREAM = "/oauth/delivery/streaming_path.json"


@pytest.fixture(scope="module")
def melon(gateway):
    """A partner of melon."""
    return Partner("melon", gateway)


@pytest.fixture(scope="module")
def token(melon):
    """A good token, for tests that do not spoil it."""
    return melon.token()


def claims(**changes: object) -> dict[str, object]:
    """Claims as melon's sample has them, good for a minute."""
    fixed = {
        "sub": "somebody",
        "scope": ["streaming", "user-like-read"],
        "preferred_username": "마시마렁",
        "exp": int(time.time()) + 60,  # noqa: TID251 -- the process has the real clock
        "jti": "cc10609e-f93b-4c09-b9ed-5163e2e2efee",
        "client_id": "1234",
    }
    return {**fixed, **changes}


def told(status: int, error: str, description: str, more: str = "") -> Worded:
    """A refusal whose challenge tells the error as well (RFC 6750 §3)."""
    attributes = f', error="{error}", error_description="{description}"{more}'
    return refusal(status, error, description, BARE + attributes)


BARE = 'Bearer realm="melon"'
INVALID = told(401, "invalid_token", "The access token is invalid")
EXPIRED = told(401, "invalid_token", "The access token expired")
TWO_TOKENS = told(
    400, "invalid_request", "The request carries its credentials in a wrong way"
)
MALFORMED = told(400, "invalid_request", "The access token is malformed")


# ----------------------------------------------------------------------- allowed


def test_the_flow_ends_in_a_token_that_opens_what_was_consented_to(melon):
    """Authorize, consent, code, token, API: all through the gateway."""
    answer = melon.tokens()

    likes = melon.ask("GET", LIKES, token=answer["access_token"])

    assert ["access_token", "token_type", "refresh_token", "expires_in"] == list(answer)
    assert ("bearer", 299) == (answer["token_type"], answer["expires_in"])
    assert 200 == likes.status
    assert [] == likes.json["likes"]


def test_the_upstream_hears_who_calls_and_never_the_token(melon, token):
    """Korean names arrive percent-encoded; a client's own identity is not believed."""
    answer = melon.ask(
        "GET", LIKES, ("X-Auth-Subject", "root"), ("X_Auth_Client", "a"), token=token
    )

    heard = {name.lower(): value for name, value in answer.json["gateway"].items()}
    assert unquote(heard["x-auth-name"]) == "마시마렁"
    assert "demo" == heard["x-auth-client"]
    assert "melon" == heard["x-auth-provider"]
    assert "streaming user-like-read user-private-read" == heard["x-auth-scopes"]
    assert heard["x-auth-subject"].startswith("YjY5")
    assert "x_auth_client" not in heard
    assert token.encode() not in answer.body


def test_a_token_in_the_query_is_taken_and_taken_out(melon, token):
    """What is left of the query goes upstream byte for byte."""
    answer = melon.ask("GET", f"{STREAM}?a=%41+1&access_token={token}&&b=2")
    alone = melon.ask("GET", f"{STREAM}?access_token={token}")

    assert 200 == answer.status
    assert f"{STREAM}?a=%41+1&&b=2" == answer.json["request"]["target"]
    assert "no-referrer" == answer.header("Referrer-Policy")
    assert STREAM == alone.json["request"]["target"]


def test_get_implies_head(melon, token):
    """A HEAD answer has the length and no body."""
    answer = melon.ask("HEAD", LIKES, token=token)

    assert (200, b"") == (answer.status, answer.body)
    assert int(answer.header("Content-Length") or 0) > 100


def test_scopes_differ_by_method_on_one_path(melon):
    """Reading likes is one scope, writing them another."""
    scope = "user-private-read user-like-modify"
    writer = melon.token(scope=scope)

    put = melon.ask("PUT", f"{LIKES}/42", token=writer)
    deleted = melon.ask("DELETE", f"{LIKES}/42", token=writer)

    assert (200, ["42"]) == (put.status, put.json["likes"])
    assert (200, []) == (deleted.status, deleted.json["likes"])
    assert 403 == melon.ask("GET", LIKES, token=writer).status


# ----------------------------------------------------------------------- refused


def test_no_token(melon):
    """RFC 6750 §3.1: the bare challenge, without an error code."""
    expected = refusal(401, "unauthorized", "A bearer token is required", BARE)

    assert expected == melon.ask("GET", LIKES).worded


def test_insufficient_scope(melon, token):
    """403, and the challenge tells which scope would do."""
    expected = told(
        403,
        "insufficient_scope",
        "The access token does not grant a needed scope",
        ', scope="user-playlist-read"',
    )

    assert expected == melon.ask("GET", "/oauth/playlists", token=token).worded


def test_expired(melon, keys):
    """A token whose own `exp` has passed."""
    token = sign_hs256(claims(exp=int(time.time()) - 1), keys.melon)  # noqa: TID251

    assert EXPIRED == melon.ask("GET", LIKES, token=token).worded


def test_expires_while_it_is_cached(melon, keys):
    """The cache remembers facts, not verdicts."""
    dies_at = time.time() + 0.8  # noqa: TID251 -- as above
    token = sign_hs256(claims(exp=dies_at), keys.melon)

    first = melon.ask("GET", LIKES, token=token)
    time.sleep(max(0.0, dies_at - time.time()) + 0.05)  # noqa: TID251

    assert 200 == first.status
    assert EXPIRED == melon.ask("GET", LIKES, token=token).worded


def test_refresh_token_as_access_token(melon):
    """Only `ati` tells it apart: same key, same scope, and it never expires."""
    token = melon.tokens()["refresh_token"]

    assert INVALID == melon.ask("GET", LIKES, token=token).worded
    assert INVALID == melon.ask("GET", f"{STREAM}?access_token={token}").worded


def test_token_that_somebody_else_signed(melon):
    """A wrong key."""
    token = sign_hs256(claims(), Secret("another key of more than 32 characters"))

    assert INVALID == melon.ask("GET", LIKES, token=token).worded


def test_token_that_nobody_signed(melon):
    """`alg: none`, in some of its spellings."""
    signed = sign_hs256(claims(), Secret("another key of more than 32 characters"))
    _, payload, signature = signed.split(".")
    for name in ("none", "None", "nOnE", ""):
        header = f'{{"alg":"{name}","typ":"JWT"}}'.encode()
        begin = base64.urlsafe_b64encode(header).rstrip(b"=").decode()
        for end in ("", signature):
            answer = melon.ask("GET", LIKES, token=f"{begin}.{payload}.{end}")

            assert INVALID == answer.worded


def test_altered_token(melon, token):
    """One bit of the payload."""
    begin, payload, end = token.split(".")
    other = "A" if payload[20] != "A" else "B"
    altered = f"{begin}.{payload[:20]}{other}{payload[21:]}.{end}"

    assert INVALID == melon.ask("GET", LIKES, token=altered).worded


def test_two_tokens_in_header_and_query(melon, token):
    """RFC 6750 §2: one method per request, even when both carry the same token."""
    answer = melon.ask("GET", f"{STREAM}?access_token={token}", token=token)

    assert TWO_TOKENS == answer.worded


def test_two_authorization_headers(melon, token):
    """Nobody may choose between two, even if they are equal."""
    line = ("Authorization", f"Bearer {token}")

    assert TWO_TOKENS == melon.ask("GET", LIKES, line, line).worded
    assert TWO_TOKENS == melon.ask("GET", LIKES, line, ("authorization", "a")).worded


def test_two_tokens_in_the_query(melon, token):
    """A repeated parameter."""
    target = f"{STREAM}?access_token={token}&access_token={token}"

    assert TWO_TOKENS == melon.ask("GET", target).worded


@pytest.mark.parametrize(
    "value", ["a!b", 'a"b', "t\xc3\xb6k", "=ab", "%41", "a=b", "{}", "a\tb"]
)
def test_malformed_token(melon, value):
    """Characters outside RFC 6750's grammar."""
    assert MALFORMED == melon.ask("GET", LIKES, token=value).worded


def test_token_in_the_query_where_the_route_does_not_take_it(melon, token):
    """Only the streaming routes do."""
    answer = melon.ask("GET", f"{LIKES}?access_token={token}")

    assert TWO_TOKENS == answer.worded


def test_token_that_is_no_text(melon):
    """Bytes that are no UTF-8 make the whole message malformed; nobody repairs it."""
    expected = refusal(400, "invalid_request", "The message is malformed")

    assert expected == melon.ask("GET", LIKES, token="tok\xffen").worded


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "bEaReR"])
def test_the_scheme_is_case_insensitive(melon, token, scheme):
    """RFC 9110 §11.1."""
    answer = melon.ask("GET", LIKES, ("Authorization", f"{scheme} {token}"))

    assert 200 == answer.status


def test_another_scheme_is_no_token(melon):
    """Basic is no bearer token: as if nothing had been sent."""
    answer = melon.ask("GET", LIKES, ("Authorization", "Basic ZGVtbzpkZW1v"))

    assert refusal(401, "unauthorized", "A bearer token is required", BARE) == (
        answer.worded
    )


def test_wrong_method(melon, token):
    """405 tells what would be allowed, before any token is looked at."""
    answer = melon.ask("POST", LIKES, token=token, body=b"{}")

    status, headers, body = refusal(
        405, "method_not_allowed", "The resource does not allow this method"
    )
    assert (status, {**headers, "allow": "GET, HEAD"}, body) == answer.worded


def test_unknown_route(melon, token):
    """404 in the provider's form; nothing reaches an upstream."""
    expected = refusal(404, "not_found", "There is no such resource")

    assert expected == melon.ask("GET", "/oauth/nothing", token=token).worded
    assert expected == melon.ask("GET", "/").worded


# ----------------------------------------------------------------------- revoked


def test_revoked_by_the_operator(melon):
    """In force with the next request, though the token is cached and signed well."""
    token = melon.token()
    assert 200 == melon.ask("GET", LIKES, token=token).status

    melon.gateway.revoke("melon", token)

    assert INVALID == melon.ask("GET", LIKES, token=token).worded


def test_revoked_by_its_client(melon):
    """The provider's own endpoint, routed through the gateway (RFC 7009)."""
    token = melon.token()
    assert 200 == melon.ask("GET", LIKES, token=token).status

    answer = melon.revoke(token)

    assert (200, b"") == (answer.status, answer.body)
    assert INVALID == melon.ask("GET", LIKES, token=token).worded


def test_revocation_by_another_client_marks_nothing(melon):
    """A 200 is also the answer to somebody else's token (RFC 7009 §2.2)."""
    token = melon.token()

    answer = Partner("melon", melon.gateway, client="demo-code-only").revoke(token)

    assert 200 == answer.status
    assert 200 == melon.ask("GET", LIKES, token=token).status


def test_revoked_with_its_refresh_token(melon):
    """The client revokes the refresh token; its `ati` names the access token."""
    answer = melon.tokens()
    token = answer["access_token"]
    assert 200 == melon.ask("GET", LIKES, token=token).status

    assert 200 == melon.revoke(answer["refresh_token"]).status

    assert INVALID == melon.ask("GET", LIKES, token=token).worded


# ------------------------------------------------------------- the seed's samples


def test_the_guides_own_access_token_is_expired(melon, keys):
    """Signed with our key, not a byte changed otherwise: it ran out in 2018."""
    token = samples.resigned(samples.MELON_ACCESS, keys.melon)

    assert EXPIRED == melon.ask("GET", STREAM, token=token).worded
    assert EXPIRED == melon.ask("GET", f"{STREAM}?access_token={token}").worded


def test_the_guides_own_refresh_token_is_no_access_token(melon, keys):
    """It has no `exp` at all."""
    token = samples.resigned(samples.MELON_REFRESH, keys.melon)

    assert INVALID == melon.ask("GET", STREAM, token=token).worded


def test_the_guides_own_signature_is_not_ours(melon):
    """As they stand in the guide, melon's key signed them."""
    for token in (samples.MELON_ACCESS, samples.MELON_REFRESH):
        assert INVALID == melon.ask("GET", STREAM, token=token).worded
