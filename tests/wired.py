"""A whole gateway inside the test's own process, from the text of a configuration."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.app import AFTERLIFE, App, SystemClock, registry
from gateway.config.load import Loaded, load
from gateway.observe.logs import Log
from gateway.ports import Observer
from gateway.wire.deadlines import Deadlines
from tests.signing import SECRET, sign

ADMIN_TOKEN = "an-admin-token-of-these-tests"
GATEWAY_SECRET = "a-secret-of-these-tests-0123456789"
ADMIN = f"admin: {{token: {ADMIN_TOKEN}}}\n"
FRAME = f"version: 1\nsecret: {GATEWAY_SECRET}\n{ADMIN}"
"""What every configuration needs."""


def listening(**ports: int) -> str:
    """Write where to listen on loopback; the system chooses what is left out."""
    named = {name: ports.get(name, 0) for name in ("proxy", "status", "admin")}
    told = (f'{name}: "127.0.0.1:{port}"' for name, port in named.items())
    return f"listen: {{{', '.join(told)}}}\n"


SIGNED = f"verify: [jwt], jwt: {{algorithms: [HS256], key: {SECRET}}}"
"""A provider whose tokens `token` makes."""


def configured(text: str, secret: str = GATEWAY_SECRET) -> Loaded:
    """Load a configuration; what it needs and does not say is put before it."""
    frame = FRAME.replace(GATEWAY_SECRET, secret)
    if "\nadmin:" in text:
        frame = frame.replace(ADMIN, "")
    listen = "" if "listen:" in text else listening()
    return load(frame + listen + text, registry(), {})


def token(**claims: Any) -> str:
    """Make a token that is good for some minutes."""
    now = time.time()  # noqa: TID251 -- a whole gateway has the real clock
    return sign({"sub": "ada", "client_id": "shop", "exp": now + 300, **claims})


async def until(holds: Callable[[], object], within: float = 5.0) -> None:
    """Wait until something holds that has no event of its own."""
    async with asyncio.timeout(within):
        while not holds():  # noqa: ASYNC110 -- as it says
            await asyncio.sleep(0.01)


class EventLog:
    """A log and the file it writes to; once closed, its events can be read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream = path.open("wb")
        self.log = Log(self._stream, SystemClock())

    def events(self) -> list[dict[str, Any]]:
        """Close the log, and give what it was told."""
        self.log.close()
        self._stream.close()
        return [json.loads(line) for line in self._path.read_text().splitlines()]


@asynccontextmanager
async def wired(
    text: str,
    folder: Path,
    *,
    observers: tuple[Observer, ...] = (),
    afterlife: float = AFTERLIFE,
) -> AsyncIterator[App]:
    """Build an app in the running loop, and close it."""
    log = EventLog(folder / "events.log")
    deadlines = Deadlines(asyncio.get_running_loop())
    try:
        app = App(
            configured(text),
            deadlines=deadlines,
            log=log.log,
            observers=observers,
            afterlife=afterlife,
        )
        try:
            yield app
        finally:
            await app.close()
    finally:
        log.events()


class Issuer:
    """A provider of opaque tokens at a real socket: introspection, RFC 7662.

    `tokens` holds the members of each answer, and what is not in it is inactive.
    """

    def __init__(self) -> None:
        self.tokens: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []
        self.server = TestServer(self._app(), host="127.0.0.1")

    @property
    def url(self) -> str:
        """Where it can be asked."""
        return str(self.server.make_url("/introspect"))

    @property
    def connections(self) -> int:
        """How many connections it has open."""
        runner = self.server.runner
        assert runner is not None
        assert runner.server is not None
        return len(runner.server.connections)

    def _app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/introspect", self._introspect)
        return app

    async def _introspect(self, request: web.Request) -> web.Response:
        form = await request.post()
        self.asked.append(str(form["token"]))
        known = self.tokens.get(self.asked[-1])
        return web.json_response({"active": known is not None, **(known or {})})


@asynccontextmanager
async def issuer(**options: Any) -> AsyncIterator[Issuer]:
    """Run an issuer; `ssl` makes it speak TLS."""
    running = Issuer()
    await running.server.start_server(**options)
    try:
        yield running
    finally:
        await running.server.close()
