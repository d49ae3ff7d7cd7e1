"""The main door: HTTP/1.1 in front of upstreams. Floor 4.

It keeps the list of connections, and makes of every request the wire parsed a `Visit`
under the setup of that moment.
"""

from gateway.fronts.reception import Reception, Setup
from gateway.fronts.visit import Visit
from gateway.values import Denial, Reason
from gateway.wire.downstream import Downstream
from gateway.wire.message import ParsedHead


class ProxyFront:
    """Keeps `wire.downstream.Front`. `setup` may be replaced between two requests."""

    def __init__(
        self, setup: Setup, reception: Reception, *, connection_limit: int
    ) -> None:
        self.setup = setup
        self.reception = reception
        self._limit = connection_limit
        self._connections: set[Downstream] = set()
        self._draining = False

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
        visit = Visit(self.reception, self.setup, connection, head)
        try:
            visit.begin(head)
        # The outermost door: a fault of ours costs one answer, not the process.
        except Exception as error:  # noqa: BLE001
            visit.fault(error)

    def refuse(self, connection: Downstream, reason: Reason) -> None:
        """Answer a message that is none."""
        visit = Visit(self.reception, self.setup, connection, None)
        visit.answer_denial(Denial(reason=reason))

    # ------------------------------------------------------------ for the server

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

    def abort(self) -> None:
        """Cut every connection."""
        for connection in list(self._connections):
            connection.abort()
