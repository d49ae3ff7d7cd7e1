import pytest

from gateway.admin.parts import provider_view, upstream_view
from tests.admin.samples import pool, provider, tally, target

GONE = {"serving": 0, "ejected": 1, "unwell": 0}


@pytest.mark.parametrize(
    ("breaker", "asked", "state", "failures"),
    [
        (0, ("introspect", "200", 9), "good", {}),
        (0, ("introspect", "timeout", 2), "warn", {"timeout": 2}),
        (0, ("introspect", "503", 2), "warn", {"503": 2}),
        (0, ("introspect", "429", 2), "warn", {"429": 2}),
        (0, ("introspect", "401", 2), "warn", {"401": 2}),
        (0, ("userinfo", "401", 2), "good", {}),
        (0, ("introspect", "cancelled", 2), "good", {}),
        (1, ("introspect", "200", 9), "warn", {}),
        (2, ("introspect", "refused", 9), "bad", {"refused": 9}),
    ],
)
def test_a_provider_is_as_its_answers_are(breaker, asked, state, failures):
    """Userinfo refuses tokens by 401; an introspection's 401 is about our secret."""
    now = provider(breaker=breaker)
    view = provider_view(
        now, tally(asked=(("melon", *asked), ("nugu", "jwks", "tls", 5)))
    )

    assert (state, failures) == (view.state, view.failures)
    assert asked[-1] == view.asked


@pytest.mark.parametrize(
    ("targets", "state"),
    [
        ((target(),), "good"),
        ((target(), target(addresses=GONE)), "warn"),
        ((target(addresses=GONE), target(addresses=GONE)), "bad"),
        ((target(addresses={"serving": 1, "ejected": 1, "unwell": 0}),), "warn"),
        ((target(addresses={"serving": 0, "ejected": 0, "unwell": 0}),), "bad"),
    ],
)
def test_an_upstream_is_as_its_targets_are(targets, state):
    """It is bad when nobody is left, or nobody was ever found."""
    assert state == upstream_view(pool(*targets)).state
