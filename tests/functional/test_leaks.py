"""A thousand clients that go away leave nothing behind: no request, no connection."""

import socket
import struct

import pytest

from tests.functional.harness import bearer, connect, eventually, head
from tests.functional.lab import MIB, PIECE, sign

ABORTS = 1000
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


WAYS = (
    half_a_head,
    no_answer_yet,
    half_an_answer,
    half_a_body,
    unknown_token,
    events,
)


def test_a_thousand_aborted_requests_leave_nothing(lab_gateway, lab, token):
    """In flight 0, file descriptors back, memory flat, and the next one is served."""
    lab.wait()
    assert 200 == lab_gateway.ask("GET", "/page/x", bearer(token)).status
    files, weight = lab_gateway.open_files(), lab_gateway.resident_bytes()

    open_lines = []
    for number in range(ABORTS):
        line = connect(lab_gateway.ports.proxy)
        WAYS[number % len(WAYS)](line, token)
        open_lines.append((line, number % 2 == 0))
        # Some at once, most in crowds of fifty.
        if number % 50 == 49 or number % 7 == 0:
            for each, rudely in open_lines:
                leave(each, rudely=rudely)
            open_lines.clear()
    lab.go()

    eventually(lambda: lab_gateway.metric("http_requests_in_flight") == 0)
    # Idle connections to the upstream are kept for `keepalive`: five seconds.
    eventually(lambda: lab_gateway.open_files() <= files)
    assert 200 == lab_gateway.ask("GET", "/page/x", bearer(token)).status
    assert lab_gateway.resident_bytes() - weight < 30 * MIB


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
