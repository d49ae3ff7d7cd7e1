"""A token is nowhere but where it belongs (SECURITY §1 F).

Not in an answer, a log or a metric, nor, when it was judged, at the upstream. One
process, logging at DEBUG, is sent a token of its own in every place that a token can
be put in; then it is stopped, and everything it ever said is searched.
"""

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.functional.harness import (
    ADMIN_TOKEN,
    bearer,
    converse,
    head,
    running,
)
from tests.functional.lab import KEY, config, sign
from tests.functional.partner import FORM

CLOSE = ("Connection", "close")
MELON = "melon.example"
HTTPS = ("X-Forwarded-Proto", "https")
UPGRADE = [("Connection", "Upgrade"), ("Upgrade", "websocket")]


def get(target: str, *headers: tuple[str, str], host: str = "lab") -> bytes:
    """Write a GET after which the connection ends."""
    return head("GET", target, host, [*headers, CLOSE])


def form(target: str, body: str, *headers: tuple[str, str]) -> bytes:
    """Write a form."""
    return head("POST", target, MELON, [FORM, CLOSE, *headers], body.encode())


def admin(path: str, body: Any, token: str = ADMIN_TOKEN) -> bytes:
    """Write a question to the admin listener."""
    lines = [bearer(token), ("Content-Type", "application/json"), CLOSE]
    return head("POST", path, "127.0.0.1", lines, json.dumps(body).encode())


Places = Mapping[str, Callable[[str], bytes]]
CLIENT = "&client_id=a&client_secret=b"

