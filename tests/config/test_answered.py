"""Proves what is asked of routes that are answered here (logouts: `test_logouts`)."""

import pytest

from tests.config.test_resources import PLACE, SECTION, described
from tests.config.texts import told


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (described(""), "routes[1].resource: expected this key"),
        (
            described(kind="provider: main, upstream: api"),
            "routes[1].resource: expected kind: protected-resource",
        ),
        (
            described(match=f"host: b.example, path: {PLACE}"),
            "routes[1].match.host: expected api.example: there clients look for it",
        ),
        (
            described(match="host: api.example, path: /metadata"),
            f"routes[1].match.path: expected {PLACE}: there clients look for it",
        ),
        (
            described(SECTION + ", upstream: api"),
            "routes[1].upstream: expected nothing: protected-resource decides it",
        ),
        (
            described(SECTION + ", provider: main"),
            "routes[1].provider: expected nothing: protected-resource decides it",
        ),
        (
            described(match=f"host: api.example, path: {PLACE}, methods: [POST]"),
            (
                "routes[1].match.methods: expected GET and HEAD alone for "
                "protected-resource"
            ),
        ),
    ],
)
def test_metadata_are_where_clients_look_and_of_something(text, expected):
    """Anything else would never be found, or tell nothing."""
    assert [expected] == told(text)
