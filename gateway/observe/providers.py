"""Tell operators how providers fare, as far as it is read when it is scraped. Floor 4.

Questions are counted when they are asked (`Metrics.provider_request`).
"""

from collections.abc import Callable
from functools import partial
from typing import Protocol, runtime_checkable

from gateway.breaker import BreakerState
from gateway.observe.metrics import Metrics, idp
from gateway.provider_http import ProviderClient


@runtime_checkable
class KeyHolder(Protocol):
    """A verifier with keys, such as `verifiers.jwt`."""

    @property
    def keys_known(self) -> int:
        """Count the keys in force."""
        ...

    @property
    def keys_fetched_at(self) -> float | None:
        """Tell when (Unix time) they were fetched; None where they are not, or not yet."""
        ...


def watch_questions(metrics: Metrics, name: str, client: ProviderClient) -> None:
    """Show what becomes of the questions to a provider."""
    watch_circuit(metrics, idp(name), lambda: client.breaker_state)
    metrics.watch("idp_questions", lambda: client.under_way, name, "under_way")
    metrics.watch("idp_questions", lambda: client.waiting, name, "waiting")


def watch_keys(metrics: Metrics, name: str, holder: KeyHolder | None) -> None:
    """Show how many keys of a provider there are, and how old they are; if any are."""
    metrics.watch(
        "jwks_keys", lambda: None if holder is None else holder.keys_known, name
    )
    metrics.watch(
        "jwks_last_refresh_timestamp_seconds",
        lambda: None if holder is None else holder.keys_fetched_at,
        name,
    )


def watch_circuit(
    metrics: Metrics, target: str, state: Callable[[], BreakerState | None]
) -> None:
    """Show a circuit breaker: a series for each state it may be in."""
    for each in BreakerState:
        is_in = partial(_is_in, state, each)
        metrics.watch("circuit_state", is_in, target, each.name.lower())


def _is_in(state: Callable[[], BreakerState | None], each: BreakerState) -> bool | None:
    now = state()
    return None if now is None else now is each
