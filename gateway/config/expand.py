"""`${env:NAME}`, `${env:NAME:-default}` and `${file:PATH}` in a scalar. Floor 2.

A text is read once from left to right and what comes in is never read again, so a
value that itself holds `${…}` stays as it is (Caddy CVE-2026-30852 expanded twice).
`$${` writes a literal `${`.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

_REFERENCE: Final = re.compile(
    r"(?P<literal>\$\$\{)"
    r"|\$\{env:(?P<env>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}"
    r"|\$\{file:(?P<file>[^}]+)\}"
    r"|(?P<other>\$\{)"
)
_FILE_LIMIT_BYTES: Final = 1 << 20


class Sources(NamedTuple):
    """What references can name: the environment, and files beside the configuration."""

    environ: Mapping[str, str]
    base: Path


class Expansion(NamedTuple):
    """An expanded text.

    `references` name what was used, as printable text; `values` are what came in from
    outside, which must never be printed; `problems` say what could not be had; `files` were read,
    or should have been.
    """

    text: str
    references: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()


def expand(text: str, sources: Sources) -> Expansion:
    """Replace every reference in `text`, once. A failed one becomes empty."""
    references: list[str] = []
    values: list[str] = []
    problems: list[str] = []
    files: list[Path] = []

    def replace(found: re.Match[str]) -> str:
        if found["literal"]:
            return "${"
        if found["other"]:
            problems.append(
                "expected ${env:NAME}, ${env:NAME:-default} or ${file:PATH}, "
                "or $${ for a literal ${"
            )
            return ""
        if found["env"]:
            references.append(f"${{env:{found['env']}}}")
            value = sources.environ.get(found["env"], "")
            if "${" in (found["default"] or ""):
                # Else the text of the inner reference would be the value, or secret.
                problems.append(f"{references[-1]}: expected a default without ${{")
                return ""
            if not value and found["default"] is not None:
                return found["default"]
            if found["env"] not in sources.environ:
                problems.append(f"{references[-1]} is not set")
        else:
            references.append(f"${{file:{found['file']}}}")
            files.append(sources.base / found["file"])
            try:
                value = _contents(sources.base / found["file"])
            except (OSError, ValueError) as error:
                value = ""
                problems.append(f"{references[-1]} cannot be read: {why(error)}")
        values.append(value)
        return value

    return Expansion(
        _REFERENCE.sub(replace, text),
        tuple(references),
        tuple(values),
        tuple(problems),
        tuple(files),
    )


def _contents(path: Path) -> str:
    """Read a small text file without its closing newline."""
    with path.open("rb") as file:
        content = file.read(_FILE_LIMIT_BYTES + 1)
    if len(content) > _FILE_LIMIT_BYTES:
        message = "it is longer than 1 MiB"
        raise ValueError(message)
    return content.decode().removesuffix("\n").removesuffix("\r")


def why(error: OSError | ValueError) -> str:
    """Say why a file could not be read, with none of its bytes."""
    match error:
        case OSError():
            return error.strerror or "the system says no more"
        case UnicodeDecodeError():
            return "it is not UTF-8 text"
        case _:
            return str(error)
