"""Background work that cannot get lost. Floor 1.

The event loop keeps only weak references to tasks, so a task nobody holds may vanish
in mid-flight, and its exception with it. `spawn` holds the reference, names the task,
and hands a crash to the loop's exception handler, which `observe` turns into a log line.
"""

import asyncio
import contextlib
import gc
from collections.abc import Coroutine, Iterator
from typing import Any

_running: set[asyncio.Task[Any]] = set()


def run_process(work: Coroutine[Any, Any, None]) -> None:
    """Do all the work of this process, on uvloop where there is one."""
    runner = asyncio.run
    with contextlib.suppress(ImportError):
        import uvloop  # noqa: PLC0415 -- not on every platform

        runner = uvloop.run
    runner(work)


def spawn(work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
    """Run `work` in a task of its own; a crash is reported, never swallowed."""
    task = asyncio.get_running_loop().create_task(work, name=name)
    _running.add(task)
    task.add_done_callback(_finished)
    return task


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Let the cyclic garbage collector rest, for a second or so.

    While much is being made that will last, it looks through all of it again and again,
    and everybody waits for each time: a thread does not help. What `keep_for_good` put
    out of its sight, it sees again: some of that may not last.
    """
    was_enabled = gc.isenabled()
    gc.unfreeze()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def keep_for_good() -> None:
    """Have the collector look no more at what there is now, until the next reload.

    Else now and then it would look at all of it, which takes some milliseconds, or a
    tenth of a second with ten thousand routes, and nobody is served meanwhile.
    """
    gc.collect()
    gc.freeze()


def running() -> frozenset[asyncio.Task[Any]]:
    """Give the tasks that are still at work: tests and drains look here."""
    return frozenset(_running)


def _finished(task: asyncio.Task[None]) -> None:
    _running.discard(task)
    if task.cancelled() or (error := task.exception()) is None:
        return
    task.get_loop().call_exception_handler(
        {
            "message": f"task {task.get_name()} crashed",
            "exception": error,
            "task": task,
        }
    )
