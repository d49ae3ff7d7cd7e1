"""A thousand clients that go away leave nothing behind: no request, no connection.

Measured at a real process, from outside: memory, open files, tasks, and what it says
of itself. The first few hundred are its warming up: what grows with the first of a
kind (caches, code, the allocator's pools) is no leak.
"""

import socket
import struct
import time
from pathlib import Path

import pytest

from tests.functional.harness import (
    Gateway,
    bearer,
    connect,
    eventually,
    head,
    running,
)
from tests.functional.lab import MIB, PIECE, config, sign
from tests.soak.counting import Costs, costs, start

WARMING = 300
ABORTS = 1000
KEEPALIVE = 1
GROWTH = 3 * MIB
"""Of memory, in bytes: 3 KiB for each of them; a leaked request would hold more."""

RESET = struct.pack("ii", 1, 0)


def leave(line: socket.socket, *, rudely: bool) -> None:
    """Close a connection, or reset it."""
    if rudely:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    line.close()


@pytest.fixture(scope="module")
def token():
    """A token that is known, so that nothing is asked about it."""
    return sign()


def half_a_head(line: socket.socket, _token: str) -> None:
    """Leave before the request is there."""
    line.sendall(b"GET /bulk/1 HTTP/1.1\r\nHost: lab\r\nAuthor")


def no_answer_yet(line: socket.socket, token: str) -> None:
    """Leave while the upstream is thinking."""
    line.sendall(head("GET", "/bulk/never", "lab", [bearer(token)]))


def half_an_answer(line: socket.socket, token: str) -> None:
    """Leave in the middle of a download."""
    line.sendall(head("GET", "/bulk/20", "lab", [bearer(token)]))
    line.recv(1000)


def half_a_body(line: socket.socket, token: str) -> None:
    """Leave in the middle of an upload."""
    lines = [bearer(token), ("Content-Length", str(20 * MIB))]
    line.sendall(head("PUT", "/bulk/upload", "lab", lines) + PIECE[:50_000])


def unknown_token(line: socket.socket, _token: str) -> None:
    """Leave while somebody is asked about the token."""
    line.sendall(head("GET", "/echoed", "lab", [bearer(sign())]))


def events(line: socket.socket, token: str) -> None:
    """Leave an open stream of events."""
    line.sendall(head("GET", "/bulk/events", "lab", [bearer(token)]))
    line.recv(1000)


def half_a_chunk(line: socket.socket, token: str) -> None:
    """Leave in the middle of an upload of unknown length."""
    lines = [bearer(token), ("Transfer-Encoding", "chunked")]
    line.sendall(head("PUT", "/bulk/upload", "lab", lines) + b"ffff\r\nhalf")


def tunnel(line: socket.socket, token: str) -> None:
    """Leave an open WebSocket."""
    lines = [
        bearer(token),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="),
    ]
    line.sendall(head("GET", "/socket", "lab", lines))
    line.recv(1000)


def half_a_form(line: socket.socket, _token: str) -> None:
    """Leave while the gateway holds a form."""
    lines = [
        ("X-Forwarded-Proto", "https"),
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Content-Length", "100"),
    ]
    line.sendall(head("POST", "/oauth/token", "melon.example", lines) + b"grant_type=")


WAYS = (
    half_a_head,
    no_answer_yet,
    half_an_answer,
    half_a_body,
    half_a_chunk,
    unknown_token,
    events,
    tunnel,
    half_a_form,
)


def abort(gateway: Gateway, token: str, times: int) -> None:
    """Go away so many times, in every way: some at once, most in crowds of fifty."""
    open_lines = []
    for number in range(times):
        line = connect(gateway.ports.proxy)
        WAYS[number % len(WAYS)](line, token)
        open_lines.append((line, number % 2 == 0))
        if number % 50 == 49 or number % 7 == 0:
            for each, rudely in open_lines:
                leave(each, rudely=rudely)
            open_lines.clear()
    for each, rudely in open_lines:
        leave(each, rudely=rudely)


def at_rest(gateway: Gateway, folder: Path) -> Costs:
    """Measure when all is over; idle connections to the upstream are kept for 1 s."""
    eventually(lambda: gateway.metric("http_requests_in_flight") == 0)
    time.sleep(KEEPALIVE + 0.5)
    return costs(gateway, folder)


@pytest.fixture(scope="module")
def counted(lab, tmp_path_factory):
    """A process in front of the laboratory, and where it keeps its counts."""
    folder = tmp_path_factory.mktemp("counted")
    text = config(lab).replace("keepalive: 5s", f"keepalive: {KEEPALIVE}s")
    with running(start(text, folder)) as process:
        yield process, folder


def test_a_thousand_aborted_requests_leave_nothing(counted, lab, token):
    """In flight 0; tasks, files and memory as before; and the next one is served."""
    gateway, folder = counted
    lab.wait()
    abort(gateway, token, WARMING)
    before = at_rest(gateway, folder)

    abort(gateway, token, ABORTS)
    after = at_rest(gateway, folder)

    lab.go()
    assert 0 == after.in_flight
    assert after.tasks <= before.tasks
    assert after.files <= before.files
    assert after.resident - before.resident < GROWTH
    assert 200 == gateway.ask("GET", "/page/x", bearer(token)).status


def test_everything_that_was_begun_was_told(lab_gateway, token):
    """An exchange that nobody waited for has its line and its count as well."""
    before = lab_gateway.metric("http_requests_total", code="499")
    for _ in range(10):
        line = connect(lab_gateway.ports.proxy)
        no_answer_yet(line, token)
        eventually(lambda: lab_gateway.metric("http_requests_in_flight") > 0)
        leave(line, rudely=True)
        eventually(lambda: lab_gateway.metric("http_requests_in_flight") == 0)

    assert before + 10 == lab_gateway.metric("http_requests_total", code="499")
