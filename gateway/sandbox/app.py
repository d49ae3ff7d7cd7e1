"""The sandbox: three virtual providers and their APIs on one loopback port.

Apart from the floors; only `gateway.cli` opens it. A provider is reached by the first
label of the Host (`melon.localhost`, any port) or by a first path segment (`/melon/…`),
so that it works with and without names.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol
from urllib.parse import parse_qsl, quote, urlencode

from aiohttp import web

from gateway.ports import Clock
from gateway.sandbox import pages
from gateway.sandbox.authorization import AuthorizationEndpoint
from gateway.sandbox.keys import SandboxKeys
from gateway.sandbox.ledger import Client, Ledger
from gateway.sandbox.provider import Provider
from gateway.sandbox.providers.melon import MELON
from gateway.sandbox.providers.nugu import NUGU
from gateway.sandbox.providers.ottm import OTTM
from gateway.sandbox.resources import Melon, Nugu, Ottm
from gateway.sandbox.tokens import TokenEndpoints

CALLBACK_PATH: Final = "/callback"
PARTNER_CALLBACK: Final = "https://partner.site.com/callback"
# Development clients and their grant types; the secret of each is `NAME-secret`.
CLIENTS: Final = {
    "demo": ("authorization_code", "refresh_token"),
    "demo-code-only": ("authorization_code",),
}
BODY_LIMIT_BYTES: Final = 64 * 1024
BACKLOG: Final = 1024


class Part(Protocol):
    """Something that has routes."""

    def routes(self) -> list[web.RouteDef]:
        """Give them."""
        ...


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A running sandbox."""

    url: str
    port: int
    keys: SandboxKeys
    _runner: web.AppRunner = field(repr=False)

    async def close(self) -> None:
        """Stop listening and let go of every connection."""
        await self._runner.cleanup()


async def start(
    host: str = "127.0.0.1", port: int = 9100, *, keys: SandboxKeys, clock: Clock
) -> Sandbox:
    """Serve the sandbox; port 0 takes a free one.

    Raises ValueError for an address that is not loopback, OSError when the port is
    taken.
    """
    if not ipaddress.ip_address(host).is_loopback:
        message = "the sandbox hands out tokens to anybody: it listens on loopback only"
        raise ValueError(message)
    templates = await asyncio.to_thread(pages.read_templates)
    listener = _listen(host, port)
    bound: int = listener.getsockname()[1]
    authority = f"[{host}]:{bound}" if ":" in host else f"{host}:{bound}"
    url = f"http://{authority}"
    app = _application(url, templates, keys, clock)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.SockSite(runner, listener, backlog=BACKLOG).start()
    return Sandbox(url, bound, keys, runner)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family)


def _application(
    url: str, templates: Mapping[str, str], keys: SandboxKeys, clock: Clock
) -> web.Application:
    app = web.Application(client_max_size=BODY_LIMIT_BYTES)
    pages.install(app, templates)
    clients = _clients(url + CALLBACK_PATH)
    site = Site(url, clients)
    app.add_routes(site.routes())
    for provider, resources in ((MELON, Melon()), (NUGU, Nugu()), (OTTM, Ottm())):
        ledger = Ledger()
        parts: tuple[Part, ...] = (
            AuthorizationEndpoint(provider, clients, ledger, clock),
            TokenEndpoints(
                provider,
                clients,
                ledger,
                clock,
                keys=keys,
                issuer=f"{url}/{provider.name}",
            ),
            resources,
        )
        # An application can be mounted once: two doors, the same parts behind both.
        app.add_subapp(f"/{provider.name}", _subapplication(parts))
        app.add_domain(f"{provider.name}.*", _subapplication(parts))
    return app


def _subapplication(parts: tuple[Part, ...]) -> web.Application:
    app = web.Application()
    for part in parts:
        app.add_routes(part.routes())
    return app


def _clients(callback: str) -> dict[str, Client]:
    redirect_uris = frozenset({callback, PARTNER_CALLBACK})
    return {
        name: Client(
            id=name,
            secret=f"{name}-secret",
            redirect_uris=redirect_uris,
            grant_types=frozenset(grant_types),
        )
        for name, grant_types in CLIENTS.items()
    }


class Site:
    """The sandbox's own pages."""

    def __init__(self, url: str, clients: Mapping[str, Client]) -> None:
        self._url = url
        self._clients = clients

    def routes(self) -> list[web.RouteDef]:
        """Give the routes of the pages."""
        return [web.get("/", self.start), web.get(CALLBACK_PATH, self.callback)]

    async def start(self, request: web.Request) -> web.Response:
        """Show what is here and a way into each provider."""
        context = {
            "url": self._url,
            "clients": self._clients.values(),
            "callback": self._url + CALLBACK_PATH,
            "partner_callback": PARTNER_CALLBACK,
            "doors": [
                (provider, self._example(provider)) for provider in (MELON, NUGU, OTTM)
            ],
        }
        return pages.page(request, "start.html", context)

    async def callback(self, request: web.Request) -> web.Response:
        """Show what an authorization server answered, for copying."""
        answered = dict(parse_qsl(request.query_string, keep_blank_values=True))
        return pages.page(request, "callback.html", {"answered": answered})

    def _example(self, provider: Provider) -> str:
        parameters = {
            "response_type": "code",
            "client_id": "demo",
            "redirect_uri": self._url + CALLBACK_PATH,
            **provider.example,
            "state": provider.name,
        }
        query = urlencode(parameters, quote_via=quote)
        return f"/{provider.name}{provider.paths['authorize']}?{query}"
