"""One permitted exchange: a client's request to an upstream, its answer back. Floor 3.

Rules of this room:
- bytes go both ways as they come; a slow side pauses the other, nothing piles up;
- one retry at most, before any byte of a response, and only where sending again is
  harmless: an idempotent method without a body, on a connection that was used before
  (the upstream may have closed it while it idled; RFC 9110 §9.2.2);
- an answer that began and cannot be finished is cut, never ended;
- a client that goes away takes the upstream's work with it;
- an upgrade becomes a tunnel only after the upstream's 101, and only if it was asked
  for; a tunnel and an event stream end with their token.
"""

import asyncio
import time
from typing import Final, Protocol

import msgspec

from gateway.errors import MessageError, UpstreamUnavailable
from gateway.tasks import spawn
from gateway.values import Header, Reason, Timeouts
from gateway.wire.chunked import LAST_CHUNK, encode_chunk
from gateway.wire.downstream import Downstream
from gateway.wire.message import (
    CHUNKED,
    ParsedHead,
    ResponseHead,
    serialise_request,
    serialise_response,
)
from gateway.wire.pool import Pool, UpstreamBusy
from gateway.wire.upstream import UpstreamConnection

_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})


class RelayOwner(Protocol):
    """The front's side of a relay."""

    def response_headers(self, head: ResponseHead) -> list[Header]:
        """Give the headers for the client: no framing, no hop-by-hop fields."""
        ...

    def relayed(self, relay: "Relay") -> None:
        """Take note that the exchange is over, well or cut; told once."""
        ...

    def relay_failed(self, relay: "Relay", reason: Reason) -> None:
        """Answer instead: nothing has been sent to the client yet. Told once."""
        ...


