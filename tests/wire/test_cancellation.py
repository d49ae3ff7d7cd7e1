"""The client goes away at every moment there is, and nothing of it stays behind.

A moment is a turn of the event loop, a byte sent or a byte received. One scene is
played again and again on one gateway, and each time the client leaves a moment later,
until it has stayed to the end. Everything is real: sockets, upstream, provider, store.
"""

import asyncio
import itertools
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.provider_http import QUESTIONS_AT_ONCE
from gateway.stores.redis import CONNECTIONS
from gateway.tasks import spawn
from tests.faults.back import PIECE, Back, behaving
from tests.faults.proxy import reset
from tests.faults.stage import (
    Stage,
    configuration,
    eventually,
    knowing,
    request,
    staged,
)
from tests.stores.servers import Server, serving
from tests.wire.harness import Client
from tests.wired import Issuer

# On the loop that serves; the reference, asyncio's, would double the minute it takes.
pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

KNOWN = "T-known"
OK = b"HTTP/1.1 200 "
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


@dataclass
class World:
    """The gateway, its neighbours, and who else is a client of it."""

    stage: Stage
    back: Back
    provider: Issuer
    valkey: Server
    numbers: Iterator[int] = field(default_factory=itertools.count)
    tokens: list[str] = field(default_factory=list)
    left: bool = False
    """Whether the client has gone away in the midst of it."""

    def cold(self) -> str:
        """Give a token that nobody has seen."""
        self.tokens.append(f"T-cold-{next(self.numbers)}")
        return self.tokens[-1]

    async def works(self) -> None:
        """Prove that the gateway serves, with a token it knows."""
        told = await self.stage.ask("GET", "/api/x", token=KNOWN)
        assert (200, b"0") == (told.status, told.body)


@asynccontextmanager
async def opened(folder: Path, valkey: Server, hole: int) -> AsyncIterator[World]:
    """Build the world; a token is known, a connection to the upstream idles."""
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(knowing())
        back = await stack.enter_async_context(behaving())
        text = configuration(
            back=back.port,
            provider=provider.url,
            store=valkey.url,
            hole=hole,
            asking=5,
        )
        stage = await stack.enter_async_context(staged(text, folder))
        world = World(stage, back, provider, valkey)
        await world.works()
        await stage.rest()
        yield world


@pytest.fixture
async def world(tmp_path, valkey, hole):
    """The world, as it was found at the end."""
    async with opened(tmp_path, valkey, hole) as world:
        yield world
        await eventually(lambda: not world.back.working)
        assert world.provider.connections <= QUESTIONS_AT_ONCE
        # And one more, that asks.
        assert world.valkey.say("CLIENT", "LIST").count(b"addr=") <= CONNECTIONS + 1
        assert set(world.provider.asked) <= {KNOWN, *world.tokens}
        assert len(set(world.provider.asked)) == len(world.provider.asked)


# ------------------------------------------------------------------------ the scenes

Scene = Callable[[World, Client], Awaitable[None]]


async def say(client: Client, data: bytes) -> None:
    """Send bytes, unless the client has left."""
    if client.writer.is_closing():
        raise ConnectionResetError
    await client.send(data)
    await asyncio.sleep(0)


async def _whole(client: Client, length: int = 1) -> None:
    """Read an answer with 200 and a body of so many bytes."""
    head = await client.read_head()
    assert head.startswith(OK)
    await client.reader.readexactly(length)


async def cached(world: World, client: Client) -> None:
    """Nobody is asked: no task, no await."""
    await say(client, request("GET", "/api/x", token=KNOWN))
    await _whole(client)


async def cold(world: World, client: Client) -> None:
    """The store is asked, the provider is asked, the store is told."""
    await say(client, request("GET", "/api/x", token=world.cold()))
    await _whole(client)


async def thinking(world: World, client: Client) -> None:
    """The upstream takes its time."""
    await say(client, request("GET", "/api/held", token=KNOWN))
    for _ in range(20):
        await asyncio.sleep(0)
        if world.left:
            raise ConnectionResetError
    world.back.go.set()
    await _whole(client, 4)


async def upload(world: World, client: Client) -> None:
    """A body of a known length."""
    head = request("PUT", "/api/x", f"Content-Length: {8 * len(PIECE)}", token=KNOWN)
    await say(client, head)
    for _ in range(8):
        await say(client, PIECE)
        await client.writer.drain()
    await _whole(client, 6)


