"""What no load of wrk can show: a herd, a flood, idle connections, a start.

The clients are plain sockets, in this process, on the cores of the load.
"""

import json
import re
import secrets
import selectors
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from tests.benchmarks.figures import percentile
from tests.benchmarks.lineup import Peer
from tests.benchmarks.loads import SMALL, STORE_TOKENS, UNKNOWN
from tests.benchmarks.results import FLOOD_SHARE, HERD, IDLE, Flood, Herd, Start
from tests.benchmarks.world import Contestant, Site, enter
from tests.benchmarks.wrk import run_wrk

PROBES_A_SECOND: Final = 400
LINES: Final = 64
_PATIENCE: Final = 20.0
_FLOOD: Final = Path(__file__).parent / "flood.py"
_SETTLE: Final = 0.5
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


# ------------------------------------------------------------------------ start


def start(site: Site, peer: Peer, times: int) -> tuple[Contestant, Start]:
    """Start a peer some times; give the last, and how long it took and what it holds."""
    seconds = []
    for _ in range(times - 1):
        contestant = enter(site, peer)
        seconds.append(contestant.startup)
        contestant.stop()
    contestant = enter(site, peer)
    seconds.append(contestant.startup)
    rss = contestant.rss_bytes()
    grown = hold_idle(site, contestant)
    return contestant, Start(
        seconds=statistics.median(seconds), rss_bytes=rss, idle_bytes=grown
    )


def hold_idle(site: Site, contestant: Contestant) -> int:
    """Open `IDLE` connections, ask once on each, and tell what they add to memory."""
    before = contestant.rss_bytes()
    request = _request(site.tokens.good)
    with ExitStack() as lines:
        for _ in range(IDLE):
            line = _connect(contestant.port)
            lines.enter_context(line)
            line.sendall(request)
            _read_answer(line)
        return contestant.rss_bytes() - before


# ------------------------------------------------------------------------- herd


def herd(site: Site, contestant: Contestant) -> Herd:
    """Ask `HERD` times at once with one new token; count what the provider is asked."""
    token = f"known-slow-{secrets.token_hex(8)}"
    site.asked()
    with ExitStack() as lines:
        members = [lines.enter_context(_connect(contestant.port)) for _ in range(HERD)]
        begun = time.perf_counter()
        for line in members:
            line.sendall(_request(token))
        served = Counter(map(_read_answer, members))[200]
        seconds = time.perf_counter() - begun
        return Herd(calls=site.asked(), served=served, seconds=seconds)


# ----------------------------------------------------------------- the shared store


def teach(contestant: Contestant) -> None:
    """Ask once with each token of the load `STORE`."""
    with _connect(contestant.port) as line:
        for number in range(1, STORE_TOKENS + 1):
            line.sendall(_request(f"known-{number}"))
            _read_answer(line)


# ------------------------------------------------------------------------ flood


def flood(site: Site, contestant: Contestant, seconds: int) -> Flood:
    """Measure the capacity for unknown tokens, then probe beside a part of it."""
    capacity = run_wrk(site, UNKNOWN, contestant.port, seconds)
    rate = FLOOD_SHARE * capacity.requests / capacity.seconds
    quiet = list(_probe(site, contestant.port, seconds))
    before = contestant.rss_bytes()
    with subprocess.Popen(  # noqa: S603 -- our own command
        [
            sys.executable,
            str(_FLOOD),
            str(contestant.port),
            str(rate),
            str(seconds + 1),
        ],
        stdout=subprocess.PIPE,
    ) as other:
        time.sleep(_SETTLE)
        flooded = list(_probe(site, contestant.port, seconds))
        told, _ = other.communicate(timeout=_PATIENCE)
    return Flood(
        capacity=capacity.requests / capacity.seconds,
        rate=rate,
        quiet_p99=percentile(quiet, 0.99),
        flooded_p99=percentile(flooded, 0.99),
        grown_bytes=contestant.rss_bytes() - before,
        left_out=int(json.loads(told)["left_out"]),
    )


def _probe(site: Site, port: int, seconds: float) -> Iterator[float]:
    """Ask with a good token at a steady pace; give how long each answer took."""
    request = _request(site.tokens.good)
    with _connect(port) as line:
        begun = time.perf_counter()
        for number in range(round(seconds * PROBES_A_SECOND)):
            time.sleep(max(0.0, begun + number / PROBES_A_SECOND - time.perf_counter()))
            sent = time.perf_counter()
            line.sendall(request)
            _read_answer(line)
            yield time.perf_counter() - sent


# ----------------------------------------------------------------------- a steady pace


def steady(port: int, request: bytes, rate: int, seconds: int) -> list[float]:
    """Ask at a steady pace over `LINES` connections; give how long each answer took.

    From when it was due, so that who waits for a free connection is counted as well.
    """
    with ExitStack() as ending:
        idle = deque(ending.enter_context(_connect(port)) for _ in range(LINES))
        selector = ending.enter_context(selectors.DefaultSelector())
        for line in idle:
            selector.register(line, selectors.EVENT_READ)
        due: dict[socket.socket, float] = {}
        received: dict[socket.socket, bytes] = {}
        took: list[float] = []
        begun, sent, whole = time.perf_counter(), 0, rate * seconds
        while len(took) < whole:
            wait = begun + sent / rate - time.perf_counter() if sent < whole else 1.0
            if idle and sent < whole and wait <= 0:
                line = idle.popleft()
                line.sendall(request)
                due[line], received[line] = begun + sent / rate, b""
                sent += 1
                continue
            for key, _ in selector.select(max(0.0, wait) if idle else _PATIENCE):
                line = next(each for each in due if each is key.fileobj)
                if not (piece := line.recv(65536)):
                    raise ConnectionError("closed while it was asked")
                received[line] += piece
                if _is_whole(received[line]):
                    took.append(time.perf_counter() - due.pop(line))
                    idle.append(line)
        return took


def _is_whole(received: bytes) -> bool:
    head, mark, body = received.partition(b"\r\n\r\n")
    if mark and not head.startswith(b"HTTP/1.1 200 "):
        raise ConnectionError(f"expected a 200, found {head[:12]!r}")
    length = _LENGTH.search(head)
    return bool(mark) and len(body) == (int(length[1]) if length else 0)


# ------------------------------------------------------------------- plain sockets


def _connect(port: int) -> socket.socket:
    line = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE)
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return line


def _request(token: str) -> bytes:
    return (
        f"GET {SMALL} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n\r\n"
    ).encode()


def _read_answer(line: socket.socket) -> int:
    """Read one answer and give its status; 0 when the connection was closed."""
    received = b""
    while b"\r\n\r\n" not in received:
        if not (piece := line.recv(65536)):
            return 0
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    length = _LENGTH.search(head)
    left = int(length[1]) - len(body) if length else 0
    while left > 0:
        left -= len(line.recv(65536)) or left
    return int(head[9:12])
