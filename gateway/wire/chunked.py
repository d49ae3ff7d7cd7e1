"""The chunked coding, strictly (RFC 9112 §7.1). Floor 3, no sockets.

Why our own: the relay must know the exact byte at which a body ends, so that what
follows is judged as the next request (or dropped as a stray response), and llhttp does
not tell. A differential property test holds this decoder against llhttp. Extensions are
bounded and ignored, trailers are bounded and dropped: they never become headers.
"""

import re
from typing import Final

from gateway.errors import MessageError

_SIZE_LINE: Final = re.compile(
    # BWS before ";" is tolerated nowhere: it is the classic disagreement.
    rb"([0-9A-Fa-f]{1,15})"
    rb"(?:;[!#$%&'*+.^_`|~0-9A-Za-z-]+"
    rb"(?:=(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+|\"[\t \x21\x23-\x5b\x5d-\x7e]*\"))?)*"
)
_TRAILER_LINE: Final = re.compile(
    rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*"
)
_LINE_LIMIT: Final = 1024
_TRAILER_LIMIT: Final = 8 * 1024
_EXTENSION_LIMIT: Final = 16 * 1024


class ChunkedDecoder:
    """Decodes one body. Feed it bytes until `done`; `rest` is what came after."""

    __slots__ = ("_extensions", "_left", "_line", "_state", "_trailers", "done", "rest")

    def __init__(self) -> None:
        self._state = self._size
        self._line = b""
        self._left = 0
        self._extensions = 0
        self._trailers = 0
        self.done = False
        self.rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Give the payload found in `data`, in order; raise `MessageError` on doubt."""
        payload: list[bytes] = []
        at = 0
        while at < len(data) and not self.done:
            at = self._state(data, at, payload)
        if self.done:
            self.rest = data[at:]
        return payload

    # Each state reads `data` from `at` and tells where it stopped.

    def _size(self, data: bytes, at: int, payload: list[bytes]) -> int:
        line, at = self._take_line(data, at)
        if line is None:
            return at
        match = _SIZE_LINE.fullmatch(line)
        if match is None:
            raise MessageError("malformed chunk size")
        self._extensions += len(line) - len(match[1])
        if self._extensions > _EXTENSION_LIMIT:
            raise MessageError("too many chunk extensions")
        self._left = int(match[1], 16)
        self._state = self._data if self._left else self._trailer
        return at

    def _data(self, data: bytes, at: int, payload: list[bytes]) -> int:
        piece = data[at : at + self._left]
        payload.append(piece)
        self._left -= len(piece)
        if not self._left:
            self._state = self._data_end
        return at + len(piece)

    def _data_end(self, data: bytes, at: int, payload: list[bytes]) -> int:
        taken = data[at : at + 2 - len(self._line)]
        self._line += taken
        if not b"\r\n".startswith(self._line):
            raise MessageError("chunk data without CRLF")
        if len(self._line) == 2:
            self._line, self._state = b"", self._size
        return at + len(taken)

    def _trailer(self, data: bytes, at: int, payload: list[bytes]) -> int:
        line, at = self._take_line(data, at)
        if line is None:
            return at
        if not line:
            self.done = True
            return at
        self._trailers += len(line)
        if self._trailers > _TRAILER_LIMIT or not _TRAILER_LINE.fullmatch(line):
            raise MessageError("malformed or oversized trailer")
        return at

    def _take_line(self, data: bytes, at: int) -> tuple[bytes | None, int]:
        """Take one CRLF-terminated line; None when its end is not there yet."""
        end = data.find(b"\n", at, at + _LINE_LIMIT)
        line = self._line + data[at : end + 1 if end >= 0 else len(data)]
        if len(line) > _LINE_LIMIT:
            raise MessageError("overlong line in a chunked body")
        if end < 0:
            if b"\r" in line[:-1]:
                raise MessageError("bare CR in a chunked body")
            self._line = line
            return None, len(data)
        if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
            raise MessageError("bare CR or LF in a chunked body")
        self._line = b""
        return line[:-2], end + 1


def encode_chunk(data: bytes) -> bytes:
    """Frame `data`, which must not be empty: an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK: Final = b"0\r\n\r\n"
