"""Who may speak to the admin listener. Floor 4: decides, words refusals, does no work.

Loopback is no boundary: every container of a pod and every page in an operator's
browser can reach it. So a request must name us by a known Host (DNS rebinding), and must
not come from another site (Kong CVE-2020-11710, Caddy CVE-2026-27589). Every change,
every explanation and whatever names subjects needs the admin token, and without a
configured token all that is off. The rest, which is only to be read, loopback may read
without the token, and nobody else. No refusal repeats what a client sent.

Where `admin.tls.client_ca` is, a certificate that it signed does as well as the token. Of
wrong tokens an address has so many (`guesses`), then none is looked at for a while; who
reads from loopback goes on reading.

With TLS the certificate's own names are known hosts too: a browser that was led here by
another name has not let its page ask.

The token is brought as Bearer (programs) or as the password of Basic (browsers). Why
Basic and no session cookie: cookies know no ports (RFC 6265 §8.5), so a browser would
give the session to every other server that listens on the same loopback address, the
sandbox of the demo among them, while Basic credentials go to this port alone (RFC 7617
§2.2, "protection space"). It keeps no state here that could be stolen or run full, and
works without a script. Its price: the browser remembers until it is closed.
"""

import asyncio
import base64
import binascii
import hmac
import ipaddress
import math
import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Final

import msgspec
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from gateway.admin.guesses import LOOPBACK as HERE
from gateway.admin.guesses import Guesses, address
from gateway.admin.holders import holder
from gateway.errors import ProviderUnavailable, StoreUnavailable
from gateway.values import Secret

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
ANY_ADDRESS: Final = frozenset({"0.0.0.0", "[::]"})  # noqa: S104 -- not to be believed
HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]]+?)\.?(?::\d*)?")

SAFE_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

HTTP_ERRORS: Final[Mapping[int, tuple[str, str]]] = {
    404: ("not_found", "There is nothing here."),
    405: ("method_not_allowed", "Use one of the methods in Allow."),
    413: ("body_too_large", "Expected a body of at most 64 KiB."),
}


FORMS: Final = frozenset(
    {"application/x-www-form-urlencoded", "multipart/form-data", "text/plain"}
)
FORWARDED: Final = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")
"""Who sends one of these sends for somebody else."""

SIGNED_IN: Final = web.RequestKey("signed_in", bool)
"""Whether a request brought the admin token, or a certificate as good as it."""

HOLDER: Final = web.RequestKey("holder", str)
"""Whose certificate let a request in; "" where none did."""


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


