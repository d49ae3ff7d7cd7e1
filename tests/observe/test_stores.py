import pytest
from prometheus_client import CollectorRegistry

from gateway.errors import StoreUnavailable
from gateway.observe.metrics import Metrics
from gateway.observe.stores import Pooled, measured, watch_store
from gateway.stores.memory import open_store as open_memory
from gateway.stores.redis import open_store
from tests.stores.servers import serving


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


async def test_every_command_of_a_server_is_measured(registry, value, clock):
    """And does what it did; what is open and idle is shown."""
    with serving("valkey") as server:
        metrics = Metrics(registry)
        store = measured(open_store(server.url, clock=clock, deadline=5.0), metrics)
        watch_store(metrics, lambda: store)
        await store.put("k", b"v", ttl=60)
        got = await store.get("k")
        await store.delete("k")
        gone = await store.get("k")
        await store.ping()
        idle = value("redis_pool_connections", state="idle")
        in_use = value("redis_pool_connections", state="in_use")
        closed = value("circuit_state", target="redis", state="closed")
        await store.close()

    assert (b"v", None) == (got, gone)
    assert store.shared
    told = {
        each: value("redis_command_duration_seconds_count", op=each)
        for each in ("put", "get", "delete", "ping")
    }
    assert {"put": 1, "get": 2, "delete": 1, "ping": 1} == told
    assert (1, 0, 1) == (idle, in_use, closed)


async def test_a_failure_is_counted_by_how_and_handed_on(registry, value, clock):
    """First nobody is there, then nobody is asked."""
    with serving("valkey") as server:
        metrics = Metrics(registry)
        store = measured(open_store(server.url, clock=clock, deadline=5.0), metrics)
        watch_store(metrics, lambda: store)
        server.say("RPUSH", "list", "x")
        with pytest.raises(StoreUnavailable):
            await store.get("list")
        server.kill()
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await store.get("k")
        opened = value("circuit_state", target="redis", state="open")
        clock.advance(60)
        closed = value("circuit_state", target="redis", state="closed")
        await store.close()

    assert 1 == value("redis_errors_total", kind="refused")
    assert 1 == value("redis_errors_total", kind="unreachable")
    assert 1 == value("redis_errors_total", kind="resting")
    assert (1, 1) == (opened, closed)


def test_memory_needs_no_measuring(registry, clock):
    """It is this very process."""
    store = open_memory("memory://", clock=clock)

    assert store is measured(store, Metrics(registry))
    assert not isinstance(store, Pooled)
