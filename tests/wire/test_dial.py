"""Proves at real sockets that connections are what they should be, TLS above all."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from gateway.errors import UpstreamUnavailable
from gateway.values import Origin, UpstreamSettings, UpstreamTls
from gateway.wire.dial import DIAL_ERRORS, Dialler
from gateway.wire.targets import Target
from gateway.wire.upstream import UpstreamConnection
from tests.wire.harness import HandLoop, turns


class Nobody:
    """A `Keeper` that keeps nothing."""

    def give_back(self, connection: UpstreamConnection) -> None:
        """Never called."""

    def gone(self, connection: UpstreamConnection) -> None:
        """Nothing to do."""


class Server:
    """A silent server, and what its sessions were like."""

    def __init__(self) -> None:
        self.port = 0
        self.names: list[str | None] = []
        self.writers: list[asyncio.StreamWriter] = []

    async def accept(self, reader, writer) -> None:
        self.writers.append(writer)
        with contextlib.suppress(OSError):
            await reader.read()
        writer.close()

    def peer(self) -> dict[str, Any] | None:
        """Give the certificate that the client showed."""
        found: dict[str, Any] | None = self.writers[-1].get_extra_info("peercert")
        return found

    def on_name(self, session: object, name: str | None, context: object) -> None:
        """Take down what SNI said."""
        self.names.append(name)


@asynccontextmanager
async def serving(tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """Listen on loopback."""
    house = Server()
    if tls is not None:
        tls.sni_callback = house.on_name
    server = await asyncio.start_server(house.accept, "127.0.0.1", 0, ssl=tls)
    house.port = server.sockets[0].getsockname()[1]
    try:
        yield house
    finally:
        server.close()
        for writer in house.writers:
            # CPython before 3.11.4 cannot abort a TLS transport that is gone.
            with contextlib.suppress(AttributeError):
                writer.transport.abort()
        await turns()


@asynccontextmanager
async def dialled(
    origin: Origin, host: str = "127.0.0.1", **tls: Any
) -> AsyncIterator[UpstreamConnection]:
    """Open a connection to `origin` at `host`, and close it."""
    settings = UpstreamSettings(
        name="u",
        origins=(origin,),
        tls=UpstreamTls(**{k: str(v) for k, v in tls.items()}),
    )
    deadlines = HandLoop().deadlines()
    async with asyncio.timeout(5):
        connection = await Dialler(settings).dial(
            Target(origin, host), lambda: UpstreamConnection(Nobody(), deadlines, 1)
        )
    try:
        yield connection
    finally:
        connection.drop()
        await turns()


def session(connection: UpstreamConnection) -> Any:
    """Look at the TLS of a connection."""
    assert connection._transport is not None
    return connection._transport.get_extra_info("ssl_object")


@pytest.fixture(scope="module")
def authority():
    """A certificate authority of our own."""
    return trustme.CA()


@pytest.fixture
def ca_file(authority, tmp_path):
    """Its certificate, in a file."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return tmp_path / "ca.pem"


