"""Proves that connections are few, reused, bounded, and never handed out twice."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.errors import UpstreamUnavailable
from gateway.tasks import spawn
from gateway.values import Origin, Timeouts, UpstreamSettings
from gateway.wire.pool import Pool, UpstreamBusy
from gateway.wire.upstream import UpstreamConnection
from tests.wire.harness import HandLoop, turns, until


class Origins:
    """Servers that accept and stay silent, and the pool in front of them."""

    def __init__(self) -> None:
        self.accepted: list[int] = []
        self.hand = HandLoop()
        self.writers: list[asyncio.StreamWriter] = []
        self.pool: Pool

    def acceptor(self, number: int):
        """Make a server's callback."""

        async def accept(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            self.accepted.append(number)
            self.writers.append(writer)
            with contextlib.suppress(ConnectionError):
                await reader.read()
            writer.close()

        return accept


@asynccontextmanager
async def origins(
    count: int = 1,
    *,
    scheme: str = "http",
    dead: int = 0,
    **settings: Any,
) -> AsyncIterator[Origins]:
    """Open servers, `dead` of them closed again, and a pool; close everything."""
    house = Origins()
    servers, known = [], []
    for number in range(count):
        server = await asyncio.start_server(house.acceptor(number), "127.0.0.1", 0)
        known.append(Origin(scheme, "127.0.0.1", server.sockets[0].getsockname()[1]))
        servers.append(server)
    for server in servers[:dead]:
        server.close()
    house.pool = Pool(
        UpstreamSettings(name="books", origins=tuple(known), **settings),
        house.hand.deadlines(),
    )
    try:
        yield house
    finally:
        house.pool.abort()
        await until(lambda: not house.pool._open)
        for server in servers:
            server.close()
        for writer in house.writers:
            writer.transport.abort()
        await turns()
        assert not any(each.opening for each in house.pool._rotation.members)
        assert not house.pool._waiters


def started(work: Coroutine[Any, Any, UpstreamConnection]):
    """Begin to take a connection, in a task of its own."""
    return asyncio.get_running_loop().create_task(work)


# ------------------------------------------------------------------------- reuse


async def test_a_connection_given_back_serves_again():
    """The last one given back is the first one taken: the others grow old."""
    async with origins() as house:
        pool = house.pool
        assert pool.take_idle() is None
        one, other = await pool.take(), await pool.take()
        assert "<Pool books: 2 busy, 0 idle>" == repr(pool)
        pool.give_back(one)
        pool.give_back(other)
        assert "<Pool books: 0 busy, 2 idle>" == repr(pool)

        assert other is pool.take_idle()
        assert one is await pool.take()
        assert pool.take_idle() is None
        assert [0, 0] == house.accepted


async def test_an_idle_connection_that_closed_is_forgotten():
    """By the origin, or by its age."""
    async with origins(keepalive=30.0) as house:
        pool = house.pool
        one, other = await pool.take(), await pool.take()
        await until(lambda: len(house.writers) == 2)
        pool.give_back(one)
        pool.give_back(other)
        house.writers[0].transport.abort()
        await until(lambda: "0 busy, 1 idle" in repr(pool))
        house.hand.advance(29)
        assert "0 busy, 1 idle" in repr(pool)
        house.hand.advance(2)
        await until(lambda: "0 busy, 0 idle" in repr(pool))


async def test_a_connection_that_is_closing_is_not_handed_out():
    """The kernel has not told us of its end yet."""
    async with origins() as house:
        connection = await house.pool.take()
        house.pool.give_back(connection)
        connection.drop()

        assert house.pool.take_idle() is None


# ------------------------------------------------------------------------ origins


async def test_origins_take_turns():
    """Equal origins get equal work."""
    async with origins(3) as house:
        for _ in range(6):
            await house.pool.take()
        await until(lambda: len(house.accepted) == 6)

        assert [2, 2, 2] == [house.accepted.count(number) for number in range(3)]


async def test_an_origin_that_refuses_is_passed_over():
    """One of two is gone: every request still finds the other."""
    async with origins(2, dead=1) as house:
        for _ in range(4):
            await house.pool.take()
        await until(lambda: len(house.accepted) == 4)

        assert [1] * 4 == house.accepted


async def test_no_origin_at_all_is_told():
    """Our own exception, whatever the system called it."""
    async with origins(2, dead=2) as house:
        with pytest.raises(UpstreamUnavailable):
            await house.pool.take()


async def test_connecting_has_a_deadline():
    """An origin that accepts and does not shake hands is as good as none."""
    timeouts = Timeouts(connect=0.02)
    async with origins(scheme="https", timeouts=timeouts) as house:
        with pytest.raises(TimeoutError):
            await house.pool.take()


# -------------------------------------------------------------------------- bounds


async def test_one_too_many_waits_and_gets_what_is_given_back():
    """First come, first served; the queue has an end."""
    async with origins(connections=1, waiting=2) as house:
        pool = house.pool
        connection = await pool.take()
        first, second = started(pool.take()), started(pool.take())
        await turns()
        with pytest.raises(UpstreamBusy):
            await pool.take()
        pool.give_back(connection)
        assert connection is await first
        assert not second.done()
        pool.give_back(connection)

        assert connection is await second
        await until(lambda: house.accepted)
        assert [0] == house.accepted


async def test_who_waits_may_open_another_when_one_is_lost():
    """A connection that breaks makes room."""
    async with origins(connections=1) as house:
        connection = await house.pool.take()
        waiting = started(house.pool.take())
        await turns()
        connection.drop()

        assert connection is not await waiting
        await until(lambda: len(house.accepted) == 2)


async def test_waiting_has_a_deadline_and_leaves_no_trace():
    """As long as connecting may last; who gave up takes nobody's place in the queue."""
    timeouts = Timeouts(connect=0.02)
    async with origins(connections=1, waiting=1, timeouts=timeouts) as house:
        connection = await house.pool.take()
        for _ in range(3):
            with pytest.raises(UpstreamBusy):
                await house.pool.take()
        waiting = started(house.pool.take())
        await turns()
        house.pool.give_back(connection)

        assert connection is await waiting


async def test_clients_that_went_away_take_nobodys_place():
    """A queue of the gone is an empty queue."""
    async with origins(connections=1, waiting=2) as house:
        connection = await house.pool.take()
        for _ in range(5):
            gone = started(house.pool.take())
            await turns()
            gone.cancel()
            await turns()
        waiting = started(house.pool.take())
        await turns()
        house.pool.give_back(connection)

        assert connection is await waiting


async def test_a_connection_handed_to_one_who_has_gone_goes_to_the_next():
    """Cancelled in the very moment of being served."""
    async with origins(connections=1) as house:
        connection = await house.pool.take()
        gone, next_one = started(house.pool.take()), started(house.pool.take())
        await turns()
        house.pool.give_back(connection)
        gone.cancel()

        assert connection is await next_one
        assert gone.cancelled()


async def test_a_connect_that_is_cancelled_makes_room():
    """Whoever waits for the same room connects in its place."""
    async with origins(scheme="https", connections=1) as house:
        gone = started(house.pool.take())
        await until(lambda: len(house.accepted) == 1)
        waiting = started(house.pool.take())
        await turns()
        gone.cancel()
        await until(lambda: len(house.accepted) == 2)
        waiting.cancel()
        await turns()

        assert gone.cancelled()
        assert waiting.cancelled()


async def test_failing_to_connect_lets_the_next_try():
    """Everybody who waits hears of the failure, one after the other."""
    async with origins(dead=1, connections=1) as house:
        tasks = [started(house.pool.take()) for _ in range(3)]
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)

        assert [UpstreamUnavailable] * 3 == list(map(type, outcomes))


