import pytest

from gateway.admin.guesses import (
    ADDRESSES,
    LOOPBACK,
    WITHIN,
    WRONG,
    Guesses,
    address,
)
from tests.fakes import Clock


@pytest.fixture
def clock():
    """A clock that a test moves."""
    return Clock()


@pytest.fixture
def guesses(clock):
    """Nobody was wrong yet."""
    return Guesses(clock.monotonic)


def wrong(guesses: Guesses, who: str, times: int = WRONG) -> None:
    """Be wrong so often."""
    for _ in range(times):
        assert 0 == guesses.wait(who)
        guesses.wrong(who)


def test_an_address_may_be_wrong_so_often_and_then_waits(guesses, clock):
    """Until its first guess is a minute old; the others need not."""
    wrong(guesses, "a", WRONG - 1)
    clock.advance(20)
    wrong(guesses, "a", 1)

    assert WITHIN - 20 == guesses.wait("a")
    assert 0 == guesses.wait("b")
    assert {"token": WRONG} == guesses.counted
    assert "<Guesses: 1 addresses>" == repr(guesses)


def test_within_any_minute_there_are_no_more(guesses, clock):
    """The window slides: who waited has one guess for each that is forgotten."""
    made = []
    for _ in range(300):
        if not guesses.wait("a"):
            guesses.wrong("a")
            made.append(clock.monotonic())
        clock.advance(1)

    assert 50 == len(made)
    assert all(
        later - earlier >= WITHIN
        for earlier, later in zip(made, made[WRONG:], strict=False)
    )


def test_what_is_not_looked_at_is_counted_apart(guesses):
    """It lengthens no wait."""
    wrong(guesses, "a")
    before = guesses.wait("a")
    guesses.refuse()

    assert before == guesses.wait("a")
    assert {"token": WRONG, "guesses": 1} == guesses.counted


def test_the_table_is_bounded_and_when_it_is_full_strangers_wait(guesses, clock):
    """Until there is room; who is in it has what is left, and loopback its place."""
    for number in range(ADDRESSES):
        wrong(guesses, str(number), 1)
    clock.advance(15)

    assert WITHIN - 15 == guesses.wait("one more")
    assert 0 == guesses.wait("7")
    wrong(guesses, LOOPBACK)
    assert f"<Guesses: {ADDRESSES + 1} addresses>" == repr(guesses)
    clock.advance(WITHIN - 15)
    assert 0 == guesses.wait("one more")
    assert "<Guesses: 1 addresses>" == repr(guesses)


def test_who_was_wrong_again_is_forgotten_later(guesses, clock):
    """By its last guess, not by its first."""
    wrong(guesses, "a", 1)
    wrong(guesses, "b", 1)
    clock.advance(WITHIN - 1)
    wrong(guesses, "a", 1)
    clock.advance(1)
    guesses.wait("c")

    assert "<Guesses: 1 addresses>" == repr(guesses)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("", "nothing", True),
    ],
)
def test_a_network_that_one_machine_has_is_one_address(one, other, same):
    """Of IPv6 it can choose among 2^64."""
    assert same == (address(one) == address(other))
