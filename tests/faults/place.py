"""Where faults happen: two real gateways that share a store, and all around them."""

import asyncio
import ssl
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import trustme

from gateway.app import SystemClock
from tests.faults.back import Back, behaving
from tests.faults.crew import Line, Lost, Pass, fresh
from tests.faults.moody import Moody
from tests.faults.proxy import FaultProxy, faulty
from tests.functional.harness import Gateway
from tests.signing import jwk, sign
from tests.soak.counting import start
from tests.stores.groups import cluster, sentinels
from tests.stores.servers import Server, serving

KNOWN: Final = 20
ASKING: Final = 0.5
"""Seconds a provider has to answer."""

CONFIG: Final = """
log: {{access: false}}
store: {{url: "{store}"}}
revocation: {{max_blind: 1s}}
limits: {{unknown_tokens: {{burst: 1000000}}}}
providers:
  idp:
    verify: [introspection]
    introspection: {{url: "{idp}/introspect", client_id: us, client_secret: s, timeout: {asking}s}}
    cache: {{ttl: 10m}}
  tls:
    verify: [introspection]
    introspection: {{url: "{tls}/introspect", client_id: us, client_secret: s, timeout: {asking}s}}
    ca_file: {ca}
    cache: {{ttl: 10m}}
  jwt:
    verify: [jwt]
    jwt: {{algorithms: [ES256], jwks_url: "{idp}/keys", jwks_ttl: 1s, refetch_cooldown: 1s, timeout: {asking}s}}
    cache: {{ttl: 10m}}
upstreams:
  back: {{targets: ["http://127.0.0.1:{back}"]}}
routes:
  - {{id: idp, match: {{path: "/idp/**"}}, provider: idp, upstream: back}}
  - {{id: strict, match: {{path: "/strict/**"}}, provider: idp, upstream: back, revocation: strict}}
  - {{id: tls, match: {{path: "/tls/**"}}, provider: tls, upstream: back}}
  - {{id: jwt, match: {{path: "/jwt/**"}}, provider: jwt, upstream: back}}
"""


class Authority:
    """Whoever vouches for the provider; its certificates are made once."""

    def __init__(self, folder: Path) -> None:
        ca = trustme.CA()
        self.file = folder / "ca.pem"
        ca.cert_pem.write_to_path(self.file)
        past = datetime(2020, 1, 1, tzinfo=UTC)
        self.good = _presenting(ca.issue_cert("127.0.0.1"))
        self.another = _presenting(ca.issue_cert("elsewhere.example"))
        self.expired = _presenting(
            ca.issue_cert(
                "127.0.0.1", not_before=past, not_after=past.replace(year=2021)
            )
        )


