"""Deadlines for many connections at the price of an attribute. Floor 3.

A timer per request costs a microsecond twice; here a connection only writes down when
it must have moved on, and one ticker looks at all of them. Precision is one tick.
"""

import asyncio
import math
import time
from typing import Final, Protocol

TICK: Final = 0.25
"""Seconds between two looks."""

NEVER: Final = math.inf


class Watched(Protocol):
    """Something with a deadline, in the time of `Deadlines.time`."""

    deadline: float

    def overdue(self) -> None:
        """Act on a deadline that has passed. Must move `deadline` on."""
        ...


class Deadlines:
    """The ticker. It runs only while something is watched."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._watched: set[Watched] = set()
        self._ticker: asyncio.TimerHandle | None = None
        # uvloop's own time stands still within an iteration, and counts milliseconds.
        self.time = time.monotonic

    def __repr__(self) -> str:
        return f"<Deadlines: {len(self._watched)} watched>"

    def watch(self, connection: Watched) -> None:
        """Look at `connection.deadline` from now on."""
        self._watched.add(connection)
        if self._ticker is None:
            self._ticker = self._loop.call_later(TICK, self._tick)

    def forget(self, connection: Watched) -> None:
        """Stop looking."""
        self._watched.discard(connection)

    def _tick(self) -> None:
        now = self.time()
        late = [each for each in self._watched if each.deadline <= now]
        # First, so that a crash below costs one connection, not every deadline.
        self._ticker = (
            self._loop.call_later(TICK, self._tick) if self._watched else None
        )
        for connection in late:
            connection.overdue()
