"""Who may speak to the admin listener. Floor 4: decides, words refusals, does no work.

Loopback is no boundary: every container of a pod and every page in an operator's
browser can reach it. So a request must name us by a known Host (DNS rebinding), must
not come from another site (Kong CVE-2020-11710, Caddy CVE-2026-27589), and for
anything under /api must bring the admin token; without a configured token there is
no /api. No refusal repeats what a client sent.
"""

import asyncio
import hmac
import re
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from gateway.errors import ProviderUnavailable, StoreUnavailable
from gateway.values import Secret

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
ANY_ADDRESS: Final = frozenset({"0.0.0.0", "[::]"})  # noqa: S104 -- not to be believed
HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]]+?)\.?(?::\d*)?")

SAFE_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

HTTP_ERRORS: Final[Mapping[int, tuple[str, str]]] = {
    404: ("not_found", "There is nothing here."),
    405: ("method_not_allowed", "Use one of the methods in Allow."),
    413: ("body_too_large", "Expected a body of at most 64 KiB."),
}


class Problem(Exception):
    """A request that cannot be served: the status, a code and what was expected."""

    def __init__(
        self,
        status: int,
        error: str,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(error)
        self.status = status
        self.body = {"error": error, "message": message}
        self.headers = headers or {}

    def response(self) -> web.Response:
        """Word it as JSON."""
        return as_json(self.body, status=self.status, headers=self.headers)


def as_json(
    value: object, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Answer with a value as JSON."""
    return web.Response(
        body=msgspec.json.encode(value),
        status=status,
        content_type="application/json",
        headers=headers,
    )


async def add_safe_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """Keep answers out of caches, frames and guesses: for `on_response_prepare`."""
    for name, value in SAFE_HEADERS.items():
        response.headers.setdefault(name, value)


@web.middleware
async def json_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Word every refusal and failure as JSON; a crash is told to the loop's handler."""
    try:
        return await handler(request)
    except Problem as problem:
        return problem.response()
    except web.HTTPException as error:
        code, message = HTTP_ERRORS.get(error.status, ("refused", error.reason))
        allow = error.headers.get("Allow")
        headers = {"Allow": allow} if allow else None
        return Problem(error.status, code, message, headers=headers).response()
    except (StoreUnavailable, ProviderUnavailable):
        message = "What is needed for this does not answer now; nothing was changed."
        return Problem(503, "unavailable", message).response()
    except Exception as error:  # noqa: BLE001 -- the outermost door
        asyncio.get_running_loop().call_exception_handler(
            {"message": "admin request crashed", "exception": error}
        )
        message = "This is a fault of the gateway; its log tells where."
        return Problem(500, "internal", message).response()


def guarded(token: Secret | None, hosts: Iterable[str]) -> Middleware:
    """Make the middleware that lets only known hosts, own pages and the token in.

    `hosts` are names and addresses as settings have them: no port, no brackets.
    """
    named = {f"[{host}]" if ":" in host else host.lower() for host in hosts}
    known = (LOOPBACK | named) - ANY_ADDRESS

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        _check_host(request, known)
        _check_site(request)
        if request.path.startswith("/api/"):
            _check_token(request, token)
        return await handler(request)

    return guard


def host_name(value: str) -> str:
    """Give the name or address in a Host value without its port, "" for no such."""
    found = HOST.fullmatch(value.lower())
    return found[1] if found else ""


def _check_host(request: web.Request, known: frozenset[str]) -> None:
    if host_name(request.headers.get(hdrs.HOST, "")) not in known:
        message = "Expected a Host of localhost, 127.0.0.1, [::1] or a configured name."
        raise Problem(421, "unknown_host", message)


def _check_site(request: web.Request) -> None:
    """Refuse what a page of another site sent; other clients tell nothing of sites."""
    if request.method in {hdrs.METH_GET, hdrs.METH_HEAD}:
        return
    host = request.headers.get(hdrs.HOST, "").lower()
    own = {f"http://{host}", f"https://{host}"}
    sites = request.headers.getall("Sec-Fetch-Site", ())
    origins = request.headers.getall(hdrs.ORIGIN, ())
    if not {*sites} <= {"same-origin", "none"} or not {*map(str.lower, origins)} <= own:
        message = "Expected a request of our own page or of no page at all."
        raise Problem(403, "cross_site", message)


def _check_token(request: web.Request, token: Secret | None) -> None:
    if token is None:
        message = "No admin token is configured (`admin.token`), so this is off."
        raise Problem(403, "admin_token_not_configured", message)
    values = request.headers.getall(hdrs.AUTHORIZATION, ())
    scheme, _, given = values[0].partition(" ") if len(values) == 1 else ("", "", "")
    right = hmac.compare_digest(
        given.strip().encode("utf-8", "surrogateescape"), token.encode()
    )
    if scheme.lower() != "bearer" or not right:
        message = "Expected the admin token: Authorization: Bearer …"
        challenge = {"WWW-Authenticate": 'Bearer realm="gateway admin"'}
        raise Problem(401, "unauthorized", message, headers=challenge)
