import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import choose_encoder
from prometheus_client.parser import text_string_to_metric_families

from gateway.observe.metrics import REDIS, Metrics, idp
from gateway.observe.upstreams import UpstreamMetrics
from gateway.values import Exchange

ROOT = Path(__file__).parent.parent.parent
OF_THE_PARENT = {"gateway_workers", "gateway_worker_restarts_total"}
"""What only one who looks after workers shows."""

EXCHANGE = Exchange(
    request_id="r1",
    started_at=1_800_000_000.0,
    duration=0.030,
    upstream_wait=0.0295,
    method="GET",
    host="melon.localhost",
    path="/oauth/likes",
    status=200,
    decision="allow",
    reason="",
    source="l1",
    route="likes",
    provider="melon",
    upstream="melon-api",
    client="1234",
    peer="127.0.0.1",
    scheme="http",
    request_bytes=3,
    response_bytes=500,
)


@pytest.fixture
def registry():
    """One of its own for each test: the library's is global."""
    return CollectorRegistry()


@pytest.fixture
def metrics(registry):
    """Metrics of a configuration with two routes."""
    metrics = Metrics(registry)
    metrics.configured("d1", 1_800_000_000.0, {"route": ["likes", "tracks"]})
    return metrics


def exchange(**changes: object) -> Exchange:
    """Give the exchange with some fields changed."""
    return msgspec.structs.replace(EXCHANGE, **changes)


def series(registry: CollectorRegistry) -> set[tuple[str, str]]:
    """Every series of ours, without its value."""
    return {
        (sample.name, str(sorted(sample.labels.items())))
        for family in registry.collect()
        for sample in family.samples
        if sample.name.startswith("gateway_")
    }


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    """Give what one series says now."""
    return registry.get_sample_value(f"gateway_{name}", labels)


def test_an_exchange_is_counted_under_its_route_method_and_status(metrics, registry):
    """Two of one kind are one series with the value 2."""
    metrics.observe(exchange())
    metrics.observe(exchange())
    metrics.observe(exchange(status=206))

    requests = "http_requests_total"
    of = {"route": "likes", "method": "GET"}
    assert 2 == value(registry, requests, **of, code="200")
    assert 1 == value(registry, requests, **of, code="206")
    assert 9 == value(registry, "http_request_body_bytes_total", route="likes")
    assert 1500 == value(registry, "http_response_body_bytes_total", route="likes")


def test_durations_fall_into_their_buckets(metrics, registry):
    """The overhead is what the request took without the wait for the upstream."""
    metrics.observe(exchange())

    duration = "http_request_duration_seconds"
    of = {"route": "likes", "method": "GET"}
    assert 0 == value(registry, f"{duration}_bucket", **of, le="0.025")
    assert 1 == value(registry, f"{duration}_bucket", **of, le="0.05")
    assert 1 == value(registry, f"{duration}_bucket", **of, le="+Inf")
    assert 1 == value(registry, f"{duration}_count", **of)
    assert 0.030 == value(registry, f"{duration}_sum", **of)
    overhead = "overhead_seconds_bucket"
    assert 0 == value(registry, overhead, route="likes", le="0.00025")
    assert 1 == value(registry, overhead, route="likes", le="0.001")


def test_a_duration_equal_to_a_bound_is_within_it(metrics, registry):
    """Prometheus' `le` is less or equal."""
    metrics.observe(exchange(duration=0.025, upstream_wait=0.0))

    bucket = "http_request_duration_seconds_bucket"
    of = {"route": "likes", "method": "GET"}
    assert 0 == value(registry, bucket, **of, le="0.01")
    assert 1 == value(registry, bucket, **of, le="0.025")


def test_a_duration_beyond_every_bound_is_counted(metrics, registry):
    """A track may stream for minutes."""
    metrics.observe(exchange(duration=600.0))

    bucket = "http_request_duration_seconds_bucket"
    of = {"route": "likes", "method": "GET"}
    assert 0 == value(registry, bucket, **of, le="10.0")
    assert 1 == value(registry, bucket, **of, le="+Inf")


@pytest.mark.parametrize(
    ("decision", "reason", "label"),
    [
        ("allow", "", "ok"),
        ("deny", "insufficient_scope", "insufficient_scope"),
        ("error", "provider_unavailable", "provider_unavailable"),
    ],
)
def test_a_decision_is_counted_with_its_reason(
    metrics, registry, decision, reason, label
):
    """Operators read the words of `Reason`; a permit's is `ok`."""
    metrics.observe(exchange(decision=decision, reason=reason))

    name = "auth_decisions_total"
    assert 1 == value(
        registry, name, door="proxy", route="likes", decision=decision, reason=label
    )


