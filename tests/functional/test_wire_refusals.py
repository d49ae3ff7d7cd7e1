"""Messages that are none, at the door of the real process: refused, then closed."""

import socket

import pytest

from tests.functional.harness import bearer, connect, converse, exchange, head
from tests.functional.lab import sign

GET = b"GET /open/x HTTP/1.1\r\nHost: a\r\n"


BAD_MESSAGES = {
    "two lengths": GET + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length and chunks": GET
    + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a length with a sign": GET + b"Content-Length: +1\r\n\r\na",
    "no host": b"GET /open/x HTTP/1.1\r\n\r\n",
    "two hosts": GET + b"Host: b\r\n\r\n",
    "a host with a path": b"GET /open/x HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "a bare line feed": b"GET /open/x HTTP/1.1\nHost: a\n\n",
    "a folded line": GET + b"X-A: b\r\n c\r\n\r\n",
    "a space before the colon": GET + b"X-A : b\r\n\r\n",
    "an empty name": GET + b": b\r\n\r\n",
    "a NUL": GET + b"X-A: b\0c\r\n\r\n",
    "no HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32),
    "chunks with HTTP/1.0": b"GET /open/x HTTP/1.0\r\nHost: a\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "an unframed coding": GET + b"Transfer-Encoding: chunked, gzip\r\n\r\n",
}


@pytest.mark.parametrize("name", BAD_MESSAGES)
def test_a_message_in_doubt_is_refused_and_the_connection_closed(
    lab_gateway, lab, name
):
    """And what follows on the connection is not believed either."""
    since = len(lab.requests)
    follower = head("GET", "/open/follower", "a")

    received = converse(lab_gateway.ports.proxy, BAD_MESSAGES[name] + follower)

    assert received.startswith(b"HTTP/1.1 400 ")
    assert 1 == received.count(b"HTTP/1.1 ")
    assert b"connection: close" in received.lower()
    assert since == len(lab.requests)


@pytest.mark.parametrize(
    "target",
    [
        "/open/../bulk/x",
        "/open/%2e%2e/bulk/x",
        "/open/..;/bulk/x",
        "//open/x",
        "/open//x",
        "/open/x#y",
        "/open/\\x",
        "/open/%5cx",
        "/open/%00",
        "/open/%zz",
        "/open/%2Fx",
        "http://u:p@open/x",
        "*",
        "open/x",
    ],
)
def test_a_target_that_two_could_read_differently_is_refused(lab_gateway, lab, target):
    """400, nothing at the upstream, and not a byte of it in the answer."""
    since = len(lab.requests)

    answer = lab_gateway.ask("GET", target)

    assert 400 == answer.status
    assert target.encode() not in answer.body
    assert since == len(lab.requests)


@pytest.mark.parametrize(
    "target",
    ["/open/a%20b?c=%2F&&d", "/open/%61dmin?", "/open/a;b=c/d", "/open/x?a=%zz&b=[]"],
)
def test_a_target_goes_up_byte_for_byte(lab_gateway, lab, target):
    """What is judged is what is sent."""
    assert 200 == lab_gateway.ask("GET", target).status

    assert target == lab.requests[-1][0]


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (head("GET", "/open/" + "a" * 9000, "a"), 414),
        (head("GET", "/open/x", "a", [("X-Long", "a" * 40_000)]), 431),
        (head("GET", "/open/x", "a", [("X", "a")] * 101), 431),
        (head("GET", "/open/x", "a", [("Expect", "a miracle")]), 417),
        (b"GET /open/x HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (GET + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
    ],
    ids=["target", "header bytes", "header lines", "expectation", "version", "coding"],
)
def test_what_goes_beyond_has_its_own_status(lab_gateway, request_bytes, status):
    """Each limit is told as what it is, in the default dialect."""
    answer = exchange(lab_gateway.ports.proxy, request_bytes)

    assert status == answer.status
    assert {"error", "error_description"} == set(answer.json)
    assert "no-store" == answer.header("Cache-Control")


@pytest.mark.parametrize("method", ["TRACE", "CONNECT"])
def test_methods_that_are_not_for_a_gateway(lab_gateway, lab, method):
    """TRACE would show what was added; CONNECT would be a tunnel."""
    since = len(lab.requests)

    answer = lab_gateway.ask(method, "/open/x")

    assert answer.status in {400, 404, 405}
    assert since == len(lab.requests)


def test_a_refused_body_is_not_the_next_request(lab_gateway, lab):
    """Unread, so the connection ends: nobody takes it for a request."""
    since = len(lab.requests)
    smuggled = head("GET", "/open/smuggled", "a")

    received = converse(
        lab_gateway.ports.proxy, head("PUT", "/bulk/upload", "a", body=smuggled)
    )

    assert received.startswith(b"HTTP/1.1 401 ")
    assert 1 == received.count(b"HTTP/1.1 ")
    assert since == len(lab.requests)


def test_pipelined_requests_are_answered_in_order(lab_gateway):
    """Each judged on its own."""
    several = [
        head("GET", "/page/one", "a", [bearer(sign())]),
        head("GET", "/page/two", "a"),
        head("GET", "/nowhere", "a"),
        head("GET", "/open/last", "a", [("Connection", "close")]),
    ]

    received = converse(lab_gateway.ports.proxy, b"".join(several))

    statuses = [part[:3] for part in received.split(b"HTTP/1.1 ")[1:]]
    assert [b"200", b"401", b"404", b"200"] == statuses


def test_a_host_that_only_looks_different_is_the_same(lab_gateway):
    """Case, port and trailing dot do not count; the guard is found."""
    for host in ("melon.example", "MELON.Example", "melon.example.", "melon.example:1"):
        answer = lab_gateway.ask("POST", "/oauth/token", host=host, body=b"")

        assert (400, "HTTPS is required") == (
            answer.status,
            answer.json["error_description"],
        )


def test_https_is_judged_by_a_trusted_peers_word(lab_gateway):
    """The demo's provider takes plain HTTP; this one says `https_only`."""
    form = ("Content-Type", "application/x-www-form-urlencoded")
    body = b"grant_type=refresh_token&refresh_token=a&client_id=b&client_secret=c"

    statuses = [
        lab_gateway.ask(
            "POST", "/oauth/token", form, *headers, host="melon.example", body=body
        ).status
        for headers in (
            [],
            [("X-Forwarded-Proto", "http")],
            [("X-Forwarded-Proto", "https")],
        )
    ]

    assert [400, 400, 200] == statuses


def test_a_client_of_another_name_is_not_let_in(lab_gateway):
    """A route's `clients` rule: the token is good, its client is another."""
    answer = lab_gateway.ask("GET", "/partners", bearer(sign()))
    friend = lab_gateway.ask("GET", "/partners", bearer(sign(client_id="somebody")))

    assert (403, "unauthorized_client") == (answer.status, answer.json["error"])
    assert 200 == friend.status


def test_a_half_closed_client_gets_no_answer_and_costs_nothing(lab_gateway):
    """A client that stops sending is taken to be gone."""
    with connect(lab_gateway.ports.proxy) as line:
        line.sendall(b"GET /open/x HTTP/1.1\r\nHost: a\r\n")
        line.shutdown(socket.SHUT_WR)

        assert b"" == line.recv(100)
