"""What a route demands, and where it leads."""

from dataclasses import dataclass

from gateway.values.words import Access, Reason, RouteKind, TokenPlace


@dataclass(frozen=True, slots=True)
class ClaimRule:
    """The claim at `path` (dotted) must equal one of `one_of`, compared exactly.

    A claim that is a list satisfies the rule when one of its members does.
    """

    path: str
    one_of: frozenset[str | int | bool]


@dataclass(frozen=True, slots=True)
class DeviceRule:
    """The request must name the token's own device in this header or parameter.

    A consistency check, not proof of possession.
    """

    header: bytes | None = None
    query: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirements:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Cors:
    """Which cross-origin calls a route answers preflights for.

    `origins` are exact serialised origins; `*` stands for any (and then credentials
    are never allowed).
    """

    origins: frozenset[str]
    methods: frozenset[str]
    headers: frozenset[str]
    credentials: bool = False
    max_age: int = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Deadlines towards an upstream, in seconds."""

    connect: float = 1.0
    first_byte: float = 30.0
    idle: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenShape:
    """What a token must look like before anybody is asked about it."""

    prefix: str = ""
    max_bytes: int = 8 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class LogoutTerms:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """What the guard of an OAuth endpoint must know of its provider.

    `scopes` empty means the provider's scopes are not listed: any is passed on.
    `form` names the checks of `rules.oauth_forms` (a provider dialect's name).
    `logout` is what a `backchannel-logout` route asks of its tokens.
    """

    form: str = "rfc6750"
    https_only: bool = False
    scopes: frozenset[str] = frozenset()
    logout: LogoutTerms | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A protected resource (RFC 9728): its identifier, and what the routes do not say."""

    url: str
    name: str = ""
    documentation: str = ""
    authorization_servers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class NoRoute:
    """No route matched: why, and in which dialect to say so.

    `allow` holds the methods of the path that did match (405), else is empty (404);
    `reason` is `BAD_TARGET` (400) where the route found cannot take the target.
    """

    dialect: str = "rfc6750"
    realm: str = ""
    allow: tuple[str, ...] = ()
    reason: Reason = Reason.NO_ROUTE
