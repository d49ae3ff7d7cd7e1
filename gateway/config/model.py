"""The sections of a configuration file, as they are written. Floor 2: pure.

Pydantic models, used while starting only; `compile` makes of them the values that
requests meet. The plug-ins' own settings join at load (`language`), so nothing above
is imported here. A docstring under a key is its description in the JSON schema.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    ValidationInfo,
    create_model,
    model_validator,
)

from gateway.config.addresses import (
    CorsOrigin,
    TrustedNetwork,
    parse_network,
)
from gateway.config.admin import Admin
from gateway.config.decisions import Decisions
from gateway.config.fields import (
    PLAIN_HTTP,
    ClaimPath,
    ClaimValue,
    Count,
    Flag,
    HeaderName,
    Host,
    IdentityName,
    Method,
    Model,
    Name,
    OneOrMore,
    OptionalIdentityName,
    PathPattern,
    Prefix,
    QueryName,
    ReadableFile,
    Realm,
    Scope,
    ScopeExpression,
    SecretString,
    UpgradeToken,
)
from gateway.config.freshness import Cache, Questions, UnknownTokens
from gateway.config.listeners import Listen
from gateway.config.logouts import Logout
from gateway.config.registry import Registry
from gateway.config.resources import Resource
from gateway.config.revocation import Enforcement, Revocation, Strictness
from gateway.config.store import Store
from gateway.config.tracing import Tracing
from gateway.config.units import (
    Duration,
    PositiveDuration,
    PositiveSize,
    Size,
    expected,
)
from gateway.config.upstreams import Upstream
from gateway.values import LONGEST_CLOCK_SKEW, Access, RouteKind, Secret, TokenPlace

# ------------------------------------------------------------------- the process


class Limits(Model):
    """Bounds of the client side; beyond them a request is refused."""

    target: PositiveSize = 8 * 1024
    """The request target."""
    headers: PositiveSize = 32 * 1024
    """All header lines together."""
    header_count: Count = 100
    """Header lines."""
    connections: Count = 10_000
    """Open client connections."""
    body_rate: Size = 100
    """Of a request body, in a second; 0 is any. The first `timeouts.body` are free."""
    unknown_tokens: UnknownTokens = UnknownTokens()


class ClientTimeouts(Model):
    """Deadlines of the client side."""

    header: PositiveDuration = 10.0
    """For a whole head."""
    body: PositiveDuration = 30.0
    """Without progress of a request body."""
    idle: PositiveDuration = 75.0
    """Between two requests of a connection."""
    write: PositiveDuration = 30.0
    """Without progress of a response."""


class Drain(Model):
    """How the process ends."""

    deadline: Duration = 25.0
    """How long open exchanges may take to finish after a signal."""


class Reload(Model):
    """How the configuration changes while it is in force."""

    watch: Duration = 5.0
    """How often its files are looked at, also those it names; `0s`: never."""


class Log(Model):
    """What is written to standard output, as JSON."""

    access: Flag = True
    """One line for each request."""
    sample: Count = 1
    """Of requests that went well (2xx), one in so many has a line; all others do."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least level of all other lines."""


# ---------------------------------------------------------------------- providers


def _short(seconds: float) -> float:
    # Revocation marks outlive `exp` by as much: a longer skew would outlive them.
    if seconds > LONGEST_CLOCK_SKEW:
        raise expected("a duration of at most 300s")
    return seconds


def _allows_plain_http(provider: object) -> bool:
    if not isinstance(provider, Mapping):
        return False
    return provider.get("allow_insecure_http") in (True, "true")


class TokenShape(Model):
    """What a token must look like before anybody is asked about it."""

    prefix: str = ""
    """What every token of this provider begins with."""
    max: PositiveSize = 8 * 1024
    """The longest token."""


