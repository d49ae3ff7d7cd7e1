"""The default dialect, and the making of phrases that the others share."""

import json

import pytest

from gateway.dialects import rfc6750
from gateway.dialects.rfc6750 import PHRASES, bare, plain, told, word
from gateway.values import INVALID_TOKEN, Denial, Reason


def answer(reason: Reason, **more: object) -> tuple[int, dict[bytes, bytes], bytes]:
    """Word a reason: status, headers, body."""
    said = rfc6750.answer(Denial(reason=reason, realm="books", **more))  # type: ignore[arg-type]
    return said.status, dict(said.headers), said.body


def test_a_request_without_a_token():
    """RFC 6750 §3's first example: the realm alone."""
    status, headers, _ = answer(Reason.NO_CREDENTIALS, scope="read")

    assert 401 == status
    assert b'Bearer realm="books"' == headers[b"WWW-Authenticate"]


def test_an_expired_token():
    """RFC 6750 §3's second example, to the byte."""
    status, headers, body = answer(Reason.EXPIRED)

    assert 401 == status
    assert (
        b'Bearer realm="books", error="invalid_token", '
        b'error_description="The access token expired"'
    ) == headers[b"WWW-Authenticate"]
    assert (
        b'{"error":"invalid_token","error_description":"The access token expired"}'
    ) == body


def test_all_headers_of_an_answer():
    """The order is fixed; length, date and id are the front's."""
    said = rfc6750.answer(Denial(reason=Reason.NO_CREDENTIALS, realm="books"))

    assert (
        (b"Content-Type", b"application/json"),
        (b"WWW-Authenticate", b'Bearer realm="books"'),
        (b"Cache-Control", b"no-store"),
        (b"Pragma", b"no-cache"),
    ) == said.headers


@pytest.mark.parametrize(
    ("reason", "status", "code"),
    [
        (Reason.NO_CREDENTIALS, 401, "unauthorized"),
        (Reason.MALFORMED_REQUEST, 400, "invalid_request"),
        (Reason.MALFORMED_TOKEN, 400, "invalid_request"),
        *[(reason, 401, "invalid_token") for reason in sorted(INVALID_TOKEN)],
        (Reason.INSUFFICIENT_SCOPE, 403, "insufficient_scope"),
        (Reason.CLIENT_NOT_ALLOWED, 403, "unauthorized_client"),
        (Reason.CLAIM_MISMATCH, 403, "access_denied"),
        (Reason.DEVICE_MISMATCH, 403, "access_denied"),
        (Reason.STRONGER_LOGIN_NEEDED, 401, "insufficient_user_authentication"),
        (Reason.PROVIDER_UNAVAILABLE, 503, "temporarily_unavailable"),
        (Reason.HTTPS_REQUIRED, 400, "invalid_request"),
        (Reason.INVALID_FORM, 400, "invalid_request"),
        (Reason.UNKNOWN_SCOPE, 400, "invalid_scope"),
        (Reason.UNSUPPORTED_GRANT_TYPE, 400, "unsupported_grant_type"),
        (Reason.UNSUPPORTED_RESPONSE_TYPE, 400, "unsupported_response_type"),
        (Reason.CLIENT_CREDENTIALS_MISSING, 401, "invalid_client"),
        (Reason.GRANT_REVOKED, 400, "invalid_grant"),
        (Reason.INVALID_LOGOUT_TOKEN, 400, "invalid_request"),
        (Reason.LOGOUT_NOT_KEPT, 503, "temporarily_unavailable"),
        (Reason.NO_ROUTE, 404, "not_found"),
        (Reason.METHOD_NOT_ALLOWED, 405, "method_not_allowed"),
        (Reason.CORS_REFUSED, 403, "access_denied"),
        (Reason.RATE_LIMITED, 429, "too_many_requests"),
        (Reason.UPSTREAM_INVALID, 502, "bad_gateway"),
        (Reason.UPSTREAM_UNREACHABLE, 502, "bad_gateway"),
        (Reason.UPSTREAM_BUSY, 503, "temporarily_unavailable"),
        (Reason.UPSTREAM_TIMEOUT, 504, "gateway_timeout"),
        (Reason.BAD_MESSAGE, 400, "invalid_request"),
        (Reason.BAD_TARGET, 400, "invalid_request"),
        (Reason.TARGET_TOO_LONG, 414, "uri_too_long"),
        (Reason.HEADERS_TOO_LARGE, 431, "request_header_fields_too_large"),
        (Reason.BODY_TOO_LARGE, 413, "content_too_large"),
        (Reason.EXPECTATION_FAILED, 417, "expectation_failed"),
        (Reason.REQUEST_TIMEOUT, 408, "request_timeout"),
        (Reason.CODING_NOT_IMPLEMENTED, 501, "not_implemented"),
        (Reason.VERSION_NOT_SUPPORTED, 505, "http_version_not_supported"),
        (Reason.LOOP_DETECTED, 508, "loop_detected"),
        (Reason.INTERNAL, 500, "server_error"),
    ],
)
def test_status_and_code_of_every_reason(reason, status, code):
    """What each reason is answered with, and the wire's own statuses."""
    actual, _, body = answer(reason)

    assert (status, code) == (actual, json.loads(body)["error"])


