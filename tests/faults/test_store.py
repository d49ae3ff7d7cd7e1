"""A store that hangs, dies, restarts or lags costs 50 ms, and never an answer.

A real Valkey, hung by SIGSTOP and killed by SIGKILL, or behind a bad network.
"""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.faults.back import Back
from tests.faults.proxy import Cut, faulty
from tests.faults.stage import Stage, configuration, eventually, request, staged
from tests.wired import Issuer

SOON = 0.4
"""A request that finds the store away: its deadline of 50 ms twice, and some air."""


@asynccontextmanager
async def keeping(
    url: str, provider: Issuer, back: Back, folder: Path
) -> AsyncIterator[Stage]:
    """Run a gateway that keeps its facts in a store."""
    text = configuration(back=back.port, provider=provider.url, store=url)
    async with staged(text, folder) as stage:
        yield stage


@pytest.fixture
async def stage(tmp_path, valkey, provider, back):
    """A gateway with a store that is well."""
    async with keeping(valkey.url, provider, back, tmp_path) as stage:
        yield stage


@pytest.fixture
def elsewhere(tmp_path_factory):
    """A folder for another gateway."""
    return tmp_path_factory.mktemp("elsewhere")


_numbers = itertools.count()


async def is_served(stage: Stage, token: str = "") -> float:
    """Ask with a token, by itself a new one; gives the seconds it took."""
    token = token or f"T-new-{next(_numbers)}"
    begun = time.monotonic()
    told = await stage.ask("GET", "/api/x", token=token)
    assert (200, token.encode()) == (told.status, told.value(b"for"))
    return time.monotonic() - begun


def hits(stage: Stage) -> float:
    """Count the answers that came from the store."""
    return stage.metric("cache_requests_total", tier="l2", result="hit")


async def shares_again(
    stage: Stage, url: str, provider: Issuer, back: Back, folder: Path
) -> None:
    """Wait until what one gateway learns another finds in the store."""
    async with keeping(url, provider, back, folder) as other:
        until = time.monotonic() + 10
        while not hits(other):
            assert time.monotonic() < until
            token = f"T-shared-{next(_numbers)}"
            await is_served(stage, token)
            await is_served(other, token)


async def test_a_hung_store(stage, valkey, provider, back, elsewhere):
    """New tokens are asked about, known ones known; it is used again when it is back."""
    await is_served(stage, "T-known")
    valkey.stop()
    try:
        took = [await is_served(stage) for _ in range(50)]
        assert await is_served(stage, "T-known") < SOON
    finally:
        valkey.go_on()

    # It is asked once in a second; between that nobody waits for it.
    assert max(took) < SOON
    assert sorted(took)[25] < 0.05
    await shares_again(stage, valkey.url, provider, back, elsewhere)


async def test_a_crowd_at_a_hung_store(stage, valkey):
    """Nobody waits for its turn to wait."""
    valkey.stop()
    try:
        begun = time.monotonic()
        await asyncio.gather(*(is_served(stage) for _ in range(200)))
        assert time.monotonic() - begun < 3
    finally:
        valkey.go_on()


async def test_a_store_that_is_killed_and_restarted(
    stage, valkey, provider, back, elsewhere
):
    """In the midst of requests; each is served."""
    stop = asyncio.Event()

    async def asking() -> int:
        count = 0
        while not stop.is_set():
            await is_served(stage)
            count += 1
        return count

    crowd = asyncio.gather(*(asking() for _ in range(4)))
    for _ in range(2):
        await asyncio.sleep(0.1)
        await asyncio.to_thread(valkey.kill)
        await asyncio.sleep(0.1)
        await asyncio.to_thread(valkey.start)
    stop.set()

    assert all(count > 10 for count in await crowd)
    await shares_again(stage, valkey.url, provider, back, elsewhere)


async def test_a_store_that_is_not_there_at_the_start(
    tmp_path, elsewhere, provider, back, valkey
):
    """The gateway serves without it, and uses it when it comes."""
    async with faulty(valkey.port) as network:
        network.refuse()
        url = f"redis://127.0.0.1:{network.port}"
        async with keeping(url, provider, back, tmp_path) as stage:
            await is_served(stage)
            assert not stage.server.conditions()["store"]

            await network.start()
            await shares_again(stage, url, provider, back, elsewhere)


async def test_a_store_that_lags(tmp_path, provider, back, valkey):
    """Beyond 50 ms it is not waited for."""
    async with faulty(valkey.port) as network:
        network.latency = 0.2
        url = f"redis://127.0.0.1:{network.port}"
        async with keeping(url, provider, back, tmp_path) as stage:
            assert max([await is_served(stage) for _ in range(20)]) < SOON


@pytest.mark.alone
@pytest.mark.parametrize("cut", Cut)
async def test_a_store_that_is_cut_off_after_any_byte(
    tmp_path, elsewhere, provider, back, valkey, cut
):
    """A miss; whoever is served is served as himself."""
    async with faulty(valkey.port) as network:
        url = f"redis://127.0.0.1:{network.port}"
        async with (
            keeping(valkey.url, provider, back, elsewhere) as other,
            keeping(url, provider, back, tmp_path) as stage,
        ):
            network.cut = cut
            for size in (0, 1, 3, 40, 200, 300, 400, 500, 600):
                network.cut_at = size
                network.reset_all()
                # The store rests for a second after a failure: do without the rest.
                stage.app.store._rests_until = 0.0  # type: ignore[attr-defined]
                for number in range(3):
                    token = f"T-{cut.name}-{size}-{number}"
                    await is_served(other, token)
                    assert await is_served(stage, token) < SOON


async def test_no_answer_of_the_store_reaches_another(
    tmp_path, elsewhere, provider, back, valkey
):
    """Clients leave while the store lags: every later answer is its asker's own."""
    async with faulty(valkey.port) as network:
        url = f"redis://127.0.0.1:{network.port}"
        async with (
            keeping(valkey.url, provider, back, elsewhere) as other,
            keeping(url, provider, back, tmp_path) as stage,
        ):
            for number in range(60):
                token = f"T-mine-{number}"
                await is_served(other, token)
                # From well in time to well beyond the deadline.
                network.latency = number / 1000
                client = await stage.connect()
                await client.send(request("GET", "/api/x", token=f"T-left-{number}"))
                await asyncio.sleep(number % 7 / 100)
                client.writer.transport.abort()
                await is_served(stage, token)
                if number % 10 == 9:
                    network.flow()
                    stage.app.store._rests_until = 0.0  # type: ignore[attr-defined]
            await eventually(lambda: stage.quiet)
            assert hits(stage) > 3


async def test_marks_are_heard_of_after_any_number_of_resets(
    tmp_path, elsewhere, provider, back, valkey
):
    """While a connection idles, too: uvloop has an error of its own for that."""
    async with faulty(valkey.port) as network:
        url = f"redis://127.0.0.1:{network.port}"
        async with (
            keeping(valkey.url, provider, back, elsewhere) as other,
            keeping(url, provider, back, tmp_path) as stage,
        ):
            for number in range(40):
                await asyncio.sleep(number / 2000)
                network.reset_all()
            token = "T-revoked-elsewhere"
            assert await is_served(stage, token) < SOON
            await other.app.marks.add(other.app.marks.mark_token("idp", token))

            await eventually(
                lambda: stage.app.marks.covers("idp", token, None), within=5
            )
