"""Write lines without ever making the event loop wait. Floor 4.

`put` costs the loop one append; a thread of our own turns items into bytes and writes
them. A pipe that nobody reads, a full disk or a closed output cost lines, which are
counted, and never a request. What waits is bounded in bytes.

Why a thread and not a non-blocking descriptor: that flag belongs to the open file,
which a terminal or the parent process may share. Why items and not finished lines:
one call encodes a whole batch in C, so the interpreter lock is held for microseconds.

Where processes share an output they take turns, by a lock on the output itself: a
pipe that is full takes the bytes of several writers in any order, and of what is
longer than PIPE_BUF (4 KiB, and a path alone may be 8) in pieces. The lock is the
kernel's, so it dies with its holder. Why not one process that writes for all: it
would be in the way of every line, and its death the end of what others still tell.
"""

import contextlib
import fcntl
import os
import select
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import Final, Generic, Protocol, TypeVar

BATCH: Final = 32
"""Items encoded at once: while that lasts, the loop waits for the interpreter lock."""

LINGER: Final = 0.01
"""After a batch that took all there was, let lines gather for so many seconds.

Five times as long, and what gathers keeps the loop from a core for so long, again and
again, that the slowest hundredth of requests takes half as long again.
"""

CAPACITY_BYTES: Final = 8 * 1024 * 1024

Item = TypeVar("Item")


class Sink(Protocol):
    """Where lines go: an open file with a descriptor, such as `sys.stdout`."""

    def fileno(self) -> int:
        """Give the descriptor."""
        ...

    def isatty(self) -> bool:
        """Tell whether a person is looking."""
        ...


class LineWriter(Generic[Item]):
    """A bounded queue of items and the thread that writes them as lines.

    `encode` is total and gives whole lines; `weigh` says how many bytes an item
    holds while it waits; `shared` tells that other processes write to `sink` too.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        encode: Callable[[Sequence[Item]], bytes],
        weigh: Callable[[Item], int],
        capacity_bytes: int = CAPACITY_BYTES,
        shared: bool = False,
    ) -> None:
        # Our own descriptor: a number that somebody closed may become a socket's.
        self._fd = os.dup(sink.fileno())
        self._encode = encode
        self._weigh = weigh
        self._capacity = capacity_bytes
        self._shared = shared
        self._items: SimpleQueue[Item | None] = SimpleQueue()
        # Each count has one writer: the loop has the first two, the thread the others.
        self._put_bytes = 0
        self._refused = 0
        self._taken_bytes = 0
        self._lost = 0
        self._torn = False
        self._give_up = threading.Event()
        self._writer = threading.Thread(
            target=self._work, name="gateway-lines", daemon=True
        )
        self._writer.start()

    @property
    def dropped(self) -> int:
        """How many lines were not written, for want of room or of an output."""
        return self._refused + self._lost

    def put(self, item: Item) -> None:
        """Hand over an item; when there is no room it is dropped and counted."""
        weight = self._weigh(item)
        if self._put_bytes + weight - self._taken_bytes > self._capacity:
            self._refused += 1
            return
        self._put_bytes += weight
        self._items.put(item)

    def close(self, deadline: float = 2.0) -> None:
        """Write what waits, for `deadline` seconds at most; blocks its caller."""
        self._capacity = 0
        self._items.put(None)
        self._writer.join(deadline)
        self._give_up.set()

    def _work(self) -> None:
        batch = self._batch()
        while batch[-1] is not None:
            self._write([item for item in batch if item is not None])
            if len(batch) < BATCH:
                time.sleep(LINGER)
            batch = self._batch()
        self._write([item for item in batch if item is not None])
        os.close(self._fd)

    def _batch(self) -> list[Item | None]:
        """Wait for one item and take what is there; a None ends it all."""
        batch = [self._items.get()]
        try:
            while batch[-1] is not None and len(batch) < BATCH:
                batch.append(self._items.get_nowait())
        except Empty:
            pass
        return batch

    def _write(self, items: list[Item]) -> None:
        lines = self._encode(items)
        with self._turn():
            rest = self._push(b"\n" + lines if self._torn else lines)
        self._lost += min(rest.count(b"\n"), len(items))
        self._taken_bytes += sum(map(self._weigh, items))

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Have a shared output for ourselves."""
        if not self._shared:
            yield
            return
        with contextlib.suppress(OSError):  # a system that knows no locks on pipes
            fcntl.lockf(self._fd, fcntl.LOCK_EX)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                fcntl.lockf(self._fd, fcntl.LOCK_UN)

    def _push(self, lines: bytes) -> bytes:
        """Write all of `lines`, or as much as can be; give what could not."""
        rest = lines
        while rest and not self._give_up.is_set():
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:  # somebody else set the flag
                select.select((), (self._fd,), (), 0.1)
            except OSError:
                break
        if sent := lines[: len(lines) - len(rest)]:
            # The next line must not begin in the middle of this one.
            self._torn = not sent.endswith(b"\n")
        return rest
