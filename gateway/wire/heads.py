"""Heads of messages as values, and the plan for a request. Floor 3: data alone.

Why a module of their own: `msgspec` makes these classes, and what it makes cannot be
compiled ahead of time with the code that uses them (`hatch_build.py`).
"""

from typing import Final

import msgspec

from gateway.values import Header, Notes, Timeouts

CHUNKED: Final = -1
"""A body framed by `Transfer-Encoding: chunked`."""
UNTIL_CLOSE: Final = -2
"""A response body that ends with its connection (RFC 9112 §6.3, rule 8)."""


class ParsedHead(msgspec.Struct, frozen=True, gc=False):
    """A request's head. `body` is a length in bytes, or `CHUNKED`.

    `http10` tells that the client speaks HTTP/1.0; `close` that the connection ends
    after this exchange; `expects` that it waits for `100 Continue`; `upgrade` is the
    lower-case Upgrade value of a request that could become a tunnel, else empty.
    `notes` are what the rules read in these header lines: heads that share the lines
    share their notes.
    """

    method: str
    target: bytes
    headers: list[Header]
    body: int
    http10: bool
    close: bool
    expects: bool
    upgrade: bytes
    notes: Notes = {}


class ResponseHead(msgspec.Struct, frozen=True, gc=False):
    """A response's head. `body` is a length, `CHUNKED` or `UNTIL_CLOSE`.

    `length` is a Content-Length that was sent though no body follows (HEAD, 304);
    `dated` tells that it has a Date.
    """

    status: int
    phrase: bytes
    headers: list[Header]
    body: int
    keep_alive: bool
    length: int | None
    dated: bool = False


class Plan(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What is to be sent, and within which bounds.

    `lines` hold no framing and no hop-by-hop fields. `upgrade` is the protocol of the
    tunnel to ask for, or empty. Tunnels and event streams end with the token, and with
    `end_with_token` any response.
    """

    target: bytes
    lines: bytes
    timeouts: Timeouts | None = None
    body_limit: int = 0
    body_rate: int = 0
    upgrade: bytes = b""
    end_with_token: bool = False
