"""How providers and upstreams are, in one word each. Floor 4: pure.

The words are `good`, `warn` (something is wrong, requests go on) and `bad`.
"""

from typing import Final

import msgspec

from gateway.admin.picture import ProviderPicture
from gateway.admin.pulse import Tally
from gateway.wire.states import PoolState, TargetState

BREAKER: Final = ("closed", "half open", "open")


class ProviderView(msgspec.Struct, frozen=True, kw_only=True):
    """A provider: what is true now, and how its questions went lately."""

    now: ProviderPicture
    state: str
    breaker: str
    asked: int
    failures: dict[str, int]


class TargetView(msgspec.Struct, frozen=True, kw_only=True):
    """A target of an upstream, and in one word how it is."""

    now: TargetState
    state: str


class UpstreamView(msgspec.Struct, frozen=True, kw_only=True):
    """An upstream and its targets."""

    upstream: str
    state: str
    waiting: int
    targets: tuple[TargetView, ...]


_ANSWERED: Final = ("2", "4")
_BUSY: Final = "429"


def provider_view(now: ProviderPicture, tally: Tally) -> ProviderView:
    """Say how a provider is, and how its questions went in `tally`."""
    asked = [each for each in tally.asked if each.provider == now.provider]
    failures: dict[str, int] = {}
    for each in asked:
        answered = each.code[:1] in _ANSWERED and each.code != _BUSY
        # 401 and 403 to an introspection are about us, not about the token.
        ours = each.endpoint != "userinfo" and each.code in ("401", "403", "404")
        if (not answered or ours) and each.code != "cancelled":
            failures[each.code] = failures.get(each.code, 0) + each.count
    state = "good"
    if failures or now.breaker == 1:
        state = "warn"
    if now.breaker == 2:
        state = "bad"
    return ProviderView(
        now=now,
        state=state,
        breaker=BREAKER[now.breaker],
        asked=sum(each.count for each in asked),
        failures=failures,
    )


def upstream_view(pool: PoolState) -> UpstreamView:
    """Say how an upstream and its targets are."""
    targets = tuple(TargetView(now=each, state=_target(each)) for each in pool.targets)
    states = {each.state for each in targets}
    state = "good"
    if "bad" in states:
        state = "bad" if states == {"bad"} else "warn"
    elif states != {"good"}:
        state = "warn"
    return UpstreamView(
        upstream=pool.upstream, state=state, waiting=pool.waiting, targets=targets
    )


def _target(target: TargetState) -> str:
    serving = target.addresses.get("serving", 0)
    if not serving:
        return "bad"
    return "good" if serving == sum(target.addresses.values()) else "warn"
