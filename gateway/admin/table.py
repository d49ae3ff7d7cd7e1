"""The routes as an operator reads them: rules in words, and what came lately. Floor 4.

Pure. A row's numbers are of the last ten minutes, `total` since the start.
"""

from collections.abc import Iterable, Iterator

import msgspec

from gateway.admin.pulse import Tally
from gateway.admin.traffic import SHADOW, Outcomes, outcome
from gateway.values import Access, Requirements, Route, RouteKind


class RouteRow(msgspec.Struct, frozen=True, kw_only=True):
    """One route.

    `top_reason` is why most of its refused requests were refused, or would have been:
    of the allowed ones `shadow` were, because the route is in shadow.
    """

    id: str
    methods: tuple[str, ...]
    host: str
    path: str
    kind: str
    access: str
    provider: str
    token_from: tuple[str, ...]
    rules: tuple[str, ...]
    upstream: str
    requests: Outcomes
    total: Outcomes
    shadow: int
    top_reason: str


def rows(
    routes: Iterable[Route], recent: Tally, total: Tally, words: str = ""
) -> list[RouteRow]:
    """Make the table; only of routes that have every one of `words` somewhere."""
    lately, ever = _by_route(recent), _by_route(total)
    why, shadows = _top_reasons(recent), _shadows(recent)
    made = (
        RouteRow(
            id=route.id,
            methods=tuple(sorted(route.methods)),
            host=route.host,
            path=route.path,
            kind=route.kind.value,
            access=route.access.value,
            provider=route.provider,
            token_from=tuple(sorted(each.value for each in route.token_from)),
            rules=tuple(_rules(route)),
            upstream=route.upstream,
            requests=lately.get(route.id, Outcomes()),
            total=ever.get(route.id, Outcomes()),
            shadow=shadows.get(route.id, 0),
            top_reason=why.get(route.id, ""),
        )
        for route in routes
    )
    wanted = words.lower().split()
    return [row for row in made if all(word in _text(row) for word in wanted)]


def _text(row: RouteRow) -> str:
    told = (
        row.id,
        *(row.methods or ("all",)),
        row.host,
        row.path,
        row.kind,
        row.access,
        row.provider,
        *row.rules,
        row.upstream,
    )
    return " ".join(told).lower()


def _rules(route: Route) -> Iterator[str]:
    if route.kind is not RouteKind.API:
        yield f"guarded {route.kind.value}"
    elif route.access is Access.PUBLIC:
        yield "public: no token asked"
    elif route.access is Access.OPTIONAL:
        yield "a token is optional"
    if route.shadow:
        yield "in shadow: nobody is refused"
    yield from _required(route.require)
    if route.strict_revocation:
        yield "revocation: strict"
    if route.upgrades:
        yield f"upgrades: {', '.join(sorted(each.decode() for each in route.upgrades))}"


def _required(require: Requirements) -> Iterator[str]:
    if require.scopes:
        sets = (" ".join(sorted(each)) for each in require.scopes)
        yield f"scope {' or '.join(sets)}"
    for name, allowed in (
        ("issuer", require.issuers),
        ("audience", require.audiences),
        ("client", require.clients),
    ):
        if allowed:
            yield f"{name} {' or '.join(sorted(allowed))}"
    for claim in require.claims:
        yield f"{claim.path} = {' or '.join(sorted(map(str, claim.one_of)))}"
    if require.device is not None:
        where = require.device.header or require.device.query or b""
        yield f"device in {where.decode('latin-1')}"
    if require.acr:
        yield f"login by {' or '.join(require.acr)}"
    if require.max_age is not None:
        yield f"login at most {require.max_age:g} s ago"
    if require.max_fact_age is not None:
        yield f"facts at most {require.max_fact_age:g} s old"


def _by_route(tally: Tally) -> dict[str, Outcomes]:
    """Count in one pass: there may be thousands of routes."""
    counts: dict[str, dict[str, int]] = {}
    for each in tally.decided:
        of = counts.setdefault(each.route, {})
        became = outcome(each.decision, each.reason)
        of[became] = of.get(became, 0) + each.count
    return {route: Outcomes(**of) for route, of in counts.items()}


def _shadows(tally: Tally) -> dict[str, int]:
    counts: dict[str, int] = {}
    for each in tally.decided:
        if each.decision == SHADOW:
            counts[each.route] = counts.get(each.route, 0) + each.count
    return counts


def _top_reasons(tally: Tally) -> dict[str, str]:
    top: dict[str, tuple[int, str]] = {}
    for each in tally.decided:
        allowed = outcome(each.decision, each.reason) == "allowed"
        if not allowed or each.decision == SHADOW:
            known = top.get(each.route, (0, ""))
            top[each.route] = max(known, (each.count, each.reason))
    return {route: reason for route, (_, reason) in top.items()}
