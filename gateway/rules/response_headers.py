"""What the client is told back. Floor 2, all bytes; `rules.headers` is the way up.

First everything hop-by-hop and what only we may say is taken out of what the upstream
sent, then our own is added. The bytes of values are never re-encoded. Framing is the
wire's, which adds its own.
"""

from collections.abc import Iterable
from typing import Any, Final

from gateway.rules.headers import (
    HOP_BY_HOP,
    HOP_BY_HOP_PREFIX,
    Passes,
    connection_options,
    header_lines,
)
from gateway.values import REPEATED, Header

_OURS: Final = frozenset({b"content-length", b"x-request-id"})
_CORS_ORIGIN: Final = b"access-control-allow-origin"
_CORS_CREDENTIALS: Final = b"access-control-allow-credentials"

_REMEMBERED: Final = 512
_WORTH_REMEMBERING: Final = 128


def response_headers(
    headers: list[Header],
    *,
    request_id: bytes,
    cors: tuple[Header, ...] = (),
    query_token: bool = False,
) -> list[Header]:
    """Give the upstream's end-to-end headers, in order, and ours.

    `cors` is what `rules.cors.cors_headers` gave; it replaces the upstream's own.
    `query_token` tells that the token stood in the URL: its answer belongs in no
    shared cache (RFC 6750 §2.3), and its URL in no `Referer`.
    """
    kept = [header for header in headers if _passing[header[0]]]
    listed = connection_options(headers) if _names_fields(headers) else set()
    if cors:
        listed |= {_CORS_ORIGIN, _CORS_CREDENTIALS}
    if listed:
        kept = [header for header in kept if header[0] not in listed]
    if query_token:
        if not any(name == b"cache-control" for name, _ in kept):
            kept.append((b"cache-control", b"private"))
        kept.append((b"referrer-policy", b"no-referrer"))
    kept += cors
    kept.append((b"x-request-id", request_id))
    return kept


def response_lines(
    headers: list[Header],
    *,
    request_id: bytes,
    cors: tuple[Header, ...] = (),
    query_token: bool = False,
) -> bytes:
    """Give the lines of `response_headers`, what repeats itself from memory."""
    lines = None if cors or query_token else _usual_lines(headers)
    if lines is None:
        return header_lines(
            response_headers(
                headers, request_id=request_id, cors=cors, query_token=query_token
            )
        )
    return b"%bx-request-id: %b\r\n" % (lines, request_id)


def _usual_lines(headers: list[Any]) -> bytes | None:
    """Write those that pass by their names alone; None: `Connection` has a say."""
    # Any: what is known to be a tuple, is compiled to be made anew for every look-up.
    lines = []
    for header in headers:
        line = _lines.get(header)
        if line is None:
            line = _line(header)
            if line is None:
                return None
        lines.append(line)
    return b"".join(lines)


_lines: Final[dict[Any, bytes]] = {}
"""The lines of headers that servers repeat, empty of those that do not pass."""


def _line(header: Header) -> bytes | None:
    """Give one line, or an empty one; None: it says what becomes of others."""
    if _names_fields((header,)):
        return None
    name, value = header
    line = header_lines((header,)) if _passing[name] else b""
    if name in REPEATED and len(value) <= _WORTH_REMEMBERING:
        if len(_lines) >= _REMEMBERED:
            _lines.clear()
        _lines[header] = line
    return line


def _passes(name: bytes) -> bool:
    return (
        name not in HOP_BY_HOP
        and name not in _OURS
        and not name.startswith(HOP_BY_HOP_PREFIX)
    )


_passing: Final = Passes(_passes)


def _names_fields(headers: Iterable[Header]) -> bool:
    """Tell whether `Connection` says more than whether it stays open."""
    for name, value in headers:
        if name == b"connection" and value.lower() not in (b"keep-alive", b"close"):
            return True
    return False
