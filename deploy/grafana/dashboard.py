"""Make the Grafana dashboard: `python -m deploy.grafana.dashboard` (`make dashboard`).

The JSON beside this file is what people import; a test of `make test` holds it to what
is here, and `make prometheus-test` has every expression answered by a real Prometheus.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple

from grafana_foundation_sdk.builders import prometheus, stat, timeseries
from grafana_foundation_sdk.builders.common import (
    ReduceDataOptions,
    StackingConfig,
    VizLegendOptions,
)
from grafana_foundation_sdk.builders.dashboard import (
    Dashboard,
    DatasourceVariable,
    QueryVariable,
    ThresholdsConfig,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    DynamicConfigValue,
    GridPos,
    Threshold,
    ThresholdsMode,
    VariableRefresh,
    VariableSort,
)

PLACE: Final = Path(__file__).with_name("token-gateway.json")

PODS: Final = 'namespace=~"$namespace",pod=~"$pod"'
ROUTES: Final = f'{PODS},route=~"$route"'
JOBS: Final = 'namespace=~"$namespace"'
RATE: Final = "[$__rate_interval]"

WIDTH: Final = 8
HEIGHT: Final = 8

_SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")


class Query(NamedTuple):
    """One line, or several, of a panel. `axis`: it has a unit and an axis of its own."""

    expr: str
    legend: str
    unit: str = ""
    axis: bool = False
    exemplars: bool = False


class Panel(NamedTuple):
    """One panel: what it answers, in which unit, and by which queries."""

    title: str
    about: str
    unit: str
    queries: tuple[Query, ...]
    stacked: bool = False
    is_stat: bool = False


def rate(metric: str, by: str, where: str = PODS) -> str:
    """Give how often something happens, by these labels."""
    return f"sum by ({by}) (rate({metric}{{{where}}}{RATE}))"


def quantile(part: float, metric: str, by: str = "", where: str = PODS) -> str:
    """Give a quantile of a histogram, by these labels."""
    labels = f"{by}, le" if by else "le"
    return f"histogram_quantile({part}, {rate(f'{metric}_bucket', labels, where)})"


_CODES: Final = (
    f"sum by (class) (label_replace(rate(gateway_http_requests_total{{{ROUTES}}}{RATE}),"
    ' "class", "${1}xx", "code", "(.).*"))'
)


def _hit_ratio(tier: str) -> str:
    def looked_up(results: str) -> str:
        where = f'{PODS},tier="{tier}",result=~"{results}"'
        return f"sum(rate(gateway_cache_requests_total{{{where}}}{RATE}))"

    return f"{looked_up('hit|negative_hit')} / {looked_up('hit|negative_hit|miss')}"


PANELS: Final = (
    Panel(
        "Requests",
        "By class of status.",
        "reqps",
        (Query(_CODES, "{{class}}"),),
        stacked=True,
    ),
    Panel(
        "Success and error budget",
        "What failed for a reason that is the gateway's, a provider's or the store's;"
        " of a budget of 0.1 %, what the last three days left.",
        "percentunit",
        (
            Query(
                f"1 - max(gateway:requests:error_ratio_rate5m{{{JOBS}}})", "succeeded"
            ),
            Query(
                f"1 - max(gateway:requests:error_ratio_rate3d{{{JOBS}}}) / 0.001",
                "budget left",
            ),
        ),
        is_stat=True,
    ),
    Panel(
        "Latency",
        "To the last byte of the answer, with traces where they are recorded.",
        "s",
        tuple(
            Query(
                quantile(part, "gateway_http_request_duration_seconds", where=ROUTES),
                name,
                exemplars=True,
            )
            for part, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
        ),
    ),
    Panel(
        "Gateway overhead",
        "Without the wait for the upstream's head.",
        "s",
        tuple(
            Query(quantile(part, "gateway_overhead_seconds", where=ROUTES), name)
            for part, name in ((0.5, "p50"), (0.99, "p99"))
        ),
    ),
    Panel(
        "Decisions",
        "And the five most frequent reasons to refuse.",
        "reqps",
        (
            Query(
                rate("gateway_auth_decisions_total", "decision", ROUTES), "{{decision}}"
            ),
            Query(
                "topk(5, "
                + rate(
                    "gateway_auth_decisions_total",
                    "reason",
                    f'{ROUTES},decision="deny"',
                )
                + ")",
                "deny: {{reason}}",
                "reqps",
                axis=True,
            ),
        ),
        stacked=True,
    ),
    Panel(
        "Token validations",
        "Who said what a token is: memory, the store, the provider, or facts in grace.",
        "ops",
        (
            Query(
                rate("gateway_token_validations_total", "source, result"),
                "{{source}} {{result}}",
            ),
        ),
        stacked=True,
    ),
    Panel(
        "Cache",
        "Hits of all look-ups in memory and in the store; what is kept and dropped.",
        "percentunit",
        (
            Query(_hit_ratio("l1"), "memory hits"),
            Query(_hit_ratio("l2"), "store hits"),
            Query(
                f"sum by (tier) (gateway_cache_entries{{{PODS}}})",
                "entries {{tier}}",
                "short",
                axis=True,
            ),
            Query(
                rate("gateway_cache_evictions_total", "tier, reason"),
                "dropped {{tier}} {{reason}}",
                "ops",
                axis=True,
            ),
        ),
    ),
    Panel(
        "Providers",
        "How long they take, and what they fail at.",
        "s",
        (
            Query(
                quantile(
                    0.95, "gateway_idp_request_duration_seconds", "provider, endpoint"
                ),
                "p95 {{provider}} {{endpoint}}",
            ),
            Query(
                rate(
                    "gateway_idp_requests_total",
                    "provider, endpoint, code",
                    f'{PODS},code!~"2..|40."',
                ),
                "{{provider}} {{endpoint}} {{code}}",
                "reqps",
                axis=True,
            ),
        ),
    ),
    Panel(
        "Redis",
        "How long commands take, how they fail, and the connections.",
        "s",
        (
            Query(
                quantile(0.95, "gateway_redis_command_duration_seconds", "op"),
                "p95 {{op}}",
            ),
            Query(
                rate("gateway_redis_errors_total", "kind"), "{{kind}}", "ops", axis=True
            ),
            Query(
                f"sum by (state) (gateway_redis_pool_connections{{{PODS}}})",
                "connections {{state}}",
                "short",
                axis=True,
            ),
        ),
    ),
    Panel(
        "Upstreams and circuits",
        "Latency to the head of the answer, failures, retries; circuits that are not"
        " closed.",
        "s",
        (
            Query(
                quantile(0.95, "gateway_upstream_request_duration_seconds", "upstream"),
                "p95 {{upstream}}",
            ),
            Query(
                rate(
                    "gateway_upstream_requests_total",
                    "upstream, code",
                    f'{PODS},code!~"[1-4].."',
                ),
                "{{upstream}} {{code}}",
                "reqps",
                axis=True,
            ),
            Query(
                rate("gateway_upstream_retries_total", "upstream, reason"),
                "retries {{upstream}} {{reason}}",
                "reqps",
                axis=True,
            ),
            Query(
                "max by (target, state)"
                f' (gateway_circuit_state{{{PODS},state!="closed"}})',
                "{{target}} {{state}}",
                "short",
                axis=True,
            ),
        ),
    ),
    Panel(
        "Limits and requests in flight",
        "Budgets that were looked at, and what they said.",
        "reqps",
        (
            Query(
                rate("gateway_ratelimit_requests_total", "policy, result"),
                "{{policy}} {{result}}",
            ),
            Query(
                f"sum(gateway_http_requests_in_flight{{{PODS}}})",
                "in flight",
                "short",
                axis=True,
            ),
        ),
    ),
    Panel(
        "Runtime",
        "Processor time, memory and the event loop; versions and configurations.",
        "percentunit",
        (
            Query(rate("process_cpu_seconds_total", "pod"), "cpu {{pod}}"),
            Query(
                f"sum by (pod) (process_resident_memory_bytes{{{PODS}}})",
                "memory {{pod}}",
                "bytes",
                axis=True,
            ),
            Query(
                quantile(0.99, "gateway_event_loop_lag_seconds"),
                "loop lag p99",
                "s",
                axis=True,
            ),
            Query(
                f"count by (version) (gateway_build_info{{{PODS}}})",
                "pods of {{version}}",
                "short",
                axis=True,
            ),
            Query(
                f"count by (hash) (gateway_config_info{{{PODS}}})",
                "configuration {{hash}}",
                "short",
                axis=True,
            ),
            Query(
                f"sum by (result) (increase(gateway_config_reloads_total{{{PODS}}}{RATE}))",
                "reloads {{result}}",
                "short",
                axis=True,
            ),
        ),
    ),
)


def dashboard() -> dict[str, Any]:
    """Give the dashboard, as Grafana reads it."""
    board = (
        Dashboard("token-gateway")
        .uid("token-gateway")
        .description("Requests, decisions, and everything a token gateway leans on.")
        .tags(["token-gateway", "oauth2"])
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .refresh("30s")
        .time("now-1h", "now")
        .timezone("browser")
        .with_variable(
            DatasourceVariable("datasource").label("Data source").type("prometheus")
        )
    )
    known = "gateway_build_info"
    for name, query in (
        ("namespace", f"label_values({known}, namespace)"),
        ("pod", f'label_values({known}{{namespace=~"$namespace"}}, pod)'),
        ("route", f"label_values(gateway_http_requests_total{{{PODS}}}, route)"),
    ):
        board = board.with_variable(_variable(name, query))
    for index, panel in enumerate(PANELS):
        board = board.with_panel(_panel(index, panel))
    told: dict[str, Any] = json.loads(JSONEncoder(sort_keys=True).encode(board.build()))
    return told


def written() -> str:
    """Give the file's text."""
    return json.dumps(dashboard(), indent=2, sort_keys=True) + "\n"


