import base64
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway.errors import ProviderUnavailable
from gateway.ports import Question
from gateway.values import Invalid, Reason, TokenFacts
from gateway.verifiers.introspection import Settings, build, knows
from tests.verifiers.provider import ScriptedProvider, context

URL = "https://op.example/introspect"
CLIENT = {"client_id": "gateway", "client_secret": "sesame"}


@pytest.fixture
def verify(provider, clock):
    """Verify a token under settings, with the provider scripted beforehand."""

    async def verify(presented="abc", *, kept=(), skew=0.0, **settings):
        given = context(provider, clock, claims=frozenset(kept), clock_skew=skew)
        verifier = build(Settings(url=URL, **{**CLIENT, **settings}), given)
        return await verifier.verify(presented, clock.now())

    return verify


async def test_an_active_token_has_the_facts_it_is_given(provider, clock, verify):
    """Every member of RFC 7662 §2.2 that we use, and what routes ask for besides."""
    now = clock.now()
    provider.says(
        URL,
        {
            "active": True,
            "sub": "ada",
            "username": "ada@op",
            "client_id": "player",
            "scope": "read write",
            "iss": "https://op.example",
            "aud": "api",
            "token_type": "Bearer",
            "iat": now - 10,
            "nbf": now - 10,
            "exp": now + 10,
            "jti": "t1",
            "sid": "s1",
            "acr": "mfa",
            "auth_time": 1,
            "ext": {"dvc": "D1"},
        },
    )

    found = await verify(device_claim="ext.dvc", kept=["username", "none"])

    assert found == TokenFacts(
        provider="melon",
        subject="ada",
        client="player",
        scopes=frozenset({"read", "write"}),
        issuer="https://op.example",
        audience=("api",),
        issued_at=now - 10,
        not_before=now - 10,
        expires_at=now + 10,
        token_id="t1",
        session_id="s1",
        acr="mfa",
        auth_time=1.0,
        device="D1",
        claims={"username": "ada@op"},
        learned_at=now,
    )


async def test_little_said_is_little_known(provider, clock, verify):
    """Only `active` is required; a token without a scope grants nothing."""
    provider.says(URL, {"active": True})

    assert await verify() == TokenFacts(
        provider="melon", scopes=frozenset(), learned_at=clock.now()
    )


async def test_a_bound_token_is_known_as_one(provider, verify):
    """Policy refuses what it cannot check (RFC 8705 §3.2)."""
    provider.says(URL, {"active": True, "cnf": {"x5t#S256": "bwcK"}})

    assert (await verify()).cnf


async def test_the_subject_may_be_another_member(provider, verify):
    """`username` never stands in by itself: it is not unique for ever."""
    provider.says(URL, {"active": True, "username": "ada"})

    assert None is (await verify()).subject
    assert "ada" == (await verify(subject_claim="username")).subject


# ------------------------------------------------------------------- verdicts


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"active": False}, Reason.INACTIVE),
        ({"active": False, "exp": 9e9, "sub": "ada"}, Reason.INACTIVE),
        ({"active": False, "exp": "nonsense"}, Reason.INACTIVE),
        ({"active": True, "exp": 1}, Reason.EXPIRED),
        ({"active": True, "nbf": 9e9}, Reason.NOT_YET_VALID),
        ({"active": True, "token_type": "refresh_token"}, Reason.REFRESH_TOKEN),
        ({"active": True, "token_use": "refresh_token"}, Reason.REFRESH_TOKEN),
        ({"active": True, "typ": "Refresh"}, Reason.REFRESH_TOKEN),
        ({"active": True, "typ": "Offline"}, Reason.REFRESH_TOKEN),
    ],
    ids=range(9),
)
async def test_what_the_provider_refuses_is_invalid(provider, verify, members, reason):
    """Also where it says *active* of what has ended or is no access token."""
    provider.says(URL, members)

    assert Invalid(reason) == await verify()


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"token_type": "Bearer"}, None),
        ({"token_type": "bearer"}, None),
        ({"token_type": "refresh_token"}, Reason.REFRESH_TOKEN),
        ({"token_type": "Bearer", "typ": "Refresh"}, Reason.REFRESH_TOKEN),
        ({"token_use": "Bearer"}, Reason.REFRESH_TOKEN),
        ({}, Reason.REFRESH_TOKEN),
    ],
    ids=range(6),
)
async def test_a_required_type_is_required(provider, verify, said, reason):
    """Some servers tell refresh tokens only by what they do not say."""
    provider.says(URL, {"active": True, **said})

    found = await verify(require_token_type="Bearer")

    assert (None if isinstance(found, TokenFacts) else found.reason) == reason


