"""Have all workers serve by another configuration, or none. Floor 5.

First every worker builds and proves it beside what serves; one that cannot is a reason
for all to go on as they are. Then each is told to adopt it. A worker that dies on the
way is no objection: its successor is built by what is in force by then.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Protocol

from gateway.errors import GatewayError
from gateway.workers.link import Adopt, Discard, Link, LinkLost, Prepare, Question


class _Post(Protocol):
    """A worker's post, as far as its worker is asked."""

    @property
    def link(self) -> Link | None: ...


class Consent:
    """One change of the configuration, asked of every worker."""

    def __init__(self, posts: Sequence[_Post], *, prove: float, act: float) -> None:
        """Seconds for a worker to `prove` a configuration, and to `act` on its word."""
        self._posts = posts
        self._prove = prove
        self._act = act
        self._given: list[Link] = []

    def __repr__(self) -> str:
        return f"<Consent of {len(self._given)} workers>"

    async def gain(self, question: Prepare) -> None:
        """Have all prove it; returns when every worker that is there has.

        Raises `ConfigError` or `GatewayError` with the first objection; `withdraw` is
        due then.
        """
        while asked := self._new_ones():
            told = await asyncio.gather(
                *(self._ask(link, question) for link in asked), return_exceptions=True
            )
            for link, objection in zip(asked, told, strict=True):
                if objection is None:
                    self._given.append(link)
                elif not link.lost:
                    raise objection

    async def carry_out(self) -> int:
        """Have all adopt it; give how many did not confirm that in time."""
        return await self._tell_all(Adopt())

    async def withdraw(self) -> None:
        """Have all forget it, also those that are still at it."""
        self._given = [each.link for each in self._posts if each.link is not None]
        await self._tell_all(Discard())

    def _new_ones(self) -> list[Link]:
        links = (post.link for post in self._posts)
        return [
            link
            for link in links
            if link is not None and not link.lost and link not in self._given
        ]

    async def _ask(self, link: Link, question: Prepare) -> None:
        try:
            await link.tell(question, self._prove)
        except LinkLost:
            if not link.lost:
                raise GatewayError(
                    "a worker did not answer in time; nothing was changed"
                ) from None
            raise

    async def _tell_all(self, question: Question) -> int:
        told = await asyncio.gather(
            *(self._tell(link, question) for link in self._given)
        )
        return told.count(False)

    async def _tell(self, link: Link, question: Question) -> bool:
        with contextlib.suppress(GatewayError):
            await link.tell(question, self._act)
            return True
        return link.lost
