"""An upstream that behaves, and counts the requests it is at work for."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from aiohttp import web
from aiohttp.test_utils import TestServer

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
PIECE = bytes(range(256)) * 64


class Back:
    """The upstream. A request that goes away is no longer worked for."""

    def __init__(self) -> None:
        self.working = 0
        self.requests = 0
        self.drops = 0
        """So many requests on used connections are answered with a reset."""
        self.go = asyncio.Event()
        self.server = TestServer(self._app(), host="127.0.0.1")

    @property
    def port(self) -> int:
        """Where it listens."""
        port = self.server.port
        assert port is not None
        return port

    def _app(self) -> web.Application:
        app = web.Application(middlewares=[self._count], client_max_size=0)
        app.add_routes(
            [
                web.get("/{kind}/bulk/{pieces}", self.download),
                web.get("/{kind}/held", self.held),
                web.get("/{kind}/fickle", self.fickle),
                web.get("/{kind}/socket", self.socket),
                web.post("/oauth/token", self.token),
                web.route("*", "/{rest:.*}", self.echo),
            ]
        )
        return app

    @web.middleware
    async def _count(
        self, request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        self.requests += 1
        self.working += 1
        try:
            return await handler(request)
        finally:
            self.working -= 1

    async def echo(self, request: web.Request) -> web.Response:
        """Say how much was sent, and for whom."""
        size = 0
        async for piece in request.content.iter_any():
            size += len(piece)
        whom = request.headers.get("X-Auth-Subject", "nobody")
        return web.Response(text=str(size), headers={"For": whom})

    async def download(self, request: web.Request) -> web.StreamResponse:
        """Give so many pieces of 16 KiB."""
        response = web.StreamResponse()
        await response.prepare(request)
        with suppress(ConnectionError):
            for _ in range(int(request.match_info["pieces"])):
                await response.write(PIECE)
        return response

    async def held(self, request: web.Request) -> web.Response:
        """Answer at the test's word."""
        await self.go.wait()
        return web.Response(text="held")

    async def fickle(self, request: web.Request) -> web.Response:
        """Answer, or reset the connection."""
        if self.drops and request.transport is not None:
            self.drops -= 1
            request.transport.abort()
        return web.Response(text="fickle")

    async def socket(self, request: web.Request) -> web.StreamResponse:
        """Say everything back over a WebSocket."""
        channel = web.WebSocketResponse()
        await channel.prepare(request)
        async for message in channel:
            await channel.send_str(message.data)
        return channel

    async def token(self, request: web.Request) -> web.Response:
        """Give a token."""
        await request.post()
        answer = {"access_token": "T-given", "token_type": "Bearer", "expires_in": 60}
        return web.json_response(answer)


@asynccontextmanager
async def behaving() -> AsyncIterator[Back]:
    """Run an upstream."""
    back = Back()
    await back.server.start_server(shutdown_timeout=0.1)
    try:
        yield back
    finally:
        back.go.set()
        await back.server.close()
