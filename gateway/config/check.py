"""What must be true between the keys of a configuration. Floor 2: pure.

The model knows each key alone; here a reference must lead somewhere, a route must be
reachable, and nothing may be demanded of a token that nobody could ever tell: such a
route would refuse everybody, which is better learned before the first request.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Final
from urllib.parse import urlsplit

from gateway.config.addresses import UnixAddress, origin_of
from gateway.config.admin import exposure
from gateway.config.answered import logout, resource
from gateway.config.case import Case
from gateway.config.decisions import price
from gateway.config.model import Config, Provider, Require, Route
from gateway.config.registry import Registry
from gateway.config.report import KeyPath, Report, describe
from gateway.config.revocation import Enforcement, Strictness
from gateway.rules import routing
from gateway.rules.headers import fold
from gateway.rules.oauth_forms import METHODS
from gateway.rules.target import parse_target
from gateway.values import Access, RouteKind, TokenPlace
from gateway.values import Route as Compiled

LONGEST_FORM_BYTES: Final = 64 * 1024
"""The forms of token and revocation requests are the only bodies ever held."""

_LEARNED: Final = "learned"
_CLIENT_TELLERS: Final = frozenset({_LEARNED, "introspection"})
"""Verifiers that tell for which client an opaque token was made."""

_BLIND: Final = (
    "expected `learned` or `introspection` in verify, since userinfo does not tell "
    "for which client a token was made, or `any_client: true`"
)

_NEEDS: Final[Mapping[str, tuple[str, Callable[[Require], object]]]] = {
    "issuers": ("issuer", lambda require: require.issuers),
    "audiences": ("audience", lambda require: require.audiences),
    "clients": ("client", lambda require: require.clients),
    "claims": ("claims", lambda require: require.claims),
    "device": ("device", lambda require: require.device),
    "acr": ("login", lambda require: require.acr),
    "max_age": ("login", lambda require: require.max_age),
}
"""Each rule of a route, what some verifier must know for it, and how to ask."""

_TOKENLESS: Final = frozenset({"require", "token_from", "revocation"})
_ALWAYS: Final = frozenset(
    {"access", "enforce", "pass_token", "upgrades", "end_with_token"}
)
_UNUSED: Final[Mapping[RouteKind, frozenset[str]]] = {
    RouteKind.API: frozenset(),
    RouteKind.OAUTH_AUTHORIZE: _ALWAYS | _TOKENLESS,
    RouteKind.OAUTH_TOKEN: _ALWAYS | _TOKENLESS,
    RouteKind.OAUTH_REVOKE: _ALWAYS | _TOKENLESS,
    RouteKind.OAUTH_USERINFO: _ALWAYS,
    RouteKind.BACKCHANNEL_LOGOUT: _ALWAYS
    | _TOKENLESS
    | {"upstream", "cors", "strip_prefix", "add_prefix", "timeouts"},
    RouteKind.PROTECTED_RESOURCE: _ALWAYS
    | _TOKENLESS
    | {"provider", "upstream", "strip_prefix", "add_prefix", "timeouts", "body_limit"},
}
"""Keys that mean nothing on a guarded endpoint: the kind decides."""

_ANSWERED_HERE: Final = frozenset(
    {RouteKind.BACKCHANNEL_LOGOUT, RouteKind.PROTECTED_RESOURCE}
)

_IDENTITY: Final = ("subject", "client", "scopes", "provider", "device")

_HELD: Final = frozenset(
    {RouteKind.OAUTH_TOKEN, RouteKind.OAUTH_REVOKE, RouteKind.BACKCHANNEL_LOGOUT}
)


def check(
    config: Config, registry: Registry, report: Report, numbers: Sequence[int]
) -> None:
    """Note everything that cannot work, and warn of what is unwise."""
    case = Case(config, registry, report, numbers)
    _store(case)
    _door(case)
    _engines(case)
    _operators(case)
    _grpc(case)
    _tracing(case)
    _workers(case)
    _identity(case)
    for name, provider in config.providers.items():
        _provider(case, ("providers", name), provider)
        _learning(case, name, provider)
    for path, route in case.routes():
        _references(case, path, route)
        _access(case, path, route)
        _rewriting(case, path, route)
        _cross_origin(case, path, route)
        _kind(case, path, route)
        logout(case, path, route)
        resource(case, path, route)
        if route.provider in config.providers:
            _knowledge(case, path, route, config.providers[route.provider])
            _scopes(case, path, route, config.providers[route.provider])
    _equals(case)


# ------------------------------------------------------------------------ the process


def _door(case: Case) -> None:
    """Refuse to wait for a PROXY header from peers that can never come."""
    listen = case.config.listen
    on_unix = isinstance(listen.proxy, UnixAddress)
    for number, peers in enumerate(listen.proxy_protocol):
        if (peers == "unix") != on_unix:
            wanted = "`unix`" if on_unix else "a network"
            case.report.problem(
                ("listen", "proxy_protocol", number),
                f"expected {wanted}, since listen.proxy is {listen.proxy}",
            )
    for number, peers in enumerate(case.config.trusted_proxies):
        if peers == "unix" and not on_unix:
            case.report.problem(
                ("trusted_proxies", number),
                f"expected a network, since listen.proxy is {listen.proxy}",
            )
    for number, peers in enumerate(case.config.trusted_peers):
        if peers == "unix":
            case.report.problem(
                ("trusted_peers", number),
                "expected a network, since engines ask over TCP",
            )


def _engines(case: Case) -> None:
    """Tell what is traded where engines need not ask each time."""
    if told := price(case.config.decisions):
        case.report.warn(("decisions", "max_age"), told)


def _operators(case: Case) -> None:
    """Tell whoever has operators come from elsewhere what that shows to others."""
    config = case.config
    if told := exposure(config.listen.admin, config.admin):
        case.report.warn(("listen", "admin"), told)


def _store(case: Case) -> None:
    known = tuple(f"{name}://" for name in sorted(case.registry.store_schemes))
    if not case.config.store.url.startswith(known):
        # The URL itself may hold a password.
        case.report.problem(("store", "url"), f"expected one of {', '.join(known)}")


def _grpc(case: Case) -> None:
    """Refuse a listener that cannot be opened here."""
    address = case.config.listen.authz_grpc
    if address is None:
        return
    path = ("listen", "authz_grpc")
    if install := case.registry.lacking.get("authz_grpc"):
        case.report.problem(path, f"expected gRPC to be installed: {install}")
    if address.port == 0 and case.config.workers > 1:
        case.report.problem(path, "expected a port, since all workers listen on it")


def _tracing(case: Case) -> None:
    """Refuse what cannot be recorded here."""
    install = case.registry.lacking.get("tracing")
    if case.config.tracing.enabled and install:
        path = ("tracing", "enabled")
        case.report.problem(path, f"expected OpenTelemetry to be installed: {install}")


def _workers(case: Case) -> None:
    """Refuse several processes where each would know something else."""
    if case.config.workers == 1:
        return
    if case.config.store.url.startswith("memory:"):
        case.report.problem(
            ("workers",),
            "expected 1, or a store.url that processes share (redis://…): with "
            "memory:// a grant learned by one worker is unknown to the others",
        )
    if isinstance(case.config.listen.proxy, UnixAddress):
        case.report.problem(
            ("workers",),
            "expected 1, or host:port in listen.proxy, which can be shared",
        )


def _identity(case: Case) -> None:
    """Refuse two headers of one name, as those read names who take `_` for `-`."""
    names = case.config.identity_headers
    # Who configured a name is told about it, not the one that has it by default.
    fields = sorted(_IDENTITY, key=names.model_fields_set.__contains__)
    named: dict[KeyPath, str] = {(field,): getattr(names, field) for field in fields}
    named |= {("claims", name): name for name in names.claims}
    first: dict[bytes, tuple[KeyPath, str]] = {}
    for key, name in named.items():
        path = ("identity_headers", *key)
        # A key comes from nowhere but the file.
        shown = describe(name) if len(key) > 1 else case.report.found(path, name)
        ours = (path, shown)
        theirs = first.setdefault(fold(name.lower().encode()), ours)
        if name and theirs != ours:
            other = ".".join(map(str, theirs[0]))
            case.report.problem(
                path,
                f"expected another header than {other} names: "
                f"{shown} and {theirs[1]} are one to many servers",
            )


# ------------------------------------------------------------------------ providers


def _provider(case: Case, path: KeyPath, provider: Provider) -> None:
    report = case.report
    for number, verifier in enumerate(provider.verify):
        if verifier in provider.verify[:number]:
            report.problem((*path, "verify", number), "expected each verifier once")
    for verifier in provider.model_fields_set & case.registry.verifiers.keys():
        if verifier not in provider.verify:
            report.problem((*path, verifier), f"expected `{verifier}` in verify")
    if set(provider.verify) == {_LEARNED}:
        report.problem(
            (*path, "verify"),
            "expected another verifier besides `learned`: that a grant was seen "
            "does not prove that its token is still valid",
        )
    for number, scope in enumerate(provider.assume_scopes):
        if provider.scopes and scope not in provider.scopes:
            report.problem(
                (*path, "assume_scopes", number), "expected one of the `scopes`"
            )
    if provider.allow_insecure_http:
        report.warn(
            (*path, "allow_insecure_http"),
            "tokens and secrets go to this provider over plain HTTP: only where "
            "something below encrypts and authenticates (a service mesh)",
        )
    if provider.assume_scopes and _is_blind(provider):
        report.problem((*path, "assume_scopes"), _BLIND)


def _is_blind(provider: Provider) -> bool:
    """Tell whether tokens made for any client at all would be taken."""
    return (
        "userinfo" in provider.verify
        and not provider.any_client
        and _CLIENT_TELLERS.isdisjoint(provider.verify)
    )


def _learning(case: Case, name: str, provider: Provider) -> None:
    """Warn where no token answer of the provider's own endpoint passes by."""
    if _LEARNED not in provider.verify:
        return
    endpoint = getattr(provider.settings(_LEARNED), "token_endpoint", "")
    learns = any(
        origin == origin_of(endpoint) and _asks_for(route, urlsplit(endpoint).path)
        for _, route in case.routes()
        if route.provider == name and route.kind is RouteKind.OAUTH_TOKEN
        if route.upstream in case.config.upstreams
        for origin in case.config.upstreams[route.upstream].targets
    )
    if not learns:
        case.report.warn(
            ("providers", name, "verify"),
            "`learned` learns nothing: no route of kind oauth-token leads to its "
            "token_endpoint",
        )


