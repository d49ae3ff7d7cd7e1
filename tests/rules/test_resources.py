"""Proves what a resource says of itself, and which routes say where (RFC 9728)."""

import json
from dataclasses import replace
from typing import Any

import pytest

from gateway.rules.resources import (
    answer,
    belongs,
    described,
    host_of,
    metadata_path,
    metadata_url,
)
from gateway.values import (
    Access,
    Cors,
    Requirements,
    Resource,
    Route,
    RouteKind,
    TokenPlace,
)
from tests.rules.heads import head

ORDERS = Resource(url="https://api.example/orders", name="Orders")
WHOLE = Resource(url="https://api.example")
WELL = "/.well-known/oauth-protected-resource"


def about(resource: Resource, name: str) -> Route:
    """Make the route that describes it."""
    kind = RouteKind.PROTECTED_RESOURCE
    return Route(id=name, kind=kind, access=Access.PUBLIC, resource=resource)


def api(path: str, host: str = "api.example", **more: Any) -> Route:
    """Make a route whose id is its path."""
    return Route(**{"id": path, "path": path, "host": host, "provider": "p", **more})


def needing(*scopes: str) -> Requirements:
    """Demand one of these scope sets."""
    return Requirements(scopes=tuple(frozenset(each.split()) for each in scopes))


def told(routes: list[Route], name: str, **issuers: str) -> dict[str, Any]:
    """Give the document of a resource."""
    [route] = [each for each in described(routes, issuers) if each.id == name]
    document: dict[str, Any] = json.loads(route.document)
    return document


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://api.example", WELL),
        ("https://api.example/orders", WELL + "/orders"),
        ("https://api.example:8443/a/b", WELL + "/a/b"),
    ],
)
def test_metadata_are_at_the_well_known_place(url, path):
    """RFC 9728 §3.1: between the host and the resource's own path."""
    assert path == metadata_path(url)
    assert url[: url.index("/", 8) if "/" in url[8:] else None] + path == (
        metadata_url(url)
    )
    assert "api.example" == host_of(url)


def test_they_say_what_the_routes_do():
    """Scopes, places of the token, and who issues it; nothing of other routes."""
    routes = [
        about(ORDERS, "m"),
        api("/orders/**", require=needing("read write", "admin")),
        api("/orders/{id}/x", token_from=frozenset(TokenPlace), provider="q"),
        api("/orders/free", access=Access.PUBLIC, require=needing("never")),
        api("/other", require=needing("other")),
        api("/orders", host="b.example", require=needing("elsewhere")),
        api("/orders/token", kind=RouteKind.OAUTH_TOKEN, require=needing("no")),
    ]

    assert {
        "resource": "https://api.example/orders",
        "resource_name": "Orders",
        "authorization_servers": ["https://p.example", "https://q.example"],
        "scopes_supported": ["admin", "read", "write"],
        "bearer_methods_supported": ["header", "query"],
    } == told(routes, "m", p="https://p.example", q="https://q.example", r="x")


def test_what_is_not_known_is_left_out():
    """RFC 9728 §2: no empty members; what is given is not guessed."""
    given = replace(
        ORDERS,
        name="",
        documentation="https://docs.example",
        authorization_servers=("https://as.example",),
    )

    assert {
        "resource": "https://api.example/orders",
        "authorization_servers": ["https://as.example"],
        "bearer_methods_supported": ["header"],
        "resource_documentation": "https://docs.example",
    } == told([about(given, "m"), api("/orders/a")], "m", p="https://p.example")
    assert {"resource": "https://api.example"} == told([about(WHOLE, "m")], "m")


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        (api("/orders"), True),
        (api("/orders/**"), True),
        (api("/orders/{id}"), True),
        (api("/orders/**", access=Access.OPTIONAL), True),
        (api("/orders/**", host="*"), True),
        (api("/orders/**", host="*.example"), True),
        (api("/%6Frders/a"), True),
        (api("/**"), False),
        (api("/{any}/a"), False),
        (api("/ordersx"), False),
        (api("/orders", host="*.other"), False),
        (api("/orders", host="example"), False),
        (api("/orders", access=Access.PUBLIC), False),
        (api("/orders", kind=RouteKind.OAUTH_USERINFO), False),
    ],
)
def test_a_route_belongs_where_its_host_and_path_begin(route, expected):
    """Segment by segment; a wider route is no part of a narrower resource."""
    assert expected == belongs(route, ORDERS)


def test_challenges_name_the_nearest_resource():
    """The longest of those a route belongs to."""
    routes = [
        about(WHOLE, "w"),
        about(ORDERS, "o"),
        api("/orders/a", require=needing("o")),
        api("/else", require=needing("e")),
        api("/free", access=Access.PUBLIC),
    ]
    named = {route.id: route.metadata for route in described(routes, {})}

    assert {
        "w": "",
        "o": "",
        "/orders/a": f"https://api.example{WELL}/orders",
        "/else": f"https://api.example{WELL}",
        "/free": "",
    } == named
    assert ["e"] == told(routes, "w")["scopes_supported"]
    assert ["o"] == told(routes, "o")["scopes_supported"]


def test_between_two_hosts_no_route_chooses():
    """A route for any host would name the wrong one to half of its clients."""
    other = Resource(url="https://b.example/orders")
    routes = [about(ORDERS, "a"), about(other, "b"), api("/orders/x", host="*")]

    assert "" == described(routes, {})[2].metadata


def test_without_resources_nothing_is_touched():
    """The usual case."""
    routes = [api("/a"), api("/b")]

    assert routes == described(routes, {})


def test_any_page_may_read_them_unless_the_route_says_which():
    """They are public; a browser's client needs them first of all."""
    route = replace(about(ORDERS, "m"), document=b"{}")
    some = Cors(
        origins=frozenset({"https://app.example"}),
        methods=frozenset({"GET"}),
        headers=frozenset(),
    )
    asked = head("GET", b"/", (b"origin", b"https://evil.example"))
    plain, strict = answer(route, asked), answer(replace(route, cors=some), asked)

    assert (200, b"{}") == (plain.status, plain.body)
    assert (b"access-control-allow-origin", b"*") in plain.headers
    assert (b"content-type", b"application/json") in plain.headers
    assert b"access-control-allow-origin" not in dict(strict.headers)
