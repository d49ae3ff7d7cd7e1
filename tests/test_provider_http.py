import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest
import trustme

from gateway.breaker import BreakerSettings
from gateway.errors import ConfigError, ProviderUnavailable
from gateway.ports import Question, Reply
from gateway.provider_http import ANSWER_LIMIT_BYTES, ProviderClient

TOKEN = "the-token-itself"

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Provider:
    """A provider at a real socket: it remembers requests and plays a script."""

    def __init__(self, script: Script) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self._script = script

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.connections += 1
        try:
            while True:
                self.requests.append(await read_request(reader))
                await self._script(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """Read one request with its body."""
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            return head + await reader.readexactly(int(line.split(b":")[1]))
    return head


class Events:
    """Remembers the codes it is told."""

    def __init__(self) -> None:
        self.codes: list[str] = []

    def provider_request(
        self, provider: str, endpoint: str, code: str, seconds: float
    ) -> None:
        assert ("melon", "userinfo") == (provider, endpoint)
        assert seconds >= 0
        self.codes.append(code)


def saying(*answers: bytes) -> Script:
    """Say these answers in turn, and the last one from then on."""
    left = list(answers)

    async def script(_reader, writer):
        writer.write(left.pop(0) if len(left) > 1 else left[0])
        await writer.drain()

    return script


def answer(status: int, body: bytes = b"{}", *lines: str) -> bytes:
    """Spell a plain answer."""
    head = "\r\n".join(
        [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}", *lines]
    )
    return head.encode() + b"\r\n\r\n" + body


async def silence(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Say nothing until the client goes away."""
    await reader.read()
    raise ConnectionError


@contextlib.asynccontextmanager
async def serving(
    script: Script, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[Provider, str]]:
    """Give a provider that plays `script`, and its address."""
    provider = Provider(script)
    server = await asyncio.start_server(provider.serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    scheme = "http" if tls is None else "https"
    async with server:
        yield provider, f"{scheme}://127.0.0.1:{port}/userinfo"


@pytest.fixture
def events():
    """What the client tells of its tries."""
    return Events()


@pytest.fixture
async def client(events):
    """The client under test; it retries without a pause."""
    async with ProviderClient("melon", retry_pause=0.0, events=events) as opened:
        yield opened


def question(url: str, **changes: Any) -> Question:
    """Ask userinfo about the token."""
    asked = Question(
        endpoint="userinfo",
        url=url,
        headers={"Authorization": f"Bearer {TOKEN}"},
        deadline=5.0,
    )
    return msgspec.structs.replace(asked, **changes)


# ---------------------------------------------------------------------- answers


async def test_an_answer_is_given_whole(client, events):
    """Status, headers in lower case with repeated ones joined, and the body."""
    said = answer(200, b'{"sub": "ada"}', "X-One: a", "X-ONE: b")
    async with serving(saying(said)) as (_, url):
        reply = await client.ask(question(url))

    assert reply == Reply(
        200, {"content-length": "14", "x-one": "a, b"}, b'{"sub": "ada"}'
    )
    assert ["200"] == events.codes


@pytest.mark.parametrize("status", [200, 201, 400, 401, 403, 404, 418])
async def test_a_clear_status_is_a_reply(client, events, status):
    """What a status means is the verifier's business."""
    async with serving(saying(answer(status))) as (_, url):
        reply = await client.ask(question(url))

    assert status == reply.status
    assert [str(status)] == events.codes


async def test_the_request_says_what_was_asked_and_no_more(client):
    """A form, our headers, no offer to decompress, and no cookie ever sent back."""
    said = answer(200, b"{}", "Set-Cookie: session=1")
    async with serving(saying(said)) as (provider, url):
        for _ in range(2):
            await client.ask(
                question(url, method="POST", form={"token": "a b&c", "hint": "é"})
            )

    request = provider.requests[1].lower()
    assert request.startswith(b"post /userinfo http/1.1\r\n")
    assert b"\r\nauthorization: bearer the-token-itself\r\n" in request
    assert b"\r\naccept-encoding: identity\r\n" in request
    assert b"\r\ncontent-type: application/x-www-form-urlencoded" in request
    assert request.endswith(b"\r\n\r\ntoken=a+b%26c&hint=%c3%a9")
    assert b"cookie" not in request
    assert 1 == provider.connections


async def test_the_url_goes_out_as_it_was_configured(client):
    """No normalising: the operator's path and query are the provider's business."""
    async with serving(saying(answer(200))) as (provider, url):
        await client.ask(question(f"{url}/a%2Fb/%7E?x=%41&&y"))

    assert provider.requests[0].startswith(b"GET /userinfo/a%2Fb/%7E?x=%41&&y HTTP/1.1")


async def test_an_answer_of_64_kib_is_read(client):
    """The cap is inclusive."""
    body = b"x" * ANSWER_LIMIT_BYTES
    async with serving(saying(answer(200, body))) as (_, url):
        assert body == (await client.ask(question(url))).body


# --------------------------------------------------------------------- no answer


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(client, events, status):
    """It could lead the token anywhere."""
    async with serving(saying(answer(200))) as (elsewhere, target):
        said = answer(status, b"", f"Location: {target}")
        async with serving(saying(said)) as (_, url):
            with pytest.raises(ProviderUnavailable, match=f"answered {status}"):
                await client.ask(question(url))

    assert [] == elsewhere.requests
    assert [str(status)] == events.codes


@pytest.mark.parametrize(
    ("said", "codes"),
    [
        (answer(429), ["429"]),
        (answer(101, b"", "Upgrade: x", "Connection: upgrade"), ["101"]),
        (answer(500), ["500", "500"]),
        (answer(503), ["503", "503"]),
        (answer(200, b"", "Content-Encoding: gzip"), ["encoded"]),
        (answer(200, b"", "Content-Encoding: br"), ["encoded"]),
        (answer(200, b"x" * (ANSWER_LIMIT_BYTES + 1)), ["oversize"]),
        (b"SSH-2.0-OpenSSH\r\n\r\n", ["broken", "broken"]),
        (b"HTTP/1.1 200 OK\r\nBad Header\x01\r\n\r\n", ["broken", "broken"]),
    ],
    ids=["429", "101", "500", "503", "gzip", "br", "oversize", "ssh", "header"],
)
async def test_what_is_no_answer_is_unavailable(client, events, said, codes):
    """Overload is not asked again; a fault is, once."""
    async with serving(saying(said)) as (_, url):
        with pytest.raises(ProviderUnavailable):
            await client.ask(question(url))

    assert codes == events.codes


async def test_an_endless_answer_is_cut_off(client, events):
    """A gigabyte, or a bomb: reading stops at the cap and the connection closes."""
    written = 0

    async def flood(_reader, writer):
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
            await writer.drain()
            written += 0x4000

    async with serving(flood) as (_, url):
        with pytest.raises(ProviderUnavailable, match="more than 64 KiB"):
            await client.ask(question(url))

    assert written < 16 * 1024 * 1024  # what the kernel's buffers hold
    assert ["oversize"] == events.codes


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    ],
    ids=["nothing", "short", "chunk"],
)
async def test_half_an_answer_is_none(client, events, said):
    """A connection that closes early has said nothing."""

    async def hang_up(_reader, writer):
        writer.write(said)
        await writer.drain()
        raise ConnectionError

    async with serving(hang_up) as (_, url):
        with pytest.raises(ProviderUnavailable, match="broken answer"):
            await client.ask(question(url))

    assert ["broken", "broken"] == events.codes


