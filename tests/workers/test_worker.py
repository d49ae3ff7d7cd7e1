import asyncio
import fcntl
import json
import logging
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from gateway.config.addresses import Address
from gateway.errors import ConfigError, GatewayError, StoreUnavailable
from gateway.tasks import running, spawn
from gateway.values import Mark, MarkKind
from gateway.workers.link import (
    Build,
    Drain,
    Expiry,
    Explain,
    Keep,
    Lift,
    Link,
    Look,
    Open,
    Question,
    Scrape,
)
from gateway.workers.metrics import Family
from gateway.workers.parent import bind
from gateway.workers.worker import Worker
from tests.wired import SIGNED, configured, listening, token

CONFIG = f"""
{listening()}
providers: {{p: {{{SIGNED}}}}}
upstreams: {{api: {{targets: ["http://127.0.0.1:9"]}}}}
routes:
  - {{id: song, match: {{path: /song}}, provider: p, upstream: api}}
drain: {{deadline: 5s}}
"""


def subject(name: str) -> Mark:
    """Make a mark that ends all tokens of somebody."""
    return Mark(
        kind=MarkKind.SUBJECT, provider="p", name=name, moment=9e9, expires_at=9e9
    )


class Mother:
    """The parent's end of the link."""

    worker: Worker

    def __init__(self, end: socket.socket) -> None:
        self.heard: list[Question] = []
        self.refuses = False
        self.link = Link(end, self._hear)

    async def _hear(self, question: Question) -> None:
        self.heard.append(question)
        if self.refuses:
            raise StoreUnavailable("not everywhere")

    async def build(self, text: str = CONFIG) -> None:
        """Have the worker make everything that serves a configuration."""
        loaded = configured(text)
        await self.link.tell(Build(loaded.document, str(loaded.base)), 10)


@pytest.fixture(autouse=True)
def _own_root_logger():
    root = logging.getLogger()  # noqa: TID251 -- the worker takes it over
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def door():
    """A socket that a parent has bound."""
    with bind(Address("127.0.0.1", 0)) as door:
        yield door


@asynccontextmanager
async def hired(door: socket.socket) -> AsyncIterator[Mother]:
    """Let a worker live in this process; it must come to its end by itself."""
    here, there = socket.socketpair()
    mother = Mother(here)
    mother.worker = Worker(there, {"proxy": door.dup()}, 3)
    await mother.link.open()
    lives = [
        spawn(mother.link.listen(), name="mother"),
        spawn(mother.worker.live(), name="worker"),
    ]
    try:
        yield mother
    finally:
        mother.link.close()
        async with asyncio.timeout(10):
            await asyncio.gather(*lives)
        asyncio.get_running_loop().set_exception_handler(None)
        assert all(task.done() for task in running())


async def status(door: socket.socket, bearer: str) -> int:
    """Ask for the song; gives the status."""
    reader, writer = await asyncio.open_connection(*door.getsockname())
    head = f"GET /song HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {bearer}\r\n"
    writer.write(f"{head}Connection: close\r\n\r\n".encode())
    try:
        return int((await reader.read()).split(b" ", 2)[1])
    finally:
        writer.close()


async def test_a_worker_lets_nobody_in_before_it_is_told_to(door):
    """Its configuration first, then the marks, then the door."""
    async with hired(door) as mother:
        with pytest.raises(GatewayError, match="configuration first"):
            await mother.link.tell(Open(()), 5)
        await mother.build()
        with pytest.raises(ConnectionRefusedError):
            await status(door, token())
        await mother.link.tell(Open((subject("ada"),)), 5)

        assert 401 == await status(door, token())
        assert 502 == await status(door, token(sub="bob"))


async def test_a_configuration_that_does_not_hold_any_more_is_told(door):
    """In the words of a configuration's problems."""
    async with hired(door) as mother:
        with pytest.raises(ConfigError) as caught:
            await mother.link.tell(Build({"version": 2}, "."), 5)

    assert any(line.startswith("version: ") for line in caught.value.problems)


