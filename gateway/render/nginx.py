"""nginx: `auth_request` asks, a named location for each upstream proxies. Floor 4: pure.

nginx decides nothing by itself: it has one location, and `try_files` goes on to the
location that our answer names, which asks the upstream for the target that our answer
gives, byte for byte. `auth_request` understands 200, 401 and 403 alone, so a refusal
is asked for a second time, in full; `error_page` with a named location keeps method,
target and body as they were.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from gateway.render._site import (
    FORWARDED,
    GATEWAY,
    Site,
    block,
    comment,
    one_scheme,
    required,
    server_name,
    usual_warnings,
)
from gateway.values import UpstreamSettings

_DECIDE: Final = "/.token-gateway/decide"
_NOTHING: Final = "/.token-gateway/nothing"
_AUTHORITIES: Final = "/etc/ssl/certs/ca-certificates.crt"
_KEPT: Final = "/dev/shm/token-gateway-decisions"  # noqa: S108 -- made by nginx, 0700
_ANSWER_BYTES: Final = "64k"
"""For an answer with a target of 8 KiB and as much of identity, and their lines."""

_HEAD: Final = """\
token-gateway behind nginx (1.19 or later), by `gateway render nginx`. A starting point:

    nginx -t -c FILE

nginx proxies, token-gateway decides about every request (listen.authz), and says which
upstream is asked for what. nginx must be among `trusted_peers` there, and, so that the
requests it hands over keep their client's address, among `trusted_proxies`.
"""


def render(site: Site) -> Mapping[str, str]:
    """Give `nginx.conf`."""
    authz = required(site.authz, "authz", "nginx")
    limits = site.limits
    http = block(
        "http",
        "# Without the query, where a token may be; nor is there a Referer.",
        'map $request_uri $gateway_path { "~^([^?]*)" $1; }',
        "log_format gateway '$remote_addr [$time_iso8601] \"$request_method "
        "$gateway_path\" $status $body_bytes_sent $request_time $gateway_x_request_id';",
        "access_log /dev/stdout gateway;",
        "",
        "server_tokens off;",
        "# What is not a letter, digit or `-` is dropped: CGI takes `_` for `-`.",
        "ignore_invalid_headers on;",
        "underscores_in_headers off;",
        f"large_client_header_buffers 4 {_kilobytes(limits.header_bytes)};",
        f"client_header_timeout {_seconds(limits.header_timeout)};",
        f"client_body_timeout {_seconds(limits.body_timeout)};",
        f"keepalive_timeout {_seconds(limits.idle_timeout)};",
        f"send_timeout {_seconds(limits.write_timeout)};",
        f"client_max_body_size {site.longest_body};",
        "",
        "# Bodies are streamed both ways: nothing is written to disk.",
        "proxy_http_version 1.1;",
        "proxy_request_buffering off;",
        "proxy_max_temp_file_size 0;",
        "proxy_redirect off;",
        "# No upstream says which of the locations below is next.",
        "proxy_ignore_headers X-Accel-Redirect X-Accel-Expires X-Accel-Charset "
        "X-Accel-Limit-Rate;",
        "",
        *_cache(site),
        block("upstream _gateway_authz", f"server {authz};", "keepalive 64;"),
        *_own_upstream(site),
        *(f"{_upstream(each)}" for each in site.served.values()),
        block("server", *_server_lines(site)),
    )
    return {
        "nginx.conf": "".join(
            [
                comment(_HEAD),
                "\n",
                "worker_processes auto;\n",
                "# Lower levels tell of requests with their whole target: token and all.\n",
                "error_log stderr alert;\n",
                block("events", "worker_connections 4096;"),
                "\n",
                http,
            ]
        )
    }


def warnings(site: Site) -> Iterable[str]:
    """Tell what is different from the gateway's own listener."""
    yield from usual_warnings(site, "nginx")
    if site.proxy is None:
        yield (
            "listen.proxy speaks no plain HTTP, so the token, revocation and logout "
            "endpoints, and tunnels, are answered 421 at nginx"
        )


