import pytest

from gateway.admin.overview import overview
from gateway.admin.pulse import Beat
from gateway.admin.troubles import Workers
from tests.admin.samples import (
    NOW,
    SLOT,
    picture,
    pool,
    provider,
    store,
    tally,
    target,
)

QUIET = (Beat(SLOT, tally(("likes", "allow", "ok", 1000))),)
GONE = {"serving": 0, "ejected": 1, "unwell": 0}


def found(workers: Workers | None = None, **changes):
    """List what is found wrong with a picture, as level and headline."""
    shown = picture(**{"beats": QUIET, **changes})
    told = overview(shown, now=NOW, version="1", workers=workers or Workers())
    return [(each.level, each.what) for each in told.troubles]


def test_nothing_is_listed_that_needs_no_attention():
    """Who reads a list at 3 a.m. must be able to trust its being empty."""
    assert [] == found()


@pytest.mark.parametrize(
    ("changes", "level", "what"),
    [
        ({"draining": True}, "warn", "The gateway is draining"),
        ({"started": False}, "bad", "The gateway has not started yet"),
        ({"store": store(up=False)}, "bad", "The store (redis) does not answer"),
        (
            {"store": store(blind=True)},
            "warn",
            "Revocations made elsewhere are not heard of",
        ),
        (
            {"store": store(blind=True, lost=True)},
            "bad",
            "Revocations have been unheard of for too long",
        ),
        ({"store": store(evicts=True)}, "warn", "The store may forget revocations"),
        (
            {"providers": (provider(breaker=2),)},
            "bad",
            "Provider melon is left alone after many failures",
        ),
        (
            {"beats": (Beat(SLOT, tally(asked=(("melon", "jwks", "tls", 1),))),)},
            "warn",
            "Provider melon fails now and then",
        ),
        (
            {"upstreams": (pool(target(addresses=GONE)),)},
            "bad",
            "Upstream melon has no target that is well",
        ),
        (
            {"upstreams": (pool(target(), target(addresses=GONE)),)},
            "warn",
            "Upstream melon serves without some targets",
        ),
    ],
)
def test_what_is_wrong_is_told(changes, level, what):
    """One line, and how bad it is."""
    assert [(level, what)] == found(**changes)


@pytest.mark.parametrize(
    ("failed", "of", "level"),
    [(0, 100, None), (1, 101, None), (1, 19, None), (1, 100, "warn"), (5, 100, "bad")],
)
def test_requests_that_fail_are_told_by_their_share(failed, of, level):
    """One in a hundred is worth a look; of few requests nothing is said."""
    beats = (
        Beat(
            SLOT,
            tally(
                ("likes", "allow", "ok", of - failed),
                *([("likes", "error", "internal", failed)] if failed else []),
            ),
        ),
    )

    expected = [(level, f"{failed} of {of} requests failed lately")] if level else []
    assert expected == found(beats=beats)


@pytest.mark.parametrize(("serving", "level"), [(2, "warn"), (0, "bad")])
def test_a_missing_worker_is_told(serving, level):
    """Its successor comes by itself; why it ended is in the log."""
    workers = Workers(wanted=3, serving=serving)

    assert [(level, f"{serving} of 3 workers serve")] == found(workers)


def test_the_worst_comes_first():
    """Whatever order it was found in."""
    levels = [level for level, _ in found(draining=True, store=store(up=False))]

    assert ["bad", "warn"] == levels
