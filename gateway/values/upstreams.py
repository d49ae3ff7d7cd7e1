"""How upstreams are asked, and what clients may do."""

from dataclasses import dataclass
from typing import Final

from gateway.values.routes import Timeouts

_USUAL: Final = Timeouts()


@dataclass(frozen=True, slots=True)
class Origin:
    """One target of an upstream, as it is configured.

    `scheme` is `http`, `https` or `unix` (HTTP over the socket whose path is `host`).
    `resolved` tells that every address its name has is a server of its own.
    """

    scheme: str
    host: str
    port: int
    resolved: bool = False

    def __str__(self) -> str:
        if self.scheme == "unix":
            return f"unix:{self.host}"
        return f"{'dns:' * self.resolved}{self.scheme}://{self.authority}"

    @property
    def authority(self) -> str:
        """Give what a Host header for it says (RFC 9110 §7.2)."""
        if self.scheme == "unix":
            return "localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """How a target is asked whether it is well: `GET target`, without any token.

    Out after `unhealthy` failures in a row, in again after `healthy` successes: a
    status within `status` (first and last), told within `timeout` seconds.
    """

    target: bytes
    interval: float = 5.0
    timeout: float = 1.0
    healthy: int = 2
    unhealthy: int = 3
    status: tuple[int, int] = (200, 299)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamTls:
    """How TLS is spoken to an upstream's `https` targets: files, and names.

    Without `ca_file` the system's authorities are trusted; `server_name` replaces the
    target's own host, for SNI and in what the certificate must be for.
    """

    ca_file: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    server_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamSettings:
    """A named group of equal origins. `host` replaces the Host header when set.

    `connections` caps the connections to one address; `waiting` the requests that may
    queue for one; `keepalive` is how long an idle connection is kept and
    `resolve_interval` how old the addresses of a resolved origin grow, in seconds.
    """

    name: str
    origins: tuple[Origin, ...]
    host: bytes | None = None
    timeouts: Timeouts = _USUAL
    connections: int = 256
    waiting: int = 256
    keepalive: float = 30.0
    tls: UpstreamTls = UpstreamTls()
    health: HealthCheck | None = None
    resolve_interval: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WireLimits:
    """Bounds of the client side: bytes, counts, and deadlines in seconds."""

    target_bytes: int = 8 * 1024
    header_bytes: int = 32 * 1024
    header_count: int = 100
    connections: int = 10_000
    header_timeout: float = 10.0
    body_timeout: float = 30.0
    idle_timeout: float = 75.0
    write_timeout: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityHeaders:
    """Names (lower case) of the headers that tell the upstream who calls.

    An empty name leaves that header out. `claims` maps a header name to a dotted
    claim path. `limit_bytes` caps all of them together.
    """

    subject: bytes = b"x-auth-subject"
    client: bytes = b"x-auth-client"
    scopes: bytes = b"x-auth-scopes"
    provider: bytes = b"x-auth-provider"
    device: bytes = b"x-auth-device"
    claims: tuple[tuple[bytes, str], ...] = ()
    limit_bytes: int = 8 * 1024
