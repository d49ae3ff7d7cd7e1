"""Ten minutes of everything at once against a real gateway: `make soak`.

A gateway process with a real Valkey, an upstream and a provider on loopback; two dozen
clients that do what clients do; every half a minute a fault: the upstream restarts,
the store is killed, or hangs. Every minute a line is printed. In the end it must be as
light as at the beginning, and nobody may have been served badly without a fault.

SOAK=seconds makes it shorter. Exits with 1 when a gate is not passed.
"""

import asyncio
import logging
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import mean

from aiohttp import web

from gateway.stores.redis import CONNECTIONS
from gateway.tasks import spawn
from tests.faults.back import Back
from tests.faults.stage import configuration, knowing
from tests.functional.harness import Gateway
from tests.functional.lab import MIB
from tests.soak.counting import Costs, costs, start
from tests.soak.load import Site, visit
from tests.stores.servers import Server, serving

CLIENTS = 24
MINUTE = 60.0
WEIGHED_EVERY = 5.0
FAULT_EVERY = 30.0
RECOVERY = 5.0
"""Seconds after an upstream's fault in which requests may still fail."""
GROWTH = 8 * MIB
"""From the second quarter to the last: caches fill up to 1 MiB and 4 MiB."""
POOLS = 3
"""Of connections to the store, which are kept: for facts, for locks, for waiting."""
PLENTY = "limits: {unknown_tokens: {burst: 1000000000}}\n"
"""All clients are at one address, and bring more invalid tokens than one may."""
SMALL_CACHE = "    cache: {ttl: 20s, memory: 1MiB}\n"


class Restarting:
    """The upstream: listens on the same port every time."""

    def __init__(self) -> None:
        self.port = 0
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen."""
        self._runner = web.AppRunner(
            Back()._app(),
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=0.1,
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Cut everything."""
        if self._runner is not None:
            await self._runner.cleanup()


