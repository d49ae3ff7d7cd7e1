import os
import socket
import sys

import pytest

from tests.benchmarks.processes import (
    Cores,
    DidNotStart,
    Process,
    Stat,
    family,
    free_ports,
    parse_core,
    parse_stat,
)

STAT = (
    "42 (a (b) c) S 7 42 42 0 -1 4194560 10 20 0 0 150 50 3 4 20 0 1 0 1234"
    " 9999999 256 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 0"
)
CORES = (
    "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 100 20 30 5000 600 1 2 47 0 0\ncpu10 7 0\nintr 5"
)
LISTEN = """
import socket, sys, os
if len(sys.argv) > 2: os.fork()
line = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True: line.accept()[0].sendall(b"HTTP/1.1 200 OK")
"""


def stat(parent: int) -> Stat:
    """Make a stat that tells only the parent."""
    return Stat(parent, 0.0, 0)


def test_stat_of_a_process_with_a_strange_name_is_read():
    """The name is in parentheses and may have some of its own."""
    found = parse_stat(STAT)

    assert 7 == found.parent
    assert 200 / os.sysconf("SC_CLK_TCK") == found.cpu_seconds
    assert 256 * os.sysconf("SC_PAGE_SIZE") == found.rss_bytes


def test_busy_time_of_one_core_leaves_out_waiting():
    """Neither idle nor waiting for I/O; a hypervisor's theft counts."""
    assert 200 / os.sysconf("SC_CLK_TCK") == parse_core(CORES, "0")


def test_core_that_is_not_there_is_an_error():
    """A missing line must not read as an idle core."""
    with pytest.raises(ValueError, match="core 1"):
        parse_core(CORES, "1")


def test_family_is_a_process_and_all_below():
    """Workers of workers count, strangers do not, and who ended is left out."""
    stats = {1: stat(0), 5: stat(1), 6: stat(5), 7: stat(6), 8: stat(1)}

    assert {5, 6, 7} == family(5, stats)
    assert set() == family(9, stats)


def test_free_ports_are_different_and_free():
    """They lie below those that outgoing connections are given."""
    found = free_ports(20)

    assert 20 == len(set(found))
    assert all(20_000 <= port < 32_000 for port in found)


needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@needs_linux
def test_process_is_pinned_weighed_and_ended_with_its_children(tmp_path):
    """Of what was started nothing is left, children included."""
    (port,) = free_ports(1)
    command = [sys.executable, "-c", LISTEN, str(port), "fork"]
    process = Process(command, cores=Cores.here().measured, log=tmp_path / "it.log")
    try:
        assert 0 < process.answers(port) < 30
        assert process.rss_bytes() > 1 << 20
        assert process.cpu_seconds() >= 0
    finally:
        process.stop()
        process.stop()

    assert (0.0, 0) == (process.cpu_seconds(), process.rss_bytes())
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)


@needs_linux
def test_process_that_ends_at_once_has_its_last_words_told(tmp_path):
    """Whoever reads of it has to know what to mend."""
    (port,) = free_ports(1)
    command = [sys.executable, "-c", "raise SystemExit('no such setting')"]
    process = Process(command, cores=Cores.here().measured, log=tmp_path / "it.log")

    with pytest.raises(DidNotStart, match="no such setting"):
        process.answers(port)
    process.stop()


@needs_linux
def test_measured_core_has_been_busy():
    """The whole system's clock of a core goes on."""
    assert Cores.here().busy_seconds() > 0
