"""Which of several targets is next, and which are left alone for now. Floor 3, pure.

Plain state with a clock; nothing here opens or closes anything.

- The least busy target in rotation is next; of equals the one not chosen for longest.
- **Ejected** is who failed `FAILURES` times in a row: connections that could not be
  opened, and exchanges without a response head (no answer in time, a doubtful one, or
  none at all on a new connection). Statuses do not count: a 503 says that somebody is
  there. The back-off doubles with every ejection until an answer comes, from
  `FIRST_BACKOFF` to `LONGEST_BACKOFF`, each ±20 %, so that not all gateways come back
  at once. After it one failure more is enough. The last in rotation is not ejected.
- **Unwell** is who failed its health checks; it is out until they say otherwise.
- Where nobody is left in rotation all are tried: a bad target is better than none.
"""

import random
from collections.abc import Callable, Collection, Iterable
from typing import Final

from gateway.values import HealthCheck, Origin
from gateway.wire.upstream import UpstreamConnection

FAILURES: Final = 3
FIRST_BACKOFF: Final = 1.0
LONGEST_BACKOFF: Final = 60.0
_DOUBLINGS: Final = 16

STANDINGS: Final = ("serving", "ejected", "unwell")
"""What a member can be."""


class Target:
    """One address that serves: its connections, and what is known of its health."""

    __slots__ = (
        "contrary",
        "draining",
        "ejected_until",
        "ejections",
        "failures",
        "host",
        "idle",
        "open",
        "opening",
        "origin",
        "well",
    )

    def __init__(self, origin: Origin, host: str) -> None:
        self.origin = origin
        self.host = host
        """Where it is: a name, an address or a path."""
        self.idle: list[UpstreamConnection] = []
        self.open = 0
        """Connections, idle ones too."""
        self.opening = 0
        """Connections being opened, or promised to somebody who will open one."""
        self.failures = 0
        self.ejections = 0
        """Ejections since it last answered."""
        self.ejected_until = 0.0
        self.well = True
        self.contrary = 0
        """Health checks in a row that say otherwise than `well`."""
        self.draining = False
        """Whether it is no target any more: what it still serves is its last."""

    def __repr__(self) -> str:
        return f"<Target {self.host}: {self.open} open, {len(self.idle)} idle>"


class Rotation:
    """All targets of an upstream, and those of them that take their turns."""

    def __init__(
        self,
        time: Callable[[], float],
        *,
        connections: int,
        health: HealthCheck | None = None,
    ) -> None:
        self._time = time
        self._connections = connections
        self._health = health
        self._ring: list[Target] = []
        self._ejected: list[Target] = []
        self.members: list[Target] = []

    def __repr__(self) -> str:
        return f"<Rotation: {len(self._ring)} of {len(self.members)}>"

    # -------------------------------------------------------------------- choice

    def choose(
        self, without: Collection[Target] = (), *, ready: bool = False
    ) -> Target | None:
        """Give the next target with room for a request; None where there is none.

        Those in rotation first; the others only when all of these are in `without`.
        With `ready` the next one, but only if a connection to it is idle.
        """
        if self._ejected:
            self._readmit()
        targets = self._ring
        target = self._least(targets, without)
        if target is None and all(each in without for each in targets):
            targets = self.members
            target = self._least(targets, without)
        if target is None or (ready and not target.idle):
            return None
        # To the end: of equals it is the last to be chosen again.
        targets.remove(target)
        targets.append(target)
        return target

    def serves(self, target: Target) -> bool:
        """Tell whether requests may be sent to `target` now."""
        return target in (self._ring or self.members)

    def standing(self, target: Target) -> str:
        """Tell why a member is out, or that it is in."""
        if not target.well:
            return "unwell"
        return "ejected" if target in self._ejected else "serving"

    def _least(
        self, targets: list[Target], without: Collection[Target]
    ) -> Target | None:
        best, least = None, self._connections
        for target in targets:
            load = target.open - len(target.idle) + target.opening
            if load < least and target not in without:
                best, least = target, load
        return best

    # ------------------------------------------------------------------- outcomes

    def succeeded(self, target: Target) -> None:
        """Take note of an answer: it is forgiven what was before."""
        target.failures = target.ejections = 0

    def failed(self, target: Target) -> bool:
        """Take note of a failure; tell whether it leaves the rotation for it."""
        target.failures += 1
        if target.failures < FAILURES or target not in self._ring:
            return False
        if len(self._ring) == 1:
            return False
        backoff = FIRST_BACKOFF * 2 ** min(target.ejections, _DOUBLINGS)
        jitter = random.uniform(0.8, 1.2)  # noqa: S311 -- spreads, hides nothing
        target.ejected_until = self._time() + min(backoff, LONGEST_BACKOFF) * jitter
        target.ejections += 1
        self._ejected.append(target)
        self._place(target)
        return True

    def checked(self, target: Target, *, well: bool) -> bool:
        """Take note of a health check; tell whether it turned the target's state."""
        if well == target.well or self._health is None:
            target.contrary = 0
            return False
        target.contrary += 1
        needed = self._health.healthy if well else self._health.unhealthy
        if target.contrary < needed:
            return False
        target.well, target.contrary = well, 0
        self._place(target)
        return True

    def _readmit(self) -> None:
        now = self._time()
        for target in [each for each in self._ejected if each.ejected_until <= now]:
            self._ejected.remove(target)
            self._place(target)

    def _place(self, target: Target) -> None:
        fit = target.well and not target.draining and target not in self._ejected
        if fit and target not in self._ring:
            self._ring.append(target)
        elif not fit and target in self._ring:
            self._ring.remove(target)

    # ----------------------------------------------------------------- membership

    def add(self, target: Target) -> None:
        """Take a target in, and believe it well."""
        self.members.append(target)
        self._place(target)

    def renew(
        self, origin: Origin, hosts: Iterable[str]
    ) -> tuple[list[Target], list[Target]]:
        """Let exactly `hosts` stand for `origin`; give who joined and who left."""
        known = {each.host: each for each in self.members if each.origin == origin}
        joined = [Target(origin, host) for host in hosts if host not in known]
        left = [known[host] for host in known.keys() - frozenset(hosts)]
        for target in joined:
            self.add(target)
        for target in left:
            target.draining = True
            self.members.remove(target)
            if target in self._ejected:
                self._ejected.remove(target)
            self._place(target)
        return joined, left
