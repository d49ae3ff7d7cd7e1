"""Options of commands whose work is done elsewhere. Floor 5.

A part of `cli`. What they need is imported when they are used: light commands stay light.
"""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Final

import click

from gateway.client import AdminListener, TlsFiles

ADMIN: Final = "http://127.0.0.1:9091"
"""Where the admin listener is, unless somebody says otherwise."""

NO_RIGHT: Final = "expected GATEWAY_ADMIN_TOKEN, or a certificate (--cert)"

Command = Callable[..., None]

_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


def _list_reasons(ctx: click.Context, _: click.Parameter, wanted: object) -> None:
    if wanted:
        from gateway.reasons import text  # noqa: PLC0415

        click.echo(text())
        ctx.exit()


reasons_option = click.option(
    "--reasons",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_reasons,
    help="List every reason for a refusal, and what to do; asks nobody.",
)
"""For `gateway explain`."""

against_option = click.option(
    "--against",
    type=_FILE,
    help="An access log: tell which of its decisions would change; exits 1 if any.",
)
"""For `gateway check`."""

was_option = click.option(
    "--was",
    type=_FILE,
    help="The configuration that wrote the log: with it, more can be told.",
)
"""For `gateway check`."""

_ADMIN: Final = (
    click.option(
        "--admin",
        default=ADMIN,
        show_default=True,
        help="The admin listener; https:// where it has `admin.tls`.",
    ),
    click.option(
        "--admin-token",
        envvar="GATEWAY_ADMIN_TOKEN",
        show_envvar=True,
        help="Its token; better in the environment.",
    ),
    click.option(
        "--ca",
        "--cacert",
        type=_FILE,
        envvar="GATEWAY_ADMIN_CA",
        show_envvar=True,
        help="Who signed its certificate (PEM), instead of whom the system trusts.",
    ),
    click.option(
        "--cert",
        type=_FILE,
        envvar="GATEWAY_ADMIN_CERT",
        show_envvar=True,
        help="A certificate to show (PEM), which does as well as the token.",
    ),
    click.option(
        "--key",
        type=_FILE,
        envvar="GATEWAY_ADMIN_KEY",
        show_envvar=True,
        help="Its key (PEM), if that is in a file of its own.",
    ),
)


def asks(*, right: bool) -> Callable[[Command], Command]:
    """Have a command handed an `AdminListener` as `admin`, by options of its own.

    `right`: it is of no use without a token or a certificate.
    """

    def with_options(command: Command) -> Command:
        @wraps(command)
        def asking(
            *,
            admin: str,
            admin_token: str | None,
            ca: Path | None,
            cert: Path | None,
            key: Path | None,
            **others: Any,
        ) -> None:
            if key is not None and cert is None:
                raise click.UsageError("expected --cert along with --key")
            tls = TlsFiles(ca=ca, cert=cert, key=key)
            listener = AdminListener(base=admin, token=admin_token, tls=tls)
            if right and not listener.has_right:
                raise click.UsageError(NO_RIGHT)
            command(admin=listener, **others)

        for option in reversed(_ADMIN):
            option(asking)
        return asking

    return with_options
