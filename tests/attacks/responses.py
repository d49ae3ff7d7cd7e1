"""What an upstream may do wrong: one line of data for each answer."""

from collections.abc import Iterable
from typing import Final, NamedTuple

OK: Final = b"HTTP/1.1 200 OK\r\n"
TWO: Final = b"Content-Length: 2\r\n"
CHUNKED: Final = b"Transfer-Encoding: chunked\r\n"
CUT: Final = 0
"""Instead of a status: the client sees that the answer was cut off."""


class Row(NamedTuple):
    """One answer, the status (or `CUT`) and body the client gets, and the reuse.

    `then` is what the upstream does next: read on, `close`, `reset`, or say `EVIL`
    while nobody asked. `late` tells that only a deadline ends it.
    """

    name: str
    data: bytes
    status: int
    reused: bool = False
    body: bytes = b"hi"
    then: str = ""
    method: str = "GET"
    late: bool = False
    group: str = ""
    source: str = ""


def group(name: str, source: str, *rows: Row | Iterable[Row]) -> list[Row]:
    """Name the kind of some rows, and where it comes from."""
    flat = [row for each in rows for row in ([each] if isinstance(each, Row) else each)]
    return [row._replace(group=name, source=source) for row in flat]


def refused(name: str, data: bytes) -> Row:
    """A message in doubt: 502, and the connection goes."""
    return Row(name, data, 502)


