import asyncio
import base64
import contextlib
import json
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.fields import PLAIN_HTTP
from gateway.errors import ProviderUnavailable
from gateway.fronts.logout import Notary
from gateway.observe.providers import KeyHolder
from gateway.ports import Verifier
from gateway.tasks import running
from gateway.values import Finding, Invalid, NotMine, Reason, TokenFacts
from gateway.verifiers.jwt import TOKEN_LIMIT, Settings, build, knows
from tests.fakes import Clock
from tests.signing import SECRET, configured, jwk, jwks, part, pem, sign
from tests.verifiers.provider import ScriptedProvider, context

NOW = Clock().now()
ISSUER = "https://op.example"
JWKS_URL = f"{ISSUER}/keys"
METADATA_URL = f"{ISSUER}/.well-known/openid-configuration"

# The payloads of the sample tokens in the providers' own documents.
NUGU_ACCESS = (
    "eyJleHAiOjM3MTg1MDM1NDYsInVzZXJfbmFtZSI6IkFMREZBS0sxQjhaUjU2MzE1QzVEIiwianRpIjoi"
    "YWU4ZWQ0MTEtZTljYy00NGRjLThlYjUtODc4NTdjM2QzNmFlIiwiY2xpZW50X2lkIjoic3BlYWtlci5u"
    "dWd1Lm51MTEwIiwic2NvcGUiOltdLCJleHQiOnsidXNyIjoiQUxERkFLSzFCOFpSNTYzMTVDNUQiLCJw"
    "b2MiOiJzcGVha2VyLm51Z3UubnUxMTAiLCJkdmMiOiJBTERGRzU1WU1ZUkE5RTUyN0VCRCIsInRrbiI6"
    "IjNDNzMxMzEwOUIyQTQ1RTZCQjhBRUQ2MjBGRjNBMThGIn19"
)
NUGU_REFRESH = (
    "eyJleHAiOjE1NzM2MTE4OTksInVzZXJfbmFtZSI6IkFMREZBS0sxQjhaUjU2MzE1QzVEIiwianRpIjoi"
    "NjAzYTkyNjUtNTJmNS00ZDE2LWEzOWYtMTVkMGZhM2IxMTgyIiwiY2xpZW50X2lkIjoic3BlYWtlci5u"
    "dWd1Lm51MTEwIiwic2NvcGUiOltdLCJhdGkiOiJhZThlZDQxMS1lOWNjLTQ0ZGMtOGViNS04Nzg1N2Mz"
    "ZDM2YWUiLCJleHQiOnsidXNyIjoiQUxERkFLSzFCOFpSNTYzMTVDNUQiLCJkdmMiOiJBTERGRzU1WU1Z"
    "UkE5RTUyN0VCRCIsInBvYyI6InNwZWFrZXIubnVndS5udTExMCIsInRrbiI6IjNDNzMxMzEwOUIyQTQ1"
    "RTZCQjhBRUQ2MjBGRjNBMThGIn19"
)
MELON_ACCESS = (
    "eyJzdWIiOiJZalk1TmpKak1qWTJaVEl3TVRaaE56RHpPWTZNaEtzYVdvNEhRcDhlNHpCU29PTlkza1BZ"
    "Iiwic2NvcGUiOlsic3RyZWFtaW5nIiwidXNlci1wbGF5bGlzdC1yZWFkIl0sIm5hbWUiOiLshqHqt7zs"
    "mrEiLCJwcmVmZXJyZWRfdXNlcm5hbWUiOiLrp4jsi5zrp4jroIEiLCJleHAiOjE1MjMzMjg0NTIsImF1"
    "dGhvcml0aWVzIjpbIlJPTEVfVVNFUiJdLCJqdGkiOiJjYzEwNjA5ZS1mOTNiLTRjMDktYjllZC01MTYz"
    "ZTJlMmVmZWUiLCJjbGllbnRfaWQiOiIxMjM0In0"
)
MELON_REFRESH = (
    "eyJzdWIiOiJZalk1TmpKak1qWTJaVEl3TVRaaE56RHpPWTZNaEtzYVdvNEhRcDhlNHpCU29PTlkza1BZ"
    "Iiwic2NvcGUiOlsic3RyZWFtaW5nIiwidXNlci1wbGF5bGlzdC1yZWFkIl0sImF0aSI6ImNjMTA2MDll"
    "LWY5M2ItNGMwOS1iOWVkLTUxNjNlMmUyZWZlZSIsIm5hbWUiOiLshqHqt7zsmrEiLCJwcmVmZXJyZWRf"
    "dXNlcm5hbWUiOiLrp4jsi5zrp4jroIEiLCJhdXRob3JpdGllcyI6WyJST0xFX1VTRVIiXSwianRpIjoi"
    "ZmYyMjBlOTgtN2M0Ni00NmUyLWFiZmYtMmY5NTIwOTViYjNiIiwiY2xpZW50X2lkIjoiMTIzNCJ9"
)


