"""Scopes, as RFC 6749 §3.3 has them: space separated, exact. Floor 2.

A route's demand is a list of strings, `["a b", "c"]`, read as (a and b) or c. Nothing
is ever matched in part: `admin,read` is one odd scope, and grants nothing.
"""

import re
from collections.abc import Sequence
from typing import Final

_SCOPE_TOKEN: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")

Expression = tuple[frozenset[str], ...]
"""Alternatives; each is a set of scopes that are needed together."""


def parse_scope(text: str) -> frozenset[str]:
    """Read a scope list; surplus spaces mean nothing, an empty text no scope.

    Raises `ValueError`, which holds nothing of `text`, for any character that
    RFC 6749 does not allow: a tab or a line feed never separates scopes.
    """
    scopes = frozenset(filter(None, text.split(" ")))
    if not all(map(_SCOPE_TOKEN.fullmatch, scopes)):
        msg = "expected scopes of RFC 6749 §3.3 characters, separated by spaces"
        raise ValueError(msg)
    return scopes


def parse_expression(alternatives: Sequence[str]) -> Expression:
    """Read what a route demands; an empty list demands nothing.

    Raises `ValueError` for an alternative that names no scope: it would let
    everything through.
    """
    expression = tuple(dict.fromkeys(map(parse_scope, alternatives)))
    if not all(expression):
        msg = "expected at least one scope in each alternative"
        raise ValueError(msg)
    return expression


def satisfies(granted: frozenset[str], expression: Expression) -> bool:
    """Tell whether `granted` covers one of the alternatives."""
    for needed in expression:  # a loop: `any` takes three times as long
        if needed <= granted:
            return True
    return not expression


def for_challenge(expression: Expression) -> str:
    """Give the `scope` attribute of a challenge (RFC 6750 §3): one way to succeed.

    The attribute cannot say *or*, so it names the first alternative.
    """
    return " ".join(sorted(expression[0])) if expression else ""
