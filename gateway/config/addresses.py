"""Addresses of the configuration language: listeners, upstreams, networks. Floor 2."""

import ipaddress
import re
from typing import Annotated, Final, NamedTuple
from urllib.parse import urlsplit

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from gateway.config.fields import Text
from gateway.config.units import expected
from gateway.values import Origin

LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
IPV6: Final = r"\[[0-9A-Fa-f:.]+\]"


class Address(NamedTuple):
    """Where a listener is opened; port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


_ADDRESS: Final = re.compile(rf"({LABEL}(?:\.{LABEL})*|{IPV6}):([0-9]{{1,5}})")
_ORIGIN: Final = re.compile(
    rf"(https?)://([A-Za-z0-9._-]+|{IPV6})(?::([0-9]{{1,5}}))?/?"
)
_PORTS: Final = {"http": 80, "https": 443}


def parse_address(value: object) -> Address:
    """Read `host:port` or `[v6]:port`."""
    if isinstance(value, str) and (found := _ADDRESS.fullmatch(value)):
        port = int(found[2])
        if port <= 65535:
            return Address(found[1].strip("[]"), port)
    raise expected("host:port, such as 127.0.0.1:8080")


def parse_origin(value: object) -> Origin:
    """Read `http[s]://host[:port]`: a target has no path, query or user."""
    if isinstance(value, str) and (found := _ORIGIN.fullmatch(value)):
        port = int(found[3] or _PORTS[found[1]])
        if 0 < port <= 65535:
            return Origin(found[1], found[2].strip("[]").lower(), port)
    raise expected("http://host:port or https://host:port, without a path")


def origin_of(url: str) -> Origin:
    """Give the origin of a URL that was found good before."""
    parts = urlsplit(url)
    port = parts.port or _PORTS[parts.scheme]
    return Origin(parts.scheme, parts.hostname or "", port)


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_network(value: object) -> Network:
    """Read a CIDR; one that holds everybody is refused."""
    try:
        network = ipaddress.ip_network(value) if isinstance(value, str) else None
    except ValueError:
        network = None
    if network is None:
        raise expected("a network such as 10.0.0.0/8, without host bits")
    if network.prefixlen == 0:
        # Whoever trusts everybody's X-Forwarded-* lets clients choose their address.
        raise expected("a network smaller than the whole Internet")
    return network


ListenAddress = Annotated[
    Address,
    PlainValidator(parse_address),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "pattern": f"^{_ADDRESS.pattern}$"}),
]
"""`host:port` of a listener."""

Target = Annotated[
    Origin,
    PlainValidator(parse_origin),
    WithJsonSchema({"type": "string", "pattern": f"^{_ORIGIN.pattern}$"}),
]
"""Scheme, host and port of an upstream."""

TrustedNetwork = Annotated[
    Network, PlainValidator(parse_network), WithJsonSchema({"type": "string"})
]
"""A network in CIDR form."""


Authority = Annotated[
    str,
    Text(
        rf"(?:{LABEL}(?:\.{LABEL})*|{IPV6})(?::[0-9]{{1,5}})?",
        "a host name, with or without a port",
    ),
]
"""What goes into a Host header."""

CorsOrigin = Annotated[
    str,
    Text(
        rf"\*|https?://(?:{LABEL}(?:\.{LABEL})*|{IPV6})(?::[0-9]{{1,5}})?",
        "an origin such as https://app.example.com, or `*`",
    ),
]
"""A serialised origin (RFC 6454 §6.2)."""