def decoded(payload: str) -> dict[str, Any]:
    """Decode a sample's payload."""
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return claims


def local(**changes: Any) -> Settings:
    """Give settings with a key of their own."""
    return Settings(**{"algorithms": ["HS256"], "key": SECRET, **changes})


def published(**changes: Any) -> Settings:
    """Give settings with keys that are fetched."""
    return Settings(**{"algorithms": ["RS256"], "jwks_url": JWKS_URL, **changes})


def claims(**changes: Any) -> dict[str, Any]:
    """Give the claims of a good token; None takes one away."""
    members = {"sub": "ada", "exp": NOW + 299, **changes}
    return {name: value for name, value in members.items() if value is not None}


@pytest.fixture
def verify(provider, clock):
    """Verify a token under settings, with or without a network."""

    async def verify(token, settings=None, **given):
        verifier = build(settings or local(), context(provider, clock, **given))
        return await verifier.verify(token, clock.now())

    return verify


# ------------------------------------------------------------------- good tokens


async def test_the_nugu_sample_is_fresh(verify, clock):
    """68 years of it; the subject is `user_name`, the device `ext.dvc`."""
    nugu = local(subject_claim="user_name", device_claim="ext.dvc")

    found = await verify(sign(decoded(NUGU_ACCESS)), nugu)

    assert found == TokenFacts(
        provider="melon",
        subject="ALDFAKK1B8ZR56315C5D",
        client="speaker.nugu.nu110",
        scopes=frozenset(),
        expires_at=3718503546.0,
        token_id="ae8ed411-e9cc-44dc-8eb5-87857c3d36ae",
        device="ALDFG55YMYRA9E527EBD",
        learned_at=clock.now(),
    )


async def test_the_melon_sample_is_read_and_has_expired(provider, clock, verify):
    """Its names are Korean; its 299 seconds ended in 2018."""
    token = sign(decoded(MELON_ACCESS))
    kept = frozenset({"name", "preferred_username", "authorities"})
    verifier = build(local(), context(provider, clock, claims=kept))

    assert Invalid(Reason.EXPIRED) == await verify(token)
    assert await verifier.verify(token, 1523328451.0) == TokenFacts(
        provider="melon",
        subject="YjY5NjJjMjY2ZTIwMTZhNzDzOY6MhKsaWo4HQp8e4zBSoONY3kPY",
        client="1234",
        scopes=frozenset({"streaming", "user-playlist-read"}),
        expires_at=1523328452.0,
        token_id="cc10609e-f93b-4c09-b9ed-5163e2e2efee",
        claims={
            "name": "송근욱",
            "preferred_username": "마시마렁",
            "authorities": ("ROLE_USER",),
        },
        learned_at=1523328451.0,
    )


@pytest.mark.parametrize(
    "payload", [NUGU_REFRESH, MELON_REFRESH], ids=["nugu", "melon"]
)
async def test_a_sample_refresh_token_never_passes(verify, payload):
    """It has the right signature, and `ati`."""
    fresh = {**decoded(payload), "exp": NOW + 299}

    refused = Invalid(
        Reason.REFRESH_TOKEN,
        client=fresh["client_id"],
        renews=fresh["ati"],
        subject=fresh.get("sub"),
    )
    assert refused == await verify(sign(decoded(payload)))
    assert refused == await verify(sign(fresh))


@pytest.mark.parametrize("payload", [NUGU_ACCESS, MELON_ACCESS], ids=["nugu", "melon"])
async def test_a_sample_with_its_own_signature_is_not_ours(verify, payload):
    """Nobody here has the providers' keys."""
    token = f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{payload}.{'A' * 43}"

    assert Invalid(Reason.BAD_SIGNATURE) == await verify(token)


@pytest.mark.parametrize("algorithm", ["HS512", "RS256", "PS384", "ES256", "EdDSA"])
async def test_each_family_of_algorithms_verifies(verify, algorithm):
    """With the key as operators write it."""
    settings = local(algorithms=[algorithm], key=configured(algorithm))

    found = await verify(sign(claims(), algorithm), settings)

    assert "ada" == found.subject


