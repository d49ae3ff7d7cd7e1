"""Many users at several processes that share a store: each is himself, at every one.

Every user asks for a path of his own, so the upstream itself sees whether the identity
it was told is that of who asked.
"""

import asyncio
import random
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from aiohttp import web

from tests.faults.crew import Line, Lost, Pass, fresh
from tests.faults.moody import Moody
from tests.functional.harness import Gateway
from tests.soak.counting import start
from tests.stores.servers import serving

PROCESSES: Final = 4
CLIENTS: Final = 16
VISITS: Final = 2
"""To how many of the processes each user comes."""
PATIENCE: Final = 30.0
"""Seconds: thousands at once wait for one another."""

CONFIG: Final = """
log: {{access: false}}
store: {{url: "{store}"}}
providers:
  idp:
    verify: [introspection]
    introspection: {{url: "{idp}/introspect", client_id: us, client_secret: s, timeout: 10s}}
    # For a thousand or so: the others are found in the store.
    cache: {{ttl: 10m, memory: 1MiB}}
    questions: {{waiting: 4096}}
upstreams:
  users: {{targets: ["http://127.0.0.1:{users}"], waiting: 4096, timeouts: {{connect: 10s}}}}
routes:
  - {{id: users, match: {{path: "/of/**"}}, provider: idp, upstream: users}}
"""


class Users:
    """An upstream that compares whose path it is with whom it is told."""

    def __init__(self) -> None:
        self.served = 0
        self.confused: Counter[str] = Counter()
        self.port = 0

    async def start(self) -> web.AppRunner:
        """Listen."""
        app = web.Application()
        app.router.add_get("/of/{user}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
        self.port = runner.addresses[0][1]
        return runner

    async def _answer(self, request: web.Request) -> web.Response:
        user = request.match_info["user"]
        told = request.headers.getall("X-Auth-Subject", [])
        self.served += 1
        if told != [user]:
            self.confused[f"{user} was {told}"] += 1
        return web.Response(headers={"For": " ".join(told)})


@dataclass
class Heard:
    """What clients heard, and what was not for who asked."""

    statuses: Counter[int] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    confused: int = 0

    async def ask(self, line: Line, bearer: Pass) -> None:
        """Ask, and write down what is heard."""
        try:
            told = await line.ask(f"/of/{bearer.subject}", bearer.token)
        except Lost as error:
            self.lost[str(error)] += 1
            return
        self.statuses[told.status] += 1
        self.confused += not told.is_due(bearer)


@dataclass
class Fleet:
    """The processes, and who stands behind them."""

    gateways: list[Gateway]
    idp: Moody
    users: Users

    @property
    def ports(self) -> list[int]:
        """Where clients knock."""
        return [gateway.ports.proxy for gateway in self.gateways]


async def interleaved(ports: Sequence[int], bearers: Sequence[Pass]) -> Heard:
    """Have everybody ask at some of the ports; who comes next is chance's choice."""
    visits = [
        (port, bearer) for bearer in bearers for port in random.sample(ports, VISITS)
    ]
    random.shuffle(visits)
    heard = Heard()

    async def client() -> None:
        lines = {port: Line(port, PATIENCE) for port in ports}
        while visits:
            port, bearer = visits.pop()
            await heard.ask(lines[port], bearer)
        for line in lines.values():
            line.close()

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return heard


async def stampede(fleet: Fleet, each: int, bearer: Pass) -> Heard:
    """Bring one new token to all processes, so often at once, while nobody answers."""
    fleet.idp.answers.clear()
    heard = Heard()
    lines = [Line(port, PATIENCE) for port in fleet.ports for _ in range(each)]
    # Connected beforehand: the crowd itself is what is to be at once.
    await asyncio.gather(*(line.open() for line in lines))
    asking = asyncio.gather(*(heard.ask(line, bearer) for line in lines))
    while await asyncio.to_thread(_in_flight, fleet) < len(lines):  # noqa: ASYNC110 -- others'
        await asyncio.sleep(0.05)
    fleet.idp.answers.set()
    await asking
    for line in lines:
        line.close()
    return heard


def _in_flight(fleet: Fleet) -> float:
    return sum(gateway.metric("http_requests_in_flight") for gateway in fleet.gateways)


@dataclass
class Crowd:
    """What came of a crowd."""

    name: str
    heard: Heard
    calls: int
    wrong: list[str] = field(default_factory=list)


async def crowds(each: int = 1_000, users: int = 10_000) -> list[Crowd]:
    """Let them come, one crowd after the other."""
    async with gathered() as fleet:
        return [await at_once(fleet, each), await mixed(fleet, users)]


async def at_once(fleet: Fleet, each: int) -> Crowd:
    """Bring a token that nobody has seen, so often to each: one question for all."""
    name = f"crowd: a new token, {PROCESSES} x {each:,} requests at once"
    bearer = fresh("T")
    heard = await stampede(fleet, each, bearer)
    crowd = Crowd(name, heard, fleet.idp.asked[bearer.token])
    if crowd.calls != 1:
        crowd.wrong.append(f"the provider was asked {crowd.calls} times")
    if heard.statuses != {200: PROCESSES * each}:
        crowd.wrong.append("not everybody was served")
    return crowd


async def mixed(fleet: Fleet, count: int) -> Crowd:
    """Have so many users ask, all at the same time."""
    name = f"crowd: {count:,} users, at {VISITS} of {PROCESSES} processes each"
    bearers = [fresh("T") for _ in range(count)]
    before = fleet.idp.asked.total()
    heard = await interleaved(fleet.ports, bearers)
    crowd = Crowd(name, heard, fleet.idp.asked.total() - before)
    if heard.statuses != {200: VISITS * count}:
        crowd.wrong.append("not everybody was served")
    if heard.confused or fleet.users.confused:
        crowd.wrong.append("somebody was taken for another")
    return crowd


@asynccontextmanager
async def gathered() -> AsyncIterator[Fleet]:
    """Run the processes, and end them in good order."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crowd-")))
        valkey = stack.enter_context(serving("valkey"))
        idp, users = Moody(), Users()
        await idp.start()
        stack.push_async_callback(idp.stop)
        runner = await users.start()
        stack.push_async_callback(runner.cleanup)
        text = CONFIG.format(store=valkey.url, idp=idp.url, users=users.port)
        gateways = []
        for number in range(PROCESSES):
            inside = folder / str(number)
            inside.mkdir()
            gateways.append(start(text, inside))
            stack.callback(gateways[-1].kill)
        for gateway in gateways:
            await asyncio.to_thread(gateway.await_ready)
        yield Fleet(gateways, idp, users)
        for gateway in gateways:
            assert await asyncio.to_thread(gateway.stop) == 0, gateway.said()[-2000:]
            assert not gateway.crashes(), gateway.crashes()[:5]
