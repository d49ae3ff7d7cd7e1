"""Proves which target is next, and who is left alone for how long."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.values import HealthCheck, Origin
from gateway.wire.targets import (
    FAILURES,
    FIRST_BACKOFF,
    LONGEST_BACKOFF,
    Rotation,
    Target,
)
from tests.fakes import Clock

ORIGIN = Origin("http", "api", 80, resolved=True)
CHECK = HealthCheck(target=b"/", healthy=2, unhealthy=3)


class Table:
    """A rotation of some targets, and the clock it looks at."""

    def __init__(self, count: int, *, connections: int = 10) -> None:
        self.clock = Clock()
        self.rotation = Rotation(
            self.clock.monotonic, connections=connections, health=CHECK
        )
        self.targets = [Target(ORIGIN, f"10.0.0.{n}") for n in range(count)]
        for target in self.targets:
            self.rotation.add(target)

    def serve(self, *, without: tuple[Target, ...] = ()) -> Target | None:
        """Choose a target and keep it busy."""
        target = self.rotation.choose(without)
        if target is not None:
            target.open += 1
        return target

    def eject(self, target: Target) -> float:
        """Let a target fail until it is out; tell for how long."""
        while not self.rotation.failed(target):
            pass
        return target.ejected_until - self.clock.monotonic()

    def in_rotation(self) -> set[Target]:
        """Tell who is chosen now."""
        # To choose is to see whose time is over.
        self.rotation.choose()
        return set(filter(self.rotation.serves, self.rotation.members))


@pytest.fixture
def table():
    """Three targets."""
    return Table(3)


# ------------------------------------------------------------------------- choice


def test_equals_take_turns(table):
    """In the same order every time, also when nothing is busy."""
    assert table.targets * 2 == [table.rotation.choose() for _ in range(6)]


def test_the_least_busy_is_next(table):
    """Whoever is slow gets less."""
    slow, *others = table.targets
    slow.open = 4

    assert Counter(dict.fromkeys(others, 4)) == Counter(table.serve() for _ in range(8))
    assert slow in [table.serve() for _ in range(3)]


def test_idle_connections_are_no_work_and_opening_ones_are(table):
    """Requests count, not sockets."""
    one, other, third = table.targets
    one.open, one.idle = 3, [object()] * 3
    other.open, third.opening = 1, 1

    assert one is table.rotation.choose()


def test_who_has_no_room_is_not_chosen():
    """All full: nobody."""
    table = Table(2, connections=2)
    chosen = [table.serve() for _ in range(5)]

    assert [*table.targets * 2, None] == chosen


def test_a_ready_target_is_the_next_one_or_none(table):
    """One that is not next is not taken for its idle connection, and keeps its turn."""
    one, other, _ = table.targets
    other.open, other.idle = 1, [object()]
    assert table.rotation.choose(ready=True) is None
    assert one is table.rotation.choose()

    assert other is table.rotation.choose(ready=True)


def test_who_was_tried_is_not_chosen_again(table):
    """And when all were, nobody is."""
    one, other, third = table.targets

    assert third is table.serve(without=(one, other))
    assert table.serve(without=(one, other, third)) is None


@given(st.lists(st.sampled_from(["take", "end0", "end1", "end2"]), max_size=60))
def test_loads_never_drift_apart(moves):
    """A request goes where no other target has fewer, whatever happened before."""
    table = Table(3, connections=100)
    for move in moves:
        least = min(each.open for each in table.targets)
        if move == "take":
            target = table.rotation.choose()
            assert target is not None
            assert least == target.open
            target.open += 1
        elif (busy := table.targets[int(move[-1])]).open:
            busy.open -= 1


# ----------------------------------------------------------------------- ejection


def test_failures_in_a_row_put_a_target_out(table):
    """One good answer between them, and they are not in a row."""
    bad, *others = table.targets
    for _ in range(FAILURES - 1):
        assert not table.rotation.failed(bad)
    table.rotation.succeeded(bad)
    for _ in range(FAILURES - 1):
        assert not table.rotation.failed(bad)
    assert set(table.targets) == table.in_rotation()
    assert table.rotation.failed(bad)

    assert {*others} == table.in_rotation()
    assert not table.rotation.serves(bad)
    assert "ejected" == table.rotation.standing(bad)
    assert "<Rotation: 2 of 3>" == repr(table.rotation)


def test_a_target_comes_back_after_its_time(table):
    """Not a moment earlier."""
    bad = table.targets[0]
    seconds = table.eject(bad)
    table.clock.advance(seconds - 0.001)
    assert bad not in table.in_rotation()
    table.clock.advance(0.002)

    assert bad in table.in_rotation()
    assert "serving" == table.rotation.standing(bad)


def test_the_time_doubles_up_to_a_minute_until_an_answer(table):
    """Each a little more or less, so that not all gateways come back at once."""
    bad = table.targets[0]
    for number in range(12):
        usual = min(FIRST_BACKOFF * 2**number, LONGEST_BACKOFF)
        if number:
            # Back for one request only.
            assert table.rotation.failed(bad)
        else:
            table.eject(bad)
        seconds = bad.ejected_until - table.clock.monotonic()
        assert usual * 0.79 < seconds < usual * 1.21
        table.clock.advance(seconds + 0.001)
        assert bad in table.in_rotation()
    table.rotation.succeeded(bad)

    assert FIRST_BACKOFF * 1.21 > table.eject(bad)


def test_back_offs_are_not_all_equal():
    """Else every gateway would try again in the same moment."""
    tables = [Table(2) for _ in range(10)]

    assert 1 < len({table.eject(table.targets[0]) for table in tables})


def test_failures_while_out_change_nothing(table):
    """Many requests were under way when it died."""
    bad = table.targets[0]
    until = table.clock.monotonic() + table.eject(bad)
    for _ in range(10):
        assert not table.rotation.failed(bad)

    assert until == bad.ejected_until


def test_the_last_one_is_never_put_out():
    """A bad target is better than none."""
    table = Table(2)
    one, last = table.targets
    table.eject(one)
    for _ in range(10):
        assert not table.rotation.failed(last)

    assert {last} == table.in_rotation()


def test_who_is_out_is_tried_after_all_others(table):
    """Nothing else is left to lose."""
    bad, *others = table.targets
    table.eject(bad)

    assert bad is table.serve(without=tuple(others))


def test_a_full_target_in_rotation_is_waited_for():
    """It is better than one that is out."""
    table = Table(2, connections=1)
    table.eject(table.targets[0])
    table.serve()

    assert table.serve() is None


# ------------------------------------------------------------------------- health


def check(table: Table, target: Target, *verdicts: bool) -> list[bool]:
    """Tell of health checks."""
    return [table.rotation.checked(target, well=verdict) for verdict in verdicts]


def test_a_target_is_out_until_proven_well(table):
    """By checks in a row; any other in between begins the count again."""
    sick, *others = table.targets
    no, yes = False, True

    assert [False] * 5 == check(table, sick, yes, no, no, yes, no)
    assert [False, True] == check(table, sick, no, no)
    assert {*others} == table.in_rotation()
    assert "unwell" == table.rotation.standing(sick)
    assert [False] * 3 == check(table, sick, yes, no, yes)
    assert [True] == check(table, sick, yes)
    assert set(table.targets) == table.in_rotation()


def test_the_end_of_an_ejection_makes_nobody_well(table):
    """Both must be over."""
    sick, *others = table.targets
    seconds = table.eject(sick)
    check(table, sick, False, False, False)
    table.clock.advance(seconds + 1)
    assert {*others} == table.in_rotation()
    check(table, sick, True, True)

    assert set(table.targets) == table.in_rotation()


def test_to_be_well_ends_no_ejection(table):
    """The check may ask for less than requests do."""
    sick, *others = table.targets
    check(table, sick, False, False, False)
    check(table, sick, True, True)
    table.eject(sick)
    check(table, sick, True, True)

    assert {*others} == table.in_rotation()


def test_where_all_are_out_all_are_tried(table):
    """The checks may be wrong."""
    for target in table.targets:
        check(table, target, False, False, False)

    assert set(table.targets) == table.in_rotation()
    assert all(map(table.rotation.serves, table.targets))


# --------------------------------------------------------------------- membership


def test_addresses_join_and_leave():
    """Those that stay keep what is known of them."""
    table = Table(2)
    stays, leaves = table.targets
    stays.open = 2
    joined, left = table.rotation.renew(ORIGIN, ["10.0.0.0", "10.0.0.9"])

    assert ["10.0.0.9"] == [each.host for each in joined]
    assert [leaves] == left
    assert leaves.draining
    assert [stays, *joined] == table.rotation.members
    assert {stays, *joined} == table.in_rotation()


def test_who_leaves_while_out_does_not_come_back():
    """Its name is not ours any more."""
    table = Table(3)
    gone = table.targets[0]
    seconds = table.eject(gone)
    table.rotation.renew(ORIGIN, ["10.0.0.1", "10.0.0.2"])
    table.clock.advance(seconds + 1)

    assert gone not in table.in_rotation()
    assert not table.rotation.failed(gone)
    assert not check(table, gone, True)[0]


def test_names_do_not_mix():
    """Each knows its own addresses, though one address may have two names."""
    table = Table(1)
    other = Origin("http", "other", 80, resolved=True)
    joined, left = table.rotation.renew(other, ["10.0.0.0"])

    assert [] == left
    assert [other] == [each.origin for each in joined]
    assert 2 == len(table.rotation.members)


def test_a_target_tells_its_state(table):
    """For the log."""
    assert "<Target 10.0.0.0: 0 open, 0 idle>" == repr(table.targets[0])
