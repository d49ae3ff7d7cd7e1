"""What another configuration would decide of requests that were logged. Floor 2: pure.

The log holds a request's shape and what became of it, but no token: no scopes, claims or
times. So an old decision is carried over where the new route asks the same, or asks what
the log holds (the client) or what the old route had made sure of; everything else cannot
be told, and is said to be so. Providers are taken to be what they were, and tokens to
have come in the header where the former routes are not at hand.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from gateway.rules.credentials import needs_token, takes_token
from gateway.rules.routing import Routes
from gateway.rules.target import parse_target
from gateway.values import (
    INVALID_TOKEN,
    SHADOWED,
    Access,
    ClaimRule,
    NoRoute,
    Reason,
    Requirements,
    Route,
    RouteKind,
)

_ALLOW: Final = "allow"
_PUBLIC: Final = "public"
_BY_RULE: Final[Mapping[str, str]] = {
    Reason.INSUFFICIENT_SCOPE: "scopes",
    Reason.GRANT_UNKNOWN: "scopes",
    Reason.CLIENT_NOT_ALLOWED: "clients",
    Reason.WRONG_ISSUER: "issuers",
    Reason.WRONG_AUDIENCE: "audiences",
    Reason.CLAIM_MISMATCH: "claims",
    Reason.DEVICE_MISMATCH: "device",
    Reason.STRONGER_LOGIN_NEEDED: "acr and max_age",
}
"""Which demand of a route a refusal comes from."""

_BY_TOKEN: Final = frozenset(
    (INVALID_TOKEN - _BY_RULE.keys()) | {Reason.MALFORMED_TOKEN}
)
"""Refusals that a token meets on every route of its provider."""

_ROUTED: Final = frozenset({Reason.NO_ROUTE, Reason.METHOD_NOT_ALLOWED})


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """A logged request: what it asked for, and what became of it."""

    method: str = msgspec.field(name="http.request.method")
    host: str = msgspec.field(name="server.address")
    path: str = msgspec.field(name="url.path")
    decision: str = msgspec.field(name="gateway.decision")
    reason: str = msgspec.field(name="gateway.reason")
    route: str = msgspec.field(name="gateway.route")
    provider: str = msgspec.field(name="gateway.provider")
    client: str = msgspec.field(name="gateway.client_id")


class Replayed(msgspec.Struct, frozen=True):
    """What became of a request, and what would; `unknown` is why that cannot be told."""

    before: str
    after: str = ""
    route: str = ""
    unknown: str = ""

    @property
    def changes(self) -> bool:
        """Tell whether it would be decided otherwise."""
        return not self.unknown and self.before != self.after


def replay(shape: Shape, routes: Routes, was: Mapping[str, Route]) -> Replayed:
    """Decide again; `was` are the routes of the former configuration, if at hand."""
    before = _before(shape)
    target = parse_target(shape.path.encode("latin-1", "replace"))
    if not shape.method or target is None:
        return Replayed(before, unknown="it was no request that a route is found for")
    if shape.reason == "preflight":
        return Replayed(before, unknown="the log does not hold a preflight's headers")
    route = routes.search(shape.host, target, shape.method)
    if isinstance(route, NoRoute):
        return Replayed(before, f"deny {route.reason}")
    verdict = _judge(shape, route, was.get(shape.route))
    if isinstance(verdict, _Unknown):
        return Replayed(before, route=route.id, unknown=verdict.why)
    return Replayed(before, _enforced(verdict, route), route.id)


class _Unknown(msgspec.Struct, frozen=True):
    why: str


def _before(shape: Shape) -> str:
    if shape.decision == _ALLOW:
        return _ALLOW
    return f"{shape.decision} {shape.reason}"


def _enforced(reason: str, route: Route) -> str:
    if not reason:
        return _ALLOW
    in_shadow = route.shadow and reason in SHADOWED
    return f"{'shadow' if in_shadow else 'deny'} {reason}"


def _judge(shape: Shape, route: Route, old: Route | None) -> str | _Unknown:
    """Give the reason to refuse, "" for none."""
    for look in (_by_kind, _by_absence, _by_token):
        verdict = look(shape, route, old)
        if verdict is not None:
            return verdict
    return _by_rules(shape, route, old)


def _by_kind(shape: Shape, route: Route, old: Route | None) -> str | _Unknown | None:
    """Decide where no token is judged."""
    if route.kind is not RouteKind.API:
        if old is not None and old.kind is route.kind and shape.decision == _ALLOW:
            return ""
        return _Unknown("the log does not hold the form of an OAuth endpoint")
    return None if takes_token(route) else ""


def _by_absence(shape: Shape, route: Route, old: Route | None) -> str | _Unknown | None:
    """Decide about a request without a token."""
    optional = old is not None and old.access is Access.OPTIONAL
    if shape.reason == Reason.NO_CREDENTIALS or (shape.reason == _PUBLIC and optional):
        return Reason.NO_CREDENTIALS if needs_token(route) else ""
    if shape.reason == _PUBLIC or shape.reason in _ROUTED:
        return _Unknown("the log does not hold whether a token came")
    return None


def _by_token(shape: Shape, route: Route, old: Route | None) -> str | _Unknown | None:
    """Decide about a token that no route of its provider would take."""
    if shape.decision == "error":
        return _Unknown("nobody knew then whether the token was good")
    if shape.provider != route.provider:
        return _Unknown(f"its token was {shape.provider or 'nobody'}'s")
    if shape.reason in _BY_TOKEN:
        return shape.reason
    if old is not None and not old.token_from <= route.token_from:
        return _Unknown("the log does not hold where the token was")
    return None


def _by_rules(shape: Shape, route: Route, old: Route | None) -> str | _Unknown:
    wanted = route.require
    made_sure = None if old is None else old.require
    if shape.reason in _BY_RULE:
        name = _BY_RULE[Reason(shape.reason)]
        if made_sure is not None and _demand(wanted, name) == _demand(made_sure, name):
            return shape.reason
        return _Unknown(f"the log does not hold the token's {name}")
    if shape.decision != _ALLOW:
        return _Unknown(f"{shape.reason} depends on what the log does not hold")
    if wanted.clients and shape.client and shape.client not in wanted.clients:
        return Reason.CLIENT_NOT_ALLOWED
    missing = _missing(wanted, made_sure or Requirements(), client=shape.client)
    if missing:
        return _Unknown(f"the log does not hold the token's {', '.join(missing)}")
    return ""


def _demand(require: Requirements, name: str) -> object:
    if name == "acr and max_age":
        return require.acr, require.max_age
    return getattr(require, name)


def _missing(new: Requirements, old: Requirements, *, client: str) -> list[str]:
    """Name the demands that neither the log nor the old route answers."""
    answered = {
        "scopes": not new.scopes
        or (
            bool(old.scopes)
            and all(any(some <= had for some in new.scopes) for had in old.scopes)
        ),
        "issuer": _within(old.issuers, new.issuers),
        "audience": _within(old.audiences, new.audiences),
        "client": bool(client) or _within(old.clients, new.clients),
        "claims": all(_is_implied(rule, old.claims) for rule in new.claims),
        "device": new.device is None or new.device == old.device,
        "acr": _within(frozenset(old.acr), frozenset(new.acr)),
        "login": new.max_age is None
        or (old.max_age is not None and old.max_age <= new.max_age),
    }
    return [name for name, is_answered in answered.items() if not is_answered]


def _within(old: frozenset[str], new: frozenset[str]) -> bool:
    return not new or (bool(old) and old <= new)


def _is_implied(rule: ClaimRule, old: tuple[ClaimRule, ...]) -> bool:
    return any(had.path == rule.path and had.one_of <= rule.one_of for had in old)
