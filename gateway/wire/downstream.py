"""One client connection: requests in order, one at a time. Floor 3.

Rules of this room:
- a head is parsed whole or not at all; what follows a message is left as bytes until
  that message is answered, so pipelining costs a buffer and never a second parser;
- nothing is read of a body, and no `100 Continue` is sent, before the front asks for
  it, which it does only for a permitted request;
- any doubt about framing is answered and the connection closed (RFC 9112 §2.2);
- a response that could not be finished ends in a reset, never in a clean close, so
  that no client takes a part for the whole (RFC 9112 §8);
- every wait has a deadline, every buffer a bound;
- no client, however much it sends at once, keeps the others from their turn.
"""

import asyncio
import contextlib
import enum
import socket
import struct
from collections.abc import Callable
from typing import Final, Protocol, cast

from gateway.values import Notes, Reason, WireLimits
from gateway.wire.chunked import LAST_CHUNK, encode_chunk
from gateway.wire.deadlines import NEVER, Deadlines
from gateway.wire.heads import ParsedHead
from gateway.wire.request_body import RequestBody, RequestSink
from gateway.wire.request_heads import BLANK, RequestHeads

PIPELINE_LIMIT: Final = 64 * 1024
"""Bytes held of requests that must wait their turn."""

HEADS_A_TURN: Final = 16
"""Requests of one client handled before others have their turn."""

_LINGER: Final = 2.0
"""Seconds to let a client that still sends read our last answer (RFC 9112 §9.6)."""

_LINGER_LIMIT: Final = 1024 * 1024

_RESET: Final = struct.pack("ii", 1, 0)

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Front(Protocol):
    """Who answers requests."""

    def handle(self, connection: "Downstream", head: ParsedHead) -> None:
        """Answer: now, or later, but once. May call back into `connection`."""
        ...

    def refuse(self, connection: "Downstream", reason: Reason) -> None:
        """Answer a message that is none: one `answer` with `close`."""
        ...

    def opened(self, connection: "Downstream") -> bool:
        """Take note of a connection; False refuses it."""
        ...

    def closed(self, connection: "Downstream") -> None:
        """Take note that it is gone."""
        ...


class _State(enum.Enum):
    HEAD = enum.auto()
    BUSY = enum.auto()
    TUNNEL = enum.auto()
    LINGER = enum.auto()
    CLOSED = enum.auto()


# As globals: half the time of an enumeration's attribute, on every request.
_HEAD: Final = _State.HEAD
_BUSY: Final = _State.BUSY


