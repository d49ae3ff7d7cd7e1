"""Who changed what through the admin listener. Floor 4: notes, and one place that tells.

A view notes what it is about to do and, once it is done, what came of it; the
middleware tells it to the auditor when the request is over, done or failed. Whoever
was turned away is told of too. Who came with a certificate is told by its name; who came
with the token has none, since it is everybody's. Nothing told is a token: of one that
was revoked it is the beginning of its mark's fingerprint.
"""

from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from gateway.admin.guards import HOLDER, Problem
from gateway.admin.promises import Auditor
from gateway.errors import GatewayError

NOTES: Final = web.RequestKey("notes", dict[str, str | float])
_ACTION: Final = "action"
_TURNED_AWAY: Final = frozenset({401, 403, 421, 429})


def note(request: web.Request, action: str, /, **fields: str | float) -> None:
    """Note what a request does; a later note adds to it."""
    request[NOTES].update({_ACTION: action, **fields})


def audited(auditor: Auditor | None) -> Middleware:
    """Make the middleware that tells `auditor` of every change."""

    @web.middleware
    async def audit(request: web.Request, handler: Handler) -> web.StreamResponse:
        notes = request[NOTES] = {}
        try:
            response = await handler(request)
        except Problem as problem:
            denied = problem.status in _TURNED_AWAY
            if denied and _tried(request):
                notes.setdefault(_ACTION, "refused")
            tell(request, "denied" if denied else "failed", problem.body["error"])
            raise
        except Exception as error:
            known = isinstance(error, GatewayError)
            tell(request, "failed", "unavailable" if known else "internal")
            raise
        tell(request, "done", "")
        return response

    def tell(request: web.Request, outcome: str, error: str) -> None:
        notes = request[NOTES]
        if auditor is None or _ACTION not in notes:
            return
        fields = {name: value for name, value in notes.items() if name != _ACTION}
        if known := request.get(HOLDER, ""):
            fields["certificate"] = known
        auditor.record(
            str(notes[_ACTION]),
            str(fields.pop("outcome", outcome)),
            peer=request.remote or "",
            via="api" if request.path.startswith("/api/") else "page",
            request=f"{request.method} {_place(request)}",
            **fields,
            **({"error": error} if error else {}),
        )

    return audit


def _tried(request: web.Request) -> bool:
    """Tell whether somebody tried a change, or a token that is not the right one."""
    reads = request.method in (hdrs.METH_GET, hdrs.METH_HEAD)
    return not reads or hdrs.AUTHORIZATION in request.headers


def _place(request: web.Request) -> str:
    """Name the resource as we do: a path may be whatever a client wrote."""
    resource = request.match_info.route.resource
    return "(none)" if resource is None else resource.canonical
