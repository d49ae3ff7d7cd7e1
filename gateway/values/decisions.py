"""What is done about a request."""

from dataclasses import dataclass
from typing import Final

from gateway.values.facts import TokenFacts
from gateway.values.requests import Credentials
from gateway.values.routes import Route
from gateway.values.words import Header, Reason, Source


@dataclass(init=False, slots=True)
class Permit:
    """Leave to forward a request. Only `rules.policy` makes one.

    `facts` and `credentials` are None where nobody was asked for a token. `shadow` is
    why it would have been refused, on a route that does not enforce its rules; then
    nothing is known for sure, and `facts` are None.
    """

    route: Final[Route]
    facts: Final[TokenFacts | None]
    credentials: Final[Credentials | None]
    source: Final[Source]
    shadow: Final[Reason | None]

    def __init__(
        self,
        *,
        route: Route,
        facts: TokenFacts | None,
        credentials: Credentials | None,
        source: Source,
        shadow: Reason | None = None,
    ) -> None:
        self.route = route
        self.facts = facts
        self.credentials = credentials
        self.source = source
        self.shadow = shadow


@dataclass(init=False, slots=True)
class Denial:
    """A refusal: a value, not an exception. Only a dialect may word it.

    `scope` is the space-separated list for the challenge's `scope` attribute
    (RFC 6750 §3); `acr_values` and `max_age` are what a stronger login takes (RFC 9470
    §3), `metadata` is where the resource describes itself (RFC 9728 §5.1). `allow`
    belongs to a 405; `retry_after` (seconds, 0 = none) to 429 and 503. Nothing in it
    is the client's input.
    """

    reason: Final[Reason]
    dialect: Final[str]
    realm: Final[str]
    route: Final[Route | None]
    scope: Final[str]
    acr_values: Final[str]
    max_age: Final[int | None]
    metadata: Final[str]
    allow: Final[tuple[str, ...]]
    retry_after: Final[int]
    client: Final[str | None]
    source: Final[Source]

    def __init__(  # noqa: PLR0913 -- its fields
        self,
        *,
        reason: Reason,
        dialect: str = "rfc6750",
        realm: str = "",
        route: Route | None = None,
        scope: str = "",
        acr_values: str = "",
        max_age: int | None = None,
        metadata: str = "",
        allow: tuple[str, ...] = (),
        retry_after: int = 0,
        client: str | None = None,
        source: Source = Source.NONE,
    ) -> None:
        self.reason = reason
        self.dialect = dialect
        self.realm = realm
        self.route = route
        self.scope = scope
        self.acr_values = acr_values
        self.max_age = max_age
        self.metadata = metadata
        self.allow = allow
        self.retry_after = retry_after
        self.client = client
        self.source = source


Decision = Permit | Denial


@dataclass(frozen=True, slots=True)
class Pending:
    """A decision that must wait for the truth: hand it to `Gatekeeper.settle`."""

    route: Route
    credentials: Credentials
    device: str | None
    peer: str = ""


@dataclass(init=False, slots=True)
class Answer:
    """A complete response of the gateway's own: status, headers, body."""

    status: Final[int]
    headers: Final[tuple[Header, ...]]
    body: Final[bytes]

    def __init__(self, status: int, headers: tuple[Header, ...], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body
