"""Measure how late the event loop is. Floor 4.

A loop that is kept busy serves everybody late, and nothing else tells it apart from a
slow upstream. So a timer goes off every quarter of a second, and by how much it was
late is counted.
"""

import asyncio
from collections.abc import Callable
from typing import Final

INTERVAL: Final = 0.25


class LoopLag:
    """Tells of the running loop's lateness (seconds), again and again."""

    def __init__(
        self, tell: Callable[[float], None], *, interval: float = INTERVAL
    ) -> None:
        self._tell = tell
        self._interval = interval
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<LoopLag every {self._interval} s>"

    def start(self) -> None:
        """Begin."""
        loop = asyncio.get_running_loop()
        self._due = loop.time() + self._interval
        self._timer = loop.call_later(self._interval, self._look)

    def stop(self) -> None:
        """End."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        # A loop's clock may be coarser than its timers: what is early is on time.
        self._tell(max(0.0, asyncio.get_running_loop().time() - self._due))
        self.start()
