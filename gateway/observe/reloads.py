"""Count reloads where the workers do not: in their parent. Floor 4.

By the names that `observe.metrics` has for a process alone, so that they merge.
"""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric


class ReloadMetrics:
    """Keeps `reloads.ReloadEvents`; a collector."""

    def __init__(self, started_at: float) -> None:
        self._good = self._bad = 0
        self._well = True
        self._well_at = started_at

    def reloaded(self, at: float | None) -> None:
        """Count one; `at` is since when it is in force, None: it is not."""
        self._well = at is not None
        if at is not None:
            self._good, self._well_at = self._good + 1, at
        else:
            self._bad += 1

    def collect(self) -> Iterator[Metric]:
        """Give every metric: what a scrape sees."""
        yield GaugeMetricFamily(
            "gateway_config_last_reload_successful",
            "Whether the configuration last read is in force.",
            float(self._well),
        )
        yield GaugeMetricFamily(
            "gateway_config_last_reload_success_timestamp_seconds",
            "Since when the configuration in force is.",
            self._well_at,
        )
        reloads = CounterMetricFamily(
            "gateway_config_reloads",
            "Configurations read anew.",
            labels=("result",),
        )
        reloads.add_metric(("success",), self._good)
        reloads.add_metric(("failure",), self._bad)
        yield reloads

    describe = collect
