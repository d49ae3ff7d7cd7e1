import asyncio
import contextlib
import json

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from gateway.errors import UpstreamUnavailable
from gateway.observe.logs import Log
from gateway.observe.upstreams import UpstreamLog, UpstreamMetrics
from gateway.values import Origin, UpstreamSettings
from gateway.wire.deadlines import Deadlines
from gateway.wire.pool import Pool


@pytest.fixture
def registry():
    """One of its own for each test: the library's is global."""
    return CollectorRegistry()


@pytest.fixture
async def here():
    """A silent server, as an origin; it waits for the end of every connection."""
    accepted: list[asyncio.Task[None]] = []

    async def silent(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        work = silent(reader, writer)
        accepted.append(asyncio.get_running_loop().create_task(work))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    yield Origin("http", "127.0.0.1", server.sockets[0].getsockname()[1])
    server.close()
    await asyncio.gather(*accepted)


async def unknown(host: str, port: int) -> list[str]:
    """Know no name (`Resolver`)."""
    raise OSError


async def test_a_scrape_sees_what_is_true_now(registry, here):
    """Connections, addresses, who waits, and what went wrong until now."""
    origins = (
        here,
        Origin("http", "127.0.0.1", 9),
        Origin("http", "api.example", 80, resolved=True),
    )
    settings = UpstreamSettings(name="api", origins=origins, connections=8)
    deadlines = Deadlines(asyncio.get_running_loop())
    pool = Pool(settings, deadlines, resolver=unknown)
    registry.register(UpstreamMetrics(lambda: [pool]))
    await pool.start()
    pool.retried()
    taken = [await pool.take() for _ in range(8)]
    pool.give_back(taken[0])

    def value(name: str, **labels: str) -> float | None:
        series = {"upstream": "api", **labels}
        found: float | None = registry.get_sample_value(
            f"gateway_upstream_{name}", series
        )
        return found

    alive, dead, name = (str(origin) for origin in origins)
    assert 7 == value("connections", target=alive, state="busy")
    assert 1 == value("connections", target=alive, state="idle")
    assert 0 == value("connections", target=alive, state="opening")
    assert 1 == value("addresses", target=alive, state="serving")
    assert 1 == value("addresses", target=dead, state="ejected")
    assert 0 == value("addresses", target=dead, state="serving")
    assert 0 == value("addresses", target=name, state="serving")
    assert 1 == value("ejections_total", target=dead)
    assert 0 == value("ejections_total", target=alive)
    assert 1 == value("resolution_failures_total", target=name)
    assert 0 == value("waiting")
    assert 1 == value("retries_total", reason="closed")
    # The dead one was tried first, until it was put out.
    assert 3 == value("retries_total", reason="connect")
    pool.abort()


async def test_who_waits_is_counted(registry, here):
    """An upstream that is too small shows it."""
    settings = UpstreamSettings(name="api", origins=(here,), connections=1)
    pool = Pool(settings, Deadlines(asyncio.get_running_loop()))
    registry.register(UpstreamMetrics(lambda: [pool]))
    await pool.take()
    waiting = asyncio.get_running_loop().create_task(pool.take())
    await asyncio.sleep(0)

    assert b'gateway_upstream_waiting{upstream="api"} 1.0' in generate_latest(registry)
    waiting.cancel()
    pool.abort()
    with pytest.raises(asyncio.CancelledError):
        await waiting


def test_names_are_known_before_there_are_pools(registry):
    """Two collectors of one name are a mistake that is found at once."""

    def none_yet():
        raise UpstreamUnavailable

    registry.register(UpstreamMetrics(none_yet))
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        registry.register(UpstreamMetrics(none_yet))


def test_operators_are_told_who_is_out(tmp_path, clock):
    """Once in a while for one kind of trouble; to be well again is good news."""
    path = tmp_path / "events.log"
    with path.open("wb") as stream:
        log = Log(stream, clock)
        for event in ("ejected", "ejected", "unwell", "well", "unresolved"):
            UpstreamLog(log).target("api", "http://a:80", event)
        log.close()
    told = [json.loads(line) for line in path.read_text().splitlines()]

    assert [
        ("warning", "target_ejected"),
        ("warning", "target_unwell"),
        ("info", "target_well"),
        ("warning", "target_unresolved"),
    ] == [(each["level"], each["event"]) for each in told]
    assert {("api", "http://a:80")} == {
        (each["upstream"], each["target"]) for each in told
    }
