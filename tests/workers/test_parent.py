import asyncio
import json
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme

from gateway.app import registry
from gateway.config.addresses import Address
from gateway.config.source import Source
from gateway.errors import ConfigError, GatewayError
from gateway.server import CannotListen
from gateway.tasks import running, spawn
from gateway.values import Mark, MarkKind
from gateway.workers.link import Keep, Look
from gateway.workers.parent import Parent, bind, command, look_after
from gateway.workers.post import Pace
from tests.stores.servers import serving
from tests.wire.pki import Pki
from tests.wired import ADMIN_TOKEN, SIGNED, EventLog, configured, listening

HAND = Path(__file__).parent / "hand.py"
QUICK = Pace(look=0.05, leave=2, well=0, first_rest=0.2)
BEARER = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
MORE = f"""
workers: 2
drain: {{deadline: 2s}}
providers: {{p: {{{SIGNED}}}}}
"""


SHARED: list[str] = []
"""Where the marks are, as a line of configuration."""


@pytest.fixture(scope="module", autouse=True)
def store():
    """The store that all processes share: without it there is no revocation."""
    with serving("valkey") as server:
        SHARED[:] = [f'store: {{url: "{server.url}"}}\n']
        yield


@asynccontextmanager
async def parent(
    folder: Path, manner: str = "good", listen: str | None = None
) -> AsyncIterator[Parent]:
    """Make a parent of workers that do as they are told; it is closed in any case."""
    log = EventLog(folder / "events.log")
    parent = Parent(
        configured((listen or listening()) + SHARED[0] + MORE),
        log=log.log,
        command=(sys.executable, str(HAND), manner, str(folder)),
        pace=QUICK,
    )
    try:
        yield parent
    finally:
        async with asyncio.timeout(20):
            await parent.close()
        assert all(task.done() for task in running())
        log.events()


def pids(folder: Path) -> list[int]:
    """Give the workers so far."""
    lines = (folder / "lives").read_text().splitlines()
    return [int(line.split()[0]) for line in lines]


def heard(folder: Path, word: str) -> int:
    """Count what workers were told that begins so."""
    return (folder / "heard").read_text().count(f"{word}(")


def events(folder: Path) -> list[dict[str, Any]]:
    """Read the log of a parent that is closed."""
    lines = (folder / "events.log").read_text().splitlines()
    return [json.loads(line) for line in lines]


async def told(parent: Parent, name: str, path: str, **options: Any) -> tuple[int, str]:
    """Ask one of the parent's own listeners; gives the status and the text."""
    url = f"http://{parent.addresses[name]}{path}"
    method = "POST" if "json" in options else "GET"
    async with (
        aiohttp.ClientSession() as http,
        http.request(method, url, **options) as answer,
    ):
        return answer.status, await answer.text()


async def greeted(parent: Parent) -> int:
    """Connect, and hear which worker it is."""
    reader, writer = await asyncio.open_connection(*parent.addresses["proxy"])
    try:
        return int(await reader.read())
    finally:
        writer.close()


async def test_all_workers_serve_at_one_port(tmp_path):
    """And the kernel spreads connections over them; the log tells the port."""
    async with parent(tmp_path) as p:
        await p.start()
        met = {await greeted(p) for _ in range(60)}
        ready, text = await told(p, "status", "/readyz?verbose")

    assert set(pids(tmp_path)) == met
    assert 200 == ready
    assert "[+] worker 1\n[+] worker 2\n" in text
    listened = next(each for each in events(tmp_path) if each["event"] == "listening")
    assert str(p.addresses["proxy"]) == listened["proxy"]


async def test_it_is_not_ready_before_all_have_served_nor_without_any(tmp_path):
    """Alive it is all the time."""
    async with parent(tmp_path) as p:
        starting = spawn(p.start(), name="start")
        while "status" not in p.addresses:  # noqa: ASYNC110 -- it has no event
            await asyncio.sleep(0)
        before = (await told(p, "status", "/readyz"))[0]
        await starting
        for post in p._posts:
            post.serving = False
        without = [
            (await told(p, "status", f"/{path}"))[0] for path in ("readyz", "livez")
        ]

    assert (503, [503, 200]) == (before, without)


