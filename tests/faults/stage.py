"""A whole gateway in the test's own loop, with real neighbours at real sockets.

On leaving it is proven that nothing is left behind: no task, no request in flight, no
busy connection, and not a word of a fault in the log.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.app import App
from gateway.server import Server
from gateway.tasks import running
from gateway.wire.deadlines import Deadlines
from tests.fronts.house import Told, read_responses
from tests.wire.harness import Client
from tests.wired import Issuer, issuer, wired

PATIENCE = 5.0
HOST = "stage.example"

ROUTES = """
routes:
  - {id: open, match: {path: "/open/**"}, access: public, upstream: back}
  - {id: api, match: {path: "/api/**"}, provider: idp, upstream: back, upgrades: [websocket]}
  - {id: narrow, match: {path: "/narrow/**"}, access: public, upstream: narrow}
  - {id: hole, match: {path: "/hole/**"}, access: public, upstream: hole}
  - {id: token, match: {path: /oauth/token, methods: [POST]}, kind: oauth-token, provider: idp, upstream: back}
  - {id: revoke, match: {path: /oauth/revoke, methods: [POST]}, kind: oauth-revoke, provider: idp, upstream: back}
"""


def configuration(
    *,
    back: int,
    provider: str,
    store: str = "memory://",
    hole: int = 9,
    wait: float = 5.0,
    connect: float = 0.3,
    asking: float = 0.5,
) -> str:
    """Write the stage's configuration; all deadlines are `wait` seconds."""
    times = f"{{connect: {connect}s, first_byte: {wait}s, idle: {wait}s}}"
    target = f'targets: ["http://127.0.0.1:{back}"], timeouts: {times}'
    client = "client_id: us, client_secret: hunter2"
    return f"""
timeouts: {{header: {wait}s, body: {wait}s, idle: {wait}s, write: {wait}s}}
store: {{url: "{store}"}}
providers:
  idp:
    verify: [introspection]
    introspection: {{url: "{provider}", {client}, timeout: {asking}s}}
upstreams:
  back: {{{target}}}
  narrow: {{{target}, connections: 1, waiting: 2}}
  hole: {{targets: ["http://127.0.0.1:{hole}"], timeouts: {times}}}
{ROUTES}"""


def request(
    method: str, path: str, *lines: str, token: str = "", body: bytes | None = None
) -> bytes:
    """Write a request."""
    head = [f"{method} {path} HTTP/1.1", f"Host: {HOST}", *lines]
    if token:
        head.append(f"Authorization: Bearer {token}")
    if body is not None:
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*head, "", ""]).encode() + (body or b"")


@dataclass
class Stage:
    """The gateway, and what can be seen of it."""

    app: App
    server: Server
    crashes: list[Mapping[str, Any]]

    @property
    def port(self) -> int:
        """Where its clients' door is."""
        return self.server.addresses["proxy"].port

    async def connect(self) -> Client:
        """Open a client connection."""
        return Client(*await asyncio.open_connection("127.0.0.1", self.port))

    async def ask(self, method: str, path: str, *lines: str, **content: Any) -> Told:
        """Ask one thing on a connection of its own; the answer must be whole."""
        client = await self.connect()
        try:
            raw = request(method, path, "Connection: close", *lines, **content)
            await client.send(raw)
            *_, told = read_responses(await client.read_all())
            return told
        finally:
            client.writer.close()

    def metric(self, name: str, **labels: str) -> float:
        """Read one value of the metrics."""
        value = self.app.metrics_registry.get_sample_value(f"gateway_{name}", labels)
        return value or 0.0

    @property
    def busy(self) -> int:
        """Count who has, awaits or opens a connection to an upstream."""
        states = [pool.state() for pool in self.app.pools.values()]
        targets = [target for state in states for target in state.targets]
        at_work = sum(target.busy + target.opening for target in targets)
        return at_work + sum(state.waiting for state in states)

    @property
    def quiet(self) -> bool:
        """Tell whether nothing is under way."""
        return not (
            self.app.front
            or self.app.reception.in_flight
            or self.busy
            or self.tasks() - {"watch-store", "follow-marks", "read-marks", "pulse"}
        )

    def tasks(self) -> set[str]:
        """Name the tasks at work for the gateway."""
        return {task.get_name() for task in running()}

    async def rest(self) -> None:
        """Wait until nothing is under way."""
        await eventually(lambda: self.quiet, self.told)

    def told(self) -> str:
        """Tell what is under way."""
        pools = [*self.app.pools.values()]
        flying = self.app.reception.in_flight
        return f"{self.app.front} {flying} in flight, {pools}, {self.tasks()}"


async def eventually(
    met: Callable[[], object],
    told: Callable[[], str] = str,
    *,
    within: float = PATIENCE,
) -> None:
    """Wait for something that is bound to come about."""
    try:
        async with asyncio.timeout(within):
            while not met():  # noqa: ASYNC110 -- many things have no event
                await asyncio.sleep(0.001)
    except TimeoutError:
        raise AssertionError(f"it did not come about: {told()}") from None


@asynccontextmanager
async def staged(text: str, folder: Path) -> AsyncIterator[Stage]:
    """Run a gateway; prove on leaving that nothing is left behind."""
    loop = asyncio.get_running_loop()
    crashes: list[Mapping[str, Any]] = []
    loop.set_exception_handler(lambda _loop, context: crashes.append(context))
    before = running()
    async with wired(text, folder) as app:
        server = Server(app, Deadlines(loop))
        await server.start()
        stage = Stage(app, server, crashes)
        try:
            yield stage
            await stage.rest()
        finally:
            await server.close()
        await eventually(lambda: running() <= before, lambda: str(running()))
    for crash in crashes:
        raise AssertionError(str(crash)) from crash.get("exception")
    errors = [line for line in lines(folder) if line["level"] == "error"]
    assert not errors, errors


def lines(folder: Path) -> list[dict[str, Any]]:
    """Read the log of a stage that is closed."""
    return [
        json.loads(line) for line in (folder / "events.log").read_text().splitlines()
    ]


class Known(dict[str, Any]):
    """Answers of a provider: a token that begins with `T` is its own subject's."""

    def get(self, token: str, default: Any = None) -> Any:
        """Give the members of the answer, None for a token that is none."""
        if token.startswith("T"):
            return {"sub": token, "client_id": "shop", "scope": "read"}
        return default


@asynccontextmanager
async def knowing() -> AsyncIterator[Issuer]:
    """Run a provider that knows every token that begins with `T`."""
    async with issuer() as provider:
        provider.tokens = Known()
        yield provider