class Plan(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What is to be sent, and within which bounds.

    `headers` hold no framing and no hop-by-hop fields. `upgrade` is the protocol of
    the tunnel to ask for, or empty. `ends_at` (monotonic) is when a tunnel or an event stream must end, and
    with `end_with_token` any response.
    """

    target: bytes
    headers: list[Header]
    timeouts: Timeouts | None = None
    body_limit: int = 0
    upgrade: bytes = b""
    ends_at: float | None = None
    end_with_token: bool = False


class Relay:
    """A relay in progress: a `RequestSink` and a `ResponseListener` in one."""

    def __init__(
        self,
        owner: RelayOwner,
        downstream: Downstream,
        pool: Pool,
        request: ParsedHead,
        plan: Plan,
    ) -> None:
        self._owner = owner
        self._downstream = downstream
        self._pool = pool
        self._request = request
        self._plan = plan
        self._timeouts = plan.timeouts or pool.settings.timeouts
        headers = plan.headers
        if plan.upgrade:
            headers = [*headers, *_switching(plan.upgrade)]
        self._head = serialise_request(
            request.method, plan.target, headers, body=request.body
        )
        self._connection: UpstreamConnection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._end_timer: asyncio.TimerHandle | None = None
        self._retried = False
        self._request_ended = not request.body
        self._response: ResponseHead | None = None
        self._tunnel = False
        self._over = False
        self.failure = ""
        """What went wrong, for the log: a fixed phrase, never a byte of theirs."""
        self.status = 0
        self.sent_at = 0.0
        self.first_byte_at = 0.0

    def __repr__(self) -> str:
        return f"<Relay {self._request.method} to {self._pool.settings.name}>"

    def start(self, now: float) -> None:
        """Send the request: at once on an idle connection, else in a task."""
        self.sent_at = now
        self._downstream.attach(self)
        connection = self._pool.take_idle()
        if connection is None:
            self._connecting = spawn(self._connect(fresh=False), name="relay-connect")
        else:
            self._send(connection)

    async def _connect(self, *, fresh: bool) -> None:
        try:
            connection = await self._pool.take(fresh=fresh)
        except (UpstreamUnavailable, TimeoutError) as error:
            self._connecting = None
            self.failed(error)
            return
        self._connecting = None
        if self._over or self._downstream.gone:
            self._pool.give_back(connection)
            self.client_gone()
            return
        self._send(connection)

    def _send(self, connection: UpstreamConnection) -> None:
        self._connection = connection
        connection.begin(
            self,
            self._request.method,
            self._head,
            self._timeouts,
            whole=not self._request.body,
        )
        self._downstream.read_body(limit=self._plan.body_limit)

    # ----------------------------------------------------- events from the client

    def request_body(self, data: bytes) -> None:
        """Pass body (or tunnel) bytes to the upstream."""
        if self._connection is None or not data:
            return
        chunked = self._request.body == CHUNKED and not self._tunnel
        self._connection.send(encode_chunk(data) if chunked else data)

    def request_end(self) -> None:
        """End the body towards the upstream."""
        self._request_ended = True
        if self._connection is not None:
            if self._request.body == CHUNKED:
                self._connection.send(LAST_CHUNK)
            self._connection.finish_request()

    def request_failed(self, reason: Reason) -> None:
        """Give up: the request cannot be completed."""
        self._drop_upstream()
        self._give_up(reason)

    def client_gone(self) -> None:
        """Stop the upstream's work: nobody wants the answer."""
        if self._over:
            return
        self.failure = self.failure or "client gone"
        self._drop_upstream()
        if self._connecting is not None:
            self._connecting.cancel()
        self._finish()

    def pause_response(self) -> None:
        """Read no more from the upstream: the client is slow."""
        if self._connection is not None:
            self._connection.pause_response()

    def resume_response(self) -> None:
        """Read on from the upstream."""
        if self._connection is not None:
            self._connection.resume_response()

    # --------------------------------------------------- events from the upstream

    def interim(self, head: ResponseHead) -> None:
        """Relay 1xx, except 100: the client's `Expect` was answered by us."""
        if head.status != 100:
            headers = self._owner.response_headers(head)
            self._downstream.interim(
                serialise_response(head.status, head.phrase, headers, b"")
            )

    def response(self, head: ResponseHead) -> None:
        """Begin the client's answer."""
        self._response = head
        self.status = head.status
        self.first_byte_at = time.monotonic()
        if head.status == 101:
            self._begin_tunnel(head)
            return
        headers = self._owner.response_headers(head)

        def serialise(framing: bytes) -> bytes:
            return serialise_response(head.status, head.phrase, headers, framing)

        if _bodiless(head, self._request.method):
            self._downstream.start_bodiless(serialise)
        else:
            self._downstream.start(serialise, body=head.body, length=head.length)
        if self._plan.end_with_token or _is_event_stream(head):
            self._end_later()

    def _begin_tunnel(self, head: ResponseHead) -> None:
        granted = [value.lower() for name, value in head.headers if name == b"upgrade"]
        if not self._plan.upgrade or granted != [self._plan.upgrade]:
            # RFC 9110 §7.8: a switch that nobody asked for.
            self._drop_upstream()
            self.failed(MessageError("101 without that upgrade"))
            return
        self._tunnel = True
        headers = [
            *self._owner.response_headers(head),
            *_switching(self._plan.upgrade),
        ]
        self._downstream.tunnel(
            serialise_response(head.status, head.phrase, headers, b"")
        )
        self._end_later()

    def body(self, data: bytes) -> None:
        """Pass body (or tunnel) bytes to the client."""
        if self._tunnel:
            self._downstream.tunnel_send(data)
        else:
            self._downstream.send(data)

    def end(self) -> None:
        """End the client's answer."""
        self._connection = None
        self._finish()
        if self._tunnel:
            self._downstream.tunnel_end()
        else:
            self._downstream.finish()

    def failed(self, error: Exception) -> None:
        """Try again where that is harmless, else answer or cut."""
        connection, self._connection = self._connection, None
        if self._may_retry(connection, error):
            self._retried = True
            self._connecting = spawn(self._connect(fresh=True), name="relay-retry")
            return
        self.failure = _FAILURES.get(type(error), "upstream failed")
        self._give_up(_reason_for(error))

    def pause_request(self) -> None:
        """Read no more from the client: the upstream is slow."""
        self._downstream.pause_body()

    def resume_request(self) -> None:
        """Read on from the client."""
        self._downstream.resume_body()

    # ------------------------------------------------------------------- helpers

    def _may_retry(
        self, connection: UpstreamConnection | None, error: Exception
    ) -> bool:
        return (
            isinstance(error, UpstreamUnavailable)
            and connection is not None
            and connection.served > 1
            and self._response is None
            and not self._retried
            and not self._request.body
            and self._request.method in _IDEMPOTENT
            and not self._downstream.gone
        )

    def _give_up(self, reason: Reason) -> None:
        if self._over:
            return
        if self._downstream.begun:
            self._finish()
            self._downstream.abort()
            return
        self._over = True
        self._owner.relay_failed(self, reason)

    def _finish(self) -> None:
        if self._over:
            return
        self._over = True
        if self._end_timer is not None:
            self._end_timer.cancel()
        self._owner.relayed(self)

    def _drop_upstream(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.drop()

    def _end_later(self) -> None:
        if self._plan.ends_at is not None:
            self._end_timer = asyncio.get_running_loop().call_later(
                self._plan.ends_at - time.monotonic(), self._end_with_token
            )

    def _end_with_token(self) -> None:
        self.failure = "token expired"
        self._drop_upstream()
        self._finish()
        if self._tunnel:
            self._downstream.tunnel_end()
        else:
            self._downstream.abort()


_FAILURES: Final[dict[type[Exception], str]] = {
    TimeoutError: "upstream timed out",
    MessageError: "upstream's answer is in doubt",
    UpstreamBusy: "upstream is busy",
    UpstreamUnavailable: "upstream closed or unreachable",
}


def _reason_for(error: Exception) -> Reason:
    if isinstance(error, TimeoutError):
        return Reason.UPSTREAM_TIMEOUT
    if isinstance(error, UpstreamBusy):
        return Reason.UPSTREAM_BUSY
    if isinstance(error, MessageError):
        return Reason.UPSTREAM_INVALID
    return Reason.UPSTREAM_UNREACHABLE


def _switching(protocol: bytes) -> tuple[Header, Header]:
    return (b"connection", b"upgrade"), (b"upgrade", protocol)


def _bodiless(head: ResponseHead, method: str) -> bool:
    """Tell whether neither a body nor a length belongs to this response."""
    never = head.status in (204, 304) or method == "HEAD"
    return never and head.length is None


def _is_event_stream(head: ResponseHead) -> bool:
    return any(
        name == b"content-type" and value.lower().startswith(b"text/event-stream")
        for name, value in head.headers
    )
