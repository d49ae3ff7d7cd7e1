"""Published attacks on gateways, as bytes from a client (each row names its kind).

One table: what is sent, what is answered, and how many requests reach the upstream.
Every row is sent whole and byte at a time. On leaving `door` it is proven besides that
the upstream received nothing that a strict parser refuses, that nothing crashed, and
that nothing is left behind.
"""

from typing import Final, NamedTuple

import pytest

from tests.fronts.house import door, read_responses

HOST: Final = b"Host: books.example\r\n"
READER: Final = b"Authorization: Bearer Tr\r\n"
END: Final = b"Connection: close\r\n\r\n"
SMUGGLED: Final = b"GET /public/smuggled HTTP/1.1\r\n" + HOST + b"\r\n"


class Row(NamedTuple):
    """One attack: its bytes, the statuses it hears, and the requests that get through.

    `begun` tells that the upstream hears the beginning of a request, and no end.
    """

    name: str
    data: bytes
    statuses: tuple[int, ...]
    reached: int = 0
    begun: bool = False


def target(raw: bytes, status: int, *, reached: int = 0, token: bool = False) -> Row:
    """Ask for a target by GET."""
    name = f"target {raw!r}{' with a token' if token else ''}"
    data = b"GET " + raw + b" HTTP/1.1\r\n" + HOST + (READER if token else b"") + END
    return Row(name, data, (status,), reached)


def lines(raw: bytes, status: int, *, path: bytes = b"/public/a", reached=0) -> Row:
    """Ask with further header lines."""
    data = b"GET " + path + b" HTTP/1.1\r\n" + HOST + raw + b"\r\n" + END
    return Row(f"line {raw!r} at {path.decode()}", data, (status,), reached)


def host(raw: bytes, status: int, *, reached: int = 0) -> Row:
    """Ask with these bytes for Host lines."""
    data = b"GET /public/a HTTP/1.1\r\n" + raw + END
    return Row(f"host {raw!r}", data, (status,), reached)


def first_line(raw: bytes, *statuses: int, reached: int = 0) -> Row:
    """Begin with this line."""
    return Row(f"begins {raw!r}", raw + b"\r\n" + HOST + END, statuses, reached)


def framed(raw: bytes, *statuses: int, body: bytes = b"", reached: int = 0) -> Row:
    """Post with these framing lines, a second request behind the body."""
    data = b"POST /public/a HTTP/1.1\r\n" + HOST + raw + b"\r\n\r\n" + body + SMUGGLED
    return Row(f"framed {raw!r} {body!r}", data, statuses, reached)


B_TARGETS: Final = [
    # Dot segments: nobody repairs a path, so nobody repairs it differently.
    target(b"/public/../admin/SECRET", 400),
    target(b"/public/%2e%2e/admin", 400),
    target(b"/public/%2E./admin", 400),
    target(b"/public/.%2e/admin", 400),
    target(b"/public/./../admin", 400),
    target(b"/public/.", 400),
    target(b"/public/..", 400),
    target(b"/..", 400),
    target(b"/static/../../etc/passwd", 400),
    target(b"/healthz/../admin", 400),
    # Path parameters survive some normalisers and not others.
    target(b"/public/..;/admin", 400),
    target(b"/public/..;x=1/admin", 400),
    target(b"/public/.;/admin", 400),
    target(b"/admin;x=1", 400),
    target(b"/public;x/../admin", 400),
    target(b"/;x/admin", 400),
    # Empty segments, encoded slashes and backslashes.
    target(b"//admin", 400),
    target(b"/public//../admin", 400),
    target(b"//evil.example/..", 400),
    target(b"/public/%2f..%2fadmin", 400),
    target(b"/public/..%2fadmin", 400),
    target(b"/public%2f..%2fadmin", 400),
    target(b"/slash/..%2fadmin", 400),
    target(b"/public/a%2Fb", 400),
    target(b"/public%5c..%5cadmin", 400),
    target(b"/\\admin", 400),
    target(b"/\\evil.example", 400),
    target(b"/public\\..\\admin", 400),
    # The query is no part of the path.
    target(b"/admin?/public/", 401),
    target(b"/admin?x=/public/a", 401),
    target(b"/admin%3F/public", 404),
    target(b"/admin%3f", 404),
    # A fragment is no part of a target.
    target(b"/public/x#/../../admin", 400),
    target(b"/admin#", 400),
    target(b"/public#SECRET", 400),
    target(b"/public?a#b", 400),
    target(b"/admin%23", 404),
    # Spellings of a guarded name.
    target(b"/%61dmin", 401),
    target(b"/admi%6e", 401),
    target(b"/admin/", 401),
    target(b"/ADMIN", 404),
    target(b"/admin%20", 404),
    target(b"/admin.", 404),
    target(b"/admin%00", 400),
    target(b"/admin%0a", 400),
    target(b"/admin%0d%0a", 400),
    target(b"/public%0a/../admin", 400),
    target(b"/public/%00", 400),
    target(b"/public/%zz", 400),
    target(b"/public/%", 400),
    target(b"/public/%c0%ae%c0%ae/admin", 200, reached=1),
    target(b"/public/\x7f", 400),
    target(b"/public/\xc3\xa9", 400),
    # Prefixes are stripped from what was judged.
    target(b"/strip../admin", 404),
    target(b"/strip/..%2fadmin", 400, token=True),
    target(b"/strip%2f..", 400, token=True),
    # Forms of a target.
    target(b"admin", 400),
    target(b"?x", 400),
    target(b"*", 400),
    target(b"http://", 400),
    target(b"http:///admin", 400),
    target(b"http://SECRET@books.example/public/a", 400),
    target(b"http://books.example,evil/public/a", 400),
    target(b"http://books.example/public/../admin", 400),
    target(b"http://books.example#/public/a", 400),
    target(b"http://books.example/admin", 401),
    target(b"http://books.example?x", 404),
    target(b"ftp://books.example/public/a", 400),
    target(b"http://named.example/any", 200, reached=1),
    target(b"/any", 404),
    target(b"/public/a?" + b"a" * 8300, 414),
    target(b"/" + b"a" * 66_000, 414),
]

