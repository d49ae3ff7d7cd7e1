"""Proves what is taken for a head, and when: at once, later or never."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.values import Reason, WireLimits
from gateway.wire.heads import ParsedHead
from gateway.wire.request_heads import BLANK, REPEATED_LIMIT, RequestHeads

LINES = b"\r\nHost: h\r\nX-A: 1\r\n\r\n"
GET = b"GET /a HTTP/1.1" + LINES
LIMITS = WireLimits(target_bytes=100, header_bytes=200, header_count=4)


@pytest.fixture
def heads():
    """What reads the heads of a client, within small bounds."""
    return RequestHeads(LIMITS)


def test_what_comes_behind_a_head_is_left(heads):
    """An empty line before it is none of it (RFC 9112 §2.2)."""
    head = heads.read(b"\r\n" + GET + b"body")

    assert isinstance(head, ParsedHead)
    assert ("GET", b"/a", b"body") == (head.method, head.target, heads.rest)


@pytest.mark.parametrize("data", [GET, b"\r\n" + GET])
def test_a_head_is_waited_for_to_its_last_byte(heads, data):
    """And refused at none that a good one has."""
    assert all(heads.read(data[:end]) is None for end in range(1, len(data)))


def test_nothing_has_begun_by_an_empty_line(heads):
    """Nobody need hurry then."""
    assert [None, None] == [heads.read(data) for data in BLANK]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET /" + b"a" * 200, Reason.TARGET_TOO_LONG),
        (b"GET /" + b"a" * 200 + LINES, Reason.TARGET_TOO_LONG),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 200, Reason.HEADERS_TOO_LARGE),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 200 + LINES, Reason.HEADERS_TOO_LARGE),
        (b"\x16\x03\x01\x02", Reason.BAD_MESSAGE),
        (b"SSH-2.0-OpenSSH_9.6\r\n", Reason.BAD_MESSAGE),
        (b"GET / HTTP/1.1\n", Reason.BAD_MESSAGE),
        (b"GET / HTTP/1.1\r\n\r\n", Reason.BAD_MESSAGE),
    ],
)
def test_what_can_only_be_bad_is_refused_at_once(heads, data, reason):
    """Whether its end is there or not."""
    assert reason is heads.read(data)


def test_repeated_lines_are_read_once(heads):
    """What was noted of them is still known; only the first line is new."""
    assert heads.repeated(GET) is None
    first = heads.read(GET)
    same = heads.repeated(GET)
    other = heads.repeated(b"DELETE /b HTTP/1.1" + LINES)

    assert first is same
    assert isinstance(first, ParsedHead)
    assert isinstance(other, ParsedHead)
    assert ("DELETE", b"/b") == (other.method, other.target)
    assert first.notes is other.notes
    assert first.headers is other.headers
    assert other is heads.repeated(b"DELETE /b HTTP/1.1" + LINES)


@pytest.mark.parametrize(
    "data",
    [
        GET[:-1],
        GET + b"x",
        GET + GET,
        b"\r\n" + GET,
        b"GET /a HTTP/1.0" + LINES,
        b"GET  /a HTTP/1.1" + LINES,
        b"GET /" + b"a" * 100 + b" HTTP/1.1" + LINES,
        GET.replace(b"X-A: 1", b"X-A: 2"),
    ],
)
def test_what_differs_in_anything_else_is_read_afresh(heads, data):
    """However slightly."""
    heads.read(GET)

    assert heads.repeated(data) is None
    assert heads.repeated(GET) is not None


@given(st.sampled_from([b"GET", b"HEAD", b"PUT", b"X"]), st.binary(max_size=120))
def test_a_repeated_head_is_what_a_new_one_would_be(method, target):
    """The short way leads to the same, or nowhere."""
    data = method + b" /" + target + b" HTTP/1.1" + LINES
    heads = RequestHeads(LIMITS)
    heads.read(GET)
    short = heads.repeated(data)

    assert short is None or short == RequestHeads(LIMITS).read(data)


def test_lines_are_forgotten_when_it_is_asked_for(heads):
    """And by a head that is none, which ends the connection in any case."""
    heads.read(GET)
    heads.forget_lines()
    assert heads.repeated(GET) is None
    heads.read(GET)
    heads.read(b"GET / HTTP/1.1\r\n\r\n")

    assert heads.repeated(GET) is None


@pytest.mark.parametrize("size", [10, REPEATED_LIMIT])
def test_long_header_lines_are_not_remembered(size):
    """A client that idles holds no more than what a usual one sends."""
    heads = RequestHeads(WireLimits())
    data = b"GET /a HTTP/1.1\r\nHost: h\r\nX: " + b"x" * size + b"\r\n\r\n"
    heads.read(data)

    assert (size < REPEATED_LIMIT) == (heads.repeated(data) is not None)
