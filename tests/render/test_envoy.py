"""Proves what is particular to Envoy; the real one runs in tests/engines."""

from typing import Any

import yaml

from gateway.render import envoy
from tests.render.sites import site


def resources(**changes: str) -> dict[str, Any]:
    """Render a site, and read what Envoy would."""
    told = yaml.safe_load(envoy.render(site(**changes))["envoy.yaml"])
    found: dict[str, Any] = told["static_resources"]
    return found


def manager(told: dict[str, Any]) -> Any:
    """Give the settings of the HTTP connection manager."""
    return told["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]


def routes(told: dict[str, Any]) -> list[Any]:
    """Give the routes of the one virtual host."""
    found: list[Any] = manager(told)["route_config"]["virtual_hosts"][0]["routes"]
    return found


def clusters(told: dict[str, Any]) -> dict[str, Any]:
    """Give the clusters by name."""
    return {each["name"]: each for each in told["clusters"]}


def test_a_failure_is_a_503_and_never_leave():
    """Nor a 403, which is Envoy's own choice."""
    authz, router = manager(resources())["http_filters"]

    assert authz["typed_config"]["failure_mode_allow"] is False
    assert {"code": "ServiceUnavailable"} == authz["typed_config"]["status_on_error"]
    assert authz["typed_config"]["encode_raw_headers"] is True
    assert "envoy.filters.http.router" == router["name"]


def test_without_an_answer_every_request_leads_nowhere():
    """The last route is the one on which the filter asks."""
    told = resources()

    assert {"match": {"prefix": "/"}, "route": {"cluster": "_nowhere"}} == (
        routes(told)[-1]
    )
    assert "load_assignment" not in clusters(told)["_nowhere"]


def test_the_answer_names_the_cluster():
    """Which header it is, no client decides: the answer replaces it."""
    first = routes(resources())[0]

    named = {"name": "x-gateway-upstream", "string_match": {"exact": "api"}}
    assert [named] == first["match"]["headers"]
    assert ["x-gateway-upstream"] == first["request_headers_to_remove"]
    assert "api" == first["route"]["cluster"]


def test_what_is_judged_is_what_is_sent():
    """Nothing is repaired."""
    told = manager(resources())

    assert (False, False, "KEEP_UNCHANGED") == (
        told["normalize_path"],
        told["merge_slashes"],
        told["path_with_escaped_slashes_action"],
    )


def test_the_gateway_takes_over_what_has_a_cluster():
    """And nothing where it cannot."""
    told = resources()
    without = resources(listen="proxy_protocol: [10.0.0.0/8]")
    host = manager(told)["route_config"]["virtual_hosts"][0]
    settings = host["typed_per_filter_config"]["envoy.filters.http.ext_authz"]

    assert {"token_gateway_handover": "_gateway"} == (
        settings["check_settings"]["context_extensions"]
    )
    assert "_gateway" in clusters(told)
    assert "_gateway" not in yaml.safe_dump(without).replace("_gateway_authz", "")


def test_tunnels_and_other_origins_go_to_the_gateway_unasked():
    """It judges them itself, ends the ones, and answers for the others."""
    both = resources(
        route='upgrades: [websocket], cors: {origins: ["https://app.example"]}'
    )
    tunnel, origin = routes(both)[:2]

    assert {"_gateway"} == {each["route"]["cluster"] for each in (tunnel, origin)}
    for each in (tunnel, origin):
        (settings,) = each["typed_per_filter_config"].values()
        assert settings["disabled"] is True
    assert [{"upgrade_type": "websocket", "enabled": False}] == (
        manager(both)["upgrade_configs"]
    )
    assert "upgrade_configs" not in manager(resources())


def test_tls_the_host_and_sockets():
    """As our own relay asks."""
    tls = resources(upstream='targets: ["https://api.internal"], host: api.example')
    socket = resources(upstream='targets: ["unix:/run/api.sock"]')
    context = clusters(tls)["api"]["transport_socket"]["typed_config"]

    assert "api.internal" == context["sni"]
    assert (
        "match_typed_subject_alt_names"
        in (context["common_tls_context"]["validation_context"])
    )
    assert "api.example" == routes(tls)[0]["route"]["host_rewrite_literal"]
    endpoint = clusters(socket)["api"]["load_assignment"]["endpoints"][0]
    assert {"pipe": {"path": "/run/api.sock"}} == (
        endpoint["lb_endpoints"][0]["endpoint"]["address"]
    )


def test_the_access_log_has_no_query():
    """Where a token may be."""
    (log,) = manager(resources())["access_log"]
    text = log["typed_config"]["log_format"]["text_format_source"]["inline_string"]

    assert "%PATH(NQ:PATH)%" in text
    assert "%REQ(:PATH)%" not in text
