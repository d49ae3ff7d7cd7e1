"""Let one process at a time ask about a token, and tell the others. Floor 3.

The name's underscore says that this is no store, but what shares one.

A lock is a key that names its owner and runs out by itself, so a process that dies in
the midst of a question costs the others no more than `LOCK`. What the owner found out
goes into a list beside it, of one element, which those who wait move onto itself: one
command that waits, wakes everybody in turn, and finds at once what was told a moment
ago. Taking and releasing are scripts over both keys, which have one hash tag.

Everything here fails as `StoreUnavailable`, soon, and then everybody asks for himself.
A lock may have been taken though nobody heard so in time, and it would keep the others
waiting to its end: what could not be released is released a moment later, with patience.
Those who wait are on connections of their own: they never hold up those who do not.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from redis.exceptions import RedisError, ResponseError

from gateway.config.store import NOTHING_MORE, StoreAccess
from gateway.errors import StoreUnavailable
from gateway.ports import FLIGHT_UNAVAILABLE, Clock
from gateway.stores._connect import Client
from gateway.stores.redis import CONNECTIONS, DEADLINE, PATIENCE, REST, open_client
from gateway.tasks import spawn

LOCK: Final = 5.0
"""Seconds a lock lasts: a provider's usual deadline, a further try, and some more."""

TOLD: Final = 1.0
"""Seconds for which what was found out can be heard, and *unavailable* holds."""

LATER: Final = 0.25
"""Seconds after which a lock that could not be released is released again, once."""

SLACK: Final = 0.5
"""Seconds by which a server may be late to end a wait: it looks ten times a second."""

_TAKE: Final = """
local holder = redis.call('get', KEYS[1])
if holder then return {holder, redis.call('pttl', KEYS[1])} end
if redis.call('exists', KEYS[2]) == 1 then return {'', 0} end
redis.call('set', KEYS[1], ARGV[1], 'px', ARGV[2])
return {ARGV[1], tonumber(ARGV[2])}
"""

_RELEASE: Final = """
if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[3] == '' then redis.call('del', KEYS[1])
else redis.call('set', KEYS[1], ARGV[3], 'px', ARGV[4]) end
redis.call('del', KEYS[2])
redis.call('rpush', KEYS[2], ARGV[2])
return redis.call('pexpire', KEYS[2], ARGV[4])
"""

# uvloop says RuntimeError of a connection that was reset while it idled.
_FAILURES: Final = (RedisError, OSError, RuntimeError, TimeoutError)

Result = TypeVar("Result")


class RedisFlightLock:
    """Keeps `ports.FlightLock` in a server that all processes share."""

    def __init__(
        self,
        quick: Client,
        patient: Client,
        clock: Clock,
        *,
        deadline: float,
        lock: float,
    ) -> None:
        self._quick = quick
        self._patient = patient
        self._clock = clock
        self._deadline = deadline
        self._lock = lock
        self._turns = asyncio.Semaphore(CONNECTIONS)
        self._seats = asyncio.Semaphore(CONNECTIONS)
        self._rests_until = 0.0
        self._perhaps_held: set[str] = set()
        self._releasing: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<RedisFlightLock of {self._lock:g} s>"

    async def take(self, key: str, owner: str) -> tuple[str, float]:
        """Take the lock, or tell who has it, and for how many seconds at most.

        Nobody ("") has it while there is a word to be heard.
        """
        script = (_TAKE, 2, *_keys(key), owner, _milliseconds(self._lock))

        def send() -> Awaitable[Any]:
            self._perhaps_held.add(owner)
            return _call(self._quick.eval(*script))

        raw, left = await self._within(self._turns, self._deadline, send)
        holder = raw.decode("ascii", "replace")
        if holder != owner:
            self._perhaps_held.discard(owner)
        if not 0 <= left <= 1000 * max(self._lock, TOLD):
            # Nobody of us made it, so nobody will end it.
            raise StoreUnavailable("the flight lock is somebody else's")
        return holder, left / 1000

    async def wait(self, key: str, seconds: float) -> bytes | None:
        """Wait for the owner's word; None: there was none in time."""
        _, told = _keys(key)

        # 0 would mean for ever.
        block = ("BLMOVE", told, told, "LEFT", "LEFT", max(0.1, seconds))
        word: bytes | None = await self._within(
            self._seats,
            seconds + SLACK,
            lambda: _call(self._patient.execute_command(*block)),
        )
        return word

    async def release(
        self, key: str, owner: str, word: bytes, *, unavailable: bool = False
    ) -> None:
        """Tell those who wait, and let the next one ask; if the lock is still ours.

        If it was taken and the store does not answer, that is tried once more, later.
        """
        state = FLIGHT_UNAVAILABLE if unavailable else ""
        script = (_RELEASE, 2, *_keys(key), owner, word, state, _milliseconds(TOLD))
        held = owner in self._perhaps_held
        self._perhaps_held.discard(owner)
        try:
            await self._within(
                self._turns, self._deadline, lambda: _call(self._quick.eval(*script))
            )
        except StoreUnavailable:
            # Of more than that the store is not well enough to be told.
            if held and len(self._releasing) < CONNECTIONS:
                task = spawn(self._release_later(script), name="release a flight lock")
                self._releasing.add(task)
                task.add_done_callback(self._releasing.discard)
            raise

    async def _release_later(self, script: tuple[Any, ...]) -> None:
        await asyncio.sleep(LATER)
        # What cannot be told now either runs out.
        with contextlib.suppress(*_FAILURES):
            async with asyncio.timeout(PATIENCE):
                await _call(self._patient.eval(*script))

    async def close(self) -> None:
        """Let go of every connection."""
        for task in self._releasing:
            task.cancel()
        await self._quick.aclose()
        await self._patient.aclose()

    async def _within(
        self,
        turns: asyncio.Semaphore,
        seconds: float,
        command: Callable[[], Awaitable[Result]],
    ) -> Result:
        """Run one command in its turn and in time, or raise `StoreUnavailable`."""
        try:
            async with asyncio.timeout(max(PATIENCE, seconds)):
                await turns.acquire()
        except TimeoutError as error:
            # We are busy; that is no sign of the server being away.
            raise StoreUnavailable("no connection was free in time") from error
        try:
            if self._clock.monotonic() < self._rests_until:
                raise StoreUnavailable("the store could not be reached a moment ago")
            async with asyncio.timeout(seconds):
                return await command()
        except _FAILURES as error:
            # To hear *no* takes no time: that was no sign of the server being away.
            if not isinstance(error, ResponseError):
                self._rests_until = self._clock.monotonic() + REST
            told = f"the flight lock failed: {type(error).__name__}"
            raise StoreUnavailable(told) from error
        finally:
            turns.release()


def open_flight_lock(
    url: str,
    *,
    clock: Clock,
    access: StoreAccess = NOTHING_MORE,
    deadline: float = DEADLINE,
    lock: float = LOCK,
) -> RedisFlightLock:
    """Open it at a store's URL; connections are made when they are needed."""
    return RedisFlightLock(
        open_client(url, deadline=deadline, access=access),
        open_client(url, deadline=lock + 1, access=access),
        clock,
        deadline=deadline,
        lock=lock,
    )


def _keys(key: str) -> tuple[str, str]:
    prefix, _, name = key.rpartition(":")
    return f"{prefix}:{{{name}}}:lock", f"{prefix}:{{{name}}}:told"


def _milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))


def _call(command: Any) -> Awaitable[Any]:
    """Type what the client's stubs call "awaitable or not"."""
    awaitable: Awaitable[Any] = command
    return awaitable
