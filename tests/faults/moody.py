"""A provider that answers as its mood is; when it is not well, with a tempting lie.

Every answer that is none says `"active": true` of whatever token it is asked about:
who believes any part of it lets a bad token in.
"""

import asyncio
import gzip
import json
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import cache
from typing import Any, Final

from aiohttp import web

GIB: Final = 1 << 30
SLOW: Final = 0.2
"""Seconds a slow answer takes: less than the deadline."""

Answer = Callable[[web.Request, str], Awaitable[web.StreamResponse]]


def lie(token: str) -> str:
    """Say that a token is good, whatever it is."""
    return json.dumps({"active": True, "sub": token, "client_id": "shop"})


async def truth(request: web.Request, token: str) -> web.StreamResponse:
    """Tell what is so: a token that begins with `T` is its own subject's."""
    text = lie(token) if token.startswith("T") else '{"active": false}'
    return web.Response(text=text, content_type="application/json")


async def slow(request: web.Request, token: str) -> web.StreamResponse:
    """Tell the truth in the end."""
    await asyncio.sleep(SLOW)
    return await truth(request, token)


async def hung(request: web.Request, token: str) -> web.StreamResponse:
    """Say nothing."""
    await asyncio.sleep(60)
    return web.Response()


def answering(status: int, **headers: str) -> Answer:
    """Lie with this status."""

    async def answer(request: web.Request, token: str) -> web.StreamResponse:
        return web.Response(
            text=lie(token),
            status=status,
            content_type="application/json",
            headers=headers,
        )

    return answer


def page(status: int) -> Answer:
    """Lie in a page for people."""

    async def answer(request: web.Request, token: str) -> web.StreamResponse:
        text = f"<!doctype html><body>{lie(token)}</body>"
        return web.Response(text=text, status=status, content_type="text/html")

    return answer


async def twice(request: web.Request, token: str) -> web.StreamResponse:
    """Say both, the lie last."""
    text = '{"active": false, ' + lie(token)[1:]
    return web.Response(text=text, content_type="application/json")


async def endless(request: web.Request, token: str) -> web.StreamResponse:
    """Lie, and go on with white space for a GiB."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.content_length = GIB
    await response.prepare(request)
    piece = lie(token).encode().ljust(1 << 16)
    with suppress(ConnectionError):
        for _ in range(GIB // len(piece)):
            await response.write(piece)
            piece = b" " * len(piece)
    return response


async def bomb(request: web.Request, token: str) -> web.StreamResponse:
    """Lie in a MiB that grows to a GiB once it is decompressed."""
    body = gzip.compress(lie(token).encode()) + spaces() * 64
    return web.Response(
        body=body, headers={"Content-Encoding": "gzip"}, content_type="application/json"
    )


@cache
def spaces() -> bytes:
    """Give 16 MiB of white space as gzip has them; its members can follow another."""
    return gzip.compress(b" " * (GIB // 64))


MOODS: Final[Mapping[str, Answer]] = {
    "well": truth,
    "slow": slow,
    "hung": hung,
    "500": answering(500),
    "429": answering(429),
    "HTML": page(200),
    "HTML with 502": page(502),
    "elsewhere": answering(307, Location="/trap"),
    "twice": twice,
    "endless": endless,
    "bomb": bomb,
}


class Moody:
    """Introspection and a JWK set at one port, which is its own for ever."""

    def __init__(self, secure: ssl.SSLContext | None = None) -> None:
        self.mood = "well"
        self.keys: Any = None
        self.asked: Counter[str] = Counter()
        self.answers = asyncio.Event()
        """Until it is set, nobody is told what a token is."""
        self.answers.set()
        self.trapped = 0
        """How many followed a redirect."""
        self.port = 0
        self.secure = secure
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http{'s' if self.secure else ''}://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen: on the same port every time."""
        app = web.Application()
        app.router.add_post("/introspect", self._introspect)
        app.router.add_route("*", "/trap", self._trap)
        app.router.add_get("/keys", self._keys)
        runner = self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1
        )
        await runner.setup()
        await web.TCPSite(
            runner, "127.0.0.1", self.port, ssl_context=self.secure
        ).start()
        self.port = runner.addresses[0][1]

    async def stop(self) -> None:
        """Listen no more, and cut every connection."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _introspect(self, request: web.Request) -> web.StreamResponse:
        token = str((await request.post())["token"])
        self.asked[token] += 1
        await self.answers.wait()
        return await MOODS[self.mood](request, token)

    async def _keys(self, request: web.Request) -> web.StreamResponse:
        self.asked["keys"] += 1
        if self.keys is None:
            return web.Response(status=404)
        return web.json_response(self.keys)

    async def _trap(self, request: web.Request) -> web.StreamResponse:
        self.trapped += 1
        return web.Response(text=lie("T-trap"), content_type="application/json")
