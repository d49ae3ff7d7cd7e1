"""Keys and signatures of JSON Web Tokens. Floor 2: pure; who fetches keys is above.

The form is read strictly here (RFC 7515 §5.2, RFC 8725 §3): three parts, canonical
base64url, headers without duplicates; PyJWT does the arithmetic. A key knows the one
algorithm it may be used with, so a token's header only ever *selects* among our keys:
it cannot bring one (`jwk`, `jku`, `x5c`, `x5u` are never looked at), nor turn a public
key into an HMAC secret.
"""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final, Literal, get_args

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt.algorithms import Algorithm, get_default_algorithms
from jwt.exceptions import PyJWTError

from gateway.rules import strict_json
from gateway.rules.strict_json import Members, UnusableJson

AlgorithmName = Literal[
    "HS256",
    "HS384",
    "HS512",
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
]

_ALGORITHMS: Final = {
    name: algorithm
    for name, algorithm in get_default_algorithms().items()
    if name in get_args(AlgorithmName)
}

_BAD_KEY: Final = (PyJWTError, ValueError, TypeError, KeyError, UnsupportedAlgorithm)
"""What PyJWT and cryptography raise over keys that are none."""


class UnusableKey(ValueError):
    """No key, or none that may be used. The message names what was expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Jws:
    """A token in three parts, nothing of which is proven yet.

    A signature that is not canonical base64url is empty here: it proves nothing.
    """

    header: Members
    payload: str = field(repr=False)
    signing_input: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    def claims(self) -> Members:
        """Decode the payload; raises `UnusableJson`. Ask only once it is proven."""
        return strict_json.decode(_canonical(self.payload))


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A verification key, the one algorithm it serves, and its name if it has one."""

    name: str | None
    algorithm: str
    # PyJWT types its keys per algorithm; here they only pass through.
    material: Any = field(repr=False)

    def proves(self, jws: Jws) -> bool:
        """Tell whether this key made the signature."""
        arithmetic = _ALGORITHMS[self.algorithm]
        return arithmetic.verify(jws.signing_input, self.material, jws.signature)


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys of one provider at one time, and a fingerprint of their source."""

    keys: tuple[Key, ...]
    fingerprint: str

    def names(self, name: object) -> bool:
        """Tell whether a key bears this name."""
        return any(key.name == name for key in self.keys if key.name is not None)

    def proves(self, jws: Jws) -> bool:
        """Tell whether one of the keys that may have made this signature did.

        Keys may share a name during a rotation, and a nameless key fits any token
        (RFC 7517 §4.5: a name is a hint).
        """
        algorithm, name = jws.header.get("alg"), jws.header.get("kid")
        return any(
            key.proves(jws)
            for key in self.keys
            if key.algorithm == algorithm
            and (name is None or key.name is None or key.name == name)
        )


def read(token: str) -> Jws | None:
    """Read the form of a token; None when it has not the form of a JWT at all."""
    parts = token.split(".", 3)
    if len(parts) != 3 or not token.isascii():
        return None
    try:
        header = strict_json.decode(_canonical(parts[0]))
    except UnusableJson:
        return None
    try:
        signature = _canonical(parts[2])
    except UnusableJson:
        signature = b""
    return Jws(
        header=header,
        payload=parts[1],
        signing_input=f"{parts[0]}.{parts[1]}".encode(),
        signature=signature,
    )


def one_key(text: str, algorithm: AlgorithmName) -> KeySet:
    """Make a set of one PEM public key or HMAC secret. Raises `UnusableKey`.

    PyJWT refuses as a secret whatever looks like a public key: PEM, DER, SSH, JWK.
    """
    arithmetic = _ALGORITHMS[algorithm]
    source = text.encode()
    try:
        material = arithmetic.prepare_key(
            source if algorithm.startswith("HS") else load_pem_public_key(source)
        )
    except _BAD_KEY:
        expected = (
            "a secret that is no public key"
            if algorithm.startswith("HS")
            else "a public key in PEM form"
        )
        msg = f"{expected}, as {algorithm} demands"
        raise UnusableKey(msg) from None
    _long_enough(arithmetic, algorithm, material)
    key = Key(name=None, algorithm=algorithm, material=material)
    return KeySet((key,), _fingerprint(source))


def key_set(document: bytes, algorithms: Sequence[AlgorithmName]) -> KeySet:
    """Read a JWK set (RFC 7517 §5), leaving out the keys that may not be used.

    A key fits one of `algorithms` or none: where no HS algorithm is listed, no `oct`
    key is used. Raises `UnusableKey` when nothing usable is left.
    """
    try:
        members = strict_json.decode(document).get("keys")
    except UnusableJson:
        members = None
    found = (
        [_key(jwk, algorithms) for jwk in members] if isinstance(members, list) else []
    )
    keys = tuple(key for key in found if key is not None)
    if not keys:
        msg = "a JWK set with a key that may be used"
        raise UnusableKey(msg)
    return KeySet(keys, _fingerprint(document))


def _key(jwk: object, algorithms: Sequence[AlgorithmName]) -> Key | None:
    """Bind a JWK to its own algorithm, else to the first of ours that it fits."""
    if not isinstance(jwk, dict) or not _is_for_verifying(jwk):
        return None
    declared, name = jwk.get("alg"), jwk.get("kid")
    for algorithm in algorithms:
        if declared is not None and declared != algorithm:
            continue
        arithmetic = _ALGORITHMS[algorithm]
        try:
            material = arithmetic.prepare_key(arithmetic.from_jwk(jwk))
            _long_enough(arithmetic, algorithm, material)
        except _BAD_KEY:
            continue
        return Key(name=name, algorithm=algorithm, material=material)
    return None


def _is_for_verifying(jwk: Members) -> bool:
    """RFC 7517 §4.2, §4.3; and a private key that was published is nobody's proof."""
    operations = jwk.get("key_ops", ["verify"])
    return (
        jwk.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
        and "d" not in jwk
        and isinstance(jwk.get("kid"), str | None)
    )


def _long_enough(arithmetic: Algorithm, algorithm: str, material: object) -> None:
    """RFC 7518 §3.2 and §3.3: as long as the hash; 2048 bits for RSA."""
    if arithmetic.check_key_length(material) is not None:
        msg = f"a key as long as {algorithm} demands"
        raise UnusableKey(msg)


def _fingerprint(source: bytes) -> str:
    return blake2b(source, digest_size=16).hexdigest()


def _canonical(part: str) -> bytes:
    """Decode base64url without padding; only the one canonical spelling passes."""
    try:
        raw = urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except binascii.Error:
        raise UnusableJson from None
    if urlsafe_b64encode(raw).rstrip(b"=") != part.encode():
        raise UnusableJson
    return raw
