"""Proves the origin's side at a real socket: one exchange at a time, nothing stray."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest

from gateway.errors import MessageError, UpstreamUnavailable
from gateway.values import Timeouts
from gateway.wire.deadlines import NEVER
from gateway.wire.heads import ResponseHead
from gateway.wire.upstream import HEAD_LIMIT, UpstreamConnection
from tests.wire.harness import (
    HandLoop,
    Script,
    Upstream,
    repeats,
    replies,
    turns,
    until,
)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n"


class Listener:
    """Writes down what it hears; `doubts` makes it refuse bodies."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.received = b""
        self.error: Exception | None = None
        self.doubts = False

    def interim(self, head: ResponseHead) -> None:
        self.told.append(head.status)

    def response(self, head: ResponseHead) -> None:
        self.told.append(head.status)

    def body(self, data: bytes) -> None:
        if self.doubts:
            msg = "not this"
            raise MessageError(msg)
        self.received += data

    def half_end(self) -> None:
        self.told.append("half-end")

    def end(self) -> None:
        self.told.append("end")

    def failed(self, error: Exception) -> None:
        self.told.append("failed")
        self.error = error

    def flush(self) -> None:
        pass

    def pause_request(self) -> None:
        self.told.append("pause")

    def resume_request(self) -> None:
        self.told.append("resume")

    @property
    def over(self) -> bool:
        return bool({"end", "failed"} & set(self.told))


class Keeper:
    """Keeps what is given back."""

    def __init__(self) -> None:
        self.kept: list[UpstreamConnection] = []
        self.lost = 0

    def give_back(self, connection: UpstreamConnection) -> None:
        self.kept.append(connection)

    def gone(self, connection: UpstreamConnection) -> None:
        self.lost += 1


class Line:
    """A connection to a scripted origin, and all that looks after it."""

    def __init__(
        self, connection: UpstreamConnection, keeper: Keeper, hand: HandLoop
    ) -> None:
        self.connection = connection
        self.keeper = keeper
        self.hand = hand

    def ask(
        self, *, method: str = "GET", head: bytes = GET, whole: bool = True
    ) -> Listener:
        """Begin an exchange."""
        listener = Listener()
        timeouts = Timeouts(first_byte=30, idle=60)
        self.connection.begin(listener, method, head, timeouts, whole=whole)
        return listener

    async def answered(self, **question) -> Listener:
        """Begin an exchange and wait for its end."""
        listener = self.ask(**question)
        await until(lambda: listener.over)
        return listener


@asynccontextmanager
async def line(script: Script) -> AsyncIterator[Line]:
    """Connect to an origin that follows a script."""
    loop = asyncio.get_running_loop()
    upstream = Upstream(script)
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
    keeper, hand = Keeper(), HandLoop()
    deadlines = hand.deadlines()
    connection = UpstreamConnection(keeper, deadlines, 7)
    await loop.create_connection(
        lambda: cast("asyncio.Protocol", connection),
        "127.0.0.1",
        server.sockets[0].getsockname()[1],
    )
    try:
        yield Line(connection, keeper, hand)
    finally:
        connection.drop()
        await until(lambda: keeper.lost)
        upstream.close()
        server.close()
        await turns()


# ----------------------------------------------------------------------- endings


@pytest.mark.parametrize(
    ("answer", "told", "body"),
    [
        (OK, [200, "end"], b"hi"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", [204, "end"], b""),
        (CHUNKED + b"2\r\nhi\r\n1;x\r\n!\r\n0\r\nT: 1\r\n\r\n", [200, "end"], b"hi!"),
        (
            b"HTTP/1.1 103 E\r\n\r\nHTTP/1.1 102 P\r\n\r\n" + OK,
            [103, 102, 200, "end"],
            b"hi",
        ),
    ],
)
async def test_a_response_whose_end_is_certain_gives_the_connection_back(
    answer, told, body
):
    """Twice over one connection, with nothing left of the first."""
    async with line(repeats(answer)) as origin:
        first = await origin.answered()
        second = await origin.answered()

        assert told == first.told == second.told
        assert body == first.received == second.received
        assert [origin.connection] * 2 == origin.keeper.kept
        assert 2 == origin.connection.served
        assert origin.connection.alive


@pytest.mark.parametrize("piece", [1, 7])
async def test_a_response_may_come_in_pieces(piece):
    """Heads, chunks and ends are found wherever they are cut."""
    answer = b"HTTP/1.1 103 E\r\n\r\n" + CHUNKED + b"5\r\nhello\r\n0\r\n\r\n"

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        for at in range(0, len(answer), piece):
            writer.write(answer[at : at + piece])
            await asyncio.sleep(0)
        await reader.read()

    async with line(script) as origin:
        listener = await origin.answered()

        assert [103, 200, "end"] == listener.told
        assert b"hello" == listener.received
        assert origin.keeper.kept


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL", b"hi"),
        (OK + b"\r\n", b"hi"),
        (CHUNKED + b"2\r\nhi\r\n0\r\n\r\nEVIL", b"hi"),
        (b"HTTP/1.1 204 N\r\nContent-Length: 4\r\n\r\nEVIL", b""),
        (b"HTTP/1.1 304 N\r\nContent-Length: 4\r\n\r\nEVIL", b""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi", b"hi"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"hi"),
    ],
)
async def test_a_connection_that_says_more_or_says_close_is_not_kept(answer, body):
    """The response stands; the connection never serves another (aiohttp #13656)."""
    async with line(repeats(answer)) as origin:
        listener = await origin.answered()

        assert "end" == listener.told[-1]
        assert body == listener.received
        assert [] == origin.keeper.kept
        assert not origin.connection.alive


