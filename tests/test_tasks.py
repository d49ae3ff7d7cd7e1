"""Proves that background work cannot get lost, nor its crash."""

import asyncio
import contextlib
import gc
import weakref

import pytest

from gateway.tasks import keep_for_good, run_process, running, spawn, uncollected
from tests.wire.harness import turns


@pytest.fixture
async def crashes():
    """Collect what is told to the loop's exception handler."""
    told: list[dict[str, object]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: told.append(context))
    return told


async def test_work_that_nobody_holds_is_done(crashes):
    """The loop keeps weak references only; we keep the other one."""
    done = asyncio.Event()
    go = asyncio.Event()

    async def work() -> None:
        await go.wait()
        done.set()

    assert "careful" == spawn(work(), name="careful").get_name()
    await turns()
    gc.collect()
    assert ["careful"] == [task.get_name() for task in running()]
    go.set()
    await done.wait()
    await turns()

    assert not running()
    assert not crashes


async def test_a_crash_is_reported_by_name(crashes):
    """Once, with the exception, to whoever listens to the loop."""

    async def work() -> None:
        raise LookupError

    task = spawn(work(), name="careless")
    await turns()
    (context,) = crashes

    assert "task careless crashed" == context["message"]
    assert isinstance(context["exception"], LookupError)
    assert task is context["task"]
    assert not running()


async def test_a_cancellation_is_no_crash(crashes):
    """Somebody wanted it."""
    task = spawn(asyncio.sleep(60), name="idle")
    await turns()
    task.cancel()
    await turns()

    assert task.cancelled()
    assert not running()
    assert not crashes


def test_a_process_runs_on_the_fast_loop_where_there_is_one():
    """And its work to the end."""
    told: list[str] = []

    async def work() -> None:
        await asyncio.sleep(0)
        told.append(type(asyncio.get_running_loop()).__module__)

    run_process(work())

    uvloop = pytest.importorskip("uvloop")
    assert [uvloop.Loop.__module__.partition(".")[0]] == [
        each.partition(".")[0] for each in told
    ]


def test_what_lasts_is_looked_at_no_more_until_much_is_made():
    """And nothing that was garbage by then is kept."""

    class Cycle:
        def __init__(self) -> None:
            self.me = self

    garbage = weakref.ref(Cycle())

    keep_for_good()
    kept = gc.get_freeze_count()
    with uncollected():
        seen_again = not gc.get_freeze_count()

    assert garbage() is None
    assert kept > 1000
    assert seen_again


def test_the_collector_rests_for_a_while_and_works_again():
    """Also after a failure; where it did not work before, it does not after."""
    assert gc.isenabled()
    with contextlib.suppress(ValueError), uncollected():
        rested = not gc.isenabled()
        raise ValueError
    after = gc.isenabled()
    gc.disable()
    with uncollected():
        pass
    left_alone = not gc.isenabled()
    gc.enable()

    assert rested
    assert after
    assert left_alone
