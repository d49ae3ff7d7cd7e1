"""The pages that do something: explain, revoke, lift, reload. Floor 4.

A revocation and its lifting are asked for on one page and confirmed on the next. A token that was typed
stays here meanwhile (`confirm`): no page holds one, not even hidden.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from aiohttp import web

from gateway.admin.changes import (
    DEADLINE,
    ExplainBody,
    RevokeBody,
    ShownMark,
    explain,
    find_mark,
    lift,
    mark_id,
    reload,
    revoke,
    shown_mark,
)
from gateway.admin.confirm import Asked, Confirmations
from gateway.admin.guards import SIGNED_IN, Problem
from gateway.admin.promises import CONSOLE, DESK
from gateway.admin.rendering import lead_to, render
from gateway.values import MarkKind, Secret

CONFIRMATIONS: Final = web.AppKey("confirmations", Confirmations)

_KINDS: Final = (
    (MarkKind.TOKEN, "one token"),
    (MarkKind.SUBJECT, "all tokens of a subject"),
    (MarkKind.CLIENT, "all tokens of a client"),
    (MarkKind.SESSION, "all tokens of a session"),
    (MarkKind.TOKEN_ID, "one token, by its id (jti)"),
    (MarkKind.PROVIDER, "every token of the provider"),
)
_MEANS: Final = (
    "From the moment you confirm, such tokens are refused by every process that shares"
    " the store, and tunnels and streams they opened are ended."
)


def add_forms(app: web.Application) -> None:
    """Add the pages."""
    app[CONFIRMATIONS] = Confirmations(app[CONSOLE].now)
    app.router.add_get("/explain", _explain_form)
    app.router.add_post("/config/reload", _reload)
    app.router.add_post("/explain", _explain)
    app.router.add_get("/revocations", _revocations)
    app.router.add_post("/revocations", _ask)
    app.router.add_post("/revocations/confirm", _revoke)
    app.router.add_get("/revocations/{id}/lift", _ask_lift)
    app.router.add_post("/revocations/{id}/lift", _lift)


# ------------------------------------------------------------------------- explain


async def _explain_form(request: web.Request) -> web.Response:
    form = {name: request.query.get(name, "") for name in ("url", "headers")}
    form["method"] = request.query.get("method", "GET")
    return await render(
        request, "explain.html", {"form": form, "told": None, "problem": ""}
    )


async def _explain(request: web.Request) -> web.Response:
    fields = await _fields(request, "method", "url", "headers", "token")
    context: dict[str, Any] = {"form": fields, "told": None, "problem": ""}
    try:
        headers = _headers(fields["headers"])
        given = {**fields, "headers": headers, "token": fields["token"] or None}
        body = msgspec.convert(given, ExplainBody)
    except (msgspec.ValidationError, ValueError):
        context["problem"] = "Expected a method, a URL, and headers as Name: value."
        return await render(request, "explain.html", context, status=400)
    token = None if body.token is None else Secret(body.token)
    told = await explain(request, body, token)
    context["told"] = _complete(told)
    return await render(request, "explain.html", context)


def _complete(told: Mapping[str, Any]) -> dict[str, Any]:
    """Give a trace with every member that a page looks at; None where there is none."""
    facts, upstream = told.get("facts"), told.get("upstream")
    return {
        **dict.fromkeys(("route", "credentials", "reason", "answer")),
        **told,
        "judged": "rules" in told,
        "facts": facts and {"invalid": None, **facts},
        "upstream": upstream and {"name": None, "refused": None, **upstream},
    }


def _headers(text: str) -> dict[str, str]:
    lines = [line for line in text.splitlines() if line.strip()]
    if not all(":" in line for line in lines):
        raise ValueError("a line without a colon")
    parts = (line.split(":", 1) for line in lines)
    return {name.strip(): value.strip() for name, value in parts}


# --------------------------------------------------------------------- revocations


async def _revocations(request: web.Request) -> web.Response:
    return await _list(request)


async def _list(
    request: web.Request,
    *,
    form: Mapping[str, str] | None = None,
    problem: str = "",
) -> web.Response:
    marks = [shown_mark(mark) for mark in await request.app[DESK].marks()]
    made = request.query.get("made", "")
    context = {
        "count": len(marks),
        # They name subjects: who only reads is told how many there are.
        "marks": marks if request.get(SIGNED_IN, False) else [],
        "made": made,
        "done": _done(made, marks, lifted="lifted" in request.query),
        "providers": request.app[CONSOLE].settled().providers,
        "kinds": _KINDS,
        "form": form or {"provider": "", "kind": ""},
        "problem": problem,
    }
    status = 400 if problem else 200
    return await render(request, "revocations.html", context, status=status)


def _done(made: str, marks: list[ShownMark], *, lifted: bool) -> str:
    if any(mark.id == made for mark in marks):
        return f"Revoked: {made}."
    return "Lifted." if lifted else ""


async def _ask(request: web.Request) -> web.Response:
    fields = await _fields(request, "provider", "kind", "name")
    asked = _asked(fields)
    providers = request.app[CONSOLE].settled().providers
    if asked is None or asked.provider not in providers:
        problem = "Expected a provider, and the name of what is to be revoked."
        return await _list(request, form=fields, problem=problem)
    token = asked.kind is MarkKind.TOKEN
    named = "(not shown)" if token else str(asked.name) or "everybody"
    context = {
        "title": f"Revoke {dict(_KINDS)[asked.kind]}",
        "means": _MEANS,
        "facts": (("Provider", asked.provider), ("Name", named)),
        "action": "/revocations/confirm",
        "asked": request.app[CONFIRMATIONS].open(asked),
        "button": "Revoke now",
    }
    return await render(request, "confirm.html", context)


def _asked(fields: Mapping[str, str]) -> Asked | None:
    """Read what is to be revoked, or None unless it is exactly one thing."""
    name = fields["name"].strip()
    everything = fields["kind"] == MarkKind.PROVIDER.value
    given = {"all": not name} if everything else {fields["kind"]: name}
    try:
        body = msgspec.convert({"provider": fields["provider"], **given}, RevokeBody)
    except msgspec.ValidationError:
        return None
    named = body.named()
    return None if named is None else Asked(body.provider, *named)


async def _revoke(request: web.Request) -> web.Response:
    fields = await _fields(request, "asked")
    asked = request.app[CONFIRMATIONS].take(fields["asked"])
    if asked is None:
        message = "This was confirmed already, or too late: ask for it again."
        raise Problem(409, "not_asked", message)
    mark = await revoke(request, asked.provider, asked.kind, asked.name)
    return lead_to(f"/revocations?made={mark_id(mark)}")


async def _ask_lift(request: web.Request) -> web.Response:
    mark = shown_mark(await find_mark(request))
    context = {
        "title": "Lift this revocation",
        "means": "Tokens that it refuses are accepted again, until they expire.",
        "facts": (
            ("Provider", mark.provider),
            ("What", dict(_KINDS)[mark.kind]),
            ("Name", mark.name or "everybody"),
            ("Id", mark.id),
        ),
        "action": f"/revocations/{mark.id}/lift",
        "asked": "",
        "button": "Lift it",
    }
    return await render(request, "confirm.html", context)


async def _lift(request: web.Request) -> web.Response:
    await lift(request)
    return lead_to("/revocations?lifted=1")


# ---------------------------------------------------------------------------- reload


async def _reload(request: web.Request) -> web.Response:
    await _fields(request)
    await reload(request)
    return lead_to("/config")


async def _fields(request: web.Request, *names: str) -> dict[str, str]:
    """Read a form; what is missing is empty, what is doubled or no text is refused."""
    try:
        async with asyncio.timeout(request.app[DEADLINE]):
            form = await request.post()
    except TimeoutError:
        message = "The body did not come in time."
        raise Problem(408, "request_timeout", message) from None
    except (ValueError, LookupError):
        raise Problem(400, "invalid_request", "Expected a form.") from None
    given = list(form.items())
    fields = {name: value for name, value in given if isinstance(value, str)}
    if len(fields) != len(given) or not fields.keys() <= {*names}:
        raise Problem(400, "invalid_request", "Expected the form of this page.")
    return {name: fields.get(name, "") for name in names}