async def test_a_head_request_is_answered_by_a_head():
    """Its length promises nothing; the connection may serve again."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    async with line(repeats(answer)) as origin:
        listener = await origin.answered(method="HEAD")

        assert [200, "end"] == listener.told
        assert origin.keeper.kept


async def test_bytes_while_nothing_was_asked_close_the_connection():
    """A stray response must never be the next user's."""
    more = asyncio.Event()

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await more.wait()
        writer.write(OK)
        await reader.read()

    async with line(script) as origin:
        await origin.answered()
        more.set()
        await until(lambda: origin.keeper.lost)

        assert not origin.connection.alive
        assert [origin.connection] == origin.keeper.kept


async def test_a_body_that_ends_with_its_connection_ends_well():
    """RFC 9112 §6.3, rule 8."""

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhel")
        await writer.drain()
        await asyncio.sleep(0)
        writer.write(b"lo")
        writer.close()

    async with line(script) as origin:
        listener = await origin.answered()

        assert [200, "end"] == listener.told
        assert b"hello" == listener.received
        assert [] == origin.keeper.kept


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi",
        CHUNKED + b"2\r\nhi\r\n",
        CHUNKED + b"2\r\nhi\r\n0\r\n",
    ],
)
async def test_a_response_cut_short_is_a_failure(answer):
    """Told once, as an unavailable upstream."""

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with line(script) as origin:
        listener = await origin.answered()

        assert isinstance(listener.error, UpstreamUnavailable)
        assert 1 == listener.told.count("failed")


async def test_a_reset_is_a_failure_even_where_a_close_would_be_an_end():
    """An end that was not meant is none."""

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhel")
        await writer.drain()
        # Unread bytes turn a close into a reset.
        await started.wait()
        writer.transport.abort()

    started = asyncio.Event()
    async with line(script) as origin:
        listener = origin.ask(head=GET + b"x" * 3_000_000, whole=False)
        await until(lambda: listener.received)
        started.set()
        await until(lambda: listener.over)

        assert isinstance(listener.error, UpstreamUnavailable)


# ------------------------------------------------------------------------- doubts


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n",
        b"HTTP/1.1 999 OK\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/2",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * HEAD_LIMIT,
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * HEAD_LIMIT + b"\r\n\r\n",
        b"HTTP/1.1 103 E\r\n\r\n" * 17,
        CHUNKED + b"2\r\nhiX",
        CHUNKED + b"x\r\n",
    ],
)
async def test_a_doubtful_response_fails_and_the_connection_goes(answer):
    """No connection survives a message we are not sure of."""
    async with line(replies(answer)) as origin:
        listener = await origin.answered()

        assert isinstance(listener.error, MessageError)
        assert not origin.connection.alive
        assert [] == origin.keeper.kept


async def test_a_listener_may_have_doubts_of_its_own():
    """They end the exchange like ours, at once and for good."""
    async with line(repeats(OK)) as origin:
        listener = origin.ask()
        listener.doubts = True
        await until(lambda: listener.over)

        assert [200, "failed"] == listener.told
        assert [] == origin.keeper.kept
        assert not origin.connection.alive


async def test_who_lets_go_hears_nothing_more():
    """A dropped exchange takes its connection with it, silently."""
    async with line(repeats(OK)) as origin:
        listener = origin.ask()
        origin.connection.drop()
        await until(lambda: origin.keeper.lost)

        assert [] == listener.told


async def test_who_lets_go_at_the_head_hears_no_body():
    """The body is in the same bytes."""
    async with line(repeats(OK)) as origin:

        class Hasty(Listener):
            def response(self, head: ResponseHead) -> None:
                super().response(head)
                origin.connection.drop()

        listener = Hasty()
        origin.connection.begin(listener, "GET", GET, Timeouts(), whole=True)
        await until(lambda: origin.keeper.lost)

        assert [200] == listener.told
        assert b"" == listener.received


