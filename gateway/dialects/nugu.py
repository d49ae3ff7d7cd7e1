"""Refuse as nugu does: RFC 6749 bodies, but 401 where the standard says 403. Floor 2.

Its document lists `unauthorized_client` and `access_denied` under 401, and challenges
failed client credentials with a scheme of its own, `Form`. Where it is silent (the
resource requests) the challenge is `Bearer` and, like its own, repeats the error.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from gateway.dialects import rfc6750
from gateway.dialects.rfc6750 import Phrase, told
from gateway.values import Answer, Denial, Reason

_CONTENT_TYPE: Final = b"application/json;charset=UTF-8"

_OWN: Final[Mapping[Reason, Phrase]] = {
    Reason.INSUFFICIENT_SCOPE: told(
        401, "access_denied", "The access token does not grant a needed scope"
    ),
    Reason.CLIENT_NOT_ALLOWED: told(
        401, "unauthorized_client", "The client may not use this resource"
    ),
    Reason.CLAIM_MISMATCH: told(
        401, "access_denied", "The access token does not fit this resource"
    ),
    Reason.DEVICE_MISMATCH: told(
        401, "access_denied", "The access token was made for another device"
    ),
    Reason.CLIENT_CREDENTIALS_MISSING: told(
        401, "invalid_client", "Bad client credentials", scheme="Form"
    ),
}

PHRASES: Final[Mapping[Reason, Phrase]] = {
    reason: msgspec.structs.replace(phrase, content_type=_CONTENT_TYPE)
    for reason, phrase in {**rfc6750.PHRASES, **_OWN}.items()
}


def answer(denial: Denial) -> Answer:
    """Word a denial as nugu does."""
    return rfc6750.word(PHRASES, denial, realm="NUGU")
