"""SECURITY.md tells the truth: what it names exists."""

import ast
import re
from pathlib import Path
from typing import Final

from tests.attacks import responses, test_received, test_requests

TESTS: Final = Path(__file__).parent.parent
TEXT: Final = (TESTS.parent / "SECURITY.md").read_text()
NAMED: Final = sorted(set(re.findall(r"`([a-z0-9_/]+\.py)::([a-z0-9_]+)`", TEXT)))
CASES: Final = sorted(set(re.findall(r"`(request|answer|heard): ([^`]+)`", TEXT)))
ROWS: Final = [
    line for line in TEXT.splitlines() if line.startswith("| ") and "---" not in line
]
GROUPS: Final = {
    "request": {row.group for row in test_requests.TABLE},
    "answer": {row.group for row in responses.TABLE},
}


def functions(path: str) -> set[str]:
    """Give the names of what a test file defines."""
    file = TESTS / path
    tree = ast.parse(file.read_bytes()) if file.exists() else ast.Module([], [])
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {each.name for each in tree.body if isinstance(each, kinds)}


def test_every_test_that_is_named_exists():
    """A promise without its test is none."""
    there = {path: functions(path) for path in {path for path, _ in NAMED}}

    assert [] == [(path, name) for path, name in NAMED if name not in there[path]]


def test_every_case_that_is_named_exists():
    """Groups of the two tables, and single cases of what the upstream hears."""
    heard = [row.name for row in test_received.TABLE]
    unknown = [
        (kind, name)
        for kind, name in CASES
        if name not in GROUPS.get(kind, ())
        and not (kind == "heard" and any(each.startswith(name) for each in heard))
    ]

    assert [] == unknown


def test_every_group_of_cases_is_named():
    """What is tested is also told."""
    told = {(kind, name) for kind, name in CASES if kind != "heard"}

    assert {(kind, name) for kind, names in GROUPS.items() for name in names} == told


def test_every_hole_has_its_test_or_a_reason():
    """The last column is never empty."""
    excuses = ("not applicable because", "not yet", "held by", "is believed")
    # The table of who is believed what comes before those of holes.
    holes = [row for row in ROWS if TEXT.index(row) > TEXT.index("### A.")]

    assert len(holes) > 90
    for row in holes:
        last = row.rstrip(" |").rpartition(" | ")[2]
        assert "`" in last or any(excuse in last for excuse in excuses)
