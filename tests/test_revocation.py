import asyncio
from collections.abc import Awaitable, Callable

import pytest

from gateway.app import SystemClock
from gateway.config.model import Config
from gateway.errors import StoreUnavailable
from gateway.facts.mark_ledger import Book
from gateway.facts.marks import TokenTerms
from gateway.revocation import Revocation
from gateway.values import MarkKind
from tests.facts.mark_doubles import Watchman
from tests.stores.groups import sentinels
from tests.stores.servers import Server, serving
from tests.wired import configured

TERMS = {"p": TokenTerms(lifetime=60)}


@pytest.fixture(scope="module")
def store():
    """The one store."""
    with serving("valkey") as server:
        yield server


def config(more: str) -> Config:
    """Load a configuration without routes."""
    return configured(more).config


def made(more: str) -> Revocation:
    """Build what one process has."""
    return Revocation(config(more), clock=SystemClock(), terms=TERMS, events=Watchman())


async def test_a_process_by_itself_hears_of_nobody_and_is_never_blind():
    """`memory://`: the marks there are, are its own."""
    alone = made("")
    await alone.start()
    mark = alone.marks.mark(MarkKind.SUBJECT, "p", "ada")
    await alone.marks.add(mark)
    await alone.close()

    assert (True, False) == (alone.known, alone.sight.blind)
    assert (mark,) == alone.marks.list()
    assert "<Revocation: <Marks: 1 of 100000>, None>" == repr(alone)


async def test_two_processes_share_their_marks(store):
    """By a real server; who comes later has them all when it has started."""
    shared = f'store: {{url: "{store.url}"}}\n'
    here, there = made(shared), made(shared)
    for each in (here, there):
        await each.start()
        assert (True, False) == (each.known, each.sight.blind)
    await here.marks.add(here.marks.mark(MarkKind.SUBJECT, "p", "ada"))
    await until(lambda: told(bool(there.marks.list())))
    later = made(shared)
    await later.start()

    assert here.marks.list() == there.marks.list() == later.marks.list()
    for each in (here, there, later):
        await each.close()


async def test_a_process_without_its_store_knows_nothing():
    """It starts, but is not ready."""
    lost = made('store: {url: "redis://127.0.0.1:9"}\n')
    await lost.start()

    assert (False, True) == (lost.known, lost.sight.lost)
    await lost.close()


async def test_a_failover_loses_no_mark():
    """The primary dies with a mark that its replica never heard of."""
    with sentinels() as group:
        here, there = (made(f'store: {{url: "{group.url}"}}\n') for _ in range(2))
        for each in (here, there):
            await each.start()
            assert each.known
        await here.marks.add(here.marks.mark(MarkKind.SUBJECT, "p", "ada"))
        group.primary.kill()
        group.replica.say("CONFIG", "SET", "replica-read-only", "no")
        assert group.replica.say("FLUSHALL").startswith(b"+OK")
        await until(lambda: revoked(here, "bob"))
        await until(lambda: told(len(there.marks.list()) == 2))
        # And what the new primary did not have was written back.
        await until(lambda: told(b":2\r\n" in size(group.replica)))
        for each in (here, there):
            assert {"ada", "bob"} == {mark.name for mark in each.marks.list()}
            await each.close()


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(20):
        while not await holds():  # noqa: ASYNC110 -- nobody tells of it
            await asyncio.sleep(0.05)


async def told(known: bool) -> bool:  # noqa: FBT001
    """Give what is known at once."""
    return known


async def revoked(process: Revocation, name: str) -> bool:
    """Try to revoke a subject."""
    try:
        await process.marks.add(process.marks.mark(MarkKind.SUBJECT, "p", name))
    except StoreUnavailable:
        return False
    return True


def size(server: Server) -> bytes:
    """Count what stands in the one book of a server, as it says it."""
    secret = str(config("").secret[0])
    return server.say("HLEN", f"{Book(secret).name}:book")
