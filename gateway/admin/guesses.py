"""How often somebody may be wrong about the admin token. Floor 4: no network, no log.

By address, so that nobody who guesses keeps the others from revoking. Of IPv6 it is the
network of 64 bits, all of which one machine has. The table is bounded: while it is full
of addresses that were wrong within the minute, a new one has to wait too, since whoever
has a thousand of them has more. Loopback is one address, and has its place.
"""

from collections import Counter, deque
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import Final

WRONG: Final = 10
"""How often an address may be wrong within so many seconds:"""
WITHIN: Final = 60.0

ADDRESSES: Final = 1000

LOOPBACK: Final = "loopback"

REFUSALS: Final = ("token", "guesses")
"""What is counted: a token that was wrong, and one that was not looked at any more."""


class Guesses:
    """Who was wrong lately."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        # The one that was wrong last is the last.
        self._wrong: dict[str, deque[float]] = {}
        self.counted = Counter[str]()

    def __repr__(self) -> str:
        return f"<Guesses: {len(self._wrong)} addresses>"

    def wait(self, who: str) -> float:
        """Tell in how many seconds a token of this address is looked at; 0: now."""
        now = self._monotonic()
        times = self._wrong.get(who)
        if times is not None:
            return _left(times[0], now) if len(times) == WRONG else 0.0
        self._forget(now)
        if who == LOOPBACK or len(self._wrong) < ADDRESSES:
            return 0.0
        return _left(next(iter(self._wrong.values()))[-1], now)

    def wrong(self, who: str) -> None:
        """Take note of a token that was looked at and is wrong."""
        times = self._wrong.pop(who, None) or deque(maxlen=WRONG)
        times.append(self._monotonic())
        self._wrong[who] = times
        self.counted["token"] += 1

    def refuse(self) -> None:
        """Take note of one that was not looked at."""
        self.counted["guesses"] += 1

    def _forget(self, now: float) -> None:
        while self._wrong:
            who, times = next(iter(self._wrong.items()))
            if _left(times[-1], now):
                return
            del self._wrong[who]


def _left(since: float, now: float) -> float:
    return max(0.0, since + WITHIN - now)


def address(peer: str) -> str:
    """Give what counts as one address; what is none is one of its own."""
    try:
        found = ip_address(peer)
    except ValueError:
        return ""
    if not isinstance(found, IPv6Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return f"{int(found) >> 64:016x}"
