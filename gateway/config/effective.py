"""The configuration in force, value by value, as it may be shown. Floor 2: pure.

A secret is dots, whatever it came from. Text that was expanded from the environment or
a file is not shown either, since it may be one (an API key in a URL): its references
are. A user and password in a URL are cut out, and so is a query.
"""

import enum
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, cast

import msgspec
from pydantic import BaseModel

from gateway.config.load import Loaded
from gateway.config.report import KeyPath, Mark
from gateway.values import Secret

HIDDEN: Final = "•••••"

_LOGIN: Final = re.compile(r"(://)[^/]*@")
_QUERY: Final = re.compile(r"(://[^?]*)\?.*")
_NOTHING: Final = "none"
_STORE: Final = ("store", "url")
"""A secret only for the login in it; its form has room for no other (`store`)."""


class Setting(msgspec.Struct, frozen=True):
    """One value in force: its key, the value as it may be shown, and where it is from.

    `origin` is `file:line`, empty for a default; `references` name what the value was
    expanded from, such as `${env:NAME}`.
    """

    key: str
    value: str
    origin: str = ""
    references: str = ""


def settings(loaded: Loaded) -> tuple[Setting, ...]:
    """List every value there is, the defaults too, in the order of the language."""
    marks = _with_references(loaded.marks)
    told = _leaves(loaded.config, ())
    return tuple(
        _setting(path, value, marks.get(path), loaded.base) for path, value in told
    )


def _with_references(marks: Mapping[KeyPath, Mark]) -> dict[KeyPath, Mark]:
    """Give the marks, each with the references of everything in it.

    A list is shown as one value: what one item came from, it came from.
    """
    references: dict[KeyPath, dict[str, None]] = {}
    for path, mark in marks.items():
        if mark.references:
            for length in range(len(path) + 1):
                references.setdefault(path[:length], {})[mark.references] = None
    return {
        path: mark._replace(references=", ".join(references.get(path, ())))
        for path, mark in marks.items()
    }


def _leaves(value: object, path: KeyPath) -> Iterator[tuple[KeyPath, object]]:
    match value:
        case BaseModel():
            for name in type(value).model_fields:
                yield from _leaves(getattr(value, name), (*path, name))
        case Mapping() if value:
            for name, each in value.items():
                yield from _leaves(each, (*path, name))
        case tuple() if any(isinstance(each, BaseModel) for each in value):
            for number, each in enumerate(value):
                yield from _leaves(each, (*path, number))
        case _:
            yield path, value


def _setting(path: KeyPath, value: object, mark: Mark | None, base: Path) -> Setting:
    key = Mark("", 0)
    for part in path:
        key = key.inner(part)
    if mark is None:
        return Setting(key.key, _worded(path, value))
    hidden = mark.references and path != _STORE and _is_text(value)
    text = HIDDEN if hidden else _worded(path, value)
    return Setting(
        key.key, text, f"{_near(mark.file, base)}:{mark.line}", mark.references
    )


def _near(file: str, base: Path) -> str:
    try:
        return str(Path(file).relative_to(base))
    except ValueError:
        return file


def _is_text(value: object) -> bool:
    if type(value) in (tuple, frozenset):
        return any(map(_is_text, cast("Iterable[object]", value)))
    return isinstance(value, str | bytes) and not isinstance(value, enum.Enum)


def _worded(path: KeyPath, value: object) -> str:
    match value:
        case Secret():
            text = _LOGIN.sub(r"\1…@", value) if path == _STORE else HIDDEN
        case None | Mapping():
            text = _NOTHING
        case bool():
            text = "true" if value else "false"
        case float():
            text = f"{value:g} s"  # All numbers with a point are lengths of time.
        case bytes():
            text = value.decode("latin-1")
        case enum.Enum():
            text = str(value.value)
        case frozenset():
            text = ", ".join(sorted(_worded(path, each) for each in value)) or _NOTHING
        case tuple() if type(value) is tuple:
            text = ", ".join(_worded_item(path, each) for each in value) or _NOTHING
        case _:
            text = _QUERY.sub(r"\1?…", _LOGIN.sub(r"\1…@", str(value)))
    return text


def _worded_item(path: KeyPath, value: object) -> str:
    """Word an item of a list; a set in it is one item, such as the scopes `a b`."""
    if isinstance(value, frozenset):
        return " ".join(sorted(_worded(path, each) for each in value))
    return _worded(path, value)
