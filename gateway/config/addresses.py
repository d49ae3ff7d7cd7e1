"""Addresses of the configuration language: listeners, upstreams, networks. Floor 2."""

import ipaddress
import re
from typing import Annotated, Final, Literal, NamedTuple
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


class UnixAddress(Address):
    """A Unix domain socket: `host` is its path, and it has no port."""

    __slots__ = ()

    def __str__(self) -> str:
        return f"unix:{self.host}"


_ADDRESS: Final = re.compile(rf"({LABEL}(?:\.{LABEL})*|{IPV6}):([0-9]{{1,5}})")
_UNIX: Final = re.compile(r"unix:(/[^\x00-\x1f]{1,99})")
_LONGEST_PATH: Final = 100
"""In bytes: the kernel has room for 108, on macOS for 104."""

_ORIGIN: Final = re.compile(
    rf"(dns:)?(https?)://([A-Za-z0-9._-]+|{IPV6})(?::([0-9]{{1,5}}))?/?"
)
_PORTS: Final = {"http": 80, "https": 443}


def parse_address(value: object) -> Address:
    """Read `host:port` or `[v6]:port`."""
    if isinstance(value, str) and (found := _ADDRESS.fullmatch(value)):
        port = int(found[2])
        if port <= 65535:
            return Address(found[1].strip("[]"), port)
    raise expected("host:port, such as 127.0.0.1:8080")


def parse_door(value: object) -> Address:
    """Read `host:port`, `[v6]:port` or `unix:/path`."""
    if isinstance(value, str) and value.startswith("unix:"):
        found = _UNIX.fullmatch(value)
        if found and len(found[1].encode()) <= _LONGEST_PATH:
            return UnixAddress(found[1], 0)
        raise expected(
            "unix: and an absolute path of at most 100 bytes, "
            "such as unix:/run/gateway/proxy.sock"
        )
    return parse_address(value)


def parse_origin(value: object) -> Origin:
    """Read `[dns:]http[s]://host[:port]` or `unix:/path`: no path, query or user."""
    if isinstance(value, str) and (found := _ORIGIN.fullmatch(value)):
        port = int(found[4] or _PORTS[found[2]])
        if 0 < port <= 65535:
            host = found[3].strip("[]").lower()
            return Origin(found[2], host, port, resolved=found[1] is not None)
    found = _UNIX.fullmatch(value) if isinstance(value, str) else None
    if found and len(found[1].encode()) <= _LONGEST_PATH:
        return Origin("unix", found[1], 0)
    raise expected(
        "http://host:port or https://host:port, without a path; dns: in front of it "
        "for every address of the host; or unix:/path/of/socket"
    )


def origin_of(url: str) -> Origin:
    """Give the origin of a URL that was found good before."""
    parts = urlsplit(url)
    port = parts.port or _PORTS[parts.scheme]
    return Origin(parts.scheme, parts.hostname or "", port)


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_network(value: object) -> Network | Literal["unix"]:
    """Read a CIDR, or `unix`: whoever may open our Unix domain socket.

    A network that holds everybody is refused.
    """
    if value == "unix":
        return "unix"
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

DoorAddress = Annotated[
    Address,
    PlainValidator(parse_door),
    PlainSerializer(str),
    WithJsonSchema(
        {"type": "string", "pattern": f"^(?:{_ADDRESS.pattern}|{_UNIX.pattern})$"}
    ),
]
"""`host:port` or `unix:/path` of the clients' listener."""

Target = Annotated[
    Origin,
    PlainValidator(parse_origin),
    PlainSerializer(str),
    WithJsonSchema(
        {"type": "string", "pattern": f"^(?:{_ORIGIN.pattern}|{_UNIX.pattern})$"}
    ),
]
"""Where an upstream is: scheme, host and port, or a socket."""

TrustedNetwork = Annotated[
    Network | Literal["unix"],
    PlainValidator(parse_network),
    WithJsonSchema({"type": "string"}),
]
"""A network in CIDR form, or `unix`."""


Authority = Annotated[
    str,
    Text(
        rf"(?:{LABEL}(?:\.{LABEL})*|{IPV6})(?::[0-9]{{1,5}})?",
        "a host name, with or without a port",
    ),
]
"""What goes into a Host header."""

ServerName = Annotated[
    str, Text(rf"{LABEL}(?:\.{LABEL})*", "a host name, without a port")
]
"""Whose certificate is shown (RFC 6066 §3)."""

CorsOrigin = Annotated[
    str,
    Text(
        rf"\*|https?://(?:{LABEL}(?:\.{LABEL})*|{IPV6})(?::[0-9]{{1,5}})?",
        "an origin such as https://app.example.com, or `*`",
    ),
]
"""A serialised origin (RFC 6454 §6.2)."""
