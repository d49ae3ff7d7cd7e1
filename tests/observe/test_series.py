import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder

from gateway.observe.series import Counters, Family, Histograms, Readings

BOUNDS = (0.01, 0.1)


@pytest.fixture
def registry():
    """One of its own for each test: the library's is global."""
    return CollectorRegistry()


class Only:
    """A collector of one family, which being a table cannot be a key."""

    def __init__(self, family: Family) -> None:
        self._family = family

    def collect(self) -> list[Metric]:
        return [self._family.collect()]


def lines(registry: CollectorRegistry) -> list[str]:
    """Give what a scraper reads, in the form that has exemplars."""
    encode, _ = choose_encoder("application/openmetrics-text")
    return encode(registry).decode().splitlines()


def test_series_of_what_is_configured_stay_and_others_go():
    """Each label is looked at; one that configuration does not give may be anything."""
    counters = Counters("things_total", "Things.", ("route", "code", "upstream"))
    for values in (("a", "200", "x"), ("b", "200", "x"), ("a", "500", "y")):
        counters[values].value += 1
    counters.keep({"route": frozenset({"a"}), "upstream": frozenset({"x"})})

    assert {("a", "200", "x")} == counters.keys()
    counters.keep({"provider": frozenset()})
    assert 1 == len(counters)


def test_a_trace_is_named_beside_the_bucket_it_was_counted_in(registry):
    """The last one of each; other buckets have none."""
    histograms = Histograms("lag_seconds", "Lag.", BOUNDS, ("op",))
    spread = histograms["get",]
    for seconds, trace in ((0.05, "aa"), (0.06, "bb"), (7.0, "cc")):
        spread.add(seconds)
        spread.exemplify(seconds, trace, 1_800_000_000.0)
    registry.register(Only(histograms))
    told = lines(registry)

    assert 'gateway_lag_seconds_bucket{le="0.01",op="get"} 0.0' in told
    bucket = 'gateway_lag_seconds_bucket{le="0.1",op="get"} 2.0'
    assert f'{bucket} # {{trace_id="bb"}} 0.06 1800000000.0' in told
    bucket = 'gateway_lag_seconds_bucket{le="+Inf",op="get"} 3.0'
    assert f'{bucket} # {{trace_id="cc"}} 7.0 1800000000.0' in told


def test_a_reading_without_a_value_is_not_shown(registry):
    """To say 0 would be to say something."""
    readings = Readings("age_seconds", "Age.", ("of",))
    readings["known",] = lambda: 3
    readings["unknown",] = lambda: None
    registry.register(Only(readings))

    told = [line for line in lines(registry) if not line.startswith("#")]
    assert ['gateway_age_seconds{of="known"} 3.0'] == told


def test_a_reading_that_only_grows_is_a_counter(registry):
    """By its name, as Prometheus has it."""
    readings = Readings("drops_total", "Drops.", ())
    readings[()] = lambda: 3
    registry.register(Only(readings))

    assert "# TYPE gateway_drops counter" in lines(registry)
