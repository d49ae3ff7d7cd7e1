import array
import fcntl
import os
import select
import signal
import termios
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from gateway.observe.lines import BATCH, LineWriter, Sink


class Pipe:
    """A real pipe: what is written to it can be read, or left."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()

    def fileno(self) -> int:
        return self.writing

    def isatty(self) -> bool:
        return False

    def shrink(self) -> None:
        """Make it as small as a pipe can be: one page."""
        fcntl.fcntl(self.writing, fcntl.F_SETPIPE_SZ, 4096)

    def close_writing(self) -> None:
        os.close(self.writing)
        self.writing = -1

    def close_reading(self) -> None:
        os.close(self.reading)
        self.reading = -1

    def text(self) -> bytes:
        """Give all that was written, once every writer is done."""
        self.close_writing()
        with os.fdopen(self.reading, "rb", closefd=False) as stream:
            return stream.read()

    def close(self) -> None:
        for fd in (self.reading, self.writing):
            if fd >= 0:
                os.close(fd)


@pytest.fixture
def pipe():
    """A pipe that is closed in the end."""
    pipe = Pipe()
    yield pipe
    pipe.close()


def joined(items: Sequence[bytes]) -> bytes:
    """Encode lines that are bytes already."""
    return b"".join(items)


def writer(sink: Sink, **settings: Any) -> LineWriter[bytes]:
    """Make a writer of lines that are bytes already."""
    return LineWriter(sink, encode=joined, weigh=len, **settings)


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait for another thread, as long as a test may take."""
    tick = threading.Event()
    for _ in range(1000):
        if condition():
            return
        tick.wait(0.01)
    pytest.fail("waited in vain")


def test_lines_come_out_in_order(pipe):
    """Several batches, one stream."""
    lines = writer(pipe)
    expected = [b"%d\n" % number for number in range(BATCH * 3 + 1)]
    for line in expected:
        lines.put(line)
    lines.close()

    assert b"".join(expected) == pipe.text()
    assert 0 == lines.dropped


def test_a_line_comes_out_without_a_close(pipe):
    """Whoever follows the log sees a request when it happens."""
    lines = writer(pipe)
    lines.put(b"now\n")
    ready, _, _ = select.select([pipe.reading], [], [], 10)
    lines.close()

    assert ready
    assert b"now\n" == pipe.text()


def test_a_reader_that_stopped_costs_lines_and_no_time(pipe):
    """A full pipe holds the thread, not the caller, and memory stays bounded."""
    pipe.shrink()
    lines = writer(pipe, capacity_bytes=100 * 1000)
    line = b"x" * 999 + b"\n"
    for _ in range(1000):
        lines.put(line)
    dropped = lines.dropped
    lines.close(deadline=0.05)

    assert 890 <= dropped <= 900
    os.read(pipe.reading, 1 << 20)  # lets the thread end


def test_room_comes_back_when_lines_went_out(pipe):
    """What was written no longer counts against the bound."""
    lines = writer(pipe, capacity_bytes=10)
    for _ in range(5):
        wait_for(lambda: lines._taken_bytes == lines._put_bytes)
        lines.put(b"12345678\n")
    lines.close()

    assert b"12345678\n" * 5 == pipe.text()
    assert 0 == lines.dropped


def test_a_closed_output_is_survived(pipe):
    """A pipe whose reader has gone loses lines, counted, and nothing is raised."""
    lines = writer(pipe)
    pipe.close_reading()
    lines.put(b"1\n")
    lines.put(b"2\n")
    lines.close()
    pipe.close_writing()

    assert 2 == lines.dropped


def test_a_full_disk_is_survived():
    """ENOSPC on every write: each line is counted as dropped."""
    with Path("/dev/full").open("wb") as full:
        lines = writer(full)
        lines.put(b"1\n")
        lines.close()

    assert 1 == lines.dropped


