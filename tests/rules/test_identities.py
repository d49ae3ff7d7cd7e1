import pytest

from gateway.rules.identities import identity
from gateway.values import Secret

URL = "https://op.example/introspect?key=abc"


def test_every_part_changes_the_identity():
    """Two verifiers that could disagree never share a cache key (CVE-2026-33496)."""
    parts: dict[str, object] = {
        "issuer": None,
        "audience": frozenset({"a", "b"}),
        "secret": Secret("s"),
    }
    changed = [
        {**parts, "issuer": "https://op"},
        {**parts, "audience": frozenset({"a"})},
        {**parts, "secret": Secret("t")},
    ]

    assert 4 == len({identity("jwt", URL, one) for one in [parts, *changed]})


def test_order_changes_nothing():
    """Every process, and every reading of the file, gives the same."""
    assert identity("jwt", URL, {"a": frozenset("xyz"), "b": 1}) == identity(
        "jwt", URL, {"b": 1, "a": frozenset("zyx")}
    )


def test_it_tells_who_is_asked_and_no_secret():
    """The address without its query, and a fingerprint."""
    told = identity("introspection", URL, {"secret": Secret("sesame")})

    assert told.startswith("introspection https://op.example/introspect ")
    assert "sesame" not in told
    assert "abc" not in told


def test_a_part_without_a_plain_form_is_a_mistake():
    """Silently dropping it could merge two identities."""
    with pytest.raises(TypeError):
        identity("jwt", URL, {"part": object()})
