from prometheus_client import CollectorRegistry

from gateway.observe.counts import BOUNDS, Counts
from gateway.observe.metrics import Metrics
from tests.admin.samples import exchange


def test_what_the_metrics_count_is_read_as_plain_numbers():
    """By route, decision and reason, whatever the door; durations over all routes."""
    metrics = Metrics(CollectorRegistry())
    counts = Counts(metrics)
    assert [0] * (len(BOUNDS) + 1) == list(counts.durations())

    metrics.configured("digest", 0.0, {"route": ["likes", "me"]})
    metrics.observe(exchange())
    metrics.observe(exchange(route="me", decision="deny", reason="expired"))
    metrics.observe(exchange(duration=100.0))
    metrics.observe(exchange(door="nginx"))
    metrics.validation("melon", "jwt", "l2", "active")
    metrics.provider_request("melon", "jwks", "200", 0.1)

    assert {
        ("likes", "allow", "ok"): 3,
        ("me", "deny", "expired"): 1,
    } == counts.decided()
    assert {("melon", "jwt", "l2", "active"): 1} == counts.looked_up()
    assert {("melon", "jwks", "200"): 1} == counts.asked()
    # An engine that asked has its own answer's time, which is none of ours.
    assert 3 == sum(counts.durations())
    assert 1 == counts.durations()[-1]
