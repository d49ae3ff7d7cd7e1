"""The table of requests that every door judges alike, and what they are judged by."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.errors import ProviderUnavailable, StoreUnavailable, TooManyUnknown
from gateway.rules.engine_headers import EngineHeaders
from gateway.rules.headers import HeaderRules
from gateway.values import (
    INVALID_TOKEN,
    ClaimRule,
    DeviceRule,
    Guard,
    IdentityHeaders,
    Invalid,
    Reason,
    Requirements,
    Route,
    RouteKind,
    TokenFacts,
    TokenPlace,
)
from tests.fronts.house import METADATA, ROUTES, Facts, api, oauth

ANY_PLACE: Final = frozenset(TokenPlace)

HEADERS: Final = HeaderRules(
    IdentityHeaders(claims=((b"x-auth-name", "name"), (b"x-plan", "plan"))),
    pseudonym=b"gateway-test",
)
ENGINES: Final = EngineHeaders(HEADERS)

TABLE: Final[tuple[Route, ...]] = (
    *ROUTES,
    METADATA,
    api("/melon/**", "read", dialect="melon", token_from=ANY_PLACE),
    api("/nugu/**", dialect="nugu", require=Requirements(
        device=DeviceRule(header=b"device-serial-number"))),
    api("/ottm/**", "read", dialect="ottm"),
    api("/dq/**", require=Requirements(device=DeviceRule(query=b"device"))),
    api("/issuer/**", require=Requirements(issuers=frozenset({"https://i.example"}))),
    api("/aud/**", require=Requirements(audiences=frozenset({"books"}))),
    api("/client/**", require=Requirements(clients=frozenset({"till"}))),
    api("/claim/**", require=Requirements(
        claims=(ClaimRule("plan", frozenset({"gold"})),))),
    api("/strong/**", dialect="nugu", require=Requirements(acr=("phr",), max_age=60.0)),
    api("/described/**", "read", metadata="https://books.example/metadata"),
    oauth(RouteKind.OAUTH_AUTHORIZE, "/guarded", "GET", guard=Guard(
        form="melon", https_only=True)),
    oauth(RouteKind.OAUTH_AUTHORIZE, "/scoped", "GET", guard=Guard(
        scopes=frozenset({"read"}))),
)  # fmt: skip
CODE: Final = "response_type=code&client_id=c&redirect_uri=https://c.example/cb&state=s"


def teach(facts: Facts) -> None:
    """Tell what is known of the table's tokens."""
    now = facts.clock.now()
    every = facts.facts
    facts.known |= {
        f"T.{reason.value}": Invalid(reason) for reason in sorted(INVALID_TOKEN)
    }
    facts.known |= {
        "Tko": every("read", subject="마시마렁", client="앱 ✓", device="D1",
                     claims={"name": "김\r\nX-Admin: 1", "plan": "gold"}),
        "Tdevice": every(device="D1"),
        "Tlate": every("read", expires_at=now),
        "Tearly": every("read", not_before=now + 60),
        "Tbound": every("read", cnf=True),
        "Tbig": every("read", subject="x" * 9000),
        "Tblank": TokenFacts(provider="idp", subject="ada", expires_at=now + 300),
        "Tissued": every(issuer="https://i.example"),
        "Tbooks": every(audience=("books", "other")),
        "Tgold": every(claims={"plan": "gold"}),
        "Ttill": every(client="till"),
        "Tstrong": every(acr="phr", auth_time=now - 60),
        "Tweak": every(acr="pwd", auth_time=now),
        "Told": every(acr="phr", auth_time=now - 61),
        "Trate": TooManyUnknown("enough", retry_after=7),
        "Tdown": ProviderUnavailable("idp does not answer", retry_after=3),
        "Tstore": StoreUnavailable("redis does not answer"),
        "Trevoked": every("read"),
    }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Case:
    """A request, and what the proxy door makes of it."""

    line: str
    token: str | None = None
    headers: tuple[tuple[str, str | bytes], ...] = ()
    host: str = "books.example"
    status: int = 200
    reason: Reason | str = "ok"


def allowed(line: str, token: str | None = None, **more: Any) -> Case:
    """Make one that reaches the upstream."""
    reason = "public" if token is None and "access_token" not in line else "ok"
    return Case(line=line, token=token, **{"reason": reason, **more})


def refused(
    status: int, reason: Reason, line: str, token: str | None = None, **more: Any
) -> Case:
    """Make one that does not."""
    return Case(line=line, token=token, status=status, reason=reason, **more)


