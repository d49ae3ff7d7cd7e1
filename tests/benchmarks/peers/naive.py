"""What one writes first: aiohttp's server, its client, and Redis, with no tuning.

A peer of the benchmark. It asks RFC 7662 about a token it has not seen, keeps the
answer in Redis for a minute, and streams the rest both ways. What it leaves out
(single flight, deadlines, strict framing, policy, metrics, logs) makes it faster.

Run with `python naive.py PORT PROVIDER_PORT UPSTREAM_PORT REDIS_PORT`.
"""

import hashlib
import json
import sys
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web
from redis.asyncio import Redis

PORT, PROVIDER, UPSTREAM, REDIS = (int(each) for each in sys.argv[1:])
HOP = {"host", "connection", "authorization", "transfer-encoding"}
REDIS_KEY, SESSION = web.AppKey("redis", Redis), web.AppKey("s", aiohttp.ClientSession)


async def facts(app: web.Application, token: str) -> dict[str, object]:
    """Tell what the provider says of a token."""
    key = "naive:" + hashlib.sha256(token.encode()).hexdigest()
    if (known := await app[REDIS_KEY].get(key)) is not None:
        return dict(json.loads(known))
    auth = aiohttp.BasicAuth("bench", "bench-secret")
    url = f"http://127.0.0.1:{PROVIDER}/introspect"
    async with app[SESSION].post(url, data={"token": token}, auth=auth) as answer:
        told = dict(await answer.json())
    await app[REDIS_KEY].set(key, json.dumps(told), ex=60)
    return told


async def proxy(request: web.Request) -> web.StreamResponse:
    """Let a request through if its token is active."""
    token = request.headers.get("Authorization", "").removeprefix("Bearer ")
    told = await facts(request.app, token)
    if not told["active"]:
        return web.json_response({"error": "invalid_token"}, status=401)
    headers = {k: v for k, v in request.headers.items() if k.lower() not in HOP}
    headers["X-Auth-Subject"] = str(told["sub"])
    body = request.content if request.can_read_body else None
    url = f"http://127.0.0.1:{UPSTREAM}{request.path_qs}"
    send = request.app[SESSION].request
    async with send(request.method, url, headers=headers, data=body) as answer:
        kept = {k: v for k, v in answer.headers.items() if k.lower() not in HOP}
        response = web.StreamResponse(status=answer.status, headers=kept)
        await response.prepare(request)
        async for piece in answer.content.iter_any():
            await response.write(piece)
        await response.write_eof()
        return response


async def clients(app: web.Application) -> AsyncIterator[None]:
    """Open and close what every request uses."""
    app[REDIS_KEY] = Redis(port=REDIS, max_connections=4096)
    app[SESSION] = aiohttp.ClientSession()
    yield
    await app[SESSION].close()
    await app[REDIS_KEY].aclose()


app = web.Application()
app.cleanup_ctx.append(clients)
app.router.add_route("*", "/{path:.*}", proxy)
web.run_app(app, host="127.0.0.1", port=PORT, print=None, backlog=4096)
