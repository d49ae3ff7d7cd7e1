"""Tell operators how well revocations are known. Floor 4.

An alarm is a line in the log and a gauge; the gauges are read when they are scraped.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from gateway.facts.mark_stream import MarkStream
from gateway.observe.logs import Log
from gateway.observe.metrics import Metrics
from gateway.ports import CacheEvents

_SHOWN: Final = {
    "revocations_blind": "blind",
    "revocations_lost": "lost",
    "revocations_dared_total": "dares",
    "store_evicts": "evicting",
}
"""Each reading, and what it is of a stream."""


class RevocationLog:
    """Keeps `ports.MarkEvents` by telling the log."""

    def __init__(self, log: Log, alarms: CacheEvents | None = None) -> None:
        self._log = log
        self._alarms: Final = alarms

    def blind(self) -> None:
        """Warn: marks of other processes are not heard of."""
        self._log.warning("revocations_blind")

    def lost(self) -> None:
        """Warn: now strict routes refuse, and all others are daring."""
        self._log.warning("revocations_lost")

    def seeing(self, seconds: float) -> None:
        """Tell that all marks are known."""
        self._log.info("revocations_known", unseen=round(seconds, 3))

    def evicting(self, policy: str) -> None:
        """Warn: a store that makes room by itself forgets revocations."""
        self._log.warning("store_evicts", policy=policy, expected="noeviction")

    def seal_alarm(self) -> None:
        """Warn: somebody else writes where marks are."""
        self._log.repeated("mark_not_ours", "")
        if self._alarms is not None:
            self._alarms.seal_alarm()


def watch(metrics: Metrics, stream: Callable[[], MarkStream | None]) -> None:
    """Show what the stream of marks in use is like, if there is one."""
    for name, attribute in _SHOWN.items():
        metrics.watch(name, partial(_told, stream, attribute))


def _told(stream: Callable[[], MarkStream | None], attribute: str) -> float | None:
    told: float | None = getattr(stream(), attribute, None)
    return told
