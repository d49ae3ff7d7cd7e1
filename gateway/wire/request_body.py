"""A request's body on its way in, and who takes it. Floor 3, no sockets and no clock.

Where a body ends, how long it may be and how slowly it may come is known here; when to
read more of it, and what becomes of the rest, is the connection's (`wire.downstream`).
"""

from typing import Final, Protocol

from gateway.errors import MessageError
from gateway.values import Reason
from gateway.wire.chunked import ChunkedDecoder
from gateway.wire.deadlines import NEVER
from gateway.wire.heads import CHUNKED

_SLICE: Final = 16 * 1024
_CHUNKS_A_TURN: Final = 256
"""A chunked body in crumbs is read by slices, with a turn for others between them."""


class RequestSink(Protocol):
    """Who takes a request's body, and cares for the client's pace and presence."""

    def request_body(self, data: bytes) -> None:
        """Take decoded body bytes, or a tunnel's."""
        ...

    def request_end(self) -> None:
        """Take note of the body's certain end."""
        ...

    def request_failed(self, reason: Reason) -> None:
        """Take note that the body cannot be had: broken, too large, too slow.

        The front answers if it still can, else aborts.
        """
        ...

    def client_gone(self) -> None:
        """Take note that nobody listens any more.

        In a tunnel `request_end` tells that the client sends no more, but listens.
        """
        ...

    def pause_response(self) -> None:
        """Write no more for now."""
        ...

    def resume_response(self) -> None:
        """Go on writing."""
        ...


class RequestBody:
    """A body that is asked for: `take` its bytes until it has `ended`.

    `length` is in bytes, or `CHUNKED`. `limit` bounds what a chunked body may hold (0:
    no bound); who declares a length has been judged by it. `rate` is how many bytes
    must come in a second (0: any), over the whole but for the time until `free_until`.
    """

    __slots__ = (
        "_decoder",
        "_due",
        "_left",
        "_limit",
        "_seconds_a_byte",
        "crumbled",
        "ended",
        "received",
        "rest",
    )

    def __init__(
        self, length: int, *, limit: int, rate: int, free_until: float
    ) -> None:
        self._left = length
        self._decoder = ChunkedDecoder() if length == CHUNKED else None
        self._limit = limit
        self._due = free_until if rate else NEVER
        self._seconds_a_byte = 1 / rate if rate else 0.0
        self.ended = False
        self.crumbled = False
        """Whether what was taken last was so many chunks that others should have a turn."""
        self.received = 0
        """Bytes of payload so far."""
        self.rest = b""
        """What `take` has left: more of the body, or what follows its end."""

    def is_late(self, now: float) -> bool:
        """Tell whether more should have come by now."""
        return now > self._due + self.received * self._seconds_a_byte

    def excuse(self, seconds: float) -> None:
        """Leave out a time in which nothing was read: not the client's fault."""
        self._due += seconds

    def take(self, data: bytes) -> bytes | Reason:
        """Give the payload in `data`, or in a part of it; a `Reason` is the end of all."""
        if self._decoder is not None:
            return self._take_chunks(self._decoder, data)
        payload = data[: self._left]
        self.rest = data[self._left :]
        self._left -= len(payload)
        self.received += len(payload)
        self.ended = not self._left
        return payload

    def _take_chunks(self, decoder: ChunkedDecoder, data: bytes) -> bytes | Reason:
        try:
            pieces = decoder.feed(data[:_SLICE])
        except MessageError:
            return Reason.BAD_MESSAGE
        payload = b"".join(pieces)
        self.rest = data[_SLICE:]
        self.received += len(payload)
        if 0 < self._limit < self.received:
            return Reason.BODY_TOO_LARGE
        self.crumbled = len(pieces) > _CHUNKS_A_TURN
        if decoder.done:
            self.rest = decoder.rest + self.rest
            self.ended = True
        return payload
