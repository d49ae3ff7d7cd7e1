"""Names for tokens that say nothing of them. Floor 3: pure arithmetic, no I/O.

A fingerprint is a keyed BLAKE2b-256 over the kind of the entry, the provider, the
identity of the verifiers and the *whole* token, each preceded by its length: two
different questions never share a name (CVE-2026-35030 cut the token, CVE-2026-33496
left out who was asked). Without the gateway's secret a dump of names cannot even be
used to check a guess.
"""

import enum
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

LAYOUT: Final = 1
"""The form of what is stored, part of every store key: gateways of two forms side by
side, as in a rollout, never read each other's entries."""


class Kind(enum.StrEnum):
    """What a fingerprint names: entries of one kind are never taken for another's."""

    FACTS = "facts"
    FLIGHT = "flight"
    GRANT = "grant"
    MARK = "mark"
    RENEWAL = "renewal"
    LOGOUT = "logout"


def subkey(secret: str, purpose: str) -> bytes:
    """Derive the 32-byte key for one purpose (16 bytes at most) from a secret."""
    # BLAKE2b keys end at 64 bytes: the secret, of any length, is hashed first.
    root = blake2b(secret.encode("utf-8", "surrogatepass")).digest()
    return blake2b(key=root, person=purpose.encode(), digest_size=32).digest()


def framed(text: str) -> bytes:
    """Give the bytes of `text` behind their length: no two texts run together.

    Total: a token out of a form may hold anything, even lone surrogates.
    """
    raw = text.encode("utf-8", "surrogatepass")
    return len(raw).to_bytes(8, "big") + raw


class Fingerprint:
    """Names the tokens of one kind, provider and verifier identity."""

    __slots__ = ("_kind", "_prefix")

    def __init__(
        self, secret: str, kind: Kind, provider: str, identity: str = ""
    ) -> None:
        self._kind = kind
        self._prefix = blake2b(
            framed(kind) + framed(provider) + framed(identity),
            key=subkey(secret, "fingerprint"),
            digest_size=32,
        )

    def __call__(self, token: str) -> bytes:
        """Give the token's name in memory: 32 bytes."""
        # On every request: the key and the prefix are hashed once, then copied.
        raw = token.encode("utf-8", "surrogatepass")
        hasher = self._prefix.copy()
        hasher.update(len(raw).to_bytes(8, "big") + raw)
        return hasher.digest()

    def store_key(self, token: str) -> str:
        """Give the token's name in a store: of one length and alphabet."""
        return f"gateway:{LAYOUT}:{self._kind}:{self(token).hex()}"


def fingerprints(
    secrets: Sequence[str], kind: Kind, provider: str, identity: str = ""
) -> tuple[Fingerprint, ...]:
    """Give one `Fingerprint` for each listed secret, the current one first."""
    return tuple(Fingerprint(secret, kind, provider, identity) for secret in secrets)
