"""Keep entries in Redis or Valkey, where every process finds them. Floor 3.

This is the profile of the hot path: every call is one command with a short deadline
and no second try, since what it saves is a question to a provider. (redis-py left to
itself waits five seconds and tries ten times.)

After a failure to reach the server the store rests: for `REST` seconds calls fail at
once instead of each waiting out the deadline; of a cluster, only the node that failed
rests. An answer that says no (out of memory, read only, wrong type) costs no wait, so
it is a failure without a rest.

The other profile is `open_client`'s: whoever reads a stream or waits for a lock brings
a deadline of his own, and comes again.

One SET with its expiry per entry: there is no moment at which an entry has none. A
value is read by GETRANGE, which asks for what may be parsed and one byte more: if
somebody put 100 MB under our key, they stay where they are.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar, cast

from redis.exceptions import ConnectionError as NotConnected
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as NotInTime

from gateway.config.store import NOTHING_MORE, StoreAccess
from gateway.errors import StoreUnavailable
from gateway.ports import STORED_LIMIT_BYTES, Clock
from gateway.stores._connect import Client, Cluster, connect, connection_counts

SCHEMES: Final = (
    "redis",
    "rediss",
    "redis+sentinel",
    "rediss+sentinel",
    "redis+cluster",
    "rediss+cluster",
)

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
        client: Client,
        clock: Clock,
        *,
        deadline: float = DEADLINE,
        patience: float = PATIENCE,
    ) -> None:
        self._redis = client
        self._clock = clock
        self._deadline = deadline
        self._patience = patience
        self._rests: dict[str, float] = {}
        self._turns = asyncio.Semaphore(CONNECTIONS)

    def __repr__(self) -> str:
        return f"<RedisStore {type(self._redis).__name__}>"

    async def get(self, key: str) -> bytes | None:
        """Give the value (of one beyond the limit, only the beginning), or None."""
        value = await self._within(
            key, lambda: self._redis.getrange(key, 0, STORED_LIMIT_BYTES)
        )
        # An absent key reads as an empty string, and no value of ours is empty.
        return cast("bytes", value) or None

    async def put(self, key: str, value: bytes, *, ttl: float) -> None:
        """Keep `value` for `ttl` seconds in one atomic step."""
        await self._set(key, value, ttl)

    async def add(self, key: str, value: bytes, *, ttl: float) -> bool:
        """Keep `value` if nothing is there, in one atomic step; tell whether it was."""
        return await self._set(key, value, ttl, only_new=True)

    async def delete(self, key: str) -> None:
        """Forget `key`; an absent key is no error."""
        await self._within(key, lambda: self._redis.unlink(key))

    async def ping(self) -> None:
        """Prove that the store answers: every node of a cluster."""
        await self._within("", self._redis.ping)

    async def close(self) -> None:
        """Let go of every connection."""
        await self._redis.aclose()

    @property
    def resting(self) -> bool:
        """Tell whether a server is left alone, since it could not be reached."""
        now = self._clock.monotonic()
        return any(now < end for end in self._rests.values())

    def connections(self) -> tuple[int, int]:
        """Count the connections in use and those that are idle."""
        return connection_counts(self._redis)

    async def _set(
        self, key: str, value: bytes, ttl: float, *, only_new: bool = False
    ) -> bool:
        if len(value) > STORED_LIMIT_BYTES:
            raise StoreUnavailable("the value is too long to be kept")
        milliseconds = max(1, int(min(ttl, LONGEST) * 1000))
        return bool(
            await self._within(
                key, lambda: self._redis.set(key, value, px=milliseconds, nx=only_new)
            )
        )

    async def _within(
        self, key: str, command: Callable[[], Awaitable[Result]]
    ) -> Result:
        """Run one command in its turn and in time, or raise `StoreUnavailable`."""
        server = self._server_of(key)
        self._check_rest(server)
        try:
            async with asyncio.timeout(self._patience):
                await self._turns.acquire()
        except TimeoutError as error:
            # We are busy; that is no sign of the server being away.
            raise StoreUnavailable(
                "no connection was free in time", kind="busy"
            ) from error
        try:
            self._check_rest(server)
            return await self._in_time(command)
        # uvloop says RuntimeError of a connection that was reset while it idled.
        except (TimeoutError, OSError, RuntimeError, NotConnected, NotInTime) as error:
            now = self._clock.monotonic()
            # Never changed in place: a scrape looks at it from another thread.
            rests = {each: end for each, end in self._rests.items() if end > now}
            self._rests = {**rests, server: now + REST}
            late = isinstance(error, TimeoutError | NotInTime)
            kind = "timeout" if late else "unreachable"
            raise StoreUnavailable(_told(error), kind=kind) from error
        except RedisError as error:
            raise StoreUnavailable(_told(error), kind="refused") from error
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

    def _server_of(self, key: str) -> str:
        """Name who answers for `key`, where there are several: each rests by itself."""
        if key and isinstance(self._redis, Cluster):
            return self._redis.node_of(key)
        return ""

    def _check_rest(self, server: str) -> None:
        if self._clock.monotonic() < self._rests.get(server, 0.0):
            raise StoreUnavailable(
                "the store could not be reached a moment ago", kind="resting"
            )


def open_store(
    url: str,
    *,
    clock: Clock,
    access: StoreAccess = NOTHING_MORE,
    deadline: float = DEADLINE,
) -> RedisStore:
    """Open any URL of `SCHEMES`; connections are made when they are needed."""
    client = connect(url, access, deadline=deadline, connections=CONNECTIONS)
    return RedisStore(client, clock, deadline=deadline)


def open_client(
    url: str, *, deadline: float, access: StoreAccess = NOTHING_MORE
) -> Client:
    """Give a client of one's own, for what is not the hot path: locks, streams.

    A `redis.asyncio` client (`Redis`, or `RedisCluster` for a cluster) that decodes
    nothing, makes connections when they are needed, and tries once. `deadline`
    (seconds) bounds connecting and each read from the socket: of a blocking command
    it must outlast the block. What fails is a `redis.exceptions.RedisError` or an
    `OSError`, whose words may quote a key: tell only its type. After one, a command
    finds the new master, but a `pubsub()` must be made anew. In a cluster, a script
    and a transaction touch one key, or keys with one `{hash tag}`; a message that is
    published reaches every node. Whoever opens it calls `aclose()` in the end.
    """
    return connect(url, access, deadline=deadline, connections=CONNECTIONS)


def _told(error: Exception) -> str:
    """Say what happened without the server's words, which may quote a key."""
    return f"the store failed: {type(error).__name__}"
