"""The last exchanges, for whoever asks why. Floor 4: an observer that keeps, no more.

On the way of a request this costs one `deque.append`, a C function that `observe` *is*:
no frame, no formatting. Whatever is shown is worded when somebody looks, which may be
never. An `Exchange` holds no token; a path is cut where a query may have slipped in.
"""

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec

from gateway.values import Exchange

KEPT: Final = 500

_QUERY: Final = re.compile(r"\?|%3[Ff]|;")
"""Where a query begins, or what a slip makes of one: tokens were seen behind all."""


class Recent:
    """Keeps `ports.Observer`: the last `KEPT` exchanges of this process."""

    __slots__ = ("_ring", "observe")

    def __init__(self) -> None:
        self._ring: deque[Exchange] = deque(maxlen=KEPT)
        self.observe: Callable[[Exchange], None] = self._ring.append

    def __repr__(self) -> str:
        return f"<Recent: {len(self._ring)} exchanges>"

    def exchanges(self) -> tuple[Exchange, ...]:
        """Give them all, in the order in which they ended."""
        return tuple(self._ring)


class Seen(msgspec.Struct, frozen=True, gc=False):
    """An exchange as it is shown, and which worker saw it (0: there is but one)."""

    worker: int
    exchange: Exchange

    @property
    def ended_at(self) -> float:
        """Tell when it was over, in Unix seconds."""
        return self.exchange.started_at + self.exchange.duration

    @property
    def path(self) -> str:
        """Give its path, without anything that may be a query."""
        return _QUERY.split(self.exchange.path, maxsplit=1)[0]


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which exchanges somebody wants to see; what is empty asks for nothing.

    `status` is a whole status or its first digit. `since` is a Unix time at which an
    exchange had not ended yet. At most `limit` are given, the newest first.
    """

    route: str = ""
    reason: str = ""
    client: str = ""
    request_id: str = ""
    decision: str = ""
    provider: str = ""
    upstream: str = ""
    status: str = ""
    since: float = 0.0
    limit: int = KEPT

    def of(self, seen: Iterable[Seen]) -> list[Seen]:
        """Pick those that are wanted, the newest first."""
        picked = sorted(filter(self._takes, seen), key=_ended, reverse=True)
        return picked[: self.limit]

    @property
    def narrows(self) -> bool:
        """Tell whether it asks for less than everything."""
        return self != Wanted(limit=self.limit)

    def _takes(self, seen: Seen) -> bool:
        exchange = seen.exchange
        if any(asked != told for asked, told in self._asked(exchange) if asked):
            return False
        status = str(exchange.status)
        if self.status and self.status not in (status, status[:1]):
            return False
        return seen.ended_at >= self.since

    def _asked(self, exchange: Exchange) -> Iterator[tuple[str, str]]:
        yield self.route, exchange.route
        yield self.reason, exchange.reason
        yield self.client, exchange.client
        yield self.request_id, exchange.request_id
        yield self.decision, exchange.decision
        yield self.provider, exchange.provider
        yield self.upstream, exchange.upstream


def _ended(seen: Seen) -> float:
    return seen.ended_at