def _asks_for(route: Route, path: str) -> bool:
    """Tell whether the upstream could be asked for this path."""
    pattern = routing.parse_pattern(route.match.path)
    target = parse_target(route.match.path.encode())
    if target is None or pattern.rest or None in pattern.segments:
        return True
    rewriting = Compiled(
        id=route.id, strip_prefix=route.strip_prefix, add_prefix=route.add_prefix
    )
    return routing.rewrite(target, rewriting) == path.encode()


# --------------------------------------------------------------------------- routes


def _references(case: Case, path: KeyPath, route: Route) -> None:
    upstreams, providers = case.config.upstreams, case.config.providers
    if route.upstream:
        case.refer((*path, "upstream"), route.upstream, "upstream", upstreams)
    elif route.kind not in _ANSWERED_HERE:
        case.report.missing((*path, "upstream"))
    if route.provider:
        case.refer((*path, "provider"), route.provider, "provider", providers)
    elif route.kind is RouteKind.PROTECTED_RESOURCE:
        return
    elif route.access is not Access.PUBLIC or route.kind is not RouteKind.API:
        case.report.problem(path, "expected a provider, or `access: public`")


def _access(case: Case, path: KeyPath, route: Route) -> None:
    if route.access is Access.PUBLIC and route.require != Require():
        case.report.problem(
            (*path, "require"), "expected nothing: a public route asks for no token"
        )
    if route.revocation is Strictness.STRICT:
        _strictness(case, (*path, "revocation"), route)
    if route.enforce is Enforcement.SHADOW:
        _shadow(case, (*path, "enforce"), route)
    if TokenPlace.QUERY in route.token_from:
        case.report.warn(
            (*path, "token_from"),
            "a token in a query ends up in histories and logs (RFC 9700 §4.3.2): "
            "only for clients that cannot set headers",
        )