# ---------------------------------------------------------------------- deadlines


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read, and say nothing."""
    while await reader.read(65536):
        pass


async def test_the_first_byte_has_a_deadline_once_all_is_sent():
    """While the client still sends, its own deadline rules."""
    async with line(silent) as origin:
        listener = origin.ask(whole=False)
        origin.hand.advance(100)
        assert [] == listener.told
        origin.connection.send(b"body")
        origin.connection.finish_request()
        origin.hand.advance(29)
        assert [] == listener.told
        origin.hand.advance(2)

        assert isinstance(listener.error, TimeoutError)


async def test_the_next_byte_has_a_deadline_too():
    """A response must move."""
    async with line(
        replies(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi")
    ) as origin:
        listener = origin.ask()
        await until(lambda: listener.received)
        origin.hand.advance(59)
        assert [200] == listener.told
        origin.hand.advance(2)

        assert isinstance(listener.error, TimeoutError)


async def test_an_origin_that_stops_reading_is_given_up():
    """An upload that does not move has a deadline, though its client waits for us."""
    stop = asyncio.Event()

    async def deaf(reader, writer):
        await stop.wait()

    async with line(deaf) as origin:
        listener = origin.ask(whole=False)
        while "pause" not in listener.told:
            origin.connection.send(b"x" * 262_144)
            await asyncio.sleep(0)
        origin.hand.advance(59)
        assert ["pause"] == listener.told
        origin.hand.advance(2)
        stop.set()

        assert ["pause", "failed"] == listener.told
        assert isinstance(listener.error, TimeoutError)


async def test_an_origin_that_reads_on_has_all_the_time_the_client_has():
    """The deadline of a stalled upload ends with the stall."""
    go = asyncio.Event()

    async def slow(reader, writer):
        await go.wait()
        await silent(reader, writer)

    async with line(slow) as origin:
        listener = origin.ask(whole=False)
        while "pause" not in listener.told:
            origin.connection.send(b"x" * 262_144)
            await asyncio.sleep(0)
        go.set()
        await until(lambda: "resume" in listener.told)
        origin.hand.advance(1000)

        assert ["pause", "resume"] == listener.told


async def test_a_paused_response_has_no_deadline():
    """The client's slowness is not the origin's fault."""
    async with line(replies(CHUNKED + b"2\r\nhi\r\n")) as origin:
        listener = origin.ask()
        await until(lambda: listener.received)
        origin.connection.pause_response()
        origin.hand.advance(1000)
        assert [200] == listener.told
        origin.connection.resume_response()
        origin.hand.advance(61)

        assert [200, "failed"] == listener.told


async def test_a_connection_given_back_while_paused_reads_again():
    """The last bytes were too many for one client; the next is another."""
    async with line(repeats(OK)) as origin:

        class Slow(Listener):
            def body(self, data: bytes) -> None:
                super().body(data)
                origin.connection.pause_response()

        slow = Slow()
        origin.connection.begin(slow, "GET", GET, Timeouts(), whole=True)
        await until(lambda: slow.over)
        assert [origin.connection] == origin.keeper.kept
        assert NEVER == origin.connection.deadline
        listener = await origin.answered()

        assert b"hi" == listener.received


async def test_an_idle_connection_grows_old():
    """The keeper sets its deadline; nobody is told."""
    async with line(repeats(OK)) as origin:
        listener = await origin.answered()
        origin.connection.deadline = origin.hand.time() + 30
        origin.hand.advance(31)
        await until(lambda: origin.keeper.lost)

        assert [200, "end"] == listener.told


# ------------------------------------------------------------------------- others


async def test_an_early_answer_ends_the_exchange_but_not_the_upload():
    """A connection with a request half sent never serves again."""
    async with line(repeats(OK)) as origin:
        listener = await origin.answered(whole=False)

        assert [200, "end"] == listener.told
        assert [] == origin.keeper.kept
        origin.connection.send(b"more")
        origin.connection.finish_request()
        origin.connection.pause_response()
        origin.connection.resume_response()


async def test_a_tunnel_passes_bytes_until_it_closes():
    """After a 101 nothing is read as HTTP; both directions keep it alive."""

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nHTTP/1.1 "
        )
        writer.write(b"echo " + await reader.read(100))
        await writer.drain()
        writer.close()

    async with line(script) as origin:
        listener = origin.ask()
        await until(lambda: listener.received)
        origin.hand.advance(50)
        origin.connection.send(b"hello")
        origin.hand.advance(50)
        await until(lambda: "half-end" in listener.told)
        origin.connection.leave()
        await until(lambda: origin.keeper.lost)

        assert [101, "half-end"] == listener.told
        assert b"HTTP/1.1 echo hello" == listener.received


async def test_it_tells_its_state():
    """For the log."""
    async with line(repeats(OK)) as origin:
        assert "<UpstreamConnection 7: idle, served 0>" == repr(origin.connection)
        origin.ask()
        assert "<UpstreamConnection 7: busy, served 1>" == repr(origin.connection)


async def test_an_origin_that_left_a_body_unread_is_asked_nothing_more():
    """It answered early: the rest of that body would stand before the next request."""

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await asyncio.Event().wait()

    async with line(script) as asked:
        listener = asked.ask(method="POST", head=GET, whole=False)
        asked.connection.send(b"x" * 30_000_000)
        asked.connection.finish_request()
        await until(lambda: listener.over)

        assert [] == asked.keeper.kept
        assert "end" == listener.told[-1]
