"""The `admin` section: who may change something, and by what door. Floor 2.

Pure but for the files of TLS, which are read to prove that they belong together.
"""

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import BeforeValidator

from gateway.config.addresses import Address
from gateway.config.fields import Model, SecretString
from gateway.config.listeners import Tls
from gateway.rules.endpoints import is_loopback
from gateway.values import Secret

_EXPOSED: Final = (
    "whoever is on the way reads the admin token and all that is told: expected"
    " `admin.tls`, or an address such as 127.0.0.1:9091, to which `kubectl"
    " port-forward` and SSH tunnels lead"
)


def _asked_for(given: object) -> object:
    # Here a certificate is one way in of two; who wants it to be the only one says so.
    if isinstance(given, Mapping) and given.get("client_ca") is not None:
        return {"client_certificates": "optional", **given}
    return given


class Admin(Model):
    """Who may change something or ask for an explanation."""

    token: Annotated[Secret, SecretString(16)] | None = None
    """Opens the admin listener; without one it can only be read, from loopback."""
    tls: Annotated[Tls, BeforeValidator(_asked_for)] | None = None
    """TLS for the admin listener; a certificate of `client_ca` may what the token may."""


def exposure(address: Address, admin: Admin) -> str:
    """Tell what it means that others can come there without TLS; empty if they cannot."""
    return (
        "" if admin.tls is not None or is_loopback(address.host.lower()) else _EXPOSED
    )
