"""What the upstream hears of a request that was let in: nothing a client smuggled in.

One line of data for each case: what is sent, what must be there, what must not.
"""

from typing import Final, NamedTuple

import pytest

from tests.attacks.rows import END, HOST, READER
from tests.attacks.stage import stage

ADA: Final = (b"x-auth-subject", b"ada")


class Row(NamedTuple):
    """A request's further lines, and what the upstream must and must not hear.

    `has` are headers, each of them once; `lacks` are bytes nowhere in what it hears.
    """

    name: str
    raw: bytes
    has: tuple[tuple[bytes, bytes], ...] = ()
    lacks: tuple[bytes, ...] = (b"EVIL",)
    line: bytes = b"GET /api/a"
    target: bytes = b""
    body: bytes = b""
    source: str = ""


TABLE: Final = [
    *(
        Row(f"somebody else's name {raw!r}", raw + b"\r\n", (ADA,), source=source)
        for source, spellings in {
            "Keycloak Gatekeeper CVE-2020-14359": (
                b"x-auth-subject: EVIL",
                b"X-AUTH-SUBJECT: EVIL",
                b"X-Auth-Subject: EVIL\r\nx-AUTH-subject: EVIL",
                b"X-Auth-Subject:",
                b"X-Auth-Anything: EVIL",
            ),
            "oauth2-proxy CVE-2025-64484; Traefik CVE-2026-54763; Caddy"
            " CVE-2026-52845": (
                b"X_Auth_Subject: EVIL",
                b"X-Auth_Subject: EVIL",
                b"X.Auth.Subject: EVIL",
                b"X_Forwarded_User: EVIL",
                b"x-forwarded_user: EVIL",
                b"X-Forwarded.User: EVIL",
                b"X-Forwarded-User: EVIL",
            ),
            "oauth2-proxy CVE-2026-40575; Envoy CVE-2023-27487": (
                b"X-Original-URL: EVIL",
                b"X-Original-Method: EVIL",
                b"X-Rewrite-URL: EVIL",
                b"X-HTTP-Method-Override: EVIL",
                b"X-Forwarded-For: EVIL",
                b"X-Forwarded-Proto: EVIL",
                b"Forwarded: for=EVIL",
                b"X-Real-IP: EVIL",
                b"X-Request-Id: EVIL",
                b"Proxy: EVIL",
            ),
            "RFC 9110 §7.6.1": (
                b"Keep-Alive: EVIL",
                b"Proxy-Connection: EVIL",
                b"Proxy-Authorization: EVIL",
                b"Proxy-Authenticate: EVIL",
                b"TE: EVIL",
                b"Trailer: EVIL",
                b"Upgrade: EVIL",
                b"HTTP2-Settings: EVIL",
                b"Connection: X-Own\r\nX-Own: EVIL",
                b"Connection: x-a\r\nconnection: X-B\r\nX-A: EVIL\r\nX-B: EVIL",
            ),
        }.items()
        for raw in spellings
    ),
    *(
        Row(
            f"Connection: {listed.decode()} takes nothing of ours",
            b"Connection: " + listed + b"\r\n",
            (ADA, (b"via", b"1.1 gateway-test"), (b"host", b"books.example")),
            source="Oathkeeper GHSA-w9mr-28mw-j8hg; Traefik CVE-2024-45410",
        )
        for listed in (
            b"close, x-auth-subject, authorization, x-request-id",
            b"X-AUTH-SUBJECT",
            b"via, host, x-forwarded-for",
        )
    ),
    Row(
        "an anonymous request has no name",
        b"X-Auth-Subject: EVIL\r\n",
        lacks=(b"EVIL", b"x-auth-"),
        line=b"GET /public/a",
        source="Caddy CVE-2026-30851; APISIX CVE-2026-39998",
    ),
    Row(
        "an OPTIONS that is no preflight has no name either",
        b"X-Auth-Subject: EVIL\r\n",
        lacks=(b"EVIL", b"x-auth-"),
        line=b"OPTIONS /cors/a",
        source="APISIX CVE-2026-44087",
    ),
    Row(
        "no claim, no header",
        b"X-Auth-Device: EVIL\r\nX-Auth-Email: EVIL\r\n",
        (ADA,),
        (b"EVIL", b"x-auth-device", b"x-auth-email"),
        source="APISIX #13183, #13330; mod_auth_openidc #222",
    ),
    Row(
        "a token in the query stays here",
        b"",
        (ADA,),
        (b"SECRET", b"access_token"),
        b"GET /query/a?a=1&access_token=SECRETr&b=%2f..",
        b"/query/a?a=1&b=%2f..",
        source="Grafana CVE-2023-1387",
    ),
    Row(
        "a token alone leaves no question mark",
        b"",
        (ADA,),
        (b"SECRET", b"?"),
        b"GET /query/a?access_token=SECRETr",
        b"/query/a",
        source="Grafana CVE-2023-1387",
    ),
    Row(
        "a token in a Referer is redacted",
        b"Referer: https://x.example/?access_token=SECRETr\r\n",
        lacks=(b"SECRET",),
        source="RFC 9700 §4.9",
    ),
    Row(
        "a compressed body is not looked into",
        b"Content-Encoding: gzip\r\nContent-Length: 6\r\n",
        ((b"content-encoding", b"gzip"),),
        line=b"POST /public/a",
        body=b"\x1f\x8b\x08\0\0\0",
        source="aiohttp CVE-2025-69223, -69228",
    ),
    Row(
        "nothing is added that a client did not say",
        b"",
        lacks=(b"accept", b"user-agent", b"accept-encoding"),
        source="SECURITY §0.12",
    ),
    Row(
        "templates are no templates",
        b"X-A: {env.HOME} ${HOME} %(x)s {0}\r\n",
        ((b"x-a", b"{env.HOME} ${HOME} %(x)s {0}"),),
        source="Caddy CVE-2026-30852",
    ),
    Row(
        "conditionals pass unevaluated",
        b'If-None-Match: "a"\r\nRange: bytes=0-1\r\nIf-Range: "b"\r\n',
        ((b"if-none-match", b'"a"'), (b"range", b"bytes=0-1"), (b"if-range", b'"b"')),
        source="RFC 9110 §13.2.1",
    ),
    Row(
        "trailers go nowhere",
        b"Transfer-Encoding: chunked\r\n",
        (ADA,),
        line=b"POST /api/a",
        body=b"0\r\nX-Auth-Subject: EVIL\r\nHost: EVIL\r\n\r\n",
        source="Http11Probe SMUG-TRAILER",
    ),
    Row(
        "what a guard has judged stays with the request",
        b"Connection: content-type\r\nAuthorization: Basic YTpi\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 29\r\n",
        ((b"content-type", b"application/x-www-form-urlencoded"),),
        line=b"POST /oauth/token",
        body=b"grant_type=client_credentials",
        source="RFC 9110 §7.6.1",
    ),
    Row(
        "Max-Forwards is counted down",
        b"Max-Forwards: 5\r\n",
        ((b"max-forwards", b"4"),),
        line=b"OPTIONS /public/a",
        source="RFC 9110 §7.6.2",
    ),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
async def test_the_upstream_hears_what_was_judged_and_who_calls(row):
    """Hop-by-hop and owned names go first, ours come last."""
    lines = row.raw
    if b"/api/" in row.line:
        lines = READER + lines
    data = row.line + b" HTTP/1.1\r\n" + HOST + lines + END + row.body
    async with stage() as s:
        play = await s.play(data)
        (received,) = play.received
        heard = received.target + b"".join(
            name + b": " + value + b"\n" for name, value in received.headers
        )

        for name, value in row.has:
            assert [value] == received.values(name)
        assert not any(each in heard for each in row.lacks)
        assert (row.target or row.line.split(b" ")[1]) == received.target
        if row.body and b"chunked" not in row.raw:
            assert row.body == received.body


async def test_a_preflight_reaches_nobody():
    """Answered from the route's own rules, whatever it says of itself."""
    data = (
        b"OPTIONS /cors/a HTTP/1.1\r\n"
        + HOST
        + b"Origin: https://app.example\r\nAccess-Control-Request-Method: PUT\r\n"
        + b"X-Auth-Subject: EVIL\r\n"
        + END
    )
    async with stage() as s:
        play = await s.play(data)

        assert [] == play.received
        assert [204] == [each.status for each in play.told]


async def test_max_forwards_zero_goes_no_further():
    """RFC 9110 §7.6.2: the last recipient answers itself."""
    async with stage() as s:
        data = b"OPTIONS /public/a HTTP/1.1\r\n" + HOST + b"Max-Forwards: 0\r\n" + END
        play = await s.play(data)

        assert [] == play.received
