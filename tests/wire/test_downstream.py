"""Proves the client's side at a real socket: framing, bounds, deadlines, endings."""

import asyncio
import functools
from typing import cast

import pytest

from gateway.values import WireLimits
from gateway.wire.deadlines import Deadlines
from gateway.wire.downstream import PIPELINE_LIMIT, Downstream
from gateway.wire.pool import Pool
from tests.wire.harness import (
    HandLoop,
    House,
    PlainFront,
    house,
    repeats,
    replies,
    until,
)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
DENIED = b"GET /deny HTTP/1.1\r\nHost: h\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
POST = b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"
CHUNKED_POST = b"POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def hand():
    """Time, moved by hand."""
    return HandLoop()


def answer_of(size: int) -> bytes:
    """Make a response with a body of so many bytes."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size


async def silent(reader, writer):
    """Read everything, answer nothing."""
    while await reader.read(65536):
        pass


def unwritten(h: House) -> int:
    """Tell how much of an answer the gateway still holds."""
    transport = h.front.only()._transport
    assert transport is not None
    return transport.get_write_buffer_size()


# -------------------------------------------------------------------------- heads


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize(("lines", "status"), [(0, b"200"), (1, b"200"), (2, b"400")])
async def test_one_empty_line_may_precede_a_request(lines, status, step):
    """RFC 9112 §2.2, and the same however it arrives."""
    async with house(repeats(OK)) as h:
        answer = await h.exchange(b"\r\n" * lines + LAST, step=step)

        assert answer.startswith(b"HTTP/1.1 %b " % status)


async def test_an_empty_line_alone_is_no_request(hand):
    """Old clients send one after a body; nobody is told of a time-out for it."""
    async with house(repeats(OK), hand=hand) as h:
        client = await h.connect()
        await client.send(POST % 0 + b"\r\n")
        await client.read_head()
        assert b"hi" == await client.reader.readexactly(2)
        hand.advance(WireLimits().header_timeout + 1)
        assert h.front.connections
        hand.advance(WireLimits().idle_timeout)
        assert b"" == await client.read_all()
        client.writer.close()


LIMITS = WireLimits(target_bytes=100, header_bytes=200, header_count=4)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /" + b"a" * 99 + b" HTTP/1.1\r\nHost: h", b"200"),
        (b"GET /" + b"a" * 200, b"414"),
        (b"GET /" + b"a" * 200 + b" HTTP/1.1\r\nHost: h", b"414"),
        (b"A" * 200, b"414"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 180, b"200"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 200, b"431"),
        (b"GET / HTTP/1.1\r\nHost: h" + b"\r\nX: y" * 3, b"200"),
        (b"GET / HTTP/1.1\r\nHost: h" + b"\r\nX: y" * 4, b"431"),
    ],
)
async def test_a_head_has_bounds(head, status, whole):
    """414 and 431, at the latest when the bound is passed (SECURITY §5)."""
    end = b"\r\nConnection: close\r\n\r\n"
    if status == b"200":
        end = b"\r\n\r\n"
    async with house(replies(OK), limits=LIMITS) as h:
        client = await h.connect()
        await client.send(head + end, step=0 if whole else 1)
        answer = await client.read_head()
        client.writer.close()

        assert answer.startswith(b"HTTP/1.1 %b " % status)


@pytest.mark.parametrize(
    ("start", "status"),
    [
        (b"GET /" + b"a" * 200, b"414"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 200, b"431"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"400"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", b"400"),
        (b"GET / HTTP/1.1\n", b"400"),
        (b"\n", b"400"),
        (b"\x00", b"400"),
        (b"\xff\xfe", b"400"),
    ],
)
async def test_a_beginning_that_can_only_become_bad_is_refused_at_once(start, status):
    """Nobody waits for the end of what is none, or has no bound."""
    async with house(repeats(OK), limits=LIMITS) as h:
        answer = await h.exchange(start)

        assert answer.startswith(b"HTTP/1.1 %b " % status)
        assert b"connection: close\r\n" in answer
        assert [] == h.upstream.received


@pytest.mark.parametrize(
    "head",
    [
        b"HEAD / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"HEAD /deny HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        b"\r\nHEAD / HTTP/1.1\r\n\r\n",
    ],
)
async def test_a_refused_head_request_gets_no_body(head):
    """RFC 9110 §9.3.2 knows no exception; the length is that of the body not sent."""
    async with house(repeats(OK)) as h:
        answer = await h.exchange(head)

        assert b"content-length: 2\r\n" in answer
        assert answer.endswith(b"\r\n\r\n")


async def test_nothing_after_a_refused_message_is_believed():
    """Any doubt about framing ends the connection (RFC 9112 §2.2)."""
    async with house(repeats(OK)) as h:
        answer = await h.exchange(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + GET)

        assert 1 == answer.count(b"HTTP/1.1 ")
        assert [] == h.upstream.received


# ---------------------------------------------------------------------- deadlines


async def test_a_head_has_one_deadline_not_one_per_byte(hand):
    """Slowloris: dripping buys no time (SECURITY §5)."""
    async with house(repeats(OK), hand=hand) as h:
        client = await h.connect()
        for at in range(5):
            await client.send(GET[at : at + 1])
            await until(functools.partial(_holds, h, GET[: at + 1]))
            hand.advance(2.4)
        answer = await client.read_all()
        client.writer.close()

        assert answer.startswith(b"HTTP/1.1 408 ")


def _buffer(h: House) -> bytes:
    return b"".join(each._buffer for each in h.front.connections)


def _holds(h: House, data: bytes) -> bool:
    return _buffer(h) == data


async def test_who_says_nothing_is_let_go_silently(hand):
    """Neither a new connection nor an idle one has a message to be answered."""
    async with house(repeats(OK), hand=hand) as h:
        new, used = await h.connect(), await h.connect()
        await used.send(GET)
        await used.read_head()
        await used.reader.readexactly(2)
        hand.advance(10.5)
        assert b"" == await new.read_all()
        assert 1 == len(h.front.connections)
        hand.advance(65)
        assert b"" == await used.read_all()
        for client in (new, used):
            client.writer.close()


async def test_a_body_must_move_but_may_be_slow(hand):
    """The deadline of a body is counted from its last byte."""
    async with house(silent, hand=hand) as h:
        client = await h.connect()
        await client.send(POST % 10)
        for count in range(4):
            await client.send(b"x")
            await until(functools.partial(_has_arrived, h, b"x" * (count + 1)))
            hand.advance(20)
        hand.advance(20)
        answer = await client.read_all()
        client.writer.close()

        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close\r\n" in answer


@pytest.mark.parametrize(
    ("head", "piece"),
    [(POST % 1000, b"x" * 10), (CHUNKED_POST, b"a\r\n" + b"x" * 10 + b"\r\n")],
)
async def test_a_body_has_a_rate_once_it_had_its_time(hand, head, piece):
    """Ten bytes in ten seconds, of ten a second: the first half a minute is free."""
    async with house(silent, hand=hand) as h:
        h.front.body_rate = 10
        client = await h.connect()
        await client.send(head)
        for count in range(4):
            await client.send(piece)
            await until(functools.partial(_has_arrived, h, b"x" * 10, count + 1))
            hand.advance(9)
        # 36 seconds, and 30 are free: 40 bytes were four seconds' worth.
        await client.send(piece)
        answer = await client.read_all()
        client.writer.close()

        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close\r\n" in answer
        assert 4 == _arrived(h).count(b"x" * 10)


async def test_a_body_that_keeps_its_rate_goes_on(hand):
    """However long it is, and in pieces as seldom as `body_timeout` allows."""
    async with house(silent, hand=hand) as h:
        h.front.body_rate = 10
        client = await h.connect()
        await client.send(POST % 3000)
        for count in range(10):
            await client.send(b"x" * 290)
            await until(functools.partial(_has_arrived, h, b"x" * 290, count + 1))
            hand.advance(28.5)
        assert 1 == len(h.front.connections)
        client.writer.close()


async def test_time_in_which_the_upstream_is_slow_is_not_the_clients(hand):
    """Nothing was read of him then."""
    async with house(silent, hand=hand) as h:
        h.front.body_rate = 10
        client = await h.connect()
        await client.send(POST % 1000 + b"x")
        await until(functools.partial(_has_arrived, h, b"x"))
        connection = h.front.only()
        for _ in range(2):
            connection.pause_body()
            hand.advance(100)
        connection.resume_body()
        await client.send(b"x" * 10)
        await until(functools.partial(_has_arrived, h, b"x" * 10))
        hand.advance(29)
        await client.send(b"y" * 10)
        await until(functools.partial(_has_arrived, h, b"y" * 10))
        hand.advance(29)
        await client.send(b"z")

        assert (await client.read_all()).startswith(b"HTTP/1.1 408 ")
        client.writer.close()


def _arrived(h: House) -> bytes:
    return b"".join(h.upstream.received)


def _has_arrived(h: House, data: bytes, times: int = 1) -> bool:
    return _arrived(h).count(data) >= times


async def test_a_client_that_reads_nothing_is_cut(hand):
    """A stalled reader holds memory and an upstream connection."""
    async with house(repeats(answer_of(2_000_000)), hand=hand) as h:
        client = await h.connect_narrow()
        await client.send(GET)
        await until(lambda: unwritten(h) > PIPELINE_LIMIT)
        hand.advance(29)
        assert h.front.connections
        hand.advance(2)
        await until(lambda: not h.front.connections)
        client.writer.transport.abort()

        assert ["client gone"] == [relay.failure for relay in h.front.done]


async def test_a_client_that_reads_slowly_is_served(hand):
    """The deadline is for progress, not for the whole."""
    async with house(repeats(answer_of(600_000)), hand=hand) as h:
        client = await h.connect_narrow()
        await client.send(LAST)
        await until(lambda: unwritten(h) > PIPELINE_LIMIT)
        body = b""
        client.read_on()
        while len(body) < 600_000:
            left = _left(h)
            async with asyncio.timeout(5):
                while (piece := await client.reader.read(4096)) and _left(h) == left:
                    body += piece
            body += piece
            if not piece:
                break
            hand.advance(29)

        assert 600_000 <= len(body) < 601_000
        client.writer.close()


def _left(h: House) -> int:
    transports = (each._transport for each in h.front.connections)
    return sum(each.get_write_buffer_size() for each in transports if each is not None)


async def test_the_end_of_the_last_answer_is_not_cut_off(hand):
    """Lingering begins when the answer is out, not when it is written."""
    async with house(repeats(answer_of(100_000)), hand=hand) as h:
        client = await h.connect_narrow()
        await client.send(LAST)
        await until(lambda: "linger" in repr(h.front.only()))
        assert unwritten(h)
        hand.advance(10)
        client.read_on()
        answer = await client.read_all()
        client.writer.close()

        assert answer.endswith(b"x" * 100_000)
        assert b"<reset>" not in answer


async def test_a_client_that_never_reads_its_last_answer_is_cut(hand):
    """Lingering has an end."""
    async with house(repeats(answer_of(100_000)), hand=hand) as h:
        client = await h.connect_narrow()
        await client.send(LAST)
        await until(lambda: "linger" in repr(h.front.only()))
        hand.advance(31)
        await until(lambda: not h.front.connections)
        client.writer.transport.abort()


async def test_an_idle_client_that_reads_nothing_is_cut(hand):
    """Closing waits for what is written, but not for ever."""
    async with house(repeats(answer_of(50_000)), hand=hand) as h:
        client = await h.connect_narrow()
        await client.send(GET)
        await until(lambda: h.front.done)
        assert 0 < unwritten(h) < PIPELINE_LIMIT
        hand.advance(76)
        assert "closed" in repr(h.front.only())
        hand.advance(31)
        await until(lambda: not h.front.connections)
        client.writer.transport.abort()


async def test_a_refused_client_that_goes_on_sending_is_let_go(hand):
    """It may read our answer first, within bounds of time and size."""
    async with house(repeats(OK), hand=hand) as h:
        for surplus, seconds in ((b"x" * 1000, 2.5), (b"x" * 2_000_000, 0)):
            client = await h.connect()
            await client.send(b"BAD\r\n\r\n")
            head = await client.read_head()
            assert head.startswith(b"HTTP/1.1 400 ")
            assert h.front.connections
            await client.send(surplus)
            if seconds:
                await until(lambda: h.front.only().received == 1000)
                hand.advance(seconds)
            await until(lambda: not h.front.connections)
            client.writer.transport.abort()


async def test_after_a_pause_a_body_has_its_deadline_again(hand):
    """A client that reads its early answer must go on with its body."""

    async def early(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer_of(2_000_000)[:-1])
        await reader.read()

    async with house(early, hand=hand) as h:
        client = await h.connect_narrow()
        await client.send(POST % 10)
        await until(lambda: unwritten(h) > PIPELINE_LIMIT)
        client.read_on()
        async with asyncio.timeout(5):
            await client.reader.readuntil(b"\r\n\r\n")
            await client.reader.readexactly(1_999_999)
        hand.advance(31)
        end = await client.read_all()
        client.writer.close()

        assert b"<reset>" == end


# ----------------------------------------------------------------------- pipelining


async def test_requests_that_wait_are_held_within_bounds():
    """A thousand requests behind a slow one cost a buffer, and all are answered."""
    release = asyncio.Event()

    async def script(reader, writer):
        while True:
            await reader.readuntil(b"\r\n\r\n")
            await release.wait()
            writer.write(OK)

    count = 20_000
    async with house(script) as h:
        client = await h.connect()
        await client.send(GET + DENIED * count + LAST)
        await until(lambda: len(_buffer(h)) > PIPELINE_LIMIT)
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(_buffer(h)) < PIPELINE_LIMIT + 512 * 1024
        release.set()
        answer = await client.read_all()
        client.writer.close()

        assert count == answer.count(b"HTTP/1.1 401 ")
        assert 2 == answer.count(b"HTTP/1.1 200 ")


async def test_a_client_that_reads_no_answers_is_not_asked_for_more():
    """Unread answers stop the reading of requests (SECURITY §1 G)."""
    async with house(repeats(OK)) as h:
        client = await h.connect_narrow()
        await client.send(DENIED * 200_000)
        await until(lambda: len(_buffer(h)) > PIPELINE_LIMIT)
        for _ in range(200):
            await asyncio.sleep(0)
        assert len(_buffer(h)) < PIPELINE_LIMIT + 512 * 1024
        client.read_on()
        async with asyncio.timeout(20):
            answers = await client.reader.readexactly(400_000)
        client.writer.transport.abort()

        assert answers.count(b"HTTP/1.1 401 ") > 4_000


# --------------------------------------------------------------------------- bodies


async def test_nobody_is_told_to_continue_who_already_has():
    """RFC 9110 §10.1.1: no 100 when the body is there."""

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(3)
        writer.write(OK)

    async with house(script) as h:
        answer = await h.exchange(
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n"
            b"Connection: close\r\n\r\nabc"
        )

        assert answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"5\r\nhello0\r\n\r\n", b"400"),
        (b"g\r\n", b"400"),
        (b"5\nhello\r\n0\r\n\r\n", b"400"),
        (b"3\r\nabc\r\n8\r\n" + b"x" * 8 + b"\r\n0\r\n\r\n", b"413"),
    ],
)
@pytest.mark.parametrize("step", [0, 1])
async def test_a_broken_body_is_an_answer_and_the_end(body, status, step):
    """The upstream never hears the end of a request that has none."""
    async with house(silent) as h:
        h.front.body_limit = 10
        answer = await h.exchange(
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
            + body
            + GET,
            step=step,
        )
        await until(lambda: not h.front.pool._open)

        assert answer.startswith(b"HTTP/1.1 %b " % status)
        assert 1 == answer.count(b"HTTP/1.1 ")
        assert not _arrived(h).endswith(b"0\r\n\r\n")


async def test_http10_hears_no_interim_responses():
    """RFC 9110 §15.2."""
    async with house(repeats(b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK)) as h:
        answer = await h.exchange(b"GET / HTTP/1.0\r\n\r\n")

        assert answer.startswith(b"HTTP/1.1 200 ")


# -------------------------------------------------------------------------- endings


async def test_a_connection_too_many_is_reset():
    """The front has the last word on who comes in."""
    async with house(repeats(OK)) as h:
        h.front.connection_limit = 0
        client = await h.connect()
        answer = await client.read_all()
        client.writer.close()

        assert answer in (b"<reset>", b"")
        assert not h.front.connections


async def test_draining_closes_what_is_idle_and_ends_what_is_not():
    """Idle connections close now, busy ones say so in their next answer."""
    release = asyncio.Event()

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        await release.wait()
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await reader.read()

    async with house(script) as h:
        idle, busy, late = await h.connect(), await h.connect(), await h.connect()
        await busy.send(GET + GET)
        await until(lambda: h.upstream.received and len(h.front.connections) == 3)
        await late.send(b"DELETE /la")
        await until(lambda: b"DELETE /la" in _buffer(h))
        for connection in list(h.front.connections):
            connection.close_when_idle()
        assert b"" == await idle.read_all()
        release.set()
        await late.send(b"te HTTP/1.1\r\nHost: h\r\n\r\n")
        answers = [await busy.read_all(), await late.read_all()]
        for client in (idle, busy, late):
            client.writer.close()

        expected = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n"
        assert [expected, expected] == answers


async def test_a_tunnel_that_ends_delivers_its_last_bytes():
    """What the upstream said before it left still arrives, however slowly."""

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"
            + b"x" * 60_000
        )
        await writer.drain()
        writer.close()

    async with house(script) as h:
        client = await h.connect_narrow()
        await client.send(
            b"GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\n"
            b"Upgrade: websocket\r\n\r\n"
        )
        transport = h.front.only()._transport
        assert transport is not None
        await until(transport.get_write_buffer_size)
        client.read_on()
        answer = await client.read_all()
        client.writer.close()

        assert answer.endswith(b"x" * 60_000)


async def test_a_tunnel_whose_client_reads_nothing_is_cut(hand):
    """A stalled tunnel is a stalled response."""

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"
            + b"x" * 2_000_000
        )
        await reader.read()

    async with house(script, hand=hand) as h:
        client = await h.connect_narrow()
        await client.send(
            b"GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\n"
            b"Upgrade: websocket\r\n\r\n"
        )
        await until(lambda: unwritten(h) > PIPELINE_LIMIT)
        hand.advance(31)
        await until(lambda: not h.front.connections)
        client.writer.transport.abort()


async def test_a_client_at_a_unix_socket_has_no_address(tmp_path):
    """Such a peer is called `unix`."""
    loop = asyncio.get_running_loop()
    async with house(repeats(OK)) as h:
        pool: Pool = h.front.pool
        front = PlainFront(pool, loop)
        deadlines = Deadlines(loop)
        server = await loop.create_unix_server(
            lambda: cast(
                "asyncio.Protocol", Downstream(front, WireLimits(), deadlines)
            ),
            tmp_path / "s",
        )
        _, writer = await asyncio.open_unix_connection(tmp_path / "s")
        await until(lambda: front.connections)
        connection = front.only()

        assert "unix" == connection.peer
        assert "<Downstream unix: head>" == repr(connection)
        assert not connection.begun
        assert not connection.gone

        writer.close()
        await until(lambda: not front.connections)
        server.close()
        assert connection.gone
        connection.abort()


async def test_a_pause_for_the_last_of_a_body_ends_with_the_answer():
    """An upstream may answer before it has taken all: the next request is read."""
    asked = asyncio.Event()

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\nhi")
        await asked.wait()
        writer.write(OK)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)

    async with house(script) as h:
        client = await h.connect()
        await client.send(POST % 2 + b"hi")
        await until(lambda: h.upstream.received)
        # As the upstream's full buffer would have it; who empties it tells nobody now.
        h.front.only().pause_body()
        asked.set()
        await client.reader.readuntil(b"\r\n\r\nhi")
        await client.send(LAST)

        assert (await client.reader.read()).endswith(b"\r\n\r\nhi")
        client.writer.close()
