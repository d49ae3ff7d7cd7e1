from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    Exemplar,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from gateway.workers.metrics import Gone, Snapshot, merged, snapshot


def counted(*values: tuple[str, float], name: str = "gateway_things") -> Metric:
    """Make a counter with a label."""
    family = CounterMetricFamily(name, "Things.", labels=("kind",))
    for kind, value in values:
        family.add_metric((kind,), value)
    return family


def spread(fast: int, slow: int, total: float) -> Metric:
    """Make a histogram of two buckets."""
    family = HistogramMetricFamily("gateway_seconds", "Seconds.", labels=())
    family.add_metric((), [("0.1", fast), ("+Inf", fast + slow)], total)
    return family


def gauge(name: str, value: float) -> Snapshot:
    """Take down one gauge."""
    return snapshot([GaugeMetricFamily(name, "A gauge.", value)])


def values(*workers: Snapshot, others: tuple[Snapshot, ...] = ()) -> dict[str, float]:
    """Merge, and give every line of the text that is scraped."""
    by_worker = {str(number): each for number, each in enumerate(workers, 1)}

    class Merged:
        def describe(self) -> list[Metric]:
            return []

        def collect(self) -> list[Metric]:
            return list(merged(by_worker, others))

    registry = CollectorRegistry()
    registry.register(Merged())
    lines = generate_latest(registry).decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def test_counters_are_added_up_by_their_labels():
    """What only one of them has met is there as well."""
    one, two = counted(("a", 3), ("b", 1)), counted(("c", 5), ("a", 4))

    assert {
        'gateway_things_total{kind="a"}': 7,
        'gateway_things_total{kind="b"}': 1,
        'gateway_things_total{kind="c"}': 5,
    } == values(snapshot([one]), snapshot([two]))


def test_histograms_are_added_up_bucket_by_bucket():
    """A histogram of all that were measured anywhere."""
    assert {
        'gateway_seconds_bucket{le="0.1"}': 4,
        'gateway_seconds_bucket{le="+Inf"}': 10,
        "gateway_seconds_count": 10,
        "gateway_seconds_sum": 3.5,
    } == values(snapshot([spread(1, 2, 1.5)]), snapshot([spread(3, 4, 2.0)]))


def test_gauges_that_count_are_added_up_and_others_are_not():
    """Whether something is so is no sum: anywhere for the one, everywhere for others."""
    told = {
        name: values(gauge(f"gateway_{name}", 1), gauge(f"gateway_{name}", other))
        for name, other in [
            ("http_requests_in_flight", 2),
            ("cache_entries", 5),
            ("draining", 0),
            ("redis_up", 0),
            ("revocation_marks", 1),
            ("build_info", 1),
            ("tls_certificate_expiry_timestamp_seconds", 7),
        ]
    }

    assert {
        "http_requests_in_flight": 3,
        "cache_entries": 6,
        "draining": 1,
        "redis_up": 0,
        "revocation_marks": 1,
        "build_info": 1,
        "tls_certificate_expiry_timestamp_seconds": 1,
    } == {name: value[f"gateway_{name}"] for name, value in told.items()}


def test_what_a_process_is_by_itself_is_shown_for_each():
    """Memory and descriptors: whose they are matters."""
    name = "process_resident_memory_bytes"

    assert {f'{name}{{worker="1"}}': 5, f'{name}{{worker="2"}}': 7} == values(
        gauge(name, 5), gauge(name, 7)
    )


def test_what_is_true_may_be_told_as_such():
    """Readings give booleans, and the text says 1."""
    assert {"gateway_redis_up": 1} == values(gauge("gateway_redis_up", True))


def test_what_was_counted_stays_counted():
    """A sum that falls back would be taken for a restart, its next rise for a spike."""
    gone = Gone()
    gone.add(snapshot([counted(("a", 3)), spread(1, 0, 0.5)]))
    gone.add(
        [
            *snapshot([counted(("a", 4), ("b", 1))]),
            *gauge("gateway_cache_entries", 9),
            *snapshot([counted(("a", 9), name="process_cpu_seconds")]),
        ]
    )
    told = values(snapshot([counted(("a", 10))]), others=(gone.counted,))

    assert 17 == told['gateway_things_total{kind="a"}']
    assert 1 == told['gateway_things_total{kind="b"}']
    assert 1 == told["gateway_seconds_count"]
    # What is no more is not counted on: its memory is free.
    assert not any("cache_entries" in name or "process" in name for name in told)


def test_of_several_exemplars_the_last_is_shown():
    """A trace is told whichever worker recorded it, and also when that is gone."""

    def told(trace: str, at: float) -> Metric:
        family = HistogramMetricFamily("gateway_seconds", "Seconds.", labels=())
        named = Exemplar({"trace_id": trace}, 0.05, at)
        family.add_metric((), [("0.1", 1, named), ("+Inf", 1)], 0.05)
        return family

    gone = Gone()
    gone.add(snapshot([told("old", 1.0)]))
    by_worker = {
        "1": snapshot([told("new", 3.0)]),
        "2": snapshot([told("middle", 2.0)]),
        "3": snapshot([spread(1, 0, 0.5)]),
    }
    (metric,) = merged(by_worker, [gone.counted])
    shown = {each.labels.get("le"): each.exemplar for each in metric.samples}

    assert Exemplar({"trace_id": "new"}, 0.05, 3.0) == shown["0.1"]
    assert shown["+Inf"] is None
    assert 4 == metric.samples[0].value
