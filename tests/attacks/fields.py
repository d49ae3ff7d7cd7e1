"""Attacks through header fields and tokens (SECURITY §1 A, C, F and RFC 6750)."""

from typing import Final

from tests.attacks.rows import END, HOST, READER, Row, group, lines, plain, target

FIELDS: Final = [
    *group(
        "malformed field lines",
        "HAProxy CVE-2023-25725, CVE-2021-40346; Envoy CVE-2019-9900; RFC 9112 §5",
        lines(b": x", 400),
        lines(b"SECRET", 400),
        lines(b"X : y", 400),
        lines(b"X\t: y", 400),
        lines(b"X: a\r\n b", 400),
        lines(b"X: a\r\n\tb", 400),
        lines(b"X:\r\n a", 400),
        lines(b" X: a", 400),
        lines(b"X: a\x00b", 400),
        lines(b"X: SECRET\x01", 400),
        lines(b"X: a\x1b[2J", 400),
        lines(b"X: a\rb", 400),
        lines(b"X: a\r", 400),
        lines(b"X: a\x7f", 400),
        lines(b"X\x00: a", 400),
        lines(b"X(y): a", 400),
        lines(b'"X": a', 400),
        lines(b"X\xff: a", 400),
        Row(
            "white space before the first field",
            b"GET /public/a HTTP/1.1\r\n X: y\r\n" + HOST + END,
            (400,),
        ),
    ),
    *group(
        "bytes that vanish",
        "SECURITY §0.16; HTTP Garden",
        lines(b"X: \xff", 400),
        lines(b"X-Role: \x85admin\xa0", 400),
        lines(b"X-Tok: ad\xffmin", 400),
        lines(b"X-Auth-User\xff: a", 400),
        lines(b"X-Name: \xec\x86\xa1", 200, reached=1),
        lines(b"X: \xc2\x85admin\xc2\xa0", 200, reached=1),
        lines(b"X: \xc0\x8d\xc0\x8aY: z", 400),
        lines(b"X: \xed\xa0\x80", 400),
        lines(b"X: \xc4\x8d\xc4\x8aY: z", 200, reached=1),
    ),
    *group(
        "many and long fields",
        "aiohttp CVE-2026-22815, CVE-2025-69229; HAProxy CVE-2021-40346",
        lines(b"X" * 300 + b": y", 200, reached=1),
        lines(b"X: " + b"y" * 33_000, 431),
        lines(b"X" * 33_000 + b": y", 431),
        lines(b"X: y\r\n" * 129 + b"Z: z", 431),
        lines(b"X: y\r\n" * 90 + b"Z: z", 200, reached=1),
        lines(b"\r\n".join(b"X%d: y" % n for n in range(5000)), 431),
    ),
    *group(
        "loops",
        "RFC 9110 §7.6.3",
        lines(b"Via: 1.1 gateway-test", 508),
        lines(b"Via: 1.0 a, 1.1 gateway-test (x)", 508),
        lines(b"Via: 1.1 a\r\nVia: 1.1 gateway-test", 508),
        lines(b"Via: 1.1 gateway-other", 200, reached=1),
    ),
    # Who says that the request is another one says nothing to us.
    *group(
        "second opinions about the request",
        "oauth2-proxy CVE-2026-40575, -34457, #3506; Traefik CVE-2026-35051, -54764;"
        " Oathkeeper CVE-2026-33495; Envoy CVE-2023-27487, CVE-2024-45806; authentik"
        " CVE-2024-47070; Spring CVE-2025-41235; APISIX CVE-2022-24112",
        (
            lines(raw, 401, path=b"/admin/a")
            for raw in (
                b"X-Forwarded-Uri: /public/a",
                b"X-Forwarded-Prefix: /public",
                b"X-Forwarded-Method: OPTIONS",
                b"X-Forwarded-Proto: https",
                b"X-Forwarded-Port: 443",
                b"X-Forwarded-Host: //evil.example",
                b"X-Forwarded-Host: named.example",
                b"X-Forwarded-For: a",
                b"X-Forwarded-For: 127.0.0.1",
                b"X-Real-IP: 127.0.0.1",
                b"X-Original-URL: /public/a",
                b"X-Original-Method: OPTIONS",
                b"X-Rewrite-URL: /public/a",
                b"X-HTTP-Method-Override: OPTIONS",
                b"X-Method-Override: OPTIONS",
                b"Forwarded: for=127.0.0.1;proto=https",
                b"User-Agent: kube-probe/1.30",
                b"X-Auth-Subject: root",
                b"x_auth_subject: root",
                b"X-Auth-Request-User: root",
                b"Connection: authorization",
                b"Cookie: access_token=SECRETa",
                b"X-Access-Token: SECRETa",
                b"Proxy-Authorization: Bearer SECRETa",
            )
        ),
    ),
    *group(
        "hop-by-hop tricks",
        "Oathkeeper GHSA-w9mr-28mw-j8hg; Traefik CVE-2024-45410, CVE-2026-29054;"
        " Fabio CVE-2025-48865",
        (
            Row(
                f"Connection: {listed.decode()}",
                b"GET /api/a HTTP/1.1\r\n"
                + HOST
                + READER
                + b"X-Own: 1\r\nConnection: "
                + listed
                + b"\r\n"
                + END,
                (200,),
                1,
            )
            for listed in (
                b"x-auth-subject",
                b"X-Auth-Subject, x-request-id, via, x-forwarded-for",
                b"authorization",
                b"host",
                b"content-length, transfer-encoding",
                b"close, x-own",
                b",,",
                b"",
            )
        ),
    ),
]