async def test_it_stays_ready_while_one_worker_is_succeeded(tmp_path):
    """The others serve; a probe that failed would take them away as well."""
    async with parent(tmp_path) as p:
        await p.start()
        os.kill(pids(tmp_path)[0], signal.SIGKILL)
        seen = set()
        async with asyncio.timeout(20):
            while len(pids(tmp_path)) < 3 or not all(p.conditions().values()):
                seen.add((await told(p, "status", "/readyz"))[0])
        met = {await greeted(p) for _ in range(60)}

    assert {200} == seen
    assert set(pids(tmp_path)[1:]) == met


@pytest.mark.parametrize("name", ["proxy", "status", "admin"])
async def test_a_busy_port_is_told_as_one(tmp_path, name):
    """Also to a second gateway with workers: two would share it and nobody know."""
    with bind(Address("127.0.0.1", 0)) as taken:
        taken.listen()
        listen = listening(**{name: taken.getsockname()[1]})
        async with parent(tmp_path, listen=listen) as p:
            with pytest.raises(CannotListen, match=f"^listen.{name}: .* is in use"):
                await p.start()

    assert not (tmp_path / "lives").exists()


@pytest.mark.parametrize(
    ("manner", "kind", "words"),
    [
        ("refuse", ConfigError, "expected better"),
        ("die", GatewayError, "did not start"),
    ],
)
async def test_workers_that_cannot_start_end_it(tmp_path, manner, kind, words):
    """With the reason; whoever started the gateway decides what then."""
    async with parent(tmp_path, manner) as p:
        with pytest.raises(kind, match=words):
            await p.start()


async def test_a_revocation_reaches_all_workers(tmp_path):
    """By the admin listener, which is the parent's."""
    async with parent(tmp_path) as p:
        await p.start()
        body = {"provider": "p", "subject": "ada"}
        status, _ = await told(
            p, "admin", "/api/revocations", json=body, headers=BEARER
        )
        os.kill(pids(tmp_path)[0], signal.SIGKILL)
        async with asyncio.timeout(20):
            while heard(tmp_path, "Open") < 3:  # noqa: ASYNC110 -- a process
                await asyncio.sleep(0.01)
        opened = (tmp_path / "heard").read_text().splitlines()

    assert 201 == status
    assert 2 == heard(tmp_path, "Keep")
    # The successor of one that died has it before it lets anybody in.
    assert "ada" in next(line for line in reversed(opened) if line.startswith("Open("))


async def test_operators_come_to_the_parent_by_tls(tmp_path):
    """By a certificate of their own; what it counts of them is among the metrics."""
    pki = Pki(tmp_path)
    files = f"certificate: {pki.certificate}, key: {pki.key}, client_ca: {pki.ca}"
    listen = f"{listening()}\nadmin: {{tls: {{{files}}}}}\n"
    context = pki.client()
    context.load_cert_chain(pki.show("ada"))
    async with parent(tmp_path, listen=listen) as p, aiohttp.ClientSession() as http:
        await p.start()
        url = f"https://localhost:{p.addresses['admin'].port}/api/revocations"
        body = {"provider": "p", "subject": "eve"}
        async with http.post(url, json=body, ssl=context) as answer:
            assert 201 == answer.status
        value = p._scraper.own.get_sample_value
        refused = value("gateway_admin_refused_total", {"reason": "handshake"})
        well = value("gateway_tls_last_reload_successful", {"listener": "admin"})

    assert 2 == heard(tmp_path, "Keep")
    assert (0, 1) == (refused, well)
    [audited] = [each for each in events(tmp_path) if each["event"] == "audit"]
    assert ("revoke", "ada") == (audited["action"], audited["certificate"])


async def test_a_worker_may_tell_of_marks_and_of_nothing_else(tmp_path):
    """It is not the parent of its parent."""
    mark = Mark(
        kind=MarkKind.TOKEN_ID, provider="p", name="j", moment=1, expires_at=9e9
    )
    async with parent(tmp_path) as p:
        await p.start()
        await p._hear(p._posts[0], Keep(mark))
        with pytest.raises(GatewayError):
            await p._hear(p._posts[0], Look())

    assert 1 == heard(tmp_path, "Keep")


