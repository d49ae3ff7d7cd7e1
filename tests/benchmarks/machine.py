"""What the benchmark stands on: the machine, the programs, and how to get them."""

import os
import platform
import resource
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from tests.benchmarks.lineup import CACHE, Peer, find
from tests.benchmarks.processes import Cores

FILES_NEEDED: Final = 5000
_TOOLS: Final = {
    "wrk": "wrk",
    "nginx": "nginx",
    "taskset": "util-linux",
    "setpriv": "util-linux",
}
"""What there must be in any case, and the Debian package that brings it."""


def obstacle() -> str:
    """Tell why nothing can be measured here; nothing when all is well."""
    if sys.platform != "linux":
        return "expected Linux: figures come from /proc"
    if absent := [tool for tool in _TOOLS if find(tool) is None]:
        packages = " ".join(sorted({_TOOLS[tool] for tool in absent}))
        return (
            f"{', '.join(absent)} not found: apt-get install {packages}, or --install"
        )
    if not Cores.here().spare:
        return "expected two cores: one for who is measured, one for the load"
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < FILES_NEEDED:
        return f"expected {FILES_NEEDED:,} open files to be allowed, found {most:,}"
    return ""


def allow_many_files() -> None:
    """Raise the limit of open files as far as it goes, for us and what we start."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def install(peers: Sequence[Peer], say: Callable[[str], None]) -> None:
    """Install what is missing: from Debian when we are root, from PyPI in any case."""
    absent = [peer for peer in peers if peer.missing()]
    packages = {_TOOLS[tool] for tool in _TOOLS if find(tool) is None}
    packages.update(package for peer in absent for package in peer.debian)
    if packages and os.geteuid() == 0 and shutil.which("apt-get"):
        say(f"apt-get install {' '.join(sorted(packages))}")
        environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        command = ["apt-get", "install", "-qy", "--no-install-recommends"]
        _run([*command, *sorted(packages)], environ)
    elif packages:
        say(f"not root, so not installed: {' '.join(sorted(packages))}")
    for peer in absent:
        if peer.pypi:
            say(f"pip install {peer.pypi}, into {CACHE}")
            home = CACHE / peer.needs[0]
            venv.create(home, with_pip=True)
            _run([str(home / "bin" / "pip"), "install", "-q", peer.pypi])


def about(peers: Sequence[Peer], cores: Cores) -> dict[str, str]:
    """Tell when, where and with what was measured."""
    versions = ", ".join(f"{peer.name} {peer.told_version()}" for peer in peers)
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",  # noqa: TID251 -- a report's
        "commit": _commit(),
        "machine": f"{_processor()}, {os.cpu_count()} cores, {platform.release()}",
        "cores": f"{cores.measured} for who is measured,"
        f" {cores.others} for the load, the upstream, the provider and Redis",
        "Python": f"{platform.python_version()}, uvloop {version('uvloop')}",
        "versions": versions,
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _commit() -> str:
    git = shutil.which("git")
    if git is None:
        return "?"
    told = subprocess.run(  # noqa: S603 -- our own command
        [git, "describe", "--always", "--dirty"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return told.stdout.strip() or "?"


def _run(command: Sequence[str], environ: dict[str, str] | None = None) -> None:
    subprocess.run(  # noqa: S603 -- our own commands
        command, check=True, env=environ, stdin=subprocess.DEVNULL, timeout=600
    )
