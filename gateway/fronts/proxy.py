"""The main door: HTTP/1.1 in front of upstreams. Floor 4.

It keeps the list of connections, and makes of every request the wire parsed a `Visit`
under the setup of that moment.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from gateway.fronts.reception import Reception, Setup
from gateway.fronts.visit import Visit
from gateway.tasks import spawn
from gateway.values import Denial, Reason
from gateway.wire.downstream import Downstream
from gateway.wire.heads import ParsedHead
from gateway.wire.relay import Relay

MakeVisit = Callable[[Reception, Setup, Downstream, ParsedHead | None], Visit]

SLICE: Final = 100
"""How many connections are looked at before others have their turn."""


class ProxyFront:
    """Keeps `wire.downstream.Front`. What it serves by may be replaced (`take_over`).

    `traced` makes visits that are recorded (`fronts.traced`), where they are to be.
    """

    def __init__(
        self,
        setup: Setup,
        reception: Reception,
        *,
        connection_limit: int,
        traced: MakeVisit | None = None,
    ) -> None:
        self.setup = setup
        self.reception = reception
        self._traced = traced
        self._limit = connection_limit
        self._connections: set[Downstream] = set()
        self._draining = False
        self._must_sweep = False
        self._sweeping: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<ProxyFront: {len(self._connections)} connections>"

    def __len__(self) -> int:
        """Count the open connections."""
        return len(self._connections)

    # ------------------------------------------------------------- for the wire

    def opened(self, connection: Downstream) -> bool:
        """Take a connection in, unless there are too many."""
        if len(self._connections) >= self._limit:
            return False
        self._connections.add(connection)
        connection.closing = self._draining
        return True

    def closed(self, connection: Downstream) -> None:
        """Take note that it is gone."""
        self._connections.discard(connection)

    def handle(self, connection: Downstream, head: ParsedHead) -> None:
        """Answer a request."""
        if self._traced is None:
            visit = Visit(self.reception, self.setup, connection, head)
        else:
            visit = self._traced(self.reception, self.setup, connection, head)
        try:
            visit.begin(head)
        # The outermost door: a fault of ours costs one answer, not the process.
        except Exception as error:  # noqa: BLE001
            visit.fault(error)

    def refuse(self, connection: Downstream, reason: Reason) -> None:
        """Answer a message that is none."""
        make = self._traced or Visit
        visit = make(self.reception, self.setup, connection, None)
        visit.answer_denial(Denial(reason=reason))

    # ------------------------------------------------------------ for the server

    def take_over(
        self, setup: Setup, reception: Reception, *, connection_limit: int
    ) -> None:
        """Have every request from now on served by this; those under way are not."""
        self.setup, self.reception = setup, reception
        self._limit = connection_limit
        for connection in self._connections:
            # Notes are by setup: nobody reads the old ones any more.
            connection.forget_lines()

    def last_call(self) -> None:
        """Make every coming answer the last of its connection."""
        self._draining = True
        for connection in self._connections:
            connection.closing = True

    def drain(self) -> None:
        """Likewise, and close the connections on which nothing is under way."""
        self.last_call()
        for connection in list(self._connections):
            connection.close_when_idle()

    def end_revoked(self) -> None:
        """End what is under way in the name of a revoked token: soon, and all of it."""
        self._must_sweep = True
        if self._sweeping is None or self._sweeping.done():
            self._sweeping = spawn(self._sweep(), name="end-revoked")

    async def _sweep(self) -> None:
        while self._must_sweep:
            self._must_sweep = False
            for count, connection in enumerate(tuple(self._connections)):
                if count % SLICE == 0:
                    # Others have their turn, and more marks may come together.
                    await asyncio.sleep(0)
                relay = connection.sink
                if not isinstance(relay, Relay):
                    continue
                visit = relay.owner
                if isinstance(visit, Visit) and visit.revoked():
                    relay.end_now(Reason.REVOKED)

    def abort(self) -> None:
        """Cut every connection."""
        for connection in list(self._connections):
            connection.abort()