async def test_claims_have_the_names_they_are_given(verify):
    """Dotted paths, a scope as text, and the claims that routes ask for."""
    settings = local(
        subject_claim="user.id",
        client_claim="azp",
        device_claim="device",
        scope_claim="scp",
    )
    token = sign(
        claims(
            user={"id": "u1"}, azp="c1", device="d1", scp="a b", scope="no", x={"y": 1}
        )
    )

    found = await verify(token, settings, claims=frozenset({"x.y", "x", "none"}))

    assert ("u1", "c1", "d1") == (found.subject, found.client, found.device)
    assert frozenset({"a", "b"}) == found.scopes
    assert {"x.y": 1} == found.claims


async def test_scope_may_be_left_to_others(verify):
    """`scope_claim: null`: unknown, so that `learned` or introspection may tell."""
    assert (
        None is (await verify(sign(claims(scope="a")), local(scope_claim=None))).scopes
    )


async def test_a_bound_token_is_known_as_one(verify):
    """Policy refuses what it cannot check."""
    assert (await verify(sign(claims(cnf={"jkt": "x"})))).cnf


# -------------------------------------------------------------------- not of ours


@pytest.mark.parametrize(
    "token",
    ["", "opaque", "a.b", "a.b.c", "a.b.c.d.e", f"{part('text')}.e30.", "é.é.é"],
)
async def test_what_is_no_jwt_is_not_mine(verify, token):
    """Another verifier may know it."""
    assert NotMine() == await verify(token)


@pytest.mark.parametrize("text", [".", "a", "{"])
async def test_nothing_long_is_parsed(verify, text):
    """A megabyte of dots costs nothing (CVE-2026-48525)."""
    assert Invalid(Reason.MALFORMED_TOKEN) == await verify(text * 1024 * 1024)
    assert isinstance(await verify(sign(claims(x="x" * 5000))), TokenFacts)
    assert Invalid(Reason.MALFORMED_TOKEN) == await verify(
        sign(claims(x="x" * TOKEN_LIMIT))
    )


# ----------------------------------------------------------------- bad signatures


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "None"},
        {"alg": "nOnE"},
        {"alg": "HS512"},
        {"alg": "RS256"},
        {"alg": ""},
        {"alg": None},
        {"alg": 5},
        {"alg": ["HS256"]},
        {"alg": {"HS256": 1}},
        {"crit": ["x"], "x": 1},
        {"crit": []},
        {"crit": ["b64"], "b64": False},
        {"b64": False},
        {"b64": True},
        {"kid": 5},
        {"kid": ["k1"]},
        {"kid": {}},
    ],
    ids=range(18),
)
async def test_a_header_of_doubt_proves_nothing(verify, header):
    """Though the signature itself is right (SECURITY §1 E)."""
    assert Invalid(Reason.BAD_SIGNATURE) == await verify(
        sign(claims(), "HS256", header)
    )


@pytest.mark.parametrize("signature", ["", "A", "AAAA", "A" * 43, "!" * 43, "A" * 86])
async def test_a_wrong_signature_proves_nothing(verify, signature):
    """Empty, short, not base64."""
    signed = sign(claims()).rpartition(".")[0]

    assert Invalid(Reason.BAD_SIGNATURE) == await verify(f"{signed}.{signature}")


@given(st.data())
async def test_no_changed_token_passes(data):
    """Flip any one character: never facts."""
    token = sign(claims())
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda c: c != token[place]))
    verifier = build(local(), context(ScriptedProvider(), Clock()))

    found = await verifier.verify(token[:place] + other + token[place + 1 :], NOW)

    assert isinstance(found, NotMine | Invalid)


async def test_a_header_cannot_bring_a_key(provider, verify):
    """`jwk`, `jku`, `x5u`, `x5c` are not looked at, and nothing is fetched."""
    provider.says(JWKS_URL, jwks(jwk("RS256")))
    header = {
        "jwk": jwk("RS256", 1),
        "jku": f"{ISSUER}/evil",
        "x5u": f"{ISSUER}/evil",
        "x5c": ["MIIB"],
    }

    found = await verify(sign(claims(), "RS256", header, which=1), published())

    assert Invalid(Reason.BAD_SIGNATURE) == found
    assert {JWKS_URL} == {question.url for question in provider.questions}


