"""The two protocols together, between a raw client and a raw upstream."""

import asyncio
import contextlib

import pytest

from gateway.values import Timeouts, WireLimits
from gateway.wire.chunked import ChunkedDecoder
from gateway.wire.downstream import PIPELINE_LIMIT
from tests.wire.harness import house, repeats, replies, until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: b\r\n\r\nhi"
GET = b"GET /a?b=c HTTP/1.1\r\nHost: h\r\nX-Y: z\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


def statuses(data: bytes) -> list[bytes]:
    """Give the status codes of the responses in a byte string."""
    return [part[1:4] for part in data.split(b"HTTP/1.1")[1:]]


async def test_a_request_and_its_answer_pass_byte_for_byte():
    """The target and the body are what was sent."""
    async with house(repeats(OK)) as h:
        answer = await h.exchange(GET + LAST)

        assert [b"200", b"200"] == statuses(answer)
        assert b"x-a: b\r\ncontent-length: 2\r\n\r\nhi" in answer
        assert answer.endswith(b"connection: close\r\n\r\nhi")
        assert (
            b"GET /a?b=c HTTP/1.1\r\nhost: h\r\nx-y: z\r\n\r\n"
            == h.upstream.received[0]
        )
        assert 1 == h.upstream.connections


@pytest.mark.parametrize("step", [1, 7])
async def test_pipelined_requests_are_answered_in_order_however_they_arrive(step):
    """Mixed allowed and refused requests, byte by byte."""
    async with house(repeats(OK)) as h:
        deny = b"GET /deny HTTP/1.1\r\nHost: h\r\n\r\n"
        answer = await h.exchange(GET + deny + GET + LAST, step=step)

        assert [b"200", b"401", b"200", b"200"] == statuses(answer)
        assert 3 == len(h.upstream.received)


async def test_upload_with_length_and_chunked_arrive_decoded_and_reframed():
    """Bodies pass whole; chunk extensions and trailers do not."""

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(5)
        writer.write(OK)
        await reader.readuntil(b"\r\n\r\n")
        await reader.readuntil(b"0\r\n\r\n")
        writer.write(OK)

    async with house(script) as h:
        answer = await h.exchange(
            b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
            b"POST /b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
            b"Connection: close\r\n\r\n2;x=y\r\nab\r\n3\r\ncde\r\n0\r\nT: 1\r\n\r\n"
        )

        assert [b"200", b"200"] == statuses(answer)
        assert [
            b"POST /a HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\n",
            b"hello",
            b"POST /b HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n",
            b"5\r\nabcde\r\n0\r\n\r\n",
        ] == h.upstream.received


async def test_a_stray_response_is_never_the_next_answer():
    """Bytes on an idle upstream connection close it (aiohttp #13656)."""
    stray = asyncio.Event()

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await asyncio.sleep(0.05)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL")
        await writer.drain()
        stray.set()
        await reader.read()

    async with house(script) as h:
        client = await h.connect()
        await client.send(GET)
        await client.read_head()
        await client.reader.readexactly(2)
        await stray.wait()
        await asyncio.sleep(0.05)
        await client.send(LAST)
        answer = await client.read_all()
        client.writer.close()

        assert b"EVIL" not in answer
        assert answer.endswith(b"hi")
        assert 2 == h.upstream.connections


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: foo\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nhi\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 999 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nX: \x00\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 101 Switching\r\nUpgrade: foo\r\nConnection: upgrade\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 103 E\r\n\r\n" * 17 + OK,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20000 + b"\r\n",
        b"",
    ],
)
async def test_a_doubtful_response_is_a_502_and_the_connection_is_dropped(answer):
    """Nothing of a doubtful response reaches the client."""

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        if not answer:
            writer.close()
        await reader.read()

    async with house(script) as h:
        got = await h.exchange(LAST)

        assert b"502" == statuses(got)[-1]
        assert got.endswith(b"no")
        assert not h.front.pool._open


