"""What the parent answers for all its workers. Floor 5.

Metrics are asked of every worker when they are scraped; one that does not answer in
time counts with what it told last, and its silence costs the scrape a second at most.
An explanation is any one worker's. The marks are the parent's own, since it outlives
its workers: a mark is told to all of them, and a successor gets them all before it
lets anybody in. Who revokes hears *done* when every worker has said so.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from gateway.admin.guards import Problem
from gateway.errors import GatewayError, StoreUnavailable
from gateway.facts.marks import Marks
from gateway.values import Mark, MarkKind, Secret
from gateway.workers.link import (
    Expiry,
    Explain,
    Keep,
    Lift,
    Link,
    LinkLost,
    Question,
    Scrape,
)
from gateway.workers.metrics import Gone, Snapshot, merged, snapshot

ANSWER: Final = 2.0
"""Seconds for a worker to do what takes it none."""

EXPLAIN: Final = 10.0
"""Seconds for an explanation, which may ask a provider."""

SCRAPE: Final = 1.0


class _Post(Protocol):
    """A worker's post, as far as it is asked for something."""

    @property
    def number(self) -> int: ...

    @property
    def link(self) -> Link | None: ...

    @property
    def serving(self) -> bool: ...

    @property
    def restarts(self) -> int: ...

    last: Snapshot


class Explainer:
    """Keeps `admin.views.Explainer`: the first worker that answers tells."""

    def __init__(self, posts: Sequence[_Post], *, within: float = EXPLAIN) -> None:
        self._posts = posts
        self._within = within

    async def explain(
        self, method: str, url: str, headers: Mapping[str, str], token: Secret | None
    ) -> Mapping[str, object]:
        """Tell what would become of this request, and why."""
        plain = None if token is None else str(token)
        question = Explain(method, url, dict(headers), plain)
        for post in self._posts:
            if post.link is None or not post.serving:
                continue
            try:
                told: dict[str, Any] = await post.link.ask(question, dict, self._within)
            except LinkLost:
                continue
            return told
        raise StoreUnavailable("no worker answers")


class Desk:
    """Keeps `admin.views.RevocationDesk`; `marks` are the parent's."""

    def __init__(
        self,
        posts: Sequence[_Post],
        marks: Marks,
        providers: Sequence[str],
        *,
        within: float = ANSWER,
    ) -> None:
        self._posts = posts
        self._within = within
        self._marks = marks
        self.providers = frozenset(providers)
        """Whose tokens may be revoked: those that are configured."""

    async def revoke(self, provider: str, kind: MarkKind, name: Secret) -> Mark:
        """Make a mark, and have every worker keep it."""
        if provider not in self.providers:
            raise LookupError(provider)
        token = None
        if kind is MarkKind.TOKEN:
            token = str(name)
            ends = await self._expiry(provider, token)
            mark = self._marks.mark_token(provider, token, ends)
        else:
            mark = self._marks.mark(kind, provider, str(name))
        await self._marks.add(mark)
        _check(await self.tell_all(Keep(mark, token)))
        return mark

    async def marks(self) -> Sequence[Mark]:
        """Give the marks in force."""
        return self._marks.list()

    async def lift(self, mark: Mark) -> None:
        """Take a mark back."""
        await self._marks.lift(mark.kind, mark.provider, mark.name)
        _check(await self.tell_all(Lift(mark.kind, mark.provider, mark.name)))

    async def spread(self, mark: Mark, maker: _Post) -> None:
        """Have all others keep a mark that one worker made by itself."""
        await self._marks.add(mark)
        if await self.tell_all(Keep(mark), but=maker):
            raise StoreUnavailable("not every worker has the mark")

    async def tell_all(self, question: Question, *, but: _Post | None = None) -> int:
        """Tell every worker; give how many did not confirm it."""
        told = await asyncio.gather(
            *(
                self._tell(post.link, question)
                for post in self._posts
                if post is not but
            )
        )
        return told.count(False)

    async def _expiry(self, provider: str, token: str) -> float | None:
        """Ask all for the token's `exp`: whoever met it knows."""
        told = await asyncio.gather(
            *(
                self._ask_expiry(post.link, Expiry(provider, token))
                for post in self._posts
            )
        )
        return next((ends for ends in told if ends is not None), None)

    async def _tell(self, link: Link | None, question: Question) -> bool:
        if link is None:
            return True  # Nobody is there; who comes gets all marks first.
        try:
            await link.tell(question, self._within)
        except GatewayError:
            return link.lost
        return True

    async def _ask_expiry(self, link: Link | None, question: Expiry) -> float | None:
        if link is None:
            return None
        try:
            told = await link.ask(question, tuple[float | None], self._within)
        except GatewayError:
            return None
        return told[0]


def _check(missing: int) -> None:
    if missing:
        message = (
            f"It is noted, but {missing} of the workers did not confirm it in time;"
            " they do it as soon as they answer again. Ask once more to be sure."
        )
        raise Problem(503, "not_everywhere", message)


class Scraper:
    """A collector of what all workers count, for a registry of its own."""

    def __init__(
        self,
        posts: Sequence[_Post],
        loop: asyncio.AbstractEventLoop,
        *,
        within: float = SCRAPE,
    ) -> None:
        self._posts = posts
        self._within = within
        self._loop = loop
        self.own = CollectorRegistry()
        """Of what this process counts by itself."""
        self.gone = Gone()
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.own)
        GCCollector(registry=self.own)
        self.registry.register(self)

    def describe(self) -> list[Metric]:
        """Nothing is known before the workers are asked."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Ask all workers. Called by a scrape, on a thread: the loop is elsewhere."""
        asked = asyncio.run_coroutine_threadsafe(self._ask_all(), self._loop)
        by_worker, gone = asked.result()
        by_worker["0"] = snapshot(self.own.collect())
        yield from merged(by_worker, [gone])
        serving = sum(post.serving for post in self._posts)
        yield GaugeMetricFamily("gateway_workers", "Workers that serve.", serving)
        restarts = sum(post.restarts for post in self._posts)
        yield CounterMetricFamily(
            "gateway_worker_restarts", "Workers that ended unasked.", restarts
        )

    async def _ask_all(self) -> tuple[dict[str, Snapshot], Snapshot]:
        await asyncio.gather(*map(self._ask, self._posts))
        # Taken together: a worker is either here or gone.
        here = {str(post.number): post.last for post in self._posts}
        return here, self.gone.counted

    async def _ask(self, post: _Post) -> None:
        if post.link is None:
            return
        link: Link = post.link
        try:
            told: Snapshot = await link.ask(Scrape(), Snapshot, self._within)
        except GatewayError:
            return
        # A worker that went meanwhile has been added to those who are gone.
        if post.link is link:
            post.last = told
