"""Attacks through chunked bodies and their trailers (RFC 9112 §7.1)."""

from typing import Final

from tests.attacks.rows import END, HOST, READER, SMUGGLED, chunks, group, plain

_ASK: Final = b"GET /api/a HTTP/1.1\r\n" + HOST + END
"""A request that is refused if it is judged on its own."""

CHUNKS: Final = [
    *group(
        "chunks",
        "aiohttp CVE-2023-47641, CVE-2024-52304, CVE-2025-53643, -69224; waitress"
        " CVE-2019-16785; protocol-http1 CVE-2023-38697; HTTP Garden; RFC 9112 §7.1",
        (
            chunks(raw, 400)
            for raw in (
                b"5\nhello\r\n0\r\n\r\n",
                b"5\r\nhello\n0\r\n\r\n",
                b"5\r\nhello0\r\n\r\n",
                b"5\r\nhello\r0\r\n\r\n",
                b"5\rhello\r\n0\r\n\r\n",
                b"5\r\nhelloX\r\n0\r\n\r\n",
                b"5\r\nhell\r\n0\r\n\r\n",
                b"+5\r\nhello\r\n0\r\n\r\n",
                b"-5\r\nhello\r\n0\r\n\r\n",
                b"0x5\r\nhello\r\n0\r\n\r\n",
                b"5_0\r\nhello\r\n0\r\n\r\n",
                b"5 \r\nhello\r\n0\r\n\r\n",
                b" 5\r\nhello\r\n0\r\n\r\n",
                b"5\t\r\nhello\r\n0\r\n\r\n",
                b"g\r\nhello\r\n0\r\n\r\n",
                b"\xd9\xa5\r\nhello\r\n0\r\n\r\n",
                b"5;\r\nhello\r\n0\r\n\r\n",
                b"5;\x00\r\nhello\r\n0\r\n\r\n",
                b"5;a\rb\r\nhello\r\n0\r\n\r\n",
                b"5;a\nb\r\nhello\r\n0\r\n\r\n",
                b"5 ;a=b\r\nhello\r\n0\r\n\r\n",
                b'5;a="b\r\nhello\r\n0\r\n\r\n',
                b"5;" + b"a" * 2000 + b"\r\nhello\r\n0\r\n\r\n",
                b"10000000000000005\r\nhello\r\n0\r\n\r\n",
                b"fffffffffffffffb\r\nhello\r\n0\r\n\r\n",
                b"0000000000000005\r\nhello\r\n0\r\n\r\n",
                b"\r\nhello\r\n0\r\n\r\n",
                b"5\r\nhello\r\n\r\n",
                b"0\n\n",
                b"0\r\n\n",
                b"0\r\nX: y\r\n\n",
                b"0\r\nX",
            )
        ),
    ),
    *group(
        "trailers",
        "Http11Probe SMUG-TRAILER; aiohttp CVE-2026-54277; RFC 9112 §7.1.2",
        chunks(b"0\r\n: SECRET\r\n\r\n", 400),
        chunks(b"0\r\nno colon\r\n\r\n", 400),
        chunks(b"0\r\nX : y\r\n\r\n", 400),
        chunks(b"0\r\nX: a\r\n b\r\n\r\n", 400),
        chunks(b"0\r\nX: a\x00\r\n\r\n", 400),
        chunks(b"0\r\nX: a\n\r\n", 400),
        chunks(b"0\r\nX: " + b"a" * 2000 + b"\r\n\r\n", 400),
        chunks(b"0\r\n" + b"X: y\r\n" * 5000 + b"\r\n", 400),
        plain(
            "trailers never become fields",
            b"POST /api/a HTTP/1.1\r\n",
            HOST,
            b"Transfer-Encoding: chunked\r\nTrailer: authorization\r\n\r\n",
            b"0\r\nAuthorization: Bearer SECRETr\r\n\r\n",
            SMUGGLED,
            statuses=(401,),
        ),
        plain(
            "trailers and extensions go nowhere",
            b"POST /api/a HTTP/1.1\r\n",
            HOST,
            READER,
            b"Transfer-Encoding: chunked\r\n\r\n",
            b'5;a=b;c="d;e"\r\nhello\r\n0;SECRET\r\n',
            b"X-Auth-Subject: SECRET\r\nHost: SECRET\r\nContent-Length: 9\r\n\r\n",
            _ASK,
            statuses=(200, 401),
            reached=1,
        ),
    ),
]
