import pytest

from gateway.errors import ProviderUnavailable
from gateway.ports import Verifier
from gateway.values import Invalid, Reason, TokenFacts
from gateway.verifiers.userinfo import BodySign, Settings, Sign, build, knows
from tests.verifiers.provider import context

URL = "https://api.example/oauth2/v1/userinfo"
SCOPE_CHALLENGE = {"www-authenticate": 'Bearer realm="a", error="insufficient_scope"'}


@pytest.fixture
def verify(provider, clock):
    """Verify a token under settings, with the provider scripted beforehand."""

    async def verify(presented="abc", *, kept=(), **settings):
        verifier: Verifier = build(
            Settings(url=URL, **settings),
            context(provider, clock, claims=frozenset(kept)),
        )
        return await verifier.verify(presented, clock.now())

    return verify


def envelope(code: object) -> dict[str, object]:
    """Say an error as ottm does."""
    return {"error": {"code": code, "message": "Said"}, "payload": None}


async def test_a_subject_confirms_the_token(provider, clock, verify):
    """Nothing is told of scope, client or expiry: they stay unknown."""
    provider.says(URL, {"sub": "ada", "nickname": "a", "email": "a@b.example"})

    found = await verify(kept=["nickname", "absent"])

    assert found == TokenFacts(
        provider="melon",
        subject="ada",
        claims={"nickname": "a"},
        learned_at=clock.now(),
    )


async def test_the_token_itself_is_the_question(provider, verify):
    """As a bearer header (OIDC §5.3.1), never in the URL."""
    provider.says(URL, {"sub": "ada"})

    await verify("the-token", timeout="750ms")

    (question,) = provider.questions
    assert ("GET", URL, "userinfo") == (
        question.method,
        question.url,
        question.endpoint,
    )
    assert "Bearer the-token" == question.headers["Authorization"]
    assert None is question.form
    assert 0.75 == question.deadline


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"sub": ""},
        {"sub": None},
        {"sub": 5},
        {"sub": ["ada"]},
        [],
        b"",
        b"<html>",
        b'{"sub": "ada", "sub": "eve"}',
        b"eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ.",
    ],
    ids=range(10),
)
async def test_a_200_without_a_subject_is_no_answer(provider, verify, body):
    """OIDC §5.3.2: `sub` is always there. Signed answers are not understood."""
    provider.says(URL, body)

    with pytest.raises(ProviderUnavailable):
        await verify()


@pytest.mark.parametrize("settings", [{}, {"invalid_when": "ottm"}])
@pytest.mark.parametrize("body", [b"", b"<html>", {"error": "invalid_token"}])
async def test_401_is_a_verdict(provider, verify, settings, body):
    """With or without an error text."""
    provider.says(URL, body, 401)

    assert Invalid(Reason.INACTIVE) == await verify(**settings)


@pytest.mark.parametrize(
    ("code", "reason"),
    [("10075", Reason.INACTIVE), ("10074", Reason.INSUFFICIENT_SCOPE)],
)
async def test_the_ottm_preset_reads_the_envelope(provider, verify, code, reason):
    """Every error of that provider is a 400."""
    provider.says(URL, envelope(code), 400)

    assert Invalid(reason) == await verify(invalid_when="ottm")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (envelope("10051"), 400),
        (envelope("10076"), 400),
        (envelope(None), 400),
        (envelope(["10075"]), 400),
        ({"error": "10075"}, 400),
        ({}, 400),
        (b"<html>10075", 400),
        (envelope("10075"), 404),
        (envelope("10075"), 403),
        (b"", 201),
        (b"", 204),
        ({"sub": "ada"}, 418),
    ],
    ids=range(12),
)
async def test_anything_else_is_no_answer(provider, verify, body, status):
    """A doubt is never a verdict: clients throw tokens away on one."""
    provider.says(URL, body, status)

    with pytest.raises(ProviderUnavailable):
        await verify(invalid_when="ottm")


