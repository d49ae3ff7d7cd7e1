"""Proves that leave is kept no longer than it would be given."""

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.keeping import Keeping, Trust, depends_on
from gateway.rules.policy import Case, admit_open, admit_shadowed, deny, judge
from gateway.values import (
    Access,
    Credentials,
    DeviceRule,
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
ADA = TokenFacts(provider="p", auth_time=NOW - 50, learned_at=NOW - 10)
ROUTE = Route(id="r", provider="p")
KEEPING = Keeping(30.0, {"p": Trust(60.0, 2.0)})


def permit(
    facts: TokenFacts = ADA, route: Route = ROUTE, source: Source = Source.L1
) -> Permit:
    """Permit it, as the policy does."""
    case = Case(route, facts, NOW, False, "d")
    decision = judge(case, Credentials(Secret("t"), TokenPlace.HEADER), source)
    assert isinstance(decision, Permit)
    return decision


def demanding(**require) -> Route:
    """Make a route that demands this."""
    return replace(ROUTE, require=Requirements(**require))


@pytest.mark.parametrize(
    ("facts", "route", "expected"),
    [
        (ADA, ROUTE, 30),
        (msgspec.structs.replace(ADA, learned_at=NOW - 55), ROUTE, 5),
        (msgspec.structs.replace(ADA, learned_at=NOW - 99), ROUTE, 0),
        (msgspec.structs.replace(ADA, expires_at=NOW + 9.9), ROUTE, 7),
        (msgspec.structs.replace(ADA, expires_at=NOW + 1), ROUTE, 0),
        (ADA, demanding(max_fact_age=15.0), 5),
        (ADA, demanding(max_age=60.0), 10),
        (ADA, replace(ROUTE, strict_revocation=True), 0),
    ],
)
def test_leave_ends_with_whatever_would_end_it(facts, route, expected):
    """Freshness, `exp`, the route's own bounds; and never for a strict route."""
    assert expected == KEEPING.seconds(permit(facts, route), NOW)


def test_what_is_believed_beyond_its_time_is_not_kept():
    """The provider is down: who knows for how long."""
    assert 0 == KEEPING.seconds(permit(source=Source.STALE), NOW)


def test_what_asks_for_no_token_is_kept_as_long_as_is_dared():
    """Nothing ends it but another configuration."""
    public = admit_open(Route(id="r", access=Access.PUBLIC))

    assert isinstance(public, Permit)
    assert 30 == KEEPING.seconds(public, NOW)


def test_guarded_endpoints_are_not_kept():
    """Their forms are judged each time, and a userinfo by marks alone."""
    userinfo = replace(ROUTE, kind=RouteKind.OAUTH_USERINFO)

    assert 0 == KEEPING.seconds(permit(route=userinfo), NOW)


@pytest.mark.parametrize("keeping", [Keeping(), Keeping(0.0, {"p": Trust(60.0)})])
def test_nothing_is_kept_unless_it_is_dared(keeping):
    """The default."""
    assert 0 == keeping.seconds(permit(), NOW)
    assert "<Keeping: 0s>" == repr(keeping)


@given(
    learned=st.floats(0, 100),
    left=st.floats(0.1, 100),
    longest=st.floats(0, 100),
    ttl=st.floats(0, 100),
)
def test_it_is_never_kept_beyond_any_bound(learned, left, longest, ttl):
    """Whatever the numbers are."""
    facts = msgspec.structs.replace(
        ADA, learned_at=NOW - learned, expires_at=NOW + left
    )
    kept = Keeping(longest, {"p": Trust(ttl)}).seconds(permit(facts), NOW)

    # Moments of today have a resolution of a quarter of a microsecond.
    assert 0 <= kept <= max(0, min(longest, ttl - learned, left)) + 1e-6


def test_it_is_kept_for_requests_that_are_alike():
    """By token and Referer, and by the device where one is asked for."""
    device = DeviceRule(header=b"x-device")
    bound = permit(msgspec.structs.replace(ADA, device="d"), demanding(device=device))
    by_query = permit(
        msgspec.structs.replace(ADA, device="d"),
        demanding(device=DeviceRule(query=b"d")),
    )

    assert (
        (b"authorization", b"referer") == depends_on(permit()) == depends_on(by_query)
    )
    assert (b"authorization", b"referer", b"x-device") == depends_on(bound)


def test_leave_of_a_route_in_shadow_is_asked_for_each_time():
    """Whom it would have refused is counted as often as he comes."""
    route = replace(permit().route, shadow=True)
    refused = admit_shadowed(deny(route, Reason.EXPIRED), None)

    assert isinstance(refused, Permit)
    assert 0 == Keeping(60.0, {"p": Trust(60.0)}).seconds(refused, NOW)
