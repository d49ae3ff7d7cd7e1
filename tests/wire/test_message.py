"""Proves what a head is taken for, and that doubt is never resolved by guessing."""

import httptools
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.errors import MessageError
from gateway.rules.headers import header_lines
from gateway.values import Reason
from gateway.wire.heads import CHUNKED, UNTIL_CLOSE, ParsedHead, ResponseHead
from gateway.wire.message import (
    _lines,
    read_request_head,
    read_request_line,
    read_response_head,
    serialise_request,
    serialise_response,
)

LIMIT = 20


def request(*lines: bytes, line: bytes = b"GET /a HTTP/1.1") -> ParsedHead | Reason:
    """Read a request head of these lines, Host already among them."""
    data = b"\r\n".join((line, b"Host: h", *lines, b"", b""))
    return read_request_head(data, count_limit=LIMIT)


def parsed(*lines: bytes, line: bytes = b"GET /a HTTP/1.1") -> ParsedHead:
    """Read a request head that has to be a good one."""
    head = request(*lines, line=line)
    assert isinstance(head, ParsedHead)
    return head


def response(
    *lines: bytes, line: bytes = b"HTTP/1.1 200 OK", method: str = "GET"
) -> ResponseHead:
    """Read a response head of these lines."""
    return read_response_head(b"\r\n".join((line, *lines, b"", b"")), method)


# --------------------------------------------------------------------- requests


def test_a_request_head_is_read_whole():
    """Names are lower-cased, values trimmed, the target and the order untouched."""
    head = parsed(
        b"X-A:  b \t", b"x-a: C", b"X-Empty:", line=b"GET /%61?b=%zz HTTP/1.1"
    )

    assert (
        ParsedHead(
            method="GET",
            target=b"/%61?b=%zz",
            headers=[
                (b"host", b"h"),
                (b"x-a", b"b"),
                (b"x-a", b"C"),
                (b"x-empty", b""),
            ],
            body=0,
            http10=False,
            close=False,
            expects=False,
            upgrade=b"",
        )
        == head
    )


@pytest.mark.parametrize(
    ("lines", "body"),
    [
        ([], 0),
        ([b"Content-Length: 0"], 0),
        ([b"Content-Length: 5"], 5),
        ([b"Content-Length: 005"], 5),
        ([b"Content-Length: 5 \t"], 5),
        ([b"Transfer-Encoding: chunked"], CHUNKED),
        ([b"Transfer-Encoding: CHUNKED"], CHUNKED),
    ],
)
def test_the_body_is_framed_in_one_of_three_ways(lines, body):
    """By nothing, by a length, or by chunks (RFC 9112 §6.3)."""
    assert body == parsed(*lines, line=b"POST /a HTTP/1.1").body


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([b"Content-Length:"], Reason.BAD_MESSAGE),
        ([b"Content-Length: +5"], Reason.BAD_MESSAGE),
        ([b"Content-Length: -5"], Reason.BAD_MESSAGE),
        ([b"Content-Length: 5_0"], Reason.BAD_MESSAGE),
        ([b"Content-Length: 0x5"], Reason.BAD_MESSAGE),
        ([b"Content-Length: 5,5"], Reason.BAD_MESSAGE),
        ([b"Content-Length: 5,"], Reason.BAD_MESSAGE),
        ([b"Content-Length: 5 5"], Reason.BAD_MESSAGE),
        ([b"Content-Length: \xd9\xa5"], Reason.BAD_MESSAGE),
        ([b"Content-Length: 1000000000000000000"], Reason.BAD_MESSAGE),
        ([b"Content-Length: 18446744073709551617"], Reason.BAD_MESSAGE),
        ([b"Content-Length: 5", b"Content-Length: 5"], Reason.BAD_MESSAGE),
        ([b"Content-Length: 5", b"Transfer-Encoding: chunked"], Reason.BAD_MESSAGE),
        ([b"Transfer-Encoding: chunked", b"Content-Length: 5"], Reason.BAD_MESSAGE),
        ([b"Transfer-Encoding:", b"Content-Length: 5"], Reason.BAD_MESSAGE),
        ([b"Transfer-Encoding:"], Reason.BAD_MESSAGE),
        ([b"Transfer-Encoding: ,chunked"], Reason.BAD_MESSAGE),
        ([b"Transfer-Encoding: chunked,"], Reason.BAD_MESSAGE),
        ([b"Transfer-Encoding: chunked, chunked"], Reason.BAD_MESSAGE),
        ([b"Transfer-Encoding: chunked, gzip"], Reason.BAD_MESSAGE),
        ([b"Transfer-Encoding: identity"], Reason.BAD_MESSAGE),
        ([b"Transfer-Encoding: \x0bchunked"], Reason.BAD_MESSAGE),
        ([b"Transfer-Encoding: xchunked"], Reason.BAD_MESSAGE),
        ([b"Transfer-Encoding: chunked;q=1"], Reason.BAD_MESSAGE),
        ([b'Transfer-Encoding: "chunked"'], Reason.BAD_MESSAGE),
        ([b"Transfer-Encoding : chunked"], Reason.BAD_MESSAGE),
        (
            [b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"],
            Reason.BAD_MESSAGE,
        ),
        ([b"Transfer-Encoding: gzip, chunked"], Reason.CODING_NOT_IMPLEMENTED),
        (
            [b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked"],
            Reason.CODING_NOT_IMPLEMENTED,
        ),
    ],
)
def test_framing_in_doubt_is_refused(lines, reason):
    """What two readers could frame differently is nobody's request (SECURITY §1 D)."""
    assert reason == request(*lines, line=b"POST /a HTTP/1.1")


