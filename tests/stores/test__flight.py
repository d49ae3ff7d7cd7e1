import asyncio
import time
from contextlib import asynccontextmanager

import pytest
from redis import Redis

from gateway.errors import StoreUnavailable
from gateway.ports import FLIGHT_UNAVAILABLE
from gateway.stores._flight import LOCK, RedisFlightLock, open_flight_lock
from gateway.stores.redis import CONNECTIONS
from gateway.tasks import running
from tests.stores.groups import cluster
from tests.stores.servers import ENGINES, Server, serving

KEY = "gateway:1:flight:0123abcd"


@pytest.fixture(scope="module", params=ENGINES)
def server(request):
    """A real server."""
    with serving(request.param) as running:
        yield running


@pytest.fixture(autouse=True)
def empty(server):
    """Every test begins with an empty one."""
    server.say("FLUSHALL")


@asynccontextmanager
async def lock_at(server: Server, clock, **options):
    """Open the lock of one process."""
    lock = open_flight_lock(server.url, clock=clock, **options)
    try:
        yield lock
    finally:
        await lock.close()


@pytest.fixture
async def pair(server, clock):
    """Two processes."""
    async with lock_at(server, clock) as one, lock_at(server, clock) as other:
        yield one, other


async def test_one_takes_it_and_the_others_are_told_who_has_it(pair):
    """And for how long at most."""
    one, other = pair

    assert ("a", LOCK) == await one.take(KEY, "a")
    holder, left = await other.take(KEY, "b")
    assert "a" == holder
    assert LOCK - 1 < left <= LOCK


async def test_another_key_is_another_lock(pair):
    """Two tokens are asked about at once."""
    one, other = pair
    await one.take(KEY, "a")

    assert ("b", LOCK) == await other.take(KEY + "ef", "b")


async def test_everybody_who_waits_hears_the_word(pair):
    """However many, and at once."""
    one, other = pair
    await one.take(KEY, "a")
    waiting = asyncio.gather(*(other.wait(KEY, 5.0) for _ in range(10)))
    await asyncio.sleep(0.05)
    began = time.monotonic()
    await one.release(KEY, "a", b"+word")

    assert [b"+word"] * 10 == await waiting
    assert time.monotonic() - began < 1


async def test_who_comes_a_moment_late_hears_it_too(pair):
    """Nobody asks again while there is a word; then the lock is free."""
    one, other = pair
    await one.take(KEY, "a")
    await one.release(KEY, "a", b"-no")

    assert ("", 0.0) == await other.take(KEY, "b")
    assert b"-no" == await other.wait(KEY, 0.0)
    assert b"-no" == await other.wait(KEY, 0.0)


async def test_a_word_and_unavailability_run_out(pair, server):
    """In a second; nothing is left behind."""
    one, _ = pair
    await one.take(KEY, "a")
    await one.release(KEY, "a", b"?", unavailable=True)

    holder, left = await one.take(KEY, "b")
    assert FLIGHT_UNAVAILABLE == holder
    assert 0 < left <= 1
    names = [f"gateway:1:flight:{{0123abcd}}:{name}" for name in ("lock", "told")]
    for name in names:
        assert 0 < int(server.say("PTTL", name)[1:]) <= 1000


async def test_only_the_owner_releases(pair):
    """One whose lock ran out does not end the next one's, nor speak for him."""
    one, other = pair
    await one.take(KEY, "a")
    await other.release(KEY, "b", b"+")

    assert "a" == (await other.take(KEY, "b"))[0]
    assert await other.wait(KEY, 0.0) is None


async def test_a_lock_that_nobody_releases_runs_out(server, clock):
    """A killed process costs that much and no more."""
    async with lock_at(server, clock, lock=0.1) as lock:
        await lock.take(KEY, "dead")
        began = time.monotonic()

        assert await lock.wait(KEY, 0.1) is None
        while (await lock.take(KEY, "b"))[0] != "b":  # noqa: ASYNC110 -- a server's
            await asyncio.sleep(0.01)
        assert time.monotonic() - began < 1


async def test_those_who_wait_do_not_hold_up_those_who_do_not(pair):
    """Waits for a turn count against their own time."""
    one, other = pair
    await one.take(KEY, "a")
    many = asyncio.gather(*(other.wait(KEY, 5.0) for _ in range(CONNECTIONS + 5)))
    await asyncio.sleep(0.05)

    assert ("b", LOCK) == await other.take(KEY + "ef", "b")
    await one.release(KEY, "a", b"+")
    assert {b"+"} == set(await many)


