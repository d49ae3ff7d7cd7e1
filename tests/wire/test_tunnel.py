"""Frames counted however they are split; tunnels that end where they may, and only."""

import asyncio
import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Close

from gateway.values import Reason, Timeouts
from gateway.wire.relay import Relay
from gateway.wire.tunnel import FrameScanner, Tunnel, close_frame
from tests.wire.harness import HandLoop, House, house, turns, until

SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: %b\r\nConnection: upgrade\r\n\r\n"
)
EXPIRED = close_frame(4401, b"token expired")
REVOKED = close_frame(4401, b"token revoked")


def asks(protocol: bytes = b"websocket") -> bytes:
    """Write a request for a tunnel."""
    return (
        b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: %b\r\n\r\n"
        % protocol
    )


def frame(size: int, first: int = 0x82) -> bytes:
    """Write a server's frame with so many bytes of payload."""
    if size < 126:
        length = bytes((size,))
    elif size < 1 << 16:
        length = b"\x7e" + size.to_bytes(2)
    else:
        length = b"\x7f" + size.to_bytes(8)
    return bytes((first,)) + length + b"p" * size


# ---------------------------------------------------------------------- the scanner


class Reference:
    """What RFC 6455 §5.2 says, one byte after the other, without a thought of speed."""

    def __init__(self, stream: bytes) -> None:
        self.ends = [0]
        """Where frames end."""
        self.lost_at = len(stream) + 1
        self.closed_at = len(stream) + 1
        """How much must have been read to know."""
        at = 0
        while at < len(stream) and self.lost_at > len(stream):
            at = self._read_frame(stream, at)

    def _read_frame(self, stream: bytes, at: int) -> int:
        if stream[at] & 0b1111 == 8:
            self.closed_at = min(self.closed_at, at + 1)
        if at + 1 == len(stream):
            return at + 1
        masked, length = stream[at + 1] & 0b10000000, stream[at + 1] & 0b01111111
        more = {126: 2, 127: 8}.get(length, 0)
        if masked:
            self.lost_at = at + 2
            return at
        begin = at + 2 + more
        if begin > len(stream):
            return begin
        if more:
            length = 0
            for byte in stream[at + 2 : begin]:
                length = length * 256 + byte
        if length >= 2**63:
            self.lost_at = begin
            return at
        if begin + length <= len(stream):
            self.ends.append(begin + length)
        return begin + length

    def first_end(self, start: int, stop: int) -> int:
        """Where the first frame ends that ends in this part, counted from its start."""
        return next((end - start for end in self.ends if start < end <= stop), -1)


SIZES = st.one_of(
    st.integers(0, 300),
    st.sampled_from([0, 125, 126, 127, 65_535, 65_536]),
)
FRAMES = st.builds(
    frame, SIZES, st.sampled_from([0x81, 0x02, 0x80, 0xC1, 0x89, 0x8A, 0x88])
)
WHOLE = st.lists(FRAMES, max_size=6).map(b"".join)
STREAMS = st.one_of(
    WHOLE,
    st.tuples(WHOLE, st.binary(max_size=40)).map(b"".join),
    st.tuples(WHOLE, st.integers(0, 80)).map(lambda pair: pair[0][: -pair[1] or None]),
)


@st.composite
def streams_in_parts(draw: st.DrawFn) -> list[bytes]:
    """A stream, cut anywhere; cuts close to each other are as likely as far ones."""
    stream = draw(STREAMS)
    places = st.integers(0, len(stream))
    near = st.integers(0, min(40, len(stream)))
    cuts = sorted(draw(st.lists(st.one_of(places, near), max_size=25)))
    return [
        stream[start:stop]
        for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True)
    ]


@settings(deadline=None)
@given(streams_in_parts())
def test_the_scanner_finds_what_the_reference_finds(parts):
    """Frame ends, the upstream's own close, and what is no frame; after each part."""
    reference, scanner, start = Reference(b"".join(parts)), FrameScanner(), 0
    for part in parts:
        stop = start + len(part)
        knows = reference.lost_at > start

        assert (reference.first_end(start, stop) if knows else -1) == scanner.feed(part)
        assert (stop in reference.ends) == scanner.at_boundary
        assert (reference.lost_at <= stop) == scanner.lost
        assert (reference.closed_at <= stop) == scanner.closed
        start = stop