def test_a_transfer_coding_means_nothing_in_http10():
    """RFC 9112 §6.1: the framing is faulty."""
    line = b"POST /a HTTP/1.0"

    assert Reason.BAD_MESSAGE == request(b"Transfer-Encoding: chunked", line=line)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"GET / HTTP/2.0", Reason.VERSION_NOT_SUPPORTED),
        (b"GET / HTTP/0.9", Reason.VERSION_NOT_SUPPORTED),
        (b"GET / HTTP/1.2", Reason.BAD_MESSAGE),
        (b"GET / HTTP/3", Reason.BAD_MESSAGE),
        (b"GET / HTTP/11.1", Reason.BAD_MESSAGE),
        (b"GET / HTTP/1.1x", Reason.BAD_MESSAGE),
        (b"GET / http/1.1", Reason.BAD_MESSAGE),
        (b"GET / RTSP/1.0", Reason.BAD_MESSAGE),
        (b"DESCRIBE / RTSP/1.0", Reason.BAD_MESSAGE),
        (b"SOURCE / ICE/1.0", Reason.BAD_MESSAGE),
        (b"GET /", Reason.BAD_MESSAGE),
        (b"GET", Reason.BAD_MESSAGE),
        (b"get / HTTP/1.1", Reason.BAD_MESSAGE),
        (b"GARBAGE / HTTP/1.1", Reason.BAD_MESSAGE),
        (b" GET / HTTP/1.1", Reason.BAD_MESSAGE),
        (b"GET  / HTTP/1.1", Reason.BAD_MESSAGE),
        (b"GET /  HTTP/1.1", Reason.BAD_MESSAGE),
        (b"GET / HTTP/1.1 ", Reason.BAD_MESSAGE),
        (b"GET /\tHTTP/1.1", Reason.BAD_MESSAGE),
        (b"GET /a b HTTP/1.1", Reason.BAD_MESSAGE),
        (b"GET /\x00 HTTP/1.1", Reason.BAD_MESSAGE),
        (b"GET admin HTTP/1.1", Reason.BAD_MESSAGE),
        (b"GET ?x HTTP/1.1", Reason.BAD_MESSAGE),
        (b"\x16\x03\x01 / HTTP/1.1", Reason.BAD_MESSAGE),
    ],
)
def test_a_request_line_is_never_corrected(line, reason):
    """RFC 9112 §3: one method, one target, one version that we speak."""
    assert reason == request(line=line)


