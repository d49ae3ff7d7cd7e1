"""The table of parity through real engines: what each of them is rendered, it does.

The house with its doors is in this process, the engine is a real one, and so is the
upstream that both lead to. What the engine's client hears, and what the upstream is
asked, is what our own listener makes of the same request; what an engine forces to be
different is listed by name.
"""

import asyncio
import http.client
import importlib
import io
import ipaddress
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import pytest

from gateway.config.addresses import Address
from gateway.fronts.counsel import Counsel
from gateway.fronts.ext_authz import ExtAuthz, GrpcDoor
from gateway.render import _site
from gateway.rules.forwarded import TrustedProxies
from gateway.values import WireLimits
from tests.engines.stage import ENGINES as REAL
from tests.engines.stage import Engine, Running, checked
from tests.fronts.engines import desk
from tests.fronts.house import Door, Received, Told
from tests.fronts.parity import CASES, ENGINES, TABLE, Case
from tests.fronts.test_front_parity import by_proxy, judged, lines
from tests.functional.harness import free_ports
from tests.wire.harness import Client

pytestmark = [pytest.mark.engines, pytest.mark.timeout(170)]

IDENTITY = frozenset(ENGINES.replaced) - {b"x-request-id"}
"""What is ours to say, and the token."""


@dataclass(frozen=True)
class Seen:
    """What a client hears and an upstream is asked, as far as it is ours to decide."""

    status: int
    challenge: bytes | None
    body: bytes | None
    asked: tuple[str, bytes, tuple[tuple[bytes, bytes], ...]] | None


def seen(told: Told, received: list[Received], *, bodiless: bool) -> Seen:
    """Keep what is ours; whoever reached the upstream heard the upstream."""
    assert len(received) <= 1
    if received:
        [one] = received
        named = ((name.lower(), value) for name, value in one.headers)
        # Some engines send no header that has no value.
        ours = tuple(sorted(h for h in named if h[0] in IDENTITY and h[1]))
        return Seen(told.status, None, None, (one.method, one.target, ours))
    body = None if bodiless else told.body
    return Seen(told.status, told.value(b"www-authenticate"), body, None)


@asynccontextmanager
async def served(engine: Engine, folder: Path) -> AsyncIterator[tuple[Door, int]]:
    """Open every door, and the engine in front of them."""
    trusts = TrustedProxies([ipaddress.ip_network("127.0.0.0/8")]).trusts
    async with judged(trusted="127.0.0.0/8") as d, desk(d) as asked:
        counsel = Counsel(lambda: d.front.setup, lambda: d.reception)
        front = ExtAuthz(counsel, trusts=trusts, ready=lambda: True)
        server = GrpcDoor(front, WireLimits(), shared=False)
        calls = await server.open(Address("127.0.0.1", 0))
        port = free_ports().proxy
        site = _site.Site(
            listen=Address("127.0.0.1", port),
            authz=Address("127.0.0.1", asked.port),
            authz_grpc=calls,
            proxy=Address("127.0.0.1", d.port),
            routes=TABLE,
            upstreams={name: pool.settings for name, pool in d.pools.items()},
            told=tuple(
                _site.canonical(name)
                for name in dict.fromkeys(ENGINES.replaced)
                if name not in _site._NEVER_TOLD
            ),
            blank=tuple(sorted(map(_site.canonical, _site._NEVER_TOLD))),
            limits=WireLimits(),
        )
        module = importlib.import_module(f"gateway.render.{engine.name}")
        for name, text in module.render(site).items():
            (folder / name).write_text(text)
        assert "" == await asyncio.to_thread(checked, engine, folder)
        running = Running(engine, folder, port)
        try:
            await asyncio.to_thread(running.await_open)
            yield d, port
        finally:
            await asyncio.to_thread(running.stop)
            await server.close()


