"""Processes on cores of their own: start them, weigh them, end them. Linux only.

What a process costs is read from /proc, its children included: CPU time is exact to a
hundredth of a second, also while wall-clock figures move with the machine. Each leads
a session of its own and dies with the benchmark (`setpriv --pdeathsig`), so nothing
is left behind, and nothing is ended that was not started here.
"""

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PATIENCE: Final = 30.0
"""Seconds until a process must answer; one with 10,000 routes needs some."""

HELLO: Final = b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_SETTLE: Final = 1.0
_LOOK: Final = 0.06
_POLL: Final = 0.002
_END: Final = 5.0
_LAST_WORDS: Final = 1500


class DidNotStart(Exception):
    """A process ended or never answered; the message has its last words."""


@dataclass(frozen=True, slots=True)
class Stat:
    """What /proc/PID/stat tells; seconds and bytes."""

    parent: int
    cpu_seconds: float
    rss_bytes: int


def parse_stat(text: str) -> Stat:
    """Read /proc/PID/stat; the name in it may hold spaces and parentheses."""
    fields = text.rpartition(")")[2].split()
    return Stat(
        parent=int(fields[1]),
        cpu_seconds=(int(fields[11]) + int(fields[12])) / _TICKS,
        rss_bytes=int(fields[21]) * _PAGE,
    )


def family(pid: int, stats: Mapping[int, Stat]) -> set[int]:
    """Give `pid` and all its descendants, of those there are."""
    found, waiting = set[int](), [pid]
    while waiting:
        found.add(parent := waiting.pop())
        waiting += [pid for pid, stat in stats.items() if stat.parent == parent]
    return found & stats.keys()


def parse_core(text: str, core: str) -> float:
    """Read /proc/stat: for how many seconds a core was not idle, since the start."""
    for line in text.splitlines():
        name, *ticks = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _iowait, *rest = map(int, ticks[:8])
            return (user + nice + system + sum(rest)) / _TICKS
    raise ValueError(f"expected a line for core {core}")


@dataclass(frozen=True, slots=True)
class Cores:
    """Which processors the measured process has, and which everybody else."""

    measured: str
    others: str
    spare: int

    @classmethod
    def here(cls) -> "Cores":
        """Give the first one to the measured process, the rest to the others."""
        first, *rest = sorted(os.sched_getaffinity(0))
        return cls(str(first), ",".join(map(str, rest)), len(rest))

    def busy_seconds(self) -> float:
        """Tell for how long the measured one was busy, with whatever, until now."""
        return parse_core(Path("/proc/stat").read_text(), self.measured)

    def settle(self) -> None:
        """Wait, but not for long, until the measured one has nothing to do.

        Who was loaded before may still be at work for clients that are gone.
        """
        until = time.perf_counter() + _SETTLE
        busy = self.busy_seconds()
        while time.perf_counter() < until:
            time.sleep(_LOOK)
            before, busy = busy, self.busy_seconds()
            if busy - before < _LOOK / 5:
                return


class Process:
    """A process of ours, pinned to `cores`; `log` is where its errors go."""

    def __init__(self, command: Sequence[str], *, cores: str, log: Path) -> None:
        self._log = log
        environ = {**os.environ, "HOME": str(log.parent)}
        # Bytecode is kept, as it is where a package was installed.
        environ.pop("PYTHONDONTWRITEBYTECODE", None)
        tied = ("setpriv", "--pdeathsig", "TERM", "taskset", "-c", cores)
        self._started = time.perf_counter()
        with log.open("ab") as errors:
            self._popen = subprocess.Popen(  # noqa: S603 -- our own commands
                [*tied, *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=environ,
                start_new_session=True,
            )

    def __repr__(self) -> str:
        return f"<Process {self._popen.pid}: {self._log.stem}>"

    def answers(self, port: int, request: bytes = HELLO) -> float:
        """Wait until the first answer of `port`; give the seconds since the start."""
        until = self._started + PATIENCE
        while time.perf_counter() < until and not self._ended():
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", port), timeout=1) as line,
            ):
                line.sendall(request)
                if line.recv(1):
                    return time.perf_counter() - self._started
            time.sleep(_POLL)
        words = self._log.read_bytes()[-_LAST_WORDS:].decode(errors="replace")
        raise DidNotStart(f"{self._log.stem}: no answer on port {port}\n{words}")

    def cpu_seconds(self) -> float:
        """Give the CPU time of the process and its children until now."""
        return sum(stat.cpu_seconds for stat in self._family())

    def rss_bytes(self) -> int:
        """Give the resident memory of the process and its children."""
        return sum(stat.rss_bytes for stat in self._family())

    def stop(self) -> None:
        """End it in good order, and by force whatever is left of its session.

        A second call does nothing.
        """
        if self._popen.returncode is not None:
            return
        if not self._ended():
            self._popen.terminate()
            until = time.perf_counter() + _END
            while not self._ended() and time.perf_counter() < until:
                time.sleep(_POLL)
        # Not yet reaped, so the number still names our session and nobody else's.
        os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()

    def _ended(self) -> bool:
        """Tell whether it ended, without reaping it."""
        how = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._popen.pid, how) is not None

    def _family(self) -> list[Stat]:
        stats = _stats()
        return [stats[pid] for pid in family(self._popen.pid, stats)]


def free_ports(count: int) -> list[int]:
    """Find free ports, below those that outgoing connections are given."""
    found = set[int]()
    while len(found) < count:
        port = random.randrange(20_000, 32_000)  # noqa: S311 -- not a secret
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            found.add(port)
    return list(found)


def _stats() -> dict[int, Stat]:
    """Read what /proc tells of every process, but for those that end meanwhile."""
    found = dict[int, Stat]()
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with contextlib.suppress(OSError):
                found[int(folder.name)] = parse_stat((folder / "stat").read_text())
    return found
