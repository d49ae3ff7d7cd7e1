"""Word pages: templates, and the headers that bind the browser. Floor 4.

Why no script: a page that is shown with an operator's credentials, and shows what
strangers sent, has nothing to gain from one. The policy (`CSP`) forbids scripts, styles
written into the page, and whatever is not ours; templates escape everything.
"""

import asyncio
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from aiohttp import web

from gateway.admin import wording
from gateway.admin.guards import SIGNED_IN, Problem, as_json_problem
from gateway.admin.traffic import outcome

if TYPE_CHECKING:
    import jinja2

CSP: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)

NAMES: Final = (
    ("/", "Overview"),
    ("/routes", "Routes"),
    ("/explain", "Explain"),
    ("/recent", "Recent"),
    ("/revocations", "Revocations"),
    ("/config", "Config"),
)
"""The pages in the order of their links."""

_TEMPLATES: Final = Path(__file__).parent / "templates"


class Templates:
    """The templates, and what reads them, from the first page on.

    Not before: most processes are never looked at, and this takes 5 MiB.
    """

    def get_template(self, name: str) -> "jinja2.Template":
        """Give a template: all that `aiohttp_jinja2` asks of an environment."""
        return _environment().get_template(name)


_ENVIRONMENT: Final = web.AppKey("templates", Templates)


def add_templates(app: web.Application) -> None:
    """Let `app` render the templates."""
    app[_ENVIRONMENT] = Templates()


@cache
def _environment() -> "jinja2.Environment":
    import jinja2  # noqa: PLC0415 -- `Templates` says why

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    told = environment.getattr
    environment.filters.update(wording.FILTERS)
    environment.tests["failed"] = lambda each: (
        outcome(told(each, "decision"), told(each, "reason")) == "failed"
    )
    return environment


async def render(
    request: web.Request,
    template: str,
    context: Mapping[str, Any],
    *,
    status: int = 200,
) -> web.Response:
    """Word a page, on a thread: a long one takes as long as a hundred requests."""
    told = {
        "pages": NAMES,
        "here": f"/{request.path.split('/')[1]}",
        "signed_in": request.get(SIGNED_IN, False),
        **context,
    }
    text = await asyncio.to_thread(_word, request, template, told)
    response = web.Response(text=text, content_type="text/html", status=status)
    response.headers["Content-Security-Policy"] = CSP
    # Not `no-referrer`: with it a form's own Origin would be null (Fetch, "append a
    # request Origin header"), and the guard asks for the Origin of every form.
    response.headers["Referrer-Policy"] = "same-origin"
    return response


def _word(request: web.Request, template: str, told: Mapping[str, Any]) -> str:
    import aiohttp_jinja2  # noqa: PLC0415 -- `Templates` says why

    key = cast("web.AppKey[jinja2.Environment]", _ENVIRONMENT)
    return aiohttp_jinja2.render_string(template, request, told, app_key=key)


def lead_to(place: str) -> web.Response:
    """Lead to a page of ours after something was done (RFC 9110 §15.4.4)."""
    return web.Response(status=303, headers={"Location": place})


async def word_problem(request: web.Request, problem: Problem) -> web.StreamResponse:
    """Word a problem for people, or for programs where they ask."""
    if request.path.startswith("/api/"):
        return await as_json_problem(request, problem)
    page = await render(
        request, "problem.html", {"problem": problem}, status=problem.status
    )
    page.headers.update(problem.headers)
    return page
