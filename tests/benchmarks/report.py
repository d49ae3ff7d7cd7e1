"""Write what was found as Markdown. Pure: results in, text out."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from tests.benchmarks.figures import MEBIBYTE, Rounds, median_of, ratio_of
from tests.benchmarks.loads import OURS, Trial
from tests.benchmarks.results import FLOOD_SHARE, GOALS, HERD, IDLE, Results

QUIET: Final = 0.05
"""What others may use of the measured core for figures to be worth keeping."""

_NONE: Final = "-"
_INTRODUCTION: Final = (
    "Medians of interleaved rounds; a ratio is the median of each round's ratio, the"
    " gateway's figure divided by the other's. CPU is that of the measured processes"
    " alone, without Redis. Where a core was not busy, the load, the upstream or a"
    " stranger was the limit, and CPU tells more than requests/s. `direct` is the"
    " upstream with nobody in front."
)


def markdown(results: Results) -> str:
    """Give the whole report."""
    parts = [
        "# Benchmark",
        _INTRODUCTION,
        table(("", ""), [*results.about.items(), _quiet(results)]),
        *results.notes,
        "## What was wanted",
        table(("goal", "wanted", "found", ""), _goals(results)),
        *(part for trial in results.trials for part in _trial(trial)),
        *_scenes(results),
    ]
    return "\n\n".join(parts) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table: the first column to the left, all others to the right."""
    marks = ["---", *["---:"] * (len(head) - 1)]
    lines = [head, marks, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# --------------------------------------------------------------------------- parts


def _quiet(results: Results) -> tuple[str, str]:
    share = results.disturbed()
    told = "" if share <= QUIET else "; **this machine was not quiet**"
    return "others on the measured core", f"{share:.0%} of it in the median run{told}"


def _goals(results: Results) -> Iterator[tuple[str, ...]]:
    for goal in GOALS:
        sign = "≥" if goal.at_least else "≤"
        wanted = f"{sign} {goal.bound:g} {goal.unit}".rstrip()
        found = goal.found(results)
        if found is None:
            yield goal.what, wanted, _NONE, "not measured"
        else:
            told = "yes" if goal.met(found) else "**no**"
            yield goal.what, wanted, f"{found:.3g} {goal.unit}".rstrip(), told


def _trial(trial: Trial) -> Iterator[str]:
    load = trial.load
    piece, each = ("MiB/s", "MiB") if load.body_bytes else ("requests/s", "request")
    head = (
        *("", piece, "ratio", "p50 ms", "p99 ms"),
        *(f"CPU µs per {each}", "ratio", "core busy"),
    )
    ours = trial.samples.get(OURS)
    rows = (_row(name, found, ours) for name, found in trial.samples.items())
    yield f"## {load.title}"
    yield table(head, rows)
    for name, rounds in trial.samples.items():
        if broken := sum(sample.run.broken for sample in rounds):
            yield f"**{name}** broke off {broken:,} requests."
    for name, why in trial.failed.items():
        yield f"**{name}** has no figures: {why}"


def _row(name: str, rounds: Rounds, ours: Rounds | None) -> tuple[str, ...]:
    measured = median_of("cpu_seconds", rounds) > 0
    return (
        name,
        f"{median_of('rate', rounds):,.0f}",
        _ratio("rate", ours, rounds),
        f"{median_of('p50', rounds) * 1e3:.3f}",
        f"{median_of('p99', rounds) * 1e3:.3f}",
        f"{median_of('cpu_each', rounds) * 1e6:,.1f}" if measured else _NONE,
        _ratio("cpu_each", ours, rounds) if measured else _NONE,
        f"{median_of('busy', rounds):.0%}" if measured else _NONE,
    )


def _ratio(figure: str, ours: Rounds | None, theirs: Rounds) -> str:
    if ours is None or ours is theirs:
        return _NONE
    return f"{ratio_of(figure, ours, theirs):.2f}"


def _scenes(results: Results) -> Iterator[str]:
    if results.herds:
        yield f"## A herd: {HERD:,} requests at once, one token nobody has seen"
        rows = (
            (name, f"{it.calls:,}", f"{it.served:,}", f"{it.seconds:.2f}")
            for name, it in results.herds.items()
        )
        yield table(("", "questions to the provider", "answers of 200", "s"), rows)
    if results.floods:
        yield f"## A flood of tokens nobody has seen, at {FLOOD_SHARE:.0%} of capacity"
        head = (
            *("", "capacity /s", "flood /s", "quiet p99 ms", "p99 ms beside it"),
            *("memory MiB", "left out"),
        )
        rows_of_floods = (
            (
                name,
                f"{it.capacity:,.0f}",
                f"{it.rate:,.0f}",
                f"{it.quiet_p99 * 1e3:.3f}",
                f"{it.flooded_p99 * 1e3:.3f}",
                f"{it.grown_bytes / MEBIBYTE:+.1f}",
                f"{it.left_out:,}",
            )
            for name, it in results.floods.items()
        )
        yield table(head, rows_of_floods)
    if results.paces:
        yield "## At a steady pace, over 64 connections"
        paces = (
            (name, f"{it.rate:,}", f"{it.p50 * 1e3:.3f}", f"{it.p99 * 1e3:.3f}")
            for name, it in results.paces.items()
        )
        yield table(("", "requests/s", "p50 ms", "p99 ms"), paces)
    yield "## Start and memory"
    starts = (
        (
            name,
            f"{it.seconds:.2f}",
            f"{it.rss_bytes / MEBIBYTE:.1f}",
            f"{it.idle_bytes / MEBIBYTE:+.1f}",
        )
        for name, it in results.starts.items()
    )
    yield table(("", "start s", "RSS MiB", f"{IDLE:,} idle connections MiB"), starts)
