import pytest

from gateway.dialects import melon, rfc6750
from gateway.values import INVALID_TOKEN, Denial, Reason


@pytest.mark.parametrize("reason", [Reason.NO_CREDENTIALS, *sorted(INVALID_TOKEN)])
def test_a_missing_or_dead_token_is_a_401(reason):
    """The guide promises 401 or 403, upon which clients refresh."""
    assert 401 == melon.answer(Denial(reason=reason)).status


def test_a_missing_scope_is_a_403():
    """A new token would not help, a new grant would."""
    answer = melon.answer(Denial(reason=Reason.INSUFFICIENT_SCOPE, scope="streaming"))

    assert 403 == answer.status
    assert (
        b'Bearer realm="melon", error="insufficient_scope", error_description='
        b'"The access token does not grant a needed scope", scope="streaming"'
    ) == dict(answer.headers)[b"WWW-Authenticate"]


def test_missing_client_credentials_may_come_as_http_basic():
    """The guide lets clients authenticate by HTTP Basic."""
    answer = melon.answer(Denial(reason=Reason.CLIENT_CREDENTIALS_MISSING))

    assert 401 == answer.status
    assert b'Basic realm="melon"' == dict(answer.headers)[b"WWW-Authenticate"]


@pytest.mark.parametrize("reason", Reason)
def test_melon_speaks_the_standard(reason):
    """Nothing but the default realm is its own."""
    denial = Denial(reason=reason, realm="music")

    assert rfc6750.answer(denial) == melon.answer(denial)
