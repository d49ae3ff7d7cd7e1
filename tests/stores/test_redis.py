import asyncio
import time
import traceback

import pytest

from gateway.errors import ConfigError, StoreUnavailable
from gateway.ports import STORED_LIMIT_BYTES
from gateway.stores.redis import CONNECTIONS, DEADLINE, REST, RedisStore, open_store
from tests.stores.servers import ENGINES, serving


@pytest.fixture(scope="module", params=ENGINES)
def steady(request):
    """A server that runs for all tests that do it no harm."""
    with serving(request.param) as server:
        yield server


@pytest.fixture(params=ENGINES)
def mortal(request):
    """A server of one's own, to kill and to hang."""
    with serving(request.param) as server:
        yield server


@pytest.fixture
async def opened(clock):
    """Open stores, and close them in the end."""
    stores: list[RedisStore] = []

    # A busy machine is no fault of the store's: only tests of the deadline have it.
    def opening(url: str, *, deadline: float = 5.0) -> RedisStore:
        stores.append(open_store(url, clock=clock, deadline=deadline))
        return stores[-1]

    yield opening
    for store in stores:
        await store.close()


async def in_vain(store: RedisStore) -> float:
    """Ask for an entry, fail, and tell how long that took."""
    began = time.perf_counter()
    with pytest.raises(StoreUnavailable):
        await store.get("k")
    return time.perf_counter() - began


# ------------------------------------------------------------------- entries


async def test_an_entry_is_one_string_with_its_expiry(steady, opened):
    """There is no moment at which it has none."""
    await opened(steady.url).put("k", b"v", ttl=42.5)

    assert b"$1\r\nv\r\n" == steady.say("GET", "k")
    assert 42_000 < int(steady.say("PTTL", "k")[1:]) <= 42_500


async def test_to_keep_an_entry_is_one_command(steady, opened):
    """Not one to set it and another to let it end."""
    steady.say("CONFIG", "RESETSTAT")
    await opened(steady.url).put("k", b"v", ttl=60)
    told = steady.say("INFO", "commandstats")

    assert b"cmdstat_set:calls=1," in told
    assert b"expire" not in told


async def test_the_shortest_life_is_a_millisecond(steady, opened):
    """Never none, which the server refuses."""
    await opened(steady.url).put("k", b"v", ttl=0.0001)


async def test_an_overlong_value_of_somebody_else_stays_where_it_is(steady, opened):
    """Only so much of it is fetched as proves that it is too long."""
    steady.say("SETRANGE", "k", str(100_000_000), "x")
    value = await opened(steady.url).get("k")

    assert STORED_LIMIT_BYTES + 1 == len(value)
    steady.say("DEL", "k")


async def test_a_key_of_another_type_is_a_failure_without_a_rest(steady, opened):
    """It can be deleted, and put anew."""
    store = opened(steady.url)
    steady.say("RPUSH", "list", "x")

    with pytest.raises(StoreUnavailable, match="ResponseError"):
        await store.get("list")
    await store.put("list", b"v", ttl=60)
    assert b"v" == await store.get("list")


async def test_a_key_is_sent_as_it_is(steady, opened):
    """No command can be made of one (CVE-2021-32785)."""
    key = "%s%n\r\nFLUSHALL\r\n{x} *"
    store = opened(steady.url)
    await store.put("other", b"w", ttl=60)
    await store.put(key, b"v", ttl=60)

    assert b"v" == await store.get(key)
    assert b"w" == await store.get("other")


# ------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        (("--maxmemory", "1", "--maxmemory-policy", "noeviction"), "OutOfMemory"),
        (("--replicaof", "127.0.0.1", "1"), "ReadOnly"),
    ],
    ids=["oom", "readonly"],
)
async def test_a_server_that_takes_no_writes_is_unavailable_for_them(
    opened, options, kind
):
    """It is there, so nobody rests: reads go on."""
    with serving("valkey", *options) as server:
        store = opened(server.url)
        with pytest.raises(StoreUnavailable, match=kind):
            await store.put("k", b"v", ttl=60)

        assert await store.get("k") is None


@pytest.mark.parametrize("credentials", ["", ":wrong-pass@", "nobody:wrong-pass@"])
async def test_without_the_right_password_the_store_is_unavailable(opened, credentials):
    """And nothing that is said about it holds the password."""
    with serving("valkey", "--requirepass", "right-pass") as server:
        store = opened(f"redis://{credentials}127.0.0.1:{server.port}")
        with pytest.raises(StoreUnavailable) as failure:
            await store.ping()

        told = "".join(traceback.format_exception(failure.value))
        assert "wrong-pass" not in told + repr(store) + repr(vars(store))


