"""What the upstream is told. Floor 2, all bytes.

The order is the safety: first everything hop-by-hop, gateway-owned or ambiguous is
taken out of what the client sent, then our own is added, so that no client header
and no `Connection` option can set, double or delete a header of ours. The bytes of
values are never re-encoded. Framing (`Content-Length` and `Transfer-Encoding` of
requests, `Connection`, `Expect`, `Upgrade`) is the wire's, which adds its own.

Names are compared folded, because CGI and its heirs take `_`, and some `.`, for `-`.
"""

import re
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Final

from gateway.rules.credentials import redact
from gateway.rules.identity_values import (
    encode,
    encode_all,
    encode_claim,
    shadow_mark,
)
from gateway.values import (
    Access,
    Header,
    IdentityHeaders,
    Permit,
    Reason,
    RequestHead,
    Route,
    RouteKind,
    Source,
    TokenFacts,
    TokenPlace,
)

# RFC 9110 §7.6.1, and what precedes or surrounds it in practice. `Proxy` is httpoxy's.
HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"http2-settings",
        b"keep-alive",
        b"proxy",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
HOP_BY_HOP_PREFIX: Final = b"proxy-"
# Whatever claims another method or target than the one that was judged.
SECOND_OPINIONS: Final = frozenset(
    {
        b"x-http-method",
        b"x-http-method-override",
        b"x-method-override",
        b"x-original-method",
        b"x-original-uri",
        b"x-original-url",
        b"x-rewrite-url",
    }
)
# Ours or the wire's to set; some are put back by `_keep` in the form that may pass.
_RESET: Final = frozenset(
    {
        b"authorization",
        b"content-length",
        b"expect",
        b"host",
        b"max-forwards",
        b"referer",
        b"via",
        b"x-request-id",
    }
)
IDENTITY_PREFIX: Final = b"x-auth-"
OWN_PREFIX: Final = b"x-gateway-"
"""Of what an engine is told beside identity (`rules.engine_headers`)."""
_NEVER_PASSING: Final = (HOP_BY_HOP_PREFIX, IDENTITY_PREFIX, OWN_PREFIX)
# True only from the mouth of a trusted proxy.
_FORWARDED: Final = frozenset({b"forwarded", b"x-real-ip"})
_FORWARDED_PREFIX: Final = b"x-forwarded-"


def header_lines(headers: Iterable[Header]) -> bytes:
    """Write headers as they stand in a message, each with its line end."""
    parts: list[bytes] = []
    for name, value in headers:
        parts.append(name)
        parts.append(b": ")
        parts.append(value)
        parts.append(b"\r\n")
    return b"".join(parts)


_STALE: Final = Source.STALE
STALE_NAME: Final = b"x-auth-stale"
_OUTLIVED: Final[Header] = (STALE_NAME, b"1")
_OUTLIVED_LINE: Final = header_lines([_OUTLIVED])

_SCHEMES: Final = {"http": b"http", "https": b"https"}

_TOLD: Final = 2048
"""For how many facts the encoded headers are remembered: half of encoding's cost."""

_NOTED_ROUTES: Final = 4
"""For how many routes the lines are noted that one client's header lines make."""

# Schemes that authenticate a connection (RFC 4559), and ours serve many clients.
_BINDS_CONNECTION: Final = re.compile(rb"(?i)(ntlm|negotiate)\b")

_COUNT: Final = re.compile(rb"[0-9]{1,9}")
_FOLDED: Final = re.compile(rb"[^a-z0-9]")
_API: Final = RouteKind.API
_USERINFO: Final = RouteKind.OAUTH_USERINFO
_PUBLIC: Final = Access.PUBLIC
_QUERY: Final = TokenPlace.QUERY


def fold(name: bytes) -> bytes:
    """Give what CGI and its heirs make of a name: all but letters and digits is `-`."""
    return _FOLDED.sub(b"-", name)


class Passes(dict[bytes, bool]):
    """Remembers of each header name whether it passes as it stands.

    Bounded, so that a client who makes names up only makes us think again.
    """

    def __init__(self, passes: Callable[[bytes], bool]) -> None:
        super().__init__()
        self._passes = passes

    def __missing__(self, name: bytes) -> bool:
        if len(self) >= 512:
            self.clear()
        verdict = self._passes(name)
        if len(name) <= 64:
            self[name] = verdict
        return verdict


