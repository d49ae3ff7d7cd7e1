"""Measure how late the event loop is. Floor 4.

A loop that is kept busy serves everybody late, and nothing else tells it apart from a
slow upstream. So a timer goes off every quarter of a second, and by how much it was
late is counted.
"""

import asyncio
from collections.abc import Callable
from typing import Final

INTERVAL: Final = 0.25


async def measure(tell: Callable[[float], None], *, interval: float = INTERVAL) -> None:
    """Tell of the loop's lateness (seconds), again and again, until cancelled."""
    time = asyncio.get_running_loop().time
    while True:
        due = time() + interval
        await asyncio.sleep(interval)
        # A loop's clock is coarser than ours: what is early is on time.
        tell(max(0.0, time() - due))
