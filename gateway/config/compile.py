"""From what a configuration says to the values that requests meet. Floor 2: pure.

Only for a configuration that `load` gave: every reference leads somewhere. Nothing of
Pydantic is left in what comes out.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from gateway.config import model
from gateway.config.logouts import VERIFIER, issuer_of, logout_terms
from gateway.config.model import Config
from gateway.config.resources import compile_resource
from gateway.config.revocation import Enforcement, Strictness
from gateway.config.upstreams import Health, Upstream, UpstreamTimeouts, parse_status
from gateway.rules.keeping import Keeping, Trust
from gateway.rules.resources import described
from gateway.values import (
    ClaimRule,
    Cors,
    DeviceRule,
    Guard,
    HealthCheck,
    IdentityHeaders,
    Requirements,
    Route,
    RouteKind,
    Timeouts,
    TokenShape,
    UpstreamSettings,
    UpstreamTls,
    WireLimits,
)


def compile_routes(config: Config) -> tuple[Route, ...]:
    """Make the route table, in the order of the files."""
    issuers = {name: _issuer(each) for name, each in config.providers.items()}
    compiled = [_route(config, route) for route in config.routes]
    return tuple(described(compiled, issuers))


def compile_upstreams(config: Config) -> Mapping[str, UpstreamSettings]:
    """Make the upstreams, by name."""
    return {
        name: UpstreamSettings(
            name=name,
            origins=upstream.targets,
            host=upstream.host.encode() if upstream.host else None,
            timeouts=_timeouts(upstream.timeouts),
            connections=upstream.connections,
            waiting=upstream.waiting,
            keepalive=upstream.keepalive,
            tls=_tls(upstream),
            health=_health(upstream.health) if upstream.health else None,
            resolve_interval=upstream.resolve_interval,
        )
        for name, upstream in config.upstreams.items()
    }


def compile_limits(config: Config) -> WireLimits:
    """Make the bounds of the client side."""
    limits, timeouts = config.limits, config.timeouts
    return WireLimits(
        target_bytes=limits.target,
        header_bytes=limits.headers,
        header_count=limits.header_count,
        connections=limits.connections,
        header_timeout=timeouts.header,
        body_timeout=timeouts.body,
        idle_timeout=timeouts.idle,
        write_timeout=timeouts.write,
    )


def compile_keeping(config: Config) -> Keeping:
    """Make what engines may keep."""
    return Keeping(
        config.decisions.max_age,
        {
            name: Trust(provider.cache.ttl, provider.expiry_margin)
            for name, provider in config.providers.items()
        },
    )


def compile_identity(config: Config) -> IdentityHeaders:
    """Make the names of the headers that tell the upstream who calls."""
    names = config.identity_headers
    return IdentityHeaders(
        subject=_name(names.subject),
        client=_name(names.client),
        scopes=_name(names.scopes),
        provider=_name(names.provider),
        device=_name(names.device),
        claims=tuple((_name(name), path) for name, path in names.claims.items()),
        limit_bytes=names.limit,
    )


def claim_paths(config: Config) -> Mapping[str, frozenset[str]]:
    """Give the claims worth keeping, by provider: what routes and headers ask for."""
    everywhere = frozenset(config.identity_headers.claims.values())
    paths = dict.fromkeys(config.providers, everywhere)
    for route in config.routes:
        if route.provider:
            paths[route.provider] |= route.require.claims.keys()
    return paths


def _route(config: Config, route: model.Route) -> Route:
    compiled = Route(
        id=route.id,
        host=route.match.host,
        path=route.match.path,
        methods=_methods(route),
        kind=route.kind,
        access=route.access,
        token_from=route.token_from,
        require=_requirements(route.require),
        upstream=route.upstream,
        pass_token=route.pass_token,
        strip_prefix=route.strip_prefix,
        add_prefix=route.add_prefix,
        encoded_slash=route.encoded_slash,
        cors=_cors(route.cors, route.match.methods) if route.cors else None,
        upgrades=frozenset(name.lower().encode() for name in route.upgrades),
        end_with_token=route.end_with_token,
        shadow=route.enforce is Enforcement.SHADOW,
        strict_revocation=route.revocation is Strictness.STRICT,
        timeouts=_route_timeouts(route, config.upstreams.get(route.upstream)),
        body_limit_bytes=route.body_limit,
        resource=compile_resource(route.resource) if route.resource else None,
        body_rate_bytes=(
            config.limits.body_rate if route.body_rate is None else route.body_rate
        ),
    )
    provider = config.providers.get(route.provider)
    if provider is None:
        return compiled
    return dataclasses.replace(
        compiled,
        provider=route.provider,
        # Whoever tells a logout reads the standard's words (Back-Channel Logout §2.8).
        dialect="rfc6750" if route.logout else provider.dialect,
        realm=provider.realm,
        clock_skew=provider.clock_skew,
        token_shape=TokenShape(
            prefix=provider.token_shape.prefix, max_bytes=provider.token_shape.max
        ),
        guard=_guard(provider, route),
    )


def _issuer(provider: model.Provider) -> str:
    """Give the issuer of a provider's tokens, where it is known."""
    told = (issuer_of(provider.settings(verifier)) for verifier in provider.verify)
    return next(filter(None, told), "")


