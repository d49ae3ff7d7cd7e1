import msgspec

from gateway.admin.picture import Picture, summed, together
from gateway.admin.pulse import Beat
from tests.admin.samples import (
    BUSY,
    SLOT,
    picture,
    pool,
    provider,
    store,
    tally,
    target,
)


def test_one_process_is_the_whole_picture():
    """Nothing is lost where there is nothing to join."""
    assert picture() is not None
    alone = picture()

    assert alone is together([alone])


def test_what_can_be_counted_is_added_up():
    """Requests, connections, questions; marks are the same everywhere."""
    joined = together([picture(worker=1), picture(worker=2, marks=3)])

    assert (4, 14, 3) == (joined.in_flight, joined.connections, joined.marks)
    assert 2 * 90 == joined.total.decided[0].count
    assert 2 == joined.providers[0].under_way
    assert (100, 90, 10, 0) == joined.total.durations


def test_what_is_wrong_anywhere_is_wrong():
    """One worker's open breaker, lost store or missing target is the operator's."""
    well = picture()
    unwell = picture(
        started=False,
        draining=True,
        providers=(provider(breaker=2),),
        store=store(up=False, blind=True, lost=True, evicts=True),
        upstreams=(pool(target(addresses={"serving": 0, "ejected": 1, "unwell": 0})),),
    )
    joined = together([well, unwell])

    assert not joined.started
    assert joined.draining
    assert 2 == joined.providers[0].breaker
    expected = store(up=False, blind=True, lost=True, evicts=True)
    assert expected == joined.store
    assert 0 == joined.upstreams[0].targets[0].addresses["serving"]
    assert 2 == joined.upstreams[0].targets[0].idle
    assert {"closed": 2} == joined.upstreams[0].retries


def test_slots_of_the_same_time_are_one():
    """All processes cut time by the wall clock."""
    one = picture(beats=(Beat(SLOT - 1, BUSY), Beat(SLOT, BUSY)))
    other = picture(beats=(Beat(SLOT, BUSY),))
    beats = together([one, other]).beats

    assert [SLOT - 1, SLOT] == [beat.slot for beat in beats]
    assert [90, 180] == [beat.tally.decided[0].count for beat in beats]


def test_tallies_of_different_things_stay_apart():
    """A sum has every kind of thing that any part has."""
    one = tally(("a", "allow", "ok", 1), asked=(("p", "jwks", "200", 2),))
    two = tally(("b", "deny", "x", 3), looked_up=(("p", "l1", "active", 4),))

    expected = tally(
        ("a", "allow", "ok", 1),
        ("b", "deny", "x", 3),
        asked=(("p", "jwks", "200", 2),),
        looked_up=(("p", "l1", "active", 4),),
    )
    assert expected == summed([one, two])


def test_a_picture_passes_between_processes_as_it_is():
    """The parent of several workers decodes what a worker encoded."""
    packed = msgspec.msgpack.encode(picture())

    assert picture() == msgspec.convert(msgspec.msgpack.decode(packed), Picture)
