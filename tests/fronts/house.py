"""The main door between a raw client and a strict upstream, decided by real rules.

Everything is real but the promises: what is known of tokens, the marks, the pens for
grants and marks, and the clock. On leaving it is proven that nothing is left behind,
that every request had one record, and that the upstream was never sent a byte that a
strict parser refuses.
"""

import asyncio
import ipaddress
import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import httptools

from gateway.dialects import melon, nugu, ottm, rfc6750
from gateway.errors import ProviderUnavailable, StoreUnavailable
from gateway.facts.mark_stream import ClearSight
from gateway.facts.renewals import Renewals
from gateway.facts.shared import Uncounted
from gateway.fronts.logout import Logouts, Notary
from gateway.fronts.oauth import Guards, TokenEndpoint
from gateway.fronts.proxy import ProxyFront
from gateway.fronts.reception import Reception, Setup
from gateway.gatekeeper import Gatekeeper
from gateway.ports import Dialect, Sight
from gateway.rules.engine_headers import EngineHeaders
from gateway.rules.forwarded import TrustedProxies
from gateway.rules.headers import HeaderRules
from gateway.rules.routing import Routes
from gateway.stores.memory import MemoryStore
from gateway.tasks import running
from gateway.values import (
    Access,
    Cors,
    Exchange,
    Grant,
    Guard,
    Header,
    IdentityHeaders,
    Invalid,
    Knowledge,
    Mark,
    MarkKind,
    Notes,
    Origin,
    Reason,
    Requirements,
    Route,
    RouteKind,
    Source,
    Timeouts,
    TokenFacts,
    TokenPlace,
    UpstreamSettings,
    WireLimits,
)
from gateway.wire.deadlines import Deadlines
from gateway.wire.downstream import Downstream
from gateway.wire.pool import Pool
from tests.fakes import Clock
from tests.wire.harness import Client, HandLoop, Script, Upstream, turns, until

SECRET = "s" * 32
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
DIALECTS: Mapping[str, Any] = {
    "rfc6750": rfc6750,
    "melon": melon,
    "nugu": nugu,
    "ottm": ottm,
}


def api(path: str, *scopes: str, **settings: Any) -> Route:
    """Make a route that needs a token of the one provider."""
    name = path.strip("/*").replace("/", "-")
    known = {
        "id": name,
        "path": path,
        "provider": "idp",
        "upstream": "u",
        "require": Requirements(
            scopes=tuple(map(frozenset, [scopes] if scopes else []))
        ),
    }
    return Route(**{**known, **settings})


def public(path: str, **settings: Any) -> Route:
    """Make a route that asks for no token."""
    return api(path, access=Access.PUBLIC, **settings)


def oauth(kind: RouteKind, path: str, *methods: str, **settings: Any) -> Route:
    """Make a guarded endpoint of the provider."""
    named = {"host": "books.example", **settings}
    return api(path, kind=kind, methods=frozenset(methods), **named)


ROUTES: tuple[Route, ...] = (
    public("/public/**"),
    api("/api/**", "read", realm="books"),
    api("/admin/**", "admin"),
    api("/optional/**", access=Access.OPTIONAL),
    api("/query/**", token_from=frozenset(TokenPlace)),
    api("/pass/**", pass_token=True),
    public("/passing/**", pass_token=True),
    api("/ws/**", upgrades=frozenset({b"websocket"})),
    api("/strip/**", strip_prefix=b"/strip", add_prefix=b"/v1"),
    public("/slash/**", encoded_slash=True),
    public("/small/**", body_limit_bytes=10),
    public("/read", methods=frozenset({"GET"})),
    public("/**", id="named", host="named.example"),
    public(
        "/cors/**",
        cors=Cors(
            origins=frozenset({"https://app.example"}),
            methods=frozenset({"GET", "PUT"}),
            headers=frozenset({"authorization"}),
        ),
    ),
    api("/locked/**", dialect="ottm", realm="ottm"),
    oauth(RouteKind.OAUTH_AUTHORIZE, "/oauth/authorize", "GET"),
    oauth(RouteKind.OAUTH_TOKEN, "/oauth/token", "POST"),
    oauth(RouteKind.OAUTH_TOKEN, "/elsewhere/token", "POST"),
    oauth(RouteKind.OAUTH_TOKEN, "/other/token", "POST", upstream="other"),
    oauth(RouteKind.OAUTH_TOKEN, "/dead/token", "POST", upstream="dead"),
    oauth(
        RouteKind.OAUTH_TOKEN,
        "/melon/token",
        "POST",
        dialect="melon",
        guard=Guard(form="melon", https_only=True),
        strip_prefix=b"/melon",
        add_prefix=b"/oauth",
    ),
    oauth(
        RouteKind.OAUTH_TOKEN,
        "/any/token",
        "POST",
        host="*",
        strip_prefix=b"/any",
        add_prefix=b"/oauth",
    ),
    oauth(
        RouteKind.OAUTH_TOKEN,
        "/tight/token",
        "POST",
        body_limit_bytes=100,
        timeouts=Timeouts(first_byte=0.05),
    ),
    oauth(RouteKind.OAUTH_REVOKE, "/oauth/revoke", "POST"),
    oauth(RouteKind.OAUTH_USERINFO, "/oauth/userinfo", "GET"),
)


