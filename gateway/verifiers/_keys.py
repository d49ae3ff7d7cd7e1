"""The keys that prove a provider's signatures, and how they are had. Floor 3.

No verifier but a part of one, as the underscore says. Published keys are fetched once,
again when they have grown old, and again, at most once per cool-down for all callers
together, when a token names a key that nobody knows. During the cool-down such a token
is in doubt, not bad: its key may have been published since. A fetch that fails leaves
the last good set in force until `max_age`; a key that the provider withdrew stops
working within `ttl` while the provider can be asked, and within `max_age` while it
cannot.

All durations are seconds.
"""

import asyncio
from collections.abc import Awaitable, Callable
from math import ceil
from typing import Final, Protocol

from gateway.errors import ProviderUnavailable
from gateway.ports import Clock
from gateway.rules.signatures import Jws, KeySet
from gateway.tasks import spawn

_EMPTY_HANDED_PAUSE: Final = 1.0
"""Between tries while there is no key at all: every request waits for one."""


class Keys(Protocol):
    """Where the keys come from."""

    @property
    def count(self) -> int:
        """Count the keys in force."""
        ...

    @property
    def fetched_at(self) -> float | None:
        """Tell when (Unix time) they were fetched, if ever they were."""
        ...

    async def prove(self, jws: Jws) -> bool:
        """Tell whether one of them made this signature.

        Raises `ProviderUnavailable` where that cannot be told now.
        """
        ...


class GivenKeys:
    """Keys that stand in configuration."""

    fetched_at = None

    def __init__(self, keys: KeySet) -> None:
        self._keys = keys
        self.count = len(keys.keys)

    def __repr__(self) -> str:
        return f"<GivenKeys: {self.count}>"

    async def prove(self, jws: Jws) -> bool:
        """Tell for good: only a reload brings other keys."""
        return self._keys.proves(jws)


class FetchedKeys:
    """Keys that the provider publishes, fetched by one flight at a time."""

    def __init__(
        self,
        fetch: Callable[[], Awaitable[KeySet]],
        clock: Clock,
        *,
        ttl: float,
        max_age: float,
        cooldown: float,
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._ttl = ttl
        self._max_age = max_age
        self._cooldown = cooldown
        self._keys: KeySet | None = None
        self._fetched_at = 0.0
        self.fetched_at: float | None = None
        self._rest_until = 0.0
        self._failed = False
        self._flight: asyncio.Task[None] | None = None
        # Fetches are numbered: a key was looked for by one that began after its token
        # came, and by no other.
        self._begun = self._landed = 0
        self._absent: set[object] = set()

    def __repr__(self) -> str:
        return f"<FetchedKeys: {self.count}>"

    async def prove(self, jws: Jws) -> bool:
        """Tell whether a key that is in force made this signature.

        A name that is in no set is looked for, at most once per cool-down for all
        callers; who comes with another one meanwhile hears `ProviderUnavailable`.
        """
        came, name = self._begun, jws.header.get("kid")
        keys = await self._current()
        if keys.proves(jws):
            return True
        if keys.names(name) or (name in self._absent and self._rest()):
            return False
        if self._landed <= came:
            keys = await self._newest()
            if keys.proves(jws):
                return True
            if self._landed <= came and not keys.names(name):
                msg = "the provider's newest keys were fetched a moment ago"
                raise ProviderUnavailable(msg, retry_after=ceil(self._rest()))
        # Who comes here began a fetch: one name for each.
        self._absent.add(name)
        return False

    async def _current(self) -> KeySet:
        """Give the keys in force; an old set is renewed behind the caller's back."""
        if self._in_force() is None:
            await self._refetch()
        elif self._age() > self._ttl:
            self._take_off()
        keys = self._in_force()
        if keys is None:
            msg = "the provider's keys cannot be had"
            raise ProviderUnavailable(msg)
        return keys

    @property
    def count(self) -> int:
        """Count the keys in force."""
        keys = self._in_force()
        return 0 if keys is None else len(keys.keys)

    async def _newest(self) -> KeySet:
        """Fetch again, unless that was done just now."""
        await self._refetch()
        keys = self._in_force()
        if keys is None or self._failed:
            msg = "the provider's newest keys cannot be had"
            raise ProviderUnavailable(msg)
        return keys

    def _in_force(self) -> KeySet | None:
        return self._keys if self._age() <= self._max_age else None

    def _age(self) -> float:
        return self._clock.monotonic() - self._fetched_at

    def _rest(self) -> float:
        """Tell for how many seconds nothing is fetched for a token's sake."""
        return max(0.0, self._rest_until - self._clock.monotonic())

    async def _refetch(self) -> None:
        """Join the flight, or start it; a caller that leaves does not end it."""
        flight = self._take_off()
        if flight is not None:
            await asyncio.shield(flight)

    def _take_off(self) -> asyncio.Task[None] | None:
        if self._flight is None and not self._rest():
            self._begun += 1
            self._flight = spawn(self._fly(), name="fetch keys")
        return self._flight

    async def _fly(self) -> None:
        try:
            before, self._keys = self._keys, await self._fetch()
            self._landed = self._begun
            # What was withdrawn is in no doubt.
            withdrawn = () if before is None else (key.name for key in before.keys)
            self._absent = {name for name in withdrawn if not self._keys.names(name)}
            self._fetched_at = self._clock.monotonic()
            self.fetched_at = self._clock.now()
            self._failed = False
        except ProviderUnavailable:
            self._failed = True
        finally:
            rest = _EMPTY_HANDED_PAUSE if self._in_force() is None else self._cooldown
            self._rest_until = self._clock.monotonic() + rest
            self._flight = None