B_HOSTS: Final = [
    host(b"", 400),
    host(b"Host: a\r\nHost: a\r\n", 400),
    host(b"Host: a\r\nHost: b\r\n", 400),
    host(b"Host: a,b\r\n", 400),
    host(b"Host: u@h\r\n", 400),
    host(b"Host: h/p\r\n", 400),
    host(b"Host: h?q\r\n", 400),
    host(b"Host: h#f\r\n", 400),
    host(b"Host: h h\r\n", 400),
    host(b"Host:\r\n", 400),
    host(b"Host: :80\r\n", 400),
    host(b"Host: h:http\r\n", 400),
    host(b"Host: h:99999\r\n", 400),
    host(b"Host: [::1\r\n", 400),
    host(b"Host: h\x00\r\n", 400),
    host(b"Host: h%2eexample\r\n", 400),
    host(b"Host : h\r\n", 400),
    host(b"X: y\r\n Host: h\r\n", 400),
    host(b"Host: h\xc3\xa9\r\n", 400),
    host(b"Host: SECRET..example\r\n", 400),
    host(b"Host: books.example:8080\r\n", 200, reached=1),
    host(b"Host: [::1]:80\r\n", 200, reached=1),
    Row(
        "an invalid Host beside an absolute target",
        b"GET http://books.example/public/a HTTP/1.1\r\nHost: a,b\r\n" + END,
        (400,),
    ),
    Row(
        "another Host beside an absolute target",
        b"GET http://named.example/x HTTP/1.1\r\nHost: books.example\r\n" + END,
        (200,),
        1,
    ),
    Row("no Host in HTTP/1.0", b"GET /public/a HTTP/1.0\r\n\r\n", (200,), 1),
    Row(
        "two Hosts in HTTP/1.0",
        b"GET /public/a HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n",
        (400,),
    ),
]

