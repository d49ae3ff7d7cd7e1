"""Caddy: a question in `reverse_proxy`, and a block for each upstream. Floor 4: pure.

What our answer names as upstream, Caddy proxies to; it matches no path by itself. The
path is never rewritten: Caddy would decode it first (`%2F` would become a slash), so a
request whose target must change is handed to the gateway's own listener.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from gateway.config.addresses import Address, UnixAddress
from gateway.render._site import (
    Site,
    block,
    comment,
    one_scheme,
    required,
    server_name,
    usual_warnings,
)
from gateway.values import UpstreamSettings

_HEAD: Final = """\
token-gateway behind Caddy (2.8 or later), by `gateway render caddy`. A starting point:

    caddy validate --config Caddyfile

Caddy proxies, token-gateway decides about every request (listen.authz), and says which
upstream is asked. Caddy must be among `trusted_peers` there, and, so that the requests
it hands over keep their client's address, among `trusted_proxies`.
"""


def render(site: Site) -> Mapping[str, str]:
    """Give the `Caddyfile`."""
    authz = required(site.authz, "authz", "Caddy")
    options = block(
        "",
        "admin off",
        "# TLS is what you add: name hosts below instead of a port.",
        "auto_https off",
        "servers {",
        f"    max_header_size {site.limits.header_bytes}",
        "    timeouts {",
        f"        read_header {_seconds(site.limits.header_timeout)}",
        f"        idle {_seconds(site.limits.idle_timeout)}",
        "    }",
        "}",
        "# Errors of proxying are logged with their request; targets stay out of it.",
        _log("log default", "level ERROR"),
    ).lstrip()
    served = block(
        f"http://:{site.listen.port}",
        f"bind {site.listen.host}",
        _log("log", "output stdout"),
        "",
        block("route", *_route(site, str(authz))),
    )
    # As `caddy fmt` writes it.
    tabbed = re.sub(r"(?m)^(?:    )+", _tabs, f"{options}\n{served}")
    return {"Caddyfile": f"{comment(_HEAD)}\n{tabbed}"}


def _tabs(spaces: re.Match[str]) -> str:
    return "\t" * (len(spaces[0]) // 4)


def warnings(site: Site) -> Iterable[str]:
    """Tell what is different from the gateway's own listener."""
    yield from usual_warnings(site, "Caddy")
    if site.by_query:
        yield (
            "Caddy cannot take a token out of the query byte for byte, so tokens in "
            f"the query are refused there: {', '.join(site.by_query)}"
        )
    if site.proxy is None:
        yield (
            "listen.proxy speaks no plain HTTP, so what Caddy must not serve by itself "
            "is answered 421"
        )


def _log(head: str, first: str) -> str:
    """Log without the query and without credentials, which may be tokens."""
    return block(
        head,
        first,
        block(
            "format filter",
            "wrap json",
            block(
                "fields",
                'request>uri regexp "[?].*" ""',
                "request>headers delete",
                "resp_headers delete",
            ),
        ),
    )


def _route(site: Site, authz: str) -> Iterator[str]:
    if site.longest_body:
        yield block("request_body", f"max_size {site.longest_body}")
    if site.upgrades and site.proxy is not None:
        yield "# A tunnel ends with its token: only the gateway itself sees to that."
        protocols = "|".join(re.escape(each) for each in site.upgrades)
        yield f'@tunnel header_regexp Upgrade "(?i)^({protocols})$"'
        yield f"reverse_proxy @tunnel {_dialled(site.proxy)}"
        yield ""
    if site.cross_origin and site.proxy is not None:
        yield "# Preflights, and headers of answers: the gateway itself knows `cors`."
        yield "@cross_origin header Origin *"
        yield f"reverse_proxy @cross_origin {_dialled(site.proxy)}"
        yield ""
    yield "# CGI and its heirs take `_` and `.` for `-`."
    yield "request_header -*_*"
    yield "request_header -*.*"
    yield "# What clients say of how they came; Caddy says it by itself."
    for name in ("Forwarded", "X-Forwarded-*", "X-Real-IP"):
        yield f"request_header -{name}"
    yield "# It could name headers of ours as its own, which Caddy would take out; and"
    yield "# Caddy would open any tunnel."
    yield "request_header -Connection"
    yield "request_header -Upgrade"
    yield ""
    yield block(f"reverse_proxy {authz}", *_question(site))
    for upstream in site.served.values():
        yield f"@to_{upstream.name} vars gateway_upstream {upstream.name}"
        yield block(f"reverse_proxy @to_{upstream.name}", *_proxy(upstream))
    yield "# Nobody was named: nobody is asked."
    yield "respond 503"


