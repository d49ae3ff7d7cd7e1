import asyncio

from gateway.admin.pulse import BEAT, KEPT, Asked, Decided, LookedUp, Pulse
from gateway.tasks import spawn
from tests.fakes import Clock


class Counts:
    """Keeps the promise with numbers a test sets."""

    def __init__(self) -> None:
        self.decisions: dict[tuple[str, str, str], int] = {}
        self.lookups: dict[tuple[str, str, str, str], int] = {}
        self.questions: dict[tuple[str, str, str], int] = {}
        self.buckets = [0, 0]

    def decided(self) -> dict[tuple[str, str, str], int]:
        return self.decisions

    def looked_up(self) -> dict[tuple[str, str, str, str], int]:
        return self.lookups

    def asked(self) -> dict[tuple[str, str, str], int]:
        return self.questions

    def durations(self) -> list[int]:
        return self.buckets


OK = ("likes", "allow", "ok")


def test_a_beat_is_what_came_since_the_last_one(clock):
    """The counters go on for ever; a slot has its own part."""
    counts = Counts()
    counts.decisions[OK] = 5
    pulse = Pulse(counts, clock)
    counts.decisions[OK] = 7
    counts.buckets = [1, 1]
    clock.advance(BEAT)
    pulse.beat()
    counts.decisions[OK] = 8

    first, open_slot = pulse.beats()
    assert (Decided(*OK, 2),) == first.tally.decided
    assert (1, 1) == first.tally.durations
    assert (Decided(*OK, 1),) == open_slot.tally.decided
    assert first.slot + 1 == open_slot.slot


def test_a_quiet_slot_is_not_kept(clock):
    """An idle gateway keeps nothing."""
    pulse = Pulse(Counts(), clock)
    for _ in range(3):
        clock.advance(BEAT)
        pulse.beat()

    assert () == pulse.beats()


def test_what_is_older_than_the_window_goes(clock):
    """Even when nothing came after it that would push it out."""
    counts = Counts()
    pulse = Pulse(counts, clock)
    counts.decisions[OK] = 1
    pulse.beat()
    clock.advance(BEAT * (KEPT + 1))
    pulse.beat()

    assert () == pulse.beats()


def test_methods_of_one_provider_are_added_up(clock):
    """Who looked is not shown, where from is."""
    counts = Counts()
    pulse = Pulse(counts, clock)
    counts.lookups = {
        ("melon", "jwt", "l1", "active"): 2,
        ("melon", "userinfo", "l1", "active"): 3,
    }
    counts.questions = {("melon", "introspect", "200"): 4}

    (beat,) = pulse.beats()
    assert (LookedUp("melon", "l1", "active", 5),) == beat.tally.looked_up
    assert (Asked("melon", "introspect", "200", 4),) == beat.tally.asked


def test_a_series_that_is_gone_counts_for_nothing(clock):
    """A reload drops the series of routes that are no more."""
    counts = Counts()
    counts.decisions = {OK: 5}
    counts.buckets = [5, 0]
    pulse = Pulse(counts, clock)
    counts.decisions = {("new", "allow", "ok"): 1}
    counts.buckets = [1, 0]

    (beat,) = pulse.beats()
    assert (Decided("new", "allow", "ok", 1),) == beat.tally.decided
    assert (0, 0) == beat.tally.durations


def test_the_total_is_since_the_start(clock):
    """Not since the pulse was first taken."""
    counts = Counts()
    counts.decisions[OK] = 5
    counts.buckets = [5, 0]
    pulse = Pulse(counts, clock)

    assert (Decided(*OK, 5),) == pulse.total().decided
    assert (5, 0) == pulse.total().durations


async def test_it_beats_at_the_end_of_every_slot():
    """By itself, in a task of its own."""
    clock = Clock(now=1_800_000_004.99)
    counts = Counts()
    pulse = Pulse(counts, clock)
    counts.decisions[OK] = 1
    running = spawn(pulse.run(), name="pulse")
    async with asyncio.timeout(5):
        while not pulse._kept:  # noqa: ASYNC110 -- what is waited for has no event
            await asyncio.sleep(0.005)
    running.cancel()

    assert (Decided(*OK, 1),) == pulse._kept[0].tally.decided