def spoofed(*headers: tuple[str, str], **more: Any) -> Case:
    """Make one whose client says of itself what only we may say."""
    return allowed("GET /api/a", "Tr", headers=headers, **more)


DEVICE: Final = (("Device-Serial-Number", "D1"),)
APP: Final = ("Origin", "https://app.example")

CASES: Final[Mapping[str, Case]] = {
    # ----------------------------------------------------------------- providers
    "melon": allowed("GET /melon/likes", "Tr"),
    "melon, token in the query": allowed("GET /melon/likes?a=1&access_token=Tr&b=%2f"),
    "melon, only the token in the query": allowed("GET /melon/likes?access_token=Tr"),
    "melon, no scope": refused(403, Reason.INSUFFICIENT_SCOPE, "GET /melon/a", "Ta"),
    "nugu": allowed("GET /nugu/me", "Tdevice", headers=DEVICE),
    "nugu, another device": refused(
        401, Reason.DEVICE_MISMATCH, "GET /nugu/me", "Tdevice",
        headers=(("Device-Serial-Number", "D2"),)),
    "nugu, two devices": refused(
        401, Reason.DEVICE_MISMATCH, "GET /nugu/me", "Tdevice",
        headers=(*DEVICE, ("Device-Serial-Number", "D2"))),
    "nugu, no device": refused(401, Reason.DEVICE_MISMATCH, "GET /nugu/me", "Tdevice"),
    "device in the query": allowed("GET /dq/me?device=D1", "Tdevice"),
    "ottm": allowed("GET /ottm/me", "Tr"),
    "ottm, always 400": refused(400, Reason.INACTIVE, "GET /ottm/me", "Tx"),
    "ottm, no token": refused(400, Reason.NO_CREDENTIALS, "GET /ottm/me"),
    "ottm, no scope": refused(400, Reason.INSUFFICIENT_SCOPE, "GET /ottm/me", "Ta"),
    # ---------------------------------------------------------------------- rules
    "no token": refused(401, Reason.NO_CREDENTIALS, "GET /api/a"),
    **{f"token {reason.value}": refused(401, reason, "GET /api/a", f"T.{reason.value}")
       for reason in sorted(INVALID_TOKEN)},
    "expired though known": refused(401, Reason.EXPIRED, "GET /api/a", "Tlate"),
    "too early": refused(401, Reason.NOT_YET_VALID, "GET /api/a", "Tearly"),
    "bound to a key": refused(401, Reason.UNPROVEN_BINDING, "GET /api/a", "Tbound"),
    "revoked": refused(401, Reason.REVOKED, "GET /api/a", "Trevoked"),
    "too much identity": refused(401, Reason.INCONSISTENT, "GET /api/a", "Tbig"),
    "grant unknown": refused(401, Reason.GRANT_UNKNOWN, "GET /api/a", "Tblank"),
    "described": refused(401, Reason.NO_CREDENTIALS, "GET /described/a"),
    "described, scope": refused(403, Reason.INSUFFICIENT_SCOPE, "GET /described/a", "Ta"),
    "scope": refused(403, Reason.INSUFFICIENT_SCOPE, "GET /admin/a", "Tr"),
    "issuer": refused(401, Reason.WRONG_ISSUER, "GET /issuer/a", "Tr"),
    "its issuer": allowed("GET /issuer/a", "Tissued"),
    "audience": refused(401, Reason.WRONG_AUDIENCE, "GET /aud/a", "Tr"),
    "its audience": allowed("GET /aud/a", "Tbooks"),
    "client": refused(403, Reason.CLIENT_NOT_ALLOWED, "GET /client/a", "Tr"),
    "its client": allowed("GET /client/a", "Ttill"),
    "claim": refused(403, Reason.CLAIM_MISMATCH, "GET /claim/a", "Tr"),
    "its claim": allowed("GET /claim/a", "Tgold"),
    "strong login": allowed("GET /strong/a", "Tstrong"),
    "weak login": refused(401, Reason.STRONGER_LOGIN_NEEDED, "GET /strong/a", "Tweak"),
    "old login": refused(401, Reason.STRONGER_LOGIN_NEEDED, "GET /strong/a", "Told"),
    "too many unknown": refused(429, Reason.RATE_LIMITED, "GET /api/a", "Trate"),
    "provider down": refused(503, Reason.PROVIDER_UNAVAILABLE, "GET /api/a", "Tdown"),
    "store down": refused(503, Reason.PROVIDER_UNAVAILABLE, "GET /api/a", "Tstore"),
    # ---------------------------------------------------------------- credentials
    "optional, none": allowed("GET /optional/a"),
    "optional, a bad one": refused(401, Reason.INACTIVE, "GET /optional/a", "Tx"),
    "public, with a token": allowed("GET /public/a", headers=(
        ("Authorization", "Bearer Tr"),)),
    "public, token in the query": allowed(
        "GET /public/a?access_token=T", reason="public"),
    "handed on": allowed("GET /pass/a", "Tr"),
    "handed on unjudged": allowed("GET /passing/a", headers=(
        ("Authorization", "Bearer whatever"),)),
    "basic": refused(401, Reason.NO_CREDENTIALS, "GET /api/a", headers=(
        ("Authorization", "Basic eDp5"),)),
    "two tokens": refused(400, Reason.MALFORMED_REQUEST, "GET /api/a", "Tr", headers=(
        ("Authorization", "Bearer Ta"),)),
    "two in one": refused(400, Reason.MALFORMED_REQUEST, "GET /api/a", headers=(
        ("Authorization", "Bearer Tr, Bearer Ta"),)),
    "header and query": refused(
        400, Reason.MALFORMED_REQUEST, "GET /query/a?access_token=Tr", "Tr"),
    "query where none is": refused(
        400, Reason.MALFORMED_REQUEST, "GET /api/a?access_token=Tr"),
    "query, odd spelling": refused(
        400, Reason.MALFORMED_REQUEST, "GET /query/a?Access_Token=Tr"),
    "query, twice": refused(
        400,
        Reason.MALFORMED_REQUEST,
        "GET /query/a?access_token=Tr&access_token=Ta",
    ),
    "query, escaped name": Case(line="GET /query/a?access%5Ftoken=Tr&b"),
    "bytes in the token": refused(
        400,
        Reason.BAD_MESSAGE,
        "GET /api/a",
        headers=(("Authorization", b"Bearer Tr\xa0"),),
    ),
    "no token's form": refused(400, Reason.MALFORMED_TOKEN, "GET /api/a", headers=(
        ("Authorization", 'Bearer "Tr"'),)),
    "empty bearer": refused(400, Reason.MALFORMED_REQUEST, "GET /api/a", headers=(
        ("Authorization", "Bearer"),)),
    # -------------------------------------------------------------------- targets
    "kept as sent": allowed("GET /public/%61%2e/;v=1?x=%zz&y=%26"),
    "empty query": allowed("GET /public/a?"),
    "encoded slash": allowed("GET /slash/a%2Fb"),
    "encoded slash where none is": refused(400, Reason.BAD_TARGET, "GET /public/a%2Fb"),
    "dots": refused(400, Reason.BAD_TARGET, "GET /public/../admin/a"),
    "encoded dots": refused(400, Reason.BAD_TARGET, "GET /public/%2e%2e/admin/a"),
    "dots with a parameter": refused(400, Reason.BAD_TARGET, "GET /public/..;/admin/a"),
    "two slashes": refused(400, Reason.BAD_TARGET, "GET /public//admin/a"),
    "backslash": refused(400, Reason.BAD_TARGET, "GET /public/%5c../admin/a"),
    "null": refused(400, Reason.BAD_TARGET, "GET /public/%00"),
    "bad percent": refused(400, Reason.BAD_TARGET, "GET /public/%zz"),
    "found by its decoded name": refused(
        403, Reason.INSUFFICIENT_SCOPE, "GET /%61dmin/a", "Tr"),
    "rewritten": allowed("GET /strip/a%20b?q=1", "Tr"),
    "no route": refused(404, Reason.NO_ROUTE, "GET /nowhere"),
    "method": refused(405, Reason.METHOD_NOT_ALLOWED, "POST /read"),
    "head": allowed("HEAD /read"),
    "put": allowed("PUT /api/a", "Tr"),
    "delete": allowed("DELETE /api/a", "Tr"),
    "trace": refused(405, Reason.METHOD_NOT_ALLOWED, "TRACE /public/a"),
    "another host": allowed("GET /whatever", host="NAMED.example.:8080"),
    "no host's form": refused(
        400, Reason.BAD_MESSAGE, "GET /public/a", host="books.example,evil.example"),
    # ------------------------------------------------------- what a client says
    "identity": spoofed(("X-Auth-Subject", "root"), ("x-auth-client", "root")),
    "identity, any case": spoofed(("X-AUTH-SUBJECT", "root"), ("x-AUTH-device", "r")),
    "identity, doubled": spoofed(("X-Auth-Subject", "r"), ("X-Auth-Subject", "ada")),
    "identity, empty": spoofed(("X-Auth-Subject", ""), ("X-Auth-Device", "")),
    "identity without a claim": spoofed(("X-Auth-Name", "ceo"), ("X-Plan", "gold")),
    "identity on a public route": allowed("GET /public/a", headers=(
        ("X-Auth-Subject", "root"), ("X-Plan", "gold"))),
    "identity, optional": allowed("GET /optional/a", headers=(
        ("X-Auth-Subject", "root"),)),
    "identity, underscored": spoofed(("X_Auth_Subject", "root"), ("x_plan", "gold")),
    "identity, unheard of": spoofed(("X-Auth-Role", "root")),
    "stale": spoofed(("X-Auth-Stale", "1")),
    "answers of ours": spoofed(
        ("X-Gateway-Target", "/admin/a"), ("X-Gateway-Upstream", "other")),
    "connection": spoofed(("Connection", "x-auth-subject, x-request-id")),
    "second method": refused(401, Reason.NO_CREDENTIALS, "GET /api/a", headers=(
        ("X-HTTP-Method-Override", "OPTIONS"), ("X-HTTP-Method", "OPTIONS"))),
    "second target": refused(401, Reason.NO_CREDENTIALS, "GET /api/a", headers=(
        ("X-Original-URL", "/public/a"), ("X-Rewrite-URL", "/public/a"))),
    "forwarding headers": refused(
        401,
        Reason.NO_CREDENTIALS,
        "GET /admin/a",
        headers=(
            ("X-Forwarded-Uri", "/public/a"),
            ("X-Forwarded-Prefix", "/public"),
            ("X-Forwarded-Method", "OPTIONS"),
            ("X-Forwarded-Host", "named.example"),
            ("X-Forwarded-Port", "1"),
            ("X-Forwarded-For", "127.0.0.1, a"),
            ("Forwarded", "for=127.0.0.1;host=named.example"),
            ("X-Real-IP", "127.0.0.1"),
        ),
    ),
    "a probe's words": refused(
        401,
        Reason.NO_CREDENTIALS,
        "GET /admin/a",
        headers=(("User-Agent", "kube-probe/1.31"), ("X-Health-Check", "1")),
    ),
    "second opinions are not passed on": spoofed(
        ("X-HTTP-Method-Override", "DELETE"), ("X-Rewrite-URL", "/admin/a")),
    "httpoxy": spoofed(("Proxy", "http://evil.example"), ("Proxy-Authorization", "x")),
    "referer with a token": spoofed(("Referer", "https://a.example/?access_token=T")),
    "referer": spoofed(("Referer", "https://a.example/?q")),
    "identity in its own words": allowed("GET /api/a", "Tko"),
    "bytes readers disagree on": refused(
        400, Reason.BAD_MESSAGE, "GET /api/a", "Tr", headers=(("X-Role", b"\x85adm"),)),
    "a text of its own": spoofed(("X-Note", "노트")),
    "been here": refused(508, Reason.LOOP_DETECTED, "GET /api/a", "Tr", headers=(
        ("Via", "1.1 gateway-test"),)),
    # ----------------------------------------------------------------------- CORS
    "preflight": Case(line="OPTIONS /cors/a", status=204, reason="preflight", headers=(
        APP, ("Access-Control-Request-Method", "PUT"))),
    "preflight of a stranger": refused(
        403, Reason.CORS_REFUSED, "OPTIONS /cors/a", headers=(
            ("Origin", "https://evil.example"),
            ("Access-Control-Request-Method", "PUT"))),
    "cross-origin": allowed("GET /cors/a", headers=(APP,)),
    # ---------------------------------------------------------- guarded endpoints
    "authorize": allowed(f"GET /oauth/authorize?{CODE}"),
    "authorize, doubled": refused(
        400, Reason.INVALID_FORM, f"GET /oauth/authorize?{CODE}&state=t"),
    "authorize, response type": refused(
        400, Reason.UNSUPPORTED_RESPONSE_TYPE,
        "GET /oauth/authorize?response_type=token&client_id=c"
        "&redirect_uri=https://c.example/cb&state=s"),
    "authorize, scope": refused(
        400, Reason.UNKNOWN_SCOPE, f"GET /scoped?{CODE}&scope=write"),
    "authorize, https only": refused(
        400, Reason.HTTPS_REQUIRED, f"GET /guarded?{CODE}"),
    "userinfo": allowed("GET /oauth/userinfo", "Tr", reason="public"),
    "token": refused(400, Reason.INVALID_FORM, "POST /oauth/token"),
    "revoke": refused(400, Reason.INVALID_FORM, "POST /oauth/revoke"),
    "metadata": Case(line="GET /metadata", reason="metadata"),
    # ---------------------------------------------------------------- the wire's own
    "body too long": refused(413, Reason.BODY_TOO_LARGE, "PUT /small/a", headers=(
        ("Content-Length", "11"),)),
    "last hop": Case(line="OPTIONS /public/a", status=204, reason="max_forwards",
                     headers=(("Max-Forwards", "0"),)),
}  # fmt: skip

