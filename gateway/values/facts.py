"""What is known of tokens. Structs, since they are sealed, and kept by the thousand."""

import msgspec

from gateway.values.words import Reason, Source


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
