import json

import pytest

from gateway.dialects import nugu
from gateway.values import INVALID_TOKEN, Answer, Denial, Reason

CHALLENGE = (
    b'Form realm="NUGU", error="invalid_client", '
    b'error_description="Bad client credentials"'
)


def test_bad_client_credentials_to_the_byte():
    """The document's own sample of a 401."""
    expected = Answer(
        401,
        (
            (b"Content-Type", b"application/json;charset=UTF-8"),
            (
                b"WWW-Authenticate",
                CHALLENGE,
            ),
            (b"Cache-Control", b"no-store"),
            (b"Pragma", b"no-cache"),
        ),
        b'{"error":"invalid_client","error_description":"Bad client credentials"}',
    )

    assert expected == nugu.answer(Denial(reason=Reason.CLIENT_CREDENTIALS_MISSING))


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (Reason.NO_CREDENTIALS, "unauthorized"),
        *[(reason, "invalid_token") for reason in sorted(INVALID_TOKEN)],
        (Reason.INSUFFICIENT_SCOPE, "access_denied"),
        (Reason.CLAIM_MISMATCH, "access_denied"),
        (Reason.DEVICE_MISMATCH, "access_denied"),
        (Reason.CLIENT_NOT_ALLOWED, "unauthorized_client"),
        (Reason.STRONGER_LOGIN_NEEDED, "insufficient_user_authentication"),
    ],
)
def test_resource_requests_are_refused_with_401(reason, code):
    """The document lists these under 401, never 403; the challenge is Bearer."""
    answer = nugu.answer(Denial(reason=reason))

    assert (401, code) == (answer.status, json.loads(answer.body)["error"])
    assert dict(answer.headers)[b"WWW-Authenticate"].startswith(b'Bearer realm="NUGU"')


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (Reason.MALFORMED_REQUEST, "invalid_request"),
        (Reason.MALFORMED_TOKEN, "invalid_request"),
        (Reason.INVALID_FORM, "invalid_request"),
        (Reason.HTTPS_REQUIRED, "invalid_request"),
        (Reason.UNKNOWN_SCOPE, "invalid_scope"),
        (Reason.UNSUPPORTED_GRANT_TYPE, "unsupported_grant_type"),
        (Reason.UNSUPPORTED_RESPONSE_TYPE, "unsupported_response_type"),
    ],
)
def test_what_is_malformed_is_a_400(reason, code):
    """The document's list of 400s."""
    answer = nugu.answer(Denial(reason=reason))

    assert (400, code) == (answer.status, json.loads(answer.body)["error"])


def test_an_outage_is_told_as_one():
    """Our own, where the document is silent."""
    answer = nugu.answer(Denial(reason=Reason.PROVIDER_UNAVAILABLE))

    assert 503 == answer.status
    assert "temporarily_unavailable" == json.loads(answer.body)["error"]


@pytest.mark.parametrize("reason", Reason)
def test_every_body_is_in_nugu_s_content_type(reason):
    """The document's samples all have it."""
    answer = nugu.answer(Denial(reason=reason))

    assert b"application/json;charset=UTF-8" == dict(answer.headers)[b"Content-Type"]
