"""Who keeps the promises that the facts are built on, for tests."""

import asyncio
from collections import Counter

from gateway.errors import StoreUnavailable
from gateway.values import Finding, TokenFacts

SECRET = "a secret of the gateway that is long enough"
OLD_SECRET = "the one that is being rotated out of use"


class Oracle:
    """A verifier that says what it is told to, and counts how often it is asked.

    An exception is raised instead of said. While `gate` is clear, questions hang.
    """

    def __init__(
        self,
        *says: Finding | Exception,
        identity: str = "oracle",
        local: bool = False,
    ) -> None:
        self.says = list(says) or [TokenFacts(provider="melon", subject="ada")]
        self.identity = identity
        self.local = local
        self.asked: list[tuple[str, float]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def verify(self, token: str, now: float) -> Finding:
        """Say the next thing; the last is repeated."""
        self.asked.append((token, now))
        said = self.says.pop(0) if len(self.says) > 1 else self.says[0]
        await self.gate.wait()
        if isinstance(said, Exception):
            raise said
        return said


class Cupboard:
    """A shared store in a dictionary; `fails` makes it unavailable."""

    shared = True

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.ttls: dict[str, float] = {}
        self.gets = 0
        self.fails = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def get(self, key: str) -> bytes | None:
        """Give what is kept; it never runs out by itself."""
        self.gets += 1
        self._check()
        return self.kept.get(key)

    async def put(self, key: str, value: bytes, *, ttl: float) -> None:
        """Keep, once the gate is open."""
        await self.gate.wait()
        self._check()
        self.kept[key] = value
        self.ttls[key] = ttl

    async def delete(self, key: str) -> None:
        """Forget."""
        self._check()
        self.kept.pop(key, None)

    async def ping(self) -> None:
        """Answer."""
        self._check()

    async def close(self) -> None:
        """Nothing to let go of."""

    def _check(self) -> None:
        if self.fails:
            raise StoreUnavailable("gone")


class Tally:
    """Counts events by what they are called with."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, ...]] = Counter()

    def recalled(self, provider: str, method: str) -> None:
        self.cache("l1", "hit")
        self.validation(provider, method, "l1", "active")

    def cache(self, tier: str, result: str) -> None:
        self.counts["cache", tier, result] += 1

    def validation(self, provider: str, method: str, source: str, result: str) -> None:
        self.counts["validation", provider, method, source, result] += 1

    def coalesced(self, provider: str) -> None:
        self.counts["coalesced", provider] += 1

    def seal_alarm(self) -> None:
        self.counts["seal_alarm",] += 1
