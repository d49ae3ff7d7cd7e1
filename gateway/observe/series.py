"""How Prometheus is told of our own series. Floor 4.

The event loop is the only writer; a scrape, on any thread, reads copies of the
tables. What is merely *true now* (entries, marks, draining) is read at scrape time.
"""

from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import Protocol, TypeVar

from prometheus_client.core import (
    CounterMetricFamily,
    Exemplar,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from gateway.observe.tally import Cell, Spread

Reading = Callable[[], float | None]
"""Tells what is true now; None: nothing can be said of it, and nothing is shown."""

Bucket = tuple[str, float] | tuple[str, float, Exemplar]


Series = TypeVar("Series")


class Family(Protocol):
    """All series of one metric."""

    def collect(self) -> Metric:
        """Give the metric as the library wants it."""
        ...

    def keep(self, configured: Mapping[str, frozenset[str]]) -> None:
        """Drop the series of what is no longer configured.

        By label, the values that there may be; of other labels there may be any.
        """
        ...


class Labelled(dict[tuple[str, ...], Series]):
    """Series by label values."""

    def __init__(self, name: str, text: str, labels: tuple[str, ...]) -> None:
        super().__init__()
        self.name = f"gateway_{name}"
        self.text = text
        self.labels = labels

    def keep(self, configured: Mapping[str, frozenset[str]]) -> None:
        """Drop the series of what is no longer configured (`Family`)."""
        for at, label in enumerate(self.labels):
            names = configured.get(label)
            if names is not None:
                for values in [each for each in self if each[at] not in names]:
                    del self[values]


class Counters(Labelled[Cell]):
    """Counters by label values, made when first asked for."""

    def __missing__(self, values: tuple[str, ...]) -> Cell:
        """Make one."""
        cell = self[values] = Cell()
        return cell

    def collect(self) -> Metric:
        """Give the metric (`Family`)."""
        family = CounterMetricFamily(self.name, self.text, labels=self.labels)
        for values, cell in list(self.items()):
            family.add_metric(values, cell.value)
        return family


class Histograms(Labelled[Spread]):
    """Histograms by label values, made when first asked for."""

    def __init__(
        self, name: str, text: str, bounds: tuple[float, ...], labels: tuple[str, ...]
    ) -> None:
        super().__init__(name, text, labels)
        self._bounds = bounds
        self._names = [*map(str, bounds), "+Inf"]

    def __missing__(self, values: tuple[str, ...]) -> Spread:
        """Make one."""
        spread = self[values] = Spread(self._bounds)
        return spread

    def collect(self) -> Metric:
        """Give the metric (`Family`)."""
        family = HistogramMetricFamily(self.name, self.text, labels=self.labels)
        for values, spread in list(self.items()):
            family.add_metric(values, self._buckets(spread), spread.total)
        return family

    def _buckets(self, spread: Spread) -> list[Bucket]:
        counted = zip(self._names, accumulate(spread.counts), strict=True)
        buckets: list[Bucket] = list(counted)
        for index, exemplar in list(spread.exemplars.items()):
            name, count = buckets[index][:2]
            buckets[index] = (name, count, exemplar)
        return buckets


class Readings(Labelled[Reading]):
    """Series that are read when they are scraped; none until somebody watches."""

    def collect(self) -> Metric:
        """Give the metric (`Family`)."""
        counts = self.name.endswith("_total")
        kind = CounterMetricFamily if counts else GaugeMetricFamily
        family = kind(self.name, self.text, labels=self.labels)
        for values, read in list(self.items()):
            value = read()
            if value is not None:
                family.add_metric(values, value)
        return family
