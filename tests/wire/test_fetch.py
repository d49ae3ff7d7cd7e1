"""Proves the one exchange that is held whole: bounded, never repeated, never mixed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.errors import MessageError, UpstreamUnavailable
from gateway.values import Origin, Timeouts, UpstreamSettings
from gateway.wire.fetch import BODY_LIMIT, Fetched, fetch
from gateway.wire.pool import Pool
from tests.wire.harness import (
    HandLoop,
    Script,
    Upstream,
    repeats,
    replies,
    turns,
    until,
)

REQUEST = b"POST /token HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n"


class Endpoint:
    """A scripted token endpoint and the pool in front of it."""

    def __init__(self, pool: Pool, upstream: Upstream, hand: HandLoop) -> None:
        self.pool = pool
        self.upstream = upstream
        self.hand = hand

    async def fetched(self) -> Fetched:
        """Ask it."""
        return await fetch(self.pool, "POST", REQUEST)


@asynccontextmanager
async def endpoint(script: Script, **settings) -> AsyncIterator[Endpoint]:
    """Build one; prove that nothing is left of it."""
    upstream, hand = Upstream(script), HandLoop()
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
    origin = Origin("http", "127.0.0.1", server.sockets[0].getsockname()[1])
    known = UpstreamSettings(name="u", origins=(origin,), **settings)
    pool = Pool(known, hand.deadlines())
    try:
        yield Endpoint(pool, upstream, hand)
    finally:
        pool.abort()
        await until(lambda: not pool._open)
        upstream.close()
        server.close()
        await turns()


def answer_of(size: int) -> bytes:
    """Make an answer with a body of so many bytes."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (answer_of(2), 200, b"xx"),
        (answer_of(BODY_LIMIT), 200, b"x" * BODY_LIMIT),
        (
            b"HTTP/1.1 400 B\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
            400,
            b"no",
        ),
        (b"HTTP/1.1 103 E\r\n\r\nHTTP/1.1 204 N\r\n\r\n", 204, b""),
    ],
)
async def test_an_answer_is_given_whole(answer, status, body):
    """Head and decoded body, and the connection is kept."""
    async with endpoint(repeats(answer)) as token:
        fetched = await token.fetched()

        assert (status, body) == (fetched.head.status, fetched.body)
        assert [REQUEST] == token.upstream.received
        assert "0 busy, 1 idle" in repr(token.pool)


async def test_every_question_has_a_connection_of_its_own():
    """An idle one may be closing, and this cannot be sent twice."""
    async with endpoint(repeats(answer_of(1))) as token:
        await token.fetched()
        await token.fetched()

        assert 2 == token.upstream.connections


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (answer_of(BODY_LIMIT + 1), MessageError),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (BODY_LIMIT + 1), MessageError),
        (b"HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", MessageError),
        (b"HTTP/1.1 999 ?\r\n\r\n", MessageError),
    ],
)
async def test_an_answer_in_doubt_or_too_large_is_an_error(answer, failure):
    """The connection is gone, and was never given back."""
    async with endpoint(replies(answer)) as token:
        with pytest.raises(failure):
            await token.fetched()
        assert "0 idle" in repr(token.pool)
        await until(lambda: not token.pool._open)


async def test_an_endpoint_that_hangs_up_is_asked_once():
    """A code or a refresh token is spent by the first question."""

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")

    async with endpoint(script) as token:
        with pytest.raises(UpstreamUnavailable):
            await token.fetched()

        assert 1 == token.upstream.connections


async def test_an_endpoint_that_does_not_answer_is_a_timeout():
    """By the upstream's own deadline."""
    async with endpoint(replies(), timeouts=Timeouts(first_byte=5)) as token:
        asking = asyncio.get_running_loop().create_task(token.fetched())
        await until(lambda: token.upstream.connections and token.pool._open)
        await until(lambda: all(each.served for each in token.pool._open))
        token.hand.advance(6)
        with pytest.raises(TimeoutError):
            await asking


async def test_who_gives_up_takes_the_question_along():
    """A cancelled question leaves no connection behind."""
    async with endpoint(replies()) as token:
        asking = asyncio.get_running_loop().create_task(token.fetched())
        await until(lambda: token.upstream.connections and token.pool._open)
        await until(lambda: all(each.served for each in token.pool._open))
        asking.cancel()
        await until(lambda: not token.pool._open)

        assert asking.cancelled()


async def test_who_gives_up_too_late_hurts_nobody():
    """Answered and cancelled in one moment: the connection is already another's."""
    async with endpoint(repeats(answer_of(1))) as token:
        asking = asyncio.get_running_loop().create_task(token.fetched())
        await until(lambda: "1 idle" in repr(token.pool))
        connection = token.pool.take_idle()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

        assert asking.cancelled()
        assert connection is not None
        assert connection.alive
