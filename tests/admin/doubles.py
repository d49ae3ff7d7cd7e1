"""Keepers of the admin's promises that do as a test wants."""

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.admin.guards import Doorkeeper
from gateway.admin.guesses import Guesses
from gateway.admin.picture import Picture
from gateway.admin.promises import Settled
from gateway.admin.recent import Seen
from gateway.admin.troubles import Workers
from gateway.errors import StoreUnavailable
from gateway.values import Mark, MarkKind, Reload, Secret
from tests.admin.samples import NOW, SETTLED, exchange, picture
from tests.fakes import Clock

TOKEN = Secret("an-admin-token-of-some-length")
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}
FINGERPRINT = "0123456789abcdef" * 4
TRACE: Mapping[str, Any] = {"route": "likes", "decision": "deny", "reason": "expired"}


def keeper(token: Secret | None = TOKEN, **options: Any) -> Doorkeeper:
    """Make what the guard goes by; at a moment that does not pass."""
    parts = {"guesses": Guesses(Clock().monotonic), "now": lambda: NOW, **options}
    return Doorkeeper(token=lambda: token, **parts)


class Explainer:
    """Keeps the promise; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Mapping[str, str], Secret | None]] = []
        self.trace: Mapping[str, object] = TRACE

    async def explain(
        self, method: str, url: str, headers: Mapping[str, str], token: Secret | None
    ) -> Mapping[str, object]:
        self.asked.append((method, url, headers, token))
        return self.trace


class Desk:
    """Keeps the promise in a list; `full` has no room for another mark."""

    def __init__(self) -> None:
        self.held: list[Mark] = []
        self.full = False
        self.asked: list[tuple[str, MarkKind, Secret]] = []

    async def revoke(self, provider: str, kind: MarkKind, name: Secret) -> Mark:
        self.asked.append((provider, kind, name))
        if provider != "melon":
            raise LookupError(provider)
        if self.full:
            msg = "no room"
            raise StoreUnavailable(msg)
        mark = Mark(
            kind=kind,
            provider=provider,
            name=FINGERPRINT if kind is MarkKind.TOKEN else str(name),
            moment=1_800_000_000.0,
            expires_at=1_800_000_300.0,
        )
        self.held.append(mark)
        return mark

    async def marks(self) -> Sequence[Mark]:
        return self.held

    async def lift(self, mark: Mark) -> None:
        self.held.remove(mark)


class Reloader:
    """Keeps the promise: what comes of the next change is what a test wants."""

    def __init__(self) -> None:
        self.last = Reload(ok=True, at=NOW, trigger="start", version="c0ffee")
        self.next = Reload(
            ok=True, at=NOW, trigger="api", version="bee", changes="routes: +1 ~0 -0"
        )
        self.asked: list[str] = []

    async def reload(self, trigger: str) -> Reload:
        self.asked.append(trigger)
        self.last = self.next
        return self.last


class Console:
    """Keeps the promise: one process that is well, and one exchange."""

    def __init__(self) -> None:
        self.shown: Picture | None = picture()
        self.seen: list[Seen] = [Seen(0, exchange())]
        self.config: Settled = SETTLED
        self.posts = Workers()
        self.time = NOW

    async def picture(self) -> Picture:
        if self.shown is None:
            msg = "no worker answers"
            raise StoreUnavailable(msg)
        return self.shown

    async def recent(self) -> Sequence[Seen]:
        return self.seen

    def settled(self) -> Settled:
        return self.config

    def workers(self) -> Workers:
        return self.posts

    def now(self) -> float:
        return self.time
