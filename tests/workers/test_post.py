import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.app import SystemClock
from gateway.config.addresses import Address
from gateway.errors import ConfigError, GatewayError
from gateway.tasks import running, spawn
from gateway.values import Mark, MarkKind
from gateway.workers.link import Build
from gateway.workers.metrics import Snapshot
from gateway.workers.parent import bind
from gateway.workers.post import House, Pace, Post
from tests.wired import EventLog

HAND = Path(__file__).parent / "hand.py"
QUICK = Pace(
    start=20, look=0.05, hung=0.3, leave=2, well=60, first_rest=0.2, longest_rest=0.4
)
MARK = Mark(kind=MarkKind.SUBJECT, provider="p", name="ada", moment=1.0, expires_at=9.0)

BUILD = Build({"version": 1}, "/etc")


class Street:
    """A post, and what happens around it."""

    def __init__(self, manner: str, folder: Path, pace: Pace) -> None:
        self.folder = folder
        self.log = EventLog(folder / "events.log")
        self.left: list[Snapshot] = []
        door = bind(Address("127.0.0.1", 0))
        self.place = Address(*door.getsockname())
        self.house = House(
            command=(sys.executable, str(HAND), manner, str(folder)),
            build=lambda: BUILD,
            marks=lambda: (MARK,),
            hear=self._hear,
            bind=lambda: {"proxy": bind(self.place)},
            left=self.left.append,
            log=self.log.log,
            clock=SystemClock(),
            pace=pace,
        )
        self.post = Post(1, {"proxy": door}, self.house)

    async def _hear(self, post: Post, question: object) -> None:
        raise GatewayError("nobody asks here")

    def lives(self) -> list[tuple[int, float]]:
        """Tell the number and birth of every worker so far."""
        path = self.folder / "lives"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(int(pid), float(born)) for pid, born in map(str.split, lines)]

    async def serves(self) -> None:
        """Wait until a worker serves."""
        async with asyncio.timeout(20):
            while not self.post.serving:  # noqa: ASYNC110 -- another process is at work
                await asyncio.sleep(0.01)


@asynccontextmanager
async def street(
    manner: str, folder: Path, pace: Pace = QUICK
) -> AsyncIterator[Street]:
    """Hold a post, and give it up in the end."""
    street = Street(manner, folder, pace)
    holding = spawn(street.post.hold(), name="hold")
    try:
        yield street
    finally:
        street.post.close_door()
        street.post.kill()
        async with asyncio.timeout(20):
            await holding
        assert all(task.done() for task in running())
        street.log.events()


def events(folder: Path, name: str) -> list[dict[str, Any]]:
    """Read the events of one kind once the street is closed."""
    lines = (folder / "events.log").read_text().splitlines()
    return [each for each in map(json.loads, lines) if each["event"] == name]


async def greeting(line: socket.socket) -> int:
    """Hear which process is at the other end."""
    reader, writer = await asyncio.open_connection(sock=line)
    try:
        async with asyncio.timeout(20):
            return int(await reader.read())
    finally:
        writer.close()


async def test_a_worker_is_told_the_configuration_and_then_the_marks(tmp_path):
    """And serves by the socket of its post."""
    async with street("good", tmp_path) as s:
        await s.post.started
        pid = await greeting(socket.create_connection(s.place))
        conditions = s.post.conditions
        heard = (tmp_path / "heard").read_text().splitlines()

    assert [(pid, pid)] == [(pid, life[0]) for life in s.lives()]
    assert [f"{Build({'version': 1}, '/etc')}", f"Open(marks=({MARK},))"] == heard[:2]
    assert conditions in ({}, {"store": True})
    assert pid == events(tmp_path, "worker_serving")[0]["pid"]


async def test_a_successor_serves_those_who_wait_in_the_queue(tmp_path):
    """Their connections are in the socket, which outlives its worker."""
    async with street("good", tmp_path) as s:
        await s.post.started
        pid = s.lives()[0][0]
        os.kill(pid, signal.SIGSTOP)
        waiting = [socket.create_connection(s.place) for _ in range(5)]
        os.kill(pid, signal.SIGKILL)
        greeted = await asyncio.gather(*map(greeting, waiting))

    assert {s.lives()[1][0]} == set(greeted)
    assert pid not in greeted
    ended = events(tmp_path, "worker_ended")[0]
    assert (-9, 0) == (ended["code"], ended["rest"])


async def test_who_fails_again_and_again_rests_in_between(tmp_path):
    """Longer each time, up to a limit; nobody is left to wait in its queue."""
    async with street("second", tmp_path) as s:
        await s.post.started
        os.kill(s.lives()[0][0], signal.SIGKILL)
        async with asyncio.timeout(20):
            while len(s.lives()) < 5:  # noqa: ASYNC110 -- another process is at work
                await asyncio.sleep(0.02)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*s.place)
        restarts = s.post.restarts

    rests = [each["rest"] for each in events(tmp_path, "worker_ended")]
    assert [0, 0.2, 0.4, 0.4] == rests[:4]
    assert 4 <= restarts <= 5
    # The first life ended as soon as it served; from there on the rests tell.
    births = [born for _, born in s.lives()]
    assert all(
        b - a >= r for a, b, r in zip(births[1:], births[2:], rests[1:], strict=False)
    )


