"""Who asks a pair of gateways all the while, and what each of them must hear.

A part is a kind of client: one asks with known tokens, another with new ones, a third
with bad ones. Every answer is checked: a 200 must be for the token's own subject, a
503 must say when to come back and not a word against the token.
"""

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import (
    AsyncIterator,
    Callable,
    Iterable,
    Sequence,
)
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from gateway.tasks import spawn
from tests.faults.stage import request

PATIENCE: Final = 4.0
"""Seconds after which an answer counts as lost."""

_numbers = itertools.count()


@dataclass(frozen=True)
class Pass:
    """A token, and whose it is."""

    token: str
    subject: str


@dataclass(frozen=True)
class Told:
    """An answer: its status, its head in lower case, and how long it took."""

    status: int
    head: bytes
    seconds: float

    def is_due(self, bearer: Pass) -> bool:
        """Tell whether nothing in it is another's or undocumented."""
        match self.status:
            case 200:
                return f"\nfor: {bearer.subject}\r".lower().encode() in self.head
            case 503:
                later = b"\nretry-after: " in self.head
                return later and b"\nwww-authenticate:" not in self.head
            case _:
                return True


class Lost(Exception):
    """No answer, or not a whole one."""


class Line:
    """One client's connection, made anew when the other side closed it."""

    def __init__(self, port: int, patience: float = PATIENCE) -> None:
        self._port = port
        self._patience = patience
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, path: str, token: str) -> Told:
        """Ask once; raises `Lost`."""
        begun = time.monotonic()
        try:
            async with asyncio.timeout(self._patience):
                head = await self._exchange(request("GET", path, token=token))
        except (OSError, EOFError, TimeoutError) as error:
            self.close()
            raise Lost(type(error).__name__) from error
        if b"\nconnection: close\r" in head:
            self.close()
        return Told(int(head[9:12]), head, time.monotonic() - begun)

    async def open(self) -> None:
        """Be connected."""
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(
                "127.0.0.1", self._port
            )

    async def _exchange(self, raw: bytes) -> bytes:
        await self.open()
        assert self._writer is not None
        assert self._reader is not None
        self._writer.write(raw)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"\ncontent-length: ")[2].partition(b"\r")[0])
        await self._reader.readexactly(length)
        return head

    def close(self) -> None:
        """Hang up."""
        if self._writer is not None:
            self._writer.close()
            self._reader = self._writer = None


@dataclass
class Ledger:
    """What the clients heard, by part."""

    statuses: dict[str, Counter[int]] = field(default_factory=dict)
    slowest: dict[str, float] = field(default_factory=dict)
    lost: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    """Answers of a status that is not due, or that were another's."""

    def note(self, part: str, bearer: Pass, told: Told, due: Iterable[int]) -> None:
        """Write down one answer."""
        self.statuses.setdefault(part, Counter())[told.status] += 1
        self.slowest[part] = max(self.slowest.get(part, 0.0), told.seconds)
        if told.status not in due:
            self.wrong[f"{part} heard {told.status}"] += 1
        elif not told.is_due(bearer):
            self.wrong[f"{part} heard what was not for it"] += 1

    @property
    def requests(self) -> int:
        """Count all answers and what was lost."""
        heard = sum(sum(each.values()) for each in self.statuses.values())
        return heard + sum(self.lost.values())


Cast = Callable[[], Pass]


@dataclass(frozen=True)
class Part:
    """A kind of client: what it brings, where, how often, and what it must hear.

    With `both`, each token is brought to one gateway and then to the other.
    """

    name: str
    path: str
    cast: Cast
    due: frozenset[int]
    pause: float = 0.02
    players: int = 1
    both: bool = False


class Crew:
    """Plays parts at two doors until it is told to stop."""

    def __init__(self, ports: Sequence[int], parts: Iterable[Part]) -> None:
        self._ports = ports
        self._parts = [part for part in parts for _ in range(part.players)]
        self.ledger = Ledger()
        self._over = asyncio.Event()

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[Ledger]:
        """Let them all play while the context lasts."""
        tasks = [spawn(self._play(part), name=part.name) for part in self._parts]
        try:
            yield self.ledger
        finally:
            self._over.set()
            await asyncio.gather(*tasks)

    async def _play(self, part: Part) -> None:
        lines = [Line(port) for port in self._ports]
        try:
            while not self._over.is_set():
                bearer = part.cast()
                order = random.sample(lines, len(lines))
                for line in order if part.both else order[:1]:
                    await self._ask(line, part, bearer)
                await asyncio.sleep(part.pause)
        finally:
            for line in lines:
                line.close()

    async def _ask(self, line: Line, part: Part, bearer: Pass) -> None:
        try:
            told = await line.ask(part.path, bearer.token)
        except Lost as error:
            self.ledger.lost[f"{part.name}: {error}"] += 1
        else:
            self.ledger.note(part.name, bearer, told, part.due)


def fresh(prefix: str) -> Pass:
    """Make up a token that nobody has seen; one that begins with `T` is good."""
    token = f"{prefix}-{next(_numbers)}"
    return Pass(token, token)


def one_of(bearers: Sequence[Pass]) -> Cast:
    """Bring one of these, by chance."""
    return lambda: random.choice(bearers)  # noqa: S311 -- a load