class Soak:
    """One run: the world, its clients, and what is measured."""

    def __init__(
        self, gateway: Gateway, folder: Path, upstream: Restarting, store: Server
    ) -> None:
        self.gateway = gateway
        self._folder = folder
        self._upstream = upstream
        self._store = store
        self.site = Site(gateway.ports.proxy)
        self.weights: list[int] = []
        self._begun = time.monotonic()
        self._next_line = MINUTE

    async def run(self, seconds: float) -> list[str]:
        """Load it for so long; gives what is wrong with it afterwards."""
        before = await asyncio.to_thread(costs, self.gateway, self._folder)
        say(f"at rest: {shown(before)}")
        self._begun = time.monotonic()
        clients = [spawn(visit(self.site), name="client") for _ in range(CLIENTS)]
        faults = spawn(self._faults(), name="faults")
        while (passed := time.monotonic() - self._begun) < seconds:
            await asyncio.sleep(WEIGHED_EVERY)
            self.weights.append(self.gateway.resident_bytes())
            if passed + WEIGHED_EVERY >= self._next_line:
                await self._line()
        faults.cancel()
        await asyncio.gather(faults, return_exceptions=True)
        self.site.over.set()
        await asyncio.gather(*clients)
        await self._line()
        after = await self._weigh_at_rest(before)
        say(f"at rest: {shown(after)}")
        return self._wrong(before, after)

    async def _weigh_at_rest(self, before: Costs) -> Costs:
        """Weigh it once it is as light as before, or half a minute after the load.

        Idle connections to the provider are kept for that long at most.
        """
        until = time.monotonic() + 40
        while True:
            now = await asyncio.to_thread(costs, self.gateway, self._folder)
            if not self._left(before, now) or time.monotonic() > until:
                return now
            await asyncio.sleep(1)

    def _left(self, before: Costs, after: Costs) -> dict[str, bool]:
        """Tell what is left that was not there before; the store's are kept."""
        gates = {
            "open files are left": after.files > before.files + POOLS * CONNECTIONS,
            "tasks are left": after.tasks > before.tasks,
            "requests are in flight": after.in_flight > 0,
        }
        return {what: broken for what, broken in gates.items() if broken}

    async def _faults(self) -> None:
        """Bring one trouble after another, each to its end."""
        while True:
            for fault in (self._restart_upstream, self._kill_store, self._hang_store):
                await asyncio.sleep(FAULT_EVERY)
                await asyncio.shield(fault())

    async def _restart_upstream(self) -> None:
        begun = time.monotonic()
        self.site.ill(begun, begun + 3600)
        await self._upstream.stop()
        await asyncio.sleep(1)
        await self._upstream.start()
        self.site._ills[-1] = (begun, time.monotonic() + RECOVERY)

    async def _kill_store(self) -> None:
        """Nobody is excused: a store that fails is a miss."""
        say("the store is killed")
        await asyncio.to_thread(self._store.kill)
        await asyncio.sleep(1)
        await asyncio.to_thread(self._store.start)

    async def _hang_store(self) -> None:
        say("the store hangs")
        self._store.stop()
        await asyncio.sleep(2)
        self._store.go_on()

    async def _line(self) -> None:
        self._next_line += MINUTE
        now = await asyncio.to_thread(costs, self.gateway, self._folder)
        book = self.site.ledger
        acts = sum(book.done.values()) + 19 * book.done["hits"]
        say(
            f"{time.monotonic() - self._begun:4.0f} s  {acts} requests"
            f"  failed {dict(book.failed)}  excused {dict(book.excused)}"
            f"  {shown(now)}  p99 {p99(book.seconds) * 1000:.1f} ms"
        )

    def _wrong(self, before: Costs, after: Costs) -> list[str]:
        quarter = max(1, len(self.weights) // 4)
        growth = mean(self.weights[-quarter:]) - mean(
            self.weights[quarter : 2 * quarter] or self.weights
        )
        say(
            f"memory grew by {growth / MIB:.1f} MiB from the second quarter to the last"
        )
        for line in self.site.ledger.lately:
            say(line)
        gates = {
            "memory grows": growth >= GROWTH,
            **self._left(before, after),
            "somebody was served badly": bool(self.site.ledger.failed),
            "nothing was done": not self.site.ledger.done,
        }
        return [what for what, broken in gates.items() if broken]


def say(what: str) -> None:
    """Print a line with the time."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {what}\n")
    sys.stdout.flush()


def shown(weighed: Costs) -> str:
    """Put costs into words."""
    return (
        f"{weighed.resident / MIB:.1f} MiB, {weighed.files} files,"
        f" {weighed.tasks} tasks, {weighed.in_flight} in flight"
    )


def p99(seconds: Iterable[float]) -> float:
    """Give the 99th percentile."""
    ordered = sorted(seconds)
    return ordered[len(ordered) * 99 // 100] if ordered else 0.0


@asynccontextmanager
async def world() -> AsyncIterator[Soak]:
    """Start everything; end it in good order."""
    upstream = Restarting()
    await upstream.start()
    with (
        tempfile.TemporaryDirectory(prefix="soak-") as name,
        serving("valkey", "--maxmemory", "64mb") as store,
    ):
        folder = Path(name)
        async with knowing() as provider:
            text = configuration(
                back=upstream.port, provider=provider.url, store=store.url
            )
            text = text.replace("  idp:\n", f"  idp:\n{SMALL_CACHE}")
            text = text.replace(", timeouts:", ", keepalive: 1s, timeouts:")
            gateway = start(f"{PLENTY}log: {{access: false}}\n{text}", folder)
            try:
                await asyncio.to_thread(gateway.await_ready)
                yield Soak(gateway, folder, upstream, store)
            finally:
                gateway.kill()
                await upstream.stop()


async def main() -> int:
    """Run it; gives the exit code."""
    seconds = float(os.environ.get("SOAK") or 600)
    # The upstream complains of the connections that are cut: that is the idea.
    logging.disable()
    async with world() as soak:
        wrong = await soak.run(seconds)
        if await asyncio.to_thread(soak.gateway.stop) != 0:
            wrong.append("it did not end in good order")
        crashes = soak.gateway.crashes()
    for line in crashes[:10]:
        say(line)
    if crashes:
        wrong.append(f"{len(crashes)} lines of trouble in the log")
    say("; ".join(wrong) if wrong else "passed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
