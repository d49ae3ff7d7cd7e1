"""An engine that asks the decision door: raw bytes, as nginx and its kin write them."""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from gateway.fronts.bounded import BoundedSite
from gateway.fronts.counsel import Counsel
from gateway.fronts.forward_auth import ForwardAuth
from gateway.rules.forwarded import TrustedProxies
from tests.fronts.house import Door, Told, read_responses
from tests.wire.harness import Client

LOOPBACK = ipaddress.ip_network("127.0.0.0/8")


@dataclass
class Desk:
    """The decision door, and the house it belongs to."""

    house: Door
    forward_auth: ForwardAuth
    port: int

    async def send(self, path: str, *headers: str | bytes, method: str = "GET") -> Told:
        """Send exactly these header lines."""
        answer = await self.raw(path, *headers, method=method)
        (told,) = read_responses(answer, bodiless=method == "HEAD")
        return told

    async def raw(self, path: str, *headers: str | bytes, method: str = "GET") -> bytes:
        """Send exactly these header lines, and give all that comes."""
        lines = [f"{method} {path} HTTP/1.1".encode()]
        lines += [each.encode() if isinstance(each, str) else each for each in headers]
        lines += [b"Connection: close", b"", b""]
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        try:
            await client.send(b"\r\n".join(lines))
            return await client.read_all()
        finally:
            client.writer.close()

    async def ask(
        self,
        door: str,
        line: str,
        *headers: str | bytes,
        token: str | None = None,
        host: str = "books.example",
    ) -> Told:
        """Ask about `GET /path` as that engine would."""
        method, _, target = line.partition(" ")
        bearer = [] if token is None else [f"Authorization: Bearer {token}"]
        path, sent, own = question(door, method, target, host)
        return await self.send(path, *own, *bearer, *headers, method=sent)


def question(
    door: str, method: str, target: str, host: str
) -> tuple[str, str, list[str]]:
    """Give the path, the method and the headers of a convention."""
    if door == "envoy":
        return f"/envoy{target}", method, [f"Host: {host}"]
    if door.startswith("nginx"):
        path = "/nginx/refusal" if door == "nginx_refusal" else "/nginx"
        told = [f"Host: {host}", f"X-Original-Method: {method}"]
        return path, "GET", [*told, f"X-Original-URI: {target}"]
    told = [f"X-Forwarded-Method: {method}", f"X-Forwarded-Host: {host}"]
    told += [f"X-Forwarded-Uri: {target}", "X-Forwarded-Proto: http"]
    return f"/{door}", "GET", ["Host: 127.0.0.1", *told]


@asynccontextmanager
async def desk(
    house: Door, *, peers: tuple[str, ...] = ("127.0.0.0/8",)
) -> AsyncIterator[Desk]:
    """Open the decision door of a house."""
    networks = tuple(map(ipaddress.ip_network, peers))
    forward_auth = ForwardAuth(
        Counsel(lambda: house.front.setup, lambda: house.reception),
        peers=TrustedProxies(networks),
        hops=TrustedProxies(networks),
    )
    server = web.Server(forward_auth.handle, handler_cancellation=True)
    runner = web.ServerRunner(server, shutdown_timeout=1)
    await runner.setup()
    try:
        await BoundedSite(runner, socket.create_server(("127.0.0.1", 0))).start()
        yield Desk(house, forward_auth, runner.addresses[0][1])
    finally:
        await runner.cleanup()
