"""Where attacks are played: every one is held to the same six oracles by the stage.

A case says what is sent and what is answered. What must hold of every case besides is
proven here, after each play and once more when the stage is taken down:

O1  each request that was let in reaches the upstream once, with the bytes it had
O2  no 2xx from a guarded route without a good token of that very route
O3  no client causes a 500, 502, 503 or 504, a crash, or a task left behind
O4  nothing secret is told to anybody: not to clients, logs, metrics, or in a URL
O5  after a message in doubt the connection is closed, and nothing more is believed
O6  file descriptors and the time the loop is held up stay within bounds
"""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest

from gateway.observe.access_log import as_json, as_text
from gateway.observe.metrics import Metrics
from gateway.values import Exchange, Reason
from tests.fronts.house import Door, Received, Told, door, read_responses
from tests.wire.harness import Client, turns, until

SECRET: Final = b"SECRET"
"""No bytes of a client that hold this may be told to anybody."""

GOOD: Final = {
    "SECRETr": ("read",),
    "SECRETa": ("admin",),
    "SECRETra": ("read", "admin"),
}
"""Tokens that the provider knows, and their scopes."""

_OPEN: Final = (
    "/public",
    "/passing",
    "/slash",
    "/small",
    "/read",
    "/cors",
    "/optional",
    # Guarded by the form, not by a token.
    "/oauth/token",
)
_SCOPES: Final = {"/api": "read", "/admin": "admin"}

IN_DOUBT: Final = frozenset(
    {
        Reason.BAD_MESSAGE,
        Reason.TARGET_TOO_LONG,
        Reason.HEADERS_TOO_LARGE,
        Reason.BODY_TOO_LARGE,
        Reason.EXPECTATION_FAILED,
        Reason.REQUEST_TIMEOUT,
        Reason.CODING_NOT_IMPLEMENTED,
        Reason.VERSION_NOT_SUPPORTED,
    }
)
"""Refusals after which the rest of a connection is not believed (RFC 9112 §2.2)."""

_OURS: Final = frozenset({500, 502, 503, 504})
_HELD_UP: Final = 1.0
"""Seconds of CPU that one turn of the loop may take."""

_LINE: Final = re.compile(rb"([A-Z-]+) (/[\x21-\x7e]*) HTTP/1\.1")
_FIELD: Final = re.compile(rb"([!#$%&'*+.^`|~0-9a-z-]+): ([\t\x20-\x7e\x80-\xff]*)")


@dataclass
class Play:
    """What one client sent, and what came of it."""

    sent: bytes
    answer: bytes
    told: list[Told]
    exchanges: list[Exchange]
    received: list[Received]
    raw: bytes


class Stage:
    """A door whose upstream and provider are as they should be: only clients attack."""

    def __init__(self, built: Door) -> None:
        self.door = built
        for token, scopes in GOOD.items():
            built.facts.known[token] = built.facts.facts(*scopes)

    async def play(self, *pieces: bytes, bodiless: bool = False, step: int = 0) -> Play:
        """Send the pieces on one connection, read to its end, prove the oracles."""
        d = self.door
        exchanges, received = len(d.exchanges), len(d.upstream.requests)
        raw, asked = len(d.upstream.raw), len(d.facts.asked)
        client = await d.connect()
        answer = await _converse(client, pieces, step=step)
        await until(lambda: not d.reception.in_flight)
        play = Play(
            sent=b"".join(pieces),
            answer=answer,
            told=read_responses(answer, bodiless=bodiless),
            exchanges=d.exchanges[exchanges:],
            received=d.upstream.requests[received:],
            raw=d.upstream.raw[raw:],
        )
        self._prove(play, d.facts.asked[asked:])
        return play

    def _prove(self, play: Play, asked: Sequence[str]) -> None:
        final = [told for told in play.told if told.status >= 200]
        prove_answers(final, play.exchanges)
        prove_let_in(play)
        prove_tokens(play, asked)
        assert not {each.status for each in play.exchanges} & _OURS  # O3
        assert SECRET not in play.answer  # O4
        for exchange in play.exchanges[:-1]:  # O5
            assert exchange.reason not in IN_DOUBT


async def _converse(client: Client, pieces: Sequence[bytes], *, step: int) -> bytes:
    try:
        for piece in pieces:
            await client.send(piece, step=step)
            if len(pieces) > 1:
                await turns()
        return await client.read_all()
    finally:
        client.writer.close()


def prove_answers(told: Sequence[Told], exchanges: Sequence[Exchange]) -> None:
    """One answer for each record, in order, and each one a proper answer of ours."""
    assert [each.status for each in told] == [each.status for each in exchanges]
    for each, exchange in zip(told, exchanges, strict=True):
        assert exchange.request_id.encode() == each.value(b"x-request-id")
        assert each.value(b"date") is not None
        assert each.value(b"location") is None
        if each.status >= 400:
            assert b"no-store" == each.value(b"cache-control")
            assert len(each.body) == exchange.response_bytes
        if exchange.reason in IN_DOUBT:
            assert b"close" == each.value(b"connection")  # O5


