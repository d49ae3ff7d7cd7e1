"""The `listen` section: where clients, probes and operators come in. Floor 2.

Pure but for the files of TLS, which are read to prove that they belong together.
"""

from typing import Annotated, Final, Literal, Self

from pydantic import BeforeValidator, WithJsonSchema, model_validator

from gateway.config.addresses import Address, DoorAddress, ListenAddress, TrustedNetwork
from gateway.config.certificates import belong_together, certificates
from gateway.config.fields import Model, ReadableFile
from gateway.config.units import expected

_VERSIONS: Final = {"1.2": "1.2", "1.3": "1.3", 1.2: "1.2", 1.3: "1.3"}
"""YAML reads a number, the environment gives text."""


def _version(value: object) -> str:
    if isinstance(value, str | float) and value in _VERSIONS:
        return _VERSIONS[value]
    raise expected("1.2 or 1.3")


TlsVersion = Annotated[
    Literal["1.2", "1.3"],
    BeforeValidator(_version),
    WithJsonSchema({"enum": list(_VERSIONS)}),
]


class Tls(Model):
    """TLS for clients; renewed files are taken up within seconds."""

    certificate: ReadableFile
    """Our certificate and its chain (PEM)."""
    key: ReadableFile
    """Its private key (PEM), without a password."""
    min_version: TlsVersion = "1.2"
    """The least version of TLS."""
    client_certificates: Literal["none", "optional", "required"] = "none"
    """Whether clients show a certificate; `required` refuses them in the handshake."""
    client_ca: ReadableFile | None = None
    """Who signs the clients' certificates (PEM)."""

    @model_validator(mode="after")
    def _client_ca_is_used(self) -> Self:
        if (self.client_ca is None) != (self.client_certificates == "none"):
            raise expected("client_ca along with client_certificates, or neither")
        if self.client_ca is not None and not certificates(self.client_ca):
            raise expected("a client_ca with certificates (PEM)")
        return self

    @model_validator(mode="after")
    def _key_fits(self) -> Self:
        if not belong_together(self.certificate, self.key):
            raise expected(
                "a certificate and the key that belongs to it, both PEM and the key "
                "without a password"
            )
        return self


class Listen(Model):
    """Where listeners are opened."""

    proxy: DoorAddress = Address("0.0.0.0", 8080)  # noqa: S104 -- the clients' door
    """For clients: `host:port`, or `unix:/path`."""
    tls: Tls | None = None
    """TLS for clients."""
    proxy_protocol: tuple[TrustedNetwork, ...] = ()
    """Balancers that begin each connection with a PROXY header; others must not."""
    status: ListenAddress = Address("0.0.0.0", 9090)  # noqa: S104 -- kubelet, Prometheus
    """/livez, /readyz, /startupz and /metrics, without authentication."""
    admin: ListenAddress = Address("127.0.0.1", 9091)
    """The console and /api/; beyond loopback, all of it takes `admin.token`."""
    authz: ListenAddress | None = None
    """Where nginx, Traefik, Caddy and Envoy ask for decisions; not opened by default."""
    authz_grpc: ListenAddress | None = None
    """Where Envoy asks over gRPC (extra `grpc`); not opened by default."""
