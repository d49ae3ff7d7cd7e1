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

Where processes share a store, `ledger` has the last word: a mark is in force when it
is written there, and what others wrote comes in by `take`, in any order and as often
as it likes. So a lifted mark is kept too, with the moment of its lifting: who hears of
the mark again later must not put it in force again.

Why a token is named by a hash without the gateway's secret: this name is in memory
only, a ledger seals it under every listed secret. So a change of secrets takes all
marks along, though nobody has the tokens any more.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from math import inf, nextafter
from typing import Final, NamedTuple

import msgspec

from gateway.errors import StoreUnavailable
from gateway.facts.fingerprints import Fingerprint, Kind
from gateway.ports import Clock, MarkLedger
from gateway.values import (
    LONGEST_CLOCK_SKEW,
    Mark,
    MarkKind,
    MarkRecord,
    TokenFacts,
)

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


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenTerms:
    """What is known of a provider's tokens in general.

    `lifetime` (seconds) is an upper bound; `asked` tells that facts are the
    provider's own word of that moment, not read off a signed token.
    """

    lifetime: float | None = None
    asked: bool = False


class _Held(NamedTuple):
    record: MarkRecord
    until: float


class Marks:
    """Keeps `ports.Revocations`. `terms` are by provider.

    `alert` is called when a mark came into force. `spread` is told of each that was
    added here, and raises `StoreUnavailable` when others cannot be told.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        terms: Mapping[str, TokenTerms],
        limit: int = LIMIT,
        ledger: MarkLedger | None = None,
    ) -> None:
        self._clock = clock
        self._terms = dict(terms)
        self._limit = limit
        self._ledger = ledger
        self._names: dict[str, Fingerprint] = {}
        self._held: dict[MarkKind, dict[tuple[str, str], _Held]]
        self._held = {kind: {} for kind in MarkKind}
        self._count = 0
        self.alert: Callable[[], None] = _nobody
        # No subclass does this: one that is not compiled could have no compiled base.
        self.spread: Callable[[Mark], Awaitable[None]] | None = None

    def __repr__(self) -> str:
        return f"<Marks: {self._count} of {self._limit}>"

    def __len__(self) -> int:
        """Count the records: marks in force, and those lifted that are remembered."""
        return self._count

    def govern(
        self, terms: Mapping[str, TokenTerms], ledger: MarkLedger | None
    ) -> None:
        """Go by other terms, and write into another ledger; all marks stay."""
        self._terms = dict(terms)
        self._ledger = ledger

    # ------------------------------------------------------------- the promise

    def covers(self, provider: str, token: str, facts: TokenFacts | None) -> bool:
        """Tell whether a mark refuses this token, from memory, at once.

        With `facts` None only marks by token and by provider can be told.
        """
        if not self._count:
            return False
        if self._held[MarkKind.TOKEN] and self._find(
            MarkKind.TOKEN, provider, self._name(provider, token)
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

    def names_holders(self) -> bool:
        """Tell whether any mark names a subject, a client or a session."""
        return any(
            held.record.in_force
            for kind, _ in _NAMED_BY
            for held in self._held[kind].values()
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
        name = self._name(provider, token)
        return self.mark(MarkKind.TOKEN, provider, name, expires_at)

    async def add(self, mark: Mark) -> None:
        """Put `mark` in force; one that names the same is only ever extended.

        Raises `StoreUnavailable` when it cannot be kept: then nothing is in force.
        """
        asked = mark
        held = self._held[mark.kind].get((mark.provider, mark.name))
        if held is not None:
            mark = renewed(mark, held.record)
        elif self._count >= self._limit and not self._swept():
            raise StoreUnavailable("no room for another revocation mark")
        record = MarkRecord(mark)
        if self._ledger is not None:
            record = await self._ledger.note(record, fresh=True)
        self.take(record)
        if self.spread is not None:
            await self.spread(asked)

    async def lift(self, kind: MarkKind, provider: str, name: str) -> bool:
        """End the mark with this name; tell whether there was one.

        Raises `StoreUnavailable` when that cannot be told to others: it stays.
        """
        held = self._held[kind].get((provider, name))
        if held is None or not held.record.in_force:
            return False
        mark = held.record.mark
        record = MarkRecord(mark, max(self._clock.now(), mark.moment))
        if self._ledger is not None:
            record = await self._ledger.note(record)
        self.take(record)
        return True

    def list(self) -> tuple[Mark, ...]:
        """Give the marks in force, the newest first."""
        marks = [record.mark for record in self.records() if record.in_force]
        return tuple(sorted(marks, key=lambda mark: mark.moment, reverse=True))

    # ------------------------------------------------------------- what others say

    def take(self, record: MarkRecord) -> None:
        """Take note of a record, whoever made it; it never takes anything back."""
        mark = record.mark
        marks, key = self._held[mark.kind], (mark.provider, mark.name)
        held = marks.get(key)
        known = None if held is None else held.record
        record = record if known is None else merged(known, record)
        if record == known:
            return
        mark = record.mark
        life = mark.expires_at - self._clock.now()
        marks[key] = _Held(record, self._clock.monotonic() + life)
        if not record.in_force and self._ledger is None:
            # Nobody else can bring it up again.
            del marks[key]
        self._count = sum(map(len, self._held.values()))
        if record.in_force:
            self.alert()

    def end(self, kind: MarkKind, provider: str, name: str) -> None:
        """End a mark here, as somebody else has done for all."""
        held = self._held[kind].get((provider, name))
        if held is not None:
            self.take(MarkRecord(held.record.mark, held.record.mark.moment))

    def records(self) -> tuple[MarkRecord, ...]:
        """Give all that is known and not over, lifted marks too."""
        self._swept()
        return tuple(
            held.record for marks in self._held.values() for held in marks.values()
        )

    # ------------------------------------------------------------- within

    def _find(self, kind: MarkKind, provider: str, name: str) -> Mark | None:
        held = self._held[kind].get((provider, name))
        if held is None or not held.record.in_force or self._over(held):
            return None
        return held.record.mark

    def _over(self, held: _Held) -> bool:
        clock = self._clock
        ends_at = held.record.mark.expires_at
        return clock.monotonic() >= held.until and clock.now() >= ends_at

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

    def _name(self, provider: str, token: str) -> str:
        fingerprint = self._names.get(provider)
        if fingerprint is None:
            fingerprint = self._names[provider] = Fingerprint("", Kind.MARK, provider)
        return fingerprint(_essence(token)).hex()

    def _swept(self) -> bool:
        """Drop the marks that are over; tell whether there were any."""
        before = self._count
        for marks in self._held.values():
            for key in [key for key, held in marks.items() if self._over(held)]:
                del marks[key]
        self._count = sum(map(len, self._held.values()))
        return self._count < before


def merged(one: MarkRecord, other: MarkRecord) -> MarkRecord:
    """Make one record of two about the same: the latest of everything."""
    mark = msgspec.structs.replace(
        one.mark,
        moment=max(one.mark.moment, other.mark.moment),
        expires_at=max(one.mark.expires_at, other.mark.expires_at),
    )
    return MarkRecord(mark, max(one.lifted_at, other.lifted_at))


def renewed(mark: Mark, known: MarkRecord) -> Mark:
    """Give a mark made now the last word, whatever the clock of who lifted it said."""
    if mark.moment > known.lifted_at:
        return mark
    return msgspec.structs.replace(mark, moment=nextafter(known.lifted_at, inf))


def _nobody() -> None:
    """Nobody wants to hear of a mark."""


def _essence(token: str) -> str:
    """Give what a token's mark must name: of a JWT, all but the signature.

    An ECDSA signature (r, s) is as good as (r, n - s): the same token has two texts.
    Three parts alone make no JWT: every PASETO begins with `v2.local.` or its kin.
    """
    return token.rpartition(".")[0] if _JWT.fullmatch(token) else token