@pytest.mark.parametrize(
    ("members", "settings", "reason"),
    [
        ({"iss": "https://op.example"}, {}, None),
        ({"iss": "https://op.example/"}, {}, Reason.WRONG_ISSUER),
        ({}, {}, Reason.WRONG_ISSUER),
        ({"iss": "https://op.example", "aud": ["b"]}, {"audience": ["a"]}, "aud"),
        ({"iss": "https://op.example"}, {"audience": ["a"]}, "aud"),
        ({"iss": "https://op.example", "aud": "a"}, {"audience": ["a", "c"]}, None),
    ],
    ids=range(6),
)
async def test_issuer_and_audience_are_enforced(
    provider, verify, members, settings, reason
):
    """CVE-2025-46647: what is configured is checked."""
    provider.says(URL, {"active": True, **members})

    found = await verify(issuer="https://op.example", **settings)

    if reason is None:
        assert isinstance(found, TokenFacts)
    else:
        expected = Reason.WRONG_AUDIENCE if reason == "aud" else reason
        assert Invalid(expected) == found


async def test_the_skew_of_clocks_is_tolerated(provider, clock, verify):
    """As much as policy tolerates."""
    provider.says(URL, {"active": True, "exp": clock.now() - 1})

    assert isinstance(await verify(skew=2.0), TokenFacts)
    assert Invalid(Reason.EXPIRED) == await verify(skew=1.0)


# ------------------------------------------------------------------ no answer


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"active": "true"},
        {"active": "false"},
        {"active": 1},
        {"active": 0},
        {"active": None},
        {"active": [True]},
        {"active": True, "exp": "1900000000"},
        {"active": True, "exp": True},
        {"active": True, "exp": 2**63},
        {"active": True, "exp": -1},
        {"active": True, "nbf": "soon"},
        {"active": True, "scope": 5},
        {"active": True, "aud": {"a": 1}},
        {"active": True, "client_id": 5},
        {"active": True, "token_type": 5},
        {"active": True, "sub": ["ada"]},
        [],
        b"",
        b"null",
        b"true",
        b"<html>",
        b'{"active": false, "active": true}',
        b'{"active": true, "exp": NaN}',
        b'{"active": true, "exp": 1e400}',
        b'\xef\xbb\xbf{"active": true}',
        b'{"active": true, "sub": "\xff"}',
        b'{"active": true, "a": ' + b"[" * 30_000,
        b"eyJhbGciOiJub25lIn0.eyJhY3RpdmUiOnRydWV9.",
    ],
    ids=range(29),
)
async def test_an_answer_in_doubt_is_none(provider, verify, body):
    """`active` is a boolean, numbers are numbers, and JSON has one reading."""
    provider.says(URL, body)

    with pytest.raises(ProviderUnavailable):
        await verify()


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refusal_of_our_credentials_is_our_fault(provider, verify, status):
    """RFC 7662 §2.3: the client's token may be fine."""
    provider.says(URL, {"active": False}, status)

    with pytest.raises(ProviderUnavailable, match="refuses our credentials"):
        await verify()


@pytest.mark.parametrize("status", [201, 204, 302, 400, 404, 405])
async def test_only_a_200_is_an_answer(provider, verify, status):
    """Whatever its body says."""
    provider.says(URL, {"active": True}, status)

    with pytest.raises(ProviderUnavailable, match=f"answered {status}"):
        await verify()


async def test_an_outage_is_no_verdict(provider, verify):
    """Who is down has said nothing."""
    with pytest.raises(ProviderUnavailable):
        await verify()


# ---------------------------------------------------------------- the question


