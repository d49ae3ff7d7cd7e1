from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.policy import (
    RULES,
    Case,
    admit_open,
    admit_shadowed,
    admit_userinfo,
    deny,
    deny_unrouted,
    is_recent_enough,
    judge,
    rules_for,
    trace,
)
from gateway.values import (
    SHADOWED,
    Access,
    ClaimRule,
    Credentials,
    Denial,
    DeviceRule,
    NoRoute,
    Permit,
    Reason,
    Requirements,
    Route,
    RouteKind,
    Secret,
    Source,
    TokenFacts,
    TokenPlace,
)

NOW = 1_800_000_000.0
TOKEN = Credentials(Secret("t0k3n"), TokenPlace.HEADER)
ADA = TokenFacts(
    provider="melon",
    subject="ada",
    client="app",
    scopes=frozenset({"read", "write"}),
    issuer="https://issuer",
    audience=("api", "other"),
    expires_at=NOW + 60,
    device="A1",
    claims={"role": ("user", "admin"), "level": 1, "beta": True, "plan": "gold"},
)


def route(**require) -> Route:
    """Make a route that demands this."""
    return Route(id="r", dialect="melon", realm="m", require=Requirements(**require))


def verdict(
    asked: Route,
    facts: TokenFacts = ADA,
    *,
    now: float = NOW,
    revoked: bool = False,
    device: str | None = None,
) -> Reason | None:
    """Give the reason of the denial, or None for a permit."""
    decision = judge(Case(asked, facts, now, revoked, device), TOKEN, Source.L1)
    return decision.reason if isinstance(decision, Denial) else None


def scopes(*alternatives: str) -> tuple[frozenset[str], ...]:
    """Make a demand for scopes."""
    return tuple(frozenset(each.split()) for each in alternatives)


DEMANDS = {
    "scopes": scopes("read"),
    "issuers": frozenset({"https://other"}),
    "audiences": frozenset({"api"}),
    "clients": frozenset({"other"}),
    "claims": (ClaimRule("plan", frozenset({"silver"})),),
    "device": DeviceRule(header=b"x-device"),
    "acr": ("phr",),
    "max_age": 60.0,
    "max_fact_age": 1.0,
}


@given(
    st.sets(st.sampled_from(sorted(DEMANDS))), st.booleans(), st.sampled_from([0, 100])
)
def test_leaving_out_idle_rules_changes_no_verdict(names, revoked, late):
    """A route without a demand has nothing to refuse by it."""
    asked = route(**{name: DEMANDS[name] for name in names})
    case = Case(asked, ADA, NOW + late, revoked, None)
    reasons = [reason for _, reason in trace(case) if reason is not None]

    decision = judge(case, TOKEN, Source.L1, rules_for(asked))

    assert judge(case, TOKEN, Source.L1) == decision
    assert reasons[:1] == ([decision.reason] if isinstance(decision, Denial) else [])
    assert len(rules_for(asked)) == 3 + len(names - {"max_fact_age"})


def test_a_permit_carries_what_was_judged():
    """Route, facts, credentials and where the facts came from."""
    asked = route()

    expected = Permit(route=asked, facts=ADA, credentials=TOKEN, source=Source.L2)
    assert expected == judge(Case(asked, ADA, NOW, False, None), TOKEN, Source.L2)


def test_a_denial_speaks_for_its_route():
    """Dialect, realm, the client it was for, and the source; no word of the token."""
    asked = route(scopes=scopes("b a", "c"))

    expected = Denial(
        reason=Reason.INSUFFICIENT_SCOPE,
        dialect="melon",
        realm="m",
        route=asked,
        scope="a b",
        client="app",
        source=Source.PROVIDER,
    )
    case = Case(asked, ADA, NOW, False, None)
    assert expected == judge(case, TOKEN, Source.PROVIDER)


def test_only_a_lack_of_scope_names_scopes():
    """RFC 6750 §3.1: the attribute belongs to insufficient_scope."""
    denial = deny(route(scopes=scopes("a")), Reason.EXPIRED, retry_after=3)

    assert "" == denial.scope
    assert 3 == denial.retry_after
    assert denial.client is None


