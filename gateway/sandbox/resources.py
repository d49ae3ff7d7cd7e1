"""The three resource APIs, as sidecar'd applications: they trust the gateway.

Apart from the floors. None looks at a token; who calls is what the identity headers
say. Every JSON answer shows those headers and the target as received, so that a
newcomer sees what an upstream sees, and that the token is not there.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import hdrs, web
from multidict import istr

from gateway.sandbox import ranges, sound
from gateway.sandbox.providers import melon, ottm

FIRST_TRACK: Final = "1001"
# Tracks never change: the date is when the tune was written.
WRITTEN: Final = "Thu, 01 Jan 2026 00:00:00 GMT"
SHOWN_PREFIXES: Final = ("x-auth-", "x-forwarded-")
SHOWN_HEADERS: Final = frozenset({"forwarded", "via", "x-request-id"})


def answer(request: web.Request, content: Mapping[str, Any]) -> web.Response:
    """Answer JSON with what was received beside what was asked for."""
    shown: dict[str, str] = {}
    # The raw lines: elsewhere names are respelt, and bytes that are no UTF-8 vanish.
    for raw_name, raw_value in request.raw_headers:
        name, value = (
            raw_name.decode(errors="replace"),
            raw_value.decode(errors="replace"),
        )
        if name.lower().startswith(SHOWN_PREFIXES) or name.lower() in SHOWN_HEADERS:
            shown[name] = f"{shown[name]}, {value}" if name in shown else value
    received = {
        "method": request.method,
        "host": request.headers.get(hdrs.HOST, ""),
        "target": request.raw_path,
    }
    body = json.dumps(
        {**content, "gateway": shown, "request": received},
        ensure_ascii=False,
        indent=2,
    )
    return web.Response(
        body=(body + "\n").encode(errors="replace"),
        content_type="application/json",
        charset="utf-8",
        headers={"Cache-Control": "no-store"},
    )


class Melon:
    """Music: a path, the track it leads to, playlists, likes, the person."""

    def __init__(self) -> None:
        self._likes: dict[str, set[str]] = {}

    def routes(self) -> list[web.RouteDef]:
        """Give the routes of the music API."""
        return [
            web.get("/oauth/delivery/streaming_path.json", self.streaming_path),
            web.get("/oauth/delivery/tracks/{id}", self.track),
            web.get("/oauth/playlists", self.playlists),
            web.get("/oauth/likes", self.likes),
            web.put("/oauth/likes/{song}", self.like),
            web.delete("/oauth/likes/{song}", self.unlike),
            web.get("/oauth/me", self.me),
        ]

    async def streaming_path(self, request: web.Request) -> web.Response:
        """Tell where a track is, beside the path that was asked."""
        folder = request.path.rpartition("/")[0]
        content = {
            "path": f"{folder}/tracks/{FIRST_TRACK}",
            "content_type": "audio/wav",
            "bytes": sound.SIZE_BYTES,
        }
        return answer(request, content)

    async def track(self, request: web.Request) -> web.StreamResponse:
        """Stream a track or the part that is asked for (RFC 9110 §14)."""
        key = sound.key_of(request.match_info["id"])
        whole = range(sound.SIZE_BYTES)
        headers = {
            hdrs.ACCEPT_RANGES: "bytes",
            hdrs.ETAG: f'"chords-{key}"',
            hdrs.LAST_MODIFIED: WRITTEN,
            hdrs.CONTENT_TYPE: "audio/wav",
            hdrs.CACHE_CONTROL: "private, max-age=3600",
        }
        part = _asked_part(request, headers)
        if part is None:
            return await _stream(request, web.StreamResponse(headers=headers), whole)
        if not part:
            headers[hdrs.CONTENT_RANGE] = f"bytes */{whole.stop}"
            return web.Response(status=416, headers=headers)
        headers[hdrs.CONTENT_RANGE] = f"bytes {part.start}-{part.stop - 1}/{whole.stop}"
        response = web.StreamResponse(status=206, headers=headers)
        return await _stream(request, response, part)

    async def playlists(self, request: web.Request) -> web.Response:
        """List the person's playlists."""
        songs = [FIRST_TRACK, "1002", "1003"]
        return answer(
            request,
            {"playlists": [{"id": "1", "name": "출근길 Morning", "songs": songs}]},
        )

    async def likes(self, request: web.Request) -> web.Response:
        """List what the caller likes."""
        return answer(request, {"likes": sorted(self._liked(request))})

    async def like(self, request: web.Request) -> web.Response:
        """Add a song to the caller's likes."""
        self._liked(request).add(request.match_info["song"])
        return await self.likes(request)

    async def unlike(self, request: web.Request) -> web.Response:
        """Take a song from the caller's likes."""
        self._liked(request).discard(request.match_info["song"])
        return await self.likes(request)

    async def me(self, request: web.Request) -> web.Response:
        """Tell the person's names."""
        return answer(request, {"name": melon.NAME, "nickname": melon.NICKNAME})

    def _liked(self, request: web.Request) -> set[str]:
        caller = request.headers.get("X-Auth-Subject", "")
        return self._likes.setdefault(caller, set())


class Nugu:
    """Voice: the device that a token was made for."""

    def routes(self) -> list[web.RouteDef]:
        """Give the routes of the device API."""
        return [web.get("/v1/devices/me", self.device)]

    async def device(self, request: web.Request) -> web.Response:
        """Tell which device the caller speaks through."""
        serial = request.headers.get("X-Auth-Device")
        return answer(request, {"deviceSerialNumber": serial, "online": True})


class Ottm:
    """Membership: the member and what membership brings."""

    def routes(self) -> list[web.RouteDef]:
        """Give the routes of the membership API."""
        return [
            web.get("/membership/v1/me", self.me),
            web.get("/membership/v1/benefits", self.benefits),
        ]

    async def me(self, request: web.Request) -> web.Response:
        """Tell the caller's membership."""
        return answer(
            request, {"nickname": ottm.NICKNAME, "grade": "GOLD", "points": 1200}
        )

    async def benefits(self, request: web.Request) -> web.Response:
        """List what the caller's grade brings."""
        return answer(
            request,
            {
                "benefits": [
                    {"id": "double-points", "name": "포인트 2배 Double points"},
                    {"id": "skin", "name": "게임 스킨 Game skin"},
                ]
            },
        )


def _asked_part(request: web.Request, headers: Mapping[istr, str]) -> range | None:
    """Give the part to send; None is the whole, an empty one cannot be satisfied."""
    # RFC 9110 §14.2: `Range` means something on GET only.
    if request.method != hdrs.METH_GET:
        return None
    unless = request.headers.get(hdrs.IF_RANGE)
    if unless not in {None, headers[hdrs.ETAG], headers[hdrs.LAST_MODIFIED]}:
        return None
    return ranges.requested(request.headers.get(hdrs.RANGE, ""), sound.SIZE_BYTES)


async def _stream(
    request: web.Request, response: web.StreamResponse, part: range
) -> web.StreamResponse:
    key = sound.key_of(request.match_info["id"])
    response.content_length = len(part)
    await response.prepare(request)
    if request.method != hdrs.METH_HEAD:
        pieces = sound.read(key, part)
        # A bar is computed when it is first heard: not while others wait.
        while piece := await asyncio.to_thread(next, pieces, b""):
            await response.write(piece)
    await response.write_eof()
    return response
