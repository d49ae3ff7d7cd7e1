"""What a process tells of itself at one moment, and how several make one. Floor 4: pure.

Frozen values, made when somebody looks: the admin reads these and never the parts they
are of. One process makes a `Picture`; with several workers each makes its own and
`together` joins them: counts are added, and what is well only if it is so everywhere
is as bad as it is anywhere.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

import msgspec

from gateway.admin.pulse import Asked, Beat, Decided, LookedUp, Tally
from gateway.wire.states import PoolState, TargetState


class ProviderPicture(msgspec.Struct, frozen=True, kw_only=True):
    """What is true now of one provider.

    `breaker` is 0 (closed: it may be asked), 1 (one question at a time) or 2 (open).
    """

    provider: str
    dialect: str
    verify: tuple[str, ...]
    breaker: int
    under_way: int
    waiting: int
    tokens: int
    invalid_tokens: int
    memory_bytes: int


class StorePicture(msgspec.Struct, frozen=True, kw_only=True):
    """What is true now of the store and of the revocations that go by it.

    `blind`: marks of others are not heard of; `lost`: for so long that strict routes
    refuse; `evicts`: the store may forget marks by itself.
    """

    kind: str
    shared: bool
    up: bool
    blind: bool = False
    lost: bool = False
    evicts: bool = False


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """One process, or several together."""

    worker: int
    started_at: float
    started: bool
    draining: bool
    in_flight: int
    connections: int
    marks: int
    config: str
    bounds: tuple[float, ...]
    total: Tally
    beats: tuple[Beat, ...]
    providers: tuple[ProviderPicture, ...]
    store: StorePicture
    upstreams: tuple[PoolState, ...]


def together(pictures: Sequence[Picture]) -> Picture:
    """Make one of several; there is at least one."""
    first = pictures[0]
    if len(pictures) == 1:
        return first
    return Picture(
        worker=0,
        started_at=min(each.started_at for each in pictures),
        started=all(each.started for each in pictures),
        draining=any(each.draining for each in pictures),
        in_flight=sum(each.in_flight for each in pictures),
        connections=sum(each.connections for each in pictures),
        marks=max(each.marks for each in pictures),
        config=first.config,
        bounds=first.bounds,
        total=summed(each.total for each in pictures),
        beats=_beats(chain.from_iterable(each.beats for each in pictures)),
        providers=tuple(
            map(_provider, zip(*(each.providers for each in pictures), strict=False))
        ),
        store=_store([each.store for each in pictures]),
        upstreams=tuple(
            map(_pool, zip(*(each.upstreams for each in pictures), strict=False))
        ),
    )


def summed(tallies: Iterable[Tally]) -> Tally:
    """Add up what happened."""
    decided: dict[tuple[str, str, str], int] = {}
    looked_up: dict[tuple[str, str, str], int] = {}
    asked: dict[tuple[str, str, str], int] = {}
    durations: list[int] = []
    for tally in tallies:
        for one in tally.decided:
            of = (one.route, one.decision, one.reason)
            decided[of] = decided.get(of, 0) + one.count
        for each in tally.looked_up:
            by = (each.provider, each.source, each.result)
            looked_up[by] = looked_up.get(by, 0) + each.count
        for question in tally.asked:
            to = (question.provider, question.endpoint, question.code)
            asked[to] = asked.get(to, 0) + question.count
        if tally.durations:
            known = durations or [0] * len(tally.durations)
            durations = [a + b for a, b in zip(known, tally.durations, strict=True)]
    return Tally(
        tuple(Decided(*of, count) for of, count in decided.items()),
        tuple(LookedUp(*by, count) for by, count in looked_up.items()),
        tuple(Asked(*to, count) for to, count in asked.items()),
        tuple(durations),
    )


def _beats(beats: Iterable[Beat]) -> tuple[Beat, ...]:
    slots: dict[int, list[Tally]] = {}
    for beat in beats:
        slots.setdefault(beat.slot, []).append(beat.tally)
    return tuple(Beat(slot, summed(slots[slot])) for slot in sorted(slots))


def _provider(same: Sequence[ProviderPicture]) -> ProviderPicture:
    return msgspec.structs.replace(
        same[0],
        breaker=max(each.breaker for each in same),
        under_way=sum(each.under_way for each in same),
        waiting=sum(each.waiting for each in same),
        tokens=sum(each.tokens for each in same),
        invalid_tokens=sum(each.invalid_tokens for each in same),
        memory_bytes=sum(each.memory_bytes for each in same),
    )


def _store(stores: Sequence[StorePicture]) -> StorePicture:
    return msgspec.structs.replace(
        stores[0],
        up=all(each.up for each in stores),
        blind=any(each.blind for each in stores),
        lost=any(each.lost for each in stores),
        evicts=any(each.evicts for each in stores),
    )


def _pool(same: Sequence[PoolState]) -> PoolState:
    return PoolState(
        upstream=same[0].upstream,
        waiting=sum(each.waiting for each in same),
        retries=_added(each.retries for each in same),
        targets=tuple(
            map(_target, zip(*(each.targets for each in same), strict=False))
        ),
    )


def _added(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for each in counts:
        for name, count in each.items():
            total[name] = total.get(name, 0) + count
    return total


def _target(same: Sequence[TargetState]) -> TargetState:
    # All workers see the same addresses: the worst view is the one that is told.
    worst = min(same, key=lambda each: each.addresses.get("serving", 0))
    return dataclasses.replace(
        worst,
        busy=sum(each.busy for each in same),
        idle=sum(each.idle for each in same),
        opening=sum(each.opening for each in same),
        ejections=sum(each.ejections for each in same),
        unresolved=sum(each.unresolved for each in same),
    )
