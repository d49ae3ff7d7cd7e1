"""Traefik: a router for each route, whose `forwardAuth` asks. Floor 4: pure.

Traefik chooses the upstream before it asks, so its routers say what our routes say, and
the question names the route that was meant: leave is given for no other. It cannot
change a target as it is told. So a token in the query is refused at this door, and a
route that rewrites its path, like one that takes bodies apart or opens tunnels, leads
to the gateway's own listener, as does everything that no router is for.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from gateway.config.addresses import UnixAddress
from gateway.errors import ConfigError
from gateway.render._site import (
    FORWARDED,
    Site,
    comment,
    is_judged_by_head,
    nested,
    one_scheme,
    required,
    server_name,
    usual_warnings,
)
from gateway.rules.routing import parse_pattern
from gateway.values import Origin, Route, UpstreamSettings

_HEAD: Final = """\
token-gateway behind Traefik (3.7.12 or later), by `gateway render traefik`. A starting
point; `traefik.yaml`, beside this, reads it.

Traefik proxies, token-gateway decides about every request (listen.authz). Traefik must
be among `trusted_peers` there, and, so that the requests it hands over keep their
client's address, among `trusted_proxies`.
"""
_STATIC_HEAD: Final = """\
Traefik's static configuration, by `gateway render traefik`:

    traefik --configFile=traefik.yaml
"""
_LOGGED: Final = ", ".join(
    f"{field}: keep"
    for field in (
        "StartUTC",
        "ClientHost",
        "RequestMethod",
        "RequestHost",
        "RouterName",
        "DownstreamStatus",
        "Duration",
        "OriginDuration",
    )
)
_ENTRY: Final = "clients"
_OWN: Final = "token-gateway"


def render(site: Site) -> Mapping[str, str]:
    """Give `traefik.yaml` and `routes.yaml`, which it reads."""
    return {"traefik.yaml": _static(site), "routes.yaml": _dynamic(site)}


def warnings(site: Site) -> Iterable[str]:
    """Tell what is different from the gateway's own listener."""
    yield from usual_warnings(site, "Traefik")
    if site.by_query:
        yield (
            "Traefik cannot take a token out of the query, so tokens in the query are "
            f"refused at that door: {', '.join(site.by_query)}"
        )


def _static(site: Site) -> str:
    limits = site.limits
    return (
        comment(_STATIC_HEAD)
        + "\n"
        + "".join(
            f"{line}\n"
            for line in (
                "entryPoints:",
                f"  {_ENTRY}:",
                f'    address: "{site.listen}"',
                "    transport:",
                "      respondingTimeouts:",
                "        # Bodies may take their time: they are streamed.",
                "        readTimeout: 0",
                f"        idleTimeout: {_seconds(limits.idle_timeout)}",
                "    # What clients say of themselves is not believed.",
                "    forwardedHeaders: {insecure: false, trustedIPs: []}",
                "    http:",
                "      # CGI and its heirs take `_` and `.` for `-`.",
                "      aliasHeadersStrategy: delete",
                "      # What is judged is what is sent: the gateway refuses what two readers",
                "      # could read differently, so nothing is repaired here.",
                "      sanitizePath: false",
                "      encodeQuerySemicolons: true",
                "providers:",
                "  file: {filename: routes.yaml, watch: true}",
                "log: {level: ERROR}",
                "# Without the query and the headers, where tokens may be.",
                "accessLog:",
                "  format: json",
                "  fields:",
                "    defaultMode: drop",
                f"    names: {{{_LOGGED}}}",
                "    headers: {defaultMode: drop}",
                "global: {checkNewVersion: false, sendAnonymousUsage: false}",
            )
        )
    )


def _dynamic(site: Site) -> str:
    required(site.authz, "authz", "Traefik")
    if site.proxy is None or isinstance(site.proxy, UnixAddress):
        problem = (
            "listen.proxy: expected host:port, without tls and proxy_protocol, since "
            "Traefik hands over to it what it cannot do by itself"
        )
        raise ConfigError([problem])
    asked = [route for route in site.routes if _is_asked(route)]
    return "".join(
        [
            comment(_HEAD),
            *(f"#\n# {warning}\n" for warning in warnings(site)),
            "\n",
            "http:\n",
            nested("routers:\n", by=2),
            *(
                nested(*_router(route, priority), by=4)
                for priority, route in enumerate(sorted(site.routes, key=_specific), 2)
            ),
            nested(*_anything_else(), by=4),
            nested("middlewares:\n", by=2),
            *(nested(*_question(site, route), by=4) for route in asked),
            nested(*_hygiene(site), by=4),
            nested("services:\n", by=2),
            *(nested(*_service(each), by=4) for each in site.served.values()),
            nested(*_own_service(site), by=4),
            nested("serversTransports:\n", by=2),
            *(nested(*_transport(each), by=4) for each in site.served.values()),
        ]
    )


def _is_asked(route: Route) -> bool:
    """Tell whether Traefik serves a route by itself."""
    rewritten = route.strip_prefix or route.add_prefix
    return (
        is_judged_by_head(route)
        and not rewritten
        and not route.upgrades
        # Traefik could not put the headers of `cors` into an answer.
        and route.cors is None
    )


# ---------------------------------------------------------------------- routers


def _router(route: Route, priority: int) -> Iterator[str]:
    rule = " && ".join(_conditions(route))
    yield f"{_name(route)}:"
    yield f"  rule: {json.dumps(rule)}"
    yield f"  priority: {priority}"
    yield f"  entryPoints: [{_ENTRY}]"
    if _is_asked(route):
        yield f"  middlewares: [hygiene, {_name(route)}]"
        yield f"  service: {_upstream(route.upstream)}"
    else:
        yield f"  service: {_OWN}"