async def test_an_answer_cut_short_is_cut_for_the_client_too():
    """A part never looks like the whole."""
    short = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhi"
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n"
    for answer in (short, chunked):

        async def script(reader, writer, answer=answer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
            writer.close()

        async with house(script) as h:
            got = await h.exchange(LAST)

            assert got.endswith(b"<reset>")
            assert b"0\r\n\r\n" not in got


async def test_an_idle_connection_that_was_closed_costs_one_retry():
    """A GET on a connection the upstream had closed is sent again, once."""
    count = 0

    async def script(reader, writer):
        nonlocal count
        count += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        if count == 1:
            await reader.readuntil(b"\r\n\r\n")
            writer.close()
        else:
            await reader.read()

    async with house(script) as h:
        answer = await h.exchange(GET + LAST)

        assert [b"200", b"200"] == statuses(answer)
        assert 2 == h.upstream.connections
        assert {"closed": 1, "connect": 0} == h.front.pool.state().retries


async def test_a_post_is_never_sent_twice():
    """A broken POST is a 502, whatever the connection's age."""

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    post = b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab"
    async with house(script) as h:
        answer = await h.exchange(GET + post + LAST)

        assert b"502" == statuses(answer)[1]
        assert 1 == sum(b"POST /p" in each for each in h.upstream.received)


async def test_a_client_that_goes_away_stops_the_upstream():
    """The upstream's connection closes when the client's does."""
    closed = asyncio.Event()
    asked = asyncio.Event()

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()
        closed.set()

    async with house(script) as h:
        client = await h.connect()
        await client.send(GET)
        await asked.wait()
        client.writer.close()
        async with asyncio.timeout(2):
            await closed.wait()

        assert "client gone" == h.front.done[0].failure


async def test_head_and_bodiless_answers_keep_the_connection():
    """HEAD with a length, 204 and 304 carry no body, and say no wrong length."""
    answers = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n",
        OK,
    ]
    async with house(replies(*answers)) as h:
        head = b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n"
        answer = await h.exchange(head + GET + GET + LAST)

        assert [b"200", b"204", b"304", b"200"] == statuses(answer)
        assert b"content-length: 5\r\n\r\nHTTP/1.1 204" in answer
        assert b"204 No Content\r\n\r\n" in answer
        assert b"content-length: 7\r\n\r\nHTTP/1.1 200" in answer
        assert 1 == h.upstream.connections


async def test_interim_responses_are_relayed():
    """103 passes; 100 does not, since nobody asked for it."""
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    async with house(repeats(b"HTTP/1.1 100 Continue\r\n\r\n" + hints + OK)) as h:
        answer = await h.exchange(LAST)

        assert [b"103", b"200"] == statuses(answer)
        assert b"link: </a>" in answer


async def test_100_continue_comes_only_with_a_permit():
    """A refused upload is refused before its body is sent (SECURITY §0, item 8)."""

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(3)
        writer.write(OK)
        await reader.read()

    async with house(script) as h:
        head = (
            b" HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
        )
        refused = await h.exchange(b"POST /deny" + head)
        client = await h.connect()
        await client.send(b"POST /a" + head)
        interim = await client.read_head()
        await client.send(b"abc")
        final = await client.read_head()
        client.writer.close()

        assert refused.startswith(b"HTTP/1.1 401 ")
        assert b"connection: close" in refused
        assert b"HTTP/1.1 100 Continue\r\n\r\n" == interim
        assert final.startswith(b"HTTP/1.1 200 ")
        assert b"expect" not in h.upstream.received[0]


async def test_a_request_inside_a_refused_body_is_never_a_request():
    """After a refusal with an unread body the connection closes."""
    async with house(repeats(OK)) as h:
        inner = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
        answer = await h.exchange(
            b"POST /deny HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(inner)
            + inner
        )

        assert [b"401"] == statuses(answer)
        assert [] == h.upstream.received


async def test_an_upgrade_is_a_tunnel_after_101_only():
    """Bytes after the request wait for the 101, then pass both ways, untouched."""

    async def script(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"connection: upgrade\r\nupgrade: websocket" in head
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
            b"Connection: upgrade\r\n\r\nfirst"
        )
        writer.write(b"echo " + await reader.read(100))
        await writer.drain()
        writer.close()

    upgrade = (
        b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n"
        b"Upgrade: websocket\r\n\r\nearly"
    )
    async with house(script) as h:
        answer = await h.exchange(upgrade)

        assert answer.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        assert answer.endswith(b"\r\n\r\nfirstecho early")


