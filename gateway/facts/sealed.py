"""Seal what is put in a store: nobody else can read it, make it or move it.

Floor 3: arithmetic only; who stores the bytes is not its business.

A sealed value is a version byte, a nonce and AES-256-GCM over `(believe_until,
payload)`. The key is derived from *the token and* the gateway's secret, so a dump of
the store, even with the secret, opens nothing: the one who can open an entry is the
one who brings its token. The store's key is authenticated with it, so an entry copied
under another key does not open. `believe_until` is inside, so an entry that lost its
expiry, or comes from a stale replica, is still refused in time.
"""

import os
from hashlib import blake2b
from typing import Final, Generic, TypeVar

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.errors import GatewayError
from gateway.facts.fingerprints import LAYOUT, framed, subkey
from gateway.ports import STORED_LIMIT_BYTES

VERSION: Final = bytes([LAYOUT])
_NONCE_BYTES: Final = 12

Payload = TypeVar("Payload")


class SealBroken(GatewayError):
    """A stored value is not what we put there: an alarm, and a miss."""


class Sealer(Generic[Payload]):
    """Seals and opens payloads of one type under one secret."""

    def __init__(self, kind: type[Payload], secret: str) -> None:
        self._key = subkey(secret, "seal")
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder: msgspec.msgpack.Decoder[tuple[float, Payload]]
        self._decoder = msgspec.msgpack.Decoder(tuple[float, kind])  # type: ignore[valid-type]

    def seal(
        self, payload: Payload, *, token: str, key: str, believe_until: float
    ) -> bytes | None:
        """Give the value to store under `key`, or None when it cannot be stored.

        That is one too long, or one that the codec has no form for: a claim of 70
        bits, or a name with half a surrogate pair. Providers have sent both.
        """
        try:
            plain = self._encoder.encode((believe_until, payload))
        except (OverflowError, UnicodeEncodeError):
            return None
        nonce = os.urandom(_NONCE_BYTES)
        cipher = self._cipher(token).encrypt(nonce, plain, _bound_to(key))
        value = VERSION + nonce + cipher
        return value if len(value) <= STORED_LIMIT_BYTES else None

    def open(self, value: bytes, *, token: str, key: str, now: float) -> Payload | None:
        """Give the payload, or None when it may no longer be believed.

        Raises `SealBroken` for every value that was not sealed for this very token
        and key; nothing of such a value is parsed.
        """
        if len(value) > STORED_LIMIT_BYTES or not value.startswith(VERSION):
            raise SealBroken("a stored value is not of our form")
        nonce, cipher = value[1 : 1 + _NONCE_BYTES], value[1 + _NONCE_BYTES :]
        try:
            plain = self._cipher(token).decrypt(nonce, cipher, _bound_to(key))
            believe_until, payload = self._decoder.decode(plain)
        except (InvalidTag, ValueError) as error:
            # ValueError: a nonce cut short, or a payload of another type.
            raise SealBroken("a stored value was not sealed by us") from error
        return payload if now < believe_until else None

    def _cipher(self, token: str) -> AESGCM:
        return AESGCM(blake2b(framed(token), key=self._key, digest_size=32).digest())


def _bound_to(key: str) -> bytes:
    return VERSION + key.encode()