class Provider(Model):
    """Somebody who issues tokens; each name in `verify` has its own section here."""

    dialect: str = "rfc6750"
    """How refusals are worded."""
    realm: Realm = ""
    """The realm of challenges."""
    verify: Annotated[tuple[str, ...], Field(min_length=1)]
    """The ways to learn a token's facts, in order."""
    scopes: tuple[Scope, ...] = ()
    """All scopes that the provider can grant; none listed: any."""
    assume_scopes: tuple[Scope, ...] = ()
    """Scopes of every valid token whose scope nobody tells."""
    any_client: Flag = False
    """Accept tokens whoever they were made for, though `assume_scopes` trusts them."""
    https_only: Flag = False
    """Refuse the guarded OAuth endpoints over plain HTTP."""
    token_lifetime: PositiveDuration | None = None
    """The longest life of a token: tells `iat` from `exp` where it is missing."""
    clock_skew: Annotated[Duration, AfterValidator(_short)] = 0.0
    """How long after `exp` a token is still accepted; at most `300s`."""
    expiry_margin: Duration = 0.0
    """How long before `exp` cached facts are no longer believed."""
    token_shape: TokenShape = TokenShape()
    cache: Cache = Cache()
    questions: Questions = Questions()
    ca_file: ReadableFile | None = None
    """Certificates (PEM) that are trusted instead of the system's, to ask it."""
    allow_insecure_http: Flag = False
    """Accept plain http in its endpoints, where a service mesh speaks TLS below."""

    @model_validator(mode="before")
    @classmethod
    def _open_sections(cls, given: Any, info: ValidationInfo) -> Any:
        """Give every verifier its section; one that needs no settings may omit it."""
        if info.context is not None:
            # The sections are validated next, and do not see their provider.
            info.context[PLAIN_HTTP] = _allows_plain_http(given)
        names = given.get("verify") if isinstance(given, Mapping) else None
        if not isinstance(names, list | tuple):
            return given
        sections = cls.model_fields.keys() - Provider.model_fields.keys()
        return {name: {} for name in sections if name in names} | dict(given)

    def settings(self, verifier: str) -> BaseModel:
        """Give the settings of a verifier that `verify` names."""
        settings: BaseModel = getattr(self, verifier)
        return settings


# ---------------------------------------------------------------------- upstreams


class IdentityHeaders(Model):
    """The headers that tell the upstream who calls; an empty name leaves one out."""

    subject: OptionalIdentityName = "X-Auth-Subject"
    """Whose token it is."""
    client: OptionalIdentityName = "X-Auth-Client"
    """The client it was made for."""
    scopes: OptionalIdentityName = "X-Auth-Scopes"
    """Its scopes, separated by spaces."""
    provider: OptionalIdentityName = "X-Auth-Provider"
    """The provider's name here."""
    device: OptionalIdentityName = "X-Auth-Device"
    """The device the token was made for."""
    claims: dict[IdentityName, ClaimPath] = Field(default_factory=dict)
    """Further headers, each with the path of its claim."""
    limit: PositiveSize = 8 * 1024
    """All of them together."""


# ------------------------------------------------------------------------- routes


class Match(Model):
    """Which requests a route is for; the most specific route wins."""

    host: Host = "*"
    """A host name, `*.suffix`, or `*` for any."""
    path: PathPattern
    """Literals, `{name}` for one segment, and a closing `**`."""
    methods: frozenset[Method] = frozenset()
    """None listed: all. GET implies HEAD."""


class Device(Model):
    """Where a request names the device that its token was made for: one of both."""

    header: HeaderName | None = None
    """The header that names it."""
    query: QueryName | None = None
    """The query parameter that names it."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.header is None) == (self.query is None):
            raise expected("either header or query")
        return self


def _listed(value: object) -> object:
    """Let one stand for a list of one."""
    return value if isinstance(value, list | tuple) else [value]


ClaimValues = Annotated[
    frozenset[ClaimValue], Field(min_length=1), BeforeValidator(_listed), OneOrMore()
]


class Require(Model):
    """What a token must be and have; every rule must hold."""

    scopes: ScopeExpression = ()
    """Scope sets, one of which the token has: ["a b", "c"] is (a and b) or c."""
    issuers: frozenset[str] = frozenset()
    """Its issuer is one of these."""
    audiences: frozenset[str] = frozenset()
    """Its audience has one of these."""
    clients: frozenset[str] = frozenset()
    """It was made for one of these clients."""
    claims: dict[ClaimPath, ClaimValues] = Field(default_factory=dict)
    """Each claim equals one of the values given for its path."""
    device: Device | None = None
    acr: tuple[Scope, ...] = ()
    """The authentication contexts that will do, the preferred one first (RFC 9470)."""
    max_age: PositiveDuration | None = None
    """How long ago the user may have logged in (RFC 9470)."""
    max_fact_age: PositiveDuration | None = None
    """How old the provider's word may be."""


class Cors(Model):
    """Which cross-origin calls are allowed; preflights are answered by the gateway."""

    origins: Annotated[frozenset[CorsOrigin], Field(min_length=1)]
    """Exact origins, or `*` for any."""
    methods: frozenset[Method] = frozenset()
    """None listed: the route's own."""
    headers: frozenset[HeaderName] = frozenset({"Authorization"})
    """Request headers that may be sent."""
    credentials: Flag = False
    """Whether cookies and client certificates may be sent."""
    max_age: Duration = 600.0
    """How long a browser may remember a preflight's answer."""


class RouteTimeouts(Model):
    """Deadlines of one route; what is left out is the upstream's."""

    first_byte: PositiveDuration | None = None
    """From the request to the response's head."""
    idle: PositiveDuration | None = None
    """Without progress of a response."""


