"""The rules as they are committed, and cases that every alert is tried with."""

from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

ROOT: Final = Path(__file__).parent.parent.parent
FOLDER: Final = ROOT / "deploy" / "prometheus"
FILES: Final = (FOLDER / "recording.yml", FOLDER / "alerts.yml")

Series = dict[str, str]
"""Values by series, in promtool's notation: one a minute."""


def rules() -> list[dict[str, Any]]:
    """Give every rule of both files."""
    return [
        rule
        for path in FILES
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]


def alerts() -> dict[str, dict[str, Any]]:
    """Give the alerts by name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


class Case(NamedTuple):
    """What sets an alert off, and what is too little for it; `at`: when it is on.

    `early` is a moment at which it must not be on yet.
    """

    fires: Series
    quiet: Series
    at: str
    early: str = "1m"
    every: str = "1m"


JOB: Final = 'namespace="shop",job="gw"'
ONE: Final = f'{JOB},instance="a:9090",pod="a"'


def decided(decision: str, reason: str, values: str) -> Series:
    """Give the counter of one kind of decision."""
    labels = f'{ONE},door="proxy",route="r",decision="{decision}",reason="{reason}"'
    return {f"gateway_auth_decisions_total{{{labels}}}": values}


def errors(failed: int, *, of: int, reason: str = "provider_unavailable") -> Series:
    """Let so many of so many requests a minute fail, for days."""
    return {
        **decided("allow", "ok", f"0+{of - failed}x6000"),
        **decided("error", reason, f"0+{failed}x6000"),
    }


def asked(good: int, bad: int, code: str = "timeout") -> Series:
    """Let so many questions a minute be answered, and so many not."""
    labels = f'{ONE},provider="acme",endpoint="introspect"'
    name = "gateway_idp_requests_total"
    return {
        f'{name}{{{labels},code="200"}}': f"0+{good}x100",
        f'{name}{{{labels},code="{code}"}}': f"0+{bad}x100",
    }


def gauge(name: str, values: str, more: str = "") -> Series:
    """Give one gauge or counter of an instance."""
    return {f"gateway_{name}{{{ONE}{more}}}": values}


def looked_up(hits: int, misses: int, requests: int) -> Series:
    """Let so many tokens a minute be known, and so many not."""
    return {
        **gauge("cache_requests_total", f"0+{hits}x100", ',tier="l1",result="hit"'),
        **gauge("cache_requests_total", f"0+{misses}x100", ',tier="l1",result="miss"'),
        **gauge("http_requests_total", f"0+{requests}x100", ',route="r",code="200"'),
    }


def late(bucket: str) -> Series:
    """Let all timers be late by as much."""
    bounds = ("0.05", "0.1", "0.25", "+Inf")
    name = "event_loop_lag_seconds_bucket"
    return {
        series: values
        for bound in bounds
        for series, values in gauge(
            name,
            f"0+{240 * (float(bound) >= float(bucket))}x100",
            f',le="{bound}"',
        ).items()
    }


def keys(fetched_at: str, tokens: int) -> Series:
    """Let keys be of that age, and so many tokens a minute be looked up."""
    provider = ',provider="acme"'
    return {
        **gauge("jwks_last_refresh_timestamp_seconds", fetched_at, provider),
        **gauge(
            "token_validations_total", f"0+{tokens}x500", f'{provider},source="l1"'
        ),
    }


CASES: Final[dict[str, Case]] = {
    "GatewayErrorBudgetBurnFast": Case(errors(2, of=100), errors(1, of=100), "70m"),
    "GatewayErrorBudgetBurnMedium": Case(
        errors(7, of=1000), errors(5, of=1000), "60m", early="10m"
    ),
    "GatewayErrorBudgetBurnSlow": Case(
        errors(40, of=10_000),
        errors(5, of=10_000) | decided("error", "client_gone", "0+900x6000"),
        "26h",
        early="50m",
        every="5m",
    ),
    "GatewayIdpDown": Case(asked(2, 3), asked(3, 2), "10m"),
    "GatewayServingStale": Case(
        gauge("token_validations_total", "0+1x50", ',provider="acme",source="stale"'),
        gauge("token_validations_total", "0+1x50", ',provider="acme",source="l1"'),
        "10m",
        early="4m",
    ),
    "GatewayCircuitOpen": Case(
        # It tries now and then, and is half-open when it is looked at.
        gauge(
            "circuit_state", "1 0 1 1 0 1 1 0 1 1 0 1", ',target="redis",state="open"'
        ),
        gauge(
            "circuit_state", "1 0 0 0 0 1 0 0 0 0 0 0", ',target="redis",state="open"'
        ),
        "8m",
        early="4m",
    ),
    "GatewayJwksStale": Case(
        keys("0x500", 1), keys("0x500", 0), "390m", early="365m", every="5m"
    ),
    "GatewayRedisDown": Case(
        gauge("redis_up", "1 0 0 0 0 0 0"), gauge("redis_up", "1 0 1 0 1 0 1"), "5m"
    ),
    "GatewayRevocationsBlind": Case(
        gauge("revocations_blind", "0 1 1 1 1"),
        gauge("revocations_blind", "0 1 0 1 0"),
        "3m",
    ),
    "GatewayStoreEvicts": Case(
        gauge("store_evicts", "1x20"), gauge("store_evicts", "0x20"), "6m", early="4m"
    ),
    "GatewaySealAlarm": Case(
        gauge("seal_alarms_total", "0 0 0 1 1 1"),
        gauge("seal_alarms_total", "7 7 7 7 7 7"),
        "5m",
    ),
    "GatewayCacheHitRatioLow": Case(
        # The same ratio is nobody's concern where there is hardly any traffic.
        looked_up(40, 60, 100),
        looked_up(40, 60, 10),
        "25m",
        early="14m",
    ),
    "GatewayDenialsSpike": Case(
        decided("deny", "inactive", "0+1x60 60+90x40")
        | decided("allow", "ok", "0+100x100"),
        decided("deny", "inactive", "0+50x100") | decided("allow", "ok", "0+100x100"),
        "80m",
        early="70m",
    ),
    "GatewayConfigReloadFailed": Case(
        gauge("config_last_reload_successful", "1 0x20"),
        gauge("config_last_reload_successful", "1 0 0 1x20"),
        "8m",
        early="5m",
    ),
    "GatewayEventLoopLag": Case(late("0.25"), late("0.05"), "15m", early="9m"),
    "GatewayWorkerRestarts": Case(
        gauge("worker_restarts_total", "0 0 1 1 1"),
        gauge("worker_restarts_total", "3 3 3 3 3"),
        "4m",
    ),
    "GatewayCertificateExpiry": Case(
        gauge("tls_certificate_expiry_timestamp_seconds", "604800x100"),
        gauge("tls_certificate_expiry_timestamp_seconds", "700000x100"),
        "70m",
        early="59m",
    ),
}


def promtool_tests(every: str) -> dict[str, Any]:
    """Give the unit tests of all cases with this step, as promtool reads them."""
    tests = []
    for name, case in CASES.items():
        if case.every != every:
            continue
        firing = f'count(ALERTS{{alertname="{name}",alertstate="firing"}})'
        on = [{"labels": "{}", "value": 1}]
        for told, series, expected in (
            ("fires", case.fires, {case.at: on, case.early: []}),
            ("is quiet", case.quiet, {case.at: []}),
        ):
            tests.append(
                {
                    "name": f"{name} {told}",
                    "interval": every,
                    "input_series": [
                        {"series": key, "values": values}
                        for key, values in series.items()
                    ],
                    "promql_expr_test": [
                        {"expr": firing, "eval_time": when, "exp_samples": samples}
                        for when, samples in expected.items()
                    ],
                }
            )
    return {
        "rule_files": list(map(str, FILES)),
        "evaluation_interval": every,
        "tests": tests,
    }
