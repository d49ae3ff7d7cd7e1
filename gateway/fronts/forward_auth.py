"""The decision door for engines that ask over HTTP. Floor 4, under `aiohttp.web`.

    /nginx            auth_request: X-Original-URI, X-Original-Method and Host
    /nginx/refusal    the same; the answer in full, for error_page
    /traefik          ForwardAuth: X-Forwarded-Method, -Proto, -Host and -Uri
    /traefik/ROUTE    the same; leave is given for that route alone, which Traefik chose
    /caddy            forward_auth: the same
    /envoy/…          ext_authz over HTTP: method, host and path are the request's own

One path for each convention, because a reader who looks for several believes the
client's word where the engine's is missing. So each of these headers is there exactly
once, or the question is refused; and only trusted peers ask. The rest of the headers
are the client's.

Leave is a 200. Its headers replace the client's under the same names, and the names in
`EngineHeaders.replaced` that it does not have are to be taken out; Envoy is told which
(`x-envoy-auth-headers-to-remove`). Nothing in it was said by the client.
"""

from collections.abc import Mapping
from typing import Final

import msgspec
from aiohttp import web
from multidict import CIMultiDict

from gateway.fronts.counsel import Advice, Counsel, Door, Leave, Question, Refusal
from gateway.rules.engine_headers import TARGET_NAME, UPSTREAM_NAME
from gateway.rules.forwarded import TrustedProxies
from gateway.values import Header, Reason

NGINX: Final = Door(name="nginx", rewrites=True, folds=True)
NGINX_REFUSAL: Final = Door(
    name="nginx_refusal", rewrites=True, preflights=True, permits=False
)
TRAEFIK: Final = Door(name="traefik")
CADDY: Final = Door(name="caddy")
ENVOY: Final = Door(name="envoy", drops=True, preflights=True)

_ORIGINAL: Final = (b"x-original-method", b"host", b"x-original-uri")
_FORWARDED: Final = (b"x-forwarded-method", b"x-forwarded-host", b"x-forwarded-uri")
_PATHS: Final[Mapping[str, tuple[Door, tuple[bytes, bytes, bytes]]]] = {
    "/nginx": (NGINX, _ORIGINAL),
    "/nginx/refusal": (NGINX_REFUSAL, _ORIGINAL),
    "/traefik": (TRAEFIK, _FORWARDED),
    "/caddy": (CADDY, _FORWARDED),
}
"""The doors, and where each convention has the method, the host and the target."""

_CHOSEN: Final = "/traefik/"
_ENVOY_PREFIX: Final = "/envoy"
_PROTO: Final = b"x-forwarded-proto"
_TELLING: Final = frozenset({*_ORIGINAL, *_FORWARDED, _PROTO})
_MUST_TELL_SCHEME: Final = frozenset({TRAEFIK, CADDY})
_SCHEMES: Final = {b"http": "http", b"ws": "http", b"https": "https", b"wss": "https"}
"""Traefik has a scheme of its own for WebSockets."""

_REMOVED: Final = "x-envoy-auth-headers-to-remove"
_NO_STORE: Final = ("Cache-Control", "no-store")
_SERVER: Final = ("Server", "token-gateway")
"""Else aiohttp tells its version, and some engines hand that on."""


