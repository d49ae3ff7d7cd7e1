"""The status listener: probes and metrics. Floor 4.

Kubelet and Prometheus come to the pod's own address, so there is no authentication
here and nothing to authenticate for: no path tells of a token, a client or a config
value, and every other path is a 404.

A lost store or provider does not make the process unready: every replica would leave
the service at once, for a trouble that the next one shares (SECURITY §5). `?verbose`
tells of it; so do the metrics.
"""

import asyncio
from collections.abc import Mapping
from typing import Final, Protocol

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder


class StatusState(Protocol):
    """What the probes ask of the process."""

    @property
    def started(self) -> bool:
        """Tell whether all that is needed to judge a request was read once."""
        ...

    @property
    def draining(self) -> bool:
        """Tell whether the process is on its way out."""
        ...

    def conditions(self) -> Mapping[str, bool]:
        """Tell which parts are well (`{"store": False}`): names, never details."""
        ...


STATE: Final[web.AppKey[StatusState]] = web.AppKey("status_state")
REGISTRY: Final = web.AppKey("metrics_registry", CollectorRegistry)


def status_app(state: StatusState, registry: CollectorRegistry) -> web.Application:
    """Make the application: /livez, /readyz, /startupz, /metrics and nothing else."""
    app = web.Application()
    app[STATE] = state
    app[REGISTRY] = registry
    app.router.add_get("/livez", _livez)
    app.router.add_get("/readyz", _readyz)
    app.router.add_get("/startupz", _startupz)
    app.router.add_get("/metrics", _metrics)
    return app


async def _livez(_request: web.Request) -> web.Response:
    """Answer: that this coroutine runs is the proof."""
    return _told(well=True, text="ok\n")


async def _startupz(request: web.Request) -> web.Response:
    started = request.app[STATE].started
    return _told(well=started, text="started\n" if started else "starting\n")


async def _readyz(request: web.Request) -> web.Response:
    state = request.app[STATE]
    needed = {"started": state.started, "not draining": not state.draining}
    ready = all(needed.values())
    if "verbose" not in request.query:
        return _told(well=ready, text="ready\n" if ready else "not ready\n")
    lines = [
        *(f"[{'+' if well else '-'}] {name}" for name, well in needed.items()),
        *(
            f"[+] {name}" if well else f"[!] {name} degraded"
            for name, well in state.conditions().items()
        ),
        "ready" if ready else "not ready",
    ]
    return _told(well=ready, text="\n".join(lines) + "\n")


async def _metrics(request: web.Request) -> web.Response:
    """Give all metrics in the form that was asked for.

    Not `prometheus_client.aiohttp`: it writes the text on the loop, which for 7,000
    series (50 routes) would hold every request up for 60 ms.
    """
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    body = await asyncio.to_thread(encode, request.app[REGISTRY])
    return web.Response(body=body, headers={"Content-Type": content_type})


def _told(*, well: bool, text: str) -> web.Response:
    return web.Response(
        status=200 if well else 503, text=text, headers={"Cache-Control": "no-store"}
    )
