"""Connections that break at every single byte of a conversation, gently and not."""

import asyncio
import socket
import struct
from typing import Final

import pytest

from gateway.values import Timeouts
from tests.attacks.stage import stage
from tests.fronts.house import OK, read_responses, request
from tests.wire.harness import turns, until

RESET: Final = struct.pack("ii", 1, 0)

ANSWERS: Final = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    "hinted": b"HTTP/1.1 103 E\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    "bodiless": b"HTTP/1.1 204 No Content\r\n\r\n",
}
REQUESTS: Final = {
    "get": request("GET /api/a", token="SECRETr"),
    "length": request("POST /public/a", body=b"hello"),
    "chunked": request("POST /public/a", "Transfer-Encoding: chunked")
    + b"5\r\nhello\r\n0\r\nT: x\r\n\r\n",
    "form": request(
        "POST /oauth/token",
        "Content-Type: application/x-www-form-urlencoded",
        "Authorization: Basic YTpi",
        body=b"grant_type=client_credentials",
    ),
}


ASK: Final = request("GET /public/a")


def end(writer: asyncio.StreamWriter, how: str) -> None:
    """End a connection: with FIN, or with RST."""
    if how == "reset":
        wire = writer.transport.get_extra_info("socket")
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        writer.transport.abort()
    else:
        writer.close()


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("kind", ANSWERS)
async def test_an_answer_that_breaks_off_never_looks_whole(kind, how):
    """A 502 while nothing was said, else a cut; the next client is served well."""
    answer = ANSWERS[kind]
    part: int | None = None

    async def script(reader, writer):
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer[:part])
            if part is not None:
                await writer.drain()
                await turns(5)
                end(writer, how)
                return

    async with stage(script=script) as s:
        for cut in range(len(answer)):
            part = cut
            got = await s.door.exchange(request("POST /public/a", body=b""))
            if not got.endswith(b"<reset>"):
                *_, told = read_responses(got)
                assert 502 == told.status
            part = None
            *_, told = read_responses(
                await s.door.exchange(request("POST /public/a", body=b""))
            )
            assert told.status in (200, 204)


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("kind", REQUESTS)
async def test_a_request_that_breaks_off_never_looks_whole(kind, how):
    """The upstream hears no end of it, and nothing of it is left behind."""
    data = REQUESTS[kind]
    async with stage() as s:
        d = s.door
        for cut in range(len(data)):
            client = await d.connect()
            await client.send(data[:cut])
            await turns(12)
            end(client.writer, how)
        await until(lambda: not len(d.front) and not d.reception.in_flight)

        assert [] == d.upstream.requests
        assert all(each.status in (400, 499) for each in d.exchanges)
        assert 200 == (await d.ask("GET /public/a")).status


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_an_upload_the_upstream_breaks_off_is_never_sent_again(how):
    """RFC 9110 §9.2.2: whatever it read, it may have acted upon."""
    read = 0
    asked = 0

    async def script(reader, writer):
        nonlocal asked
        asked += 1
        await reader.readexactly(read)
        end(writer, how)

    async with stage(script=script) as s:
        for count in range(0, 200, 9):
            read, before = count, asked
            got = await s.door.exchange(REQUESTS["length"])
            *_, told = read_responses(got)

            assert 502 == told.status
            assert before + 1 == asked


async def test_a_reset_at_any_moment_is_nobodys_fault():
    """Even while the last bytes of its answer are on their way."""

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhi")
        await writer.drain()
        await turns()
        writer.close()

    async with stage(script=script) as s:
        for count in range(30):
            client = await s.door.connect()
            await client.send(ASK)
            await turns(count)
            client.writer.transport.abort()
        await until(lambda: not len(s.door.front) and not s.door.reception.in_flight)


@pytest.mark.parametrize("heard", [b"", b"H", b"HTTP/1.1 2", b"HTTP/1.1 103 E\r\n\r\n"])
async def test_a_request_is_sent_again_only_if_nothing_was_heard(heard):
    """One retry on a kept connection that turns out to be closed, and none else."""
    asked = 0

    async def script(reader, writer):
        nonlocal asked
        while True:
            await reader.readuntil(b"\r\n\r\n")
            asked += 1
            if asked == 2:
                writer.write(heard)
                await writer.drain()
                await turns(10)
                writer.close()
                return
            writer.write(OK)

    async with stage(script=script, timeouts=Timeouts()) as s:
        assert 200 == (await s.door.ask("GET /public/a")).status
        told = await s.door.ask("GET /public/a")

        assert (502 if heard else 200) == told.status
        assert (2 if heard else 3) == asked
