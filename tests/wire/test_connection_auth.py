"""Proves that no connection that was authenticated for one user serves another.

NTLM and Negotiate (RFC 4559 §6) authenticate a connection, not a request; so did the
holes that came of it (Traefik 3.7.13).
"""

import pytest

from gateway.values import Access, Route
from tests.rules.test_headers import anonymous, sent
from tests.wire.harness import repeats, until
from tests.wire.test_upstream import line

OPEN = Route(id="open", access=Access.PUBLIC, pass_token=True)


def answer(status: bytes, *lines: bytes) -> bytes:
    """Write a response that leaves its connection open."""
    return b"\r\n".join(
        [b"HTTP/1.1 " + status, b"Content-Length: 2", *lines, b"", b"hi"]
    )


@pytest.mark.parametrize(
    "response",
    [
        answer(b"401 U", b"WWW-Authenticate: NTLM"),
        answer(b"401 U", b"WWW-Authenticate: NTLM TlRMTVNTUAAC"),
        answer(b"401 U", b"www-authenticate: negotiate"),
        answer(b"401 U", b'WWW-Authenticate: Basic realm="a, b", Negotiate'),
        answer(
            b"401 U", b'WWW-Authenticate: Basic realm="a"', b"WWW-Authenticate: NTLM"
        ),
        answer(b"407 U", b"Proxy-Authenticate: NTLM"),
        # Mutual authentication: the last word of a handshake that succeeded.
        answer(b"200 OK", b"WWW-Authenticate: Negotiate oRQwEqADCgEA"),
    ],
)
async def test_a_connection_that_is_being_authenticated_is_not_kept(response):
    """Whatever status the handshake has come to."""
    async with line(repeats(response)) as origin:
        listener = await origin.answered()

        assert "end" in listener.told
        assert [] == origin.keeper.kept
        await until(lambda: origin.keeper.lost)


@pytest.mark.parametrize(
    "value", [b"NTLM TlRMTVNTUAAD", b"Negotiate YII=", b"negotiate YII="]
)
def test_no_request_authenticates_a_connection(value):
    """It would stay so after an answer that does not say it."""
    assert (b"authorization", value) not in sent(
        (b"authorization", value), leave=anonymous(OPEN)
    )


@pytest.mark.parametrize("value", [b"Basic TlRMTTo=", b"NTLMv9 x", b"Bearer ntlm"])
def test_other_credentials_pass_where_they_may(value):
    """They are of this request alone."""
    assert (b"authorization", value) in sent(
        (b"authorization", value), leave=anonymous(OPEN)
    )


@pytest.mark.parametrize(
    "response",
    [
        answer(b"401 U", b'WWW-Authenticate: Bearer error="invalid_token"'),
        answer(b"401 U", b'WWW-Authenticate: Basic realm="ntlm, please"'),
        answer(b"401 U"),
        answer(b"200 OK", b"X-Note: NTLM"),
    ],
)
async def test_every_other_connection_is_kept(response):
    """Schemes that authenticate requests are the usual ones."""
    async with line(repeats(response)) as origin:
        await origin.answered()

        assert [origin.connection] == origin.keeper.kept
