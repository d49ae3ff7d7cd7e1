"""Heads of HTTP/1.1 messages: bytes to values and back. Floor 3, no sockets.

A head is found by its blank line and read whole: no state survives a message, nothing
can be read past its end, and the body's framing is decided here, in one place. Any
doubt about a request is a `Reason`, after which its connection is closed (RFC 9112
§2.2, §6.3); any doubt about a response is a `MessageError`.

A request's head goes to llhttp first, in a parser that is then thrown away. It
(strict) refuses obs-fold, bare CR or LF, control characters, duplicate or malformed
Content-Length, and Content-Length beside Transfer-Encoding; what it lets through is
refused below. A response's head is read line by line, each held against the grammar
the first time it is seen (a third of the time); that this takes nothing which llhttp
refuses is tested.
"""

import re
from http import HTTPStatus
from typing import Any, Final

import httptools

from gateway.errors import MessageError
from gateway.values import REPEATED, Header, Reason
from gateway.wire.heads import CHUNKED, UNTIL_CLOSE, ParsedHead, ResponseHead

_LONGEST_LENGTH: Final = 18
"""Digits of a length: what no 64-bit reader takes for another number."""

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
    """The fields that frame a request, gathered in one pass over its header lines."""

    __slots__ = (
        "coding",
        "connection",
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
        self.headers = headers
        for name, value in headers:
            if name not in _FRAMING_NAMES:
                continue
            if name == b"content-length":
                self.length = value
            elif name == b"connection":
                self.connection += b"," + value.lower()
            elif name == b"host":
                self.hosts += 1
            elif name == b"transfer-encoding":
                # A second line makes a list, which is never exactly `chunked`.
                self.coding = (
                    value if self.coding is None else self.coding + b"," + value
                )
            elif name == b"expect":
                self.expect = value if self.expect is None else b""
            else:
                self.upgrade = value.lower()


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


def _is_length(value: bytes) -> bool:
    # ASCII digits alone: `isdigit` of bytes knows no others.
    return len(value) <= _LONGEST_LENGTH and value.isdigit()


def _lists(connection: bytes, token: bytes) -> bool:
    """Tell whether a Connection value, lower-case, lists an option."""
    # `find`, not `in`: which first makes an exception of every failure to be a number.
    return (
        connection != b""
        and connection.find(token) >= 0
        and token in [part.strip(b" \t") for part in connection.split(b",")]
    )


def _header(line: bytes) -> Header:
    # llhttp has seen to it that a name ends at its colon.
    name, _, value = line.partition(b":")
    return name.lower(), value.strip(b" \t")


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
    at = line.find(b" ")
    method = _METHODS.get(line[:at])
    if method is None or like.http10 or not line.endswith(b" HTTP/1.1"):
        return None
    target = line[at + 1 : -9]
    if not target.startswith(b"/") or target.translate(None, _VISIBLE):
        return None
    return ParsedHead(
        method=method,
        target=target,
        headers=like.headers,
        body=like.body,
        http10=False,
        close=like.close,
        expects=like.expects,
        upgrade=like.upgrade,
        notes=like.notes,
    )


_METHODS: Final = {
    method: method.decode()
    for method in (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS")
}
# All of which llhttp takes too; `parse_target` refuses some of it.
_VISIBLE: Final = bytes(range(0x21, 0x7F))


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
        close=http10 or _lists(framing.connection, b"close"),
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
    return int(length) if _is_length(length) else Reason.BAD_MESSAGE


def _upgrade(framing: _Framing, body: int, *, http10: bool) -> bytes:
    # RFC 9110 §7.8; one with a body is an ordinary request to us.
    possible = framing.upgrade and not body and not http10
    return (
        framing.upgrade if possible and _lists(framing.connection, b"upgrade") else b""
    )


def read_response_head(data: bytes, method: str) -> ResponseHead:
    """Parse one whole response head to a request with `method`.

    Raises `MessageError` on any doubt.
    """
    # A bare CR or LF stays in its line, where the grammar has no place for it.
    lines = data.split(b"\r\n")
    first = _statuses.get(lines[0])
    if first is None:
        first = _read_status(lines[0])
    # The blank line has left two empty ones.
    return _response(first, lines[1:-2], method)


_Status = tuple[int, bytes, bool]
"""The code, the phrase, and whether it is HTTP/1.0 that answers."""
_statuses: Final[dict[bytes, _Status]] = {}


def _read_status(line: bytes) -> _Status:
    found = _STATUS.fullmatch(line)
    if found is None:
        raise MessageError("not an HTTP/1 response")
    minor, code, phrase = found.groups()
    if not b"100" <= code <= b"599":
        raise MessageError("status code out of range")
    status = int(code), phrase or b"", minor == b"0"
    if len(_statuses) >= _REMEMBERED:
        _statuses.clear()
    if len(line) <= _WORTH_REMEMBERING:
        _statuses[line] = status
    return status


# RFC 9112 §4. Controls in the phrase are refused, bytes above them are nobody's concern.
_STATUS: Final = re.compile(
    rb"HTTP/1\.([01]) ([0-9]{3})(?: ([^\x00-\x08\x0a-\x1f\x7f]*))?"
)


class _Line:
    """A header line, and what it is to the framing.

    `header` is a `Header`; but what is known to be one, is compiled to be taken apart
    and made anew wherever it goes, and then it is no more the one that others remember.
    """

    __slots__ = ("header", "meaning", "value")

    def __init__(self, header: object, value: bytes, meaning: int) -> None:
        self.header = header
        self.value = value
        self.meaning = meaning


_lines: Final[dict[bytes, _Line]] = {}
"""How the lines read that servers write again and again.

Never a line that may hold a secret; bounded, since a server may make lines up.
"""
_REMEMBERED: Final = 1024
_WORTH_REMEMBERING: Final = 128


def _read_line(line: bytes) -> _Line:
    found = _LINE.fullmatch(line)
    if found is None:
        raise MessageError("malformed header line in the response head")
    name, value = found[1].lower(), found[2].strip(b" \t")
    meaning = _MEANINGS.get(name, 0)
    # RFC 4559: what follows on this connection is one user's.
    if meaning == _BINDS and _BINDS_CONNECTION.search(value) is None:
        meaning = 0
    # RFC 9112 §9.3: what it says is so without it.
    if meaning == _CONNECTION and value.lower() == b"keep-alive":
        meaning = 0
    read = _Line((name, value), value, meaning)
    if name in REPEATED and len(line) <= _WORTH_REMEMBERING:
        if len(_lines) >= _REMEMBERED:
            _lines.clear()
        _lines[line] = read
    return read


# RFC 9110 §5.1, §5.5; no white space before the colon (RFC 9112 §5.1), no folding.
_LINE: Final = re.compile(
    rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([^\x00-\x08\x0a-\x1f\x7f]*)"
)
_LENGTH: Final = 1
_CODING: Final = 2
_CONNECTION: Final = 3
_DATE: Final = 4
_BINDS: Final = 5
_MEANINGS: Final = {
    b"content-length": _LENGTH,
    b"transfer-encoding": _CODING,
    b"connection": _CONNECTION,
    b"date": _DATE,
    b"www-authenticate": _BINDS,
    b"proxy-authenticate": _BINDS,
}
_BINDS_CONNECTION: Final = re.compile(rb"(?i)(?:^|,)[ \t]*(?:ntlm|negotiate)\b")


class _Announced:
    """What a response's header lines say, gathered in one pass."""

    __slots__ = ("binds", "coding", "connection", "dated", "headers", "length")

    def __init__(self, lines: list[bytes]) -> None:
        self.headers: list[Any] = []
        self.coding: bytes | None = None
        self.length: bytes | None = None
        self.connection = b""
        self.dated = False
        self.binds = False
        for line in lines:
            read = _lines.get(line)
            if read is None:
                read = _read_line(line)
            self.headers.append(read.header)
            if read.meaning:
                self._note(read.meaning, read.value)

    def _note(self, meaning: int, value: bytes) -> None:
        if meaning == _DATE:
            self.dated = True
        elif meaning == _LENGTH:
            # RFC 9112 §6.3: two that agree are two who may disagree elsewhere.
            if self.length is not None or not _is_length(value):
                raise MessageError("malformed or doubled Content-Length")
            self.length = value
        elif meaning == _CONNECTION:
            self.connection += b"," + value.lower()
        elif meaning == _CODING:
            # A second line makes a list, which is never exactly `chunked`.
            coding = self.coding
            self.coding = value if coding is None else coding + b"," + value
        else:
            self.binds = True


def _response(first: _Status, lines: list[bytes], method: str) -> ResponseHead:
    status, phrase, http10 = first
    said = _Announced(lines)
    coding, length = said.coding, said.length
    if coding is not None and (
        http10 or length is not None or coding.lower() != b"chunked"
    ):
        raise MessageError("Transfer-Encoding other than chunked alone")
    bodiless = method == "HEAD" or status < 200 or status in (204, 304)
    if bodiless:
        body = 0
    elif coding is not None:
        body = CHUNKED
    else:
        body = UNTIL_CLOSE if length is None else int(length)
    # RFC 9112 §6.1, RFC 9110 §8.6: a 204 has no framing; one that does may have a body.
    doubtful = status == 204 and (coding is not None or length not in (None, b"0"))
    closes = http10 or body == UNTIL_CLOSE or doubtful or said.binds
    announced: int | None = None
    # RFC 9110 §8.6: no Content-Length in 1xx and 204.
    if bodiless and length is not None and (method == "HEAD" or status == 304):
        announced = int(length)
    return ResponseHead(
        status=status,
        phrase=phrase,
        headers=said.headers,
        body=body,
        keep_alive=not (closes or _lists(said.connection, b"close")),
        length=announced,
        dated=said.dated,
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
