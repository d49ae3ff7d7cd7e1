"""Make the metrics of several processes one. Floor 5.

What is added up: counters and histograms, also of workers that are gone, since a sum
that falls back would read as a restart and its next rise as a spike; and gauges that
count things. What says whether or since when something is so is no sum: `_NOT_ADDED`
tells what becomes of it. What a process is by itself (`process_*`, `python_*`) is shown
for each, with the label `worker`; their sum over that label is what the gateway costs.
"""

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec
from prometheus_client.core import Exemplar, Metric

_OWN: Final = ("process_", "python_")
_ADDED: Final = frozenset({"counter", "histogram"})
_NOT_ADDED: Final[Mapping[str, Callable[[float, float], float]]] = {
    "_addresses": max,
    "_blind": max,
    "_circuit_state": max,
    "_draining": max,
    "_evicts": max,
    "_info": max,
    "_lost": max,
    "_marks": max,
    "_successful": min,
    "_timestamp_seconds": min,
    "_up": min,
}
"""Gauges with such an end: it is so if it is so anywhere, or only if everywhere."""


Named = tuple[dict[str, str], float, float]
"""An exemplar: its labels, what was measured, and when."""


class Series(msgspec.Struct, frozen=True, array_like=True):
    """One number: its full name, its labels and its value.

    `exemplar` is a trace that it counted: labels, what was measured, and when.
    """

    name: str
    labels: dict[str, str]
    value: float
    exemplar: Named | None = None


class Family(msgspec.Struct, frozen=True, array_like=True):
    """One metric with all its series."""

    name: str
    kind: str
    text: str
    series: list[Series]


def _told_of(exemplar: Exemplar | None) -> Named | None:
    if exemplar is None:
        return None
    return dict(exemplar.labels), exemplar.value, float(exemplar.timestamp or 0.0)


Snapshot = list[Family]
"""The metrics of one process at one moment."""


def snapshot(metrics: Iterable[Metric]) -> Snapshot:
    """Take down what a registry collects."""
    return [
        Family(
            metric.name,
            metric.type,
            metric.documentation,
            # Whether something is so may be told by True.
            [
                Series(
                    each.name,
                    each.labels,
                    float(each.value),
                    _told_of(each.exemplar),
                )
                for each in metric.samples
            ],
        )
        for metric in metrics
    ]


class Gone:
    """What workers that are gone have counted."""

    def __init__(self) -> None:
        self.counted: Snapshot = []

    def add(self, last: Snapshot) -> None:
        """Add the last words of a worker."""
        added = [
            family
            for family in last
            if family.kind in _ADDED and not family.name.startswith(_OWN)
        ]
        self.counted = snapshot(merged({}, [self.counted, added]))


def merged(
    by_worker: Mapping[str, Snapshot], others: Sequence[Snapshot] = ()
) -> Iterator[Metric]:
    """Merge the snapshots of workers, by their name; `others` have none."""
    families: dict[str, _Merging] = {}
    named = [*by_worker.items(), *(("", other) for other in others)]
    for worker, each in named:
        for family in each:
            if family.name not in families:
                families[family.name] = _Merging(family)
            families[family.name].take(worker, family.series)
    for merging in families.values():
        yield merging.metric()


class _Merging:
    def __init__(self, family: Family) -> None:
        self._family = family
        self._own = family.name.startswith(_OWN)
        self._join = _how_to_join(family)
        self._values: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        self._exemplars: dict[tuple[str, tuple[tuple[str, str], ...]], Named] = {}

    def take(self, worker: str, series: Iterable[Series]) -> None:
        for each in series:
            labels = {**each.labels, "worker": worker} if self._own else each.labels
            key = (each.name, tuple(labels.items()))
            if each.exemplar is not None:
                known = self._exemplars.get(key, each.exemplar)
                # The last one, whoever met it.
                self._exemplars[key] = max(known, each.exemplar, key=lambda one: one[2])
            held = self._values.get(key)
            self._values[key] = (
                each.value if held is None else self._join(held, each.value)
            )

    def metric(self) -> Metric:
        family = self._family
        metric = Metric(family.name, family.text, family.kind)
        for (name, labels), value in self._values.items():
            named = self._exemplars.get((name, labels))
            exemplar = None if named is None else Exemplar(*named)
            metric.add_sample(name, dict(labels), value, exemplar=exemplar)
        return metric


def _how_to_join(family: Family) -> Callable[[float, float], float]:
    if family.kind not in _ADDED:
        for ending, join in _NOT_ADDED.items():
            if family.name.endswith(ending):
                return join
    return operator.add