def test_only_a_missing_scope_names_the_scope():
    """RFC 6750 §3.1: with `insufficient_scope`; elsewhere it would mislead."""
    _, short, _ = answer(Reason.INSUFFICIENT_SCOPE, scope="read write")
    _, dead, _ = answer(Reason.EXPIRED, scope="read write")

    assert short[b"WWW-Authenticate"].endswith(b', scope="read write"')
    assert b"scope=" not in dead[b"WWW-Authenticate"]


def test_a_scope_that_no_challenge_can_carry_is_left_out():
    """RFC 6750 §3 limits its characters: no hint is better than a broken header."""
    _, headers, _ = answer(Reason.INSUFFICIENT_SCOPE, scope='read "write"')

    assert b"scope=" not in headers[b"WWW-Authenticate"]


def test_a_realm_outside_ascii_is_kept_printable():
    """No header value may hold such bytes (RFC 9110 §5.5)."""
    said = rfc6750.answer(Denial(reason=Reason.NO_CREDENTIALS, realm="음악\r\nX: y"))

    assert b'Bearer realm="????X: y"' == dict(said.headers)[b"WWW-Authenticate"]


def test_a_challenge_always_has_a_realm():
    """RFC 6750 §3: at least one auth-param."""
    said = rfc6750.answer(Denial(reason=Reason.NO_CREDENTIALS))

    assert b'Bearer realm="api"' == dict(said.headers)[b"WWW-Authenticate"]


def test_missing_client_credentials_are_asked_for_as_http_basic():
    """RFC 6749 §5.2."""
    _, headers, _ = answer(Reason.CLIENT_CREDENTIALS_MISSING)

    assert b'Basic realm="books"' == headers[b"WWW-Authenticate"]


def test_methods_and_waiting_time():
    """What a denial brings along is told where it belongs."""
    _, refused, _ = answer(Reason.METHOD_NOT_ALLOWED, allow=("GET", "HEAD"))
    _, limited, _ = answer(Reason.RATE_LIMITED, retry_after=37)
    _, down, _ = answer(Reason.PROVIDER_UNAVAILABLE)

    assert b"GET, HEAD" == refused[b"Allow"]
    assert b"37" == limited[b"Retry-After"]
    assert b"%d" % rfc6750.RETRY_AFTER == down[b"Retry-After"]


def test_a_405_without_methods_still_has_allow():
    """RFC 9110 §10.2.1: an empty list says that none is allowed."""
    _, headers, _ = answer(Reason.METHOD_NOT_ALLOWED)

    assert b"" == headers[b"Allow"]


def test_a_dialect_is_a_table_of_phrases():
    """Plain has no challenge, bare names the realm, told tells the error too."""
    denial = Denial(reason=Reason.EXPIRED)
    challenges = [
        dict(word({Reason.EXPIRED: phrase}, denial, realm="r").headers).get(
            b"WWW-Authenticate"
        )
        for phrase in (
            plain(400, "e", "d"),
            bare(401, "e", "d"),
            told(401, "e", "d", scheme="Form"),
        )
    ]

    assert [
        None,
        b'Bearer realm="r"',
        b'Form realm="r", error="e", error_description="d"',
    ] == challenges


def test_equal_denials_share_one_answer():
    """A flood of refusals costs a look-up each."""
    first = rfc6750.answer(Denial(reason=Reason.EXPIRED, client="a"))
    second = rfc6750.answer(Denial(reason=Reason.EXPIRED, client="b"))

    assert first is second
    assert set(Reason) == set(PHRASES)