async def test_who_served_well_has_earned_a_quick_successor(tmp_path):
    """However often that happens."""
    pace = Pace(look=0.05, well=0.0, first_rest=60)
    async with street("good", tmp_path, pace) as s:
        for _ in range(3):
            await s.serves()
            os.kill(s.lives()[-1][0], signal.SIGKILL)
            async with asyncio.timeout(5):
                while s.post.serving:  # noqa: ASYNC110 -- another process is at work
                    await asyncio.sleep(0.01)
        await s.serves()

    assert [0, 0, 0] == [each["rest"] for each in events(tmp_path, "worker_ended")][:3]


async def test_a_hung_worker_is_killed_and_succeeded(tmp_path):
    """Nothing else would notice: its parent answers the probes."""
    async with street("hang", tmp_path) as s:
        await s.post.started
        async with asyncio.timeout(20):
            while len(s.lives()) < 2:  # noqa: ASYNC110 -- another process is at work
                await asyncio.sleep(0.02)

    assert events(tmp_path, "worker_hung")
    assert -9 == events(tmp_path, "worker_ended")[0]["code"]


@pytest.mark.parametrize(
    ("manner", "kind", "words"),
    [
        ("refuse", ConfigError, "a.yaml:3: expected better"),
        ("die", GatewayError, "worker 1 did not start"),
    ],
)
async def test_a_first_worker_that_cannot_start_is_an_error(
    tmp_path, manner, kind, words
):
    """Told to whoever starts the gateway; nobody tries again."""
    async with street(manner, tmp_path) as s:
        with pytest.raises(kind, match=words):
            await s.post.started

    assert 1 == len(s.lives())


async def test_a_first_worker_that_cannot_start_has_said_all_when_it_is_told(tmp_path):
    """Whoever starts the gateway ends it then, and kills what is left of it."""
    async with street("refuse", tmp_path) as s:
        with pytest.raises(ConfigError):
            await s.post.started

        assert (tmp_path / "left").exists()


async def test_where_no_process_is_to_be_had_it_is_tried_again(tmp_path):
    """The system may be short of memory for a while."""
    async with street("good", tmp_path) as s:
        await s.post.started
        command = s.house.command
        msgspec.structs.force_setattr(s.house, "command", ("/no/such/program",))
        os.kill(s.lives()[0][0], signal.SIGKILL)
        async with asyncio.timeout(20):
            while s.post.restarts < 3:  # noqa: ASYNC110 -- it has no event
                await asyncio.sleep(0.01)
        msgspec.structs.force_setattr(s.house, "command", command)
        await s.serves()

    failed = events(tmp_path, "worker_failed")
    assert "no process to be had: No such file or directory" == failed[0]["error"]


async def test_a_drained_worker_has_no_successor(tmp_path):
    """It ended because it was asked to: exit code 0, and nothing to tell."""
    async with street("good", tmp_path) as s:
        await s.post.started
        s.post.close_door()
        await s.post.drain(5)
        await s.post.hurry()

    assert 1 == len(s.lives())
    assert [] == events(tmp_path, "worker_ended")
    assert "<Post 1: empty, 0 restarts>" == repr(s.post)


async def test_those_who_wait_at_an_empty_post_are_served_before_the_end(tmp_path):
    """By one more worker, who need not rest first; nobody is reset."""
    slow = msgspec.structs.replace(QUICK, first_rest=60, longest_rest=60)
    async with street("good", tmp_path, slow) as s:
        await s.post.started
        # The second time, the post rests.
        os.kill(s.lives()[0][0], signal.SIGKILL)
        await left(s, 1)
        await s.serves()
        assert not s.post.wanted
        os.kill(s.lives()[1][0], signal.SIGSTOP)
        waiting = [socket.create_connection(s.place) for _ in range(3)]
        os.kill(s.lives()[1][0], signal.SIGKILL)
        await left(s, 2)
        assert s.post.wanted
        relieving = spawn(s.post.relieve(20), name="relieve")
        greeted = await asyncio.gather(*map(greeting, waiting))
        await relieving
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*s.place)

    assert {s.lives()[2][0]} == set(greeted)
    assert 3 == len(s.lives())


async def test_an_empty_post_where_nobody_waits_is_left_empty(tmp_path):
    """And one whose door is closed."""
    slow = msgspec.structs.replace(QUICK, first_rest=60, longest_rest=60)
    async with street("good", tmp_path, slow) as s:
        await s.post.started
        for number in (1, 2):
            await s.serves()
            os.kill(s.lives()[-1][0], signal.SIGKILL)
            await left(s, number)
        assert not s.post.wanted
        s.post.close_door()
        assert not s.post.wanted


async def left(street: Street, times: int) -> None:
    """Wait until so many workers are gone."""
    async with asyncio.timeout(20):
        while len(street.left) < times:  # noqa: ASYNC110 -- another process is at work
            await asyncio.sleep(0.01)


def test_rests_grow_up_to_a_limit():
    """The first is none: most workers that die once do not die twice."""
    pace = Pace()

    assert [0, 0, 0.25, 0.5, 1, 2, 4, 8, 15, 15] == list(map(pace.rest, range(10)))
    assert 15 == pace.rest(10_000)