def _question(site: Site) -> Iterator[str]:
    yield "method GET"
    yield "rewrite /caddy?"
    yield "header_up X-Forwarded-Method {http.request.orig_method}"
    yield "header_up X-Forwarded-Uri {http.request.orig_uri}"
    yield block("transport http", "dial_timeout 1s", "response_header_timeout 10s")
    yield ""
    if site.proxy is not None:
        yield "# 421: what Caddy must not serve by itself goes to the gateway's listener,"
        yield "# which judges it again, and serves it."
        yield "@misdirected status 421"
        yield block(
            "handle_response @misdirected",
            block(
                f"reverse_proxy {_dialled(site.proxy)}",
                "flush_interval -1",
                block("transport http", "compression off"),
            ),
        )
    yield "@permitted status 200"
    yield block("handle_response @permitted", block("route", *_permitted(site)))
    yield "# Everything else is a refusal, and the client's answer as it stands: at once,"
    yield "# and not after the body that it may still be sending."
    yield "@refused status 1xx 2xx 3xx 4xx 5xx"
    yield block(
        "handle_response @refused",
        "@sending not method GET HEAD",
        "header @sending Connection close",
        "copy_response",
    )


def _permitted(site: Site) -> Iterator[str]:
    yield "# Ours alone: first all that the client may have sent, then the answer's own."
    yield "request_header -X-Auth-*"
    yield "request_header -X-Gateway-*"
    for name in (*site.told, *site.blank):
        if not name.startswith(("X-Auth-", "X-Gateway-")):
            yield f"request_header -{name}"
    for name in site.told:
        value = f"{{rp.header.{name}}}"
        matcher = "@has_" + name.lower().replace("-", "_")
        yield f'{matcher} not vars {value} ""'
        yield f"request_header {matcher} {name} {value}"
    yield "vars gateway_upstream {rp.header.X-Gateway-Upstream}"


def _proxy(upstream: UpstreamSettings) -> Iterator[str]:
    targets = " ".join(
        f"unix/{each.host}" if each.scheme == "unix" else each.authority
        for each in upstream.origins
    )
    timeouts = upstream.timeouts
    yield f"to {targets}"
    yield "flush_interval -1"
    if upstream.host:
        yield f"header_up Host {json.dumps(upstream.host.decode())}"
    yield block("transport http", *_transport(upstream, timeouts.connect))


def _transport(upstream: UpstreamSettings, connect: float) -> Iterator[str]:
    yield f"dial_timeout {_seconds(connect)}"
    yield f"response_header_timeout {_seconds(upstream.timeouts.first_byte)}"
    yield f"max_conns_per_host {upstream.connections}"
    if upstream.keepalive:
        yield f"keepalive {_seconds(upstream.keepalive)}"
    else:
        yield "keepalive off"
    # Else Caddy would ask for gzip in the client's place.
    yield "compression off"
    if one_scheme(upstream) == "https":
        tls = upstream.tls
        yield f"tls_server_name {server_name(upstream)}"
        if tls.ca_file is not None:
            yield block("tls_trust_pool file", json.dumps(tls.ca_file))
        if tls.client_cert is not None:
            key = tls.client_key or tls.client_cert
            files = f"{json.dumps(tls.client_cert)} {json.dumps(key)}"
            yield f"tls_client_auth {files}"


def _dialled(address: Address) -> str:
    """Write an address as Caddy dials it."""
    if isinstance(address, UnixAddress):
        return f"unix/{address.host}"
    return str(address)


def _seconds(seconds: float) -> str:
    return f"{max(1, round(seconds * 1000))}ms"
