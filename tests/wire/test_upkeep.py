"""Proves that targets are looked after, and that it ends when it should."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.tasks import running
from gateway.values import HealthCheck, Origin, UpstreamSettings
from gateway.wire.dial import Dialler
from gateway.wire.health import Prober
from gateway.wire.targets import Target
from gateway.wire.upkeep import Upkeep
from tests.wire.harness import HandLoop, turns, until

NAME = Origin("http", "api.example", 80, resolved=True)
PLAIN = Origin("http", "127.0.0.1", 9)


class Names:
    """A `Resolver` that knows what a test says; an exception is raised."""

    def __init__(self, *answers: list[str] | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append((host, port))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Owner:
    """A `TargetOwner` that writes down what it hears."""

    def __init__(self) -> None:
        self.hosts: list[list[str] | None] = []
        self.verdicts: list[tuple[Target, bool]] = []

    def resolved(self, origin: Origin, hosts: list[str] | None) -> None:
        self.hosts.append(hosts)

    def checked(self, target: Target, *, well: bool) -> None:
        self.verdicts.append((target, well))


@asynccontextmanager
async def upkeep(
    names: Names, *, origins: tuple[Origin, ...] = (NAME,), check: bool = False
) -> AsyncIterator[tuple[Upkeep, Owner]]:
    """Make the background work of a pool, every few milliseconds, and end it."""
    settings = UpstreamSettings(
        name="u",
        origins=origins,
        resolve_interval=0.01,
        health=HealthCheck(target=b"/", interval=0.01) if check else None,
    )
    owner = Owner()
    prober = Prober(settings, Dialler(settings), HandLoop().deadlines())
    work = Upkeep(settings, owner, resolver=names, prober=prober)
    try:
        yield work, owner
    finally:
        work.close()
        await turns(20)
        assert not running()
        assert "<Upkeep: 0 tasks>" == repr(work)


async def test_a_name_is_known_before_anybody_asks_and_asked_again_after():
    """The first request finds its target; later ones the new addresses."""
    names = Names(["10.0.0.1"], ["10.0.0.2", "10.0.0.3"])
    async with upkeep(names) as (work, owner):
        await work.start([])
        assert [["10.0.0.1"]] == owner.hosts
        assert [("api.example", 80)] == names.asked
        await until(lambda: len(owner.hosts) > 2)

        assert ["10.0.0.2", "10.0.0.3"] == owner.hosts[1] == owner.hosts[2]


async def test_a_name_that_cannot_be_resolved_keeps_nobody_from_starting():
    """Each failure is told, and the next question comes in its time."""
    names = Names(socket.gaierror(), UnicodeError(), ["10.0.0.1"])
    async with upkeep(names) as (work, owner):
        await work.start([])
        assert [None] == owner.hosts
        await until(lambda: len(owner.hosts) > 2)

        assert [None, None, ["10.0.0.1"]] == owner.hosts[:3]


async def test_a_resolver_that_hangs_is_a_failure():
    """The start is not held up for longer than an interval."""

    class Hung(Names):
        async def __call__(self, host: str, port: int) -> list[str]:
            await asyncio.Event().wait()
            return []

    async with upkeep(Hung([])) as (work, owner):
        await work.start([])

        assert [None] == owner.hosts


async def test_plain_origins_are_left_alone():
    """No task, no question."""
    names = Names(["10.0.0.1"])
    async with upkeep(names, origins=(PLAIN,)) as (work, _):
        await work.start([Target(PLAIN, "127.0.0.1")])

        assert [] == names.asked
        assert not running()


async def test_each_target_is_checked_until_it_is_forgotten():
    """Again and again; one that left is left alone."""
    one, other = Target(PLAIN, "127.0.0.1"), Target(PLAIN, "127.0.0.2")
    async with upkeep(Names([]), origins=(PLAIN,), check=True) as (work, owner):
        await work.start([one])
        await until(lambda: len(owner.verdicts) > 1)
        assert [(one, False)] * 2 == owner.verdicts[:2]
        work.watch([other])
        work.forget([one])
        await turns()
        owner.verdicts.clear()
        await until(lambda: len(owner.verdicts) > 1)

        assert {(other, False)} == set(owner.verdicts)


async def test_nothing_begins_before_the_start_or_after_the_end():
    """A pool that is built may never be used."""
    async with upkeep(Names([]), origins=(PLAIN,), check=True) as (work, owner):
        work.watch([Target(PLAIN, "127.0.0.1")])
        assert not running()
        await work.start([])
        work.close()
        work.watch([Target(PLAIN, "127.0.0.1")])
        work.forget([Target(PLAIN, "127.0.0.1")])

        assert not running()
        assert [] == owner.verdicts
