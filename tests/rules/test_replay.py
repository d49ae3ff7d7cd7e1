from dataclasses import replace

import msgspec
import pytest

from gateway.rules.replay import Replayed, Shape, replay
from gateway.rules.routing import Routes
from gateway.values import (
    RECORD_NAMES,
    Access,
    ClaimRule,
    DeviceRule,
    Reason,
    Requirements,
    Route,
    RouteKind,
    TokenPlace,
)

READ = Route(id="read", path="/read", provider="lab", upstream="api")
SHAPE = Shape(
    method="GET",
    host="api.example",
    path="/read",
    decision="allow",
    reason="ok",
    route="read",
    provider="lab",
    client="shop",
)


def demanding(**require) -> Route:
    """Make the route demand this."""
    return replace(READ, require=Requirements(**require))


def replayed(
    new: Route, old: Route | None = None, /, *, denied: str = "", **shape: object
) -> Replayed:
    """Replay one request; `old` is its former route."""
    asked = msgspec.structs.replace(SHAPE, **shape)
    if denied:
        asked = msgspec.structs.replace(asked, decision="deny", reason=denied)
    return replay(asked, Routes([new]), {} if old is None else {old.id: old})


def scopes(*names: str) -> tuple[frozenset[str], ...]:
    """Write alternatives."""
    return tuple(frozenset(name.split()) for name in names)


def test_the_shape_of_a_record_has_its_names():
    """What the log writes is what is read."""
    fields = zip(Shape.__struct_fields__, Shape.__struct_encode_fields__, strict=True)

    assert all(RECORD_NAMES[field] == name for field, name in fields)


@pytest.mark.parametrize(
    ("new", "old", "after"),
    [
        (READ, None, "allow"),
        (replace(READ, access=Access.PUBLIC), None, "allow"),
        (replace(READ, path="/other"), None, "deny no_route"),
        (replace(READ, methods=frozenset({"PUT"})), None, "deny method_not_allowed"),
        (demanding(clients=frozenset({"shop"})), None, "allow"),
        (demanding(clients=frozenset({"bank"})), None, "deny client_not_allowed"),
        (
            replace(demanding(clients=frozenset({"bank"})), shadow=True),
            None,
            "shadow client_not_allowed",
        ),
        (demanding(scopes=scopes("a")), demanding(scopes=scopes("a b")), "allow"),
        (demanding(scopes=scopes("a", "c")), demanding(scopes=scopes("c")), "allow"),
        (
            demanding(issuers=frozenset({"i", "j"})),
            demanding(issuers=frozenset({"i"})),
            "allow",
        ),
        (demanding(max_age=60.0), demanding(max_age=30.0), "allow"),
        (demanding(acr=("a", "b")), demanding(acr=("b",)), "allow"),
        (demanding(max_fact_age=1.0), READ, "allow"),
        (
            demanding(claims=(ClaimRule("level", frozenset({1, 2})),)),
            demanding(claims=(ClaimRule("level", frozenset({1})),)),
            "allow",
        ),
        (
            demanding(device=DeviceRule(header=b"d")),
            demanding(device=DeviceRule(header=b"d")),
            "allow",
        ),
    ],
)
def test_what_was_allowed_is_decided_where_the_log_or_the_old_route_tells(
    new, old, after
):
    """By routing, by the client, and by what the old route had made sure of."""
    told = replayed(new, old)

    assert ("allow", after, "") == (told.before, told.after, told.unknown)
    assert (after != "allow") == told.changes


@pytest.mark.parametrize(
    ("new", "old", "what"),
    [
        (demanding(scopes=scopes("a")), None, "scopes"),
        (demanding(scopes=scopes("a")), READ, "scopes"),
        (demanding(scopes=scopes("a b")), demanding(scopes=scopes("a")), "scopes"),
        (demanding(scopes=scopes("a")), demanding(scopes=scopes("a", "b")), "scopes"),
        (
            demanding(issuers=frozenset({"i"})),
            demanding(issuers=frozenset({"i", "j"})),
            "issuer",
        ),
        (demanding(audiences=frozenset({"api"})), None, "audience"),
        (demanding(claims=(ClaimRule("a", frozenset({1})),)), READ, "claims"),
        (demanding(device=DeviceRule(query=b"d")), READ, "device"),
        (demanding(acr=("gold",)), READ, "acr"),
        (demanding(max_age=30.0), demanding(max_age=60.0), "login"),
    ],
)
def test_what_needs_more_than_the_log_holds_cannot_be_told(new, old, what):
    """It is said what is missing, and nothing is guessed."""
    told = replayed(new, old)

    assert f"the log does not hold the token's {what}" == told.unknown
    assert not told.changes


@pytest.mark.parametrize(
    ("new", "old", "reason", "after"),
    [
        (READ, None, "no_credentials", "deny no_credentials"),
        (replace(READ, access=Access.OPTIONAL), None, "no_credentials", "allow"),
        (READ, None, "expired", "deny expired"),
        (READ, None, "revoked", "deny revoked"),
        (replace(READ, shadow=True), None, "expired", "shadow expired"),
        (replace(READ, shadow=True), None, "revoked", "deny revoked"),
        (replace(READ, access=Access.PUBLIC), None, "inactive", "allow"),
        (
            demanding(scopes=scopes("a")),
            demanding(scopes=scopes("a")),
            "insufficient_scope",
            "deny insufficient_scope",
        ),
        (
            demanding(max_age=9.0),
            demanding(max_age=9.0),
            "stronger_login_needed",
            "deny stronger_login_needed",
        ),
    ],
)
def test_what_was_refused_for_the_token_itself_stays_refused(new, old, reason, after):
    """And what was refused by a rule, where the rule is the same."""
    told = replayed(new, old, denied=reason)

    assert (f"deny {reason}", after, "") == (told.before, told.after, told.unknown)


@pytest.mark.parametrize(
    ("new", "old", "changes"),
    [
        (demanding(scopes=scopes("b")), demanding(scopes=scopes("a")), {}),
        (READ, None, {}),
        (replace(READ, provider="other"), None, {"reason": "expired"}),
        (READ, None, {"reason": "no_route", "provider": "", "route": ""}),
        (READ, None, {"reason": "malformed_request"}),
        (READ, None, {"reason": "provider_unavailable", "decision": "error"}),
        (READ, None, {"reason": "public", "decision": "allow"}),
        (READ, None, {"reason": "bad_message", "method": "", "path": ""}),
        (READ, None, {"reason": "preflight", "decision": "allow"}),
        (READ, replace(READ, token_from=frozenset(TokenPlace)), {"reason": "ok"}),
        (replace(READ, kind=RouteKind.OAUTH_TOKEN), None, {"reason": "ok"}),
    ],
)
def test_whatever_else_cannot_be_told(new, old, changes):
    """Another provider's token, none at all, an outage, a form, a preflight."""
    shape = {"decision": "deny", "reason": Reason.INSUFFICIENT_SCOPE, **changes}

    assert replayed(new, old, **shape).unknown


def test_who_came_without_a_token_to_an_optional_route_is_decided():
    """He had none: `public` says so there."""
    optional = replace(READ, access=Access.OPTIONAL)

    assert "deny no_credentials" == replayed(READ, optional, reason="public").after
    assert "allow" == replayed(optional, optional, reason="public").after


def test_an_oauth_endpoint_that_stays_one_is_as_before():
    """What was let through is; the form itself is not in the log."""
    token = replace(READ, kind=RouteKind.OAUTH_TOKEN)

    assert "allow" == replayed(token, token, reason="public").after
    assert replayed(token, token, denied="invalid_form").unknown
