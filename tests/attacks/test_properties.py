"""Proves of any bytes what the table of attacks proves of some."""

import itertools
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fronts.house import Told, door, read_responses, request
from tests.wire.harness import HandLoop, turns, until

CHUNKED: Final = "Transfer-Encoding: chunked"
VALID: Final = (
    request("GET /public/a?b=c", "X-A: b", close=False),
    request("GET /api/a", token="Tr", close=False),
    request("GET /api/a", token="Tx", close=False),
    request("GET /admin/a", token="Tr", close=False),
    request("GET /nowhere", close=False),
    request("POST /public/a", body=b"hello", close=False),
    request("POST /public/a", CHUNKED, close=False)
    + b"2;x=y\r\nab\r\n3\r\ncde\r\n0\r\nT: 1\r\n\r\n",
    request(
        "GET /ws/a", "Connection: Upgrade", "Upgrade: h2c", token="Tr", close=False
    ),
)
LAST: Final = request("GET /public/last")

pipelines = st.lists(st.sampled_from(VALID), min_size=1, max_size=5)


def essence(told: list[Told]) -> list[tuple[object, ...]]:
    """Give what must not depend on how a request arrived: all but its number."""
    return [
        (
            each.status,
            [line for line in each.headers if line[0] != b"x-request-id"],
            each.body,
        )
        for each in told
    ]


@settings(max_examples=60, deadline=None)
@given(pipeline=pipelines, cuts=st.lists(st.integers(1, 600), max_size=12))
async def test_answers_do_not_depend_on_how_bytes_arrive(pipeline, cuts):
    """Any split of a stream of requests is answered as the whole, in order."""
    data = b"".join(pipeline) + LAST
    edges = [0, *sorted(cut for cut in set(cuts) if cut < len(data)), len(data)]
    async with door() as d:
        whole = await d.exchange(data)
        judged = [each.target for each in d.upstream.requests]
        client = await d.connect()
        for start, end in itertools.pairwise(edges):
            await client.send(data[start:end])
            await turns()
        pieces = await client.read_all()
        client.writer.close()

        assert len(pipeline) + 1 == len(read_responses(whole))
        assert essence(read_responses(whole)) == essence(read_responses(pieces))
        assert judged * 2 == [each.target for each in d.upstream.requests]


edits = st.lists(
    st.tuples(
        st.integers(0, 200),
        st.integers(0, 3),
        st.one_of(
            st.binary(max_size=3),
            st.sampled_from(
                [
                    b"\r\n",
                    b"\n",
                    b"\r",
                    b" ",
                    b"\t",
                    b"\0",
                    b":",
                    b",",
                    b";",
                    b"0",
                    b"/",
                ]
            ),
            st.sampled_from(
                [
                    b"\r\nContent-Length: 5",
                    b"\r\nTransfer-Encoding: chunked",
                    b"\r\nHost: b",
                    b"HTTP/1.0",
                    b"/../",
                    b"%2e%2e",
                    b"\r\n\r\n",
                ]
            ),
        ),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=250, deadline=None)
@given(start=st.sampled_from(VALID), edits=edits)
async def test_no_bytes_break_the_door(start, edits):
    """No 5xx but those the rules ask for, no waiting for ever, no doubt passed on.

    `door` proves on leaving that the upstream read every byte it got without doubt.
    """
    data = start + LAST
    for at, length, piece in edits:
        data = data[:at] + piece + data[at + length :]
    hand = HandLoop()
    async with door(hand=hand) as d:
        client = await d.connect()
        await client.send(data)
        for _ in range(4):
            await turns(40)
            # Longer than any deadline: whoever still waits now hears of it.
            hand.advance(100)
        answer = await client.read_all()
        client.writer.close()
        statuses = [exchange.status for exchange in d.exchanges]

        assert b"<reset>" not in answer
        assert all(status < 500 or status in (501, 505) for status in statuses)
        assert statuses.count(200) == len(d.upstream.requests)
        assert answer.count(b"HTTP/1.1 ") == len(statuses)


@pytest.mark.parametrize("start", [*VALID, VALID[5][:-3], VALID[0][:20]])
async def test_clients_that_go_at_any_moment_leave_nothing_behind(start):
    """After every number of turns: no task, no connection, no request in flight."""
    async with door() as d:
        for count in range(40):
            client = await d.connect()
            await client.send(start)
            await turns(count)
            client.writer.transport.abort()
        await until(lambda: not len(d.front) and not d.reception.in_flight)
        told = await d.ask("GET /public/a")

        assert 200 == told.status
        assert all(exchange.status < 500 for exchange in d.exchanges)
