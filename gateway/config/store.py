"""The `store` section: where facts are shared, and how one is let in. Floor 2: pure.

But for certificates and keys, which are read to prove that they are usable.

A URL may hold a password, so no complaint here ever shows what was found. It has no
options either: those of a client library could switch the host check off.
"""

import enum
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Self
from urllib.parse import unquote

import msgspec
from pydantic import AfterValidator, Field, model_validator

from gateway.config.addresses import IPV6
from gateway.config.certificates import prove_client_pair
from gateway.config.fields import Model, ReadableFile, SecretText
from gateway.config.units import expected
from gateway.config.upstreams import CertificateFile
from gateway.values import Secret


class Topology(enum.StrEnum):
    """Who is asked where an entry is."""

    SINGLE = ""
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


class StoreUrl(msgspec.Struct, frozen=True, kw_only=True):
    """A `redis://` URL and its kin, taken apart. `service` is the sentinels' name."""

    topology: Topology
    tls: bool
    hosts: tuple[tuple[str, int], ...]
    database: int = 0
    service: str = ""
    username: Secret | None = None
    password: Secret | None = None


class StoreAccess(msgspec.Struct, frozen=True, kw_only=True):
    """What it takes to be let in, beside what the URL says."""

    username: Secret | None = None
    password: Secret | None = None
    sentinel_username: Secret | None = None
    sentinel_password: Secret | None = None
    ca_file: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None


NOTHING_MORE: Final = StoreAccess()
"""What it takes where the URL says it all."""

_HOST: Final = rf"(?:[A-Za-z0-9._-]+|{IPV6})(?::[0-9]{{1,5}})?"
_HOSTS: Final = rf"(?P<hosts>{_HOST}(?:,{_HOST})*)"
_LOGIN: Final = r"(?:(?P<username>[^:@/?#\s]*):(?P<password>[^@/?#\s]+)@)?"
_DATABASE: Final = r"(?:/(?P<database>[0-9]{0,5}))?"

_URLS: Final[Mapping[Topology, tuple[re.Pattern[str], int, str]]] = {
    Topology.SINGLE: (
        re.compile(rf"redis(?P<tls>s?)://{_LOGIN}(?P<hosts>{_HOST}){_DATABASE}"),
        6379,
        "redis://user:password@host:6379/0",
    ),
    Topology.SENTINEL: (
        re.compile(
            rf"redis(?P<tls>s?)\+sentinel://{_LOGIN}{_HOSTS}"
            rf"/(?P<service>[A-Za-z0-9._-]+){_DATABASE}"
        ),
        26379,
        "redis+sentinel://host:26379,host:26379/service/0",
    ),
    Topology.CLUSTER: (
        re.compile(rf"redis(?P<tls>s?)\+cluster://{_LOGIN}{_HOSTS}/?"),
        6379,
        "redis+cluster://host:6379,host:6379",
    ),
}
"""The form of each URL, the port it stands for, and an example."""


def parse_store_url(text: str) -> StoreUrl:
    """Take a URL apart, or raise `ValueError` with what was expected instead."""
    named = text.partition("://")[0].partition("+")[2]
    topology = Topology(named) if named in set(Topology) else Topology.SINGLE
    form, port, example = _URLS[topology]
    if found := form.fullmatch(text):
        parts = found.groupdict()
        hosts = tuple(_host(each, port) for each in parts["hosts"].split(","))
        if all(0 < each[1] <= 65535 for each in hosts):
            return StoreUrl(
                topology=topology,
                tls=bool(parts["tls"]),
                hosts=hosts,
                database=int(parts.get("database") or 0),
                service=parts.get("service") or "",
                username=_unescaped(parts["username"]),
                password=_unescaped(parts["password"]),
            )
    raise ValueError(
        f"a URL such as {example}, with %-escapes in user and password and no options"
    )


def is_redis(url: str) -> bool:
    """Tell whether a URL is of the family that is read here."""
    return url.startswith(("redis:", "rediss:", "redis+", "rediss+"))


def _host(text: str, port: int) -> tuple[str, int]:
    if text.endswith("]"):
        return text.strip("[]"), port
    host, _, given = text.rpartition(":") if ":" in text else (text, "", "")
    return host.strip("[]"), int(given or port)


def _unescaped(text: str | None) -> Secret | None:
    return Secret(unquote(text)) if text else None


def _usable(url: Secret) -> Secret:
    """Prove the URL of a server; other schemes are the business of their stores."""
    if is_redis(url):
        parse_store_url(url)
    return url


_TLS_KEYS: Final = frozenset({"ca_file", "client_cert", "client_key"})
_LOGIN_KEYS: Final = frozenset({"username", "password"})
_SENTINEL_KEYS: Final = frozenset({"sentinel_username", "sentinel_password"})


class Store(Model):
    """Where facts are shared between processes."""

    url: Annotated[SecretText, AfterValidator(_usable)] = Field(
        default_factory=lambda: Secret("memory://")
    )
    """`memory://` keeps them in the process; `redis://…` shares them."""
    username: SecretText | None = None
    """The ACL user, if not in the URL."""
    password: SecretText | None = None
    """Its password, or the server's, if not in the URL."""
    sentinel_username: SecretText | None = None
    """The ACL user of the sentinels."""
    sentinel_password: SecretText | None = None
    """Its password, or the sentinels'; without one they are asked as nobody."""
    ca_file: CertificateFile | None = None
    """Certificates (PEM) that are trusted instead of the system's."""
    client_cert: ReadableFile | None = None
    """Our certificate and its chain (PEM), for servers that ask for one."""
    client_key: ReadableFile | None = None
    """Its private key (PEM), without a password."""

    @model_validator(mode="after")
    def _keys_are_used(self) -> Self:
        """Refuse a key that would do nothing: somebody believes that it does."""
        given = self.model_fields_set
        url = parse_store_url(self.url) if is_redis(self.url) else None
        if url is None and (unused := sorted(given - {"url"})):
            raise expected(f"a redis URL, since there is {unused[0]}")
        if url is None:
            return self
        if not url.tls and (unused := sorted(given & _TLS_KEYS)):
            raise expected(f"a rediss URL, since there is {unused[0]}")
        asked = url.topology is Topology.SENTINEL
        if not asked and (unused := sorted(given & _SENTINEL_KEYS)):
            raise expected(f"a redis+sentinel URL, since there is {unused[0]}")
        if (url.username or url.password) and (twice := sorted(given & _LOGIN_KEYS)):
            raise expected(f"a URL without a password, since there is {twice[0]}")
        return self

    @model_validator(mode="after")
    def _users_have_passwords(self) -> Self:
        for user, password in (
            ("username", self.password),
            ("sentinel_username", self.sentinel_password),
        ):
            if getattr(self, user) is not None and password is None:
                raise expected(f"a {user.replace('username', 'password')} for {user}")
        return self

    @model_validator(mode="after")
    def _key_fits(self) -> Self:
        prove_client_pair(self.client_cert, self.client_key)
        return self

    def access(self) -> StoreAccess:
        """Give what a store needs to be let in, beside its URL."""
        return StoreAccess(
            username=self.username,
            password=self.password,
            sentinel_username=self.sentinel_username,
            sentinel_password=self.sentinel_password,
            ca_file=self.ca_file,
            client_cert=self.client_cert,
            client_key=self.client_key,
        )
