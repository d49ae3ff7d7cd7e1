import asyncio
import contextlib
import json
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme

from gateway.app import App
from gateway.operators import Operators
from gateway.server import Server
from gateway.wire.tls import TlsUnusable
from tests.fakes import Clock
from tests.test_server import built, events, public, serving
from tests.wire.pki import Pki
from tests.wired import ADMIN_TOKEN, SIGNED, EventLog, configured, until

BEARER = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
EVE = {"provider": "p", "subject": "eve"}
LONG_AGO = datetime(2021, 1, 1, tzinfo=UTC)


def secured(pki: Pki, rest: str = "", token: str = f"token: {ADMIN_TOKEN}, ") -> str:
    """Write a configuration whose admin listener has TLS."""
    files = f"certificate: {pki.certificate}, key: {pki.key}, client_ca: {pki.ca}"
    return (
        public(more=f"providers: {{p: {{{SIGNED}}}}}\n")
        + f"admin: {{{token}tls: {{{files}{rest}}}}}\n"
    )


@pytest.fixture
def pki(tmp_path):
    """An authority, for the listener and for operators."""
    return Pki(tmp_path)


class Place:
    """A running gateway whose admin listener is asked by TLS."""

    def __init__(self, server: Server, app: App, pki: Pki) -> None:
        self._pki = pki
        self.server = server
        self.value = app.metrics_registry.get_sample_value

    @property
    def url(self) -> str:
        """Where it is, by the name of its certificate."""
        return f"https://localhost:{self.server.addresses['admin'].port}"

    def shows(self, file: Path | None) -> ssl.SSLContext:
        """Make a client's context."""
        context = self._pki.client()
        if file is not None:
            context.load_cert_chain(file)
        return context

    async def ask(
        self,
        shown: Path | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> int:
        """Revoke, or else list what is revoked; gives the status."""
        method = "GET" if body is None else "POST"
        async with (
            aiohttp.ClientSession() as http,
            http.request(
                method,
                f"{self.url}/api/revocations",
                ssl=self.shows(shown),
                json=body,
                headers=headers,
            ) as answer,
        ):
            return answer.status

    async def is_refused(self, shown: Path) -> bool:
        """Tell whether the handshake fails: in TLS 1.3 a client hears it afterwards."""
        try:
            await self.ask(shown)
        except (aiohttp.ClientError, ssl.SSLError):
            return True
        return False


@asynccontextmanager
async def opened(folder: Path, pki: Pki, *words: str) -> AsyncIterator[Place]:
    """Run it."""
    async with serving(secured(pki, *words), folder) as (server, app):
        yield Place(server, app, pki)


async def test_who_shows_a_certificate_may_what_the_token_may(tmp_path, pki):
    """And the audit log tells who it was."""
    async with opened(tmp_path, pki) as place:
        done = await place.ask(pki.show("ada"), EVE)
        listed = await place.ask(pki.show("ada"))
    [told] = [each for each in events(tmp_path) if each["event"] == "audit"]

    assert (201, 200) == (done, listed)
    assert ("revoke", "done", "ada", "127.0.0.1", "eve") == (
        told["action"],
        told["outcome"],
        told["certificate"],
        told["peer"],
        told["name"],
    )


async def test_who_shows_none_is_asked_for_the_token(tmp_path, pki):
    """As without TLS; the audit log has no name for it, since it is everybody's."""
    async with opened(tmp_path, pki) as place:
        assert 401 == await place.ask(None, EVE)
        assert 201 == await place.ask(None, EVE, BEARER)
    *_, told = [each for each in events(tmp_path) if each["event"] == "audit"]

    assert "revoke" == told["action"]
    assert "certificate" not in told


async def test_loopback_reads_as_nobody_there_too(tmp_path, pki):
    """What it reads without TLS."""
    async with opened(tmp_path, pki) as place, aiohttp.ClientSession() as http:
        for path in ("/", "/api/overview"):
            async with http.get(place.url + path, ssl=pki.client()) as answer:
                assert 200 == answer.status


async def test_certificates_alone_will_do(tmp_path, pki):
    """Where no token is configured nobody can lose it."""
    async with opened(tmp_path, pki, "", "") as place:
        assert 201 == await place.ask(pki.show("ada"), EVE)
        assert 403 == await place.ask(None, EVE, BEARER)


async def test_a_certificate_may_be_demanded_of_everybody(tmp_path, pki):
    """Of who only reads as well."""
    demanded = ", client_certificates: required"
    async with opened(tmp_path, pki, demanded) as place:
        assert 201 == await place.ask(pki.show("ada"), EVE)
        with pytest.raises((aiohttp.ClientError, ssl.SSLError)):
            await place.ask(None, EVE, BEARER)


@pytest.mark.parametrize("how", ["a stranger's", "expired"])
async def test_a_certificate_that_is_not_good_opens_nothing(tmp_path, pki, how):
    """Its holder is not even heard, and that is counted."""
    expired = pki.show("eve", until=LONG_AGO)
    stranger = pki.show("mallory", by=trustme.CA())
    async with opened(tmp_path, pki) as place:
        refused = await place.is_refused(expired if how == "expired" else stranger)
        await until(
            lambda: place.value("gateway_admin_refused_total", {"reason": "handshake"})
        )

    assert refused


async def test_a_renewed_authority_is_the_only_one_at_once(tmp_path, pki):
    """Whoever the old one let in must come anew, however long they were going to stay."""
    async with opened(tmp_path, pki) as place, aiohttp.ClientSession() as http:
        ada, url = pki.show("ada"), f"{place.url}/api/revocations"
        async with http.get(url, ssl=place.shows(ada)) as answer:
            assert 200 == answer.status
        under_way, writer = await asyncio.open_connection(
            "127.0.0.1", place.server.addresses["admin"].port
        )
        assert http.connector is not None
        [kept] = [each for line in http.connector._conns.values() for each in line]
        renewed = trustme.CA()
        renewed.cert_pem.write_to_path(str(pki.ca))
        [renewal] = place.server._windows.renewals
        for _ in range(2):
            await renewal.look()
        await until(lambda: not kept[0].is_connected())
        with contextlib.suppress(ConnectionError):
            assert b"" == await under_way.read()
        writer.close()

        # `client` trusts what is in the file by now, which is for operators alone.
        trust = ssl.create_default_context()
        pki.authority.configure_trust(trust)
        trust.load_cert_chain(pki.show("bob", by=renewed))
        async with http.get(url, ssl=trust) as answer:
            assert 200 == answer.status
        trust = ssl.create_default_context()
        pki.authority.configure_trust(trust)
        trust.load_cert_chain(ada)
        with pytest.raises((aiohttp.ClientError, ssl.SSLError)):
            async with http.get(url, ssl=trust):
                pass


async def test_a_session_that_is_resumed_is_its_holders(tmp_path, pki):
    """No certificate is sent then; the ticket stands for it."""
    async with opened(tmp_path, pki) as place:
        context, session, seen = place.shows(pki.show("ada")), None, []
        port = place.server.addresses["admin"].port
        for _ in range(2):
            told, session, again = await asyncio.to_thread(
                resumed, context, port, session
            )
            seen.append((told, again))

    assert [(b"HTTP/1.1 200", False), (b"HTTP/1.1 200", True)] == seen


def resumed(
    context: ssl.SSLContext, port: int, session: ssl.SSLSession | None
) -> tuple[bytes, ssl.SSLSession | None, bool | None]:
    """Ask on a connection that may go on with a session; gives the one of now."""
    with (
        socket.create_connection(("127.0.0.1", port)) as line,
        context.wrap_socket(line, server_hostname="localhost", session=session) as tls,
    ):
        tls.sendall(b"GET /api/revocations HTTP/1.1\r\nHost: localhost\r\n\r\n")
        told = tls.recv(12)
        return told, tls.session, tls.session_reused


async def test_the_names_of_the_certificate_are_hosts(tmp_path, pki):
    """So the listener may be asked from elsewhere, by the name it goes by there."""
    pki.issue("admin.example", "localhost")
    async with opened(tmp_path, pki) as place:
        headers = {**BEARER, "Host": "admin.example:9091"}
        assert 200 == await place.ask(headers=headers)
        assert 421 == await place.ask(headers={**BEARER, "Host": "evil.example"})


async def test_wrong_tokens_are_bounded_counted_and_told(tmp_path, pki):
    """And a certificate is no guess."""
    wrong = {"Authorization": "Bearer SECRET"}
    async with opened(tmp_path, pki) as place:
        seen = [await place.ask(headers=wrong) for _ in range(12)]
        assert 429 == await place.ask(None, EVE, BEARER)
        assert 201 == await place.ask(pki.show("ada"), EVE, wrong)
        counted = {
            why: place.value("gateway_admin_refused_total", {"reason": why})
            for why in ("token", "guesses", "handshake", "limit")
        }
    told = [each for each in events(tmp_path) if each["event"] == "audit"]

    assert [401] * 10 + [429] * 2 == seen
    assert {"token": 10, "guesses": 3, "handshake": 0, "limit": 0} == counted
    assert [
        ("denied", "unauthorized"),
        ("denied", "too_many_guesses"),
        ("done", None),
    ] == [(each["outcome"], each.get("error")) for each in told]
    assert "SECRET" not in json.dumps(told)


async def test_http_in_the_clear_hears_nothing(tmp_path, pki):
    """Not even that there is something."""
    async with opened(tmp_path, pki) as place:
        port = place.server.addresses["admin"].port
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert b"HTTP" not in await reader.read()
        writer.close()


async def test_files_that_broke_after_the_check_keep_it_from_opening(tmp_path, pki):
    """What was opened before is closed."""
    async with built(secured(pki), tmp_path) as (server, _):
        pki.key.write_text("nothing of use")
        with pytest.raises(TlsUnusable):
            await server.start()


def test_without_tls_there_is_nothing_to_look_after(tmp_path):
    """And nothing but the guesses to count."""
    config = configured(public()).config
    log, shown = EventLog(tmp_path / "events.log"), list[tuple[str, ...]]()
    operators = Operators(
        lambda: config,
        log=log.log,
        clock=Clock(),
        watch=lambda name, _, *labels: shown.append((name, *labels)),
    )
    log.events()

    assert operators.certificates is None
    assert "<Operators: no TLS>" == repr(operators)
    assert {"admin_refused_total"} == {name for name, *_ in shown}
    assert operators.keeper.knows("127.0.0.1")
    assert not operators.keeper.knows("admin.example")