class Heard:
    """Bytes that were received, as `http.client` wants them."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, *_: object) -> io.BytesIO:
        """Give them to be read."""
        return io.BytesIO(self._data)


def read(data: bytes, method: str) -> Told:
    """Read an answer, be it one of an engine's own that only ends with its connection."""
    response = http.client.HTTPResponse(cast("Any", Heard(data)), method=method)
    response.begin()
    headers = [
        (name.lower().encode(), value.encode("latin-1"))
        for name, value in response.getheaders()
    ]
    return Told(response.status, headers, response.read())


async def by_engine(house: Door, port: int, case: Case) -> Seen:
    """Send the request to the engine."""
    raw = f"{case.line} HTTP/1.1\r\nHost: {case.host}\r\n".encode()
    raw += b"".join(b"%b: %b\r\n" % line for line in lines(case))
    before = len(house.upstream.requests)
    bodiless = case.line.startswith("HEAD ")
    client = Client(*await asyncio.open_connection("127.0.0.1", port))
    try:
        length = sum(int(v) for n, v in lines(case) if n == b"Content-Length")
        await client.send(raw + b"Connection: close\r\n\r\n" + b"x" * length)
        told = read(await client.read_all(), case.line.partition(" ")[0])
    except TimeoutError:
        told = Told(0, [], b"timeout")
    finally:
        client.writer.close()
    return seen(told, house.upstream.requests[before:], bodiless=bodiless)


async def by_ourselves(house: Door, case: Case) -> Seen:
    """Send it to the proxy door."""
    before = len(house.upstream.requests)
    outcome = await by_proxy(house, case)
    headers, body = outcome.words or ((), b"")
    told = Told(outcome.status, list(headers), body)
    bodiless = case.line.startswith("HEAD ")
    return seen(told, house.upstream.requests[before:], bodiless=bodiless)


LIMITS: Final = {
    # The engine has limits of its own, and is a hop of its own (RFC 9110 §7.6.2).
    "body too long": (200, b"/small/a"),
    "last hop": (200, b"/public/a"),
}
IN_QUERY: Final = dict.fromkeys(
    # It could not take the token out.
    (
        "melon, token in the query",
        "melon, only the token in the query",
        "query, escaped name",
    ),
    (400, None),
)
UNDROPPED: Final = {
    # It drops no header by name, but those of a fixed list.
    "identity, unheard of": (400, None),
}
OWN_WORDS: Final = {
    # It refuses by itself, in its own words and with the same status.
    "bad percent": (400, None),
}
DIFFERENCES: Final[Mapping[str, Mapping[str, tuple[int, bytes | None]]]] = {
    "nginx": {
        **LIMITS,
        **UNDROPPED,
        **OWN_WORDS,
        "null": (400, None),
        "two tokens": (400, None),
        "trace": (405, None),
    },
    "envoy": LIMITS,
    "traefik": {
        **LIMITS,
        **UNDROPPED,
        **OWN_WORDS,
        **IN_QUERY,
        # It decodes what needs no escape, before anything is judged.
        "kept as sent": (200, b"/public/a./;v=1?x=%zz&y=%26"),
    },
    "caddy": {
        **LIMITS,
        **UNDROPPED,
        **OWN_WORDS,
        **IN_QUERY,
        # Its matchers do not know a `?` that nothing follows.
        "empty query": (404, None),
    },
}
"""What an engine forces: the case, the status, and what the upstream is asked."""


@pytest.mark.parametrize("name", REAL)
async def test_a_real_engine_judges_alike(name, tmp_path):
    """One verdict, one identity, one upstream request; or the difference is named."""
    engine = REAL[name]
    if missing := engine.missing():
        pytest.skip(missing)
    different: dict[str, tuple[int, bytes | None]] = {}
    async with served(engine, tmp_path) as (house, port):
        for title, case in CASES.items():
            own = await by_ourselves(house, case)
            through = await by_engine(house, port, case)
            if own != through:
                target = None if through.asked is None else through.asked[1]
                different[title] = (through.status, target)

    assert DIFFERENCES[name] == different