class HeaderRules:
    """The header rules of one configuration, built once.

    `pseudonym` names this gateway in `Via` (RFC 9110 §7.6.3); it is random for each
    process, so that chained gateways do not take each other for a loop.
    """

    def __init__(self, identity: IdentityHeaders, *, pseudonym: bytes) -> None:
        fields = {
            "subject": identity.subject,
            "client": identity.client,
            "provider": identity.provider,
            "device": identity.device,
        }
        self._plain_facts = tuple(
            (name, attrgetter(field)) for field, name in fields.items() if name
        )
        self._scopes = identity.scopes
        self._claims = identity.claims
        self._limit_bytes = identity.limit_bytes
        claims = (name for name, _ in identity.claims)
        self.identity_names: tuple[bytes, ...] = tuple(
            filter(None, (*fields.values(), identity.scopes, *claims))
        )
        """The headers that tell who calls, as they are configured."""
        self._identity_names = frozenset(map(fold, self.identity_names))
        self._from_client = Passes(self._passes_from_client)
        self._from_proxy = Passes(self._passes_from_proxy)
        self._told: dict[int, tuple[TokenFacts, list[Header] | None, bytes]] = {}
        self._pseudonym = pseudonym
        self._via: Header = (b"via", b"1.1 " + pseudonym)

    def __repr__(self) -> str:
        return f"<HeaderRules: {len(self._identity_names)} identity headers>"

    def upstream_headers(
        self,
        head: RequestHead,
        permit: Permit,
        *,
        request_id: bytes,
        host: bytes | None = None,
        hop: bytes = b"",
    ) -> list[Header] | Reason:
        """Give all but the framing headers of the request to the upstream.

        `host` replaces the Host header where the upstream sets one. `hop` is the
        address of the trusted proxy that handed the request over, empty when the
        client came by itself: only a proxy's forwarding headers pass.

        A `Reason` refuses: LOOP_DETECTED when the request has been here before,
        INCONSISTENT when the facts are too large to be told (RFC 6750 has no better
        word than `invalid_token` for a token we cannot use).
        """
        common = self._common(head, permit.route, host, hop)
        if common is None:
            return Reason.LOOP_DETECTED
        identity, _ = self._identity(permit)
        if identity is None:
            return Reason.INCONSISTENT
        return [
            *common,
            (b"x-request-id", request_id),
            *_authorization(permit),
            *identity,
        ]

    def upstream_lines(
        self,
        head: RequestHead,
        permit: Permit,
        *,
        request_id: bytes,
        host: bytes | None = None,
        hop: bytes = b"",
    ) -> bytes | Reason:
        """Give the lines of `upstream_headers`, what repeats itself from memory.

        A head's notes must be of one `host` for each route, and of one `hop`.
        """
        route = permit.route
        noted = head.notes.get(self)
        common = None if noted is None else noted.get(route.id)
        if common is None:
            headers = self._common(head, route, host, hop)
            if headers is None:
                return Reason.LOOP_DETECTED
            common = header_lines(headers)
            if noted is None or len(noted) >= _NOTED_ROUTES:
                noted = head.notes[self] = {}
            noted[route.id] = common
        identity, told = self._identity(permit)
        if identity is None:
            return Reason.INCONSISTENT
        lines = b"%bx-request-id: %b\r\n%b" % (common, request_id, told)
        if route.pass_token or route.kind is _USERINFO:
            # Ours come last, and after the token that was judged.
            own = header_lines(_authorization(permit))
            return lines[: len(lines) - len(told)] + own + told
        return lines

    def _common(
        self, head: RequestHead, route: Route, host: bytes | None, hop: bytes
    ) -> list[Header] | None:
        """Give what all requests with these header lines say to this route."""
        kept = self._keep(head, route, trusted=bool(hop))
        if kept is None:
            return None
        return [
            (b"host", host or head.authority),
            *kept,
            *_forwarded(head, kept, hop),
            self._via,
        ]

    def _keep(
        self, head: RequestHead, route: Route, *, trusted: bool
    ) -> list[Header] | None:
        """Give what passes of the client's headers; None when this is a loop."""
        passes = self._from_proxy if trusted else self._from_client
        kept: list[Header] = []
        listed: set[bytes] = set()
        for header in head.headers:
            name, value = header
            if passes[name]:
                kept.append(header)
            elif name == b"connection":
                listed.update(_options(value))
            elif name == b"referer":
                kept.append((name, redact(value)))
            elif name == b"max-forwards":
                kept.append((name, _one_less(value)))
            elif name == b"via":
                if self._pseudonym in value:
                    return None
                kept.append(header)
            elif name == b"authorization" and _is_unjudged(route, value):
                kept.append(header)
        # What was judged is what is sent: the form's type was, on a guarded endpoint.
        listed.discard(b"content-type")
        if listed:
            return [header for header in kept if header[0] not in listed]
        return kept

    def _passes_from_client(self, name: bytes) -> bool:
        folded = fold(name)
        return (
            self._passes_from_proxy(name)
            and folded not in _FORWARDED
            and not folded.startswith(_FORWARDED_PREFIX)
        )

    def _passes_from_proxy(self, name: bytes) -> bool:
        folded = fold(name)
        return (
            b"_" not in name
            and folded not in HOP_BY_HOP
            and folded not in SECOND_OPINIONS
            and folded not in _RESET
            and folded not in self._identity_names
            and not folded.startswith(_NEVER_PASSING)
        )

    def _identity(self, permit: Permit) -> tuple[list[Header] | None, bytes]:
        """Tell who calls, as headers and as lines; None: that takes too many bytes."""
        facts = permit.facts
        if facts is None or permit.route.kind is not _API:
            return shadow_mark(permit)
        remembered = self._told.get(id(facts))
        if remembered is None or remembered[0] is not facts:
            if len(self._told) >= _TOLD:
                self._told.clear()
            told = self._tell(facts)
            # The facts are held as well, so that their `id` stays theirs.
            remembered = self._told[id(facts)] = (facts, told, header_lines(told or ()))
        if permit.source is _STALE and remembered[1] is not None:
            return [*remembered[1], _OUTLIVED], remembered[2] + _OUTLIVED_LINE
        return remembered[1], remembered[2]

    def _tell(self, facts: TokenFacts) -> list[Header] | None:
        told: list[Header] = [
            (name, encode(value))
            for name, get in self._plain_facts
            if (value := get(facts)) is not None
        ]
        if self._scopes and facts.scopes is not None:
            told.append((self._scopes, encode_all(facts.scopes)))
        for name, path in self._claims:
            claim = facts.claims.get(path)
            if claim is not None:
                told.append((name, encode_claim(claim)))
        size = sum([len(name) + len(value) for name, value in told])
        return told if size <= self._limit_bytes else None


