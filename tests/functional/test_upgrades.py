"""Upgrades: a tunnel where the route lists it, after the token and the 101."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Iterator

import aiohttp
import pytest
from websockets.exceptions import ConnectionClosed, ConnectionClosedError
from websockets.frames import Close
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as dial
from websockets.typing import Subprotocol

from tests.functional.harness import (
    Gateway,
    bearer,
    connect,
    eventually,
    head,
    read_answer,
    running,
)
from tests.functional.lab import MIB, Laboratory, sign
from tests.functional.sockets import (
    FRAME,
    SWITCH,
    config,
    open_raw,
    open_sockets,
)
from tests.functional.weight import Weight

EXPIRED = Close(4401, "token expired")
FLOOD = 64 * MIB
"""More than any buffers between two ends could hold."""

UPGRADE = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
]
CHAT = [("Connection", "Upgrade"), ("Upgrade", "chat")]


@pytest.fixture(scope="module")
def sockets(backstage):
    """An upstream that speaks WebSocket."""
    with open_sockets(backstage) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def raw(backstage):
    """An upstream that says what a test wants."""
    with open_raw(backstage) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def door(start_lab, sockets, raw):
    """`gateway run` in front of both."""
    with running(start_lab(config(sockets, raw))) as process:
        yield process


@pytest.fixture
async def browser(lab_gateway):
    """An ordinary WebSocket client at the main door."""
    base = f"http://127.0.0.1:{lab_gateway.ports.proxy}"
    async with aiohttp.ClientSession(base) as session:
        yield session


def lines_at(lab: Laboratory, since: int, name: bytes) -> list[bytes]:
    """The values of a header in all requests the upstream got since then."""
    return [
        value
        for _, headers, _ in lab.requests[since:]
        for key, value in headers
        if key.lower() == name
    ]


@pytest.fixture
def call(door):
    """Open WebSockets at the main door."""

    def call(path, lives=300.0, **options):
        return dial(
            f"ws://127.0.0.1:{door.ports.proxy}/socket/{path}",
            additional_headers=[bearer(sign(lives))],
            proxy=None,
            ping_interval=None,
            max_size=None,
            **options,
        )

    return call


def tunnel(door: Gateway, token: str, path: str = "/raw/a") -> socket.socket:
    """Open a tunnel of another protocol, up to and without its 101."""
    line = connect(door.ports.proxy)
    line.sendall(head("GET", path, "raw", [bearer(token), *CHAT]))
    return line


def read_switch(line: socket.socket) -> bytes:
    """Read the 101; give what came with it."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = line.recv(65536)
        assert piece, received
        received += piece
    assert received.startswith(b"HTTP/1.1 101 "), received
    return received.partition(b"\r\n\r\n")[2]


def read_all(line: socket.socket) -> bytes:
    """Give what comes until the other side closes."""
    received = b""
    while piece := line.recv(65536):
        received += piece
    return received


