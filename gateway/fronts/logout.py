"""Take logouts from providers: OpenID Connect Back-Channel Logout 1.0. Floor 4.

A provider posts a signed token that says whose session ended, and a revocation mark
follows. The token is proven by the same keys as access tokens (`verifiers.jwt`), read by
`rules.logout_tokens`, and heeded once: whoever got hold of one could otherwise log
somebody out again and again. Which tokens have been is in the store, so every process
that shares it knows, and of several that have one at once, one heeds it; where the store cannot tell, the token is not heeded, and the
provider hears it: a 503, as for a mark that cannot be kept.
"""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Final, Protocol, runtime_checkable

import msgspec

from gateway.errors import ProviderUnavailable, StoreUnavailable
from gateway.facts.fingerprints import Kind, fingerprints
from gateway.ports import Clock, Marker, Store
from gateway.rules.logout_tokens import ACCEPTED, Flaw, Logout, read
from gateway.rules.oauth_forms import read_logout
from gateway.rules.policy import deny
from gateway.rules.signatures import Jws
from gateway.rules.strict_json import UnusableJson
from gateway.values import Answer, Denial, LogoutTerms, Permit, Reason, RequestHead


@runtime_checkable
class Notary(Protocol):
    """Proves what a provider signed. The `jwt` verifier keeps this."""

    async def proven(self, token: str) -> Jws | None:
        """Give the JWT if the provider signed it; `ProviderUnavailable` if unknown."""
        ...


class Caller(Protocol):
    """What is needed of a visit."""

    @property
    def request(self) -> RequestHead:
        """Give the request's head."""
        ...

    def answer_denial(self, denial: Denial, *, failure: str = "") -> None:
        """Refuse."""
        ...

    def answer_own(self, answer: Answer, reason: str) -> None:
        """Answer for what the gateway itself has done."""
        ...


class _Refusal(msgspec.Struct, frozen=True, gc=False):
    reason: Reason
    told: str


_CLAIMED: Final = b"claimed"
_HEEDED: Final = b"heeded"
_CLAIM: Final = 10.0
"""Seconds for which a token is claimed: longer than a mark takes to be kept."""

_REPLAYED: Final = _Refusal(Reason.INVALID_LOGOUT_TOKEN, "it has been here before")
_ELSEWHERE: Final = _Refusal(Reason.LOGOUT_NOT_KEPT, "it is being heeded elsewhere")


class Logouts:
    """The logouts of all providers. Of `secrets` the first names, all are looked up."""

    def __init__(
        self,
        secrets: Sequence[str],
        *,
        notaries: Mapping[str, Notary],
        marker: Marker,
        store: Store,
        clock: Clock,
    ) -> None:
        self._secrets = tuple(secrets)
        self._notaries = notaries
        self._marker = marker
        self._store = store
        self._clock = clock

    def __repr__(self) -> str:
        return f"<Logouts: {len(self._notaries)} notaries>"

    async def take(self, caller: Caller, permit: Permit, body: bytes) -> None:
        """Heed a logout request, or refuse it."""
        route = permit.route
        form = read_logout(caller.request, route.guard, body)
        if isinstance(form, Reason):
            caller.answer_denial(deny(route, form))
            return
        terms = route.guard.logout
        refusal = (
            _Refusal(Reason.INVALID_LOGOUT_TOKEN, "nobody's logout tokens are heeded")
            if terms is None
            else await self._heed(route.provider, terms, form)
        )
        if refusal is None:
            caller.answer_own(ACCEPTED, "logout")
            return
        failure = f"logout token: {refusal.told}"
        caller.answer_denial(deny(route, refusal.reason), failure=failure)

    async def _heed(
        self, provider: str, terms: LogoutTerms, token: str
    ) -> _Refusal | None:
        notary = self._notaries.get(provider)
        try:
            jws = None if notary is None else await notary.proven(token)
            members = None if jws is None else jws.claims()
        except ProviderUnavailable:
            return _Refusal(Reason.LOGOUT_NOT_KEPT, "the keys cannot be had")
        except UnusableJson:
            return _Refusal(Reason.INVALID_LOGOUT_TOKEN, "its claims are not usable")
        if jws is None or members is None:
            return _Refusal(Reason.INVALID_LOGOUT_TOKEN, "not signed by the provider")
        logout = read(jws.header, members, terms, self._clock.now())
        if isinstance(logout, Flaw):
            return _Refusal(Reason.INVALID_LOGOUT_TOKEN, logout.told)
        return await self._once(provider, logout)

    async def _once(self, provider: str, logout: Logout) -> _Refusal | None:
        """Carry it out, unless that was done before.

        Of all who have the same token at once, one claims it; a claim runs out, so
        that the provider can come again when whoever made it has died.
        """
        # Under every secret: where they are rotated, the others know but one of them.
        names = fingerprints(self._secrets, Kind.LOGOUT, provider)
        keys = [name.store_key(logout.token_id) for name in names]
        claimed: list[str] = []
        try:
            for key in keys:
                if not await self._store.add(key, _CLAIMED, ttl=_CLAIM):
                    heeded = await self._store.get(key) == _HEEDED
                    await self._let_go(claimed)
                    return _REPLAYED if heeded else _ELSEWHERE
                claimed.append(key)
            mark = self._marker.mark(logout.kind, provider, logout.name)
            await self._marker.add(mark)
            ttl = max(logout.ends_at - self._clock.now(), 1.0)
            for key in keys:
                await self._store.put(key, _HEEDED, ttl=ttl)
        except StoreUnavailable as error:
            # The provider may send the same token again: at worst it is heeded twice.
            await self._let_go(claimed)
            return _Refusal(Reason.LOGOUT_NOT_KEPT, str(error))
        return None

    async def _let_go(self, keys: Sequence[str]) -> None:
        with contextlib.suppress(StoreUnavailable):
            for key in keys:
                await self._store.delete(key)
