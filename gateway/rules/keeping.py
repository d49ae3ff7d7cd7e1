"""How long an engine may keep leave, and for which requests. Floor 2: pure.

What an engine has kept it does not ask about: for so long nothing that happens here is
heard of there, a revocation least of all. So the time is bounded by everything that
would end the permit by itself, and by what the configuration dares; it is none where a
route is strict about revocations, none for what is already believed beyond its time,
and none for whom a route in shadow would have refused.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from gateway.values import Permit, RouteKind, Source

_ALWAYS: Final = (b"authorization", b"referer")


class Trust(msgspec.Struct, frozen=True):
    """Seconds for which a provider's word is believed, and before `exp` it is not."""

    ttl: float
    margin: float = 0.0


class Keeping:
    """What may be kept. `longest` is in seconds; `trust` is by provider."""

    def __init__(
        self, longest: float = 0.0, trust: Mapping[str, Trust] | None = None
    ) -> None:
        self._longest = longest
        self._trust = trust or {}

    def __repr__(self) -> str:
        return f"<Keeping: {self._longest:g}s>"

    def seconds(self, permit: Permit, now: float) -> int:
        """Tell for how many whole seconds this leave may be given again, unasked."""
        route, facts = permit.route, permit.facts
        if (
            not self._longest
            or route.kind is not RouteKind.API
            or route.strict_revocation
            or permit.source is Source.STALE
            or permit.shadow is not None
        ):
            return 0
        if facts is None:
            # Nobody was asked for a token, so nothing can end it.
            return int(self._longest)
        trust, require = self._trust[route.provider], route.require
        ends = [now + self._longest, facts.learned_at + trust.ttl]
        if facts.expires_at is not None:
            ends.append(facts.expires_at - trust.margin)
        if require.max_fact_age is not None:
            ends.append(facts.learned_at + require.max_fact_age)
        if require.max_age is not None and facts.auth_time is not None:
            ends.append(facts.auth_time + require.max_age)
        return max(0, int(min(ends) - now))


def depends_on(permit: Permit) -> tuple[bytes, ...]:
    """Name the client's headers that this leave depends on, beside host and target."""
    device = permit.route.require.device
    named = () if device is None or device.header is None else (device.header,)
    return (*_ALWAYS, *named)
