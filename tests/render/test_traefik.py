"""Proves what is particular to Traefik; the real one runs in tests/engines."""

import re
from typing import Any

import pytest
import yaml

from gateway.errors import ConfigError
from gateway.render import traefik
from tests.render.sites import site

MORE = "- {id: %s, match: {host: %r, path: %r}, provider: p, upstream: api, %s}"


def http(**changes: str) -> dict[str, Any]:
    """Render a site, and read what Traefik would."""
    told = yaml.safe_load(traefik.render(site(**changes))["routes.yaml"])
    found: dict[str, Any] = told["http"]
    return found


def test_a_router_asks_for_the_route_it_stands_for():
    """Leave is given for no other."""
    told = http()
    router = told["routers"]["route-a"]
    asked = told["middlewares"]["route-a"]["forwardAuth"]

    assert ["hygiene", "route-a"] == router["middlewares"]
    assert "http://127.0.0.1:9092/traefik/a" == asked["address"]
    assert "to-api" == router["service"]
    assert "X-Auth-Subject" in asked["authResponseHeaders"]


@pytest.mark.parametrize(
    "route",
    [
        "strip_prefix: /a",
        "add_prefix: /b",
        "upgrades: [websocket]",
        "cors: {origins: ['https://b.example']}",
    ],
)
def test_what_traefik_cannot_do_goes_to_the_gateway(route):
    """It judges the request, and serves it."""
    router = http(route=route)["routers"]["route-a"]

    assert "token-gateway" == router["service"]
    assert "middlewares" not in router


def test_so_do_guarded_endpoints_and_what_no_route_is_for():
    """The gateway's own words for both."""
    routers = http()["routers"]

    assert "token-gateway" == routers["route-token"]["service"]
    assert ("PathPrefix(`/`)", 1) == (
        routers["token-gateway"]["rule"],
        routers["token-gateway"]["priority"],
    )


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("/a/**", "/a", True),
        ("/a/**", "/a/", True),
        ("/a/**", "/a/b/c", True),
        ("/a/**", "/ab", False),
        ("/a/{x}/c", "/a/b/c", True),
        ("/a/{x}/c", "/a/b/c/", True),
        ("/a/{x}/c", "/a/b/b/c", False),
        ("/a.b", "/axb", False),
        ("/노래", "/노래", True),
        ("/**", "/", True),
        ("/", "/", True),
    ],
)
def test_a_rule_matches_what_the_pattern_does(pattern, path, matches):
    """Over the decoded path, as Traefik reads it."""
    rules = http(more=MORE % ("b", "b.example", pattern, ""))["routers"]["route-b"]
    expression = re.search(r"PathRegexp\(`(.*?)`\)", rules["rule"])

    assert expression
    assert matches == bool(re.search(expression[1], path))


def test_the_most_specific_router_comes_first():
    """Host, then path, then methods, as our own look-up has it."""
    more = "\n  ".join(
        MORE % told
        for told in (
            ("any", "*", "/a/b", ""),
            ("suffix", "*.example", "/a/b", ""),
            ("rest", "a.example", "/a/b/**", ""),
            ("literal", "a.example", "/a/b", ""),
            ("name", "a.example", "/a/{x}", ""),
        )
    )
    routers = http(more=more)["routers"]
    ranked = sorted(routers, key=lambda name: -routers[name]["priority"])

    known = [name.removeprefix("route-") for name in ranked]
    order = ["literal", "rest", "name", "a", "suffix", "any"]
    assert order == [name for name in known if name in order]


def test_get_implies_head_and_hosts_have_their_suffix():
    """As in our own table."""
    routers = http(more=MORE % ("s", "*.example", "/s", ""))["routers"]

    assert "(Method(`GET`) || Method(`HEAD`))" in routers["route-a"]["rule"]
    assert "HostRegexp(`^.+\\.example$`)" in routers["route-s"]["rule"]


def test_upstreams_that_traefik_cannot_ask_are_refused():
    """Rather than asked in another way."""
    for upstream in (
        'targets: ["unix:/run/api.sock"]',
        'targets: ["http://127.0.0.1:1"], host: api.internal',
    ):
        with pytest.raises(ConfigError, match=r"upstreams\.api"):
            traefik.render(site(upstream=upstream))


def test_tls_is_proven():
    """To the name that the target must have."""
    told = http(upstream='targets: ["https://api.internal"]')

    assert "api.internal" == told["serversTransports"]["to-api"]["serverName"]
    assert [{"url": "https://api.internal:443"}] == (
        told["services"]["to-api"]["loadBalancer"]["servers"]
    )


def test_a_listener_to_take_over_is_needed():
    """Traefik can do too little by itself."""
    for listen in ("proxy_protocol: [10.0.0.0/8]", "proxy: 'unix:/run/g.sock'"):
        with pytest.raises(ConfigError, match=r"listen\.proxy"):
            traefik.render(site(listen=listen))


def test_the_access_log_has_no_query_and_no_headers():
    """Only the fields that are named are kept."""
    static = yaml.safe_load(traefik.render(site())["traefik.yaml"])

    fields = static["accessLog"]["fields"]
    assert "drop" == fields["defaultMode"] == fields["headers"]["defaultMode"]
    assert not [name for name in fields["names"] if "Path" in name or "Line" in name]
