"""Share facts with the other processes, through a store that is trusted with nothing.

Floor 3. The second level of the cache: entries are sealed (`facts.sealed`), and every
trouble with the store is a miss that is counted. What is read is what was learned; for
how long that is believed is `facts.cached`'s business.
"""

from collections.abc import Callable, Sequence

import msgspec

from gateway.errors import StoreUnavailable
from gateway.facts.budget import UnknownTokens
from gateway.facts.fingerprints import Fingerprint
from gateway.facts.sealed import SealBroken, Sealer
from gateway.ports import CacheEvents, Clock, FlightLock, Store
from gateway.values import TokenFacts


class Uncounted:
    """Keeps `ports.CacheEvents` by counting nothing."""

    def cache(self, tier: str, result: str) -> None:
        """Let it pass."""

    def recalled(self, provider: str, method: str) -> None:
        """Let it pass."""

    def validation(self, provider: str, method: str, source: str, result: str) -> None:
        """Let it pass."""

    def coalesced(self, provider: str) -> None:
        """Let it pass."""

    def forgotten(self, source: str) -> None:
        """Let it pass."""

    def rate_limit(self, policy: str, *, allowed: bool) -> None:
        """Let it pass."""

    def seal_alarm(self) -> None:
        """Let it pass."""


class CacheResources(msgspec.Struct, frozen=True, kw_only=True):
    """What the caches of all providers have in common.

    Of `secrets` the first seals and names; facts under the others are not read (a
    miss costs one question), only erased. Without a `budget` everybody may have any
    number of unknown tokens asked about, without a `lock` every process asks for
    itself.
    """

    secrets: tuple[str, ...]
    store: Store
    clock: Clock
    events: CacheEvents = Uncounted()
    budget: UnknownTokens | None = None
    lock: FlightLock | None = None

    def __repr__(self) -> str:
        return f"<CacheResources {self.store}>"


class SharedFacts:
    """The facts of one provider in the store; `names` are by secret."""

    def __init__(self, names: Sequence[Fingerprint], resources: CacheResources) -> None:
        self._names = tuple(names)
        self._sealer = Sealer(TokenFacts, resources.secrets[0])
        self._store = resources.store
        self._clock = resources.clock
        self._events = resources.events

    async def read(
        self, token: str, will_do: Callable[[TokenFacts], bool]
    ) -> tuple[TokenFacts | None, bool]:
        """Give the facts, if there are any that `will_do`, and whether any entry is."""
        key = self._names[0].store_key(token)
        try:
            value = await self._store.get(key)
        except StoreUnavailable:
            self._events.cache("l2", "error")
            return None, False
        facts = None if value is None else self._opened(value, token, key)
        if facts is None or not will_do(facts):
            self._events.cache("l2", "miss")
            return None, value is not None
        self._events.cache("l2", "hit")
        return facts, True

    async def write(self, token: str, facts: TokenFacts, ttl: float) -> None:
        """Put `facts` there for `ttl` seconds, if they can be."""
        key = self._names[0].store_key(token)
        until = self._clock.now() + ttl
        value = self._sealer.seal(facts, token=token, key=key, believe_until=until)
        if value is None:
            return
        try:
            await self._store.put(key, value, ttl=ttl)
        except StoreUnavailable:
            self._events.cache("l2", "error")

    async def erase(self, token: str) -> None:
        """Take away what anybody put there.

        A store that does not answer keeps it until its ttl: counted.
        """
        try:
            # Processes in the midst of a change of secrets may write under any.
            for name in self._names:
                await self._store.delete(name.store_key(token))
        except StoreUnavailable:
            self._events.cache("l2", "error")

    def _opened(self, value: bytes, token: str, key: str) -> TokenFacts | None:
        now = self._clock.now()
        try:
            return self._sealer.open(value, token=token, key=key, now=now)
        except SealBroken:
            self._events.seal_alarm()
            return None
