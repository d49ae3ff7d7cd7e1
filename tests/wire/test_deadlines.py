"""Proves that one ticker serves all, and stops for nobody."""

import asyncio

import pytest

from gateway.wire.deadlines import NEVER, TICK, Deadlines
from tests.wire.harness import HandLoop, until


class Connection:
    """Something watched, which counts how often it was late."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.late = 0

    def overdue(self) -> None:
        self.deadline = NEVER
        self.late += 1


@pytest.fixture
def hand():
    """Time, moved by hand."""
    return HandLoop()


@pytest.fixture
def deadlines(hand):
    """Nothing watched yet."""
    return hand.deadlines()


def test_a_deadline_that_passed_is_told_once(hand, deadlines):
    """Early looks tell nothing, the first late one does."""
    connection = Connection(hand.time() + 10 * TICK)
    deadlines.watch(connection)

    told = []
    for _ in range(20):
        hand.advance(TICK)
        told.append(connection.late)

    assert [0] * 9 + [1] * 11 == told


def test_who_is_forgotten_is_not_told(hand, deadlines):
    """A closed connection has no deadlines."""
    connection = Connection(hand.time())
    deadlines.watch(connection)
    deadlines.forget(connection)
    hand.advance(TICK)

    assert 0 == connection.late


def test_the_ticker_rests_while_nothing_is_watched(hand, deadlines):
    """An idle process is not woken; a new connection starts the ticker again."""
    assert [] == hand.timers

    connection = Connection(NEVER)
    deadlines.watch(connection)
    deadlines.watch(Connection(NEVER))
    assert 1 == len(hand.timers)

    deadlines._watched.clear()
    hand.advance(TICK)
    assert [] == hand.timers

    connection.deadline = hand.time()
    deadlines.watch(connection)
    hand.advance(TICK)
    assert 1 == connection.late


def test_a_crash_costs_no_other_deadline(hand, deadlines):
    """The ticker goes on whatever one connection does."""

    class Broken(Connection):
        def overdue(self) -> None:
            super().overdue()
            raise RuntimeError

    broken, sound = Broken(hand.time()), Connection(hand.time() + TICK * 1.5)
    deadlines.watch(broken)
    deadlines.watch(sound)
    hand.advance(TICK)
    hand.advance(TICK)

    assert (1, 1) == (broken.late, sound.late)
    assert 1 == len(hand.crashes)


async def test_it_ticks_by_itself_on_a_real_loop():
    """The same, in real time."""
    deadlines = Deadlines(asyncio.get_running_loop())
    connection = Connection(deadlines.time())
    deadlines.watch(connection)
    await until(lambda: connection.late)
    deadlines.forget(connection)

    assert 1 == connection.late


def test_it_tells_how_many_it_watches(deadlines):
    """For the log."""
    deadlines.watch(Connection(NEVER))

    assert "<Deadlines: 1 watched>" == repr(deadlines)
