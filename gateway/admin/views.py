"""The admin listener: explain a decision, revoke tokens. Floor 4.

    POST   /api/explain             what would be decided of a request, and why
    GET    /api/revocations         the marks in force
    POST   /api/revocations         revoke
    DELETE /api/revocations/{id}    lift a mark

Who may speak is decided in `guards`. Views check shapes and word answers; what is done
is behind two promises that `app.py` keeps. No answer holds a token or a client's text.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Annotated, Final, Protocol, TypeVar

import msgspec
from aiohttp import web
from msgspec import Meta

from gateway.admin.guards import (
    Problem,
    add_safe_headers,
    as_json,
    guarded,
    json_errors,
)
from gateway.rules import strict_json
from gateway.values import Mark, MarkKind, Secret

BODY_LIMIT_BYTES: Final = 64 * 1024
BODY_SECONDS: Final = 10.0
FINGERPRINT_CHARACTERS: Final = 12

PAGE: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>token-gateway</title>
<h1>token-gateway</h1>
<p>This is the admin listener. It has no pages yet, only two resources, which need the
admin token:</p>
<ul><li><code>POST /api/explain</code></li>
<li><code>GET, POST, DELETE /api/revocations</code></li></ul>
</html>
"""

Text = Annotated[str, Meta(min_length=1)]
FieldName = Annotated[str, Meta(pattern=r"\A[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")]
FieldValue = Annotated[str, Meta(pattern=r"\A[^\x00-\x08\x0a-\x1f\x7f]*\Z")]


class Explainer(Protocol):
    """Decides of a request without serving it."""

    async def explain(
        self, method: str, url: str, headers: Mapping[str, str], token: Secret | None
    ) -> Mapping[str, object]:
        """Give the trace of a decision as JSON values; no token is in it."""
        ...


class RevocationDesk(Protocol):
    """Keeps revocation marks."""

    async def revoke(self, provider: str, kind: MarkKind, name: Secret) -> Mark:
        """Make a mark; `name` is the token itself for that kind, "" for a provider.

        Raises `LookupError` when there is no such provider, `StoreUnavailable` when
        the mark cannot be kept.
        """
        ...

    async def marks(self) -> Sequence[Mark]:
        """Give the marks in force."""
        ...

    async def lift(self, mark: Mark) -> None:
        """Take a mark back; one that is gone is no error."""
        ...


EXPLAINER: Final[web.AppKey[Explainer]] = web.AppKey("explainer")
DESK: Final[web.AppKey[RevocationDesk]] = web.AppKey("desk")
DEADLINE: Final = web.AppKey("body_seconds", float)


class ExplainBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /api/explain."""

    method: FieldName
    url: Text
    token: Text | None = None
    headers: dict[FieldName, FieldValue] = {}


class RevokeBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /api/revocations: a provider and one more member."""

    provider: Text
    token: Text | None = None
    token_id: Text | None = None
    subject: Text | None = None
    client: Text | None = None
    session: Text | None = None
    all: bool = False

    def named(self) -> tuple[MarkKind, Secret] | None:
        """Give what is to be revoked, or None unless it is exactly one thing."""
        given = [
            (MarkKind.TOKEN, self.token),
            (MarkKind.TOKEN_ID, self.token_id),
            (MarkKind.SUBJECT, self.subject),
            (MarkKind.CLIENT, self.client),
            (MarkKind.SESSION, self.session),
            (MarkKind.PROVIDER, "" if self.all else None),
        ]
        told = [(kind, Secret(name)) for kind, name in given if name is not None]
        return told[0] if len(told) == 1 else None


EXPECTED: Final[Mapping[type, str]] = {
    ExplainBody: (
        'Expected {"method": "GET", "url": "http://host/path"} and, if you like,'
        ' "token": "…" and "headers": {"name": "value"}.'
    ),
    RevokeBody: (
        'Expected {"provider": "…"} and one of "token", "token_id", "subject",'
        ' "client", "session": "…" or "all": true.'
    ),
}