async def test_a_fresh_connection_is_never_a_used_one():
    """Requests that cannot be sent twice get one that cannot be closing."""
    async with origins() as house:
        connection = await house.pool.take()
        house.pool.give_back(connection)

        assert connection is not await house.pool.take(fresh=True)
        assert connection is house.pool.take_idle()


async def test_room_for_a_fresh_connection_costs_one_idle_one():
    """The oldest goes; the others stay."""
    async with origins(connections=3) as house:
        old, middle, young = [await house.pool.take() for _ in range(3)]
        for connection in (old, middle, young):
            house.pool.give_back(connection)
        fresh = await house.pool.take(fresh=True)

        assert fresh not in (old, middle, young)
        assert not old.alive
        assert [young, middle] == [house.pool.take_idle() for _ in range(2)]


async def test_who_waits_for_a_fresh_one_does_not_take_a_used_one():
    """What is given back is closed, and its room is taken."""
    async with origins(connections=1) as house:
        connection = await house.pool.take()
        waiting = started(house.pool.take(fresh=True))
        await turns()
        house.pool.give_back(connection)
        fresh = await waiting

        assert fresh is not connection
        assert not connection.alive


# ------------------------------------------------------------------------- endings


async def test_a_closed_pool_opens_and_keeps_nothing():
    """Idle connections go at once, busy ones when they are given back."""
    async with origins() as house:
        pool = house.pool
        idle, busy = await pool.take(), await pool.take()
        pool.give_back(idle)
        pool.close()
        assert not idle.alive
        assert busy.alive
        pool.give_back(busy)
        assert not busy.alive
        with pytest.raises(UpstreamUnavailable):
            await pool.take()


async def test_aborting_closes_the_busy_ones_too():
    """Nothing survives it."""
    async with origins() as house:
        busy = await house.pool.take()
        house.pool.abort()

        assert not busy.alive


async def test_who_waits_is_never_given_a_connection_that_closes():
    """It was given back and closed in one read: its slot is what is left of it."""
    given: list[UpstreamConnection] = []

    async with origins(connections=1) as o:

        async def wait() -> None:
            given.append(await o.pool.take())

        first = await o.pool.take()
        waiting = spawn(wait(), name="waiting")
        await turns()
        o.pool.give_back(first)
        first.drop()
        await waiting

        assert given[0] is not first
        assert given[0].alive
        assert 2 == len(o.accepted)
