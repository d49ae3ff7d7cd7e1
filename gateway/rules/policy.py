"""Judge a token's facts against a route. Floor 2: no clock, no network, no log.

The rules are one table, applied in order on every request, hit or miss; the first
that says no is the verdict. `trace` walks the same table to explain it. This is the
only place that makes a `Permit`.
"""

from collections.abc import Callable
from math import ceil
from typing import Final

from gateway.rules.credentials import needs_token
from gateway.rules.scopes import for_challenge, satisfies
from gateway.values import (
    LONGEST_CLOCK_SKEW,
    SHADOWED,
    ClaimRule,
    Credentials,
    Denial,
    NoRoute,
    Permit,
    Reason,
    Requirements,
    Route,
    Source,
    TokenFacts,
)


class Case:
    """What the rules look at: the route's demands, the facts, and the moment.

    `revoked` tells that a mark covers the token; `named_device` is the device that
    the request names, where the route asks for one.
    """

    __slots__ = ("facts", "named_device", "now", "revoked", "route")

    def __init__(
        self,
        route: Route,
        facts: TokenFacts,
        now: float,
        revoked: bool,  # noqa: FBT001 -- one of its parts
        named_device: str | None,
    ) -> None:
        self.route = route
        self.facts = facts
        self.now = now
        self.revoked = revoked
        self.named_device = named_device


# -------------------------------------------------------------------- the rules


def _revocation(case: Case) -> Reason | None:
    return Reason.REVOKED if case.revoked else None


def _times(case: Case) -> Reason | None:
    facts, skew = case.facts, case.route.clock_skew
    # Userinfo tells no `exp`: the provider's word, asked afresh, stands for it.
    if facts.expires_at is not None and case.now >= facts.expires_at + skew:
        return Reason.EXPIRED
    if facts.not_before is not None and case.now < facts.not_before - skew:
        return Reason.NOT_YET_VALID
    return None


def _binding(case: Case) -> Reason | None:
    # RFC 8705 §3, RFC 9449 §7.2: a key we cannot check must never be ignored.
    return Reason.UNPROVEN_BINDING if case.facts.cnf else None


def _issuer(case: Case) -> Reason | None:
    issuers = case.route.require.issuers
    return Reason.WRONG_ISSUER if issuers and case.facts.issuer not in issuers else None


def _audience(case: Case) -> Reason | None:
    audiences = case.route.require.audiences
    if audiences and audiences.isdisjoint(case.facts.audience or ()):
        return Reason.WRONG_AUDIENCE
    return None


def _scopes(case: Case) -> Reason | None:
    needed = case.route.require.scopes
    if not needed:
        return None
    granted = case.facts.scopes
    if granted is None:
        return Reason.GRANT_UNKNOWN
    return None if satisfies(granted, needed) else Reason.INSUFFICIENT_SCOPE


def _client(case: Case) -> Reason | None:
    clients, facts = case.route.require.clients, case.facts
    if not clients or facts.client in clients:
        return None
    # Neither client nor scope: no grant was ever learned, and a new token cures it.
    if facts.client is None and facts.scopes is None:
        return Reason.GRANT_UNKNOWN
    return Reason.CLIENT_NOT_ALLOWED


def _claims(case: Case) -> Reason | None:
    for rule in case.route.require.claims:
        if not _meets(case.facts, rule):
            return Reason.CLAIM_MISMATCH
    return None


def _meets(facts: TokenFacts, rule: ClaimRule) -> bool:
    claim = facts.claims.get(rule.path)
    values = claim if isinstance(claim, tuple) else (claim,)
    # By type too: Python takes 1, 1.0 and True for equal, JSON does not.
    return any(
        type(value) is type(wanted) and value == wanted
        for value in values
        for wanted in rule.one_of
    )


def _device(case: Case) -> Reason | None:
    if case.route.require.device is None:
        return None
    device = case.facts.device
    if device is None or device != case.named_device:
        return Reason.DEVICE_MISMATCH
    return None


def _acr(case: Case) -> Reason | None:
    wanted = case.route.require.acr
    return (
        Reason.STRONGER_LOGIN_NEEDED
        if wanted and case.facts.acr not in wanted
        else None
    )


def _login(case: Case) -> Reason | None:
    limit = case.route.require.max_age
    if limit is None:
        return None
    since = case.facts.auth_time
    # Of a login that nobody tells of, and one yet to come, the age is unknown.
    if since is None or not -LONGEST_CLOCK_SKEW <= case.now - since <= limit:
        return Reason.STRONGER_LOGIN_NEEDED
    return None


Rule = Callable[[Case], Reason | None]

