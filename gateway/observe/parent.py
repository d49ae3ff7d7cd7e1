"""What the parent of workers tells of itself. Floor 4.

By the names that `observe.metrics` has for a process alone, so that they merge.
"""

from collections.abc import Iterable, Iterator

from prometheus_client.core import Metric

from gateway.observe.metrics import READINGS
from gateway.observe.series import Reading, Readings


class ParentReadings:
    """Some of `READINGS`; a collector."""

    def __init__(self, names: Iterable[str]) -> None:
        self._readings = {name: Readings(name, *READINGS[name]) for name in names}

    def watch(self, name: str, read: Reading, *labels: str) -> None:
        """Show what `read` tells at every scrape."""
        self._readings[name][labels] = read

    def collect(self) -> Iterator[Metric]:
        """Give every metric: what a scrape sees."""
        for each in self._readings.values():
            yield each.collect()

    describe = collect
