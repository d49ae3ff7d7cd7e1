from math import isnan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.benchmarks.figures import (
    MEBIBYTE,
    Sample,
    WrkRun,
    median_of,
    parse_wrk,
    percentile,
    ratio_of,
)

GOOD = """\
Running 2s test @ http://127.0.0.1:20080/items/1k
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.23ms  210.10us   4.11ms   80.00%
    Req/Sec    25.10k     1.10k   27.00k    70.00%
  Latency Distribution
     50%  950.00us
     75%    1.30ms
     90%    1.60ms
     99%    2.27ms
  100212 requests in 2.00s, 120.50MB read
Requests/sec:  50106.00
Transfer/sec:     60.25MB
""".replace("2.27ms", "2.27ms ")
BAD = GOOD.replace(
    "Requests/sec",
    "  Socket errors: connect 1, read 20, write 300, timeout 4000\n"
    "  Non-2xx or 3xx responses: 77\nRequests/sec",
)


def run(
    requests: int = 1000,
    seconds: float = 2.0,
    bytes_read: float = 0.0,
    p99: float = 0.0,
) -> WrkRun:
    """Make a run that tells only what matters."""
    return WrkRun(
        requests=requests, seconds=seconds, bytes_read=bytes_read, p50=0.0, p99=p99
    )


def rounds(*rates: int) -> list[Sample]:
    """Make rounds of one second each."""
    return [Sample(run(requests=rate, seconds=1.0), 0.5, 0.5) for rate in rates]


def test_output_of_wrk_is_read_in_seconds_and_bytes():
    """Each figure of wrk has a unit of its own, and some a space behind it."""
    found = parse_wrk(GOOD)

    assert 100_212 == found.requests
    assert 2.0 == found.seconds
    assert 120.5 * MEBIBYTE == found.bytes_read
    assert (0.00095, 0.00227) == pytest.approx((found.p50, found.p99))
    assert (0, 0) == (found.refused, found.broken)


def test_failures_are_read_where_wrk_tells_any():
    """Lines about failures are there only when there were some."""
    found = parse_wrk(BAD)

    assert (77, 4321) == (found.refused, found.broken)


@pytest.mark.parametrize(
    "text", ["", "unable to connect", GOOD.replace("99%", "98%"), GOOD[:300]]
)
def test_what_is_no_output_of_wrk_is_an_error(text):
    """Half an output must not become a figure of zero."""
    with pytest.raises(ValueError, match="wrk --latency"):
        parse_wrk(text)


def test_work_is_counted_in_requests():
    """A small answer's cost is that of its request."""
    found = Sample(run(requests=1000, seconds=2.0), 0.5, 0.7)

    assert 500.0 == found.rate
    assert 0.0005 == found.cpu_each
    assert 0.25 == found.busy
    assert 0.1 == pytest.approx(found.disturbed)


def test_work_is_counted_in_mebibytes_where_a_body_matters():
    """A download that is not yet whole has cost something too; an upload reads none."""
    download = Sample(run(5, 2.0, bytes_read=64.0 * MEBIBYTE), 1.6, 2.0, 10 * MEBIBYTE)
    upload = Sample(run(6, 2.0, bytes_read=900.0), 1.5, 2.0, MEBIBYTE)

    assert (32.0, 0.025) == pytest.approx((download.rate, download.cpu_each))
    assert (3.0, 0.25) == pytest.approx((upload.rate, upload.cpu_each))


def test_latency_is_that_of_the_run():
    """A sample tells its run's latency under the names of all figures."""
    assert 0.25 == Sample(run(p99=0.25), 0.0, 0.0).p99
    assert 0.0 == Sample(run(p99=0.25), 0.0, 0.0).p50


def test_core_is_never_disturbed_by_less_than_nothing():
    """The two clocks tick by themselves."""
    assert 0.0 == Sample(run(), 1.01, 1.0).disturbed


def test_median_is_of_one_figure():
    """One run that went astray moves nothing."""
    assert 300.0 == median_of("rate", rounds(100, 300, 99_999))


def test_ratio_is_of_the_rounds_and_not_of_the_medians():
    """A machine that slows down for a round slows both."""
    assert 0.5 == ratio_of("rate", rounds(50, 200, 30), rounds(100, 400, 60))


def test_ratio_to_nothing_is_no_number():
    """A figure of zero is a run that was not measured."""
    assert isnan(ratio_of("rate", rounds(50), rounds(0)))
    assert isnan(rounds(0)[0].cpu_each)


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 1), (0.5, 50), (0.99, 99), (0.991, 100), (1.0, 100)]
)
def test_percentile_is_a_value_that_was_measured(share, expected):
    """Nearest rank: nothing is made up between two values."""
    assert expected == percentile(range(100, 0, -1), share)


@given(st.lists(st.floats(0, 10), min_size=1), st.floats(0, 1))
def test_percentile_has_its_share_below(values, share):
    """At least `share` of all values do not exceed it."""
    found = percentile(values, share)

    assert found in values
    assert share <= sum(value <= found for value in values) / len(values) + 1e-9
