"""Proves what a configuration may say of a protected resource."""

import json

import pytest

from gateway.config.compile import compile_routes
from gateway.config.resources import Resource, compile_resource
from gateway.values import Resource as Described
from tests.config.texts import TABLES, loaded, told

PLACE = "/.well-known/oauth-protected-resource/orders"
SECTION = "resource: {url: 'https://api.example/orders'}"


def described(
    more: str = SECTION,
    match: str = f"host: api.example, path: {PLACE}",
    kind: str = "kind: protected-resource",
) -> str:
    """Write a configuration with one API and its metadata."""
    parts = ", ".join(filter(None, ["id: m", f"match: {{{match}}}", kind, more]))
    return f"""{TABLES}
routes:
  - {{id: a, match: {{path: /orders/**}}, provider: main, upstream: api,
      require: {{scopes: [read]}}}}
  - {{{parts}}}
"""


def test_the_metadata_of_a_route_are_made_of_the_others():
    """And every challenge of theirs says where."""
    api, metadata = compile_routes(loaded(described()).config)

    assert {
        "resource": "https://api.example/orders",
        "scopes_supported": ["read"],
        "bearer_methods_supported": ["header"],
    } == json.loads(metadata.document)
    assert f"https://api.example{PLACE}" == api.metadata
    assert frozenset({"GET"}) == metadata.methods


def test_the_issuers_of_the_providers_are_the_authorization_servers():
    """Where a verifier's section names one."""
    text = described().replace(
        "algorithms:", "issuer: 'https://id.example', algorithms:"
    )
    _, metadata = compile_routes(loaded(text).config)

    servers = json.loads(metadata.document)["authorization_servers"]
    assert ["https://id.example"] == servers


@pytest.mark.parametrize(
    "url",
    [
        "http://api.example",
        "https://API.example",
        "https://api.example/",
        "https://api.example/a/",
        "https://api.example/a?b",
        "https://api.example/a#b",
        "https://api.example/a/../b",
        "https://api.example/a//b",
        "https://api.example/{id}",
        "https://api.example/**",
        "https://u@api.example/a",
        "https://api.example:99999",
        "https:///a",
        "api.example",
    ],
)
def test_an_identifier_has_one_spelling(url):
    """RFC 9728 §3.3: a client compares it to the letter."""
    [line] = told(described(f"resource: {{url: '{url}'}}"))

    assert line.startswith("routes[1].resource.url: expected the resource's identifier")


def test_a_section_becomes_a_value():
    """With nothing of Pydantic left."""
    section = Resource(
        url="https://api.example",
        name="API",
        documentation="https://docs.example/a?b",
        authorization_servers=("https://id.example",),
    )

    assert compile_resource(section) == Described(
        url="https://api.example",
        name="API",
        documentation="https://docs.example/a?b",
        authorization_servers=("https://id.example",),
    )
