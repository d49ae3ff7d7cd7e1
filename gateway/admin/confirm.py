"""Changes that wait to be confirmed. Floor 4: keeps values in memory, does nothing.

What a page asks to be revoked may be a token. So the page that asks *are you sure* is
given a random name for it, and the token stays here; for some minutes, a few at most.
"""

import secrets
from collections.abc import Callable
from typing import Final, NamedTuple

from gateway.values import MarkKind, Secret

LIFE: Final = 300.0
KEPT: Final = 64


class Asked(NamedTuple):
    """Somebody asked to revoke this."""

    provider: str
    kind: MarkKind
    name: Secret


class Confirmations:
    """Remembers what was asked, under names nobody can guess. `now` tells the time."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._asked: dict[str, tuple[float, Asked]] = {}

    def __repr__(self) -> str:
        return f"<Confirmations: {len(self._asked)} open>"

    def open(self, asked: Asked) -> str:
        """Keep it, and give its name."""
        self._sweep()
        while len(self._asked) >= KEPT:
            del self._asked[next(iter(self._asked))]
        name = secrets.token_urlsafe(16)
        self._asked[name] = (self._now() + LIFE, asked)
        return name

    def take(self, name: str) -> Asked | None:
        """Give what has this name, once; None when it is not known any more."""
        self._sweep()
        kept = self._asked.pop(name, None)
        return None if kept is None else kept[1]

    def _sweep(self) -> None:
        now = self._now()
        self._asked = {
            name: kept for name, kept in self._asked.items() if kept[0] > now
        }
