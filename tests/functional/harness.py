"""The real command, driven from outside: its processes, and requests to the byte."""

import asyncio
import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest

Result = TypeVar("Result")
Lines = Sequence[tuple[str, str]]

ROOT = Path(__file__).parent.parent.parent
ADMIN_TOKEN = "admin-token-of-the-functional-tests"
PATIENCE = 15.0

_VOLATILE = {"connection", "content-length", "date", "server", "x-request-id"}
_SAMPLE = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Ports(NamedTuple):
    """Where one gateway listens, on 127.0.0.1."""

    proxy: int
    status: int
    admin: int
    sandbox: int


def free_ports() -> Ports:
    """Find four free ports, below those that outgoing connections are given."""
    found: list[int] = []
    while len(found) < len(Ports._fields):
        port = random.randrange(20_000, 32_000)  # noqa: S311 -- not a secret
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return Ports(*found)


def eventually(
    holds: Callable[[], Any], *, within: float = PATIENCE, told: str = ""
) -> None:
    """Wait until something holds in another process."""
    until = time.monotonic() + within
    while not holds():
        assert time.monotonic() < until, told or "it did not come about in time"
        time.sleep(0.02)


# ------------------------------------------------------------------- one exchange


@dataclass(frozen=True)
class Answer:
    """An answer, read whole; header lines as they came."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        """All values of a header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name: str) -> str | None:
        """The one value of a header, or None."""
        values = self.all(name)
        assert len(values) <= 1, f"{name} came {len(values)} times"
        return values[0] if values else None

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)

    @property
    def worded(self) -> tuple[int, dict[str, str | None], bytes]:
        """What a dialect decides: status, body, and headers less the ever new ones."""
        names = {name.lower() for name, _ in self.headers} - _VOLATILE
        return self.status, {name: self.header(name) for name in names}, self.body


def head(
    method: str, target: str, host: str, headers: Lines = (), body: bytes | None = None
) -> bytes:
    """Write a request, with Content-Length where there is a body."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in headers]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


def read_answer(line: socket.socket, method: str = "GET") -> Answer:
    """Read one answer; the connection is spent."""
    response = http.client.HTTPResponse(line, method=method)
    try:
        response.begin()
        return Answer(response.status, response.getheaders(), response.read())
    finally:
        response.close()


def connect(port: int, timeout: float = 10.0) -> socket.socket:
    """Open a connection of one's own."""
    return socket.create_connection(("127.0.0.1", port), timeout=timeout)


def exchange(port: int, request: bytes, method: str = "GET") -> Answer:
    """Send bytes on a fresh connection and read the answer."""
    with connect(port) as line:
        line.sendall(request)
        return read_answer(line, method)


def converse(port: int, request: bytes) -> bytes:
    """Send bytes and give everything that comes until the other side closes."""
    received = b""
    with connect(port) as line:
        line.sendall(request)
        while piece := line.recv(65536):
            received += piece
    return received


def bearer(token: str) -> tuple[str, str]:
    """Give the header line that carries a token."""
    return "Authorization", f"Bearer {token}"


# -------------------------------------------------------------------- the process


