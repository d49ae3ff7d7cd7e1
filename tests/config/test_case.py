"""Proves how checks name what they complain of."""

import pytest

from gateway.config.case import Case
from gateway.config.report import Mark, Report
from tests.config.texts import REGISTRY, ROUTE, TABLES, loaded


@pytest.fixture
def case() -> Case:
    """One with a single route, the third of its file."""
    marks = {
        (): Mark("a.yaml", 1),
        ("routes", 2): Mark("a.yaml", 7, "routes[2]"),
    }
    report = Report(marks=marks, files=["a.yaml"])
    return Case(loaded(TABLES + ROUTE).config, REGISTRY, report, (2,))


def test_a_route_is_named_by_its_place_in_the_file(case):
    """Also where others were left out."""
    assert [(("routes", 2), "a")] == [(path, each.id) for path, each in case.routes()]


def test_a_name_that_leads_nowhere_is_a_problem(case):
    """With the nearest one that there is."""
    case.refer(("routes", 2), "main", "provider", {"main": 1})
    assert [] == case.report.problems

    case.refer(("routes", 2), "mian", "provider", {"main": 1})

    [line] = case.report.error().problems
    assert "a.yaml:7: routes[2]: expected a known provider" in line
    assert "did you mean `main`?" in line