def errors(
    word: Callable[[web.Request, Problem], Awaitable[web.StreamResponse]],
) -> Middleware:
    """Make the middleware that has every refusal and failure worded by `word`.

    A crash is told to the loop's handler.
    """

    @web.middleware
    async def worded(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except Exception as error:  # noqa: BLE001 -- the outermost door
            return await word(request, as_problem(error))

    return worded


async def as_json_problem(_request: web.Request, problem: Problem) -> web.Response:
    """Word a problem for programs."""
    return problem.response()


json_errors: Final = errors(as_json_problem)


def as_problem(error: Exception) -> Problem:
    """Say what a client may know of a failure."""
    match error:
        case Problem():
            return error
        case web.HTTPException():
            code, message = HTTP_ERRORS.get(error.status, ("refused", error.reason))
            allow = error.headers.get("Allow")
            headers = {"Allow": allow} if allow else None
            return Problem(error.status, code, message, headers=headers)
        case StoreUnavailable() | ProviderUnavailable():
            message = (
                "What is needed for this does not answer now; nothing was changed."
            )
            return Problem(503, "unavailable", message)
        case _:
            asyncio.get_running_loop().call_exception_handler(
                {"message": "admin request crashed", "exception": error}
            )
            message = "This is a fault of the gateway; its log tells where."
            return Problem(500, "internal", message)


class Doorkeeper:
    """What the guard goes by, besides the request."""

    def __init__(
        self,
        *,
        token: Callable[[], Secret | None],
        guesses: Guesses,
        now: Callable[[], float],
        hosts: Iterable[str] = (),
        names: Callable[[], Collection[str]] = frozenset,
    ) -> None:
        """`token` gives the one in force, `now` the time.

        `hosts` are names and addresses as settings have them: no port, no brackets.
        `names` gives those of the certificate in force, some `*.suffix`.
        """
        self.token = token
        self.guesses = guesses
        self.now = now
        self._known = (LOOPBACK | set(map(_in_brackets, hosts))) - ANY_ADDRESS
        self._names = names

    def knows(self, host: str) -> bool:
        """Tell whether this is a name or address of ours."""
        if host in self._known:
            return True
        names = {*map(_in_brackets, self._names())}
        return host in names or f"*.{host.partition('.')[2]}" in names


def guarded(keeper: Doorkeeper, readable: Collection[str] = ()) -> Middleware:
    """Make the middleware that lets only known hosts, own pages and operators in.

    `readable` are the paths that loopback may read as nobody; one that ends with a
    slash stands for all below it.
    """

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        _check_host(request, keeper)
        _check_site(request)
        shown = request.get_extra_info("peercert")
        request[HOLDER] = known = holder(shown, keeper.now())
        reads = not known and _may_read(request, readable, keeper.guesses)
        if not (known or reads):
            _check_token(request, keeper)
        request[SIGNED_IN] = not reads
        return await handler(request)

    return guard


def _in_brackets(host: str) -> str:
    return f"[{host}]" if ":" in host else host.lower()


def host_name(value: str) -> str:
    """Give the name or address in a Host value without its port, "" for no such."""
    found = HOST.fullmatch(value.lower())
    return found[1] if found else ""


def _check_host(request: web.Request, keeper: Doorkeeper) -> None:
    if not keeper.knows(host_name(request.headers.get(hdrs.HOST, ""))):
        message = (
            "Expected a Host of localhost, 127.0.0.1, [::1], that of `listen.admin` or"
            " a name of the certificate."
        )
        raise Problem(421, "unknown_host", message)


def _check_site(request: web.Request) -> None:
    """Refuse what a page of another site sent; programs tell nothing of sites.

    A form, which any page may send anywhere without being asked, must tell.
    """
    if request.method in {hdrs.METH_GET, hdrs.METH_HEAD}:
        return
    host = request.headers.get(hdrs.HOST, "").lower()
    own = {f"http://{host}", f"https://{host}"}
    sites = request.headers.getall("Sec-Fetch-Site", ())
    origins = request.headers.getall(hdrs.ORIGIN, ())
    # Under /api/ a form is no question: whatever comes there says that it is JSON.
    form = request.content_type in FORMS and not request.path.startswith("/api/")
    same = {*sites} <= {"same-origin", "none"} and {*map(str.lower, origins)} <= own
    if not same or (form and not sites and not origins):
        message = "Expected a request of our own page or of no page at all."
        raise Problem(403, "cross_site", message)


def _may_read(
    request: web.Request, readable: Collection[str], guesses: Guesses
) -> bool:
    """Tell whether this is for loopback to read, and comes from there, as nobody."""
    if request.method not in {hdrs.METH_GET, hdrs.METH_HEAD}:
        return False
    path = request.path
    below = f"{path.rpartition('/')[0]}/"
    if path not in readable and (below == "/" or below not in readable):
        return False
    # Who brings credentials is told when they are wrong, if anybody looks at them: what
    # a browser remembers must not keep it from reading while its neighbour guesses.
    unread = hdrs.AUTHORIZATION not in request.headers or guesses.wait(HERE) > 0
    return unread and from_loopback(request)


def from_loopback(request: web.Request) -> bool:
    """Tell whether a request was sent on this machine, and by no proxy for another.

    Both ends of its connection are loopback: a service mesh brings what comes from afar
    by an address of 127.0.0.0/8, but to the pod's own.
    """
    if any(name in request.headers for name in FORWARDED):
        return False
    transport = request.transport
    if transport is None:
        return False
    ends = (transport.get_extra_info(name) for name in ("peername", "sockname"))
    return all(_is_loopback(end) for end in ends)


def _is_loopback(end: object) -> bool:
    try:
        address = ipaddress.ip_address(str(end[0]) if isinstance(end, tuple) else "")
    except ValueError:
        return False
    # A socket for both families gives IPv4 addresses as a part of IPv6's.
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def _check_token(request: web.Request, keeper: Doorkeeper) -> None:
    token = keeper.token()
    if token is None:
        message = (
            "No admin token is configured (`admin.token`), so this is off for whoever"
            " shows no certificate, and reading is for loopback alone."
        )
        raise Problem(403, "admin_token_not_configured", message)
    if not (
        hdrs.AUTHORIZATION in request.headers and _is_right(request, keeper, token)
    ):
        if request.path.startswith("/api/"):
            message = "Expected the admin token: Authorization: Bearer …"
            challenge = 'Bearer realm="gateway admin"'
        else:
            message = "Sign in with any user name, and the admin token as password."
            challenge = 'Basic realm="gateway admin", charset="UTF-8"'
        headers = {"WWW-Authenticate": challenge}
        raise Problem(401, "unauthorized", message, headers=headers)


def _is_right(request: web.Request, keeper: Doorkeeper, token: Secret) -> bool:
    """Compare what was brought, if the address was not wrong too often."""
    who = HERE if from_loopback(request) else address(request.remote or "")
    if wait := keeper.guesses.wait(who):
        keeper.guesses.refuse()
        message = (
            "Too many wrong tokens came from there; none is looked at for a while."
        )
        headers = {"Retry-After": str(math.ceil(wait))}
        raise Problem(429, "too_many_guesses", message, headers=headers)
    if _has_token(request, token):
        return True
    keeper.guesses.wrong(who)
    return False


def _has_token(request: web.Request, token: Secret) -> bool:
    values = request.headers.getall(hdrs.AUTHORIZATION, ())
    if len(values) != 1:
        return False
    scheme, _, given = values[0].partition(" ")
    raw = given.strip().encode("utf-8", "surrogateescape")
    match scheme.lower():
        case "bearer":
            shown = raw
        case "basic":
            shown = _password(raw)
        case _:
            return False
    return hmac.compare_digest(shown, token.encode())


def _password(credentials: bytes) -> bytes:
    """Give the password of Basic credentials (RFC 7617 §2), nothing where none is."""
    try:
        return base64.b64decode(credentials, validate=True).partition(b":")[2]
    except binascii.Error:
        return b""
