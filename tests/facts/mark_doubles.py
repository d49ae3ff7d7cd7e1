"""Books in memory that several processes share, for tests: keeps `ports.Journal`."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from gateway.errors import StoreUnavailable

Told = tuple[int, str, bytes]


class Library:
    """The store: its books, its news, and whether it answers."""

    def __init__(self, books: int = 1, *, limit: int = 100) -> None:
        self.books: list[dict[str, bytes]] = [{} for _ in range(books)]
        self.news: list[Told] = []
        self.limit = limit
        self.answers = True
        self.policy = "noeviction"
        self.overtakers: list[Told] = []
        """What somebody else writes just before the next swaps."""

    def reader(self) -> "Reader":
        """Give one process's way to it."""
        return Reader(self)


class Reader:
    """One process's way to a library."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._heard = 0
        self.readings = 0
        self.closed = False

    async def get(self, book: int, field: str) -> bytes | None:
        """Give what is written."""
        return self._open().books[book].get(field)

    async def swap(
        self, book: int, field: str, old: bytes | None, new: bytes | None
    ) -> bool:
        """Write, if nobody was faster."""
        library = self._open()
        if library.overtakers:
            number, name, value = library.overtakers.pop()
            library.books[number][name] = value
        shelf = library.books[book]
        if shelf.get(field) != old:
            return False
        if new is None:
            shelf.pop(field, None)
            return True
        if old is None and len(shelf) >= library.limit:
            raise StoreUnavailable("full")
        shelf[field] = new
        library.news.append((book, field, new))
        return True

    async def sizes(self) -> Sequence[int]:
        """Count the fields."""
        return [len(shelf) for shelf in self._open().books]

    async def pages(self, book: int) -> AsyncIterator[Sequence[tuple[str, bytes]]]:
        """Give one page for each field."""
        self.readings += 1
        for page in list(self._open().books[book].items()):
            self._open()
            yield [page]

    async def turn_to_end(self) -> None:
        """What is written from now on is new."""
        self._heard = len(self._open().news)

    async def news(self) -> Sequence[Told]:
        """Give what was written since."""
        await asyncio.sleep(0.001)
        told = self._open().news[self._heard :]
        self._heard += len(told)
        return told

    async def eviction(self) -> str:
        """Name the policy."""
        return self._open().policy

    async def close(self) -> None:
        """Answer no more."""
        self.closed = True

    def _open(self) -> Library:
        if self.closed or not self._library.answers:
            raise StoreUnavailable("the library is closed")
        return self._library


class Watchman:
    """Keeps `ports.MarkEvents` by writing down what happened."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def blind(self) -> None:
        self.told.append("blind")

    def lost(self) -> None:
        self.told.append("lost")

    def seeing(self, seconds: float) -> None:
        self.told.append("seeing")

    def evicting(self, policy: str) -> None:
        self.told.append(policy)

    def seal_alarm(self) -> None:
        self.told.append("alarm")
