"""Tell operators what happens to the process. Floor 4: the only place that logs.

One JSON line per event, `time`, `level` and `event` first; on a terminal a short line
for people. Requests are not told here but in `access_log`.

No text of foreign making is ever printed: libraries put the bytes they choke on into
their messages and exceptions, and those bytes may be a client's token. So a library's
record is told by its place in the source, a foreign exception by its class and where
it arose; only our own `GatewayError`s, whose words we chose, are quoted.
"""

import asyncio
import json
import logging
import re
import time
import traceback
from collections.abc import Hashable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from gateway.errors import GatewayError
from gateway.observe.lines import LineWriter, Sink
from gateway.observe.metrics import Metrics
from gateway.ports import Clock

Field = str | int | float | bool | list[str] | None

LEVELS: Final = ("debug", "info", "warning", "error")

REPEAT_SECONDS: Final = 30.0
"""The same trouble is told once in so many seconds, with how often it was not."""

REPEAT_KEYS: Final = 1000
"""Beyond so many kinds of trouble it is forgotten which were told."""

FRAMES: Final = 6
"""How many calls of a failure are told, the innermost last."""

_FOREIGN_PART: Final = re.compile(r"[<(\[{'\"].*", re.DOTALL)
_ACCEPTED: Final = re.compile(r"2\d\d|cancelled")
_ANSWERED: Final = re.compile(r"2\d\d|4(?!29)\d\d|cancelled")


class Log:
    """What the rest of the house is handed to tell events with.

    Keeps `ports.ProviderEvents`: a provider that gives no answer is an event.
    `worker` is the number of one of several processes that write to `sink`.
    """

    def __init__(
        self,
        sink: Sink,
        clock: Clock,
        *,
        level: str = "info",
        worker: int | None = None,
    ) -> None:
        self._clock = clock
        self._levels = LEVELS[LEVELS.index(level) :]
        self._render = _short if sink.isatty() else _json
        shared = worker is not None
        self._always: dict[str, Field] = {"worker": worker} if shared else {}
        self._writer = LineWriter(sink, encode=_joined, weigh=len, shared=shared)
        self._told: dict[Hashable, float] = {}
        self._untold: dict[Hashable, int] = {}

    @property
    def dropped(self) -> int:
        """How many events have no line."""
        return self._writer.dropped

    def level(self, name: str) -> None:
        """Tell events of this level and those above it."""
        self._levels = LEVELS[LEVELS.index(name) :]

    def info(self, event: str, /, **fields: Field) -> None:
        """Tell that something happened as it should."""
        self._tell("info", event, fields)

    def always(self, event: str, /, **fields: Field) -> None:
        """Tell what must be told, whatever the level is."""
        self._write("info", event, fields)

    def warning(self, event: str, /, **fields: Field) -> None:
        """Tell that something happened that an operator may want to look at."""
        self._tell("warning", event, fields)

    def error(self, event: str, /, **fields: Field) -> None:
        """Tell that something is broken."""
        self._tell("error", event, fields)

    def repeated(self, event: str, key: Hashable, /, **fields: Field) -> None:
        """Warn of what may happen on every request: one line per interval and key."""
        self._repeat("warning", event, key, fields)

    def provider_request(
        self, provider: str, endpoint: str, code: str, seconds: float
    ) -> None:
        """Warn of a provider that failed to answer a question."""
        # Userinfo refuses tokens by 4xx; elsewhere it is our request that is refused.
        answered = _ANSWERED if endpoint == "userinfo" else _ACCEPTED
        if not answered.fullmatch(code):
            self.repeated(
                "provider_failing",
                (provider, endpoint, code),
                provider=provider,
                endpoint=endpoint,
                code=code,
                seconds=round(seconds, 3),
            )

    def loop_failure(
        self, loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]
    ) -> None:
        """Tell what nobody caught: for `loop.set_exception_handler`."""
        # asyncio appends the callback's arguments, which may be a client's bytes.
        message = _FOREIGN_PART.sub("", str(context.get("message", ""))).strip()
        told = failure(context.get("exception"))
        self._repeat(
            "error", "crash", (message, str(told)), {"message": message, **told}
        )

    def close(self, deadline: float = 2.0) -> None:
        """Write what waits, for `deadline` seconds at most; blocks its caller."""
        self._writer.close(deadline)

    def _repeat(
        self, level: str, event: str, key: Hashable, fields: Mapping[str, Field]
    ) -> None:
        now = self._clock.monotonic()
        if now < self._told.get((event, key), -REPEAT_SECONDS) + REPEAT_SECONDS:
            self._untold[event, key] += 1
            return
        if len(self._told) >= REPEAT_KEYS:
            self._told.clear()
            self._untold.clear()
        untold = self._untold.get((event, key), 0)
        self._told[event, key] = now
        self._untold[event, key] = 0
        self._tell(level, event, {**fields, "untold": untold})

    def _tell(self, level: str, event: str, fields: Mapping[str, Field]) -> None:
        if level in self._levels:
            self._write(level, event, fields)

    def _write(self, level: str, event: str, fields: Mapping[str, Field]) -> None:
        told = {**self._always, **fields}
        self._writer.put(self._render(self._clock.now(), level, event, told))


class Writes(Protocol):
    """A log whose lines may be lost."""

    @property
    def dropped(self) -> int:
        """How many were."""
        ...


class Libraries(logging.Handler):
    """Tells that a library has logged something, and where; never what."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Tell of one record."""
        where = f"{record.module}:{record.lineno} {record.funcName}"
        told = failure(record.exc_info[1] if record.exc_info else None)
        key = (record.name, where)
        self._log.repeated("library", key, logger=record.name, where=where, **told)


def configure(
    level: str, sink: Sink, clock: Clock, *, worker: int | None = None
) -> Log:
    """Give the log of this process, and send libraries' warnings there alone."""
    log = Log(sink, clock, level=level, worker=worker)
    logging.basicConfig(handlers=[Libraries(log)], level=logging.WARNING, force=True)
    return log


def watch_lines(metrics: Metrics, log: Log, access: Writes | None) -> None:
    """Show how many lines could not be written, of either log."""
    metrics.watch("log_lines_dropped_total", lambda: log.dropped, "events")
    if access is not None:
        metrics.watch("log_lines_dropped_total", lambda: access.dropped, "access")


def failure(error: BaseException | None) -> dict[str, Field]:
    """Give what may be told of an exception: its class, place and our own words."""
    if error is None:
        return {}
    told = type(error).__qualname__
    if isinstance(error, GatewayError):
        told = f"{told}: {error}"
    frames = [
        f"{frame.f_globals.get('__name__')}:{line} {frame.f_code.co_name}"
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    return {"error": told, "at": frames[-FRAMES:]}


def _json(now: float, level: str, event: str, fields: Mapping[str, Field]) -> bytes:
    moment = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")
    line = {"time": moment, "level": level, "event": event, **fields}
    return json.dumps(line, separators=(",", ":")).encode("ascii") + b"\n"


def _short(now: float, level: str, event: str, fields: Mapping[str, Field]) -> bytes:
    clock = time.strftime("%H:%M:%S", time.localtime(now))
    told = " ".join(f"{name}={value}" for name, value in fields.items())
    line = f"{clock} {level} {event} {told}".rstrip()
    return line.encode("unicode_escape") + b"\n"


def _joined(lines: Sequence[bytes]) -> bytes:
    return b"".join(lines)
