"""How facts are written where a header tells them. Floor 2: pure.

Percent-encoded, so that no claim, whatever a provider let into it, can end a line,
begin another value or be read as two things (SECURITY §1 C).
"""

import functools
from typing import Final

from gateway.values import Header, Permit

SHADOW_NAME: Final = b"x-auth-shadow-denied"
"""Tells why a request was let through by a route that enforces nothing."""

_PLAIN: Final = bytes(range(0x21, 0x7F)).translate(None, b"%")
_ESCAPES: Final = tuple(
    bytes((byte,)) if byte in _PLAIN else b"%%%02X" % byte for byte in range(256)
)


def encode(text: str) -> bytes:
    """Percent-encode all but visible ASCII, and `%` itself: injective, no spaces."""
    # A lone surrogate (JSON can hold one) must not merge two subjects into one.
    raw = text.encode("utf-8", "surrogatepass")
    if not raw.translate(None, _PLAIN):
        return raw
    return b"".join([_ESCAPES[byte] for byte in raw])


@functools.lru_cache(maxsize=256)
def encode_all(texts: frozenset[str] | tuple[str, ...]) -> bytes:
    """Join by raw spaces, which `encode` leaves nowhere else; a set in order."""
    ordered = sorted(texts) if isinstance(texts, frozenset) else texts
    return b" ".join(map(encode, ordered))


def encode_claim(claim: str | float | tuple[str, ...]) -> bytes:
    """Write a claim: a list in order, truth values as JSON has them."""
    if isinstance(claim, tuple):
        return encode_all(claim)
    if isinstance(claim, bool):
        return b"true" if claim else b"false"
    return encode(str(claim))


def shadow_mark(permit: Permit) -> tuple[list[Header], bytes]:
    """Tell why it would have been refused, where it would have been."""
    if permit.shadow is None:
        return [], b""
    reason = permit.shadow.encode()
    return [(SHADOW_NAME, reason)], b"%b: %b\r\n" % (SHADOW_NAME, reason)
