"""Ask the store, and knock at every target of every upstream. Floor 5.

A target is dialled as a request would dial it, TLS and its names included; where a
health check is configured, it is made. Nothing else is asked of an upstream: what it
answers to an invented request says nothing.
"""

import asyncio
import secrets
import socket
import ssl
from typing import Final

from gateway.app import App
from gateway.doctor.finding import BAD, GOOD, NOTE, WARN, Finding
from gateway.errors import StoreUnavailable, UpstreamUnavailable
from gateway.stores._journal import open_journal
from gateway.values import HealthCheck, Origin, UpstreamSettings
from gateway.wire.deadlines import Deadlines
from gateway.wire.dial import DIAL_ERRORS, Dialler
from gateway.wire.health import Prober
from gateway.wire.resolve import resolve
from gateway.wire.targets import Target
from gateway.wire.upstream import UpstreamConnection

SIGHT: Final = 3.0
"""Seconds for the revocations to be read."""


async def examine_store(app: App) -> list[Finding]:
    """Look at the store: its answers, its policy, and the revocations in it."""
    kind = str(app.config.store.url).partition(":")[0]
    about = f"store ({kind})"
    if not app.store.shared:
        told = "is this process's own memory: nobody is asked"
        todo = "Facts and revocations end with the process, and no other knows them."
        return [Finding(NOTE, about, told, todo)]
    key, value = f"doctor:{secrets.token_hex(8)}", secrets.token_bytes(16)
    try:
        await app.store.ping()
        await app.store.put(key, value, ttl=10.0)
        kept = await app.store.get(key)
        await app.store.delete(key)
    except StoreUnavailable as error:
        todo = (
            "Is it running, is the address right, and may this user do what"
            " config/README.md says?"
        )
        return [Finding(BAD, about, str(error), todo)]
    if kept != value:
        todo = "Is this the primary, or a replica that lags?"
        return [Finding(BAD, about, "forgot what was just written", todo)]
    return [
        Finding(GOOD, about, "answers, and keeps what is written"),
        *await _revocations(app, about),
    ]


async def _revocations(app: App, about: str) -> list[Finding]:
    revocation = app.revocation
    await revocation.start()
    if revocation.stream is None:
        return []
    stream = revocation.stream
    for _ in range(int(SIGHT / 0.1)):
        if stream.read and not stream.blind:
            break
        await asyncio.sleep(0.1)
    if not stream.read or stream.blind:
        told = "the revocations could not be read"
        todo = "May this user use streams and scripts? config/README.md lists them."
        return [Finding(BAD, about, told, todo)]
    found = [Finding(GOOD, about, f"{len(app.marks.list())} revocations are in force")]
    return [*found, *await _policy(app, about)]


async def _policy(app: App, about: str) -> list[Finding]:
    store = app.config.store
    journal = open_journal(str(store.url), [], limit=1, access=store.access())
    try:
        policy = await journal.eviction()
    except StoreUnavailable as error:
        return [Finding(WARN, about, f"did not tell its eviction policy: {error}")]
    finally:
        await journal.close()
    if policy in ("", "noeviction"):
        return []
    told = f"may evict keys by itself ({policy}), revocations among them"
    return [Finding(WARN, about, told, "Set `maxmemory-policy` to `noeviction`.")]


async def examine_upstream(
    settings: UpstreamSettings, deadlines: Deadlines
) -> list[Finding]:
    """Look at every address of every target."""
    found = await asyncio.gather(
        *(_examine_origin(settings, origin, deadlines) for origin in settings.origins)
    )
    return [finding for each in found for finding in each]


async def _examine_origin(
    settings: UpstreamSettings, origin: Origin, deadlines: Deadlines
) -> list[Finding]:
    about = f"upstream {settings.name}: {origin}"
    hosts = [origin.host]
    if origin.resolved:
        try:
            hosts = await resolve(origin.host, origin.port)
        except (OSError, UnicodeError):
            todo = "Is the name right, and is there a (headless) service of that name?"
            return [Finding(BAD, about, "the name has no address", todo)]
    targets = [Target(origin, host) for host in hosts]
    return list(
        await asyncio.gather(
            *(_knock(settings, target, about, deadlines) for target in targets)
        )
    )


async def _knock(
    settings: UpstreamSettings, target: Target, about: str, deadlines: Deadlines
) -> Finding:
    if target.origin.resolved:
        about = f"{about} ({target.host})"
    dialler = Dialler(settings)
    try:
        async with asyncio.timeout(settings.timeouts.connect):
            connection = await dialler.dial(
                target, lambda: UpstreamConnection(_Nobody(), deadlines, 0)
            )
    except DIAL_ERRORS as error:
        return Finding(BAD, about, *_why(error, settings.timeouts.connect))
    connection.drop()
    if settings.health is None:
        return Finding(GOOD, about, "takes connections")
    return await _check_health(settings, settings.health, target, about, deadlines)


async def _check_health(
    settings: UpstreamSettings,
    health: HealthCheck,
    target: Target,
    about: str,
    deadlines: Deadlines,
) -> Finding:
    prober = Prober(settings, Dialler(settings), deadlines)
    path = health.target.decode("latin-1")
    if await prober.is_well(target, health):
        return Finding(GOOD, about, f"takes connections, and {path} says it is well")
    first, last = health.status
    todo = f"Expected a status from {first} to {last} within {health.timeout:g} s."
    return Finding(BAD, about, f"{path} does not say that it is well", todo)


def _why(error: Exception, connect: float) -> tuple[str, str]:
    """Say why a target could not be dialled, and what to do."""
    told, todo = next(
        (told, todo) for kind, told, todo in _FAILURES if isinstance(error, kind)
    )
    detail = {
        ssl.SSLCertVerificationError: getattr(error, "verify_message", ""),
        TimeoutError: f"{connect:g} s",
        UpstreamUnavailable: str(error),
    }.get(type(error), getattr(error, "strerror", None) or "")
    return told.format(detail), todo


_FAILURES: Final[tuple[tuple[type[Exception], str, str], ...]] = (
    (
        ssl.SSLCertVerificationError,
        "its certificate is not accepted: {}",
        "Set `ca_file` or `server_name`, or have it renewed.",
    ),
    (ssl.SSLError, "TLS failed", "Does it speak TLS on this port, 1.2 or newer?"),
    (
        TimeoutError,
        "no connection in {}",
        "Is a firewall in between? `timeouts.connect` is how long we wait.",
    ),
    (socket.gaierror, "the name has no address", "Is it spelled right?"),
    (
        ConnectionRefusedError,
        "nobody listens there",
        "Is it running, and is the port right?",
    ),
    (UpstreamUnavailable, "{}", "It must speak HTTP/1.1."),
    (
        Exception,
        "it cannot be reached: {}",
        "Is the address right, and may we reach it from here?",
    ),
)
"""The first kind that an error is of says what it means."""


class _Nobody:
    """A `Keeper` of connections that serve nobody."""

    def give_back(self, connection: UpstreamConnection) -> None:
        connection.drop()

    def gone(self, connection: UpstreamConnection) -> None:
        pass