async def test_a_refused_upgrade_stays_http():
    """What follows an upgrade answered with 200 is judged as a request of its own."""
    async with house(repeats(OK)) as h:
        upgrade = (
            b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\n\r\nGET /deny HTTP/1.1\r\nHost: h\r\n\r\n"
        )
        answer = await h.exchange(upgrade + LAST)

        assert [b"200", b"401", b"200"] == statuses(answer)


async def test_a_tunnel_ends_with_its_token():
    """Neither side outlives the token."""

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"
        )
        await reader.read()

    async with house(script) as h:
        h.front.ends_in = 0.05
        answer = await h.exchange(
            b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\n\r\n"
        )

        assert answer.startswith(b"HTTP/1.1 101 ")
        assert "token expired" == h.front.done[0].failure


async def test_a_slow_upstream_is_a_504():
    """No first byte in time."""

    async def script(reader, writer):
        await reader.read()

    async with house(script, timeouts=Timeouts(first_byte=0.1)) as h:
        answer = await h.exchange(LAST)

        assert answer.startswith(b"HTTP/1.1 504 ")


async def test_when_every_connection_is_busy_the_queue_is_bounded():
    """One connection, one waiting: the third hears 503, the second is served."""
    release = asyncio.Event()

    async def script(reader, writer):
        while True:
            await reader.readuntil(b"\r\n\r\n")
            await release.wait()
            writer.write(OK)

    async with house(script, connections=1, waiting=1) as h:
        first = asyncio.ensure_future(h.exchange(LAST))  # noqa: TID251
        await asyncio.sleep(0.05)
        second = asyncio.ensure_future(h.exchange(LAST))  # noqa: TID251
        await asyncio.sleep(0.05)
        third = await h.exchange(LAST)
        release.set()

        assert third.startswith(b"HTTP/1.1 503 ")
        assert (await first).startswith(b"HTTP/1.1 200 ")
        assert (await second).startswith(b"HTTP/1.1 200 ")
        assert 1 == h.upstream.connections


async def test_a_body_over_its_limit_is_a_413():
    """A chunked body is counted as it comes."""

    async def script(reader, writer):
        await reader.read()
        await reader.read()

    async with house(script) as h:
        h.front.body_limit = 4
        answer = await h.exchange(
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n"
        )

        assert answer.startswith(b"HTTP/1.1 413 ")


