import dataclasses
import json
from typing import Any, get_args

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import RSAAlgorithm

from gateway.rules.signatures import (
    AlgorithmName,
    Jws,
    UnusableKey,
    key_set,
    one_key,
    read,
)
from gateway.rules.strict_json import UnusableJson
from tests.signing import SECRET, configured, jwk, jwks, part, pem, private_key, sign

ALGORITHMS = get_args(AlgorithmName)
CLAIMS = {"sub": "ada", "exp": 2_000_000_000}

every_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS)


def jws(token: str) -> Jws:
    """Read a token that has the form."""
    found = read(token)
    assert found is not None
    return found


# ------------------------------------------------------------------------- form


def test_a_token_is_read_into_its_parts():
    """Nothing is proven by reading."""
    found = jws(sign(CLAIMS, header={"kid": "k1"}))

    assert {"alg": "HS256", "typ": "JWT", "kid": "k1"} == found.header
    assert CLAIMS == found.claims()


def test_a_token_does_not_show_itself():
    """What is read of it may end up in a traceback."""
    assert part(CLAIMS) not in repr(jws(sign(CLAIMS)))


@pytest.mark.parametrize(
    "token",
    [
        "",
        "opaque",
        "two.parts",
        ".." + "." * 1000,
        f"{part({})}.{part({})}.a.b.c",
        "..",
        f"{part('no JSON')}.{part(CLAIMS)}.",
        f"{part([])}.{part(CLAIMS)}.",
        part(b'{"alg":"none","alg":"HS256"}') + f".{part(CLAIMS)}.",
        f"{part({'alg': 'HS256'})}=.{part(CLAIMS)}.",
        f"{part({'alg': 'HS256'})}\n.{part(CLAIMS)}.",
        f"{part({'alg': 'HS256'})}A.{part(CLAIMS)}.",
        f"é{part({'alg': 'HS256'})}.{part(CLAIMS)}.",
        json.dumps({"protected": "a", "payload": "b", "signature": "c.d.e"}),
    ],
    ids=range(14),
)
def test_what_has_not_the_form_is_not_read(token):
    """Five parts, JSON serialisation, padding, duplicates: not a JWT of ours."""
    assert None is read(token)


@pytest.mark.parametrize("signature", ["!", "A", "AB", "AAAA=", "A A", "_-+/"])
def test_a_signature_has_one_spelling(signature):
    """Base64 decoders skip what they do not know; a second spelling proves nothing."""
    found = jws(f"{part({'alg': 'HS256'})}.{part(CLAIMS)}.{signature}")

    assert b"" == found.signature


@pytest.mark.parametrize(
    "payload", ["!", part([]), part("{}") + "=", part(b'{"a":1e400}')]
)
def test_a_payload_is_strict_too(payload):
    """A signature does not excuse claims with two readings."""
    found = jws(f"{part({'alg': 'HS256'})}.{payload}.")

    with pytest.raises(UnusableJson):
        found.claims()


@given(st.text(max_size=80))
def test_any_text_is_read_or_not(token):
    """Reading never fails in another way."""
    assert isinstance(read(token), Jws | None)


# -------------------------------------------------------------------- signatures


@every_algorithm
def test_a_configured_key_proves_its_tokens(algorithm):
    """Every algorithm of the list, by PEM or secret, whatever `kid` says."""
    keys = one_key(configured(algorithm), algorithm)

    assert keys.proves(jws(sign(CLAIMS, algorithm)))
    assert keys.proves(jws(sign(CLAIMS, algorithm, {"kid": "any"})))


@every_algorithm
def test_a_published_key_proves_its_tokens(algorithm):
    """The same from a JWK set, named and unnamed."""
    keys = key_set(jwks(jwk(algorithm, kid="k1")), [algorithm])

    assert keys.proves(jws(sign(CLAIMS, algorithm, {"kid": "k1"})))
    assert keys.proves(jws(sign(CLAIMS, algorithm)))
    assert not keys.proves(jws(sign(CLAIMS, algorithm, {"kid": "k2"})))


