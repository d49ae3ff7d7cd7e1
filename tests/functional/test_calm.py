"""Calm when everything around fails: one question, grace, a breaker, a budget."""

import asyncio
import threading
import time
from collections import Counter
from contextlib import ExitStack

import pytest
from aiohttp import web

from tests.faults.crew import Pass
from tests.faults.crowd import interleaved
from tests.functional.harness import bearer, eventually, head, running
from tests.stores.servers import serving

PROCESSES = 4
EACH = 64

CONFIG = """
store: {{url: "{store}"}}
limits: {{unknown_tokens: {{burst: {burst}, per_minute: 6}}}}
providers:
  idp:
    verify: [introspection]
    introspection: {{url: "http://127.0.0.1:{idp}/introspect", client_id: us, client_secret: secret}}
    cache: {{ttl: {ttl}, negative_ttl: 1s, grace: {grace}}}
    questions: {{failures: 3}}
upstreams:
  lab: {{targets: ["http://127.0.0.1:{lab}"], keepalive: 5s, timeouts: {{connect: 10s}}}}
routes:
  - {{id: all, match: {{path: "/**"}}, provider: idp, upstream: lab}}
"""


class Issuer:
    """Introspection that answers at the test's word; tokens that begin with *good* are."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.port = 0
        self.down = False
        self.go = asyncio.Event()

    async def start(self) -> web.AppRunner:
        """Listen on a free port."""
        app = web.Application()
        app.router.add_post("/introspect", self.introspect)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.port = runner.addresses[0][1]
        return runner

    async def introspect(self, request: web.Request) -> web.Response:
        """Answer, once it may."""
        token = str((await request.post())["token"])
        self.asked[token] += 1
        await self.go.wait()
        if self.down:
            return web.Response(status=500)
        if not token.startswith("good"):
            return web.json_response({"active": False})
        return web.json_response(
            {"active": True, "sub": token, "exp": int(time.time()) + 300}  # noqa: TID251 -- for a process with the real clock
        )


@pytest.fixture(scope="module")
def issuer(backstage):
    """The provider."""
    issuer = Issuer()
    runner = backstage.run(issuer.start())
    yield issuer
    backstage.call(issuer.go.set)
    backstage.run(runner.cleanup())


@pytest.fixture(autouse=True)
def well(backstage, issuer):
    """Every test begins with a provider that is well."""
    issuer.down = False
    backstage.call(issuer.go.set)


@pytest.fixture(scope="module")
def start(start_lab, lab, issuer):
    """Start a gateway that asks the provider."""

    def build(store: str = "memory://", **changes):
        settings = {"ttl": "60s", "grace": "0s", "burst": 1000, **changes}
        return start_lab(
            CONFIG.format(store=store, idp=issuer.port, lab=lab.port, **settings)
        )

    return build


@pytest.fixture(scope="module")
def fleet(start):
    """Some gateways that share a Valkey."""
    with serving("valkey") as valkey, ExitStack() as stack:
        yield [
            stack.enter_context(running(start(valkey.url))) for _ in range(PROCESSES)
        ]


async def status(port: int, token: str) -> int:
    """Ask one gateway, on a connection of one's own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head("GET", "/x", "any.example", [bearer(token)]))
    line = await reader.readline()
    writer.close()
    return int(line.split()[1])


async def herd(fleet, token: str) -> Counter[int]:
    """Have all gateways asked at once, many times each."""
    return Counter(
        await asyncio.gather(
            *(status(each.ports.proxy, token) for each in fleet for _ in range(EACH))
        )
    )


async def stampede(backstage, issuer, fleet, token: str) -> Counter[int]:
    """Let them all come while the provider thinks."""
    backstage.call(issuer.go.clear)
    answers = asyncio.gather(herd(fleet, token))
    while not issuer.asked[token]:  # noqa: ASYNC110 -- on another loop
        await asyncio.sleep(0.01)
    # Time for a second question, were there one.
    await asyncio.sleep(0.3)
    backstage.call(issuer.go.set)
    (statuses,) = await answers
    return statuses


async def test_a_cold_token_is_one_question_of_all_processes(backstage, issuer, fleet):
    """256 requests at 4 processes: one call to the provider."""
    statuses = await stampede(backstage, issuer, fleet, "good-cold")

    assert {200: PROCESSES * EACH} == statuses
    assert 1 == issuer.asked["good-cold"]


async def test_users_are_themselves_at_every_process(fleet, lab):
    """500 of them, in any order; `make faults` does it with 10,000."""
    bearers = [Pass(f"good-user-{number}", f"user-{number}") for number in range(500)]
    lab.requests.clear()
    heard = await interleaved([each.ports.proxy for each in fleet], bearers)

    assert ({200: 2 * len(bearers)}, {}) == (heard.statuses, heard.lost)
    told = Counter(
        (target, value)
        for target, lines, _ in lab.requests
        for name, value in lines
        if name.lower() == b"x-auth-subject"
    )
    expected = {(f"/of/{each.subject}", each.token.encode()): 2 for each in bearers}
    assert expected == told


