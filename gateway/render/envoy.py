"""Envoy: `ext_authz` over gRPC, and a route for each upstream. Floor 4: pure.

Envoy's routes match nothing but the header in which our answer names the upstream; the
answer has the target too, without a token and rewritten. Before the answer every
request is on the last route, which leads nowhere: without leave nothing is proxied.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from gateway.config.addresses import Address
from gateway.render._site import (
    FORWARDED,
    GATEWAY,
    Site,
    comment,
    nested,
    one_scheme,
    required,
    server_name,
    usual_warnings,
)
from gateway.rules.engine_headers import HANDOVER
from gateway.values import Origin, UpstreamSettings

_HEAD: Final = """\
token-gateway behind Envoy (1.31 or later), by `gateway render envoy`. A starting point:

    envoy --mode validate -c envoy.yaml

Envoy proxies, token-gateway decides about every request (listen.authz_grpc, extra
`grpc`), and says which upstream is asked for what. Envoy must be among `trusted_peers`
there, and, so that the requests it hands over keep their client's address, among
`trusted_proxies`.
"""
_TYPES: Final = "type.googleapis.com/envoy.extensions"
_FILTERS: Final = f"{_TYPES}.filters.http"
_AUTHZ: Final = "_gateway_authz"
_NOWHERE: Final = "_nowhere"
_AUTHORITIES: Final = "/etc/ssl/certs/ca-certificates.crt"
_NOT_BELIEVED: Final = tuple(
    name.lower()
    for name in (*FORWARDED, "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto")
)


def render(site: Site) -> Mapping[str, str]:
    """Give `envoy.yaml`."""
    authz = required(site.authz_grpc, "authz_grpc", "Envoy")
    lines = [
        comment(_HEAD),
        "\nstatic_resources:\n",
        nested("listeners:\n", *_listener(site), by=2),
        nested("clusters:\n", *_authz_cluster(authz), by=2),
        *(nested(*_cluster(each), by=2) for each in site.served.values()),
    ]
    if site.proxy is not None:
        lines.append(nested(*_own_cluster(site.proxy), by=2))
    lines.append(nested(*_nowhere(), by=2))
    lines += ["overload_manager:\n", nested(*_overload(site), by=2)]
    return {"envoy.yaml": "".join(lines)}


def warnings(site: Site) -> Iterable[str]:
    """Tell what is different from the gateway's own listener."""
    yield from usual_warnings(site, "Envoy")
    if site.proxy is None:
        yield (
            "listen.proxy speaks no plain HTTP, so the token, revocation and logout "
            "endpoints, and tunnels, are answered 421 at Envoy"
        )


# --------------------------------------------------------------------- listener


def _listener(site: Site) -> Iterator[str]:
    limits = site.limits
    yield "- name: clients"
    yield f"  address: {_address(site.listen.host, site.listen.port)}"
    yield "  per_connection_buffer_limit_bytes: 65536"
    yield "  filter_chains:"
    yield "  - filters:"
    yield "    - name: envoy.filters.network.http_connection_manager"
    yield "      typed_config:"
    yield nested(
        f'"@type": {_TYPES}.filters.network.http_connection_manager.v3'
        ".HttpConnectionManager",
        "stat_prefix: clients",
        "server_header_transformation: PASS_THROUGH",
        "# What is judged is what is sent: the gateway refuses what two readers could",
        "# read differently, so nothing is repaired here.",
        "normalize_path: false",
        "merge_slashes: false",
        "path_with_escaped_slashes_action: KEEP_UNCHANGED",
        "common_http_protocol_options:",
        "  # CGI and its heirs take `_` for `-`.",
        "  headers_with_underscores_action: DROP_HEADER",
        f"  max_headers_count: {limits.header_count}",
        f"  idle_timeout: {_seconds(limits.idle_timeout)}",
        f"max_request_headers_kb: {-(-limits.header_bytes // 1024)}",
        f"request_headers_timeout: {_seconds(limits.header_timeout)}",
        "stream_idle_timeout: 300s",
        "use_remote_address: true",
        "# What clients say of where they come from is not believed.",
        "early_header_mutation_extensions:",
        "- name: envoy.http.early_header_mutation.header_mutation",
        "  typed_config:",
        f'    "@type": {_TYPES}.http.early_header_mutation.header_mutation.v3'
        ".HeaderMutation",
        "    mutations:",
        *(f"    - remove: {name}" for name in _NOT_BELIEVED),
        *_upgrades(site),
        "# Without the query, where a token may be.",
        "access_log:",
        "- name: envoy.access_loggers.stdout",
        "  typed_config:",
        f'    "@type": {_TYPES}.access_loggers.stream.v3.StdoutAccessLog',
        "    log_format:",
        "      text_format_source:",
        '        inline_string: "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% [%START_TIME%]'
        ' %REQ(:METHOD)% %PATH(NQ:PATH)% %RESPONSE_CODE% %BYTES_SENT% %DURATION%\\n"',
        "route_config:",
        "  # Envoy's own word, which upstreams need not hear.",
        "  request_headers_to_remove: [x-envoy-external-address, x-envoy-internal]",
        "  virtual_hosts:",
        "  - name: all",
        '    domains: ["*"]',
        *_handover(site),
        "    routes:",
        nested(*_routes(site), by=4),
        "http_filters:",
        *_filters(site),
        by=8,
    )