def _shadow(case: Case, path: KeyPath, route: Route) -> None:
    """Warn as long as a route enforces nothing, and refuse what is none."""
    if route.access is Access.PUBLIC:
        case.report.problem(path, "expected nothing: a public route asks for no token")
        return
    case.report.warn(
        path,
        "this route refuses no token: requests that it would refuse go to the upstream, "
        "marked with X-Auth-Shadow-Denied, which must not trust them",
    )


def _strictness(case: Case, path: KeyPath, route: Route) -> None:
    """Refuse to be strict about no token, and warn where nobody else is heard."""
    if route.access is Access.PUBLIC:
        case.report.problem(path, "expected nothing: a public route asks for no token")
    if case.config.store.url.startswith("memory:"):
        case.report.warn(
            path,
            "with memory:// a revocation is known to this process alone: expected a "
            "store.url that processes share (redis://…), if there is another",
        )


def _rewriting(case: Case, path: KeyPath, route: Route) -> None:
    """Refuse a prefix that no path of the route begins with."""
    prefix = parse_target(route.strip_prefix)
    if prefix is None:
        return
    pattern = routing.parse_pattern(route.match.path)
    if pattern.segments[: len(prefix.segments)] != prefix.segments:
        case.report.problem(
            (*path, "strip_prefix"), "expected what match.path begins with"
        )


