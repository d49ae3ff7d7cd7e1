"""WebSockets: a tunnel where the route lists it, after the token and the 101."""

import asyncio
import time

import aiohttp
import pytest

from tests.functional.harness import bearer, connect, head, read_answer
from tests.functional.lab import Laboratory, sign

UPGRADE = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
]


@pytest.fixture
async def browser(lab_gateway):
    """An ordinary WebSocket client at the main door."""
    base = f"http://127.0.0.1:{lab_gateway.ports.proxy}"
    async with aiohttp.ClientSession(base) as session:
        yield session


def lines_at(lab: Laboratory, since: int, name: bytes) -> list[bytes]:
    """The values of a header in all requests the upstream got since then."""
    return [
        value
        for _, headers, _ in lab.requests[since:]
        for key, value in headers
        if key.lower() == name
    ]


async def test_a_websocket_tunnels(browser, lab):
    """Messages of every size, both ways, as many as one likes."""
    since = len(lab.requests)
    headers = dict([bearer(sign())])
    async with browser.ws_connect("/socket", headers=headers) as channel:
        for message in ("hello", "누구", "a" * 200_000, ""):
            await channel.send_str(message)
            assert message == await channel.receive_str(timeout=5)

    assert [b"ada"] == lines_at(lab, since, b"x-auth-subject")
    assert [] == lines_at(lab, since, b"authorization")


async def test_many_websockets_at_once(browser):
    """Each tunnel is its own."""
    headers = dict([bearer(sign())])

    async def talk(number):
        async with browser.ws_connect("/socket", headers=headers) as channel:
            await channel.send_str(f"I am {number}")
            return await channel.receive_str(timeout=5)

    heard = await asyncio.gather(*map(talk, range(50)))

    assert [f"I am {number}" for number in range(50)] == heard


async def test_a_websocket_ends_with_its_token(browser):
    """A tunnel is judged once, so it lives no longer than what was judged."""
    begun = time.monotonic()
    headers = dict([bearer(sign(1.0))])
    async with browser.ws_connect("/socket", headers=headers) as channel:
        message = await channel.receive(timeout=5)

    assert message.type in {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSE}
    assert 0.8 < time.monotonic() - begun < 3.0


@pytest.mark.parametrize(("token", "status"), [(None, 401), ("wrong", 401)])
async def test_no_websocket_without_a_good_token(browser, lab, token, status):
    """Refused like any request; the upstream hears nothing."""
    since = len(lab.requests)
    headers = {} if token is None else dict([bearer(token)])
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await browser.ws_connect("/socket", headers=headers)

    assert status == refused.value.status
    assert since == len(lab.requests)


def test_no_tunnel_on_a_route_that_lists_none(lab_gateway, lab):
    """The request goes on as an ordinary one, without a word of upgrading."""
    since = len(lab.requests)
    answer = lab_gateway.ask("GET", "/no-socket", bearer(sign()), *UPGRADE)

    assert (426, b"websocket only") == (answer.status, answer.body)
    assert [] == lines_at(lab, since, b"upgrade")


def test_no_tunnel_for_a_protocol_that_is_not_listed(lab_gateway, lab):
    """`h2c` least of all: it would carry requests that nobody judges."""
    since = len(lab.requests)
    lines = [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c")]
    settings = ("HTTP2-Settings", "AAMAAABkAAQAAP__")
    with connect(lab_gateway.ports.proxy) as line:
        line.sendall(head("GET", "/socket", "lab", [bearer(sign()), *lines, settings]))
        answer = read_answer(line)

    assert 426 == answer.status
    assert [] == lines_at(lab, since, b"upgrade")
    assert [] == lines_at(lab, since, b"http2-settings")


def test_bytes_behind_a_refused_upgrade_are_another_request(lab_gateway):
    """What came with the first is judged on its own: it has no token."""
    lines = [bearer(sign()), *UPGRADE]
    with connect(lab_gateway.ports.proxy) as line:
        line.sendall(
            head("GET", "/no-socket", "lab", lines) + head("GET", "/socket", "lab")
        )
        answers = b""
        while b"401 Unauthorized" not in answers:
            piece = line.recv(65536)
            assert piece, answers
            answers += piece

    assert answers.startswith(b"HTTP/1.1 426 ")
    assert 2 == answers.count(b"HTTP/1.1 ")
