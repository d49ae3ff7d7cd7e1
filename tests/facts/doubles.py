"""Who keeps the promises that the facts are built on, for tests."""

import asyncio
from collections import Counter
from math import inf

from gateway.errors import StoreUnavailable
from gateway.ports import FLIGHT_UNAVAILABLE
from gateway.values import Finding, TokenFacts
from tests.fakes import Clock

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

    async def add(self, key: str, value: bytes, *, ttl: float) -> bool:
        """Keep what is new, once the gate is open."""
        await self.gate.wait()
        self._check()
        if key in self.kept:
            return False
        self.kept[key] = value
        self.ttls[key] = ttl
        return True

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


class Tower:
    """A flight lock in a dictionary; `fails` makes it unavailable.

    `hold` puts a lock of another process there, `tell` that one's word.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.holders: dict[str, str] = {}
        self.words: dict[str, bytes] = {}
        self.until: dict[str, float] = {}
        self.told: list[tuple[bytes, bool]] = []
        self.fails = False
        self.changed = asyncio.Event()

    def hold(self, key: str, holder: str = "another") -> None:
        """Be another process that asks."""
        self.holders[key] = holder

    def tell(self, key: str, word: bytes | None) -> None:
        """Be that process, and land; None is to die."""
        del self.holders[key]
        if word is not None:
            self.words[key] = word
            self.until[key] = self.clock.monotonic() + 1
        self.changed.set()

    async def take(self, key: str, owner: str) -> tuple[str, float]:
        """Take it, if nobody has it and nobody has landed."""
        self._check()
        if self.clock.monotonic() >= self.until.get(key, inf):
            self.words.pop(key, None)
            self.holders.pop(key, None)
            del self.until[key]
        if key in self.words and key not in self.holders:
            return "", 0.0
        return self.holders.setdefault(key, owner), 5.0

    async def wait(self, key: str, seconds: float) -> bytes | None:
        """Wait for a word, or for the death of its holder."""
        self._check()
        while key in self.holders and key not in self.words:
            self.changed.clear()
            await self.changed.wait()
            self._check()
        if key not in self.words:
            self.clock.advance(seconds)
        return self.words.get(key)

    async def release(
        self, key: str, owner: str, word: bytes, *, unavailable: bool = False
    ) -> None:
        """Land."""
        self._check()
        assert owner == self.holders[key]
        self.told.append((word[:1], unavailable))
        self.tell(key, word)
        if unavailable:
            self.hold(key, FLIGHT_UNAVAILABLE)

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

    def forgotten(self, source: str) -> None:
        self.counts["forgotten", source] += 1

    def rate_limit(self, policy: str, *, allowed: bool) -> None:
        self.counts["rate_limit", policy, str(allowed)] += 1

    def seal_alarm(self) -> None:
        self.counts["seal_alarm",] += 1