def _cross_origin(case: Case, path: KeyPath, route: Route) -> None:
    cors = route.cors
    if cors is None:
        return
    if cors.credentials and "*" in cors.origins:
        case.report.problem(
            (*path, "cors", "credentials"),
            "expected false, since `*` in origins would let every page in",
        )
    if not cors.methods and not route.match.methods:
        case.report.problem(
            (*path, "cors"), "expected methods, since match.methods lists none"
        )


def _kind(case: Case, path: KeyPath, route: Route) -> None:
    """Refuse what means nothing at a guarded endpoint."""
    for key in sorted(_UNUSED[route.kind] & route.model_fields_set):
        case.report.problem((*path, key), f"expected nothing: {route.kind} decides it")
    allowed = METHODS.get(route.kind)
    if allowed and not route.match.methods <= set(allowed):
        case.report.problem(
            (*path, "match", "methods"),
            f"expected {' and '.join(allowed)} alone for {route.kind}",
        )
    if route.kind in _HELD and route.body_limit > LONGEST_FORM_BYTES:
        case.report.problem(
            (*path, "body_limit"), "expected 64KiB or less for a form that is held"
        )


def _known(case: Case, provider: Provider) -> frozenset[str]:
    """Everything that the provider's verifiers can tell."""
    verifiers = case.registry.verifiers
    return frozenset(
        chain.from_iterable(
            verifiers[name].knows(provider.settings(name)) for name in provider.verify
        )
    )


def _knowledge(case: Case, path: KeyPath, route: Route, provider: Provider) -> None:
    known = _known(case, provider)
    if route.require.clients and "client" in known and _is_blind(provider):
        case.report.problem((*path, "require", "clients"), _BLIND)
    for key, (fact, demanded) in _NEEDS.items():
        if demanded(route.require) and fact not in known:
            case.report.problem(
                (*path, "require", key),
                f"expected a provider that can tell it: none of "
                f"{', '.join(provider.verify)} knows the {fact} of a token",
            )


def _scopes(case: Case, path: KeyPath, route: Route, provider: Provider) -> None:
    """Refuse to demand a scope that nobody can grant, or tell."""
    tellable = "scope" in _known(case, provider)
    if route.require.scopes and not (tellable or provider.assume_scopes):
        case.report.problem(
            (*path, "require", "scopes"),
            f"expected a provider that can tell it: none of "
            f"{', '.join(provider.verify)} knows the scope of a token, "
            "and assume_scopes is empty",
        )
        return
    grantable = set(provider.scopes if tellable else provider.assume_scopes)
    for number, scopes in enumerate(route.require.scopes):
        for scope in sorted(scopes - grantable if grantable else ()):
            place = (*path, "require", "scopes", number)
            case.refer(place, scope, "scope of the provider", grantable)


def _equals(case: Case) -> None:
    """Refuse two routes that share an id, or all that they match."""
    first: dict[str, KeyPath] = {}
    for path, route in case.routes():
        if (before := first.setdefault(route.id, path)) != path:
            _clash(case, (*path, "id"), "an id of its own", before)
    compared = [
        Compiled(
            id=str(number),
            host=route.match.host,
            path=route.match.path,
            methods=route.match.methods,
        )
        for number, route in zip(case.numbers, case.config.routes, strict=True)
    ]
    for one, other in routing.conflicts(compared):
        match = ("routes", int(other.id), "match")
        earlier = ("routes", int(one.id))
        _clash(case, match, "another host, path or methods", earlier)


def _clash(case: Case, path: KeyPath, expected: str, other: KeyPath) -> None:
    mark = case.report.mark(other)
    case.report.problem(
        path, f"expected {expected}: the route at {mark.file}:{mark.line} has the same"
    )