METHODS_AND_VERSIONS: Final = [
    first_line(b"CONNECT books.example:443 HTTP/1.1", 405),
    first_line(b"CONNECT /admin HTTP/1.1", 405),
    first_line(b"CONNECT /public/a HTTP/1.1", 405),
    first_line(b"TRACE /public/a HTTP/1.1", 405),
    first_line(b"TRACE http://books.example/public/a HTTP/1.1", 405),
    first_line(b"OPTIONS * HTTP/1.1", 400),
    first_line(b"OPTIONS /public/a HTTP/1.1", 200, reached=1),
    first_line(b"POST /read HTTP/1.1", 405),
    first_line(b"SECRET /public/a HTTP/1.1", 400),
    first_line(b"get /public/a HTTP/1.1", 400),
    first_line(b"GET /public/a", 400),
    first_line(b"GET /public/a HTTP/0.9", 505),
    first_line(b"GET /public/a HTTP/2.0", 505),
    first_line(b"GET /public/a HTTP/1.2", 400),
    first_line(b"GET /public/a RTSP/1.0", 400),
    first_line(b"DESCRIBE /public/a RTSP/1.0", 400),
    first_line(b"GET /public/a HTTP/1.1 HTTP/1.1", 400),
    first_line(b"GET /public /../admin HTTP/1.1", 400),
    first_line(b"GET  /public/a HTTP/1.1", 400),
    first_line(b"GET\t/public/a HTTP/1.1", 400),
    first_line(b" GET /public/a HTTP/1.1", 400),
    first_line(b"GET /public/a HTTP/1.1 ", 400),
    first_line(b"GET /public/a HTTP/1.1\r", 400),
    first_line(b"\r\n\r\nGET /public/a HTTP/1.1", 400),
    first_line(b"\r\nGET /public/a HTTP/1.1", 200, reached=1),
    Row("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (505,)),
    Row(
        "a TLS greeting", b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03SECRET", (400,)
    ),
    Row("another protocol", b"SSH-2.0-SECRET\r\n", (400,)),
    Row("bare line feeds", b"GET /public/a HTTP/1.1\nHost: a\n\n", (400,)),
    Row(
        "one bare line feed",
        b"GET /public/a HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
        (400,),
    ),
    Row(
        "a bare line feed before the blank line",
        b"GET /public/a HTTP/1.1\r\nHost: a\n\r\n",
        (400,),
    ),
]

C_HEADERS: Final = [
    lines(b": x", 400),
    lines(b"SECRET", 400),
    lines(b"X : y", 400),
    lines(b"X: a\r\n b", 400),
    lines(b"X: a\r\n\tb", 400),
    lines(b" X: a", 400),
    lines(b"X: a\x00b", 400),
    lines(b"X: SECRET\x01", 400),
    lines(b"X: a\rb", 400),
    lines(b"X: a\x7f", 400),
    lines(b"X\x00: a", 400),
    lines(b"X\xff: a", 400),
    lines(b"X: \xff", 400),
    lines(b"X-Role: \x85admin\xa0", 400),
    lines(b"X-Tok: ad\xffmin", 400),
    lines(b"X-Name: \xec\x86\xa1", 200, reached=1),
    lines(b"X" * 300 + b": y", 200, reached=1),
    lines(b"X: " + b"y" * 33_000, 431),
    lines(b"X: y\r\n" * 129 + b"Z: z", 431),
    lines(b"Via: 1.1 gateway-test", 508),
    # Who says that the request is another one says nothing to us.
    *[
        lines(raw, 401, path=b"/admin/a")
        for raw in (
            b"X-Forwarded-Uri: /public/a",
            b"X-Forwarded-Prefix: /public",
            b"X-Forwarded-Method: OPTIONS",
            b"X-Forwarded-Proto: https",
            b"X-Forwarded-Port: 443",
            b"X-Forwarded-Host: //evil.example",
            b"X-Forwarded-For: a",
            b"X-Forwarded-For: 127.0.0.1",
            b"X-Real-IP: 127.0.0.1",
            b"X-Original-URL: /public/a",
            b"X-Rewrite-URL: /public/a",
            b"X-HTTP-Method-Override: OPTIONS",
            b"Forwarded: for=127.0.0.1;proto=https",
            b"User-Agent: kube-probe/1.30",
            b"X-Auth-Subject: root",
            b"Connection: authorization",
        )
    ],
]

TOKENS: Final = [
    *[
        lines(b"Authorization:" + raw, status, path=b"/api/a")
        for raw, status in (
            (b"", 401),
            (b" Bearer", 400),
            (b" Bearer  ", 400),
            (b" Bearer\tTr", 400),
            (b" BearerTr", 401),
            (b" Bearer Tr Tr", 400),
            (b" Bearer Tr, Bearer Ta", 400),
            (b' Bearer "Tr"', 400),
            (b" Bearer Tr=x", 400),
            (b" Bearer SECRET!", 400),
            (b" Bearer \xffTr", 400),
            (b" Bearer Tr\xa0", 400),
            (b" Bearer Tr\x00", 400),
            (b" Basic SECRET", 401),
            (b" Bearer x", 401),
            (b" Bearer SECRET", 401),
            (b" Bearer " + b"T" * 8200, 400),
        )
    ],
    lines(b"Authorization: Bearer Tr\r\nAuthorization: Bearer Tr", 400, path=b"/api/a"),
    lines(b"Authorization: Bearer Tr\r\nAuthorization:", 400, path=b"/public/a"),
    lines(b"Authorization: bEaReR Tr", 200, path=b"/api/a", reached=1),
    lines(b"Authorization: Bearer Tr", 403, path=b"/admin/a"),
    lines(b"Authorization: Bearer Tr", 400, path=b"/query/a?access_token=Tr"),
    lines(b"Authorization: Bearer SECRET", 401, path=b"/optional/a"),
    target(b"/api/a?access_token=Tr", 400),
    target(b"/query/a?access_token=Tr", 200, reached=1),
    target(b"/query/a?access%5Ftoken=Tr", 200, reached=1),
    target(b"/query/a?access_token=Tr&access_token=Tr", 400),
    target(b"/query/a?access_token=Tr&access%5ftoken=Ta", 400),
    target(b"/query/a?access_token=", 400),
    target(b"/query/a?access_token", 400),
    target(b"/query/a?Access_Token=Tr", 400),
    target(b"/query/a?access_token[]=Tr", 400),
    target(b"/query/a?a=1;access_token=SECRET", 400),
    target(b"/query/a?access_token=SECRET%00", 400),
    target(b"/query/a?access_token=%ff", 400),
    target(b"/query/a?access_token=SECRET", 401),
]

D_FRAMING: Final = [
    framed(b"Content-Length:", 400),
    framed(b"Content-Length: +5", 400, body=b"hello"),
    framed(b"Content-Length: -5", 400, body=b"hello"),
    framed(b"Content-Length: 5,", 400, body=b"hello"),
    framed(b"Content-Length: ,5", 400, body=b"hello"),
    framed(b"Content-Length: 5,5", 400, body=b"hello"),
    framed(b"Content-Length: 5_0", 400, body=b"hello"),
    framed(b"Content-Length: 0x5", 400, body=b"hello"),
    framed(b"Content-Length: 5 5", 400, body=b"hello"),
    framed(b"Content-Length: \xd9\xa5", 400, body=b"hello"),
    framed(b"Content-Length: 5\r\nContent-Length: 5", 400, body=b"hello"),
    framed(b"Content-Length: 5\r\nContent-Length: 6", 400, body=b"hello"),
    framed(b"Content-Length: 18446744073709551621", 400, body=b"hello"),
    framed(b"Content-Length : 5", 400, body=b"hello"),
    framed(b"Content-Length: 5\r\nTransfer-Encoding: chunked", 400, body=b"0\r\n\r\n"),
    framed(b"Transfer-Encoding: chunked\r\nContent-Length: 5", 400, body=b"0\r\n\r\n"),
    framed(b"Transfer-Encoding:\r\nContent-Length: 5", 400, body=b"hello"),
    framed(b"Transfer-Encoding: ,chunked", 400, body=b"0\r\n\r\n"),
    framed(b"Transfer-Encoding: chunked, chunked", 400, body=b"0\r\n\r\n"),
    framed(b"Transfer-Encoding: chunked, identity", 400, body=b"0\r\n\r\n"),
    framed(b"Transfer-Encoding: identity", 400),
    framed(b"Transfer-Encoding: xchunked", 400, body=b"0\r\n\r\n"),
    framed(b"Transfer-Encoding: \x0bchunked", 400, body=b"0\r\n\r\n"),
    framed(b"Transfer-Encoding\t: chunked", 400, body=b"0\r\n\r\n"),
    framed(b"Transfer-Encoding:\r\n chunked", 400, body=b"0\r\n\r\n"),
    framed(
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x", 400, body=b"0\r\n\r\n"
    ),
    framed(b"Transfer-Encoding: gzip, chunked", 501, body=b"0\r\n\r\n"),
    framed(b"Foo: bar\rTransfer-Encoding: chunked", 400, body=b"0\r\n\r\n"),
    Row(
        "a name with an underscore frames nothing and goes nowhere",
        b"POST /public/a HTTP/1.1\r\n"
        + HOST
        + b"Transfer_Encoding: chunked\r\nContent_Length: 99\r\n\r\n"
        + SMUGGLED.replace(b"\r\n\r\n", b"\r\n" + END),
        (200, 200),
        2,
    ),
    Row(
        "chunks in HTTP/1.0",
        b"POST /public/a HTTP/1.0\r\n"
        + HOST
        + b"Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        + SMUGGLED,
        (400,),
    ),
    Row(
        "a second request of HTTP/1.0",
        b"GET /public/a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + SMUGGLED,
        (200,),
        1,
    ),
    Row(
        "a request in the body of a refused one",
        b"POST /api/a HTTP/1.1\r\n"
        + HOST
        + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED)
        + SMUGGLED,
        (401,),
    ),
    Row(
        "a request in the chunked body of a refused one",
        b"POST /api/a HTTP/1.1\r\n"
        + HOST
        + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(SMUGGLED)
        + SMUGGLED
        + b"\r\n0\r\n\r\n"
        + SMUGGLED,
        (401,),
    ),
    Row(
        "a request after a refused target",
        b"GET /public/../a HTTP/1.1\r\n" + HOST + b"\r\n" + SMUGGLED,
        (400,),
    ),
    Row(
        "a request behind an upgrade nobody granted is judged on its own",
        b"GET /public/a HTTP/1.1\r\n"
        + HOST
        + b"Connection: upgrade\r\nUpgrade: foo\r\n\r\n"
        + b"GET /api/a HTTP/1.1\r\n"
        + HOST
        + END,
        (200, 401),
        1,
    ),
    Row(
        "h2c with a body (what Java clients send)",
        b"POST /public/a HTTP/1.1\r\n"
        + HOST
        + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        + b"HTTP2-Settings: AAMAAABk\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED)
        + SMUGGLED
        + b"GET /api/a HTTP/1.1\r\n"
        + HOST
        + END,
        (200, 401),
        1,
    ),
    Row(
        "an upgrade to h2c on a route with tunnels",
        b"GET /ws/a HTTP/1.1\r\n"
        + HOST
        + READER
        + b"Connection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n",
        (200,),
        1,
    ),
]

