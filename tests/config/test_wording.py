import enum
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field, ValidationError, field_validator, model_validator

from gateway.config.fields import Model, Name, SecretText
from gateway.config.report import Mark, Report
from gateway.config.units import Duration, PositiveDuration, expected
from gateway.config.wording import explain


class Colour(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


class Inner(Model):
    colour: Colour = Colour.RED
    deep: Duration | None = None

    @model_validator(mode="after")
    def _one_rule(self):
        if self.deep == 13:
            raise expected("another number")
        return self


class Outer(Model):
    needed: str
    inner: Inner | None = None
    by_name: dict[Name, Inner] = Field(default_factory=dict)
    several: Annotated[tuple[Inner, ...], Field(min_length=1)] = (Inner(),)
    choice: Literal["a", "b"] | Annotated[tuple[Inner, ...], Field()] = "a"
    word: Literal["a", "b"] = "a"
    flag: bool = False
    number: Annotated[int, Field(ge=1, le=9)] = 1
    deadline: PositiveDuration = 1.0
    below: Annotated[int, Field(lt=5)] = 1
    secret: SecretText | None = None
    path: Path = Path()
    text: str = ""
    pattern: Annotated[str, Field(max_length=1)] = ""

    @field_validator("text")
    @classmethod
    def _plugin_rule(cls, text: str) -> str:
        if text == "hunter2":
            message = "a plug-in's own words"
            raise ValueError(message)
        return text


def explained(given: object, report: Report | None = None) -> list[str]:
    """Give what is said of a value, without file and line."""
    report = report or Report()
    report.begin("f")
    for key in Outer.model_fields:
        report.marks.setdefault((key,), Mark("f", 1, key))
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(given)
    explain(caught.value, Outer, report)
    lines = report.error().problems if report.problems else []
    return [line.removeprefix("f:1: ") for line in lines]


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("word", "c", "expected 'a' or 'b', found \"c\""),
        ("flag", "maybe", 'expected true or false, found "maybe"'),
        ("flag", [], "expected true or false, found a list"),
        ("number", 1.5, "expected a whole number, found 1.5"),
        ("number", "x", 'expected a whole number, found "x"'),
        ("number", [], "expected a whole number, found a list"),
        ("number", 0, "expected 1 or more, found 0"),
        ("number", 10, "expected 9 or less, found 10"),
        ("below", 5, "expected less than 5, found 5"),
        ("deadline", "0s", 'expected more than 0, found "0s"'),
        (
            "deadline",
            {},
            "expected a duration such as 500ms, 60s, 5m or 1h, found a mapping",
        ),
        ("several", "x", "expected a list, found text"),
        ("several", [], "expected 1 or more items"),
        ("inner", 5, "expected a mapping, found a number"),
        ("by_name", [], "expected a mapping, found a list"),
        ("path", 5, "expected a file's path, found a number"),
        # What could be a secret is told by its kind, or not at all:
        (
            "text",
            123456,
            (
                "expected text (quote a number or flag that is meant as text), "
                "found a number"
            ),
        ),
        ("text", "hunter2", "expected a plug-in's own words"),
        ("secret", 123456, "expected text of 1 characters or more"),
        ("pattern", "hunter2", "String should have at most 1 character"),
    ],
)
def test_errors_are_told_in_our_words(key, value, line):
    """What was expected, and what was found where that is no secret."""
    assert [f"{key}: {line}"] == explained({"needed": "", key: value})


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (5, "expected a mapping, found a number"),
        (None, "expected a mapping, found nothing"),
        ({}, "needed: expected this key"),
        (
            {"needed": "", "inner": {"color": 1}},
            "inner: unknown key (did you mean `colour`?)",
        ),
        (
            {"needed": "", "by_name": {"x": {"color": 1}}},
            "by_name: unknown key (did you mean `colour`?)",
        ),
        (
            {"needed": "", "several": [{"zzz": 1}]},
            "several: unknown key",
        ),
        (
            {"needed": "", "inner": {"colour": "green"}},
            "inner: expected 'red' or 'blue', found \"green\"",
        ),
        ({"needed": "", "inner": {"deep": 13}}, "inner: expected another number"),
        (
            {"needed": "", "by_name": {"a b": {}}},
            "by_name: expected a name of letters, digits, `.`, `_` and `-`, at most 64",
        ),
    ],
)
def test_sections_are_explained_at_every_depth(given, line):
    """The nearest place in the file is named, and the word that was meant."""
    assert [line] == explained(given)


def test_a_choice_of_kinds_says_both():
    """A preset, or a list of one's own."""
    assert [
        "choice: expected 'a' or 'b', found \"c\"",
        "choice: expected a list, found text",
    ] == explained({"needed": "", "choice": "c"})


def test_a_list_inside_a_choice_is_told_item_by_item():
    """As if there were no choice; Pydantic's own names for the kinds are left out."""
    report = Report()
    report.marks["choice", 0] = Mark("f", 2, "choice[0]")
    report.marks["choice", 0, "color"] = Mark("f", 3, "choice[0].color")
    report.marks["choice", 0, "[odd]"] = Mark("f", 4, "choice[0].[odd]")

    assert [
        "choice: expected 'a' or 'b', found a list",
        "f:3: choice[0].color: unknown key (did you mean `colour`?)",
        "f:4: choice[0].[odd]: unknown key",
    ] == explained({"needed": "", "choice": [{"color": 1, "[odd]": 2}]}, report)


def test_items_that_are_wrong_are_not_too_few():
    """One slip is one problem."""
    assert ["several: expected a mapping, found a number"] == explained(
        {"needed": "", "several": [5]}
    )


def test_what_was_found_broken_before_is_not_explained_again():
    """Whoever reads `${env:X} is not set` knows why the text is empty."""
    report = Report()
    report.broken.add(("needed",))

    assert [] == explained({"needed": None}, report)


def test_what_came_from_outside_is_told_by_its_reference():
    """Whatever it should have been."""
    report = Report()
    report.marks["number",] = Mark("f", 1, "number", "${env:N}")

    assert ["number: expected a whole number, found the value of ${env:N}"] == (
        explained({"needed": "", "number": "hunter2"}, report)
    )
