"""What the visits of one listener share. Floor 4.

A `Setup` is everything a configuration decides, in one value, so that another can
take its place between two requests, along with a `Reception` that goes on where the
last one was: each counts the visits that began with it.
"""

import dataclasses
import itertools
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate

from gateway.fronts.oauth import Guards
from gateway.gatekeeper import Gatekeeper
from gateway.ports import Clock, Dialect, Observer
from gateway.rules.cors import cors_headers
from gateway.rules.engine_headers import EngineHeaders
from gateway.rules.forwarded import TrustedProxies
from gateway.rules.headers import HeaderRules
from gateway.rules.keeping import Keeping
from gateway.values import Answer, Denial, Exchange, RequestHead
from gateway.wire.pool import Pool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Setup:
    """Everything a configuration decides. A visit keeps the one it began with."""

    gatekeeper: Gatekeeper
    headers: HeaderRules
    guards: Guards
    pools: Mapping[str, Pool]
    dialects: Mapping[str, Dialect]
    proxies: TrustedProxies
    engines: EngineHeaders
    keeping: Keeping = field(default_factory=Keeping)

    def word(self, denial: Denial, head: RequestHead | None) -> Answer:
        """Word a denial; a page of another origin may read it where it may call."""
        answer = self.dialects[denial.dialect].answer(denial)
        route = denial.route
        if route is None or route.cors is None or head is None:
            return answer
        headers = (*answer.headers, *cors_headers(route, head))
        return dataclasses.replace(answer, headers=headers)


class Reception:
    """What visits share: numbers, dates, the clock, and who is told of their end."""

    def __init__(self, clock: Clock, observers: Sequence[Observer]) -> None:
        self.clock = clock
        self.time = time.monotonic
        self.in_flight = 0
        self._observers = tuple(observers)
        self._prefix = secrets.token_hex(6).encode() + b"-"
        self._numbers = itertools.count(1)
        self._date: tuple[int, bytes] = (0, b"")

    def __repr__(self) -> str:
        return f"<Reception: {self.in_flight} in flight>"

    def successor(self, observers: Sequence[Observer]) -> "Reception":
        """Make the next one: the numbers go on, and it counts its own visits."""
        heir = Reception(self.clock, observers)
        heir._prefix, heir._numbers = self._prefix, self._numbers
        return heir

    def request_id(self) -> bytes:
        """Give an identifier that no other request of any process has."""
        return self._prefix + b"%x" % next(self._numbers)

    def date(self) -> bytes:
        """Give the Date of now (RFC 9110 §6.6.1), formatted once a second."""
        second = int(self.clock.now())
        if self._date[0] != second:
            self._date = (second, formatdate(second, usegmt=True).encode())
        return self._date[1]

    def ended(self, exchange: Exchange) -> None:
        """Count it out, and tell the observers."""
        self.in_flight -= 1
        for observer in self._observers:
            observer.observe(exchange)
