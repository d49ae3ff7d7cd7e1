"""Keep entries in Redis or Valkey, where every process finds them. Floor 3.

This is the profile of the hot path: every call is one command with a short deadline
and no second try, since what it saves is a question to a provider. (redis-py left to
itself waits five seconds and tries ten times.)

After a failure to reach the server the store rests: for `REST` seconds calls fail at
once instead of each waiting out the deadline. An answer that says no (out of memory,
read only, wrong type) costs no wait, so it is a failure without a rest.

One SET with its expiry per entry: there is no moment at which an entry has none. A
value is read by GETRANGE, which asks for what may be parsed and one byte more: if
somebody put 100 MB under our key, they stay where they are.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar, cast

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as NotConnected
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as NotInTime
from redis.maint_notifications import MaintNotificationsConfig

from gateway.errors import ConfigError, StoreUnavailable
from gateway.ports import STORED_LIMIT_BYTES, Clock

SCHEMES: Final = ("redis", "rediss")

DEADLINE: Final = 0.05
"""Seconds for one command, with connecting where that is needed."""

REST: Final = 1.0
"""Seconds without calls after the server could not be reached."""

CONNECTIONS: Final = 16
"""Connections to the server at most. More would not be faster: a command costs this
process more time than it costs the server."""

PATIENCE: Final = 1.0
"""Seconds to wait for a turn while the server answers others. If it hangs, those whose
turn it is find out within `DEADLINE`, and then nobody waits."""

LONGEST: Final = 100 * 365 * 86_400.0
"""The longest life of an entry, in seconds: the server refuses expiries beyond its
clock's range, and a grant may claim any."""

Result = TypeVar("Result")


class RedisStore:
    """Keeps `ports.Store` in a server that all processes share."""

    shared = True

    def __init__(
        self,
        pool: ConnectionPool,
        clock: Clock,
        *,
        deadline: float = DEADLINE,
        patience: float = PATIENCE,
    ) -> None:
        self._redis = Redis.from_pool(pool)
        self._pool = pool
        self._clock = clock
        self._deadline = deadline
        self._patience = patience
        self._rests_until = 0.0
        self._turns = asyncio.Semaphore(CONNECTIONS)

    def __repr__(self) -> str:
        where = self._pool.connection_kwargs
        return (
            f"<RedisStore {where.get('host', 'localhost')}:{where.get('port', 6379)}>"
        )

    async def get(self, key: str) -> bytes | None:
        """Give the value (of one beyond the limit, only the beginning), or None."""
        value = await self._within(
            lambda: self._redis.getrange(key, 0, STORED_LIMIT_BYTES)
        )
        # An absent key reads as an empty string, and no value of ours is empty.
        return cast("bytes", value) or None

    async def put(self, key: str, value: bytes, *, ttl: float) -> None:
        """Keep `value` for `ttl` seconds in one atomic step."""
        if len(value) > STORED_LIMIT_BYTES:
            raise StoreUnavailable("the value is too long to be kept")
        milliseconds = max(1, int(min(ttl, LONGEST) * 1000))
        await self._within(lambda: self._redis.set(key, value, px=milliseconds))

    async def delete(self, key: str) -> None:
        """Forget `key`; an absent key is no error."""
        await self._within(lambda: self._redis.unlink(key))

    async def ping(self) -> None:
        """Prove that the store answers."""
        await self._within(self._redis.ping)

    async def close(self) -> None:
        """Let go of every connection."""
        await self._pool.aclose()

    async def _within(self, command: Callable[[], Awaitable[Result]]) -> Result:
        """Run one command in its turn and in time, or raise `StoreUnavailable`."""
        self._check_rest()
        try:
            async with asyncio.timeout(self._patience):
                await self._turns.acquire()
        except TimeoutError as error:
            # We are busy; that is no sign of the server being away.
            raise StoreUnavailable("no connection was free in time") from error
        try:
            self._check_rest()
            return await self._in_time(command)
        except (TimeoutError, OSError, NotConnected, NotInTime) as error:
            self._rests_until = self._clock.monotonic() + REST
            raise StoreUnavailable(_told(error)) from error
        except RedisError as error:
            raise StoreUnavailable(_told(error)) from error
        finally:
            self._turns.release()

    async def _in_time(self, command: Callable[[], Awaitable[Result]]) -> Result:
        task = asyncio.current_task()
        cancelled = 0 if task is None else task.cancelling()
        async with asyncio.timeout(self._deadline):
            result = await command()
        # The client waits with `asyncio.wait_for`, which loses a cancellation now and
        # then (cpython#86296, until 3.12).
        if task is not None and task.cancelling() > cancelled:
            raise asyncio.CancelledError
        return result

    def _check_rest(self) -> None:
        if self._clock.monotonic() < self._rests_until:
            raise StoreUnavailable("the store could not be reached a moment ago")


def open_store(url: str, *, clock: Clock, deadline: float = DEADLINE) -> RedisStore:
    """Open `redis://` or `rediss://`; connections are made when they are needed."""
    return RedisStore(_pool(url, deadline, CONNECTIONS), clock, deadline=deadline)


def open_client(url: str, *, deadline: float) -> Redis:
    """Give a client of one's own, for what is not the hot path: locks, streams.

    A `redis.asyncio` client that decodes nothing (keys and values are bytes), makes
    connections when they are needed, and tries once. `deadline` (seconds) bounds
    connecting and each read from the socket: of a blocking command it must outlast the
    block. What fails is a `redis.exceptions.RedisError` or an `OSError`, whose words
    may quote a key: tell only its type. Whoever opens it calls `aclose()` in the end.
    """
    return Redis.from_pool(_pool(url, deadline, CONNECTIONS))


def _pool(url: str, deadline: float, connections: int) -> ConnectionPool:
    try:
        pool = ConnectionPool.from_url(
            url,
            max_connections=connections,
            socket_timeout=deadline,
            socket_connect_timeout=deadline,
            retry=Retry(NoBackoff(), 0),
            protocol=3,
            driver_info=None,
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
        )
        # A misspelt option in the URL shows only when a connection is made.
        pool.make_connection()  # type: ignore[no-untyped-call]
    except (TypeError, ValueError, RedisError):
        # Without its cause, which may quote the URL, and so the password.
        raise ConfigError(["store.url: expected a usable redis:// URL"]) from None
    return pool


def _told(error: Exception) -> str:
    """Say what happened without the server's words, which may quote a key."""
    return f"the store failed: {type(error).__name__}"
