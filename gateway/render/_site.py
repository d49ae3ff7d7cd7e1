"""What every engine is told of a configuration. Floor 4: pure."""

import re
from collections.abc import Iterable, Iterator, Mapping
from textwrap import indent
from typing import Final, Protocol

import msgspec

from gateway.config.addresses import Address, UnixAddress, parse_address
from gateway.config.compile import (
    compile_identity,
    compile_limits,
    compile_routes,
    compile_upstreams,
)
from gateway.config.model import Config
from gateway.errors import ConfigError
from gateway.rules.engine_headers import HEADS_ALONE, OWN_NAMES, EngineHeaders
from gateway.rules.headers import SECOND_OPINIONS, HeaderRules
from gateway.values import (
    Route,
    TokenPlace,
    UpstreamSettings,
    WireLimits,
)

GATEWAY: Final = "_gateway"
"""The gateway's own listener among upstreams; no configured name begins so."""

FORWARDED: Final = (
    "Forwarded",
    "X-Forwarded-By",
    "X-Forwarded-Client-Cert",
    "X-Forwarded-Method",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Forwarded-Scheme",
    "X-Forwarded-Server",
    "X-Forwarded-Ssl",
    "X-Forwarded-Uri",
    "X-Forwarded-User",
    "X-Real-IP",
)
"""What clients say of how they came, where an engine can only take names out; it says
by itself X-Forwarded-For, -Host and -Proto."""

_NEVER_TOLD: Final = frozenset(
    {*SECOND_OPINIONS, *OWN_NAMES, b"proxy", b"proxy-authorization"}
)
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- not bound