# --------------------------------------------------------------------- bad claims


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exp": NOW}, Reason.EXPIRED),
        ({"exp": 0}, Reason.EXPIRED),
        ({"nbf": NOW + 1}, Reason.NOT_YET_VALID),
        ({"ati": "t0"}, Reason.REFRESH_TOKEN),
        ({"ati": False}, Reason.REFRESH_TOKEN),
        ({"ati": {}}, Reason.REFRESH_TOKEN),
        ({"exp": None}, Reason.INCONSISTENT),
        ({"exp": "3718503546"}, Reason.INCONSISTENT),
        ({"exp": True}, Reason.INCONSISTENT),
        ({"exp": 2**63}, Reason.INCONSISTENT),
        ({"exp": -1}, Reason.INCONSISTENT),
        ({"exp": [NOW]}, Reason.INCONSISTENT),
        ({"nbf": "0"}, Reason.INCONSISTENT),
        ({"iat": True}, Reason.INCONSISTENT),
        ({"sub": 5}, Reason.INCONSISTENT),
        ({"scope": {"a": 1}}, Reason.INCONSISTENT),
        ({"scope": ["a", 1]}, Reason.INCONSISTENT),
        ({"aud": 5}, Reason.INCONSISTENT),
    ],
    ids=range(18),
)
async def test_bad_claims_are_invalid(verify, changes, reason):
    """Types are checked: libraries take `exp` as a string or 2^63."""
    found = await verify(sign(claims(**changes)))

    assert isinstance(found, Invalid)
    assert reason == found.reason


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"text",
        b'{"exp": 1e400}',
        b'{"exp": NaN}',
        b'{"exp": 1, "exp": 9999999999}',
        b'{"sub": "\xff", "exp": 9999999999}',
        b'{"sub": "\\ud800", "exp": 9999999999}',
    ],
    ids=range(8),
)
async def test_a_signed_payload_is_strict_json_or_invalid(verify, payload):
    """No claim has two readings."""
    assert Invalid(Reason.INCONSISTENT) == await verify(sign(payload))


async def test_any_fraction_of_a_second_is_an_instant(verify):
    """`exp: 1e10+0.5` is fine (GHSA-wcvh-g65p-v576)."""
    assert 1e10 + 0.5 == (await verify(sign(claims(exp=1e10 + 0.5)))).expires_at


@pytest.mark.parametrize(
    ("settings", "skew"), [({"leeway": "5s"}, 0.0), ({"leeway": 5}, 1.0), ({}, 5.0)]
)
async def test_the_skew_of_clocks_is_tolerated(verify, settings, skew):
    """By the larger of both: what policy accepts is not refused here."""
    late, early = sign(claims(exp=NOW - 4.9)), sign(claims(nbf=NOW + 5))
    too_late = sign(claims(exp=NOW - 5))

    assert isinstance(
        await verify(late, local(**settings), clock_skew=skew), TokenFacts
    )
    assert isinstance(
        await verify(early, local(**settings), clock_skew=skew), TokenFacts
    )
    assert Invalid(Reason.EXPIRED) == await verify(
        too_late, local(**settings), clock_skew=skew
    )


@pytest.mark.parametrize(
    ("given_claims", "reason"),
    [
        ({"iss": ISSUER, "aud": "api"}, None),
        ({"iss": ISSUER, "aud": ["b", "api2"]}, None),
        ({"iss": ISSUER, "aud": "ap"}, Reason.WRONG_AUDIENCE),
        ({"iss": ISSUER, "aud": []}, Reason.WRONG_AUDIENCE),
        ({"iss": ISSUER}, Reason.WRONG_AUDIENCE),
        ({"iss": f"{ISSUER}/", "aud": "api"}, Reason.WRONG_ISSUER),
        ({"iss": ISSUER[:-1], "aud": "api"}, Reason.WRONG_ISSUER),
        ({"iss": ISSUER.upper(), "aud": "api"}, Reason.WRONG_ISSUER),
        ({"aud": "api"}, Reason.WRONG_ISSUER),
        ({"iss": [ISSUER], "aud": "api"}, Reason.INCONSISTENT),
    ],
    ids=range(10),
)
async def test_issuer_and_audience_are_compared_exactly(verify, given_claims, reason):
    """No prefix, no list, no other case (CVE-2024-53861)."""
    settings = local(issuer=ISSUER, audience=["api", "api2"])

    found = await verify(sign(claims(**given_claims)), settings)

    assert (None if isinstance(found, TokenFacts) else found.reason) == reason


@pytest.mark.parametrize(
    ("typ", "good"),
    [
        ("at+jwt", True),
        ("application/at+jwt", True),
        ("AT+JWT", True),
        ("JWT", False),
        (None, False),
        ("at+jwt2", False),
        (5, False),
    ],
)
async def test_a_required_type_is_required(verify, typ, good):
    """RFC 9068 §4: an ID token is no access token."""
    token = sign(claims(), "HS256", {"typ": typ})

    found = await verify(token, local(require_typ="at+jwt"))

    assert good is isinstance(found, TokenFacts)
    assert good or found == Invalid(Reason.INCONSISTENT)


