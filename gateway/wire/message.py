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
import msgspec

from gateway.errors import MessageError
from gateway.values import Header, Reason

CHUNKED: Final = -1
"""A body framed by `Transfer-Encoding: chunked`."""
UNTIL_CLOSE: Final = -2
"""A response body that ends with its connection (RFC 9112 §6.3, rule 8)."""

_DIGITS: Final = re.compile(rb"[0-9]{1,18}")
_REASONS: Final = {status.value: status.phrase.encode() for status in HTTPStatus}


class ParsedHead(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A request's head. `body` is a length in bytes, or `CHUNKED`.

    `http10` tells that the client speaks HTTP/1.0; `close` that the connection ends
    after this exchange; `expects` that it waits for `100 Continue`; `upgrade` is the
    lower-case Upgrade value of a request that could become a tunnel, else empty.
    """

    method: str
    target: bytes
    headers: list[Header]
    body: int
    http10: bool
    close: bool
    expects: bool
    upgrade: bytes


class ResponseHead(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A response's head. `body` is a length, `CHUNKED` or `UNTIL_CLOSE`.

    `length` is a Content-Length that was sent though no body follows (HEAD, 304).
    """

    status: int
    phrase: bytes
    headers: list[Header]
    body: int
    keep_alive: bool
    length: int | None


class _Head:
    """Collects what llhttp finds."""

    __slots__ = ("complete", "headers", "phrase", "url")

    def __init__(self) -> None:
        self.url = b""
        self.phrase = b""
        self.headers: list[Header] = []
        self.complete = False

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_status(self, phrase: bytes) -> None:
        self.phrase += phrase

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        self.complete = True


class _Framing:
    """The fields that frame a message, gathered in one pass over its headers."""

    __slots__ = ("coding", "connection", "expect", "hosts", "length", "upgrade")

    def __init__(self, headers: list[Header]) -> None:
        self.coding: bytes | None = None
        self.length: bytes | None = None
        self.connection = b""
        self.expect: bytes | None = None
        self.upgrade = b""
        self.hosts = 0
        for name, value in headers:
            if name not in _FRAMING_NAMES:
                continue
            if name == b"host":
                self.hosts += 1
            elif name == b"content-length":
                self.length = value
            elif name == b"transfer-encoding":
                # A second line makes a list, which is never exactly `chunked`.
                self.coding = (
                    value if self.coding is None else self.coding + b"," + value
                )
            elif name == b"connection":
                self.connection += b"," + value.lower()
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
    )
)


def read_request_head(data: bytes, *, count_limit: int) -> ParsedHead | Reason:
    """Parse one whole request head, blank line included."""
    head = _Head()
    parser = httptools.HttpRequestParser(head)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError:
        return Reason.BAD_MESSAGE
    line = data[: data.index(b"\r\n")]
    version = line.rpartition(b" ")[2]
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        known = version.startswith(b"HTTP/") and len(version) == 8
        return Reason.VERSION_NOT_SUPPORTED if known else Reason.BAD_MESSAGE
    # RFC 9112 §3: single spaces; llhttp forgives more of them.
    if not head.complete or line.count(b" ") != 2:
        return Reason.BAD_MESSAGE
    if len(head.headers) > count_limit:
        return Reason.HEADERS_TOO_LARGE
    if not data.isascii() and not _is_utf8(data):
        return Reason.BAD_MESSAGE
    return _request(head, parser.get_method().decode(), http10=version[-1] == 0x30)


def _request(head: _Head, method: str, *, http10: bool) -> ParsedHead | Reason:
    framing = _Framing(head.headers)
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
        target=head.url,
        headers=head.headers,
        body=body,
        http10=http10,
        # RFC 9112 §9.3: no persistence with an HTTP/1.0 client.
        close=http10 or framing.connection_lists(b"close"),
        expects=expects and body != 0,
        upgrade=_upgrade(framing, body, http10=http10),
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
    if not data.count(b"\r\n") == data.count(b"\n") == data.count(b"\r"):
        raise MessageError("bare CR or LF in the response head")
    head = _Head()
    parser = httptools.HttpResponseParser(head)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as error:
        raise MessageError(type(error).__name__) from None
    version = data[:9]
    if not head.complete or version not in (b"HTTP/1.1 ", b"HTTP/1.0 "):
        raise MessageError("not an HTTP/1 response")
    status = parser.get_status_code()
    if not 100 <= status <= 599:
        raise MessageError("status code out of range")
    return _response(head, status, method, http10=version == b"HTTP/1.0 ")


def _response(head: _Head, status: int, method: str, *, http10: bool) -> ResponseHead:
    framing = _Framing(head.headers)
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
    return ResponseHead(
        status=status,
        phrase=head.phrase,
        headers=head.headers,
        body=body,
        keep_alive=not (
            http10 or body == UNTIL_CLOSE or framing.connection_lists(b"close")
        ),
        # RFC 9110 §8.6: no Content-Length in 1xx and 204.
        length=int(length)
        if bodiless and length is not None and (method == "HEAD" or status == 304)
        else None,
    )


def _is_utf8(data: bytes) -> bool:
    # Bytes are passed on unchanged, but lone ones (`\x85`, `\xa0`, `\xff`) are white
    # space or nothing to some parsers: SECURITY §0, item 16.
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def serialise_request(
    method: str, target: bytes, headers: list[Header], *, body: int
) -> bytes:
    """Write a request's head with the framing of `body` (a length, or `CHUNKED`).

    `headers` hold no framing fields of their own. A body of unknown presence (0 with
    a method that could have one) is said to be empty, so that nobody guesses.
    """
    parts = [method.encode(), b" ", target, b" HTTP/1.1\r\n"]
    for name, value in headers:
        parts += (name, b": ", value, b"\r\n")
    if body == CHUNKED:
        parts.append(b"transfer-encoding: chunked\r\n\r\n")
    elif body or method in ("POST", "PUT", "PATCH"):
        parts.append(b"content-length: %d\r\n\r\n" % body)
    else:
        parts.append(b"\r\n")
    return b"".join(parts)


def serialise_response(
    status: int, phrase: bytes, headers: list[Header], framing: bytes
) -> bytes:
    """Write a response's head; `framing` is its ready-made framing lines."""
    phrase = phrase or _REASONS.get(status, b"")
    parts = [b"HTTP/1.1 %d " % status, phrase, b"\r\n"]
    for name, value in headers:
        parts += (name, b": ", value, b"\r\n")
    parts.append(framing)
    parts.append(b"\r\n")
    return b"".join(parts)