async def test_a_bad_token_is_one_question_too(backstage, issuer, fleet):
    """The verdict travels by notification alone."""
    statuses = await stampede(backstage, issuer, fleet, "bad-cold")

    assert {401: PROCESSES * EACH} == statuses
    assert 1 == issuer.asked["bad-cold"]


async def test_an_outage_is_one_question_and_its_further_try(backstage, issuer, fleet):
    """And 503 for everybody, at once."""
    issuer.down = True
    statuses = await stampede(backstage, issuer, fleet, "good-but-down")

    assert {503: PROCESSES * EACH} == statuses
    assert issuer.asked["good-but-down"] <= 2


def test_a_killed_leader_costs_its_lock_at_most(backstage, issuer, start):
    """The next one asks when that has run out, and nobody is refused."""
    with (
        serving("valkey") as valkey,
        running(start(valkey.url)) as leader,
        running(start(valkey.url)) as follower,
    ):
        backstage.call(issuer.go.clear)
        lost = threading.Thread(
            target=lambda: asyncio.run(_lost(leader.ports.proxy, "good-orphan"))
        )
        lost.start()
        eventually(lambda: issuer.asked["good-orphan"] == 1)
        leader.kill()
        backstage.call(issuer.go.set)
        began = time.monotonic()
        answer = follower.ask("GET", "/x", bearer("good-orphan"))
        took = time.monotonic() - began
        lost.join()

    assert 200 == answer.status
    assert 2 == issuer.asked["good-orphan"]
    assert took < 6


async def _lost(port: int, token: str) -> None:
    """Ask somebody who will not live to answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head("GET", "/x", "any.example", [bearer(token)]))
    assert b"" == await reader.read()
    writer.close()


def test_in_grace_an_outage_is_not_noticed_and_the_upstream_is_told(issuer, start, lab):
    """By a header that no client can send; an unknown token hears *later*."""
    with running(start(ttl="200ms", grace="1h")) as gateway:
        lie = ("X-Auth-Stale", "no")
        assert 200 == gateway.ask("GET", "/fresh", bearer("good-old"), lie).status
        issuer.down = True
        eventually(lambda: _told_stale(gateway, lab, lie))
        unknown = gateway.ask("GET", "/x", bearer("good-new"))

        assert 503 == unknown.status
        assert 0 < gateway.metric("token_validations_total", source="stale")
    fresh = next(lines for target, lines, _ in lab.requests if target == "/fresh")
    assert b"x-auth-stale" not in dict(fresh)


def _told_stale(gateway, lab, lie) -> bool:
    answer = gateway.ask("GET", "/stale", bearer("good-old"), lie)
    assert 200 == answer.status
    _, lines, _ = lab.requests[-1]
    said = [value for name, value in lines if name.lower() == b"x-auth-stale"]
    assert said in ([], [b"1"])
    return said == [b"1"]


def test_a_silent_provider_is_left_alone(issuer, start):
    """Three failures, and nobody asks; the next answer closes the breaker."""
    with running(start()) as gateway:
        issuer.down = True
        for number in range(10):
            answer = gateway.ask("GET", "/x", bearer(f"good-{number}"))
            assert 503 == answer.status
            assert 1 <= int(answer.header("Retry-After") or 0) <= 10
        asked = sum(issuer.asked[f"good-{number}"] for number in range(10))
        assert asked <= 6
        assert 1 == gateway.metric("circuit_state", state="open")
        assert 0 < gateway.metric("idp_requests_total", code="open")

        issuer.down = False
        eventually(lambda: gateway.ask("GET", "/x", bearer("good-0")).status == 200)
        assert 0 == gateway.metric("circuit_state", state="open")
        assert 1 == gateway.metric("circuit_state", state="closed")


def test_a_flood_of_invented_tokens_is_cut_off(issuer, start):
    """With 429 and a time to come back; known tokens go on."""
    with running(start(burst=5)) as gateway:
        assert 200 == gateway.ask("GET", "/x", bearer("good-known")).status
        answers = [
            gateway.ask("GET", "/x", bearer(f"invented-{number}"))
            for number in range(50)
        ]
        assert {401: 5, 429: 45} == Counter(answer.status for answer in answers)
        assert 1 <= int(answers[-1].header("Retry-After") or 0) <= 10
        assert 5 == sum(issuer.asked[f"invented-{number}"] for number in range(50))

        assert 200 == gateway.ask("GET", "/x", bearer("good-known")).status
