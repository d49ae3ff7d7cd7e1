import pytest

from gateway.config.load import load
from gateway.errors import ConfigError
from tests.config.texts import FRAME, REGISTRY


def test_nothing_is_traced_unless_it_is_asked_for():
    """And then anybody's trace goes on here."""
    assert not load(FRAME, REGISTRY, {}).config.tracing.enabled
    asked = load(f"{FRAME}tracing: {{enabled: true}}\n", REGISTRY, {}).config.tracing

    assert (True, "anybody") == (asked.enabled, asked.parent)


def test_whose_trace_goes_on_is_one_of_two():
    """The message names both."""
    with pytest.raises(ConfigError) as caught:
        load(f"{FRAME}tracing: {{parent: us}}\n", REGISTRY, {})

    (problem,) = caught.value.problems
    assert "tracing.parent: expected" in problem
    assert "anybody" in problem
    assert "trusted" in problem
