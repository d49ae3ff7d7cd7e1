"""What every store keeps, whoever adds one."""

import asyncio
import contextlib
import importlib
import pkgutil

import pytest

from gateway import stores
from gateway.errors import StoreUnavailable
from gateway.ports import STORED_LIMIT_BYTES
from gateway.stores import redis
from tests.stores.groups import cluster, sentinels
from tests.stores.servers import ENGINES, serving

NAMES = sorted(
    module.name
    for module in pkgutil.iter_modules(stores.__path__)
    if not module.name.startswith("_")
)
KINDS = ["memory", *ENGINES, "sentinel", "cluster"]
GROUPS = {"sentinel": sentinels, "cluster": cluster}


@pytest.fixture(scope="module", params=KINDS)
def url(request):
    """Where a store of each kind can be opened."""
    if request.param == "memory":
        yield "memory://"
        return
    group = GROUPS.get(request.param)
    with group() if group else serving(request.param) as server:
        yield server.url


@pytest.fixture
async def store(url, clock):
    """An open store, emptied of what the last test left."""
    scheme = url.partition("://")[0]
    name = next(name for name in NAMES if scheme in module(name).SCHEMES)
    # A busy machine is no fault of the store's: its deadline has tests of its own.
    patient = {} if scheme == "memory" else {"deadline": 5.0}
    store = module(name).open_store(url, clock=clock, **patient)
    for key in ("k", "other", *(f"k{number}" for number in range(200))):
        await store.delete(key)
    yield store
    await store.close()


def module(name: str):
    """Load a store by its file name."""
    return importlib.import_module(f"gateway.stores.{name}")


def test_every_store_in_the_folder_is_held_to_the_promise():
    """A newcomer is added to the kinds above."""
    schemes = {scheme for name in NAMES for scheme in module(name).SCHEMES}

    assert ["memory", "redis"] == NAMES
    assert {"memory", *redis.SCHEMES} == schemes


@pytest.mark.parametrize("value", [b"v", bytes(range(256)), b"x" * STORED_LIMIT_BYTES])
async def test_what_was_put_is_there_byte_for_byte(store, value):
    """Up to the limit."""
    await store.put("k", value, ttl=60)

    assert value == await store.get("k")


async def test_what_was_not_put_is_not_there(store):
    """None, not an error."""
    assert await store.get("k") is None


async def test_the_last_put_counts(store):
    """Value and life are replaced together."""
    await store.put("k", b"old", ttl=60)
    await store.put("k", b"new", ttl=60)

    assert b"new" == await store.get("k")


async def test_what_is_new_is_added_and_what_is_there_stays(store, clock):
    """Value and life; when it has run out, there is room for the next."""
    assert await store.add("k", b"first", ttl=0.05)
    assert not await store.add("k", b"second", ttl=60)
    assert b"first" == await store.get("k")
    async with asyncio.timeout(5):
        while not await store.add("k", b"third", ttl=60):
            clock.advance(0.01)
            await asyncio.sleep(0.01)

    assert b"third" == await store.get("k")


async def test_of_many_who_add_at_once_one_does(store):
    """Whoever was told so is the only one."""
    values = [b"%d" % number for number in range(20)]
    told = await asyncio.gather(*(store.add("k", value, ttl=60) for value in values))

    assert 1 == sum(told)
    assert values[told.index(True)] == await store.get("k")


async def test_a_deleted_entry_is_gone(store):
    """And only it."""
    await store.put("k", b"v", ttl=60)
    await store.put("other", b"w", ttl=60)
    await store.delete("k")

    assert await store.get("k") is None
    assert b"w" == await store.get("other")


async def test_deleting_what_is_not_there_is_no_error(store):
    """Whoever forgets need not know."""
    await store.delete("k")

    assert await store.get("k") is None


async def test_an_entry_runs_out(store, clock):
    """Without anybody's doing."""
    await store.put("k", b"v", ttl=0.05)
    async with asyncio.timeout(5):
        while await store.get("k") is not None:
            clock.advance(0.01)
            await asyncio.sleep(0.01)

    assert await store.get("k") is None


async def test_a_life_without_bound_is_a_very_long_one(store):
    """A provider may claim any `expires_in`."""
    await store.put("k", b"v", ttl=1e18)

    assert b"v" == await store.get("k")


async def test_an_overlong_value_is_refused(store):
    """Nobody would parse it."""
    with pytest.raises(StoreUnavailable):
        await store.put("k", b"x" * (STORED_LIMIT_BYTES + 1), ttl=60)

    assert await store.get("k") is None


async def test_it_proves_that_it_answers(store):
    """For readiness and `doctor`."""
    await store.ping()


async def test_each_of_many_at_once_gets_its_own(store):
    """Also while others give up in the middle (CVE-2023-28858)."""
    for number in range(200):
        await store.put(f"k{number}", b"%d" % number, ttl=60)

    async def ask(number: int) -> bytes | None:
        patience = 0.0005 * (number % 7) if number % 3 else None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                value: bytes | None = await store.get(f"k{number}")
                return value
        return b"gave up"

    for _ in range(3):
        answers = await asyncio.gather(*(ask(number) for number in range(200)))
        for number, answer in enumerate(answers):
            assert answer in {b"%d" % number, b"gave up"}
        assert b"gave up" not in answers[::3]
