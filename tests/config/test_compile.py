import dataclasses
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

import pytest
import trustme

from gateway.config.compile import (
    claim_paths,
    compile_identity,
    compile_keeping,
    compile_limits,
    compile_routes,
    compile_upstreams,
)
from gateway.config.model import Config
from gateway.values import (
    Access,
    ClaimRule,
    Cors,
    DeviceRule,
    Guard,
    HealthCheck,
    IdentityHeaders,
    Origin,
    Requirements,
    Route,
    RouteKind,
    Timeouts,
    TokenPlace,
    TokenShape,
    UpstreamSettings,
    UpstreamTls,
    WireLimits,
)
from tests.config.texts import ROUTE, TABLES, loaded, route

FULL = """\
providers:
  nugu:
    dialect: nugu
    realm: NUGU
    verify: [jwt]
    jwt:
      algorithms: [HS256]
      key: a-key-of-more-than-thirty-two-characters
      device_claim: ext.dvc
    scopes: [read, write]
    https_only: true
    clock_skew: 5s
    token_shape: {prefix: eyJ, max: 4KiB}
upstreams:
  api:
    targets: ["https://a.example", "http://[::1]:81", "dns:http://b", "unix:/run/c"]
    host: api.example:8443
    timeouts: {connect: 500ms, first_byte: 5s, idle: 1m}
    connections: 10
    waiting: 20
    keepalive: 15s
    resolve_interval: 7s
    health: {path: "/up?deep=1", interval: 3s, timeout: 2s, healthy: 4, unhealthy: 5, status: 204}
    ca_file: %(folder)s/ca.pem
    client_cert: %(folder)s/cert.pem
    client_key: %(folder)s/key.pem
    server_name: inside.example
routes:
  - id: full
    match: {host: API.example, path: "/v1/{id}", methods: [GET, PUT]}
    access: optional
    provider: nugu
    token_from: [header, query]
    require:
      scopes: ["read write", read]
      issuers: [https://i.example]
      audiences: [api]
      clients: [app]
      claims: {tier: [gold, 1], ext.poc: x}
      device: {header: X-Device}
      acr: [phrh, phr]
      max_age: 5m
      max_fact_age: 10s
    upstream: api
    pass_token: true
    strip_prefix: /v1/
    add_prefix: /v2
    encoded_slash: true
    cors: {origins: ["https://app.example"], headers: [X-A, Authorization], max_age: 5m}
    upgrades: [WebSocket]
    end_with_token: true
    timeouts: {idle: 2m}
    body_limit: 1MiB
    body_rate: 0B
  - id: token
    match: {path: /token}
    kind: oauth-token
    provider: nugu
    upstream: api
  - id: open
    match: {path: /open}
    access: public
    upstream: api
    cors: {origins: ["*"], methods: [POST], credentials: false}
"""


def full_text(tmp_path: Path) -> str:
    """A configuration in which every key of a route is set."""
    authority = trustme.CA()
    ours = authority.issue_cert("gateway.example")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    ours.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    ours.private_key_pem.write_to_path(tmp_path / "key.pem")
    return FULL % {"folder": tmp_path}


def full(tmp_path: Path) -> Config:
    """The same, loaded."""
    return loaded(full_text(tmp_path)).config


def test_what_engines_may_keep_is_bounded_by_what_is_believed():
    """Nothing by default."""
    none = compile_keeping(loaded(TABLES).config)
    some = compile_keeping(loaded(TABLES + "decisions: {max_age: 5s}\n").config)

    assert ("<Keeping: 0s>", "<Keeping: 5s>") == (repr(none), repr(some))


