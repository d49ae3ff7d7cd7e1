import asyncio
import time

from gateway.observe.lag import LoopLag


async def test_a_loop_that_was_held_up_is_late():
    """By as long as something else ran; otherwise it is on time."""
    told: list[float] = []
    arrived = asyncio.Event()

    def tell(seconds: float) -> None:
        told.append(seconds)
        arrived.set()

    lag = LoopLag(tell, interval=0.01)
    lag.start()
    await arrived.wait()
    arrived.clear()
    until = time.monotonic() + 0.06
    while time.monotonic() < until:
        """Nobody else has a turn."""
    await arrived.wait()
    lag.stop()
    told_until_then = len(told)
    await asyncio.sleep(0.03)

    assert told_until_then == len(told)
    assert min(told) >= 0
    assert max(told) >= 0.045
