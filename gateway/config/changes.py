"""What differs between two configurations, and what may not. Floor 2: pure.

Told in an operator's terms: which routes, providers and upstreams came, changed or
went, and which other sections changed. Never a value: it may be a secret.
"""

import functools
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from pydantic import BaseModel

from gateway.config.load import Loaded
from gateway.config.model import Config
from gateway.config.report import KeyPath, Mark

FIXED: Final[tuple[KeyPath, ...]] = (
    ("listen",),
    ("workers",),
    ("tracing",),
    ("admin", "tls"),
)
"""What a running process cannot change: its sockets are open and handed on, and its
spans go where they go."""

_TABLES: Final = ("routes", "providers", "upstreams")


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What came, changed and went, by table; `sections` names whatever else changed."""

    added: dict[str, tuple[str, ...]]
    changed: dict[str, tuple[str, ...]]
    removed: dict[str, tuple[str, ...]]
    sections: tuple[str, ...]

    def counts(self, table: str) -> str:
        """Count them: `+1 ~2 -0`."""
        return (
            f"+{len(self.added[table])} ~{len(self.changed[table])}"
            f" -{len(self.removed[table])}"
        )

    def __str__(self) -> str:
        told = [
            f"{table}: {self.counts(table)}"
            for table in _TABLES
            if table == "routes" or self._touches(table)
        ]
        if self.sections:
            told.append(f"also: {', '.join(self.sections)}")
        return "; ".join(told)

    def _touches(self, table: str) -> bool:
        return bool(self.added[table] or self.changed[table] or self.removed[table])


def compare(old: Config, new: Config) -> Changes:
    """Tell what a change from one to the other comes to."""
    before = {table: _entries(old, table) for table in _TABLES}
    after = {table: _entries(new, table) for table in _TABLES}
    return Changes(
        added={table: _only_in(after[table], before[table]) for table in _TABLES},
        removed={table: _only_in(before[table], after[table]) for table in _TABLES},
        changed={
            table: tuple(
                name
                for name, entry in before[table].items()
                if name in after[table] and after[table][name] != entry
            )
            for table in _TABLES
        },
        sections=tuple(
            name
            for name in Config.model_fields
            if name not in {*_TABLES, "include"}
            and getattr(old, name) != getattr(new, name)
        ),
    )


def fixed(old: Config, new: Loaded) -> list[str]:
    """Say of each key that only a new process can change where it stands."""
    return [
        _told(path, new)
        for key in FIXED
        for path in _differing(_at(old, key), _at(new.config, key), key)
    ]


def _at(config: Config, key: KeyPath) -> object:
    return functools.reduce(getattr, map(str, key), config)


def _entries(config: Config, table: str) -> Mapping[str, object]:
    # Dumped, since each loading makes its own classes, and none equals another's.
    if table == "routes":
        return {route.id: route.model_dump() for route in config.routes}
    entries: Mapping[str, BaseModel] = getattr(config, table)
    return {name: entry.model_dump() for name, entry in entries.items()}


def _only_in(
    these: Mapping[str, object], others: Mapping[str, object]
) -> tuple[str, ...]:
    return tuple(name for name in these if name not in others)


def _differing(old: object, new: object, path: KeyPath) -> Iterator[KeyPath]:
    if isinstance(old, BaseModel) and isinstance(new, BaseModel):
        for name in type(new).model_fields:
            yield from _differing(getattr(old, name), getattr(new, name), (*path, name))
    elif old != new:
        yield path


def _told(path: KeyPath, new: Loaded) -> str:
    around = path
    while around not in new.marks and around:
        around = around[:-1]
    mark = new.marks.get(around, Mark("", 0))
    place = f"{mark.file}:{mark.line}: " if mark.file else ""
    key = ".".join(map(str, path))
    return (
        f"{place}{key}: expected what it was when the process started: listeners,"
        " workers and tracing change with a restart"
    )


def version(config: Config) -> str:
    """Name a configuration: the same in every process, and without its secrets."""
    # The order of a set is not the same everywhere, and a secret shows nothing.
    told = repr(_ordered(config.model_dump()))
    return hashlib.blake2b(told.encode(), digest_size=6).hexdigest()


def _ordered(value: Any) -> Any:
    match value:
        case dict():
            return {name: _ordered(each) for name, each in value.items()}
        case frozenset():
            return sorted(map(repr, value))
        case tuple() | list():
            return [_ordered(each) for each in value]
        case _:
            return value