# ------------------------------------------------------------- a WebSocket's messages


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 5_000_000])
@pytest.mark.parametrize("compression", ["deflate", None])
def test_messages_of_every_size_come_back(call, size, compression):
    """Text and binary, with and without compression."""
    text, binary = "누구" * (size // 2), FRAME * (size // len(FRAME)) + FRAME[:size]
    with call("echo", compression=compression) as channel:
        channel.send(text)
        channel.send(binary)

        assert text == channel.recv(timeout=10)
        assert binary == channel.recv(timeout=10)


def test_fragments_stay_fragments(call, sockets):
    """Frames are not put together, nor taken apart."""
    parts = ["one", "", "two" * 50_000, "three"]
    with call("fragments") as channel:
        channel.send(parts)
        back = list(channel.recv_streaming())

    # Both libraries end a fragmented message with an empty frame.
    assert [*parts, ""] == sockets.fragments[-1]
    assert [*parts, "", ""] == back


def test_pings_and_pongs_pass_both_ways(call):
    """Neither is answered by the gateway."""
    with call("ping") as channel:
        assert "the pong came" == channel.recv(timeout=5)
    with call("echo") as channel:
        assert channel.ping(b"and you").wait(5)


def test_a_clients_close_reaches_the_upstream(call, sockets):
    """Its code and its reason."""
    with call("echo") as channel:
        channel.close(4000, "enough")

    eventually(lambda: (4000, "enough") in sockets.closed)


def test_an_upstreams_close_reaches_the_client(call):
    """Its code and its reason."""
    with call("leave") as channel, pytest.raises(ConnectionClosed) as closed:
        channel.recv(timeout=5)

    assert Close(4002, "come back later") == closed.value.rcvd


def test_the_handshake_is_negotiated_by_the_ends(call, sockets):
    """Extensions, subprotocols, version and key pass untouched, both ways."""
    offered = [Subprotocol("chat.v2"), Subprotocol("chat.v1")]
    address = f"ws://127.0.0.1:{sockets.port}/socket/echo"
    with call("echo", subprotocols=offered) as channel:
        through, chosen = channel.response, channel.subprotocol
    with dial(address, proxy=None, subprotocols=offered) as channel:
        direct = channel.response

    assert "chat.v1" == chosen
    assert through is not None
    assert direct is not None
    told, told_directly = sockets.asked[-2:]
    for name in (f"sec-websocket-{part}" for part in ("extensions", "protocol")):
        assert told_directly[name] == told[name]
        assert direct.headers[name] == through.headers[name]
    assert "permessage-deflate" in through.headers["sec-websocket-extensions"]
    assert ("ada", None) == (told["x-auth-subject"], told.get("authorization"))


def test_a_client_that_vanishes_takes_its_channel_along(call, sockets):
    """Without a word of goodbye."""
    before = len(sockets.closed)
    with call("quiet") as channel:
        channel.socket.shutdown(socket.SHUT_RDWR)
        eventually(lambda: len(sockets.closed) > before)

    assert sockets.closed[-1] is None


async def test_many_websockets_at_once(browser):
    """Each tunnel is its own."""
    headers = dict([bearer(sign())])

    async def talk(number):
        async with browser.ws_connect("/socket", headers=headers) as channel:
            await channel.send_str(f"I am {number}")
            return await channel.receive_str(timeout=5)

    heard = await asyncio.gather(*map(talk, range(50)))

    assert [f"I am {number}" for number in range(50)] == heard


# ------------------------------------------------------------ the end of the token


def test_a_websocket_ends_with_its_token(call, sockets):
    """The client hears why; the upstream is just left."""
    begun = time.monotonic()
    with call("echo", lives=1.0) as channel:
        channel.send("still here")
        assert "still here" == channel.recv(timeout=5)
        with pytest.raises(ConnectionClosedError) as closed:
            channel.recv(timeout=5)

    assert EXPIRED == closed.value.rcvd
    assert 0.8 < time.monotonic() - begun < 3.0
    eventually(lambda: sockets.closed and sockets.closed[-1] is None)


@pytest.mark.parametrize("compression", ["deflate", None])
def test_the_end_of_a_token_stands_between_two_frames(call, compression):
    """Amid a flood of large frames: each arrives whole, then the close."""
    with call("flood", lives=1.0, compression=compression) as channel:
        messages = list(until_closed(channel))

    assert EXPIRED == channel.protocol.close_rcvd
    assert len(messages) > 3
    assert {FRAME} == set(messages)


def until_closed(channel: ClientConnection) -> Iterator[str | bytes]:
    """Give what comes until the channel is closed."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            yield channel.recv(timeout=5)


def test_a_token_that_ends_amid_a_frame_that_does_not(door, raw):
    """A second's patience, then a cut: nothing is written into the middle."""

    async def stall(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCH % b"websocket" + b"\x82\x7e\xff\xff" + b"half")
        await reader.read()

    raw.script = stall
    line = connect(door.ports.proxy)
    with line:
        line.sendall(head("GET", "/raw/a", "raw", [bearer(sign(0.5)), *UPGRADE]))
        begun, received = time.monotonic(), read_switch(line)
        while len(received) < 8:
            received += line.recv(100)
        with pytest.raises(ConnectionResetError):
            line.recv(100)

    assert b"\x82\x7e\xff\xffhalf" == received
    assert 1.2 < time.monotonic() - begun < 4.0


def test_another_protocol_just_ends_with_its_token(door, raw):
    """There is no word of farewell that every protocol understands."""

    async def greet(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCH % b"chat" + b"hello")
        await reader.read()

    raw.script = greet
    begun = time.monotonic()
    with tunnel(door, sign(0.5)) as line:
        received = read_switch(line) + read_all(line)

    assert b"hello" == received
    assert 0.3 < time.monotonic() - begun < 3.0


# --------------------------------------------------------------------- its pace


def test_a_silent_websocket_is_closed(call):
    """After the route's idle time, when neither side says anything."""
    begun = time.monotonic()
    with call("quiet") as channel, pytest.raises(ConnectionClosed):
        channel.recv(timeout=5)

    assert 0.9 < time.monotonic() - begun < 3.0


def test_a_client_that_does_not_read_is_not_read_for(door, sockets):
    """Back-pressure: the flood stands still, and no memory grows."""
    weight, before = Weight(door), sockets.sent
    with connect(door.ports.proxy) as line:
        token = bearer(sign())
        line.sendall(head("GET", "/socket/flood", "raw", [token, *UPGRADE]))
        read_switch(line)
        given = stuck_at(lambda: sockets.sent, weight) - before
        # It goes on when the client does.
        received = 0
        while received < given + MIB:
            received += len(line.recv(MIB))
        weight.look()

    assert given < FLOOD
    assert weight.growth < 30 * MIB


def stuck_at(measure: Callable[[], int], weight: Weight) -> int:
    """Wait until what is measured grows no more; give it."""
    seen = [-1, measure()]
    while seen[-1] != seen[-2]:
        time.sleep(0.3)
        seen.append(measure())
        weight.look()
    return seen[-1]


def test_an_upstream_that_does_not_read_is_not_written_to(door):
    """Back-pressure the other way."""
    weight, sent = Weight(door), 0
    with connect(door.ports.proxy) as line:
        token = bearer(sign())
        line.sendall(head("GET", "/socket/deaf", "raw", [token, *UPGRADE]))
        read_switch(line)
        line.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            while sent < FLOOD:
                sent += line.send(FRAME)
                weight.look()

    assert sent < FLOOD
    assert weight.growth < 30 * MIB


def test_bytes_before_the_switch_wait_for_it(door, raw):
    """Whoever sends on without waiting is heard after the 101, not before."""
    early: list[bytes] = []

    async def switch(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        with contextlib.suppress(TimeoutError):
            early.append(await asyncio.wait_for(reader.read(100), 0.3))
        writer.write(SWITCH % b"chat")
        writer.write(await reader.readexactly(5))
        await writer.drain()

    raw.script = switch
    ask = head("GET", "/raw/a", "raw", [bearer(sign()), *CHAT])
    with connect(door.ports.proxy) as line:
        line.sendall(ask + b"early")
        received = read_switch(line) + read_all(line)

    assert [] == early
    assert b"early" == received


# -------------------------------------------------------------------- no tunnel


@pytest.mark.parametrize(("token", "status"), [(None, 401), ("wrong", 401)])
async def test_no_websocket_without_a_good_token(browser, lab, token, status):
    """Refused like any request; the upstream hears nothing."""
    since = len(lab.requests)
    headers = {} if token is None else dict([bearer(token)])
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await browser.ws_connect("/socket", headers=headers)

    assert status == refused.value.status
    assert since == len(lab.requests)


def test_no_tunnel_on_a_route_that_lists_none(lab_gateway, lab):
    """The request goes on as an ordinary one, without a word of upgrading."""
    since = len(lab.requests)
    answer = lab_gateway.ask("GET", "/no-socket", bearer(sign()), *UPGRADE)

    assert (426, b"websocket only") == (answer.status, answer.body)
    assert [] == lines_at(lab, since, b"upgrade")


def test_no_tunnel_for_a_protocol_that_is_not_listed(lab_gateway, lab):
    """`h2c` least of all: it would carry requests that nobody judges."""
    since = len(lab.requests)
    lines = [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c")]
    settings = ("HTTP2-Settings", "AAMAAABkAAQAAP__")
    with connect(lab_gateway.ports.proxy) as line:
        line.sendall(head("GET", "/socket", "lab", [bearer(sign()), *lines, settings]))
        answer = read_answer(line)

    assert 426 == answer.status
    assert [] == lines_at(lab, since, b"upgrade")
    assert [] == lines_at(lab, since, b"http2-settings")


def test_bytes_behind_a_refused_upgrade_are_another_request(lab_gateway):
    """What came with the first is judged on its own: it has no token."""
    lines = [bearer(sign()), *UPGRADE]
    with connect(lab_gateway.ports.proxy) as line:
        line.sendall(
            head("GET", "/no-socket", "lab", lines) + head("GET", "/socket", "lab")
        )
        answers = b""
        while b"401 Unauthorized" not in answers:
            piece = line.recv(65536)
            assert piece, answers
            answers += piece

    assert answers.startswith(b"HTTP/1.1 426 ")
    assert 2 == answers.count(b"HTTP/1.1 ")
