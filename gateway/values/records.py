"""What is told of what was done. Structs, since they are written as JSON."""

from typing import Final

import msgspec


class Reload(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What came of a change of the configuration.

    `version` is what is in force since; `changes` tells what differs from before, as
    `routes: +1 ~2 -0`; `problems` are why nothing changed. `trigger` is `start`,
    `signal`, `files` or `api`. Nothing here is a secret.
    """

    ok: bool
    at: float
    trigger: str
    version: str
    changes: str = ""
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


RECORD_NAMES: Final = {
    "request_id": "gateway.request_id",
    "started_at": "timestamp",
    "duration": "http.server.request.duration",
    "upstream_wait": "gateway.upstream_wait",
    "method": "http.request.method",
    "host": "server.address",
    "path": "url.path",
    "status": "http.response.status_code",
    "decision": "gateway.decision",
    "reason": "gateway.reason",
    "source": "gateway.source",
    "route": "gateway.route",
    "provider": "gateway.provider",
    "upstream": "gateway.upstream",
    "client": "gateway.client_id",
    "peer": "client.address",
    "scheme": "url.scheme",
    "request_bytes": "http.request.body.size",
    "response_bytes": "http.response.body.size",
    "failure": "gateway.failure",
    "door": "gateway.door",
    "trace_id": "trace_id",
}
"""What the fields of an `Exchange` are called outside: by OpenTelemetry's semantic
conventions where there is a name for it, else under `gateway.`. Stable: who parses a
log relies on every one."""


class Exchange(
    msgspec.Struct, frozen=True, gc=False, kw_only=True, rename=RECORD_NAMES
):
    """One request and its answer, told once, at the end, to every observer.

    `path` has no query. `duration` is from the first byte of the head to the last
    byte of the answer; `upstream_wait` is the part spent waiting for the upstream's
    head; `decision` is `allow`, `deny`, `error`, or `shadow`: let through though
    `reason` would have refused it. `door` is where it was asked for: at
    the proxy, which answers the client, or at one where an engine asks for a decision.
    `trace_id` is the trace it was recorded in, if it was.
    Nothing here is a token. Encoded, its fields have the names of `RECORD_NAMES`.
    """

    request_id: str
    started_at: float
    duration: float
    upstream_wait: float
    method: str
    host: str
    path: str
    status: int
    decision: str
    reason: str
    source: str
    route: str
    provider: str
    upstream: str
    client: str
    peer: str
    scheme: str
    request_bytes: int
    response_bytes: int
    failure: str = ""
    door: str = "proxy"
    trace_id: str = ""