async def test_an_ordinary_provider_says_400_of_our_request(provider, verify):
    """Without the preset a 400 is no verdict."""
    provider.says(URL, envelope("10075"), 400)

    with pytest.raises(ProviderUnavailable):
        await verify()


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (403, SCOPE_CHALLENGE),
        (400, SCOPE_CHALLENGE),
        (403, {"www-authenticate": "Bearer ERROR=insufficient_scope, scope=x"}),
    ],
)
async def test_a_token_without_the_scope_to_ask_is_told_apart(
    provider, verify, status, headers
):
    """RFC 6750 §3.1: it is good, but no facts of it can be had here."""
    provider.says(URL, b"", status, headers)

    assert Invalid(Reason.INSUFFICIENT_SCOPE) == await verify()


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (403, {}),
        (403, {"www-authenticate": 'Bearer error="invalid_request"'}),
        (403, {"www-authenticate": 'Bearer error="insufficient_scopes"'}),
        (302, SCOPE_CHALLENGE),
    ],
)
async def test_a_bare_403_is_no_answer(provider, verify, status, headers):
    """It may be a firewall's."""
    provider.says(URL, b"", status, headers)

    with pytest.raises(ProviderUnavailable):
        await verify()


async def test_an_operator_may_say_what_is_a_verdict(provider, verify):
    """By status, and by a member that may be a number."""
    signs = [
        {"status": "404"},
        {"status": 400, "body": {"path": "error.code", "equals": "7"}},
        {
            "status": 400,
            "body": {"path": "error.code", "equals": "8"},
            "means": "insufficient_scope",
        },
    ]
    found = []
    for body, status in [({}, 404), (envelope(7), 400), (envelope(8), 400)]:
        provider.says(URL, body, status)
        found.append(await verify(invalid_when=signs))

    assert found == [
        Invalid(Reason.INACTIVE),
        Invalid(Reason.INACTIVE),
        Invalid(Reason.INSUFFICIENT_SCOPE),
    ]
    provider.says(URL, {}, 401)
    with pytest.raises(ProviderUnavailable):
        await verify(invalid_when=signs)


async def test_an_outage_is_no_verdict(provider, verify):
    """Who is down has said nothing."""
    with pytest.raises(ProviderUnavailable):
        await verify()


def test_it_knows_the_subject_and_claims_alone(provider, clock):
    """So `check` asks for another verifier where a route needs scopes."""
    settings = Settings(url=URL)

    assert frozenset({"subject", "claims"}) == knows(settings)
    assert not build(settings, context(provider, clock)).local


def test_what_is_a_verdict_is_part_of_the_identity(provider, clock):
    """A verifier that reads 404 as *invalid* could disagree with one that does not."""
    sign = Sign(status=400, body=BodySign(path="error", equals="x"))
    settings = [
        Settings(url=URL),
        Settings(url=URL, invalid_when="ottm"),
        Settings(url=URL, invalid_when=(sign,)),
        Settings(url=f"{URL}2"),
    ]
    identities = {build(one, context(provider, clock)).identity for one in settings}
    keeping = context(provider, clock, claims=frozenset({"email"}))
    verifier = build(settings[0], keeping)

    assert 5 == len(identities | {verifier.identity})
    assert f"<Verifier {verifier.identity}>" == repr(verifier)


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "http://api.example/"},
        {"invalid_when": "melon"},
        {"invalid_when": []},
        {"invalid_when": [{"status": 200}]},
        {"invalid_when": [{"status": 503}]},
        {"timeout": 0},
        {"timeout": "31s"},
        {"tiemout": 1},
    ],
    ids=range(8),
)
def test_wrong_settings_are_refused(wrong):
    """A 200 or a 503 is never a verdict, however configured."""
    with pytest.raises(ValueError, match="Settings"):
        Settings(**{"url": URL, **wrong})
