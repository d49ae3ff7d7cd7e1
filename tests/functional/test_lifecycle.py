"""How the process begins and ends: clear words, no cut song, exit codes."""

import http.client
import signal
import socket
import time

import pytest

from tests.functional.harness import (
    bearer,
    connect,
    eventually,
    free_ports,
    head,
    read_answer,
    running,
)
from tests.functional.lab import MIB, PIECE, config, sign


@pytest.fixture
def ending(start_lab, lab):
    """A gateway of the test's own, which the test will end."""
    lab.wait()
    with running(start_lab(config(lab))) as gateway:
        yield gateway
    lab.go()


@pytest.fixture
def download(ending):
    """A download whose second half is still to come."""
    with connect(ending.ports.proxy) as line:
        line.sendall(head("GET", "/bulk/halves", "lab", [bearer(sign())]))
        response = http.client.HTTPResponse(line)
        response.begin()
        assert PIECE == response.read(MIB)
        yield response
        response.close()


def refuses(port: int) -> bool:
    """Tell whether nobody takes connections there."""
    try:
        connect(port).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_signal_lets_a_download_finish(ending, download, lab):
    """Not ready, no new connections, the song to its end, exit code 0."""
    ending.signal(signal.SIGTERM)
    eventually(lambda: ending.status("/readyz").status == 503)
    eventually(lambda: refuses(ending.ports.proxy))
    assert ending.process.poll() is None
    begun = time.monotonic()
    lab.go()

    assert PIECE == download.read()
    assert 0 == ending.wait()
    # Not at the drain's deadline, though the client keeps its end open.
    assert time.monotonic() - begun < 5
    (exchange,) = ending.exchanges()
    assert (200, 2 * MIB, "") == (
        exchange["http.response.status_code"],
        exchange["http.response.body.size"],
        exchange["gateway.failure"],
    )


def test_a_second_signal_does_not_wait(ending, download):
    """What still runs is cut, visibly."""
    ending.signal()
    eventually(lambda: ending.status("/readyz").status == 503)
    ending.signal()

    assert 0 == ending.wait()
    with pytest.raises((ConnectionError, http.client.IncompleteRead)):
        download.read()


def test_who_only_keeps_a_connection_does_not_hold_up_the_end(ending):
    """Ctrl-C: idle connections are closed, and who leaves is not waited for."""
    with connect(ending.ports.proxy) as idle, connect(ending.ports.proxy) as busy:
        idle.sendall(head("GET", "/page/x", "lab", [bearer(sign())]))
        assert 200 == read_answer(idle).status
        busy.sendall(head("GET", "/bulk/never", "lab", [bearer(sign())]))
        eventually(lambda: ending.metric("http_requests_in_flight") == 1)
        begun = time.monotonic()
        ending.signal(signal.SIGINT)

        assert b"" == idle.recv(1)
        busy.close()
        assert 0 == ending.wait()

    assert time.monotonic() - begun < 5


def test_a_busy_port_is_told_as_one(start_lab, lab):
    """Which listener, which address, and what to do: exit code 1, no traceback."""
    ports = free_ports()
    with socket.create_server(("127.0.0.1", ports.proxy)):
        gateway = start_lab(config(lab), ports)
        try:
            assert 1 == gateway.wait()
        finally:
            gateway.kill()

    printed = gateway.printed()[1]
    address = f"127.0.0.1:{ports.proxy}"
    assert f"\ngateway: listen.proxy: cannot listen on {address}: " in f"\n{printed}"
    assert "the port is in use" in printed
    assert "Traceback" not in printed


def test_it_idles_on_little(gateway, lab_gateway):
    """What a sidecar costs before its first request.

    80 MiB, and 3 that redis-py takes where OpenTelemetry is installed, as it is here.
    """
    assert 0 < gateway.fresh_bytes < 83 * MIB
    assert 0 < lab_gateway.fresh_bytes < 83 * MIB


def test_the_probes_of_a_running_gateway(gateway):
    """Alive, started, ready; and nothing else is there."""
    told = {
        path: gateway.status(path).status
        for path in ("/livez", "/startupz", "/readyz", "/metrics", "/", "/api/explain")
    }

    assert {
        "/livez": 200,
        "/startupz": 200,
        "/readyz": 200,
        "/metrics": 200,
        "/": 404,
        "/api/explain": 404,
    } == told
