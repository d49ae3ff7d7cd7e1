import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.admin.pulse import KEPT, Beat
from gateway.admin.traffic import (
    Outcomes,
    lately,
    latency,
    outcome,
    outcomes,
    quantile,
    reasons,
    series,
    sources,
)
from tests.admin.samples import BOUNDS, BUSY, NOW, SLOT, picture


@pytest.mark.parametrize(
    ("decision", "reason", "expected"),
    [
        ("allow", "ok", "allowed"),
        ("allow", "public", "allowed"),
        ("shadow", "expired", "allowed"),
        ("deny", "expired", "denied"),
        ("deny", "no_route", "denied"),
        ("error", "provider_unavailable", "failed"),
        ("allow", "upstream_timeout", "failed"),
        ("deny", "upstream_busy", "failed"),
    ],
)
def test_an_outcome_is_what_the_client_got(decision, reason, expected):
    """A request that was permitted and found its upstream dead has failed."""
    assert expected == outcome(decision, reason)


def test_outcomes_are_counted_for_all_and_for_one_route():
    """Everything that ended is in one of the three."""
    assert Outcomes(allowed=90, denied=8, failed=2) == outcomes(BUSY)
    assert Outcomes(failed=1) == outcomes(BUSY, "me")
    assert 100 == outcomes(BUSY).all


def test_a_quantile_is_spread_within_its_bucket():
    """Half of 50, 45, 5 are below the first bound."""
    told = latency((50, 45, 5, 0), BOUNDS)

    assert told.p50 == pytest.approx(0.001)
    assert told.p95 == pytest.approx(0.01)
    assert told.p99 == pytest.approx(0.082)


def test_without_requests_there_is_no_quantile():
    """Nought would read as very fast."""
    assert quantile(0.5, (), BOUNDS) is None
    assert quantile(0.5, (0, 0, 0, 0), BOUNDS) is None


def test_beyond_the_last_bound_it_is_told_as_that():
    """More is not known."""
    assert 0.1 == quantile(0.5, (0, 0, 0, 9), BOUNDS)


@given(st.lists(st.integers(0, 1000), min_size=4, max_size=4), st.floats(0.01, 1))
def test_a_quantile_is_never_out_of_bounds(counts, share):
    """Whatever was counted."""
    told = quantile(share, counts, BOUNDS)

    assert (told is None) == (not sum(counts))
    assert told is None or 0 <= told <= BOUNDS[-1]


def test_the_series_has_every_slot_of_the_window():
    """Quiet ones too: the time axis does not lie."""
    told = series([Beat(SLOT - 1, BUSY)], BOUNDS, NOW)

    assert KEPT == len(told)
    assert [100, 0] == [each.requests.all for each in told[-2:]]
    assert NOW == told[-1].at


def test_what_is_older_is_not_lately():
    """A process that slept has old slots."""
    old = picture(beats=(Beat(SLOT - KEPT, BUSY), Beat(SLOT - KEPT + 1, BUSY)))

    assert 90 == lately(old, NOW).decided[0].count


def test_reasons_are_of_what_was_not_allowed():
    """The most frequent first."""
    told = [(each.reason, each.count) for each in reasons(BUSY)]

    expected = [
        ("insufficient_scope", 8),
        ("provider_unavailable", 1),
        ("upstream_timeout", 1),
    ]
    assert expected == told


def test_every_source_is_told():
    """Also those that nothing came from."""
    expected = {"l1": 80, "l2": 0, "provider": 20, "stale": 0}
    assert expected == sources(BUSY)
