"""Clients that are slow, silent or vanished cost their deadline, and nobody else.

Deadlines are 0.4 s here and are looked at every 0.25 s.
"""

import asyncio
import socket
import time
from contextlib import suppress

import pytest

from tests.faults.proxy import Cut, faulty
from tests.faults.stage import Stage, configuration, eventually, request, staged
from tests.fronts.house import read_responses
from tests.wire.harness import Client

WAIT = 0.4
LATEST = 1.5
"""By when a deadline must have been acted on, on a busy machine."""


@pytest.fixture
async def stage(tmp_path, back, provider):
    """A gateway with little patience."""
    text = configuration(back=back.port, provider=provider.url, wait=WAIT)
    text += """
  - {id: steady, match: {path: "/steady/**"}, access: public, upstream: back, body_rate: 100B}
limits: {body_rate: 0B}
"""
    async with staged(text, tmp_path) as stage:
        yield stage


async def heard(client: Client) -> tuple[bytes, float]:
    """Give what the client hears to the end, and how long that took."""
    begun = time.monotonic()
    data = await client.read_all()
    client.writer.close()
    return data, time.monotonic() - begun


async def drip(client: Client, data: bytes, pause: float) -> None:
    """Send byte by byte, as long as somebody takes them."""
    with suppress(ConnectionError, RuntimeError):
        for at in range(len(data)):
            client.writer.write(data[at : at + 1])
            await asyncio.sleep(pause)


async def test_a_head_that_drips_in_has_one_deadline(stage):
    """Not one for each byte: 408, and the connection is closed."""
    client = await stage.connect()
    raw = request("GET", "/open/x", "A: " + "b" * 100)
    dripping = asyncio.gather(drip(client, raw, 0.02))

    data, seconds = await heard(client)

    (told,) = read_responses(data)
    assert 408 == told.status
    assert WAIT <= seconds < LATEST
    await dripping


async def test_a_client_that_says_nothing_is_let_go(stage):
    """It asked nothing, so it is told nothing."""
    data, seconds = await heard(await stage.connect())

    assert b"" == data
    assert WAIT <= seconds < LATEST


async def test_an_idle_client_is_let_go(stage):
    """After its answer, without a word."""
    client = await stage.connect()
    await client.send(request("GET", "/open/x"))

    data, seconds = await heard(client)

    (told,) = read_responses(data)
    assert 200 == told.status
    assert WAIT <= seconds < LATEST


@pytest.mark.parametrize("line", ["Content-Length: 9", "Transfer-Encoding: chunked"])
async def test_a_body_that_stops_ends_the_request(stage, back, line):
    """408, the upstream's work ends, and the connection is closed."""
    client = await stage.connect()
    await client.send(request("PUT", "/open/x", line) + b"4\r\n1")

    data, seconds = await heard(client)

    (told,) = read_responses(data)
    assert 408 == told.status
    assert WAIT <= seconds < LATEST
    await eventually(lambda: not back.working)


async def test_a_body_that_moves_is_waited_for(stage):
    """The deadline is for progress, not for the whole."""
    client = await stage.connect()
    await client.send(request("PUT", "/open/x", "Content-Length: 10"))
    await drip(client, b"0123456789", WAIT / 4)

    assert (await client.read_head()).startswith(b"HTTP/1.1 200 ")
    assert b"10" == await client.reader.readexactly(2)
    client.writer.close()


@pytest.mark.parametrize("line", ["Content-Length: 99", "Transfer-Encoding: chunked"])
async def test_a_body_that_drips_is_ended_where_a_rate_is_asked_for(stage, back, line):
    """408 after its first free time, however steadily it moves."""
    client = await stage.connect()
    await client.send(request("PUT", "/steady/x", line))
    begun = time.monotonic()
    dripping = asyncio.gather(drip(client, b"1\r\na\r\n" * 30, WAIT / 10))

    data, seconds = await heard(client)

    (told,) = read_responses(data)
    assert 408 == told.status
    assert WAIT <= seconds < time.monotonic() - begun + LATEST
    await dripping
    await eventually(lambda: not back.working)


async def narrow(stage: Stage) -> socket.socket:
    """Connect a client with little room, so that its pace is soon felt."""
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    line.setblocking(False)
    await asyncio.get_running_loop().sock_connect(line, ("127.0.0.1", stage.port))
    await eventually(lambda: len(stage.app.front))
    (connection,) = stage.app.front._connections
    assert connection._transport is not None
    server_side = connection._transport.get_extra_info("socket")
    server_side.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    return line


