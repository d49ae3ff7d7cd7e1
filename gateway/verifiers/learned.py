"""Recall what the token answer said when it passed by. Floor 3.

Where a provider tells a token's scope and lifetime only once, in the token answer
(RFC 6749 §5.1), that answer is the one honest source for them. It
proves nothing of the present: a grant says what a token *was* given, not that it is
still good, so the chain never lets `learned` alone confirm a token. A token whose
learned `expires_in` has passed is expired by the provider's own word.
"""

from gateway.config.fields import Model
from gateway.ports import Verifier, VerifierContext
from gateway.rules.identities import identity
from gateway.values import Finding, Invalid, NotMine, Reason, TokenFacts
from gateway.verifiers import Endpoint


class Settings(Model):
    """Whose token answers teach."""

    token_endpoint: Endpoint
    """The provider's own; only a token answer that came from here is learned from."""


def knows(_settings: Settings) -> frozenset[str]:
    """Tell which facts a token answer states."""
    return frozenset({"scope", "client", "expiry"})


def build(settings: Settings, context: VerifierContext) -> Verifier:
    """Make the verifier of one provider."""
    return _LearnedVerifier(settings, context)


class _LearnedVerifier:
    """Keeps the promise `Verifier` from the record of grants."""

    def __init__(self, settings: Settings, context: VerifierContext) -> None:
        self._context = context
        self._identity = identity(
            "learned",
            settings.token_endpoint,
            {**settings.model_dump(), "clock_skew": context.clock_skew},
        )

    def __repr__(self) -> str:
        return f"<Verifier {self._identity}>"

    @property
    def identity(self) -> str:
        """Tell whose answers were learned from."""
        return self._identity

    @property
    def local(self) -> bool:
        """The record is our own."""
        return True

    async def verify(self, token: str, now: float) -> Finding:
        """Recall the grant; raises `StoreUnavailable` when that cannot be told."""
        grant = await self._context.grants.recall(self._context.provider, token)
        if grant is None:
            return NotMine()
        if now >= grant.expires_at + self._context.clock_skew:
            return Invalid(Reason.EXPIRED)
        return TokenFacts(
            provider=self._context.provider,
            client=grant.client,
            scopes=grant.scopes,
            issued_at=grant.issued_at,
            expires_at=grant.expires_at,
            granted=True,
            learned_at=now,
        )