EXPECTATIONS: Final = [
    Row(
        "nobody continues without a token",
        b"POST /api/a HTTP/1.1\r\n"
        + HOST
        + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n",
        (401,),
    ),
    Row(
        "a body sent without waiting",
        b"POST /public/a HTTP/1.1\r\n"
        + HOST
        + b"Expect: 100-continue\r\nContent-Length: 5\r\n"
        + END
        + b"hello",
        (200,),
        1,
    ),
    lines(b"Expect: 100-continue", 200, reached=1),
    lines(b"Expect: y", 417),
    lines(b"Expect: SECRET", 417),
    lines(b"Expect : 100-continue", 400),
    lines(b"Expect: 100-continue\r\nExpect: 100-continue", 417),
]

CHUNKS: Final = [
    Row(
        f"chunks {body!r}",
        b"POST /public/a HTTP/1.1\r\n"
        + HOST
        + b"Transfer-Encoding: chunked\r\n\r\n"
        + body
        + SMUGGLED,
        (400,),
        begun=True,
    )
    for body in (
        b"5\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhello0\r\n\r\n",
        b"+5\r\nhello\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"5 \r\nhello\r\n0\r\n\r\n",
        b"5;\x00\r\nhello\r\n0\r\n\r\n",
        b"5;a\rb\r\nhello\r\n0\r\n\r\n",
        b"10000000000000005\r\nhello\r\n0\r\n\r\n",
        b"\r\nhello\r\n0\r\n\r\n",
        b"0\r\n: SECRET\r\n\r\n",
        b"0\r\nno colon\r\n\r\n",
    )
]