def _server_lines(site: Site) -> Iterator[str]:
    names = " ".join(site.hosts) or "_"
    yield f"listen {site.listen} default_server;"
    yield f"server_name {names};"
    yield "# Nothing is served from here: `try_files` only finds the next location."
    yield "root /var/empty;"
    yield "# A refusal may lead on: see 421 below."
    yield "recursive_error_pages on;"
    yield ""
    yield block("location /", *_entrance(site))
    yield block(
        f"location = {_DECIDE}",
        "internal;",
        "proxy_pass http://_gateway_authz/nginx;",
        "proxy_pass_request_body off;",
        'proxy_set_header Content-Length "";',
        *_question(),
        *_keeping(site),
    )
    for name, hidden in (("challenged", "WWW-Authenticate"), ("refused", "")):
        yield block(
            f"location @{name}",
            "# The words of the refusal. What the client is still sending is not kept.",
            "rewrite ^ /nginx/refusal? break;",
            "proxy_pass http://_gateway_authz;",
            *(
                [
                    "# Of a 401 auth_request hands the challenge on by itself.",
                    f"proxy_hide_header {hidden};",
                ]
                if hidden
                else []
            ),
            *_question(),
            *_misdirected(site),
        )
    yield block(
        "location @unavailable",
        "# No decision could be had. A 401 would cost the client a good token.",
        "internal;",
        "default_type application/json;",
        "add_header Cache-Control no-store always;",
        "add_header Retry-After 1 always;",
        'return 503 \'{"error": "temporarily_unavailable"}\';',
    )
    if site.proxy is not None:
        yield block(
            "location @token_gateway",
            "# The gateway's own listener judges the request again, and serves it.",
            f"proxy_pass http://{GATEWAY}$request_uri;",
            "proxy_set_header Host $http_host;",
            "proxy_set_header Connection $gateway_connection;"
            if site.upgrades
            else 'proxy_set_header Connection "";',
            *(["proxy_set_header Upgrade $http_upgrade;"] if site.upgrades else []),
            *_forwarded(),
            *([] if not site.upgrades else ["proxy_read_timeout 1h;"]),
        )
    for upstream in site.served.values():
        yield block(f"location @to_{upstream.name}", *_proxy(site, upstream))


def _entrance(site: Site) -> Iterator[str]:
    if site.proxy is not None and (site.upgrades or site.cross_origin):
        yield "error_page 418 = @token_gateway;"
    if site.proxy is not None and site.upgrades:
        yield "# A tunnel ends with its token: only the gateway itself sees to that."
        yield "if ($gateway_tunnel) { return 418; }"
    if site.proxy is not None and site.cross_origin:
        yield "# Preflights, and headers of answers: the gateway itself knows `cors`."
        yield "if ($http_origin) { return 418; }"
    yield f"auth_request {_DECIDE};"
    yield "auth_request_set $gateway_upstream $upstream_http_x_gateway_upstream;"
    yield "auth_request_set $gateway_target $upstream_http_x_gateway_target;"
    for name in site.told:
        yield f"auth_request_set {_variable(name)} $upstream_http_{_folded(name)};"
    yield "error_page 401 = @challenged;"
    yield "error_page 403 = @refused;"
    yield "error_page 500 = @unavailable;"
    yield f"try_files {_NOTHING} @to_$gateway_upstream;"


def _question() -> Iterator[str]:
    """Ask: the headers that are the client's, and those of nginx once each."""
    yield "proxy_method GET;"
    yield 'proxy_set_header Connection "";'
    yield "proxy_set_header Host $http_host;"
    yield "proxy_set_header X-Original-URI $request_uri;"
    yield "proxy_set_header X-Original-Method $request_method;"
    yield from _forwarded(host=False)
    yield f"proxy_buffer_size {_ANSWER_BYTES};"
    yield f"proxy_buffers 4 {_ANSWER_BYTES};"
    yield "proxy_connect_timeout 1s;"
    yield "# Longer than the gateway waits for a provider."
    yield "proxy_read_timeout 10s;"


def _cache(site: Site) -> Iterator[str]:
    if site.keeps:
        yield "# Tokens are in the keys of what is kept, so it is kept in memory alone, in"
        yield "# a folder that nginx makes for itself (0700)."
        yield (
            f"proxy_cache_path {_KEPT} levels=1:2 keys_zone=decisions:8m max_size=64m "
            "inactive=60s use_temp_path=off;"
        )


def _keeping(site: Site) -> Iterator[str]:
    if site.keeps:
        told = ("$http_authorization", "$http_referer")
        devices = (f"$http_{_folded(name)}" for name in site.devices)
        request = ("$scheme", "$request_method", "$http_host", "$request_uri")
        key = "\\n".join((*request, *told, *devices))
        yield "# Leave is kept for as long as it says (decisions.max_age), refusals never."
        yield "# A line end parts what no header can hold one in."
        yield "proxy_cache decisions;"
        yield f'proxy_cache_key "{key}";'


