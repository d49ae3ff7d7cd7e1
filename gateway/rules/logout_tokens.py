"""Read what a proven logout token says (OpenID Connect Back-Channel Logout 1.0).

Floor 2: pure; who proves signatures is above. §2.6 lists what must hold, and every line
of it is here: one that is missing would let a token of another kind (an ID token, an
access token, a logout of another client's) end somebody's session.
"""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from gateway.rules import claims
from gateway.rules.claims import ClaimError
from gateway.values import Answer, LogoutTerms, MarkKind, TokenFacts

EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
TOKEN_ID_LIMIT: Final = 512
"""No identifier is longer, and nobody remembers one."""

# §2.8: a 200, and nobody keeps it.
ACCEPTED: Final = Answer(
    200, ((b"Cache-Control", b"no-store"), (b"Pragma", b"no-cache")), b""
)

# §2.4 recommends the first; RFC 7515 §4.1.9: `application/` may be left out.
_TYPES: Final = frozenset({"logout+jwt", "jwt"})


class Logout(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a logout token ends; after `ends_at` the token itself is over."""

    kind: MarkKind
    name: str
    token_id: str
    ends_at: float


class Flaw(msgspec.Struct, frozen=True, gc=False):
    """Why a logout token is not heeded: fixed words, for the operator's log."""

    told: str


def read(
    header: Mapping[str, object],
    members: Mapping[str, object],
    terms: LogoutTerms,
    now: float,
) -> Logout | Flaw:
    """Give what is to be ended, or why nothing is."""
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str):
        return Flaw("its type is no text")
    if kind.lower().removeprefix("application/") not in _TYPES:
        return Flaw("it is of another type")
    if "nonce" in members:
        return Flaw("it has a nonce, as ID tokens do")
    if not _tells_logout(members.get("events")):
        return Flaw("it tells no logout event")
    try:
        return _read_claims(members, terms, now)
    except ClaimError:
        return Flaw("a claim has the wrong type")


def _tells_logout(events: object) -> bool:
    return isinstance(events, dict) and isinstance(events.get(EVENT), dict)


def _read_claims(
    members: Mapping[str, object], terms: LogoutTerms, now: float
) -> Logout | Flaw:
    told = claims.facts("", members, claims.Names(scope=None), (), now)
    for flaw, has_it in _FLAWS:
        if has_it(told, terms, now):
            return Flaw(flaw)
    whole = terms.whole_subject and told.subject is not None
    kind, name = MarkKind.SESSION, told.session_id
    if whole or name is None:
        kind, name = MarkKind.SUBJECT, told.subject
    if name is None or told.token_id is None:
        return Flaw("it names neither a subject nor a session")
    return Logout(
        kind=kind, name=name, token_id=told.token_id, ends_at=_ends_at(told, terms)
    )


def _ends_at(told: TokenFacts, terms: LogoutTerms) -> float:
    """Tell when a token is over; one that does not tell its times always is."""
    longest = (told.issued_at or 0.0) + terms.longest
    return min(told.expires_at or 0.0, longest) + terms.skew


_FLAWS: Final[
    tuple[tuple[str, Callable[[TokenFacts, LogoutTerms, float], bool]], ...]
] = (
    (
        "it is from another issuer",
        lambda told, terms, _: told.issuer != terms.issuer,
    ),
    (
        "it is meant for somebody else",
        lambda told, terms, _: terms.audiences.isdisjoint(told.audience or ()),
    ),
    (
        "it does not tell iat and exp",
        lambda told, _, __: told.issued_at is None or told.expires_at is None,
    ),
    (
        "it is from the future",
        lambda told, terms, now: (
            max(told.issued_at or 0.0, told.not_before or 0.0) > now + terms.skew
        ),
    ),
    (
        "it is too old",
        lambda told, terms, now: now >= _ends_at(told, terms),
    ),
    (
        "it has no usable jti",
        lambda told, _, __: not 0 < len(told.token_id or "") <= TOKEN_ID_LIMIT,
    ),
)
