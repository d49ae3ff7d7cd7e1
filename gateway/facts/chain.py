"""Ask the verifiers of one provider and merge what they find. Floor 3.

The rules of the merge, and why:

- the first *invalid* ends it: one good word does not outweigh a bad one;
- `expires_at` is the earliest that anybody named; a sender constraint that anybody
  named holds; every other field comes from the first who knows it;
- a different subject or client is a contradiction: invalid, nobody's facts;
- what was *granted* once is not what is *valid* now: learned grants alone confirm
  nothing, so facts need one verifier that vouches for the token itself;
- who cannot answer has not said *invalid*: an outage is `ProviderUnavailable`.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from gateway.errors import ProviderUnavailable, StoreUnavailable
from gateway.ports import Verifier
from gateway.values import Finding, Invalid, Reason, TokenFacts

_FIRST_KNOWN: Final = (
    "subject",
    "client",
    "scopes",
    "issuer",
    "audience",
    "issued_at",
    "not_before",
    "token_id",
    "session_id",
    "acr",
    "auth_time",
    "device",
)
"""The fields that come from the first verifier that knows them."""


class Chain:
    """The verifiers of one provider, in the configured order.

    `assume_scopes` are what a token has whose scopes nobody told: an operator's word,
    never a default.
    """

    def __init__(
        self,
        verifiers: Sequence[Verifier],
        *,
        assume_scopes: frozenset[str] | None = None,
    ) -> None:
        self._verifiers = tuple(verifiers)
        self._assume_scopes = assume_scopes

    @property
    def identity(self) -> str:
        """Tell who is asked and what is assumed: a part of every cache key."""
        who = [verifier.identity for verifier in self._verifiers]
        # `repr` quotes each part: two different chains never read the same.
        return repr((who, self._assume_scopes and sorted(self._assume_scopes)))

    @property
    def local(self) -> bool:
        """Tell whether nobody outside is asked."""
        return all(verifier.local for verifier in self._verifiers)

    async def verify(self, token: str, now: float) -> TokenFacts | Invalid:
        """Learn the facts, as known at `now`, or that the token is not good.

        Raises `ProviderUnavailable` when somebody who must be heard cannot be.
        """
        found: list[TokenFacts] = []
        for verifier in self._verifiers:
            finding = await _ask(verifier, token, now)
            if isinstance(finding, Invalid):
                return finding
            if isinstance(finding, TokenFacts):
                found.append(finding)
        if all(facts.granted for facts in found):
            return Invalid(Reason.INACTIVE)
        if _differ(facts.subject for facts in found) or _differ(
            facts.client for facts in found
        ):
            return Invalid(Reason.INCONSISTENT)
        return self._merged(found, now)

    def _merged(self, found: Sequence[TokenFacts], now: float) -> TokenFacts:
        known = {
            name: next(
                (
                    value
                    for facts in found
                    if (value := getattr(facts, name)) is not None
                ),
                None,
            )
            for name in _FIRST_KNOWN
        }
        if known["scopes"] is None:
            known["scopes"] = self._assume_scopes
        ends = [facts.expires_at for facts in found if facts.expires_at is not None]
        claims: dict[str, str | int | float | bool | tuple[str, ...]] = {}
        for facts in reversed(found):
            claims |= facts.claims
        return msgspec.structs.replace(
            found[0],
            **known,
            expires_at=min(ends, default=None),
            cnf=any(facts.cnf for facts in found),
            granted=any(facts.granted for facts in found),
            claims=claims,
            learned_at=now,
        )


async def _ask(verifier: Verifier, token: str, now: float) -> Finding:
    try:
        return await verifier.verify(token, now)
    except StoreUnavailable as error:
        raise ProviderUnavailable("the learned grants cannot be read") from error


def _differ(values: Iterable[str | None]) -> bool:
    return len(set(values) - {None}) > 1
