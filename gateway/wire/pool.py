"""The connections to one upstream: few, reused, bounded. Floor 3.

The hot path is `take_idle`: with one target a list pop, with several one look at each.
Everything that can wait (connecting, queueing for a free slot) is `take`, awaited in
the asker's task. Idle connections are kept last in, first out, so that a quiet
upstream's connections grow old and are closed.

A slot that becomes free is *promised* to whoever waits longest. Were it only free
again, those who come later and are already running would take it, every time.

Which target is next is decided in `targets`; here it is learned what they did.
"""

import asyncio
import collections
import contextlib
import itertools
from typing import Protocol

from gateway.errors import UpstreamUnavailable
from gateway.values import Origin, UpstreamSettings
from gateway.wire.deadlines import Deadlines
from gateway.wire.dial import DIAL_ERRORS, Dialler
from gateway.wire.health import Prober
from gateway.wire.resolve import Resolver, resolve
from gateway.wire.states import PoolState, TargetState
from gateway.wire.targets import STANDINGS, Rotation, Target
from gateway.wire.upkeep import Upkeep
from gateway.wire.upstream import UpstreamConnection

_Given = UpstreamConnection | Target
"""What one who waits is given: a connection, or a slot to open one in."""


class UpstreamBusy(UpstreamUnavailable):
    """All connections are in use and the queue for one is full or stands still: 503."""


class PoolEvents(Protocol):
    """Something that hears of targets. Never raises, never blocks."""

    def target(self, upstream: str, target: str, event: str) -> None:
        """Take note of `ejected`, `unwell`, `well` or `unresolved`."""
        ...


