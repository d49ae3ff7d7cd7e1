"""The `resource` section of a route: what its metadata describe. Floor 2: pure.

RFC 9728. Everything else the metadata say comes from the routes that belong to the
resource (`rules.resources`).
"""

import re
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import PlainValidator, WithJsonSchema

from gateway.config.fields import Model, Text
from gateway.config.units import expected
from gateway.rules.routing import parse_pattern
from gateway.rules.target import canonical_host
from gateway.values import Resource as Described

_HTTPS: Final = r"https://[A-Za-z0-9.:\[\]-]+(?:/[!-~]*)?"
_IDENTIFIER: Final = re.compile(r"https://[a-z0-9.:\[\]-]+(?:/[!-~]+)?")


def parse_identifier(value: object) -> str:
    """Read a resource's identifier: an https URL without query and fragment (§1.2)."""
    if isinstance(value, str) and _IDENTIFIER.fullmatch(value):
        parts = urlsplit(value)
        known = canonical_host(parts.netloc.encode()) is not None
        try:
            literal = not parts.path or None not in parse_pattern(parts.path).segments
        except ValueError:
            literal = False
        plain = "?" not in value and "#" not in value and not value.endswith("/**")
        if known and literal and plain and not parts.path.endswith("/"):
            return value
    raise expected(
        "the resource's identifier: https://host/path in lower case host, without "
        "query, fragment and a closing slash"
    )


HttpsUrl = Annotated[str, Text(_HTTPS, "an https URL")]
"""Where a client may be sent."""


class Resource(Model):
    """What the metadata describe; scopes and methods are those of its routes."""

    url: Annotated[
        str,
        PlainValidator(parse_identifier),
        WithJsonSchema({"type": "string", "pattern": "^https://"}),
    ]
    """Its identifier: the https URL that its routes begin with."""
    name: str = ""
    """What people call it."""
    documentation: HttpsUrl | None = None
    """Where developers read about it."""
    authorization_servers: tuple[HttpsUrl, ...] = ()
    """Who issues tokens for it; none listed: the issuers of its routes' providers."""


def compile_resource(resource: Resource) -> Described:
    """Make the value that the rules describe."""
    return Described(
        url=resource.url,
        name=resource.name,
        documentation=resource.documentation or "",
        authorization_servers=resource.authorization_servers,
    )
