"""The commands about revocations: make, list and lift them. Floor 5.

A part of `cli`. All are questions to the admin listener of a running gateway, any one
of those that share a store.
"""

import json
import re
from datetime import UTC, datetime
from typing import Any, Final

import click

from gateway.client import AdminListener
from gateway.errors import GatewayError
from gateway.options import asks

_ID: Final = re.compile(r"[0-9a-f]{24}")


@click.command()
@click.option("--provider", required=True)
@click.option(
    "--token-file", type=click.File(), help="The token; - reads it from stdin."
)
@click.option("--subject")
@click.option("--client")
@click.option("--session")
@click.option("--token-id", help="The `jti`.")
@click.option("--all", "everything", is_flag=True, help="Every token of the provider.")
@asks(right=True)
def revoke(
    provider: str,
    token_file: Any,
    *,
    everything: bool,
    admin: AdminListener,
    **named: str | None,
) -> None:
    """Revoke a token, or all tokens of a subject, client, session or provider."""
    wanted: dict[str, object] = {
        kind: name for kind, name in named.items() if name is not None
    }
    if token_file is not None:
        wanted["token"] = read_token(token_file)
    if everything:
        wanted["all"] = True
    if len(wanted) != 1:
        raise click.UsageError(
            "expected one of --token-file, --subject, --client, --session, --token-id, --all"
        )
    mark = admin.ask("POST", "/api/revocations", {"provider": provider, **wanted})
    click.echo(json.dumps(mark, indent=2))
    if "token" not in wanted:
        click.echo(
            "note: refresh tokens are refused only where the token endpoint is routed "
            "through the gateway, and as long as the mark lasts: tell the provider too",
            err=True,
        )


@click.command()
@click.option("--json", "whole", is_flag=True, help="Print them as JSON.")
@asks(right=True)
def revocations(admin: AdminListener, *, whole: bool) -> None:
    """List the revocations in force, the newest first."""
    told = admin.ask("GET", "/api/revocations")
    if whole:
        click.echo(json.dumps(told, indent=2))
        return
    rows = [("ID", "KIND", "PROVIDER", "NAME", "REVOKED", "UNTIL")]
    rows += [
        (
            mark["id"],
            mark["kind"],
            mark["provider"],
            # A name is whatever a provider says: no control of a terminal.
            json.dumps(mark["name"])[1:-1] or "-",
            _moment(mark["moment"]),
            _moment(mark["expires_at"]),
        )
        for mark in told["revocations"]
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


@click.command()
@click.argument("mark")
@asks(right=True)
def unrevoke(mark: str, admin: AdminListener) -> None:
    """Lift a revocation, by its ID in `gateway revocations`."""
    if not _ID.fullmatch(mark):
        raise click.UsageError("expected an ID of `gateway revocations`")
    admin.ask("DELETE", f"/api/revocations/{mark}")
    click.echo(f"lifted {mark}")


def read_token(file: Any) -> str:
    """Read a token from a file that was named, or from standard input."""
    try:
        text: str = file.read(64 * 1024).strip()
    except UnicodeDecodeError:
        raise GatewayError("expected a token, found bytes that are no text") from None
    if not text:
        raise GatewayError("expected a token, found nothing")
    return text


def _moment(seconds: float) -> str:
    """Write a moment for people; one beyond all calendars is none."""
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError):
        return "never"
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
