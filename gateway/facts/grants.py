"""Remember the grants seen in token answers passing by. Floor 3.

A grant is a record, not a cache entry: nobody can be asked for it again, so it is
kept as long as the token can live, a grant that cannot be kept is a loud failure, and
one that cannot be read now is `StoreUnavailable`, never *none*. It is named by
provider and token only: who is asked about validity may change, what was granted has
happened. After a change of secrets the grants under every listed secret are found.
"""

from collections.abc import Sequence
from typing import Generic, TypeVar

from gateway.errors import StoreUnavailable
from gateway.facts.fingerprints import Kind, fingerprints
from gateway.facts.sealed import SealBroken, Sealer
from gateway.ports import CacheEvents, Clock, Store
from gateway.values import Grant

Record = TypeVar("Record")


class Records(Generic[Record]):
    """Sealed records of one kind, each about one token of one provider."""

    def __init__(
        self,
        kind: Kind,
        made_of: type[Record],
        secrets: Sequence[str],
        *,
        store: Store,
        clock: Clock,
        events: CacheEvents,
    ) -> None:
        self._kind = kind
        self._secrets = tuple(secrets)
        self._sealers = tuple(Sealer(made_of, secret) for secret in secrets)
        self._store = store
        self._clock = clock
        self._events = events

    async def keep(
        self, provider: str, token: str, record: Record, until: float
    ) -> None:
        """Keep `record` until that moment, or raise `StoreUnavailable`."""
        ttl = until - self._clock.now()
        if ttl <= 0:
            return
        key = self._keys(provider, token)[0]
        value = self._sealers[0].seal(record, token=token, key=key, believe_until=until)
        if value is None:
            raise StoreUnavailable("the record is too long to be kept")
        await self._store.put(key, value, ttl=ttl)

    async def recall(self, provider: str, token: str) -> Record | None:
        """Give the record about this token, or None when there never was one.

        Raises `StoreUnavailable` when that cannot be known now. A value that does
        not open counts as an alarm and as none: it is not ours.
        """
        for key, sealer in zip(self._keys(provider, token), self._sealers, strict=True):
            value = await self._store.get(key)
            if value is None:
                continue
            try:
                return sealer.open(value, token=token, key=key, now=self._clock.now())
            except SealBroken:
                self._events.seal_alarm()
        return None

    def _keys(self, provider: str, token: str) -> list[str]:
        names = fingerprints(self._secrets, self._kind, provider)
        return [name.store_key(token) for name in names]


class Grants:
    """Keeps `ports.GrantReader`, and the pen as well."""

    def __init__(
        self, secrets: Sequence[str], *, store: Store, clock: Clock, events: CacheEvents
    ) -> None:
        self._records = Records(
            Kind.GRANT, Grant, secrets, store=store, clock=clock, events=events
        )

    async def record(self, provider: str, token: str, grant: Grant) -> None:
        """Keep `grant` until it expires. One without scopes teaches nothing.

        Raises `StoreUnavailable` when it cannot be kept.
        """
        if grant.scopes is not None:
            await self._records.keep(provider, token, grant, grant.expires_at)

    async def recall(self, provider: str, token: str) -> Grant | None:
        """Give the grant learned for this token, or None when none ever was.

        Raises `StoreUnavailable` when that cannot be known now.
        """
        return await self._records.recall(provider, token)
