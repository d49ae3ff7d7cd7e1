"""A worker's post: its sockets, and whoever holds it now. Floor 5.

A worker that ends though nobody asked it to has a successor: at once if it served
well, else after a rest that doubles. The socket stays open meanwhile, so what waits in
its queue is served by the successor. But for one successor only: if that one does not
even start, those who wait are better off refused, and so are those whom the kernel
would send there; the post gets a socket that takes nobody before it is held again.

A worker that does not answer for long is hung: it is killed, and succeeded likewise.

When the end begins while a post is empty and somebody waits in its queue, one more
worker comes, serves whom it finds there, and ends.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import msgspec

from gateway.errors import GatewayError
from gateway.observe.logs import Log
from gateway.ports import Clock
from gateway.tasks import spawn
from gateway.values import Mark
from gateway.workers.link import (
    Adopt,
    Build,
    Drain,
    Link,
    LinkLost,
    Look,
    Open,
    Prepare,
    Question,
)
from gateway.workers.metrics import Snapshot

_UNACKED: Final = slice(24, 28)
"""Where `struct tcp_info` has it (linux/tcp.h)."""


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How patient a parent is with its workers, in seconds."""

    start: float = 60.0
    look: float = 5.0
    hung: float = 30.0
    """As long as Kubernetes waits for three liveness probes."""
    leave: float = 2.0
    well: float = 10.0
    """Who served for as long has earned a successor without a rest."""
    first_rest: float = 0.25
    longest_rest: float = 15.0

    def rest(self, failures: int) -> float:
        """Tell how long a post stays empty after so many failures in a row."""
        if failures < 2:
            return 0.0
        doubled: float = self.first_rest * 2 ** min(failures - 2, 32)
        return min(doubled, self.longest_rest)


Doors = Mapping[str, socket.socket]
"""The sockets of one post: by the names of `listen`."""


class House(msgspec.Struct, frozen=True, kw_only=True):
    """What all posts have in common."""

    command: Sequence[str]
    """What to run; it is given `--number`, `--link`, and each door by its name."""
    build: Callable[[], Build]
    """Gives the configuration in force."""
    marks: Callable[[], tuple[Mark, ...]]
    hear: Callable[["Post", Question], Awaitable[object]]
    bind: Callable[[], Doors]
    left: Callable[[Snapshot], None]
    """Is told the last metrics of a worker that is gone."""
    log: Log
    clock: Clock
    pace: Pace


