"""The `upstreams` section: where permitted requests go. Floor 2: pure.

But for certificates and keys, which are read to prove that they are usable.
"""

import re
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    WithJsonSchema,
    model_validator,
)

from gateway.config.addresses import Authority, ServerName, Target
from gateway.config.certificates import certificates, prove_client_pair
from gateway.config.fields import Count, Model, ReadableFile, Text
from gateway.config.units import Duration, PositiveDuration, expected

_STATUS: Final = re.compile(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?")
_TLS_KEYS: Final = frozenset({"ca_file", "client_cert", "client_key", "server_name"})


def _trusted(file: Path) -> Path:
    if not certificates(file):
        raise expected("a file of certificates (PEM)")
    return file


CertificateFile = Annotated[ReadableFile, AfterValidator(_trusted)]
"""Certificates (PEM), relative to the configuration file."""

ProbePath = Annotated[
    str,
    Text(r"/[\x21\x22\x24-\x7e]*", "a path that begins with /, without spaces and #"),
]
"""What is asked for: a path, with or without a query."""


def parse_status(value: object) -> tuple[int, int]:
    """Read one status or a range of them."""
    if found := _STATUS.fullmatch(str(value)):
        first, last = int(found[1]), int(found[2] or found[1])
        if first <= last:
            return first, last
    raise expected("a status such as 200, or a range such as 200-299")


def _status(value: object) -> str:
    parse_status(value)
    return str(value)


Status = Annotated[
    str,
    BeforeValidator(_status),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": f"^{_STATUS.pattern}$"},
                {"type": "integer", "minimum": 100, "maximum": 599},
            ]
        }
    ),
]
"""Statuses, from one to another."""


class UpstreamTimeouts(Model):
    """Deadlines towards an upstream."""

    connect: PositiveDuration = 1.0
    """To open a connection, and to wait for one when all are in use."""
    first_byte: PositiveDuration = 30.0
    """From the request to the response's head."""
    idle: PositiveDuration = 60.0
    """Without progress of a response."""


class Health(Model):
    """How targets are asked whether they are well; no token is sent."""

    path: ProbePath
    """What is asked for, with GET."""
    interval: PositiveDuration = 5.0
    """Between two questions to a target."""
    timeout: PositiveDuration = 1.0
    """For a connection and the head of the answer."""
    healthy: Count = 2
    """Good answers in a row that bring a target back."""
    unhealthy: Count = 3
    """Bad answers or none in a row that put it out."""
    status: Status = "200-299"
    """What a good answer says."""


class Upstream(Model):
    """A group of equal servers."""

    targets: Annotated[tuple[Target, ...], Field(min_length=1)]
    """Their addresses, without a path."""
    host: Authority | None = None
    """What the Host header says; without it the client's is kept."""
    timeouts: UpstreamTimeouts = UpstreamTimeouts()
    connections: Count = 256
    """Connections to one address."""
    waiting: Count = 256
    """Requests that may wait for a connection."""
    keepalive: Duration = 30.0
    """How long an idle connection is kept."""
    resolve_interval: PositiveDuration = 5.0
    """How often the addresses of `dns:` targets are asked for."""
    health: Health | None = None
    ca_file: CertificateFile | None = None
    """Certificates (PEM) that are trusted instead of the system's."""
    client_cert: ReadableFile | None = None
    """Our certificate and its chain (PEM), for upstreams that ask for one."""
    client_key: ReadableFile | None = None
    """Its private key (PEM), without a password."""
    server_name: ServerName | None = None
    """The name that targets must prove, instead of their own host; sent as SNI."""

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len(set(self.targets)) < len(self.targets):
            raise expected("each target once")
        return self

    @model_validator(mode="after")
    def _tls_is_used(self) -> Self:
        used = any(target.scheme == "https" for target in self.targets)
        given = sorted(_TLS_KEYS & self.model_fields_set)
        if given and not used:
            raise expected(f"an https target, since there is {given[0]}")
        return self

    @model_validator(mode="after")
    def _key_fits(self) -> Self:
        prove_client_pair(self.client_cert, self.client_key)
        return self
