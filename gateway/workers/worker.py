"""A worker: serves clients, and does what its parent asks. Floor 5.

It obeys nobody else. A signal that ends a process reaches a whole group of them (the
terminal's Ctrl-C, systemd's stop), and the parent among them tells its workers what to
do about it. A parent that is gone without a word is the end too: what was begun is
finished, and nobody is left behind.
"""

import asyncio
import contextlib
import socket
import sys
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, Final

from gateway.admin.desk import expiry
from gateway.app import App, SystemClock, registry
from gateway.config.load import load_again
from gateway.errors import GatewayError, StoreUnavailable
from gateway.facts.marks import Marks
from gateway.generation import Generation
from gateway.observe.access_log import AccessLog
from gateway.observe.logs import configure
from gateway.server import Server
from gateway.tasks import keep_for_good, spawn, uncollected
from gateway.values import Mark, MarkRecord, Secret
from gateway.wire.deadlines import Deadlines
from gateway.workers.link import (
    Adopt,
    Build,
    Discard,
    Drain,
    Expiry,
    Explain,
    Keep,
    Lift,
    Link,
    LinkLost,
    Look,
    Open,
    Prepare,
    Question,
    Recall,
    Scrape,
    Show,
)
from gateway.workers.metrics import Snapshot, snapshot
from gateway.workers.post import Doors

Spread = Callable[[Mark], Awaitable[None]]

SPREAD: Final = 4.0
"""Seconds for the parent to tell a mark to every worker."""


class Worker:
    """A process that serves clients, and engines, by inherited sockets."""

    def __init__(self, end: socket.socket, doors: Doors, number: int) -> None:
        self._link = Link(end, self._respond)
        self._doors = doors
        self._number = number
        self._logs = contextlib.ExitStack()
        self._service: Service | None = None

    def __repr__(self) -> str:
        return f"<Worker {self._number}: {self._link!r}>"

    async def live(self) -> None:
        """Do what the parent asks until it says or shows that this is the end."""
        with self._logs:
            await self._link.open()
            await self._link.listen()
            if self._service is not None:
                await self._service.leave()
            for door in self._doors.values():
                door.close()

    async def _respond(self, question: Question) -> object:
        if isinstance(question, Build):
            self._service = Service(question, self._number, self._spread, self._logs)
            return None
        if self._service is None:
            raise GatewayError("expected a configuration first")
        if not isinstance(question, Open):
            return await self._service.respond(question)
        await self._service.open(question.marks, self._doors)
        return None

    async def _spread(self, mark: Mark) -> None:
        try:
            await self._link.tell(Keep(mark), SPREAD)
        except LinkLost as error:
            raise StoreUnavailable("not every worker has the mark") from error


class Service:
    """Everything that serves a configuration, once the parent has told it.

    `logs` closes what it writes to, also where it could not be built: that it crashed
    is told after that, and must be written before the process is gone.
    """

    def __init__(
        self, build: Build, number: int, spread: Spread, logs: contextlib.ExitStack
    ) -> None:
        loaded = load_again(build.document, Path(build.base), registry())
        loop = asyncio.get_running_loop()
        deadlines = Deadlines(loop)
        self._log = configure(
            loaded.config.log.level, sys.stderr, SystemClock(), worker=number
        )
        logs.callback(self._log.close)
        access_log = AccessLog(sys.stdout, worker=number)
        logs.callback(access_log.close)
        loop.set_exception_handler(self._log.loop_failure)

        def make_marks(**settings: Any) -> Marks:
            # What one of several workers adds by itself, all add.
            self._marks = Marks(**settings)
            self._marks.spread = spread
            return self._marks

        self._app = App(
            loaded,
            deadlines=deadlines,
            log=self._log,
            access_log=access_log,
            make_marks=make_marks,
        )
        self._server = Server(self._app, deadlines)
        self._number = number
        self._may_serve = False
        self._opened = asyncio.Event()
        self._preparing = asyncio.Lock()
        self._prepared: Generation | None = None
        self._ending: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Service: {self._server!r}>"

    async def open(self, marks: Iterable[Mark], doors: Doors) -> None:
        """Let clients in, with these marks in force from the first on."""
        self._may_serve = True
        for mark in marks:
            self._marks.take(MarkRecord(mark))
        keep_for_good()
        await self._server.open_doors(doors)
        self._opened.set()

    async def respond(self, question: Question) -> object:
        """Do what is asked of a worker at work."""
        match question:
            case Explain(method, url, headers, token):
                secret = None if token is None else Secret(token)
                return await self._app.explainer.explain(method, url, headers, secret)
            case Expiry(provider, token):
                return (expiry(self._app.sources[provider], Secret(token)),)
            case Keep(mark, token):
                await self._keep(mark, token)
            case Lift(kind, provider, name):
                self._marks.end(kind, provider, name)
            case Prepare() | Adopt() | Discard():
                await self._change(question)
            case Scrape():
                return await asyncio.to_thread(self._snapshot)
            case Look() | Recall() | Show():
                return self._tell(question)
            case Drain(hurry):
                await self._leave(hurry=hurry)
            case Build() | Open():
                raise GatewayError("expected that but once")
        return None

    async def _change(self, question: Prepare | Adopt | Discard) -> None:
        match question:
            case Prepare(document, base):
                await self._prepare(document, Path(base))
            case Adopt():
                if self._prepared is None:
                    raise GatewayError("expected a configuration to be prepared first")
                self._app.adopt(self._prepared)
                self._prepared = None
            case Discard():
                await self._discard()

    async def _prepare(self, document: Any, base: Path) -> None:
        """Prove another configuration. The link hears other questions meanwhile."""
        async with self._preparing:
            await self._discard_prepared()
            if self._may_serve:
                # What begins to serve is not replaced before it has begun.
                await self._opened.wait()
            with uncollected():
                loaded = await asyncio.to_thread(load_again, document, base, registry())
                self._prepared = await self._app.prepare(loaded)

    async def _discard(self) -> None:
        async with self._preparing:
            await self._discard_prepared()

    async def _discard_prepared(self) -> None:
        prepared, self._prepared = self._prepared, None
        if prepared is not None:
            await self._app.discard(prepared)

    def _tell(self, question: Look | Recall | Show) -> object:
        match question:
            case Look():
                return self._server.conditions()
            case Recall():
                return self._server.observatory.exchanges()
            case Show():
                return self._server.observatory.picture(self._number)

    async def _keep(self, mark: Mark, token: str | None) -> None:
        self._marks.take(MarkRecord(mark))
        if token is not None:
            # The mark is in force already; a lost store costs nothing but memory.
            with contextlib.suppress(StoreUnavailable):
                source = self._app.sources.get(mark.provider)
                if source is not None:
                    await source.forget(Secret(token), source="admin")

    async def _leave(self, *, hurry: bool) -> None:
        if hurry:
            self._server.hurry()
        else:
            await self.end()

    async def end(self) -> None:
        """Finish what was begun, and close; once, however often it is asked for."""
        if self._ending is None:
            self._ending = spawn(self._end(), name="worker-end")
        await self._ending

    async def leave(self) -> None:
        """End, though nobody may have asked for it: the parent is gone."""
        if self._ending is None:
            self._log.warning("parent_lost")
        await self.end()

    async def _end(self) -> None:
        await self._server.drain()
        await self._server.close()

    def _snapshot(self) -> Snapshot:
        return snapshot(self._app.metrics_registry.collect())
