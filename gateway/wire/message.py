"""Heads of HTTP/1.1 messages: bytes to values and back. Floor 3, no sockets.

A head is found by its blank line and given to llhttp whole, in a parser that is then
thrown away: no state survives a message, nothing can be read past its end, and the
body's framing is decided here, in one place. llhttp (strict) refuses obs-fold, bare CR
or LF, control characters, duplicate or malformed Content-Length, and Content-Length
beside Transfer-Encoding; what it lets through is refused below. Any doubt about a
request is a `Reason`, after which its connection is closed (RFC 9112 §2.2, §6.3); any
doubt about a response is a `MessageError`.
"""

import re
from http import HTTPStatus
from typing import Final

import httptools

from gateway.errors import MessageError
from gateway.values import Header, Reason
from gateway.wire.heads import CHUNKED, UNTIL_CLOSE, ParsedHead, ResponseHead

_DIGITS: Final = re.compile(rb"[0-9]{1,18}")
_REASONS: Final = {status.value: status.phrase.encode() for status in HTTPStatus}


class _Watch:
    """Hears from llhttp that a head is whole. One for all: a head is read at once."""

    __slots__ = ("complete",)

    def __init__(self) -> None:
        self.complete = False

    def on_headers_complete(self) -> None:
        self.complete = True


_watch: Final = _Watch()


class _Framing:
    """The fields that frame a message, gathered in one pass over its header lines."""

    __slots__ = (
        "binds",
        "coding",
        "connection",
        "dated",
        "expect",
        "headers",
        "hosts",
        "length",
        "upgrade",
    )

    def __init__(self, headers: list[Header]) -> None:
        self.coding: bytes | None = None
        self.length: bytes | None = None
        self.connection = b""
        self.expect: bytes | None = None
        self.upgrade = b""
        self.hosts = 0
        self.dated = False
        self.binds = False
        self.headers = headers
        for name, value in headers:
            if name not in _FRAMING_NAMES:
                continue
            if name == b"content-length":
                self.length = value
            elif name == b"date":
                self.dated = True
            elif name == b"connection":
                self.connection += b"," + value.lower()
            elif name == b"host":
                self.hosts += 1
            elif name in (b"www-authenticate", b"proxy-authenticate"):
                # RFC 4559: what follows on this connection is one user's.
                self.binds = self.binds or _BINDS_CONNECTION.search(value) is not None
            elif name == b"transfer-encoding":
                # A second line makes a list, which is never exactly `chunked`.
                self.coding = (
                    value if self.coding is None else self.coding + b"," + value
                )
            elif name == b"expect":
                self.expect = value if self.expect is None else b""
            else:
                self.upgrade = value.lower()

    def connection_lists(self, token: bytes) -> bool:
        return token in self.connection and token in [
            part.strip(b" \t") for part in self.connection.split(b",")
        ]


_FRAMING_NAMES: Final = frozenset(
    (
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"connection",
        b"expect",
        b"upgrade",
        b"date",
        b"www-authenticate",
        b"proxy-authenticate",
    )
)
_BINDS_CONNECTION: Final = re.compile(rb"(?i)(?:^|,)[ \t]*(?:ntlm|negotiate)\b")


def _header(line: bytes) -> Header:
    # llhttp has seen to it that a name ends at its colon.
    name, _, value = line.partition(b":")
    return name.lower(), value.strip(b" \t")


class _FamiliarLines(dict[bytes, Header]):
    """Remembers how the lines read that servers write again and again.

    Never a line that may hold a secret; bounded, since a server may make lines up.
    """

    def __missing__(self, line: bytes) -> Header:
        header = _header(line)
        if header[0] in _FAMILIAR and len(line) <= 128:
            if len(self) >= 1024:
                self.clear()
            self[line] = header
        return header


_FAMILIAR: Final = frozenset(
    (
        b"accept-ranges",
        b"cache-control",
        b"connection",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"date",
        b"keep-alive",
        b"server",
        b"strict-transport-security",
        b"transfer-encoding",
        b"vary",
        b"x-content-type-options",
    )
)
_familiar: Final = _FamiliarLines()


