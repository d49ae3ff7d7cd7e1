"""Cross-origin calls, as the Fetch standard has them. Floor 2.

A preflight carries no token, so the gateway answers it itself from the route's
`cors` settings. What is sent back comes from those settings, never from the request.
"""

from gateway.values import Answer, Cors, Header, RequestHead, Route

_ANY = "*"
_PREFLIGHT_VARY = (
    b"vary",
    b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
)


def requested_method(head: RequestHead) -> str | None:
    """Give the method that a preflight asks about; None when this is no preflight."""
    if head.method != "OPTIONS" or not head.values(b"origin"):
        return None
    methods = head.values(b"access-control-request-method")
    return methods[0].decode("latin-1") if len(methods) == 1 else None


def preflight(route: Route, head: RequestHead) -> Answer | None:
    """Answer a preflight for `route`; None refuses it.

    Refused are an origin, a method or a header that the route does not list.
    """
    cors, method = route.cors, requested_method(head)
    if cors is None or method not in cors.methods:
        return None
    asked = b",".join(head.values(b"access-control-request-headers")).decode("latin-1")
    allowed = {name.lower() for name in cors.headers}
    names = {name.strip().lower() for name in asked.split(",")} - {""}
    origin = _allow_origin(cors, head)
    if not origin or not names <= allowed:
        return None
    headers = (
        *origin,
        (b"access-control-allow-methods", _join(cors.methods)),
        (b"access-control-allow-headers", _join(allowed)),
        (b"access-control-max-age", b"%d" % cors.max_age),
        _PREFLIGHT_VARY,
        (b"cache-control", b"no-store"),
    )
    return Answer(204, headers, b"")


def cors_headers(route: Route, head: RequestHead) -> tuple[Header, ...]:
    """Give the headers for an actual response, a refusal's too.

    Empty where the route has no `cors`. Where it lists origins every response
    varies, also one to a stranger, or a cache would serve it to a friend.
    """
    if route.cors is None:
        return ()
    origin = _allow_origin(route.cors, head)
    if _ANY in route.cors.origins:
        return origin
    return (*origin, (b"vary", b"Origin"))


def _allow_origin(cors: Cors, head: RequestHead) -> tuple[Header, ...]:
    if _ANY in cors.origins:
        # Never with credentials: any page could then act for its visitor.
        return ((b"access-control-allow-origin", b"*"),)
    origins = head.values(b"origin")
    if len(origins) != 1 or origins[0].decode("latin-1") not in cors.origins:
        return ()
    allowed: Header = (b"access-control-allow-origin", origins[0])
    if not cors.credentials:
        return (allowed,)
    return (allowed, (b"access-control-allow-credentials", b"true"))


def _join(names: frozenset[str] | set[str]) -> bytes:
    return ", ".join(sorted(names)).encode()