@every_algorithm
@pytest.mark.parametrize(
    "signature",
    [
        b"",
        b"\x00",
        b"\x00" * 32,
        b"\x00" * 64,
        b"\xff" * 132,
        b"\x00" * 256,
        b"x" * 999,
    ],
    ids=range(7),
)
def test_a_malformed_signature_proves_nothing_and_breaks_nothing(algorithm, signature):
    """Wrong lengths have crashed verifiers (APISIX #13518)."""
    keys = one_key(configured(algorithm), algorithm)
    forged = dataclasses.replace(jws(sign(CLAIMS, algorithm)), signature=signature)

    assert not keys.proves(forged)


@every_algorithm
def test_a_changed_token_is_not_proven(algorithm):
    """The signature covers header and payload as they were sent."""
    keys = one_key(configured(algorithm), algorithm)
    header, _, signature = sign(CLAIMS, algorithm).split(".")

    assert not keys.proves(
        jws(f"{header}.{part({**CLAIMS, 'sub': 'eve'})}.{signature}")
    )


@pytest.mark.parametrize("name", ["none", "None", "nOnE", "NONE", "", 0, "HS512"])
def test_the_header_chooses_no_other_algorithm(name):
    """A key serves one algorithm, and `none` is not one (CVE-2022-29217)."""
    keys = one_key(SECRET, "HS256")

    assert not keys.proves(jws(sign(CLAIMS, header={"alg": name})))


def public_forms() -> list[bytes]:
    """Spell one RSA public key in the ways that were taken for HMAC secrets."""
    public = private_key("RS256").public_key()
    return [
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
        json.dumps(jwk("RS256")).encode(),
    ]


@pytest.mark.parametrize("which", range(5), ids=["pem", "pkcs1", "der", "ssh", "jwk"])
def test_a_public_key_is_no_secret(which):
    """HS256 made with the public key: the oldest confusion (CVE-2017-11424)."""
    forged = jws(sign(CLAIMS, "HS256", key=public_forms()[which]))

    assert not one_key(pem("RS256"), "RS256").proves(forged)
    assert not key_set(jwks(jwk("RS256")), ["RS256", "HS256"]).proves(forged)


def test_keys_in_the_header_are_not_looked_at():
    """A token cannot bring its own key (CVE-2026-27962)."""
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    own = RSAAlgorithm.to_jwk(stranger.public_key(), as_dict=True)
    header = {"jwk": own, "jku": "https://evil.example", "x5u": "https://evil.example"}

    keys = key_set(jwks(jwk("RS256")), ["RS256"])

    assert not keys.proves(jws(sign(CLAIMS, "RS256", header, key=stranger)))


# -------------------------------------------------------------------------- keys


@pytest.mark.parametrize(
    ("text", "algorithm", "message"),
    [
        ("", "HS256", "a secret that is no public key, as HS256 demands"),
        ("k" * 31, "HS256", "a key as long as HS256 demands"),
        ("k" * 47, "HS384", "a key as long as HS384 demands"),
        ("k" * 63, "HS512", "a key as long as HS512 demands"),
        (pem("RS256"), "HS256", "a secret that is no public key, as HS256 demands"),
        (json.dumps(jwk("RS256")), "HS256", "a secret that is no public key, "),
        (SECRET, "RS256", "a public key in PEM form, as RS256 demands"),
        (pem("RS256"), "ES256", "a public key in PEM form, as ES256 demands"),
        (pem("ES256"), "ES384", "a public key in PEM form, as ES384 demands"),
        (pem("ES256"), "EdDSA", "a public key in PEM form, as EdDSA demands"),
    ],
    ids=range(10),
)
def test_an_unfit_key_is_refused_at_load(text, algorithm, message):
    """Empty, short, of another kind: said in words, without the key."""
    with pytest.raises(UnusableKey) as refusal:
        one_key(text, algorithm)

    assert str(refusal.value).startswith(message)


SHORT_KEY = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 -- the point
SHORT = RSAAlgorithm.to_jwk(SHORT_KEY.public_key(), as_dict=True)


def test_a_short_rsa_key_is_refused():
    """RFC 7518 §3.3: 2048 bits."""
    text = SHORT_KEY.public_key().public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    )

    with pytest.raises(UnusableKey, match="as long as RS256 demands"):
        one_key(text.decode(), "RS256")


