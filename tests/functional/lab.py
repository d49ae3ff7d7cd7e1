"""An upstream that does what a test wants, and a configuration that leads to it."""

import asyncio
import contextlib
import functools
import hashlib
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

from gateway.sandbox.keys import sign_hs256
from gateway.values import Secret
from tests.functional.harness import Backstage

KEY = Secret("the-signing-key-of-the-laboratory-0123456789")
MIB = 1024 * 1024
PIECE = random.Random(7).randbytes(MIB)  # noqa: S311 -- the same bytes every time

CONFIG = """
log: {{level: debug}}
drain: {{deadline: 10s}}
providers:
  lab:
    verify: [jwt]
    jwt: {{algorithms: [HS256], key: {key}}}
  melon:
    dialect: melon
    verify: [jwt]
    jwt: {{algorithms: [HS256], key: {key}}}
    https_only: true
  echoing:
    dialect: ottm
    verify: [userinfo]
    userinfo: {{url: "http://127.0.0.1:{port}/userinfo", invalid_when: ottm}}
trusted_proxies: [127.0.0.1]
upstreams:
  lab: {{targets: ["http://127.0.0.1:{port}"], keepalive: 5s}}
routes:
  - {{id: bulk, match: {{path: "/bulk/**"}}, provider: lab, upstream: lab}}
  - id: music
    match: {{path: "/music/**"}}
    provider: lab
    token_from: [header, query]
    upstream: lab
  - {{id: cut, match: {{path: "/cut/**"}}, provider: lab, upstream: lab, strip_prefix: /cut, end_with_token: true}}
  - {{id: socket, match: {{path: /socket}}, provider: lab, upstream: lab, upgrades: [websocket]}}
  - {{id: no-socket, match: {{path: /no-socket}}, provider: lab, upstream: lab, strip_prefix: /no-socket, add_prefix: /socket}}
  - id: page
    match: {{path: "/page/**", methods: [GET, PUT]}}
    provider: lab
    upstream: lab
    cors: {{origins: ["https://app.example"], headers: [Authorization, Content-Type]}}
  - {{id: open, match: {{path: "/open/**"}}, access: public, upstream: lab}}
  - {{id: small, match: {{path: "/small"}}, access: public, upstream: lab, body_limit: 1KiB}}
  - {{id: partners, match: {{path: "/partners"}}, provider: lab, upstream: lab, require: {{clients: [somebody]}}}}
  - {{id: echoed, match: {{path: /echoed}}, provider: echoing, upstream: lab}}
  - {{id: revoke, match: {{host: melon.example, path: /oauth/revoke, methods: [POST]}}, kind: oauth-revoke, provider: melon, upstream: lab}}
  - {{id: token, match: {{host: melon.example, path: /oauth/token, methods: [POST]}}, kind: oauth-token, provider: melon, upstream: lab}}
"""


def sign(lives: float = 300.0, /, **changes: Any) -> str:
    """Make a token of the laboratory's provider; each is another one."""
    now = time.time()  # noqa: TID251 -- the process under test has the real clock
    claims = {
        "sub": "ada",
        "client_id": "engine",
        "scope": "read",
        "exp": now + lives,
        "jti": f"{random.getrandbits(64):x}",
        **changes,
    }
    return sign_hs256(claims, KEY)


@functools.cache
def digest(pieces: int) -> str:
    """What a body of so many pieces hashes to."""
    whole = hashlib.sha256()
    for _ in range(pieces):
        whole.update(PIECE)
    return whole.hexdigest()


