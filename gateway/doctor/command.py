"""`gateway doctor`: everything the gateway depends on, in one list. Floor 5."""

import asyncio
import itertools
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Final

import click
import msgspec

from gateway.doctor.finding import BAD, GOOD, NOTE, SIGNS, WARN, Finding
from gateway.errors import GatewayError
from gateway.revoking import read_token
from gateway.values import Secret

_COLOURS: Final = {GOOD: "green", NOTE: None, WARN: "yellow", BAD: "red"}


@click.command()
@click.option(
    "-c",
    "--config",
    "path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="The configuration file.",
)
@click.option("--provider", help="Whose token --token-file is.")
@click.option(
    "--token-file",
    type=click.File(),
    help="A token that is known to be good, to be tried too; - reads it from stdin.",
)
@click.option("--json", "whole", is_flag=True, help="Print the findings as JSON.")
def doctor(
    path: Path, provider: str | None, token_file: IO[str] | None, *, whole: bool
) -> None:
    """Ask each provider, the store and each upstream, and say what is wrong.

    As the gateway would ask, from here: run it where the gateway runs. Exit code 1
    when something is wrong.
    """
    if (provider is None) != (token_file is None):
        raise click.UsageError("expected --provider and --token-file together")
    token = None if token_file is None else Secret(read_token(token_file))
    found = asyncio.run(examine(path, provider, token))
    if whole:
        click.echo(json.dumps(msgspec.to_builtins(found), indent=2, ensure_ascii=False))
    else:
        for line in lines(found):
            click.echo(line)
    if bad := sum(each.level == BAD for each in found):
        raise GatewayError(f"{bad} thing{'s' * (bad != 1)} wrong")


async def examine(
    path: Path, provider: str | None, token: Secret | None
) -> list[Finding]:
    """Look at everything at once; the findings are in the configuration's order."""
    from gateway.app import App, SystemClock  # noqa: PLC0415 -- light commands stay light
    from gateway.config.load import load  # noqa: PLC0415
    from gateway.doctor.providers import examine as ask  # noqa: PLC0415
    from gateway.doctor.surroundings import (  # noqa: PLC0415
        examine_store,
        examine_upstream,
    )
    from gateway.observe.logs import configure  # noqa: PLC0415
    from gateway.plugins import registry  # noqa: PLC0415
    from gateway.wire.deadlines import Deadlines  # noqa: PLC0415

    loaded = load(path, registry(), os.environ)
    config = loaded.config
    if provider is not None and provider not in config.providers:
        raise GatewayError(f"there is no provider {provider} in {path}")
    log = configure("error", sys.stderr, SystemClock())
    deadlines = Deadlines(asyncio.get_running_loop())
    app = App(loaded, deadlines=deadlines, log=log)
    try:
        found = await asyncio.gather(
            *(
                ask(
                    name,
                    settings,
                    grants=app.grants,
                    clock=app.clock,
                    token=token if name == provider else None,
                )
                for name, settings in config.providers.items()
            ),
            examine_store(app),
            *(
                examine_upstream(pool.settings, deadlines)
                for pool in app.pools.values()
            ),
        )
    finally:
        await app.close()
        log.close()
    warned = [Finding(WARN, "configuration", warning) for warning in loaded.warnings]
    return [*warned, *itertools.chain.from_iterable(found)]


def lines(found: Iterable[Finding]) -> Iterable[str]:
    """Word the findings for a terminal."""
    for each in found:
        sign = click.style(SIGNS[each.level], fg=_COLOURS[each.level])
        yield f"{sign} {each.about}: {each.told}"
        if each.todo:
            yield f"    {each.todo}"
