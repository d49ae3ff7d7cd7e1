"""Refuse as the standards say: the default dialect, and what the others build on.

Floor 2: fixed tables, no clock, no network. Statuses and challenges are RFC 6750 §3,
bodies RFC 6749 §5.2: `error` is a registered OAuth code where one fits, else the RFC
9110 phrase in snake case. Nothing of the client's input is ever repeated; the realm,
the scope list and the methods come from configuration and are still made safe, since
a header that configuration can break is a header that can be broken.

A provider's dialect is another table of `Phrase`s, handed to the same `word`.
"""

import functools
import re
from collections.abc import Mapping
from typing import Final

import msgspec

from gateway.values import INVALID_TOKEN, Answer, Denial, Header, Reason

RETRY_AFTER: Final = 2
"""Seconds until a 429 or 503 may be tried again, where the denial does not say."""

_NO_STORE: Final[tuple[Header, ...]] = (
    (b"Cache-Control", b"no-store"),
    (b"Pragma", b"no-cache"),
)
# RFC 6750 §3: scope-token *( SP scope-token ), which needs no escapes when quoted; nor
# do the values of RFC 9470 and RFC 9728.
_SAFE: Final = re.compile(r"[!#-\[\]-~]+(?: [!#-\[\]-~]+)*")
_UNPRINTABLE: Final = re.compile(r"[^ -~]")
_QUOTED: Final = re.compile(r'["\\]')


class Phrase(msgspec.Struct, frozen=True, gc=False):
    """How one reason is told: everything that configuration has no part in.

    `scheme` is the challenge's, empty for no challenge. `attributes` follow its
    realm; a challenge without them is bare.
    """

    status: int
    description: str
    body: bytes
    scheme: str = ""
    attributes: str = ""
    content_type: bytes = b"application/json"


def plain(status: int, error: str, description: str) -> Phrase:
    """Make a phrase without a challenge: other credentials would not help."""
    body = {"error": error, "error_description": description}
    return Phrase(status, description, msgspec.json.encode(body))


def bare(
    status: int, error: str, description: str, *, scheme: str = "Bearer"
) -> Phrase:
    """Make a phrase whose challenge names the realm and nothing else."""
    phrase = plain(status, error, description)
    return msgspec.structs.replace(phrase, scheme=scheme)


def told(
    status: int, error: str, description: str, *, scheme: str = "Bearer"
) -> Phrase:
    """Make a phrase whose challenge tells the error as well (RFC 6750 §3)."""
    attributes = f'error="{error}", error_description="{description}"'
    phrase = bare(status, error, description, scheme=scheme)
    return msgspec.structs.replace(phrase, attributes=attributes)


