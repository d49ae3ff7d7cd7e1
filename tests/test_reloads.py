import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.app import SystemClock
from gateway.config.load import Loaded
from gateway.config.model import Config
from gateway.config.source import Source
from gateway.errors import GatewayError
from gateway.plugins import registry
from gateway.reloads import Reloads
from tests.wired import FRAME, EventLog, listening, until

ROUTE = "{id: open, match: {path: /open}, access: public, upstream: api}"
TEXT = (
    f"{FRAME}{listening()}reload: {{watch: 10ms}}\n"
    f"upstreams: {{api: {{targets: ['http://127.0.0.1:9']}}}}\nroutes: [{ROUTE}]\n"
)


class Subject:
    """What configurations are put in force in."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.fails: Exception | None = None
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()
        self.begun = 0

    async def reload(self, loaded: Loaded) -> None:
        """Take it, or fail."""
        self.begun += 1
        await self.may_go_on.wait()
        if self.fails is not None:
            raise self.fails
        self.config = loaded.config


class Scene:
    """Reloads of a file, and what was told of them."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "gateway.yaml"
        self.path.write_text(TEXT)
        self.log = EventLog(folder / "events.log")
        self.counted: list[bool] = []
        source = Source(self.path, registry(), {})
        self.subject = Subject(source.load().config)
        self.reloads = Reloads(
            source,
            self.subject,
            log=self.log.log,
            clock=SystemClock(),
            counts=self,
            idle=0.01,
            retry=0.05,
        )

    def write(self, old: str, new: str) -> None:
        """Change the file."""
        self.path.write_text(self.path.read_text().replace(old, new))

    def reloaded(self, at: float | None) -> None:
        """Count one (`ReloadEvents`)."""
        self.counted.append(at is not None)


@asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[tuple[Scene, list[dict[str, Any]]]]:
    """Open a scene; its events are there once it is over."""
    events: list[dict[str, Any]] = []
    opened = await asyncio.to_thread(Scene, folder)
    try:
        yield opened, events
    finally:
        opened.reloads.close()
        events += await asyncio.to_thread(opened.log.events)


async def test_a_good_one_is_put_in_force_and_told(tmp_path):
    """To whoever asked, in the log and in the metrics: what changed, and what is now."""
    async with scene(tmp_path) as (here, events):
        start = here.reloads.last
        here.write("id: open", "id: opened")
        told = await here.reloads.reload("api")

    assert ("start", "") == (start.trigger, start.changes)
    assert (True, "api", "routes: +1 ~0 -1") == (told.ok, told.trigger, told.changes)
    assert start.version != told.version
    assert told is here.reloads.last
    assert "opened" == here.subject.config.routes[0].id
    (event,) = events
    assert ("config_reloaded", ["opened"], ["open"], told.version) == (
        event["event"],
        event["routes_added"],
        event["routes_removed"],
        event["version"],
    )
    assert [True] == here.counted


async def test_a_bad_one_changes_nothing_and_says_why(tmp_path):
    """Every problem with its line; the version is that of the one in force."""
    async with scene(tmp_path) as (here, events):
        before = here.reloads.last.version
        here.write("upstream: api", "upstream: apj")
        told = await here.reloads.reload("signal")

    (problem,) = told.problems
    assert f"{here.path}:" in problem
    assert "expected a known upstream" in problem
    assert (False, before, 0) == (told.ok, told.version, here.subject.begun)
    assert [False] == here.counted
    assert ["config_refused"] == [each["event"] for each in events]
    assert [problem] == events[0]["problems"]


async def test_a_listener_that_moved_needs_a_restart(tmp_path):
    """It is refused before anything is built."""
    async with scene(tmp_path) as (here, _):
        here.write("listen: {", "listen: {proxy_protocol: [10.0.0.0/8], ")
        told = await here.reloads.reload("signal")

    assert "listen.proxy_protocol: expected what it was" in told.problems[0]
    assert 0 == here.subject.begun


@pytest.mark.parametrize(
    ("failure", "why"),
    [
        (GatewayError("the store does not answer"), "the store does not answer"),
        (ValueError("T0KEN"), "it crashed; the log tells where"),
    ],
)
async def test_what_cannot_be_put_in_force_is_told_as_well(tmp_path, failure, why):
    """Also a fault of ours, of which no foreign text is told."""
    crashes: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: crashes.append(context)
    )
    async with scene(tmp_path) as (here, events):
        here.subject.fails = failure
        told = await here.reloads.reload("api")

    assert (False, (why,)) == (told.ok, told.problems)
    assert [why] == events[0]["problems"]
    assert len(crashes) == isinstance(failure, ValueError)


async def test_whoever_stops_waiting_stops_nothing(tmp_path):
    """A client of the admin API that goes away in the midst of it."""
    async with scene(tmp_path) as (here, _):
        here.subject.may_go_on.clear()
        here.write("id: open", "id: opened")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await here.reloads.reload("api")
        assert 1 == here.subject.begun
        here.subject.may_go_on.set()
        await here.reloads.reload("api")

    assert "opened" == here.subject.config.routes[0].id


async def test_there_is_one_at_a_time(tmp_path):
    """Whoever comes meanwhile waits for his turn."""
    async with scene(tmp_path) as (here, _):
        here.subject.may_go_on.clear()
        here.reloads.ask("signal")
        here.reloads.ask("signal")
        await until(lambda: here.subject.begun)
        await asyncio.sleep(0.05)
        begun = here.subject.begun
        here.subject.may_go_on.set()
        await here.reloads.reload("api")

    assert (1, 3) == (begun, here.subject.begun)


async def test_files_that_changed_are_taken_up(tmp_path):
    """And files that did not are left alone."""
    async with scene(tmp_path) as (here, events):
        here.reloads.watch()
        await asyncio.sleep(0.1)
        before = here.subject.begun
        here.write("id: open", "id: opened")
        await until(lambda: here.subject.config.routes[0].id == "opened")
        await asyncio.sleep(0.1)

    assert (0, 1) == (before, here.subject.begun)
    assert ["files"] == [each["trigger"] for each in events]


async def test_what_failed_for_other_reasons_is_tried_again_by_itself(
    tmp_path,
):
    """The store that did not answer may, later; the file will not change for that."""
    async with scene(tmp_path) as (here, events):
        here.reloads.watch()
        here.subject.fails = GatewayError("the store does not answer")
        await here.reloads.reload("api")
        here.subject.fails = None
        await until(lambda: here.reloads.last.ok)

    assert ["config_refused", "config_reloaded"] == [each["event"] for each in events][
        :2
    ]


async def test_a_watch_that_is_off_looks_at_nothing(tmp_path):
    """Until another reload, by signal, turns it on."""
    async with scene(tmp_path) as (here, _):
        here.write("watch: 10ms", "watch: 0s")
        await here.reloads.reload("signal")
        here.reloads.watch()
        here.write("id: open", "id: opened")
        await asyncio.sleep(0.1)
        off = here.subject.config.routes[0].id
        here.write("watch: 0s", "watch: 10ms")
        await here.reloads.reload("signal")
        here.write("id: opened", "id: again")
        await until(lambda: here.subject.config.routes[0].id == "again")

    assert "open" == off