@settings(deadline=None)
@given(st.lists(st.builds(frame, st.integers(0, 300)), max_size=6).map(b"".join))
def test_byte_by_byte_equals_the_whole(stream):
    """However small the parts are."""
    whole, crumbs = FrameScanner(), FrameScanner()
    ends = [at + 1 for at in range(len(stream)) if crumbs.feed(stream[at : at + 1]) > 0]

    assert whole.feed(stream) == (ends[0] if ends else -1)
    assert whole.at_boundary
    assert crumbs.at_boundary
    assert Reference(stream).ends[1:] == ends


@pytest.mark.parametrize(
    ("header", "told"),
    [
        (b"", "<FrameScanner: between frames>"),
        (b"\x82", "<FrameScanner: amid frames>"),
        (b"\x82\x80", "<FrameScanner: lost frames>"),
        (b"\x82\xff", "<FrameScanner: lost frames>"),
        (b"\x82\x7f\x80" + bytes(7), "<FrameScanner: lost frames>"),
        (b"\x82\x7f\x7f" + bytes(7), "<FrameScanner: amid frames>"),
    ],
)
def test_what_the_scanner_says_of_itself(header, told):
    """A mask or a length beyond 63 bits is no server's (§5.1, §5.2)."""
    scanner = FrameScanner()
    scanner.feed(header)

    assert told == repr(scanner)


def test_a_close_frame_is_what_clients_understand():
    """One frame, final, unmasked, with a code and a reason."""
    data = close_frame(4401, b"token expired")

    assert b"\x88\x0f" == data[:2]
    assert Close(4401, "token expired") == Close.parse(data[2:])


# ----------------------------------------------------------------------- the tunnel


class Client:
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.got = b""

    def tunnel_send(self, data: bytes) -> None:
        self.got += data


@settings(deadline=None)
@given(streams_in_parts(), st.integers(0, 30))
def test_a_farewell_stands_between_two_frames_or_nowhere(parts, leave_after):
    """What the client gets is a run of whole frames, the last of them a close."""
    stream, client = b"".join(parts), Client()
    reference, tunnel = Reference(stream), Tunnel(client, b"websocket")
    before = parts[:leave_after]
    for part in before:
        assert not tunnel.pass_on(part)
    over = tunnel.leave(b"token expired")
    left = iter(parts[leave_after:])
    while not over and (part := next(left, None)) is not None:
        over = tunnel.pass_on(part)

    sent = len(b"".join(before))
    closed = reference.closed_at <= sent
    end = next((end for end in reference.ends if end >= sent), None)
    assert over == (end is not None)
    assert client.got == stream[:end] + (EXPIRED if over and not closed else b"")


def test_other_protocols_are_not_read():
    """What looks like a frame is none; and nothing is said in the end."""
    client = Client()
    tunnel = Tunnel(client, b"raw")

    assert "<Tunnel: of another protocol>" == repr(tunnel)
    assert not tunnel.pass_on(b"\x82\x7f")
    assert tunnel.leave(b"token expired")
    assert b"\x82\x7f" == client.got


# --------------------------------------------------- in the wire: where a tunnel ends


def switches(*parts: bytes, protocol: bytes = b"websocket"):
    """Switch, send each part, and then listen."""

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCH % protocol)
        for part in parts:
            writer.write(part)
        while await reader.read(1 << 16):
            pass

    return script


def relay_of(h: House) -> Relay:
    """Give the relay of the one client's request."""
    relay = h.front.only()._sink
    assert isinstance(relay, Relay)
    return relay


def after_the_head(answer: bytes) -> bytes:
    """What came through the tunnel."""
    assert answer.startswith(b"HTTP/1.1 101 "), answer
    return answer.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize(
    ("protocol", "sent", "got"),
    [
        (b"websocket", b"", EXPIRED),
        (b"websocket", frame(9) * 3, frame(9) * 3 + EXPIRED),
        (b"websocket", frame(2, 0x88), frame(2, 0x88)),
        (b"raw", b"half a wo", b"half a wo"),
    ],
    ids=["silent", "between-frames", "already-closed", "another-protocol"],
)
async def test_a_tunnel_ends_with_its_token(protocol, sent, got):
    """At once where nothing is in progress; the upstream's connection too."""
    async with house(switches(sent, protocol=protocol)) as h:
        h.front.ends_in = 0.1
        answer = await h.exchange(asks(protocol))
        await until(lambda: not h.front.pool._open)

        assert got == after_the_head(answer)
        assert "token expired" == h.front.done[0].failure


