"""A configuration under examination, as its checks see it. Floor 2: pure."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from gateway.config.model import Config, Route
from gateway.config.registry import Registry
from gateway.config.report import KeyPath, Report, suggest


@dataclass(frozen=True, slots=True)
class Case:
    """A configuration under examination.

    `numbers` are the routes' places in the files, where some were left out.
    """

    config: Config
    registry: Registry
    report: Report
    numbers: Sequence[int]

    def routes(self) -> Iterator[tuple[KeyPath, Route]]:
        """Give each route with its path."""
        for number, route in zip(self.numbers, self.config.routes, strict=True):
            yield ("routes", number), route

    def refer(
        self, path: KeyPath, name: str, what: str, known: Collection[str]
    ) -> None:
        """Note a problem when `name` is none of the known."""
        if name not in known:
            found, close = self.report.found(path, name), suggest(name, known)
            self.report.problem(path, f"expected a known {what}, found {found}{close}")
