"""What is wrong with a configuration, and where. Floor 2: pure.

All problems are collected and told in one go, each `file:line: key: what was expected,
what was found`. What came from the environment or a file is never told: it is not
shown where it is known to stand, and struck out wherever else it turns up.
"""

import difflib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from gateway.config.traces import Traces
from gateway.errors import ConfigError

KeyPath = tuple[str | int, ...]
"""Where a value stands in the document: `("routes", 3, "match", "path")`."""

_LONGEST_SHOWN: Final = 60
_SHORTEST_STRUCK_OUT: Final = 8
"""Shorter values are flags and ports, and turn up in messages by chance."""


class Mark(NamedTuple):
    """Where people find a value: file, line, and the key as they would write it.

    `references` name what the value was expanded from, such as `${env:NAME}`.
    """

    file: str
    line: int
    key: str = ""
    references: str = ""

    def inner(self, part: str | int) -> "Mark":
        """Give the mark of a member or item, on the same line as far as we know."""
        key = f"{self.key}[{part}]" if isinstance(part, int) else f"{self.key}.{part}"
        return Mark(self.file, self.line, key.removeprefix("."))


class Note(NamedTuple):
    """A problem or warning."""

    mark: Mark
    text: str


@dataclass(slots=True)
class Report:
    """Collects marks, outside values and files while reading, then problems and warnings."""

    marks: dict[KeyPath, Mark] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    outside: set[str] = field(default_factory=set, repr=False)
    broken: set[KeyPath] = field(default_factory=set)
    problems: list[Note] = field(default_factory=list)
    warned: list[Note] = field(default_factory=list)
    traces: Traces = field(default_factory=Traces)

    def nearest(self, path: KeyPath) -> KeyPath:
        """Find the path of the value at `path`, else of the one around it."""
        while path not in self.marks:
            path = path[:-1]
        return path

    def mark(self, path: KeyPath) -> Mark:
        """Find the mark of the value at `path`, else of the one around it."""
        return self.marks[self.nearest(path)]

    def problem(self, path: KeyPath, text: str) -> None:
        """Note what is wrong at `path`."""
        self.broken.add(path)
        self.problems.append(Note(self.mark(path), text))

    def missing(self, path: KeyPath) -> None:
        """Note that the key at `path` is not there."""
        self.broken.add(path)
        around = self.nearest(path)
        mark = self.marks[around]
        for part in path[len(around) :]:
            mark = mark.inner(part)
        self.problems.append(Note(mark, "expected this key"))

    def fault(self, mark: Mark, text: str) -> None:
        """Note what is wrong at a place that has no path, or with a whole file."""
        self.problems.append(Note(mark, text))

    def warn(self, path: KeyPath, text: str) -> None:
        """Note what is allowed at `path` but unwise."""
        self.warned.append(Note(self.mark(path), text))

    def begin(self, file: str) -> None:
        """Note which file is being read."""
        self.files.append(file)
        self.marks[()] = Mark(file, 1)

    def break_off(self, mark: Mark, text: str) -> None:
        """Note why a file could not be read: nothing more can be said of it."""
        self.fault(mark, text)
        self.broken.add(())

    def adopt(self, other: "Report", routes: int) -> None:
        """Take over the report of an included file, whose routes follow `routes`."""

        def moved(path: KeyPath) -> KeyPath | None:
            match path:
                case ("routes", int() as number, *rest):
                    return ("routes", routes + number, *rest)
                case _:
                    return None

        self.files += other.files
        self.outside |= other.outside
        self.problems += other.problems
        self.traces.add(other.traces)
        self.marks |= {
            to: at for path, at in other.marks.items() if (to := moved(path))
        }
        self.broken |= {to for path in other.broken if (to := moved(path))}

    def found(self, path: KeyPath, value: object) -> str:
        """Describe what stands at `path`, in so far as it may be shown."""
        references = self.mark(path).references
        return f"the value of {references}" if references else describe(value)

    def warnings(self) -> list[str]:
        """Give the warnings, in the order of the files."""
        return self._told(self.warned)

    def error(self) -> ConfigError:
        """Make one error of all problems, in the order of the files."""
        return ConfigError(self._told(self.problems))

    def _told(self, notes: Iterable[Note]) -> list[str]:
        def place(note: Note) -> tuple[int, int]:
            return self.files.index(note.mark.file), note.mark.line

        return list(dict.fromkeys(map(self._line, sorted(notes, key=place))))

    def _line(self, note: Note) -> str:
        text = note.text
        for value in sorted(self.outside, key=len, reverse=True):
            if len(value) >= _SHORTEST_STRUCK_OUT:
                text = text.replace(value, "(not shown)")
        mark = note.mark
        place = f"{mark.file}:{mark.line}" if mark.line else mark.file
        return ": ".join(filter(None, (place, mark.key, text)))


def describe(value: object) -> str:
    """Show a scalar as it is, anything else by its kind."""
    match value:
        case str():
            # A URL's user and password are secrets wherever the URL stands.
            text = re.sub(r"(://)[^/]*@", r"\1…@", value)
            short = text[:_LONGEST_SHOWN] + "…" * (len(text) > _LONGEST_SHOWN)
            return json.dumps(short, ensure_ascii=False)
        case bool() | int() | float():
            return json.dumps(value)
        case _:
            return kind(value)


def kind(value: object) -> str:
    """Name the kind of a value of the file."""
    kinds = {dict: "a mapping", list: "a list", str: "text", bool: "true or false"}
    return "nothing" if value is None else kinds.get(type(value), "a number")


def suggest(name: str, known: Iterable[str]) -> str:
    """Ask `did you mean …?` when a known name is close."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean `{close[0]}`?)" if close else ""
