"""Count what upstreams do, for Prometheus, and tell what operators should know. Floor 4.

Everything is read from the pools at scrape time: nothing is counted on the way of a
request that the pools do not need themselves. The label `target` is the address as it
is configured; the addresses that a `dns:` target has now are only counted.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from gateway.observe.logs import Log
from gateway.wire.pool import Pool
from gateway.wire.states import PoolState

_TARGET: Final = ("upstream", "target")


class UpstreamLog:
    """Keeps `wire.pool.PoolEvents` by telling the log."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def target(self, upstream: str, target: str, event: str) -> None:
        """Tell that a target is out or in again, or could not be resolved."""
        if event == "well":
            self._log.info("target_well", upstream=upstream, target=target)
        else:
            key = (upstream, target)
            self._log.repeated(f"target_{event}", key, upstream=upstream, target=target)


class UpstreamMetrics:
    """A collector for the registry; `pools` gives those of the moment."""

    def __init__(self, pools: Callable[[], Iterable[Pool]]) -> None:
        self._pools = pools

    def describe(self) -> Iterator[Metric]:
        """Give the names without asking the pools, which may not be there yet."""
        return self._families([])

    def collect(self) -> Iterator[Metric]:
        """Give every metric: what a scrape sees."""
        return self._families([pool.state() for pool in self._pools()])

    def _families(self, states: list[PoolState]) -> Iterator[Metric]:
        waiting = GaugeMetricFamily(
            "gateway_upstream_waiting",
            "Requests that wait for a connection.",
            labels=("upstream",),
        )
        connections = GaugeMetricFamily(
            "gateway_upstream_connections",
            "Connections by what they do; all but the idle ones are outstanding.",
            labels=(*_TARGET, "state"),
        )
        addresses = GaugeMetricFamily(
            "gateway_upstream_addresses",
            "Addresses of a target: serving, ejected for failures, or unwell.",
            labels=(*_TARGET, "state"),
        )
        ejections = CounterMetricFamily(
            "gateway_upstream_ejections_total",
            "Addresses put out for their failures.",
            labels=_TARGET,
        )
        retries = CounterMetricFamily(
            "gateway_upstream_retries_total",
            "Requests sent again: the connection closed, or a target out of reach.",
            labels=("upstream", "reason"),
        )
        unresolved = CounterMetricFamily(
            "gateway_upstream_resolution_failures_total",
            "Names whose addresses could not be learned.",
            labels=_TARGET,
        )
        for state in states:
            waiting.add_metric((state.upstream,), state.waiting)
            for reason, count in state.retries.items():
                retries.add_metric((state.upstream, reason), count)
            for each in state.targets:
                of = (state.upstream, each.target)
                connections.add_metric((*of, "busy"), each.busy)
                connections.add_metric((*of, "idle"), each.idle)
                connections.add_metric((*of, "opening"), each.opening)
                for standing, count in each.addresses.items():
                    addresses.add_metric((*of, standing), count)
                ejections.add_metric(of, each.ejections)
                unresolved.add_metric(of, each.unresolved)
        yield from (waiting, connections, addresses, ejections, retries, unresolved)
