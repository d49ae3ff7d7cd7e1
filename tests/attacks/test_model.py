"""A connection's life against a model of it in fifty lines.

Hypothesis draws what a client sends on one connection, how the bytes are cut, when it
hangs up, and what the upstream does with each request that reaches it. `expected` says
what must come of it. `GATEWAY_MODEL_EXAMPLES=5000` looks longer than CI does.
"""

import itertools
import os
import re
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from hypothesis import given, note, settings
from hypothesis import strategies as st

from tests.attacks.stage import read_requests, stage
from tests.fronts.house import request
from tests.wire.harness import turns, until

EXAMPLES: Final = int(os.environ.get("GATEWAY_MODEL_EXAMPLES", "60"))


class Ask(NamedTuple):
    """A request: what it hears if it is refused, and whether it is the last."""

    data: bytes
    refused: int = 0
    last: bool = False
    again: bool = False  # it may be sent twice


class Does(NamedTuple):
    """What an upstream does with a request: 0 is a cut, -1 a hang-up in silence."""

    data: bytes
    status: int
    kept: bool = False
    closes: bool = False


_CHUNKED: Final = "Transfer-Encoding: chunked"
ASKS: Final = {
    "get": Ask(request("GET /public/get", close=False), again=True),
    "token": Ask(request("GET /api/a", token="SECRETr", close=False), again=True),
    "close": Ask(request("GET /public/close"), last=True, again=True),
    "old": Ask(b"GET /public/old HTTP/1.0\r\n\r\n", last=True, again=True),
    "h2c": Ask(
        request("GET /public/h2c", "Connection: Upgrade", "Upgrade: h2c", close=False),
        again=True,
    ),
    "empty": Ask(request("POST /public/empty", body=b"", close=False)),
    "post": Ask(request("POST /public/post", body=b"hello", close=False)),
    "put": Ask(
        request("PUT /public/put", _CHUNKED, close=False) + b"1\r\nx\r\n0\r\n\r\n"
    ),
    "eager": Ask(
        request("POST /public/x", "Expect: 100-continue", body=b"hi", close=False)
    ),
    "stranger": Ask(request("GET /api/a", token="SECRET", close=False), 401),
    "narrow": Ask(request("GET /admin/a", token="SECRETr", close=False), 403),
    "nowhere": Ask(request("GET /nowhere", close=False), 404),
    "loaded": Ask(
        request("POST /api/a", body=b"GET / HTTP/1.1\r\n", close=False), 401, last=True
    ),
    "dotted": Ask(request("GET /public/../admin", close=False), 400, last=True),
    "doubtful": Ask(request("GET /public/a", "X : y", close=False), 400, last=True),
    "both": Ask(
        request("POST /public/a", _CHUNKED, body=b"", close=False), 400, last=True
    ),
    "broken": Ask(
        request("POST /public/a", _CHUNKED, close=False) + b"x\r\n", 400, last=True
    ),
}
_OK: Final = b"HTTP/1.1 200 OK\r\n"
DEEDS: Final = {
    "length": Does(_OK + b"Content-Length: 2\r\n\r\nhi", 200, kept=True),
    "chunks": Does(
        _OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", 200, kept=True
    ),
    "hint": Does(
        b"HTTP/1.1 103 E\r\n\r\n" + _OK + b"Content-Length: 0\r\n\r\n", 200, kept=True
    ),
    "nothing": Does(b"HTTP/1.1 204 N\r\n\r\n", 204, kept=True),
    "last": Does(_OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nhi", 200),
    "endless": Does(_OK + b"\r\nhi", 200, closes=True),
    "more": Does(_OK + b"Content-Length: 2\r\n\r\nhi" + _OK, 200),
    "nonsense": Does(_OK + b"X : y\r\n\r\n", 502),
    "silence": Does(b"", -1, closes=True),
    "short": Does(_OK + b"Content-Length: 9\r\n\r\nhi", 0, closes=True),
}
_STATUS: Final = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")
FINE: Final = DEEDS["length"]


@dataclass
class Expected:
    """What a connection comes to."""

    statuses: list[int] = field(default_factory=list)
    reached: list[bytes] = field(default_factory=list)
    cut: bool = False


def expected(asks: list[Ask], deeds: list[Does]) -> Expected:
    """Say what must happen; the last ask is the last of its connection."""
    told, plan, kept = Expected(), itertools.chain(deeds, itertools.repeat(FINE)), False
    for ask in asks:
        if ask.refused:
            told.statuses.append(ask.refused)
        else:
            target = ask.data.split(b" ")[1]
            deed = next(plan)
            told.reached.append(target)
            if deed.status == -1 and kept and ask.again:
                # A kept connection may have been closed meanwhile: once more.
                deed = next(plan)
                told.reached.append(target)
            told.statuses.append({-1: 502, 0: 200}.get(deed.status, deed.status))
            told.cut = deed.status == 0
            kept = deed.kept
        if told.cut or ask.last:
            break
    return told


class Actor:
    """An upstream that does one deed after the other, and records what it read."""

    def __init__(self, deeds: list[Does]) -> None:
        self._plan = itertools.chain(deeds, itertools.repeat(FINE))
        self.reached: list[bytes] = []

    async def __call__(self, reader, writer) -> None:
        heard = b""
        while piece := await reader.read(65536):
            heard += piece
            for _, target, _ in read_requests(heard):
                heard = b""
                self.reached.append(target)
                deed = next(self._plan)
                writer.write(deed.data)
                if deed.closes:
                    await writer.drain()
                    await turns()
                    writer.close()
                    return


asks_drawn = st.lists(st.sampled_from(sorted(ASKS)), max_size=6)
deeds_drawn = st.lists(st.sampled_from(sorted(DEEDS)), max_size=7)
cuts_drawn = st.lists(st.integers(1, 1500), max_size=8)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """Cut bytes where Hypothesis wants them cut."""
    edges = [0, *sorted({cut for cut in cuts if cut < len(data)}), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@settings(max_examples=EXAMPLES, deadline=None)
@given(asked=asks_drawn, done=deeds_drawn, cuts=cuts_drawn)
async def test_a_connection_lives_as_the_model_says(asked, done, cuts):
    """Number and order of answers, what reached the upstream, how it ended."""
    asks = [*(ASKS[name] for name in asked), ASKS["close"]]
    deeds = [DEEDS[name] for name in done]
    wanted = expected(asks, deeds)
    actor = Actor(deeds)
    async with stage(script=actor) as s:
        client = await s.door.connect()
        for piece in pieces(b"".join(ask.data for ask in asks), cuts):
            if not client.writer.transport.is_closing():
                await client.send(piece)
            await turns()
        answer = await client.read_all()
        client.writer.close()
        await until(lambda: not s.door.reception.in_flight)
        note(repr((answer, s.door.exchanges)))

        assert wanted.statuses == [each.status for each in s.door.exchanges]
        assert wanted.reached == actor.reached
        assert wanted.cut == answer.endswith(b"<reset>")
        if not wanted.cut:
            told = map(int, _STATUS.findall(answer))
            assert wanted.statuses == [status for status in told if status >= 200]


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    asked=asks_drawn,
    done=deeds_drawn,
    cuts=cuts_drawn,
    stop=st.integers(0, 900),
    patience=st.integers(0, 40),
)
async def test_a_client_that_hangs_up_hears_and_does_no_more(
    asked, done, cuts, stop, patience
):
    """Whenever it goes, what happened is the beginning of what would have."""
    asks = [*(ASKS[name] for name in asked), ASKS["close"]]
    deeds = [DEEDS[name] for name in done]
    wanted = expected(asks, deeds)
    data = b"".join(ask.data for ask in asks)[:stop]
    actor = Actor(deeds)
    async with stage(script=actor) as s:
        client = await s.door.connect()
        for piece in pieces(data, cuts):
            if not client.writer.transport.is_closing():
                await client.send(piece)
            await turns()
        await turns(patience)
        client.writer.transport.abort()
        await until(lambda: not len(s.door.front) and not s.door.reception.in_flight)
        await turns(10)
        statuses = [each.status for each in s.door.exchanges if each.status != 499]

        assert wanted.statuses[: len(statuses)] == statuses
        assert wanted.reached[: len(actor.reached)] == actor.reached
