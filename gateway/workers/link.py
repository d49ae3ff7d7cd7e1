"""What the parent and a worker say to each other. Floor 5.

Over a socketpair go frames: four bytes of length, then one msgspec message. A question
has a positive number, and its answer the same one, negative. Rules of this room:

- every question has a deadline; an answer that comes later is nobody's any more;
- no message is longer than `LIMIT_BYTES`, and no more waits to be sent to a peer that
  does not read;
- what is said first is heard first: a question that only writes something down is done
  before the next one is looked at;
- the end of the stream is news: the other process is gone.

Tokens pass here, between two processes of one gateway and nowhere else; no message is
ever printed.
"""

import asyncio
import contextlib
import itertools
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import msgspec

from gateway.errors import (
    ConfigError,
    GatewayError,
    ProviderUnavailable,
    StoreUnavailable,
)
from gateway.tasks import spawn
from gateway.values import Mark, MarkKind

LIMIT_BYTES: Final = 64 * 1024 * 1024
"""A hundred thousand marks, or the metrics of ten thousand busy routes, are below."""

_LENGTH_BYTES: Final = 4


class LinkLost(GatewayError):
    """The other process did not answer: it is gone, hung, or speaks too much."""


# ----------------------------------------------------------------------- questions


class Build(msgspec.Struct, frozen=True, tag=True):
    """To a worker: make everything that serves this configuration; open no door yet.

    `document` is the configuration as it was read by the parent: a successor serves
    by the rules its siblings serve by, whatever has become of the file.
    """

    document: Any
    base: str


class Prepare(msgspec.Struct, frozen=True, tag=True):
    """To a worker: make and prove what serves another configuration, as in `Build`.

    What is in force goes on; `Adopt` or `Discard` follows.
    """

    document: Any
    base: str


class Adopt(msgspec.Struct, frozen=True, tag=True):
    """To a worker: serve by what was prepared from now on."""


class Discard(msgspec.Struct, frozen=True, tag=True):
    """To a worker: let go of what was prepared."""


class Open(msgspec.Struct, frozen=True, tag=True):
    """To a worker: put the marks in force that there are, then let clients in."""

    marks: tuple[Mark, ...]


class Explain(msgspec.Struct, frozen=True, tag=True):
    """To a worker: tell what would become of a request."""

    method: str
    url: str
    headers: dict[str, str]
    token: str | None


class Expiry(msgspec.Struct, frozen=True, tag=True):
    """To a worker: tell the `exp` of a token, if it is at hand."""

    provider: str
    token: str


class Keep(msgspec.Struct, frozen=True, tag=True):
    """To the other side: put a mark in force; the facts of `token` may go."""

    mark: Mark
    token: str | None = None


class Lift(msgspec.Struct, frozen=True, tag=True):
    """To the other side: end a mark."""

    kind: MarkKind
    provider: str
    name: str


class Scrape(msgspec.Struct, frozen=True, tag=True):
    """To a worker: tell the metrics."""


class Recall(msgspec.Struct, frozen=True, tag=True):
    """To a worker: tell the last exchanges."""


class Show(msgspec.Struct, frozen=True, tag=True):
    """To a worker: give a picture of itself, for the admin listener."""


class Look(msgspec.Struct, frozen=True, tag=True):
    """To a worker: tell which parts are well; that there is an answer says most."""


class Drain(msgspec.Struct, frozen=True, tag=True):
    """To a worker: end in good order. `hurry` waits for nobody."""

    hurry: bool = False


Question = (
    Build
    | Prepare
    | Adopt
    | Discard
    | Open
    | Explain
    | Expiry
    | Keep
    | Lift
    | Scrape
    | Recall
    | Show
    | Look
    | Drain
)

# ------------------------------------------------------------------------- answers


class Done(msgspec.Struct, frozen=True, tag=True):
    """It was done; `told` is what was asked for, if anything was."""

    told: Any = None


class Failed(msgspec.Struct, frozen=True, tag=True):
    """It could not be done."""

    why: str
    told: tuple[str, ...] = ()


_FAILURES: Final[dict[str, type[Exception]]] = {
    "lookup": LookupError,
    "store": StoreUnavailable,
    "provider": ProviderUnavailable,
    "failed": GatewayError,
}


