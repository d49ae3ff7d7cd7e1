"""What makes one provider differ from the next: a table of facts.

Apart from the floors. The authorization server (`authorization`, `tokens`) is written
once; a file in `providers` fills in this form from the provider's own documents.
"""

import enum
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from gateway.sandbox.keys import SandboxKeys
from gateway.sandbox.ledger import Grant


class Fault(enum.Enum):
    """What can be wrong with a request, before any provider has worded it."""

    MALFORMED = enum.auto()
    CLIENT_MISSING = enum.auto()
    BAD_CLIENT = enum.auto()
    CLIENT_NOT_ALLOWED = enum.auto()
    BAD_CODE = enum.auto()
    BAD_REFRESH_TOKEN = enum.auto()
    WRONG_REDIRECT_URI = enum.auto()
    UNKNOWN_SCOPE = enum.auto()
    UNKNOWN_GRANT_TYPE = enum.auto()
    UNKNOWN_RESPONSE_TYPE = enum.auto()
    BAD_TOKEN = enum.auto()
    NARROW_TOKEN = enum.auto()


@dataclass(frozen=True, slots=True)
class Refusal:
    """A fault in the provider's words; `{refused}` stands for the refused code."""

    status: int
    code: str
    description: str


def word_rfc6749(refusal: Refusal) -> str:
    """Write an error body as RFC 6749 §5.2 has it, without spaces."""
    body = {"error": refusal.code, "error_description": refusal.description}
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Scope:
    """A scope as the consent page explains it; a fixed one cannot be unticked."""

    name: str
    korean: str
    english: str
    fixed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Everything a provider needs to word a token answer.

    `refresh_token` is the one that was presented, if any; `refresh_id` and
    `refresh_expires_at` stay what they were when it was first issued.
    """

    grant: Grant
    access_id: str
    refresh_id: str
    issued_at: int
    expires_at: int
    refresh_expires_at: int | None
    refresh_token: str | None = field(repr=False)
    issuer: str
    keys: SandboxKeys = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One provider, from its documents.

    `expires_in` is what the token answer says: rounded down, so a token lives one
    second longer. `query_mark` begins the query of an answered redirect.
    `paths` are by endpoint: `authorize token revoke introspect`, and where there
    are any `userinfo jwks`. `device` reads the device from an authorize request; None
    is a malformed one.
    """

    name: str
    title: str
    about: str
    accent: tuple[str, str]
    person: str
    subject: str
    paths: Mapping[str, str]
    required: tuple[str, ...]
    example: Mapping[str, str]
    scopes: tuple[Scope, ...] = ()
    expires_in: int
    refresh_lifetime: int | None = None
    basic_at_token_endpoint: bool = False
    redirects_faults: bool = True
    query_mark: str = "?"
    json_type: str = "application/json"
    challenge: str = ""
    refusals: Mapping[Fault, Refusal]
    word: Callable[[Refusal], str]
    mint: Callable[[Order], dict[str, Any]]
    device: Callable[[Mapping[str, str]], str | None] | None = None
    profile: Mapping[str, str] = field(default_factory=dict)
    jwks: Callable[[SandboxKeys], list[dict[str, Any]]] = lambda _: []

    def refuse(self, fault: Fault, refused: str = "") -> web.Response:
        """Answer a fault: status, body and challenge as the provider writes them."""
        refusal = self.refusals[fault]
        worded = Refusal(
            refusal.status,
            refusal.code,
            refusal.description.replace("{refused}", refused),
        )
        response = self.answer(self.word(worded), status=worded.status)
        if worded.status == 401:
            response.headers["WWW-Authenticate"] = self.challenge.format(
                code=worded.code, description=worded.description
            )
        return response

    def answer(self, body: str, *, status: int = 200) -> web.Response:
        """Answer JSON that nobody may keep (RFC 6749 §5.1)."""
        return web.Response(
            body=body.encode(),
            status=status,
            headers={
                "Content-Type": self.json_type,
                "Cache-Control": "no-store",
                "Pragma": "no-cache",
            },
        )
