"""What clients do to a gateway all day long, and whether each was served as it should.

An act is one visit of a client: it raises `Unserved` when what came is not what was
due. Every answer is checked to be the asker's own and whole.
"""

import asyncio
import itertools
import random
import struct
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from socket import SO_LINGER, SOL_SOCKET

from tests.faults.back import PIECE
from tests.faults.stage import request
from tests.wire.harness import Client

KNOWN = [f"T-known-{number}" for number in range(50)]
PATIENCE = 20.0
_numbers = itertools.count()


class Unserved(Exception):
    """A client did not get what it should have got."""


@dataclass
class Ledger:
    """What was done, and what came of it.

    `excused` are failures of requests that a fault stood in the way of.
    """

    done: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    excused: Counter[str] = field(default_factory=Counter)
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=50_000))
    """How long each cached hit took, lately."""
    lately: deque[str] = field(default_factory=lambda: deque(maxlen=10))
    """When the last failures were, and after how long."""


class Site:
    """Where the gateway is, and when something stood in the way."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.ledger = Ledger()
        self.over = asyncio.Event()
        self._ills: list[tuple[float, float]] = []

    def ill(self, begun: float, ended: float) -> None:
        """Excuse who asked between two moments."""
        self._ills.append((begun, ended))

    def excuses(self, begun: float, ended: float) -> bool:
        """Tell whether a fault was on while somebody asked."""
        return any(start < ended and begun < end for start, end in self._ills)


async def _answer(client: Client, length: int = -1) -> bytes:
    """Read a 200; gives its head. `length` is that of its body, -1: chunked."""
    head = await client.reader.readuntil(b"\r\n\r\n")
    status = head[9:12].decode()
    if status != "200":
        raise Unserved(status)
    if length >= 0:
        await client.reader.readexactly(length)
    return head


def _is_for(head: bytes, token: str) -> None:
    """Make sure that the upstream was told whose request it was, and told us."""
    if f"for: {token}\r\n".encode() not in head.replace(b"\nFor:", b"\nfor:"):
        raise Unserved("another's answer")


async def hits(site: Site, client: Client) -> None:
    """Twenty requests with known tokens, on one connection."""
    for _ in range(20):
        token = random.choice(KNOWN)  # noqa: S311 -- a load
        begun = time.monotonic()
        await client.send(request("GET", "/api/x", token=token))
        head = await _answer(client, 1)
        site.ledger.seconds.append(time.monotonic() - begun)
        _is_for(head, token)


async def cold(site: Site, client: Client) -> None:
    """A token that nobody has seen."""
    token = f"T-cold-{next(_numbers)}"
    await client.send(request("GET", "/api/x", token=token))
    _is_for(await _answer(client, 1), token)


async def negative(site: Site, client: Client) -> None:
    """A token that is none: 401, always."""
    await client.send(request("GET", "/api/x", token=f"X-{next(_numbers)}"))
    head = await client.reader.readuntil(b"\r\n\r\n")
    if head[9:12] != b"401":
        raise Unserved(f"{head[9:12].decode()} for 401")


async def upload(site: Site, client: Client) -> None:
    """A quarter of a megabyte."""
    body = PIECE * 16
    await client.send(request("PUT", "/api/x", token=KNOWN[0], body=body))
    await _answer(client, len(str(len(body))))


async def download(site: Site, client: Client) -> None:
    """A megabyte, to the last byte."""
    await client.send(request("GET", "/api/bulk/64", token=KNOWN[0]))
    await _answer(client)
    size = 0
    while length := int(await client.reader.readuntil(b"\r\n"), 16):
        await client.reader.readexactly(length + 2)
        size += length
    if size != 64 * len(PIECE):
        raise Unserved("not the whole")


async def websocket(site: Site, client: Client) -> None:
    """A few words, and each of them back."""
    lines = (
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    )
    await client.send(request("GET", "/api/socket", *lines, token=KNOWN[1]))
    head = await client.reader.readuntil(b"\r\n\r\n")
    if head[9:12] != b"101":
        raise Unserved(f"{head[9:12].decode()} for 101")
    for _ in range(5):
        await client.send(b"\x81\x82\0\0\0\0hi")
        if await client.reader.readexactly(4) != b"\x81\x02hi":
            raise Unserved("another's word")


async def form(site: Site, client: Client) -> None:
    """The guarded token endpoint."""
    body = b"grant_type=refresh_token&refresh_token=r&client_id=shop"
    line = "Content-Type: application/x-www-form-urlencoded"
    await client.send(request("POST", "/oauth/token", line, body=body))
    await _answer(client, 0)


async def leave(site: Site, client: Client) -> None:
    """Go away in the midst of any of these, with a reset or without."""
    act = random.choice([hits, cold, upload, download, websocket, form])  # noqa: S311
    try:
        async with asyncio.timeout(random.uniform(0, 0.03)):  # noqa: S311
            await act(site, client)
    except TimeoutError:
        pass
    transport = client.writer.transport
    if random.random() < 0.5 and not transport.is_closing():  # noqa: S311
        line = transport.get_extra_info("socket")
        line.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


ACTS: Mapping[Callable[[Site, Client], Awaitable[None]], int] = {
    hits: 30,
    cold: 15,
    negative: 10,
    upload: 8,
    download: 8,
    websocket: 4,
    form: 5,
    leave: 20,
}
"""And how often each is done."""


async def visit(site: Site) -> None:
    """Go in and out until it is over."""
    while not site.over.is_set():
        (act,) = random.choices([*ACTS], [*ACTS.values()])  # noqa: S311
        begun = time.monotonic()
        told = await _told(site, act)
        site.ledger.done[act.__name__] += 1
        if told:
            excused = site.excuses(begun, time.monotonic())
            # A good token is never called bad, and nobody hears another's answer.
            if told.startswith(("401", "another")):
                excused = False
            book = site.ledger.excused if excused else site.ledger.failed
            book[f"{act.__name__}: {told}"] += 1
            if not excused:
                took = time.monotonic() - begun
                site.ledger.lately.append(
                    f"{time.strftime('%H:%M:%S')} {act.__name__}: {told}, {took:.3f} s"
                )


async def _told(site: Site, act: Callable[[Site, Client], Awaitable[None]]) -> str:
    """Do one act; gives what went wrong."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
            await act(site, Client(reader, writer))
    except Unserved as error:
        return str(error)
    except (OSError, EOFError, ValueError) as error:
        return type(error).__name__
    else:
        return ""
    finally:
        if writer is not None:
            writer.close()