TABLE: Final = [
    *group(
        "response framing",
        "nginx-tests proxy_duplicate_headers.t; nginx CVE-2026-1642; RFC 9112 §6.3",
        (
            refused(f"framed {raw!r}", OK + raw + b"\r\n\r\nEVIL")
            for raw in (
                b"Content-Length: 2\r\nTransfer-Encoding: chunked",
                b"Transfer-Encoding: chunked\r\nContent-Length: 2",
                b"Content-Length: 2\r\nContent-Length: 3",
                b"Content-Length: 2\r\nContent-Length: 2",
                b"Content-Length: foo",
                b"Content-Length:",
                b"Content-Length: +2",
                b"Content-Length: -2",
                b"Content-Length: 2,2",
                b"Content-Length: 0x2",
                b"Content-Length: 1180591620717411303424",
                b"Content-Length : 2",
                b"Content-Length: 2\r\n 0",
                b"Transfer-Encoding: foo",
                b"Transfer-Encoding:",
                b"Transfer-Encoding: gzip, chunked",
                b"Transfer-Encoding: chunked, chunked",
                b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
                b"Transfer-Encoding: ,chunked",
                b"Transfer-Encoding: chunked;a=b",
                b"Transfer-Encoding : chunked",
            )
        ),
        refused(
            "chunks in HTTP/1.0",
            b"HTTP/1.0 200 OK\r\n" + CHUNKED + b"\r\n0\r\n\r\n",
        ),
        Row("leading zeros", OK + b"Content-Length: 02\r\n\r\nhi", 200, reused=True),
        Row(
            "chunked in capitals",
            OK + b"Transfer-Encoding: Chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            200,
            reused=True,
        ),
    ),
    *group(
        "response fields",
        "aiohttp CVE-2026-34520; SECURITY §0.12; RFC 9112 §5",
        (
            refused(f"field {raw!r}", OK + raw + b"\r\n" + TWO + b"\r\nhi")
            for raw in (
                b"X: a\r\n b",
                b"X:\r\n\tb",
                b" X: a",
                b"X : a",
                b": a",
                b"no colon",
                b"X: a\x00b",
                b"X: a\x01b",
                b"X: a\x1b[2J",
                b"X: a\x7fb",
                b"X: a\rb",
                b"X: a\nY: b",
                b"X\x00: a",
                b"X\xff: a",
            )
        ),
        refused(
            "a head of bare line feeds", b"HTTP/1.1 200 OK\nContent-Length: 2\n\nhi"
        ),
        refused(
            "a head of bare carriage returns",
            b"HTTP/1.1 200 OK\rContent-Length: 2\r\rhi",
        ),
        refused("a bare LF before the end", OK + b"X: a\n" + TWO + b"\r\nhi"),
        Row(
            "bytes beyond ASCII", OK + b"X: \x85a\xff\r\n" + TWO + b"\r\nhi", 200, True
        ),
    ),
    *group(
        "status lines",
        "Http11Probe; SECURITY §0.12; RFC 9112 §4, RFC 9110 §15",
        (
            refused(f"begins {raw!r}", raw + b"\r\n" + TWO + b"\r\nhi")
            for raw in (
                b"HTTP/1.1 099 OK",
                b"HTTP/1.1 999 OK",
                b"HTTP/1.1 600 OK",
                b"HTTP/1.1 2000 OK",
                b"HTTP/1.1 20 OK",
                b"HTTP/1.1 +200 OK",
                b"HTTP/1.1 -200 OK",
                b"HTTP/1.1  200 OK",
                b"HTTP/1.1\t200 OK",
                b" HTTP/1.1 200 OK",
                b"\r\nHTTP/1.1 200 OK",
                b"HTTP/2.0 200 OK",
                b"HTTP/1.2 200 OK",
                b"HTTP/0.9 200 OK",
                b"http/1.1 200 OK",
                b"HTTP/1.1200 OK",
                b"ICY 200 OK",
                b"SSH-2.0-EVIL",
                b"HTTP/1.1 200 E\x01VIL",
                b"HTTP/1.1 200 E\x00VIL",
                b"HTTP/1.1 200 E\x7fVIL",
            )
        ),
        Row("no phrase", b"HTTP/1.1 200 \r\n" + TWO + b"\r\nhi", 200, True),
        Row("not even a space", b"HTTP/1.1 200\r\n" + TWO + b"\r\nhi", 200, True),
    ),
    *group(
        "more than was declared",
        "aiohttp #13656; RFC 9112 §6.3, §9.3",
        Row("a longer body", OK + TWO + b"\r\nhiEVIL", 200),
        Row("two responses", (OK + TWO + b"\r\nhi") + OK + b"\r\nEVIL", 200),
        Row(
            "bytes after the last chunk",
            OK + CHUNKED + b"\r\n2\r\nhi\r\n0\r\n\r\nEVIL",
            200,
        ),
        Row("a body after 204", b"HTTP/1.1 204 N\r\n\r\nEVIL", 204, body=b""),
        Row("a body after 304", b"HTTP/1.1 304 N\r\n\r\nEVIL", 304, body=b""),
        Row(
            "a body after HEAD",
            OK + b"Content-Length: 4\r\n\r\nEVIL",
            200,
            body=b"",
            method="HEAD",
        ),
        Row("a stray response", OK + TWO + b"\r\nhi", 200, then="EVIL"),
        Row("a stray line end", OK + TWO + b"\r\nhi\r\n", 200),
        Row(
            "a stray byte after a HEAD",
            OK + b"\r\n",
            200,
            body=b"",
            method="HEAD",
            then="EVIL",
        ),
    ),
    *group(
        "less than was declared",
        "RFC 9112 §8; SECURITY §5: never a complete-looking body",
        Row("a shorter body", OK + TWO + b"\r\nh", CUT, then="close"),
        Row("a shorter body, reset", OK + TWO + b"\r\nh", CUT, then="reset"),
        Row("a shorter body, silence", OK + TWO + b"\r\nh", CUT, late=True),
        Row("no body at all", OK + TWO + b"\r\n", CUT, then="close"),
        Row("half a chunk", OK + CHUNKED + b"\r\n9\r\nhi", CUT, then="close"),
        Row("no last chunk", OK + CHUNKED + b"\r\n2\r\nhi\r\n", CUT, then="close"),
        Row(
            "half a last chunk",
            OK + CHUNKED + b"\r\n2\r\nhi\r\n0\r\n",
            CUT,
            then="close",
        ),
        Row(
            "no last chunk, reset", OK + CHUNKED + b"\r\n2\r\nhi\r\n", CUT, then="reset"
        ),
        Row(
            "a huge chunk",
            OK + CHUNKED + b"\r\nfffffffffffffff\r\nhi",
            CUT,
            then="close",
        ),
        Row("until close", OK + b"\r\nhi", 200, then="close"),
        Row("until close, reset", OK + b"\r\nhi", CUT, then="reset"),
        Row("until close, silence", OK + b"\r\nhi", CUT, late=True),
        Row("nothing", b"", 502, then="close"),
        Row("nothing, reset", b"", 502, then="reset"),
        Row("nothing, silence", b"", 504, late=True),
        Row("half a head", OK + b"X: y\r\n", 502, then="close"),
        Row("half a head, silence", OK + b"X: y\r\n", 504, late=True),
        Row("only an interim answer", b"HTTP/1.1 100 C\r\n\r\n", 502, then="close"),
    ),
    *group(
        "response chunks",
        "aiohttp CVE-2024-52304; HTTP Garden; RFC 9112 §7.1",
        (
            Row(f"chunks {raw!r}", OK + CHUNKED + b"\r\n" + raw, CUT)
            for raw in (
                b"2 \r\nhi\r\n0\r\n\r\n",
                b"+2\r\nhi\r\n0\r\n\r\n",
                b"0x2\r\nhi\r\n0\r\n\r\n",
                b"2\nhi\r\n0\r\n\r\n",
                b"2\r\nhi\n0\r\n\r\n",
                b"2\r\nhiX\r\n0\r\n\r\n",
                b"x\r\nhi\r\n0\r\n\r\n",
                b"2;\x00\r\nhi\r\n0\r\n\r\n",
                b"2;" + b"a" * 2000 + b"\r\nhi\r\n0\r\n\r\n",
                b"ffffffffffffffff\r\nhi",
                b"2\r\nhi\r\n0\r\n\nEVIL",
                b"2\r\nhi\r\n0\r\nno colon\r\n\r\n",
                b"2\r\nhi\r\n0\r\n" + b"X: y\r\n" * 3000 + b"\r\n",
            )
        ),
        Row(
            "extensions and trailers go nowhere",
            OK + CHUNKED + b"Trailer: X\r\n\r\n2;a=EVIL\r\nhi\r\n0\r\nX: EVIL\r\n\r\n",
            200,
            reused=True,
        ),
        Row(
            "crumbs",
            OK + CHUNKED + b"\r\n" + b"1\r\nx\r\n" * 300 + b"0\r\n\r\n",
            200,
            reused=True,
            body=b"x" * 300,
        ),
    ),
    *group(
        "interim responses",
        "RFC 9110 §15.2, §7.8; SECURITY §1 D",
        Row(
            "16 of them",
            b"HTTP/1.1 100 C\r\n\r\n" * 16 + OK + TWO + b"\r\nhi",
            200,
            reused=True,
        ),
        refused("17 of them", b"HTTP/1.1 100 C\r\n\r\n" * 17 + OK + TWO + b"\r\nhi"),
        Row(
            "an early hint",
            b"HTTP/1.1 103 E\r\nLink: </x>\r\n\r\n" + OK + TWO + b"\r\nhi",
            200,
            reused=True,
        ),
        refused(
            "one with a body",
            b"HTTP/1.1 103 E\r\nContent-Length: 4\r\n\r\nEVIL" + OK + TWO + b"\r\nhi",
        ),
        refused(
            "a switch nobody asked for",
            b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nEVIL",
        ),
        refused("a switch to nothing", b"HTTP/1.1 101 S\r\n\r\nEVIL"),
    ),
    *group(
        "answers without a body",
        "RFC 9110 §6.4.1, §8.6",
        Row("204", b"HTTP/1.1 204 N\r\n\r\n", 204, True, b""),
        Row(
            "304 with a length",
            b"HTTP/1.1 304 N\r\nContent-Length: 4\r\n\r\n",
            304,
            True,
            b"",
        ),
        Row(
            "304 with a coding",
            b"HTTP/1.1 304 N\r\n" + CHUNKED + b"\r\n",
            304,
            True,
            b"",
        ),
        Row(
            "HEAD with a length",
            OK + b"Content-Length: 4\r\n\r\n",
            200,
            True,
            b"",
            method="HEAD",
        ),
        Row(
            "HEAD with a coding", OK + CHUNKED + b"\r\n", 200, True, b"", method="HEAD"
        ),
        Row(
            "204 with a length",
            b"HTTP/1.1 204 N\r\nContent-Length: 4\r\n\r\n",
            204,
            False,
            b"",
        ),
        Row(
            "204 with a coding",
            b"HTTP/1.1 204 N\r\n" + CHUNKED + b"\r\n",
            204,
            False,
            b"",
        ),
    ),
    *group(
        "heads without end",
        "SECURITY §1 G; §5",
        refused("many fields", OK + b"X: y\r\n" * 20_000),
        refused("a long field", OK + b"X: " + b"y" * 70_000),
        refused("a long phrase", b"HTTP/1.1 200 " + b"y" * 70_000),
    ),
    *group(
        "connections that serve once",
        "RFC 9112 §9.3, §9.6; Traefik 2026-09 (NTLM)",
        Row("close", OK + b"Connection: close\r\n" + TWO + b"\r\nhi", 200),
        Row(
            "close among others",
            OK + b"Connection: x, Close\r\n" + TWO + b"\r\nhi",
            200,
        ),
        Row("HTTP/1.0", b"HTTP/1.0 200 OK\r\n" + TWO + b"\r\nhi", 200),
        Row(
            "HTTP/1.0 that would stay",
            b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" + TWO + b"\r\nhi",
            200,
        ),
        Row(
            "NTLM",
            b"HTTP/1.1 401 U\r\nWWW-Authenticate: NTLM\r\n" + TWO + b"\r\nhi",
            401,
        ),
    ),
    *group(
        "nobody follows a redirect",
        "aiohttp CVE-2026-34518, -47265, -69244",
        Row(
            "307",
            b"HTTP/1.1 307 T\r\nLocation: http://evil.example/\r\n" + TWO + b"\r\nhi",
            307,
            True,
        ),
    ),
]