def test_a_route_says_what_its_section_says(tmp_path):
    """And what its provider says of refusals and clocks."""
    found, token, public = compile_routes(full(tmp_path))

    assert (
        Route(
            id="full",
            host="api.example",
            path="/v1/{id}",
            methods=frozenset({"GET", "PUT"}),
            access=Access.OPTIONAL,
            provider="nugu",
            dialect="nugu",
            realm="NUGU",
            token_from=frozenset({TokenPlace.HEADER, TokenPlace.QUERY}),
            require=Requirements(
                scopes=(frozenset({"read", "write"}), frozenset({"read"})),
                issuers=frozenset({"https://i.example"}),
                audiences=frozenset({"api"}),
                clients=frozenset({"app"}),
                claims=(
                    ClaimRule("tier", frozenset({"gold", 1})),
                    ClaimRule("ext.poc", frozenset({"x"})),
                ),
                device=DeviceRule(header=b"x-device"),
                acr=("phrh", "phr"),
                max_age=300.0,
                max_fact_age=10.0,
            ),
            clock_skew=5.0,
            token_shape=TokenShape(prefix="eyJ", max_bytes=4096),
            upstream="api",
            pass_token=True,
            strip_prefix=b"/v1",
            add_prefix=b"/v2",
            encoded_slash=True,
            cors=Cors(
                origins=frozenset({"https://app.example"}),
                methods=frozenset({"GET", "PUT"}),
                headers=frozenset({"x-a", "authorization"}),
                max_age=300,
            ),
            upgrades=frozenset({b"websocket"}),
            end_with_token=True,
            timeouts=Timeouts(connect=0.5, first_byte=5.0, idle=120.0),
            body_limit_bytes=1 << 20,
        )
        == found
    )
    assert (
        Route(
            id="token",
            path="/token",
            kind=RouteKind.OAUTH_TOKEN,
            provider="nugu",
            dialect="nugu",
            realm="NUGU",
            clock_skew=5.0,
            token_shape=TokenShape(prefix="eyJ", max_bytes=4096),
            upstream="api",
            body_rate_bytes=100,
            guard=Guard(
                form="nugu", https_only=True, scopes=frozenset({"read", "write"})
            ),
        )
        == token
    )
    assert (
        Route(
            id="open",
            body_rate_bytes=100,
            path="/open",
            access=Access.PUBLIC,
            upstream="api",
            cors=Cors(
                origins=frozenset({"*"}),
                methods=frozenset({"POST"}),
                headers=frozenset({"authorization"}),
            ),
        )
        == public
    )


def test_a_device_may_be_named_in_the_query():
    """Its name is compared as bytes."""
    text = route("require: {device: {query: device}}")
    text = text.replace("algorithms", "device_claim: d, algorithms")
    [found] = compile_routes(loaded(text).config)

    assert DeviceRule(query=b"device") == found.require.device


def test_upstreams_are_what_the_pool_needs(tmp_path):
    """By name; what is left out is the value's own default."""
    plain = compile_upstreams(loaded(TABLES).config)

    assert {
        "api": UpstreamSettings(
            name="api",
            origins=(
                Origin("https", "a.example", 443),
                Origin("http", "::1", 81),
                Origin("http", "b", 80, resolved=True),
                Origin("unix", "/run/c", 0),
            ),
            host=b"api.example:8443",
            timeouts=Timeouts(connect=0.5, first_byte=5.0, idle=60.0),
            connections=10,
            waiting=20,
            keepalive=15.0,
            tls=UpstreamTls(
                ca_file=str(tmp_path / "ca.pem"),
                client_cert=str(tmp_path / "cert.pem"),
                client_key=str(tmp_path / "key.pem"),
                server_name="inside.example",
            ),
            health=HealthCheck(
                target=b"/up?deep=1",
                interval=3.0,
                timeout=2.0,
                healthy=4,
                unhealthy=5,
                status=(204, 204),
            ),
            resolve_interval=7.0,
        )
    } == compile_upstreams(full(tmp_path))
    assert {
        "api": UpstreamSettings(
            name="api", origins=(Origin("http", "127.0.0.1", 8000),)
        )
    } == plain


def test_limits_have_the_same_defaults_everywhere():
    """The language's and the wire's."""
    config = loaded(
        "limits: {target: 1KiB, headers: 2KiB, header_count: 3, connections: 4}\n"
        "timeouts: {header: 5s, body: 6s, idle: 7s, write: 8s}"
    ).config

    assert WireLimits() == compile_limits(loaded("").config)
    assert WireLimits(
        target_bytes=1024,
        header_bytes=2048,
        header_count=3,
        connections=4,
        header_timeout=5.0,
        body_timeout=6.0,
        idle_timeout=7.0,
        write_timeout=8.0,
    ) == compile_limits(config)


