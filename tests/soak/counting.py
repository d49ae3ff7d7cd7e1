"""A gateway process whose tasks can be counted from outside, and its other costs."""

import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.functional.harness import (
    ADMIN_TOKEN,
    ROOT,
    Gateway,
    eventually,
    free_ports,
)


@dataclass(frozen=True)
class Costs:
    """What a process holds."""

    resident: int
    files: int
    tasks: int
    in_flight: int


def start(text: str, folder: Path, environ: Mapping[str, str] | None = None) -> Gateway:
    """Start the real command with a configuration; where it listens is put before."""
    ports = free_ports()
    (folder / "gateway.yaml").write_text(
        "version: 1\n"
        f'listen: {{proxy: "127.0.0.1:{ports.proxy}",'
        f' status: "127.0.0.1:{ports.status}", admin: "127.0.0.1:{ports.admin}"}}\n'
        "secret: a-secret-of-the-functional-tests-0123456789\n"
        f"admin: {{token: {ADMIN_TOKEN}}}\n" + text
    )
    return Gateway(
        ["run", "-c", "gateway.yaml"],
        ports=ports,
        environ=environ or os.environ,
        folder=folder,
        program=(sys.executable, str(ROOT / "tests" / "soak" / "counted.py")),
    )


def costs(gateway: Gateway, folder: Path) -> Costs:
    """Count what a process holds now."""
    told = folder / "tasks"
    told.unlink(missing_ok=True)
    gateway.signal(signal.SIGUSR1)
    eventually(told.exists)
    return Costs(
        resident=gateway.resident_bytes(),
        files=gateway.open_files(),
        tasks=int(told.read_text()),
        in_flight=int(gateway.metric("http_requests_in_flight")),
    )
