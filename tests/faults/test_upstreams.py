"""Upstreams that are silent, broken or gone: a whole 5xx, or a visible cut.

Whatever happens, no client takes a part of an answer for the whole (RFC 9112 §8), no
request is sent twice that may not be, and the next request is served.
"""

import asyncio
import itertools
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from tests.faults.proxy import Cut, FaultProxy, faulty, reset
from tests.faults.stage import Stage, configuration, eventually, request, staged
from tests.fronts.house import read_responses

WAIT = 0.4
LATEST = 1.5

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Rude:
    """An upstream that does with every connection what a script says."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.connections = 0
        self.lost = 0
        """Connections that ended."""

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.connections += 1
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await self._script(reader, writer)
        writer.close()
        self.lost += 1


@asynccontextmanager
async def before(rude: Rude, folder: Path) -> AsyncIterator[Stage]:
    """Run a gateway before a rude upstream."""
    server = await asyncio.start_server(rude.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    text = configuration(back=port, provider="http://127.0.0.1:9/", wait=WAIT)
    async with staged(text, folder) as stage:
        yield stage
    await eventually(lambda: rude.lost == rude.connections)
    server.close()


@asynccontextmanager
async def through(
    back_port: int, folder: Path
) -> AsyncIterator[tuple[Stage, FaultProxy]]:
    """Run a gateway that reaches a good upstream over a bad network."""
    async with faulty(back_port) as network:
        text = configuration(
            back=network.port, provider="http://127.0.0.1:9/", wait=WAIT
        )
        async with staged(text, folder) as stage:
            yield stage, network


async def heard(stage: Stage, *content: str) -> tuple[bytes, float]:
    """Ask with GET; give all that comes, and how long it took."""
    client = await stage.connect()
    begun = time.monotonic()
    await client.send(request("GET", "/open/x", "Connection: close", *content))
    data = await client.read_all()
    client.writer.close()
    return data, time.monotonic() - begun


def status(data: bytes) -> int:
    """Give the status of the one whole answer."""
    (told,) = read_responses(data)
    return told.status


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take everything, and say nothing."""
    while await reader.read(65536):
        pass


def saying(part: bytes) -> Script:
    """Say a part of an answer, and nothing more."""

    async def script(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(part)
        await silent(reader, writer)

    return script


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_upstream_that_never_answers(tmp_path, method):
    """504 at its deadline; it is asked once, and let go."""
    rude = Rude(silent)
    async with before(rude, tmp_path) as stage:
        begun = time.monotonic()
        told = await stage.ask(method, "/open/x")

        assert 504 == told.status
        assert WAIT <= time.monotonic() - begun < LATEST
        await eventually(lambda: rude.lost == 1)
        assert 1 == rude.connections


async def test_an_upstream_that_stalls_in_its_head(tmp_path):
    """504: nothing has been said yet."""
    rude = Rude(saying(b"HTTP/1.1 200 OK\r\nContent-Le"))
    async with before(rude, tmp_path) as stage:
        data, seconds = await heard(stage)

        assert 504 == status(data)
        assert WAIT <= seconds < LATEST


@pytest.mark.parametrize(
    "part",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1234",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n1234\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n1234\r\n0\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n1234",
    ],
    ids=["length", "chunked", "last-chunk", "until-close"],
)
async def test_an_upstream_that_stalls_in_its_body(tmp_path, part):
    """A reset: the client must not take a part for the whole."""
    async with before(Rude(saying(part)), tmp_path) as stage:
        data, seconds = await heard(stage)

        assert data.startswith(b"HTTP/1.1 200 ")
        assert data.endswith(b"<reset>")
        assert b"0\r\n\r\n" not in data
        assert WAIT <= seconds < LATEST


async def test_an_upstream_that_takes_no_upload(tmp_path):
    """The client is held back, then hears 504; nothing is kept for it."""

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(LATEST)

    rude = Rude(deaf)
    async with before(rude, tmp_path) as stage:
        client = await stage.connect()
        size = 64 * 1024 * 1024
        head = request("PUT", "/open/x", f"Content-Length: {size}")
        await client.send(head + bytes(size))

        assert (await client.read_head()).startswith(b"HTTP/1.1 504 ")
        client.writer.transport.abort()


ANSWERS = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n1234",
    "chunked": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2\r\n12\r\n2\r\n34\r\n0\r\n\r\n"
    ),
    "interim": (
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n1234"
    ),
}