class ForwardAuth:
    """Answers engines. `peers` may ask; `hops` may say for whom."""

    def __init__(
        self, counsel: Counsel, *, peers: TrustedProxies, hops: TrustedProxies
    ) -> None:
        self._counsel = counsel
        self._peers = peers
        self._hops = hops
        self.closing = False
        """Whether every coming answer is the last of its connection."""

    def __repr__(self) -> str:
        return f"<ForwardAuth: {self._counsel!r}>"

    def trust(self, *, peers: TrustedProxies, hops: TrustedProxies) -> None:
        """Let these ask, and these say for whom, from the next question on."""
        self._peers, self._hops = peers, hops

    def trusts(self, peer: str) -> bool:
        """Tell whether a peer may ask, at any door."""
        return self._peers.trusts(peer)

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """Answer one question."""
        response = await self._answer(request)
        if self.closing:
            response.force_close()
        return response

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        raw, peer = request.raw_path, _peer(request)
        route = raw.removeprefix(_CHOSEN) if raw.startswith(_CHOSEN) else ""
        raw = "/traefik" if route else raw
        door, names = _PATHS.get(raw, (ENVOY, None))
        if names is None and not raw.startswith(_ENVOY_PREFIX + "/"):
            return web.Response(status=404, headers=[_NO_STORE, _SERVER])
        if not self._peers.trusts(peer):
            return _refusal(self._counsel.refuse(door, peer, Reason.UNTRUSTED_PEER))
        question = self._question(request, door, names, peer)
        if isinstance(question, Reason):
            return _refusal(self._counsel.refuse(door, peer, question))
        if route:
            question = msgspec.structs.replace(question, route=route)
        return _told(door, await self._counsel.advise(question))

    def _question(
        self,
        request: web.BaseRequest,
        door: Door,
        names: tuple[bytes, bytes, bytes] | None,
        peer: str,
    ) -> Question | Reason:
        headers, told = list[Header](), dict[bytes, bytes]()
        for raw, value in request.raw_headers:
            name = raw.lower()
            headers.append((name, value))
            if name in _TELLING:
                # None, an empty one and several are no word at all.
                told[name] = b"" if name in told else value
        method: bytes | None
        if names is None:
            path = request.raw_path.removeprefix(_ENVOY_PREFIX)
            target_told: bytes | None = path.encode("utf-8", "surrogateescape")
            method, host = request.method.encode(), told.get(b"host")
        else:
            method, host, target_told = map(told.get, names)
        scheme = _scheme(told.get(_PROTO), must=door in _MUST_TELL_SCHEME)
        if not (method and host and target_told and scheme):
            return Reason.BAD_QUESTION
        if not method.isascii():
            return Reason.BAD_QUESTION
        return Question(
            door=door,
            method=method.decode(),
            authority=host,
            target=target_told,
            headers=headers,
            peer=self._hops.client(headers) or peer,
            scheme=scheme,
        )


def _peer(request: web.BaseRequest) -> str:
    transport = request.transport
    told = None if transport is None else transport.get_extra_info("peername")
    return str(told[0]) if told else ""


def _scheme(told: bytes | None, *, must: bool) -> str | None:
    """Give the scheme the engine tells; None where it had to, or where it is none."""
    if told is None:
        return None if must else "http"
    return _SCHEMES.get(told.lower())


def _told(door: Door, advice: Advice) -> web.Response:
    match advice:
        case Leave() as leave:
            return _leave(door, leave)
        case Refusal() as refusal:
            return _refusal(refusal)


def _leave(door: Door, leave: Leave) -> web.Response:
    headers = _headers(leave.put)
    headers.add(*_SERVER)
    if leave.max_age:
        headers["Cache-Control"] = f"max-age={leave.max_age}"
        headers["Vary"] = b", ".join(leave.vary).decode()
        # It is this request's, and would be the id of all that the engine lets in.
        headers.popall("X-Request-Id", None)
    else:
        headers.add(*_NO_STORE)
    headers[UPSTREAM_NAME.decode()] = leave.upstream
    if door.rewrites:
        headers[TARGET_NAME.decode()] = leave.target.decode()
    if door.drops:
        headers[_REMOVED] = b",".join(leave.drop).decode("latin-1")
    return web.Response(status=200, headers=headers)


def _refusal(refusal: Refusal) -> web.Response:
    answer = refusal.answer
    headers = _headers(answer.headers)
    headers.extend([_SERVER, ("X-Request-Id", refusal.request_id.decode())])
    return web.Response(status=answer.status, headers=headers, body=answer.body)


def _headers(lines: tuple[Header, ...]) -> CIMultiDict[str]:
    return CIMultiDict((name.decode(), value.decode()) for name, value in lines)
