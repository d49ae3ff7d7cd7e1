"""A million tokens that nobody gave out, each another one: `make flood`.

They come over many connections to two gateways that share a store, as fast as they are
answered and from one address, while users with good tokens go on at the same address.
In the end memory and the store must be as they were, every user must have been served
from memory, and the provider must have been asked no more often than the budget of one
address allows. What came of it is written to FLOOD.md.

FLOOD=count makes it shorter, and then nothing is written. Exits with 1 when a gate is
not passed.
"""

import asyncio
import logging
import os
import platform
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

import uvloop

from tests.faults.back import behaving
from tests.faults.crew import Crew, Part, Pass, fresh, one_of
from tests.faults.moody import Moody
from tests.faults.stage import request
from tests.functional.harness import Gateway
from tests.functional.lab import MIB
from tests.soak.counting import start
from tests.soak.soak import say
from tests.stores.servers import Server, serving

TOKENS: Final = 1_000_000
GATEWAYS: Final = 2
CONNECTIONS: Final = 64
"""Of the flood, to all gateways together."""
USERS: Final = 50
WARM_UP: Final = 0.1
"""The part of the flood after which memory is weighed first."""
GROWTH: Final = 8 * MIB
WEIGHED_EVERY: Final = 2.0
BURST, PER_SECOND, AT_ONCE = 600, 10, 32
"""The default budget of an address, and the questions that may be under way."""
RESULTS: Final = Path(__file__).parent / "FLOOD.md"

CONFIG: Final = """
log: {{access: false}}
store: {{url: "{store}"}}
providers:
  idp:
    verify: [introspection]
    introspection: {{url: "{idp}/introspect", client_id: us, client_secret: s}}
    cache: {{ttl: 1h}}
upstreams:
  back: {{targets: ["http://127.0.0.1:{back}"]}}
routes:
  - {{id: all, match: {{path: "/**"}}, provider: idp, upstream: back}}
"""


class Flood:
    """How many are still to come, and what those that came have heard."""

    def __init__(self, count: int) -> None:
        self.left = count
        self.count = count
        self.heard: Counter[bytes] = Counter()
        self.over = asyncio.Event()
        self._lead = secrets.token_urlsafe(24)

    @property
    def done(self) -> float:
        """Tell which part has been answered."""
        return self.heard.total() / self.count

    def next(self) -> bytes | None:
        """Give the next request."""
        if not self.left:
            return None
        self.left -= 1
        return request("GET", "/x", token=f"{self._lead}{self.left}")

    def note(self, status: bytes) -> None:
        """Write down an answer."""
        self.heard[status] += 1
        if self.heard.total() == self.count:
            self.over.set()


class _Line(asyncio.Protocol):
    """One connection: a request, its answer, which comes in one piece, and the next."""

    def __init__(self, flood: Flood) -> None:
        self._flood = flood
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not asserted: uvloop's transports are of no class of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        assert data.startswith(b"HTTP/1.1 ")
        self._flood.note(data[9:12])
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._flood.left:
            self._flood.heard[b"cut"] += 1
            self._flood.over.set()

    def _send(self) -> None:
        raw = self._flood.next()
        assert self._transport is not None
        if raw is not None:
            self._transport.write(raw)


@dataclass
class Site:
    """The gateways, their store, and whom they ask."""

    gateways: list[Gateway]
    store: Server
    idp: Moody

    @property
    def ports(self) -> list[int]:
        """Where clients knock."""
        return [gateway.ports.proxy for gateway in self.gateways]

    @property
    def resident(self) -> int:
        """How much memory the gateways hold, together."""
        return sum(gateway.resident_bytes() for gateway in self.gateways)

    async def keys(self) -> int:
        """Count the keys in the store."""
        return int((await asyncio.to_thread(self.store.say, "DBSIZE"))[1:])


@dataclass
class Outcome:
    """What came of it."""

    heard: Counter[bytes]
    users: Counter[int]
    seconds: float
    asked: int
    asked_again: int
    """Questions about a user's token beyond the first."""
    keys_before: int
    keys_most: int
    keys_after: int
    resident_warm: int
    resident_after: int
    wrong: list[str] = field(default_factory=list)


