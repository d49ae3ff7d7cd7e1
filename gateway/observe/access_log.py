"""Tell every finished exchange in one line. Floor 4: reads records, never fails.

A line is one JSON object in ASCII. Its members are the fields of `values.Exchange`,
under the names of `values.RECORD_NAMES` (OpenTelemetry's semantic conventions for HTTP
where they have one), and stay what they are from release to release:

    timestamp                     when it began, Unix time
    http.server.request.duration  seconds, to the last byte of the answer
    http.request.method, url.scheme, server.address, url.path
                                  as received; never a query
    http.response.status_code     what the client was told; 499: it had gone
    http.request.body.size, http.response.body.size
    client.address                behind trusted hops, theirs
    gateway.request_id            the id the client was told
    gateway.decision              allow, deny, error or shadow
    gateway.reason                why, in the words of `values.Reason`; ok
    gateway.source                whose word it was: l1, l2, provider, stale, none
    gateway.route, gateway.provider, gateway.upstream
                                  ids in the configuration, empty when unknown
    gateway.client_id             the client the token was made for
    gateway.upstream_wait         seconds until the upstream's head
    gateway.failure               what broke, in our words
    gateway.door                  proxy, or where an engine asked for a decision
    trace_id                      the trace it was recorded in; empty when in none
    gateway.worker                which one, where there are several

No token is in a record, and a query is cut off even if a door let one slip. Whatever
bytes a client sent, JSON escapes keep them inside their string, and ASCII keeps
terminal control codes out of an operator's window. On a terminal the line is short
and for people.
"""

import json
import re
import time
from collections.abc import Callable, Sequence
from random import random
from typing import Final

import msgspec

from gateway.observe.lines import CAPACITY_BYTES, LineWriter, Sink
from gateway.values import RECORD_NAMES, Exchange

RECORD_BYTES: Final = 1024
"""What a waiting record is taken to weigh besides its path."""

_QUERY: Final = re.compile(r"\?|%3[Ff]|;")
"""Where a query begins, or what a slip makes of one: tokens were seen behind all."""

_PATH: Final = RECORD_NAMES["path"]

_encoder: Final = msgspec.json.Encoder()


class AccessLog:
    """Keeps `ports.Observer`: one line to `sink` per exchange.

    `worker` is the number of one of several processes that write to it. Of what went
    well (2xx, and nothing broke) one in `one_in` has a line.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        one_in: int = 1,
        capacity_bytes: int = CAPACITY_BYTES,
        worker: int | None = None,
    ) -> None:
        encode: Callable[[Sequence[Exchange]], bytes]
        encode = as_text if sink.isatty() else as_json
        self._writer = LineWriter(
            sink,
            encode=encode if worker is None else _numbered(encode, worker),
            weigh=_weigh,
            capacity_bytes=capacity_bytes,
            shared=worker is not None,
        )
        self.one_in = one_in

    @property
    def dropped(self) -> int:
        """How many exchanges have no line."""
        return self._writer.dropped

    def observe(self, exchange: Exchange) -> None:
        """Take note of one finished exchange."""
        if (
            self.one_in > 1 and went_well(exchange) and random() * self.one_in >= 1  # noqa: S311 -- no secret
        ):
            return
        self._writer.put(exchange)

    def close(self, deadline: float = 2.0) -> None:
        """Write what waits, for `deadline` seconds at most; blocks its caller."""
        self._writer.close(deadline)


def went_well(exchange: Exchange) -> bool:
    """Tell whether nobody will ever ask what became of this one."""
    return (
        200 <= exchange.status < 300
        and exchange.decision == "allow"
        and not exchange.failure
    )


def as_json(exchanges: Sequence[Exchange]) -> bytes:
    """Give one JSON line per exchange, all of it ASCII."""
    try:
        lines = _encoder.encode_lines(exchanges)
    except UnicodeEncodeError:  # a lone surrogate
        lines = b""
    if lines and lines.isascii() and _are_plain(exchanges):
        return lines
    return b"".join(map(_careful, exchanges))


def _are_plain(exchanges: Sequence[Exchange]) -> bool:
    """Tell whether no path has what a query may begin with: nearly always."""
    for exchange in exchanges:
        path = exchange.path
        if "?" in path or "%3" in path or ";" in path:
            return False
    return True


def as_text(exchanges: Sequence[Exchange]) -> bytes:
    """Give one short line per exchange for a person at a terminal."""
    return b"".join(map(_short, exchanges))


def _numbered(
    encode: Callable[[Sequence[Exchange]], bytes], worker: int
) -> Callable[[Sequence[Exchange]], bytes]:
    """Add the member `gateway.worker` to every line: no line has a line's end within."""
    end = b',"gateway.worker":%d}\n' % worker
    return lambda exchanges: encode(exchanges).replace(b"}\n", end)


def _careful(exchange: Exchange) -> bytes:
    fields = msgspec.to_builtins(exchange)
    fields[_PATH] = _without_query(exchange.path)
    return json.dumps(fields, separators=(",", ":")).encode("ascii") + b"\n"


def _short(exchange: Exchange) -> bytes:
    clock = time.strftime("%H:%M:%S", time.localtime(exchange.started_at))
    where = f"{exchange.host}{_without_query(exchange.path)}"
    why = exchange.reason or exchange.source
    line = (
        f"{clock} {exchange.status} {exchange.method} {where} {exchange.decision}"
        f" {why} {exchange.route or '-'} {exchange.duration * 1000:.1f}ms"
    )
    return line.encode("unicode_escape") + b"\n"


def _without_query(path: str) -> str:
    return _QUERY.split(path, maxsplit=1)[0]


def _weigh(exchange: Exchange) -> int:
    return RECORD_BYTES + len(exchange.path)