TABLE: Final = [
    *B_TARGETS,
    *B_HOSTS,
    *METHODS_AND_VERSIONS,
    *C_HEADERS,
    *TOKENS,
    *D_FRAMING,
    *EXPECTATIONS,
    *CHUNKS,
]


def test_no_row_is_there_twice():
    """Names tell the rows apart in a report."""
    assert len(TABLE) == len({row.name for row in TABLE})


@pytest.mark.parametrize("step", [0, 1], ids=["whole", "bytes"])
@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name[:60])
async def test_an_attack_is_answered_as_the_table_says(row, step):
    """The same answers however it arrives, and nothing upstream that was not judged."""
    if step and len(row.data) > 5000:
        step = 997
    async with door() as d:
        answer = await d.exchange(row.data, step=step)
        told = read_responses(answer)

        assert row.statuses == tuple(each.status for each in told)
        assert row.reached == len(d.upstream.requests)
        assert row.reached or row.begun or not d.upstream.raw
        assert b"SECRET" not in answer
        assert b"smuggled" not in answer
        assert len(told) == len(d.exchanges)
        for each, exchange in zip(told, d.exchanges, strict=True):
            assert each.status == exchange.status
            assert each.value(b"x-request-id") == exchange.request_id.encode()
            assert each.value(b"date") is not None
            assert each.value(b"location") is None
            assert "?" not in exchange.path
            if each.status >= 400:
                assert b"no-store" == each.value(b"cache-control")
                assert len(each.body) == exchange.response_bytes
        assert b"close" == told[-1].value(b"connection")
