"""Heads of requests, out of the bytes of one client. Floor 3, no sockets.

A head is read whole or not at all, and within bounds; a beginning that can only become
a bad one is refused at once, so that nobody waits for its end. A kept-alive client
repeats its header lines: they are remembered, and of a request that repeats them only
the first line is read.
"""

from typing import Final

from gateway.values import Reason, WireLimits
from gateway.wire.heads import ParsedHead
from gateway.wire.message import read_request_head, read_request_line

REPEATED_LIMIT: Final = 4 * 1024
"""Bytes of header lines that are remembered, in case the next request repeats them."""

BLANK: Final = (b"\r", b"\r\n")
"""What some clients send after a body: no head has begun (RFC 9112 §2.2)."""


class RequestHeads:
    """Reads the heads of one client. After each, `rest` is what came behind it."""

    __slots__ = ("_last", "_last_line", "_last_lines", "_limits", "rest")

    def __init__(self, limits: WireLimits) -> None:
        self._limits = limits
        self._last: ParsedHead | None = None
        self._last_line = b""
        self._last_lines = b""
        self.rest = b""

    def forget_lines(self) -> None:
        """Read the next head afresh, without the notes made of the last one."""
        self._last = None

    def repeated(self, data: bytes) -> ParsedHead | None:
        """Read a head that is just `data`, with header lines as the last one had.

        Anything else, however slightly, is for `read`: None.
        """
        last = self._last
        if last is None or not data.endswith(self._last_lines):
            return None
        line = data[: -len(self._last_lines)]
        if line == self._last_line:
            return last
        if len(line) > self._limits.target_bytes:
            return None
        head = read_request_line(line, last)
        if head is not None:
            self._last, self._last_line = head, line
        return head

    def read(self, data: bytes) -> ParsedHead | Reason | None:
        """Read the head that `data` begins with; None: its end is not there yet."""
        # RFC 9112 §2.2: an empty line before the request line is to be ignored.
        start = 2 if data.startswith(b"\r\n") else 0
        end = data.find(b"\r\n\r\n", start) + 4
        if end < 4:
            return self._why_never(data, start)
        oversize = self._oversize(data, start, end)
        if oversize is not None:
            return oversize
        head = read_request_head(data[start:end], count_limit=self._limits.header_count)
        line_end = data.find(b"\r\n", start)
        if isinstance(head, ParsedHead) and end - line_end <= REPEATED_LIMIT:
            self._last = head
            self._last_line = data[start:line_end]
            self._last_lines = data[line_end:end]
        else:
            self._last = None
        self.rest = data[end:]
        return head

    def _why_never(self, data: bytes, start: int) -> Reason | None:
        """Tell why the beginning of a head can only become a bad one, if so."""
        if data in BLANK:
            return None
        oversize = self._oversize(data, start, len(data))
        if oversize is not None:
            return oversize
        if data.count(b"\n") != data.count(b"\r\n") or not _may_be_a_request(
            data[start : start + 16]
        ):
            return Reason.BAD_MESSAGE
        return None

    def _oversize(self, data: bytes, start: int, end: int) -> Reason | None:
        line_end = data.find(b"\r\n", start, end)
        line = (line_end if line_end >= 0 else end) - start
        # The request line has a method and a version beside the target.
        if line > self._limits.target_bytes + 64:
            return Reason.TARGET_TOO_LONG
        if end - start - line > self._limits.header_bytes:
            return Reason.HEADERS_TOO_LARGE
        return None


def _may_be_a_request(start: bytes) -> bool:
    """Tell whether bytes could begin a request line: an upper-case method."""
    method = start.partition(b" ")[0]
    return method.replace(b"-", b"").isalpha() and method.isascii()
