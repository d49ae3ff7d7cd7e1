import msgspec
import pytest

from gateway.admin.recent import KEPT, Recent, Seen, Wanted
from gateway.values import Exchange
from tests.admin.samples import NOW, exchange


def test_the_last_exchanges_are_kept_and_no_more():
    """What is older has been looked at by nobody and is gone."""
    recent = Recent()
    for number in range(KEPT + 3):
        recent.observe(exchange(request_id=str(number)))

    kept = [each.request_id for each in recent.exchanges()]
    assert [str(number) for number in range(3, KEPT + 3)] == kept


def test_observing_is_nothing_but_an_append():
    """The hot path pays for a C function, and no frame of ours."""
    recent = Recent()

    assert recent.observe.__self__ is recent._ring  # type: ignore[attr-defined]
    assert "append" == recent.observe.__name__


@pytest.mark.parametrize(
    "path",
    ["/a?access_token=SECRET", "/a%3faccess_token=SECRET", "/a;access_token=SECRET"],
)
def test_a_path_is_cut_where_a_query_may_begin(path):
    """Whatever door let it slip, nobody is shown it."""
    assert "/a" == Seen(0, exchange(path=path)).path


SEEN = [
    Seen(1, exchange(request_id="old", started_at=NOW - 60, status=403, reason="x")),
    Seen(2, exchange(request_id="new", client="other", decision="deny", status=401)),
    Seen(1, exchange(request_id="mid", started_at=NOW - 30, route="me", upstream="u")),
]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, ["new", "mid", "old"]),
        ({"limit": 2}, ["new", "mid"]),
        ({"route": "me"}, ["mid"]),
        ({"reason": "x"}, ["old"]),
        ({"client": "other"}, ["new"]),
        ({"client": "othe"}, []),
        ({"request_id": "mid"}, ["mid"]),
        ({"decision": "deny"}, ["new"]),
        ({"provider": "melon"}, ["new", "mid", "old"]),
        ({"upstream": "u"}, ["mid"]),
        ({"status": "4"}, ["new", "old"]),
        ({"status": "403"}, ["old"]),
        ({"status": "40"}, []),
        ({"since": NOW - 29.995}, ["new", "mid"]),
        ({"status": "4", "client": "shop"}, ["old"]),
    ],
)
def test_what_is_wanted_is_given_the_newest_first(wanted, expected):
    """Every part of a filter must hold."""
    picked = Wanted(**wanted).of(SEEN)

    assert expected == [each.exchange.request_id for each in picked]


def test_exchanges_pass_between_processes_as_they_are():
    """The parent of several workers decodes what a worker encoded."""
    packed = msgspec.msgpack.encode((exchange(),))

    assert (exchange(),) == msgspec.msgpack.decode(packed, type=tuple[Exchange, ...])