def test_its_descriptor_is_its_own(pipe, tmp_path):
    """Closing the sink must not send lines to whoever gets its number next."""
    lines = writer(pipe)
    with (tmp_path / "other").open("wb") as other:
        os.dup2(other.fileno(), pipe.writing)
    lines.put(b"mine\n")
    lines.close()

    assert b"" == (tmp_path / "other").read_bytes()
    assert b"mine\n" == os.read(pipe.reading, 10)


def test_a_non_blocking_output_gets_all_lines(pipe):
    """Somebody else's flag makes the thread wait for room; it drops nothing."""
    pipe.shrink()
    os.set_blocking(pipe.writing, False)
    lines = writer(pipe)
    expected = b"x" * 99 + b"\n"
    for _ in range(200):
        lines.put(expected)
    got = b""
    while len(got) < 200 * 100:
        got += os.read(pipe.reading, 500)
    lines.close()

    assert expected * 200 == got
    assert 0 == lines.dropped


def test_closing_gives_up_at_the_deadline(pipe):
    """An output that takes nothing does not hold the process: the rest is lost."""
    pipe.shrink()
    os.set_blocking(pipe.writing, False)
    lines = writer(pipe)
    for _ in range(10):
        lines.put(b"x" * 999 + b"\n")
    lines.close(deadline=0.05)
    lines._writer.join(10)

    assert not lines._writer.is_alive()
    assert 6 <= lines.dropped <= 9


def test_a_line_after_a_torn_one_begins_anew(tmp_path):
    """A reader that goes in mid-line must not join two records for the next one."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    first = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    with fifo.open("wb") as sink:
        fcntl.fcntl(sink.fileno(), fcntl.F_SETPIPE_SZ, 4096)
        lines = writer(sink)
        lines.put(b"x" * 5000 + b"\n")
        wait_for(lambda: waiting(first) == 4096)
        os.close(first)
        wait_for(lambda: lines.dropped == 1)
        second = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        torn = os.read(second, 5000)
        lines.put(b"whole\n")
        lines.close()

    assert b"x" * 4096 == torn
    assert b"\nwhole\n" == os.read(second, 5000)
    os.close(second)


def waiting(fd: int) -> int:
    """Tell how many bytes can be read from a pipe."""
    count = array.array("i", [0])
    fcntl.ioctl(fd, termios.FIONREAD, count)
    return count[0]


def test_nothing_is_taken_after_the_close(pipe):
    """A late line is dropped and counted."""
    lines = writer(pipe)
    lines.close()
    lines.put(b"late\n")

    assert b"" == pipe.text()
    assert 1 == lines.dropped


def write_many(pipe: Pipe, letter: bytes, *, shared: bool) -> int:
    """Write long lines of one letter from a process of its own; gives its number."""
    pid = os.fork()
    if pid:
        return pid
    lines = writer(pipe, shared=shared)
    for _ in range(100):
        lines.put(letter * 9000 + b"\n")
    lines.close(10)
    os._exit(0)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_processes_that_share_an_output_tear_no_line(pipe):
    """Though the lines are longer than a pipe takes in one piece, and it is full."""
    pipe.shrink()
    writers = [write_many(pipe, letter, shared=True) for letter in (b"a", b"b")]
    lines = pipe.text().splitlines()
    for pid in writers:
        os.waitpid(pid, 0)

    assert [b"a" * 9000] * 100 + [b"b" * 9000] * 100 == sorted(lines)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_who_dies_in_its_turn_leaves_the_others_theirs(pipe):
    """The lock is the kernel's: a killed process holds up nobody."""
    pipe.shrink()
    victim = write_many(pipe, b"a", shared=True)
    assert os.read(pipe.reading, 1)
    os.kill(victim, signal.SIGKILL)
    os.waitpid(victim, 0)
    heir = write_many(pipe, b"b", shared=True)
    lines = pipe.text().splitlines()
    os.waitpid(heir, 0)

    assert 99 == lines.count(b"b" * 9000)