async def test_a_crash_of_the_first_build_is_written_before_the_end(door):
    """Though nobody reads the output of this process just now."""
    here, there = socket.socketpair()
    reading, writing = os.pipe()
    full = b"\n" * fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    os.write(writing, full)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway.workers", "--number=3"),
        *(f"--link={there.fileno()}", f"--proxy={door.fileno()}"),
        pass_fds=[there.fileno(), door.fileno()],
        stderr=writing,
    )
    os.close(writing)
    there.close()
    mother = Mother(here)
    await mother.link.open()
    listening = spawn(mother.link.listen(), name="mother")
    document = configured(CONFIG).document
    assert isinstance(document, dict)
    routes = document["routes"]
    assert isinstance(routes, list)
    # What the parent would have refused: a worker looks no closer than it must.
    twice = {**document, "routes": routes * 2}
    with pytest.raises(GatewayError, match="it crashed; its log tells where"):
        await mother.link.tell(Build(twice, "."), 10)
    mother.link.close()
    with suppress(TimeoutError):
        async with asyncio.timeout(0.5):
            await process.wait()
    with open(reading, "rb") as lines:  # noqa: ASYNC230, PTH123 -- a pipe, and not empty
        told = lines.read().removeprefix(full)
    await asyncio.gather(listening, process.wait())

    line = json.loads(told)
    assert ("crash", 3, "ValueError") == (line["event"], line["worker"], line["error"])


async def test_marks_that_the_parent_tells_are_in_force_until_lifted(door):
    """From the moment it has confirmed them."""
    async with hired(door) as mother:
        await mother.build()
        await mother.link.tell(Open(()), 5)
        seen = [await status(door, token())]
        await mother.link.tell(Keep(subject("ada"), token()), 5)
        seen.append(await status(door, token()))
        await mother.link.tell(Lift(MarkKind.SUBJECT, "p", "ada"), 5)
        seen.append(await status(door, token()))

    assert [502, 401, 502] == seen
    assert [] == mother.heard


async def test_what_a_parent_asks_for(door):
    """Explanations, ends of tokens, metrics, and how it is."""
    known = token(exp=4_000_000_000)
    async with hired(door) as mother:
        link = mother.link
        await mother.build()
        await link.tell(Open(()), 5)
        explain = Explain("GET", "http://h/song", {}, known)
        explained = await link.ask(explain, dict[str, Any], 5)
        ends = await link.ask(Expiry("p", known), tuple[float | None], 5)
        unknown = await link.ask(Expiry("p", token()), tuple[float | None], 5)
        families = await link.ask(Scrape(), list[Family], 5)
        well = await link.ask(Look(), dict[str, bool], 5)

    assert ("song", "allow") == (explained["route"]["id"], explained["decision"])
    assert ((4_000_000_000,), (None,)) == (ends, unknown)
    assert "gateway_cache_entries" in {family.name for family in families}
    assert {"store": True} == well


async def test_a_drained_worker_has_closed_its_door(door):
    """Once the parent lets go of it too, nobody is there; and asking again is safe."""
    async with hired(door) as mother:
        await mother.build()
        await mother.link.tell(Open(()), 5)
        place = door.getsockname()
        door.close()
        await mother.link.tell(Drain(), 5)
        await mother.link.tell(Drain(), 5)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*place)


async def test_a_hurried_end_waits_for_nobody(door):
    """The deadline is five seconds, and somebody is half-way through a request."""
    async with hired(door) as mother:
        await mother.build()
        await mother.link.tell(Open(()), 5)
        _, writer = await asyncio.open_connection(*door.getsockname())
        writer.write(b"GET /song HTTP/1.1\r\n")
        draining = spawn(mother.link.tell(Drain(), 10), name="drain")
        await mother.link.tell(Drain(hurry=True), 5)
        async with asyncio.timeout(2):
            await draining
        writer.close()


async def test_an_orphan_ends_in_good_order(door, capfd):
    """Nobody told it to: the parent is gone."""
    async with hired(door) as mother:
        await mother.build()
        await mother.link.tell(Open(()), 5)

    told = capfd.readouterr().err
    assert '"event":"parent_lost","worker":3' in told
    assert '"event":"stopped","worker":3' in told


async def test_a_mark_that_cannot_be_told_is_not_done(door):
    """Neither when the parent says so, nor when it says nothing any more."""
    async with hired(door) as mother:
        await mother.build()
        await mother.worker._spread(subject("ada"))
        mother.refuses = True
        with pytest.raises(StoreUnavailable):
            await mother.worker._spread(subject("ada"))
        mother.link.close()
        await asyncio.sleep(0.05)
        with pytest.raises(StoreUnavailable):
            await mother.worker._spread(subject("ada"))

    assert [Keep(subject("ada"))] * 2 == mother.heard
