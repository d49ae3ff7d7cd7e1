"""Refuse as melon does: plain RFC 6750, with melon's realm. Floor 2.

Its guide promises "401 or 403" for a bad token, upon which clients refresh; the
standard's table keeps that promise (401 for the token, 403 for its scope). The file
exists so that the provider has a name, and golden answers, of its own.
"""

from gateway.dialects.rfc6750 import PHRASES, word
from gateway.values import Answer, Denial


def answer(denial: Denial) -> Answer:
    """Word a denial as melon does."""
    return word(PHRASES, denial, realm="melon")
