"""Count what happens, for Prometheus. Floor 4: reads records, touches no request.

Every label is bounded by configuration or by our own vocabulary: `route` is a
configured id or `_unmatched`, `method` a known verb or `_OTHER`, `reason` a `Reason`
(`ok` where nothing was refused), `door` one of ours. Never a path, host, client,
token or address.

What every metric tells is in `deploy/prometheus/README.md`, which a test compares with
what is here. The series themselves are `observe.series`.
"""

import platform
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from typing import Final, TypeVar

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import Metric

from gateway.observe.series import Counters, Family, Histograms, Reading, Readings
from gateway.observe.tally import Cell, Way
from gateway.values import Exchange

AnyFamily = TypeVar("AnyFamily", bound=Family)

UNMATCHED: Final = "_unmatched"
PROXY: Final = "proxy"
OTHER: Final = "_OTHER"
METHODS: Final = frozenset(
    {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE"}
)

REQUEST_SECONDS: Final[tuple[float, ...]] = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1,
    0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
"""OpenTelemetry's advice for HTTP durations, plus a low end."""

OVERHEAD_SECONDS: Final[tuple[float, ...]] = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
)  # fmt: skip

READINGS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "http_requests_in_flight": ("Requests begun and not yet answered.", ()),
    "cache_entries": ("Tokens known in a cache tier.", ("tier",)),
    "cache_evictions_total": (
        "Entries that were dropped: too old, or no room.",
        ("tier", "reason"),
    ),
    "redis_up": ("Whether the shared store answers.", ()),
    "redis_pool_connections": ("Connections to the shared store.", ("state",)),
    "circuit_state": (
        "What a circuit breaker lets pass: 1 for the state that it is in.",
        ("target", "state"),
    ),
    "idp_questions": (
        "Questions to a provider under way and waiting for their turn.",
        ("provider", "state"),
    ),
    "jwks_keys": ("Keys that tokens of a provider may be signed with.", ("provider",)),
    "jwks_last_refresh_timestamp_seconds": (
        "When they were last fetched.",
        ("provider",),
    ),
    "revocation_marks": ("Revocation marks in force.", ()),
    "revocations_blind": ("Whether marks of others are not heard of.", ()),
    "revocations_lost": ("Whether that has lasted for max_blind.", ()),
    "revocations_dared_total": ("Requests let on though that was so.", ()),
    "store_evicts": ("Whether the store may forget revocations.", ()),
    "config_last_reload_successful": (
        "Whether the configuration last read is in force.",
        (),
    ),
    "config_last_reload_success_timestamp_seconds": (
        "Since when the configuration in force is.",
        (),
    ),
    "draining": ("Whether the process is on its way out.", ()),
    "connections_refused_total": (
        "Connections refused before HTTP began.",
        ("reason",),
    ),
    "admin_refused_total": ("Who was not let in at the admin listener.", ("reason",)),
    "tls_certificate_expiry_timestamp_seconds": (
        "When our certificate expires.",
        ("listener",),
    ),
    "tls_last_reload_successful": (
        "Whether its files, as they are, are in force.",
        ("listener",),
    ),
    "log_lines_dropped_total": ("Log lines that could not be written.", ("log",)),
}
"""What `Metrics.watch` can show: what it tells and its labels."""

REDIS: Final = "redis"
"""The shared store, as the target of a circuit breaker."""


def idp(provider: str) -> str:
    """Name a provider as the target of a circuit breaker."""
    return f"idp:{provider}"


