"""Ask a target whether it is well. Floor 3.

One `GET` on a connection of its own, over the same dial and through the same strict
reading of the answer as any request, so that what is proven is what requests need.
"""

import asyncio
from typing import Final

from gateway.values import HealthCheck, Timeouts, UpstreamSettings
from gateway.wire.deadlines import Deadlines
from gateway.wire.dial import DIAL_ERRORS, Dialler
from gateway.wire.heads import ResponseHead
from gateway.wire.targets import Target
from gateway.wire.upstream import UpstreamConnection

_NONE: Final = 0
"""The status of no answer."""


class Prober:
    """Asks the targets of one upstream."""

    def __init__(
        self, settings: UpstreamSettings, dialler: Dialler, deadlines: Deadlines
    ) -> None:
        self._host = settings.host
        self._dialler = dialler
        self._deadlines = deadlines

    def __repr__(self) -> str:
        return f"<Prober through {self._dialler}>"

    async def is_well(self, target: Target, check: HealthCheck) -> bool:
        """Ask once; whatever goes wrong within the deadline is a no."""
        try:
            async with asyncio.timeout(check.timeout):
                status = await self._ask(target, check)
        except DIAL_ERRORS:
            return False
        first, last = check.status
        return first <= status <= last

    async def _ask(self, target: Target, check: HealthCheck) -> int:
        connection = await self._dialler.dial(target, self._connection)
        try:
            answer = _Answer()
            host = self._host or target.origin.authority.encode()
            request = (
                b"GET %b HTTP/1.1\r\nhost: %b\r\nuser-agent: token-gateway\r\n"
                b"connection: close\r\n\r\n"
            ) % (check.target, host)
            connection.begin(answer, "GET", request, Timeouts(), whole=True)
            return await answer.status
        finally:
            connection.drop()

    def _connection(self) -> UpstreamConnection:
        return UpstreamConnection(_Nobody(), self._deadlines, 0)


class _Nobody:
    """A `Keeper` of connections that serve once."""

    def give_back(self, connection: UpstreamConnection) -> None:
        connection.drop()

    def gone(self, connection: UpstreamConnection) -> None:
        pass


class _Answer:
    """A `ResponseListener` that wants the status alone."""

    def __init__(self) -> None:
        self.status: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def interim(self, head: ResponseHead) -> None:
        pass

    def response(self, head: ResponseHead) -> None:
        if not self.status.done():
            self.status.set_result(head.status)

    def body(self, data: bytes) -> None:
        pass

    def end(self) -> None:
        pass

    def half_end(self) -> None:
        pass

    def failed(self, error: Exception) -> None:
        if not self.status.done():
            self.status.set_result(_NONE)

    def flush(self) -> None:
        pass

    def pause_request(self) -> None:
        pass

    def resume_request(self) -> None:
        pass