def connection_options(headers: Iterable[Header]) -> set[bytes]:
    """Give what `Connection` lists, lower-case (RFC 9110 §7.6.1)."""
    listed: set[bytes] = set()
    for name, value in headers:
        if name == b"connection":
            listed.update(_options(value))
    return listed


def _one_less(value: bytes) -> bytes:
    """Count down a Max-Forwards (RFC 9110 §7.6.2); 0 is not to be sent on."""
    return b"%d" % max(0, int(value) - 1) if _COUNT.fullmatch(value) else value


def _options(value: bytes) -> list[bytes]:
    return [option.strip(b" \t").lower() for option in value.split(b",")]


def _forwarded(head: RequestHead, kept: list[Header], hop: bytes) -> list[Header]:
    """Tell where the request came from; a trusted proxy's own word comes first."""
    scheme = (b"x-forwarded-proto", _SCHEMES[head.scheme])
    host = (b"x-forwarded-host", head.authority)
    if not hop:
        return [(b"x-forwarded-for", head.peer.encode()), scheme, host]
    said = {name for name, _ in kept}
    missing = [header for header in (scheme, host) if header[0] not in said]
    return [(b"x-forwarded-for", hop), *missing]


# ---------------------------------------------------------------- the token itself


def _is_unjudged(route: Route, authorization: bytes) -> bool:
    """Tell whether `Authorization` is between the client and the upstream."""
    if _BINDS_CONNECTION.match(authorization):
        return False
    if route.kind is _API:
        return route.pass_token and (route.shadow or route.access is _PUBLIC)
    return route.kind is not _USERINFO


def _authorization(permit: Permit) -> tuple[Header, ...]:
    """Hand on the token that was judged, and nothing else, where it is wanted."""
    route, credentials = permit.route, permit.credentials
    if credentials is None or not (route.pass_token or route.kind is _USERINFO):
        return ()
    if route.shadow:
        return ()  # It has passed, as it came.
    return ((b"authorization", b"Bearer " + credentials.token.encode()),)


# ------------------------------------------------------------------------ tunnels


def requested_tunnel(head: RequestHead, route: Route) -> bytes | None:
    """Give the protocol to upgrade to, if the client asks for one the route lists.

    RFC 9110 §7.8: the request says `Connection: upgrade` too. `h2c` never tunnels.
    """
    if not route.upgrades or b"upgrade" not in connection_options(head.headers):
        return None
    for value in head.values(b"upgrade"):
        for protocol in _options(value):
            if protocol in route.upgrades and protocol != b"h2c":
                return protocol
    return None