@pytest.mark.parametrize(
    "line",
    [
        b"X: a\r\n b",
        b"X: a\r\n\tb",
        b"X: a\rb",
        b"X: a\nY: b",
        b"X: a\x00b",
        b"X: a\x01b",
        b"X: a\x7fb",
        b": a",
        b"X",
        b"X : a",
        b" X: a",
        b"X\x00: a",
        b"X(y): a",
        b"X\xc3\xa9: a",
        b"X: \xff",
        b"X: \x85admin\xa0",
        b"X: ad\xffmin",
    ],
)
def test_a_malformed_header_line_is_refused(line):
    """Folds, bare line ends, controls, odd names and lone bytes (SECURITY §1 C)."""
    assert Reason.BAD_MESSAGE == request(line)


def test_text_in_utf8_passes_unchanged():
    """Names of people are no attack; their bytes are passed on as they are."""
    name = "송근욱".encode()

    assert (b"x-name", name) in parsed(b"X-Name: " + name).headers


@pytest.mark.parametrize("hosts", [[], [b"Host: a", b"Host: a"]])
def test_there_is_exactly_one_host(hosts):
    """RFC 9112 §3.2."""
    data = b"\r\n".join((b"GET / HTTP/1.1", *hosts, b"", b""))

    assert Reason.BAD_MESSAGE == read_request_head(data, count_limit=LIMIT)


@pytest.mark.parametrize(("hosts", "good"), [(0, True), (1, True), (2, False)])
def test_http10_may_leave_the_host_out_but_not_name_two(hosts, good):
    """RFC 9112 §3.2 again."""
    data = b"\r\n".join((b"GET / HTTP/1.0", *[b"Host: a"] * hosts, b"", b""))
    head = read_request_head(data, count_limit=LIMIT)

    assert good == isinstance(head, ParsedHead)


@pytest.mark.parametrize(("more", "good"), [(LIMIT - 1, True), (LIMIT, False)])
def test_header_lines_are_counted(more, good):
    """Host is one of them."""
    head = request(*[b"X: y"] * more)

    assert good == isinstance(head, ParsedHead)
    assert good == (head != Reason.HEADERS_TOO_LARGE)


@pytest.mark.parametrize(
    ("line", "lines", "close"),
    [
        (b"GET / HTTP/1.1", [], False),
        (b"GET / HTTP/1.1", [b"Connection: keep-alive"], False),
        (b"GET / HTTP/1.1", [b"Connection: close"], True),
        (b"GET / HTTP/1.1", [b"Connection: x-y ,\tCLOSE"], True),
        (b"GET / HTTP/1.1", [b"Connection: keep-alive", b"Connection: close"], True),
        (b"GET / HTTP/1.1", [b"Connection: x-close"], False),
        (b"GET / HTTP/1.0", [], True),
        (b"GET / HTTP/1.0", [b"Connection: keep-alive"], True),
    ],
)
def test_when_the_connection_ends(line, lines, close):
    """By the client's wish, and always with HTTP/1.0 (RFC 9112 §9.3)."""
    assert close == parsed(*lines, line=line).close


@pytest.mark.parametrize(
    ("lines", "expects"),
    [
        ([b"Content-Length: 5"], False),
        ([b"Content-Length: 5", b"Expect: 100-continue"], True),
        ([b"Content-Length: 5", b"Expect: 100-Continue"], True),
        ([b"Expect: 100-continue"], False),
    ],
)
def test_who_waits_for_100_continue(lines, expects):
    """Only a client that has a body to send (RFC 9110 §10.1.1)."""
    assert expects == parsed(*lines, line=b"POST / HTTP/1.1").expects


@pytest.mark.parametrize(
    "lines",
    [[b"Expect: y"], [b"Expect:"], [b"Expect: 100-continue", b"Expect: 100-continue"]],
)
def test_other_expectations_fail(lines):
    """417: we promise nothing that we do not know."""
    assert Reason.EXPECTATION_FAILED == request(*lines)