OWN = ("preflight", "max_forwards")
"""What the gateway answers itself to those who are let in."""


def prove_let_in(play: Play) -> None:
    """O1: who was let in, and nobody else, is at the upstream; once, and unchanged."""
    let_in = [
        (each.method, _rewritten(each.path))
        for each in play.exchanges
        if each.decision == "allow" and each.status < 400 and each.reason not in OWN
    ]
    read = read_requests(play.raw)
    assert let_in == [(each.method, _path(each.target)) for each in play.received]
    assert read == [(each.method, each.target, each.body) for each in play.received]
    for each in play.received:
        path = each.target.partition(b"?")[0]
        assert path.removeprefix(b"/v1") in play.sent


def prove_tokens(play: Play, asked: Sequence[str]) -> None:
    """O2 and O4: only good tokens open doors, and they go no further than they must."""
    for exchange in play.exchanges:
        if exchange.status < 300 and not _is_open(exchange):
            assert any(
                token.encode() in play.sent and _opens(exchange.path, scopes)
                for token, scopes in GOOD.items()
            )
    for each in play.received:
        shown = [value for name, value in each.headers if name != b"authorization"]
        assert not any(SECRET in value for value in (each.target, *shown))
    # The provider is asked about what was sent, and not twice.
    assert len(set(asked)) == len(asked)
    assert all(token.encode() in play.sent for token in asked)


def _is_open(exchange: Exchange) -> bool:
    return exchange.host == "named.example" or exchange.path.startswith(_OPEN)


def _opens(path: str, scopes: Sequence[str]) -> bool:
    needed = [scope for prefix, scope in _SCOPES.items() if path.startswith(prefix)]
    return all(scope in scopes for scope in needed)


def _rewritten(path: str) -> str:
    return path.replace("/strip", "/v1", 1) if path.startswith("/strip") else path


def _path(target: bytes) -> str:
    return target.partition(b"?")[0].decode("latin-1")


def read_requests(raw: bytes) -> list[tuple[str, bytes, bytes]]:
    """Read what the upstream got by the letter of RFC 9112, without a parser's mercy.

    Incomplete requests at the end are none; anything doubtful is an error.
    """
    found = []
    while b"\r\n\r\n" in raw:
        head, _, raw = raw.partition(b"\r\n\r\n")
        line, *lines = head.split(b"\r\n")
        first = _LINE.fullmatch(line)
        fields = [_FIELD.fullmatch(each) for each in lines]
        assert first is not None, line
        assert all(fields), lines
        named: dict[bytes, list[bytes]] = {}
        for field in fields:
            if field is not None:
                named.setdefault(field[1], []).append(field[2])
        assert 1 == len(named[b"host"])
        body, raw = _body(named, raw)
        if body is None:
            break
        found.append((first[1].decode(), first[2], body))
    return found


def _body(named: dict[bytes, list[bytes]], raw: bytes) -> tuple[bytes | None, bytes]:
    lengths, codings = named.get(b"content-length"), named.get(b"transfer-encoding")
    if codings is None:
        (length,) = map(int, lengths or [b"0"])
        return (raw[:length] if len(raw) >= length else None), raw[length:]
    assert ([b"chunked"], None) == (codings, lengths)
    body = b""
    while True:
        size, mark, raw = raw.partition(b"\r\n")
        if not mark:
            return None, b""
        count = int(size, 16)
        chunk, raw = raw[:count], raw[count:]
        if len(chunk) < count or len(raw) < 2:
            return None, b""
        assert raw.startswith(b"\r\n")
        body, raw = body + chunk, raw[2:]
        if not count:
            return body, raw


def prove_silence(exchanges: Sequence[Exchange]) -> None:
    """O4: what observers write of the exchanges tells no secret."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    for exchange in exchanges:
        metrics.observe(exchange)
    written = (as_json(exchanges), as_text(exchanges), generate_latest(registry))
    assert not any(SECRET in each for each in written)
    assert b"access_token" not in as_json(exchanges)


class _Pulse:
    """O6: counts our own CPU time from turn to turn of the loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._last = time.thread_time()
        self.longest = 0.0
        self._timer = self._loop.call_later(0.01, self._beat)

    def _beat(self) -> None:
        now = time.thread_time()
        self.longest = max(self.longest, now - self._last)
        self._last = now
        self._timer = self._loop.call_later(0.01, self._beat)

    def stop(self) -> None:
        self._timer.cancel()


def open_sockets() -> int:
    """Count this process's sockets; loops open other files when they feel like it."""
    count = 0
    for descriptor in Path("/proc/self/fd").glob("*"):
        with contextlib.suppress(OSError):
            count += str(descriptor.readlink()).startswith("socket:")
    return count


@asynccontextmanager
async def stage(**settings: Any) -> AsyncIterator[Stage]:
    """Set the stage; `settings` are those of `door`."""
    sockets = open_sockets()
    pulse = _Pulse()
    try:
        async with door(**settings) as built:
            yield Stage(built)
    finally:
        pulse.stop()
    assert pulse.longest < _HELD_UP
    prove_silence(built.exchanges)
    await until(lambda: open_sockets() <= sockets)
