"""Bound how many unknown tokens one client may have a provider asked about. Floor 3.

Whoever sends invented tokens makes us ask for each. So every client address has a
token bucket: it is charged when the provider calls a token *invalid*, once for each
question, and who has spent it is refused (429) what only a further question could tell.
Tokens known in memory or in the store cost nothing and pass: those behind the same
address as an attacker keep what they have.

Not reserved ahead: after a restart a partner's thousand good tokens are all unknown at
once, and none of them may be refused. What an attacker asks at once beyond the budget
is bounded by the cap on questions, and is a debt: it is paid off before he is heard
again. (Forgiven, it would be had anew with each token that is gained.)

An IPv6 client owns a /64, so that is its address (RFC 6177 §2). As many buckets are
kept as are in use, to a bound; a forgotten one was the one not charged for longest.
"""

from collections import OrderedDict
from ipaddress import IPv6Address, ip_address
from math import ceil
from typing import Final

import msgspec

from gateway.ports import Clock

ADDRESSES: Final = 65_536
"""Buckets kept at most: about 16 MiB."""


class UnknownSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a bucket holds, what it gains in a second, and what it may owe at most."""

    burst: int = 600
    per_second: float = 10.0
    debt: int = 32


class UnknownTokens:
    """The budget of every client address."""

    def __init__(
        self, settings: UnknownSettings, clock: Clock, *, addresses: int = ADDRESSES
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._addresses = addresses
        self._spent: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __repr__(self) -> str:
        return f"<UnknownTokens: {len(self._spent)} addresses>"

    def __len__(self) -> int:
        return len(self._spent)

    def wait(self, address: str) -> int:
        """Tell after how many seconds a question for this client is affordable."""
        spent = self._spent_by(payer(address)) if self._spent else 0.0
        missing = spent + 1 - self._settings.burst
        return ceil(missing / self._settings.per_second) if missing > 0 else 0

    def charge(self, address: str) -> None:
        """Have this client pay for one invalid token."""
        name = payer(address)
        # Bounded: who stops is heard again, however long he went on.
        most = float(self._settings.burst + self._settings.debt)
        spent = min(self._spent_by(name) + 1, most)
        self._spent[name] = (spent, self._clock.monotonic())
        self._spent.move_to_end(name)
        while len(self._spent) > self._addresses:
            self._spent.popitem(last=False)

    def _spent_by(self, name: str) -> float:
        entry = self._spent.get(name)
        if entry is None:
            return 0.0
        spent, at = entry
        gained = (self._clock.monotonic() - at) * self._settings.per_second
        return max(0.0, spent - gained)


def payer(address: str) -> str:
    """Give the address that pays: of IPv6 the /64, of a mapped one the IPv4 it is."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        # The client of a Unix socket has a name instead.
        return address
    if parsed.version == 4:
        return str(parsed)
    return str(parsed.ipv4_mapped or IPv6Address(int(parsed) >> 64 << 64))
