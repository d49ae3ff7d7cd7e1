"""Read the metrics as plain numbers, for the admin's pulse. Floor 4: counts nothing.

Requests are counted once. Whoever wants to know what happened lately compares two
readings; nothing is added to the way of a request for it.
"""

from collections.abc import Sequence

from gateway.observe.metrics import REQUEST_SECONDS, Metrics

BOUNDS = REQUEST_SECONDS
"""The upper bounds of the buckets of `Counts.durations`, but for the last: infinity."""


class Counts:
    """Keeps `admin.pulse.Counts`."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def decided(self) -> dict[tuple[str, str, str], int]:
        """Count exchanges by route, decision and reason, at whatever door."""
        decisions, _, _, _ = self._metrics.tables()
        counts: dict[tuple[str, str, str], int] = {}
        for (_door, *of), cell in decisions.items():
            route, decision, reason = of
            key = (route, decision, reason)
            counts[key] = counts.get(key, 0) + cell.value
        return counts

    def looked_up(self) -> dict[tuple[str, str, str, str], int]:
        """Count tokens looked up by provider, method, source and result."""
        _, validations, _, _ = self._metrics.tables()
        return {
            (provider, method, source, result): cell.value
            for (provider, method, source, result), cell in validations.items()
        }

    def asked(self) -> dict[tuple[str, str, str], int]:
        """Count questions to providers by provider, endpoint and code."""
        _, _, questions, _ = self._metrics.tables()
        return {
            (provider, endpoint, code): cell.value
            for (provider, endpoint, code), cell in questions.items()
        }

    def durations(self) -> Sequence[int]:
        """Count exchanges by their duration, a number for each bucket."""
        _, _, _, durations = self._metrics.tables()
        counts = [0] * (len(BOUNDS) + 1)
        for spread in durations.values():
            for bucket, count in enumerate(spread.counts):
                counts[bucket] += count
        return counts