def read_request_head(data: bytes, *, count_limit: int) -> ParsedHead | Reason:
    """Parse one whole request head, blank line included."""
    _watch.complete = False
    try:
        httptools.HttpRequestParser(_watch).feed_data(data)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError:
        return Reason.BAD_MESSAGE
    lines = data.split(b"\r\n")
    version = lines[0].rpartition(b" ")[2]
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        known = version.startswith(b"HTTP/") and len(version) == 8
        return Reason.VERSION_NOT_SUPPORTED if known else Reason.BAD_MESSAGE
    parts = lines[0].split(b" ")
    # RFC 9112 §3: single spaces; llhttp forgives more of them.
    # And line feeds before it: how a message arrives must not matter.
    if not (_watch.complete and len(parts) == 3 and parts[0][:1].isupper()):
        return Reason.BAD_MESSAGE
    # The blank line has left two empty ones.
    del lines[0], lines[-2:]
    if len(lines) > count_limit:
        return Reason.HEADERS_TOO_LARGE
    if not data.isascii() and not is_utf8(data):
        return Reason.BAD_MESSAGE
    return _request(parts[0].decode(), parts[1], lines, http10=version[-1] == 0x30)


def read_request_line(line: bytes, like: ParsedHead) -> ParsedHead | None:
    """Give the head that has this request line and the header lines of `like`.

    A kept-alive client repeats its header lines byte for byte more often than not:
    they need not be read again (RFC 9113's HPACK lives on the same). None for any
    line but a plain one: `read_request_head` knows what to say of it.
    """
    plain = _PLAIN_LINE.fullmatch(line)
    if plain is None or like.http10:
        return None
    return ParsedHead(
        _METHODS[plain[1]],
        plain[2],
        like.headers,
        like.body,
        False,
        like.close,
        like.expects,
        like.upgrade,
        like.notes,
    )