async def test_a_second_stop_has_the_workers_hurry(tmp_path):
    """Each is told, though it has not answered the first."""
    async with parent(tmp_path) as p:
        await p.start()
        p.stop()
        p.stop()
        async with asyncio.timeout(10):
            while heard(tmp_path, "Drain") < 2:  # noqa: ASYNC110 -- a process
                await asyncio.sleep(0.01)
        told = (tmp_path / "heard").read_text()

    assert 2 == told.count("Drain(hurry=True)")


async def test_what_one_worker_finds_unwell_is_told(tmp_path):
    """The store is well if all say so."""
    async with parent(tmp_path) as p:
        await p.start()
        p._posts[0].conditions = {"store": True}
        p._posts[1].conditions = {"store": False}

        assert {"worker 1": True, "worker 2": True, "store": False} == p.conditions()


async def test_a_signal_ends_all_in_good_order(tmp_path):
    """Not ready, every worker drained, nobody left."""
    async with parent(tmp_path) as p:
        await p.start()
        life = spawn(p.serve(), name="serve")
        await asyncio.sleep(0)
        signal.raise_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            await life
        with socket.socket() as line:
            refused = line.connect_ex(tuple(p.addresses["proxy"]))

    assert 2 == heard(tmp_path, "Drain")
    assert refused
    assert "<Parent: draining, 0 workers>" == repr(p)
    assert {"draining", "stopped"} <= {each["event"] for each in events(tmp_path)}
    for pid in pids(tmp_path):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_the_end_resets_nobody_who_waits_at_a_dead_worker(tmp_path):
    """One more worker comes for them."""
    async with parent(tmp_path) as p:
        await p.start()
        dead = pids(tmp_path)[0]
        os.kill(dead, signal.SIGSTOP)
        waiting = asyncio.gather(*(greeted(p) for _ in range(40)))
        await asyncio.sleep(0.2)
        os.kill(dead, signal.SIGKILL)
        async with asyncio.timeout(10):
            while all(post.serving for post in p._posts):  # noqa: ASYNC110 -- a process
                await asyncio.sleep(0.001)
        await p.drain()
        greeters = set(await waiting)

    assert dead not in greeters
    assert 3 == len(pids(tmp_path))
    assert greeters == set(pids(tmp_path)) - {dead}


def test_a_worker_is_run_by_this_python():
    """And does not look for the gateway where it happens to be started."""
    assert sys.executable == command()[0]
    assert ("-m", "gateway.workers") == command()[-2:]


def test_a_socket_takes_nobody_before_somebody_listens():
    """A post that has no worker keeps nobody waiting; many may have the port."""
    with bind(Address("127.0.0.1", 0)) as one:
        place = Address(*one.getsockname())
        with bind(place), socket.socket() as client:
            assert client.connect_ex(tuple(place))
            one.listen()
            with pytest.raises(OSError, match="in use"):
                bind(place, alone=True)


async def test_a_busy_port_of_envoys_door_is_told_before_anybody_starts(tmp_path):
    """Every worker binds it by itself, and would share it with a stranger."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        listen = listening().rstrip().removesuffix("}") + f', authz_grpc: "{place}"}}\n'
        async with parent(tmp_path, listen=listen) as told:
            with pytest.raises(CannotListen, match=r"listen\.authz_grpc"):
                await told.start()


async def test_a_parent_that_cannot_even_be_made_has_written_its_log(tmp_path):
    """The store's certificates went away just now."""
    authority = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(authority))
    store = f'workers: 2\nstore: {{url: "rediss://h", ca_file: {authority}}}\n'
    loaded = configured(store)
    authority.unlink()
    root = logging.getLogger()  # noqa: TID251 -- it is taken over
    handlers, threads = root.handlers[:], threading.active_count()
    try:
        with pytest.raises(ConfigError, match="cannot be read any more"):
            await look_after(loaded, Source(tmp_path, registry(), {}))
    finally:
        root.handlers[:] = handlers

    assert threads == threading.active_count()