async def test_other_claims_can_be_refused(verify):
    """`refuse_claims` is a list, and replaces the default."""
    settings = local(refuse_claims=["nonce"])

    assert Invalid(Reason.REFRESH_TOKEN, subject="ada") == await verify(
        sign(claims(nonce="n")), settings
    )
    assert isinstance(await verify(sign(claims(ati="t")), settings), TokenFacts)


# ------------------------------------------------------------------ published keys


def named(name: str, which: int = 0) -> str:
    """Make a good token that names its key."""
    return sign(claims(exp=NOW + 1e6), "RS256", {"kid": name}, which=which)


@pytest.fixture
def fetching(provider, clock) -> Verifier:
    """Fetches keys; the provider publishes `k0`."""
    provider.says(JWKS_URL, jwks(jwk("RS256", kid="k0")))
    return build(published(), context(provider, clock))


BAD = Invalid(Reason.BAD_SIGNATURE)


async def told(verifier: Verifier, token: str) -> Finding | int:
    """Give what is found, or for how many seconds it is in doubt."""
    try:
        return await verifier.verify(token, NOW)
    except ProviderUnavailable as error:
        return error.retry_after


async def settle() -> None:
    """Let what was begun behind our back end."""
    while flights := [task for task in running() if "keys" in task.get_name()]:
        await asyncio.gather(*flights)


async def test_keys_are_fetched_once(fetching, provider):
    """By however many tokens at once, and not again."""
    provider.open.clear()
    waiting = asyncio.gather(*[fetching.verify(named("k0"), NOW) for _ in range(20)])
    await asyncio.sleep(0)
    provider.open.set()

    assert {"ada"} == {found.subject for found in await waiting}
    assert "ada" == (await fetching.verify(named("k0"), NOW)).subject
    assert 1 == provider.asked("jwks")


async def test_it_is_told_how_many_keys_there_are_and_since_when(fetching, clock):
    """Nobody has any before the first token comes."""
    told = []
    for _ in range(2):
        assert isinstance(fetching, KeyHolder)
        told.append((fetching.keys_known, fetching.keys_fetched_at))
        await cast("Verifier", fetching).verify(named("k0"), NOW)
    since = clock.now()
    clock.advance(10)

    assert [(0, None), (1, since)] == told


def test_keys_that_were_given_are_counted_and_were_never_fetched(provider, clock):
    """They stand in configuration."""
    verifier = build(local(), context(provider, clock))

    assert isinstance(verifier, KeyHolder)
    assert (1, None) == (verifier.keys_known, verifier.keys_fetched_at)


async def test_the_question_for_keys_is_bounded(fetching, provider):
    """A plain GET within `timeout`."""
    await fetching.verify(named("k0"), NOW)

    (question,) = provider.questions
    assert ("GET", JWKS_URL, "jwks", 2.0) == (
        question.method,
        question.url,
        question.endpoint,
        question.deadline,
    )


async def test_a_new_key_is_fetched_when_a_token_names_it(fetching, provider, clock):
    """Rotation is not noticed, once the cool-down is over."""
    await fetching.verify(named("k0"), NOW)
    provider.says(JWKS_URL, jwks(jwk("RS256", kid="k0"), jwk("RS256", 1, kid="k1")))
    clock.advance(30)

    assert "ada" == (await fetching.verify(named("k1", 1), NOW)).subject
    assert "ada" == (await fetching.verify(named("k0"), NOW)).subject
    assert 2 == provider.asked("jwks")


async def test_random_names_fetch_once_per_cooldown(fetching, provider, clock):
    """CVE-2026-48524: else every bad token is a request to the provider."""
    found = [await told(fetching, named(f"x{number}")) for number in range(200)]
    assert [BAD, *[30] * 199] == found
    clock.advance(29.9)
    assert 1 == await told(fetching, named("x"))
    assert 1 == provider.asked("jwks")

    clock.advance(0.1)
    found = [await told(fetching, named(f"y{number}")) for number in range(200)]
    assert [BAD, *[30] * 199] == found
    assert 2 == provider.asked("jwks")


async def test_an_attack_that_comes_again_is_met_by_the_same_cooldown(
    fetching, provider, clock
):
    """However it is spread over time: one fetch for each cool-down at most."""
    fetches = []
    for second in range(95):
        for number in range(5):
            await told(fetching, named(f"x{second}-{number}"))
        clock.advance(1)
        fetches.append(provider.asked("jwks"))

    assert [1, 2, 3, 4] == [fetches[second] for second in (29, 59, 89, 94)]