@pytest.mark.parametrize(
    ("now", "expires_at", "skew", "expected"),
    [
        (NOW, NOW + 1, 0.0, None),
        (NOW, NOW, 0.0, Reason.EXPIRED),
        (NOW, NOW - 5, 10.0, None),
        (NOW, NOW - 10, 10.0, Reason.EXPIRED),
        (NOW, None, 0.0, None),
    ],
)
def test_a_token_lives_up_to_its_expiry(now, expires_at, skew, expected):
    """The very moment of `exp` is too late; the skew is what is forgiven after it."""
    asked = replace(route(), clock_skew=skew)
    facts = msgspec.structs.replace(ADA, expires_at=expires_at)

    assert expected == verdict(asked, facts, now=now)


@pytest.mark.parametrize(
    ("not_before", "skew", "expected"),
    [
        (NOW, 0.0, None),
        (NOW + 1, 0.0, Reason.NOT_YET_VALID),
        (NOW + 10, 10.0, None),
        (NOW + 11, 10.0, Reason.NOT_YET_VALID),
    ],
)
def test_a_token_lives_from_its_beginning(not_before, skew, expected):
    """The very moment of `nbf` is in time."""
    asked = replace(route(), clock_skew=skew)

    assert expected == verdict(
        asked, msgspec.structs.replace(ADA, not_before=not_before)
    )


def test_a_revoked_token_is_refused_first():
    """Whatever else is wrong with it."""
    facts = msgspec.structs.replace(ADA, expires_at=NOW - 1, cnf=True)

    assert Reason.REVOKED == verdict(route(), facts, revoked=True)


def test_a_binding_that_cannot_be_checked_is_refused():
    """RFC 8705 §3: never ignored."""
    assert Reason.UNPROVEN_BINDING == verdict(
        route(), msgspec.structs.replace(ADA, cnf=True)
    )


@pytest.mark.parametrize(
    ("issuer", "expected"),
    [
        ("https://issuer", None),
        ("https://issuer/", Reason.WRONG_ISSUER),
        (None, Reason.WRONG_ISSUER),
    ],
)
def test_the_issuer_is_exact(issuer, expected):
    """A slash more is another issuer; none is none of ours."""
    asked = route(issuers=frozenset({"https://issuer", "https://second"}))

    assert expected == verdict(asked, msgspec.structs.replace(ADA, issuer=issuer))


@pytest.mark.parametrize(
    ("audience", "expected"),
    [
        (("api",), None),
        (("x", "api2"), None),
        (("x",), Reason.WRONG_AUDIENCE),
        ((), Reason.WRONG_AUDIENCE),
        (None, Reason.WRONG_AUDIENCE),
    ],
)
def test_the_audience_holds_us(audience, expected):
    """One of ours is among them; an unknown audience is not for us."""
    asked = route(audiences=frozenset({"api", "api2"}))

    assert expected == verdict(asked, msgspec.structs.replace(ADA, audience=audience))


@pytest.mark.parametrize(
    ("granted", "expected"),
    [
        ({"a", "b"}, None),
        ({"c"}, None),
        ({"a"}, Reason.INSUFFICIENT_SCOPE),
        ({"a b"}, Reason.INSUFFICIENT_SCOPE),
        (set(), Reason.INSUFFICIENT_SCOPE),
        (None, Reason.GRANT_UNKNOWN),
    ],
)
def test_scopes_satisfy_the_expression(granted, expected):
    """Known to lack is one thing; never learned is another, which a new token cures."""
    asked = route(scopes=scopes("a b", "c"))
    facts = msgspec.structs.replace(
        ADA, scopes=None if granted is None else frozenset(granted)
    )

    assert expected == verdict(asked, facts)


def test_unknown_scopes_matter_only_where_scopes_are_demanded():
    """A route without scopes takes a token of unknown grant."""
    assert verdict(route(), msgspec.structs.replace(ADA, scopes=None)) is None


@pytest.mark.parametrize(
    ("client", "granted", "expected"),
    [
        ("app", None, None),
        ("other", None, Reason.CLIENT_NOT_ALLOWED),
        (None, frozenset(), Reason.CLIENT_NOT_ALLOWED),
        (None, None, Reason.GRANT_UNKNOWN),
    ],
)
def test_only_listed_clients_pass(client, granted, expected):
    """Where no grant was ever learned, neither client nor scope is known."""
    asked = route(clients=frozenset({"app"}))

    assert expected == verdict(
        asked, msgspec.structs.replace(ADA, client=client, scopes=granted)
    )


