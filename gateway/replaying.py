"""`gateway check --against`: logged requests under another configuration. Floor 5.

A part of `cli`. Nothing is asked, and no token is there to be asked about.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from gateway.config.compile import compile_routes
from gateway.config.model import Config
from gateway.rules.replay import Replayed, Shape, replay
from gateway.rules.routing import Routes
from gateway.values import Route

_decoder: Final = msgspec.json.Decoder(Shape)


class Comparison:
    """What became of all requests of a log, counted."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, Replayed]] = Counter()
        self.examples: dict[tuple[str, Replayed], str] = {}
        self.unread = 0

    def add(self, shape: Shape, told: Replayed) -> None:
        """Count one."""
        key = (shape.route or "-", told)
        self.counts[key] += 1
        self.examples.setdefault(key, f"{shape.method} {shape.host}{shape.path}")

    @property
    def changed(self) -> int:
        """Count the decisions that would change."""
        return sum(count for (_, told), count in self.counts.items() if told.changes)

    @property
    def unknown(self) -> int:
        """Count those that cannot be told."""
        return sum(count for (_, told), count in self.counts.items() if told.unknown)

    def lines(self) -> Iterable[str]:
        """Word it, the most frequent first."""
        total = self.counts.total()
        yield (
            f"{total} requests: {total - self.changed - self.unknown} as before,"
            f" {self.changed} would change, {self.unknown} cannot be told"
        )
        if self.unread:
            yield f"{self.unread} lines are none of an access log, and were left out"
        for (route, told), count in self.counts.most_common():
            if told.unknown:
                what = f"{told.before} -> ? {told.unknown}"
            elif told.changes:
                what = f"{told.before} -> {told.after}"
            else:
                continue
            # What a client sent: no control of a terminal.
            example = json.dumps(self.examples[route, told])[1:-1]
            yield f"{count:>8}  {route} -> {told.route or '-'}: {what}  ({example})"


def compare(log: Path, config: Config, was: Config | None) -> Comparison:
    """Replay every request of a log."""
    routes = Routes(compile_routes(config))
    former: Mapping[str, Route] = {}
    if was is not None:
        former = {route.id: route for route in compile_routes(was)}
    told = Comparison()
    with log.open("rb") as lines:
        for line in lines:
            try:
                shape = _decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                told.unread += 1
                continue
            told.add(shape, replay(shape, routes, former))
    return told
