"""Look after an upstream's targets in the background. Floor 3.

Two kinds of tasks: one for each name whose addresses are targets, which asks for them
again and again, and one for each target whose health is checked. What is found goes to
their owner, the pool, which starts and ends them.
"""

import asyncio
import random
from typing import Final, Protocol

from gateway.tasks import spawn
from gateway.values import HealthCheck, Origin, UpstreamSettings
from gateway.wire.health import Prober
from gateway.wire.resolve import Resolver
from gateway.wire.targets import Target

_JITTER: Final = 0.1
"""The part of an interval by which the questions of many gateways drift apart."""


class TargetOwner(Protocol):
    """Who hears what was found."""

    def resolved(self, origin: Origin, hosts: list[str] | None) -> None:
        """Take the addresses of a name, or None: it could not be resolved."""
        ...

    def checked(self, target: Target, *, well: bool) -> None:
        """Take note of a health check."""
        ...


class Upkeep:
    """The background work of one pool."""

    def __init__(
        self,
        settings: UpstreamSettings,
        owner: TargetOwner,
        *,
        resolver: Resolver,
        prober: Prober,
    ) -> None:
        self._owner = owner
        self._check = settings.health
        self._interval = settings.resolve_interval
        self._origins = [each for each in settings.origins if each.resolved]
        self._resolver = resolver
        self._prober = prober
        self._tasks: dict[Origin | Target, asyncio.Task[None]] = {}
        self._started = False

    def __repr__(self) -> str:
        return f"<Upkeep: {len(self._tasks)} tasks>"

    async def start(self, targets: list[Target]) -> None:
        """Resolve every name once, then begin; `targets` are known without that."""
        self._started = True
        self.watch(targets)
        await asyncio.gather(*map(self._resolve, self._origins))
        for origin in self._origins:
            self._tasks[origin] = spawn(self._keep_resolved(origin), name="resolve")

    def watch(self, targets: list[Target]) -> None:
        """Check the health of these from now on, if it is to be checked."""
        if self._check is None or not self._started:
            return
        for target in targets:
            work = self._keep_checked(target, self._check)
            self._tasks[target] = spawn(work, name="check-health")

    def forget(self, targets: list[Target]) -> None:
        """Check them no more."""
        for target in targets:
            if target in self._tasks:
                self._tasks.pop(target).cancel()

    def close(self) -> None:
        """End every task."""
        self._started = False
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()

    async def _keep_resolved(self, origin: Origin) -> None:
        while True:
            await _pause(self._interval)
            await self._resolve(origin)

    async def _resolve(self, origin: Origin) -> None:
        hosts: list[str] | None = None
        try:
            async with asyncio.timeout(self._interval):
                hosts = await self._resolver(origin.host, origin.port)
        except (OSError, TimeoutError, UnicodeError):
            pass
        self._owner.resolved(origin, hosts)

    async def _keep_checked(self, target: Target, check: HealthCheck) -> None:
        while True:
            well = await self._prober.is_well(target, check)
            self._owner.checked(target, well=well)
            await _pause(check.interval)


async def _pause(interval: float) -> None:
    part = random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 -- hides nothing
    await asyncio.sleep(interval * part)