def test_identity_headers_are_lower_case_bytes():
    """Names are compared so; an empty one is left out."""
    config = loaded(
        "identity_headers: {subject: X-User, client: '', limit: 1KiB, "
        "claims: {X-Name: preferred_username}}"
    ).config

    assert IdentityHeaders() == compile_identity(loaded("").config)
    assert IdentityHeaders(
        subject=b"x-user",
        client=b"",
        claims=((b"x-name", "preferred_username"),),
        limit_bytes=1024,
    ) == compile_identity(config)


def test_only_claims_that_somebody_asks_for_are_kept(tmp_path):
    """By headers for every provider, by routes for their own."""
    headers = "identity_headers: {claims: {X-Name: name}}\n"
    other = TABLES.partition("upstreams:")[0]
    text = full_text(tmp_path).replace("providers:\n", other) + headers

    assert {"main": {"name"}, "nugu": {"name", "tier", "ext.poc"}} == claim_paths(
        loaded(text).config
    )
    assert {"nugu": {"tier", "ext.poc"}} == claim_paths(full(tmp_path))


BARE = """\
limits: {target: 8192, headers: "16384", header_count: "50", connections: 9, body_rate: 0}
timeouts: {header: 1, body: "2", idle: 3.5, write: 4}
identity_headers: {subject: "", claims: {X-Tier: tier}, limit: 512}
providers:
  main:
    verify: [jwt]
    jwt: {discovery: https://i.example, audience: [x], algorithms: [RS256], leeway: 1}
    scopes: [read]
    clock_skew: 1
    token_shape: {prefix: "7", max: 4096}
upstreams:
  api:
    targets: ["http://127.0.0.1"]
    host: "8080"
    timeouts: {connect: 1, first_byte: "2", idle: 3}
    connections: "4"
    keepalive: 5
    resolve_interval: 6
    health: {path: /up, interval: 7, timeout: "8", healthy: "9", status: "200"}
routes:
  - id: a
    match: {path: /a, methods: [GET]}
    provider: main
    upstream: api
    require:
      scopes: [read]
      claims: {tier: 1, vip: true}
      acr: [phr]
      max_age: 1
      max_fact_age: "2"
    cors: {origins: ["*"], max_age: 1.5}
    timeouts: {idle: 1}
    body_limit: "1024"
    body_rate: 1
    enforce: shadow
    revocation: strict
  - id: logout
    match: {path: /logout}
    kind: backchannel-logout
    provider: main
    logout: {audiences: [app], max_age: 60}
  - id: about
    match: {path: /.well-known/oauth-protected-resource, host: api.example}
    kind: protected-resource
    resource: {url: "https://api.example", authorization_servers: ["https://i.example"]}
"""
"""Numbers as people write them, and as text, which is what the environment gives."""


def misfits(value: Any, kind: Any, at: str) -> Iterator[str]:
    """Say where something is not of the very type that is promised."""
    plain, parts = get_origin(kind) or kind, get_args(kind)
    if plain is UnionType:
        fits = any(not [*misfits(value, each, at)] for each in parts)
    else:
        # Compiled, a class tells of a union only that it is a type.
        fits = type(value) is plain or plain is type
    if not fits:
        yield f"{at}: {value!r}"
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            own = getattr(value, field.name)
            yield from misfits(own, field.type, f"{at}.{field.name}")
    elif plain in (tuple, frozenset) and parts:
        every = parts if plain is tuple and ... not in parts else parts[:1] * len(value)
        for each, its in zip(value, every, strict=True):
            yield from misfits(each, its, f"{at}[]")


@pytest.mark.parametrize("text", [FULL, BARE, TABLES + ROUTE], ids=["full", "bare", ""])
def test_what_comes_out_is_of_the_very_types_that_are_promised(tmp_path, text):
    """Compiled, a class takes no list for a tuple; nothing else would tell before."""
    text = full_text(tmp_path) if text is FULL else text
    config = loaded(text).config
    values = (
        *compile_routes(config),
        *compile_upstreams(config).values(),
        compile_limits(config),
        compile_identity(config),
    )

    assert [] == [
        told
        for value in values
        for told in misfits(value, type(value), type(value).__name__)
    ]