Body = TypeVar("Body", ExplainBody, RevokeBody)


def admin_app(
    *,
    explainer: Explainer,
    desk: RevocationDesk,
    token: Secret | None,
    hosts: Iterable[str] = (),
    body_seconds: float = BODY_SECONDS,
) -> web.Application:
    """Make the application; `hosts` are names it is served under besides loopback's.

    `body_seconds` is how long a body may take to come.
    """
    app = web.Application(
        middlewares=[json_errors, guarded(token, hosts)],
        client_max_size=BODY_LIMIT_BYTES,
    )
    app[EXPLAINER] = explainer
    app[DESK] = desk
    app[DEADLINE] = body_seconds
    app.on_response_prepare.append(add_safe_headers)
    app.router.add_get("/", _page)
    app.router.add_post("/api/explain", _explain)
    app.router.add_get("/api/revocations", _revocations)
    app.router.add_post("/api/revocations", _revoke)
    app.router.add_delete("/api/revocations/{id}", _lift)
    return app


async def _page(_request: web.Request) -> web.Response:
    return web.Response(text=PAGE, content_type="text/html")


async def _explain(request: web.Request) -> web.Response:
    body = await _read(request, ExplainBody)
    token = None if body.token is None else Secret(body.token)
    explain = request.app[EXPLAINER].explain
    return as_json(await explain(body.method, body.url, body.headers, token))


async def _revocations(request: web.Request) -> web.Response:
    marks = await request.app[DESK].marks()
    return as_json({"revocations": [_shown(mark) for mark in marks]})


async def _revoke(request: web.Request) -> web.Response:
    body = await _read(request, RevokeBody)
    if (named := body.named()) is None:
        raise Problem(400, "invalid_request", EXPECTED[RevokeBody])
    kind, name = named
    try:
        mark = await request.app[DESK].revoke(body.provider, kind, name)
    except LookupError:
        message = "Expected `provider` to be one of the configured providers."
        raise Problem(400, "unknown_provider", message) from None
    shown = _shown(mark)
    where = {"Location": f"/api/revocations/{shown['id']}"}
    return as_json(shown, status=201, headers=where)


async def _lift(request: web.Request) -> web.Response:
    desk = request.app[DESK]
    for mark in await desk.marks():
        if _mark_id(mark) == request.match_info["id"]:
            await desk.lift(mark)
            return web.Response(status=204)
    raise Problem(404, "not_found", "No mark in force has this id.")


async def _read(request: web.Request, shape: type[Body]) -> Body:
    """Read a body of this shape, or say what was expected; never what came."""
    if request.content_type != "application/json":
        # A form cannot say this, so no page can post here without being asked (CORS).
        message = "Expected Content-Type: application/json."
        raise Problem(415, "not_json", message)
    try:
        async with asyncio.timeout(request.app[DEADLINE]):
            raw = await request.read()
        return msgspec.convert(strict_json.decode(raw), shape)
    except TimeoutError:
        message = "The body did not come in time."
        raise Problem(408, "request_timeout", message) from None
    except (strict_json.UnusableJson, msgspec.ValidationError):
        raise Problem(400, "invalid_request", EXPECTED[shape]) from None


def _shown(mark: Mark) -> dict[str, str | float]:
    name = mark.name
    if mark.kind is MarkKind.TOKEN:
        name = name[:FINGERPRINT_CHARACTERS]
    return {
        "id": _mark_id(mark),
        "kind": mark.kind.value,
        "provider": mark.provider,
        "name": name,
        "moment": mark.moment,
        "expires_at": mark.expires_at,
    }


def _mark_id(mark: Mark) -> str:
    """Name a mark by what it names: a mark made again is the same, only longer."""
    named = msgspec.json.encode((mark.kind, mark.provider, mark.name))
    return blake2b(named, digest_size=12).hexdigest()