def _upgrades(site: Site) -> Iterator[str]:
    """Allow nothing but on the routes that say so."""
    if site.proxy is not None:
        for protocol in site.upgrades:
            if protocol == site.upgrades[0]:
                yield "upgrade_configs:"
            yield f"- {{upgrade_type: {protocol}, enabled: false}}"


def _handover(site: Site) -> Iterator[str]:
    if site.proxy is not None:
        yield "    # What Envoy must not serve by itself is answered with this cluster."
        yield "    typed_per_filter_config:"
        yield "      envoy.filters.http.ext_authz:"
        yield f'        "@type": {_FILTERS}.ext_authz.v3.ExtAuthzPerRoute'
        yield "        check_settings:"
        yield f"          context_extensions: {{{HANDOVER}: {GATEWAY}}}"


def _routes(site: Site) -> Iterator[str]:
    if site.proxy is not None:
        for protocol in site.upgrades:
            told = json.dumps({"exact": protocol, "ignore_case": True})
            yield "# A tunnel ends with its token: only the gateway itself sees to that."
            yield from _unasked(f"{{name: upgrade, string_match: {told}}}", protocol)
        if site.cross_origin:
            yield "# Preflights, and headers of answers: the gateway itself knows `cors`."
            yield from _unasked("{name: origin, present_match: true}")
    for upstream in site.served.values():
        yield from _route(upstream.name, upstream)
    if site.proxy is not None:
        yield "# What is not judged by heads: the gateway judges it again, and serves it."
        yield from _route(GATEWAY, None)
    yield "# Before the answer, and without one: nowhere. The filter asks on this route."
    yield f"- {{match: {{prefix: /}}, route: {{cluster: {_NOWHERE}}}}}"


def _unasked(header: str, protocol: str = "") -> Iterator[str]:
    """Give requests with this header to the gateway's own listener, which judges."""
    yield "- match:"
    yield "    prefix: /"
    yield f"    headers: [{header}]"
    yield "  route:"
    yield f"    cluster: {GATEWAY}"
    yield "    timeout: 0s"
    if protocol:
        yield "    idle_timeout: 3600s"
        yield f"    upgrade_configs: [{{upgrade_type: {protocol}, enabled: true}}]"
    yield "  typed_per_filter_config:"
    yield "    envoy.filters.http.ext_authz:"
    yield f'      "@type": {_FILTERS}.ext_authz.v3.ExtAuthzPerRoute'
    yield "      disabled: true"


def _route(name: str, upstream: UpstreamSettings | None) -> Iterator[str]:
    exact = json.dumps({"exact": name})
    yield "- match:"
    yield "    prefix: /"
    yield f"    headers: [{{name: x-gateway-upstream, string_match: {exact}}}]"
    yield "  request_headers_to_remove: [x-gateway-upstream]"
    yield "  route:"
    yield f"    cluster: {json.dumps(name)}"
    yield "    # For a whole answer, which may be long; idleness is counted instead."
    yield "    timeout: 0s"
    if upstream is not None:
        idle = max(upstream.timeouts.first_byte, upstream.timeouts.idle)
        yield f"    idle_timeout: {_seconds(idle)}"
        if upstream.host:
            yield f"    host_rewrite_literal: {json.dumps(upstream.host.decode())}"


def _filters(site: Site) -> Iterator[str]:
    yield "- name: envoy.filters.http.ext_authz"
    yield "  typed_config:"
    yield f'    "@type": {_FILTERS}.ext_authz.v3.ExtAuthz'
    yield "    transport_api_version: V3"
    yield "    grpc_service:"
    yield f"      envoy_grpc: {{cluster_name: {_AUTHZ}}}"
    yield "      # Longer than the gateway waits for a provider; it answers in time."
    yield "      timeout: 3s"
    yield "    # No answer is a 503: a 401 would cost clients good tokens."
    yield "    failure_mode_allow: false"
    yield "    status_on_error: {code: ServiceUnavailable}"
    yield "    # The answer chooses the route."
    yield "    clear_route_cache: true"
    yield "    # Header by header and byte for byte: nothing is joined or mended."
    yield "    encode_raw_headers: true"
    yield "    validate_mutations: true"
    yield "- name: envoy.filters.http.router"
    yield "  typed_config:"
    yield f'    "@type": {_FILTERS}.router.v3.Router'
    yield "    suppress_envoy_headers: true"