IN_QUERY: Final = (400, Reason.MALFORMED_REQUEST)
FOLDED: Final = (400, Reason.BAD_MESSAGE)
ELSEWHERE: Final = (421, Reason.WRONG_DOOR)
UNASKED: Final = (200, "public")

NOT_BY_HEAD: Final = {
    # These take a body, or are answered by us: the engine sends them to the proxy door.
    **dict.fromkeys(("token", "revoke", "metadata"), ELSEWHERE),
    # The engine has limits of its own, and is a hop of its own (RFC 9110 §7.6.2).
    **dict.fromkeys(("body too long", "last hop"), UNASKED),
}
NOT_REWRITTEN: Final = {
    # The token would go upstream in the query.
    **dict.fromkeys(
        (
            "melon, token in the query",
            "melon, only the token in the query",
            "query, escaped name",
        ),
        IN_QUERY,
    ),
    # The engine would ask for what was not judged.
    "rewritten": ELSEWHERE,
}
PREFLIGHTS: Final = {
    # To these a success is leave to forward: they have to answer preflights.
    "preflight": (403, Reason.CORS_REFUSED),
}
UNDROPPED: Final = {
    # They take out no header by name, but for those of a fixed list.
    "identity, unheard of": FOLDED,
}
UNDERSCORED: Final = {
    # nginx drops names with `_` by itself, before anybody sees them.
    "identity, underscored": FOLDED,
}

