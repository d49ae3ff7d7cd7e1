from prometheus_client import CollectorRegistry

from gateway.observe.metrics import READINGS, Metrics
from gateway.observe.parent import ParentReadings


def test_it_shows_what_is_watched_by_the_names_of_a_process_alone():
    """So they merge with those of the workers."""
    alone, parent = CollectorRegistry(), CollectorRegistry()
    metrics, readings = Metrics(alone), ParentReadings(READINGS)
    parent.register(readings)
    for each in (metrics, readings):
        each.watch("admin_refused_total", lambda: 3, "token")
        each.watch("draining", lambda: None)
    value = "gateway_admin_refused_total", {"reason": "token"}

    assert 3 == alone.get_sample_value(*value) == parent.get_sample_value(*value)
    assert parent.get_sample_value("gateway_draining") is None


def test_what_nobody_asked_for_is_not_there():
    """The workers tell the rest."""
    (family,) = ParentReadings(["redis_up"]).collect()

    assert "gateway_redis_up" == family.name
