"""What explains or changes something under /api/: explain, revoke, lift, reload. Floor 4.

    POST   /api/explain             what would be decided of a request, and why
    GET    /api/revocations         the marks in force: it names subjects
    POST   /api/revocations         revoke
    DELETE /api/revocations/{id}    lift a mark
    POST   /api/reload              put the configuration of the files in force

All of it needs the admin token (`guards`). Views check shapes and word answers; what is
done is behind the promises of `promises`. No answer holds a token or a client's text.
"""

import asyncio
from collections.abc import Mapping
from hashlib import blake2b
from typing import Annotated, Final, TypeVar

import msgspec
from aiohttp import web
from msgspec import Meta

from gateway.admin.auditing import note
from gateway.admin.guards import Problem, as_json
from gateway.admin.promises import DESK, EXPLAINER, RELOADER
from gateway.rules import strict_json
from gateway.values import Mark, MarkKind, Reload, Secret

FINGERPRINT_CHARACTERS: Final = 12
DEADLINE: Final = web.AppKey("body_seconds", float)

Text = Annotated[str, Meta(min_length=1)]
FieldName = Annotated[str, Meta(pattern=r"\A[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")]
FieldValue = Annotated[str, Meta(pattern=r"\A[^\x00-\x08\x0a-\x1f\x7f]*\Z")]


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


class ShownMark(msgspec.Struct, frozen=True, kw_only=True):
    """A mark as it is shown; the name of a token is the beginning of its fingerprint."""

    id: str
    kind: MarkKind
    provider: str
    name: str
    moment: float
    expires_at: float


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


def add_changes(app: web.Application) -> None:
    """Add the resources."""
    app.router.add_post("/api/explain", _explain)
    app.router.add_get("/api/revocations", _revocations)
    app.router.add_post("/api/revocations", _revoke)
    app.router.add_delete("/api/revocations/{id}", _lift)
    app.router.add_post("/api/reload", _reload)


async def _explain(request: web.Request) -> web.Response:
    body = await _read(request, ExplainBody)
    token = None if body.token is None else Secret(body.token)
    return as_json(await explain(request, body, token))


async def explain(
    request: web.Request, body: ExplainBody, token: Secret | None
) -> Mapping[str, object]:
    """Tell what would become of a request, and why."""
    note(request, "explain")
    told = await request.app[EXPLAINER].explain(
        body.method, body.url, body.headers, token
    )
    route = told.get("route")
    named = route["id"] if isinstance(route, Mapping) else ""
    note(request, "explain", route=named, decision=str(told["decision"]))
    return told


async def _revocations(request: web.Request) -> web.Response:
    marks = await request.app[DESK].marks()
    return as_json({"revocations": [shown_mark(mark) for mark in marks]})


async def _revoke(request: web.Request) -> web.Response:
    body = await _read(request, RevokeBody)
    if (named := body.named()) is None:
        raise Problem(400, "invalid_request", EXPECTED[RevokeBody])
    shown = shown_mark(await revoke(request, body.provider, *named))
    where = {"Location": f"/api/revocations/{shown.id}"}
    return as_json(shown, status=201, headers=where)


async def revoke(
    request: web.Request, provider: str, kind: MarkKind, name: Secret
) -> Mark:
    """Revoke; raises `Problem` for a provider that is not known."""
    note(request, "revoke", kind=kind.value)
    try:
        mark = await request.app[DESK].revoke(provider, kind, name)
    except LookupError:
        message = "Expected `provider` to be one of the configured providers."
        raise Problem(400, "unknown_provider", message) from None
    _note_mark(request, "revoke", mark)
    return mark


async def _lift(request: web.Request) -> web.Response:
    await lift(request)
    return web.Response(status=204)


async def lift(request: web.Request) -> None:
    """Take the mark back that a path names; raises `Problem` for none."""
    mark = await find_mark(request)
    _note_mark(request, "lift", mark)
    await request.app[DESK].lift(mark)


def _note_mark(request: web.Request, action: str, mark: Mark) -> None:
    shown = shown_mark(mark)
    note(
        request,
        action,
        provider=shown.provider,
        kind=shown.kind.value,
        name=shown.name,
        mark=shown.id,
    )


async def _reload(request: web.Request) -> web.Response:
    told = await reload(request)
    return as_json(told, status=200 if told.ok else 422)


async def reload(request: web.Request) -> Reload:
    """Put the configuration of the files in force; raises `Problem` where none can."""
    reloader = request.app[RELOADER]
    if reloader is None:
        raise Problem(503, "unavailable", "This gateway does not reload.")
    note(request, "reload")
    told = await reloader.reload("api")
    outcome = "done" if told.ok else "failed"
    note(request, "reload", outcome=outcome, version=told.version, changes=told.changes)
    return told


async def find_mark(request: web.Request) -> Mark:
    """Find the mark in force that a path names; raises `Problem` for none."""
    for mark in await request.app[DESK].marks():
        if mark_id(mark) == request.match_info["id"]:
            return mark
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


def shown_mark(mark: Mark) -> ShownMark:
    """Give a mark as it may be shown."""
    name = mark.name
    if mark.kind is MarkKind.TOKEN:
        name = name[:FINGERPRINT_CHARACTERS]
    return ShownMark(
        id=mark_id(mark),
        kind=mark.kind,
        provider=mark.provider,
        name=name,
        moment=mark.moment,
        expires_at=mark.expires_at,
    )


def mark_id(mark: Mark) -> str:
    """Name a mark by what it names: a mark made again is the same, only longer."""
    named = msgspec.json.encode((mark.kind, mark.provider, mark.name))
    return blake2b(named, digest_size=12).hexdigest()
