import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.breaker import Breaker, BreakerSettings, BreakerState
from tests.fakes import Clock

SETTINGS = BreakerSettings(failures=3, pause=1.0, longest_pause=8.0)


@pytest.fixture
def breaker(clock):
    """A closed one."""
    return Breaker(SETTINGS, clock.monotonic)


def fail(breaker: Breaker, times: int) -> None:
    """Let so many ask in vain."""
    for _ in range(times):
        breaker.failed(probe=breaker.begin())


def test_it_opens_after_failures_in_a_row(breaker):
    """An answer in between counts them from the start."""
    fail(breaker, 2)
    breaker.succeeded()
    fail(breaker, 2)
    assert (BreakerState.CLOSED, 0) == (breaker.state, breaker.refusal())

    fail(breaker, 1)
    assert (BreakerState.OPEN, 1) == (breaker.state, breaker.refusal())


def test_one_at_a_time_is_let_through_after_the_pause(breaker, clock):
    """The others hear *later* until it is back."""
    fail(breaker, 3)
    clock.advance(1)

    assert (BreakerState.HALF_OPEN, 0) == (breaker.state, breaker.refusal())
    assert breaker.begin()
    assert 1 == breaker.refusal()

    breaker.succeeded()
    assert (BreakerState.CLOSED, 0) == (breaker.state, breaker.refusal())


def test_a_probe_that_gave_up_makes_room(breaker, clock):
    """It neither opens nor closes."""
    fail(breaker, 3)
    clock.advance(1)
    breaker.gave_up(probe=breaker.begin())

    assert (BreakerState.HALF_OPEN, 0) == (breaker.state, breaker.refusal())


def test_every_failed_probe_doubles_the_pause_to_a_bound(breaker, clock):
    """And an answer makes it short again."""
    fail(breaker, 3)
    waits = []
    for _ in range(5):
        waits.append(breaker.refusal())
        clock.advance(8)
        fail(breaker, 1)
    assert [1, 2, 4, 8, 8] == waits

    clock.advance(8)
    breaker.begin()
    breaker.succeeded()
    fail(breaker, 3)
    assert 1 == breaker.refusal()


def test_those_who_began_before_do_not_lengthen_the_pause(breaker, clock):
    """Thirty questions that time out together are one outage."""
    fail(breaker, 30)
    clock.advance(1)

    assert BreakerState.HALF_OPEN is breaker.state


def test_processes_do_not_come_back_as_one(clock):
    """Pauses are spread, and none is longer than told."""
    breakers = [Breaker(SETTINGS, clock.monotonic) for _ in range(50)]
    for breaker in breakers:
        fail(breaker, 3)
    clock.advance(0.95)

    states = {breaker.state for breaker in breakers}
    assert {BreakerState.OPEN, BreakerState.HALF_OPEN} == states


@given(st.lists(st.sampled_from(["ask", "answer", "fail", "leave", "wait"])))
def test_it_never_lets_two_through_and_never_stays_shut(moves):
    """Whatever happens: at most one probe, and after the longest pause one may ask."""
    clock = Clock()
    breaker = Breaker(SETTINGS, clock.monotonic)
    asking: list[bool] = []
    for move in moves:
        if move == "wait":
            clock.advance(1)
        elif move == "ask":
            if not breaker.refusal():
                asking.append(breaker.begin())
            assert asking.count(True) <= 1
        elif asking:
            probe = asking.pop()
            if move == "answer":
                breaker.succeeded()
                asking = [False] * len(asking)
            elif move == "fail":
                breaker.failed(probe=probe)
            else:
                breaker.gave_up(probe=probe)
    while asking:
        breaker.gave_up(probe=asking.pop())
    clock.advance(SETTINGS.longest_pause)
    assert 0 == breaker.refusal()


def test_it_shows_how_it_is(breaker):
    """For whoever debugs."""
    fail(breaker, 3)

    assert "<Breaker: OPEN, 3 failures>" == repr(breaker)