class Route(Model):
    """One kind of requests: who may send it, and where it goes."""

    id: Name
    """Its name in logs and metrics."""
    match: Match
    kind: RouteKind = RouteKind.API
    """An API, a guarded OAuth endpoint of the provider, where it tells logouts, or
    where clients read about a protected resource."""
    access: Access = Access.REQUIRED
    """`optional`: no token is anonymous, a bad one is refused. `public`: none asked."""
    provider: str = ""
    """Whose tokens are accepted."""
    token_from: Annotated[frozenset[TokenPlace], Field(min_length=1)] = frozenset(
        {TokenPlace.HEADER}
    )
    """Where the token may be."""
    require: Require = Require()
    upstream: str = ""
    """Where permitted requests go; what is answered here goes nowhere."""
    resource: Resource | None = None
    """What a route of kind `protected-resource` describes (RFC 9728)."""
    logout: Logout | None = None
    """Which logouts of the provider are heeded, on a route of that kind."""
    pass_token: Flag = False
    """Send `Authorization` on to the upstream."""
    strip_prefix: Prefix = b""
    """Taken from the path before it goes upstream."""
    add_prefix: Prefix = b""
    """Put before the path that goes upstream."""
    encoded_slash: Flag = False
    """Accept `%2F` in the path."""
    cors: Cors | None = None
    upgrades: frozenset[UpgradeToken] = frozenset()
    """Protocols a connection may be upgraded to, such as websocket."""
    enforce: Enforcement = Enforcement.FULL
    """`shadow` lets through whom its rules about tokens would refuse: counted, logged
    and told to the upstream."""
    revocation: Strictness = Strictness.LENIENT
    """Whether to refuse (`strict`) when revocations were unheard of for too long."""
    end_with_token: Flag = False
    """End a response that is still being sent when its token expires."""
    timeouts: RouteTimeouts = RouteTimeouts()
    body_limit: Size = 0
    """The longest request body; 0 is unlimited, since bodies are never held."""
    body_rate: Size | None = None
    """How much of it must come in a second, instead of `limits.body_rate`."""


# ----------------------------------------------------------------------- the whole


def _few(number: int) -> int:
    if number > 64:
        raise expected("at most 64 workers")
    return number


LOOPBACK: Final = (parse_network("127.0.0.0/8"), parse_network("::1/128"))

LongSecret = Annotated[Secret, SecretString(32)]
Secrets = Annotated[
    tuple[LongSecret, ...], Field(min_length=1), BeforeValidator(_listed), OneOrMore()
]


class Config(Model):
    """A configuration file of token-gateway."""

    version: Literal[1]
    """The version of this language."""
    include: tuple[str, ...] = ()
    """Files with further `routes`, as glob patterns beside this file."""
    listen: Listen = Listen()
    store: Store = Store()
    secret: Secrets
    """Seals what is stored. Of several the first seals; records are found under all."""
    revocation: Revocation = Revocation()
    admin: Admin = Admin()
    trusted_proxies: tuple[TrustedNetwork, ...] = ()
    """Networks whose X-Forwarded-For and -Proto are believed."""
    trusted_peers: tuple[TrustedNetwork, ...] = LOOPBACK
    """Networks of the engines that may ask for decisions; loopback by default."""
    decisions: Decisions = Decisions()
    limits: Limits = Limits()
    timeouts: ClientTimeouts = ClientTimeouts()
    drain: Drain = Drain()
    reload: Reload = Reload()
    log: Log = Log()
    tracing: Tracing = Tracing()
    workers: Annotated[Count, AfterValidator(_few)] = 1
    """Processes that serve clients; with more than one another looks after them."""
    providers: dict[Name, Provider] = Field(default_factory=dict)
    """Who issues tokens, by name."""
    upstreams: dict[Name, Upstream] = Field(default_factory=dict)
    """Where requests go, by name."""
    identity_headers: IdentityHeaders = IdentityHeaders()
    routes: tuple[Route, ...] = ()
    """Who may do what; what no route matches is a 404."""


def language(registry: Registry) -> type[Config]:
    """Complete the language with the plug-ins there are: their names and sections."""
    # Made from names that are only known now, so no type checker can follow.
    dialect: Any = Literal[tuple(registry.dialects)]
    verifier: Any = Literal[tuple(registry.verifiers)]
    known = Provider.model_fields
    fields: dict[str, Any] = {
        "dialect": (dialect, known["dialect"]),
        "verify": (tuple[verifier, ...], known["verify"]),
    }
    for name, plugin in registry.verifiers.items():
        about = f"How `{name}` in `verify` is done."
        section = Field(default=None, description=about)
        fields[name] = (plugin.Settings | None, section)
    provider: Any = create_model("Provider", __base__=Provider, **fields)
    providers = (dict[Name, provider], Config.model_fields["providers"])
    return create_model("Config", __base__=Config, providers=providers)
