"""Options of commands whose work is done elsewhere. Floor 5.

A part of `cli`. What they need is imported when they are used: light commands stay light.
"""

from pathlib import Path
from typing import Final

import click

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