class Downstream:
    """A server's side of HTTP/1.1 towards one client."""

    def __init__(
        self,
        front: Front,
        limits: WireLimits,
        deadlines: Deadlines,
        *,
        scheme: str = "http",
    ) -> None:
        self._front = front
        self._limits = limits
        self._deadlines = deadlines
        self._transport: asyncio.Transport | None = None
        self._state = _HEAD
        self._buffer = b""
        self._heads = RequestHeads(limits)
        self._out: list[bytes] | None = None
        self._pumping = False
        self._resting: asyncio.TimerHandle | None = None
        self._write_paused = False
        self._half_closed = False
        self._unwritten = 0
        self._body_paused = False
        self._sink: RequestSink | None = None
        self._head: ParsedHead | None = None
        self._body: RequestBody | None = None
        self._body_unread = False
        self._paused_at = 0.0
        self._chunk_response = False
        self._begun = False
        self._close_after = False
        self.closing = False
        """Set while draining: the next answer is the last."""
        self.bodiless = False
        """Set while the request is a HEAD: an answer of ours to it has no body."""
        self.scheme = scheme
        self.peer = ""
        self.deadline = NEVER
        self.head_at = 0.0
        """When the current head began to arrive, in loop time."""
        self.sent = 0
        """Bytes of body sent for the current answer."""
        self.received = 0
        """Bytes of body received of the current request."""
        self.memory: Notes = {}
        """What rules remember of this client's requests, and the wire knows nothing of."""

    def __repr__(self) -> str:
        return f"<Downstream {self.peer}: {self._state.name.lower()}>"

    @property
    def sink(self) -> RequestSink | None:
        """Give who is at work for this client."""
        return self._sink

    def forget_lines(self) -> None:
        """Read the next head afresh, without what was noted of those before."""
        self._heads.forget_lines()
        self.memory = {}

    # ------------------------------------------------------------ the network

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to be looked after."""
        self._transport = cast("asyncio.Transport", transport)
        peername = transport.get_extra_info("peername")
        self.peer = peername[0] if isinstance(peername, tuple) else "unix"
        self._deadlines.watch(self)
        self.deadline = self._deadlines.time() + self._limits.header_timeout
        if not self._front.opened(self):
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever is at work for this client."""
        self._transport = None
        self._state = _State.CLOSED
        self._buffer = b""
        if self._resting is not None:
            self._resting.cancel()
        self._deadlines.forget(self)
        self._front.closed(self)
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.client_gone()

    def eof_received(self) -> bool:
        """Pass a tunnel's half-close on; any other client is taken to be gone."""
        transport = self._transport
        if transport is None or not transport.can_write_eof():
            return False
        if self._state is not _State.TUNNEL or self._sink is None:
            return False
        self._half_closed = True
        self._sink.request_end()
        return True

    def pause_writing(self) -> None:
        """Pass the client's slowness on."""
        self._write_paused = True
        self._await_progress()
        if self._sink is not None:
            self._sink.pause_response()

    def resume_writing(self) -> None:
        """Pass it on that there is room again."""
        self._write_paused = False
        self.deadline = NEVER
        if self._state is _State.LINGER:
            self.deadline = self._deadlines.time() + _LINGER
        elif self._state is _HEAD:
            self._await_head()
            self._pump()
            self._read_on()
        elif self._sink is not None:
            if self._body is not None and not self._body_paused:
                self.deadline = self._deadlines.time() + self._limits.body_timeout
            self._sink.resume_response()

    def overdue(self) -> None:
        """Act on a client that is too slow, or idle for too long."""
        self.deadline = NEVER
        if self._write_paused:
            self._cut_if_stalled()
        elif self._state is _State.LINGER and self._transport is not None:
            # All is with the kernel, which goes on delivering it: no reset here.
            self._transport.abort()
        elif self._state is _HEAD:
            if self.head_at:
                self._refuse(Reason.REQUEST_TIMEOUT)
            else:
                self._shut()
        elif self._sink is not None:
            self._body_broken(self._sink, Reason.REQUEST_TIMEOUT)

    def data_received(self, data: bytes) -> None:
        """Take bytes: of a head, a body, a tunnel, or of requests still to come."""
        state = self._state
        if state is _HEAD:
            if self._write_paused or self._resting is not None:
                # A client that does not read its answers is not asked for more.
                self._hold(data)
                return
            head = None if self._buffer else self._heads.repeated(data)
            if head is not None:
                self.bodiless = head.method == "HEAD"
                self._begin(head)
                return
            self._buffer = self._buffer + data if self._buffer else data
            self._pump()
        elif state is _BUSY:
            body = self._body
            if body is not None and self._resting is None:
                self._read_body(body, data)
            else:
                self._hold(data)
        elif state is _State.TUNNEL:
            if self._sink is not None:
                self._sink.request_body(data)
        elif state is _State.LINGER:
            self.received += len(data)
            if self.received > _LINGER_LIMIT:
                self.abort()

    # ---------------------------------------------------------------- reading

    def _pump(self) -> None:
        """Handle requests as long as they are complete and answered at once."""
        if self._pumping:
            return
        self._pumping = True
        turn = HEADS_A_TURN
        while (
            self._buffer
            and self._state is _HEAD
            and not self._write_paused
            and self._resting is None
        ):
            if not turn:
                self._rest()
                break
            turn -= 1
            if not self._take_head():
                break
        self._pumping = False

    def _rest(self) -> None:
        """Let others have their turn, then go on with what is held."""
        if self._transport is None:
            return
        self._transport.pause_reading()
        # Not `call_soon`: the loop would not look at its sockets in between.
        loop = asyncio.get_running_loop()
        self._resting = loop.call_later(0, self._go_on)

    def _go_on(self) -> None:
        self._resting = None
        if self._state is _HEAD:
            self._pump()
        elif self._state is _BUSY and self._body is not None:
            self._read_held(self._body)
        self._read_on()

    def _take_head(self) -> bool:
        """Take one head off the buffer and have it handled; False: not there yet."""
        data = self._buffer
        # RFC 9110 §9.3.2: the answer to HEAD has no body, a refusal's neither.
        self.bodiless = data.startswith((b"HEAD ", b"\r\nHEAD "))
        head = self._heads.read(data)
        if head is None:
            if not self.head_at and data not in BLANK:
                self.head_at = self._deadlines.time()
                self.deadline = self.head_at + self._limits.header_timeout
            return False
        if isinstance(head, Reason):
            self._refuse(head)
            return False
        self._buffer = self._heads.rest
        self._begin(head)
        return True

    def _begin(self, head: ParsedHead) -> None:
        if not self.head_at:
            self.head_at = self._deadlines.time()
        self._state = _BUSY
        self._head = head
        self._body = None
        self._body_unread = head.body != 0
        self._begun = False
        self._close_after = head.close or self.closing
        self.sent = 0
        self.received = 0
        self.deadline = NEVER
        self._front.handle(self, head)

    def attach(self, sink: RequestSink) -> None:
        """Tell `sink` from now on what happens to this client and its request."""
        self._sink = sink

    def read_body(self, *, limit: int = 0, rate: int = 0) -> None:
        """Give the sink the body, as it comes.

        `limit` bounds its bytes (0: no bound). `rate` is how many of them must come in
        a second (0: any), over the whole but for the first `body_timeout` seconds and
        for those in which nothing was read. A client that waits for it hears
        `100 Continue` first (RFC 9110 §10.1.1).
        """
        head = self._head
        if head is None or not head.body:
            return
        if head.expects and not self._buffer and self._transport is not None:
            self._transport.write(_CONTINUE)
        self.deadline = self._deadlines.time() + self._limits.body_timeout
        self._body = RequestBody(
            head.body, limit=limit, rate=rate, free_until=self.deadline
        )
        self._read_held(self._body)
        self._read_on()

    def _read_held(self, body: RequestBody) -> None:
        data, self._buffer = self._buffer, b""
        if data:
            self._read_body(body, data)

    def _read_body(self, body: RequestBody, data: bytes) -> None:
        sink = self._sink
        if sink is None:
            return
        now = self._deadlines.time()
        if body.is_late(now):
            self._body_broken(sink, Reason.REQUEST_TIMEOUT)
            return
        if not self._body_paused and not self._write_paused:
            self.deadline = now + self._limits.body_timeout
        while data:
            payload = body.take(data)
            self.received = body.received
            if not isinstance(payload, bytes):
                self._body_broken(sink, payload)
                return
            if body.ended:
                self._body_ended(sink, payload, body.rest)
                return
            if payload:
                sink.request_body(payload)
            data = body.rest
            if data and body.crumbled:
                self._buffer = data
                self._rest()
                return

    def _body_ended(self, sink: RequestSink, last: bytes, rest: bytes) -> None:
        self._buffer = rest
        self._body, self._body_unread = None, False
        if last:
            sink.request_body(last)
        if not self._write_paused:
            self.deadline = NEVER
        sink.request_end()

    def _body_broken(self, sink: RequestSink, reason: Reason) -> None:
        # Where this message ends is not known: nothing after it is believed.
        self._close_after = True
        self._body, self._body_unread = None, False
        sink.request_failed(reason)

    def _hold(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > PIPELINE_LIMIT and self._transport is not None:
            self._transport.pause_reading()

    def _read_on(self) -> None:
        """Read again, if there is room for it and nothing speaks against it."""
        if (
            self._transport is not None
            and len(self._buffer) <= PIPELINE_LIMIT
            and not self._body_paused
            and self._resting is None
        ):
            self._transport.resume_reading()

    def pause_body(self) -> None:
        """Read no more of the body for now: the upstream is slow."""
        if self._transport is not None:
            if not self._body_paused:
                self._paused_at = self._deadlines.time()
            self._body_paused = True
            self._transport.pause_reading()
            if not self._write_paused:
                self.deadline = NEVER

    def resume_body(self) -> None:
        """Read on."""
        if self._transport is not None:
            now = self._deadlines.time()
            if self._body_paused and self._body is not None:
                self._body.excuse(now - self._paused_at)
            self._body_paused = False
            self._read_on()
            if self._body_unread and not self._write_paused:
                self.deadline = now + self._limits.body_timeout

    # ---------------------------------------------------------------- writing

    def framing(self, body: int, length: int | None) -> bytes:
        """Decide how the coming answer is framed; give its framing lines.

        `body` is the coming body's length, `CHUNKED` or `UNTIL_CLOSE` (unknown);
        `length` is a Content-Length to announce though no body follows.
        """
        if body >= 0:
            self._chunk_response = False
            lines = b"content-length: %d\r\n" % (length or body)
        else:
            # RFC 9112 §6.1: never a transfer coding to an HTTP/1.0 client.
            http10 = self._head is not None and self._head.http10
            self._chunk_response = not http10
            self._close_after |= http10
            lines = b"" if http10 else b"transfer-encoding: chunked\r\n"
        return lines + self._last_framing()

    def bodiless_framing(self) -> bytes:
        """Give the framing lines of an answer without body and length (204, 304)."""
        self._chunk_response = False
        return self._last_framing()

    def _last_framing(self) -> bytes:
        # RFC 9112 §9.3: a body we have not read would be taken for a request.
        if self._body_unread or self.closing:
            self._close_after = True
        return b"connection: close\r\n" if self._close_after else b""

    def start(self, head: bytes) -> None:
        """Begin an answer; its head leaves with what follows, at `flush` or `finish`.

        `head` holds the lines that `framing` or `bodiless_framing` gave.
        """
        self._begun = True
        self._out = [head]

    def interim(self, data: bytes) -> None:
        """Relay a 1xx response; HTTP/1.0 has none (RFC 9110 §15.2)."""
        if self._head is not None and not self._head.http10:
            self._write(data)

    def send(self, data: bytes) -> None:
        """Send body bytes."""
        self.sent += len(data)
        self._write(encode_chunk(data) if self._chunk_response else data)

    def flush(self) -> None:
        """Let go of what was held back so as to leave in one piece.

        Every writer of an answer calls it, or `finish`, before it returns to the loop.
        """
        parts, self._out = self._out, None
        if parts:
            self._write(b"".join(parts) if len(parts) > 1 else parts[0])

    def finish(self) -> None:
        """End the answer; go on to the next request, or close."""
        if self._chunk_response:
            self._write(LAST_CHUNK)
        self.flush()
        self._sink = None
        self._head = None
        self.head_at = 0.0
        if self._transport is None:
            return
        # `closing` again: a drain may have begun after this answer did.
        if self._close_after or self._body_unread or self.closing:
            self._linger()
            return
        self._state = _HEAD
        if self._body_paused:
            # The upstream answered without waiting for its buffer to empty.
            self._body_paused = False
            self._read_on()
        if not self._write_paused:
            self.deadline = self._deadlines.time() + self._limits.idle_timeout
        if self._buffer:
            self._pump()
            self._read_on()

    def answer(self, serialise: Callable[[bytes], bytes], body: bytes) -> None:
        """Give a complete answer of our own. To HEAD it has no body."""
        if self.bodiless:
            self.start(serialise(self.framing(0, len(body))))
        else:
            self.start(serialise(self.framing(len(body), None)))
            if body:
                self.send(body)
        self.finish()

    def tunnel(self, head: bytes) -> None:
        """Answer 101 with `head`; from here on bytes pass both ways."""
        self._state = _State.TUNNEL
        self._begun = True
        self._close_after = True
        self._write(head)
        data, self._buffer = self._buffer, b""
        if data and self._sink is not None:
            self._sink.request_body(data)
        self._read_on()

    def tunnel_send(self, data: bytes) -> None:
        """Pass a tunnel's bytes to the client."""
        self.sent += len(data)
        self._write(data)

    def tunnel_half_end(self) -> None:
        """Tell the client that no more comes through the tunnel; it may send on."""
        if self._transport is not None:
            self._transport.write_eof()

    def tunnel_end(self) -> None:
        """Close a tunnel after what was written is out.

        A client that still sends may read it first: a reset would throw it away.
        """
        self._sink = None
        self._linger()

    def abort(self) -> None:
        """Reset the connection: what was sent is not the whole.

        A plain close would look like the end of an answer without a length.
        """
        if self._transport is None:
            return
        client = self._transport.get_extra_info("socket")
        if client is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()

    @property
    def begun(self) -> bool:
        """Tell whether an answer to the current request has begun."""
        return self._begun

    @property
    def gone(self) -> bool:
        """Tell whether nobody listens any more."""
        return self._transport is None

    @property
    def idle(self) -> bool:
        """Tell whether no request is in progress."""
        return self._state is _HEAD and not self._buffer

    def close_when_idle(self) -> None:
        """Close now if idle, else after the current answer."""
        self.closing = True
        if self.idle and self._transport is not None:
            self._transport.close()

    # ---------------------------------------------------------------- helpers

    def _refuse(self, reason: Reason) -> None:
        self._state = _BUSY
        self._head = None
        self._buffer = b""
        self._body, self._body_unread = None, False
        self._close_after = True
        self._begun = False
        self.sent = 0
        self.received = 0
        self.deadline = NEVER
        self._front.refuse(self, reason)

    def _await_head(self) -> None:
        self.deadline = self._deadlines.time() + self._limits.idle_timeout

    def _linger(self) -> None:
        """Close so that a client which still sends can read the answer first."""
        if self._transport is None:
            return
        # TLS has no half-close: its client is only read out, and only if it sends.
        halves = self._transport.can_write_eof()
        if self._half_closed or not (halves or self._body_unread):
            self._shut()
            return
        self._state = _State.LINGER
        self._buffer = b""
        self.received = 0
        if not self._write_paused:
            self.deadline = self._deadlines.time() + _LINGER
        # From here on `pause_writing` means: something is not out yet.
        self._transport.set_write_buffer_limits(0)
        if halves:
            with contextlib.suppress(OSError):  # the client may have reset meanwhile
                self._transport.write_eof()
        self._transport.resume_reading()

    def _shut(self) -> None:
        """Close once what was written is out, or does not move any more."""
        if self._transport is None:
            return
        self._state = _State.CLOSED
        self._transport.set_write_buffer_limits(0)
        self._transport.close()

    def _await_progress(self) -> None:
        if self._transport is not None:
            self._unwritten = self._transport.get_write_buffer_size()
            self.deadline = self._deadlines.time() + self._limits.write_timeout

    def _cut_if_stalled(self) -> None:
        """Let a client be slow, but not stop."""
        if self._transport is None:
            return
        if self._transport.get_write_buffer_size() < self._unwritten:
            self._await_progress()
        else:
            self.abort()

    def _write(self, data: bytes) -> None:
        if self._out is not None:
            self._out.append(data)
        elif self._transport is not None:
            if self._write_paused:
                # What comes on top is no sign that the client stopped reading.
                self._unwritten += len(data)
            self._transport.write(data)
