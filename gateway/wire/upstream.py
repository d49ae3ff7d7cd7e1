"""One connection to an origin, one exchange at a time. Floor 3.

Rules of this room:
- whatever arrives while nothing was asked closes the connection: a stray response must
  never be the next user's answer (SECURITY §0, item 13);
- a connection is given back only after a response whose end is certain, with nothing
  after it, and with the whole request sent;
- every failure reaches the listener once, as an exception of ours, and the connection
  is gone by then.
"""

import asyncio
import re
from typing import Final, Protocol, cast

from gateway.errors import MessageError, UpstreamUnavailable
from gateway.values import Timeouts
from gateway.wire.chunked import ChunkedDecoder
from gateway.wire.deadlines import NEVER, Deadlines
from gateway.wire.heads import CHUNKED, UNTIL_CLOSE, ResponseHead
from gateway.wire.message import read_response_head

HEAD_LIMIT: Final = 64 * 1024
"""Bytes of one response head."""

_BARE: Final = re.compile(rb"\r[^\n]|(?<!\r)\n")

_INTERIM_LIMIT: Final = 16
"""1xx responses before the final one."""


class ResponseListener(Protocol):
    """Who asked. Events come in the order of the methods.

    `response` and `body` may raise `MessageError`: a doubt like any other.
    """

    def interim(self, head: ResponseHead) -> None:
        """Take a 1xx response other than 101."""
        ...

    def response(self, head: ResponseHead) -> None:
        """Take the final head (or a 101, after which bytes are a tunnel's)."""
        ...

    def body(self, data: bytes) -> None:
        """Take decoded body bytes, or a tunnel's."""
        ...

    def end(self) -> None:
        """Take note of the certain end: the connection is already given back."""
        ...

    def half_end(self) -> None:
        """Take note that the upstream sends no more through a tunnel, but listens."""
        ...

    def flush(self) -> None:
        """Take note that this is all for now: nothing is to be held back."""
        ...

    def failed(self, error: Exception) -> None:
        """Take note that nothing more comes: the connection is gone.

        `TimeoutError` for a deadline, `MessageError` for a message in doubt,
        `UpstreamUnavailable` when the connection broke.
        """
        ...

    def pause_request(self) -> None:
        """Send no more of the request for now."""
        ...

    def resume_request(self) -> None:
        """Go on sending."""
        ...


class Keeper(Protocol):
    """Who keeps idle connections: the pool."""

    def give_back(self, connection: "UpstreamConnection") -> None:
        """Take a connection that may serve again."""
        ...

    def gone(self, connection: "UpstreamConnection") -> None:
        """Take note that a connection is no more."""
        ...


