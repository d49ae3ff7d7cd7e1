"""The pages of the admin listener that are only read. Floor 4.

They word for people what `readings` tells programs. A link is a link and a form is a
form, so the keyboard works; charts are drawn here. *Follow* is the Refresh header: the
operator asks for it, and stops it by a link.
"""

import re
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
from aiohttp import web

from gateway.admin.auditing import note
from gateway.admin.promises import CONSOLE, RELOADER
from gateway.admin.readings import look, recent, route_rows, wanted
from gateway.admin.recent import KEPT, Seen
from gateway.admin.rendering import NAMES, lead_to, render
from gateway.admin.sparkline import latency_chart, traffic_chart
from gateway.values import Reason

PAGES: Final = frozenset(
    {"/", "/routes", "/recent", "/config", "/static/", "/revocations", "/explain"}
)
"""What loopback may read without the token."""

FOLLOW_SECONDS: Final = 2
SHORT: Final = 100
"""Exchanges on a page, unless more are asked for."""
LONGEST: Final = 500
"""Rows of any other table; who looks for one filters."""

_HERE: Final = Path(__file__).parent
_STATIC: Final = {"console.css": "text/css", "icon.svg": "image/svg+xml"}


def add_pages(app: web.Application) -> None:
    """Add the pages."""
    app.router.add_get("/", _overview)
    app.router.add_get("/routes", _routes)
    app.router.add_get("/recent", _recent)
    app.router.add_get("/config", _config)
    app.router.add_get("/static/{name}", _static)
    app.router.add_get("/sign-in", _sign_in)


async def _overview(request: web.Request) -> web.Response:
    told = await look(request.app)
    context = {
        "o": told,
        "traffic": traffic_chart(told.series),
        "latency": latency_chart(told.series),
    }
    return await render(request, "overview.html", context)


async def _routes(request: web.Request) -> web.Response:
    words = request.query.get("q", "")
    rows = await route_rows(request.app, words)
    every = len(request.app[CONSOLE].settled().routes)
    context = {
        "rows": rows[:LONGEST],
        "found": len(rows),
        "q": words,
        "every": every,
    }
    return await render(request, "routes.html", context)


async def _recent(request: web.Request) -> web.Response:
    kept = {n: v for n, v in request.query.items() if v and n != "follow"}
    asked = wanted({"limit": str(SHORT), **kept})
    seen = await recent(request.app, asked)
    follows = "follow" in request.query
    settled = request.app[CONSOLE].settled()
    context = {
        "rows": [_row(each) for each in seen],
        "asked": asked,
        "narrowed": asked.narrows,
        "short": SHORT if "limit" not in kept and len(seen) == SHORT else 0,
        "whole": f"/recent?{urlencode({**kept, 'limit': str(KEPT)})}",
        "follow": f"/recent?{urlencode({**kept, 'follow': '1'})}",
        "unfollow": f"/recent?{urlencode(kept)}",
        "routes": sorted(route.id for route in settled.routes),
        "reasons": sorted(Reason),
        "follows": follows,
        "seconds": FOLLOW_SECONDS,
    }
    page = await render(request, "recent.html", context)
    if follows:
        page.headers["Refresh"] = str(FOLLOW_SECONDS)
    return page


async def _config(request: web.Request) -> web.Response:
    settled = request.app[CONSOLE].settled()
    words, every = request.query.get("q", ""), request.query.get("show") == "all"
    settings = [
        each
        for each in settled.settings
        if (every or each.origin)
        and all(
            word in f"{each.key} {each.value} {each.origin} {each.references}".lower()
            for word in words.lower().split()
        )
    ]
    sections = [
        (name, list(rows))
        for name, rows in groupby(
            settings[:LONGEST], key=lambda each: _section(each.key)
        )
    ]
    reloader = request.app[RELOADER]
    context = {
        "settled": settled,
        "sections": sections,
        "left_out": max(0, len(settings) - LONGEST),
        "q": words,
        "all": every,
        "reload": None if reloader is None else reloader.last,
    }
    return await render(request, "config.html", context)


def _row(seen: Seen) -> dict[str, Any]:
    members = {**msgspec.structs.asdict(seen.exchange), "path": seen.path}
    return {**members, "worker": seen.worker} if seen.worker else members


def _section(key: str) -> str:
    return re.split(r"[.\[]", key, maxsplit=1)[0]


async def _static(request: web.Request) -> web.Response:
    name = request.match_info["name"]
    if name not in _STATIC:
        raise web.HTTPNotFound
    headers = {"Cache-Control": "no-cache"}
    return web.Response(body=_file(name), content_type=_STATIC[name], headers=headers)


@cache
def _file(name: str) -> bytes:
    return (_HERE / "static" / name).read_bytes()


async def _sign_in(request: web.Request) -> web.Response:
    """Lead back: whoever comes here has been asked for the token by the guard."""
    note(request, "sign_in")
    back = request.query.get("to", "/")
    return lead_to(back if back in dict(NAMES) else "/")
