from typing import Any

import pytest

from gateway.admin.overview import Overview, overview
from gateway.admin.traffic import Outcomes
from gateway.admin.troubles import Workers
from tests.admin.samples import NOW, picture


def told(**changes: Any) -> Overview:
    """Say what is to be said of a picture."""
    return overview(picture(**changes), now=NOW, version="1.2.3", workers=Workers())


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "serving"),
        ({"draining": True}, "draining"),
        ({"started": False}, "starting"),
    ],
)
def test_the_state_is_one_word(changes, state):
    """As readiness has it."""
    assert state == told(**changes).state


def test_lately_and_since_the_start_are_two_numbers():
    """A restart an hour ago is no traffic now."""
    quiet = told(beats=())

    assert Outcomes() == quiet.requests
    assert Outcomes(allowed=90, denied=8, failed=2) == quiet.requests_total
    assert Outcomes(allowed=90, denied=8, failed=2) == told().requests


def test_the_parts_are_told_as_they_are():
    """Snapshots pass through."""
    view = told()

    assert picture().store == view.store
    assert ["melon"] == [each.now.provider for each in view.providers]
    assert ["melon"] == [each.upstream for each in view.upstreams]
    assert ("c0ffee", 1, 2, 7) == (
        view.config,
        view.marks,
        view.in_flight,
        view.connections,
    )
