"""Heads of messages as values, and the plan for a request. Floor 3: data alone."""

from dataclasses import dataclass
from typing import Final

from gateway.values import Header, Notes, Timeouts

CHUNKED: Final = -1
"""A body framed by `Transfer-Encoding: chunked`."""
UNTIL_CLOSE: Final = -2
"""A response body that ends with its connection (RFC 9112 §6.3, rule 8)."""


@dataclass(init=False, repr=False, slots=True)
class ParsedHead:
    """A request's head. `body` is a length in bytes, or `CHUNKED`.

    `http10` tells that the client speaks HTTP/1.0; `close` that the connection ends
    after this exchange; `expects` that it waits for `100 Continue`; `upgrade` is the
    lower-case Upgrade value of a request that could become a tunnel, else empty.
    `notes` are what the rules read in these header lines: heads that share the lines
    share their notes.
    """

    method: Final[str]
    target: Final[bytes]
    headers: Final[list[Header]]
    body: Final[int]
    http10: Final[bool]
    close: Final[bool]
    expects: Final[bool]
    upgrade: Final[bytes]
    notes: Final[Notes]

    def __init__(  # noqa: PLR0913 -- its fields
        self,
        *,
        method: str,
        target: bytes,
        headers: list[Header],
        body: int,
        http10: bool,
        close: bool,
        expects: bool,
        upgrade: bytes,
        notes: Notes | None = None,
    ) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body
        self.http10 = http10
        self.close = close
        self.expects = expects
        self.upgrade = upgrade
        self.notes = {} if notes is None else notes


@dataclass(init=False, repr=False, slots=True)
class ResponseHead:
    """A response's head. `body` is a length, `CHUNKED` or `UNTIL_CLOSE`.

    `length` is a Content-Length that was sent though no body follows (HEAD, 304);
    `dated` tells that it has a Date.
    """

    status: Final[int]
    phrase: Final[bytes]
    headers: Final[list[Header]]
    body: Final[int]
    keep_alive: Final[bool]
    length: Final[int | None]
    dated: Final[bool]

    def __init__(
        self,
        *,
        status: int,
        phrase: bytes,
        headers: list[Header],
        body: int,
        keep_alive: bool,
        length: int | None,
        dated: bool = False,
    ) -> None:
        self.status = status
        self.phrase = phrase
        self.headers = headers
        self.body = body
        self.keep_alive = keep_alive
        self.length = length
        self.dated = dated


@dataclass(init=False, repr=False, slots=True)
class Plan:
    """What is to be sent, and within which bounds.

    `lines` hold no framing and no hop-by-hop fields. `upgrade` is the protocol of the
    tunnel to ask for, or empty. Tunnels and event streams end with the token, and with
    `end_with_token` any response.
    """

    target: Final[bytes]
    lines: Final[bytes]
    timeouts: Final[Timeouts | None]
    body_limit: Final[int]
    body_rate: Final[int]
    upgrade: Final[bytes]
    end_with_token: Final[bool]

    def __init__(
        self,
        *,
        target: bytes,
        lines: bytes,
        timeouts: Timeouts | None = None,
        body_limit: int = 0,
        body_rate: int = 0,
        upgrade: bytes = b"",
        end_with_token: bool = False,
    ) -> None:
        self.target = target
        self.lines = lines
        self.timeouts = timeouts
        self.body_limit = body_limit
        self.body_rate = body_rate
        self.upgrade = upgrade
        self.end_with_token = end_with_token
