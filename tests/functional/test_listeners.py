"""Real clients at the clients' door: curl and OpenSSL, TLS, sockets, PROXY headers."""

import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.functional.harness import (
    ADMIN_TOKEN,
    Gateway,
    command,
    eventually,
    free_ports,
    running,
)
from tests.functional.lab import MIB, PIECE, Laboratory, config, digest, sign
from tests.wire.pki import Pki

CURL, OPENSSL = (shutil.which(name) or "" for name in ("curl", "openssl"))

pytestmark = pytest.mark.skipif(
    not (CURL and OPENSSL), reason="curl and openssl are not installed"
)


def tool(*words: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a foreign command to its end."""
    return subprocess.run(  # noqa: S603 -- the test's own words
        words, input=given, capture_output=True, timeout=30, check=False
    )


class Place:
    """A gateway with a door of the test's own."""

    def __init__(self, gateway: Gateway, pki: Pki, socket: Path) -> None:
        self.gateway = gateway
        self.pki = pki
        self.socket = socket

    @property
    def url(self) -> str:
        """Where clients come by TLS; the name is the certificate's."""
        return f"https://localhost:{self.gateway.ports.proxy}"

    def curl(
        self, url: str, *words: str, given: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]:
        """Ask with a good token; the address is ours whatever the resolver says."""
        there = f"localhost:{self.gateway.ports.proxy}:127.0.0.1"
        always = ("-sS", "--max-time", "20", "--noproxy", "*", "--resolve", there)
        trust = ("--cacert", str(self.pki.ca))
        bearer = ("-H", f"Authorization: Bearer {sign()}")
        return tool(CURL, *always, *trust, *bearer, *words, url, given=given)

    def handshake(self, *words: str) -> str:
        """Shake hands with OpenSSL; gives what it says of it."""
        there = f"127.0.0.1:{self.gateway.ports.proxy}"
        trust = ("-CAfile", str(self.pki.ca), "-servername", "localhost")
        done = tool(OPENSSL, "s_client", "-connect", there, *trust, *words)
        return (done.stdout + done.stderr).decode(errors="replace")


Opener = Callable[[str], Place]


@contextmanager
def served(build: Opener, listen: str) -> Iterator[Place]:
    """Run it; in the end it leaves in good order."""
    place = build(listen)
    with running(place.gateway):
        yield place


@pytest.fixture
def folder():
    """Near the root: the path of a socket is short."""
    with tempfile.TemporaryDirectory(prefix="gateway-") as name:
        yield Path(name)


@pytest.fixture
def build(folder, lab):
    """Build a gateway that listens as told; `{…}` names the files there are."""
    return builder(folder, lab)


@pytest.fixture(scope="module")
def secure(lab, tmp_path_factory):
    """A gateway with TLS, for all tests that ask for no more."""
    build = builder(tmp_path_factory.mktemp("tls"), lab)
    with served(build, "proxy: {port}, tls: {{{files}}}") as place:
        yield place


def builder(folder: Path, lab: Laboratory) -> Opener:
    """Make what builds gateways in a folder."""
    pki, ports, socket = Pki(folder), free_ports(), folder / "proxy.sock"

    def build(listen: str) -> Place:
        files = f"certificate: {pki.certificate}, key: {pki.key}"
        told = listen.format(
            port=f'"127.0.0.1:{ports.proxy}"',
            socket=f'"unix:{socket}"',
            files=files,
            ca=pki.ca,
        )
        (folder / "lab.yaml").write_text(
            "version: 1\n"
            f'listen: {{{told}, status: "127.0.0.1:{ports.status}",'
            f' admin: "127.0.0.1:{ports.admin}"}}\n'
            "secret: a-secret-of-the-functional-tests-0123456789\n"
            f"admin: {{token: {ADMIN_TOKEN}}}\n" + config(lab)
        )
        arguments = ["run", "-c", "lab.yaml"]
        gateway = Gateway(arguments, ports=ports, environ={**os.environ}, folder=folder)
        return Place(gateway, pki, socket)

    return build


# ------------------------------------------------------------------------------ TLS


def test_curl_downloads_and_uploads_through_tls(secure):
    """Whole, with a verified certificate, in HTTP/1.1 though curl prefers HTTP/2."""
    told = "%{stderr}%{http_version} %{ssl_verify_result} %{http_code}"
    down = secure.curl(f"{secure.url}/bulk/24", "--http2", "-w", told)
    up = secure.curl(f"{secure.url}/bulk/upload", "-T", "-", given=PIECE * 8)

    assert (b"1.1 0 200", 24 * MIB) == (down.stderr, len(down.stdout))
    assert digest(24) == hashlib.sha256(down.stdout).hexdigest()
    assert digest(8).encode() in up.stdout


def test_a_refused_request_is_answered_through_tls(secure):
    """And the connection goes on."""
    told = ("-w", "%{http_code} %{num_connects}\n", "-o", os.devnull)
    url = f"{secure.url}/partners"
    done = secure.curl(url, *told, url, *told)

    assert [b"403 1", b"403 0"] == done.stdout.split(b"\n")[:2]


@pytest.mark.parametrize(
    ("offered", "said"),
    [
        (("-alpn", "h2,http/1.1"), "ALPN protocol: http/1.1"),
        (("-alpn", "h2"), "No ALPN negotiated"),
        (("-tls1_3",), "TLSv1.3"),
        (("-tls1_2",), "TLSv1.2"),
    ],
)
def test_openssl_agrees_with_us(secure, offered, said):
    """On HTTP/1.1 and on the versions of TLS that are any good."""
    heard = secure.handshake(*offered)

    assert said in heard
    assert "Verify return code: 0 (ok)" in heard
    assert "Compression: NONE" in heard


def test_what_is_no_good_tls_is_refused_and_counted(secure):
    """RFC 8996; and HTTP in the clear hears nothing."""
    before = secure.gateway.metric("connections_refused_total", reason="handshake")
    heard = secure.handshake("-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
    plain = secure.curl(secure.url.replace("https", "http"))
    after = secure.gateway.metric("connections_refused_total", reason="handshake")

    assert "Cipher is (NONE)" in heard
    assert (b"", True) == (plain.stdout, plain.returncode != 0)
    assert 2 == after - before


def test_a_client_certificate_is_asked_for(build, folder):
    """And whoever has none hears nothing."""
    demanded = "client_ca: {ca}, client_certificates: required"
    listen = "proxy: {port}, tls: {{{files}, " + demanded + "}}"
    with served(build, listen) as place:
        issued = place.pki.authority.issue_cert("client.example")
        shown = folder / "client.pem"
        issued.private_key_and_cert_chain_pem.write_to_path(str(shown))
        url = f"{place.url}/music/a"
        known = place.curl(url, "--cert", str(shown))
        stranger = place.curl(url)

    assert b"here" == known.stdout
    assert (b"", True) == (stranger.stdout, stranger.returncode != 0)


def test_a_renewed_certificate_is_served_without_a_restart(build, folder):
    """As kubelet renews: `..data` leads elsewhere, and no file is written to."""
    for name in ("old", "new"):
        (folder / name).mkdir()
    old, new = (Pki(folder / name) for name in ("old", "new"))
    data = folder / "..data"
    data.symlink_to("old")
    pair = f"certificate: {data}/tls.crt, key: {data}/tls.key"
    with served(build, f"proxy: {{port}}, tls: {{{{{pair}}}}}") as place:
        place.pki = old
        assert b"here" == place.curl(f"{place.url}/music/a").stdout
        (folder / "..data_tmp").symlink_to("new")
        (folder / "..data_tmp").rename(data)
        place.pki = new

        eventually(lambda: place.curl(f"{place.url}/music/a").stdout == b"here")
        assert 1 == place.gateway.metric("tls_last_reload_successful")
    assert '"event":"certificate_renewed"' in place.gateway.said()


def test_a_key_that_does_not_fit_is_told_by_the_check(build, folder):
    """With file and line, and before anything is opened."""
    place = build("proxy: {port}, tls: {{{files}}}")
    place.gateway.kill()
    other = place.pki.authority.issue_cert("localhost")
    other.private_key_pem.write_to_path(str(place.pki.key))
    told = command("check", "-c", "lab.yaml", folder=folder)

    assert 0 != told.returncode
    assert "lab.yaml:2: listen.tls: expected a certificate and the key" in (
        told.stdout + told.stderr
    )


# ---------------------------------------------------------------------- Unix sockets


def test_curl_comes_by_a_unix_domain_socket(build):
    """Its address is none; in the end nothing is left of the socket."""
    with served(build, "proxy: {socket}") as place:
        by = ("--unix-socket", str(place.socket))
        told = place.curl("http://any.example/bulk/8", *by)
        assert place.socket.is_socket()

    assert digest(8) == hashlib.sha256(told.stdout).hexdigest()
    assert ["unix"] == [each["client.address"] for each in place.gateway.exchanges()]
    assert not place.socket.exists()


def test_a_killed_gateway_leaves_a_socket_that_the_next_one_replaces(build):
    """While it lives, nobody does."""
    first = build("proxy: {socket}")
    first.gateway.await_ready()
    by = ("--unix-socket", str(first.socket))
    assert b"here" == first.curl("http://any.example/music/a", *by).stdout
    first.gateway.signal(signal.SIGKILL)
    first.gateway.wait()
    assert first.socket.is_socket()
    with served(build, "proxy: {socket}") as second:
        told = second.curl("http://any.example/music/a", *by)

        assert b"here" == told.stdout


# -------------------------------------------------------------------- PROXY protocol


@pytest.mark.parametrize("secure", [True, False])
def test_curl_speaks_for_a_client(build, secure):
    """Before TLS too; without the header it hears nothing."""
    pair = ", tls: {{{files}}}" if secure else ""
    listen = "proxy: {port}, proxy_protocol: [127.0.0.0/8]" + pair
    with served(build, listen) as place:
        url = f"{place.url}/music/a"
        url = url if secure else url.replace("https", "http")
        told = place.curl(url, "--haproxy-protocol")
        without = place.curl(url)

        assert b"here" == told.stdout
        assert (b"", True) == (without.stdout, without.returncode != 0)
        assert 1 == place.gateway.metric(
            "connections_refused_total", reason="proxy_header"
        )


def test_curl_is_refused_where_nobody_speaks_for_others(build):
    """Its first line is no request."""
    with served(build, "proxy: {port}") as place:
        url = place.url.replace("https", "http")
        told = place.curl(f"{url}/music/a", "--haproxy-protocol", "-i")

    assert told.stdout.startswith(b"HTTP/1.1 400 ")
