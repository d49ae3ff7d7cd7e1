"""Keys and tokens made for tests: each kind of key is generated once."""

import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import get_default_algorithms

SECRET = "a-test-secret-of-sixty-four-characters-0123456789-abcdefghijklmno"
"""Long enough for every HS algorithm."""

_CURVES: dict[str, ec.EllipticCurve] = {
    "ES256": ec.SECP256R1(),
    "ES384": ec.SECP384R1(),
    "ES512": ec.SECP521R1(),
}


def private_key(algorithm: str, which: int = 0) -> Any:
    """Give the test's own key for an algorithm; `which` tells several apart."""
    if algorithm.startswith("HS"):
        return SECRET.encode()
    return _generated("RSA" if algorithm[:2] in {"RS", "PS"} else algorithm, which)


@cache
def _generated(kind: str, _which: int) -> Any:
    if kind == "RSA":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    if kind == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(_CURVES[kind])


def pem(algorithm: str) -> str:
    """Give the public half as operators write it in configuration."""
    public = private_key(algorithm).public_key()
    form = PublicFormat.SubjectPublicKeyInfo
    text: bytes = public.public_bytes(Encoding.PEM, form)
    return text.decode()


def configured(algorithm: str) -> str:
    """Give what `key:` holds for an algorithm."""
    return SECRET if algorithm.startswith("HS") else pem(algorithm)


def jwk(algorithm: str, which: int = 0, **members: Any) -> dict[str, Any]:
    """Give the public half as a JWK; `members` are added, None takes one away."""
    arithmetic = get_default_algorithms()[algorithm]
    key = private_key(algorithm, which)
    public = key if isinstance(key, bytes) else key.public_key()
    bare: dict[str, Any] = arithmetic.to_jwk(public, as_dict=True)
    bare.pop("key_ops", None)
    return {
        name: value for name, value in {**bare, **members}.items() if value is not None
    }


def jwks(*keys: Any) -> bytes:
    """Give a JWK set."""
    return json.dumps({"keys": list(keys)}).encode()


def part(value: Any) -> str:
    """Encode one part of a token; bytes and text go in as they are."""
    match value:
        case bytes():
            raw = value
        case str():
            raw = value.encode()
        case _:
            raw = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def sign(
    claims: Any,
    algorithm: str = "HS256",
    header: Mapping[str, Any] | None = None,
    *,
    key: Any = None,
    which: int = 0,
) -> str:
    """Make a token. `header` replaces members of the usual one, None removes one.

    The signature is always that of `algorithm`, whatever the header says of it.
    """
    members = {"alg": algorithm, "typ": "JWT", **(header or {})}
    kept = {name: value for name, value in members.items() if value is not None}
    signed = f"{part(kept)}.{part(claims)}"
    arithmetic = get_default_algorithms()[algorithm]
    made_with = private_key(algorithm, which) if key is None else key
    return f"{signed}.{part(arithmetic.sign(signed.encode(), made_with))}"
