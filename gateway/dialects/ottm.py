"""Refuse as ottm does: an envelope with a code, and 400 for whatever has one. Floor 2.

Clients of this provider read `error.code` and expect 400, never 401 or 403: the status
is part of the contract. Refusals its document has no code for keep their HTTP status
and carry it as the code, so that no new 100xx is invented. The standard's Bearer
challenge is added: harmless to its clients, useful to standard ones.
"""

import json
from collections.abc import Mapping
from typing import Final

import msgspec

from gateway.dialects import rfc6750
from gateway.dialects.rfc6750 import Phrase
from gateway.values import INVALID_TOKEN, Answer, Denial, Reason

_MESSAGES: Final[Mapping[str, str]] = {
    "10051": "Invalid request",
    "10071": "Invalid oauth2 scope",
    "10074": "Insufficient oauth2 scope",
    "10075": "Invalid oauth2 token",
    "10076": "Unauthorized oauth2 client",
}

_CODES: Final[Mapping[Reason, str]] = {
    Reason.NO_CREDENTIALS: "10075",
    Reason.MALFORMED_REQUEST: "10051",
    Reason.MALFORMED_TOKEN: "10075",
    **dict.fromkeys(INVALID_TOKEN, "10075"),
    Reason.INSUFFICIENT_SCOPE: "10074",
    Reason.CLIENT_NOT_ALLOWED: "10076",
    Reason.CLAIM_MISMATCH: "10074",
    Reason.DEVICE_MISMATCH: "10074",
    Reason.STRONGER_LOGIN_NEEDED: "10075",
    Reason.HTTPS_REQUIRED: "10051",
    Reason.INVALID_FORM: "10051",
    Reason.UNKNOWN_SCOPE: "10071",
    Reason.UNSUPPORTED_GRANT_TYPE: "10051",
    Reason.UNSUPPORTED_RESPONSE_TYPE: "10051",
    # 10076 is the provider's word for a client's registered grant type, not for this.
    Reason.CLIENT_CREDENTIALS_MISSING: "10051",
    Reason.GRANT_REVOKED: "10075",
    Reason.BAD_MESSAGE: "10051",
    Reason.BAD_TARGET: "10051",
}


def _enveloped(code: str, message: str) -> bytes:
    envelope = {"error": {"code": code, "message": message}, "payload": None}
    return json.dumps(envelope).encode()


def _phrase(reason: Reason, standard: Phrase) -> Phrase:
    if (code := _CODES.get(reason)) is not None:
        body = _enveloped(code, _MESSAGES[code])
        # Only a Bearer challenge makes sense beside a 400 (RFC 6750 §3).
        scheme = "Bearer" if standard.scheme == "Bearer" else ""
        return msgspec.structs.replace(standard, status=400, body=body, scheme=scheme)
    body = _enveloped(str(standard.status), standard.description)
    return msgspec.structs.replace(standard, body=body)


PHRASES: Final[Mapping[Reason, Phrase]] = {
    reason: _phrase(reason, standard) for reason, standard in rfc6750.PHRASES.items()
}


def answer(denial: Denial) -> Answer:
    """Word a denial as ottm does."""
    return rfc6750.word(PHRASES, denial, realm="ottm")
