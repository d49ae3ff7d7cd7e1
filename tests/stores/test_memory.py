import gc
import os
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import StoreUnavailable
from gateway.ports import STORED_LIMIT_BYTES
from gateway.stores.memory import ENTRY_BYTES, SCHEMES, MemoryStore, open_store
from tests.fakes import Clock


async def kept(store: MemoryStore, *keys: str) -> list[str]:
    """Tell which of these keys are there."""
    return [key for key in keys if await store.get(key) is not None]


def room_for(entries: int, clock: Clock) -> MemoryStore:
    """Give a store for so many entries with a key and a value of one byte."""
    return MemoryStore(clock, limit_bytes=entries * (ENTRY_BYTES + 2))


def test_it_is_opened_by_its_scheme(clock):
    """What only this process sees is not shared."""
    store = open_store("memory://", clock=clock)

    assert ("memory",) == SCHEMES
    assert not store.shared
    assert "<MemoryStore: 0 entries, 0 bytes>" == repr(store)


async def test_time_is_kept_by_the_clock_that_cannot_be_set(clock):
    """A stepped clock neither ends an entry nor revives one."""
    store = MemoryStore(clock)
    await store.put("k", b"v", ttl=10)
    clock.step(1e6)
    clock.advance(9.9)
    assert b"v" == await store.get("k")

    clock.step(-2e6)
    clock.advance(0.1)
    assert await store.get("k") is None


async def test_what_has_run_out_makes_room_first(clock):
    """Nothing alive is lost for it."""
    store = room_for(2, clock)
    await store.put("a", b"1", ttl=5)
    await store.put("b", b"1", ttl=50)
    clock.advance(5)
    await store.put("c", b"1", ttl=1)

    assert ["b", "c"] == await kept(store, "a", "b", "c")


async def test_what_would_run_out_soonest_makes_room_next(clock):
    """Of grants with one lifetime, that is the oldest."""
    store = room_for(2, clock)
    for key in "abc":
        await store.put(key, b"1", ttl=3600)
        clock.advance(1)

    assert ["b", "c"] == await kept(store, "a", "b", "c")


async def test_nothing_short_lived_pushes_out_what_outlives_it(clock):
    """Facts never cost a grant; what finds no room is told so."""
    store = room_for(2, clock)
    await store.put("g", b"1", ttl=3600)
    await store.put("f", b"1", ttl=60)
    await store.put("n", b"1", ttl=61)
    assert ["g", "n"] == await kept(store, "g", "f", "n")

    await store.put("o", b"1", ttl=3600)
    with pytest.raises(StoreUnavailable):
        await store.put("f", b"1", ttl=60)
    assert ["g", "o"] == await kept(store, "g", "o", "f")


async def test_an_entry_replaced_is_still_there_if_the_new_one_is_refused(clock):
    """A record is not lost to its own renewal."""
    store = MemoryStore(clock, limit_bytes=ENTRY_BYTES + 10)
    await store.put("k", b"old", ttl=3600)
    with pytest.raises(StoreUnavailable):
        await store.put("k", b"much longer than there is room", ttl=60)

    assert b"old" == await store.get("k")


async def test_renewals_do_not_pile_up(clock):
    """One token learned a million times takes the room of one."""
    store = MemoryStore(clock)
    for _ in range(1000):
        clock.advance(1)
        await store.put("k", b"v", ttl=3600)

    assert len(store._ends) < 100
    assert f"<MemoryStore: 1 entries, {ENTRY_BYTES + 2} bytes>" == repr(store)


async def test_after_closing_nothing_is_left(clock):
    """Entries go with the process that closed the store."""
    store = MemoryStore(clock)
    await store.put("k", b"v", ttl=10)
    await store.close()

    assert await store.get("k") is None


actions = st.lists(
    st.tuples(
        st.sampled_from(["put", "delete", "wait"]),
        st.sampled_from("abcdef"),
        st.integers(1, 300),
        st.floats(0.1, 100),
    ),
    max_size=60,
)


@given(actions)
async def test_the_bound_holds_and_what_is_found_is_what_was_put(actions):
    """Whatever is put, replaced, deleted and waited for."""
    clock, model = Clock(), dict[str, tuple[bytes, float]]()
    store = MemoryStore(clock, limit_bytes=4 * (ENTRY_BYTES + 100))
    for action, key, size, amount in actions:
        if action == "wait":
            clock.advance(amount)
        elif action == "delete":
            await store.delete(key)
            model.pop(key, None)
        else:
            value, until = os.urandom(size), clock.monotonic() + amount
            try:
                await store.put(key, value, ttl=amount)
            except StoreUnavailable:
                continue
            model[key] = value, until
        weights = [ENTRY_BYTES + 1 + len(e.value) for e in store._entries.values()]
        assert sum(weights) == store._held_bytes <= store._limit_bytes
        for name in "abcdef":
            value, until = model.get(name, (b"", 0.0))
            alive = value if clock.monotonic() < until else None
            assert await store.get(name) in {None, alive}


async def test_the_bound_is_an_honest_one(clock):
    """The bytes counted are at least those taken, and not much more."""
    store = MemoryStore(clock)
    gc.collect()
    tracemalloc.start()
    for number in range(5_000):
        await store.put(os.urandom(40).hex(), os.urandom(300), ttl=3600 + number / 7)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert taken <= store._held_bytes <= taken * 1.5


async def test_no_value_is_longer_than_the_limit(clock):
    """It could not be read back from a server either."""
    with pytest.raises(StoreUnavailable):
        await MemoryStore(clock).put("k", b"x" * (STORED_LIMIT_BYTES + 1), ttl=1)
