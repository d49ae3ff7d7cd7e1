"""Which files a configuration was made of, and whether they changed. Floor 2: reads files.

Noted while a configuration is loaded, also one that turns out to be wrong: whoever
mends it in a file that it includes must be noticed. What is compared are the contents,
so a mounted directory may be swapped below (Kubernetes' `..data`), and a file that was
only touched is no news.
"""

import glob
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Final

from pydantic import BaseModel

_DIGEST_BYTES: Final = 16

Look = dict[str, bytes]
"""What was found, by file and by pattern."""


class Traces:
    """The files and file patterns that were looked at."""

    def __init__(self) -> None:
        self._files: set[Path] = set()
        self._patterns: set[tuple[Path, str]] = set()

    def __repr__(self) -> str:
        return f"<Traces: {len(self._files)} files>"

    def file(self, path: Path) -> None:
        """Note a file, whether it can be read or not."""
        self._files.add(path)

    def pattern(self, base: Path, pattern: str) -> None:
        """Note a pattern that stands for files."""
        self._patterns.add((base, pattern))

    def named_in(self, model: BaseModel) -> None:
        """Note the files that settings name: certificates, keys."""
        for path in _paths(model.model_dump()):
            self.file(path)

    def add(self, others: "Traces") -> None:
        """Note all that others have noted, too."""
        self._files |= others._files  # noqa: SLF001 -- our own kind
        self._patterns |= others._patterns  # noqa: SLF001

    def look(self) -> Look:
        """Give a digest of each content. Reads every file: for a thread."""
        found: Look = {str(path): contents(path) for path in self._files}
        for base, pattern in self._patterns:
            names = sorted(glob.glob(pattern, root_dir=base))  # noqa: PTH207
            found[f"{base}: {pattern}"] = repr(names).encode()
        return found


def contents(path: Path) -> bytes:
    """Give a digest of what a file holds, or of why it cannot be read."""
    try:
        return blake2b(path.read_bytes(), digest_size=_DIGEST_BYTES).digest()
    except (OSError, ValueError) as error:
        return type(error).__name__.encode()


def essence(value: object) -> bytes:
    """Give a digest of settings, their secrets, and what is in the files they name.

    Equal for equal settings in one process, and shown to nobody.
    """
    return blake2b(_essence(value).encode(), digest_size=_DIGEST_BYTES).digest()


def _essence(value: object) -> str:
    match value:
        case BaseModel():
            text = _essence(value.model_dump())
        case dict():
            members = (f"{key!r}:{_essence(each)}" for key, each in value.items())
            text = f"{{{','.join(members)}}}"
        case frozenset():
            text = f"<{','.join(sorted(map(_essence, value)))}>"
        case tuple() | list():
            text = f"({','.join(map(_essence, value))})"
        case Path():
            text = f"{value}={contents(value).hex()}"
        case str():
            # A secret hides from `repr` of its own.
            text = repr(str.__str__(value))
        case _:
            text = f"{type(value).__name__}:{value!r}"
    return text


def _paths(value: object) -> Iterator[Path]:
    match value:
        case dict():
            for each in value.values():
                yield from _paths(each)
        case tuple() | list():
            for each in value:
                yield from _paths(each)
        case Path():
            yield value
        case _:
            pass
