"""The values everything else talks about. Floor 0: imports nothing of ours.

All are immutable. Those made on every request are `msgspec.Struct`s without garbage
collector tracking (a frozen dataclass of 15 fields costs 1.6 µs, the struct 0.15);
none of them can be part of a reference cycle. Times are seconds: wall-clock instants
are Unix seconds (`…_at`), lengths are plain floats.
"""

import enum
from typing import Any, Final

import msgspec

Header = tuple[bytes, bytes]
"""One header line: the lower-cased name and the value without outer whitespace."""

Notes = dict[object, Any]
"""What pure rules read in a request's header lines, each under a key of its own.

A kept-alive client repeats its lines; whoever finds its note there need not read them
again. A note depends on nothing but the lines, the connection and its own key.
"""


class Secret(str):
    """A string that never shows itself: `repr`, and so logs and errors, see dots.

    Use `str.__str__` semantics where the text itself is needed: it is a `str`.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "<secret>"


class Reason(enum.StrEnum):
    """Why a request was refused: the one vocabulary of rules, metrics and dialects.

    The value is what operators read in logs and metrics; what a client reads is the
    dialect's business.
    """

    # The token and its absence
    NO_CREDENTIALS = "no_credentials"
    MALFORMED_REQUEST = "malformed_request"
    MALFORMED_TOKEN = "malformed_token"
    INACTIVE = "inactive"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    BAD_SIGNATURE = "bad_signature"
    REFRESH_TOKEN = "refresh_token"
    WRONG_ISSUER = "wrong_issuer"
    WRONG_AUDIENCE = "wrong_audience"
    UNPROVEN_BINDING = "unproven_binding"
    INCONSISTENT = "inconsistent"
    REVOKED = "revoked"
    GRANT_UNKNOWN = "grant_unknown"
    # What the token may do
    INSUFFICIENT_SCOPE = "insufficient_scope"
    CLIENT_NOT_ALLOWED = "client_not_allowed"
    CLAIM_MISMATCH = "claim_mismatch"
    DEVICE_MISMATCH = "device_mismatch"
    STRONGER_LOGIN_NEEDED = "stronger_login_needed"
    # What we cannot know now
    PROVIDER_UNAVAILABLE = "provider_unavailable"
    REVOCATIONS_UNKNOWN = "revocations_unknown"
    # Guarded OAuth endpoints
    HTTPS_REQUIRED = "https_required"
    INVALID_FORM = "invalid_form"
    UNKNOWN_SCOPE = "unknown_scope"
    UNSUPPORTED_GRANT_TYPE = "unsupported_grant_type"
    UNSUPPORTED_RESPONSE_TYPE = "unsupported_response_type"
    CLIENT_CREDENTIALS_MISSING = "client_credentials_missing"
    GRANT_REVOKED = "grant_revoked"
    INVALID_LOGOUT_TOKEN = "invalid_logout_token"
    LOGOUT_NOT_KEPT = "logout_not_kept"
    # Where the request goes
    NO_ROUTE = "no_route"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    CORS_REFUSED = "cors_refused"
    RATE_LIMITED = "rate_limited"
    UPSTREAM_INVALID = "upstream_invalid"
    UPSTREAM_UNREACHABLE = "upstream_unreachable"
    UPSTREAM_BUSY = "upstream_busy"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    # Doors at which engines ask
    UNTRUSTED_PEER = "untrusted_peer"
    BAD_QUESTION = "bad_question"
    WRONG_DOOR = "wrong_door"
    DECISION_CHANGED = "decision_changed"
    # The message itself
    BAD_MESSAGE = "bad_message"
    BAD_TARGET = "bad_target"
    TARGET_TOO_LONG = "target_too_long"
    HEADERS_TOO_LARGE = "headers_too_large"
    BODY_TOO_LARGE = "body_too_large"
    EXPECTATION_FAILED = "expectation_failed"
    REQUEST_TIMEOUT = "request_timeout"
    CODING_NOT_IMPLEMENTED = "coding_not_implemented"
    VERSION_NOT_SUPPORTED = "version_not_supported"
    LOOP_DETECTED = "loop_detected"
    INTERNAL = "internal"


INVALID_TOKEN: Final = frozenset(
    {
        Reason.INACTIVE,
        Reason.EXPIRED,
        Reason.NOT_YET_VALID,
        Reason.BAD_SIGNATURE,
        Reason.REFRESH_TOKEN,
        Reason.WRONG_ISSUER,
        Reason.WRONG_AUDIENCE,
        Reason.UNPROVEN_BINDING,
        Reason.INCONSISTENT,
        Reason.REVOKED,
        Reason.GRANT_UNKNOWN,
    }
)
"""Reasons that a client hears as `invalid_token` (RFC 6750 §3.1): get a new token."""


SHADOWED: Final = (INVALID_TOKEN - {Reason.REVOKED}) | {
    Reason.NO_CREDENTIALS,
    Reason.MALFORMED_REQUEST,
    Reason.MALFORMED_TOKEN,
    Reason.INSUFFICIENT_SCOPE,
    Reason.CLIENT_NOT_ALLOWED,
    Reason.CLAIM_MISMATCH,
    Reason.DEVICE_MISMATCH,
    Reason.STRONGER_LOGIN_NEEDED,
    Reason.PROVIDER_UNAVAILABLE,
    Reason.REVOCATIONS_UNKNOWN,
    Reason.RATE_LIMITED,
}
"""What a route in shadow does not refuse for: all about the token and what it may do.
Not that it was revoked: that is an order of the operator's, and no rule on trial."""


