"""`gateway demo`: the sandbox, a gateway in front of it, and lines to paste. Floor 5."""

import errno
import os
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Final

from gateway.app import SystemClock
from gateway.client import DEVICE
from gateway.errors import GatewayError
from gateway.sandbox.app import Sandbox, start
from gateway.sandbox.keys import SandboxKeys
from gateway.values import Secret


class CannotStart(GatewayError):
    """The demo cannot start; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where the demo listens, on 127.0.0.1."""

    proxy: int = 8080
    status: int = 9090
    admin: int = 9091
    sandbox: int = 9100


def configuration() -> Path:
    """Give the demo's configuration: the repository's, or the packaged copy."""
    beside = Path(__file__).parent.parent / "config" / "gateway.yaml"
    if beside.exists():
        return beside
    return Path(str(files("gateway.config") / "examples" / "gateway.yaml"))


@asynccontextmanager
async def sandbox(
    ports: Ports, *, melon: str | None = None, nugu: str | None = None
) -> AsyncIterator[Sandbox]:
    """Run the sandbox, with fresh keys for providers that are given none."""
    fresh = SandboxKeys.generate()
    keys = replace(
        fresh, melon=Secret(melon or fresh.melon), nugu=Secret(nugu or fresh.nugu)
    )
    try:
        world = await start(port=ports.sandbox, keys=keys, clock=SystemClock())
    except OSError as error:
        busy = error.errno == errno.EADDRINUSE
        why = "the port is in use" if busy else error.strerror
        raise CannotStart(
            f"sandbox: cannot listen on 127.0.0.1:{ports.sandbox}: {why};"
            " choose another with --sandbox-port"
        ) from error
    try:
        yield world
    finally:
        await world.close()


def environment(ports: Ports, world: Sandbox, store_url: str) -> Mapping[str, str]:
    """Give the environment that the demo's configuration asks for."""
    return {
        **os.environ,
        "GATEWAY_HOST": "127.0.0.1",
        "GATEWAY_PROXY_PORT": str(ports.proxy),
        "GATEWAY_STATUS_PORT": str(ports.status),
        "GATEWAY_ADMIN_PORT": str(ports.admin),
        "GATEWAY_STORE_URL": store_url,
        "GATEWAY_SECRET": secrets.token_urlsafe(32),
        "GATEWAY_ADMIN_TOKEN": os.environ.get("GATEWAY_ADMIN_TOKEN")
        or secrets.token_urlsafe(24),
        "MELON_JWT_KEY": str(world.keys.melon),
        "NUGU_JWT_KEY": str(world.keys.nugu),
        "OTTM_API_BASE": f"{world.url}/ottm",
        "SANDBOX_URL": world.url,
    }


def lines(ports: Ports, admin_token: str, *, command: str) -> str:
    """Give what a newcomer reads: what runs where, and lines to paste."""
    return _LINES.format(
        proxy=ports.proxy,
        status=ports.status,
        admin=ports.admin,
        sandbox=ports.sandbox,
        admin_token=admin_token,
        command=command,
        base=""
        if ports.proxy == Ports().proxy
        else f" --base http://127.0.0.1:{ports.proxy}",
        desk=""
        if ports.admin == Ports().admin
        else f" --admin http://127.0.0.1:{ports.admin}",
        device=DEVICE,
    )


_LINES: Final = """
token-gateway demo: three providers, one gateway. Ctrl-C ends it. FOR DEVELOPMENT ONLY.

  gateway   http://127.0.0.1:{proxy}   hosts melon.localhost, nugu.localhost, ottm.localhost
  status    http://127.0.0.1:{status}/readyz  /metrics
  console   http://127.0.0.1:{admin}   open it in a browser; sign in: any name, the token below
  sandbox   http://127.0.0.1:{sandbox}   the providers themselves (open it in a browser)

Paste into another terminal (in this folder):

export GATEWAY_ADMIN_TOKEN={admin_token}

# melon: music. Allowed, in the header and in the query; missing scope; revoked.
T=$({command} token --provider melon --scope "streaming user-like-read"{base})
curl -i -H "Authorization: Bearer $T" http://melon.localhost:{proxy}/oauth/likes
curl -i "http://melon.localhost:{proxy}/oauth/delivery/streaming_path.json?access_token=$T"
curl -o track.wav -r 0-999999 -H "Authorization: Bearer $T" http://melon.localhost:{proxy}/oauth/delivery/tracks/1
curl -i -H "Authorization: Bearer $T" http://melon.localhost:{proxy}/oauth/playlists
echo "$T" | {command} revoke --provider melon --token-file -{desk}
curl -i -H "Authorization: Bearer $T" http://melon.localhost:{proxy}/oauth/likes

# nugu: voice. The device must be the token's own.
T=$({command} token --provider nugu{base})
curl -i -H "Authorization: Bearer $T" -H "Device-Serial-Number: {device}" http://nugu.localhost:{proxy}/v1/devices/me
curl -i -H "Authorization: Bearer $T" -H "Device-Serial-Number: ANOTHER" http://nugu.localhost:{proxy}/v1/devices/me
echo "$T" | {command} revoke --provider nugu --token-file -{desk}
curl -i -H "Authorization: Bearer $T" -H "Device-Serial-Number: {device}" http://nugu.localhost:{proxy}/v1/devices/me

# ottm: membership. Errors are 400 with a code: 10074 is a missing scope, 10075 a bad token.
T=$({command} token --provider ottm --scope openid{base})
curl -i -H "Authorization: Bearer $T" http://ottm.localhost:{proxy}/membership/v1/me
curl -i -H "Authorization: Bearer $T" http://ottm.localhost:{proxy}/membership/v1/benefits
# why? The whole decision, without serving the request; then revoked:
echo "$T" | {command} explain GET http://ottm.localhost/membership/v1/me --token-file -{desk}
echo "$T" | {command} revoke --provider ottm --token-file -{desk}
curl -i -H "Authorization: Bearer $T" http://ottm.localhost:{proxy}/membership/v1/me
"""
