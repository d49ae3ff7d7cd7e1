"""One permitted exchange: a client's request to an upstream, its answer back. Floor 3.

Rules of this room:
- bytes go both ways as they come; a slow side pauses the other, nothing piles up;
- one retry at most, before any byte of a response, and only where sending again is
  harmless: an idempotent method without a body (RFC 9110 §9.2.2), on a connection that
  was used before (the upstream may have closed it while it idled) or where there is
  another target to ask;
- an answer that began and cannot be finished is cut, never ended;
- a client that goes away takes the upstream's work with it;
- an upgrade becomes a tunnel only after the upstream's 101, and only if it was asked
  for; a tunnel and an event stream end with their token.
"""

import asyncio
import time
from typing import Final, Protocol

from gateway.errors import MessageError, UpstreamUnavailable
from gateway.tasks import spawn
from gateway.values import Reason
from gateway.wire.chunked import LAST_CHUNK, encode_chunk
from gateway.wire.downstream import Downstream
from gateway.wire.heads import CHUNKED, ParsedHead, Plan, ResponseHead
from gateway.wire.message import serialise_request, serialise_response
from gateway.wire.pool import Pool, UpstreamBusy
from gateway.wire.tunnel import FRAME_GRACE, Tunnel
from gateway.wire.upstream import UpstreamConnection

_BODILESS: Final = frozenset({204, 304})
_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})


class RelayOwner(Protocol):
    """The front's side of a relay."""

    def response_lines(self, head: ResponseHead) -> bytes:
        """Give the header lines for the client: no framing, no hop-by-hop fields."""
        ...

    def ends_at(self) -> float | None:
        """Tell when (monotonic) what is bound to the token's life must end."""
        ...

    def relayed(self, relay: "Relay") -> None:
        """Take note that the exchange is over, well or cut; told once."""
        ...

    def relay_failed(self, relay: "Relay", reason: Reason) -> None:
        """Answer instead: nothing has been sent to the client yet. Told once."""
        ...