def _presenting(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@dataclass
class Place:
    """The gateways, and what can be done to what they need."""

    gateways: list[Gateway]
    idp: Moody
    tls: Moody
    authority: Authority
    back: Back
    server: Server
    """The store's server: of several, the one that will be missed most."""
    network: FaultProxy | None
    signer: int = 0
    """Which key the provider signs with."""

    @property
    def ports(self) -> list[int]:
        """Where clients knock."""
        return [gateway.ports.proxy for gateway in self.gateways]

    # ------------------------------------------------------------------- who comes

    def cold(self, route: str) -> Pass:
        """Make a good token that nobody has seen."""
        if route != "jwt":
            return fresh("T")
        bearer = fresh("J")
        return Pass(self._signed(bearer.subject), bearer.subject)

    def bad(self, route: str) -> Pass:
        """Make a token that the provider never gave out."""
        bearer = fresh("X")
        if route != "jwt":
            return bearer
        # Both by a stranger's key: one claims to be the provider's, one nobody's.
        number = int(bearer.token.rpartition("-")[2])
        name = key_name(self.signer if number % 2 else 1000 + number)
        return Pass(_jwt(bearer.subject, name, which=99), bearer.subject)

    def _signed(self, subject: str) -> str:
        return _jwt(subject, key_name(self.signer), which=self.signer)

    async def known(self, route: str) -> list[Pass]:
        """Make good tokens that both gateways know."""
        bearers = [self.cold(route) for _ in range(KNOWN)]
        for port in self.ports:
            await self._must_hear(port, f"/{route}/x", bearers, 200)
        return bearers

    async def revoked(self, route: str) -> list[Pass]:
        """Make good tokens that are revoked, and known to be so."""
        bearers = [self.cold(route) for _ in range(5)]
        await self._must_hear(self.ports[0], f"/{route}/x", bearers, 200)
        for bearer in bearers:
            await asyncio.to_thread(self.gateways[0].revoke, route, bearer.token)
        for port in self.ports:
            await self._must_hear(port, f"/{route}/x", bearers, 401)
        return bearers

    async def _must_hear(
        self, port: int, path: str, bearers: list[Pass], status: int
    ) -> None:
        line = Line(port)
        try:
            for bearer in bearers:
                async with asyncio.timeout(10):
                    while (await line.ask(path, bearer.token)).status != status:  # noqa: ASYNC110 -- a gateway's
                        await asyncio.sleep(0.05)
        finally:
            line.close()

    # ------------------------------------------------------------------- how it fares

    async def tries(self, provider: str) -> int:
        """Count how often a provider was called, or tried to be."""
        counts = [
            await asyncio.to_thread(_calls, gateway, provider)
            for gateway in self.gateways
        ]
        return sum(counts)

    async def is_well(self, route: str) -> bool:
        """Tell whether new tokens are served, and what is shared is shared.

        One question for both gateways, where they share facts; and a token that is
        revoked at one is refused at the other, at once or nearly.
        """
        bearer, lines = self.cold(route), [Line(port) for port in self.ports]
        path = f"/{route}/x"
        try:
            for line in lines:
                if (await line.ask(path, bearer.token)).status != 200:
                    return False
            asked = {"idp": self.idp, "tls": self.tls}.get(route)
            if asked is not None and asked.asked[bearer.token] != 1:
                return False
            revoke = self.gateways[0].revoke
            await asyncio.to_thread(revoke, route, bearer.token)
            for _ in range(20):
                if (await lines[1].ask(path, bearer.token)).status == 401:
                    return True
                await asyncio.sleep(0.01)
        except (Lost, AssertionError):
            pass
        finally:
            for line in lines:
                line.close()
        return False


def key_name(which: int) -> str:
    """Name a key."""
    return f"key-{which}"


def published(*which: int) -> dict[str, Any]:
    """Give the JWK set of these keys."""
    return {"keys": [jwk("ES256", one, kid=key_name(one)) for one in which]}


def _jwt(subject: str, name: str, *, which: int) -> str:
    end = SystemClock.now() + 3600
    claims = {"sub": subject, "client_id": "shop", "exp": end}
    return sign(claims, "ES256", {"kid": name}, which=which)


def _calls(gateway: Gateway, provider: str) -> int:
    every = gateway.metric("idp_requests_total", provider=provider)
    unasked = ("open", "busy")
    return int(
        every
        - sum(
            gateway.metric("idp_requests_total", provider=provider, code=code)
            for code in unasked
        )
    )


# --------------------------------------------------------------------- the stores


@contextmanager
def _alone() -> Iterator[tuple[str, Server]]:
    with serving("valkey") as server:
        yield server.url, server


@contextmanager
def _sentinels() -> Iterator[tuple[str, Server]]:
    with sentinels() as group:
        yield group.url, group.primary


@contextmanager
def _cluster() -> Iterator[tuple[str, Server]]:
    with cluster() as group:
        yield group.url, group.nodes[0]


STORES: Final = {
    "valkey": _alone,
    "network": _alone,
    "sentinel": _sentinels,
    "cluster": _cluster,
}
"""What a place can have for a store; *network* has one behind a bad network."""


@asynccontextmanager
async def opened(store: str) -> AsyncIterator[Place]:
    """Build a place with this store; prove on leaving that no gateway has crashed."""
    async with AsyncExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="faults-"))
        folder = Path(name)
        url, server = stack.enter_context(STORES[store]())
        network = None
        if store == "network":
            network = await stack.enter_async_context(faulty(server.port))
            url = f"redis://127.0.0.1:{network.port}"
        authority = Authority(folder)
        idp, tls = Moody(), Moody(authority.good)
        idp.keys = published(0)
        for provider in (idp, tls):
            await provider.start()
            stack.push_async_callback(provider.stop)
        back = await stack.enter_async_context(behaving())
        text = CONFIG.format(
            store=url,
            idp=idp.url,
            tls=tls.url,
            ca=authority.file,
            back=back.port,
            asking=ASKING,
        )
        gateways = []
        for number in range(2):
            inside = folder / str(number)
            inside.mkdir()
            gateways.append(start(text, inside))
            stack.callback(gateways[-1].kill)
        for gateway in gateways:
            await asyncio.to_thread(gateway.await_ready)
        yield Place(gateways, idp, tls, authority, back, server, network)
        for gateway in gateways:
            assert await asyncio.to_thread(gateway.stop) == 0, gateway.said()[-2000:]
            assert not gateway.crashes(), gateway.crashes()[:5]
