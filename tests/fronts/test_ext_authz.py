"""Proves the door where Envoy asks over gRPC: a real server, a real channel."""

import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from gateway.config.addresses import Address
from gateway.fronts.counsel import Counsel
from gateway.fronts.ext_authz import SERVICE, ExtAuthz, GrpcDoor, peer_address
from gateway.fronts.ext_authz_pb2 import (
    CheckRequest,
    CheckResponse,
    HeaderMap,
    HeaderValue,
    HeaderValueOption,
)
from gateway.rules.engine_headers import HANDOVER
from gateway.rules.forwarded import TrustedProxies
from gateway.values import WireLimits
from tests.fronts import house
from tests.fronts.house import door
from tests.wire.harness import until

REPLACE = HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD


@dataclass
class Envoy:
    """Asks as Envoy does, over one channel."""

    house: house.Door
    front: ExtAuthz
    server: GrpcDoor
    channel: grpc.aio.Channel
    port: int
    well: list[bool] = field(default_factory=lambda: [True])

    async def check(
        self,
        line: str,
        *headers: tuple[str, bytes],
        token: str | None = None,
        within: float | None = 5.0,
        **changes: Any,
    ) -> CheckResponse:
        """Ask about `GET /path`; each change is one of the request's own fields."""
        asked = request(line, *headers, token=token, **changes)
        return await self.put(asked, within=within)

    async def put(
        self, asked: CheckRequest, within: float | None = 5.0
    ) -> CheckResponse:
        """Put a whole question."""
        call = self.channel.unary_unary(
            f"/{SERVICE}/Check",
            request_serializer=CheckRequest.SerializeToString,
            response_deserializer=CheckResponse.FromString,
        )
        answer: CheckResponse = await call(asked, timeout=within)
        return answer

    async def health(self, service: str = "") -> int:
        """Ask for its health."""
        call = self.channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        answer = await call(health_pb2.HealthCheckRequest(service=service), timeout=5)
        return int(answer.status)


def request(
    line: str, *headers: tuple[str, bytes], token: str | None = None, **changes: Any
) -> CheckRequest:
    """Write a question as Envoy does with `encode_raw_headers`."""
    method, _, path = line.partition(" ")
    asked = CheckRequest()
    asked.attributes.source.address.socket_address.address = "192.0.2.7"
    http = asked.attributes.request.http
    http.method, http.path, http.host = method, path, "books.example"
    http.scheme, http.protocol = "https", "HTTP/1.1"
    bearer = [] if token is None else [("authorization", b"Bearer " + token.encode())]
    own = [(":method", method.encode()), (":path", path.encode())]
    lines = [*own, *bearer, *headers]
    http.header_map.CopyFrom(
        HeaderMap(
            headers=[HeaderValue(key=name, raw_value=value) for name, value in lines]
        )
    )
    for name, value in changes.items():
        setattr(http, name, value)
    return asked


@asynccontextmanager
async def envoy(*, peers: str = "127.0.0.0/8", **settings: Any) -> AsyncIterator[Envoy]:
    """Open a house and its door for Envoy."""
    async with door(**settings) as d:
        well = [True]
        front = ExtAuthz(
            Counsel(lambda: d.front.setup, lambda: d.reception),
            trusts=TrustedProxies([ipaddress.ip_network(peers)]).trusts,
            ready=lambda: well[0],
        )
        server = GrpcDoor(front, WireLimits(), shared=False)
        address = await server.open(Address("127.0.0.1", 0))
        async with grpc.aio.insecure_channel(str(address)) as channel:
            try:
                yield Envoy(d, front, server, channel, address.port, well)
            finally:
                await server.close()


def put(answer: CheckResponse) -> dict[str, str]:
    """Give the headers that Envoy is told to put in; each replaces what is there."""
    assert answer.status.code == 0
    options = answer.ok_response.headers
    assert {REPLACE} == {each.append_action for each in options}
    return {each.header.key: each.header.value for each in options}


def denied(answer: CheckResponse) -> tuple[int, dict[str, str], str]:
    """Give the refusal for the client."""
    assert answer.status.code != 0
    response = answer.denied_response
    headers = {each.header.key: each.header.value for each in response.headers}
    return response.status.code, headers, response.body


# ------------------------------------------------------------------------- leave


async def test_leave_tells_who_calls_and_which_upstream_is_asked():
    """Identity replaces whatever the client sent; the token goes no further."""
    async with envoy() as e:
        answer = await e.check(
            "GET /api/a?b=1",
            ("x-auth-subject", b"root"),
            ("x_auth_client", b"root"),
            token="Tr",
        )

        told = put(answer)
        assert ("ada", "shop", "u") == (
            told["x-auth-subject"],
            told["x-auth-client"],
            told["x-gateway-upstream"],
        )
        assert ":path" not in told
        assert {"authorization", "x_auth_client"} <= set(
            answer.ok_response.headers_to_remove
        )


