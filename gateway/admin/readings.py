"""What may be read from the admin listener, as JSON. Floor 4.

    GET /api/overview      what is wrong, what went through lately, how the parts are
    GET /api/routes        the route table, with counts
    GET /api/recent        the last exchanges
    GET /api/config        the configuration in force, value by value
    GET /api/openapi.json  this, in the words of OpenAPI 3.1

Nothing is done here. A question with a parameter that is not known or makes no sense
is refused, so that a slip in a filter does not read as "nothing happened".
"""

import asyncio
import math
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from aiohttp import web

from gateway.admin.guards import Problem, as_json
from gateway.admin.openapi import openapi
from gateway.admin.overview import Overview, overview
from gateway.admin.promises import CONSOLE, RELOADER
from gateway.admin.recent import KEPT, Seen, Wanted
from gateway.admin.table import RouteRow, rows
from gateway.admin.traffic import lately

READABLE: Final = frozenset(
    {
        "/api/overview",
        "/api/routes",
        "/api/recent",
        "/api/config",
        "/api/openapi.json",
    }
)

_STATUS: Final = re.compile(r"[1-9](?:[0-9]{2})?")
_DECISIONS: Final = frozenset({"allow", "deny", "error", "shadow"})
_TEXTS: Final = (
    "route",
    "reason",
    "client",
    "request_id",
    "decision",
    "provider",
    "upstream",
    "status",
)
_LONGEST: Final = 256


def add_readings(app: web.Application) -> None:
    """Add the resources."""
    app.router.add_get("/api/overview", _overview)
    app.router.add_get("/api/routes", _routes)
    app.router.add_get("/api/recent", _recent)
    app.router.add_get("/api/config", _config)
    app.router.add_get("/api/openapi.json", _openapi)


async def look(app: web.Application) -> Overview:
    """Give the overview of now."""
    console = app[CONSOLE]
    picture = await console.picture()
    settled, reloader = console.settled(), app[RELOADER]
    return overview(
        picture,
        now=console.now(),
        version=settled.version,
        workers=console.workers(),
        reload=None if reloader is None else reloader.last,
    )


async def route_rows(app: web.Application, words: str = "") -> list[RouteRow]:
    """Give the route table, made on a thread: there may be thousands."""
    console = app[CONSOLE]
    picture = await console.picture()
    recent = lately(picture, console.now())
    routes = console.settled().routes
    return await asyncio.to_thread(rows, routes, recent, picture.total, words)


async def recent(app: web.Application, wanted: Wanted) -> list[Seen]:
    """Give the exchanges that are wanted, the newest first."""
    return wanted.of(await app[CONSOLE].recent())


def wanted(query: Mapping[str, str]) -> Wanted:
    """Read what somebody wants to see of the last exchanges; raises `Problem`."""
    texts = {name: query[name].strip() for name in _TEXTS if name in query}
    if any(len(text) > _LONGEST for text in texts.values()):
        raise _unusable(f"texts of at most {_LONGEST} characters")
    if "status" in texts and not _STATUS.fullmatch(texts["status"]):
        raise _unusable("`status` to be a status such as 403, or its first digit")
    if "decision" in texts and texts["decision"] not in _DECISIONS:
        raise _unusable("`decision` to be one of allow, deny, error")
    return Wanted(
        **texts,
        since=_number(query, "since", 0.0),
        limit=_whole(query, "limit", KEPT),
    )


def known(query: Mapping[str, str], *names: str) -> None:
    """Refuse a question with parameters that nobody looks at; raises `Problem`."""
    if not set(query) <= set(names):
        raise _unusable(f"no parameters but {', '.join(names) or 'none at all'}")
    if len(query) != len(set(query)):
        raise _unusable("each parameter once")


def shown(seen: Seen) -> dict[str, Any]:
    """Give an exchange as JSON values, by the names of the access log."""
    safe = msgspec.structs.replace(seen.exchange, path=seen.path)
    members: dict[str, Any] = msgspec.to_builtins(safe)
    if seen.worker:
        members["gateway.worker"] = seen.worker
    return members


async def _overview(request: web.Request) -> web.Response:
    known(request.query)
    return as_json(await look(request.app))


async def _routes(request: web.Request) -> web.Response:
    known(request.query, "q")
    if len(request.query.get("q", "")) > _LONGEST:
        raise _unusable(f"texts of at most {_LONGEST} characters")
    return as_json(
        {"routes": await route_rows(request.app, request.query.get("q", ""))}
    )


async def _recent(request: web.Request) -> web.Response:
    known(request.query, *_TEXTS, "since", "limit")
    seen = await recent(request.app, wanted(request.query))
    return as_json({"exchanges": [shown(each) for each in seen]})


async def _config(request: web.Request) -> web.Response:
    known(request.query)
    settled, reloader = request.app[CONSOLE].settled(), request.app[RELOADER]
    return as_json(
        {
            "digest": settled.digest,
            "version": settled.version,
            "warnings": settled.warnings,
            "reload": None if reloader is None else reloader.last,
            "settings": settled.settings,
        }
    )


async def _openapi(request: web.Request) -> web.Response:
    known(request.query)
    return as_json(openapi(request.app[CONSOLE].settled().providers))


def _number(query: Mapping[str, str], name: str, default: float) -> float:
    try:
        number = float(query.get(name, default))
    except ValueError:
        raise _unusable(f"`{name}` to be a number") from None
    if not math.isfinite(number) or number < 0:
        raise _unusable(f"`{name}` to be a number from 0 on")
    return number


def _whole(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not re.fullmatch(r"[0-9]{1,6}", text, re.ASCII) or not 1 <= int(text) <= KEPT:
        raise _unusable(f"`{name}` to be a number from 1 to {KEPT}")
    return int(text)


def _unusable(expected: str) -> Problem:
    return Problem(400, "invalid_request", f"Expected {expected}.")
