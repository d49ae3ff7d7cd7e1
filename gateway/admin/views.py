"""The admin listener: see why, explain, revoke. Floor 4: puts its parts together.

    pages       what may be read, for people, without a script
    forms       explain and revoke, for people
    readings    the same for programs: what may be read
    changes     explain and revoke, for programs
    auditing    who changed what
    guards      who may speak: `guesses` counts wrong tokens, `holders` reads certificates

Pages and programs are told the same things by the same functions.
"""

from typing import Final

from aiohttp import web

from gateway.admin.auditing import audited
from gateway.admin.changes import DEADLINE, add_changes
from gateway.admin.forms import add_forms
from gateway.admin.guards import Doorkeeper, add_safe_headers, errors, guarded
from gateway.admin.pages import PAGES, add_pages
from gateway.admin.promises import (
    CONSOLE,
    DESK,
    EXPLAINER,
    RELOADER,
    Auditor,
    Console,
    Explainer,
    Reloader,
    RevocationDesk,
)
from gateway.admin.readings import READABLE, add_readings
from gateway.admin.rendering import add_templates, word_problem

BODY_LIMIT_BYTES: Final = 64 * 1024
BODY_SECONDS: Final = 10.0


def admin_app(
    *,
    explainer: Explainer,
    desk: RevocationDesk,
    console: Console,
    keeper: Doorkeeper,
    reloader: Reloader | None = None,
    auditor: Auditor | None = None,
    body_seconds: float = BODY_SECONDS,
) -> web.Application:
    """Make the application; `body_seconds` is how long a body may take to come."""
    app = web.Application(
        middlewares=[
            errors(word_problem),
            audited(auditor),
            guarded(keeper, READABLE | PAGES),
        ],
        client_max_size=BODY_LIMIT_BYTES,
    )
    app[EXPLAINER] = explainer
    app[DESK] = desk
    app[CONSOLE] = console
    app[RELOADER] = reloader
    app[DEADLINE] = body_seconds
    app.on_response_prepare.append(add_safe_headers)
    add_readings(app)
    add_changes(app)
    add_templates(app)
    add_pages(app)
    add_forms(app)
    return app
