"""What stands behind the admin listener, as its views see it. Floor 4: promises, and what is local.

`app.py` and, where there are several workers, their parent keep these.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import msgspec
from aiohttp import web

from gateway.admin.picture import Picture
from gateway.admin.recent import Seen
from gateway.admin.troubles import Workers
from gateway.config.effective import Setting
from gateway.values import Mark, MarkKind, Reload, Route, Secret


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration in force, as it may be shown."""

    version: str
    digest: str
    routes: tuple[Route, ...]
    settings: tuple[Setting, ...]
    warnings: tuple[str, ...]
    providers: tuple[str, ...]


class Explainer(Protocol):
    """Decides of a request without serving it."""

    async def explain(
        self, method: str, url: str, headers: Mapping[str, str], token: Secret | None
    ) -> Mapping[str, object]:
        """Give the trace of a decision as JSON values; no token is in it."""
        ...


class RevocationDesk(Protocol):
    """Keeps revocation marks."""

    async def revoke(self, provider: str, kind: MarkKind, name: Secret) -> Mark:
        """Make a mark; `name` is the token itself for that kind, "" for a provider.

        Raises `LookupError` when there is no such provider, `StoreUnavailable` when
        the mark cannot be kept.
        """
        ...

    async def marks(self) -> Sequence[Mark]:
        """Give the marks in force."""
        ...

    async def lift(self, mark: Mark) -> None:
        """Take a mark back; one that is gone is no error."""
        ...


class Console(Protocol):
    """What the gateway tells of itself. Nothing here asks a provider or a store."""

    async def picture(self) -> Picture:
        """Give what is true now, of all processes that answer.

        Raises `StoreUnavailable` when none does.
        """
        ...

    async def recent(self) -> Sequence[Seen]:
        """Give the last exchanges of every process, in no particular order."""
        ...

    def settled(self) -> Settled:
        """Give the configuration in force."""
        ...

    def workers(self) -> Workers:
        """Tell which processes serve."""
        ...

    def now(self) -> float:
        """Tell the time."""
        ...


class Reloader(Protocol):
    """Puts the configuration of the files in force."""

    @property
    def last(self) -> Reload:
        """Tell what came of the last change; the start is one."""
        ...

    async def reload(self, trigger: str) -> Reload:
        """Read the files, and tell what came of it; a bad one changes nothing."""
        ...


class Auditor(Protocol):
    """Writes down who changed what. Never raises, never blocks."""

    def record(self, action: str, outcome: str, /, **fields: str | float) -> None:
        """Take note.

        `action` is `revoke`, `lift`, `reload`, `explain`, `sign_in` or `refused`;
        `outcome` is `done`, `failed` or `denied`. `fields` always has `peer`, `via`
        (`page` or `api`) and `request`, `certificate` where one was shown, and tells
        what it was about; never a token.
        """
        ...


EXPLAINER: Final[web.AppKey[Explainer]] = web.AppKey("explainer")
DESK: Final[web.AppKey[RevocationDesk]] = web.AppKey("desk")
CONSOLE: Final[web.AppKey[Console]] = web.AppKey("console")
RELOADER: Final[web.AppKey[Reloader | None]] = web.AppKey("reloader")
