import asyncio
import contextlib
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.fronts.handshakes import Handshakes
from gateway.tasks import running, spawn
from gateway.wire.tls import Certificates, TlsSettings
from tests.wire.pki import Pki
from tests.wired import until

Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Greeter(asyncio.Protocol):
    """Says a word to whoever comes through, and goes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"welcome")
        transport.close()


class Place:
    """A listener that greets, and its authority."""

    def __init__(self, folder: Path, **bounds: Any) -> None:
        self.pki = Pki(folder)
        self.certificates = Certificates(
            TlsSettings(
                certificate=self.pki.certificate,
                key=self.pki.key,
                client_ca=self.pki.ca,
            )
        )
        self.refused = Counter[str]()
        self.handshakes = Handshakes(
            self.certificates,
            Greeter,
            **{"seconds": 5.0, "refused": self.refused, **bounds},
        )
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]

    async def come(self, context: ssl.SSLContext | None) -> Line:
        """Connect, by TLS or without a word."""
        name = "localhost" if context else None
        return await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=context, server_hostname=name
        )

    async def greeted(self, context: ssl.SSLContext) -> bytes:
        """Connect by TLS, and hear what is said."""
        return await heard(await self.come(context))


async def heard(line: Line) -> bytes:
    """Read to the end."""
    reader, writer = line
    try:
        async with asyncio.timeout(5):
            return await reader.read()
    finally:
        writer.close()


@asynccontextmanager
async def opened(folder: Path, **bounds: Any) -> AsyncIterator[Place]:
    """Open it; in the end nothing is left."""
    place = Place(folder, **bounds)
    task = spawn(place.handshakes.serve(place.listener), name="accept")
    try:
        yield place
    finally:
        task.cancel()
        await until(lambda: not running())
        assert -1 == place.listener.fileno()
        assert 0 == len(place.handshakes)


async def test_who_comes_by_tls_is_served(tmp_path):
    """By whatever the protocol is that is behind it."""
    async with opened(tmp_path) as place:
        assert b"welcome" == await place.greeted(place.pki.client())
        await until(lambda: not len(place.handshakes))
        assert "<Handshakes: 0 under way>" == repr(place.handshakes)
        assert not place.refused


async def test_each_handshake_is_by_the_certificate_in_force(tmp_path):
    """Without a restart; nobody who trusts the new one need know the old."""
    async with opened(tmp_path) as place:
        old = place.pki.client()
        assert b"welcome" == await place.greeted(old)
        renewed = Pki(tmp_path)
        for _ in range(2):
            place.certificates.refresh()

        assert b"welcome" == await place.greeted(renewed.client())
        with pytest.raises(ssl.SSLCertVerificationError):
            await place.greeted(old)


@pytest.mark.parametrize(
    "said", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello"]
)
async def test_what_is_no_tls_is_refused_and_counted(tmp_path, said):
    """It hears nothing of what is behind."""
    async with opened(tmp_path) as place:
        line = await place.come(None)
        line[1].write(said)
        with contextlib.suppress(ConnectionError):
            assert b"welcome" not in await heard(line)
        await until(lambda: place.refused)

    assert {"handshake": 1} == place.refused


async def test_who_only_looks_whether_we_are_there_is_no_refusal(tmp_path):
    """As balancers and probes do, with a reset."""
    async with opened(tmp_path) as place:
        with socket.create_connection(("127.0.0.1", place.port)) as line:
            await until(lambda: len(place.handshakes))
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await until(lambda: not len(place.handshakes))

        assert not place.refused


async def test_a_handshake_has_a_deadline(tmp_path):
    """Who says nothing holds a place for a while, not for good."""
    async with opened(tmp_path, seconds=0.05) as place:
        line = await place.come(None)
        with contextlib.suppress(ConnectionError):
            assert b"" == await heard(line)
        await until(lambda: place.refused)

    assert {"handshake": 1} == place.refused


async def test_of_too_many_the_one_that_has_been_at_it_longest_goes(tmp_path):
    """Who fills the place up keeps nobody out."""
    async with opened(tmp_path, at_once=2) as place:
        silent = [await place.come(None) for _ in range(3)]
        with contextlib.suppress(ConnectionError):
            assert b"" == await heard(silent[0])

        assert b"welcome" == await place.greeted(place.pki.client())
        assert 2 == place.refused["limit"]
        for _, writer in silent:
            writer.close()


async def test_who_still_shakes_hands_at_the_end_is_cut(tmp_path):
    """No task and no socket is left behind."""
    async with opened(tmp_path) as place:
        line = await place.come(None)
        await until(lambda: len(place.handshakes))
    with contextlib.suppress(ConnectionError):
        assert b"" == await heard(line)
