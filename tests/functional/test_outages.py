"""A provider that is down, slow or broken: 503 and *later*, never *bad token*."""

import asyncio
import socket
import time
from collections.abc import Callable, Mapping

import pytest
from aiohttp import web

from tests.functional.harness import bearer, eventually, exchange, head, running
from tests.functional.partner import DEVICE, Partner

ME = "/membership/v1/me"
BENEFITS = "/membership/v1/benefits"


MOODS: Mapping[str, Callable[[], web.Response]] = {
    "broken": lambda: web.Response(status=500),
    "busy": lambda: web.Response(status=429),
    "elsewhere": lambda: web.Response(
        status=302, headers={"Location": "http://127.0.0.1:9/"}
    ),
    "talking": lambda: web.Response(body=b"a" * 1_000_000),
    "HTML": lambda: web.Response(text="<html>", content_type="text/html"),
    "nobody": lambda: web.json_response({"nickname": "test"}),
    "another 400": lambda: web.json_response(
        {"error": {"code": "10051", "message": "Invalid request"}, "payload": None},
        status=400,
    ),
}
"""Answers that say neither yes nor no."""


class Fickle:
    """A userinfo endpoint before the real one, which fails on the test's word."""

    def __init__(self, real: str) -> None:
        self._real = real
        self.mood = "well"
        self.asked = 0
        self.port = 0
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen, on the same port every time."""
        app = web.Application()
        app.router.add_get("/ottm/oauth2/v1/userinfo", self.userinfo)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Listen no more."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def userinfo(self, request: web.Request) -> web.StreamResponse:
        """Answer as the mood is."""
        self.asked += 1
        if self.mood == "hung":
            await asyncio.sleep(30)
        if self.mood in MOODS:
            return MOODS[self.mood]()
        target = request.rel_url.raw_path
        line = request.headers["Authorization"]
        real = await asyncio.to_thread(
            exchange,
            int(self._real.rpartition(":")[2]),
            head("GET", target, "localhost", [("Authorization", line)]),
        )
        return web.Response(
            status=real.status, body=real.body, content_type="application/json"
        )


@pytest.fixture(scope="module")
def fickle(backstage, sandbox):
    """The endpoint."""
    endpoint = Fickle(sandbox.url)
    backstage.run(endpoint.start())
    yield endpoint
    backstage.run(endpoint.stop())


@pytest.fixture(autouse=True)
def well(fickle):
    """Every test begins with a provider that is well."""
    fickle.mood = "well"


@pytest.fixture(scope="module")
def ottm(start_demo, fickle):
    """A partner of ottm, whose gateway asks the fickle endpoint."""
    base = f"http://127.0.0.1:{fickle.port}/ottm"
    with running(start_demo(OTTM_API_BASE=base)) as gateway:
        yield Partner("ottm", gateway)


def is_an_outage(answer) -> bool:
    """503 in ottm's envelope, with a time to come back, and no word on the token."""
    assert 503 == answer.status
    assert 1 <= int(answer.header("Retry-After") or 0) <= 10
    assert [] == answer.all("WWW-Authenticate")
    assert (
        b'{"error": {"code": "503", "message":'
        b' "The token cannot be checked at the moment"}, "payload": null}'
    ) == answer.body
    return True


@pytest.mark.parametrize("mood", MOODS)
def test_an_answer_that_is_none_is_an_outage(ottm, fickle, mood):
    """Never 10075: the client would throw a good token away. It recovers by itself."""
    token = ottm.token()

    fickle.mood = mood
    assert is_an_outage(ottm.ask("GET", ME, token=token))
    fickle.mood = "well"

    assert 200 == ottm.ask("GET", ME, token=token).status


def test_a_hung_provider_costs_its_deadline(ottm, fickle):
    """Two seconds in all, and others do not wait with it."""
    token, known = ottm.token(), ottm.token()
    assert 200 == ottm.ask("GET", ME, token=known).status
    fickle.mood = "hung"

    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", ottm.gateway.ports.proxy)) as line:
        line.sendall(head("GET", ME, ottm.host, [bearer(token)]))
        for _ in range(20):
            assert 200 == ottm.ask("GET", ME, token=known).status
        in_between = time.monotonic() - begun
    assert is_an_outage(ottm.ask("GET", ME, token=token))

    assert in_between < 1.0
    assert time.monotonic() - begun < 5.0


def test_a_provider_that_is_gone(ottm, fickle, backstage):
    """Known tokens go on to be judged, for good and for bad; unknown ones wait."""
    known, narrow, unknown = ottm.token(), ottm.token(scope="openid"), ottm.token()
    for token in (known, narrow):
        assert 200 == ottm.ask("GET", ME, token=token).status

    backstage.run(fickle.stop())
    try:
        assert 200 == ottm.ask("GET", BENEFITS, token=known).status
        assert (
            "10074" == (ottm.ask("GET", BENEFITS, token=narrow).json["error"]["code"])
        )
        assert is_an_outage(ottm.ask("GET", ME, token=unknown))
        ottm.gateway.revoke("ottm", known)
        assert "10075" == ottm.ask("GET", ME, token=known).json["error"]["code"]
    finally:
        backstage.run(fickle.start())

    assert 200 == ottm.ask("GET", ME, token=unknown).status


def test_the_other_providers_do_not_notice(ottm, fickle):
    """What is checked by its signature needs nobody."""
    fickle.mood = "broken"
    melon, nugu = Partner("melon", ottm.gateway), Partner("nugu", ottm.gateway)

    likes = melon.ask("GET", "/oauth/likes", token=melon.token())
    device = ("Device-Serial-Number", DEVICE)
    answer = nugu.ask("GET", "/v1/devices/me", device, token=nugu.token())

    assert (200, 200) == (likes.status, answer.status)


def test_an_outage_is_told_to_the_operator_and_does_not_unmake_readiness(ottm, fickle):
    """Every replica would leave the service at once for a trouble they share."""
    before = ottm.gateway.metric("idp_requests_total", code="500")
    fickle.mood = "broken"
    ottm.ask("GET", ME, token=ottm.token())

    assert before < ottm.gateway.metric("idp_requests_total", code="500")
    assert 200 == ottm.gateway.status("/readyz").status


def test_many_requests_with_one_unknown_token_ask_once(ottm, fickle):
    """One question per token is in flight, and its answer is everybody's."""
    token, before = ottm.token(), fickle.asked
    lines = [
        socket.create_connection(("127.0.0.1", ottm.gateway.ports.proxy))
        for _ in range(50)
    ]
    for line in lines:
        line.sendall(head("GET", ME, ottm.host, [bearer(token)]))
    answers = []
    for line in lines:
        line.settimeout(5)
        answers.append(line.recv(12))
        line.close()

    assert [b"HTTP/1.1 200"] * 50 == answers
    assert before + 1 == fickle.asked
    eventually(lambda: ottm.gateway.metric("http_requests_in_flight") == 0)


def test_an_upstream_that_is_gone_is_a_502(start_demo, sandbox):
    """The token was good, so nothing is said about it."""
    nowhere = "http://127.0.0.1:9"
    with running(start_demo(SANDBOX_URL=nowhere)) as gateway:
        melon = Partner("melon", gateway)
        past_us = exchange(sandbox.port, head("GET", "/melon/oauth/likes", "localhost"))
        answer = melon.authorize()

        assert 200 == past_us.status
        assert (502, "bad_gateway") == (answer.status, answer.json["error"])
        assert [] == answer.all("WWW-Authenticate")
