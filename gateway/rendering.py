"""The command that writes configurations for engines. Floor 5. A part of `cli`."""

import os
from pathlib import Path

import click

from gateway.errors import GatewayError


@click.command()
@click.argument("engine", type=click.Choice(["caddy", "envoy", "nginx", "traefik"]))
@click.option(
    "-c",
    "--config",
    "path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="The configuration file.",
)
@click.option(
    "--listen", default="0.0.0.0:8000", show_default=True, help="Of the engine."
)
@click.option("--gateway", help="The host where the engine reaches the gateway.")
@click.option(
    "--into",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write files into this folder instead of to standard output.",
)
def render(
    engine: str, path: Path, listen: str, gateway: str | None, into: Path | None
) -> None:
    """Write a configuration for an engine that asks this gateway for decisions.

    From the same routes, as a starting point; what is different there is told on
    standard error.
    """
    import gateway.render as engines  # noqa: PLC0415 -- light commands stay light
    from gateway.config.load import load  # noqa: PLC0415
    from gateway.plugins import plugins, registry  # noqa: PLC0415
    from gateway.render._site import listening, survey  # noqa: PLC0415

    config = load(path, registry(), os.environ).config
    site = survey(config, listen=listening(listen), gateway=gateway)
    chosen = plugins(engines)[engine]
    for warning in chosen.warnings(site):
        click.echo(f"warning: {warning}", err=True)
    for name, text in chosen.render(site).items():
        if into is None:
            click.echo(text, nl=False)
        else:
            _write(into / name, text)


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError as error:
        raise GatewayError(f"{path} cannot be written: {error.strerror}") from error
    click.echo(f"wrote {path}")
