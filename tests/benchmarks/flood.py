"""An open-loop flood of tokens that nobody has seen: so many a second, answered or not.

A closed loop waits for a slow server and so goes easy on it; this one does not. Nor does
it send by the heap: each request goes when it is due, to some 50 µs, which no timer of an
event loop does. Run with `python flood.py PORT RATE SECONDS`; it prints how many were
sent, answered and left out for want of a connection, as JSON.
"""

import json
import secrets
import select
import socket
import sys
import time
from typing import Final

CONNECTIONS: Final = 256
_LOOK: Final = 0.001
"""Seconds at most between two looks at what was answered."""
_LAST_ANSWERS: Final = 0.5


class Flood:
    """What was sent and answered; `idle` are the connections that wait for work."""

    def __init__(self, port: int) -> None:
        self.counts = {"sent": 0, "answered": 0, "left_out": 0}
        self._lead = secrets.token_hex(8)
        self._answers = select.epoll()
        self._lines: dict[int, socket.socket] = {}
        for _ in range(CONNECTIONS):
            line = socket.create_connection(("127.0.0.1", port))
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._lines[line.fileno()] = line
            self._answers.register(line, select.EPOLLIN)
        self.idle = [*self._lines.values()]

    def send(self) -> None:
        """Send one request, or leave it out when every connection waits."""
        if not self.idle:
            self.counts["left_out"] += 1
            return
        self.counts["sent"] += 1
        token = f"unknown-{self._lead}-{self.counts['sent']}"
        self.idle.pop().sendall(
            f"GET /items/1k HTTP/1.1\r\nHost: bench\r\n"
            f"Authorization: Bearer {token}\r\n\r\n".encode()
        )

    def hear(self, seconds: float = 0.0) -> None:
        """Take what was answered: each answer is short, and of one piece."""
        for number, _ in self._answers.poll(seconds):
            line = self._lines[number]
            if line.recv(65536).startswith(b"HTTP/1.1 "):
                self.counts["answered"] += 1
                self.idle.append(line)
            else:
                self._answers.unregister(number)


def flood(port: int, rate: float, seconds: float) -> dict[str, int]:
    """Send `rate` requests a second for some seconds; give the counts."""
    given = Flood(port)
    begun, due = time.perf_counter(), 0
    while (passed := time.perf_counter() - begun) < seconds:
        if due < passed * rate:
            given.send()
            due += 1
            continue
        given.hear()
        rest = begun + due / rate - time.perf_counter()
        time.sleep(min(max(0.0, rest), _LOOK))
    until = time.perf_counter() + _LAST_ANSWERS
    while (left := until - time.perf_counter()) > 0:
        given.hear(left)
    return given.counts


if __name__ == "__main__":
    where, how_fast, how_long = int(sys.argv[1]), *map(float, sys.argv[2:])
    sys.stdout.write(json.dumps(flood(where, how_fast, how_long)))