def test_http10_expects_nothing():
    """RFC 9110 §10.1.1: a 100-continue in HTTP/1.0 is to be ignored."""
    lines = b"Expect: 100-continue", b"Content-Length: 5"

    assert not parsed(*lines, line=b"POST / HTTP/1.0").expects


@pytest.mark.parametrize(
    ("line", "lines", "upgrade"),
    [
        (b"GET / HTTP/1.1", [b"Upgrade: h2c", b"Connection: Upgrade"], b"h2c"),
        (
            b"GET / HTTP/1.1",
            [b"Upgrade: WebSocket", b"Connection: upgrade"],
            b"websocket",
        ),
        (b"GET / HTTP/1.1", [b"Upgrade: h2c"], b""),
        (b"GET / HTTP/1.1", [b"Upgrade: h2c", b"Connection: x-upgrade"], b""),
        (b"GET / HTTP/1.0", [b"Upgrade: h2c", b"Connection: Upgrade"], b""),
        (
            b"POST / HTTP/1.1",
            [b"Upgrade: h2c", b"Connection: Upgrade", b"Content-Length: 1"],
            b"",
        ),
    ],
)
def test_what_could_become_a_tunnel(line, lines, upgrade):
    """A request of HTTP/1.1, without a body, that says so twice (RFC 9110 §7.8)."""
    assert upgrade == parsed(*lines, line=line).upgrade


def test_a_body_beside_an_upgrade_is_still_framed():
    """The parser reports the message complete there; we do not believe it."""
    lines = b"Upgrade: h2c", b"Connection: Upgrade", b"Content-Length: 40"

    assert 40 == parsed(*lines, line=b"POST / HTTP/1.1").body


# -------------------------------------------------------------------- responses


def test_a_response_head_is_read_whole():
    """The phrase and the fields are as they were sent."""
    head = response(
        b"X-A: \xff b ", b"Content-Length: 3", line=b"HTTP/1.1 404 Not Here"
    )

    assert (
        ResponseHead(
            status=404,
            phrase=b"Not Here",
            headers=[(b"x-a", b"\xff b"), (b"content-length", b"3")],
            body=3,
            keep_alive=True,
            length=None,
        )
        == head
    )


@pytest.mark.parametrize(
    ("line", "lines", "method", "body", "length"),
    [
        (b"HTTP/1.1 200 OK", [b"Content-Length: 3"], "GET", 3, None),
        (b"HTTP/1.1 200 OK", [b"Content-Length: 0"], "GET", 0, None),
        (b"HTTP/1.1 200 OK", [b"Transfer-Encoding: chunked"], "GET", CHUNKED, None),
        (b"HTTP/1.1 200 OK", [], "GET", UNTIL_CLOSE, None),
        (b"HTTP/1.1 200", [], "GET", UNTIL_CLOSE, None),
        (b"HTTP/1.1 200 OK", [b"Content-Length: 3"], "HEAD", 0, 3),
        (b"HTTP/1.1 200 OK", [b"Transfer-Encoding: chunked"], "HEAD", 0, None),
        (b"HTTP/1.1 200 OK", [], "HEAD", 0, None),
        (b"HTTP/1.1 304 NM", [b"Content-Length: 3"], "GET", 0, 3),
        (b"HTTP/1.1 204 NC", [b"Content-Length: 3"], "GET", 0, None),
        (b"HTTP/1.1 204 NC", [b"Transfer-Encoding: chunked"], "GET", 0, None),
        (b"HTTP/1.1 103 EH", [b"Content-Length: 3"], "GET", 0, None),
        (b"HTTP/1.1 599 X", [b"Content-Length: 3"], "GET", 3, None),
    ],
)
def test_how_a_response_body_is_framed(line, lines, method, body, length):
    """RFC 9112 §6.3; a length without a body is remembered where it may be told."""
    head = response(*lines, line=line, method=method)

    assert (body, length) == (head.body, head.length)


