from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.document import Value, read
from gateway.config.expand import Sources
from gateway.config.report import Report


def reading(text: str, **environ: str) -> tuple[Value, Report]:
    """Read a text, whatever is wrong with it."""
    report = Report()
    return read(text, "f", Sources(environ, Path()), report), report


def value(text: str, **environ: str) -> Value:
    """Read a text that has no problem."""
    found, report = reading(text, **environ)
    assert [] == report.problems
    return found


def problems(text: str, **environ: str) -> list[str]:
    """Read a text that has problems."""
    return reading(text, **environ)[1].error().problems


@pytest.mark.parametrize(
    ("text", "scalar"),
    [
        ("5", 5),
        ("-5", -5),
        ("0", 0),
        ("1.5", 1.5),
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        # What YAML 1.1 would have made into something else:
        ("yes", "yes"),
        ("on", "on"),
        ("TRUE", "TRUE"),
        ("010", "010"),
        ("0o17", "0o17"),
        ("0x1F", "0x1F"),
        ("12:30", "12:30"),
        ("1_000", "1_000"),
        ("1e3", "1e3"),
        (".inf", ".inf"),
        ("2026-01-01", "2026-01-01"),
        ("9" * 5000, "9" * 5000),
        # What is quoted is text.
        ("'5'", "5"),
        ('"true"', "true"),
        ("''", ""),
    ],
)
def test_a_scalar_is_what_it_looks_like(text, scalar):
    """No surprises: the core schema of YAML 1.2, and no number without an end."""
    assert {"a": scalar} == value(f"a: {text}")


def test_values_are_nested_and_remembered_by_place():
    """Every value has its line and its key, as people would write it."""
    found, report = reading("a:\n  b:\n    - 1\n    - {c: 2}\n")

    assert {"a": {"b": [1, {"c": 2}]}} == found
    assert (4, "a.b[1].c") == report.marks["a", "b", 1, "c"][1:3]
    assert (2, "a.b") == report.marks["a", "b"][1:3]


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_an_empty_file_is_nothing(text):
    """The model will say what was expected."""
    assert value(text) is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: 2\na: {c: [3]}\n", "f:3: a: expected once, but line 1 has it too"),
        (
            "a: &x 1\nb: *x\n",
            "f:2: b: expected the value itself, not an alias",
        ),
        ("a: !!str 5\n", "f:1: a: expected a value without a YAML tag"),
        ("a: !ruby/object {}\n", "f:1: a: expected a value without a YAML tag"),
        (
            "a:\n  ? [1]\n  : [2, {b: 3}]\n",
            "f:2: a: expected text as a key, without references",
        ),
        ("${env:A}: 1\n", "f:1: expected text as a key, without references"),
        ("a: 1\n---\nb: 2\n", "f:2: expected one document, found another"),
        ("a: b: c\n", "f:1: expected YAML: mapping values are not allowed"),
        ("a: [1\n", "f:2: expected YAML: did not find expected ',' or ']'"),
        ("a: é\nb: \x01\n", "f:2: expected YAML: text without control characters"),
        ("a: é\nb: \ud800\n", "f:2: expected YAML: text without control characters"),
    ],
)
def test_what_is_no_sober_yaml_is_refused(text, problem):
    """With the line, whatever it is."""
    [found] = problems(text)

    assert found.startswith(problem)


def test_reading_goes_on_after_a_problem():
    """So that all of them are told."""
    found, report = reading("a: 1\na: [2, {x: 3}]\n? {b: 1}\n: 4\nc: *no\nd: 5\n")

    assert 3 == len(report.problems)
    assert {"a": 1, "c": None, "d": 5} == found


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_no_nesting_is_too_deep_for_us(opening):
    """A hundred thousand brackets are one problem, and soon found."""
    assert ["f:1: expected at most 32 levels"] == problems(opening * 100_000)


def test_as_deep_as_anybody_writes_is_fine():
    """No section of ours is half as deep."""
    assert [] == reading("[" * 32 + "]" * 32)[1].problems


def test_references_are_expanded_in_every_kind_of_scalar():
    """Plain, quoted and block scalars alike; what comes in is text."""
    text = "a: ${env:A}\nb: \"x ${env:A}\"\nc: |\n  ${env:A}\nd: '${env:A}'\n"

    assert {"a": "5", "b": "x 5", "c": "5\n", "d": "5"} == value(text, A="5")


def test_a_reference_leaves_its_name_at_its_place():
    """So that an error can name it without showing the value."""
    _, report = reading("a: ${env:A}${env:B}", A="one", B="two")

    assert "${env:A}, ${env:B}" == report.marks["a",].references
    assert {"one", "two"} == report.outside


def test_a_reference_without_a_value_breaks_its_place():
    """Nobody need be told what is wrong with an empty text."""
    _, report = reading("a: {b: '${env:A}'}")

    assert ["f:1: a.b: ${env:A} is not set"] == report.error().problems
    assert {("a", "b")} == report.broken


@given(st.text())
def test_what_comes_in_never_becomes_structure(text):
    """Colons, brackets, comments, newlines and references are just characters."""
    assert {"a": text, "b": [text]} == value("a: ${env:A}\nb: ['${env:A}']", A=text)