class Post:
    """One place for a worker."""

    def __init__(self, number: int, doors: Doors, house: House) -> None:
        self.number: Final = number
        self._house = house
        self._doors = doors
        self._process: asyncio.subprocess.Process | None = None
        self._ending = asyncio.Event()
        self._woken = asyncio.Event()
        """Set when an empty post shall rest no longer."""
        self._settled = asyncio.Event()
        """Set while a worker serves, or when the last one did not even start."""
        self.link: Link | None = None
        """The link to a worker that knows of all marks, and must hear of new ones."""
        self.serving = False
        self.conditions: dict[str, bool] = {}
        self.last: Snapshot = []
        """Its metrics when they were last told."""
        self.restarts = 0
        self.started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the first worker serves, or could not."""

    def __repr__(self) -> str:
        state = "serving" if self.serving else "empty"
        return f"<Post {self.number}: {state}, {self.restarts} restarts>"

    # ------------------------------------------------------------------- holding

    async def hold(self) -> None:
        """Have a worker here until the end, or until the first does not even start."""
        failures = 0
        while not self._ending.is_set():
            try:
                served = await self._serve_once()
            except OSError as error:
                served = 0.0
                self._could_not(GatewayError(f"no process to be had: {error.strerror}"))
            if self._ending.is_set():
                return
            failures = 1 if served >= self._house.pace.well else failures + 1
            rest = self._house.pace.rest(failures)
            self._house.log.warning(
                "worker_ended",
                number=self.number,
                code=self._process.returncode if self._process else None,
                served=round(served, 3),
                rest=rest,
            )
            self.restarts += 1
            if not served:
                self._shut()
                self._settled.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(rest):
                    await self._woken.wait()

    async def _serve_once(self) -> float:
        """Spawn a worker and see it through; tell how many seconds it served."""
        clock, begun, failed = self._house.clock, None, None
        self._settled.clear()
        if any(door.fileno() < 0 for door in self._doors.values()):
            self._doors = self._house.bind()
        link, listening = await self._spawn()
        try:
            await self._let_in(link)
            begun = clock.monotonic()
            await self._look_after(link, listening)
        except GatewayError as error:
            failed = error
        finally:
            self.serving, self.link, self.conditions = False, None, {}
            self._settled.clear()
            link.close()
            await self._await_exit()
            await listening
            self._house.left(self.last)
            self.last = []
        if failed is not None:
            # Told now that it is gone: who hears of the first kills what is left, and
            # it may have had a last word for its log.
            self._could_not(failed)
        return 0.0 if begun is None else max(clock.monotonic() - begun, 1e-3)

    def _could_not(self, error: GatewayError) -> None:
        if self._ending.is_set():
            return
        if self.started.done():
            told = str(error)
            self._house.log.warning("worker_failed", number=self.number, error=told)
            return
        self._ending.set()
        if isinstance(error, LinkLost):
            error = GatewayError(f"worker {self.number} did not start: {error}")
        self.started.set_exception(error)

    async def _spawn(self) -> tuple[Link, asyncio.Task[None]]:
        ours, theirs = socket.socketpair()
        link = Link(ours, lambda question: self._house.hear(self, question))
        told = {"link": theirs, **self._doors}
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._house.command,
                f"--number={self.number}",
                *(f"--{name}={each.fileno()}" for name, each in told.items()),
                pass_fds=[each.fileno() for each in told.values()],
                start_new_session=True,
            )
        except OSError:
            link.close()
            raise
        finally:
            theirs.close()
        await link.open()
        return link, spawn(link.listen(), name=f"worker-{self.number}")

    async def _let_in(self, link: Link) -> None:
        house = self._house
        self._check()
        build = house.build()
        await link.tell(build, house.pace.start)
        while build is not house.build():
            # It has changed meanwhile.
            build = house.build()
            await link.tell(Prepare(build.document, build.base), house.pace.start)
            await link.tell(Adopt(), house.pace.start)
        self._check()
        # In one step: a mark that is made from now on is told to this worker as well.
        self.link = link
        await link.tell(Open(house.marks()), house.pace.start)
        self.serving = True
        self._settled.set()
        pid = self._process.pid if self._process else 0
        house.log.info("worker_serving", number=self.number, pid=pid)
        if not self.started.done():
            self.started.set_result(None)

    def _check(self) -> None:
        if self._ending.is_set():
            raise LinkLost("it is not needed any more")

    async def _look_after(self, link: Link, listening: asyncio.Task[None]) -> None:
        """Look now and then; return when the worker is gone or hung."""
        while not listening.done():
            try:
                asked = link.ask(Look(), dict[str, bool], self._house.pace.hung)
                self.conditions = await asked
            except LinkLost:
                if not link.lost:
                    self._house.log.warning("worker_hung", number=self.number)
                    self.kill()
                return
            await asyncio.wait({listening}, timeout=self._house.pace.look)

    async def _await_exit(self) -> None:
        if self._process is None:
            return
        try:
            async with asyncio.timeout(self._house.pace.leave):
                await self._process.wait()
        except TimeoutError:
            self.kill()
            await self._process.wait()

    # -------------------------------------------------------------------- ending

    def close_door(self) -> None:
        """Let go of the sockets; the worker has its own."""
        self._ending.set()
        self._woken.set()
        self._shut()

    def _shut(self) -> None:
        for door in self._doors.values():
            door.close()

    @property
    def wanted(self) -> bool:
        """Tell whether the post is empty, and somebody waits there to be served."""
        return not self.serving and any(map(_has_queue, self._doors.values()))

    async def relieve(self, within: float) -> None:
        """Have one more worker come, serve those who wait, and end."""
        self._woken.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._settled.wait()
        self.close_door()
        await self.drain(within)

    async def drain(self, within: float) -> None:
        """Have the worker end in good order."""
        if self.link is None:
            return
        link = self.link
        with contextlib.suppress(GatewayError):
            await link.tell(Drain(), within)
        link.close()

    async def hurry(self) -> None:
        """Have a worker that is draining wait for nobody."""
        if self.link is not None:
            with contextlib.suppress(GatewayError):
                await self.link.tell(Drain(hurry=True), self._house.pace.leave)

    def kill(self) -> None:
        """End the worker for sure."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()


def _has_queue(door: socket.socket) -> bool:
    """Tell whether connections wait to be accepted; where nobody can tell, they may."""
    if door.fileno() < 0:
        return False
    info = getattr(socket, "TCP_INFO", None)
    if info is None:
        return True
    # Of a socket that listens, `tcpi_unacked` is the length of its queue.
    told = door.getsockopt(socket.IPPROTO_TCP, info, _UNACKED.stop)
    return any(told[_UNACKED])