@pytest.mark.parametrize(
    ("line", "lines", "keep_alive"),
    [
        (b"HTTP/1.1 200 OK", [b"Content-Length: 3"], True),
        (b"HTTP/1.1 200 OK", [b"Content-Length: 3", b"Connection: Close"], False),
        (b"HTTP/1.0 200 OK", [b"Content-Length: 3"], False),
        (b"HTTP/1.0 200 OK", [b"Content-Length: 3", b"Connection: keep-alive"], False),
        (b"HTTP/1.1 200 OK", [], False),
        (b"HTTP/1.1 204 NC", [], True),
    ],
)
def test_when_an_upstream_connection_may_serve_again(line, lines, keep_alive):
    """Only where the end of this response is certain and nobody said close."""
    assert keep_alive == response(*lines, line=line).keep_alive


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        (b"HTTP/1.1 200 OK", [b"Content-Length: 2", b"Content-Length: 3"]),
        (b"HTTP/1.1 200 OK", [b"Content-Length: 2", b"Content-Length: 2"]),
        (b"HTTP/1.1 200 OK", [b"Content-Length: 2", b"Transfer-Encoding: chunked"]),
        (b"HTTP/1.1 200 OK", [b"Content-Length:"]),
        (b"HTTP/1.1 200 OK", [b"Content-Length: +2"]),
        (b"HTTP/1.1 200 OK", [b"Content-Length: 2, 2"]),
        (b"HTTP/1.1 200 OK", [b"Content-Length: 1000000000000000000"]),
        (b"HTTP/1.1 200 OK", [b"Transfer-Encoding: foo"]),
        (b"HTTP/1.1 200 OK", [b"Transfer-Encoding: gzip, chunked"]),
        (
            b"HTTP/1.1 200 OK",
            [b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"],
        ),
        (b"HTTP/1.0 200 OK", [b"Transfer-Encoding: chunked"]),
        (b"HTTP/1.1 200 OK", [b"X: a\r\n b"]),
        (b"HTTP/1.1 200 OK", [b"X: a\nY: b"]),
        (b"HTTP/1.1 200 OK", [b"X: a\rb"]),
        (b"HTTP/1.1 200 OK", [b"X: \x00"]),
        (b"HTTP/1.1 200 OK", [b"X : a"]),
        (b"HTTP/1.1 200 OK", [b": a"]),
        (b"HTTP/1.1 099 OK", []),
        (b"HTTP/1.1 600 OK", []),
        (b"HTTP/1.1 999 OK", []),
        (b"HTTP/1.1 20 OK", []),
        (b"HTTP/1.1 2000 OK", []),
        (b"HTTP/2.0 200 OK", []),
        (b"HTTP/1.2 200 OK", []),
        (b"HTTP/0.9 200 OK", []),
        (b"http/1.1 200 OK", []),
        (b"HTTP/1.1  200 OK", []),
        (b"ICY 200 OK", []),
        (b"GET / HTTP/1.1", []),
        (b"", []),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_response_in_doubt_is_an_error(line, lines, method):
    """502 for the client, and the connection goes (RFC 9112 §6.3)."""
    with pytest.raises(MessageError):
        response(*lines, line=line, method=method)


def test_a_switch_of_protocols_is_a_response():
    """The parser raises here; who asked for it is the relay's business."""
    lines = b"Connection: upgrade", b"Upgrade: websocket"
    head = response(*lines, line=b"HTTP/1.1 101 Switching Protocols")

    assert (101, 0) == (head.status, head.body)


# ---------------------------------------------------------------------- writing


@pytest.mark.parametrize(
    ("method", "body", "framing"),
    [
        ("GET", 0, b""),
        ("DELETE", 0, b""),
        ("POST", 0, b"content-length: 0\r\n"),
        ("PUT", 0, b"content-length: 0\r\n"),
        ("PATCH", 0, b"content-length: 0\r\n"),
        ("GET", 5, b"content-length: 5\r\n"),
        ("POST", CHUNKED, b"transfer-encoding: chunked\r\n"),
    ],
)
def test_a_request_is_written_with_one_framing(method, body, framing):
    """Where a body could be and is not, that is said: nobody has to guess."""
    head = serialise_request(method, b"/a?b", b"host: h\r\nx: \xff\r\n", body=body)

    assert (
        method.encode()
        + b" /a?b HTTP/1.1\r\nhost: h\r\nx: \xff\r\n"
        + framing
        + b"\r\n"
        == head
    )


@pytest.mark.parametrize(
    ("status", "phrase", "line"),
    [
        (200, b"Fine", b"HTTP/1.1 200 Fine\r\n"),
        (200, b"", b"HTTP/1.1 200 OK\r\n"),
        (299, b"", b"HTTP/1.1 299 \r\n"),
    ],
)
def test_a_response_is_written_with_the_given_framing(status, phrase, line):
    """A missing phrase is the registered one, where there is one."""
    head = serialise_response(status, phrase, b"X-A: b\r\n", b"content-length: 0\r\n")

    assert line + b"X-A: b\r\ncontent-length: 0\r\n\r\n" == head


# ------------------------------------------------------------------- properties

names = st.text("abcdefghijklmnopqrstuvwxyz-0123456789!#$%&'*+.^`|~", min_size=1).map(
    str.encode
)
values = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=30
).map(lambda text: text.strip(" \t").encode())
FRAMING = {
    b"host",
    b"content-length",
    b"transfer-encoding",
    b"connection",
    b"expect",
    b"upgrade",
}
headers = st.lists(
    st.tuples(names.filter(lambda name: name not in FRAMING), values), max_size=8
)