@pytest.mark.parametrize("cut", [Cut.RESET, Cut.CLOSE])
@pytest.mark.parametrize("framing", ANSWERS)
async def test_an_upstream_that_is_cut_off_after_any_byte(tmp_path, framing, cut):
    """502 where nothing was said yet, a reset where something was; never an end."""
    answer = ANSWERS[framing]

    async def answering(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer[: next(sizes)])
        await writer.drain()
        if cut is Cut.RESET:
            # Else the reset overtakes what was said.
            await asyncio.sleep(0.005)
            reset(writer)

    sizes = itertools.count()
    async with before(Rude(answering), tmp_path) as stage:
        for size in range(len(answer)):
            data, _ = await heard(stage)
            begun = (
                size >= answer.index(b"200 OK")
                and b"\r\n\r\n" in (answer[answer.index(b"200 OK") : size])
            )
            if begun:
                assert data.endswith(b"<reset>"), size
                assert not data.endswith(b"0\r\n\r\n<reset>")
            else:
                *_, told = read_responses(data)
                assert 502 == told.status, size
        data, _ = await heard(stage)
        *_, told = read_responses(data)
        assert (200, b"1234") == (told.status, told.body)


async def test_an_upstream_whose_queue_is_full(tmp_path):
    """Nobody takes the connection: 504 at the connect deadline."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        queued = [socket.socket() for _ in range(4)]
        for each in queued:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
        text = configuration(
            back=port, provider="http://127.0.0.1:9/", wait=5, connect=WAIT
        )
        async with staged(text, tmp_path) as stage:
            data, seconds = await heard(stage)

            assert 504 == status(data)
            assert WAIT <= seconds < LATEST
        for each in queued:
            each.close()


async def test_an_upstream_that_refuses_and_comes_back(tmp_path, back):
    """502 at once; then it is served as if nothing had been."""
    async with through(back.port, tmp_path) as (stage, network):
        network.refuse()
        data, seconds = await heard(stage)
        assert 502 == status(data)
        assert seconds < WAIT

        await network.start()
        # A target that failed may be left alone for a while.
        until = time.monotonic() + 10
        while (await stage.ask("GET", "/open/x")).status != 200:
            assert time.monotonic() < until


async def test_an_upstream_that_restarts_loses_no_request(tmp_path, back):
    """Its kept connections are reset while idle; nobody notices."""
    async with through(back.port, tmp_path) as (stage, network):
        for _ in range(20):
            assert 200 == (await stage.ask("GET", "/open/x")).status
            network.reset_all()
            assert 200 == (await stage.ask("GET", "/open/x")).status


async def test_an_upstream_that_vanished_costs_one_request(tmp_path, back):
    """A kept connection whose far side is gone without a word: 504, then a new one."""
    async with through(back.port, tmp_path) as (stage, network):
        network.cut, network.cut_at = Cut.HALF_OPEN, 400
        statuses = [(await stage.ask("GET", "/open/x")).status]
        while statuses[-1] == 200:
            statuses.append((await stage.ask("GET", "/open/x")).status)
        network.flow()

        assert 504 == statuses[-1]
        assert 200 == (await stage.ask("GET", "/open/x")).status


async def test_an_upload_to_an_upstream_that_is_cut_off(tmp_path, back):
    """502, and the body's rest is not waited for; it is not sent again."""
    async with through(back.port, tmp_path) as (stage, network):
        client = await stage.connect()
        await client.send(request("PUT", "/open/x", "Content-Length: 100") + b"a" * 50)
        await eventually(lambda: back.working)
        network.reset_all()

        assert (await client.read_head()).startswith(b"HTTP/1.1 502 ")
        client.writer.close()
        assert 1 == back.requests


async def test_a_network_of_single_bytes_changes_nothing(tmp_path, back):
    """Neither a slow one."""
    async with through(back.port, tmp_path) as (stage, network):
        network.step, network.latency = 1, 0.001
        told = await stage.ask("GET", "/open/x", token="T-any")

        assert (200, b"0") == (told.status, told.body)


async def test_a_hundred_requests_to_a_silent_upstream(tmp_path, back):
    """Each costs its deadline, and all of them together no more."""
    async with through(back.port, tmp_path) as (stage, network):
        network.stall()
        begun = time.monotonic()
        told = await asyncio.gather(*(stage.ask("GET", "/open/x") for _ in range(100)))

        assert {504} == {each.status for each in told}
        assert time.monotonic() - begun < 2 * LATEST
        network.flow()
        await eventually(lambda: stage.quiet)
        assert 200 == (await stage.ask("GET", "/open/x")).status
