"""Some of the troubles of `make faults`, for a moment each."""

import pytest

from tests.faults.faults import COLUMNS, endure, report, row
from tests.faults.place import opened
from tests.faults.troubles import TROUBLES

MOMENT = 0.5
CHOSEN = (
    "store killed, restarted empty",
    "store: garbage values",
    "provider answers 500",
    "provider: active false, then true",
    "JWKS rotated",
)


@pytest.mark.timeout(120)
async def test_no_trouble_lets_a_bad_token_in_or_keeps_a_known_one_out():
    """And all is well again by itself."""
    chosen = [trouble for trouble in TROUBLES if trouble.name in CHOSEN]
    async with opened("valkey") as place:
        outcomes = [
            await endure(place, trouble, lasts=MOMENT, often=3) for trouble in chosen
        ]

    assert len(CHOSEN) == len(outcomes)
    for outcome in outcomes:
        assert [] == outcome.wrong, outcome.trouble.name
        assert len(COLUMNS) == len(row(outcome))
        assert f"| {outcome.trouble.name} |" in report(outcomes, [])


def test_every_trouble_has_a_name_of_its_own():
    """Rows are told apart by it."""
    assert len(TROUBLES) == len({trouble.name for trouble in TROUBLES})