async def test_with_the_right_password_it_is_there(opened):
    """Its looks do not tell it."""
    with serving("valkey", "--requirepass", "right-pass") as server:
        store = opened(f"redis://:right-pass@127.0.0.1:{server.port}/3")
        await store.ping()

        assert "<RedisStore Redis>" == repr(store)


async def test_entries_go_to_the_configured_database(steady, opened):
    """Two gateways may share a server."""
    await opened(f"{steady.url}/1").put("mine", b"v", ttl=60)

    assert await opened(f"{steady.url}/2").get("mine") is None


@pytest.mark.parametrize(
    "url",
    [
        "http://host",
        "redis://:pass-word/0@host/0",
        "redis://u:pass-word@[::1",
        "redis://host:port",
        "redis://host?ssl_cert_reqs=none",
    ],
)
def test_an_unusable_url_is_a_config_error_that_does_not_quote_it(clock, url):
    """It may hold a password."""
    with pytest.raises(ConfigError) as refusal:
        open_store(url, clock=clock)

    assert "store.url: expected a URL such as redis" in refusal.value.problems[0]
    assert "pass-word" not in "".join(traceback.format_exception(refusal.value))


# ------------------------------------------------------------------- faults


async def test_a_server_that_was_never_there_is_unavailable_at_once(opened, clock):
    """The gateway starts without it."""
    store = opened("redis://127.0.0.1:1")

    # Refused, once: not out of time after tries without end.
    with pytest.raises(StoreUnavailable, match="ConnectionError"):
        await store.get("k")


async def test_a_killed_server_is_a_miss_and_is_found_again(mortal, opened, clock):
    """No restart of ours is needed."""
    store = opened(mortal.url, deadline=DEADLINE)
    await store.put("k", b"v", ttl=60)
    mortal.kill()
    assert await in_vain(store) < 0.5

    mortal.start()
    assert await in_vain(store) < 0.04
    clock.advance(REST)
    assert await store.get("k") is None
    await store.put("k", b"v", ttl=60)
    assert b"v" == await store.get("k")


async def test_a_hung_server_costs_one_deadline_and_is_found_again(
    mortal, opened, clock
):
    """Not one for every request: the others fail at once."""
    store = opened(mortal.url, deadline=DEADLINE)
    await store.put("k", b"v", ttl=60)
    mortal.stop()
    assert 0.04 < await in_vain(store) < 0.5
    assert await in_vain(store) < 0.04

    clock.advance(REST)
    assert 0.04 < await in_vain(store) < 0.5
    mortal.go_on()
    clock.advance(REST)
    assert b"v" == await store.get("k")


async def test_a_herd_at_a_hung_server_waits_together(mortal, opened):
    """Those without a connection do not wait one deadline after the other."""
    store = opened(mortal.url, deadline=DEADLINE)
    await store.ping()
    mortal.stop()
    began = time.perf_counter()
    outcomes = await asyncio.gather(
        *(store.get("k") for _ in range(30 * CONNECTIONS)), return_exceptions=True
    )

    assert {StoreUnavailable} == {type(outcome) for outcome in outcomes}
    assert time.perf_counter() - began < 0.7
    mortal.go_on()


async def test_a_herd_at_a_server_that_answers_is_served(steady, opened):
    """Within the bound of connections, and without a rest."""
    store = opened(steady.url)
    await store.put("herd", b"v", ttl=60)
    values = await asyncio.gather(*(store.get("herd") for _ in range(500)))
    idle, used = (
        count for count, _ in store._redis.connection_pool.get_connection_count()
    )

    assert {b"v"} == set(values)
    assert idle + used <= CONNECTIONS


async def test_nobody_waits_for_a_turn_for_ever(mortal, opened, clock):
    """Being busy ourselves is a miss too, and no reason to rest."""
    store = opened(mortal.url, deadline=DEADLINE)
    store._patience = 0.01
    await store.ping()
    mortal.stop()
    busy = asyncio.gather(
        *(store.get("k") for _ in range(CONNECTIONS)), return_exceptions=True
    )
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable, match="free in time"):
        await store.get("k")

    assert {} == store._rests
    mortal.go_on()
    await busy
    clock.advance(REST)
    assert await store.get("k") is None


async def test_closing_lets_go_of_every_connection(steady, clock):
    """The server counts only the one who asks."""
    store = open_store(steady.url, clock=clock, deadline=5.0)
    await asyncio.gather(*(store.get("k") for _ in range(50)))
    await store.close()
    async with asyncio.timeout(5):
        while b"connected_clients:1\r" not in steady.say("INFO", "clients"):  # noqa: ASYNC110 -- the server has no event
            await asyncio.sleep(0.01)