@pytest.mark.parametrize(
    "unfit",
    [
        "text",
        None,
        {},
        {"kty": "none"},
        {"kty": "RSA"},
        {"kty": "RSA", "n": 5, "e": []},
        {"kty": "RSA", "n": "AQAB", "e": "AQ"},
        {"kty": "EC", "crv": "P-256", "x": "A" * 43, "y": "A" * 43},
        {"kty": "EC", "crv": "P-999", "x": "A", "y": "A"},
        {"kty": "OKP", "crv": "Ed25519", "x": "AAAA"},
        {"kty": "OKP", "crv": "X25519", "x": "A" * 43},
        {"kty": "oct", "k": ""},
        {"kty": "oct"},
        {"kty": "oct", "k": part("k" * 31)},
        SHORT,
        jwk("RS256", use="enc"),
        jwk("RS256", use=1),
        jwk("RS256", key_ops=["encrypt"]),
        jwk("RS256", key_ops="verify"),
        jwk("RS256", alg="RS1"),
        jwk("RS256", alg="PS256"),
        jwk("RS256", alg=["RS256"]),
        jwk("RS256", kid=5),
        RSAAlgorithm.to_jwk(private_key("RS256"), as_dict=True)
        | {"key_ops": ["verify"]},
    ],
    ids=range(24),
)
def test_unfit_keys_of_a_set_are_left_out(unfit):
    """One bad key neither breaks the others nor gets in (SECURITY §5, JWKS)."""
    allowed: list[AlgorithmName] = ["HS256", "RS256", "ES256", "EdDSA"]
    good = jwk("RS256", kid="good")

    keys = key_set(jwks(unfit, good, unfit), allowed)

    assert ["good"] == [key.name for key in keys.keys]
    with pytest.raises(UnusableKey):
        key_set(jwks(unfit), allowed)


def test_a_secret_is_used_where_its_algorithm_is_listed_alone():
    """A set that was fetched is read without HS algorithms."""
    document = jwks(jwk("HS256", kid="h"), jwk("RS256", kid="r"))

    without = key_set(document, ["RS256"])
    with_it = key_set(document, ["RS256", "HS256"])

    assert ["r"] == [key.name for key in without.keys]
    assert ["h", "r"] == [key.name for key in with_it.keys]


@pytest.mark.parametrize(
    "document", [b"", b"[]", b"{}", b'{"keys": []}', b'{"keys": {}}', b'{"keys": null}']
)
def test_a_set_without_keys_is_none(document):
    """An empty set is a failure, not a reason to trust nobody from now on."""
    with pytest.raises(UnusableKey, match="a JWK set with a key that may be used"):
        key_set(document, ["RS256"])


json_values: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=3,
)


@given(
    st.fixed_dictionaries(
        {"kty": st.sampled_from(["RSA", "EC", "OKP", "oct"])},
        optional=dict.fromkeys(
            ["n", "e", "x", "y", "k", "kid", "alg", "use", "key_ops"], json_values
        )
        | {"crv": st.sampled_from(["P-256", "Ed25519", "Ed448", "secp256k1"])},
    )
)
def test_any_jwk_is_used_or_left_out(mangled):
    """No published key, however mangled, is more than a key less."""
    keys = key_set(jwks(mangled, jwk("RS256", kid="\0")), ALGORITHMS)

    assert "\0" == keys.keys[-1].name


def test_a_nameless_algorithm_is_the_first_that_fits():
    """RFC 8725 §3.1: one key, one algorithm, so the order of the list decides."""
    keys = key_set(jwks(jwk("PS256")), ["ES256", "PS256", "RS256"])

    assert ["PS256"] == [key.algorithm for key in keys.keys]
    assert not keys.proves(jws(sign(CLAIMS, "RS256")))


def test_keys_may_share_a_name():
    """During a rotation both are tried."""
    twins = [jwk("RS256", which, kid="k1") for which in (0, 1)]
    keys = key_set(jwks(*twins), ["RS256"])

    for which in (0, 1):
        assert keys.proves(jws(sign(CLAIMS, "RS256", {"kid": "k1"}, which=which)))


def test_a_set_knows_its_names():
    """A name is what tells whether fetching again could help."""
    keys = key_set(jwks(jwk("RS256", kid="k1"), jwk("ES256")), ["RS256", "ES256"])

    assert keys.names("k1")
    assert not keys.names("k2")
    assert not keys.names(None)


def test_the_fingerprint_tells_sets_apart():
    """It stands for the key in a verifier's identity, and holds nothing of it."""
    first, second = (one_key(SECRET + end, "HS256") for end in "ab")

    assert first.fingerprint != second.fingerprint
    assert SECRET not in repr(first)