class _Frame(msgspec.Struct, frozen=True, array_like=True):
    number: int
    body: Question | Done | Failed


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(_Frame)

Told = TypeVar("Told")


class Link:
    """One end of the socketpair. `respond` does what the other side asks for."""

    def __init__(
        self,
        end: socket.socket,
        respond: Callable[[Question], Awaitable[object]],
        *,
        limit_bytes: int = LIMIT_BYTES,
    ) -> None:
        self._end = end
        self._respond = respond
        self._limit = limit_bytes
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Done | Failed]] = {}
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    def __repr__(self) -> str:
        state = "lost" if self.lost else "open"
        return f"<Link: {state}, {len(self._waiting)} waiting>"

    @property
    def lost(self) -> bool:
        """Tell whether nobody is at the other end (any more)."""
        return self._writer is None

    async def open(self) -> None:
        """Make it ready to be spoken through."""
        self._reader, self._writer = await asyncio.open_unix_connection(sock=self._end)

    async def ask(self, question: Question, shape: type[Told], within: float) -> Told:
        """Give the answer, converted to `shape`; raises what the other side failed with.

        Raises `LinkLost` when there is no answer within so many seconds.
        """
        return msgspec.convert(await self._answered(question, within), shape)

    async def tell(self, question: Question, within: float) -> None:
        """Wait until it is done; raises as `ask` does."""
        await self._answered(question, within)

    async def _answered(self, question: Question, within: float) -> object:
        number = next(self._numbers)
        answer = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            self._send(number, question)
            async with asyncio.timeout(within):
                told = await answer
        except TimeoutError:
            raise LinkLost("no answer in time") from None
        finally:
            del self._waiting[number]
        if isinstance(told, Failed):
            raise _failure(told)
        return told.told

    async def listen(self) -> None:
        """Hear the other side out; returns when it is gone."""
        try:
            while self._reader is not None:
                length = int.from_bytes(await self._reader.readexactly(_LENGTH_BYTES))
                if length > self._limit:
                    break
                self._take(_decoder.decode(await self._reader.readexactly(length)))
        except (asyncio.IncompleteReadError, OSError, msgspec.DecodeError):
            pass  # Gone, or one of us talks nonsense: the end of the talk in any case.
        finally:
            self.close()

    def close(self) -> None:
        """Hang up; whoever waits for an answer is told."""
        if self._writer is None:
            self._end.close()
            return
        self._writer.close()
        self._writer = None
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(LinkLost("the other process is gone"))

    def _take(self, frame: _Frame) -> None:
        if not isinstance(frame.body, Done | Failed):
            # Begun in the order of arrival: a task's first step is before the next's.
            _ = spawn(self._answer(frame.number, frame.body), name="link-answer")
            return
        answer = self._waiting.get(-frame.number)
        if answer is not None and not answer.done():
            answer.set_result(frame.body)

    async def _answer(self, number: int, question: Question) -> None:
        told: Done | Failed
        try:
            told = Done(await self._respond(question))
        except ConfigError as error:
            told = Failed("config", tuple(error.problems))
        except (GatewayError, LookupError) as error:
            told = Failed(_reason(error), (str(error),))
        # Who asked must not wait for its deadline; the crash is reported as ever.
        except Exception:
            self._try(-number, Failed("failed", ("it crashed; its log tells where",)))
            raise
        try:
            self._send(-number, told)
        except LinkLost as error:
            self._try(-number, Failed("failed", (str(error),)))

    def _try(self, number: int, body: Failed) -> None:
        with contextlib.suppress(LinkLost):
            self._send(number, body)

    def _send(self, number: int, body: Question | Done | Failed) -> None:
        if self._writer is None:
            raise LinkLost("the other process is gone")
        data = _encoder.encode(_Frame(number, body))
        waiting = self._writer.transport.get_write_buffer_size()
        if len(data) + waiting > self._limit:
            raise LinkLost("there is too much to say")
        self._writer.write(len(data).to_bytes(_LENGTH_BYTES) + data)


def _reason(error: Exception) -> str:
    return next(why for why, kind in _FAILURES.items() if isinstance(error, kind))


def _failure(failed: Failed) -> Exception:
    if failed.why == "config":
        return ConfigError(list(failed.told))
    return _FAILURES[failed.why](*failed.told)
