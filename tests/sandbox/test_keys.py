import jwt

from gateway.sandbox.keys import sign_hs256, sign_rs256
from gateway.values import Secret


def test_shared_keys_are_long_text_and_never_printed(keys):
    """HS256 wants 256 bits at least (RFC 7518 §3.2)."""
    assert [True, True] == [len(key) >= 32 for key in (keys.melon, keys.nugu)]
    assert keys.melon != keys.nugu
    assert "SandboxKeys()" == repr(keys)


def test_hs256_token_has_the_samples_header_and_plain_utf8():
    """The samples' tokens begin so, and their Korean names are not escaped."""
    token = sign_hs256({"name": "송근욱"}, Secret("k" * 32))

    assert token.startswith("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.")
    assert '{"name":"송근욱"}'.encode() == jwt.api_jws.decode(
        token, "k" * 32, algorithms=["HS256"]
    )


def test_published_key_verifies_what_the_secret_one_signed(keys):
    """Only the public half of the RSA key is published, under its kid."""
    token = sign_rs256({"sub": "a"}, keys.ottm)
    (published,) = keys.published()

    assert {"kty", "n", "e", "kid", "use", "alg"} == set(published)
    assert published["kid"] == jwt.get_unverified_header(token)["kid"]
    public = jwt.PyJWK(published)
    assert {"sub": "a"} == jwt.decode(token, public, algorithms=["RS256"])