class Metrics:
    """Keeps `ports.Observer` and the promises of those who report events."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._families: list[Family] = []
        self._routes: frozenset[str] = frozenset()
        self._ways: dict[tuple[str, str, int, str, str, str], Way] = {}
        self._recalled: dict[tuple[str, str], tuple[Cell, Cell]] = {}
        self._exchange_families()
        self._event_families()
        self._readings = {
            name: self._add(Readings(name, text, labels))
            for name, (text, labels) in READINGS.items()
        }
        self._config = self._add(
            Readings("config_info", "The configuration in force.", ("hash",))
        )
        build = Readings("build_info", "What is running.", ("version", "python"))
        running = (version("token-gateway"), platform.python_version())
        self._add(build)[running] = lambda: 1
        registry.register(self)
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)

    def _exchange_families(self) -> None:
        self._requests = self._counters(
            "http_requests_total", "Requests answered.", "route", "method", "code"
        )
        self._duration = self._histograms(
            "http_request_duration_seconds",
            "From the first byte of the request to the last of the answer.",
            REQUEST_SECONDS,
            "route",
            "method",
        )
        self._overhead = self._histograms(
            "overhead_seconds",
            "Request duration without the wait for the upstream's head.",
            OVERHEAD_SECONDS,
            "route",
        )
        self._request_bytes = self._counters(
            "http_request_body_bytes_total", "Body bytes read.", "route"
        )
        self._response_bytes = self._counters(
            "http_response_body_bytes_total", "Body bytes sent.", "route"
        )
        self._decisions = self._counters(
            "auth_decisions_total", "Decisions.", "door", "route", "decision", "reason"
        )
        self._asked_duration = self._histograms(
            "decision_duration_seconds",
            "How long engines wait for a decision.",
            OVERHEAD_SECONDS,
            "door",
        )
        self._upstream = self._counters(
            "upstream_requests_total",
            "Requests forwarded; code is the upstream's status or its failure.",
            "upstream",
            "code",
        )
        self._upstream_wait = self._histograms(
            "upstream_request_duration_seconds",
            "From forwarding a request to the upstream's head.",
            REQUEST_SECONDS,
            "upstream",
        )

    def _event_families(self) -> None:
        self._validations = self._counters(
            "token_validations_total",
            "Tokens looked up: who says so, and what.",
            "provider",
            "method",
            "source",
            "result",
        )
        self._provider_requests = self._counters(
            "idp_requests_total",
            "Questions to providers; code is a status or a failure.",
            "provider",
            "endpoint",
            "code",
        )
        self._provider_duration = self._histograms(
            "idp_request_duration_seconds",
            "How long providers take.",
            REQUEST_SECONDS,
            "provider",
            "endpoint",
        )
        self._cache = self._counters(
            "cache_requests_total", "Cache look-ups.", "tier", "result"
        )
        self._coalesced = self._counters(
            "coalesced_requests_total",
            "Requests that shared another's question.",
            "provider",
        )
        self._invalidations = self._counters(
            "cache_invalidations_total", "Tokens forgotten, by who asked.", "source"
        )
        self._rate_limits = self._counters(
            "ratelimit_requests_total",
            "Requests that a limit was asked about.",
            "policy",
            "result",
        )
        self._redis_duration = self._histograms(
            "redis_command_duration_seconds",
            "How long the shared store takes.",
            OVERHEAD_SECONDS,
            "op",
        )
        self._redis_errors = self._counters(
            "redis_errors_total", "Commands that failed, by how.", "kind"
        )
        self._loop_lag = self._histograms(
            "event_loop_lag_seconds",
            "How late the event loop is.",
            OVERHEAD_SECONDS,
        )[()]
        self._reloads = self._counters(
            "config_reloads_total", "Configurations read anew.", "result"
        )
        # An alarm that never rang reads 0, so that its first ring is an increase.
        self._seal_alarms = self._counters(
            "seal_alarms_total", "Stored values that did not open: made by others."
        )[()]
        for result in ("success", "failure"):
            self._reloads[result,].value = 0

    def _counters(self, name: str, text: str, *labels: str) -> Counters:
        return self._add(Counters(name, text, labels))

    def _histograms(
        self, name: str, text: str, bounds: tuple[float, ...], *labels: str
    ) -> Histograms:
        return self._add(Histograms(name, text, bounds, labels))

    def _add(self, family: AnyFamily) -> AnyFamily:
        self._families.append(family)
        return family

    # ------------------------------------------------------------- collector

    def collect(self) -> Iterator[Metric]:
        """Give every metric: what a scrape sees."""
        for family in self._families:
            yield family.collect()

    def describe(self) -> Iterator[Metric]:
        """Give every metric: what a registry asks for to learn the names."""
        return self.collect()

    # ------------------------------------------------------------- state

    def watch(self, name: str, read: Reading, *labels: str) -> None:
        """Show what `read` tells at every scrape; `name` is one of `READINGS`."""
        self._readings[name][labels] = read

    def configured(
        self, digest: str, at: float, names: Mapping[str, Iterable[str]]
    ) -> None:
        """Take note of the configuration in force since `at` (Unix time).

        `names` are those it gives, by label (`route`, `provider`, `upstream`): series
        of other routes, providers and upstreams go, for good.
        """
        kept = {label: frozenset(given) for label, given in names.items()}
        self._routes = kept.get("route", frozenset())
        kept["route"] = self._routes | {UNMATCHED}
        if "provider" in kept:
            kept["target"] = frozenset({REDIS, *map(idp, kept["provider"])})
        self._ways.clear()
        self._recalled.clear()
        for family in self._families:
            family.keep(kept)
        self._config.clear()
        self._config[(digest,)] = lambda: 1
        self._reloaded(at, well=True)

    def reloaded(self, at: float | None) -> None:
        """Count a reload; `at` is since when it is in force, None when it is not."""
        self._reloads["success" if at is not None else "failure",].value += 1
        self._reloaded(at, well=at is not None)

    def _reloaded(self, at: float | None, *, well: bool) -> None:
        self.watch("config_last_reload_successful", lambda: well)
        if at is not None:
            self.watch("config_last_reload_success_timestamp_seconds", lambda: at)

    # ------------------------------------------------------------- exchanges

    def observe(self, exchange: Exchange) -> None:
        """Count one finished exchange."""
        if exchange.door != PROXY:
            self._observe_asked(exchange)
            return
        key = (
            exchange.route if exchange.route in self._routes else UNMATCHED,
            exchange.method if exchange.method in METHODS else OTHER,
            exchange.status,
            exchange.decision,
            exchange.reason,
            exchange.upstream,
        )
        way = self._ways.get(key) or self._bind(key)
        way.count(exchange)

    def _observe_asked(self, exchange: Exchange) -> None:
        """Count a decision that an engine asked for: what it serves, it counts."""
        route = exchange.route if exchange.route in self._routes else UNMATCHED
        told = exchange.decision, exchange.reason or "ok"
        self._decisions[exchange.door, route, *told].value += 1
        self._asked_duration[exchange.door,].add(exchange.duration)

    def exemplify(self, exchange: Exchange) -> None:
        """Name the trace of an exchange that was observed beside its duration."""
        if exchange.door != PROXY or exchange.route not in self._routes:
            return
        method = exchange.method if exchange.method in METHODS else OTHER
        spread = self._duration[exchange.route, method]
        at = exchange.started_at + exchange.duration
        spread.exemplify(exchange.duration, exchange.trace_id, at)

    def _bind(self, key: tuple[str, str, int, str, str, str]) -> Way:
        route, method, status, decision, reason, upstream = key
        way = Way(
            requests=self._requests[route, method, str(status)],
            decisions=self._decisions[PROXY, route, decision, reason or "ok"],
            request_bytes=self._request_bytes[route,],
            response_bytes=self._response_bytes[route,],
            duration=self._duration[route, method],
            overhead=self._overhead[route,],
            upstream=self._bind_upstream(upstream, status, reason),
            upstream_wait=self._upstream_wait[upstream,] if upstream else None,
        )
        self._ways[key] = way
        return way

    def _bind_upstream(self, upstream: str, status: int, reason: str) -> Cell | None:
        if not upstream:
            return None
        # Where it gave no answer the status is ours; how it failed tells more.
        failed = reason.startswith("upstream_")
        code = reason.removeprefix("upstream_") if failed else str(status)
        return self._upstream[upstream, code]

    # ------------------------------------------------------------- events

    def validation(self, provider: str, method: str, source: str, result: str) -> None:
        """Count a token looked up."""
        self._validations[provider, method, source, result].value += 1

    def provider_request(
        self, provider: str, endpoint: str, code: str, seconds: float
    ) -> None:
        """Count one question to a provider and its answer or failure."""
        self._provider_requests[provider, endpoint, code].value += 1
        self._provider_duration[provider, endpoint].add(seconds)

    def cache(self, tier: str, result: str) -> None:
        """Count a cache look-up."""
        self._cache[tier, result].value += 1

    def recalled(self, provider: str, method: str) -> None:
        """Count good facts found in memory: a hit and a validation in one."""
        cells = self._recalled.get((provider, method))
        if cells is None:
            cells = self._recalled[provider, method] = (
                self._cache["l1", "hit"],
                self._validations[provider, method, "l1", "active"],
            )
        cells[0].value += 1
        cells[1].value += 1

    def coalesced(self, provider: str) -> None:
        """Count a request that waited for another's question."""
        self._coalesced[provider,].value += 1

    def seal_alarm(self) -> None:
        """Count a stored value that did not open."""
        self._seal_alarms.value += 1

    def forgotten(self, source: str) -> None:
        """Count a token whose facts were dropped on somebody's word."""
        self._invalidations[source,].value += 1

    def rate_limit(self, policy: str, *, allowed: bool) -> None:
        """Count a request that a limit was asked about."""
        result = "allowed" if allowed else "limited"
        self._rate_limits[policy, result].value += 1

    def store_command(self, operation: str, seconds: float, failure: str) -> None:
        """Count a command of the shared store, and how it failed, if it did."""
        self._redis_duration[operation,].add(seconds)
        if failure:
            self._redis_errors[failure,].value += 1

    def loop_lag(self, seconds: float) -> None:
        """Count by how much the event loop was late."""
        self._loop_lag.add(seconds)

    def tables(self) -> tuple[Counters, Counters, Counters, Histograms]:
        """Give decisions, look-ups, questions and durations, for `observe.counts`."""
        return (
            self._decisions,
            self._validations,
            self._provider_requests,
            self._duration,
        )
