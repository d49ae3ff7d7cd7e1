"""The provider of the benchmark: it answers, and counts how often it was asked.

`POST /introspect` is RFC 7662, `GET /auth` the same for nginx's `auth_request` (200 or
401), `GET /count` tells how many questions came since the last `GET /count`. A token is
active when it is the one of the folder or begins with `known-`; one that begins with
`known-slow-` takes a tenth of a second, so that a herd can gather behind it.

It speaks TLS on a second port, since mod_auth_openidc asks nobody without. `FOLDER` holds
the token (`good-token`) and the key with its certificate (`provider.pem`).

Run with `python provider.py PORT TLS_PORT FOLDER`.
"""

import asyncio
import ssl
import sys
import time
from pathlib import Path
from typing import Final

import uvloop
from aiohttp import web

SLOW: Final = 0.1
HOUR: Final = 3600


class Provider:
    """What it knows, and how often it was asked."""

    def __init__(self, good: str) -> None:
        self._good = good
        self._asked = 0

    async def introspect(self, request: web.Request) -> web.Response:
        form = await request.post()
        if not await self._active(str(form.get("token", ""))):
            return web.json_response({"active": False})
        now = int(time.time())  # noqa: TID251 -- the peers have the real clock
        return web.json_response(
            {
                "active": True,
                "sub": "ada",
                "client_id": "bench",
                "token_type": "Bearer",
                "scope": "items.read items.write",
                "iat": now,
                "exp": now + HOUR,
            }
        )

    async def auth(self, request: web.Request) -> web.Response:
        given = request.headers.get("Authorization", "")
        if not await self._active(given.removeprefix("Bearer ")):
            return web.Response(status=401)
        return web.Response(headers={"X-Auth-Subject": "ada"})

    async def count(self, _request: web.Request) -> web.Response:
        asked, self._asked = self._asked, 0
        return web.Response(text=str(asked))

    async def _active(self, token: str) -> bool:
        self._asked += 1
        if token.startswith("known-slow-"):
            await asyncio.sleep(SLOW)
        return token == self._good or token.startswith("known-")


async def serve(provider: Provider, port: int, tls_port: int, pem: Path) -> None:
    """Serve until a signal, with TLS and without."""
    app = web.Application()
    app.router.add_post("/introspect", provider.introspect)
    app.router.add_get("/auth", provider.auth)
    app.router.add_get("/count", provider.count)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(pem)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    for number, context in ((port, None), (tls_port, tls)):
        site = web.TCPSite(
            runner, "127.0.0.1", number, backlog=4096, ssl_context=context
        )
        await site.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    plain, tls, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    known = Provider((folder / "good-token").read_text())
    uvloop.run(serve(known, plain, tls, folder / "provider.pem"))