async def test_a_close_waits_for_the_end_of_a_frame():
    """The frame in progress is finished, no other begins; nothing more goes up."""
    go = asyncio.Event()
    half = frame(70_000)

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCH % b"websocket" + frame(3) + half[:50_000])
        await go.wait()
        writer.write(half[50_000:] + frame(4) * 10)
        await reader.read()

    async with house(script) as h:
        client = await h.connect()
        await client.send(asks())
        await client.reader.readuntil(half[-40_000:])
        relay_of(h).end_now(Reason.EXPIRED)
        # Told again, it goes on waiting: one end is enough.
        relay_of(h).end_now(Reason.REVOKED)
        await client.send(b"too late")
        await turns(20)
        go.set()
        rest = await client.read_all()
        client.writer.close()
        await until(lambda: not h.front.pool._open)

        assert rest.endswith(half[50_000:] + EXPIRED)
        assert rest.count(b"\x82\x04") == 0
        assert b"too late" not in b"".join(h.upstream.received)


@pytest.mark.parametrize(
    "sent", [frame(1000)[:500], b"\x82", frame(5) + b"\x82\xfe\x00\x00"]
)
async def test_a_frame_that_does_not_end_is_cut(sent):
    """Nothing can be said amid a frame, nor where frames cannot be told any more."""
    async with house(switches(sent)) as h:
        h.front.ends_in = 0.05
        begun = asyncio.get_running_loop().time()
        answer = await h.exchange(asks())
        lasted = asyncio.get_running_loop().time() - begun

        assert sent + b"<reset>" == after_the_head(answer)
        assert 1.0 < lasted < 3.0
        assert "token expired" == h.front.done[0].failure
        assert not h.front.pool._open


async def test_an_upstream_that_leaves_meanwhile_ends_the_tunnel():
    """While its last frame was waited for."""
    go = asyncio.Event()

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCH % b"websocket" + frame(9)[:5])
        await go.wait()
        writer.close()

    async with house(script) as h:
        client = await h.connect()
        await client.send(asks())
        await client.reader.readuntil(frame(9)[:5])
        relay_of(h).end_now(Reason.EXPIRED)
        go.set()

        assert b"" == await client.read_all()
        client.writer.close()


# ------------------------------------------------------- in the wire: a revoked token


async def test_a_revoked_token_ends_its_tunnel():
    """As an expired one does, in other words."""
    async with house(switches(frame(7))) as h:
        client = await h.connect()
        await client.send(asks())
        await client.reader.readuntil(frame(7))
        relay = relay_of(h)
        relay.end_now(Reason.REVOKED)
        rest = await client.read_all()
        client.writer.close()
        # Nothing is left to end.
        relay.end_now(Reason.REVOKED)

        assert REVOKED == rest
        assert "token revoked" == h.front.done[0].failure


async def test_a_revoked_token_cuts_its_answer():
    """What has begun is not made to look whole."""

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nla")
        await reader.read()

    async with house(script) as h:
        client = await h.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await client.reader.readuntil(b"la\r\n")
        relay_of(h).end_now(Reason.REVOKED)

        assert b"<reset>" == await client.read_all()
        client.writer.close()
        await until(lambda: not h.front.pool._open)


@pytest.mark.parametrize("connected", [True, False])
async def test_a_revoked_token_is_refused_while_the_upstream_thinks(connected):
    """No answer has begun, so there is one to give; also amid the connecting."""

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        await reader.read()

    async with house(script) as h:
        client = await h.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        await until(lambda: h.front.connections and h.front.only()._sink)
        if connected:
            await until(lambda: h.upstream.received)
        relay_of(h).end_now(Reason.REVOKED)
        answer = await client.read_all()
        client.writer.close()

        assert answer.startswith(b"HTTP/1.1 401 ")
        await until(lambda: not h.front.pool._open)


# ------------------------------------------------------------ in the wire: its pace


async def test_early_bytes_wait_for_the_switch():
    """Until the 101 nobody but the gateway has seen them."""
    held = asyncio.Event()
    early: list[bytes] = []

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        await held.wait()
        with contextlib.suppress(TimeoutError):
            early.append(await asyncio.wait_for(reader.read(9), 0.1))
        writer.write(SWITCH % b"websocket")
        writer.write(await reader.readexactly(5))
        await writer.drain()
        writer.close()

    async with house(script) as h:
        client = await h.connect()
        await client.send(asks() + b"early")
        await until(lambda: h.front.connections and h.front.only()._buffer == b"early")
        held.set()
        answer = await client.read_all()
        client.writer.close()

        assert not early
        assert b"early" == after_the_head(answer)


