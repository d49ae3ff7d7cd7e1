"""Many of everything: nothing that a client can count up makes us grow or stop."""

import gc
import sys
import time
from collections.abc import Callable
from typing import Final

import pytest

from tests.attacks.stage import stage
from tests.fronts.house import request
from tests.wire.harness import turns, until

COUNT: Final = 1500
REMEMBERED: Final = 4096
"""Objects that small caches may hold: of about a thousand entries each."""

FLOODS: Final[dict[str, tuple[Callable[[int], bytes], int]]] = {
    "hosts, paths, field names, protocols": (
        lambda n: (
            b"GET /public/%0200d HTTP/1.1\r\nHost: h%0100d\r\nX-%050d: y\r\n"
            b"Connection: upgrade\r\nUpgrade: u%d\r\n\r\n" % (n, n, n, n)
        ),
        200,
    ),
    "paths without a route": (
        lambda n: request(f"GET /none/{n:0200}", close=False),
        404,
    ),
    "malformed tokens": (
        lambda n: request("GET /api/a", token=f"{n}!", close=False),
        400,
    ),
}


@pytest.mark.parametrize("name", FLOODS)
async def test_memory_does_not_grow_with_what_clients_make_up(name):
    """Every one is answered; what is remembered of them is bounded."""
    make, status = FLOODS[name]
    async with stage() as s:
        d = s.door

        async def flood(start: int) -> None:
            many = b"".join(make(n) for n in range(start, start + COUNT))
            await d.exchange(many + request("GET /public/last"))
            assert [status] * COUNT == [each.status for each in d.exchanges[:-1]]
            d.exchanges.clear()
            d.upstream.requests.clear()
            d.upstream.raw = b""
            gc.collect()

        await flood(0)
        before = sys.getallocatedblocks()
        await flood(COUNT)
        await flood(2 * COUNT)

        # Two objects kept for each request would be half as many again.
        assert sys.getallocatedblocks() - before < REMEMBERED


async def test_every_bad_request_is_one_record_and_no_traceback():
    """Aiohttp CVE-2025-69230: a storm of them costs one line each (sampled)."""
    async with stage() as s:
        for _ in range(200):
            await s.door.exchange(b"GET /public/a HTTP/1.1\r\nX : y\r\n\r\n")

        assert 200 == len(s.door.exchanges)


HARD: Final = {
    "host": b"GET /public/a HTTP/1.1\r\nHost: " + b"a-." * 5000 + b"!\r\n\r\n",
    "target": b"GET /" + b"%2e;" * 1900 + b" HTTP/1.1\r\nHost: h\r\n\r\n",
    "absolute target": b"GET http://"
    + b"a." * 4000
    + b"!/ HTTP/1.1\r\nHost: h\r\n\r\n",
    "query": b"GET /query/a?" + b"access_token" * 600 + b" HTTP/1.1\r\nHost: h\r\n\r\n",
    "token": b"GET /api/a HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer "
    + b"=" * 8000
    + b"!\r\n\r\n",
    "referer": b"GET /public/a HTTP/1.1\r\nHost: h\r\nReferer: "
    + b"?access_token=" * 2000
    + b"\r\n\r\n",
    "options": b"GET /public/a HTTP/1.1\r\nHost: h\r\nConnection: "
    + b"a, " * 10_000
    + b"\r\n\r\n",
    "codings": b"POST /public/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: "
    + b"a, " * 10_000
    + b"chunked\r\n\r\n",
    "extensions": b"POST /public/a HTTP/1.1\r\nHost: h\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n5" + b";a=a" * 200 + b'"' + b"\r\n",
}
"""Values that a careless regular expression would think about for ever."""


@pytest.mark.parametrize("name", HARD)
async def test_no_value_takes_long_to_read(name):
    """All patterns are linear (waitress CVE-2020-5236): milliseconds, ours included."""
    async with stage() as s:
        client = await s.door.connect()
        before = time.thread_time()
        await client.send(HARD[name])
        await until(lambda: s.door.exchanges or s.door.upstream.raw)
        took = time.thread_time() - before
        client.writer.close()

        assert took < 0.1


async def test_a_head_of_ten_megabytes_is_refused_at_its_first_kilobytes():
    """Aiohttp CVE-2025-69229: nothing is gathered that will not be used."""
    async with stage() as s:
        client = await s.door.connect()
        await client.send(b"GET /public/a HTTP/1.1\r\nX: ")
        sent = 0
        while not client.writer.transport.is_closing() and sent < 10_000:
            client.writer.write(b"y" * 1024)
            sent += 1
            await turns()
            if s.door.exchanges:
                break
        client.writer.close()

        assert [431] == [each.status for each in s.door.exchanges]
        assert sent < 100
