"""Refuse what was revoked, at once and from memory. Floor 3: no I/O.

A mark names a token, a token id, a subject, a client, a session or a whole provider,
and a moment. A mark by token or token id refuses that token for ever. Any other one
refuses the tokens issued up to its moment, so that whoever logs in again is let in:

- the `iat` claim tells when a token was issued;
- else `exp` less the provider's `lifetime`, an upper bound, is the earliest moment it
  can have been issued: before the mark, it is refused;
- else it is refused until the provider vouched for it *after* the mark. A signature
  checked again is no such word, so where nobody is `asked` it stays refused.

A mark lives until the last token it can concern is dead by both clocks: a stepped
clock ends no mark. The set is bounded and full is an error to whoever adds: a
revocation is never lost in silence.

Why `add` and `lift` are coroutines: the marks of this process are all there are for
now; once processes share them, it takes a word with the store to make one.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from gateway.errors import StoreUnavailable
from gateway.facts.fingerprints import Fingerprint, Kind, fingerprints
from gateway.ports import Clock
from gateway.values import LONGEST_CLOCK_SKEW, Mark, MarkKind, TokenFacts

LIMIT: Final = 100_000
"""How many marks are held: some 50 MB when all are in use."""

UNKNOWN_LIFE: Final = 100 * 365 * 86_400.0
"""How long, in seconds, a mark lives when nobody knows how long a token may: as good
as for ever, since nugu's live for 68 years. A configured `lifetime` is what lets marks
go; without one they may fill the set, which is loud, where an early end is silent."""

# RFC 7515 §7.1; the header is an object, and `{` is `e` and one of these in base64url.
_JWT: Final = re.compile(r"e[w-z0-9_-][A-Za-z0-9_-]*\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")

_NAMED_BY: Final = (
    (MarkKind.SUBJECT, "subject"),
    (MarkKind.CLIENT, "client"),
    (MarkKind.SESSION, "session_id"),
)


class TokenTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a provider's tokens in general.

    `lifetime` (seconds) is an upper bound; `asked` tells that facts are the
    provider's own word of that moment, not read off a signed token.
    """

    lifetime: float | None = None
    asked: bool = False


class _Held(msgspec.Struct, frozen=True, gc=False):
    mark: Mark
    until: float