@pytest.mark.parametrize("speaker", ["client", "upstream", "nobody"])
async def test_a_tunnel_ends_when_both_are_silent(speaker):
    """Whoever of the two speaks keeps it open."""
    hand, heard = HandLoop(), asyncio.Event()
    words: asyncio.Queue[bytes] = asyncio.Queue()

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCH % b"raw")
        while speaker == "upstream":
            writer.write(await words.get())
        while await reader.readexactly(4):
            heard.set()

    async with house(script, hand=hand, timeouts=Timeouts(idle=5)) as h:
        client = await h.connect()
        await client.send(asks(b"raw"))
        await client.read_head()
        seconds = 0
        while seconds < 12 and not h.front.done:
            seconds += 1
            hand.advance(1.0)
            if speaker == "client":
                await client.send(b"word")
                await heard.wait()
                heard.clear()
            elif speaker == "upstream":
                words.put_nowait(b"word")
                await client.reader.readexactly(4)
        client.writer.close()

        assert (5 if speaker == "nobody" else 12) == seconds


@pytest.mark.parametrize("slow", ["client", "upstream"])
async def test_who_does_not_read_is_not_written_to(slow):
    """Bytes wait where they come from: what we hold of them is bounded."""
    flood, sent = b"x" * 65_536, 0

    async def script(reader, writer):
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCH % b"raw")
        while slow == "client":
            writer.write(flood)
            await writer.drain()
            sent += len(flood)
        await asyncio.Event().wait()

    async with house(script) as h:
        client = await h.connect_narrow()
        await client.send(asks(b"raw"))
        if slow == "upstream":
            client.read_on()
            await client.read_head()
        await until(lambda: h.front.pool._open)
        (upward,) = h.front.pool._open
        downward = h.front.only()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                while sent < 64 << 20:
                    if slow == "upstream":
                        client.writer.write(flood)
                        await client.writer.drain()
                        sent += len(flood)
                    await asyncio.sleep(0)
        held = 0
        for transport in (upward._transport, downward._transport):
            assert transport is not None
            held += transport.get_write_buffer_size()
        client.writer.transport.abort()

        assert 0 < held < 1 << 20
        assert sent < 64 << 20


# --------------------------------------------------- in the wire: halves of a tunnel


@pytest.mark.parametrize("protocol", [b"raw", b"websocket"])
async def test_a_client_that_has_said_all_may_still_listen(protocol):
    """Its FIN passes as a FIN, behind all that it said; and so does the answer."""
    said = b"word" * 500_000

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCH % protocol)
        heard = b""
        while piece := await reader.read(1 << 16):
            heard += piece
        writer.write(frame(3) if heard == said else b"something is missing")
        await writer.drain()
        writer.close()

    async with house(script) as h:
        client = await h.connect()
        await client.send(asks(protocol) + said)
        client.writer.write_eof()

        assert frame(3) == after_the_head(await client.read_all())
        client.writer.close()
        await until(lambda: not h.front.pool._open)
        assert "" == h.front.done[0].failure


async def test_an_upstream_that_has_said_all_may_still_listen():
    """The other way round; both connections end with the second FIN."""
    said, heard = b"word" * 500_000, bytearray()

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCH % b"raw" + b"that is all")
        writer.write_eof()
        while piece := await reader.read(1 << 16):
            heard.extend(piece)

    async with house(script) as h:
        client = await h.connect()
        await client.send(asks(b"raw"))
        assert b"that is all" == after_the_head(await client.read_all())
        await client.send(said)
        client.writer.close()
        await until(lambda: len(heard) == len(said))
        await until(lambda: not h.front.pool._open)

        assert said == heard


async def test_a_client_that_still_sends_hears_why_its_tunnel_ends():
    """What it sends is taken and thrown away: a reset would overtake the close."""
    async with house(switches(frame(1))) as h:
        client = await h.connect()
        await client.send(asks())
        await client.reader.readuntil(frame(1))
        client.writer.write(b"x" * 500_000)
        relay_of(h).end_now(Reason.EXPIRED)
        client.writer.write(b"x" * 100_000)

        assert EXPIRED == await client.read_all()
        client.writer.close()
