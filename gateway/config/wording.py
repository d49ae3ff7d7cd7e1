"""Pydantic's errors in the language's own words. Floor 2: pure.

What was found is only shown where the kind of error proves that it is no secret: a
number out of bounds, a word that is none of a list, what `expected` was raised for.
Everything else is told by its kind, so a plug-in's own strings stay hidden.
"""

from collections.abc import Collection, Mapping, Sized
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gateway.config.report import KeyPath, Report, kind, suggest

_A_LIST: Final = "a list"
_A_MAPPING: Final = "a mapping"
_A_FLAG: Final = "true or false"
_AN_INTEGER: Final = "a whole number"

_BY_VALUE: Final[Mapping[str, str]] = {
    "expected": "{what}",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "bool_type": _A_FLAG,
    "bool_parsing": _A_FLAG,
    "int_type": _AN_INTEGER,
    "int_parsing": _AN_INTEGER,
    "int_from_float": _AN_INTEGER,
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "less than {lt}",
    "less_than_equal": "{le} or less",
}
_BY_KIND: Final[Mapping[str, str]] = {
    "string_type": "text (quote a number or flag that is meant as text)",
    "tuple_type": _A_LIST,
    "list_type": _A_LIST,
    "frozen_set_type": _A_LIST,
    "dict_type": _A_MAPPING,
    "model_type": _A_MAPPING,
    "model_attributes_type": _A_MAPPING,
    "path_type": "a file's path",
}
_ALONE: Final[Mapping[str, str]] = {
    "expected_secret": "text of {length} characters or more",
    "too_short": "{min_length} or more items",
    "value_error": "{error}",
}


def explain(error: ValidationError, model: type[BaseModel], report: Report) -> None:
    """Note every error, but those of values that were already found broken."""
    known = frozenset(report.broken)
    for details in error.errors(include_url=False):
        path = _path(details["loc"], report)
        if not any(path[:length] in known for length in range(len(path) + 1)):
            _note(details, path, model, report)


def _path(location: KeyPath, report: Report) -> KeyPath:
    """Leave out what Pydantic calls its own steps: `[key]`, `tuple[Sign, ...]`."""
    path: KeyPath = ()
    for part in location:
        if "[" not in str(part) or (*path, part) in report.marks:
            path = (*path, part)
    return path


def _note(
    details: ErrorDetails, path: KeyPath, model: type[BaseModel], report: Report
) -> None:
    given = details["input"]
    match details["type"]:
        case "too_short" if isinstance(given, Sized) and len(given) > 0:
            pass  # its items are wrong, not too few
        case "missing":
            report.missing(path)
        case "extra_forbidden":
            close = suggest(str(path[-1]), _keys(model, path[:-1]))
            report.problem(path, f"unknown key{close}")
        case _:
            report.problem(path, _complaint(details, path, model, report))


def _complaint(
    details: ErrorDetails, path: KeyPath, model: type[BaseModel], report: Report
) -> str:
    """Say what was expected and, where it may be said, what was found."""
    name, given = details["type"], details["input"]
    context = details.get("ctx", {})
    if name in _BY_VALUE:
        text = "expected " + _BY_VALUE[name].format_map(context)
        # A rule about a whole section was broken: that it is one says nothing.
        found = "" if _keys(model, path) else report.found(path, given)
    elif name in _BY_KIND:
        text, found = f"expected {_BY_KIND[name]}", kind(given)
    elif name in _ALONE:
        text, found = "expected " + _ALONE[name].format_map(context), ""
    else:
        text, found = details["msg"], ""
    return f"{text}, found {found}" if found else text


def _keys(model: type[BaseModel], path: KeyPath) -> Collection[str]:
    """Name the keys that the language knows at `path`; none where no section is."""
    here: Any = model
    for part in path:
        here = _member(_plain(here), part)
    here = _plain(here)
    return here.model_fields if _is_model(here) else ()


def _plain(annotation: Any) -> Any:
    """Look through `… | None`, and `preset | list` at the list."""
    if get_origin(annotation) in (Union, UnionType):
        return _plain([arg for arg in get_args(annotation) if arg is not NoneType][-1])
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    return annotation


def _member(annotation: Any, part: str | int) -> Any:
    """Give the annotation of what stands under `part`."""
    if _is_model(annotation):
        field = annotation.model_fields.get(part)
        return field.annotation if field else None
    arguments = get_args(annotation)
    if isinstance(part, int):
        return arguments[0] if arguments else None
    return arguments[1] if len(arguments) > 1 else None


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