# --------------------------------------------------------------------- clusters


def _authz_cluster(authz: Address) -> Iterator[str]:
    yield f"- name: {_AUTHZ}"
    yield "  type: STRICT_DNS"
    yield "  connect_timeout: 1s"
    yield "  typed_extension_protocol_options:"
    yield "    envoy.extensions.upstreams.http.v3.HttpProtocolOptions:"
    yield f'      "@type": {_TYPES}.upstreams.http.v3.HttpProtocolOptions'
    yield "      explicit_http_config: {http2_protocol_options: {}}"
    yield "  health_checks:"
    yield "  - {timeout: 1s, interval: 5s, unhealthy_threshold: 3, healthy_threshold: 1,"
    yield "     grpc_health_check: {}}"
    yield "  # Unwell is better than nobody: what cannot be decided is refused anyway."
    yield "  common_lb_config: {healthy_panic_threshold: {value: 100}}"
    yield from _assignment(_AUTHZ, [_address(authz.host, authz.port)])


def _cluster(upstream: UpstreamSettings) -> Iterator[str]:
    places = [_place(origin) for origin in upstream.origins]
    sockets = all(origin.scheme == "unix" for origin in upstream.origins)
    yield f"- name: {json.dumps(upstream.name)}"
    yield f"  type: {'STATIC' if sockets else 'STRICT_DNS'}"
    yield f"  connect_timeout: {_seconds(upstream.timeouts.connect)}"
    count = {"max_connections": upstream.connections, "max_requests": 4096}
    yield f"  circuit_breakers: {{thresholds: [{json.dumps(count)}]}}"
    if one_scheme(upstream) == "https":
        yield from _tls(upstream)
    yield from _assignment(upstream.name, places)


def _own_cluster(proxy: Address) -> Iterator[str]:
    yield f"- name: {GATEWAY}"
    yield "  type: STRICT_DNS"
    yield "  connect_timeout: 1s"
    place = _place(Origin("unix", proxy.host, 0)) if not proxy.port else None
    yield from _assignment(GATEWAY, [place or _address(proxy.host, proxy.port)])


def _nowhere() -> Iterator[str]:
    yield f"- name: {_NOWHERE}"
    yield "  type: STATIC"
    yield "  connect_timeout: 1s"


def _overload(site: Site) -> Iterator[str]:
    yield "resource_monitors:"
    yield "- name: envoy.resource_monitors.global_downstream_max_connections"
    yield "  typed_config:"
    monitor = "resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
    yield f'    "@type": {_TYPES}.{monitor}'
    yield f"    max_active_downstream_connections: {site.limits.connections}"


def _assignment(name: str, places: Iterable[str]) -> Iterator[str]:
    yield "  load_assignment:"
    yield f"    cluster_name: {json.dumps(name)}"
    yield "    endpoints:"
    yield "    - lb_endpoints:"
    for place in places:
        yield f"      - endpoint: {{address: {place}}}"


def _tls(upstream: UpstreamSettings) -> Iterator[str]:
    tls, name = upstream.tls, server_name(upstream)
    trusted = json.dumps(tls.ca_file or _AUTHORITIES)
    yield "  transport_socket:"
    yield "    name: envoy.transport_sockets.tls"
    yield "    typed_config:"
    yield f'      "@type": {_TYPES}.transport_sockets.tls.v3.UpstreamTlsContext'
    yield f"      sni: {json.dumps(name)}"
    yield "      common_tls_context:"
    yield "        validation_context:"
    yield f"          trusted_ca: {{filename: {trusted}}}"
    yield "          match_typed_subject_alt_names:"
    yield f"          - {{san_type: DNS, matcher: {{exact: {json.dumps(name)}}}}}"
    if tls.client_cert is not None:
        chain, key = json.dumps(tls.client_cert), tls.client_key or tls.client_cert
        yield "        tls_certificates:"
        yield f"        - certificate_chain: {{filename: {chain}}}"
        yield f"          private_key: {{filename: {json.dumps(key)}}}"


def _place(origin: Origin) -> str:
    if origin.scheme == "unix":
        return f"{{pipe: {{path: {json.dumps(origin.host)}}}}}"
    return _address(origin.host, origin.port)


def _address(host: str, port: int) -> str:
    return f"{{socket_address: {{address: {json.dumps(host)}, port_value: {port}}}}}"


def _seconds(seconds: float) -> str:
    return f"{max(0.001, seconds):g}s"
