"""The client goes away at every moment there is, and nothing of it stays behind.

A moment is a turn of the event loop, a byte sent or a byte received. One scene is
played again and again on one gateway, and each time the client leaves a moment later,
until it has stayed to the end. Everything is real: sockets, upstream, provider, store.
"""

import asyncio
import itertools
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from gateway.provider_http import QUESTIONS_AT_ONCE
from gateway.stores.redis import CONNECTIONS
from gateway.tasks import spawn
from tests.faults.proxy import reset
from tests.faults.scenes import KNOWN, SCENES, Scene, World, opened, read_whole, say
from tests.faults.stage import eventually, request
from tests.stores.servers import serving
from tests.wire.harness import Client

# On the loop that serves; the reference, asyncio's, would double the minute it takes.
pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

DENSE = 120
"""So many turns are tried one by one; beyond, ever fewer: there something waits."""


@pytest.fixture(scope="module")
def valkey():
    """The store."""
    with serving("valkey") as server:
        yield server


@pytest.fixture(scope="module")
def hole():
    """A port where nobody takes a connection: its queue is full."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    port = listener.getsockname()[1]
    queued = []
    for _ in range(4):
        queued.append(socket.socket())
        queued[-1].setblocking(False)
        queued[-1].connect_ex(("127.0.0.1", port))
    yield port
    for each in (*queued, listener):
        each.close()


def store_clients(world: World) -> int:
    """Count the connections to the store."""
    return world.valkey.say("CLIENT", "LIST").count(b" laddr=")


@pytest.fixture
async def world(tmp_path, valkey, hole):
    """The world, as it was found at the end."""
    async with opened(tmp_path, valkey, hole) as world:
        yield world
        await eventually(lambda: not world.back.working)
        assert world.provider.connections <= QUESTIONS_AT_ONCE
        # And one more, that asks. Valkey notices an end a moment later.
        await eventually(lambda: store_clients(world) <= CONNECTIONS + 1)
        assert set(world.provider.asked) <= {KNOWN, *world.tokens}
        assert len(set(world.provider.asked)) == len(world.provider.asked)


# ------------------------------------------------------------------------- the ways


def finish(client: Client) -> None:
    """Go in an orderly way: FIN, and whatever comes is refused."""
    client.writer.transport.abort()


def crash(client: Client) -> None:
    """Go with a reset."""
    reset(client.writer)


def fall_silent(client: Client) -> None:
    """Say that nothing more will be said, and listen: a half-closed connection."""
    number = client.writer.get_extra_info("socket").fileno()
    with socket.socket(fileno=os.dup(number)) as twin, suppress(OSError):
        twin.shutdown(socket.SHUT_WR)


WAYS = {"fin": finish, "rst": crash, "half": fall_silent}


def turns() -> Iterator[int]:
    """Give the turns at which a client leaves: all of them, later ever fewer."""
    turn = 0
    while True:
        yield turn
        turn += max(1, turn - DENSE)


async def play(
    world: World, scene: Scene, leave: Callable[[Client], None], at: int
) -> bool:
    """Play a scene, and leave at a turn; True: it was over by then."""
    client, world.left = await world.stage.connect(), False
    playing = spawn(_played(scene, world, client), name="scene")
    for _ in range(at):
        await asyncio.sleep(0)
        if playing.done():
            break
    over = playing.done()
    if not over:
        world.left = True
        leave(client)
    async with asyncio.timeout(5):
        await playing
    client.writer.close()
    return over


async def _played(scene: Scene, world: World, client: Client) -> None:
    try:
        await scene(world, client)
    except (ConnectionError, asyncio.IncompleteReadError):
        if not world.left:
            raise


async def is_as_before(world: World) -> None:
    """Nothing is under way, nothing was told, and the next request is served."""
    world.back.drops = 0
    world.back.go.clear()
    await world.stage.rest()
    assert [] == world.stage.crashes
    await world.works()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("scene", SCENES)
async def test_a_client_that_leaves_at_any_turn_leaves_nothing(world, scene, way):
    """No task, no request in flight, no busy connection, and the next is served."""
    for turn in turns():
        over = await play(world, SCENES[scene], WAYS[way], turn)
        await is_as_before(world)
        if over:
            return


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("who", ["leader", "follower"])
async def test_one_of_two_with_the_same_token_leaves(world, who, way):
    """The other has its answer all the same, and the provider is asked once."""
    for turn in turns():
        ask = request("GET", "/api/x", token=world.cold())
        clients = [await world.stage.connect(), await world.stage.connect()]
        for client in clients:
            await say(client, ask)
        if who == "follower":
            clients.reverse()
        leaver, stayer = clients
        staying = spawn(read_whole(stayer), name="stayer")
        for _ in range(turn):
            await asyncio.sleep(0)
        over = staying.done()
        WAYS[way](leaver)
        async with asyncio.timeout(5):
            await staying
        for client in clients:
            client.writer.close()
        await is_as_before(world)
        assert 1 == world.provider.asked.count(world.tokens[-1])
        if over:
            return


CLOSE = "Connection: close"
CHUNKS = b"5\r\nhello\r\n1;x=y\r\n!\r\n0\r\nA: b\r\n\r\n"
FORM = b"grant_type=refresh_token&refresh_token=r&client_id=shop"
BYTES: dict[str, Callable[[str], bytes]] = {
    "cached": lambda _: request("GET", "/api/x", CLOSE, token=KNOWN),
    "cold": lambda token: request("GET", "/api/x", CLOSE, token=token),
    "upload": lambda _: request("PUT", "/api/x", CLOSE, token=KNOWN, body=b"a" * 50),
    "chunked": lambda token: (
        request("PUT", "/api/x", CLOSE, "Transfer-Encoding: chunked", token=token)
        + CHUNKS
    ),
    "form": lambda _: request(
        "POST",
        "/oauth/token",
        CLOSE,
        "Content-Type: application/x-www-form-urlencoded",
        body=FORM,
    ),
}
"""Requests with a token."""


@pytest.mark.parametrize("way", ["fin", "rst"])
@pytest.mark.parametrize("kind", BYTES)
async def test_a_client_that_leaves_after_any_byte_leaves_nothing(world, kind, way):
    """Of the request, and of the answer."""
    write = BYTES[kind]
    for sent in range(len(write("T-cold-0"))):
        client = await world.stage.connect()
        await say(client, write(world.cold())[:sent])
        WAYS[way](client)
        client.writer.close()
    await is_as_before(world)
    for received in itertools.count(1):
        client = await world.stage.connect()
        await say(client, write(world.cold()))
        left = received
        while left and (piece := await client.reader.read(left)):
            left -= len(piece)
        WAYS[way](client)
        client.writer.close()
        if left:
            break
    await is_as_before(world)


async def test_a_process_that_ends_at_any_turn_leaves_nothing(tmp_path, valkey, hole):
    """Every exchange is cut, every task ends, and no fault is told."""
    for turn in itertools.islice(turns(), 0, None, 8):
        async with opened(tmp_path, valkey, hole) as world:
            names = sorted(SCENES.keys() - {"black_hole", "queueing", "retry"})
            clients = [await world.stage.connect() for _ in names]
            world.left = True
            playing = [
                spawn(_played(SCENES[name], world, client), name=name)
                for name, client in zip(names, clients, strict=True)
            ]
            for _ in range(turn):
                await asyncio.sleep(0)
            over = all(task.done() for task in playing)
            await world.stage.server.close()
            async with asyncio.timeout(5):
                await asyncio.gather(*playing)
            for client in clients:
                client.writer.close()
        if over:
            return