# Place -> how a request with the token there is written.
AT_THE_DOOR: Places = {
    "header": lambda t: get("/page/x", bearer(t)),
    "header of an unknown route": lambda t: get("/nowhere", bearer(t)),
    "header of a public route": lambda t: get("/open/x", bearer(t)),
    "lower-case header": lambda t: get("/page/x", ("authorization", f"bearer {t}")),
    "another scheme": lambda t: get("/page/x", ("Authorization", f"Token {t}")),
    "no scheme": lambda t: get("/page/x", ("Authorization", t)),
    "Basic": lambda t: get("/page/x", ("Authorization", f"Basic {t}")),
    "two headers": lambda t: get("/page/x", bearer(t), bearer(t)),
    "list": lambda t: get("/page/x", bearer(f"{t}, Bearer {t}")),
    "malformed": lambda t: get("/page/x", bearer(f"{t}!")),
    "quoted": lambda t: get("/page/x", bearer(f'"{t}"')),
    "with a control character": lambda t: get("/page/x", bearer(f"{t}\x01")),
    "with a NUL": lambda t: get("/page/x", bearer(f"{t}\x00")),
    "with a byte that is no text": lambda t: get("/page/x", bearer(f"{t}\xff")),
    "too long": lambda t: get("/page/x", bearer(t + "a" * 9000)),
    "far too long": lambda t: get("/page/x", bearer(t + "a" * 40_000)),
    "header without a name": lambda t: get("/page/x", ("", f"Bearer {t}")),
    "header with a space in its name": lambda t: get("/page/x", ("A B", t)),
    "folded header": lambda t: get("/page/x", ("Authorization", f"Bearer\r\n {t}")),
    "other provider's": lambda t: get("/echoed", bearer(t)),
    "query": lambda t: get(f"/music/x?a=1&access_token={t}&b=2"),
    "query alone": lambda t: get(f"/music/x?access_token={t}"),
    "query, encoded": lambda t: get(f"/music/x?access%5Ftoken={t}"),
    "query and header": lambda t: get(f"/music/x?access_token={t}", bearer(t)),
    "query twice": lambda t: get(f"/music/x?access_token={t}&access_token={t}"),
    "query, malformed": lambda t: get(f"/music/x?access_token={t}%00"),
    "query, capital": lambda t: get(f"/music/x?Access_Token={t}"),
    "query, dot": lambda t: get(f"/music/x?access.token={t}"),
    "query, array": lambda t: get(f"/music/x?access_token[]={t}"),
    "query, semicolon": lambda t: get(f"/music/x?a=1;access_token={t}"),
    "query where none is taken": lambda t: get(f"/page/x?access_token={t}"),
    "query of an unknown route": lambda t: get(f"/nowhere?access_token={t}"),
    "query of a wrong method": lambda t: head(
        "DELETE", f"/page/x?access_token={t}", "lab", [CLOSE]
    ),
    "query of a bad target": lambda t: get(f"/open/../x?access_token={t}"),
    "query of an overlong target": lambda t: get(
        f"/music/{'a' * 9000}?access_token={t}"
    ),
    "fragment": lambda t: get(f"/music/x#access_token={t}"),
    "absolute target": lambda t: get(f"http://lab/music/x?access_token={t}"),
    "user information": lambda t: get(f"http://{t}@lab/music/x"),
    "broken request line": lambda t: get(f"/music/x?access_token={t} x"),
    "unknown version": lambda t: get(f"/music/x?access_token={t}").replace(
        b"HTTP/1.1", b"HTTP/3.0"
    ),
    "method": lambda t: head(f"{t}", "/page/x", "lab", [CLOSE]),
    "Referer": lambda t: get(
        "/page/x", bearer(sign()), ("Referer", f"https://a/?access_token={t}")
    ),
    "header that names an upstream's": lambda t: get(
        "/page/x", bearer(sign()), ("X-Auth-Token", t), ("X_Access_Token", t)
    ),
    "trailer": lambda t: (
        head(
            "PUT",
            "/page/x",
            "lab",
            [bearer(sign()), CLOSE, ("Transfer-Encoding", "chunked")],
        )
        + f"1\r\na\r\n0\r\nAuthorization: Bearer {t}\r\n\r\n".encode()
    ),
    "broken chunk": lambda t: (
        head(
            "PUT", "/page/x", "lab", [bearer(sign()), ("Transfer-Encoding", "chunked")]
        )
        + f"{t}\r\n".encode()
    ),
    "device": lambda t: get("/page/x", ("Device-Serial-Number", t)),
    "Upgrade": lambda t: get("/socket", bearer(t), *UPGRADE),
    "preflight": lambda t: head(
        "OPTIONS",
        f"/page/x?access_token={t}",
        "lab",
        [
            CLOSE,
            ("Origin", "https://app.example"),
            ("Access-Control-Request-Method", "GET"),
            ("Access-Control-Request-Headers", t),
        ],
    ),
    "Expect": lambda t: get("/page/x", bearer(t), ("Expect", t)),
    "form over plain HTTP": lambda t: form("/oauth/token", f"refresh_token={t}"),
    "form, malformed": lambda t: form("/oauth/token", f"a={t}&a={t}", HTTPS),
    "form, grant type": lambda t: form(
        "/oauth/token", f"grant_type={t}{CLIENT}", HTTPS
    ),
    "form, Basic": lambda t: form(
        "/oauth/token",
        "grant_type=refresh_token",
        HTTPS,
        ("Authorization", "Basic " + base64.b64encode(f"a:{t}".encode()).decode()),
    ),
    "form in the URI": lambda t: form(f"/oauth/token?refresh_token={t}", "", HTTPS),
}
# Here the upstream is whom the client means it for; all others must not see it.
MEANT_FOR_THE_UPSTREAM: Places = {
    "query of a public route": lambda t: get(f"/open/x?access_token={t}"),
    "cookie": lambda t: get("/page/x", bearer(sign()), ("Cookie", f"access_token={t}")),
    "body": lambda t: head(
        "PUT", "/page/x", "lab", [bearer(sign()), CLOSE], t.encode()
    ),
    "refresh": lambda t: form(
        "/oauth/token", f"grant_type=refresh_token&refresh_token={t}{CLIENT}", HTTPS
    ),
    "revocation": lambda t: form("/oauth/revoke", f"token={t}{CLIENT}", HTTPS),
}
AT_THE_DESK: Places = {
    "explained": lambda t: admin(
        "/api/explain", {"method": "GET", "url": "http://lab/page/x", "token": t}
    ),
    "explained in a URL": lambda t: admin(
        "/api/explain",
        {"method": "GET", "url": f"http://lab/music/x?access_token={t}", "headers": {}},
    ),
    "explained in a header": lambda t: admin(
        "/api/explain",
        {"method": "GET", "url": "http://lab/page/x", "headers": dict([bearer(t)])},
    ),
    "revoked": lambda t: admin("/api/revocations", {"provider": "lab", "token": t}),
    "revoked nowhere": lambda t: admin(
        "/api/revocations", {"provider": "nobody", "token": t}
    ),
    "broken JSON": lambda t: admin("/api/revocations", [t]),
    "as an admin's": lambda t: admin("/api/explain", {}, token=t),
    "in the query": lambda t: get(
        f"/api/revocations?access_token={t}", host="127.0.0.1"
    ),
}
AT_THE_PROBES: Places = {
    "probe": lambda t: get(f"/readyz?access_token={t}", bearer(t)),
    "scrape": lambda t: get(f"/metrics?access_token={t}", bearer(t)),
    "nothing": lambda t: get(f"/nothing?access_token={t}", bearer(t)),
}
WAYS = ("good", "expired", "broken")


