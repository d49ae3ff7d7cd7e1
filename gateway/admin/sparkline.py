"""Draw small charts as SVG paths, on the server: no script, no request. Floor 4: pure.

A chart is `WIDTH` by its height in units of its own view box; one value per column of
equal width. Colours are the style sheet's business.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from gateway.admin.traffic import Moment

WIDTH: Final = 600
TRAFFIC_HEIGHT: Final = 96
LATENCY_HEIGHT: Final = 48


class Layer(msgspec.Struct, frozen=True):
    """One shape: what it shows, and its path."""

    name: str
    path: str


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """What a template draws; `top` is the value at the upper edge."""

    width: int
    height: int
    top: float
    layers: tuple[Layer, ...]


def traffic_chart(series: Sequence[Moment]) -> Chart:
    """Stack what became of requests, per second: failed at the bottom, seen first."""
    rates = [
        (
            each.requests.failed / each.seconds,
            each.requests.denied / each.seconds,
            each.requests.allowed / each.seconds,
        )
        for each in series
    ]
    top = round_up(max((sum(rate) for rate in rates), default=0.0))
    floor = [0.0] * len(rates)
    layers = []
    for number, name in enumerate(("failed", "denied", "allowed")):
        ceiling = [low + rate[number] for low, rate in zip(floor, rates, strict=True)]
        if ceiling != floor:
            layers.append(Layer(name, steps(floor, ceiling, top, TRAFFIC_HEIGHT)))
        floor = ceiling
    return Chart(width=WIDTH, height=TRAFFIC_HEIGHT, top=top, layers=tuple(layers))


def latency_chart(series: Sequence[Moment]) -> Chart:
    """Draw how long nineteen in twenty requests took at most."""
    values = [each.latency.p95 for each in series]
    top = round_up(max((value for value in values if value is not None), default=0.0))
    path = line(values, top, LATENCY_HEIGHT)
    layers = (Layer("p95", path),) if path else ()
    return Chart(width=WIDTH, height=LATENCY_HEIGHT, top=top, layers=layers)


def steps(low: Sequence[float], high: Sequence[float], top: float, height: int) -> str:
    """Draw the space between two step lines."""
    wide = WIDTH / len(high)
    there = [f"M0,{_y(high[0], top, height)}"]
    for number, value in enumerate(high):
        there.append(f"V{_y(value, top, height)}H{_n((number + 1) * wide)}")
    back = [
        f"V{_y(low[number], top, height)}H{_n(number * wide)}"
        for number in reversed(range(len(low)))
    ]
    return "".join([*there, *back, "Z"])


def line(values: Sequence[float | None], top: float, height: int) -> str:
    """Draw a step line with a gap wherever there is no value."""
    wide = WIDTH / max(1, len(values))
    drawn, pen_up = [], True
    for number, value in enumerate(values):
        if value is None:
            pen_up = True
            continue
        start = f"M{_n(number * wide)}," if pen_up else "V"
        drawn.append(f"{start}{_y(value, top, height)}H{_n((number + 1) * wide)}")
        pen_up = False
    return "".join(drawn)


def round_up(value: float) -> float:
    """Give the next of 1, 2, 5, 10 …: a top that people can read."""
    if value <= 0:
        return 1.0
    scale = 10.0 ** (len(str(int(value))) - 1) if value >= 1 else 1e-4
    while True:
        for step in (1, 2, 5):
            if step * scale >= value:
                return step * scale
        scale *= 10


def _y(value: float, top: float, height: int) -> str:
    return _n(height - min(value, top) / top * height)


def _n(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")
