"""Figures and what is made of them. Pure: text and numbers in, numbers out.

A ratio is the median of the ratios of each round: the two runs of a round are seconds
apart on the same machine in the same mood, so ratios hold where medians move.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, nan
from statistics import median
from typing import Final

MEBIBYTE: Final = 1 << 20

_SECONDS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_BYTES: Final = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}
_TOTAL: Final = re.compile(r"(\d+) requests in ([\d.]+)(\w+), ([\d.]+)(\w+) read")
_QUANTILE: Final = re.compile(r"^ +(\d+)% +([\d.]+)(\w+) *$", re.MULTILINE)
_OTHER_STATUS: Final = re.compile(r"Non-2xx or 3xx responses: (\d+)")
_BROKEN: Final = re.compile(
    r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WrkRun:
    """What one run of wrk says of itself; seconds and bytes.

    `refused` counts answers that are neither 2xx nor 3xx, `broken` connections that
    failed and requests that were not answered in time.
    """

    requests: int
    seconds: float
    bytes_read: float
    p50: float
    p99: float
    refused: int = 0
    broken: int = 0


def parse_wrk(text: str) -> WrkRun:
    """Read the output of `wrk --latency`; `ValueError` when it is none."""
    total = _TOTAL.search(text)
    shares = {
        int(percent): float(amount) * _SECONDS[unit]
        for percent, amount, unit in _QUANTILE.findall(text)
    }
    if total is None or not {50, 99} <= shares.keys():
        raise ValueError("expected the output of `wrk --latency`")
    refused, broken = _OTHER_STATUS.search(text), _BROKEN.search(text)
    return WrkRun(
        requests=int(total[1]),
        seconds=float(total[2]) * _SECONDS[total[3]],
        bytes_read=float(total[4]) * _BYTES[total[5]],
        p50=shares[50],
        p99=shares[99],
        refused=int(refused[1]) if refused else 0,
        broken=sum(map(int, broken.groups())) if broken else 0,
    )


@dataclass(frozen=True, slots=True)
class Sample:
    """One run against one contestant: the CPU time that it took, and its core's.

    Work is counted in requests, or in MiB where `body_bytes` tells that a request is
    there to move so many.
    """

    run: WrkRun
    cpu_seconds: float
    core_seconds: float
    body_bytes: int = 0

    @property
    def work(self) -> float:
        """Requests answered, or MiB moved: of downloads also those not yet whole."""
        if not self.body_bytes:
            return self.run.requests
        moved = max(self.run.bytes_read, self.run.requests * self.body_bytes)
        return moved / MEBIBYTE

    @property
    def rate(self) -> float:
        """Work for each second."""
        return self.work / self.run.seconds

    @property
    def cpu_each(self) -> float:
        """CPU seconds for each piece of work."""
        return _share(self.cpu_seconds, self.work)

    @property
    def busy(self) -> float:
        """The share of its core that it used: below 1, something else was the limit."""
        return self.cpu_seconds / self.run.seconds

    @property
    def disturbed(self) -> float:
        """The share of its core that everybody else used."""
        return max(0.0, self.core_seconds - self.cpu_seconds) / self.run.seconds

    @property
    def p50(self) -> float:
        """The latency that half of the requests do not exceed."""
        return self.run.p50

    @property
    def p99(self) -> float:
        """The latency that 99 % of the requests do not exceed."""
        return self.run.p99


Rounds = Sequence[Sample]


def median_of(figure: str, rounds: Rounds) -> float:
    """Give the middle of one figure (`rate`, `p99` …) over the rounds."""
    return float(median(getattr(each, figure) for each in rounds))


def ratio_of(figure: str, ours: Rounds, theirs: Rounds) -> float:
    """Give the middle of ours divided by theirs, round by round."""
    return median(
        _share(getattr(one, figure), getattr(other, figure))
        for one, other in zip(ours, theirs, strict=True)
    )


def percentile(values: Sequence[float], share: float) -> float:
    """Give the value that `share` of all values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(1, ceil(share * len(ordered))) - 1]


def _share(part: float, whole: float) -> float:
    return part / whole if whole else nan