async def test_an_attack_over_a_restart_costs_one_fetch_of_the_new_process(
    provider, clock
):
    """What it fetches to begin with starts its cool-down."""
    provider.says(JWKS_URL, jwks(jwk("RS256", kid="k0")))
    for starts in (1, 2, 3):
        verifier = build(published(), context(provider, clock))
        for number in range(50):
            await told(verifier, named(f"x{number}"))

        assert starts == provider.asked("jwks")


async def test_a_known_name_with_a_wrong_signature_fetches_nothing(
    fetching, provider, clock
):
    """The key is there, and says no."""
    await fetching.verify(named("k0"), NOW)
    clock.advance(30)

    assert Invalid(Reason.BAD_SIGNATURE) == await fetching.verify(named("k0", 1), NOW)
    assert 1 == provider.asked("jwks")


async def test_a_nameless_token_of_a_new_key_is_found_too(fetching, provider, clock):
    """Providers with one key may name none."""
    await fetching.verify(named("k0"), NOW)
    provider.says(JWKS_URL, jwks(jwk("RS256", 1)))
    clock.advance(30)

    assert (
        "ada" == (await fetching.verify(sign(claims(), "RS256", which=1), NOW)).subject
    )


async def test_without_keys_nothing_can_be_told(provider, clock):
    """An outage is not *invalid*; and the provider is soon asked again."""
    verifier = build(published(), context(provider, clock))
    for _ in range(3):
        with pytest.raises(ProviderUnavailable):
            await verifier.verify(named("k0"), NOW)
    assert 1 == provider.asked("jwks")

    provider.says(JWKS_URL, jwks(jwk("RS256", kid="k0")))
    clock.advance(1)
    assert isinstance(await verifier.verify(named("k0"), NOW), TokenFacts)


async def test_an_unknown_key_in_an_outage_is_not_invalid(fetching, provider, clock):
    """It may be the provider's newest; known keys go on working."""
    await fetching.verify(named("k0"), NOW)
    provider.is_down()
    clock.advance(30)

    for _ in range(3):
        with pytest.raises(ProviderUnavailable):
            await fetching.verify(named("k1", 1), NOW)
    assert "ada" == (await fetching.verify(named("k0"), NOW)).subject
    assert 2 == provider.asked("jwks")

    provider.says(JWKS_URL, jwks(jwk("RS256", kid="k0")))
    clock.advance(30)
    for _ in range(2):
        found = await fetching.verify(named("k1", 1), NOW)
        assert Invalid(Reason.BAD_SIGNATURE) == found


async def test_old_keys_are_renewed_behind_the_back(fetching, provider, clock):
    """Nobody waits for it, and a withdrawn key stops working."""
    await fetching.verify(named("k0"), NOW)
    provider.says(JWKS_URL, jwks(jwk("RS256", 1, kid="k1")))
    clock.advance(600.1)

    assert "ada" == (await fetching.verify(named("k0"), NOW)).subject
    await settle()
    assert Invalid(Reason.BAD_SIGNATURE) == await fetching.verify(named("k0"), NOW)
    assert "ada" == (await fetching.verify(named("k1", 1), NOW)).subject


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"keys": []}', 200),
        (b"<html>", 200),
        (jwks(jwk("ES256")), 200),
        (jwks(jwk("RS256", kid="k0")), 404),
    ],
    ids=["empty", "html", "unfit", "404"],
)
async def test_the_last_good_set_is_kept_for_a_day(
    fetching, provider, clock, body, status
):
    """A broken or empty set does not replace it; after `jwks_max_age` it is no more."""
    await fetching.verify(named("k0"), NOW)
    provider.says(JWKS_URL, body, status)

    clock.advance(86_400)
    assert "ada" == (await fetching.verify(named("k0"), NOW)).subject
    await settle()
    clock.advance(30)
    with pytest.raises(ProviderUnavailable):
        await fetching.verify(named("k0"), NOW)


async def test_who_leaves_does_not_end_the_fetch(fetching, provider):
    """The others get the keys they wait for."""
    provider.open.clear()
    leaver, stayer = (
        asyncio.ensure_future(fetching.verify(named("k0"), NOW))  # noqa: TID251 -- callers
        for _ in range(2)
    )
    await asyncio.sleep(0)
    leaver.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await leaver
    provider.open.set()

    assert "ada" == (await stayer).subject
    assert 1 == provider.asked("jwks")


async def test_published_keys_are_never_secrets(provider, clock):
    """An `oct` key that everybody can read signs for everybody."""
    provider.says(JWKS_URL, jwks(jwk("HS256", kid="k0")))
    verifier = build(published(), context(provider, clock))

    with pytest.raises(ProviderUnavailable):
        await verifier.verify(named("k0"), NOW)


