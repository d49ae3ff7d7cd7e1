"""An open-loop flood of tokens that nobody has seen: so many a second, answered or not.

A closed loop waits for a slow server and so goes easy on it; this one does not. Run
with `python flood.py PORT RATE SECONDS`; it prints how many were sent, answered and
left out for want of a connection, as JSON.
"""

import asyncio
import json
import secrets
import sys
from typing import Final, cast

import uvloop

CONNECTIONS: Final = 256
_TICK: Final = 0.001
"""Seconds between two looks at what is due: at five times as many a fast server meets
heaps of requests, not a flow, and each heap is as much work as a slow one's."""
_LAST_ANSWERS: Final = 0.5


class Flood:
    """What was sent and answered; `idle` are the connections that wait for work."""

    def __init__(self) -> None:
        self.idle: list[_Line] = []
        self.counts = {"sent": 0, "answered": 0, "left_out": 0}
        self._lead = secrets.token_hex(8)

    def send(self) -> None:
        """Send one request, or leave it out when every connection waits."""
        if not self.idle:
            self.counts["left_out"] += 1
            return
        self.counts["sent"] += 1
        token = f"unknown-{self._lead}-{self.counts['sent']}"
        self.idle.pop().send(
            f"GET /items/1k HTTP/1.1\r\nHost: bench\r\n"
            f"Authorization: Bearer {token}\r\n\r\n".encode()
        )


class _Line(asyncio.Protocol):
    """One connection: a request, then its answer, which is short and of one piece."""

    def __init__(self, flood: Flood) -> None:
        self._flood = flood
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not asserted: uvloop's transports are of no class of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._flood.idle.append(self)

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"HTTP/1.1 "):
            self._flood.counts["answered"] += 1
            self._flood.idle.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self._flood.idle:
            self._flood.idle.remove(self)

    def send(self, request: bytes) -> None:
        assert self._transport is not None
        self._transport.write(request)


async def flood(port: int, rate: float, seconds: float) -> dict[str, int]:
    """Send `rate` requests a second for some seconds; give the counts."""
    loop = asyncio.get_running_loop()
    given = Flood()
    for _ in range(CONNECTIONS):
        await loop.create_connection(lambda: _Line(given), "127.0.0.1", port)
    begun, due = loop.time(), 0
    while (passed := loop.time() - begun) < seconds:
        while due < passed * rate:
            given.send()
            due += 1
        await asyncio.sleep(_TICK)
    await asyncio.sleep(_LAST_ANSWERS)
    return given.counts


if __name__ == "__main__":
    where, how_fast, how_long = int(sys.argv[1]), *map(float, sys.argv[2:])
    told = uvloop.run(flood(where, how_fast, how_long))
    sys.stdout.write(json.dumps(told))
