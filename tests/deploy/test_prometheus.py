"""Rules, metrics and the dashboard, by a real Prometheus that watches a real gateway."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from deploy.grafana.dashboard import PANELS, Query
from tests.deploy.rules import FILES, promtool_tests
from tests.deploy.watched import (
    Load,
    draw,
    unanswered,
    watching,
    world,
)
from tests.functional.harness import eventually
from tests.stores.servers import serving

pytestmark = [
    pytest.mark.deploy,
    pytest.mark.timeout(180),
    pytest.mark.skipif(
        not (shutil.which("prometheus") and shutil.which("promtool")),
        reason="prometheus and promtool are not on the path (Debian: prometheus)",
    ),
]

OUTAGE = 60.0
"""Seconds within which an alert goes on or off, on a busy machine."""


def promtool(*words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    """Run promtool to its end."""
    return subprocess.run(  # noqa: S603
        [str(shutil.which("promtool")), *words],
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_prometheus_accepts_the_rules(path):
    """Every expression and template, with all its lint."""
    told = promtool("check", "rules", "--lint=all", "--lint-fatal", str(path))

    assert (0, "") == (told.returncode, told.stderr)


@pytest.mark.parametrize("every", ["1m", "5m"])
def test_every_alert_goes_on_when_it_should_and_only_then(tmp_path, every):
    """The files as they are, over hours and days of made-up series."""
    path = tmp_path / "tests.yml"
    path.write_text(yaml.safe_dump(promtool_tests(every)))
    told = promtool("test", "rules", str(path))

    assert 0 == told.returncode, told.stdout + told.stderr


def test_a_gateway_is_watched_while_everything_fails(tmp_path: Path):
    """Every panel has data; alerts go on by what really fails, and off again."""
    with (
        serving("valkey") as valkey,
        world(tmp_path, valkey.url) as (gateway, issuer),
        watching(tmp_path / "prometheus", gateway) as prometheus,
        Load(gateway.ports.proxy),
    ):
        eventually(prometheus.answers, within=OUTAGE)
        lint = promtool(
            "check", "metrics", typed=gateway.status("/metrics").body.decode()
        )

        def firing(*names: str) -> None:
            eventually(
                lambda: set(names) <= prometheus.alerts().keys(),
                within=OUTAGE,
                told=f"not all of {names}",
            )

        def silent(*names: str) -> None:
            eventually(
                lambda: prometheus.alerts().keys().isdisjoint(names),
                within=OUTAGE,
                told=f"still some of {names}",
            )

        eventually(lambda: gateway.metric("http_requests_total") > 400)
        calm = prometheus.alerts()
        issuer.down = True
        firing("GatewayIdpDown", "GatewayServingStale", "GatewayErrorBudgetBurnFast")
        told = prometheus.alerts()
        issuer.down = False
        silent("GatewayIdpDown", "GatewayServingStale")
        valkey.kill()
        firing("GatewayRedisDown", "GatewayRevocationsBlind")
        told |= prometheus.alerts()
        valkey.start()
        silent("GatewayRedisDown", "GatewayRevocationsBlind")
        missing = unanswered(prometheus)
        named = [
            labels
            for panel in PANELS
            for query in panel.queries
            if query.exemplars
            for labels in prometheus.exemplars(query)
        ]
        nothing = prometheus.series(Query("gateway_of_nobody", "none"))
        if place := os.environ.get("PICTURE"):
            draw(prometheus, Path(place))

    assert (0, "") == (lint.returncode, lint.stdout + lint.stderr)
    assert {} == calm
    assert [] == missing
    assert [] == nothing
    assert {"trace_id"} == {label for labels in named for label in labels}
    for alert in told.values():
        assert "error expanding" not in str(alert["annotations"])
        assert alert["annotations"]["runbook_url"].endswith(
            alert["labels"]["alertname"].lower()
        )