@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]),
    headers=headers,
    body=st.sampled_from([0, 1, 2**40, CHUNKED]),
)
def test_what_is_written_is_read_back(method, headers, body):
    """The head that is sent says what was meant, to us and to anybody like us."""
    headers = [(b"host", b"h"), *headers]
    data = serialise_request(method, b"/a", header_lines(headers), body=body)
    head = read_request_head(data, count_limit=LIMIT)

    assert isinstance(head, ParsedHead)
    assert (method, b"/a", body) == (head.method, head.target, head.body)
    assert headers == [
        each for each in head.headers if each[0] not in FRAMING - {b"host"}
    ]


VALID = (
    b"POST /a?b=c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
    b"Expect: 100-continue\r\nConnection: close, upgrade\r\nUpgrade: x\r\n\r\n"
)


@given(
    edits=st.lists(
        st.tuples(st.integers(0, len(VALID) - 5), st.binary(max_size=3)), max_size=4
    )
)
@example(edits=[(8, b"\r\n\r\n")])
def test_any_bytes_are_a_head_or_a_reason(edits):
    """The reader never raises, and what it accepts has no line end inside."""
    data = bytearray(VALID)
    for at, piece in edits:
        data[at : at + 1] = piece
    whole = bytes(data).removeprefix(b"\r\n") + b"\r\n\r\n"
    end = whole.index(b"\r\n\r\n") + 4
    head = read_request_head(whole[:end], count_limit=LIMIT)

    if isinstance(head, ParsedHead):
        assert head.target in whole
        assert head.body >= CHUNKED
        assert all(
            b"\r" not in value and b"\n" not in value for _, value in head.headers
        )


@given(
    st.binary(max_size=60).map(lambda tail: b"HTTP/1.1 200 OK\r\n" + tail + b"\r\n\r\n")
)
def test_any_bytes_are_a_response_or_a_message_error(data):
    """Nothing else is ever raised at an upstream's bytes."""
    try:
        head = read_response_head(data, "GET")
    except MessageError:
        return

    assert head.body >= UNTIL_CLOSE


@given(headers=headers, status=st.integers(200, 599))
def test_a_relayed_response_is_read_alike_by_llhttp(headers, status):
    """What we write, a strict parser reads: same status, same fields."""
    read: list[tuple[bytes, bytes]] = []

    class Fields:
        def on_header(self, name: bytes, value: bytes) -> None:
            read.append((name, value.rstrip(b" \t")))

    parser = httptools.HttpResponseParser(Fields())
    lines = header_lines(headers)
    parser.feed_data(serialise_response(status, b"", lines, b"content-length: 0\r\n"))

    assert status == parser.get_status_code()
    assert [*headers, (b"content-length", b"0")] == read


