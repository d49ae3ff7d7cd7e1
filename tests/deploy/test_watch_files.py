"""Rules, runbooks and the dashboard fit each other and the metrics there are."""

import json
import re

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.dashboard import PANELS, PLACE, dashboard, written
from tests.deploy.rules import CASES, FOLDER, ROOT, alerts, rules

REFERENCE = (FOLDER / "README.md").read_text()
RUNBOOKS = (FOLDER / "runbooks.md").read_text()
EXPRESSIONS = [
    *(rule["expr"] for rule in rules()),
    *(query.expr for panel in PANELS for query in panel.queries),
]
PARTS = ("_bucket", "_count", "_sum")


def test_the_dashboard_is_what_its_code_makes():
    """`make dashboard` writes the file; whoever changes one changes both."""
    assert PLACE.read_text() == written()


def test_the_dashboard_can_be_read_back():
    """By Grafana's own model of one, without a loss."""
    told = dashboard()
    again = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(told)))

    assert told == again
    assert 12 == len(told["panels"])
    assert {"datasource", "namespace", "pod", "route"} == {
        each["name"] for each in told["templating"]["list"]
    }


@pytest.mark.parametrize("expr", EXPRESSIONS)
def test_only_metrics_that_there_are_are_asked_for(expr):
    """A misspelt one would be an empty panel, or an alert that never comes."""
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    there = set(re.findall(r"^\| `(gateway_\w+)` \|", REFERENCE, re.MULTILINE))
    asked = set(re.findall(r"(?<![:\w])gateway_\w+", expr))
    for part in PARTS:
        asked = {name.removesuffix(part) for name in asked}

    assert asked <= there
    assert set(re.findall(r"\b\w+:\w+:\w+\b", expr)) <= recorded
    assert asked or "process_" in expr or ":" in expr


def test_every_alert_has_a_case_a_runbook_and_a_severity():
    """And no runbook tells of one that is gone."""
    chapters = re.findall(r"^## (\w+)$", RUNBOOKS, re.MULTILINE)

    assert sorted(alerts()) == sorted(CASES) == sorted(chapters)
    for name, rule in alerts().items():
        anchor = f"deploy/prometheus/runbooks.md#{name.lower()}"
        assert anchor == rule["annotations"]["runbook_url"]
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert {"summary", "description"} < rule["annotations"].keys()


@pytest.mark.parametrize("text", [REFERENCE, RUNBOOKS])
def test_links_lead_somewhere(text):
    """No link is dead, within the page or to another."""
    chapters = {each.lower() for each in re.findall(r"^## (\w+)$", text, re.MULTILINE)}
    for page, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", text):
        assert (FOLDER / page).exists()
        assert page or anchor in chapters
    assert ROOT in FOLDER.parents