METADATA = public(
    "/metadata",
    kind=RouteKind.PROTECTED_RESOURCE,
    methods=frozenset({"GET"}),
    document=b'{"resource":"https://books.example"}',
    upstream="",
)


class Facts:
    """What is known of tokens; a token not in `known` is invalid."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.known: dict[str, TokenFacts | Invalid | Exception] = {
            "Tr": self.facts("read"),
            "Ta": self.facts("admin"),
            "Tra": self.facts("read", "admin"),
            "Tdown": ProviderUnavailable("idp does not answer"),
            "Tstore": StoreUnavailable("redis does not answer"),
            "Tcrash": RuntimeError("a fault of ours"),
        }
        self.remembered: set[str] = set()
        self.asked: list[str] = []
        self.forgotten: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    def facts(self, *scopes: str, **more: Any) -> TokenFacts:
        """Make the facts of a good token."""
        known = {
            "provider": "idp",
            "subject": "ada",
            "client": "shop",
            "scopes": frozenset(scopes),
            "expires_at": self.clock.now() + 300,
        }
        return TokenFacts(**{**known, **more})

    def recall(self, token: str, notes: Notes | None = None) -> Knowledge | None:
        return self._told(token, Source.L1) if token in self.remembered else None

    async def learn(
        self, token: str, *, max_age: float = math.inf, client: str = ""
    ) -> Knowledge:
        self.asked.append(token)
        await self.gate.wait()
        knowledge = self._told(token, Source.PROVIDER)
        self.remembered.add(token)
        return knowledge

    async def forget(self, token: str, *, source: str) -> None:
        self.forgotten.append(token)
        self.remembered.discard(token)

    def _told(self, token: str, source: Source) -> Knowledge:
        found = self.known.get(token, Invalid(Reason.INACTIVE))
        if isinstance(found, Exception):
            raise found
        return Knowledge(found, source, self.clock.now())


class Ledger:
    """The pens for grants and marks, and the marks in force; `full` keeps no more."""

    def __init__(self) -> None:
        self.grants: list[tuple[str, str, Grant]] = []
        self.marks: list[Mark] = []
        self.revoked: set[str] = set()
        self.barred: set[str | None] = set()
        self.barred_at = 0.0
        self.full = False

    async def record(self, provider: str, token: str, grant: Grant) -> None:
        self._room()
        self.grants.append((provider, token, grant))

    def covers(self, provider: str, token: str, facts: TokenFacts | None) -> bool:
        client = None if facts is None else facts.client
        issued_at = None if facts is None else facts.issued_at
        return token in self.revoked or (
            client in self.barred and (issued_at is None or issued_at <= self.barred_at)
        )

    def names_holders(self) -> bool:
        return bool(self.barred)

    def mark_token(
        self, provider: str, token: str, expires_at: float | None = None
    ) -> Mark:
        return self.mark(MarkKind.TOKEN, provider, token, expires_at)

    def mark(
        self, kind: MarkKind, provider: str, name: str, expires_at: float | None = None
    ) -> Mark:
        return Mark(
            kind=kind,
            provider=provider,
            name=name,
            moment=0.0,
            expires_at=expires_at or 0.0,
        )

    async def add(self, mark: Mark) -> None:
        self._room()
        self.marks.append(mark)

    def _room(self) -> None:
        if self.full:
            msg = "no room"
            raise StoreUnavailable(msg)


@dataclass
class Received:
    """One request as the upstream reads it."""

    method: str = ""
    target: bytes = b""
    headers: list[Header] = field(default_factory=list)
    body: bytes = b""

    def values(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.headers if key == name]

    @property
    def names(self) -> set[bytes]:
        return {name for name, _ in self.headers}


class StrictUpstream(asyncio.Protocol):
    """A connection of the upstream: llhttp at its strictest reads it."""

    def __init__(self, hall: "UpstreamHall") -> None:
        self._hall = hall
        self._parser = httptools.HttpRequestParser(self)
        self._now = Received()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._hall.connections.append(self._transport)

    def data_received(self, data: bytes) -> None:
        self._hall.raw += data
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._hall.faults.append(repr(error))
            self._transport.abort()

    def on_message_begin(self) -> None:
        self._now = Received()

    def on_url(self, url: bytes) -> None:
        self._now.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._now.headers.append((name, value))

    def on_body(self, body: bytes) -> None:
        self._now.body += body

    def on_message_complete(self) -> None:
        self._now.method = self._parser.get_method().decode()
        self._hall.requests.append(self._now)
        self._transport.write(self._hall.answer(self._now))


class UpstreamHall:
    """All connections of the upstream."""

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self.raw = b""
        self.faults: list[str] = []
        self.connections: list[asyncio.Transport] = []
        self.answer: Callable[[Received], bytes] = _ok

    def only(self) -> Received:
        """Give the one request there was."""
        (received,) = self.requests
        return received


def _ok(received: Received) -> bytes:
    return OK.replace(b"hi", b"") if received.method == "HEAD" else OK


@dataclass
class Told:
    """One response as a client reads it."""

    status: int
    headers: list[Header]
    body: bytes

    def value(self, name: bytes) -> bytes | None:
        """Give the only value of a header."""
        found = [value for key, value in self.headers if key == name]
        assert len(found) <= 1
        return found[0] if found else None


def read_responses(data: bytes, *, bodiless: bool = False) -> list[Told]:
    """Read what a client got: complete responses and nothing else."""
    told = []
    while data:
        head, mark, data = data.partition(b"\r\n\r\n")
        assert mark
        first, *lines = head.split(b"\r\n")
        version, status, _ = first.split(b" ", 2)
        assert version == b"HTTP/1.1"
        headers = [
            (name.lower(), value)
            for name, value in (line.split(b": ", 1) for line in lines)
        ]
        response = Told(int(status), headers, b"")
        length = response.value(b"content-length")
        if bodiless or int(status) in (204, 304) or int(status) < 200:
            pass
        elif length is not None:
            response.body, data = data[: int(length)], data[int(length) :]
            assert len(response.body) == int(length)
        else:
            assert response.value(b"transfer-encoding") == b"chunked"
            response.body, data = _dechunk(data)
        told.append(response)
    return told


def _dechunk(data: bytes) -> tuple[bytes, bytes]:
    body = b""
    while True:
        size, _, data = data.partition(b"\r\n")
        chunk, data = data[: int(size, 16)], data[int(size, 16) :]
        assert data.startswith(b"\r\n")
        body, data = body + chunk, data[2:]
        if not chunk:
            return body, data


@dataclass
class Door:
    """The door, and all that stands around it."""

    front: ProxyFront
    reception: Reception
    facts: Facts
    ledger: Ledger
    clock: Clock
    upstream: UpstreamHall
    exchanges: list[Exchange]
    crashes: list[dict[str, Any]]
    pools: Mapping[str, Pool]
    port: int

    async def connect(self) -> Client:
        """Open a client connection."""
        return Client(*await asyncio.open_connection("127.0.0.1", self.port))

    async def exchange(self, data: bytes, *, step: int = 0) -> bytes:
        """Send bytes, and read to the end of the connection."""
        client = await self.connect()
        try:
            await client.send(data, step=step)
            return await client.read_all()
        finally:
            client.writer.close()

    async def ask(
        self,
        line: str,
        *headers: str | bytes,
        token: str | None = None,
        body: bytes | None = None,
    ) -> Told:
        """Ask one thing over a connection of its own."""
        raw = request(line, *headers, token=token, body=body)
        answer = await self.exchange(raw)
        *interim, told = read_responses(answer, bodiless=line.startswith("HEAD "))
        assert all(each.status < 200 for each in interim)
        return told

    def only(self) -> Exchange:
        """Give the one record there is."""
        (exchange,) = self.exchanges
        return exchange


def request(
    line: str,
    *headers: str | bytes,
    token: str | None = None,
    body: bytes | None = None,
    close: bool = True,
) -> bytes:
    """Write a request: `GET /path`, and further header lines."""
    lines = [line.encode() + b" HTTP/1.1", b"Host: books.example"]
    lines += [each.encode() if isinstance(each, str) else each for each in headers]
    if token is not None:
        lines.append(b"Authorization: Bearer " + token.encode())
    if body is not None:
        lines.append(b"Content-Length: %d" % len(body))
    if close:
        lines.append(b"Connection: close")
    return b"\r\n".join((*lines, b"", body or b""))


@asynccontextmanager
async def door(
    script: Script | None = None,
    *,
    routes: Sequence[Route] = ROUTES,
    limits: WireLimits | None = None,
    trusted: str = "",
    connection_limit: int = 100,
    timeouts: Timeouts | None = None,
    hand: HandLoop | None = None,
    dialects: Mapping[str, Dialect] = DIALECTS,
    teaching: bool = True,
    reading: bool = False,
    notary: Notary | None = None,
    sight: Sight | None = None,
) -> AsyncIterator[Door]:
    """Build the door; prove on leaving that nothing is left behind.

    Without a `script` the upstream reads strictly and answers 200; with one it is as
    raw as the script, and what it received is the script's business.
    """
    loop = asyncio.get_running_loop()
    hall = UpstreamHall()
    raw = None if script is None else Upstream(script)
    if raw is None:
        behind = await loop.create_server(lambda: StrictUpstream(hall), "127.0.0.1", 0)
    else:
        behind = await asyncio.start_server(raw.serve, "127.0.0.1", 0)
    origin = Origin("http", "127.0.0.1", behind.sockets[0].getsockname()[1])
    deadlines = Deadlines(loop) if hand is None else hand.deadlines()
    named = {
        "u": (origin,),
        "other": (origin, Origin("http", "127.0.0.1", 9)),
        # Port 9 of loopback is `discard`, which nobody runs any more.
        "dead": (Origin("http", "127.0.0.1", 9),),
    }
    pools = {
        name: Pool(
            UpstreamSettings(name=name, origins=known, timeouts=timeouts or Timeouts()),
            deadlines,
        )
        for name, known in named.items()
    }
    endpoint = TokenEndpoint(origin, b"/oauth/token")
    clock = Clock()
    headers = HeaderRules(IdentityHeaders(), pseudonym=b"gateway-test")
    facts, ledger, shelf = Facts(clock), Ledger(), MemoryStore(clock)
    setup = Setup(
        gatekeeper=Gatekeeper(
            Routes(routes), {"idp": facts}, ledger, clock, sight or ClearSight()
        ),
        headers=headers,
        engines=EngineHeaders(headers),
        guards=Guards(
            sources={"idp": facts},
            teachers={"idp": endpoint} if teaching else {},
            grants=ledger,
            marker=ledger,
            renewals=Renewals(
                (SECRET,),
                store=shelf,
                clock=clock,
                events=Uncounted(),
                revocations=ledger,
                readers={"idp": facts} if reading else {},
            ),
            logouts=Logouts(
                (SECRET,),
                notaries={} if notary is None else {"idp": notary},
                marker=ledger,
                store=shelf,
                clock=clock,
            ),
            clock=clock,
        ),
        pools=pools,
        dialects=dialects,
        proxies=TrustedProxies([ipaddress.ip_network(trusted)] if trusted else []),
    )
    exchanges: list[Exchange] = []
    crashes: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _loop, context: crashes.append(context))

    class Observer:
        def observe(self, exchange: Exchange) -> None:
            exchanges.append(exchange)

    reception = Reception(clock, [Observer()])
    front = ProxyFront(setup, reception, connection_limit=connection_limit)
    server = await loop.create_server(
        lambda: cast(
            "asyncio.Protocol", Downstream(front, limits or WireLimits(), deadlines)
        ),
        "127.0.0.1",
        0,
    )
    port = server.sockets[0].getsockname()[1]
    built = Door(
        front=front,
        reception=reception,
        facts=facts,
        ledger=ledger,
        clock=clock,
        upstream=hall,
        exchanges=exchanges,
        crashes=crashes,
        pools=pools,
        port=port,
    )
    try:
        yield built
    finally:
        server.close()
        front.abort()
        for pool in pools.values():
            pool.abort()
        for connection in hall.connections:
            connection.abort()
        if raw is not None:
            raw.close()
        behind.close()
        await until(lambda: not running() and not front)
        await turns()
    assert not reception.in_flight
    assert [] == hall.faults
    assert [] == [context.get("exception", context) for context in crashes]
    assert len({exchange.request_id for exchange in exchanges}) == len(exchanges)