async def test_nothing_that_is_put_in_is_taken_out_again():
    """Envoy takes out after it has put in."""
    async with envoy() as e:
        answer = await e.check("GET /api/a", ("x-gateway-upstream", b"v"), token="Tr")

        removed = set(answer.ok_response.headers_to_remove)
        assert set() == removed & set(put(answer))


async def test_a_token_in_the_query_is_taken_out_of_the_target():
    """All else of the query stays as it was, to the byte."""
    async with envoy() as e:
        answer = await e.check("GET /query/%61?x=%zz&access_token=Tr&y=+;")

        assert "/query/%61?x=%zz&y=+;" == put(answer)[":path"]


async def test_the_target_is_rewritten_as_the_route_says():
    """Prefix off, prefix on."""
    async with envoy() as e:
        answer = await e.check("GET /strip/a?b", token="Tr")

        assert "/v1/a?b" == put(answer)[":path"]


async def test_the_token_is_handed_on_where_the_route_says_so():
    """And it alone."""
    async with envoy() as e:
        answer = await e.check("GET /pass/a", token="Tr")

        assert "Bearer Tr" == put(answer)["authorization"]


async def test_headers_are_taken_as_a_map_too():
    """Where Envoy is not told to send them one by one."""
    async with envoy() as e:
        asked = request("GET /api/a")
        http = asked.attributes.request.http
        http.ClearField("header_map")
        http.headers["authorization"] = "Bearer Tr"
        http.headers[":path"] = "/admin/a"
        answer = await e.put(asked)

        assert "ada" == put(answer)["x-auth-subject"]


# ---------------------------------------------------------------------- refusals


async def test_a_refusal_is_in_the_dialects_words():
    """Status, challenge and body."""
    async with envoy() as e:
        status, headers, body = denied(await e.check("GET /api/a", token="Tx"))

        assert 401 == status
        assert 'realm="books"' in headers["www-authenticate"]
        assert "invalid_token" in body
        assert headers["x-request-id"]


async def test_each_refusal_has_its_code():
    """What Envoy's metrics tell apart."""
    async with envoy() as e:
        missing = await e.check("GET /api/a")
        scope = await e.check("GET /admin/a", token="Tr")

        assert (16, 401) == (missing.status.code, denied(missing)[0])
        assert (7, 403) == (scope.status.code, denied(scope)[0])


async def test_ottm_refuses_by_400():
    """A dialect's own status goes through."""
    async with envoy() as e:
        status, _, body = denied(await e.check("GET /locked/a"))

        assert 400 == status
        assert '"code"' in body


async def test_two_authorization_headers_are_a_refusal():
    """Header lines come one by one, so that both are seen (SECURITY §1 C)."""
    async with envoy() as e:
        two = ("authorization", b"Bearer Ta")

        assert 400 == denied(await e.check("GET /api/a", two, token="Tr"))[0]


@pytest.mark.parametrize("target", ["/api/../admin/a", "/api//a", "/api/%2e%2e/x"])
async def test_a_target_that_can_be_read_twice_is_refused(target):
    """As at the main door."""
    async with envoy() as e:
        assert 400 == denied(await e.check(f"GET {target}", token="Tr"))[0]


@pytest.mark.parametrize(
    "changes",
    [{"method": ""}, {"path": ""}, {"host": ""}, {"scheme": ""}, {"scheme": "ftp"}],
    ids=str,
)
async def test_what_is_no_whole_question_is_refused(changes):
    """In doubt the answer is no."""
    async with envoy() as e:
        assert 400 == denied(await e.check("GET /public/a", **changes))[0]


async def test_a_value_that_is_no_text_is_refused():
    """Nobody knows how an upstream would read it."""
    async with envoy() as e:
        odd = ("x-role", b"\x85admin\xa0")

        assert 400 == denied(await e.check("GET /public/a", odd))[0]


async def test_a_stranger_may_not_ask():
    """Only trusted peers, since an answer tells what a token may do."""
    async with envoy(peers="10.0.0.0/8") as e:
        status, _, body = denied(await e.check("GET /api/a", token="Tr"))

        assert 403 == status
        assert "may not ask" in body
        assert [] == e.house.facts.asked


async def test_a_preflight_is_answered_through_envoy():
    """A success is a refusal to forward."""
    async with envoy() as e:
        answer = await e.check(
            "OPTIONS /cors/a",
            ("origin", b"https://app.example"),
            ("access-control-request-method", b"PUT"),
        )

        status, headers, _ = denied(answer)
        assert 204 == status
        assert "https://app.example" == headers["access-control-allow-origin"]


