"""Proves the chunked decoder against llhttp, whole and byte at a time."""

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import MessageError
from gateway.wire.chunked import LAST_CHUNK, ChunkedDecoder, encode_chunk


def decode(data: bytes, step: int = 0) -> tuple[bytes, bytes] | None:
    """Decode in pieces of `step`; None where the decoder refuses or wants more."""
    decoder = ChunkedDecoder()
    payload = b""
    pieces = (
        [data[at : at + step] for at in range(0, len(data), step)] if step else [data]
    )
    try:
        for number, piece in enumerate(pieces):
            payload += b"".join(decoder.feed(piece))
            if decoder.done:
                return payload, decoder.rest + b"".join(pieces[number + 1 :])
    except MessageError:
        return None
    return None


def llhttp_decode(data: bytes) -> bytes | None:
    """What llhttp makes of the same body; None where it refuses or wants more."""

    class Body:
        payload = b""
        complete = False

        def on_body(self, piece: bytes) -> None:
            self.payload += piece

        def on_message_complete(self) -> None:
            self.complete = True

    body = Body()
    parser = httptools.HttpRequestParser(body)
    parser.feed_data(
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    try:
        parser.feed_data(data)
    except httptools.HttpParserError:
        return None
    return body.payload if body.complete else None


REFUSED = [
    b"5\nhello\r\n0\r\n\r\n",
    b"5\r\nhello\n0\r\n\r\n",
    b"5\r\nhello0\r\n\r\n",
    b"5 \r\nhello\r\n0\r\n\r\n",
    b" 5\r\nhello\r\n0\r\n\r\n",
    b"+5\r\nhello\r\n0\r\n\r\n",
    b"0x5\r\nhello\r\n0\r\n\r\n",
    b"-1\r\nhello\r\n0\r\n\r\n",
    b"\r\nhello\r\n0\r\n\r\n",
    b"10000000000000000\r\n",
    b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    b"5;\x00\r\nhello\r\n0\r\n\r\n",
    b"0\r\nno colon\r\n\r\n",
    b"0\r\n: empty\r\n\r\n",
    b"0\r\na b: c\r\n\r\n",
    b"0\r\n folded\r\n\r\n",
    b"0\r\na: b\n\r\n",
    b"5;" + b"x" * 2000 + b"\r\nhello\r\n0\r\n\r\n",
    b"0\r\n" + b"a: %b\r\n" % (b"x" * 900) * 10 + b"\r\n",
    b"1;" * 1 + b"x" * 1000 + b"\r\na\r\n" + (b"1;" + b"x" * 1000 + b"\r\na\r\n") * 17,
]


@pytest.mark.parametrize("data", REFUSED)
@pytest.mark.parametrize("step", [0, 1, 3])
def test_doubtful_framing_is_refused(data, step):
    """Whole or byte at a time, doubt is an error, never a guess."""
    assert decode(data, step) is None


@pytest.mark.parametrize("step", [0, 1, 2, 7])
def test_extensions_and_trailers_vanish(step):
    """Neither reaches the payload, and the next message starts at the right byte."""
    data = b"5;name=value\r\nhello\r\nA\r\n, it is me\r\n0;x\r\nTrailer: 1\r\n\r\nGET /"

    assert (b"hello, it is me", b"GET /") == decode(data, step)


def test_a_chunk_size_may_be_huge_without_anything_being_allocated():
    """A promised size is only counted down."""
    decoder = ChunkedDecoder()

    assert [b"abc"] == decoder.feed(b"fffffffffffffff\r\nabc")
    assert not decoder.done


def test_many_tiny_chunks_take_linear_time():
    """A megabyte of one-byte chunks in one read is no attack."""
    data = encode_chunk(b"x") * 170_000 + LAST_CHUNK

    assert (b"x" * 170_000, b"") == decode(data)


@given(
    pieces=st.lists(st.binary(min_size=1, max_size=40), max_size=8),
    rest=st.binary(max_size=20),
    step=st.integers(1, 50),
)
def test_what_is_encoded_is_decoded(pieces, rest, step):
    """Encoding then decoding gives the same bytes, however they are cut."""
    data = b"".join(map(encode_chunk, pieces)) + LAST_CHUNK + rest

    assert (b"".join(pieces), rest) == decode(data)
    assert (b"".join(pieces), rest) == decode(data, step)


fragments = st.sampled_from(
    [b"0", b"1", b"5", b"a", b"F", b"\r\n", b"\r", b"\n", b";", b" ", b"x", b":", b"\t"]
)


@given(st.lists(fragments, max_size=24).map(b"".join), st.integers(1, 5))
def test_what_we_accept_llhttp_reads_the_same(data, step):
    """We may be stricter than llhttp; we never read a body it would read otherwise."""
    ours = decode(data)

    assert ours == decode(data, step)
    if ours is not None and not ours[1]:
        assert llhttp_decode(data) == ours[0]
