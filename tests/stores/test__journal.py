import asyncio
import time

import pytest

from gateway.errors import StoreUnavailable
from gateway.stores._journal import DEADLINE, RedisJournal, open_journal
from tests.stores.groups import cluster
from tests.stores.servers import ENGINES, serving

NAMES = ("gateway:1:{marks}:a", "gateway:1:{marks}:b")


@pytest.fixture(scope="module", params=ENGINES)
def steady(request):
    """A server that runs for all tests that do it no harm."""
    with serving(request.param) as server:
        yield server


@pytest.fixture
def mortal():
    """A server of one's own."""
    with serving("valkey") as server:
        yield server


@pytest.fixture
async def opened(steady):
    """Open journals on an empty server, and close them in the end."""
    steady.say("FLUSHALL")
    journals: list[RedisJournal] = []

    def opening(url: str = steady.url, *, limit: int = 100) -> RedisJournal:
        journals.append(open_journal(url, NAMES, limit=limit))
        return journals[-1]

    yield opening
    for journal in journals:
        await journal.close()


async def whole(journal: RedisJournal, book: int) -> dict[str, bytes]:
    """Read a book."""
    return dict([entry async for page in journal.pages(book) for entry in page])


async def test_a_value_is_swapped_only_for_what_is_expected(opened):
    """Who was overtaken hears of it."""
    journal = opened()

    assert await journal.swap(0, "f", None, b"1")
    assert not await journal.swap(0, "f", None, b"2")
    assert not await journal.swap(0, "f", b"2", b"3")
    assert await journal.swap(0, "f", b"1", b"2")
    assert b"2" == await journal.get(0, "f")
    assert await journal.get(1, "f") is None
    assert [1, 0] == await journal.sizes()

    assert not await journal.swap(0, "f", b"1", None)
    assert await journal.swap(0, "f", b"2", None)
    assert [0, 0] == await journal.sizes()


async def test_news_reach_every_reader_once_and_soon(opened):
    """Of all books, in order; who was not there yet reads the book."""
    here, there = opened(), opened()
    await here.swap(0, "before", None, b"x")
    await there.turn_to_end()

    async def write_later() -> float:
        await asyncio.sleep(0.05)
        await here.swap(0, "f", None, b"1")
        return time.perf_counter()

    told, began = await asyncio.gather(there.news(), write_later())
    assert [(0, "f", b"1")] == told
    assert time.perf_counter() - began < 0.2

    await here.swap(0, "f", b"1", b"2")
    await here.swap(1, "g", None, b"3")
    assert {(0, "f", b"2"), (1, "g", b"3")} == set(await there.news())
    assert [] == await there.news()
    assert {"before": b"x", "f": b"2"} == await whole(there, 0)


async def test_no_news_take_a_third_of_a_second(opened):
    """An answer that says so: the one who waits knows that he hears."""
    journal = opened()
    await journal.turn_to_end()
    began = time.perf_counter()
    assert [] == await journal.news()

    assert 0.25 < time.perf_counter() - began < 0.6


async def test_a_long_book_is_read_page_by_page(opened):
    """No answer is too long to come in time."""
    journal = opened(limit=1000)
    for number in range(700):
        await journal.swap(0, f"{number:032}", None, b"v" * 100)
    pages = [page async for page in journal.pages(0)]

    assert len(pages) > 3
    assert 700 == len({field for page in pages for field, _ in page})


async def test_a_full_book_refuses_newcomers_alone(opened):
    """What is in it can be replaced and taken out."""
    journal = opened(limit=1)
    await journal.swap(0, "f", None, b"1")
    with pytest.raises(StoreUnavailable, match="no room"):
        await journal.swap(0, "g", None, b"1")

    assert await journal.swap(0, "f", b"1", b"2")
    assert await journal.swap(0, "f", b"2", None)
    assert await journal.swap(0, "g", None, b"1")
    assert "<RedisJournal: 2 books>" == repr(journal)


async def test_a_full_server_refuses_and_writes_nothing(mortal, opened):
    """With `noeviction` a mark that finds no room is an error."""
    journal = opened(mortal.url)
    mortal.say("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(StoreUnavailable):
        await journal.swap(0, "f", None, b"1")

    assert await journal.get(0, "f") is None


async def test_the_eviction_policy_is_told(mortal, opened):
    """What the server does when it is full."""
    journal = opened(mortal.url)
    assert "noeviction" == await journal.eviction()

    mortal.say("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    assert "allkeys-lru" == await journal.eviction()


async def test_a_policy_that_must_not_be_asked_for_is_no_failure(mortal, opened):
    """An ACL may keep INFO from us."""
    mortal.say("ACL", "SETUSER", "default", "-info")

    assert "" == await opened(mortal.url).eviction()


async def test_a_book_of_another_type_is_a_failure(steady, opened):
    """Every command says so; none waits for anything."""
    journal = opened()
    steady.say("SET", f"{NAMES[0]}:book", "x")
    for work in (journal.get(0, "f"), journal.sizes(), whole(journal, 0)):
        with pytest.raises(StoreUnavailable, match="ResponseError"):
            await work


async def test_a_server_that_hangs_is_found_out_in_a_second(mortal, opened):
    """Whoever follows must know when he hears nothing."""
    journal = opened(mortal.url)
    await journal.turn_to_end()
    mortal.stop()
    began = time.perf_counter()
    with pytest.raises(StoreUnavailable):
        await journal.news()
    took = time.perf_counter() - began
    mortal.go_on()

    assert 0.5 < took < DEADLINE + 0.5
    assert [] == await journal.news()


async def test_a_server_that_is_gone_is_a_failure_at_once(mortal, opened):
    """And back as soon as it is."""
    journal = opened(mortal.url)
    await journal.turn_to_end()
    mortal.kill()
    for work in (journal.news(), journal.eviction(), journal.get(0, "f")):
        with pytest.raises(StoreUnavailable):
            await work
    mortal.start()

    await journal.turn_to_end()
    await journal.swap(0, "f", None, b"1")
    assert [(0, "f", b"1")] == await journal.news()


async def test_who_waits_for_news_can_be_called_off(opened):
    """The process is ending."""
    journal = opened()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await journal.news()

    assert [] == await journal.news()


async def test_a_cluster_keeps_a_journal_too():
    """Books and news have one hash tag, so one node has them all."""
    with cluster() as nodes:
        here = open_journal(nodes.url, NAMES, limit=10)
        there = open_journal(nodes.url, NAMES, limit=10)
        try:
            await there.turn_to_end()
            assert await here.swap(0, "f", None, b"1")
            assert await here.swap(1, "g", None, b"2")
            told = [*await there.news(), *await there.news()]

            assert [(0, "f", b"1"), (1, "g", b"2")] == sorted(told)[:2]
            assert {"f": b"1"} == await whole(there, 0)
            assert [1, 1] == await there.sizes()
            assert "noeviction" == await there.eviction()
        finally:
            await here.close()
            await there.close()
