"""The decision door, alone and behind engines that ask it: what a decision costs.

The engines serve what `gateway render` writes, with one worker and no access log. An
engine shares the measured core with the gateway it asks, and its CPU is that of both.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from subprocess import CalledProcessError
from typing import Final

from tests.benchmarks.lineup import GATEWAY, find
from tests.benchmarks.loads import DOOR, SMALL
from tests.benchmarks.processes import DidNotStart, Process, free_ports
from tests.benchmarks.world import Contestant, NotAsExpected, Site, ask, bearer, enter

UNCACHED: Final = "nginx + auth_request + gateway"
CACHED: Final = "nginx + kept decisions + gateway"
ENVOY: Final = "Envoy + gRPC ext_authz + gateway"

LISTEN: Final = """\
  authz: 127.0.0.1:{authz}
  authz_grpc: 127.0.0.1:{grpc}
decisions: {{max_age: 30s}}"""
KEPT: Final = "/dev/shm/token-gateway-decisions"  # noqa: S108 -- as it is rendered
_RENDER: Final = 30.0


class Asking(Contestant):
    """An engine together with the gateway that it asks."""

    def __init__(
        self, name: str, port: int, engine: Process, gateway: Contestant
    ) -> None:
        super().__init__(name, port, engine)
        self._gateway = gateway

    def cpu_seconds(self) -> float:
        """Give the CPU time of both until now."""
        return super().cpu_seconds() + self._gateway.cpu_seconds()

    def rss_bytes(self) -> int:
        """Give the resident memory of both."""
        return super().rss_bytes() + self._gateway.rss_bytes()


class Doors:
    """A gateway whose decision doors are open, and what asks there."""

    def __init__(self, site: Site) -> None:
        authz, grpc = free_ports(2)
        listen = LISTEN.format(authz=authz, grpc=grpc)
        peer = replace(GATEWAY, values={**GATEWAY.values, "doors": listen})
        self._site = site
        self.gateway = enter(site, peer, "gateway-asked")
        self._settings = site.folder / "gateway-asked.yaml"
        self.skipped: list[str] = []
        self.door = _Same(DOOR, authz, self.gateway)

    def question(self, contestant: Contestant) -> bytes:
        """Write a request for it with the good token, or what nginx asks about it."""
        told = {"Host": "bench", **bearer(self._site.tokens.good)}
        path = SMALL
        if contestant is self.door:
            path = "/nginx"
            told |= {"X-Original-URI": SMALL, "X-Original-Method": "GET"}
        lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())
        return f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode()

    def engines(self) -> Iterator[Contestant]:
        """Start those that are installed; what `skipped` says of the others is kept."""
        for program, name, start in (
            ("nginx", UNCACHED, self._uncached),
            ("nginx", CACHED, self._cached),
            ("envoy", ENVOY, self._envoy),
        ):
            if find(program) is None:
                self.skipped.append(
                    f"**{name}** was skipped: {program} is not installed"
                )
                continue
            try:
                yield start()
            except (DidNotStart, NotAsExpected, OSError, CalledProcessError) as error:
                self.skipped.append(f"**{name}** was skipped: {error}")

    def _uncached(self) -> Contestant:
        return self._nginx(UNCACHED, keeps=False)

    def _cached(self) -> Contestant:
        return self._nginx(CACHED, keeps=True)

    def _nginx(self, name: str, *, keeps: bool) -> Contestant:
        """Start nginx, with leave kept or asked for each time."""
        folder, port = self._rendered("nginx", name)
        path = folder / "nginx.conf"
        text = for_one_core(path.read_text()).replace(KEPT, str(folder / "kept"))
        if not keeps:
            text = re.sub(r" *proxy_cache \w+;\n", "", text)
        path.write_text(text)
        root = self._site.values["nginx_user"]
        command = (
            *(find("nginx") or "nginx", "-p", str(folder), "-c", str(path)),
            *("-e", "stderr", "-g", f"daemon off; pid {folder}/nginx.pid; {root}"),
        )
        return self._enter(name, command, port)

    def _envoy(self) -> Contestant:
        """Start Envoy."""
        folder, port = self._rendered("envoy", ENVOY)
        path = folder / "envoy.yaml"
        path.write_text(without_log(path.read_text()))
        command = (
            *(find("envoy") or "envoy", "-c", str(path), "--concurrency", "1"),
            *("--use-dynamic-base-id", "--log-level", "warning"),
        )
        return self._enter(ENVOY, command, port)

    def _rendered(self, engine: str, name: str) -> tuple[Path, int]:
        folder = self._site.folder / re.sub(r"\W+", "-", name)
        (port,) = free_ports(1)
        listen = f"127.0.0.1:{port}"
        subprocess.run(  # noqa: S603 -- our own command
            [
                *(sys.executable, "-m", "gateway", "render", engine),
                *("-c", str(self._settings), "--listen", listen, "--into", str(folder)),
            ],
            check=True,
            capture_output=True,
            timeout=_RENDER,
        )
        return folder, port

    def _enter(self, name: str, command: tuple[str, ...], port: int) -> Contestant:
        site = self._site
        process = site.spawn(re.sub(r"\W+", "-", name), command, site.cores.measured)
        contestant = Asking(name, port, process, self.gateway)
        try:
            contestant.startup = process.answers(port)
            _see_it_asks(site, name, port)
        except BaseException:
            contestant.stop()
            raise
        return contestant


def for_one_core(nginx: str) -> str:
    """Set up what was rendered as the other peers are: one worker, no log, room."""
    for old, new in (
        (r"worker_processes auto;", "worker_processes 1;"),
        (r"worker_connections \d+;", "worker_connections 16384;"),
        (r"access_log \S+ gateway;", "access_log off;\n keepalive_requests 100000000;"),
        (r"keepalive \d+;", "keepalive 1024;\n keepalive_requests 100000000;"),
    ):
        nginx, count = re.subn(old, new, nginx)
        if not count:
            raise NotAsExpected(f"expected {old} in what is rendered for nginx")
    return nginx


def without_log(envoy: str) -> str:
    """Take the access log out: all up to the next line of the same depth."""
    text, count = re.subn(r"(?ms)^( +)access_log:\n.*?^\1(?=\w)", r"\1", envoy)
    if not count:
        raise NotAsExpected("expected an access log in what is rendered for Envoy")
    return text


def _see_it_asks(site: Site, name: str, port: int) -> None:
    tokens = (site.tokens.good, site.tokens.bad, "")
    statuses = [ask(port, SMALL, token)[0] for token in tokens]
    if statuses != [200, 401, 401]:
        raise NotAsExpected(f"{name} answered {statuses}")


class _Same(Contestant):
    """Another port of a process that somebody else ends."""

    def __init__(self, name: str, port: int, other: Contestant) -> None:
        super().__init__(name, port, None)
        self._other = other

    def cpu_seconds(self) -> float:
        return self._other.cpu_seconds()

    def rss_bytes(self) -> int:
        return self._other.rss_bytes()
