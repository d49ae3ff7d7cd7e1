"""What one request costs in metrics: run by hand, before and after a change.

python -m tests.benchmarks.bench_metrics
"""

import sys
import timeit

from prometheus_client import CollectorRegistry

from gateway.observe.metrics import Metrics
from tests.observe.test_metrics import EXCHANGE

CALLS = 200_000
ROUNDS = 7


def nanoseconds(work: str, **names: object) -> float:
    """Give the best of some rounds: what is beyond it is other processes' time."""
    rounds = timeit.repeat(work, globals=names, number=CALLS, repeat=ROUNDS)
    return min(rounds) / CALLS * 1e9


def main() -> None:
    """Measure, and print a line each."""
    metrics = Metrics(CollectorRegistry())
    metrics.configured("d1", 0.0, {"route": ["likes", "tracks"]})
    costs = {
        "observe": nanoseconds(
            "observe(exchange)", observe=metrics.observe, exchange=EXCHANGE
        ),
        "recalled": nanoseconds("recalled('melon', 'jwt')", recalled=metrics.recalled),
    }
    for name, cost in costs.items():
        sys.stdout.write(f"{name:10} {cost:7.0f} ns\n")


if __name__ == "__main__":
    main()