async def test_too_many_waiting_are_told_in_time(pair):
    """Who finds no seat asks for himself."""
    one, other = pair
    await one.take(KEY, "a")
    seated = asyncio.gather(*(other.wait(KEY, 5.0) for _ in range(CONNECTIONS)))
    await asyncio.sleep(0.02)
    with pytest.raises(StoreUnavailable, match="no connection was free"):
        await other.wait(KEY, 0.1)

    await one.release(KEY, "a", b"+")
    assert {b"+"} == set(await seated)


async def everything_fails(lock: RedisFlightLock) -> None:
    """Whatever is asked."""
    for call in (
        lambda: lock.take(KEY, "a"),
        lambda: lock.wait(KEY, 5.0),
        lambda: lock.release(KEY, "a", b"+"),
    ):
        with pytest.raises(StoreUnavailable):
            await call()


async def test_a_server_that_is_gone_costs_nothing_and_comes_back(clock):
    """After one failure nobody tries for a second."""
    with serving("valkey") as server:
        async with lock_at(server, clock) as lock:
            await lock.take(KEY, "a")
            server.kill()
            await everything_fails(lock)
            server.start()
            with pytest.raises(StoreUnavailable, match="a moment ago"):
                await lock.take(KEY, "a")
            clock.advance(1)

            assert ("a", LOCK) == await lock.take(KEY, "a")


async def test_a_server_that_hangs_costs_a_deadline(clock):
    """Once."""
    with serving("valkey") as server:
        async with lock_at(server, clock) as lock:
            await lock.take(KEY, "a")
            server.stop()
            began = time.monotonic()
            await everything_fails(lock)
            assert time.monotonic() - began < 0.5
            server.go_on()


async def test_a_lock_taken_unheard_is_released_a_moment_later(clock):
    """The server did what it was told, too late to say so: nobody waits for the end."""
    with serving("valkey") as server:
        async with lock_at(server, clock) as one, lock_at(server, clock) as other:
            await other.take(KEY + "ef", "b")
            await one.take(KEY + "ef", "a")
            server.stop()
            with pytest.raises(StoreUnavailable):
                await one.take(KEY, "a")
            with pytest.raises(StoreUnavailable):
                await one.release(KEY, "a", b"+")
            server.go_on()
            began = time.monotonic()
            assert "a" == (await other.take(KEY, "b"))[0]

            assert b"+" == await other.wait(KEY, LOCK)
            assert time.monotonic() - began < 2


async def test_what_was_never_taken_is_not_released_later(clock):
    """A store that is away is told nothing when it is back."""
    with serving("valkey") as server:
        async with lock_at(server, clock) as lock:
            server.kill()
            with pytest.raises(StoreUnavailable):
                await lock.release(KEY, "a", b"+")

            assert not [task for task in running() if "release" in task.get_name()]


async def test_a_key_of_another_type_is_a_failure(pair, server):
    """Somebody else's; everybody asks for himself."""
    server.say("RPUSH", "gateway:1:flight:{0123abcd}:lock", "x")

    with pytest.raises(StoreUnavailable, match="ResponseError"):
        await pair[0].take(KEY, "a")
    assert ("a", LOCK) == await pair[0].take(KEY + "ef", "a")


@pytest.mark.parametrize("life", [(), ("PX", "60000")])
async def test_a_lock_that_none_of_us_made_is_not_waited_for(pair, server, life):
    """Garbage, for ever or longer than any lock of ours lasts."""
    server.say("SET", "gateway:1:flight:{0123abcd}:lock", "noise", *life)

    with pytest.raises(StoreUnavailable, match="somebody else's"):
        await pair[0].take(KEY, "a")


async def test_a_lock_of_noise_runs_out(pair, server):
    """Its holder need not be text."""
    with Redis(port=server.port) as store:
        store.set("gateway:1:flight:{0123abcd}:lock", b"\xff\xfe", px=1000)

    holder, left = await pair[0].take(KEY, "a")
    assert "a" != holder
    assert 0 < left <= 1


async def test_its_looks_tell_no_url(pair):
    """It may hold a password."""
    assert "<RedisFlightLock of 5 s>" == repr(pair[0])


async def test_in_a_cluster_each_lock_is_on_one_node(clock):
    """Lock and word have one hash tag."""
    with cluster() as nodes:
        one = open_flight_lock(nodes.url, clock=clock, deadline=1.0)
        other = open_flight_lock(nodes.url, clock=clock, deadline=1.0)
        for number in range(10):
            key = f"gateway:1:flight:{number:x}"
            assert ("a", LOCK) == await one.take(key, "a")
            assert "a" == (await other.take(key, "b"))[0]
            waiting = asyncio.gather(other.wait(key, 5.0))
            await one.release(key, "a", b"+")
            (word,) = await waiting
            assert b"+" == word
        await one.close()
        await other.close()
