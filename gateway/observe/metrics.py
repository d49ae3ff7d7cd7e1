"""Count what happens, for Prometheus. Floor 4: reads records, touches no request.

Every label is bounded by configuration or by our own vocabulary: `route` is a
configured id or `_unmatched`, `method` a known verb or `_OTHER`, `reason` a `Reason`
(`ok` where nothing was refused), `door` one of ours. Never a path, host, client,
token or address.

Why cells of our own: one exchange moves five counters and three histograms, which
costs 5.5 µs in the library's locked children and 1.5 µs here. The event loop is the
only writer, so nothing needs a lock; a scrape, on any thread, reads copies of the
tables. What is merely *true now* (entries, marks, draining) is read at scrape time.
"""

import platform
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from itertools import accumulate
from typing import Final, Protocol, TypeVar

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from gateway.values import Exchange

UNMATCHED: Final = "_unmatched"
PROXY: Final = "proxy"
OTHER: Final = "_OTHER"
METHODS: Final = frozenset(
    {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE"}
)

REQUEST_SECONDS: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1,
    0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
"""OpenTelemetry's advice for HTTP durations, plus a low end."""

OVERHEAD_SECONDS: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
)  # fmt: skip

READINGS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "http_requests_in_flight": ("Requests begun and not yet answered.", ()),
    "cache_entries": ("Tokens known in a cache tier.", ("tier",)),
    "store_up": ("Whether the shared store answers.", ()),
    "idp_breaker_state": (
        "Whether a provider may be asked: 0 yes, 1 one at a time, 2 not now.",
        ("provider",),
    ),
    "idp_questions": (
        "Questions to a provider under way and waiting for their turn.",
        ("provider", "state"),
    ),
    "revocation_marks": ("Revocation marks in force.", ()),
    "revocations_blind": ("Whether marks of others are not heard of.", ()),
    "revocations_lost": ("Whether that has lasted for max_blind.", ()),
    "revocations_dared_total": ("Requests let on though that was so.", ()),
    "store_evicts": ("Whether the store may forget revocations.", ()),
    "draining": ("Whether the process is on its way out.", ()),
    "connections_refused_total": (
        "Connections refused before HTTP began.",
        ("reason",),
    ),
    "tls_certificate_expiry_timestamp_seconds": ("When our certificate expires.", ()),
    "tls_last_reload_successful": ("Whether its files, as they are, are in force.", ()),
    "log_lines_dropped_total": ("Log lines that could not be written.", ("log",)),
}
"""What `Metrics.watch` can show: what it tells and its labels."""


class Cell:
    """One counter series."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


class Spread:
    """One histogram series: a count per bucket (the last is +Inf) and their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds


Series = TypeVar("Series")


class _Family(Protocol):
    """All series of one metric."""

    def collect(self) -> Metric:
        """Give the metric as the library wants it."""
        ...

    def keep_routes(self, routes: frozenset[str]) -> None:
        """Drop the series of routes that are no longer configured."""
        ...


Family = TypeVar("Family", bound=_Family)


class _Labelled(dict[tuple[str, ...], Series]):
    """Series by label values, made when first asked for."""

    def __init__(
        self, name: str, text: str, labels: tuple[str, ...], make: Callable[[], Series]
    ) -> None:
        super().__init__()
        self.name = f"gateway_{name}"
        self.text = text
        self.labels = labels
        self._make = make

    def __missing__(self, values: tuple[str, ...]) -> Series:
        series = self[values] = self._make()
        return series

    def keep_routes(self, routes: frozenset[str]) -> None:
        if "route" not in self.labels:
            return
        at = self.labels.index("route")
        for values in [values for values in self if values[at] not in routes]:
            del self[values]


class _Counters(_Labelled[Cell]):
    def __init__(self, name: str, text: str, labels: tuple[str, ...]) -> None:
        super().__init__(name, text, labels, Cell)

    def collect(self) -> Metric:
        family = CounterMetricFamily(self.name, self.text, labels=self.labels)
        for values, cell in list(self.items()):
            family.add_metric(values, cell.value)
        return family