async def test_a_closed_port_is_unavailable(client, events):
    """Refused connections are tried once more."""
    async with serving(silence) as (_, url):
        pass
    with pytest.raises(ProviderUnavailable, match="no connection"):
        await client.ask(question(url))

    assert ["refused", "refused"] == events.codes


async def test_an_unusable_url_is_unavailable(client):
    """Discovery documents name URLs too."""
    with pytest.raises(ProviderUnavailable):
        await client.ask(question("https://[nonsense/"))


async def test_a_hung_provider_costs_one_deadline(client, events):
    """Nothing is left of it for a second try."""
    async with serving(silence) as (provider, url):
        with pytest.raises(ProviderUnavailable, match=r"no answer in 0\.2 s"):
            await client.ask(question(url, deadline=0.2))

    assert 1 == len(provider.requests)
    assert ["timeout"] == events.codes


async def test_a_dripping_answer_costs_one_deadline(client, events):
    """The deadline is total, however lively the provider seems."""

    async def drip(_reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with serving(drip) as (_, url):
        with pytest.raises(ProviderUnavailable, match=r"no answer in 0\.2 s"):
            await client.ask(question(url, deadline=0.2))

    assert ["timeout"] == events.codes


async def test_the_failure_quotes_neither_provider_nor_token(client):
    """A provider may echo the token, in a header line that is then an error text."""
    said = b"HTTP/1.1 200 OK\r\n" + TOKEN.encode() + b"\r\n\r\n"
    async with serving(saying(said)) as (_, url):
        with pytest.raises(ProviderUnavailable) as failure:
            await client.ask(question(url))

    assert TOKEN not in str(failure.value)
    assert failure.value.__suppress_context__


# ----------------------------------------------------------------------- retries


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_fault_that_passes_is_not_noticed(client, events, status):
    """One more try, on which the provider answers."""
    async with serving(saying(answer(status), answer(200))) as (_, url):
        reply = await client.ask(question(url))

    assert 200 == reply.status
    assert [str(status), "200"] == events.codes


async def test_retries_are_what_the_question_allows(client, events):
    """None is none."""
    async with serving(saying(answer(503))) as (_, url):
        with pytest.raises(ProviderUnavailable):
            await client.ask(question(url, retries=0))

    assert ["503"] == events.codes


async def test_an_outage_is_not_doubled(events):
    """The budget for retries runs out, and answers fill it again, slowly."""
    never = BreakerSettings(failures=100)
    async with (
        ProviderClient(
            "melon", retry_pause=0.0, breaker=never, events=events
        ) as client,
        serving(saying(*[answer(503)] * 30, answer(200))) as (_, url),
    ):
        for _ in range(20):
            with pytest.raises(ProviderUnavailable):
                await client.ask(question(url))

        assert 30 == len(events.codes)

        for _ in range(11):
            await client.ask(question(url))
        async with serving(saying(answer(503))) as (_, broken):
            for _ in range(2):
                with pytest.raises(ProviderUnavailable):
                    await client.ask(question(broken))

    assert ["503", "503", "503"] == events.codes[41:]


async def test_there_is_no_retry_past_the_deadline():
    """A pause that would end too late is not begun."""
    events = Events()
    async with (
        ProviderClient("melon", retry_pause=60.0, events=events) as client,
        serving(saying(answer(503))) as (_, url),
    ):
        with pytest.raises(ProviderUnavailable, match="answered 503"):
            await client.ask(question(url))

    assert ["503"] == events.codes


# ------------------------------------------------------------------ many at once


async def test_questions_under_way_are_capped(events):
    """The others wait their turn and are all answered."""
    under_way: set[object] = set()
    most = 0

    async def slow(_reader, writer):
        nonlocal most
        under_way.add(writer)
        most = max(most, len(under_way))
        await asyncio.sleep(0.01)
        under_way.discard(writer)
        writer.write(answer(200))

    async with (
        ProviderClient("melon", at_once=2, events=events) as client,
        serving(slow) as (_, url),
    ):
        replies = await asyncio.gather(*[client.ask(question(url)) for _ in range(7)])

    assert [200] * 7 == [reply.status for reply in replies]
    assert 2 == most


async def test_a_turn_that_does_not_come_is_unavailable(events):
    """Waiting counts against the deadline, and so many may wait and no more."""
    async with (
        ProviderClient("melon", at_once=1, events=events) as client,
        serving(silence) as (provider, url),
    ):
        asked = [client.ask(question(url, deadline=0.1)) for _ in range(11)]
        failures = await asyncio.gather(
            client.ask(question(url, deadline=0.4)), *asked, return_exceptions=True
        )

    assert all(isinstance(failure, ProviderUnavailable) for failure in failures)
    assert 1 == len(provider.requests)
    assert ["busy"] * 11 + ["timeout"] == sorted(events.codes)
    assert "<ProviderClient melon: 0 waiting>" == repr(client)


async def test_so_many_wait_and_no_more(events):
    """Who finds the queue full is told at once, not at the deadline."""
    async with (
        ProviderClient("melon", at_once=1, waiting=8, events=events) as client,
        serving(silence) as (_, url),
    ):
        waiting = asyncio.gather(*[client.ask(question(url)) for _ in range(9)])
        await asyncio.sleep(0)
        assert "<ProviderClient melon: 8 waiting>" == repr(client)
        assert (1, 8) == (client.under_way, client.waiting)
        with pytest.raises(ProviderUnavailable, match="too many questions"):
            await client.ask(question(url, deadline=3600.0))
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    assert "busy" == events.codes[0]
    assert (0, 0) == (client.under_way, client.waiting)


# --------------------------------------------------------------- the breaker


@contextlib.asynccontextmanager
async def frail(events: Events, pause: float) -> AsyncIterator[ProviderClient]:
    """Open a client that leaves its provider alone after two failures."""
    settings = BreakerSettings(failures=2, pause=pause)
    async with ProviderClient("melon", breaker=settings, events=events) as opened:
        yield opened


async def fails(client: ProviderClient, url: str) -> ProviderUnavailable:
    """Ask, and give the failure."""
    with pytest.raises(ProviderUnavailable) as caught:
        await client.ask(question(url, retries=0))
    return caught.value


async def test_a_silent_provider_is_left_alone(events):
    """Who asks is told at once when to come back, and no connection is made."""
    async with (
        frail(events, 30.0) as client,
        serving(saying(answer(503))) as (provider, url),
    ):
        assert [0, 0] == [(await fails(client, url)).retry_after for _ in range(2)]
        assert 2 == client.breaker_state

        assert 28 <= (await fails(client, url)).retry_after <= 30
        assert 2 == len(provider.requests)

    assert ["503", "503", "open"] == events.codes


async def test_one_answer_is_enough_to_ask_again(events):
    """After the pause one question goes through, and closes it."""
    async with (
        frail(events, 0.01) as client,
        serving(saying(answer(503), answer(503), answer(200))) as (_, url),
    ):
        for _ in range(2):
            await fails(client, url)
        await asyncio.sleep(0.02)
        assert 1 == client.breaker_state

        assert 200 == (await client.ask(question(url))).status
        assert 0 == client.breaker_state


async def test_who_waited_for_a_turn_does_not_ask_the_silent_one(events):
    """They were let in before it fell silent."""
    settings = BreakerSettings(failures=1, pause=30.0)
    async with (
        ProviderClient("melon", at_once=1, breaker=settings, events=events) as client,
        serving(silence) as (provider, url),
    ):
        asked = [client.ask(question(url, deadline=0.1)) for _ in range(1)]
        later = [client.ask(question(url)) for _ in range(5)]
        failures = await asyncio.gather(*asked, *later, return_exceptions=True)

    assert all(isinstance(failure, ProviderUnavailable) for failure in failures)
    assert 1 == len(provider.requests)
    assert ["timeout", *["open"] * 5] == events.codes


async def test_a_probe_that_leaves_lets_the_next_one_through(events):
    """It told nothing, neither good nor bad."""
    async with frail(events, 0.01) as client:
        async with serving(saying(answer(503))) as (_, url):
            for _ in range(2):
                await fails(client, url)
        await asyncio.sleep(0.02)
        async with serving(silence) as (provider, url):
            leaver = asyncio.ensure_future(client.ask(question(url)))  # noqa: TID251 -- a caller that leaves
            while not provider.requests:  # noqa: ASYNC110 -- a socket's
                await asyncio.sleep(0.001)
            assert 1 == (await fails(client, url)).retry_after
            leaver.cancel()
            await asyncio.gather(leaver, return_exceptions=True)
        async with serving(saying(answer(200))) as (_, url):
            assert 200 == (await client.ask(question(url))).status

    assert ["503", "503", "open", "cancelled", "200"] == events.codes


async def test_a_refused_token_is_an_answer(events):
    """A flood of bad tokens does not look like an outage."""
    async with (
        frail(events, 30.0) as client,
        serving(saying(answer(401))) as (_, url),
    ):
        for _ in range(5):
            assert 401 == (await client.ask(question(url))).status

    assert ["401"] * 5 == events.codes


async def test_who_leaves_frees_the_turn(events):
    """A cancelled question closes its connection and lets the next one ask."""
    arrived, left = asyncio.Event(), asyncio.Event()

    async def first_silent(reader, writer):
        if arrived.is_set():
            writer.write(answer(200))
            return
        arrived.set()
        await reader.read()
        left.set()
        raise ConnectionError

    async with (
        ProviderClient("melon", at_once=1, events=events) as client,
        serving(first_silent) as (_, url),
    ):
        leaver = asyncio.ensure_future(client.ask(question(url)))  # noqa: TID251 -- a caller that leaves
        await arrived.wait()
        leaver.cancel()
        await asyncio.gather(leaver, return_exceptions=True)
        reply = await client.ask(question(url))
        await left.wait()

    assert leaver.cancelled()
    assert 200 == reply.status
    assert ["cancelled", "200"] == events.codes


async def test_nobody_need_watch():
    """Events are for those who count them."""
    async with (
        ProviderClient("melon") as client,
        serving(saying(answer(200))) as (
            _,
            url,
        ),
    ):
        assert 200 == (await client.ask(question(url))).status


async def test_a_client_that_asked_nothing_closes():
    """`gateway check` builds clients without a question to ask."""
    await ProviderClient("melon").close()


# --------------------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def authority():
    """A certificate authority of our own."""
    return trustme.CA()


@pytest.fixture
def ca_file(authority, tmp_path):
    """Its certificate, as operators configure it."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return str(tmp_path / "ca.pem")


def presenting(authority: trustme.CA, name: str) -> ssl.SSLContext:
    """Make the provider's side of TLS, with a certificate for `name`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


async def test_a_known_authority_is_trusted(authority, ca_file):
    """`ca_file` names the authorities of this provider."""
    tls = presenting(authority, "127.0.0.1")
    async with (
        ProviderClient("melon", ca_file=ca_file) as client,
        serving(saying(answer(200)), tls) as (_, url),
    ):
        assert 200 == (await client.ask(question(url))).status


async def test_a_strange_authority_is_not(authority, client, events):
    """The system's authorities do not know ours; there is no way around it."""
    tls = presenting(authority, "127.0.0.1")
    async with serving(saying(answer(200)), tls) as (provider, url):
        with pytest.raises(ProviderUnavailable, match="TLS failed"):
            await client.ask(question(url))

    assert ["tls"] == events.codes
    assert [] == provider.requests


async def test_a_certificate_for_another_name_is_refused(authority, ca_file, events):
    """RFC 7662 §4: the name is checked too."""
    tls = presenting(authority, "other.example")
    async with (
        ProviderClient("melon", ca_file=ca_file, events=events) as client,
        serving(saying(answer(200)), tls) as (provider, url),
    ):
        with pytest.raises(ProviderUnavailable, match="TLS failed"):
            await client.ask(question(url))

    assert ["tls"] == events.codes
    assert [] == provider.requests


async def test_there_is_no_plain_text_behind_https(client, events):
    """A provider that speaks no TLS gets no token."""
    received = b""

    async def plain(reader, writer):
        nonlocal received
        received = await reader.read(1024)
        writer.write(answer(200))
        writer.close()

    async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ProviderUnavailable, match="TLS failed"):
            await client.ask(question(f"https://127.0.0.1:{port}/userinfo"))

    assert ["tls"] == events.codes
    assert received
    assert TOKEN.encode() not in received


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_an_unusable_ca_file_is_a_config_error(tmp_path, content):
    """It is said at start, in words."""
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)

    with pytest.raises(ConfigError, match=r"providers\.melon\.ca_file: expected a"):
        ProviderClient("melon", ca_file=str(file))
