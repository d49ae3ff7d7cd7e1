"""What an upstream may do wrong, what the client sees of it, and what becomes of it.

The rows are in `responses`. Each is one answer of an upstream, given whole and byte by
byte. A second request follows: its answer must be its own, and it tells whether the
upstream connection served again. Nothing that says EVIL may reach the client.
"""

import asyncio
import socket
import struct

import pytest

from gateway.values import Timeouts
from tests.attacks.responses import CUT, OK, TABLE, Row
from tests.attacks.stage import stage
from tests.fronts.house import read_responses
from tests.wire.harness import HandLoop, turns


class Origin:
    """An upstream that answers the first request with a row, the others well."""

    def __init__(self, row: Row, step: int) -> None:
        self._row = row
        self._step = step
        self._asked = 0
        self.connections = 0
        self.done = asyncio.Event()
        self.stray = asyncio.Event()

    async def __call__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.connections += 1
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            self._asked += 1
            if self._asked == 1:
                await self._misbehave(writer)
            else:
                own = b"" if head.startswith(b"HEAD ") else b"own"
                writer.write(OK + b"Content-Length: 3\r\n\r\n" + own)

    async def _misbehave(self, writer: asyncio.StreamWriter) -> None:
        data, step = self._row.data, self._step or len(self._row.data) or 1
        try:
            for at in range(0, len(data), step):
                writer.write(data[at : at + step])
                await writer.drain()
                await turns(2)
            await turns(10)
        finally:
            self.done.set()
        match self._row.then:
            case "close":
                writer.close()
            case "reset":
                writer.transport.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
                writer.transport.abort()
            case "EVIL":
                await self.stray.wait()
                writer.write(OK + b"Content-Length: 4\r\n\r\nEVIL")
                await writer.drain()
                await turns(20)
            case _:
                pass


def asking(row: Row, path: str, *lines: str) -> bytes:
    """Ask as the row wants it."""
    head = (f"{row.method} {path} HTTP/1.1", "Host: h", *lines, "", "")
    return "\r\n".join(head).encode()


def test_no_row_is_there_twice():
    """Names tell the rows apart in a report."""
    assert len(TABLE) == len({row.name for row in TABLE})


@pytest.mark.parametrize("how", ["whole", "bytes"])
@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.group}: {row.name[:60]}")
async def test_an_answer_is_relayed_refused_or_cut_as_the_table_says(row, how):
    """Never a byte in doubt, never a part for the whole, never a stranger's answer."""
    few = 1 if len(row.data) <= 5000 else 997
    origin = Origin(row, few if how == "bytes" else 0)
    hand = HandLoop()
    async with stage(script=origin, hand=hand, timeouts=Timeouts()) as s:
        d = s.door
        client = await d.connect()
        await client.send(asking(row, "/public/a"))
        await origin.done.wait()
        await turns(50)
        if row.late:
            hand.advance(100)
            await turns(20)

        assert d.exchanges
        origin.stray.set()
        await turns(40)
        last = asking(row, "/public/last", "Connection: close")
        if not client.writer.transport.is_closing():
            await client.send(last)
        answer = await client.read_all()
        client.writer.close()
        cut = answer.endswith(b"<reset>")
        if cut:
            answer = await d.exchange(last)
        *first, own = told_by(answer, row)

        assert (row.status == CUT) == cut
        assert b"EVIL" not in answer
        assert 200 == own.status
        assert own.body == (b"" if row.method == "HEAD" else b"own")
        for told in first:
            assert row.status == told.status
            assert row.status >= 500 or row.body == told.body
        assert (1 if row.reused else 2) == origin.connections


def told_by(answer: bytes, row: Row):
    """Read the final answers."""
    told = read_responses(answer, bodiless=row.method == "HEAD")
    return [each for each in told if each.status >= 200]
