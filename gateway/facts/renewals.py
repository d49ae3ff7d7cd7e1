"""Refuse to renew what was revoked: refresh grants on a routed token endpoint. Floor 3.

A mark by subject, client, session or provider would mean little if the client could
fetch itself a new token. What tells whose a refresh token is:

- the client that says to be asking, which the provider then authenticates;
- the refresh token itself where it is a JWT that `jwt` can prove, first of a provider's
  verifiers, so that nobody else is ever sent a refresh token.

A mark is for what was issued up to its moment, and most refresh tokens do not say when
that was. So the ones issued while a mark would refuse them are remembered with their
moment, and those after the mark go on: whoever logs in again is let in. While no mark
is in force none of this costs anything.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from gateway.facts.fingerprints import Kind
from gateway.facts.grants import Records
from gateway.ports import CacheEvents, Clock, FactsSource, Revocations, Store
from gateway.values import TokenFacts

REMEMBERED: Final = 30 * 86_400.0
"""Seconds; a refresh token that was not used for longer than that is taken for an old
one while a mark is in force."""


class Renewal(msgspec.Struct, frozen=True, gc=False):
    """When a refresh token was issued, or earlier."""

    issued_at: float


class Renewals:
    """Judges refresh grants; `readers` are the sources that prove JWTs by themselves.

    Both raise `StoreUnavailable` or `ProviderUnavailable` when it cannot be told.
    """

    def __init__(
        self,
        secrets: Sequence[str],
        *,
        store: Store,
        clock: Clock,
        events: CacheEvents,
        revocations: Revocations,
        readers: Mapping[str, FactsSource],
    ) -> None:
        self._clock = clock
        self._revocations = revocations
        self._readers = readers
        self._records = Records(
            Kind.RENEWAL, Renewal, secrets, store=store, clock=clock, events=events
        )

    def __repr__(self) -> str:
        return f"<Renewals: {len(self._readers)} readers>"

    async def refuses(self, provider: str, token: str, client: str | None) -> bool:
        """Tell whether a mark is on this refresh token, its holder or its client."""
        holders = await self._holders(provider, token, client)
        if not self._covered(provider, token, holders):
            return False
        known = await self._records.recall(provider, token)
        if known is None:
            return True
        dated = [
            msgspec.structs.replace(each, issued_at=known.issued_at) for each in holders
        ]
        return self._covered(provider, token, dated)

    async def record(
        self, provider: str, token: str, client: str | None, issued_at: float
    ) -> None:
        """Remember when this refresh token was issued, if a mark makes that matter."""
        holders = await self._holders(provider, token, client)
        if self._covered(provider, token, holders):
            until = self._clock.now() + REMEMBERED
            await self._records.keep(provider, token, Renewal(issued_at), until)

    def _covered(
        self, provider: str, token: str, holders: Sequence[TokenFacts]
    ) -> bool:
        return any(self._revocations.covers(provider, token, each) for each in holders)

    async def _holders(
        self, provider: str, token: str, client: str | None
    ) -> list[TokenFacts]:
        """Give what is known of it: as its client says, and as it says itself.

        Without `expires_at`: refresh tokens outlive the access tokens' lifetime, so
        nothing follows from theirs.
        """
        holders = [TokenFacts(provider=provider, client=client)]
        reader = self._readers.get(provider)
        if reader is None or not self._revocations.names_holders():
            return holders
        found = (reader.recall(token) or await reader.learn(token)).found
        itself = TokenFacts(
            provider=provider,
            subject=found.subject,
            client=found.client,
            session_id=found.session_id,
            issued_at=found.issued_at,
        )
        return [*holders, itself]