# ---------------------------------------------------------------------- discovery


def discovering(provider: ScriptedProvider, clock: Clock, **changes: Any) -> Verifier:
    """Let the issuer's metadata say where its keys are."""
    provider.says(METADATA_URL, {"issuer": ISSUER, "jwks_uri": JWKS_URL, **changes})
    provider.says(JWKS_URL, jwks(jwk("RS256", kid="k0")))
    settings = Settings(algorithms=["RS256"], discovery=ISSUER)
    return build(settings, context(provider, clock))


async def test_the_issuer_tells_where_its_keys_are(provider, clock):
    """And becomes the `iss` that tokens must have."""
    verifier = discovering(provider, clock)

    found = await verifier.verify(sign(claims(iss=ISSUER), "RS256", {"kid": "k0"}), NOW)
    stranger = await verifier.verify(named("k0"), NOW)

    assert isinstance(found, TokenFacts)
    assert Invalid(Reason.WRONG_ISSUER) == stranger
    assert ["discovery", "jwks"] == [one.endpoint for one in provider.questions]


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": f"{ISSUER}/"},
        {"issuer": "https://other.example"},
        {"issuer": None},
        {"jwks_uri": None},
        {"jwks_uri": 5},
        {"jwks_uri": ["https://op.example/keys"]},
        {"jwks_uri": "http://op.example/keys"},
        {"jwks_uri": "/keys"},
    ],
    ids=range(8),
)
async def test_metadata_in_doubt_name_no_keys(provider, clock, changes):
    """Of another issuer, or with keys over a plain wire (OIDC Discovery §4.3)."""
    verifier = discovering(provider, clock, **changes)

    with pytest.raises(ProviderUnavailable):
        await verifier.verify(named("k0"), NOW)
    assert 0 == provider.asked("jwks")


async def test_an_issuer_on_a_plain_wire_may_have_its_keys_there(provider, clock):
    """Where the operator allowed the one; of a secure issuer nothing changes."""
    issuer, keys = "http://op.svc", "http://op.svc/keys"
    provider.says(
        f"{issuer}/.well-known/openid-configuration",
        {"issuer": issuer, "jwks_uri": keys},
    )
    provider.says(keys, jwks(jwk("RS256", kid="k0")))
    settings = Settings.model_validate(
        {"algorithms": ["RS256"], "discovery": issuer}, context={PLAIN_HTTP: True}
    )
    verifier = build(settings, context(provider, clock))
    token = sign(claims(iss=issuer), "RS256", {"kid": "k0"})

    assert isinstance(await verifier.verify(token, NOW), TokenFacts)


# ----------------------------------------------------- other tokens of the provider


async def test_a_security_event_is_no_access_token(verify):
    """RFC 8417 §4.8: a logout token that leaked opens no door."""
    token = sign(claims(events={"http://schemas.openid.net/event/x": {}}))

    assert Invalid(Reason.INCONSISTENT) == await verify(token)


async def test_what_the_provider_signed_is_proven_whatever_it_says(provider, clock):
    """A notary for tokens of other kinds: the signature alone, by the same keys."""
    verifier = build(local(), context(provider, clock))
    assert isinstance(verifier, Notary)
    good = await verifier.proven(sign({"exp": 0}))

    assert good is not None
    assert {"exp": 0} == good.claims()
    for bad in (
        sign({}, key=b"x" * 64),
        sign({}, header={"alg": "none"}),
        sign({}, header={"crit": ["exp"]}),
        "a.b",
        sign({"pad": "x" * TOKEN_LIMIT}),
    ):
        assert await verifier.proven(bad) is None


async def test_without_keys_nothing_is_proven_or_disproven(provider, clock):
    """An outage is no verdict."""
    verifier = build(published(), context(provider, clock))
    assert isinstance(verifier, Notary)

    with pytest.raises(ProviderUnavailable):
        await verifier.proven(sign({}, "RS256", {"kid": "k0"}))


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"<html>", 200), ({"issuer": ISSUER, "jwks_uri": JWKS_URL}, 404)],
    ids=["html", "404"],
)
async def test_metadata_that_cannot_be_had_name_no_keys(provider, clock, body, status):
    """An outage, not a verdict."""
    verifier = discovering(provider, clock)
    provider.says(METADATA_URL, body, status)

    with pytest.raises(ProviderUnavailable):
        await verifier.verify(named("k0"), NOW)


# ----------------------------------------------------------------------- settings


