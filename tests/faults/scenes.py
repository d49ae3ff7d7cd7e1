"""What a client may be doing at the moment it goes away: scenes on one gateway."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.back import PIECE, Back, behaving
from tests.faults.stage import (
    Stage,
    configuration,
    eventually,
    knowing,
    request,
    staged,
)
from tests.stores.servers import Server
from tests.wire.harness import Client
from tests.wired import Issuer

KNOWN = "T-known"
OK = b"HTTP/1.1 200 "


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
        # Marks outlive a gateway, and tokens are called the same in every world.
        valkey.say("FLUSHALL")
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


Scene = Callable[[World, Client], Awaitable[None]]


async def say(client: Client, data: bytes) -> None:
    """Send bytes, unless the client has left."""
    if client.writer.is_closing():
        raise ConnectionResetError
    await client.send(data)
    await asyncio.sleep(0)


async def read_whole(client: Client, length: int = 1) -> None:
    """Read an answer with 200 and a body of so many bytes."""
    head = await client.read_head()
    assert head.startswith(OK)
    await client.reader.readexactly(length)


async def cached(world: World, client: Client) -> None:
    """Nobody is asked: no task, no await."""
    await say(client, request("GET", "/api/x", token=KNOWN))
    await read_whole(client)


async def cold(world: World, client: Client) -> None:
    """The store is asked, the provider is asked, the store is told."""
    await say(client, request("GET", "/api/x", token=world.cold()))
    await read_whole(client)


async def thinking(world: World, client: Client) -> None:
    """The upstream takes its time."""
    await say(client, request("GET", "/api/held", token=KNOWN))
    for _ in range(20):
        await asyncio.sleep(0)
        if world.left:
            raise ConnectionResetError
    world.back.go.set()
    await read_whole(client, 4)


async def upload(world: World, client: Client) -> None:
    """A body of a known length."""
    head = request("PUT", "/api/x", f"Content-Length: {8 * len(PIECE)}", token=KNOWN)
    await say(client, head)
    for _ in range(8):
        await say(client, PIECE)
        await client.writer.drain()
    await read_whole(client, 6)


async def chunked_upload(world: World, client: Client) -> None:
    """A body of an unknown length, for an unknown token, after `100 Continue`."""
    lines = "Transfer-Encoding: chunked", "Expect: 100-continue"
    await say(client, request("PUT", "/api/x", *lines, token=world.cold()))
    assert b"HTTP/1.1 100 Continue\r\n\r\n" == await client.read_head()
    for _ in range(8):
        await say(client, b"%x\r\n%b\r\n" % (len(PIECE), PIECE))
    await say(client, b"0\r\n\r\n")
    await read_whole(client, 6)


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
    await read_whole(client, 2)


async def retry(world: World, client: Client) -> None:
    """The upstream resets a connection that was used before: a fresh one is made."""
    world.back.drops = 1
    await say(client, request("GET", "/api/fickle", token=KNOWN))
    await read_whole(client, 6)


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
        await read_whole(other, 4)
        await read_whole(client)


async def black_hole(world: World, client: Client) -> None:
    """The connection to the upstream is not taken: 504 at its deadline."""
    await say(client, request("GET", "/hole/x"))
    assert (await client.read_head()).startswith(b"HTTP/1.1 504 ")


async def pipelined(world: World, client: Client) -> None:
    """Three requests at once, one of them for an unknown token."""
    tokens = (KNOWN, world.cold(), KNOWN)
    await say(client, b"".join(request("GET", "/api/x", token=t) for t in tokens))
    for _ in range(3):
        await read_whole(client)


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
