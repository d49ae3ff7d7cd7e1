import json

import pytest

from gateway.dialects import ottm, rfc6750
from gateway.values import INVALID_TOKEN, Answer, Denial, Reason

CODED = {
    Reason.NO_CREDENTIALS: ("10075", "Invalid oauth2 token"),
    Reason.MALFORMED_REQUEST: ("10051", "Invalid request"),
    Reason.MALFORMED_TOKEN: ("10075", "Invalid oauth2 token"),
    **dict.fromkeys(INVALID_TOKEN, ("10075", "Invalid oauth2 token")),
    Reason.INSUFFICIENT_SCOPE: ("10074", "Insufficient oauth2 scope"),
    Reason.CLIENT_NOT_ALLOWED: ("10076", "Unauthorized oauth2 client"),
    Reason.CLAIM_MISMATCH: ("10074", "Insufficient oauth2 scope"),
    Reason.DEVICE_MISMATCH: ("10074", "Insufficient oauth2 scope"),
    Reason.STRONGER_LOGIN_NEEDED: ("10075", "Invalid oauth2 token"),
    Reason.HTTPS_REQUIRED: ("10051", "Invalid request"),
    Reason.INVALID_FORM: ("10051", "Invalid request"),
    Reason.UNKNOWN_SCOPE: ("10071", "Invalid oauth2 scope"),
    Reason.UNSUPPORTED_GRANT_TYPE: ("10051", "Invalid request"),
    Reason.UNSUPPORTED_RESPONSE_TYPE: ("10051", "Invalid request"),
    Reason.CLIENT_CREDENTIALS_MISSING: ("10051", "Invalid request"),
    Reason.GRANT_REVOKED: ("10075", "Invalid oauth2 token"),
    Reason.BAD_MESSAGE: ("10051", "Invalid request"),
    Reason.BAD_TARGET: ("10051", "Invalid request"),
}


def test_a_client_that_is_not_allowed_to_the_byte():
    """The envelope as the document prints it, spaces and all."""
    expected = Answer(
        400,
        (
            (b"Content-Type", b"application/json"),
            (b"WWW-Authenticate", b'Bearer realm="ottm"'),
            (b"Cache-Control", b"no-store"),
            (b"Pragma", b"no-cache"),
        ),
        b'{"error": {"code": "10076", "message": "Unauthorized oauth2 client"}, '
        b'"payload": null}',
    )

    assert expected == ottm.answer(Denial(reason=Reason.CLIENT_NOT_ALLOWED))


@pytest.mark.parametrize(("reason", "error"), sorted(CODED.items()))
def test_what_has_a_code_is_a_400(reason, error):
    """Clients read the code and expect 400, never 401 or 403."""
    answer = ottm.answer(Denial(reason=reason))
    code, message = error
    body = f'{{"error": {{"code": "{code}", "message": "{message}"}}, "payload": null}}'

    assert (400, body) == (answer.status, answer.body.decode())


@pytest.mark.parametrize("reason", sorted(set(Reason) - set(CODED)))
def test_what_has_no_code_keeps_its_status_and_tells_it_as_one(reason):
    """No new 100xx is invented."""
    answer, standard = (
        speak(Denial(reason=reason)) for speak in (ottm.answer, rfc6750.answer)
    )
    message = json.loads(standard.body)["error_description"]
    error = {"code": str(standard.status), "message": message}

    assert standard.status == answer.status
    assert {"error": error, "payload": None} == json.loads(answer.body)


def test_an_outage_to_the_byte():
    """503 and `Retry-After`, with the status as the code."""
    answer = ottm.answer(Denial(reason=Reason.PROVIDER_UNAVAILABLE, retry_after=3))

    assert 503 == answer.status
    assert b"3" == dict(answer.headers)[b"Retry-After"]
    assert (
        b'{"error": {"code": "503", "message": '
        b'"The token cannot be checked at the moment"}, "payload": null}'
    ) == answer.body


def test_standard_clients_find_the_standard_challenge():
    """Harmless to the provider's own clients."""
    denial = Denial(reason=Reason.INSUFFICIENT_SCOPE, realm="ottm", scope="openid")
    answer, standard = ottm.answer(denial), rfc6750.answer(denial)

    assert (
        dict(standard.headers)[b"WWW-Authenticate"]
        == dict(answer.headers)[b"WWW-Authenticate"]
    )


def test_missing_client_credentials_make_no_challenge():
    """Credentials go in the body there: HTTP Basic would be a false hint."""
    answer = ottm.answer(Denial(reason=Reason.CLIENT_CREDENTIALS_MISSING))

    assert b"WWW-Authenticate" not in dict(answer.headers)