class Pool:
    """The connections to the targets of one upstream. Keeps `Keeper`, `TargetOwner`."""

    def __init__(
        self,
        settings: UpstreamSettings,
        deadlines: Deadlines,
        *,
        resolver: Resolver = resolve,
        events: PoolEvents | None = None,
    ) -> None:
        self.settings = settings
        self._deadlines = deadlines
        self._events = events
        self._dialler = Dialler(settings)
        self._rotation = Rotation(
            deadlines.time, connections=settings.connections, health=settings.health
        )
        prober = Prober(settings, self._dialler, deadlines)
        self._upkeep = Upkeep(settings, self, resolver=resolver, prober=prober)
        self._open: dict[UpstreamConnection, Target] = {}
        self._waiters: collections.deque[asyncio.Future[_Given]] = collections.deque()
        self._numbers = itertools.count(1)
        self._ejections = dict.fromkeys(settings.origins, 0)
        self._unresolved = dict.fromkeys(settings.origins, 0)
        self._retries = {"closed": 0, "connect": 0}
        self._closed = False
        for origin in settings.origins:
            if not origin.resolved:
                self._rotation.add(Target(origin, origin.host))
        self._only_idle = self._idle_of_the_only()

    def __repr__(self) -> str:
        idle = sum(len(each.idle) for each in self._rotation.members)
        busy = len(self._open) - idle
        return f"<Pool {self.settings.name}: {busy} busy, {idle} idle>"

    # --------------------------------------------------------------------- taking

    def take_idle(self) -> UpstreamConnection | None:
        """Give a connection that is ready now, if the next target has one."""
        idle = self._only_idle
        if idle is None:
            target = self._rotation.choose(ready=True)
            if target is None:
                return None
            idle = target.idle
        while idle:
            connection = idle.pop()
            if connection.alive:
                return connection
        return None

    async def take(self, *, fresh: bool = False) -> UpstreamConnection:
        """Give a connection: idle (unless `fresh`), new, or the next to be free.

        One target that cannot be reached leaves it to the next, each tried once:
        nothing has been sent yet. Raises `UpstreamBusy`, `TimeoutError` or
        `UpstreamUnavailable`.
        """
        tried: dict[Target, Exception] = {}
        # Once so much time is gone there is some for one more try, not for all.
        late = self._deadlines.time() + self.settings.timeouts.connect
        while True:
            given = self._choose(tried, fresh=fresh) or await self._queue_up()
            if isinstance(given, UpstreamConnection):
                if not fresh and given.alive:
                    return given
                if given not in self._open:
                    continue
                # It closed while it was handed over: what is left is its slot.
                given = self._swap(given)
            if tried:
                self._retries["connect"] += 1
            try:
                return await self._connect(given)
            except DIAL_ERRORS as error:
                is_last = bool(tried) and self._deadlines.time() >= late
                tried[given] = error
                if is_last or self._closed:
                    raise self._failure(tried) from error

    def _choose(self, tried: dict[Target, Exception], *, fresh: bool) -> _Given | None:
        """Give an idle connection, or a target and a slot there, if there is any."""
        while (target := self._rotation.choose(tried)) is not None:
            if self._waiters and self._rotation.serves(target):
                # It came back while nobody looked: who waits longer goes first.
                self._invite(target)
            elif fresh or not target.idle:
                target.opening += 1
                if target.open + target.opening > self.settings.connections:
                    # Room for a fresh one is made by giving up the idlest.
                    self._give_up(target.idle.pop(0))
                return target
            elif (connection := target.idle.pop()).alive:
                return connection
        if all(each in tried for each in self._rotation.members):
            raise self._failure(tried)
        return None

    def _swap(self, used: UpstreamConnection) -> Target:
        """Give up a connection for a slot in its place."""
        target = self._open[used]
        target.opening += 1
        self._give_up(used)
        return target

    def _give_up(self, connection: UpstreamConnection) -> None:
        # Here and now: what `gone` does is too late for who takes the place.
        self._open.pop(connection).open -= 1
        connection.drop()

    def _failure(self, tried: dict[Target, Exception]) -> Exception:
        name = self.settings.name
        if tried and all(isinstance(each, TimeoutError) for each in tried.values()):
            return TimeoutError(f"{name}: connect timeout")
        return UpstreamUnavailable(f"{name}: no connection")

    async def _connect(self, target: Target) -> UpstreamConnection:
        """Open a connection in a slot that is taken."""
        try:
            async with asyncio.timeout(self.settings.timeouts.connect):
                connection = await self._dialler.dial(target, self._connection)
        except BaseException as error:
            target.opening -= 1
            if isinstance(error, DIAL_ERRORS):
                self._failed(target)
            self._invite(target)
            raise
        target.opening -= 1
        if self._closed:
            connection.drop()
            raise UpstreamUnavailable(f"{self.settings.name}: closing")
        self._open[connection] = target
        target.open += 1
        return connection

    def _connection(self) -> UpstreamConnection:
        return UpstreamConnection(self, self._deadlines, next(self._numbers))

    # -------------------------------------------------------------------- queueing

    async def _queue_up(self) -> _Given:
        """Wait in line for a connection, or a slot for one."""
        name = self.settings.name
        if len(self._waiters) >= self.settings.waiting:
            raise UpstreamBusy(f"{name}: every connection is in use")
        waiter: asyncio.Future[_Given] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(self.settings.timeouts.connect):
                return await waiter
        except BaseException as error:
            self._leave(waiter)
            if isinstance(error, TimeoutError):
                raise UpstreamBusy(f"{name}: no connection came free") from error
            raise

    def _leave(self, waiter: asyncio.Future[_Given]) -> None:
        """Leave the line; what was given in this very moment goes to the next."""
        if waiter.done() and not waiter.cancelled():
            given = waiter.result()
            if isinstance(given, UpstreamConnection):
                self.give_back(given)
            else:
                given.opening -= 1
                self._invite(given)
        with contextlib.suppress(ValueError):
            self._waiters.remove(waiter)

    def _hand_on(self, given: _Given) -> bool:
        """Give to who waits longest; tell whether anybody did."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(given)
                return True
        return False

    def _invite(self, target: Target) -> None:
        """Give what a target has free, connections first, to those who wait."""
        limit = self.settings.connections
        while self._waiters and self._rotation.serves(target):
            if target.idle:
                connection = target.idle.pop()
                if connection.alive and not self._hand_on(connection):
                    target.idle.append(connection)
            elif target.open + target.opening < limit and self._hand_on(target):
                target.opening += 1
            else:
                return

    # ------------------------------------------------------- what connections tell

    def give_back(self, connection: UpstreamConnection) -> None:
        """Take a connection that may serve again (`Keeper`)."""
        target = self._open.get(connection)
        if target is None:
            return
        if target.failures:
            self._rotation.succeeded(target)
        if (
            self._waiters
            and self._rotation.serves(target)
            and self._hand_on(connection)
        ):
            return
        if target.draining:
            connection.drop()
            return
        connection.deadline = self._deadlines.time() + self.settings.keepalive
        target.idle.append(connection)

    def gone(self, connection: UpstreamConnection) -> None:
        """Take note that a connection is no more (`Keeper`)."""
        target = self._open.pop(connection, None)
        if target is None:
            return
        target.open -= 1
        with contextlib.suppress(ValueError):
            target.idle.remove(connection)
        if connection.answered is False:
            self._failed(target)
        elif connection.answered and target.failures:
            self._rotation.succeeded(target)
        if self._waiters:
            self._invite(target)

    def _failed(self, target: Target) -> None:
        if self._rotation.failed(target):
            self._ejections[target.origin] += 1
            self._tell(target.origin, "ejected")

    def _tell(self, origin: Origin, event: str) -> None:
        if self._events is not None:
            self._events.target(self.settings.name, str(origin), event)

    # ---------------------------------------------------------- what the upkeep finds

    async def start(self) -> None:
        """Resolve names for the first time, and begin to look after the targets.

        Never fails: a name that cannot be resolved now may be later.
        """
        await self._upkeep.start(self._rotation.members[:])

    def resolved(self, origin: Origin, hosts: list[str] | None) -> None:
        """Let a name stand for these addresses; unresolved, for the last known."""
        if not hosts:
            self._unresolved[origin] += 1
            self._tell(origin, "unresolved")
            return
        joined, left = self._rotation.renew(origin, hosts)
        self._only_idle = self._idle_of_the_only()
        self._upkeep.watch(joined)
        self._upkeep.forget(left)
        for target in joined:
            self._invite(target)
        for target in left:
            self._drop_idle(target)

    def checked(self, target: Target, *, well: bool) -> None:
        """Take note of a health check."""
        if self._rotation.checked(target, well=well):
            self._tell(target.origin, "well" if well else "unwell")
            self._invite(target)

    def _idle_of_the_only(self) -> list[UpstreamConnection] | None:
        """Give the idle connections of the only target, if there is only one."""
        members = self._rotation.members
        return members[0].idle if len(members) == 1 else None

    def retried(self) -> None:
        """Count a request that is sent again: its connection closed unheard."""
        self._retries["closed"] += 1

    # --------------------------------------------------------------------- endings

    def state(self) -> PoolState:
        """Tell what is true now, for whoever scrapes."""
        return PoolState(
            upstream=self.settings.name,
            waiting=len(self._waiters),
            retries=dict(self._retries),
            targets=tuple(map(self._target_state, self.settings.origins)),
        )

    def _target_state(self, origin: Origin) -> TargetState:
        members = [each for each in self._rotation.members if each.origin == origin]
        addresses = dict.fromkeys(STANDINGS, 0)
        for target in members:
            addresses[self._rotation.standing(target)] += 1
        return TargetState(
            target=str(origin),
            addresses=addresses,
            busy=sum(each.open - len(each.idle) for each in members),
            idle=sum(len(each.idle) for each in members),
            opening=sum(each.opening for each in members),
            ejections=self._ejections[origin],
            unresolved=self._unresolved[origin],
        )

    def close(self) -> None:
        """Close idle connections now, busy ones as they finish; open no more."""
        self._closed = True
        self._upkeep.close()
        for target in self._rotation.members:
            target.draining = True
            self._drop_idle(target)

    def abort(self) -> None:
        """Close every connection now."""
        self.close()
        for connection in list(self._open):
            connection.overdue()

    def _drop_idle(self, target: Target) -> None:
        for connection in target.idle:
            connection.drop()
        target.idle.clear()