PHRASES: Final[Mapping[Reason, Phrase]] = {
    # RFC 6750 §3.1: no error code in the challenge when no token was sent.
    Reason.NO_CREDENTIALS: bare(401, "unauthorized", "A bearer token is required"),
    Reason.MALFORMED_REQUEST: told(
        400, "invalid_request", "The request carries its credentials in a wrong way"
    ),
    Reason.MALFORMED_TOKEN: told(
        400, "invalid_request", "The access token is malformed"
    ),
    **dict.fromkeys(
        INVALID_TOKEN, told(401, "invalid_token", "The access token is invalid")
    ),
    Reason.EXPIRED: told(401, "invalid_token", "The access token expired"),
    Reason.INSUFFICIENT_SCOPE: told(
        403, "insufficient_scope", "The access token does not grant a needed scope"
    ),
    # No code of RFC 6750 §3.1 says these three; §3 still wants the challenge.
    Reason.CLIENT_NOT_ALLOWED: bare(
        403, "unauthorized_client", "The client may not use this resource"
    ),
    Reason.CLAIM_MISMATCH: bare(
        403, "access_denied", "The access token does not fit this resource"
    ),
    Reason.DEVICE_MISMATCH: bare(
        403, "access_denied", "The access token was made for another device"
    ),
    # RFC 9470 §3
    Reason.STRONGER_LOGIN_NEEDED: told(
        401, "insufficient_user_authentication", "A stronger or newer login is needed"
    ),
    # An outage is no verdict: no challenge, or clients throw good tokens away.
    Reason.PROVIDER_UNAVAILABLE: plain(
        503, "temporarily_unavailable", "The token cannot be checked at the moment"
    ),
    Reason.REVOCATIONS_UNKNOWN: plain(
        503, "temporarily_unavailable", "The token cannot be checked at the moment"
    ),
    # RFC 6749 §5.2
    Reason.HTTPS_REQUIRED: plain(400, "invalid_request", "HTTPS is required"),
    Reason.INVALID_FORM: plain(
        400, "invalid_request", "A parameter is missing, repeated or malformed"
    ),
    Reason.UNKNOWN_SCOPE: plain(
        400, "invalid_scope", "A requested scope is unknown or malformed"
    ),
    Reason.UNSUPPORTED_GRANT_TYPE: plain(
        400, "unsupported_grant_type", "The grant type is not supported"
    ),
    Reason.UNSUPPORTED_RESPONSE_TYPE: plain(
        400, "unsupported_response_type", "The response type is not supported"
    ),
    Reason.CLIENT_CREDENTIALS_MISSING: bare(
        401, "invalid_client", "Client credentials are required", scheme="Basic"
    ),
    Reason.GRANT_REVOKED: plain(400, "invalid_grant", "The grant has been revoked"),
    # OpenID Connect Back-Channel Logout §2.8
    Reason.INVALID_LOGOUT_TOKEN: plain(
        400, "invalid_request", "The logout token is invalid"
    ),
    Reason.LOGOUT_NOT_KEPT: plain(
        503, "temporarily_unavailable", "The logout cannot be carried out now"
    ),
    # Where the request goes
    Reason.NO_ROUTE: plain(404, "not_found", "There is no such resource"),
    Reason.METHOD_NOT_ALLOWED: plain(
        405, "method_not_allowed", "The resource does not allow this method"
    ),
    Reason.CORS_REFUSED: plain(
        403, "access_denied", "The resource does not allow this cross-origin request"
    ),
    Reason.RATE_LIMITED: plain(429, "too_many_requests", "Too many requests"),
    Reason.UPSTREAM_INVALID: plain(
        502, "bad_gateway", "The upstream server gave an invalid answer"
    ),
    Reason.UPSTREAM_UNREACHABLE: plain(
        502, "bad_gateway", "The upstream server cannot be reached"
    ),
    Reason.UPSTREAM_BUSY: plain(
        503, "temporarily_unavailable", "The upstream server is busy"
    ),
    Reason.UPSTREAM_TIMEOUT: plain(
        504, "gateway_timeout", "The upstream server did not answer in time"
    ),
    # Doors at which engines ask
    Reason.UNTRUSTED_PEER: plain(
        403, "access_denied", "The peer may not ask for decisions"
    ),
    Reason.BAD_QUESTION: plain(
        400, "invalid_request", "The question about the request is malformed"
    ),
    # RFC 9110 §15.5.20
    Reason.WRONG_DOOR: plain(
        421, "misdirected_request", "The resource is not served through this door"
    ),
    Reason.DECISION_CHANGED: plain(
        503, "temporarily_unavailable", "The decision has changed, try again"
    ),
    # The message itself
    Reason.BAD_MESSAGE: plain(400, "invalid_request", "The message is malformed"),
    Reason.BAD_TARGET: plain(400, "invalid_request", "The target is malformed"),
    Reason.TARGET_TOO_LONG: plain(414, "uri_too_long", "The target is too long"),
    Reason.HEADERS_TOO_LARGE: plain(
        431, "request_header_fields_too_large", "The header fields are too large"
    ),
    Reason.BODY_TOO_LARGE: plain(413, "content_too_large", "The body is too large"),
    Reason.EXPECTATION_FAILED: plain(
        417, "expectation_failed", "The expectation cannot be met"
    ),
    Reason.REQUEST_TIMEOUT: plain(
        408, "request_timeout", "The request did not arrive in time"
    ),
    Reason.CODING_NOT_IMPLEMENTED: plain(
        501, "not_implemented", "The transfer coding is not implemented"
    ),
    Reason.VERSION_NOT_SUPPORTED: plain(
        505, "http_version_not_supported", "The HTTP version is not supported"
    ),
    Reason.LOOP_DETECTED: plain(
        508, "loop_detected", "The request has come here before"
    ),
    Reason.INTERNAL: plain(500, "server_error", "The gateway failed"),
}


def answer(denial: Denial) -> Answer:
    """Word a denial as the RFCs do."""
    return word(PHRASES, denial, realm="api")


def word(phrases: Mapping[Reason, Phrase], denial: Denial, *, realm: str) -> Answer:
    """Word a denial by a dialect's table; `realm` is for a denial that has none."""
    return _compose(
        phrases[denial.reason],
        denial.realm or realm,
        _wanted(denial),
        denial.allow,
        denial.retry_after or RETRY_AFTER,
    )


def _wanted(denial: Denial) -> tuple[tuple[str, str], ...]:
    """Give the challenge's attributes that tell what would help."""
    wanted: tuple[tuple[str, str], ...] = ()
    if denial.reason is Reason.INSUFFICIENT_SCOPE:
        wanted = (("scope", denial.scope),)
    elif denial.reason is Reason.STRONGER_LOGIN_NEEDED:
        # RFC 9470 §3
        wanted = (("acr_values", denial.acr_values),)
        if denial.max_age is not None:
            wanted += (("max_age", str(denial.max_age)),)
    if denial.metadata:
        # RFC 9728 §5.1
        wanted += (("resource_metadata", denial.metadata),)
    return wanted


# All arguments come from tables and configuration, so there are few of them; the
# bound is for waiting times, which a rate limit counts down.
@functools.lru_cache(maxsize=1024)
def _compose(
    phrase: Phrase,
    realm: str,
    wanted: tuple[tuple[str, str], ...],
    allow: tuple[str, ...],
    retry_after: int,
) -> Answer:
    headers = [(b"Content-Type", phrase.content_type)]
    if phrase.scheme:
        headers.append((b"WWW-Authenticate", _challenge(phrase, realm, wanted)))
    if phrase.status == 405:
        headers.append((b"Allow", _printable(", ".join(allow)).encode()))
    if phrase.status in {429, 503}:
        headers.append((b"Retry-After", b"%d" % retry_after))
    return Answer(phrase.status, (*headers, *_NO_STORE), phrase.body)


def _challenge(
    phrase: Phrase, realm: str, wanted: tuple[tuple[str, str], ...]
) -> bytes:
    quoted = _QUOTED.sub(r"\\\g<0>", _printable(realm))
    parts = [f'{phrase.scheme} realm="{quoted}"']
    if phrase.attributes:
        parts.append(phrase.attributes)
    if phrase.scheme == "Bearer":
        parts += [
            f'{name}="{value}"' for name, value in wanted if _SAFE.fullmatch(value)
        ]
    return ", ".join(parts).encode()


def _printable(text: str) -> str:
    return _UNPRINTABLE.sub("?", text)