async def test_what_takes_a_body_is_served_elsewhere():
    """Misdirected, unless Envoy's configuration knows where our listener is."""
    async with envoy() as e:
        assert 421 == denied(await e.check("POST /oauth/token"))[0]

        asked = request("POST /oauth/token")
        asked.attributes.context_extensions[HANDOVER] = "_gateway"
        answer = await e.put(asked)

        assert {"x-gateway-upstream": "_gateway"} == put(answer)
        assert [] == list(answer.ok_response.headers_to_remove)


async def test_only_what_is_misdirected_is_handed_over():
    """Every other refusal stays one."""
    async with envoy() as e:
        asked = request("GET /api/a")
        asked.attributes.context_extensions[HANDOVER] = "_gateway"

        assert 401 == denied(await e.put(asked))[0]


# --------------------------------------------------------------------- deadlines


async def test_the_answer_comes_before_envoys_patience_ends():
    """What cannot be known in time is a 503 in the dialect's words, never a 401."""
    async with envoy() as e:
        e.house.facts.gate.clear()
        answer = await e.check("GET /api/a", token="Tr", within=0.2)
        status, headers, _ = denied(answer)

        assert 503 == status
        assert headers["retry-after"]
        (record,) = e.house.exchanges
        assert ("provider_unavailable", "error", "envoy_grpc") == (
            record.reason,
            record.decision,
            record.door,
        )
        e.house.facts.gate.set()


async def test_envoy_that_goes_away_ends_the_wait():
    """Nobody hears the answer."""
    async with envoy() as e:
        e.house.facts.gate.clear()
        asking = asyncio.ensure_future(  # noqa: TID251 -- a client's own
            e.check("GET /api/a", token="Tr", within=None)
        )
        await until(lambda: e.house.facts.asked)
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking
        await until(lambda: e.house.exchanges)

        assert "client_gone" == e.house.exchanges[0].reason
        e.house.facts.gate.set()


# ------------------------------------------------------------------------ health


async def test_health_is_that_of_the_process():
    """As `/readyz`: kubelet and Envoy ask here."""
    async with envoy() as e:
        serving = health_pb2.HealthCheckResponse.SERVING
        assert (serving, serving) == (await e.health(), await e.health(SERVICE))
        e.well[0] = False

        assert health_pb2.HealthCheckResponse.NOT_SERVING == await e.health()


async def test_nobody_knows_the_health_of_another_service():
    """GRPC's own convention."""
    async with envoy() as e:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await e.health("other")

        assert grpc.StatusCode.NOT_FOUND == error.value.code()


async def test_health_is_watched():
    """Told at once, and when it changes."""
    async with envoy() as e:
        call = e.channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )(health_pb2.HealthCheckRequest(), timeout=10)
        told = []
        async for each in call:
            told.append(each.status)
            e.well[0] = False
            if len(told) == 2:
                break
        call.cancel()

        states = health_pb2.HealthCheckResponse
        assert [states.SERVING, states.NOT_SERVING] == told


# ---------------------------------------------------------------------- its life


async def test_a_drain_answers_what_was_asked():
    """And lets nobody ask any more."""
    async with envoy() as e:
        e.house.facts.gate.clear()
        asking = asyncio.ensure_future(  # noqa: TID251 -- a client's own
            e.check("GET /api/a", token="Tr")
        )
        await until(lambda: e.house.facts.asked)
        e.server.drain(5)
        await asyncio.sleep(0)

        assert not e.server.ended
        e.house.facts.gate.set()
        assert "ada" == put(await asking)["x-auth-subject"]
        await until(lambda: e.server.ended)


async def test_a_port_in_use_is_an_error():
    """Not shared by accident: another gateway may have it."""
    async with envoy() as e:
        other = GrpcDoor(e.front, WireLimits(), shared=False)
        with pytest.raises(OSError, match="cannot be had"):
            await other.open(Address("127.0.0.1", e.port))
        await other.close()


async def test_workers_share_a_port():
    """The kernel deals connections to them."""
    async with envoy() as e:
        one = GrpcDoor(e.front, WireLimits(), shared=True)
        other = GrpcDoor(e.front, WireLimits(), shared=True)
        address = await one.open(Address("127.0.0.1", 0))

        assert address == await other.open(address)
        await one.close()
        await other.close()


@pytest.mark.parametrize(
    ("told", "address"),
    [
        ("ipv4:127.0.0.1:80", "127.0.0.1"),
        ("ipv6:[::1]:80", "::1"),
        ("ipv6:%5B::1%5D:80", "::1"),
        ("unix:/run/x", "unix"),
        ("unix:", "unix"),
        ("ipv4:nonsense", ""),
        ("", ""),
    ],
)
def test_a_peer_is_named_by_its_address(told, address):
    """What gRPC says of it."""
    assert address == peer_address(told)
