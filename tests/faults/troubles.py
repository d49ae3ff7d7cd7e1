"""Every fault there is a promise about: one line each, in `TROUBLES`.

Always: tokens that are known are served, revoked ones refused, bad ones not let in.
What else a client may hear is said by the kind of trouble.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from redis import Redis
from redis.exceptions import RedisError

from gateway.tasks import spawn
from tests.faults.place import Place, published

Fault = Callable[[Place], AbstractAsyncContextManager[None]]
Parts = frozenset[str]
"""Those of whom some may hear *later*: 503."""

UNNOTICED: Final[Parts] = frozenset()
"""Nobody hears anything."""

BLIND: Final = frozenset({"strict"})
"""Routes that are strict about revocation say *later* once that was too long."""

OUTAGE: Final = frozenset({"cold", "bad"})
"""Who is not known hears *later*."""

KEYLESS: Final = frozenset({"bad"})
"""Whoever names a key that nobody knows hears *later*."""


@dataclass(frozen=True)
class Trouble:
    """A fault, where it happens, and what may be heard meanwhile.

    `calls` are the provider's at most, where it is to be spared. Of a fault that `stays`
    nothing is mended: the others must do without.
    """

    name: str
    fault: Fault
    later: Parts = UNNOTICED
    store: str = "valkey"
    route: str = "idp"
    calls: int | None = None
    stays: bool = False


# ----------------------------------------------------------------------- the store


@asynccontextmanager
async def killed(place: Place) -> AsyncIterator[None]:
    """It is gone, with all it held; then it is started, empty."""
    await asyncio.to_thread(place.server.kill)
    yield
    await asyncio.to_thread(place.server.start)


@asynccontextmanager
async def lost(place: Place) -> AsyncIterator[None]:
    """One of several is gone, and does not come back."""
    await asyncio.to_thread(place.server.kill)
    yield


@asynccontextmanager
async def hung(place: Place) -> AsyncIterator[None]:
    """Its sockets are open, and it answers nobody."""
    place.server.stop()
    try:
        yield
    finally:
        place.server.go_on()


def lagging(seconds: float) -> Fault:
    """Make it answer late: every piece, either way, waits so long."""

    @asynccontextmanager
    async def fault(place: Place) -> AsyncIterator[None]:
        assert place.network is not None
        place.network.latency = seconds
        yield
        place.network.flow()

    return fault


@asynccontextmanager
async def black_hole(place: Place) -> AsyncIterator[None]:
    """Nothing comes through, and no connection is closed."""
    assert place.network is not None
    place.network.stall()
    yield
    place.network.flow()


@asynccontextmanager
async def resetting(place: Place) -> AsyncIterator[None]:
    """Every connection is reset, again and again."""
    network = place.network
    assert network is not None

    async def cut() -> None:
        while True:
            network.reset_all()
            await asyncio.sleep(0.05)

    cutting = spawn(cut(), name="cut")
    yield
    cutting.cancel()


def told(begin: tuple[str, ...], end: tuple[str, ...]) -> Fault:
    """Give the server one command, and another in the end."""

    @asynccontextmanager
    async def fault(place: Place) -> AsyncIterator[None]:
        assert await asyncio.to_thread(place.server.say, *begin) == b"+OK\r\n"
        yield
        assert await asyncio.to_thread(place.server.say, *end) == b"+OK\r\n"

    return fault


Vandalism = Callable[[Any, list[bytes]], None]


def vandalised(spoil: Vandalism) -> Fault:
    """Have somebody spoil whatever is written; in the end the store is emptied."""

    @asynccontextmanager
    async def fault(place: Place) -> AsyncIterator[None]:
        over = asyncio.Event()

        def once() -> None:
            with Redis(port=place.server.port) as store, suppress(RedisError):
                spoil(store, list(store.scan_iter()))

        async def spoiling() -> None:
            while not over.is_set():
                await asyncio.to_thread(once)
                await asyncio.sleep(0.01)

        vandal = spawn(spoiling(), name="vandal")
        yield
        over.set()
        await vandal
        await asyncio.to_thread(place.server.say, "FLUSHALL")

    return fault


def _as_lists(store: Any, keys: list[bytes]) -> None:
    for key in keys:
        with store.pipeline() as both:
            both.delete(key).rpush(key, b"a").expire(key, 60).execute()


def _as_noise(store: Any, keys: list[bytes]) -> None:
    for key in keys:
        noise = random.choice([b"", b"\x01", random.randbytes(300)])  # noqa: S311 -- noise
        store.set(key, noise, ex=60)


def _swapped(store: Any, keys: list[bytes]) -> None:
    facts = [key for key in keys if b":facts:" in key]
    values = store.mget(facts) if facts else []
    for key, value in zip(facts, values[1:] + values[:1], strict=True):
        if value:
            store.set(key, value, ex=60)


def _as_giants(store: Any, keys: list[bytes]) -> None:
    # Three at a time: 300 MB.
    store.flushall()
    for key in keys[-3:]:
        store.delete(key)
        store.setrange(key, 100_000_000, b"x")


# --------------------------------------------------------------------- the provider


def mood(name: str) -> Fault:
    """Give the provider a mood."""

    @asynccontextmanager
    async def fault(place: Place) -> AsyncIterator[None]:
        place.idp.mood = name
        yield
        place.idp.mood = "well"

    return fault


@asynccontextmanager
async def refusing(place: Place) -> AsyncIterator[None]:
    """Nobody listens."""
    await place.idp.stop()
    yield
    await place.idp.start()


def presenting(name: str) -> Fault:
    """Have the provider prove itself with another certificate."""

    @asynccontextmanager
    async def fault(place: Place) -> AsyncIterator[None]:
        await _present(place, name)
        yield
        await _present(place, "good")

    return fault


async def _present(place: Place, name: str) -> None:
    await place.tls.stop()
    place.tls.secure = getattr(place.authority, name)
    await place.tls.start()


@asynccontextmanager
async def rotated(place: Place) -> AsyncIterator[None]:
    """The provider publishes a further key, and signs with it at once."""
    place.idp.keys = published(place.signer, place.signer + 1)
    place.signer += 1
    yield


def keys(document: Any) -> Fault:
    """Have the provider publish something else than its keys; None: a 404."""

    @asynccontextmanager
    async def fault(place: Place) -> AsyncIterator[None]:
        before, place.idp.keys = place.idp.keys, document
        yield
        place.idp.keys = before

    return fault


SPARED: Final = 100
"""Calls to a provider that fails for some seconds, of both gateways, with retries."""

TROUBLES: Final = (
    Trouble("store killed, restarted empty", killed, BLIND),
    Trouble("store hangs (SIGSTOP)", hung, BLIND),
    Trouble("store full (maxmemory, noeviction)", told(("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0"))),
    Trouble("store a read-only replica", told(("REPLICAOF", "127.0.0.1", "9"), ("REPLICAOF", "NO", "ONE"))),
    Trouble("store: values of the wrong type", vandalised(_as_lists), BLIND),
    Trouble("store: garbage values", vandalised(_as_noise), BLIND),
    Trouble("store: values under others' keys", vandalised(_swapped)),
    Trouble("store: values of 100 MB", vandalised(_as_giants), BLIND),
    Trouble("provider refuses connections", refusing, OUTAGE, calls=SPARED),
    Trouble("provider slow (200 ms)", mood("slow")),
    Trouble("provider hung", mood("hung"), OUTAGE, calls=SPARED),
    Trouble("provider answers 500", mood("500"), OUTAGE, calls=SPARED),
    Trouble("provider answers 429", mood("429"), OUTAGE, calls=SPARED),
    Trouble("provider answers HTML", mood("HTML"), OUTAGE),
    Trouble("provider answers HTML with 502", mood("HTML with 502"), OUTAGE, calls=SPARED),
    Trouble("provider: active false, then true", mood("twice"), OUTAGE),
    Trouble("provider: a gzip bomb of 1 GiB", mood("bomb"), OUTAGE, calls=SPARED),
    Trouble("provider: a body of 1 GiB", mood("endless"), OUTAGE, calls=SPARED),
    Trouble("provider redirects", mood("elsewhere"), OUTAGE, calls=SPARED),
    Trouble("provider: certificate expired", presenting("expired"), OUTAGE, route="tls", calls=SPARED),
    Trouble("provider: another's certificate", presenting("another"), OUTAGE, route="tls", calls=SPARED),
    Trouble("JWKS rotated", rotated, OUTAGE, route="jwt"),
    Trouble("JWKS emptied", keys({"keys": []}), KEYLESS, route="jwt"),
    Trouble("JWKS gone (404)", keys(None), KEYLESS, route="jwt"),
    Trouble("JWKS gone (refused)", refusing, KEYLESS, route="jwt"),
    Trouble("store slow (40 ms each way)", lagging(0.04), store="network"),
    Trouble("store slow (200 ms each way)", lagging(0.2), BLIND, store="network"),
    Trouble("store in a black hole", black_hole, BLIND, store="network"),
    Trouble("store resets connections", resetting, BLIND, store="network"),
    Trouble("Sentinel: the master killed", lost, BLIND, store="sentinel", stays=True),
    Trouble("Cluster: one of three nodes killed", lost, BLIND, store="cluster", stays=True),
)  # fmt: skip
