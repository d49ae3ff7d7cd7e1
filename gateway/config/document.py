"""Read strict YAML into plain values, and remember where each stands. Floor 2: pure.

The language is the sober part of YAML: mappings with text keys, lists, and scalars as
in YAML 1.2's core schema (`yes`, `0o17`, `12:30` and dates are text). Aliases, tags,
duplicate keys and second documents are refused, so what one reads in the file is what
is there, and no file can blow up.

Expansion happens in scalars alone, after parsing: what comes in is always text and can
never become a key, a list or a comment.
"""

import re
from collections.abc import Iterator
from typing import Final

import yaml

from gateway.config.expand import Sources, expand
from gateway.config.report import KeyPath, Mark, Report

Value = str | int | float | bool | None | list["Value"] | dict[str, "Value"]

_DEEPEST: Final = 32
_WORDS: Final = {"": None, "~": None, "null": None, "true": True, "false": False}
_INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_CONTROLS: Final = "expected YAML: text without control characters"
_TEXT_KEY: Final = "expected text as a key, without references"
_DECIMAL: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,17})\.[0-9]{1,17}")


def read(text: str, file: str, sources: Sources, report: Report) -> Value:
    """Read one document; marks and problems go to `report`.

    What cannot be read is None or left out, and noted as broken.
    """
    report.begin(file)
    try:
        events = yaml.parse(text, Loader=yaml.CSafeLoader)
        return _Reader(file, sources, report, events).document()
    except _TooDeep:
        pass
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        report.break_off(Mark(file, line), f"expected YAML: {error.problem}")
    except yaml.reader.ReaderError as error:
        # It counts bytes.
        line = text.encode().count(b"\n", 0, error.position) + 1
        report.break_off(Mark(file, line), _CONTROLS)
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        report.break_off(Mark(file, line), _CONTROLS)
    return None


class _TooDeep(Exception):
    """Reading was given up; the report says why."""


class _Reader:
    """Builds values from parser events, which unlike nodes still show aliases."""

    def __init__(
        self,
        file: str,
        sources: Sources,
        report: Report,
        events: Iterator[yaml.Event],
    ) -> None:
        self._file = file
        self._sources = sources
        self._report = report
        self._events = events

    def document(self) -> Value:
        """Read the only document of the stream; an empty stream has the value None."""
        value: Value = None
        next(self._events)
        if isinstance(next(self._events), yaml.DocumentStartEvent):
            value = self._value(next(self._events), (), Mark(self._file, 1))
            next(self._events)
            if not isinstance(event := next(self._events), yaml.StreamEndEvent):
                mark = self._at(event, Mark(self._file, 1))
                self._report.fault(mark, "expected one document, found another")
        return value

    def _value(self, event: yaml.Event, path: KeyPath, mark: Mark) -> Value:
        self._report.marks[path] = mark
        if getattr(event, "tag", None) is not None:
            self._report.problem(path, "expected a value without a YAML tag")
        if len(path) > _DEEPEST:
            # The parser's own cost grows with the square of the depth: stop here.
            text = f"expected at most {_DEEPEST} levels"
            self._report.break_off(self._at(event, Mark(self._file, 1)), text)
            raise _TooDeep
        match event:
            case yaml.ScalarEvent():
                return self._scalar(event, path, mark)
            case yaml.SequenceStartEvent():
                return self._list(path, mark)
            case yaml.MappingStartEvent():
                return self._mapping(path, mark)
            case _:
                self._report.problem(path, "expected the value itself, not an alias")
                return None

    def _scalar(self, event: yaml.ScalarEvent, path: KeyPath, mark: Mark) -> Value:
        text: str = event.value
        if "${" not in text:
            return _resolve(text) if event.implicit[0] else text
        expansion = expand(text, self._sources)
        references = ", ".join(expansion.references)
        self._report.marks[path] = mark._replace(references=references)
        self._report.outside.update(expansion.values)
        for file in expansion.files:
            self._report.traces.file(file)
        for problem in expansion.problems:
            self._report.problem(path, problem)
        return expansion.text

    def _list(self, path: KeyPath, mark: Mark) -> list[Value]:
        items: list[Value] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            number = len(items)
            inner = self._at(event, mark.inner(number))
            items.append(self._value(event, (*path, number), inner))
        return items

    def _mapping(self, path: KeyPath, mark: Mark) -> dict[str, Value]:
        members: dict[str, Value] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = _key(event)
            if key is None:
                self._report.fault(self._at(event, mark), _TEXT_KEY)
                self._skip(event)
                self._skip(next(self._events))
                continue
            inner = self._at(event, mark.inner(key))
            event = next(self._events)
            if key in members:
                first = self._report.marks[*path, key].line
                self._report.fault(inner, f"expected once, but line {first} has it too")
                self._skip(event)
            else:
                members[key] = self._value(event, (*path, key), inner)
        return members

    def _skip(self, event: yaml.Event) -> None:
        """Pass over a value without reading it."""
        depth = 0
        while True:
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth == 0:
                return
            event = next(self._events)

    def _at(self, event: yaml.Event, mark: Mark) -> Mark:
        return mark._replace(line=event.start_mark.line + 1 if event.start_mark else 0)


def _key(event: yaml.Event) -> str | None:
    """Read a key: text, in which nothing is expanded."""
    if isinstance(event, yaml.ScalarEvent) and "${" not in event.value:
        return str(event.value)
    return None


def _resolve(text: str) -> Value:
    """Read a plain scalar as YAML 1.2's core schema does."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text):
        return float(text)
    return text
