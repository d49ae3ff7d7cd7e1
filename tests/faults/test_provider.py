"""A provider that hangs, breaks or vanishes: 503 and *later*, for those it concerns.

Whoever is known is served as ever; whoever is not waits no longer than the deadline
(0.5 s), and together they ask once.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.faults.back import Back
from tests.faults.proxy import Cut, FaultProxy, faulty
from tests.faults.stage import Stage, configuration, eventually, request, staged
from tests.fronts.house import Told
from tests.wired import Issuer

ASKING = 0.5
LATEST = 1.5


@asynccontextmanager
async def through(
    provider: Issuer, back: Back, folder: Path
) -> AsyncIterator[tuple[Stage, FaultProxy]]:
    """Run a gateway that reaches a good provider over a bad network."""
    port = provider.server.port
    assert port is not None
    async with faulty(port) as network:
        url = provider.url.replace(f":{port}/", f":{network.port}/")
        text = configuration(back=back.port, provider=url, asking=ASKING)
        async with staged(text, folder) as stage:
            yield stage, network


@pytest.fixture
async def far(tmp_path, provider, back):
    """A gateway whose provider is far away, and the network in between."""
    async with through(provider, back, tmp_path) as far:
        yield far


async def asked(stage: Stage, token: str) -> Told:
    """Ask with a token; what is answered is answered to its owner."""
    told = await stage.ask("GET", "/api/x", token=token)
    assert told.status != 200 or told.value(b"for") == token.encode()
    return told


def is_an_outage(told: Told) -> bool:
    """503 with a time to come back, and not a word against the token."""
    assert 503 == told.status
    assert 1 <= int(told.value(b"retry-after") or 0) <= 10
    assert told.value(b"www-authenticate") is None
    return True


async def test_a_hung_provider(far, provider):
    """One question for all who ask the same; the known are served meanwhile."""
    stage, network = far
    assert 200 == (await asked(stage, "T-known")).status
    network.stall()
    begun = time.monotonic()
    waiting = asyncio.gather(*(asked(stage, "T-new") for _ in range(20)))
    await eventually(lambda: stage.app.reception.in_flight == 20)
    for _ in range(20):
        assert 200 == (await asked(stage, "T-known")).status
    assert time.monotonic() - begun < ASKING

    assert all(is_an_outage(told) for told in await waiting)
    assert ASKING <= time.monotonic() - begun < LATEST
    asked_once = stage.metric(
        "idp_requests_total", provider="idp", endpoint="introspect", code="timeout"
    )
    assert 1 == asked_once

    network.flow()
    assert 200 == (await asked(stage, "T-new")).status


async def test_a_leader_that_leaves_a_hung_provider(far, provider):
    """Those who asked after it have their answer from the same question."""
    stage, network = far
    network.latency = 0.1
    leader = await stage.connect()
    await leader.send(request("GET", "/api/x", token="T-new"))
    await eventually(lambda: stage.app.reception.in_flight)
    followers = asyncio.gather(*(asked(stage, "T-new") for _ in range(5)))
    await eventually(lambda: stage.app.reception.in_flight == 6)
    leader.writer.transport.abort()

    assert {200} == {told.status for told in await followers}
    assert ["T-new"] == provider.asked


async def test_more_unknown_tokens_than_may_be_asked_about(far):
    """The queue is bounded: the rest are told at once, and the known are served."""
    stage, network = far
    assert 200 == (await asked(stage, "T-known")).status
    network.stall()
    begun = time.monotonic()
    flood = asyncio.gather(*(asked(stage, f"T-{n}") for n in range(400)))
    await eventually(lambda: stage.app.reception.in_flight > 100)

    assert 200 == (await asked(stage, "T-known")).status

    assert all(is_an_outage(told) for told in await flood)
    assert time.monotonic() - begun < 2 * LATEST
    network.flow()
    # After so many failures it is left alone for a moment.
    async with asyncio.timeout(4 * LATEST):
        while (await asked(stage, "T-0")).status != 200:  # noqa: ASYNC110 -- its clock
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("cut", [Cut.RESET, Cut.CLOSE, Cut.HALF_OPEN])
async def test_an_answer_that_is_cut_off_after_any_byte(far, cut):
    """An outage, or the whole answer: never *invalid*, and never anything else."""
    stage, network = far
    network.cut = cut
    # Half open, every byte costs the deadline: a few will do.
    step = 60 if cut is Cut.HALF_OPEN else 7
    seen = set()
    for size in range(0, 400, step):
        network.reset_all()
        network.cut_at = size
        told = await asked(stage, f"T-{size}")
        seen.add(told.status)
        assert told.status == 200 or is_an_outage(told)
        network.flow()
        assert 200 == (await asked(stage, f"T-{size}")).status

    assert {200, 503} == seen


async def test_a_provider_that_drips(far):
    """One deadline for the whole answer."""
    stage, network = far
    network.step, network.latency = 1, 0.02
    begun = time.monotonic()

    assert is_an_outage(await asked(stage, "T-new"))

    assert ASKING <= time.monotonic() - begun < LATEST


async def test_a_provider_that_refuses_and_comes_back(far):
    """503 at once, and 200 as soon as it listens again."""
    stage, network = far
    network.refuse()
    assert is_an_outage(await asked(stage, "T-new"))

    await network.start()

    assert 200 == (await asked(stage, "T-new")).status


async def test_a_provider_whose_connections_are_reset(far, provider):
    """While they idle: the question is put again on a fresh one."""
    stage, network = far
    for number in range(20):
        assert 200 == (await asked(stage, f"T-{number}")).status
        network.reset_all()

    assert 20 == len(provider.asked)


async def test_a_provider_that_vanished_costs_one_question(far):
    """A kept connection whose far side is gone without a word."""
    stage, network = far
    network.cut, network.cut_at = Cut.HALF_OPEN, 300
    number, told = 0, await asked(stage, "T-0")
    while told.status == 200:
        number += 1
        told = await asked(stage, f"T-{number}")
    assert is_an_outage(told)
    network.flow()

    assert 200 == (await asked(stage, f"T-{number}")).status