def test_what_an_engine_asked_is_counted_by_its_door_alone(metrics, registry):
    """It serves the request, so it counts it: here is the decision, and its wait."""
    metrics.observe(exchange(door="nginx", upstream="", duration=0.0004))
    metrics.observe(exchange(door="nginx", route="made-up", duration=0.0004))

    of = {"door": "nginx", "decision": "allow", "reason": "ok"}
    assert 1 == value(registry, "auth_decisions_total", route="likes", **of)
    assert 1 == value(registry, "auth_decisions_total", route="_unmatched", **of)
    assert 2 == value(registry, "decision_duration_seconds_count", door="nginx")
    assert not [name for name, _ in series(registry) if "http_request" in name]


@pytest.mark.parametrize(
    ("status", "reason", "code"),
    [(404, "", "404"), (504, "upstream_timeout", "timeout"), (502, "", "502")],
)
def test_an_upstream_answers_for_its_own_status_only(
    metrics, registry, status, reason, code
):
    """A 504 that we made up is told apart from one that the upstream sent."""
    metrics.observe(exchange(status=status, reason=reason))

    name = "upstream_requests_total"
    assert 1 == value(registry, name, upstream="melon-api", code=code)
    wait = "upstream_request_duration_seconds_sum"
    assert 0.0295 == value(registry, wait, upstream="melon-api")


def test_a_refused_request_counts_for_no_upstream(metrics, registry):
    """Nothing was forwarded, so no upstream was asked."""
    metrics.observe(exchange(status=401, upstream="", upstream_wait=0.0))

    assert not {name for name, _ in series(registry) if "upstream_requ" in name}


def test_events_are_counted_under_their_labels(metrics, registry):
    """The promises of `ports.CacheEvents` and `ports.ProviderEvents`."""
    metrics.cache("l1", "hit")
    metrics.validation("melon", "jwt", "provider", "active")
    metrics.coalesced("ottm")
    metrics.provider_request("ottm", "userinfo", "200", 0.2)
    metrics.forgotten("admin")
    metrics.rate_limit("unknown_tokens", allowed=True)
    metrics.rate_limit("unknown_tokens", allowed=False)
    metrics.store_command("get", 0.002, "")
    metrics.store_command("get", 0.05, "timeout")
    metrics.loop_lag(0.003)

    assert 1 == value(registry, "cache_requests_total", tier="l1", result="hit")
    assert 1 == value(
        registry,
        "token_validations_total",
        provider="melon",
        method="jwt",
        source="provider",
        result="active",
    )
    assert 1 == value(registry, "coalesced_requests_total", provider="ottm")
    asked = {"provider": "ottm", "endpoint": "userinfo"}
    assert 1 == value(registry, "idp_requests_total", **asked, code="200")
    assert 0.2 == value(registry, "idp_request_duration_seconds_sum", **asked)
    assert 1 == value(registry, "cache_invalidations_total", source="admin")
    for result in ("allowed", "limited"):
        of = {"policy": "unknown_tokens", "result": result}
        assert 1 == value(registry, "ratelimit_requests_total", **of)
    assert 2 == value(registry, "redis_command_duration_seconds_count", op="get")
    assert 1 == value(registry, "redis_errors_total", kind="timeout")
    assert 0.003 == value(registry, "event_loop_lag_seconds_sum")


def test_a_seal_alarm_is_an_increase_from_zero(metrics, registry):
    """A series that begins at 1 would show no increase to an alert."""
    before = value(registry, "seal_alarms_total")
    metrics.seal_alarm()

    assert 0 == before
    assert 1 == value(registry, "seal_alarms_total")


def test_what_is_true_now_is_read_when_it_is_scraped(metrics, registry):
    """A gauge costs a request nothing; one that nobody keeps is not shown as 0."""
    entries = [3.0]
    unwatched = value(registry, "redis_up")
    metrics.watch("cache_entries", entries.pop, "l1")
    metrics.watch("log_lines_dropped_total", lambda: 7.0, "access")

    assert unwatched is None
    assert 3 == value(registry, "cache_entries", tier="l1")
    entries.append(5.0)
    metrics.watch("cache_entries", lambda: 4.0, "l1")
    assert 4 == value(registry, "cache_entries", tier="l1")
    assert 7 == value(registry, "log_lines_dropped_total", log="access")
    metrics.watch("jwks_last_refresh_timestamp_seconds", lambda: None, "melon")
    seen = value(registry, "jwks_last_refresh_timestamp_seconds", provider="melon")
    assert seen is None


def test_what_nobody_defined_cannot_be_watched(metrics):
    """A misspelt gauge would be missed only when it is needed."""
    with pytest.raises(KeyError):
        metrics.watch("cache_entrees", lambda: 0.0)