def _misdirected(site: Site) -> Iterator[str]:
    if site.proxy is not None:
        yield "# 421: what nginx must not serve by itself is handed over."
        yield "proxy_intercept_errors on;"
        yield "error_page 421 = @token_gateway;"


def _proxy(site: Site, upstream: UpstreamSettings) -> Iterator[str]:
    timeouts = upstream.timeouts
    host = '"' + upstream.host.decode() + '"' if upstream.host else "$http_host"
    yield f"proxy_pass {one_scheme(upstream)}://{upstream.name}$gateway_target;"
    yield f"proxy_connect_timeout {_seconds(timeouts.connect)};"
    yield f"proxy_read_timeout {_seconds(max(timeouts.first_byte, timeouts.idle))};"
    yield "proxy_buffering off;"
    yield f"proxy_set_header Host {host};"
    yield 'proxy_set_header Connection "";'
    yield "# Ours alone: what the answer does not have is empty, and not sent."
    for name in site.told:
        yield f"proxy_set_header {name} {_variable(name, keeps=site.keeps)};"
    yield "# Never from a client."
    for name in site.blank:
        yield f'proxy_set_header {name} "";'
    yield from _forwarded()
    yield "proxy_hide_header X-Request-Id;"
    number = _variable("X-Request-Id", keeps=site.keeps)
    yield f"add_header X-Request-Id {number} always;"
    if one_scheme(upstream) == "https":
        yield from _tls(upstream)


def _forwarded(*, host: bool = True) -> Iterator[str]:
    yield "proxy_set_header X-Forwarded-For $remote_addr;"
    yield "proxy_set_header X-Forwarded-Proto $scheme;"
    yield f"proxy_set_header X-Forwarded-Host {'$http_host' if host else _EMPTY};"
    for name in FORWARDED:
        yield f"proxy_set_header {name} {_EMPTY};"


_EMPTY: Final = '""'


def _tls(upstream: UpstreamSettings) -> Iterator[str]:
    tls = upstream.tls
    yield "proxy_ssl_verify on;"
    yield "proxy_ssl_verify_depth 4;"
    yield f"proxy_ssl_trusted_certificate {tls.ca_file or _AUTHORITIES};"
    yield "proxy_ssl_server_name on;"
    yield f"proxy_ssl_name {server_name(upstream)};"
    if tls.client_cert is not None:
        yield f"proxy_ssl_certificate {tls.client_cert};"
        yield f"proxy_ssl_certificate_key {tls.client_key or tls.client_cert};"


def _upstream(upstream: UpstreamSettings) -> str:
    servers = (
        f"server {_origin(upstream, number)} max_conns={upstream.connections};"
        for number in range(len(upstream.origins))
    )
    idle = f"keepalive_timeout {_seconds(upstream.keepalive)};"
    kept = ["keepalive 64;", idle] if upstream.keepalive else []
    return block(f"upstream {upstream.name}", *servers, *kept)


def _origin(upstream: UpstreamSettings, number: int) -> str:
    origin = upstream.origins[number]
    return f"unix:{origin.host}" if origin.scheme == "unix" else origin.authority


def _own_upstream(site: Site) -> Iterator[str]:
    if site.proxy is None:
        return
    yield block(f"upstream {GATEWAY}", f"server {site.proxy};", "keepalive 16;")
    if site.upgrades:
        yield block(
            "map $http_upgrade $gateway_tunnel",
            "default 0;",
            *(f"~*^{re.escape(protocol)}$ 1;" for protocol in site.upgrades),
        )
        yield block("map $gateway_tunnel $gateway_connection", '0 "";', "1 upgrade;")


def _variable(name: str, *, keeps: bool = False) -> str:
    # An answer that was kept has the number of another request.
    if keeps and name == "X-Request-Id":
        return "$request_id"
    return f"$gateway_{_folded(name)}"


def _folded(name: str) -> str:
    return name.lower().replace("-", "_")


def _seconds(seconds: float) -> str:
    return f"{max(1, round(seconds * 1000))}ms"


def _kilobytes(count: int) -> str:
    return f"{max(8, -(-count // 1024))}k"