class _Histograms(_Labelled[Spread]):
    def __init__(
        self,
        name: str,
        text: str,
        bounds: tuple[float, ...],
        labels: tuple[str, ...],
    ) -> None:
        super().__init__(name, text, labels, lambda: Spread(bounds))
        self._names = [*map(str, bounds), "+Inf"]

    def collect(self) -> Metric:
        family = HistogramMetricFamily(self.name, self.text, labels=self.labels)
        for values, spread in list(self.items()):
            buckets = zip(self._names, accumulate(spread.counts), strict=True)
            family.add_metric(values, list(buckets), spread.total)
        return family


class _Readings(dict[tuple[str, ...], Callable[[], float]]):
    """Series that are read when they are scraped; none until somebody watches."""

    def __init__(self, name: str, text: str, labels: tuple[str, ...]) -> None:
        super().__init__()
        self._name = f"gateway_{name}"
        self._text = text
        self._labels = labels

    def collect(self) -> Metric:
        counts = self._name.endswith("_total")
        kind = CounterMetricFamily if counts else GaugeMetricFamily
        family = kind(self._name, self._text, labels=self._labels)
        for values, read in list(self.items()):
            family.add_metric(values, read())
        return family

    def keep_routes(self, routes: frozenset[str]) -> None:
        """No reading is by route."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """The series that one kind of exchange moves, bound once."""

    requests: Cell
    decisions: Cell
    request_bytes: Cell
    response_bytes: Cell
    duration: Spread
    overhead: Spread
    upstream: Cell | None
    upstream_wait: Spread | None


class Metrics:
    """Keeps `ports.Observer` and the promises of those who report events."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._families: list[_Family] = []
        self._routes: frozenset[str] = frozenset()
        self._ways: dict[tuple[str, str, int, str, str, str], _Way] = {}
        self._recalled: dict[tuple[str, str], tuple[Cell, Cell]] = {}
        self._exchange_families()
        self._event_families()
        self._readings = {
            name: self._add(_Readings(name, text, labels))
            for name, (text, labels) in READINGS.items()
        }
        self._config = self._add(
            _Readings("config_info", "The configuration in force.", ("hash",))
        )
        build = _Readings("build_info", "What is running.", ("version", "python"))
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
        # An alarm that never rang reads 0, so that its first ring is an increase.
        self._seal_alarms = self._counters(
            "seal_alarms_total", "Stored values that did not open: made by others."
        )[()]

    def _counters(self, name: str, text: str, *labels: str) -> _Counters:
        return self._add(_Counters(name, text, labels))

    def _histograms(
        self, name: str, text: str, bounds: tuple[float, ...], *labels: str
    ) -> _Histograms:
        return self._add(_Histograms(name, text, bounds, labels))

    def _add(self, family: Family) -> Family:
        self._families.append(family)
        return family

    # ------------------------------------------------------------- collector

    def collect(self) -> Iterator[Metric]:
        """Give every metric: what a scrape sees."""
        for family in self._families:
            yield family.collect()

    describe = collect

    # ------------------------------------------------------------- state

    def watch(self, name: str, read: Callable[[], float], *labels: str) -> None:
        """Show what `read` tells at every scrape; `name` is one of `READINGS`."""
        self._readings[name][labels] = read

    def configured(self, digest: str, routes: Iterable[str]) -> None:
        """Take note of the configuration in force; other routes' series go."""
        self._routes = frozenset(routes)
        self._config.clear()
        self._config[(digest,)] = lambda: 1
        self._ways.clear()
        for family in self._families:
            family.keep_routes(self._routes | {UNMATCHED})

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
        way.requests.value += 1
        way.decisions.value += 1
        way.request_bytes.value += exchange.request_bytes
        way.response_bytes.value += exchange.response_bytes
        way.duration.add(exchange.duration)
        way.overhead.add(exchange.duration - exchange.upstream_wait)
        if way.upstream is not None and way.upstream_wait is not None:
            way.upstream.value += 1
            way.upstream_wait.add(exchange.upstream_wait)

    def _observe_asked(self, exchange: Exchange) -> None:
        """Count a decision that an engine asked for: what it serves, it counts."""
        route = exchange.route if exchange.route in self._routes else UNMATCHED
        told = exchange.decision, exchange.reason or "ok"
        self._decisions[exchange.door, route, *told].value += 1
        self._asked_duration[exchange.door,].add(exchange.duration)

    def _bind(self, key: tuple[str, str, int, str, str, str]) -> _Way:
        route, method, status, decision, reason, upstream = key
        way = _Way(
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
