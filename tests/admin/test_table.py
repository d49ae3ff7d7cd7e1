import pytest

from gateway.admin.pulse import Tally
from gateway.admin.table import rows
from gateway.admin.traffic import Outcomes
from gateway.values import (
    Access,
    ClaimRule,
    DeviceRule,
    Requirements,
    Route,
    RouteKind,
)
from tests.admin.samples import BUSY, ROUTES


@pytest.mark.parametrize(
    ("route", "rules"),
    [
        ({}, ()),
        ({"access": Access.PUBLIC}, ("public: no token asked",)),
        ({"access": Access.OPTIONAL}, ("a token is optional",)),
        ({"kind": RouteKind.OAUTH_TOKEN}, ("guarded oauth-token",)),
        ({"strict_revocation": True}, ("revocation: strict",)),
        ({"upgrades": frozenset({b"websocket"})}, ("upgrades: websocket",)),
        (
            {
                "require": Requirements(
                    scopes=(frozenset({"b", "a"}), frozenset({"c"})),
                    issuers=frozenset({"i"}),
                    audiences=frozenset({"y", "x"}),
                    clients=frozenset({"shop"}),
                    claims=(ClaimRule("plan.tier", frozenset({"gold"})),),
                    device=DeviceRule(header=b"x-device"),
                    max_fact_age=5.0,
                )
            },
            (
                "scope a b or c",
                "issuer i",
                "audience x or y",
                "client shop",
                "plan.tier = gold",
                "device in x-device",
                "facts at most 5 s old",
            ),
        ),
    ],
)
def test_rules_are_told_in_words(route, rules):
    """As they are applied, not as they were written."""
    (row,) = rows([Route(id="r", **route)], Tally(), Tally())

    assert rules == row.rules


def test_each_row_has_its_own_counts():
    """And the most frequent reason of what was not allowed."""
    likes, me = rows(ROUTES, BUSY, Tally())

    assert Outcomes(allowed=90, denied=8, failed=1) == likes.requests
    assert "insufficient_scope" == likes.top_reason
    assert Outcomes(failed=1) == me.requests
    assert Outcomes() == me.total


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", ["likes", "me"]),
        ("MELON", ["likes", "me"]),
        ("get oauth", ["likes"]),
        ("all", ["me"]),
        ("melon nugu", []),
    ],
)
def test_words_may_be_anywhere_in_a_row(words, expected):
    """Method, path, scope, provider, whatever one remembers."""
    assert expected == [row.id for row in rows(ROUTES, BUSY, BUSY, words)]