TOKENS: Final = [
    *group(
        "malformed credentials",
        "authentik CVE-2026-25748; Authelia GHSA-68wm-pfjf-wqp6; Envoy CVE-2022-29226;"
        " RFC 6750 §2.1",
        (
            lines(b"Authorization:" + raw, status, path=b"/api/a")
            for raw, status in (
                (b"", 401),
                (b" Bearer", 400),
                (b" Bearer  ", 400),
                (b" Bearer\tTr", 400),
                (b" BearerTr", 401),
                (b" Bearer Tr Tr", 400),
                (b' Bearer "Tr"', 400),
                (b" Bearer 'Tr'", 400),
                (b" Bearer Tr=x", 400),
                (b" Bearer =", 400),
                (b" Bearer SECRET!", 400),
                (b" Bearer SECRET%20", 400),
                (b" Bearer \xffTr", 400),
                (b" Bearer Tr\xa0", 400),
                (b" Bearer Tr\xc2\xa0", 400),
                (b" Bearer Tr\x00", 400),
                (b" Basic SECRET", 401),
                (b" DPoP SECRETr", 401),
                (b" Bearer x", 401),
                (b" Bearer SECRET", 401),
                (b" Bearer SECRE", 401),
                (b" Bearer SECRETr.", 401),
                (b" Bearer secretr", 401),
                (b" Bearer " + b"T" * 8200, 400),
                (b" Bearer " + b"." * 30_000, 400),
            )
        ),
    ),
    *group(
        "two credentials",
        "Envoy CVE-2026-26308; Istio CVE-2026-31838; mod_auth_openidc 2026-08;"
        " RFC 6750 §2",
        lines(
            b"Authorization: Bearer SECRETr\r\nAuthorization: Bearer SECRETr",
            400,
            path=b"/api/a",
        ),
        lines(b"Authorization: Bearer SECRETr\r\nAuthorization:", 400),
        lines(b"Authorization: Basic SECRET\r\n" + READER[:-2], 400, path=b"/api/a"),
        lines(b"Authorization: Bearer Tr, Bearer Ta", 400, path=b"/api/a"),
        lines(READER[:-2], 400, path=b"/query/a?access_token=SECRETr"),
        target(b"/query/a?access_token=SECRETr&access_token=SECRETr", 400),
        target(b"/query/a?access_token=SECRETr&access%5ftoken=SECRETa", 400),
    ),
    *group(
        "query tokens",
        "RFC 6750 §2.3; Grafana CVE-2023-1387; SECURITY §1 C, F",
        target(b"/api/a?access_token=SECRETr", 400),
        target(b"/query/a?access_token=SECRETr", 200, reached=1),
        target(b"/query/a?access%5Ftoken=SECRETr", 200, reached=1),
        target(b"/query/a?a=1&access_token=SECRETr&b=2", 200, reached=1),
        target(b"/query/a?access_token=", 400),
        target(b"/query/a?access_token", 400),
        target(b"/query/a?Access_Token=SECRETr", 400),
        target(b"/query/a?access_token[]=SECRETr", 400),
        target(b"/query/a?a=1;access_token=SECRET", 400),
        target(b"/query/a?access_token=SECRET%00", 400),
        target(b"/query/a?access_token=%ff", 400),
        target(b"/query/a?access_token=SECRET", 401),
        target(b"/query/a?access_token=SECRETr%0d%0aX:y", 400),
        Row(
            "a token in a Referer",
            b"GET /api/a HTTP/1.1\r\n"
            + HOST
            + READER
            + b"Referer: https://x.example/?access_token=SECRETr&a=1\r\n"
            + END,
            (200,),
            1,
        ),
    ),
    *group(
        "tokens of another right",
        "Oathkeeper CVE-2021-32701; APISIX CVE-2025-46647; Envoy CVE-2021-21378",
        lines(b"Authorization: bEaReR SECRETr", 200, path=b"/api/a", reached=1),
        lines(b"Authorization: Bearer   SECRETr", 200, path=b"/api/a", reached=1),
        lines(READER[:-2], 403, path=b"/admin/a"),
        lines(b"Authorization: Bearer SECRETa", 403, path=b"/api/a"),
        lines(b"Authorization: Bearer SECRETra", 200, path=b"/admin/a", reached=1),
        lines(b"Authorization: Bearer SECRET", 401, path=b"/optional/a"),
        plain(
            "first read, then admin, on one connection",
            b"GET /api/a HTTP/1.1\r\n",
            HOST,
            READER,
            b"\r\n",
            b"GET /admin/a HTTP/1.1\r\n",
            HOST,
            READER,
            b"\r\n",
            b"GET /api/b HTTP/1.1\r\n",
            HOST,
            END,
            statuses=(200, 403, 401),
            reached=1,
        ),
    ),
]
