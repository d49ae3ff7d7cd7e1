"""The way back through a tunnel, and how it may end. Floor 3, no sockets.

After the 101 the bytes are not ours to read, with one exception: a WebSocket ends with
its token, and its client should hear why. A close frame that stood amid another frame
would be garbage, so the frames from the upstream are counted: headers are read,
payloads are skipped by arithmetic, nothing is judged, changed or held back: 0.2 µs a
chunk, and half a µs for each frame that begins in it.

Between two frames a close is always right, even amid a fragmented message (RFC 6455
§5.4). Where the count was lost, where no frame ends in time, and in other protocols
there is nothing to say: such a tunnel is reset or closed.
"""

from typing import Final, Protocol

WEBSOCKET: Final = b"websocket"

TOKEN_ENDED: Final = 4401
"""The close code of a token's end: private use (RFC 6455 §7.4.2), named after 401."""

FRAME_GRACE: Final = 1.0
"""Seconds for the frame in progress to end, so that a close can follow it."""

_LONGEST_HEADER: Final = 10
_CLOSE: Final = 0x8


class FrameScanner:
    """Follows a server's WebSocket frames (RFC 6455 §5.2), however they are split."""

    __slots__ = ("_head", "_left", "closed", "lost")

    def __init__(self) -> None:
        self._head = b""
        self._left = 0
        self.closed = False
        """Set once a close frame has begun: nothing may follow it (§5.5.1)."""
        self.lost = False
        """Set, for good, by what cannot be the header of a server's frame."""

    def __repr__(self) -> str:
        state = "lost" if self.lost else "between" if self.at_boundary else "amid"
        return f"<FrameScanner: {state} frames>"

    @property
    def at_boundary(self) -> bool:
        """Tell whether the last frame is whole, and no other has begun."""
        return not self._left and not self._head

    def feed(self, data: bytes) -> int:
        """Follow `data`; tell how many bytes of it end the frame in progress.

        That is the first frame to end in it; -1 when none does.
        """
        if self.lost:
            return -1
        size, at = len(data), self._left
        first = at if 0 < at <= size else -1
        while at < size:
            head = data[at : at + _LONGEST_HEADER]
            if self._head:
                # It began in an earlier chunk, before the first byte of this one.
                at = -len(self._head)
                head = self._head + head
                self._head = b""
            length = self._measure(head)
            if not length:
                self._head = head
                at = size
                break
            at += length
            if first < 0 and at <= size:
                first = at
        self._left = at - size
        return first

    def _measure(self, head: bytes) -> int:
        """Give the length of the frame that begins with `head`; 0: it cannot be told."""
        if head[0] & 0x0F == _CLOSE:
            self.closed = True
        if len(head) < 2:
            return 0
        length, begin = head[1], 2
        if length > 125:
            begin = 4 if length == 126 else _LONGEST_HEADER
            if length < 128 and len(head) < begin:
                return 0
            length = int.from_bytes(head[2:begin])
        # §5.1: a server never masks. §5.2: the highest bit of a length is 0.
        if head[1] > 127 or length >= 1 << 63:
            self.lost = True
            return 0
        return begin + length


def close_frame(code: int, reason: bytes) -> bytes:
    """Write a server's close frame (RFC 6455 §5.5.1); `reason` has at most 123 bytes."""
    payload = code.to_bytes(2) + reason
    return bytes((0x80 | _CLOSE, len(payload))) + payload


class Client(Protocol):
    """Who brings a tunnel's bytes to its client: `Downstream`."""

    def tunnel_send(self, data: bytes) -> None:
        """Send them."""
        ...


class Tunnel:
    """The bytes from the upstream to the client, and the last of them."""

    __slots__ = ("_client", "_farewell", "_scanner", "half_closed", "leaving")

    def __init__(self, client: Client, protocol: bytes) -> None:
        self._client = client
        self._scanner = FrameScanner() if protocol == WEBSOCKET else None
        self._farewell = b""
        self.leaving = False
        """Set once the tunnel only waits for a frame to end."""
        self.half_closed = False
        """Set once one side sends no more: it may still read what the other sends."""

    def __repr__(self) -> str:
        return f"<Tunnel: {self._scanner or 'of another protocol'}>"

    def leave(self, reason: bytes) -> bool:
        """Say the last word; False: only after the frame in progress (`pass_on`)."""
        scanner = self._scanner
        if scanner is None:
            return True
        self.leaving = True
        if not scanner.closed:
            self._farewell = close_frame(TOKEN_ENDED, reason)
        if scanner.at_boundary:
            self._client.tunnel_send(self._farewell)
        return scanner.at_boundary

    def pass_on(self, data: bytes) -> bool:
        """Send bytes to the client; True: these were the last."""
        end = -1 if self._scanner is None else self._scanner.feed(data)
        last = self.leaving and end >= 0
        self._client.tunnel_send(data[:end] + self._farewell if last else data)
        return last
