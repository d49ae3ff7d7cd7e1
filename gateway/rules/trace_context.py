"""Which trace a request is part of. Floor 2: pure.

W3C Trace Context: `traceparent` names the trace, the caller's span and whether it is
being recorded; `tracestate` is other vendors' business and travels along. A client may
send anything: what is not exactly of the form is as good as absent (§3.2, §4.3), and
then its `tracestate` means nothing either.
"""

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from gateway.values import Header

PARENT: Final = b"traceparent"
STATE: Final = b"tracestate"

STATE_BYTES: Final = 512
"""A longer tracestate is not sent on (§3.3.1.5 asks for as much at least)."""

_PARENT: Final = re.compile(
    rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL
)
_VISIBLE: Final = re.compile(rb"[\x20-\x7e]*")


class Parent(msgspec.Struct, frozen=True):
    """The caller's span: identifiers, whether it is recorded, and what travels along."""

    trace_id: int
    span_id: int
    sampled: bool
    state: bytes = b""


def read(headers: Sequence[Header]) -> Parent | None:
    """Give the caller's span, if these headers name one."""
    named = [value for name, value in headers if name == PARENT]
    found = _PARENT.fullmatch(named[0]) if len(named) == 1 else None
    if found is None:
        return None
    version, trace, span, flags, more = found.groups()
    # §4.3: of a later version what we know is read, of this one there is no more.
    if version == b"ff" or (version == b"00" and more is not None):
        return None
    trace_id, span_id = int(trace, 16), int(span, 16)
    if not trace_id or not span_id:
        return None
    return Parent(trace_id, span_id, bool(int(flags, 16) & 1), _state(headers))


def parent(trace_id: int, span_id: int, *, sampled: bool) -> bytes:
    """Write a traceparent."""
    return b"00-%032x-%016x-%02x" % (trace_id, span_id, sampled)


def without(headers: list[Header]) -> list[Header]:
    """Give the headers that do not tell of a trace."""
    return [header for header in headers if header[0] not in (PARENT, STATE)]


def _state(headers: Sequence[Header]) -> bytes:
    # §3.3.1.1: several lines are one list.
    state = b",".join(value for name, value in headers if name == STATE)
    fits = len(state) <= STATE_BYTES and _VISIBLE.fullmatch(state) is not None
    return state if fits else b""