class Engine(Protocol):
    """A module of this package."""

    def render(self, site: "Site", /) -> Mapping[str, str]:
        """Give the files, by name. Raises `ConfigError` for what cannot be done."""
        ...

    def warnings(self, site: "Site", /) -> Iterable[str]:
        """Tell what is different at this engine from the gateway's own listener."""
        ...


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration, as engines see it.

    `listen` is where the engine listens. It reaches the gateway at `authz` and
    `authz_grpc`, where it asks, and at `proxy`, where it hands over what it cannot do
    (None: no plain HTTP is spoken there). `told` are the headers that it takes from an
    answer or else takes out, `blank` those that it always takes out. `keeps` tells that
    it may keep answers for as long as they say.
    """

    listen: Address
    authz: Address | None
    authz_grpc: Address | None
    proxy: Address | None
    routes: tuple[Route, ...]
    upstreams: Mapping[str, UpstreamSettings]
    told: tuple[str, ...]
    blank: tuple[str, ...]
    limits: WireLimits
    keeps: bool = False

    @property
    def served(self) -> Mapping[str, UpstreamSettings]:
        """Give the upstreams that the engine itself may be sent to."""
        names = {route.upstream for route in self.routes if is_judged_by_head(route)}
        return {name: self.upstreams[name] for name in sorted(names)}

    @property
    def hosts(self) -> tuple[str, ...]:
        """Name the hosts that routes are for; none: any."""
        hosts = {route.host for route in self.routes}
        return () if "*" in hosts else tuple(sorted(hosts))

    @property
    def upgrades(self) -> tuple[str, ...]:
        """Name the protocols that a connection may be upgraded to."""
        found = {each.decode() for route in self.routes for each in route.upgrades}
        return tuple(sorted(found))

    @property
    def cross_origin(self) -> bool:
        """Tell whether pages of other origins may call."""
        return any(route.cors for route in self.routes)

    @property
    def devices(self) -> tuple[str, ...]:
        """Name the headers in which requests name a device that is judged."""
        rules = (route.require.device for route in self.routes)
        names = {rule.header for rule in rules if rule is not None and rule.header}
        return tuple(sorted(map(canonical, names)))

    @property
    def by_query(self) -> tuple[str, ...]:
        """Name the routes that take a token from the query."""
        return tuple(
            route.id for route in self.routes if TokenPlace.QUERY in route.token_from
        )

    @property
    def longest_body(self) -> int:
        """Give the longest body that any route takes, in bytes; 0 is unlimited."""
        limits = [route.body_limit_bytes for route in self.routes]
        return max(limits, default=0) if all(limits) else 0


def survey(config: Config, *, listen: Address, gateway: str | None) -> Site:
    """Look a configuration over; `gateway` is the host where the engine reaches it."""

    def reached(address: Address | None) -> Address | None:
        if address is None or isinstance(address, UnixAddress):
            return address
        host = gateway or _EVERYWHERE.get(address.host, address.host)
        return address._replace(host=host)

    door = config.listen
    plain = door.tls is None and not door.proxy_protocol
    rules = HeaderRules(compile_identity(config), pseudonym=b"-")
    replaced = EngineHeaders(rules).replaced
    return Site(
        listen=listen,
        authz=reached(door.authz),
        authz_grpc=reached(door.authz_grpc),
        proxy=reached(door.proxy) if plain else None,
        routes=compile_routes(config),
        upstreams=compile_upstreams(config),
        told=tuple(
            canonical(name)
            for name in dict.fromkeys(replaced)
            if name not in _NEVER_TOLD
        ),
        blank=tuple(sorted(map(canonical, _NEVER_TOLD))),
        limits=compile_limits(config),
        keeps=config.decisions.max_age > 0,
    )


def usual_warnings(site: Site, engine: str) -> Iterator[str]:
    """Tell what no engine can do that is told of heads alone."""
    bound = [
        route.id
        for route in site.routes
        if is_judged_by_head(route) and (route.end_with_token or route.body_limit_bytes)
    ]
    if bound:
        yield (
            f"{engine} does not see to end_with_token and body_limit of a route (the "
            f"longest limit is everybody's): {', '.join(bound)}"
        )


def listening(text: str) -> Address:
    """Read where the engine listens; raises `ConfigError`."""
    try:
        return parse_address(text)
    except ValueError as error:
        raise ConfigError([f"--listen: {error}"]) from error


def is_judged_by_head(route: Route) -> bool:
    """Tell whether engines may ask about requests for it, which have no body there."""
    return route.kind in HEADS_ALONE


def canonical(name: bytes) -> str:
    """Write a header name as people do."""
    return "-".join(part.capitalize() for part in name.decode().split("-"))


def required(address: Address | None, key: str, engine: str) -> Address:
    """Give the address at which the engine asks; `ConfigError` where there is none."""
    if address is None:
        problem = f"listen.{key}: expected an address, since {engine} asks there"
        raise ConfigError([problem])
    return address


def one_scheme(upstream: UpstreamSettings) -> str:
    """Tell whether TLS is spoken to all targets; `ConfigError` where it is mixed."""
    schemes = {
        "https" if each.scheme == "https" else "http" for each in upstream.origins
    }
    if len(schemes) > 1:
        problem = (
            f"upstreams.{upstream.name}.targets: expected all of them https, or none, "
            "since the engine speaks one of them to an upstream"
        )
        raise ConfigError([problem])
    return schemes.pop()


def server_name(upstream: UpstreamSettings) -> str:
    """Give the name that https targets must prove.

    `ConfigError` where they are of several names, or of none: not every engine can
    prove an address.
    """
    if upstream.tls.server_name is not None:
        return upstream.tls.server_name
    name, *others = {origin.host for origin in upstream.origins}
    if others or not re.search("[A-Za-z]", name.partition(":")[0]):
        problem = (
            f"upstreams.{upstream.name}: expected a server_name, since the engine asks "
            "all targets for the same one, which is no address"
        )
        raise ConfigError([problem])
    return name


def block(head: str, *lines: str) -> str:
    """Write a block in braces; each line may be several."""
    return f"{head} {{\n{nested(*lines)}}}\n"


def nested(*lines: str, by: int = 4) -> str:
    """Indent lines."""
    return indent("".join(ended(lines)), " " * by)


def ended(lines: Iterable[str]) -> Iterator[str]:
    """Give each line its end."""
    for line in lines:
        yield line if line.endswith("\n") or not line else line + "\n"


def comment(text: str) -> str:
    """Make every line of a text a comment."""
    lines = text.strip("\n").splitlines()
    return "".join(f"# {line}".rstrip() + "\n" for line in lines)
