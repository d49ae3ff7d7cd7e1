"""One small exchange with an upstream, held whole. Floor 3.

Only for the bodies that must be read before they are passed on: those of the guarded
OAuth token and revocation endpoints. Everything else is relayed.
"""

import asyncio
from typing import Final

import msgspec

from gateway.errors import MessageError
from gateway.values import Timeouts
from gateway.wire.heads import ResponseHead
from gateway.wire.pool import Pool

BODY_LIMIT: Final = 64 * 1024


class Fetched(msgspec.Struct, frozen=True, gc=False):
    """A whole response."""

    head: ResponseHead
    body: bytes


async def fetch(
    pool: Pool, method: str, request: bytes, timeouts: Timeouts | None = None
) -> Fetched:
    """Send one serialised request, head and body, and give the whole response.

    Never tried twice: these requests spend codes and tokens. Raises
    `UpstreamUnavailable`, `TimeoutError` or `MessageError` (also for a body over
    64 KiB); the connection is gone then.
    """
    # A fresh connection: an idle one may be closing, and this cannot be sent twice.
    connection = await pool.take(fresh=True)
    collector = _Collector()
    connection.begin(
        collector, method, request, timeouts or pool.settings.timeouts, whole=True
    )
    try:
        return await collector.done
    except asyncio.CancelledError:
        # Else it is over: the connection is gone, or already somebody else's.
        if collector.done.cancelled():
            connection.drop()
        raise


class _Collector:
    """A `ResponseListener` that keeps everything, within bounds."""

    def __init__(self) -> None:
        self.done: asyncio.Future[Fetched] = asyncio.get_running_loop().create_future()
        self._head: ResponseHead | None = None
        self._body = b""

    def interim(self, head: ResponseHead) -> None:
        pass

    def response(self, head: ResponseHead) -> None:
        if head.status == 101:
            raise MessageError("101 without an upgrade")
        self._head = head

    def body(self, data: bytes) -> None:
        self._body += data
        if len(self._body) > BODY_LIMIT:
            raise MessageError("answer over 64 KiB")

    def half_end(self) -> None:
        """Nothing is fetched through a tunnel."""

    def end(self) -> None:
        if self._head is not None and not self.done.done():
            self.done.set_result(Fetched(self._head, self._body))

    def flush(self) -> None:
        pass

    def failed(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)

    def pause_request(self) -> None:
        pass

    def resume_request(self) -> None:
        pass
