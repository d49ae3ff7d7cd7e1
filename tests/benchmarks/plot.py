"""Draw the cached hit: requests/s, latency and CPU of all contestants, as a PNG.

Needs the extra `bench`.
"""

from pathlib import Path

from matplotlib.figure import Figure

from tests.benchmarks.figures import median_of
from tests.benchmarks.loads import HIT_64, OURS
from tests.benchmarks.results import Results

_PANELS = (
    ("rate", 1.0, "requests/s, more is better"),
    ("p99", 1e3, "p99 in ms, less is better"),
    ("cpu_each", 1e6, "CPU per request in µs, less is better"),
)


def draw(results: Results, path: Path) -> bool:
    """Write the picture to `path`; false when there is nothing to draw."""
    found = {
        name: rounds
        for trial in results.trials
        if trial.load == HIT_64
        for name, rounds in trial.samples.items()
        if median_of("cpu_seconds", rounds) > 0
    }
    names = sorted(found, key=lambda name: median_of("rate", found[name]))
    if not names:
        return False
    figure = Figure(figsize=(13, 1.5 + 0.4 * len(names)), layout="constrained")
    panels = figure.subplots(1, len(_PANELS), sharey=True)
    colors = ["tab:orange" if name == OURS else "tab:gray" for name in names]
    for axes, (what, factor, label) in zip(panels, _PANELS, strict=True):
        bars = [median_of(what, found[name]) * factor for name in names]
        drawn = axes.barh(names, bars, color=colors)
        axes.bar_label(
            drawn,
            [f"{bar:,.3g}" if bar < 100 else f"{bar:,.0f}" for bar in bars],
            padding=3,
        )
        axes.set_xlabel(label)
        axes.margins(x=0.18)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{HIT_64.title}, one core each ({results.about.get('date', '')})")
    figure.savefig(path, dpi=120)
    return True
