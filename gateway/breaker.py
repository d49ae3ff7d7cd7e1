"""Leave a provider alone that does not answer. Floor 3: a state and a clock, no I/O.

Closed: everybody asks, and failures in a row are counted. Open: nobody asks until a
pause is over. Half-open: one asks, and the answer closes it again; a further failure
doubles the pause. So an outage costs a provider that comes back one question for each
pause of each process, and a client no wait.

Why in a row, and not a share of a window: a provider that answers every other question
is still worth asking, and there is nothing to tune.
"""

import enum
import random
from collections.abc import Callable
from math import ceil

import msgspec


class BreakerState(enum.IntEnum):
    """What a breaker lets pass; the value is what metrics show."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class BreakerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """After how many `failures` in a row a pause begins, and its seconds."""

    failures: int = 5
    pause: float = 1.0
    longest_pause: float = 30.0


class Breaker:
    """Who may ask, by how those before fared. `time` is a monotonic clock."""

    def __init__(self, settings: BreakerSettings, time: Callable[[], float]) -> None:
        self._settings = settings
        self._time = time
        self._failures = 0
        self._pause = settings.pause
        self._open_until = 0.0
        self._probing = False

    def __repr__(self) -> str:
        return f"<Breaker: {self.state.name}, {self._failures} failures>"

    @property
    def state(self) -> BreakerState:
        """Tell what it lets pass now."""
        if self._failures < self._settings.failures:
            return BreakerState.CLOSED
        waits = self._time() < self._open_until
        return BreakerState.OPEN if waits else BreakerState.HALF_OPEN

    def refusal(self) -> int:
        """Tell after how many seconds to come back; 0: now, and one may ask."""
        match self.state:
            case BreakerState.OPEN:
                return ceil(self._open_until - self._time())
            case BreakerState.HALF_OPEN if self._probing:
                return ceil(self._settings.pause)
            case _:
                return 0

    def begin(self) -> bool:
        """Tell that somebody asks; true when this is the one that is let through."""
        if self.state is not BreakerState.HALF_OPEN:
            return False
        self._probing = True
        return True

    def succeeded(self) -> None:
        """Take note of an answer: everybody may ask."""
        self._failures = 0
        self._pause = self._settings.pause
        self._probing = False

    def failed(self, *, probe: bool) -> None:
        """Take note of a failure; only the one let through can lengthen the pause."""
        opens = self._failures == self._settings.failures - 1
        if self._failures < self._settings.failures:
            self._failures += 1
        if probe:
            self._pause = min(2 * self._pause, self._settings.longest_pause)
            self._probing = False
        if probe or opens:
            # Spread, lest all processes come back as one.
            pause = self._pause * random.uniform(0.9, 1.0)  # noqa: S311 -- no secret
            self._open_until = self._time() + pause

    def gave_up(self, *, probe: bool) -> None:
        """Take note of one that left before there was an answer: it tells nothing."""
        if probe:
            self._probing = False
