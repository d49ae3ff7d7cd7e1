from prometheus_client import CollectorRegistry

from gateway.observe.reloads import ReloadMetrics


def test_what_came_of_reloads_is_counted_and_the_last_one_shown():
    """As a process alone does, by the same names."""
    registry = CollectorRegistry()
    metrics = ReloadMetrics(100.0)
    registry.register(metrics)

    def shown() -> list[float | None]:
        names = ("successful", "success_timestamp_seconds")
        lasts = [f"gateway_config_last_reload_{name}" for name in names]
        counts = [{"result": result} for result in ("success", "failure")]
        return [registry.get_sample_value(name) for name in lasts] + [
            registry.get_sample_value("gateway_config_reloads_total", labels)
            for labels in counts
        ]

    before = shown()
    metrics.reloaded(200.0)
    good = shown()
    metrics.reloaded(None)

    assert [1, 100, 0, 0] == before
    assert [1, 200, 1, 0] == good
    assert [0, 200, 1, 1] == shown()