def proving(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    """Make a server's side of TLS, with a certificate for `names`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2", "http/1.1"])
    authority.issue_cert(*names).configure_cert(context)
    return context


# --------------------------------------------------------------------------- plain


async def test_tcp_is_dialled_at_the_targets_address():
    """Which need not be the name's."""
    async with serving() as server:
        origin = Origin("http", "api.example", server.port, resolved=True)
        async with dialled(origin) as connection:
            assert connection.alive


async def test_a_socket_is_dialled_by_its_path(tmp_path):
    """A real one, with a real server behind it."""
    path = str(tmp_path / "app.sock")
    house = Server()
    server = await asyncio.start_unix_server(house.accept, path)
    async with dialled(Origin("unix", path, 0), path) as connection:
        assert connection.alive
    server.close()
    await turns(20)
    assert house.writers


@pytest.mark.parametrize("host", ["no-such-name.invalid", "a..b", "x" * 64 + ".test"])
async def test_a_name_that_leads_nowhere_is_an_error_of_dialling(host):
    """Even one that cannot be spelled in a DNS question."""
    with pytest.raises(DIAL_ERRORS):
        async with dialled(Origin("http", host, 80), host):
            pass


async def test_no_socket_is_an_error_of_dialling(tmp_path):
    """The server has not come up yet."""
    path = str(tmp_path / "app.sock")
    with pytest.raises(DIAL_ERRORS):
        async with dialled(Origin("unix", path, 0), path):
            pass


# ----------------------------------------------------------------------------- TLS


async def test_tls_speaks_http11_of_a_checked_origin(authority, ca_file):
    """Name and authority are checked, no protocol before TLS 1.2 is spoken."""
    async with serving(proving(authority, "127.0.0.1")) as server:
        origin = Origin("https", "127.0.0.1", server.port)
        async with dialled(origin, ca_file=ca_file) as connection:
            found = session(connection)

            assert "http/1.1" == found.selected_alpn_protocol()
            assert ssl.TLSVersion.TLSv1_2 == found.context.minimum_version
            assert found.context.check_hostname
            assert ssl.CERT_REQUIRED == found.context.verify_mode


@pytest.mark.parametrize(("name", "known"), [("127.0.0.2", True), ("127.0.0.1", False)])
async def test_an_origin_that_cannot_prove_itself_is_none(
    authority, ca_file, name, known
):
    """A wrong name or an unknown authority is never spoken to."""
    async with serving(proving(authority, name)) as server:
        origin = Origin("https", "127.0.0.1", server.port)
        with pytest.raises(DIAL_ERRORS):
            async with dialled(origin, **({"ca_file": ca_file} if known else {})):
                pass


async def test_an_address_of_a_name_proves_the_name(authority, ca_file):
    """It is dialled by its address, but SNI and the certificate are of the name."""
    async with serving(proving(authority, "api.example")) as server:
        origin = Origin("https", "api.example", server.port, resolved=True)
        async with dialled(origin, ca_file=ca_file) as connection:
            assert connection.alive
        assert ["api.example"] == server.names
        other = Origin("https", "127.0.0.1", server.port)
        with pytest.raises(DIAL_ERRORS):
            async with dialled(other, ca_file=ca_file):
                pass


async def test_another_name_may_be_asked_for(authority, ca_file):
    """Then that one is proven, and the target's own is not enough."""
    async with serving(proving(authority, "inside.example")) as server:
        origin = Origin("https", "127.0.0.1", server.port)
        name: dict[str, Any] = {"ca_file": ca_file, "server_name": "inside.example"}
        async with dialled(origin, **name) as connection:
            assert connection.alive
        assert ["inside.example"] == server.names
    async with serving(proving(authority, "127.0.0.1")) as server:
        origin = Origin("https", "127.0.0.1", server.port)
        with pytest.raises(DIAL_ERRORS):
            async with dialled(origin, **name):
                pass


def ours(authority: trustme.CA, folder: Path) -> dict[str, Any]:
    """Write a client certificate and its key."""
    made = authority.issue_cert("gateway.example")
    made.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    made.private_key_pem.write_to_path(folder / "key.pem")
    return {"client_cert": folder / "cert.pem", "client_key": folder / "key.pem"}


async def test_a_client_certificate_is_shown(authority, ca_file, tmp_path):
    """To an origin that asks for one and checks it."""
    tls = proving(authority, "127.0.0.1")
    tls.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(tls)
    async with serving(tls) as server:
        origin = Origin("https", "127.0.0.1", server.port)
        files = ours(authority, tmp_path)
        async with dialled(origin, ca_file=ca_file, **files) as connection:
            await turns(50)
            assert connection.alive
            shown = server.peer()

    assert shown is not None
    assert ("DNS", "gateway.example") in shown["subjectAltName"]


async def test_old_tls_is_not_spoken(authority, ca_file):
    """RFC 8996: 1.0 and 1.1 are gone."""
    tls = proving(authority, "127.0.0.1")
    with pytest.warns(DeprecationWarning, match="deprecated"):
        tls.maximum_version = ssl.TLSVersion.TLSv1_1
    async with serving(tls) as server:
        origin = Origin("https", "127.0.0.1", server.port)
        with pytest.raises(DIAL_ERRORS):
            async with dialled(origin, ca_file=ca_file):
                pass


async def test_an_origin_without_alpn_speaks_http11(authority, ca_file):
    """It knows nothing else."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    async with serving(tls) as server:
        origin = Origin("https", "127.0.0.1", server.port)
        async with dialled(origin, ca_file=ca_file) as connection:
            assert session(connection).selected_alpn_protocol() is None


async def test_an_origin_that_speaks_another_protocol_is_left(authority, ca_file):
    """What comes would be frames of HTTP/2, and no answer of ours."""
    async with serving(proving(authority, "127.0.0.1")) as server:
        origin = Origin("https", "127.0.0.1", server.port)
        tls = UpstreamTls(ca_file=str(ca_file))
        dialler = Dialler(UpstreamSettings(name="u", origins=(origin,), tls=tls))
        assert dialler._tls is not None
        # No honest server chooses what was not offered: so it is offered here.
        dialler._tls.set_alpn_protocols(["h2"])
        made: list[UpstreamConnection] = []

        def factory() -> UpstreamConnection:
            made.append(UpstreamConnection(Nobody(), HandLoop().deadlines(), 1))
            return made[-1]

        with pytest.raises(UpstreamUnavailable, match="another protocol"):
            await dialler.dial(Target(origin, "127.0.0.1"), factory)
        assert not made[0].alive
        await turns()


def test_a_locked_key_asks_nobody_for_its_password(authority, tmp_path):
    """A prompt would hold the process up for ever."""
    files = ours(authority, tmp_path)
    key = files["client_key"]
    private = serialization.load_pem_private_key(key.read_bytes(), password=None)
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"pw"),
        )
    )
    tls = UpstreamTls(client_cert=str(files["client_cert"]), client_key=str(key))
    origin = Origin("https", "a", 443)
    with pytest.raises(ssl.SSLError):
        Dialler(UpstreamSettings(name="u", origins=(origin,), tls=tls))


def test_a_dialler_tells_what_it_speaks():
    """For the log."""
    plain = UpstreamSettings(name="u", origins=(Origin("http", "a", 80),))
    secure = UpstreamSettings(name="u", origins=(Origin("https", "a", 443),))

    assert "<Dialler: plain>" == repr(Dialler(plain))
    assert "<Dialler: TLS>" == repr(Dialler(secure))