DIFFERENCES: Final[Mapping[str, Mapping[str, tuple[int, Reason | str]]]] = {
    "nginx": {**NOT_BY_HEAD, **UNDROPPED},
    "traefik": {
        **NOT_BY_HEAD, **NOT_REWRITTEN, **PREFLIGHTS, **UNDROPPED, **UNDERSCORED,
    },
    "caddy": {
        **NOT_BY_HEAD, **NOT_REWRITTEN, **PREFLIGHTS, **UNDROPPED, **UNDERSCORED,
    },
    "envoy": {**NOT_BY_HEAD, **NOT_REWRITTEN},
    "envoy_grpc": NOT_BY_HEAD,
}  # fmt: skip
"""What an engine forces: the case, and what its door says instead."""

ELSEWHERE_DECIDED: Final = {
    # The reader of the message decides, before there is anything to ask about.
    Reason.TARGET_TOO_LONG, Reason.HEADERS_TOO_LARGE, Reason.EXPECTATION_FAILED,
    Reason.REQUEST_TIMEOUT, Reason.CODING_NOT_IMPLEMENTED,
    Reason.VERSION_NOT_SUPPORTED,
    # Whoever forwards hears from the upstream.
    Reason.UPSTREAM_INVALID, Reason.UPSTREAM_UNREACHABLE, Reason.UPSTREAM_BUSY,
    Reason.UPSTREAM_TIMEOUT,
    # They stand in a body, which is for the proxy door alone.
    Reason.UNSUPPORTED_GRANT_TYPE, Reason.CLIENT_CREDENTIALS_MISSING,
    Reason.GRANT_REVOKED, Reason.INVALID_LOGOUT_TOKEN, Reason.LOGOUT_NOT_KEPT,
    # The decision doors' own; `test_forward_auth` and `test_counsel` have them.
    Reason.UNTRUSTED_PEER, Reason.BAD_QUESTION, Reason.WRONG_DOOR,
    Reason.DECISION_CHANGED,
    # A fault of ours, and blindness: tests of their own here.
    Reason.INTERNAL, Reason.REVOCATIONS_UNKNOWN,
}  # fmt: skip
"""Reasons that no row of the table has, and why."""