class Marks:
    """Keeps `ports.Revocations`. `terms` are by provider."""

    def __init__(
        self,
        secrets: Sequence[str],
        *,
        clock: Clock,
        terms: Mapping[str, TokenTerms],
        limit: int = LIMIT,
    ) -> None:
        self._secrets = tuple(secrets)
        self._clock = clock
        self._terms = dict(terms)
        self._limit = limit
        self._names: dict[str, tuple[Fingerprint, ...]] = {}
        self._held: dict[MarkKind, dict[tuple[str, str], _Held]]
        self._held = {kind: {} for kind in MarkKind}
        self._count = 0

    def __repr__(self) -> str:
        return f"<Marks: {self._count} of {self._limit}>"

    # ------------------------------------------------------------- the promise

    def covers(self, provider: str, token: str, facts: TokenFacts | None) -> bool:
        """Tell whether a mark refuses this token, from memory, at once.

        With `facts` None only marks by token and by provider can be told.
        """
        if not self._count:
            return False
        if self._held[MarkKind.TOKEN] and any(
            self._find(MarkKind.TOKEN, provider, name(_essence(token)).hex())
            for name in self._named(provider)
        ):
            return True
        whole = self._find(MarkKind.PROVIDER, provider, "")
        if facts is None:
            return whole is not None
        if facts.token_id is not None and self._find(
            MarkKind.TOKEN_ID, provider, facts.token_id
        ):
            return True
        marks = [whole]
        for kind, field in _NAMED_BY:
            name = getattr(facts, field)
            if name is not None and self._held[kind]:
                marks.append(self._find(kind, provider, name))
        return any(
            mark and self._may_predate(provider, facts, mark.moment) for mark in marks
        )

    # ------------------------------------------------------------- making marks

    def mark(
        self, kind: MarkKind, provider: str, name: str, expires_at: float | None = None
    ) -> Mark:
        """Make the mark for what is known by name, as of now.

        `expires_at` is the last `exp` of a token it concerns, if that is known.
        """
        now = self._clock.now()
        if expires_at is None:
            lifetime = self._terms_of(provider).lifetime
            expires_at = now + (UNKNOWN_LIFE if lifetime is None else lifetime)
        return Mark(
            kind=kind,
            provider=provider,
            name=name,
            moment=now,
            expires_at=expires_at + LONGEST_CLOCK_SKEW,
        )

    def mark_token(
        self, provider: str, token: str, expires_at: float | None = None
    ) -> Mark:
        """Make the mark for a token at hand; `expires_at` is its `exp`, if known."""
        name = Fingerprint(self._secrets[0], Kind.MARK, provider)(_essence(token)).hex()
        return self.mark(MarkKind.TOKEN, provider, name, expires_at)

    async def add(self, mark: Mark) -> None:
        """Put `mark` in force; one that names the same is only ever extended.

        Raises `StoreUnavailable` when there is no room for it.
        """
        marks, key = self._held[mark.kind], (mark.provider, mark.name)
        if (held := marks.get(key)) is not None:
            mark = msgspec.structs.replace(
                mark,
                moment=max(mark.moment, held.mark.moment),
                expires_at=max(mark.expires_at, held.mark.expires_at),
            )
        elif self._count >= self._limit and not self._swept():
            raise StoreUnavailable("no room for another revocation mark")
        life = mark.expires_at - self._clock.now()
        marks[key] = _Held(mark, self._clock.monotonic() + life)
        self._count = sum(map(len, self._held.values()))

    async def lift(self, kind: MarkKind, provider: str, name: str) -> bool:
        """End the mark with this name; tell whether there was one."""
        found = self._held[kind].pop((provider, name), None)
        self._count = sum(map(len, self._held.values()))
        return found is not None

    def list(self) -> tuple[Mark, ...]:
        """Give the marks in force, the newest first."""
        self._swept()
        held = [held.mark for marks in self._held.values() for held in marks.values()]
        return tuple(sorted(held, key=lambda mark: mark.moment, reverse=True))

    # ------------------------------------------------------------- within

    def _find(self, kind: MarkKind, provider: str, name: str) -> Mark | None:
        held = self._held[kind].get((provider, name))
        return held.mark if held is not None and not self._over(held) else None

    def _over(self, held: _Held) -> bool:
        clock = self._clock
        return clock.monotonic() >= held.until and clock.now() >= held.mark.expires_at

    def _may_predate(self, provider: str, facts: TokenFacts, moment: float) -> bool:
        """Tell whether the token may have been issued before `moment` or at it."""
        if facts.issued_at is not None:
            return facts.issued_at <= moment
        terms = self._terms_of(provider)
        if terms.lifetime is not None and facts.expires_at is not None:
            return facts.expires_at - terms.lifetime <= moment
        return not (terms.asked and facts.learned_at > moment)

    def _terms_of(self, provider: str) -> TokenTerms:
        return self._terms.get(provider, TokenTerms())

    def _named(self, provider: str) -> tuple[Fingerprint, ...]:
        # Every listed secret: a mark may come from one who has the other one first.
        names = self._names.get(provider)
        if names is None:
            names = fingerprints(self._secrets, Kind.MARK, provider)
            self._names[provider] = names
        return names

    def _swept(self) -> bool:
        """Drop the marks that are over; tell whether there were any."""
        before = self._count
        for marks in self._held.values():
            for key in [key for key, held in marks.items() if self._over(held)]:
                del marks[key]
        self._count = sum(map(len, self._held.values()))
        return self._count < before


def _essence(token: str) -> str:
    """Give what a token's mark must name: of a JWT, all but the signature.

    An ECDSA signature (r, s) is as good as (r, n - s): the same token has two texts.
    Three parts alone make no JWT: every PASETO begins with `v2.local.` or its kin.
    """
    return token.rpartition(".")[0] if _JWT.fullmatch(token) else token
