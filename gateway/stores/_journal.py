"""Keep books of small values in Redis or Valkey, and tell every process the news.

Floor 3; no plug-in but a part of `redis`. A book is a hash, bounded in fields, and a
stream that repeats what is written into it. Both have one hash tag, so in a cluster
they are in one place, where one script changes them in one step.

A journal is not of the hot path: it has connections of its own, and the patience of
`DEADLINE`. It tries once; whoever follows comes again.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Any, Final, cast

from redis.exceptions import RedisError, ResponseError

from gateway.config.store import NOTHING_MORE, StoreAccess
from gateway.errors import StoreUnavailable
from gateway.stores.redis import open_client

DEADLINE: Final = 1.0
"""Seconds for one command, with connecting where that is needed."""

BLOCK_MILLISECONDS: Final = 300
"""How long the server holds an answer back while there are no news."""

NEWS: Final = 10_000
"""About how many news a stream keeps: who is further behind reads the book."""

_PAGE: Final = 100

# uvloop says RuntimeError of a connection that was reset while it idled.
_FAILURES: Final = (TimeoutError, OSError, RuntimeError, RedisError)

# KEYS: book, news. ARGV: field, what stands there ("" for nothing), what shall, limit.
_SWAP: Final = """
local held = redis.call('HGET', KEYS[1], ARGV[1])
if (held or '') ~= ARGV[2] then return 0 end
if ARGV[3] == '' then
    redis.call('HDEL', KEYS[1], ARGV[1])
    return 1
end
if not held and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[4]) then return -1 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[5], '*', ARGV[1], ARGV[3])
return 1
"""


class RedisJournal:
    """Keeps `ports.Journal`. `names` are of the books, with one hash tag."""

    def __init__(self, client: Any, names: Sequence[str], *, limit: int) -> None:
        self._redis = client
        self._books = [f"{name}:book" for name in names]
        self._news = [f"{name}:news" for name in names]
        self._heard: list[bytes] = [b"0"] * len(self._news)
        self._limit = limit

    def __repr__(self) -> str:
        return f"<RedisJournal: {len(self._books)} books>"

    async def get(self, book: int, field: str) -> bytes | None:
        """Give what is written under `field`."""
        value = await self._within(self._redis.hget(self._books[book], field))
        return cast("bytes | None", value)

    async def swap(
        self, book: int, field: str, old: bytes | None, new: bytes | None
    ) -> bool:
        """Write `new` where `old` stands (None: nothing), and tell all; False if not.

        Raises `StoreUnavailable` when there is no room for another field.
        """
        keys = (self._books[book], self._news[book])
        values = (field, old or b"", new or b"", self._limit, NEWS)
        done = await self._within(self._redis.eval(_SWAP, 2, *keys, *values))
        if done < 0:
            raise StoreUnavailable("no room for another revocation mark")
        return bool(done)

    async def sizes(self) -> Sequence[int]:
        """Count the fields of each book."""
        return [await self._within(self._redis.hlen(book)) for book in self._books]

    async def pages(self, book: int) -> AsyncIterator[Sequence[tuple[str, bytes]]]:
        """Give all fields and values of a book, some more than once."""
        cursor = 0
        while True:
            cursor, page = await self._within(
                self._redis.hscan(self._books[book], cursor, count=_PAGE)
            )
            yield [(_field(field), value) for field, value in page.items()]
            if not cursor:
                return

    async def turn_to_end(self) -> None:
        """Let what is written from now on be the news."""
        for number, news in enumerate(self._news):
            last = await self._within(self._redis.xrevrange(news, count=1))
            self._heard[number] = last[0][0] if last else b"0"

    async def news(self) -> Sequence[tuple[int, str, bytes]]:
        """Wait for news, for 300 ms at most: book, field and value of each."""
        since = dict(zip(self._news, self._heard, strict=True))
        told = await self._within(self._redis.xread(since, block=BLOCK_MILLISECONDS))
        heard: list[tuple[int, str, bytes]] = []
        for stream, (entries,) in told.items():
            number = self._news.index(stream.decode())
            self._heard[number] = entries[-1][0]
            heard += [
                (number, _field(field), value)
                for _, entry in entries
                for field, value in entry.items()
            ]
        return heard

    async def eviction(self) -> str:
        """Name the store's eviction policy; "" where it does not tell."""
        try:
            async with asyncio.timeout(DEADLINE):
                told = await self._redis.info("memory")
        except ResponseError:
            return ""
        except _FAILURES as error:
            raise _failure(error) from error
        # A cluster's nodes answer each for itself.
        nodes = told.values() if "maxmemory_policy" not in told else (told,)
        policies = {str(node.get("maxmemory_policy", "")) for node in nodes}
        return max(policies - {"noeviction"}, default="noeviction")

    async def close(self) -> None:
        """Let go of every connection."""
        await self._redis.aclose()

    async def _within(self, command: Awaitable[Any]) -> Any:
        """Run one command in time, or raise `StoreUnavailable`."""
        task = asyncio.current_task()
        cancelled = 0 if task is None else task.cancelling()
        try:
            async with asyncio.timeout(DEADLINE):
                result = await command
        except _FAILURES as error:
            raise _failure(error) from error
        # See `RedisStore`: the client's `asyncio.wait_for` loses cancellations.
        if task is not None and task.cancelling() > cancelled:
            raise asyncio.CancelledError
        return result


def open_journal(
    url: str,
    names: Sequence[str],
    *,
    limit: int,
    access: StoreAccess = NOTHING_MORE,
) -> RedisJournal:
    """Open books by a client of one's own; connections are made when needed."""
    client = open_client(url, deadline=DEADLINE, access=access)
    return RedisJournal(client, names, limit=limit)


def _field(raw: bytes) -> str:
    # What somebody else wrote need not be text; it will not open either.
    return raw.decode("ascii", "replace")


def _failure(error: Exception) -> StoreUnavailable:
    return StoreUnavailable(f"the store failed: {type(error).__name__}")