LINES = b"Host: h\r\nAuthorization: Bearer T\r\nConnection: keep-alive\r\n\r\n"


@given(
    line=st.one_of(
        st.builds(
            lambda method, target: method + b" " + target + b" HTTP/1.1",
            st.sampled_from([b"GET", b"POST", b"HEAD", b"get", b"TRACE", b""]),
            st.one_of(
                st.binary(max_size=20), st.just(b"/a?b=c"), st.just(b"http://h/a")
            ),
        ),
        st.binary(max_size=30),
    )
)
def test_a_repeated_head_is_read_as_if_for_the_first_time(line):
    """The short way gives what the long way gives, or leaves it to that."""
    like = read_request_head(b"PUT /x HTTP/1.1\r\n" + LINES, count_limit=LIMIT)
    assert isinstance(like, ParsedHead)

    short = read_request_line(line, like)

    if short is not None:
        whole = read_request_head(line + b"\r\n" + LINES, count_limit=LIMIT)
        assert whole == short
        assert short.notes is like.notes


def test_what_http10_said_is_never_repeated():
    """Its head may have no Host, and its connection ends."""
    old = read_request_head(b"GET / HTTP/1.0\r\n\r\n", count_limit=LIMIT)
    assert isinstance(old, ParsedHead)

    assert read_request_line(b"GET / HTTP/1.1", old) is None


def test_familiar_lines_are_read_alike_and_bounded():
    """A server that makes lines up fills no memory; what may be secret is not kept."""
    for number in range(3000):
        head = read_response_head(
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nSet-Cookie: s=%d\r\n\r\n"
            % (number, number),
            "GET",
        )
        assert (number, b"s=%d" % number) == (head.body, head.headers[1][1])

    assert len(_lines) <= 1024
    assert not any(b"ookie" in line for line in _lines)


# What a server could send: mostly proper, here and there a byte that is not.
_NAMES = st.sampled_from(
    [b"Content-Length", b"Transfer-Encoding", b"Connection", b"Date", b"X-A", b"ETag"]
)
_PIECES = st.sampled_from(
    [
        b"0",
        b"5",
        b"5, 5",
        b"+5",
        b"chunked",
        b"gzip, chunked",
        b"close",
        b"a b",
        b"",
        b"\x80",
    ]
)
_NOISE = st.sampled_from(
    [
        b"",
        b"",
        b"",
        b" ",
        b"\t",
        b"\x00",
        b"\x0b",
        b"\x7f",
        b"\r",
        b"\n",
        b":",
        b"\r\n ",
    ]
)
_FIELDS = st.lists(st.tuples(_NAMES, _NOISE, _NOISE, _PIECES, _NOISE), max_size=4)
_STARTS = st.sampled_from(
    [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 200",
        b"HTTP/1.0 404 No\xffne",
        b"HTTP/1.1 204 ",
        b"HTTP/1.1  200 OK",
        b"HTTP/1.1 2000 OK",
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1\t200 OK",
        b"http/1.1 200 OK",
    ]
)


class _Complete:
    """Hears from llhttp that a head was whole."""

    def __init__(self) -> None:
        self.told = False

    def on_headers_complete(self) -> None:
        self.told = True


@given(_STARTS, _FIELDS)
@example(b"HTTP/1.1 200 OK", [(b"X-A", b" ", b"", b"0", b"")])
@example(b"HTTP/1.1 200 OK", [(b"Content-Length", b"", b"", b"5", b"")] * 2)
def test_a_response_head_that_is_taken_is_one_to_llhttp_too(start, fields):
    """Our own reading of responses is never the more forgiving one."""
    lines = [
        name + before + b":" + after + value + end
        for name, before, after, value, end in fields
    ]
    data = b"\r\n".join([start, *lines, b"", b""])
    heard = _Complete()
    parser = httptools.HttpResponseParser(heard)
    try:
        read = read_response_head(data, "GET")
    except MessageError:
        return
    parser.feed_data(data)

    assert (True, read.status) == (heard.told, parser.get_status_code())
    assert all(b"\r" not in value and b"\n" not in value for _, value in read.headers)