async def test_keys_may_stand_in_a_file(tmp_path, verify):
    """Of several kinds, HMAC too: the file is as secret as its owner keeps it."""
    file = tmp_path / "keys.json"
    file.write_bytes(jwks(jwk("HS256", kid="h"), jwk("ES256", kid="e")))
    settings = Settings(algorithms=["ES256", "HS256"], jwks_file=file)

    for algorithm, name in [("HS256", "h"), ("ES256", "e")]:
        token = sign(claims(), algorithm, {"kid": name})
        assert "ada" == (await verify(token, settings)).subject
    unknown = sign(claims(), "HS256", {"kid": "other"})
    assert Invalid(Reason.BAD_SIGNATURE) == await verify(unknown, settings)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"key": None}, "one of key, jwks_file, jwks_url and discovery"),
        ({"jwks_url": JWKS_URL}, "one of key, jwks_file, jwks_url and discovery"),
        ({"key": ""}, "expected a secret"),
        ({"key": "k" * 31}, "a key as long as HS256 demands"),
        ({"key": pem("RS256")}, "a secret that is no public key"),
        ({"algorithms": []}, "algorithms"),
        ({"algorithms": ["none"]}, "algorithms"),
        ({"algorithms": ["HS256", "HS384"]}, "one algorithm for the one key"),
        ({"algorithms": ["RS256"]}, "a public key in PEM form"),
        ({"key": None, "jwks_url": JWKS_URL}, "they need a secret"),
        ({"key": None, "discovery": ISSUER}, "they need a secret"),
        ({"key": None, "jwks_file": "/nowhere.json"}, "expected a file"),
        ({"leeway": "301s"}, "leeway"),
        ({"refetch_cooldown": "0s"}, "refetch_cooldown"),
        ({"require_typ": "JWT"}, "require_typ"),
        ({"subject_claim": ""}, "subject_claim"),
        ({"unknown": 1}, "unknown"),
    ],
    ids=range(17),
)
def test_wrong_settings_are_refused_in_words(wrong, message):
    """And without the key."""
    with pytest.raises(ValueError, match="Settings") as refusal:
        local(**wrong)

    assert message in str(refusal.value)
    assert "k" * 31 not in str(refusal.value)
    assert SECRET not in str(refusal.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"jwks_url": "http://op.example/keys"},
        {"jwks_url": None, "discovery": "http://op.example"},
        {"jwks_url": None, "discovery": ISSUER, "issuer": f"{ISSUER}/"},
    ],
    ids=range(3),
)
def test_keys_come_over_a_wire_nobody_can_write_on(wrong):
    """And from the issuer they are believed to be of."""
    with pytest.raises(ValueError, match="expected"):
        published(**wrong)


def test_a_file_without_keys_is_refused(tmp_path):
    """It is read at load, so that `check` finds it."""
    file = tmp_path / "keys.json"
    file.write_text("{}")

    with pytest.raises(ValueError, match="a JWK set with a key that may be used"):
        Settings(algorithms=["RS256"], jwks_file=file)


def test_it_knows_what_the_claims_are_named_for():
    """A device only where a claim holds it, a scope unless it is left to others."""
    most = {"client", "expiry", "subject", "issuer", "audience", "claims", "login"}

    assert most | {"scope"} == knows(local())
    assert most | {"device"} == knows(local(device_claim="d", scope_claim=None))


def test_the_identity_holds_everything_but_the_key(provider, clock, tmp_path):
    """All that could change a verdict, or the facts that are kept."""
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    first.write_bytes(jwks(jwk("HS256")))
    second.write_bytes(jwks(jwk("HS256", kid="b")))
    settings = [
        local(),
        local(key=SECRET + "x"),
        local(key=None, jwks_file=first),
        local(key=None, jwks_file=second),
        local(issuer=ISSUER),
        local(audience=["a"]),
        local(leeway=1),
        local(refuse_claims=[]),
        local(require_typ="at+jwt"),
        local(subject_claim="s"),
        local(client_claim="s"),
        local(device_claim="s"),
        local(scope_claim="s"),
        local(algorithms=["HS512"]),
        published(),
        published(jwks_url=f"{JWKS_URL}2"),
        published(jwks_url=None, discovery=ISSUER),
    ]
    plain = context(provider, clock)
    identities = {build(one, plain).identity for one in settings}
    for more in ({"claims": frozenset({"name"})}, {"clock_skew": 1.0}):
        identities.add(build(local(), context(provider, clock, **more)).identity)

    assert 19 == len(identities)
    assert not any(SECRET in identity for identity in identities)
    verifier = build(published(), plain)
    assert f"<Verifier {verifier.identity}>" == repr(verifier)
    assert verifier.local