@pytest.mark.parametrize(
    ("path", "one_of", "passes"),
    [
        ("plan", {"gold", "silver"}, True),
        ("plan", {"Gold"}, False),
        ("role", {"admin"}, True),
        ("role", {"adm"}, False),
        ("level", {1}, True),
        ("level", {True}, False),
        ("level", {"1"}, False),
        ("beta", {True}, True),
        ("beta", {1}, False),
        ("absent", {"x"}, False),
    ],
)
def test_claims_are_compared_exactly(path, one_of, passes):
    """By type too, since Python takes 1 for True; a list needs one such member."""
    asked = route(claims=(ClaimRule(path, frozenset(one_of)),))

    assert (None if passes else Reason.CLAIM_MISMATCH) == verdict(asked)


def test_every_claim_rule_counts():
    """One that fails is enough."""
    good, bad = ClaimRule("level", frozenset({1})), ClaimRule("x", frozenset({1}))

    assert Reason.CLAIM_MISMATCH == verdict(route(claims=(good, bad)))


@pytest.mark.parametrize(
    ("own", "named", "expected"),
    [
        ("A1", "A1", None),
        ("A1", "a1", Reason.DEVICE_MISMATCH),
        ("A1", None, Reason.DEVICE_MISMATCH),
        (None, None, Reason.DEVICE_MISMATCH),
        (None, "A1", Reason.DEVICE_MISMATCH),
    ],
)
def test_the_request_names_the_tokens_device(own, named, expected):
    """Nothing equals nothing: two unknown devices are not the same."""
    asked = route(device=DeviceRule(header=b"x-device"))

    assert expected == verdict(
        asked, msgspec.structs.replace(ADA, device=own), device=named
    )


@pytest.mark.parametrize(
    ("acr", "expected"),
    [
        ("phr", None),
        ("phrh", None),
        ("PHR", Reason.STRONGER_LOGIN_NEEDED),
        ("phr phrh", Reason.STRONGER_LOGIN_NEEDED),
        ("", Reason.STRONGER_LOGIN_NEEDED),
        (None, Reason.STRONGER_LOGIN_NEEDED),
    ],
)
def test_the_login_has_one_of_the_contexts(acr, expected):
    """Exactly; one that nobody tells of is none."""
    assert expected == verdict(
        route(acr=("phrh", "phr")), msgspec.structs.replace(ADA, acr=acr)
    )


@pytest.mark.parametrize(
    ("since", "expected"),
    [
        (NOW, None),
        (NOW - 60, None),
        (NOW - 60.5, Reason.STRONGER_LOGIN_NEEDED),
        (NOW + 300, None),
        (NOW + 301, Reason.STRONGER_LOGIN_NEEDED),
        (0.0, Reason.STRONGER_LOGIN_NEEDED),
        (None, Reason.STRONGER_LOGIN_NEEDED),
    ],
)
def test_the_login_is_recent(since, expected):
    """Clocks may differ, but no login is yet to come."""
    assert expected == verdict(
        route(max_age=60.0), msgspec.structs.replace(ADA, auth_time=since)
    )


def test_a_stronger_login_is_described_to_the_client():
    """RFC 9470 §3: the contexts in order of preference, the age in whole seconds."""
    asked = route(acr=("phrh", "phr"), max_age=59.5, scopes=scopes("a"))
    denial = deny(asked, Reason.STRONGER_LOGIN_NEEDED)

    assert ("phrh phr", 60, "") == (denial.acr_values, denial.max_age, denial.scope)
    other = deny(asked, Reason.EXPIRED)
    assert ("", None) == (other.acr_values, other.max_age)


def test_the_first_rule_that_refuses_is_the_verdict():
    """And `trace` tells what each of them says, in the same order."""
    asked = route(
        issuers=frozenset({"x"}), scopes=scopes("x"), clients=frozenset({"x"})
    )
    case = Case(asked, ADA, NOW, False, None)

    assert Reason.WRONG_ISSUER == verdict(asked)
    assert [
        ("revocation", None),
        ("times", None),
        ("binding", None),
        ("issuer", Reason.WRONG_ISSUER),
        ("audience", None),
        ("scopes", Reason.INSUFFICIENT_SCOPE),
        ("client", Reason.CLIENT_NOT_ALLOWED),
        ("claims", None),
        ("device", None),
        ("acr", None),
        ("login", None),
    ] == trace(case)
    assert [name for name, _ in RULES] == [name for name, _ in trace(case)]


# ----------------------------------------------------------------- without facts


