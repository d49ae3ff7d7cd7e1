from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from prometheus_client import CollectorRegistry, Counter

from gateway.fronts.status import status_app


@dataclass
class Process:
    """A process whose life a test tells."""

    started: bool = True
    draining: bool = False
    parts: Mapping[str, bool] = field(default_factory=dict)

    def conditions(self) -> Mapping[str, bool]:
        return self.parts


@pytest.fixture
def process():
    """A process that is up and well."""
    return Process()


@pytest.fixture
async def status(aiohttp_client, process):
    """A client of the status listener."""
    registry = CollectorRegistry()
    Counter("seen", "Requests seen.", registry=registry).inc()
    return await aiohttp_client(status_app(process, registry))


@pytest.mark.parametrize(
    ("started", "draining", "expected"),
    [
        (False, False, {"/livez": 200, "/readyz": 503, "/startupz": 503}),
        (True, False, {"/livez": 200, "/readyz": 200, "/startupz": 200}),
        (True, True, {"/livez": 200, "/readyz": 503, "/startupz": 200}),
    ],
)
async def test_probes_follow_the_life_of_the_process(
    status, process, started, draining, expected
):
    """A draining process is alive, has started, and wants no new requests."""
    process.started, process.draining = started, draining
    answered = {}
    for path in expected:
        async with status.get(path) as answer:
            answered[path] = answer.status
            assert "no-store" == answer.headers["Cache-Control"]

    assert expected == answered


async def test_a_lost_store_degrades_but_does_not_unready(status, process):
    """Every replica would leave the service at once for a trouble they share."""
    process.parts = {"store": False, "marks": True}

    async with status.get("/readyz") as answer:
        assert (200, "ready\n") == (answer.status, await answer.text())
    async with status.get("/readyz?verbose") as answer:
        assert 200 == answer.status
        assert [
            "[+] started",
            "[+] not draining",
            "[!] store degraded",
            "[+] marks",
            "ready",
        ] == (await answer.text()).splitlines()


async def test_the_verbose_probe_tells_what_is_missing(status, process):
    """Whoever asks why sees which need is not met."""
    process.draining = True

    async with status.get("/readyz?verbose") as answer:
        assert 503 == answer.status
        assert "[-] not draining\nnot ready\n" in await answer.text()


async def test_metrics_come_in_the_form_that_is_asked_for(status):
    """Prometheus asks for OpenMetrics, people for plain text."""
    async with status.get("/metrics") as answer:
        assert 200 == answer.status
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert "seen_total 1.0\n" in await answer.text()
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    async with status.get("/metrics", headers=accept) as answer:
        assert "application/openmetrics-text" == answer.content_type
        assert (await answer.text()).endswith("# EOF\n")


@pytest.mark.parametrize(
    "path",
    ["/", "/metrics/", "/api/explain", "/livez/x", "/SECRET?access_token=SECRET"],
)
async def test_nothing_else_is_served(status, path):
    """A 404 from a fixed text."""
    async with status.get(path) as answer:
        assert 404 == answer.status
        assert "SECRET" not in await answer.text()


async def test_nothing_can_be_changed(status):
    """There are no writes on a listener without authentication."""
    for path in ("/livez", "/readyz", "/startupz", "/metrics"):
        async with status.post(path) as answer:
            assert 405 == answer.status
