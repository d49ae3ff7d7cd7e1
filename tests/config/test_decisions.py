"""Proves that whoever lets engines keep decisions is told the price."""

from gateway.config.decisions import Decisions, price
from tests.config.texts import loaded


def test_the_price_of_kept_decisions_is_told():
    """In seconds: for so long a revocation is not heard of."""
    [line] = loaded("decisions: {max_age: 5s}").warnings

    assert "decisions.max_age: an engine may keep leave for 5s: " in line
    assert "revoked" in line


def test_nothing_is_kept_by_default_and_costs_nothing():
    """So nobody is warned who never asked for it."""
    assert "" == price(Decisions())
    assert [] == list(loaded("decisions: {max_age: 0s}").warnings)
