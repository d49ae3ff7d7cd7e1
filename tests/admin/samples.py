"""Values that the admin's tests look at."""

from typing import Any

from gateway.admin.picture import Picture, ProviderPicture, StorePicture
from gateway.admin.promises import Settled
from gateway.admin.pulse import Asked, Beat, Decided, LookedUp, Tally
from gateway.config.effective import Setting
from gateway.values import Exchange, Requirements, Route, TokenPlace
from gateway.wire.states import PoolState, TargetState

NOW = 1_800_000_000.0
SLOT = int(NOW // 5)
BOUNDS = (0.001, 0.01, 0.1)


def exchange(**changes: Any) -> Exchange:
    """Make the record of a request that was let through."""
    members: dict[str, Any] = {
        "request_id": "abc-1",
        "started_at": NOW,
        "duration": 0.005,
        "upstream_wait": 0.004,
        "method": "GET",
        "host": "melon.localhost",
        "path": "/oauth/likes",
        "status": 200,
        "decision": "allow",
        "reason": "ok",
        "source": "l1",
        "route": "likes",
        "provider": "melon",
        "upstream": "melon",
        "client": "shop",
        "peer": "127.0.0.1",
        "scheme": "http",
        "request_bytes": 0,
        "response_bytes": 20,
    }
    return Exchange(**{**members, **changes})


def tally(
    *decided: tuple[str, str, str, int],
    asked: tuple[tuple[str, str, str, int], ...] = (),
    looked_up: tuple[tuple[str, str, str, int], ...] = (),
    durations: tuple[int, ...] = (),
) -> Tally:
    """Make a tally of plain tuples."""
    return Tally(
        tuple(Decided(*each) for each in decided),
        tuple(LookedUp(*each) for each in looked_up),
        tuple(Asked(*each) for each in asked),
        durations,
    )


BUSY = tally(
    ("likes", "allow", "ok", 90),
    ("likes", "deny", "insufficient_scope", 8),
    ("likes", "error", "provider_unavailable", 1),
    ("me", "allow", "upstream_timeout", 1),
    looked_up=(("melon", "l1", "active", 80), ("melon", "provider", "inactive", 20)),
    durations=(50, 45, 5, 0),
)


def target(**changes: Any) -> TargetState:
    """Make a target that is well."""
    members: dict[str, Any] = {
        "target": "http://127.0.0.1:9000",
        "addresses": {"serving": 1, "ejected": 0, "unwell": 0},
        "busy": 0,
        "idle": 1,
        "opening": 0,
        "ejections": 0,
        "unresolved": 0,
    }
    return TargetState(**{**members, **changes})


def pool(*targets: TargetState, upstream: str = "melon") -> PoolState:
    """Make an upstream of these targets, or of one that is well."""
    return PoolState(
        upstream=upstream,
        waiting=0,
        retries={"closed": 1},
        targets=targets or (target(),),
    )


def provider(**changes: Any) -> ProviderPicture:
    """Make a provider that is well."""
    members: dict[str, Any] = {
        "provider": "melon",
        "dialect": "melon",
        "verify": ("introspection",),
        "breaker": 0,
        "under_way": 1,
        "waiting": 2,
        "tokens": 3,
        "invalid_tokens": 4,
        "memory_bytes": 5,
    }
    return ProviderPicture(**{**members, **changes})


def store(**changes: Any) -> StorePicture:
    """Make a store that is well."""
    return StorePicture(**{"kind": "redis", "shared": True, "up": True, **changes})


def picture(**changes: Any) -> Picture:
    """Make the picture of a process that is well and had requests lately."""
    members: dict[str, Any] = {
        "worker": 0,
        "started_at": NOW - 3600,
        "started": True,
        "draining": False,
        "in_flight": 2,
        "connections": 7,
        "marks": 1,
        "config": "c0ffee",
        "bounds": BOUNDS,
        "total": BUSY,
        "beats": (Beat(SLOT, BUSY),),
        "providers": (provider(),),
        "store": store(),
        "upstreams": (pool(),),
    }
    return Picture(**{**members, **changes})


ROUTES = (
    Route(
        id="likes",
        host="melon.localhost",
        path="/oauth/likes",
        methods=frozenset({"GET"}),
        provider="melon",
        upstream="melon",
        token_from=frozenset({TokenPlace.HEADER, TokenPlace.QUERY}),
        require=Requirements(scopes=(frozenset({"a", "b"}), frozenset({"c"}))),
    ),
    Route(id="me", path="/me", provider="melon", upstream="melon"),
)

SETTLED = Settled(
    version="1.2.3",
    digest="c0ffee",
    routes=ROUTES,
    settings=(
        Setting("workers", "1"),
        Setting("secret", "•••••", "gateway.yaml:3", "${env:SECRET}"),
    ),
    warnings=("gateway.yaml:9: unwise",),
    providers=("melon",),
)