RULES: Final[tuple[tuple[str, Rule], ...]] = (
    ("revocation", _revocation),
    ("times", _times),
    ("binding", _binding),
    ("issuer", _issuer),
    ("audience", _audience),
    ("scopes", _scopes),
    ("client", _client),
    ("claims", _claims),
    ("device", _device),
    ("acr", _acr),
    ("login", _login),
)


# ------------------------------------------------------------------- decisions


_UNASKED: Final[tuple[tuple[Rule, Callable[[Requirements], object]], ...]] = (
    (_issuer, lambda require: require.issuers),
    (_audience, lambda require: require.audiences),
    (_scopes, lambda require: require.scopes),
    (_client, lambda require: require.clients),
    (_claims, lambda require: require.claims),
    (_device, lambda require: require.device),
    (_acr, lambda require: require.acr),
    (_login, lambda require: require.max_age is not None),
)


def rules_for(route: Route) -> tuple[Rule, ...]:
    """Give the rules that can refuse anybody on this route, in order."""
    idle = {rule for rule, demand in _UNASKED if not demand(route.require)}
    return tuple(rule for _, rule in RULES if rule not in idle)


def judge(
    case: Case,
    credentials: Credentials,
    source: Source,
    rules: tuple[Rule, ...] | None = None,
) -> Permit | Denial:
    """Apply every rule (`rules_for` the route, if at hand); the first refusal wins."""
    for rule in rules_for(case.route) if rules is None else rules:
        reason = rule(case)
        if reason is not None:
            return deny(case.route, reason, facts=case.facts, source=source)
    return Permit(
        route=case.route, facts=case.facts, credentials=credentials, source=source
    )


def trace(case: Case) -> list[tuple[str, Reason | None]]:
    """Tell each rule's own outcome, in order; None is a pass. For `explain`."""
    return [(name, rule(case)) for name, rule in RULES]


def admit_open(route: Route) -> Permit | Denial:
    """Decide on a request without a token: a route that needs one refuses."""
    if needs_token(route):
        return deny(route, Reason.NO_CREDENTIALS)
    return Permit(route=route, facts=None, credentials=None, source=Source.NONE)


def admit_userinfo(
    route: Route,
    credentials: Credentials,
    facts: TokenFacts | None,
    *,
    revoked: bool,
    source: Source,
) -> Permit | Denial:
    """Let a token through to its provider's userinfo, unless a mark is on it.

    The provider is about to be asked by the client, so nothing else is judged.
    """
    if revoked:
        return deny(route, Reason.REVOKED, facts=facts, source=source)
    return Permit(route=route, facts=facts, credentials=credentials, source=source)


def admit_shadowed(denial: Denial, credentials: Credentials | None) -> Permit | Denial:
    """Let through, marked, whom a route in shadow would refuse for its token.

    The permit tells nothing of whom: nothing that was claimed has been accepted.
    """
    route = denial.route
    if route is None or not route.shadow or denial.reason not in SHADOWED:
        return denial
    return Permit(
        route=route,
        facts=None,
        credentials=credentials,
        source=denial.source,
        shadow=denial.reason,
    )


def is_recent_enough(route: Route, obtained_at: float, now: float) -> bool:
    """Tell whether the provider's word is as young as the route wants it.

    A moment in the future is no young word: some clock was set.
    """
    limit = route.require.max_fact_age
    return limit is None or 0 <= now - obtained_at <= limit


def deny(
    route: Route,
    reason: Reason,
    *,
    facts: TokenFacts | None = None,
    source: Source = Source.NONE,
    retry_after: int = 0,
) -> Denial:
    """Refuse on a route, in its dialect."""
    require = route.require
    # RFC 6750 §3.1: the scope attribute belongs to insufficient_scope.
    lacks_scope = reason is Reason.INSUFFICIENT_SCOPE
    # RFC 9470 §3
    lacks_login = reason is Reason.STRONGER_LOGIN_NEEDED
    age = require.max_age if lacks_login else None
    return Denial(
        reason=reason,
        dialect=route.dialect,
        realm=route.realm,
        route=route,
        scope=for_challenge(require.scopes) if lacks_scope else "",
        acr_values=" ".join(require.acr) if lacks_login else "",
        max_age=None if age is None else ceil(age),
        metadata=route.metadata,
        retry_after=retry_after,
        client=None if facts is None else facts.client,
        source=source,
    )


def deny_unrouted(missing: NoRoute) -> Denial:
    """Refuse where no route is: 404, 405, or 400 for an unfit target."""
    return Denial(
        reason=missing.reason,
        dialect=missing.dialect,
        realm=missing.realm,
        allow=missing.allow,
    )