class Source(enum.StrEnum):
    """Where the facts of a decision came from."""

    NONE = "none"
    L1 = "l1"
    L2 = "l2"
    PROVIDER = "provider"
    STALE = "stale"


class TokenPlace(enum.StrEnum):
    """Where a request carries its token (RFC 6750 §2.1 and §2.3)."""

    HEADER = "header"
    QUERY = "query"


class Access(enum.StrEnum):
    """Whether a route asks for a token."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    PUBLIC = "public"


class RouteKind(enum.StrEnum):
    """What stands behind a route."""

    API = "api"
    OAUTH_AUTHORIZE = "oauth-authorize"
    OAUTH_TOKEN = "oauth-token"
    OAUTH_USERINFO = "oauth-userinfo"
    OAUTH_REVOKE = "oauth-revoke"
    BACKCHANNEL_LOGOUT = "backchannel-logout"
    PROTECTED_RESOURCE = "protected-resource"


# --------------------------------------------------------------------- requests


class Target(msgspec.Struct, frozen=True, gc=False):
    """A canonical origin-form target: the bytes that are judged and sent.

    `path` begins with a slash and is exactly what the client sent; `query` is what
    followed the first `?`, or None when there was none (`/a?` has an empty query).
    `segments` are the path's parts between raw slashes, percent-decoded once: the
    path `/a%62/` has `(b"ab", b"")`.
    """

    path: bytes
    query: bytes | None
    segments: tuple[bytes, ...]

    @property
    def raw(self) -> bytes:
        """The target as it goes on a request line."""
        return self.path if self.query is None else self.path + b"?" + self.query


class RequestHead(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What every door makes of its wire, and all the rules ever see of a request.

    `host` is canonical: lower case, no port, no trailing dot. `authority` is the Host
    value as received. `peer` is the client's address (behind trusted hops, theirs);
    `scheme` is `http` or `https` as the listener or a trusted hop says. Heads with the
    same header lines, from the same peer, may share their `notes`.
    """

    method: str
    target: Target
    host: str
    authority: bytes
    headers: list[Header]
    peer: str
    scheme: str
    notes: Notes = {}

    def values(self, name: bytes) -> list[bytes]:
        """All values of one header, by lower-case name, in order."""
        return [value for key, value in self.headers if key == name]


