import base64

import pytest

from gateway.sandbox.ledger import CODE_LIFETIME
from tests.sandbox.partner import DEMO, SERVERS

PROVIDERS = sorted(SERVERS)
BASIC = "Basic " + base64.b64encode(b"demo:demo-secret").decode()


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_answer_is_not_to_be_kept(partner, provider):
    """RFC 6749 §5.1: neither tokens nor refusals."""
    given = await partner.exchange(provider, await partner.code(provider))
    refused = await partner.exchange(provider, "never-given")

    assert (200, 400) == (given.status, refused.status)
    assert ["no-store", "no-cache"] * 2 == [
        answer.headers[name]
        for answer in (given, refused)
        for name in ("Cache-Control", "Pragma")
    ]


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_code_runs_out(partner, provider, clock):
    """Short-lived by the clock that is handed in."""
    code = await partner.code(provider)
    clock.advance(CODE_LIFETIME)

    assert 400 == (await partner.exchange(provider, code)).status


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_code_used_twice_ends_its_tokens(partner, provider):
    """RFC 6749 §4.1.2."""
    code = await partner.code(provider)
    tokens = (await partner.exchange(provider, code)).json
    again = await partner.exchange(provider, code)
    told = await partner.introspect(provider, tokens["access_token"])

    assert 400 == again.status
    assert {"active": False} == told


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_form_is_a_form(partner, provider):
    """Another content type, or a body that is no form, is malformed."""
    path = SERVERS[provider] + "token"
    body = b"grant_type=authorization_code&client_id=demo&client_secret=demo-secret"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answers = [
        await partner.ask(
            "POST", path, body=body, headers={"Content-Type": "text/plain"}
        ),
        await partner.ask("POST", path, body=body + b"&client_id=x", headers=form),
        await partner.ask("POST", path, body=body + b"&x=%FF", headers=form),
        await partner.ask("POST", path, body=body, headers=form),
    ]

    assert [400] * 4 == [answer.status for answer in answers]
    assert 1 == len({answer.body for answer in answers})


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_get_is_not_the_way_to_the_token(partner, provider):
    """POST only."""
    answer = await partner.ask("GET", SERVERS[provider] + "token")

    assert (405, "POST") == (answer.status, answer.headers["Allow"])


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_refresh_gives_a_new_access_token(partner, provider):
    """The old one lives on, and the refresh token is good again."""
    first = await partner.tokens(provider)
    second = (await partner.refresh(provider, first["refresh_token"])).json
    third = await partner.refresh(provider, first["refresh_token"])

    assert first["access_token"] != second["access_token"]
    assert 200 == third.status
    for tokens in (first, second):
        told = await partner.introspect(provider, tokens["access_token"])
        assert told["active"] is True


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_refresh_token_belongs_to_its_client_and_is_no_access_token(
    partner, provider
):
    """Nor is an access token a refresh token."""
    tokens = await partner.tokens(provider)
    stranger = await partner.refresh(
        provider,
        tokens["refresh_token"],
        client_id="demo-code-only",
        client_secret="demo-code-only-secret",
    )
    swapped = await partner.refresh(provider, tokens["access_token"])

    assert 200 not in {stranger.status, swapped.status}
    assert {"active": False} == await partner.introspect(
        provider, tokens["refresh_token"]
    )


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    ("revoked", "active"), [("access_token", False), ("refresh_token", False)]
)
async def test_revoked_token_is_inactive(partner, provider, revoked, active):
    """RFC 7009: a 200 without a body; a refresh token takes the access token along."""
    tokens = await partner.tokens(provider)
    answer = await partner.post(provider, "revoke", token=tokens[revoked], **DEMO)
    told = await partner.introspect(provider, tokens["access_token"])
    refreshed = await partner.refresh(provider, tokens["refresh_token"])

    assert (200, b"") == (answer.status, answer.body)
    assert active is told["active"]
    assert (refreshed.status == 200) is (revoked == "access_token")


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_revocation_is_always_done_for_a_known_client(partner, provider):
    """An unknown token is as good as revoked; another client's is left alone."""
    tokens = await partner.tokens(provider)
    unknown = await partner.post(provider, "revoke", token="unknown", **DEMO)
    foreign = await partner.post(
        provider,
        "revoke",
        token=tokens["access_token"],
        client_id="demo-code-only",
        client_secret="demo-code-only-secret",
    )
    told = await partner.introspect(provider, tokens["access_token"])

    assert [200, 200] == [unknown.status, foreign.status]
    assert told["active"] is True


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("endpoint", ["revoke", "introspect"])
async def test_servers_must_say_who_they_are(partner, provider, endpoint):
    """Credentials in the body or by Basic; none or wrong ones are refused."""
    in_body = await partner.post(provider, endpoint, token="t", **DEMO)
    by_basic = await partner.post(provider, endpoint, basic=BASIC, token="t")
    refused = [
        await partner.post(provider, endpoint, token="t"),
        await partner.post(
            provider, endpoint, token="t", client_id="demo", client_secret="guess"
        ),
        await partner.post(provider, endpoint, basic=BASIC, token="t", **DEMO),
        await partner.post(provider, endpoint, **DEMO),
    ]

    assert [200, 200] == [in_body.status, by_basic.status]
    assert {answer.status for answer in refused} <= {400, 401}


async def test_introspection_tells_what_a_token_is(partner, sandbox, clock):
    """RFC 7662 §2.2, and inactive as soon as it has run out."""
    tokens = await partner.tokens("ottm")
    told = await partner.introspect("ottm", tokens["access_token"])
    clock.advance(told["exp"] - clock.now())
    late = await partner.introspect("ottm", tokens["access_token"])

    assert told.pop("jti")
    assert {
        "active": True,
        "scope": "openid profile",
        "client_id": "demo",
        "username": "test",
        "token_type": "Bearer",
        "exp": 1_800_003_600,
        "sub": "e68a06bf9f2d4496882877cbecad27eb",
        "iss": f"{sandbox.url}/ottm",
    } == told
    assert {"active": False} == late


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_unknown_token_is_inactive(partner, provider):
    """And nothing more is said."""
    assert {"active": False} == await partner.introspect(provider, "unknown")


async def test_shared_keys_are_not_published(partner):
    """Melon signs with HS256: whoever had the key could make tokens."""
    answer = await partner.ask("GET", "/melon/oauth/jwks.json")

    assert {"keys": []} == answer.json