def drain(line: socket.socket) -> None:
    """Read what there is, to the end."""
    while line.recv(65536):
        pass


async def test_a_client_that_does_not_read_is_cut(stage, back):
    """With a reset, since it has not the whole; the upstream is released."""
    with await narrow(stage) as line:
        line.send(request("GET", "/open/bulk/2048"))
        await eventually(lambda: back.working)
        begun = time.monotonic()

        await eventually(lambda: not stage.app.front)

        assert WAIT <= time.monotonic() - begun < LATEST
        await eventually(lambda: not back.working)
        with pytest.raises(ConnectionResetError):
            drain(line)


async def at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with all of a quarter of a megabyte, in small chunks, in one go."""
    with suppress(ConnectionError, asyncio.IncompleteReadError):
        await reader.readuntil(b"\r\n\r\n")
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        chunk = b"400\r\n" + bytes(1024) + b"\r\n"
        writer.write(head + 256 * chunk + b"0\r\n\r\n")
        await reader.read()
    writer.close()


async def test_a_client_that_reads_slowly_is_served(tmp_path, provider):
    """As long as it reads: here four times as long as the deadline."""
    loop = asyncio.get_running_loop()
    server = await asyncio.start_server(at_once, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    text = configuration(back=port, provider=provider.url, wait=WAIT)
    async with staged(text, tmp_path) as stage:
        with await narrow(stage) as line:
            line.send(request("GET", "/open/x", "Connection: close"))
            received, until = b"", time.monotonic() + 4 * WAIT
            while piece := await loop.sock_recv(line, 4096):
                received += piece
                if time.monotonic() < until:
                    await asyncio.sleep(WAIT / 10)

            assert received.endswith(b"\r\n0\r\n\r\n")
    server.close()


@pytest.mark.parametrize(
    "raw",
    [
        request("PUT", "/open/x", "Content-Length: 9") + b"1",
        request("GET", "/open/bulk/2048"),
        request("GET", "/open/x"),
        b"GET /open/x HTTP/1.1\r\nHo",
    ],
    ids=["upload", "download", "idle", "head"],
)
async def test_a_client_that_vanished_costs_a_deadline(stage, back, raw):
    """The gateway hears nothing of it: neither an end nor a reset."""
    async with faulty(stage.port) as network:
        line = await asyncio.open_connection("127.0.0.1", network.port)
        line[1].write(raw)
        network.stall()
        await eventually(lambda: len(stage.app.front))

        await eventually(lambda: stage.quiet, within=2 * LATEST)

        await eventually(lambda: not back.working)
        line[1].close()


async def test_a_network_of_single_bytes_changes_nothing(stage):
    """Neither in the request nor in the answer."""
    async with faulty(stage.port) as network:
        network.step = 1
        client = Client(*await asyncio.open_connection("127.0.0.1", network.port))
        head = request("PUT", "/open/x", "Connection: close", "Content-Length: 20")
        await client.send(head + b"a" * 20)

        (told,) = read_responses(await client.read_all())

        assert (200, b"20") == (told.status, told.body)
        client.writer.close()


async def test_the_slow_do_not_slow_the_others(stage):
    """A hundred that drip, and everybody else is answered at once."""
    crowd = [await stage.connect() for _ in range(100)]
    raw = request("GET", "/open/x", "A: " + "b" * 100)
    slow = asyncio.gather(*(drip(each, raw, 0.02) for each in crowd))
    times = []
    while not slow.done():
        begun = time.monotonic()
        assert 200 == (await stage.ask("GET", "/open/x")).status
        times.append(time.monotonic() - begun)

    assert len(times) > 20
    assert sorted(times)[len(times) * 9 // 10] < 0.1
    for each in crowd:
        each.writer.close()


@pytest.mark.parametrize("cut", [Cut.RESET, Cut.CLOSE])
async def test_a_client_that_is_cut_off_in_its_answer(stage, back, cut):
    """The rest is not produced."""
    async with faulty(stage.port) as network:
        network.cut, network.cut_at = cut, 100_000
        client = Client(*await asyncio.open_connection("127.0.0.1", network.port))
        await client.send(request("GET", "/open/bulk/2048"))

        assert len(await client.read_all()) <= 100_000 + len("<reset>")

        await eventually(lambda: not back.working)
        client.writer.close()
