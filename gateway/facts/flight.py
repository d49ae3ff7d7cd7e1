"""Ask once for a token over all processes that share a store. Floor 3.

Whoever takes the token's lock asks; the others wait for what he tells: *look in the
store*, where facts are, or *invalid*, which travels here alone and sealed, since the
store keeps no verdicts; or that the provider cannot be asked, which holds for a second
for everybody, so that nobody queues up behind one who hangs.

A lock that nobody releases runs out, and then the next one asks. Who hears nothing of
the store when he would take the lock acts as if he had it. Any other trouble with it, or too long a wait: whoever has it asks for himself. So in the worst case there
is one question per process, as if this were not here.
"""

import secrets
from collections.abc import Awaitable, Callable
from typing import Final

from gateway.errors import ProviderUnavailable, StoreUnavailable
from gateway.facts.fingerprints import Fingerprint
from gateway.facts.sealed import SealBroken, Sealer
from gateway.ports import FLIGHT_UNAVAILABLE, CacheEvents, Clock, FlightLock
from gateway.values import Invalid, Knowledge, Source

PATIENCE: Final = 10.0
"""Seconds to wait for others: for one that died with the lock, and one more."""

_LOOK: Final = b"+"
_INVALID: Final = b"-"
_UNAVAILABLE: Final = b"?"
_HEARD: Final = 10.0
"""Seconds for which a verdict that travels can be opened."""

_OURS: Final = b"!"
_NOBODY: Final = b""

Ask = Callable[[], Awaitable[Knowledge]]
Look = Callable[[], Awaitable[Knowledge | None]]


class SharedFlights:
    """The flights of one provider's tokens, under `name`, sealed under `secret`."""

    def __init__(
        self,
        name: Fingerprint,
        secret: str,
        *,
        lock: FlightLock,
        clock: Clock,
        events: CacheEvents,
    ) -> None:
        self._name = name
        self._sealer = Sealer(Invalid, secret)
        self._lock = lock
        self._clock = clock
        self._events = events

    async def learn(self, token: str, *, ask: Ask, look: Look) -> Knowledge:
        """Give what `ask` says, or what another process was told meanwhile.

        `look` gives what is in the store, if it will do. Raises `ProviderUnavailable`.
        """
        key, owner = self._name.store_key(token), secrets.token_hex(8)
        word = await self._word(key, owner)
        if word == _OURS:
            return await self._lead(key, owner, token, ask)
        if word == _UNAVAILABLE:
            raise ProviderUnavailable("another process found the provider unavailable")
        if word == _LOOK and (knowledge := await look()) is not None:
            return knowledge
        if word.startswith(_INVALID):
            verdict = self._opened(word[1:], token, key)
            if verdict is not None:
                return Knowledge(verdict, Source.L2, self._clock.now())
        return await ask()

    async def _word(self, key: str, owner: str) -> bytes:
        """Wait for our turn to ask, for somebody's word, or in vain."""
        until = self._clock.monotonic() + PATIENCE
        while self._clock.monotonic() < until:
            try:
                holder, left = await self._lock.take(key, owner)
            except StoreUnavailable:
                self._events.cache("flight", "error")
                # It may be taken though nobody heard so: it must be released.
                return _OURS
            if holder == owner:
                return _OURS
            if holder == FLIGHT_UNAVAILABLE:
                return _UNAVAILABLE
            try:
                word = await self._lock.wait(key, left)
            except StoreUnavailable:
                self._events.cache("flight", "error")
                break
            if word is not None:
                self._events.cache("flight", "hit")
                return word
        return _NOBODY

    async def _lead(self, key: str, owner: str, token: str, ask: Ask) -> Knowledge:
        word = _UNAVAILABLE
        try:
            knowledge = await ask()
            word = self._told(knowledge, token, key)
        finally:
            try:
                unavailable = word == _UNAVAILABLE
                await self._lock.release(key, owner, word, unavailable=unavailable)
            except StoreUnavailable:
                self._events.cache("flight", "error")
        return knowledge

    def _told(self, knowledge: Knowledge, token: str, key: str) -> bytes:
        found = knowledge.found
        if not isinstance(found, Invalid):
            return _LOOK
        until = self._clock.now() + _HEARD
        sealed = self._sealer.seal(found, token=token, key=key, believe_until=until)
        return _LOOK if sealed is None else _INVALID + sealed

    def _opened(self, value: bytes, token: str, key: str) -> Invalid | None:
        now = self._clock.now()
        try:
            return self._sealer.open(value, token=token, key=key, now=now)
        except SealBroken:
            self._events.seal_alarm()
            return None
