"""Tell operators how the shared store fares. Floor 4.

What is measured is the store of facts and grants, whose commands requests wait for.
Marks are read, and locks waited for, by clients of their own, whose commands block on
purpose: `gateway_revocations_blind` and `cache_requests_total{tier="flight"}` tell of
those.
"""

import time
from collections.abc import Callable
from typing import Final, Protocol, runtime_checkable

from gateway.breaker import BreakerState
from gateway.errors import StoreUnavailable
from gateway.observe.metrics import REDIS, Metrics
from gateway.observe.providers import watch_circuit
from gateway.ports import Store


@runtime_checkable
class Pooled(Protocol):
    """A store behind connections."""

    @property
    def resting(self) -> bool:
        """Tell whether a server is left alone, since it could not be reached."""
        ...

    def connections(self) -> tuple[int, int]:
        """Count the connections in use and those that are idle."""
        ...


class MeasuredStore:
    """Keeps `ports.Store` by another store, and tells how long that took."""

    def __init__(self, store: Store, pooled: Pooled, metrics: Metrics) -> None:
        self._store: Final = store
        self.pooled: Final = pooled
        """The same store, as what can be asked about its connections."""
        self._metrics: Final = metrics
        self.shared: Final = store.shared

    def __repr__(self) -> str:
        return f"<MeasuredStore {self._store!r}>"

    async def get(self, key: str) -> bytes | None:
        """Give the value, or None."""
        with _Measured(self._metrics, "get"):
            return await self._store.get(key)

    async def put(self, key: str, value: bytes, *, ttl: float) -> None:
        """Keep `value` for `ttl` seconds."""
        with _Measured(self._metrics, "put"):
            await self._store.put(key, value, ttl=ttl)

    async def add(self, key: str, value: bytes, *, ttl: float) -> bool:
        """Keep `value` if nothing is there."""
        with _Measured(self._metrics, "add"):
            return await self._store.add(key, value, ttl=ttl)

    async def delete(self, key: str) -> None:
        """Forget `key`."""
        with _Measured(self._metrics, "delete"):
            await self._store.delete(key)

    async def ping(self) -> None:
        """Prove that the store answers."""
        with _Measured(self._metrics, "ping"):
            await self._store.ping()

    async def close(self) -> None:
        """Let go of every connection."""
        await self._store.close()


class _Measured:
    """One command."""

    __slots__ = ("_metrics", "_operation", "_since")

    def __init__(self, metrics: Metrics, operation: str) -> None:
        self._metrics = metrics
        self._operation = operation

    def __enter__(self) -> None:
        self._since = time.monotonic()

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        failure = error.kind if isinstance(error, StoreUnavailable) else ""
        seconds = time.monotonic() - self._since
        self._metrics.store_command(self._operation, seconds, failure)


def measured(
    store: Store, metrics: Metrics, through: Callable[[Store], Store] | None = None
) -> Store:
    """Measure a store that is behind connections; memory needs none of it.

    Its commands go `through` what this makes of it.
    """
    if not isinstance(store, Pooled):
        return store
    return MeasuredStore(store if through is None else through(store), store, metrics)


def watch_store(metrics: Metrics, store: Callable[[], Store]) -> None:
    """Show how the store in use is, if it is behind connections."""

    def pooled() -> Pooled | None:
        used = store()
        return used.pooled if isinstance(used, MeasuredStore) else None

    def circuit() -> BreakerState | None:
        if (used := pooled()) is None:
            return None
        return BreakerState.OPEN if used.resting else BreakerState.CLOSED

    def connections(which: int) -> float | None:
        return None if (used := pooled()) is None else used.connections()[which]

    watch_circuit(metrics, REDIS, circuit)
    metrics.watch("redis_pool_connections", lambda: connections(0), "in_use")
    metrics.watch("redis_pool_connections", lambda: connections(1), "idle")