_METHODS: Final = {
    method: method.decode()
    for method in (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS")
}
# Visible ASCII, all of which llhttp takes too; `parse_target` refuses some of it.
_PLAIN_LINE: Final = re.compile(
    rb"(%s) (/[\x21-\x7e]*) HTTP/1\.1" % b"|".join(_METHODS)
)


def _request(
    method: str, target: bytes, lines: list[bytes], *, http10: bool
) -> ParsedHead | Reason:
    framing = _Framing(list(map(_header, lines)))
    # RFC 9112 §3.2: exactly one Host, except that HTTP/1.0 may leave it out.
    if framing.hosts != 1 and (framing.hosts or not http10):
        return Reason.BAD_MESSAGE
    body = _request_body(framing, http10=http10)
    if isinstance(body, Reason):
        return body
    expects = framing.expect is not None and not http10
    if expects and framing.expect.lower() != b"100-continue":  # type: ignore[union-attr]
        return Reason.EXPECTATION_FAILED
    return ParsedHead(
        method=method,
        target=target,
        headers=framing.headers,
        body=body,
        http10=http10,
        # RFC 9112 §9.3: no persistence with an HTTP/1.0 client.
        close=http10 or framing.connection_lists(b"close"),
        expects=expects and body != 0,
        upgrade=_upgrade(framing, body, http10=http10),
        notes={},
    )


def _request_body(framing: _Framing, *, http10: bool) -> int | Reason:
    coding, length = framing.coding, framing.length
    if coding is not None:
        # RFC 9112 §6.1: with HTTP/1.0 or beside a length the framing is faulty.
        if http10 or length is not None:
            return Reason.BAD_MESSAGE
        if coding.lower() == b"chunked":
            return CHUNKED
        codings = coding.lower().replace(b" ", b"").replace(b"\t", b"").split(b",")
        proper = codings[-1] == b"chunked" and codings.count(b"chunked") == 1
        named = all(codings)
        return Reason.CODING_NOT_IMPLEMENTED if proper and named else Reason.BAD_MESSAGE
    if length is None:
        return 0
    return int(length) if _DIGITS.fullmatch(length) else Reason.BAD_MESSAGE


def _upgrade(framing: _Framing, body: int, *, http10: bool) -> bytes:
    # RFC 9110 §7.8; one with a body is an ordinary request to us (DESIGN §4).
    possible = framing.upgrade and not body and not http10
    return framing.upgrade if possible and framing.connection_lists(b"upgrade") else b""


def read_response_head(data: bytes, method: str) -> ResponseHead:
    """Parse one whole response head to a request with `method`.

    Raises `MessageError` on any doubt.
    """
    lines = data.split(b"\r\n")
    joined = b"".join(lines)
    if b"\n" in joined or b"\r" in joined:
        raise MessageError("bare CR or LF in the response head")
    _watch.complete = False
    parser = httptools.HttpResponseParser(_watch)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as error:
        raise MessageError(type(error).__name__) from None
    version = data[:9]
    if not _watch.complete or version not in (b"HTTP/1.1 ", b"HTTP/1.0 "):
        raise MessageError("not an HTTP/1 response")
    status = parser.get_status_code()
    if not 100 <= status <= 599:
        raise MessageError("status code out of range")
    phrase = lines[0][13:]
    # RFC 9112 §4: llhttp lets controls through here, and only here.
    if _CONTROLS.search(phrase):
        raise MessageError("control character in the reason phrase")
    del lines[0], lines[-2:]
    return _response(lines, status, phrase, method, http10=version == b"HTTP/1.0 ")


_CONTROLS: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


def _response(
    lines: list[bytes], status: int, phrase: bytes, method: str, *, http10: bool
) -> ResponseHead:
    framing = _Framing([_familiar[line] for line in lines])
    length = framing.length
    if length is not None and not _DIGITS.fullmatch(length):
        raise MessageError("malformed Content-Length")
    if framing.coding is not None and (
        http10 or length is not None or framing.coding.lower() != b"chunked"
    ):
        raise MessageError("Transfer-Encoding other than chunked alone")
    bodiless = method == "HEAD" or status < 200 or status in (204, 304)
    if bodiless:
        body = 0
    elif framing.coding is not None:
        body = CHUNKED
    else:
        body = UNTIL_CLOSE if length is None else int(length)
    # RFC 9112 §6.1, RFC 9110 §8.6: a 204 has no framing; one that does may have a body.
    doubtful = status == 204 and (
        framing.coding is not None or length not in (None, b"0")
    )
    closes = http10 or body == UNTIL_CLOSE or doubtful or framing.binds
    return ResponseHead(
        status,
        phrase,
        framing.headers,
        body,
        not (closes or framing.connection_lists(b"close")),
        # RFC 9110 §8.6: no Content-Length in 1xx and 204.
        int(length)
        if bodiless and length is not None and (method == "HEAD" or status == 304)
        else None,
        framing.dated,
    )


def is_utf8(data: bytes) -> bool:
    """Tell whether all readers agree on what these bytes of a head say."""
    # Bytes are passed on unchanged, but lone ones (`\x85`, `\xa0`, `\xff`) are white
    # space or nothing to some parsers: SECURITY §0, item 16.
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def serialise_request(method: str, target: bytes, lines: bytes, *, body: int) -> bytes:
    """Write a request's head with the framing of `body` (a length, or `CHUNKED`).

    `lines` (`values.header_lines`) hold no framing fields of their own. A body of
    unknown presence (0 with a method that could have one) is said to be empty, so
    that nobody guesses.
    """
    if body == CHUNKED:
        framing = b"transfer-encoding: chunked\r\n"
    elif body or method in _WITH_BODY:
        framing = b"content-length: %d\r\n" % body
    else:
        framing = b""
    return b"%b %b HTTP/1.1\r\n%b%b\r\n" % (method.encode(), target, lines, framing)


_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})


def serialise_response(
    status: int, phrase: bytes, lines: bytes, framing: bytes
) -> bytes:
    """Write a response's head; `framing` is its ready-made framing lines."""
    phrase = phrase or _REASONS.get(status, b"")
    return b"HTTP/1.1 %d %b\r\n%b%b\r\n" % (status, phrase, lines, framing)