@pytest.mark.parametrize(
    "asked",
    [
        Route(id="public", access=Access.PUBLIC),
        Route(id="optional", access=Access.OPTIONAL),
        Route(id="authorize", kind=RouteKind.OAUTH_AUTHORIZE),
        Route(id="token", kind=RouteKind.OAUTH_TOKEN),
        Route(id="revoke", kind=RouteKind.OAUTH_REVOKE),
    ],
    ids=lambda asked: asked.id,
)
def test_an_open_route_admits_without_a_token(asked):
    """Nobody is told to be anybody."""
    expected = Permit(route=asked, facts=None, credentials=None, source=Source.NONE)
    assert expected == admit_open(asked)


@pytest.mark.parametrize("kind", [RouteKind.API, RouteKind.OAUTH_USERINFO])
def test_no_other_route_admits_without_a_token(kind):
    """It fails closed, whoever calls it."""
    asked = Route(id="r", kind=kind, dialect="nugu", realm="NUGU")

    expected = Denial(
        reason=Reason.NO_CREDENTIALS, dialect="nugu", realm="NUGU", route=asked
    )
    assert expected == admit_open(asked)


@pytest.mark.parametrize("facts", [None, ADA])
def test_userinfo_admits_a_token_to_its_provider(facts):
    """The provider is about to be asked: nothing but a mark refuses."""
    asked = Route(id="u", kind=RouteKind.OAUTH_USERINFO)

    admitted = admit_userinfo(asked, TOKEN, facts, revoked=False, source=Source.L1)
    refused = admit_userinfo(asked, TOKEN, facts, revoked=True, source=Source.L1)

    expected = Permit(route=asked, facts=facts, credentials=TOKEN, source=Source.L1)
    assert expected == admitted
    assert isinstance(refused, Denial)
    assert Reason.REVOKED == refused.reason


@pytest.mark.parametrize(
    ("limit", "age", "expected"),
    [
        (None, 1e9, True),
        (10.0, 0.0, True),
        (10.0, 10.0, True),
        (10.0, 10.5, False),
        (10.0, -1.0, False),
        (0.0, 0.0, True),
    ],
)
def test_facts_are_recent_within_the_routes_limit(limit, age, expected):
    """A moment in the future is no young one: some clock was set."""
    asked = route(max_fact_age=limit)

    assert expected == is_recent_enough(asked, NOW - age, NOW)


def test_no_route_is_refused_in_its_own_words():
    """404, 405 with `allow`, or 400, in the form of the host."""
    missing = NoRoute(
        dialect="ottm", realm="o", allow=("GET",), reason=Reason.METHOD_NOT_ALLOWED
    )

    expected = Denial(
        reason=Reason.METHOD_NOT_ALLOWED, dialect="ottm", realm="o", allow=("GET",)
    )
    assert expected == deny_unrouted(missing)


@pytest.mark.parametrize("reason", Reason)
def test_a_route_in_shadow_lets_through_whom_it_would_refuse_for_a_token(reason):
    """Marked, and telling nothing of whom; for all else it refuses as ever."""
    asked = replace(route(), shadow=True)
    denial = deny(asked, reason, facts=ADA, source=Source.L1)
    leave = admit_shadowed(denial, TOKEN)

    if reason not in SHADOWED:
        assert leave is denial
        return
    assert isinstance(leave, Permit)
    assert (reason, None, TOKEN) == (leave.shadow, leave.facts, leave.credentials)
    assert (asked, Source.L1) == (leave.route, leave.source)


def test_what_has_nothing_to_do_with_tokens_is_never_let_through():
    """Nor is what was revoked: that is an order, and no rule on trial."""
    kept = {*Reason} - SHADOWED

    assert {
        Reason.REVOKED,
        Reason.BAD_MESSAGE,
        Reason.BAD_TARGET,
        Reason.BODY_TOO_LARGE,
        Reason.CORS_REFUSED,
        Reason.INTERNAL,
        Reason.LOOP_DETECTED,
        Reason.METHOD_NOT_ALLOWED,
        Reason.NO_ROUTE,
    } <= kept


@pytest.mark.parametrize("reason", SHADOWED)
def test_any_other_route_refuses(reason):
    """And so does what has no route."""
    denial = deny(route(), reason)
    unrouted = Denial(reason=reason)

    assert denial is admit_shadowed(denial, TOKEN)
    assert unrouted is admit_shadowed(unrouted, TOKEN)