class Laboratory:
    """The upstream; its handlers run backstage and wait for the test's word."""

    def __init__(self, stage: Backstage) -> None:
        self._stage = stage
        self._go = asyncio.Event()
        self.requests: list[tuple[str, list[tuple[bytes, bytes]], bytes]] = []
        """Target, raw header lines and body of every request."""
        self.sent = 0
        """Bytes of body given away in /bulk downloads."""
        self.cancelled = 0
        """Requests whose client went away."""
        self.port = 0

    async def start(self) -> web.AppRunner:
        """Listen on a free port."""
        app = web.Application(client_max_size=0)
        app.add_routes(
            [
                web.get("/bulk/{pieces}", self.download),
                web.put("/bulk/upload", self.upload),
                web.get("/bulk/halves", self.halves),
                web.get("/halves", self.halves),
                web.get("/bulk/events", self.events),
                web.get("/bulk/broken/{framing}", self.broken),
                web.get("/bulk/never", self.never),
                web.get("/socket", self.socket),
                web.get("/userinfo", self.userinfo),
                web.route("*", "/{rest:.*}", self.echo),
            ]
        )
        runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1
        )
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        return runner

    def go(self) -> None:
        """Give the word that handlers wait for."""
        self._stage.call(self._go.set)

    def wait(self) -> None:
        """Take it back."""
        self._stage.call(self._go.clear)

    # ------------------------------------------------------------------ handlers

    async def download(self, request: web.Request) -> web.StreamResponse:
        """Give so many MiB, without a word of how many."""
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        with self._watched():
            for _ in range(int(request.match_info["pieces"])):
                await response.write(PIECE)
                self.sent += MIB
        return response

    async def upload(self, request: web.Request) -> web.Response:
        """Take what comes; tell how much it was and what it hashes to."""
        whole, size = hashlib.sha256(), 0
        if "wait" in request.query:
            await self._go.wait()
        with self._watched():
            async for piece in request.content.iter_any():
                whole.update(piece)
                size += len(piece)
        return web.json_response({"bytes": size, "sha256": whole.hexdigest()})

    async def halves(self, request: web.Request) -> web.StreamResponse:
        """Give half an answer, and the other half at the test's word."""
        response = web.StreamResponse()
        response.content_length = 2 * MIB
        await response.prepare(request)
        with self._watched():
            await response.write(PIECE)
            await self._go.wait()
            await response.write(PIECE)
        return response

    async def events(self, request: web.Request) -> web.StreamResponse:
        """One event at once, one at the test's word, then silence."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        with self._watched():
            await response.write(b"data: one\n\n")
            await self._go.wait()
            await response.write(b"data: two\n\n")
            await asyncio.sleep(60)
        return response

    async def broken(self, request: web.Request) -> web.StreamResponse:
        """Give half of what was promised, and vanish."""
        response = web.StreamResponse()
        if request.match_info["framing"] == "length":
            response.content_length = 2 * MIB
        else:
            response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(PIECE)
        if request.transport is not None:
            request.transport.abort()
        return response

    async def never(self, request: web.Request) -> web.Response:
        """Take a request and leave it."""
        with self._watched():
            await asyncio.sleep(60)
        return web.Response()

    async def socket(self, request: web.Request) -> web.StreamResponse:
        """Say everything back over a WebSocket."""
        self._record(request, b"")
        channel = web.WebSocketResponse()
        if not channel.can_prepare(request):
            return web.Response(status=426, text="websocket only")
        await channel.prepare(request)
        async for message in channel:
            await channel.send_str(message.data)
        return channel

    async def userinfo(self, request: web.Request) -> web.Response:
        """Answer as a provider should not: 500, and the token in every place."""
        told = request.headers.get("Authorization", "")
        answer = web.Response(
            status=500, reason=told, text=told, headers={"WWW-Authenticate": told}
        )
        # Lest the provider's idle connections be counted with those of a leak.
        answer.force_close()
        return answer

    async def echo(self, request: web.Request) -> web.Response:
        """Answer 200 and remember what was asked."""
        body = b""
        async for piece in request.content.iter_any():
            body += piece
        self._record(request, body)
        return web.Response(text="here")

    def _record(self, request: web.Request, body: bytes) -> None:
        self.requests.append((request.raw_path, list(request.raw_headers), body))

    @contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except ConnectionError:
            self.cancelled += 1
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


@contextmanager
def open_laboratory(stage: Backstage) -> Iterator[Laboratory]:
    """Run a laboratory backstage."""
    lab = Laboratory(stage)
    runner = stage.run(lab.start())
    try:
        yield lab
    finally:
        lab.go()
        with contextlib.suppress(TimeoutError):
            stage.run(runner.cleanup())


def config(lab: Laboratory) -> str:
    """Write the configuration that leads to a laboratory."""
    return CONFIG.format(port=lab.port, key=KEY)
