"""The sandbox's signing keys, and the JWTs made with them.

Apart from the floors. Two providers sign with a shared secret (HS256), which the
gateway in front must be told; the third publishes an RSA key at its JWKS endpoint.
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from gateway.values import Secret

KEY_ID: Final = "sandbox"


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxKeys:
    """`melon` and `nugu` are HS256 keys as text; `ottm` signs id_tokens with RS256."""

    melon: Secret = field(repr=False)
    nugu: Secret = field(repr=False)
    ottm: rsa.RSAPrivateKey = field(repr=False)

    @classmethod
    def generate(cls) -> "SandboxKeys":
        """Make fresh keys; takes about a tenth of a second."""
        return cls(
            melon=Secret(secrets.token_urlsafe(32)),
            nugu=Secret(secrets.token_urlsafe(32)),
            ottm=rsa.generate_private_key(public_exponent=65537, key_size=2048),
        )

    def published(self) -> list[dict[str, Any]]:
        """Give the JWKs that everybody may know (RFC 7517): never an HS256 key."""
        public = RSAAlgorithm.to_jwk(self.ottm.public_key(), as_dict=True)
        named = {"kid": KEY_ID, "use": "sig", "alg": "RS256"}
        return [{"kty": "RSA", "n": public["n"], "e": public["e"]} | named]


def sign_hs256(claims: Mapping[str, Any], key: Secret) -> str:
    """Make a compact JWS of `claims`, its names unescaped, as the providers do."""
    return jwt.PyJWS().encode(_payload(claims), key, "HS256", sort_headers=True)


def sign_rs256(claims: Mapping[str, Any], key: rsa.RSAPrivateKey) -> str:
    """Make a compact JWS that names its key by `kid`."""
    return jwt.PyJWS().encode(_payload(claims), key, "RS256", {"kid": KEY_ID})


def _payload(claims: Mapping[str, Any]) -> bytes:
    return json.dumps(claims, ensure_ascii=False, separators=(",", ":")).encode()
