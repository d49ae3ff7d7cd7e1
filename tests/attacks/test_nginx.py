"""The same bytes to nginx and to us: who lets what through, and how it arrives.

nginx is a plain proxy here, and so are we: one public route for everything. Each
difference is deliberate, and says why. What we let through and nginx does not is named
case by case.
"""

from typing import Final

import pytest

from tests.attacks.nginx import NGINX, Notebook, Taken, converse, reference
from tests.attacks.rows import Row
from tests.attacks.test_requests import TABLE
from tests.fronts.house import door, public

Reasons = dict[str, tuple[str, ...]]

STRICTER: Final[Reasons] = {
    "a target that two could read differently is refused: nothing behind us need agree"
    " with us about it": (
        "dot segments",
        "overlong UTF-8",
        "path parameters",
        "slashes and backslashes",
        "fragments",
        "controls and broken escapes",
        "prefixes",
        "target b'/admin%09'",
        "target b'http://books.example/public/../admin'",
        "target b'http://books.example//admin'",
        "a request after a refused target",
    ),
    "a scheme we do not serve": ("target b'ftp://books.example/public/a'",),
    "routes are chosen by host: a doubtful one is refused (RFC 9112 §3.2)": (
        "doubtful hosts",
        "an invalid Host beside an absolute target",
    ),
    "methods that nobody registered": (
        "begins b'SECRET /public/a HTTP/1.1'",
        "begins b'PRI /public/a HTTP/1.1'",
    ),
    "no HTTP/0.9, and no minor version that is not ours": ("versions",),
    "a request line is never corrected (RFC 9112 §3.2)": (
        "white space in the request line",
    ),
    "a bare LF ends no line: the classic disagreement": (
        "bare line ends",
        r"framed b'Foo: bar\nTransfer-Encoding: chunked' b'0\r\n\r\n'",
    ),
    "a line that is no field is refused, not dropped or passed on": (
        "malformed field lines",
    ),
    "lone bytes beyond ASCII mean something else to everybody (SECURITY §0.16)": (
        "bytes that vanish",
        r"line b'Authorization: Bearer \xffTr' at /api/a",
        r"line b'Authorization: Bearer Tr\xa0' at /api/a",
    ),
    "the count of fields is bounded, not only their bytes": (
        *(row.name for row in TABLE if row.name.endswith("to 778 at /public/a")),
    ),
    "a request that was here before is a loop": ("loops",),
    "an HTTP/1.0 client is served once (RFC 9112 §9.3)": (
        "a second request of HTTP/1.0",
    ),
    "an expectation we do not know is not met (RFC 9110 §10.1.1)": (
        "line b'Expect: y' at /public/a",
        "line b'Expect:' at /public/a",
        "line b'Expect: 100-continue, y' at /public/a",
        "line b'Expect: SECRET' at /public/a",
    ),
    "Max-Forwards: 0 goes no further (RFC 9110 §7.6.2)": (
        "of an OPTIONS that goes no further",
    ),
    "chunks by the letter: no white space, no bare LF, 15 digits, 1 KiB for a line": (
        "chunks",
    ),
    "trailers are read as strictly as fields, though they go nowhere": ("trailers",),
}
"""Why we refuse what nginx lets through: cases, or groups of them."""

OTHERWISE: Final[Reasons] = {
    "the authority of an absolute target replaces Host (RFC 9112 §3.2.2)": (
        "target b'http://named.example/any'",
        "another Host beside an absolute target",
    ),
    "HTTP/1.1 upstreams are owed a Host, be it empty (RFC 9112 §3.2)": (
        "no Host in HTTP/1.0",
    ),
    "what Connection lists goes no further (RFC 9110 §7.6.1); nginx passes it on": (
        "Connection: close, x-own",
    ),
    "Trailer is about this hop's framing (RFC 9110 §7.6.1)": (
        "trailers never become fields",
    ),
}
"""Why the upstream hears something else from us."""

LAXER: Final[Reasons] = {
    "OWS is a space or a tab (RFC 9110 §5.6.3); nginx knows spaces": (
        "white space around the value",
        "the one coding, in any case",
    ),
    "our limit is for all fields together, nginx's for each line": (
        "line b'Authorization: Bearer TTTTTTTT' and so on to 8222 at /api/a",
        "line b'Authorization: Bearer ........' and so on to 30022 at /api/a",
    ),
}
"""Why we let through what nginx refuses: case by case."""

OURS: Final = frozenset(
    {
        # Framing is each hop's own.
        b"connection",
        b"content-length",
        b"transfer-encoding",
        # Ours to add, or to take out of what a client says (tests/fronts).
        b"authorization",
        b"expect",
        b"forwarded",
        b"proxy-authorization",
        b"referer",
        b"via",
        b"x-real-ip",
        b"x-request-id",
        b"x-http-method-override",
        b"x-method-override",
        b"x-original-method",
        b"x-original-url",
        b"x-rewrite-url",
    }
)
PREFIXES: Final = (b"x-forwarded-", b"x-auth-", b"http2-")


def compared(taken: list[Taken]) -> list[tuple[object, ...]]:
    """Give of each request what must be the same."""
    return [
        (
            each.method,
            each.target,
            sorted(
                header
                for header in each.headers
                if header[0] not in OURS and not header[0].startswith(PREFIXES)
            ),
        )
        for each in taken
    ]


def explained(table: Reasons, row: Row) -> str:
    """Give the entry of a table that explains a row."""
    named = [name for names in table.values() for name in names]
    return next((name for name in (row.name, row.group) if name in named), "")


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
async def test_every_difference_to_nginx_is_deliberate(tmp_path):
    """No case differs without a reason, and no reason is left without a case."""
    used: set[str] = set()
    unexplained: dict[str, object] = {}
    ours = Notebook()
    async with (
        reference(tmp_path) as (port, theirs),
        door(ours, routes=[public("/**", encoded_slash=True)]) as d,
    ):
        for row in TABLE:
            theirs.taken.clear()
            ours.taken.clear()
            # nginx is told to close what idles; we are in this very loop.
            await converse(port, row.data, quiet=5)
            await converse(d.port, row.data, quiet=0.1)
            let, also = compared(theirs.taken), compared(ours.taken)
            if let == also:
                continue
            if len(let) == len(also):
                table = OTHERWISE
            else:
                table = STRICTER if len(let) > len(also) else LAXER
            name = explained(table, row)
            used.add(name)
            if not name or (table is LAXER and name != row.name):
                unexplained[f"{row.group}: {row.name}"] = (len(let), len(also))

    reasons = {
        name
        for table in (STRICTER, OTHERWISE, LAXER)
        for names in table.values()
        for name in names
    }
    assert {} == unexplained
    assert reasons == used - {""}
