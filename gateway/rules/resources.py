"""Describe a protected resource to its clients: RFC 9728. Floor 2: pure.

What the metadata says is what the routes do: their scopes, where they take tokens, whose
tokens. A route belongs to the resource whose identifier its host and path begin with,
the longest of several, and its challenges then name the metadata (§5.1), so that a
client that knows nothing but the API's address finds out where to get a token.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

import msgspec

from gateway.rules.cors import cors_headers
from gateway.rules.routing import ANY_HOST, parse_pattern
from gateway.rules.target import canonical_host
from gateway.values import Access, Answer, RequestHead, Resource, Route, RouteKind

WELL_KNOWN: Final = "/.well-known/oauth-protected-resource"

_SECONDS: Final = 300
_HEADERS: Final = (
    (b"content-type", b"application/json"),
    (b"cache-control", b"public, max-age=%d" % _SECONDS),
)
_ANY_PAGE: Final = ((b"access-control-allow-origin", b"*"),)
_NOBODY: Final = {Access.PUBLIC}


def metadata_path(url: str) -> str:
    """Give the path of a resource's metadata (§3.1): inserted before its own."""
    return WELL_KNOWN + urlsplit(url).path.removesuffix("/")


def metadata_url(url: str) -> str:
    """Give the URL of a resource's metadata."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{metadata_path(url)}"


def host_of(url: str) -> str:
    """Give the canonical host of a resource's identifier."""
    return canonical_host(urlsplit(url).netloc.encode()) or ""


def described(routes: Sequence[Route], issuers: Mapping[str, str]) -> list[Route]:
    """Complete the routes: documents for resources, and who names which.

    `issuers` are the authorization servers of providers, by name, where they are known.
    """
    resources = [route.resource for route in routes if route.resource is not None]
    if not resources:
        return list(routes)
    owner = {route.id: _owner(route, resources) for route in routes}
    return [_complete(route, routes, owner, issuers) for route in routes]


def answer(route: Route, head: RequestHead) -> Answer:
    """Answer with the metadata; any page may read it, unless the route has `cors`."""
    allowed = _ANY_PAGE if route.cors is None else cors_headers(route, head)
    return Answer(200, (*_HEADERS, *allowed), route.document)


def belongs(route: Route, resource: Resource) -> bool:
    """Tell whether a route is a part of the resource."""
    if route.kind is not RouteKind.API or route.access in _NOBODY:
        return False
    segments = _segments(resource.url)
    pattern = parse_pattern(route.path).segments
    return _covers(route.host, host_of(resource.url)) and (
        pattern[: len(segments)] == segments
    )


def _owner(route: Route, resources: Iterable[Resource]) -> Resource | None:
    """Give the one resource that a route belongs to; None for none, and for a tie."""
    own = sorted(
        (each for each in resources if belongs(route, each)),
        key=lambda each: len(_segments(each.url)),
        reverse=True,
    )
    lengths = [len(_segments(each.url)) for each in own]
    if not own or lengths.count(lengths[0]) > 1:
        return None
    return own[0]


def _complete(
    route: Route,
    routes: Sequence[Route],
    owner: Mapping[str, Resource | None],
    issuers: Mapping[str, str],
) -> Route:
    resource = owner[route.id]
    if resource is not None:
        return dataclasses.replace(route, metadata=metadata_url(resource.url))
    if route.resource is None:
        return route
    mine = [each for each in routes if owner[each.id] is route.resource]
    return dataclasses.replace(route, document=_document(route.resource, mine, issuers))


def _document(
    resource: Resource, routes: Iterable[Route], issuers: Mapping[str, str]
) -> bytes:
    """Write the metadata (§2); what is empty is left out."""
    scopes: set[str] = set()
    methods: set[str] = set()
    servers: set[str] = set()
    for route in routes:
        scopes.update(*route.require.scopes)
        methods.update(place.value for place in route.token_from)
        servers.update(filter(None, [issuers.get(route.provider)]))
    told: dict[str, object] = {
        "resource": resource.url,
        "resource_name": resource.name,
        "authorization_servers": list(resource.authorization_servers)
        or sorted(servers),
        "scopes_supported": sorted(scopes),
        "bearer_methods_supported": sorted(methods),
        "resource_documentation": resource.documentation,
    }
    return msgspec.json.encode({name: value for name, value in told.items() if value})


def _segments(url: str) -> tuple[bytes | None, ...]:
    path = urlsplit(url).path.removesuffix("/")
    return parse_pattern(path).segments if path else ()


def _covers(pattern: str, host: str) -> bool:
    if pattern == ANY_HOST:
        return True
    if pattern.startswith("*."):
        return host.endswith(pattern[1:])
    return pattern == host