class Gateway:
    """A running `gateway` command, what it printed, and what it costs."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        ports: Ports,
        environ: Mapping[str, str],
        folder: Path,
        program: Sequence[str] = (sys.executable, "-m", "gateway"),
    ) -> None:
        self.ports = ports
        self.folder = folder
        self.admin_token = environ.get("GATEWAY_ADMIN_TOKEN", ADMIN_TOKEN)
        self.fresh_bytes = 0
        """How much memory it held before its first request."""
        self._outputs = [folder / "stdout", folder / "stderr"]
        with self._outputs[0].open("wb") as out, self._outputs[1].open("wb") as err:
            self.process = subprocess.Popen(  # noqa: S603
                [*program, *arguments], stdout=out, stderr=err, env=environ, cwd=folder
            )

    # ------------------------------------------------------------------ its life

    def await_ready(self) -> None:
        """Wait until it says that it is ready."""
        eventually(self._is_ready, told=f"never ready:\n{self.said()}")
        self.fresh_bytes = self.resident_bytes()

    def await_open(self) -> None:
        """Wait until it lets clients in, ready or not."""
        eventually(self._is_open, told=f"never open:\n{self.said()}")

    def _is_open(self) -> bool:
        assert self.process.poll() is None, f"it ended:\n{self.said()}"
        try:
            connect(self.ports.proxy).close()
        except OSError:
            return False
        return True

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, f"it ended:\n{self.said()}"
        try:
            return self.status("/readyz").status == 200
        except OSError:
            return False

    def signal(self, number: int = signal.SIGTERM) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait for its end; gives the exit code."""
        return self.process.wait(timeout=40)

    def stop(self) -> int:
        """End it in good order; gives the exit code."""
        self.signal()
        return self.wait()

    def kill(self) -> None:
        """End it for sure."""
        self.process.kill()
        self.process.wait()

    def said(self) -> str:
        """Everything that it printed."""
        return "".join(self.printed())

    def printed(self) -> list[str]:
        """What it printed on standard output, and on standard error."""
        return [path.read_text(errors="replace") for path in self._outputs]

    def crashes(self) -> list[str]:
        """The lines that tell of a fault of its own."""
        signs = ('"level":"error"', "Traceback", "Error", "never awaited")
        return [
            line
            for line in self.printed()[1].splitlines()
            if any(sign in line for sign in signs)
        ]

    def exchanges(self) -> list[dict[str, Any]]:
        """The access log. It is whole only once the process has ended."""
        lines = self.printed()[0].splitlines()
        return [
            json.loads(line)
            for line in lines
            if line.startswith('{"gateway.request_id"')
        ]

    # ----------------------------------------------------------------- questions

    def ask(
        self,
        method: str,
        target: str,
        *headers: tuple[str, str],
        host: str = "any.example",
        body: bytes | None = None,
    ) -> Answer:
        """Put a request to the main door; every answer has an id and a date."""
        request = head(method, target, host, headers, body)
        answer = exchange(self.ports.proxy, request, method)
        assert answer.header("X-Request-Id")
        assert (answer.header("Date") or "").endswith(" GMT")
        return answer

    def status(self, path: str) -> Answer:
        """Ask the status listener."""
        return exchange(self.ports.status, head("GET", path, "localhost"))

    def admin(self, method: str, path: str, body: Any = None) -> Answer:
        """Ask the admin listener, with its token."""
        lines = [bearer(self.admin_token), ("Content-Type", "application/json")]
        content = None if body is None else json.dumps(body).encode()
        request = head(method, path, "127.0.0.1", lines, content)
        return exchange(self.ports.admin, request, method)

    def revoke(self, provider: str, token: str) -> None:
        """Revoke a token through the admin listener."""
        answer = self.admin(
            "POST", "/api/revocations", {"provider": provider, "token": token}
        )
        assert answer.status == 201

    def metric(self, name: str, **labels: str) -> float:
        """Sum the series of a metric that have these labels."""
        total = 0.0
        for line in self.status("/metrics").body.decode().splitlines():
            sample = _SAMPLE.fullmatch(line)
            if sample is None or sample[1] != f"gateway_{name}":
                continue
            if labels.items() <= dict(_LABEL.findall(sample[2] or "")).items():
                total += float(sample[3])
        return total

    # ------------------------------------------------------------------ its cost

    def resident_bytes(self) -> int:
        """How much memory it holds."""
        statm = Path(f"/proc/{self.process.pid}/statm")
        if statm.exists():
            return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        told = subprocess.run(  # noqa: S603
            ["/bin/ps", "-o", "rss=", "-p", str(self.process.pid)],
            capture_output=True,
            check=True,
        )
        return int(told.stdout) * 1024

    def open_files(self) -> int:
        """How many file descriptors it holds."""
        folder = Path(f"/proc/{self.process.pid}/fd")
        if not folder.exists():
            pytest.skip("there is no /proc to count open files in")
        return len(list(folder.iterdir()))


@contextmanager
def running(gateway: Gateway, *, ready: bool = True) -> Iterator[Gateway]:
    """Wait for it to serve; in the end prove that it left in good order."""
    try:
        if ready:
            gateway.await_ready()
        else:
            gateway.await_open()
        yield gateway
        if gateway.process.poll() is None:
            assert gateway.stop() == 0, gateway.said()[-2000:]
        assert gateway.crashes() == []
    finally:
        gateway.kill()


def command(
    *arguments: str,
    environ: Mapping[str, str] | None = None,
    typed: str = "",
    folder: Path = ROOT,
) -> subprocess.CompletedProcess[str]:
    """Run a `gateway` command to its end."""
    return subprocess.run(  # noqa: S603
        [sys.executable, "-m", "gateway", *arguments],
        env=environ,
        input=typed,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )


# ----------------------------------------------------------- what stands behind it


class Backstage:
    """An event loop on a thread of its own, for the servers behind the gateway."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Do something there, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    def call(self, act: Callable[..., Any], *arguments: Any) -> None:
        """Have a plain function called there."""
        self._loop.call_soon_threadsafe(act, *arguments)

    def close(self) -> None:
        """End the thread and the loop."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()