def _anything_else() -> Iterator[str]:
    yield "# What no route is for: the gateway's own listener refuses it, in full."
    yield f"{_OWN}:"
    yield "  rule: PathPrefix(`/`)"
    yield "  priority: 1"
    yield f"  entryPoints: [{_ENTRY}]"
    yield f"  service: {_OWN}"


def _conditions(route: Route) -> Iterator[str]:
    if route.host.startswith("*."):
        suffix = re.escape(route.host[1:])
        yield f"HostRegexp(`^.+{suffix}$`)"
    elif route.host != "*":
        yield f"Host(`{route.host}`)"
    yield f"PathRegexp(`{_expression(route.path)}`)"
    if route.methods:
        methods = set(route.methods)
        if "GET" in methods:
            methods.add("HEAD")
        named = " || ".join(f"Method(`{method}`)" for method in sorted(methods))
        yield f"({named})" if len(methods) > 1 else named


def _expression(path: str) -> str:
    """Write a pattern as a regular expression over the decoded path."""
    pattern = parse_pattern(path)
    parts = [
        "[^/]+" if literal is None else _escaped(literal)
        for literal in pattern.segments
    ]
    whole = "".join(f"/{part}" for part in parts)
    return f"^{whole}(/.*)?$" if pattern.rest else f"^{whole}/?$"


def _escaped(literal: bytes) -> str:
    # A backquote would end the rule's string; any character is no looser than our
    # own reading, which comes after it.
    return re.escape(literal.decode("utf-8", "replace")).replace("`", ".")


def _specific(route: Route) -> tuple[bool, int, list[int], bool, bool]:
    """Rank as our own look-up does: host, then path by segments, then methods."""
    pattern = parse_pattern(route.path)
    return (
        not route.host.startswith("*"),
        len(route.host),
        [1 if literal is None else 2 for literal in pattern.segments],
        not pattern.rest,
        bool(route.methods),
    )


# ------------------------------------------------------------------ middlewares


def _question(site: Site, route: Route) -> Iterator[str]:
    yield f"{_name(route)}:"
    yield "  forwardAuth:"
    yield f'    address: "http://{site.authz}/traefik/{route.id}"'
    yield "    trustForwardHeader: false"
    yield "    maxResponseBodySize: 65536"
    yield "    # Ours alone: what the answer does not have is taken from the request."
    yield f"    authResponseHeaders: [{', '.join(site.told)}]"
    yield "    authResponseHeadersRegex: ^X-Auth-"


def _hygiene(site: Site) -> Iterator[str]:
    yield "# Never from a client. Without Upgrade, since Traefik would open any tunnel."
    yield "hygiene:"
    yield "  headers:"
    yield "    customRequestHeaders:"
    for name in (*site.blank, *FORWARDED, "Upgrade"):
        yield f'      {name}: ""'


# --------------------------------------------------------------------- services


def _service(upstream: UpstreamSettings) -> Iterator[str]:
    for origin in upstream.origins:
        if origin.scheme == "unix":
            problem = (
                f"upstreams.{upstream.name}.targets: expected no socket, which Traefik "
                "cannot proxy to"
            )
            raise ConfigError([problem])
    if upstream.host:
        problem = (
            f"upstreams.{upstream.name}.host: expected none, since Traefik sends the "
            "client's or the target's"
        )
        raise ConfigError([problem])
    scheme = one_scheme(upstream)
    servers = ", ".join(
        f'{{url: "{scheme}://{_authority(origin)}"}}' for origin in upstream.origins
    )
    yield f"{_upstream(upstream.name)}:"
    yield "  loadBalancer:"
    yield f"    servers: [{servers}]"
    yield "    passHostHeader: true"
    yield f"    serversTransport: {_upstream(upstream.name)}"
    yield "    responseForwarding: {flushInterval: -1ms}"


def _own_service(site: Site) -> Iterator[str]:
    yield "# The gateway's own listener: it judges, and serves, as always."
    yield f"{_OWN}:"
    yield "  loadBalancer:"
    yield f'    servers: [{{url: "http://{site.proxy}"}}]'
    yield "    passHostHeader: true"
    yield "    responseForwarding: {flushInterval: -1ms}"


def _transport(upstream: UpstreamSettings) -> Iterator[str]:
    timeouts, tls = upstream.timeouts, upstream.tls
    yield f"{_upstream(upstream.name)}:"
    yield "  forwardingTimeouts:"
    yield f"    dialTimeout: {_seconds(timeouts.connect)}"
    yield f"    responseHeaderTimeout: {_seconds(timeouts.first_byte)}"
    yield f"    idleConnTimeout: {_seconds(upstream.keepalive)}"
    if one_scheme(upstream) == "https":
        yield f"  serverName: {server_name(upstream)}"
        if tls.ca_file is not None:
            yield f"  rootCAs: [{json.dumps(tls.ca_file)}]"
        if tls.client_cert is not None:
            files = {"certFile": tls.client_cert}
            files["keyFile"] = tls.client_key or tls.client_cert
            yield f"  certificates: [{json.dumps(files)}]"


def _authority(origin: Origin) -> str:
    return origin.authority


def _name(route: Route) -> str:
    # Traefik takes `@` for a provider's name; ours have none, and `.` is quoted.
    return _quoted(f"route-{route.id}")


def _upstream(name: str) -> str:
    return _quoted(f"to-{name}")


def _quoted(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name) else json.dumps(name)


def _seconds(seconds: float) -> str:
    return f"{max(1, round(seconds * 1000))}ms"