def _variable(name: str, query: str) -> QueryVariable:
    return (
        QueryVariable(name)
        .label(name.capitalize())
        .datasource(_SOURCE)
        .query(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        # Also what has no such label: a scrape outside of Kubernetes.
        .all_value(".*")
    )


def _panel(index: int, panel: Panel) -> stat.Panel | timeseries.Panel:
    place = GridPos(x=index % 3 * WIDTH, y=index // 3 * HEIGHT, w=WIDTH, h=HEIGHT)
    board = _stat() if panel.is_stat else _series(panel)
    board = (
        board.id(index + 1)
        .title(panel.title)
        .description(panel.about)
        .datasource(_SOURCE)
        .grid_pos(place)
        .unit(panel.unit)
    )
    for name, query in zip("ABCDEFGH", panel.queries, strict=False):
        target = (
            prometheus.Dataquery()
            .ref_id(name)
            .datasource(_SOURCE)
            .expr(query.expr)
            .legend_format(query.legend)
            .exemplar(query.exemplars)
        )
        board = board.with_target(target.instant() if panel.is_stat else target.range())
        if query.axis:
            board = board.override_by_query(name, _own_axis(query.unit))
    return board


def _own_axis(unit: str) -> list[DynamicConfigValue]:
    return [
        DynamicConfigValue(id_val="unit", value=unit),
        DynamicConfigValue(id_val="custom.axisPlacement", value="right"),
        DynamicConfigValue(id_val="custom.fillOpacity", value=0),
        DynamicConfigValue(
            id_val="custom.stacking", value={"group": "own", "mode": "none"}
        ),
    ]


def _series(panel: Panel) -> timeseries.Panel:
    legend = (
        VizLegendOptions()
        .display_mode(LegendDisplayMode.LIST)
        .placement(LegendPlacement.BOTTOM)
        .show_legend(True)
    )
    board = timeseries.Panel().legend(legend).fill_opacity(10).min(0)
    if panel.stacked:
        board = board.stacking(StackingConfig().mode(StackingMode.NORMAL)).fill_opacity(
            40
        )
    return board


def _stat() -> stat.Panel:
    steps = [
        Threshold(value=None, color="red"),
        Threshold(value=0.5, color="orange"),
        Threshold(value=0.99, color="green"),
    ]
    return (
        stat.Panel()
        .decimals(2)
        .reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
    )


if __name__ == "__main__":
    PLACE.write_text(written())
    sys.stdout.write(f"wrote {PLACE}\n")
