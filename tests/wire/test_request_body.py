"""Proves where a body ends, and how long and how slow it may be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.values import Reason
from gateway.wire.chunked import LAST_CHUNK, encode_chunk
from gateway.wire.heads import CHUNKED
from gateway.wire.request_body import RequestBody

NEXT = b"GET / HTTP/1.1\r\n"


def body(length: int = CHUNKED, *, limit: int = 0, rate: int = 0) -> RequestBody:
    """Expect a body; the first ten seconds are free."""
    return RequestBody(length, limit=limit, rate=rate, free_until=10.0)


def taken(body: RequestBody, *pieces: bytes) -> tuple[bytes, bytes]:
    """Take all pieces; give the payload, and what follows the body."""
    payload = b""
    for number, piece in enumerate(pieces):
        data = piece
        while data:
            told = body.take(data)
            assert isinstance(told, bytes)
            payload += told
            data = body.rest
            if body.ended:
                return payload, data + b"".join(pieces[number + 1 :])
    return payload, b""


@given(
    st.lists(st.binary(min_size=1, max_size=20000), max_size=3),
    st.integers(min_value=1, max_value=70000),
    st.booleans(),
)
def test_a_body_ends_where_it_says(parts, step, chunked):
    """However it comes; what follows is not touched."""
    whole = b"".join(parts)
    if not (chunked or whole):
        return
    sent = b"".join(map(encode_chunk, parts)) + LAST_CHUNK if chunked else whole
    sent += NEXT
    pieces = [sent[at : at + step] for at in range(0, len(sent), step)]
    told = body(CHUNKED if chunked else len(whole))

    assert (whole, NEXT) == taken(told, *pieces)
    assert (len(whole), True) == (told.received, told.ended)


def test_a_body_that_is_not_whole_has_not_ended():
    """Of a length, or chunked."""
    declared, chunked = body(5), body()

    assert (b"abc", b"") == taken(declared, b"abc")
    assert (b"abc", b"") == taken(chunked, b"5\r\nabc")
    assert (False, False) == (declared.ended, chunked.ended)
    assert (3, 3) == (declared.received, chunked.received)


def test_a_chunked_body_has_a_limit_and_a_grammar():
    """A declared length was judged before anybody asked for the body."""
    limited = body(limit=5)

    assert b"abcde" == limited.take(encode_chunk(b"abcde"))
    assert Reason.BODY_TOO_LARGE is limited.take(encode_chunk(b"f"))
    assert Reason.BAD_MESSAGE is body().take(b"5\nabcde")
    assert b"abcdef" == body(6, limit=5).take(b"abcdef")


def test_a_body_has_a_rate_once_it_had_its_time():
    """Counted over the whole; what was not read of it for a while is excused."""
    told = body(100, rate=10)
    assert (False, True) == (told.is_late(10.0), told.is_late(10.1))
    told.take(b"x" * 20)
    assert (False, True) == (told.is_late(12.0), told.is_late(12.1))
    told.excuse(100.0)

    assert (False, True) == (told.is_late(112.0), told.is_late(112.1))
    assert not body(100).is_late(1e9)


@pytest.mark.parametrize(("size", "crumbled"), [(1, True), (1000, False)])
def test_crumbs_are_taken_by_slices(size, crumbled):
    """So that others have a turn; large chunks are as cheap as a length."""
    told = body()
    data = encode_chunk(b"x" * size) * (40_000 // size)
    payload = told.take(data)

    assert crumbled is told.crumbled
    assert isinstance(payload, bytes)
    assert payload
    assert len(payload) < 17 * 1024
    assert data.endswith(told.rest)
    assert told.rest
