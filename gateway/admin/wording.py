"""How numbers, moments and lengths of time are written for people. Floor 4: pure."""

from datetime import UTC, datetime

_UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))


def number(value: float) -> str:
    """Write a count: `12,345`."""
    return f"{value:,.0f}"


def rate(value: float) -> str:
    """Write so many per second, in three digits: `0.25`, `12.4`, `1,234`."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 or value == 0 else f"{value:.2f}"


def took(seconds: float | None) -> str:
    """Write how long something took, in three digits: `0.42 ms`, `1.25 s`."""
    if seconds is None:
        return "-"
    value, unit = (seconds, "s") if seconds >= 1 else (seconds * 1000, "ms")
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f} {unit}"


def share(part: float, whole: float) -> str:
    """Write a share as a percentage; a small one is not nothing."""
    if not whole or not part:
        return "0 %"
    percent = 100 * part / whole
    if percent < 0.1:
        return "<0.1 %"
    return f"{percent:.1f} %" if percent < 10 else f"{percent:.0f} %"


def span(seconds: float) -> str:
    """Write a length of time by its largest unit: `3 d`, `12 min`."""
    for length, unit in _UNITS:
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return "0 s"


def clock(at: float) -> str:
    """Write the time of day, to the millisecond, in UTC."""
    return _moment(at).strftime("%H:%M:%S.") + f"{int(at * 1000) % 1000:03d}"


def moment(at: float) -> str:
    """Write a moment, to the second, in UTC; one beyond all calendars is none."""
    try:
        return _moment(at).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError):
        return "never"


def size(count: float) -> str:
    """Write a number of bytes: `512 B`, `3.2 MiB`."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


FILTERS = {
    "number": number,
    "rate": rate,
    "took": took,
    "share": share,
    "span": span,
    "clock": clock,
    "moment": moment,
    "size": size,
}