def make(way: str) -> str:
    """Make a token that is good, was good, or was tampered with."""
    token = sign(-5 if way == "expired" else 300)
    return token[:-1] + ("A" if token[-1] != "A" else "B") if way == "broken" else token


def traces(token: str, text: bytes) -> list[str]:
    """Which parts of a token are in a text, however their case was changed."""
    _, payload, signature = token.split(".")
    folded = text.lower()
    return [part for part in (payload, signature) if part.lower().encode() in folded]


@pytest.fixture(scope="module")
def searched(start_lab, lab):
    """Everything said and passed on: by place the token, the answers; then the rest."""
    told: dict[Any, Any] = {}
    with running(start_lab(config(lab))) as gateway:
        doors = [
            (gateway.ports.proxy, AT_THE_DOOR),
            (gateway.ports.proxy, MEANT_FOR_THE_UPSTREAM),
            (gateway.ports.admin, AT_THE_DESK),
            (gateway.ports.status, AT_THE_PROBES),
        ]
        for port, places in doors:
            for place, write in places.items():
                for way in WAYS:
                    token, since = make(way), len(lab.requests)
                    answer = converse(port, write(token))
                    assert answer.startswith(b"HTTP/1.1 "), place
                    told[place, way] = token, answer, repr(lab.requests[since:])
        metrics = gateway.status("/metrics").body
        assert gateway.stop() == 0
        told["everywhere"] = gateway.printed(), metrics
        yield told


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "place", [*AT_THE_DOOR, *MEANT_FOR_THE_UPSTREAM, *AT_THE_DESK, *AT_THE_PROBES]
)
def test_a_token_is_in_no_answer_log_or_metric(searched, place, way):
    """Whatever became of the request."""
    token, answer, _ = searched[place, way]
    (out, err), metrics = searched["everywhere"]

    assert [] == traces(token, answer)
    assert [] == traces(token, out.encode())
    assert [] == traces(token, err.encode())
    assert [] == traces(token, metrics)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("place", AT_THE_DOOR)
def test_a_token_that_was_judged_stays_here(searched, place, way):
    """Allowed or refused, the upstream does not see it."""
    token, _, passed_on = searched[place, way]

    assert [] == traces(token, passed_on.encode())


def test_good_tokens_were_taken(searched):
    """The search would prove nothing if every request had been refused."""
    for place in (
        "header",
        "query",
        "query alone",
        "query, encoded",
        "absolute target",
    ):
        _, answer, passed_on = searched[place, "good"]

        assert answer.startswith(b"HTTP/1.1 200 "), place
        assert "x-auth-subject" in passed_on.lower()


def test_what_is_meant_for_the_upstream_arrives(searched):
    """A form or a cookie is none of our business."""
    for place in MEANT_FOR_THE_UPSTREAM:
        token, _, passed_on = searched[place, "good"]

        assert [] != traces(token, passed_on.encode()), place


def test_the_log_tells_of_every_request(searched):
    """One line each, with the path and without the query."""
    (out, _), _ = searched["everywhere"]
    lines = [json.loads(line) for line in out.splitlines()]

    assert len(lines) >= len(WAYS) * (len(AT_THE_DOOR) + len(MEANT_FOR_THE_UPSTREAM))
    assert not [line for line in lines if "?" in line["url.path"]]
    assert {"allow", "deny", "error"} == {line["gateway.decision"] for line in lines}


def test_no_secret_of_ours_is_told(searched):
    """Neither the signing key, nor the admin's token, nor the gateway's own secret."""
    printed, metrics = searched["everywhere"]
    for secret in (str(KEY), ADMIN_TOKEN, "a-secret-of-the-functional-tests"):
        assert secret not in "".join(printed)
        assert secret.encode() not in metrics
