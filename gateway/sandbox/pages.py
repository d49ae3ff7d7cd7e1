"""The sandbox's pages: HTML without scripts that asks nothing of anybody else.

Apart from the floors. One style sheet, inline, since a page may be seen through the
gateway, where only the authorize path leads here.
"""

import secrets
from collections.abc import Mapping
from importlib.resources import files
from typing import Any, Final

import aiohttp_jinja2
import jinja2
from aiohttp import web

BANNER: Final = "개발 전용 · For development only: made-up people, keys in memory."
TEMPLATES: Final = ("base.html", "start.html", "consent.html", "callback.html")


def read_templates() -> dict[str, str]:
    """Read the templates' texts; blocking, so for a thread."""
    folder = files("gateway.sandbox") / "templates"
    return {name: (folder / name).read_text(encoding="utf-8") for name in TEMPLATES}


def install(app: web.Application, templates: Mapping[str, str]) -> None:
    """Make `page` work in `app` and the applications below it."""
    aiohttp_jinja2.setup(
        app,
        loader=jinja2.DictLoader(templates),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )


def page(
    request: web.Request,
    template: str,
    context: Mapping[str, Any],
    *,
    form_targets: str = "'none'",
) -> web.Response:
    """Render a page behind a policy that lets it load and run nothing."""
    nonce = secrets.token_urlsafe(16)
    response = aiohttp_jinja2.render_template(
        template, request, {**context, "nonce": nonce, "banner": BANNER}
    )
    response.headers.update(
        {
            "Content-Security-Policy": (
                f"default-src 'none'; style-src 'nonce-{nonce}'; "
                f"form-action {form_targets}; base-uri 'none'; frame-ancestors 'none'"
            ),
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
    )
    return response