async def chunked_upload(world: World, client: Client) -> None:
    """A body of an unknown length, for an unknown token, after `100 Continue`."""
    lines = "Transfer-Encoding: chunked", "Expect: 100-continue"
    await say(client, request("PUT", "/api/x", *lines, token=world.cold()))
    assert b"HTTP/1.1 100 Continue\r\n\r\n" == await client.read_head()
    for _ in range(8):
        await say(client, b"%x\r\n%b\r\n" % (len(PIECE), PIECE))
    await say(client, b"0\r\n\r\n")
    await _whole(client, 6)


async def download(world: World, client: Client) -> None:
    """An answer of a megabyte."""
    await say(client, request("GET", "/api/bulk/64", token=KNOWN))
    assert (await client.read_head()).startswith(OK)
    end = b"\r\n0\r\n\r\n"
    while not (await client.reader.read(65536)).endswith(end):
        if client.reader.at_eof():
            raise ConnectionResetError


async def unread(world: World, client: Client) -> None:
    """An answer larger than what the kernel holds, to a client that reads it late."""
    await say(client, request("GET", "/api/bulk/512", token=KNOWN))
    for _ in range(10):
        await asyncio.sleep(0)
    end = b"\r\n0\r\n\r\n"
    while not (await client.reader.read(1 << 20)).endswith(end):
        if client.reader.at_eof():
            raise ConnectionResetError


async def tunnel(world: World, client: Client) -> None:
    """A WebSocket, a word, and the word back."""
    lines = (
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    )
    await say(client, request("GET", "/api/socket", *lines, token=KNOWN))
    assert (await client.read_head()).startswith(b"HTTP/1.1 101 ")
    for _ in range(3):
        await say(client, b"\x81\x82\0\0\0\0hi")
        assert b"\x81\x02hi" == await client.reader.readexactly(4)
        await asyncio.sleep(0)


async def token_answer(world: World, client: Client) -> None:
    """The guarded token endpoint: a form held whole, an answer held whole."""
    form = b"grant_type=authorization_code&code=c&client_id=shop&client_secret=s"
    line = "Content-Type: application/x-www-form-urlencoded"
    head = request("POST", "/oauth/token", line, f"Content-Length: {len(form)}")
    await say(client, head)
    await say(client, form)
    assert b"T-given" in await client.read_head() + await client.reader.read(1024)


async def revocation(world: World, client: Client) -> None:
    """The guarded revocation endpoint: the provider is asked whose token it is."""
    form = b"token=%b&client_id=shop&client_secret=s" % world.cold().encode()
    line = "Content-Type: application/x-www-form-urlencoded"
    await say(client, request("POST", "/oauth/revoke", line, body=form))
    await _whole(client, 2)


async def retry(world: World, client: Client) -> None:
    """The upstream resets a connection that was used before: a fresh one is made."""
    world.back.drops = 1
    await say(client, request("GET", "/api/fickle", token=KNOWN))
    await _whole(client, 6)


async def queueing(world: World, client: Client) -> None:
    """The one connection to the upstream is another's; the queue is waited in."""
    other = await world.stage.connect()
    with closing(other.writer):
        await say(other, request("GET", "/narrow/held"))
        await eventually(lambda: world.back.working)
        await say(client, request("GET", "/narrow/x"))
        for _ in range(20):
            await asyncio.sleep(0)
        world.back.go.set()
        await _whole(other, 4)
        await _whole(client)


async def black_hole(world: World, client: Client) -> None:
    """The connection to the upstream is not taken: 504 at its deadline."""
    await say(client, request("GET", "/hole/x"))
    assert (await client.read_head()).startswith(b"HTTP/1.1 504 ")


async def pipelined(world: World, client: Client) -> None:
    """Three requests at once, one of them for an unknown token."""
    tokens = (KNOWN, world.cold(), KNOWN)
    await say(client, b"".join(request("GET", "/api/x", token=t) for t in tokens))
    for _ in range(3):
        await _whole(client)


SCENES: dict[str, Scene] = {
    each.__name__: each
    for each in (
        cached,
        cold,
        thinking,
        upload,
        chunked_upload,
        download,
        unread,
        tunnel,
        token_answer,
        revocation,
        retry,
        queueing,
        black_hole,
        pipelined,
    )
}


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
        staying = spawn(_whole(stayer), name="stayer")
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
