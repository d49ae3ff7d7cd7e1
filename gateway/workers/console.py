"""What the parent shows of all its workers. Floor 5.

Every worker is asked at once, and one that does not answer in time is left out: who
looks at 3 a.m. is better served by what the others say. A worker that is gone has taken
its ten minutes with it; what it counted since its start is in the metrics.
"""

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol, TypeVar

from gateway.admin.picture import Picture, together
from gateway.admin.promises import Settled
from gateway.admin.recent import Seen
from gateway.admin.troubles import Workers
from gateway.errors import GatewayError, StoreUnavailable
from gateway.ports import Clock
from gateway.values import Exchange
from gateway.workers.link import Link, Question, Recall, Show

SHOW: Final = 2.0
"""Seconds for a worker to say how it is."""

Told = TypeVar("Told")


class _Post(Protocol):
    """A worker's post, as far as it is looked at."""

    @property
    def number(self) -> int: ...

    @property
    def link(self) -> Link | None: ...

    @property
    def serving(self) -> bool: ...

    @property
    def restarts(self) -> int: ...


class Console:
    """Keeps `admin.promises.Console`."""

    def __init__(
        self,
        posts: Sequence[_Post],
        settled: Settled,
        clock: Clock,
        *,
        within: float = SHOW,
    ) -> None:
        self._posts = posts
        self._settled = settled
        self._clock = clock
        self._within = within

    async def picture(self) -> Picture:
        """Make one picture of those that answer."""
        told = await self._ask_all(Show(), Picture)
        if not told:
            raise StoreUnavailable("no worker answers")
        return together([picture for _, picture in told])

    async def recent(self) -> Sequence[Seen]:
        """Give the last exchanges of those that answer."""
        told = await self._ask_all(Recall(), tuple[Exchange, ...])
        return [Seen(number, each) for number, exchanges in told for each in exchanges]

    def settle(self, settled: Settled) -> None:
        """Show another configuration from now on."""
        self._settled = settled

    def settled(self) -> Settled:
        """Give the configuration in force."""
        return self._settled

    def workers(self) -> Workers:
        """Tell which workers serve."""
        return Workers(
            wanted=len(self._posts),
            serving=sum(post.serving for post in self._posts),
            restarts=sum(post.restarts for post in self._posts),
        )

    def now(self) -> float:
        """Tell the time."""
        return self._clock.now()

    async def _ask_all(
        self, question: Question, shape: type[Told]
    ) -> list[tuple[int, Told]]:
        told = await asyncio.gather(
            *(self._ask(post, question, shape) for post in self._posts)
        )
        return [
            (post.number, each)
            for post, each in zip(self._posts, told, strict=True)
            if each is not None
        ]

    async def _ask(
        self, post: _Post, question: Question, shape: type[Told]
    ) -> Told | None:
        if post.link is None:
            return None
        try:
            return await post.link.ask(question, shape, self._within)
        except GatewayError:
            return None
