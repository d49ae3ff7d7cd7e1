import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.report import Mark, Report, describe, kind, suggest

WHOLE = Mark("a.yaml", 1)


@pytest.fixture
def report() -> Report:
    """A report on a file with a reference in it."""
    report = Report()
    report.begin("a.yaml")
    report.marks["routes",] = Mark("a.yaml", 4, "routes")
    report.marks["routes", 0] = Mark("a.yaml", 5, "routes[0]")
    report.marks["secret",] = Mark("a.yaml", 2, "secret", "${env:S}")
    return report


def test_problems_name_file_line_and_key(report):
    """In the order of the lines, each once."""
    report.problem(("routes", 0), "expected a mapping")
    report.problem(("secret",), "expected text")
    report.problem(("secret",), "expected text")
    report.problem((), "expected a mapping")

    assert [
        "a.yaml:1: expected a mapping",
        "a.yaml:2: secret: expected text",
        "a.yaml:5: routes[0]: expected a mapping",
    ] == report.error().problems


def test_what_is_deeper_than_the_file_is_told_at_the_nearest_value(report):
    """A model may look into what stands on one line."""
    report.problem(("routes", 0, "match", "path"), "expected text")

    assert ["a.yaml:5: routes[0]: expected text"] == report.error().problems


def test_a_missing_key_is_named_in_full(report):
    """At the line of what should have it."""
    report.missing(("routes", 0, "match", "path"))
    report.missing(("routes", 1))
    report.missing(("version",))

    assert [
        "a.yaml:1: version: expected this key",
        "a.yaml:4: routes[1]: expected this key",
        "a.yaml:5: routes[0].match.path: expected this key",
    ] == report.error().problems


def test_a_file_that_cannot_be_read_has_no_line(report):
    """And nothing more can be said of it."""
    report.break_off(Mark("a.yaml", 0), "cannot be read")

    assert ["a.yaml: cannot be read"] == report.error().problems
    assert () in report.broken


def test_warnings_are_no_problems(report):
    """They are told apart."""
    report.warn(("routes", 0), "unwise")

    assert ["a.yaml:5: routes[0]: unwise"] == report.warnings()
    assert [] == report.problems


def test_an_included_file_keeps_its_own_names(report):
    """Its routes follow ours in the document, not in what people read."""
    inner = Report()
    inner.begin("b.yaml")
    inner.marks["routes",] = Mark("b.yaml", 1, "routes")
    inner.marks["routes", 0] = Mark("b.yaml", 2, "routes[0]")
    inner.outside.add("from-outside")
    inner.problem(("routes", 0), "expected from-outside")

    report.adopt(inner, 1)
    report.problem(("routes",), "second")
    report.problem(("routes", 1, "id"), "third")

    assert [
        "a.yaml:4: routes: second",
        "b.yaml:2: routes[0]: expected (not shown)",
        "b.yaml:2: routes[0]: third",
    ] == report.error().problems
    assert ("routes", 1) in report.broken


def test_a_value_from_outside_is_told_by_its_reference(report):
    """The variable's name helps; its value may be a secret."""
    assert "the value of ${env:S}" == report.found(("secret",), "hunter2")
    assert '"x"' == report.found(("routes", 0), "x")


@given(st.text(min_size=8), st.text(), st.text())
def test_a_value_from_outside_is_struck_out_wherever_it_turns_up(value, before, after):
    """Whatever a plug-in's own message may say."""
    report = Report(outside={value, value[:-1]})
    report.begin("a.yaml")
    report.problem((), before + value + after)
    [line] = report.error().problems

    assert value not in line.removeprefix("a.yaml:1: ").replace("(not shown)", "")


def test_flags_and_ports_are_not_struck_out(report):
    """A short value turns up by chance, and hides nothing."""
    report.outside.add("true")
    report.problem((), "expected true or false")

    assert ["a.yaml:1: expected true or false"] == report.error().problems


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", '"a"'),
        ('"\n', '"\\"\\n"'),
        ("노래", '"노래"'),
        ("x" * 61, '"' + "x" * 60 + '…"'),
        ("http://ada:pw@host/", '"http://…@host/"'),
        (True, "true"),
        (5, "5"),
        (1.5, "1.5"),
        (None, "nothing"),
        ([], "a list"),
        ({}, "a mapping"),
    ],
)
def test_scalars_are_shown_and_the_rest_is_named(value, text):
    """One line, bounded, without the password of a URL."""
    assert text == describe(value)


@pytest.mark.parametrize(
    ("value", "name"),
    [("a", "text"), (True, "true or false"), (5, "a number"), (1.5, "a number")],
)
def test_kinds_have_plain_names(value, name):
    """Where the value itself is not shown."""
    assert name == kind(value)


def test_a_slip_is_answered_with_the_word_that_was_meant():
    """But only when one is close."""
    assert " (did you mean `providers`?)" == suggest("provders", ["providers", "a"])
    assert "" == suggest("zzz", ["providers"])