def test_a_new_configuration_replaces_the_old_one(metrics, registry):
    """Series of routes that are gone go; the others keep their counts."""
    metrics.observe(exchange())
    metrics.observe(exchange(route="tracks"))
    metrics.configured("d2", 1_800_000_060.0, {"route": ["likes"]})
    metrics.observe(exchange())
    metrics.observe(exchange(route="tracks"))

    requests = "http_requests_total"
    of = {"method": "GET", "code": "200"}
    assert 2 == value(registry, requests, route="likes", **of)
    assert value(registry, requests, route="tracks", **of) is None
    assert 1 == value(registry, requests, route="_unmatched", **of)
    assert value(registry, "config_info", hash="d1") is None
    assert 1 == value(registry, "config_info", hash="d2")
    since = "config_last_reload_success_timestamp_seconds"
    assert 1_800_000_060 == value(registry, since)


def test_providers_and_upstreams_that_are_gone_take_their_series_along(
    metrics, registry
):
    """Counted, measured and watched ones; what is left goes on where it was."""
    for name in ("melon", "ottm"):
        metrics.recalled(name, "jwt")
        metrics.provider_request(name, "jwks", "200", 0.1)
        metrics.watch("circuit_state", lambda: 1, idp(name), "closed")
        metrics.watch("jwks_keys", lambda: 2, name)
        metrics.observe(exchange(upstream=name))
    metrics.watch("circuit_state", lambda: 1, REDIS, "closed")
    names = {"route": ["likes"], "provider": ["melon"], "upstream": ["melon"]}
    metrics.configured("d2", 0.0, names)
    metrics.recalled("melon", "jwt")

    left = str(series(registry))
    assert "ottm" not in left
    of = {"provider": "melon", "method": "jwt", "source": "l1", "result": "active"}
    assert 2 == value(registry, "token_validations_total", **of)
    assert 1 == value(registry, "circuit_state", target=REDIS, state="closed")
    assert 1 == value(registry, "circuit_state", target="idp:melon", state="closed")
    assert 1 == value(registry, "upstream_requests_total", upstream="melon", code="200")


def test_a_reload_is_counted_and_whether_it_took(metrics, registry):
    """A refused one leaves the moment of the last good one."""
    before = value(registry, "config_reloads_total", result="failure")
    metrics.reloaded(None)
    failed = value(registry, "config_last_reload_successful")
    since = value(registry, "config_last_reload_success_timestamp_seconds")
    metrics.reloaded(1_800_000_099.0)

    assert (0, 0, 1_800_000_000) == (before, failed, since)
    assert 1 == value(registry, "config_last_reload_successful")
    now = value(registry, "config_last_reload_success_timestamp_seconds")
    assert 1_800_000_099 == now
    for result in ("success", "failure"):
        assert 1 == value(registry, "config_reloads_total", result=result)


def test_the_build_and_the_process_are_told(registry, metrics):
    """What runs, and how much memory it takes."""
    text = generate_latest(registry).decode()

    assert 'gateway_build_info{python="3.11.' in text
    assert "process_resident_memory_bytes" in text
    assert "python_gc_collections_total" in text


def test_every_metric_is_in_the_reference(registry, metrics):
    """What operators look up; nothing there that is not here either."""
    registry.register(UpstreamMetrics(list))
    ours = {
        family.name + "_total" * (family.type == "counter")
        for family in registry.collect()
        if family.name.startswith("gateway_")
    }
    reference = ROOT / "deploy" / "prometheus" / "README.md"
    told = re.findall(r"^\| `(gateway_\w+)` \|", reference.read_text(), re.MULTILINE)

    assert ours | OF_THE_PARENT == set(told)
    assert sorted(set(told)) == sorted(told)


def test_both_text_forms_can_be_read(metrics, registry):
    """Prometheus' own reader finds what was counted, in either form."""
    metrics.observe(exchange())

    families = text_string_to_metric_families(generate_latest(registry).decode())
    names = {family.name for family in families}
    assert {"gateway_http_requests", "gateway_overhead_seconds"} <= names
    encode, _ = choose_encoder("application/openmetrics-text")
    assert encode(registry).endswith(b"# EOF\n")


@settings(deadline=None)  # the library reads the whole registry twice
@given(
    st.lists(
        st.tuples(st.text(), st.text(), st.text(), st.text(), st.floats(), st.text())
    )
)
def test_no_client_can_grow_the_series(requests):
    """Methods, hosts, paths, clients, times and unknown routes make no new labels."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    metrics.configured("d1", 0.0, {"route": ["likes"]})
    for route in ("likes", ""):
        metrics.observe(exchange(method="BREW", route=route))
    before = series(registry)
    for method, host, path, client, seconds, route in requests:
        metrics.observe(
            exchange(
                method=f"X{method}",
                host=host,
                path=path,
                client=client,
                peer=host,
                request_id=path,
                duration=seconds,
                route=f"{route}?",
            )
        )

    assert before == series(registry)
    assert 'method="_OTHER"' in generate_latest(registry).decode()
