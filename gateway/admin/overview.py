"""From a picture to what an operator reads first. Floor 4: pure.

What is wrong comes first, then what went through the door lately, then the parts.
Every number is of the last ten minutes (`window`) unless its name says otherwise.
"""

import msgspec

from gateway.admin.parts import (
    ProviderView,
    UpstreamView,
    provider_view,
    upstream_view,
)
from gateway.admin.picture import Picture, StorePicture, summed
from gateway.admin.traffic import (
    WINDOW,
    Latency,
    Moment,
    Outcomes,
    ReasonCount,
    latency,
    outcomes,
    reasons,
    series,
    shadowed,
    sources,
    within,
)
from gateway.admin.troubles import Trouble, Workers, refused, troubles
from gateway.values import Reload


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    state: str
    version: str
    config: str
    now: float
    started_at: float
    workers: Workers
    in_flight: int
    connections: int
    marks: int
    window: float
    troubles: tuple[Trouble, ...]
    requests: Outcomes
    requests_total: Outcomes
    shadow: int
    latency: Latency
    reasons: tuple[ReasonCount, ...]
    sources: dict[str, int]
    series: tuple[Moment, ...]
    providers: tuple[ProviderView, ...]
    store: StorePicture
    upstreams: tuple[UpstreamView, ...]
    reload: Reload | None


def overview(
    picture: Picture,
    *,
    now: float,
    version: str,
    workers: Workers,
    reload: Reload | None = None,
) -> Overview:
    """Say what is to be said of a picture; `reload` is the last change there was."""
    beats = within(picture.beats, now)
    recent = summed(beat.tally for beat in beats)
    providers = tuple(provider_view(each, recent) for each in picture.providers)
    upstreams = tuple(map(upstream_view, picture.upstreams))
    requests = outcomes(recent)
    state = "draining" if picture.draining else "serving"
    return Overview(
        state=state if picture.started else "starting",
        version=version,
        config=picture.config,
        now=now,
        started_at=picture.started_at,
        workers=workers,
        in_flight=picture.in_flight,
        connections=picture.connections,
        marks=picture.marks,
        window=WINDOW,
        troubles=(
            *troubles(picture, workers, providers, upstreams, recent, requests),
            *refused(reload),
        ),
        reload=reload,
        requests=requests,
        requests_total=outcomes(picture.total),
        shadow=shadowed(recent),
        latency=latency(recent.durations, picture.bounds),
        reasons=reasons(recent),
        sources=sources(recent),
        series=series(beats, picture.bounds, now),
        providers=providers,
        store=picture.store,
        upstreams=upstreams,
    )
