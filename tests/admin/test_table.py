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
from tests.admin.samples import BUSY, ROUTES, tally


@pytest.mark.parametrize(
    ("route", "rules"),
    [
        ({}, ()),
        ({"access": Access.PUBLIC}, ("public: no token asked",)),
        ({"access": Access.OPTIONAL}, ("a token is optional",)),
        ({"kind": RouteKind.OAUTH_TOKEN}, ("guarded oauth-token",)),
        ({"shadow": True}, ("in shadow: nobody is refused",)),
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
                    acr=("gold", "silver"),
                    max_age=60.0,
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
                "login by gold or silver",
                "login at most 60 s ago",
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


def test_who_would_be_refused_but_for_the_shadow_is_counted():
    """They were allowed, and the reason is what one wants to know."""
    told = tally(("likes", "shadow", "insufficient_scope", 7))
    likes, _ = rows(ROUTES, told, Tally())

    assert Outcomes(allowed=7) == likes.requests
    assert (7, "insufficient_scope") == (likes.shadow, likes.top_reason)


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
