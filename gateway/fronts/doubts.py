"""Doubt what is known of a token when an upstream refuses it. Floor 4.

An upstream that answers 401 to a token we let through may know better: the provider
revoked it a moment ago. So this token's facts are dropped and the next request asks
again. It is no mark: an upstream has no say about tokens. And it happens at most once in
`PAUSE` seconds for a token, else a broken upstream, or a client that finds one which
always answers 401, would turn every request into a question to the provider.
"""

import contextlib
import os
from collections import OrderedDict
from collections.abc import Mapping
from hashlib import blake2b
from typing import Final

from gateway.errors import StoreUnavailable
from gateway.ports import Clock, FactsSource
from gateway.tasks import spawn
from gateway.values import Permit, Source

PAUSE: Final = 10.0
LIMIT: Final = 4096
"""How many tokens are remembered as doubted; beyond that the oldest make room."""

_FROM_CACHE: Final = frozenset({Source.L1, Source.L2, Source.STALE})


class Doubts:
    """The tokens that upstreams refused of late, by a name that says nothing."""

    def __init__(self, sources: Mapping[str, FactsSource], clock: Clock) -> None:
        self._sources = sources
        self._clock = clock
        self._key = os.urandom(32)
        self._until: OrderedDict[bytes, float] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Doubts: {len(self._until)}>"

    def doubt(self, permit: Permit) -> None:
        """Drop the facts that let this request through, unless that was just done."""
        credentials, provider = permit.credentials, permit.route.provider
        if credentials is None or permit.source not in _FROM_CACHE:
            return
        token = credentials.token
        name = blake2b(f"{provider}\n{token}".encode(), key=self._key, digest_size=16)
        key, now = name.digest(), self._clock.monotonic()
        if now < self._until.get(key, now):
            return
        self._until[key] = now + PAUSE
        self._until.move_to_end(key)
        if len(self._until) > LIMIT:
            self._until.popitem(last=False)
        _ = spawn(self._forget(provider, token), name="doubt a token")

    async def _forget(self, provider: str, token: str) -> None:
        # A store that does not answer keeps its facts to their ttl: counted there.
        with contextlib.suppress(StoreUnavailable):
            await self._sources[provider].forget(token, source="upstream")
