"""What a benchmark found, and how that compares with what was wanted. Pure."""

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from tests.benchmarks.figures import MEBIBYTE, Rounds, median_of, ratio_of
from tests.benchmarks.loads import (
    DIRECT,
    DOOR,
    DOWNLOAD,
    HIT_1,
    HIT_64,
    OURS,
    ROUTES,
    Load,
    Trial,
)

HERD: Final = 2000
IDLE: Final = 2000
FLOOD_SHARE: Final = 0.3
STEADY: Final = 500
"""Questions a second: what a decision takes when nobody is at the limit."""

MANY_ROUTES: Final = "gateway, 10,000 routes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Seconds from the command to the first answer; memory then, in bytes.

    `idle_bytes` is what `IDLE` idle connections add.
    """

    seconds: float
    rss_bytes: int
    idle_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Herd:
    """`HERD` requests at once with one new token: questions asked, answers of 200."""

    calls: int
    served: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Flood:
    """A probe beside a flood of tokens nobody has seen; seconds and bytes.

    `capacity` is how many of them a second are answered when nothing else is asked,
    `rate` how many the flood sent, but for those `left_out` when nobody answered.
    """

    capacity: float
    rate: float
    quiet_p99: float
    flooded_p99: float
    grown_bytes: int
    left_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Answers at a steady pace over 64 connections: how many a second, and seconds."""

    rate: int
    p50: float
    p99: float


@dataclass(slots=True, kw_only=True)
class Results:
    """Everything that was found.

    `about` tells where, when and with what; `notes` what was left out, and why.
    """

    about: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    trials: list[Trial] = field(default_factory=list)
    starts: dict[str, Start] = field(default_factory=dict)
    herds: dict[str, Herd] = field(default_factory=dict)
    floods: dict[str, Flood] = field(default_factory=dict)
    paces: dict[str, Pace] = field(default_factory=dict)

    def rounds(self, load: Load, name: str) -> Rounds | None:
        """Give the samples of one contestant under one load, if there are any."""
        found = (each.samples.get(name) for each in self.trials if each.load == load)
        return next(found, None) or None

    def disturbed(self) -> float:
        """Give the share of the measured core that others used, in the median run."""
        shares = [
            sample.disturbed
            for trial in self.trials
            for name, rounds in trial.samples.items()
            for sample in rounds
            if name != DIRECT
        ]
        return median(shares) if shares else 0.0


# -------------------------------------------------------------------------- goals


@dataclass(frozen=True, slots=True)
class Goal:
    """Something wanted: `found` tells what was found, None when nothing was."""

    what: str
    found: Callable[[Results], float | None]
    bound: float
    at_least: bool = False
    unit: str = "times"

    def met(self, found: float) -> bool:
        """Tell whether it is reached."""
        return found >= self.bound if self.at_least else found <= self.bound


def _ratio(
    figure: str, load: Load, theirs: str, ours: str = OURS
) -> Callable[[Results], float | None]:
    def found(results: Results) -> float | None:
        one, other = results.rounds(load, ours), results.rounds(load, theirs)
        return None if one is None or other is None else ratio_of(figure, one, other)

    return found


def _added_p50(results: Results) -> float | None:
    ours, direct = results.rounds(HIT_1, OURS), results.rounds(HIT_1, DIRECT)
    if ours is None or direct is None:
        return None
    return (median_of("p50", ours) - median_of("p50", direct)) * 1e6


def _decided(results: Results) -> float | None:
    pace = results.paces.get(DOOR)
    return None if pace is None else pace.p99 * 1e3


def _idle(results: Results) -> float | None:
    start = results.starts.get(OURS)
    return None if start is None else start.idle_bytes / MEBIBYTE


def _herd(results: Results) -> float | None:
    herd = results.herds.get(OURS)
    return None if herd is None else herd.calls


def _flooded(results: Results) -> float | None:
    flood = results.floods.get(OURS)
    return None if flood is None else flood.flooded_p99 / flood.quiet_p99


def _grown(results: Results) -> float | None:
    flood = results.floods.get(OURS)
    return None if flood is None else flood.grown_bytes / MEBIBYTE


GOALS: Final = (
    Goal(
        "requests/s at 64 connections, of plain nginx's",
        _ratio("rate", HIT_64, "nginx"),
        0.65,
        at_least=True,
    ),
    Goal(
        "… of Envoy's with jwt_authn and token cache",
        _ratio("rate", HIT_64, "envoy"),
        1.3,
        at_least=True,
    ),
    Goal(
        "… of mod_auth_openidc's",
        _ratio("rate", HIT_64, "apache-openidc"),
        1.8,
        at_least=True,
    ),
    Goal("… of the naive proxy's", _ratio("rate", HIT_64, "naive"), 7.0, at_least=True),
    Goal(
        "p99 at 64 connections, of plain nginx's", _ratio("p99", HIT_64, "nginx"), 2.0
    ),
    Goal("p50 at 1 connection, more than direct", _added_p50, 120.0, unit="µs"),
    Goal(
        "download, of plain nginx's",
        _ratio("rate", DOWNLOAD, "nginx"),
        0.8,
        at_least=True,
    ),
    Goal(f"memory of {IDLE:,} idle connections", _idle, 20.0, unit="MiB"),
    Goal(
        "CPU per request with 10,000 routes, of that with 10",
        _ratio("cpu_each", ROUTES, OURS, MANY_ROUTES),
        1.05,
    ),
    Goal(
        f"p99 of the decision door, 64 connections, {STEADY:,} a second",
        _decided,
        5.0,
        unit="ms",
    ),
    Goal(f"questions for a herd of {HERD:,}", _herd, 1.0, unit=""),
    Goal("p99 of a probe beside a flood, of its quiet p99", _flooded, 2.0),
    Goal("memory that the flood takes", _grown, 2.0, unit="MiB"),
)
"""What was asked of the data plane."""