async def asked(
    provider: ScriptedProvider,
    verify: Callable[..., Awaitable[object]],
    **settings: Any,
) -> Question:
    """Give the question that is put about a token."""
    provider.says(URL, {"active": False})
    await verify("a+b/c=", **settings)
    (question,) = provider.questions
    return question


async def test_credentials_in_a_header_are_encoded(provider, verify):
    """RFC 6749 §2.3.1: form-urlencoded, so that a colon stays in its half."""
    question = await asked(
        provider, verify, client_id="gate:way é", client_secret="se+s ame%"
    )

    scheme, _, pair = question.headers["Authorization"].partition(" ")
    assert "Basic" == scheme
    assert b"gate%3Away+%C3%A9:se%2Bs+ame%25" == base64.b64decode(pair)
    assert ("POST", URL, "introspect", 2.0) == (
        question.method,
        question.url,
        question.endpoint,
        question.deadline,
    )
    assert {"token": "a+b/c=", "token_type_hint": "access_token"} == question.form


async def test_credentials_in_the_form(provider, verify):
    """For servers that want client_secret_post."""
    question = await asked(provider, verify, auth="post", token_type_hint=None)

    assert {"token": "a+b/c=", **CLIENT} == question.form
    assert "Authorization" not in question.headers


async def test_a_bearer_token_of_our_own(provider, verify):
    """RFC 7662 §2.1: the other way to be authorised."""
    bearer = {"auth": "bearer", "client_id": "", "client_secret": None}
    question = await asked(provider, verify, **bearer, bearer_token="ours")

    assert "Bearer ours" == question.headers["Authorization"]
    assert {"token": "a+b/c=", "token_type_hint": "access_token"} == question.form


# ------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"client_id": "a"},
        {"client_secret": "b"},
        {"auth": "post", "client_id": "a"},
        {"auth": "bearer"},
        {"auth": "bearer", "bearer_token": "t", **CLIENT},
        {"auth": "basic", "bearer_token": "t", **CLIENT},
        {"auth": "none", **CLIENT},
        {"url": "http://op.example/introspect", **CLIENT},
        {"url": "https://u:p@op.example/introspect", **CLIENT},
        {"client_id": "a", "client_secret": ""},
        {"unknown": 1, **CLIENT},
    ],
    ids=range(12),
)
def test_wrong_settings_are_refused(wrong):
    """Half of the credentials, both kinds, or a wire that anybody can read."""
    with pytest.raises(ValueError, match="Settings") as refusal:
        Settings(**{"url": URL, **wrong})

    assert "sesame" not in str(refusal.value)


def test_it_knows_all_that_rfc_7662_can_tell():
    """The device only where somebody said which member it is."""
    settings = Settings(url=URL, **CLIENT)
    most = {"scope", "client", "expiry", "subject", "issuer", "audience", "claims"}
    most.add("login")

    assert most == knows(settings)
    assert most | {"device"} == knows(
        Settings(url=URL, device_claim="ext.dvc", **CLIENT)
    )


def test_the_identity_holds_everything_but_the_secret(provider, clock):
    """All that could change a verdict, or the facts that are kept."""
    changed: list[dict[str, Any]] = [
        {},
        {"url": f"{URL}2"},
        {"client_id": "other"},
        {"client_secret": "other"},
        {"issuer": "https://op.example"},
        {"audience": ["a"]},
        {"subject_claim": "username"},
        {"device_claim": "ext.dvc"},
        {"auth": "post"},
        {"require_token_type": "Bearer"},
    ]
    identities = {
        build(
            Settings(**{"url": URL, **CLIENT, **one}), context(provider, clock)
        ).identity
        for one in changed
    }
    plain = Settings(url=URL, **CLIENT)
    for more in ({"claims": frozenset({"name"})}, {"clock_skew": 1.0}):
        identities.add(build(plain, context(provider, clock, **more)).identity)

    assert 12 == len(identities)
    assert not any("sesame" in identity for identity in identities)
    verifier = build(plain, context(provider, clock))
    assert not verifier.local
    assert f"<Verifier {verifier.identity}>" == repr(verifier)