async def test_http10_gets_no_chunks_and_no_persistence():
    """RFC 9112 §6.1 and §9.3."""
    chunked = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
    )
    async with house(repeats(chunked)) as h:
        answer = await h.exchange(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")

        assert b"transfer-encoding" not in answer
        assert answer.endswith(b"connection: close\r\n\r\nhi")


async def test_an_answer_that_ends_with_its_connection_is_chunked_for_the_client():
    """A 1.1 client can tell that it got everything."""

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhello")
        await writer.drain()
        writer.close()

    async with house(script) as h:
        answer = await h.exchange(LAST)

        assert b"5\r\nhello\r\n0\r\n\r\n" in answer


async def test_deadlines_for_heads_bodies_and_idle_clients():
    """Half a head is a 408, half a body is a 408, silence is a close."""
    limits = WireLimits(header_timeout=0.2, body_timeout=0.2, idle_timeout=0.2)

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        await reader.read()

    async with house(script, limits=limits) as h:
        head = await h.exchange(b"GET / HTTP/1.1\r\nHost")
        body = await h.exchange(
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc"
        )
        silence = await h.exchange(b"")

        assert head.startswith(b"HTTP/1.1 408 ")
        assert body.startswith(b"HTTP/1.1 408 ")
        assert b"" == silence


@pytest.mark.parametrize("direction", ["down", "up"])
async def test_slow_readers_hold_back_fast_writers(direction):
    """Back-pressure: what one side does not read, the other cannot send."""
    size = 64 * 1024 * 1024
    progress = 0

    async def down(reader, writer):
        nonlocal progress
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // 65536):
            writer.write(b"x" * 65536)
            await writer.drain()
            progress += 65536

    async def up(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(60)

    async with house(down if direction == "down" else up) as h:
        client = await h.connect()
        if direction == "down":
            await client.send(GET)
            await client.read_head()
        else:
            await client.send(
                b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % size
            )
            try:
                async with asyncio.timeout(0.5):
                    for _ in range(size // 65536):
                        client.writer.write(b"x" * 65536)
                        await client.writer.drain()
                        progress += 65536
            except TimeoutError:
                pass
        await asyncio.sleep(0.3)
        client.writer.transport.abort()

        assert progress < size / 2


async def test_a_tunnel_carries_a_conversation():
    """Both directions, after the switch and in turn."""

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"
        )
        while data := await reader.read(100):
            writer.write(data.upper())

    async with house(script) as h:
        client = await h.connect()
        await client.send(
            b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\n\r\n"
        )
        await client.read_head()
        for word in (b"one", b"two"):
            await client.send(word)
            assert word.upper() == await client.reader.readexactly(3)
        client.writer.close()
        await until(lambda: not h.front.pool._open)

        assert "" == h.front.done[0].failure


@pytest.mark.parametrize(
    ("content_type", "whole"), [(b"text/event-stream", False), (b"audio/mpeg", True)]
)
async def test_a_stream_of_events_ends_with_its_token(content_type, whole):
    """Other responses finish once begun: a song outlives its token."""

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: 4\r\n\r\nla"
            % content_type
        )
        await asyncio.sleep(0.15)
        writer.write(b"la")

    async with house(script) as h:
        h.front.ends_in = 0.05
        answer = await h.exchange(LAST)

        assert whole == answer.endswith(b"lala")
        assert whole != answer.endswith(b"la<reset>")
        assert ("" if whole else "token expired") == h.front.done[0].failure


async def test_an_upload_goes_on_when_the_upstream_reads_again():
    """Back-pressure is a pause, not an end."""
    size = 8 * 1024 * 1024
    go = asyncio.Event()

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        await go.wait()
        await reader.readexactly(size)
        writer.write(OK)

    async with house(script) as h:
        client = await h.connect()
        await client.send(
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % size
            + b"x" * size
        )
        await until(lambda: h.front.connections and h.front.only()._body_paused)
        go.set()
        answer = await client.read_head()
        client.writer.close()

        assert answer.startswith(b"HTTP/1.1 200 ")


async def test_a_download_goes_on_when_the_client_reads_again():
    """Every byte arrives, once and in order."""
    body = b"".join(b"%07d\n" % number for number in range(100_000))
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    async with house(repeats(answer)) as h:
        client = await h.connect_narrow()
        await client.send(LAST)
        await until(lambda: h.front.only()._write_paused)
        client.read_on()
        got = await client.read_all()
        client.writer.close()

        assert body == got[-len(body) :]


async def test_a_connection_filled_by_a_slow_client_serves_the_next_one():
    """Its reading was paused when the last byte came; that must not outlast it."""
    body = b"x" * 100_000

    async def script(reader, writer):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(
                OK
                if b"/last" in head
                else b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            )

    async with house(script, timeouts=Timeouts(first_byte=1)) as h:
        slow = await h.connect_narrow()
        await slow.send(GET)
        await until(lambda: h.front.done)
        answer = await h.exchange(LAST)
        slow.writer.transport.abort()

        assert answer.startswith(b"HTTP/1.1 200 ")
        assert 1 == h.upstream.connections


async def test_a_client_that_leaves_the_queue_is_not_served():
    """Whoever waits for a connection and goes away asks nothing of the upstream."""

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        await reader.read()

    async with house(script, connections=1) as h:
        first, second = await h.connect(), await h.connect()
        await first.send(GET)
        await until(lambda: h.upstream.received)
        await second.send(GET)
        await until(lambda: h.front.pool._waiters)
        second.writer.close()
        await until(lambda: h.front.done)

        assert ["client gone"] == [relay.failure for relay in h.front.done]
        assert "<Relay GET to u>" == repr(h.front.done[0])
        assert 0 == h.front.done[0].status
        await until(lambda: not h.front.pool._waiters)
        first.writer.close()


async def test_an_unreachable_upstream_is_a_502():
    """Nobody listens there."""
    async with house(repeats(OK)) as h:
        h.upstream_server.close()
        answer = await h.exchange(LAST)

        assert answer.startswith(b"HTTP/1.1 502 ")
        assert "upstream closed or unreachable" == h.front.done[0].failure


async def test_an_early_refusal_of_an_upload_is_relayed_at_once():
    """The upload stops, and both connections close (SECURITY §5)."""

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno")
        await reader.read()

    async with house(script) as h:
        client = await h.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99\r\n\r\nab")
        answer = await client.read_all()
        client.writer.close()
        await until(lambda: not h.front.pool._open)

        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"connection: close\r\n" in answer
        assert answer.endswith(b"no")


async def test_a_client_that_leaves_mid_answer_stops_the_upstream():
    """However much of it was sent already."""

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab")
        await reader.read()

    async with house(script) as h:
        client = await h.connect()
        await client.send(GET)
        await client.read_head()
        client.writer.close()
        await until(lambda: not h.front.pool._open)

        assert (200, "client gone") == (h.front.done[0].status, h.front.done[0].failure)


async def test_an_upload_cut_off_by_its_client_never_looks_whole():
    """The upstream sees a broken request, not the end of one."""
    seen = bytearray()
    over = asyncio.Event()

    async def script(reader, writer):
        while data := await reader.read(100):
            seen.extend(data)
        over.set()

    async with house(script) as h:
        client = await h.connect()
        await client.send(
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2\r\nab\r\n"
        )
        await until(lambda: seen.endswith(b"ab\r\n"))
        client.writer.transport.abort()
        await over.wait()

        assert seen.endswith(b"2\r\nab\r\n")


async def test_a_burst_of_requests_leaves_others_their_turn():
    """Somebody else is served long before thousands of pipelined requests are."""
    refused = b"GET /deny HTTP/1.1\r\nHost: h\r\n\r\n"
    async with house(repeats(OK)) as h:
        greedy, other = await h.connect(), await h.connect()
        await greedy.send(refused * 6000)
        await other.send(refused)
        answers = b""
        async with asyncio.timeout(20):
            reader = asyncio.ensure_future(other.read_head())  # noqa: TID251
            while not reader.done():
                answers += await greedy.reader.read(4096)
            waited = statuses(answers)
            while len(statuses(answers)) < 6000:
                answers += await greedy.reader.read(1 << 20)
        greedy.writer.close()
        other.writer.close()

        assert (await reader).startswith(b"HTTP/1.1 401 ")
        assert len(waited) < 3000
        assert [b"401"] * 6000 == statuses(answers)


async def test_a_body_in_crumbs_arrives_whole_and_in_turns():
    """A hundred thousand one-byte chunks, and a request behind them."""
    got: list[bytes] = []

    async def script(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        while not b"".join(got[-2:]).endswith(b"0\r\n\r\n"):
            got.append(await reader.read(1 << 16))
        writer.write(OK)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)

    post = b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with house(script) as h:
        answer = await h.exchange(post + b"1\r\nx\r\n" * 100_000 + b"0\r\n\r\n" + LAST)
        body = ChunkedDecoder()
        payload = b"".join(body.feed(b"".join(got)))

        assert [b"200", b"200"] == statuses(answer)
        assert b"x" * 100_000 == payload


async def test_pipelining_faster_than_the_answers_is_held_back():
    """What waits its turn is bounded: the client cannot send on (PIPELINE_LIMIT)."""
    release = asyncio.Event()

    async def script(reader, writer):
        while True:
            await reader.readuntil(b"\r\n\r\n")
            await release.wait()
            writer.write(OK)

    async with house(script) as h:
        client = await h.connect()
        sent = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                while sent < 64 << 20:
                    client.writer.write(GET * 1000)
                    await client.writer.drain()
                    sent += len(GET) * 1000
        (connection,) = h.front.connections
        held = len(connection._buffer)
        release.set()
        client.writer.transport.abort()

        assert sent < 64 << 20
        assert held < 1 << 20


async def test_much_that_is_sent_before_the_101_reaches_the_tunnel_whole():
    """What was held back meanwhile is read on (PIPELINE_LIMIT)."""
    switched = asyncio.Event()
    got = 0

    async def script(reader, writer):
        nonlocal got
        await reader.readuntil(b"\r\n\r\n")
        await switched.wait()
        writer.write(
            b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"
        )
        while got < 400_000:
            got += len(await reader.read(1 << 16))
        writer.close()

    upgrade = (
        b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n"
        b"Upgrade: websocket\r\n\r\n"
    )
    async with house(script) as h:
        client = await h.connect()
        await client.send(upgrade + b"x" * 400_000)
        (connection,) = h.front.connections
        await until(lambda: len(connection._buffer) > PIPELINE_LIMIT)
        switched.set()
        answer = await client.read_all()
        client.writer.close()

        assert answer.startswith(b"HTTP/1.1 101 ")
        assert 400_000 == got
