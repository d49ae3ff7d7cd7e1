"""The files of a configuration, as one value. Floor 2: reads files, nothing else.

A file may include others, which hold `routes` alone: these follow its own routes, in
the order of the files' names. References in an included file are relative to it.
"""

import glob
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gateway.config.document import Value, read
from gateway.config.expand import Sources, why
from gateway.config.report import Mark, Report

TEXT_NAME: Final = "<configuration>"


def read_files(source: Path | str, environ: Mapping[str, str], report: Report) -> Value:
    """Read a file (a `Path`) or a text (a `str`) and what it includes."""
    given = _read(source, environ, report)
    if not isinstance(given, dict):
        return given
    patterns, routes = given.get("include", []), given.get("routes", [])
    if not isinstance(patterns, list) or not isinstance(routes, list):
        return given
    joined = list(routes)
    for number, pattern in enumerate(patterns):
        for file in _matching(pattern, number, directory(source), report):
            inner = Report()
            named = report.mark(("include", number))
            included = _routes(_read(file, environ, inner, named), inner)
            report.adopt(inner, len(joined))
            joined += included
    return {**given, "routes": joined} if patterns else given


def directory(source: Path | str) -> Path:
    """Name the directory that a configuration's own paths start from."""
    return source.parent if isinstance(source, Path) else Path()


def _read(
    source: Path | str,
    environ: Mapping[str, str],
    report: Report,
    named: Mark | None = None,
) -> Value:
    """Read a file or a text. `named` is where another file names this one."""
    name, sources = TEXT_NAME, Sources(environ, directory(source))
    if isinstance(source, Path):
        name = str(source)
        report.traces.file(source)
        try:
            source = source.read_text("utf-8-sig")
        except OSError as error:
            report.begin(name)
            text = "cannot be read"
            if named is not None:
                text = f"expected a file that can be read, found {name}"
            report.break_off(named or Mark(name, 0), f"{text}: {why(error)}")
            return None
        except UnicodeDecodeError as error:
            report.begin(name)
            line = error.object.count(b"\n", 0, error.start) + 1
            report.break_off(Mark(name, line), "expected UTF-8 text")
            return None
    return read(source, name, sources, report)


def _matching(pattern: Value, number: int, base: Path, report: Report) -> list[Path]:
    """Find included files; what is no text is left for the model to refuse."""
    if not isinstance(pattern, str):
        return []
    report.traces.pattern(base, pattern)
    names = sorted(
        glob.glob(pattern, root_dir=base)  # noqa: PTH207 -- absolute patterns too
    )
    if not names and glob.has_magic(pattern):
        report.warn(("include", number), "no file matches")
    elif not names:
        report.problem(("include", number), "expected a file, found none")
    return [base / name for name in names]


def _routes(given: Value, report: Report) -> list[Value]:
    """Give the routes of an included file, and note whatever else it holds."""
    if not isinstance(given, dict):
        if not report.problems:
            report.problem((), "expected a mapping that holds `routes`")
        return []
    for key in given.keys() - {"routes"}:
        report.problem((key,), "expected `routes` alone in an included file")
    routes = given.get("routes", [])
    if isinstance(routes, list):
        return routes
    report.problem(("routes",), "expected a list")
    return []