class Relay:
    """A relay in progress: a `RequestSink` and a `ResponseListener` in one."""

    # As they stand when most relays end: half the price of setting them each time.
    _connection: UpstreamConnection | None = None
    _connecting: asyncio.Task[None] | None = None
    _end_timer: asyncio.TimerHandle | None = None
    _retried = False
    _response: ResponseHead | None = None
    _tunnel: Tunnel | None = None
    _over = False
    failure = ""
    """What went wrong, for the log: a fixed phrase, never a byte of theirs."""
    status = 0
    first_byte_at = 0.0

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
        lines = plan.lines
        if plan.upgrade:
            lines += _switching(plan.upgrade)
        self._head = serialise_request(
            request.method, plan.target, lines, body=request.body
        )
        downstream.attach(self)
        self._request_ended = not request.body

    def __repr__(self) -> str:
        return f"<Relay {self._request.method} to {self._pool.settings.name}>"

    @property
    def owner(self) -> RelayOwner:
        """Give the front's side of it."""
        return self._owner

    def start(self, now: float) -> None:
        """Send the request: at once on an idle connection, else in a task."""
        self.sent_at = now
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
        if self._request.body:
            plan = self._plan
            self._downstream.read_body(limit=plan.body_limit, rate=plan.body_rate)

    # ----------------------------------------------------- events from the client

    def request_body(self, data: bytes) -> None:
        """Pass body (or tunnel) bytes to the upstream."""
        if self._connection is None or not data:
            return
        if self._tunnel is not None and self._tunnel.leaving:
            # Nothing more is said in the token's name.
            return
        chunked = self._request.body == CHUNKED
        self._connection.send(encode_chunk(data) if chunked else data)

    def request_end(self) -> None:
        """End the body towards the upstream, or its half of a tunnel."""
        if self._tunnel is not None:
            if self._connection is not None:
                self._connection.half_end()
            self._half_ended(self._tunnel)
            return
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
            lines = self._owner.response_lines(head)
            self._downstream.interim(
                serialise_response(head.status, head.phrase, lines, b"")
            )

    def response(self, head: ResponseHead) -> None:
        """Begin the client's answer."""
        self._response = head
        self.status = head.status
        self.first_byte_at = time.monotonic()
        if head.status == 101:
            self._begin_tunnel(head)
            return
        lines = self._owner.response_lines(head)
        downstream = self._downstream
        # Neither a body nor a length belongs to these, and to HEAD only what was said.
        if head.length is None and (
            head.status in _BODILESS or self._request.method == "HEAD"
        ):
            framing = downstream.bodiless_framing()
        else:
            framing = downstream.framing(head.body, head.length)
        downstream.start(serialise_response(head.status, head.phrase, lines, framing))
        if self._plan.end_with_token or _is_event_stream(head):
            self._end_later()

    def _begin_tunnel(self, head: ResponseHead) -> None:
        granted = [value.lower() for name, value in head.headers if name == b"upgrade"]
        if not self._plan.upgrade or granted != [self._plan.upgrade]:
            # RFC 9110 §7.8: a switch that nobody asked for.
            self._drop_upstream()
            self.failed(MessageError("101 without that upgrade"))
            return
        self._tunnel = Tunnel(self._downstream, self._plan.upgrade)
        lines = self._owner.response_lines(head) + _switching(self._plan.upgrade)
        self._downstream.tunnel(
            serialise_response(head.status, head.phrase, lines, b"")
        )
        self._end_later()

    def body(self, data: bytes) -> None:
        """Pass body (or tunnel) bytes to the client."""
        if self._tunnel is None:
            self._downstream.send(data)
        elif self._tunnel.pass_on(data):
            self._end_tunnel()

    def flush(self) -> None:
        """Send on what came in one read."""
        self._downstream.flush()

    def end(self) -> None:
        """End the client's answer."""
        self._connection = None
        if not self._over:
            self._finish()
        if self._tunnel is None:
            self._downstream.finish()
        else:
            self._downstream.tunnel_end()

    def half_end(self) -> None:
        """Pass it on that the upstream sends no more; the client may."""
        if self._tunnel is not None:
            self._downstream.tunnel_half_end()
            self._half_ended(self._tunnel)

    def _half_ended(self, tunnel: Tunnel) -> None:
        if not tunnel.half_closed:
            tunnel.half_closed = True
            return
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.leave()
        self._end_tunnel()

    def failed(self, error: Exception) -> None:
        """Try again where that is harmless, else answer or cut."""
        connection, self._connection = self._connection, None
        if self._may_retry(connection, error):
            self._retried = True
            self._pool.retried()
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
            and (connection.served > 1 or len(self._pool.settings.origins) > 1)
            and not connection.heard
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
        ends_at = self._owner.ends_at()
        if ends_at is not None:
            self._end_timer = asyncio.get_running_loop().call_later(
                ends_at - time.monotonic(), self.end_now, Reason.EXPIRED
            )

    def end_now(self, reason: Reason) -> None:
        """End what the token no longer carries: `reason` is EXPIRED or REVOKED.

        An answer not yet begun becomes a refusal, one in progress is cut. A tunnel is
        closed, a WebSocket at the end of the frame in progress, within `FRAME_GRACE`.
        """
        tunnel = self._tunnel
        if self._over or (tunnel is not None and tunnel.leaving):
            return
        self.failure = f"token {reason}"
        if tunnel is None:
            self._cut(reason)
        elif tunnel.leave(self.failure.encode()):
            self._end_tunnel()
        else:
            if self._end_timer is not None:
                self._end_timer.cancel()
            loop = asyncio.get_running_loop()
            self._end_timer = loop.call_later(FRAME_GRACE, self._cut, reason)

    def _cut(self, reason: Reason) -> None:
        self._drop_upstream()
        if self._connecting is not None:
            self._connecting.cancel()
        self._give_up(reason)

    def _end_tunnel(self) -> None:
        self._drop_upstream()
        self._finish()
        self._downstream.tunnel_end()


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


def _switching(protocol: bytes) -> bytes:
    return b"connection: upgrade\r\nupgrade: %b\r\n" % protocol


def _is_event_stream(head: ResponseHead) -> bool:
    for name, value in head.headers:
        if name == b"content-type" and value.lower().startswith(b"text/event-stream"):
            return True
    return False
