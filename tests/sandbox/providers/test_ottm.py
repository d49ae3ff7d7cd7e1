import re

import jwt
import pytest

from tests.sandbox.partner import CALLBACK, DEMO


def envelope(code: int, message: str) -> bytes:
    """Spell an error body as it is on the wire."""
    return (
        f'{{"error": {{"code": "{code}", "message": "{message}"}}, "payload": null}}'
    ).encode()


INVALID_REQUEST = envelope(10051, "Invalid request")
INVALID_SCOPE = envelope(10071, "Invalid oauth2 scope")
INSUFFICIENT_SCOPE = envelope(10074, "Insufficient oauth2 scope")
INVALID_TOKEN = envelope(10075, "Invalid oauth2 token")
UNAUTHORIZED_CLIENT = envelope(10076, "Unauthorized oauth2 client")


async def test_code_returns_as_in_the_sample(partner):
    """The sample's query begins with an empty pair."""
    answer = await partner.decide("ottm")

    assert 302 == answer.status
    assert (
        f"{CALLBACK}?&code={answer.answered['code']}&state=xyz"
        == (answer.headers["Location"])
    )


async def test_samples_request_is_understood(partner):
    """It too begins with an empty pair."""
    page = await partner.ask(
        "GET",
        "/ottm/auth/authorize?&scope=openid%20profile&response_type=code&state=xxx"
        f"&redirect_uri={CALLBACK}&client_id=demo",
    )

    assert (200, True) == (page.status, b"<form" in page.body)


async def test_token_answer_is_the_documents(partner, sandbox, clock):
    """Opaque tokens of the sample's length, and an id_token that can be checked."""
    tokens = await partner.tokens("ottm")
    published = await partner.ask("GET", "/ottm/oauth2/v1/jwks")
    (key,) = jwt.PyJWKSet.from_dict(published.json).keys
    told = jwt.decode(
        tokens["id_token"],
        key,
        algorithms=["RS256"],
        audience="demo",
        issuer=f"{sandbox.url}/ottm",
        options={"verify_iat": False, "verify_exp": False},
    )

    assert [
        "access_token",
        "refresh_token",
        "scope",
        "id_token",
        "token_type",
        "expires_in",
    ] == list(tokens)
    assert ("openid profile", "Bearer", 3599) == (
        tokens["scope"],
        tokens["token_type"],
        tokens["expires_in"],
    )
    assert re.fullmatch(r"[A-Za-z0-9_-]{128}", tokens["access_token"])
    assert key.key_id == jwt.get_unverified_header(tokens["id_token"])["kid"]
    assert ("e68a06bf9f2d4496882877cbecad27eb", int(clock.now()) + 3600) == (
        told["sub"],
        told["exp"],
    )


async def test_without_openid_there_is_no_id_token(partner):
    """OIDC Core §3.1.2.1."""
    tokens = await partner.tokens("ottm", scope="profile")

    assert ("profile", False) == (tokens["scope"], "id_token" in tokens)


async def test_refresh_token_stays_the_same(partner):
    """Nothing is documented of refreshing; the token is simply good again."""
    tokens = await partner.tokens("ottm")
    renewed = (await partner.refresh("ottm", tokens["refresh_token"])).json

    assert tokens["refresh_token"] == renewed["refresh_token"]
    assert "openid profile" == renewed["scope"]


async def test_userinfo_is_the_documents(partner):
    """To the member, while the token is good."""
    tokens = await partner.tokens("ottm")
    answer = await partner.userinfo(f"Bearer {tokens['access_token']}")

    assert (200, "application/json") == (answer.status, answer.headers["Content-Type"])
    assert {
        "sub": "e68a06bf9f2d4496882877cbecad27eb",
        "nickname": "test",
        "email": "test@flask.global",
    } == answer.json


async def test_userinfo_refuses_every_bad_token_alike(partner, clock):
    """None, two, another scheme, unknown, a refresh token, revoked, expired: 10075."""
    tokens = await partner.tokens("ottm")
    other = await partner.tokens("ottm")
    good = f"Bearer {tokens['access_token']}"
    await partner.post("ottm", "revoke", token=other["access_token"], **DEMO)
    answers = [
        await partner.userinfo(),
        await partner.userinfo(good, good),
        await partner.userinfo("Basic ZGVtbw=="),
        await partner.userinfo("Bearer unknown"),
        await partner.userinfo(f"Bearer {tokens['refresh_token']}"),
        await partner.userinfo(f"Bearer {other['access_token']}"),
    ]
    clock.advance(3600)
    answers.append(await partner.userinfo(good))

    assert {(400, INVALID_TOKEN)} == {(each.status, each.body) for each in answers}


async def test_userinfo_wants_openid(partner):
    """10074: the token is good, but not for this."""
    tokens = await partner.tokens("ottm", scope="profile")
    answer = await partner.userinfo(f"Bearer {tokens['access_token']}")

    assert (400, INSUFFICIENT_SCOPE) == (answer.status, answer.body)


@pytest.mark.parametrize(
    ("changes", "body"),
    [
        ({"scope": "openid email"}, INVALID_SCOPE),
        ({"scope": None}, INVALID_REQUEST),
        ({"response_type": "token"}, INVALID_REQUEST),
        ({"redirect_uri": "https://other/"}, INVALID_REQUEST),
        ({"client_id": "stranger"}, UNAUTHORIZED_CLIENT),
    ],
)
async def test_authorize_refuses_by_envelope(partner, changes, body):
    """Every error of the document is a 400: none travels on a redirect."""
    answer = await partner.authorize("ottm", **changes)

    assert (400, body) == (answer.status, answer.body)


@pytest.mark.parametrize(
    ("changes", "body"),
    [
        ({"client_secret": None}, INVALID_REQUEST),
        ({"client_secret": "guess"}, UNAUTHORIZED_CLIENT),
        ({"grant_type": "password"}, INVALID_REQUEST),
        ({"grant_type": None}, INVALID_REQUEST),
        ({"code": "unknown"}, INVALID_REQUEST),
        ({"redirect_uri": None}, INVALID_REQUEST),
        ({"redirect_uri": "https://other/"}, INVALID_REQUEST),
        ({"grant_type": "refresh_token", "refresh_token": "unknown"}, INVALID_TOKEN),
        (
            {
                "grant_type": "refresh_token",
                "client_id": "demo-code-only",
                "client_secret": "demo-code-only-secret",
            },
            UNAUTHORIZED_CLIENT,
        ),
    ],
)
async def test_token_endpoint_refuses_by_envelope(partner, changes, body):
    """10076 is the client's, 10075 the token's, 10051 everything else's."""
    code = await partner.code("ottm")
    answer = await partner.exchange("ottm", **{"code": code, **changes})

    assert (400, body) == (answer.status, answer.body)