def _methods(route: model.Route) -> frozenset[str]:
    metadata = route.kind is RouteKind.PROTECTED_RESOURCE
    return route.match.methods or frozenset({"GET"} if metadata else ())


def _guard(provider: model.Provider, route: model.Route) -> Guard:
    if route.kind is RouteKind.API:
        return Guard()
    logout = None
    if route.logout is not None:
        keys = provider.settings(VERIFIER)
        logout = logout_terms(route.logout, keys, provider.clock_skew)
    return Guard(
        form=provider.dialect,
        https_only=provider.https_only,
        scopes=frozenset(provider.scopes),
        logout=logout,
    )


def _requirements(require: model.Require) -> Requirements:
    return Requirements(
        scopes=require.scopes,
        issuers=require.issuers,
        audiences=require.audiences,
        clients=require.clients,
        claims=tuple(ClaimRule(path, one) for path, one in require.claims.items()),
        device=_device(require.device) if require.device else None,
        acr=require.acr,
        max_age=require.max_age,
        max_fact_age=require.max_fact_age,
    )


def _device(device: model.Device) -> DeviceRule:
    return DeviceRule(
        header=_name(device.header) if device.header else None,
        query=device.query.encode() if device.query else None,
    )


def _cors(cors: model.Cors, methods: frozenset[str]) -> Cors:
    return Cors(
        origins=cors.origins,
        methods=cors.methods or methods,
        headers=frozenset(name.lower() for name in cors.headers),
        credentials=cors.credentials,
        max_age=int(cors.max_age),
    )


def _tls(upstream: Upstream) -> UpstreamTls:
    def told(file: Path | None) -> str | None:
        return str(file) if file else None

    return UpstreamTls(
        ca_file=told(upstream.ca_file),
        client_cert=told(upstream.client_cert),
        client_key=told(upstream.client_key),
        server_name=upstream.server_name,
    )


def _health(health: Health) -> HealthCheck:
    return HealthCheck(
        target=health.path.encode(),
        interval=health.interval,
        timeout=health.timeout,
        healthy=health.healthy,
        unhealthy=health.unhealthy,
        status=parse_status(health.status),
    )


def _timeouts(timeouts: UpstreamTimeouts) -> Timeouts:
    return Timeouts(
        connect=timeouts.connect,
        first_byte=timeouts.first_byte,
        idle=timeouts.idle,
    )


def _route_timeouts(route: model.Route, upstream: Upstream | None) -> Timeouts | None:
    """Give what the route says, and the upstream where it says nothing."""
    own = route.timeouts.model_dump(exclude_none=True)
    if not own or upstream is None:
        return None
    return dataclasses.replace(_timeouts(upstream.timeouts), **own)


def _name(header: str) -> bytes:
    return header.lower().encode()