class UpstreamConnection:
    """A client's side of HTTP/1.1 towards one origin."""

    def __init__(self, keeper: Keeper, deadlines: Deadlines, number: int) -> None:
        self._keeper = keeper
        self._deadlines = deadlines
        self._transport: asyncio.Transport | None = None
        self._listener: ResponseListener | None = None
        self._timeouts = Timeouts()
        self._method = ""
        self._buffer = b""
        self._head: ResponseHead | None = None
        self._left = 0
        self._decoder: ChunkedDecoder | None = None
        self._interims = 0
        self._request_sent = True
        self._bodiless = True
        self._paused = False
        self._tunnel = False
        self.deadline = NEVER
        self.number = number
        self.served = 0
        """Exchanges begun: 0 for a fresh connection."""
        self.answered: bool | None = None
        """Once it is gone: what its last exchange says of the origin, or nothing."""
        self.heard = False
        """Whether any byte of the current answer has come."""

    def __repr__(self) -> str:
        state = "busy" if self._listener else "idle"
        return f"<UpstreamConnection {self.number}: {state}, served {self.served}>"

    # ------------------------------------------------------------- the asker

    def begin(
        self,
        listener: ResponseListener,
        method: str,
        head: bytes,
        timeouts: Timeouts,
        *,
        whole: bool,
    ) -> None:
        """Send a request head; `whole` tells that it is the entire request."""
        self._listener = listener
        self._method = method
        self._timeouts = timeouts
        self._head = None
        self._interims = 0
        self._request_sent = self._bodiless = whole
        self.served += 1
        self.heard = False
        # Until the whole request is sent, the client's own body deadline rules.
        self.deadline = self._deadlines.time() + timeouts.first_byte if whole else NEVER
        self._write(head)

    def send(self, data: bytes) -> None:
        """Send framed bytes of the request body, or a tunnel's."""
        self._write(data)
        if self._tunnel and not self._paused:
            self.deadline = self._deadlines.time() + self._timeouts.idle

    def half_end(self) -> None:
        """Tell the upstream that no more comes through the tunnel."""
        if self._transport is not None and self._transport.can_write_eof():
            self._transport.write_eof()

    def finish_request(self) -> None:
        """Say that the request is complete: now the upstream must answer in time."""
        self._request_sent = True
        if self._head is None:
            self.deadline = self._deadlines.time() + self._timeouts.first_byte

    def pause_response(self) -> None:
        """Read no more for now: the client is slow, which is not the upstream's fault."""
        if self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
            self.deadline = NEVER

    def resume_response(self) -> None:
        """Read on."""
        if self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
            self.deadline = self._deadlines.time() + self._timeouts.idle

    def drop(self) -> None:
        """Let go at once: the asker is gone and wants to hear nothing."""
        self._listener = None
        self._close()

    def leave(self) -> None:
        """Let go of a tunnel once what was sent into it is out, or does not move."""
        self._listener = None
        if self._transport is not None:
            self.deadline = self._deadlines.time() + self._timeouts.idle
            self._transport.close()

    # ------------------------------------------------------------ the network

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to be looked after."""
        self._transport = cast("asyncio.Transport", transport)
        self._deadlines.watch(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits, and the pool."""
        self._transport = None
        self._deadlines.forget(self)
        listener, self._listener = self._listener, None
        # A used connection may have been closed for its age: no sign of anything.
        if listener is not None and (self.heard or self.served == 1):
            self.answered = self._head is not None
        self._keeper.gone(self)
        if listener is None:
            return
        if exc is None and self._body_ends_with_connection():
            listener.end()
            return
        listener.failed(UpstreamUnavailable("the upstream closed the connection"))

    def eof_received(self) -> bool:
        """Close: an upstream that stops sending has nothing more to say to us.

        In a tunnel it may still listen; TLS has no such state.
        """
        transport, listener = self._transport, self._listener
        if not self._tunnel or listener is None or transport is None:
            return False
        if not transport.can_write_eof():
            return False
        listener.half_end()
        return True

    def pause_writing(self) -> None:
        """Pass the upstream's slowness on to the client."""
        if self._listener is not None:
            if self._uploading():
                # The client is paused now, so its deadline is not at work.
                self.deadline = self._deadlines.time() + self._timeouts.idle
            self._listener.pause_request()

    def resume_writing(self) -> None:
        """Pass it on that there is room again."""
        if self._listener is not None:
            if self._uploading():
                self.deadline = NEVER
            self._listener.resume_request()

    def overdue(self) -> None:
        """Give up: too late for the first byte, the next byte, or for more idling."""
        self._fail(TimeoutError("the upstream took too long"))

    def data_received(self, data: bytes) -> None:
        """Take bytes: head, body, a tunnel's, or a stray's."""
        if self._listener is None:
            self._close()
            return
        self.heard = True
        try:
            if self._head is None:
                self._read_heads(data)
            else:
                self._read_body(data)
        except MessageError as error:
            self._fail(error)
        # Not after the end: whoever heard of that has nothing left to hold back.
        if self._listener is not None:
            self._listener.flush()

    # ---------------------------------------------------------------- reading

    def _read_heads(self, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        while self._head is None:
            end = data.find(b"\r\n\r\n") + 4
            if end < 4:
                if (
                    len(data) > HEAD_LIMIT
                    or not b"HTTP/1.".startswith(data[:7])
                    or _BARE.search(data) is not None
                ):
                    raise MessageError("no response head in sight")
                self._buffer = data
                return
            if end > HEAD_LIMIT:
                raise MessageError("response head too large")
            head = read_response_head(data[:end], self._method)
            data = data[end:]
            self._buffer = b""
            if head.status < 200 and head.status != 101:
                self._interim(head)
            else:
                self._begin_body(head)
        self._read_body(data)

    def _interim(self, head: ResponseHead) -> None:
        self._interims += 1
        if self._interims > _INTERIM_LIMIT:
            raise MessageError("too many interim responses")
        if self._listener is not None:
            self._listener.interim(head)

    def _begin_body(self, head: ResponseHead) -> None:
        self._head = head
        self._left = head.body
        self._decoder = ChunkedDecoder() if head.body == CHUNKED else None
        self._tunnel = head.status == 101
        self.deadline = self._deadlines.time() + self._timeouts.idle
        if self._listener is not None:
            self._listener.response(head)

    def _read_body(self, data: bytes) -> None:
        # The listener may have dropped us while it took the head.
        if self._listener is None:
            return
        if self._tunnel or self._left == UNTIL_CLOSE:
            if data:
                self._moved_on()
                self._listener.body(data)
            return
        if self._decoder is not None:
            self._read_chunks(self._decoder, data)
            return
        stray = len(data) > self._left
        if stray:
            data = data[: self._left]
        self._left -= len(data)
        if data:
            self._listener.body(data)
        if self._left == 0:
            self._finish(stray=stray)
        else:
            self._moved_on()

    def _read_chunks(self, decoder: ChunkedDecoder, data: bytes) -> None:
        for piece in decoder.feed(data):
            if self._listener is not None:
                self._listener.body(piece)
        if decoder.done:
            self._finish(stray=bool(decoder.rest))
        else:
            self._moved_on()

    def _moved_on(self) -> None:
        if not self._paused:
            self.deadline = self._deadlines.time() + self._timeouts.idle

    def _finish(self, *, stray: bool) -> None:
        listener, self._listener = self._listener, None
        head, self._head = self._head, None
        self._decoder = None
        self.deadline = NEVER
        reusable = head is not None and head.keep_alive and self._request_sent
        if reusable and not self._bodiless and self._transport is not None:
            # What the upstream did not take of this body would hold up the next request.
            reusable = not self._transport.get_write_buffer_size()
        if reusable and not stray and self._transport is not None:
            if self._paused:
                # The last bytes were too many for the client, not for us.
                self._paused = False
                self._transport.resume_reading()
            self._keeper.give_back(self)
        else:
            self.answered = True
            self._close()
        if listener is not None:
            listener.end()

    def _body_ends_with_connection(self) -> bool:
        return self._tunnel or (
            self._head is not None and self._head.body == UNTIL_CLOSE
        )

    def _uploading(self) -> bool:
        return not self._request_sent and self._head is None

    # ---------------------------------------------------------------- closing

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _fail(self, error: Exception) -> None:
        listener, self._listener = self._listener, None
        self._close()
        if listener is not None:
            self.answered = self._head is not None
            listener.failed(error)

    def _close(self) -> None:
        self.deadline = NEVER
        if self._transport is not None:
            self._transport.abort()

    @property
    def alive(self) -> bool:
        """Tell whether the connection can still be written to."""
        return self._transport is not None and not self._transport.is_closing()