class Credentials(msgspec.Struct, frozen=True, gc=False):
    """A bearer token found in a request. It never prints the token."""

    token: Secret
    place: TokenPlace

    def __repr__(self) -> str:
        return f"Credentials(place={self.place.value})"


# ------------------------------------------------------------------------ facts


class TokenFacts(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What is known of one token. Never the token, never a verdict.

    None means *unknown*, which is not the same as empty: `scopes=frozenset()` is a
    token known to grant nothing; `scopes=None` is one whose scope nobody told.
    `claims` holds only the claims that configuration asks for, by dotted path, as
    scalars or tuples of scalars. `learned_at` is when the provider (or the token's
    own signature) said so. `cnf` tells that the token is sender-constrained.
    `granted` tells that a learned grant contributed.
    """

    provider: str
    subject: str | None = None
    client: str | None = None
    scopes: frozenset[str] | None = None
    issuer: str | None = None
    audience: tuple[str, ...] | None = None
    issued_at: float | None = None
    not_before: float | None = None
    expires_at: float | None = None
    token_id: str | None = None
    session_id: str | None = None
    acr: str | None = None
    auth_time: float | None = None
    device: str | None = None
    cnf: bool = False
    claims: dict[str, str | int | float | bool | tuple[str, ...]] = {}
    granted: bool = False
    learned_at: float = 0.0


class NotMine(msgspec.Struct, frozen=True, gc=False):
    """A verifier's answer: this token is not of a kind I can tell anything about."""


class Invalid(msgspec.Struct, frozen=True, gc=False):
    """A verdict: the provider, or the token's own signature and times, say no.

    Of a refresh token with a proven signature, `client` is whose it is and `renews`
    the id of its access token (`ati`): who revokes the one, ends the other. `subject`,
    `session_id` and `issued_at` are what marks go by (`facts.renewals`).
    """

    reason: Reason
    client: str | None = None
    renews: str | None = None
    subject: str | None = None
    session_id: str | None = None
    issued_at: float | None = None


Finding = TokenFacts | NotMine | Invalid
"""What one verifier answers. No answer at all is an exception."""


class Knowledge(msgspec.Struct, frozen=True, gc=False):
    """What the facts cache hands out: facts or a verdict, where from and since when.

    `obtained_at` is the wall-clock moment the provider was asked; `max_fact_age` of a
    route is compared with it.
    """

    found: TokenFacts | Invalid
    source: Source
    obtained_at: float


class Grant(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A grant seen in a token answer passing by: a record, not a cache entry.

    `scopes` is None when the answer had no `scope` member: it teaches nothing.
    """

    provider: str
    client: str | None
    scopes: frozenset[str] | None
    issued_at: float
    expires_at: float


# ----------------------------------------------------------------------- routes


class ClaimRule(msgspec.Struct, frozen=True, gc=False):
    """The claim at `path` (dotted) must equal one of `one_of`, compared exactly.

    A claim that is a list satisfies the rule when one of its members does.
    """

    path: str
    one_of: frozenset[str | int | bool]


class DeviceRule(msgspec.Struct, frozen=True, gc=False):
    """The request must name the token's own device in this header or parameter.

    A consistency check, not proof of possession.
    """

    header: bytes | None = None
    query: bytes | None = None


class Requirements(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a route demands of the facts. An empty tuple or set demands nothing.

    `scopes` is a disjunction of conjunctions: `["a b", "c"]` is (a and b) or c. `acr`
    lists the login's contexts that will do, the preferred one first, and `max_age` is
    how many seconds ago it may have been (RFC 9470).
    """

    scopes: tuple[frozenset[str], ...] = ()
    issuers: frozenset[str] = frozenset()
    audiences: frozenset[str] = frozenset()
    clients: frozenset[str] = frozenset()
    claims: tuple[ClaimRule, ...] = ()
    device: DeviceRule | None = None
    acr: tuple[str, ...] = ()
    max_age: float | None = None
    max_fact_age: float | None = None


class Cors(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Which cross-origin calls a route answers preflights for.

    `origins` are exact serialised origins; `*` stands for any (and then credentials
    are never allowed).
    """

    origins: frozenset[str]
    methods: frozenset[str]
    headers: frozenset[str]
    credentials: bool = False
    max_age: int = 600


class Timeouts(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Deadlines towards an upstream, in seconds."""

    connect: float = 1.0
    first_byte: float = 30.0
    idle: float = 60.0


class TokenShape(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a token must look like before anybody is asked about it."""

    prefix: str = ""
    max_bytes: int = 8 * 1024


class LogoutTerms(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a logout token must say to be heeded (OpenID Connect Back-Channel Logout).

    `whole_subject` ends every session of the subject, where the token names one.
    `longest` (seconds) is how old by its `iat` a token may be; `skew` how far clocks
    may differ.
    """

    issuer: str
    audiences: frozenset[str]
    whole_subject: bool = True
    longest: float = 600.0
    skew: float = 0.0


class Guard(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What the guard of an OAuth endpoint must know of its provider.

    `scopes` empty means the provider's scopes are not listed: any is passed on.
    `form` names the checks of `rules.oauth_forms` (a provider dialect's name).
    `logout` is what a `backchannel-logout` route asks of its tokens.
    """

    form: str = "rfc6750"
    https_only: bool = False
    scopes: frozenset[str] = frozenset()
    logout: LogoutTerms | None = None


class Resource(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A protected resource (RFC 9728): its identifier, and what the routes do not say."""

    url: str
    name: str = ""
    documentation: str = ""
    authorization_servers: tuple[str, ...] = ()


class Route(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One line of the route table, compiled from configuration.

    `host` is an exact name, `*.suffix`, or `*` for any. `path` is a pattern of
    literals, `{name}` and a closing `**`. `methods` empty means all; GET implies
    HEAD. `shadow` lets through, and marks, whom the rules about tokens would refuse.
    `body_limit_bytes` 0 means unlimited (bodies are streamed, never held);
    `body_rate_bytes` must come of one in a second, 0 means any.
    `metadata` is the URL at which its resource describes itself, if it does. A
    `protected-resource` route has the `resource` and the `document` that describes it.
    """

    id: str
    host: str = "*"
    path: str = "/**"
    methods: frozenset[str] = frozenset()
    kind: RouteKind = RouteKind.API
    access: Access = Access.REQUIRED
    provider: str = ""
    dialect: str = "rfc6750"
    realm: str = ""
    token_from: frozenset[TokenPlace] = frozenset({TokenPlace.HEADER})
    token_shape: TokenShape = TokenShape()
    require: Requirements = Requirements()
    clock_skew: float = 0.0
    upstream: str = ""
    pass_token: bool = False
    strip_prefix: bytes = b""
    add_prefix: bytes = b""
    encoded_slash: bool = False
    cors: Cors | None = None
    guard: Guard = Guard()
    upgrades: frozenset[bytes] = frozenset()
    end_with_token: bool = False
    strict_revocation: bool = False
    shadow: bool = False
    timeouts: Timeouts | None = None
    body_limit_bytes: int = 0
    body_rate_bytes: int = 0
    metadata: str = ""
    resource: Resource | None = None
    document: bytes = b""


class NoRoute(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """No route matched: why, and in which dialect to say so.

    `allow` holds the methods of the path that did match (405), else is empty (404);
    `reason` is `BAD_TARGET` (400) where the route found cannot take the target.
    """

    dialect: str = "rfc6750"
    realm: str = ""
    allow: tuple[str, ...] = ()
    reason: Reason = Reason.NO_ROUTE


# -------------------------------------------------------------------- decisions


class Permit(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Leave to forward a request. Only `rules.policy` makes one.

    `facts` and `credentials` are None where nobody was asked for a token. `shadow` is
    why it would have been refused, on a route that does not enforce its rules; then
    nothing is known for sure, and `facts` are None.
    """

    route: Route
    facts: TokenFacts | None
    credentials: Credentials | None
    source: Source
    shadow: Reason | None = None


class Denial(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A refusal: a value, not an exception. Only a dialect may word it.

    `scope` is the space-separated list for the challenge's `scope` attribute
    (RFC 6750 §3); `acr_values` and `max_age` are what a stronger login takes (RFC 9470
    §3), `metadata` is where the resource describes itself (RFC 9728 §5.1). `allow`
    belongs to a 405; `retry_after` (seconds, 0 = none) to 429 and 503. Nothing in it
    is the client's input.
    """

    reason: Reason
    dialect: str = "rfc6750"
    realm: str = ""
    route: Route | None = None
    scope: str = ""
    acr_values: str = ""
    max_age: int | None = None
    metadata: str = ""
    allow: tuple[str, ...] = ()
    retry_after: int = 0
    client: str | None = None
    source: Source = Source.NONE


Decision = Permit | Denial


class Pending(msgspec.Struct, frozen=True, gc=False):
    """A decision that must wait for the truth: hand it to `Gatekeeper.settle`."""

    route: Route
    credentials: Credentials
    device: str | None
    peer: str = ""


class Answer(msgspec.Struct, frozen=True, gc=False):
    """A complete response of the gateway's own: status, headers, body."""

    status: int
    headers: tuple[Header, ...]
    body: bytes


# -------------------------------------------------------------------- upstreams


class Origin(msgspec.Struct, frozen=True, gc=False):
    """One target of an upstream, as it is configured.

    `scheme` is `http`, `https` or `unix` (HTTP over the socket whose path is `host`).
    `resolved` tells that every address its name has is a server of its own.
    """

    scheme: str
    host: str
    port: int
    resolved: bool = False

    def __str__(self) -> str:
        if self.scheme == "unix":
            return f"unix:{self.host}"
        return f"{'dns:' * self.resolved}{self.scheme}://{self.authority}"

    @property
    def authority(self) -> str:
        """Give what a Host header for it says (RFC 9110 §7.2)."""
        if self.scheme == "unix":
            return "localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class HealthCheck(msgspec.Struct, frozen=True, kw_only=True):
    """How a target is asked whether it is well: `GET target`, without any token.

    Out after `unhealthy` failures in a row, in again after `healthy` successes: a
    status within `status` (first and last), told within `timeout` seconds.
    """

    target: bytes
    interval: float = 5.0
    timeout: float = 1.0
    healthy: int = 2
    unhealthy: int = 3
    status: tuple[int, int] = (200, 299)


class UpstreamTls(msgspec.Struct, frozen=True, kw_only=True):
    """How TLS is spoken to an upstream's `https` targets: files, and names.

    Without `ca_file` the system's authorities are trusted; `server_name` replaces the
    target's own host, for SNI and in what the certificate must be for.
    """

    ca_file: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    server_name: str | None = None


class UpstreamSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A named group of equal origins. `host` replaces the Host header when set.

    `connections` caps the connections to one address; `waiting` the requests that may
    queue for one; `keepalive` is how long an idle connection is kept and
    `resolve_interval` how old the addresses of a resolved origin grow, in seconds.
    """

    name: str
    origins: tuple[Origin, ...]
    host: bytes | None = None
    timeouts: Timeouts = Timeouts()
    connections: int = 256
    waiting: int = 256
    keepalive: float = 30.0
    tls: UpstreamTls = UpstreamTls()
    health: HealthCheck | None = None
    resolve_interval: float = 5.0


class WireLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of the client side: bytes, counts, and deadlines in seconds."""

    target_bytes: int = 8 * 1024
    header_bytes: int = 32 * 1024
    header_count: int = 100
    connections: int = 10_000
    header_timeout: float = 10.0
    body_timeout: float = 30.0
    idle_timeout: float = 75.0
    write_timeout: float = 30.0


class IdentityHeaders(msgspec.Struct, frozen=True, kw_only=True):
    """Names (lower case) of the headers that tell the upstream who calls.

    An empty name leaves that header out. `claims` maps a header name to a dotted
    claim path. `limit_bytes` caps all of them together.
    """

    subject: bytes = b"x-auth-subject"
    client: bytes = b"x-auth-client"
    scopes: bytes = b"x-auth-scopes"
    provider: bytes = b"x-auth-provider"
    device: bytes = b"x-auth-device"
    claims: tuple[tuple[bytes, str], ...] = ()
    limit_bytes: int = 8 * 1024


# ------------------------------------------------------------------- revocation


LONGEST_CLOCK_SKEW: Final = 300.0
"""Seconds: no route accepts a token longer after its `exp`, and every mark outlives it
by as much."""


class MarkKind(enum.StrEnum):
    """What a revocation mark names."""

    TOKEN = "token"
    TOKEN_ID = "token_id"
    SUBJECT = "subject"
    CLIENT = "client"
    SESSION = "session"
    PROVIDER = "provider"


class Mark(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A revocation: tokens of this kind and name issued up to `moment` are refused.

    `name` is a keyed fingerprint for tokens, the plain subject, client, session or
    token id otherwise, and empty for a whole provider. The mark dies at
    `expires_at`, the last moment a token it concerns could be alive.
    """

    kind: MarkKind
    provider: str
    name: str
    moment: float
    expires_at: float


class MarkRecord(msgspec.Struct, frozen=True, gc=False):
    """A mark, and when it was last lifted: 0 for never."""

    mark: Mark
    lifted_at: float = 0.0

    @property
    def in_force(self) -> bool:
        """Tell whether the mark is younger than its last lifting."""
        return self.mark.moment > self.lifted_at


# --------------------------------------------------------------------- records


class Reload(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What came of a change of the configuration.

    `version` is what is in force since; `changes` tells what differs from before, as
    `routes: +1 ~2 -0`; `problems` are why nothing changed. `trigger` is `start`,
    `signal`, `files` or `api`. Nothing here is a secret.
    """

    ok: bool
    at: float
    trigger: str
    version: str
    changes: str = ""
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


RECORD_NAMES: Final = {
    "request_id": "gateway.request_id",
    "started_at": "timestamp",
    "duration": "http.server.request.duration",
    "upstream_wait": "gateway.upstream_wait",
    "method": "http.request.method",
    "host": "server.address",
    "path": "url.path",
    "status": "http.response.status_code",
    "decision": "gateway.decision",
    "reason": "gateway.reason",
    "source": "gateway.source",
    "route": "gateway.route",
    "provider": "gateway.provider",
    "upstream": "gateway.upstream",
    "client": "gateway.client_id",
    "peer": "client.address",
    "scheme": "url.scheme",
    "request_bytes": "http.request.body.size",
    "response_bytes": "http.response.body.size",
    "failure": "gateway.failure",
    "door": "gateway.door",
    "trace_id": "trace_id",
}
"""What the fields of an `Exchange` are called outside: by OpenTelemetry's semantic
conventions where there is a name for it, else under `gateway.`. Stable: who parses a
log relies on every one."""


class Exchange(
    msgspec.Struct, frozen=True, gc=False, kw_only=True, rename=RECORD_NAMES
):
    """One request and its answer, told once, at the end, to every observer.

    `path` has no query. `duration` is from the first byte of the head to the last
    byte of the answer; `upstream_wait` is the part spent waiting for the upstream's
    head; `decision` is `allow`, `deny`, `error`, or `shadow`: let through though
    `reason` would have refused it. `door` is where it was asked for: at
    the proxy, which answers the client, or at one where an engine asks for a decision.
    `trace_id` is the trace it was recorded in, if it was.
    Nothing here is a token. Encoded, its fields have the names of `RECORD_NAMES`.
    """

    request_id: str
    started_at: float
    duration: float
    upstream_wait: float
    method: str
    host: str
    path: str
    status: int
    decision: str
    reason: str
    source: str
    route: str
    provider: str
    upstream: str
    client: str
    peer: str
    scheme: str
    request_bytes: int
    response_bytes: int
    failure: str = ""
    door: str = "proxy"
    trace_id: str = ""