async def flooded(site: Site, count: int) -> Outcome:
    """Let it come; gives what was measured."""
    users = [fresh("T") for _ in range(USERS)]
    part = Part("known", "/x", one_of(users), frozenset({200}), pause=0.01, players=4)
    await _warm(site, users)
    known = {bearer.token for bearer in users}
    before, keys = site.idp.asked.copy(), await site.keys()
    flood = Flood(count)
    crew = Crew(site.ports, [part])
    loop, begun = asyncio.get_running_loop(), time.monotonic()
    warm, most = 0, keys
    async with crew.at_work() as ledger:
        lines = [
            await loop.create_connection(
                lambda: _Line(flood), "127.0.0.1", site.ports[number % GATEWAYS]
            )
            for number in range(CONNECTIONS)
        ]
        while not flood.over.is_set():
            await asyncio.sleep(WEIGHED_EVERY)
            most = max(most, await site.keys())
            if not warm and flood.done >= WARM_UP:
                warm = site.resident
        seconds = time.monotonic() - begun
    for transport, _ in lines:
        transport.close()
    # What only tells others of a question runs out in a second.
    await asyncio.sleep(2)
    asked = site.idp.asked - before
    outcome = Outcome(
        heard=flood.heard,
        users=ledger.statuses["known"],
        seconds=seconds,
        asked=asked.total(),
        asked_again=sum(asked[token] for token in known),
        keys_before=keys,
        keys_most=most,
        keys_after=await site.keys(),
        resident_warm=warm or site.resident,
        resident_after=site.resident,
    )
    gates = {
        "not every token was answered": flood.heard.total() != count,
        "somebody heard something else": not set(flood.heard) <= {b"401", b"429"},
        "a user was not served": bool(ledger.wrong or ledger.lost),
        "a user's token was asked about again": outcome.asked_again > 0,
        "the provider was asked too often": outcome.asked > _affordable(seconds),
        "keys are left in the store": outcome.keys_after > keys,
        "the store was filled": most > keys + 2 * _affordable(seconds),
        "memory grew": outcome.resident_after > outcome.resident_warm + GROWTH,
    }
    outcome.wrong += [what for what, broken in gates.items() if broken]
    return outcome


def _affordable(seconds: float) -> int:
    return GATEWAYS * (BURST + int(PER_SECOND * seconds) + AT_ONCE)


async def _warm(site: Site, users: list[Pass]) -> None:
    """Have every user known to every gateway."""
    for port in site.ports:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for bearer in users:
            writer.write(request("GET", "/x", token=bearer.token))
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            await reader.readexactly(1)
        writer.close()


@asynccontextmanager
async def opened() -> AsyncIterator[Site]:
    """Run everything, and end it in good order."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="flood-")))
        store = stack.enter_context(serving("valkey"))
        idp = Moody()
        await idp.start()
        stack.push_async_callback(idp.stop)
        back = await stack.enter_async_context(behaving())
        text = CONFIG.format(store=store.url, idp=idp.url, back=back.port)
        gateways = []
        for number in range(GATEWAYS):
            inside = folder / str(number)
            inside.mkdir()
            gateways.append(start(text, inside))
            stack.callback(gateways[-1].kill)
        for gateway in gateways:
            await asyncio.to_thread(gateway.await_ready)
        yield Site(gateways, store, idp)
        for gateway in gateways:
            assert await asyncio.to_thread(gateway.stop) == 0, gateway.said()[-2000:]
            assert not gateway.crashes(), gateway.crashes()[:5]


def report(outcome: Outcome) -> str:
    """Write the page."""
    heard = {status.decode(): count for status, count in outcome.heard.items()}
    total = outcome.heard.total()
    return f"""# A flood of tokens that nobody gave out

Written by `make flood` on {time.strftime("%Y-%m-%d")}, CPython
{platform.python_version()}, {os.cpu_count()} cores of a shared machine.

{total:,} invented tokens, each another one, from one address over {CONNECTIONS}
connections to {GATEWAYS} gateways that share a store, in {outcome.seconds:.0f} s
({total / outcome.seconds:,.0f} a second); users with good tokens at the same address
meanwhile.

| what | measured |
|---|---|
| the flood heard | {", ".join(f"{status}: {count:,}" for status, count in sorted(heard.items()))} |
| users heard | {", ".join(f"{status}: {count:,}" for status, count in outcome.users.items())} |
| questions about users' tokens that were known | {outcome.asked_again} |
| questions about invented tokens | {outcome.asked:,} (affordable: {_affordable(outcome.seconds):,}) |
| keys in the store before, at most, after | {outcome.keys_before}, {outcome.keys_most}, {outcome.keys_after} |
| memory of all gateways after {WARM_UP:.0%} of the flood, in the end | {outcome.resident_warm / MIB:.1f} MiB, {outcome.resident_after / MIB:.1f} MiB |
"""


async def main() -> int:
    """Run it; gives the exit code."""
    count = int(os.environ.get("FLOOD") or TOKENS)
    logging.disable()
    async with opened() as site:
        outcome = await flooded(site, count)
    text = report(outcome)
    say(text)
    say("; ".join(outcome.wrong) if outcome.wrong else "passed")
    if count == TOKENS and not outcome.wrong:
        RESULTS.write_text(text)
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(uvloop.run(main()))
