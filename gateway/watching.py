"""The commands that watch a running gateway: `tail` and `top`. Floor 5.

A part of `cli`. Both ask the admin listener again and again; on loopback that needs no
token. What strangers sent is escaped before it reaches a terminal.
"""

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

import click

from gateway.client import AdminListener
from gateway.errors import GatewayError
from gateway.options import asks

OVERLAP: Final = 5.0
"""Seconds that two questions have in common: workers do not end in step."""
REMEMBERED: Final = 4000

_SIGNS: Final = {
    "allow": ("✓", "green"),
    "deny": ("✕", "yellow"),
    "shadow": ("~", "yellow"),
    "error": ("!", "red"),
}

Record = Mapping[str, Any]

interval_option = click.option(
    "--interval",
    type=click.FloatRange(min=0.1),
    default=1.0,
    show_default=True,
    help="Seconds between two looks.",
)


@click.command()
@click.option("--route", help="Only of this route.")
@click.option("--reason", help="Only for this reason.")
@click.option("--client", help="Only of this client.")
@click.option("--status", help="Only with this status, or its first digit.")
@click.option("--decision", type=click.Choice([*_SIGNS]))
@click.option("--request-id", help="Only this one.")
@click.option("--json", "whole", is_flag=True, help="Print whole records.")
@click.option("--once", is_flag=True, help="Print what there is, and end.")
@interval_option
@asks(right=False)
def tail(
    admin: AdminListener,
    *,
    whole: bool,
    once: bool,
    interval: float,
    **wanted: str | None,
) -> None:
    """Follow the last requests of a running gateway: the console's *Recent*."""
    asked = {name: value for name, value in wanted.items() if value}
    with contextlib.suppress(KeyboardInterrupt):
        _follow(admin, asked, whole=whole, every=None if once else interval)


def _follow(
    admin: AdminListener,
    asked: Mapping[str, str],
    *,
    whole: bool,
    every: float | None,
) -> None:
    word = json.dumps if whole else line
    follower = Follower()
    while True:
        query = urlencode({**asked, **follower.since()})
        told = admin.ask("GET", f"/api/recent?{query}")
        for record in follower.new(told["exchanges"]):
            click.echo(word(record))
        if follower.missed:
            click.echo("… more came than are kept: some are not shown", err=True)
        if every is None:
            return
        time.sleep(every)


class Follower:
    """Tells which of the records that are told again and again are new."""

    def __init__(self) -> None:
        self._known: dict[str, None] = {}
        self._last = ""
        self._ended = 0.0
        self.missed = False
        """Whether some were pushed out before they were seen, since the last look."""

    def since(self) -> dict[str, str]:
        """Say from when on records are wanted."""
        return {"since": f"{self._ended - OVERLAP:.3f}"} if self._ended else {}

    def new(self, records: list[Record]) -> list[Record]:
        """Give those that were not there before, the oldest first."""
        names = {record["gateway.request_id"] for record in records}
        self.missed = bool(self._last and records) and self._last not in names
        fresh = [
            record
            for record in reversed(records)
            if record["gateway.request_id"] not in self._known
        ]
        for record in fresh:
            self._known[record["gateway.request_id"]] = None
            self._last = record["gateway.request_id"]
            self._ended = record["timestamp"] + record["http.server.request.duration"]
        for old in list(self._known)[:-REMEMBERED]:
            del self._known[old]
        return fresh


def line(record: Record) -> str:
    """Word a record for a terminal."""
    ended = record["timestamp"] + record["http.server.request.duration"]
    clock = datetime.fromtimestamp(ended, UTC).strftime("%H:%M:%S.%f")[:-3]
    decision, reason = record["gateway.decision"], record["gateway.reason"]
    failed = decision == "error" or reason.startswith("upstream_")
    sign, colour = _SIGNS["error" if failed else decision]
    where = f"{record['server.address']}{record['url.path']}"
    took = record["http.server.request.duration"] * 1000
    parts = (
        clock,
        f"{record['http.response.status_code']}",
        click.style(f"{sign} {reason or 'ok':<20}", fg=colour),
        f"{record['http.request.method'] or '-':<6} {safe(where)}",
        record["gateway.route"] or "-",
        safe(record["gateway.client_id"]) or "-",
        f"{took:.1f}ms",
        record["gateway.request_id"],
    )
    return "  ".join(parts)


def safe(text: str) -> str:
    """Escape whatever a terminal could take for a command."""
    return json.dumps(text)[1:-1]


@click.command()
@click.option("--once", is_flag=True, help="Show it once, and end.")
@interval_option
@asks(right=False)
def top(admin: AdminListener, *, once: bool, interval: float) -> None:
    """Show a running gateway's overview, live. Needs the extra `top`."""
    try:
        from gateway.top import show  # noqa: PLC0415 -- rich is an extra
    except ImportError as error:
        message = "`top` needs the extra: pip install 'token-gateway[top]'"
        raise GatewayError(message) from error

    def looks() -> Iterator[Record]:
        yield admin.ask("GET", "/api/overview")
        while not once:
            time.sleep(interval)
            yield admin.ask("GET", "/api/overview")

    show(looks(), live=not once)
