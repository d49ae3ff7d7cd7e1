"""Several servers behind one gateway: one dies, others are found in other ways."""

import contextlib
import http.client
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from tests.functional.harness import Gateway, eventually, free_ports, running

SERVER = """
import asyncio, sys, ssl

name, *place = sys.argv[1:]

async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\\r\\n\\r\\n")
            host = [line for line in head.split(b"\\r\\n") if line[:5].lower() == b"host:"]
            body = name.encode() + b" " + host[0][5:].strip()
            writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + body)
    except (ConnectionError, asyncio.IncompleteReadError):
        writer.close()

async def main():
    if len(place) == 1 and place[0].startswith("/"):
        server = await asyncio.start_unix_server(serve, place[0])
    else:
        port, *files = place
        tls = None
        if files:
            tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=files[0])
            tls.verify_mode = ssl.CERT_REQUIRED
            tls.load_cert_chain(files[1])
        server = await asyncio.start_server(serve, "127.0.0.1", int(port), ssl=tls)
    print("up", flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


@contextmanager
def serving(name: str, *place: str) -> Iterator[subprocess.Popen[str]]:
    """Run a server in a process of its own; it answers with its name and the host."""
    with subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", SERVER, name, *place], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        try:
            yield process
        finally:
            process.kill()


class Load:
    """Clients that ask without a pause, on kept connections, until told to stop."""

    def __init__(self, port: int, clients: int) -> None:
        self._port = port
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]
        self.answers: list[tuple[int, bytes]] = []
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        line = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        with contextlib.closing(line):
            while not self._stop.is_set():
                line.request("GET", "/pair/", headers={"Host": "any.example"})
                response = line.getresponse()
                self.answers.append((response.status, response.read()))

    def more(self, count: int) -> None:
        """Wait for so many more answers."""
        wanted = len(self.answers) + count
        eventually(lambda: len(self.answers) >= wanted)

    def stop(self) -> list[tuple[int, bytes]]:
        """End it; give what it heard."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        return self.answers


def route(name: str) -> str:
    """Write a public route to an upstream of the same name."""
    match = f'{{path: "/{name}/**"}}'
    return f"  - {{id: {name}, match: {match}, access: public, upstream: {name}}}\n"


def ask(gateway: Gateway, name: str) -> tuple[int, bytes]:
    """Ask an upstream once."""
    answer = gateway.ask("GET", f"/{name}/")
    return answer.status, answer.body


@pytest.mark.parametrize("watched", [False, True])
def test_one_of_two_dies_under_load_and_nobody_notices(start_lab, watched):
    """Requests that may be repeated never fail; when it is back it serves again."""
    one, other, *_ = free_ports()
    health = ", health: {path: /up, interval: 200ms, timeout: 1s}" if watched else ""
    text = (
        f'upstreams:\n  pair: {{targets: ["http://127.0.0.1:{one}",'
        f' "http://127.0.0.1:{other}"]{health}}}\nroutes:\n{route("pair")}'
    )
    dying = {"upstream": "pair", "target": f"http://127.0.0.1:{one}"}
    with (
        serving("stays", str(other)),
        running(start_lab(text)) as gateway,
    ):
        with serving("dies", str(one)) as process:
            load = Load(gateway.ports.proxy, 6)
            load.more(500)
            process.send_signal(signal.SIGKILL)
            process.wait()
        load.more(500)
        state = "unwell" if watched else "ejected"
        eventually(lambda: gateway.metric("upstream_addresses", **dying, state=state))
        with serving("back", str(one)):
            eventually(lambda: (200, b"back any.example") in load.answers[-50:])
            heard = load.stop()

        assert {200} == {status for status, _ in heard}
        assert {"dies", "stays", "back"} == {
            body.decode().split()[0] for _, body in heard
        }
        assert gateway.metric("upstream_addresses", **dying, state="serving")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """An authority, a server's certificate for a name, and a client's."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    server = authority.issue_cert("inside.example")
    server.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    client = authority.issue_cert("gateway.example")
    client.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    client.private_key_pem.write_to_path(tmp_path / "key.pem")
    return tmp_path


def test_upstreams_are_found_by_name_by_path_and_behind_tls(start_lab, files):
    """One gateway, every kind of target; a name that nobody knows is a 502."""
    plain, secure, *_ = free_ports()
    path = str(files / "app.sock")
    text = f"""\
upstreams:
  named: {{targets: ["dns:http://localhost:{plain}"], resolve_interval: 100ms}}
  unknown: {{targets: ["dns:http://no-such-name.invalid:80"], resolve_interval: 100ms}}
  socket: {{targets: ["unix:{path}"], host: app.internal}}
  secure:
    targets: ["https://127.0.0.1:{secure}"]
    ca_file: {files}/ca.pem
    client_cert: {files}/cert.pem
    client_key: {files}/key.pem
    server_name: inside.example
  nameless: {{targets: ["https://127.0.0.1:{secure}"], ca_file: {files}/ca.pem}}
routes:
"""
    text += "".join(map(route, ("named", "unknown", "socket", "secure", "nameless")))
    pem = [str(files / "ca.pem"), str(files / "server.pem")]
    with (
        serving("named", str(plain)),
        serving("socket", path),
        serving("secure", str(secure), *pem),
        running(start_lab(text)) as gateway,
    ):
        assert (200, b"named any.example") == ask(gateway, "named")
        assert (200, b"socket app.internal") == ask(gateway, "socket")
        assert (200, b"secure any.example") == ask(gateway, "secure")
        assert 502 == ask(gateway, "nameless")[0]
        assert 502 == ask(gateway, "unknown")[0]
        lost = {"target": "dns:http://no-such-name.invalid:80"}
        assert gateway.metric("upstream_resolution_failures_total", **lost) >= 1
