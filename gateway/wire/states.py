"""How an upstream is, as values. Floor 3: data alone.

Why a module of their own: they pass between processes, and what is to be read back by
its annotations cannot be compiled (`hatch_build.py`), which leaves `tuple[X, ...]` no X.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetState:
    """What is true now of one configured target, all its addresses together.

    `addresses` counts them by their standing: `serving`, `ejected` or `unwell`.
    """

    target: str
    addresses: dict[str, int]
    busy: int
    idle: int
    opening: int
    ejections: int
    unresolved: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolState:
    """What is true now of one upstream.

    `retries` counts requests that were sent again, by why: the connection was `closed`
    before an answer, or a target could not be reached (`connect`).
    """

    upstream: str
    waiting: int
    retries: dict[str, int]
    targets: tuple[TargetState, ...]
