import pytest
from prometheus_client import CollectorRegistry

from gateway.breaker import BreakerState
from gateway.observe.metrics import Metrics
from gateway.observe.providers import (
    KeyHolder,
    watch_circuit,
    watch_keys,
    watch_questions,
)
from gateway.provider_http import ProviderClient


@pytest.fixture
def registry():
    """One of its own for each test: the library's is global."""
    return CollectorRegistry()


@pytest.fixture
def value(registry):
    """Scrape one value."""

    def read(name: str, **labels: str) -> float | None:
        found: float | None = registry.get_sample_value(f"gateway_{name}", labels)
        return found

    return read


class Keys:
    """Two keys, as `verifiers.jwt` tells of them."""

    keys_known = 2
    keys_fetched_at: float | None = None


@pytest.mark.parametrize("now", BreakerState)
def test_a_circuit_is_in_one_state(registry, value, now):
    """One series for each, of which one is 1."""
    watch_circuit(Metrics(registry), "redis", lambda: now)

    told = {
        each: value("circuit_state", target="redis", state=each.name.lower())
        for each in BreakerState
    }
    assert {each: float(each is now) for each in BreakerState} == told


async def test_questions_to_a_provider_are_shown(registry, value):
    """How many, and whether any are asked."""
    async with ProviderClient("acme") as client:
        watch_questions(Metrics(registry), "acme", client)

        assert 0 == value("idp_questions", provider="acme", state="under_way")
        assert 0 == value("idp_questions", provider="acme", state="waiting")
        assert 1 == value("circuit_state", target="idp:acme", state="closed")
        assert 0 == value("circuit_state", target="idp:acme", state="open")


def test_keys_have_an_age_once_they_were_fetched(registry, value):
    """Those of a file never were."""
    keys = Keys()
    watch_keys(Metrics(registry), "acme", keys)
    fetched = "jwks_last_refresh_timestamp_seconds"
    before = value(fetched, provider="acme")
    keys.keys_fetched_at = 1_800_000_000.0

    assert isinstance(keys, KeyHolder)
    assert 2 == value("jwks_keys", provider="acme")
    assert before is None
    assert 1_800_000_000 == value(fetched, provider="acme")
