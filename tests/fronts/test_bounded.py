import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from gateway.fronts.bounded import STRANGERS, BoundedSite

REQUEST = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


async def _answer(_request: web.Request) -> web.Response:
    return web.Response(text="here")


async def _break(_request: web.Request) -> web.Response:
    raise ValueError("a fault of ours")


@asynccontextmanager
async def opened(**bounds: Any) -> AsyncIterator[int]:
    """Open a listener; gives its port."""
    app = web.Application()
    app.add_routes([web.get("/", _answer), web.get("/broken", _break)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    door = socket.create_server(("127.0.0.1", 0))
    await BoundedSite(runner, door, **bounds).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def heard(port: int, *pieces: bytes) -> bytes:
    """Say something, a piece each 20 ms, and read to the end of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0.02)
        async with asyncio.timeout(5):
            return await reader.read()
    finally:
        writer.close()


async def test_strangers_take_no_room_from_those_who_may_ask():
    """They are told so, a few at a time; the next is not even heard."""
    known = {"127.0.0.1": True}
    async with (
        opened(connections=2, knows=lambda peer: known.get(peer, False)) as port,
        contextlib.AsyncExitStack() as stack,
    ):

        async def come() -> asyncio.StreamReader:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            stack.callback(writer.close)
            writer.write(REQUEST)
            return reader

        friends = [await come() for _ in range(2)]
        for friend in friends:
            assert b"200 OK" in await friend.readuntil(b"\r\n\r\nhere")
        known.clear()
        strangers = [await come() for _ in range(STRANGERS)]
        for stranger in strangers:
            assert b"200 OK" in await stranger.readuntil(b"\r\n\r\nhere")
        one_more = await come()
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionResetError):
                assert b"" == await one_more.read()
        assert not any(each.at_eof() for each in [*friends, *strangers])


async def test_it_serves_as_ever():
    """One request after the other on a connection."""
    async with opened() as port:
        told = await heard(
            port,
            REQUEST,
            REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
        )

    assert 2 == told.count(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize(
    "message",
    [
        b"GET / HTTP/1.1\r\nAuthorization: Bearer S3CRET\x01\r\n\r\n",
        b"GET /?access_token=S3CRET HTTP/9\r\n\r\n",
        b"S3CRET\r\n\r\n",
    ],
)
async def test_what_cannot_be_read_is_not_repeated(message, caplog):
    """Neither to the sender nor in a log: it may hold a token."""
    async with opened() as port:
        told = await heard(port, message)

    assert b" 400 Bad Request\r\n" == told[8:26]
    assert told.endswith(b"\r\n\r\nbad request\n")
    assert b"S3CRET" not in told
    assert "S3CRET" not in caplog.text


async def test_a_fault_of_ours_is_still_a_500():
    """Only what aiohttp says of messages is silenced."""
    async with opened() as port:
        told = await heard(
            port, b"GET /broken HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
        )

    assert told.startswith(b"HTTP/1.1 500 ")
    assert b"a fault of ours" not in told


@pytest.mark.parametrize(
    "pieces",
    [(), (b"GET / HT",), (b"GET / HTTP/1.1\r\n", *[b"a: b\r\n"] * 20), (REQUEST,)],
)
async def test_a_head_has_a_deadline(pieces):
    """From the first moment on, and again after every answer; drops do not help."""
    async with opened(head_seconds=0.2) as port:
        begun = asyncio.get_running_loop().time()
        with contextlib.suppress(ConnectionError):
            await heard(port, *pieces)

        assert asyncio.get_running_loop().time() - begun < 2


async def test_one_too_many_takes_the_place_of_the_oldest():
    """Whoever fills the place up keeps no probe out."""
    async with opened(connections=3) as port, contextlib.AsyncExitStack() as stack:
        lines = []
        for _ in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            stack.callback(writer.close)
            writer.write(REQUEST)
            await reader.readuntil(b"here")
            lines.append((reader, writer))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        stack.callback(writer.close)
        writer.write(REQUEST)
        async with asyncio.timeout(5):
            await reader.readuntil(b"here")

            with contextlib.suppress(ConnectionError):
                assert b"" == await lines[0][0].read()
        for reader, writer in lines[1:]:
            writer.write(REQUEST)
            async with asyncio.timeout(5):
                await reader.readuntil(b"here")
