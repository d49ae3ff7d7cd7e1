"""Proves that every door judges alike: one verdict, one identity, one upstream request.

The proxy door forwards by itself. At the others an engine asks: here one that does
exactly what its kind does with an answer (the real ones are proven by `make engines`).
What an engine forces to be different is listed by name in `parity.DIFFERENCES`.
"""

import ipaddress
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from gateway.config.addresses import Address
from gateway.facts.mark_stream import ClearSight
from gateway.fronts.counsel import Counsel
from gateway.rules.forwarded import TrustedProxies
from gateway.values import Header, Reason, WireLimits
from tests.fronts.engines import Desk, desk, question
from tests.fronts.house import Door, Told, api, door, read_responses
from tests.fronts.parity import (
    CASES,
    DIFFERENCES,
    ELSEWHERE_DECIDED,
    ENGINES,
    HEADERS,
    TABLE,
    Case,
    teach,
)

DOORS = tuple(DIFFERENCES)

HOPS = {b"connection", b"content-length", b"keep-alive", b"max-forwards", b"via"}
"""Each hop has its own; so are the headers that tell where a request came from."""

OWN_WORDS = {b"connection", b"content-length", b"date", b"server", b"x-request-id"}


@dataclass(frozen=True)
class Sent:
    """What the upstream is asked, but for what is each hop's own."""

    method: str
    target: bytes
    headers: tuple[Header, ...]


@dataclass(frozen=True)
class Outcome:
    """What became of a request, whichever door it came to."""

    status: int
    reason: str
    route: str
    client: str
    words: tuple[tuple[Header, ...], bytes] | None
    sent: Sent | None


def sent(method: str, target: bytes, headers: Iterable[Header]) -> Sent:
    """Keep what two hops have in common."""
    kept = [
        (name.lower(), value)
        for name, value in headers
        if name.lower() not in HOPS
        and not name.lower().startswith(b"x-forwarded-")
        and name.lower() != b"x-request-id"
    ]
    return Sent(method, target, tuple(sorted(kept)))


def words(headers: Iterable[Header], body: bytes) -> tuple[tuple[Header, ...], bytes]:
    """Keep what the gateway says of an answer."""
    kept = [
        (name.lower(), value)
        for name, value in headers
        if name.lower() not in OWN_WORDS
    ]
    return tuple(sorted(kept)), body


def lines(case: Case) -> list[Header]:
    """Give the header lines that the client sends, but for Host."""
    own = [] if case.token is None else [("Authorization", f"Bearer {case.token}")]
    return [
        (name.encode(), value if isinstance(value, bytes) else value.encode())
        for name, value in (*own, *case.headers)
    ]


def outcome(
    house: Door, status: int, said: Any, asked: Sent | None, *, told: bool
) -> Outcome:
    """Put the record and the answer together."""
    record = house.exchanges[-1]
    return Outcome(
        status,
        record.reason,
        record.route,
        record.client,
        said if told else None,
        asked,
    )


# -------------------------------------------------------------------- the proxy door


async def by_proxy(house: Door, case: Case) -> Outcome:
    """Send the request to the door that forwards by itself."""
    raw = f"{case.line} HTTP/1.1\r\nHost: {case.host}\r\n".encode()
    raw += b"".join(b"%b: %b\r\n" % line for line in lines(case))
    before = len(house.upstream.requests)
    answer = await house.exchange(raw + b"Connection: close\r\n\r\n")
    [told] = read_responses(answer, bodiless=case.line.startswith("HEAD "))
    received = house.upstream.requests[before:]
    if received:
        [one] = received
        asked = sent(one.method, one.target, one.headers)
        return outcome(house, told.status, None, asked, told=False)
    said = words(told.headers, told.body)
    return outcome(house, told.status, said, None, told=True)


# ----------------------------------------------------------------- doors for engines


def seen_by(engine: str, case: Case) -> list[Header]:
    """Give what the engine takes in of the client's headers."""
    if engine != "nginx":
        return lines(case)
    # Its defaults: underscores_in_headers off, ignore_invalid_headers on.
    return [
        (name, value)
        for name, value in lines(case)
        if name.replace(b"-", b"").isalnum()
    ]


async def put(asked: Desk, engine: str, case: Case) -> Told:
    """Ask as this engine does."""
    method, _, target = case.line.partition(" ")
    path, sent_as, own = question(engine, method, target, case.host)
    theirs = {line.partition(":")[0].lower() for line in own}
    headers = [
        name + b": " + value
        for name, value in seen_by(engine, case)
        # It replaces what it sets itself, and frames its own messages.
        if name.decode().lower() not in theirs | {"connection", "content-length"}
    ]
    return await asked.send(path, *own, *headers, method=sent_as)


async def by_engine(asked: Desk, engine: str, case: Case) -> Outcome:
    """Ask, and do as told."""
    house = asked.house
    told = await put(asked, engine, case)
    if told.status != 200:
        folded = told.status
        if engine == "nginx":
            assert (folded in (401, 403), told.body) == (True, b"")
            told = await put(asked, "nginx_refusal", case)
            assert (told.status == 401) == (folded == 401)
        said = words(told.headers, told.body)
        return outcome(house, told.status, said, None, told=True)
    method, _, target = case.line.partition(" ")
    gone = set(ENGINES.replaced)
    if engine == "envoy":
        gone |= set((told.value(b"x-envoy-auth-headers-to-remove") or b"").split(b","))
    new = [header for header in told.headers if header[0] in ENGINES.replaced]
    here = [header for header in new if not header[0].startswith(b"x-gateway-")]
    forwarded = forward(engine, case, gone, here)
    if engine == "nginx":
        target = (told.value(b"x-gateway-target") or b"").decode()
    assert told.value(b"x-gateway-upstream") is not None
    asked_for = sent(method, target.encode(), forwarded)
    return outcome(house, 200, None, asked_for, told=False)


def forward(
    engine: str, case: Case, gone: set[bytes], new: list[Header]
) -> list[Header]:
    """Give the headers that the engine forwards."""
    kept = [header for header in seen_by(engine, case) if header[0].lower() not in gone]
    # Hop-by-hop fields are every engine's to take out (RFC 9110 §7.6.1).
    return [(b"host", case.host.encode()), *kept, *new]


async def by_grpc(house: Door, case: Case) -> Outcome:
    """Ask as Envoy does over gRPC, and do as told."""
    grpc = pytest.importorskip("grpc", reason="gRPC is not installed (extra `grpc`)")
    from gateway.fronts import ext_authz  # noqa: PLC0415 -- an extra
    from gateway.fronts import ext_authz_pb2 as pb  # noqa: PLC0415
    from tests.fronts import test_ext_authz as envoys  # noqa: PLC0415

    method, _, target = case.line.partition(" ")
    asked = envoys.request(
        case.line,
        *((name.decode().lower(), value) for name, value in lines(case)),
        host=case.host,
        scheme="http",
    )
    trusts = TrustedProxies([ipaddress.ip_network("127.0.0.0/8")]).trusts
    counsel = Counsel(lambda: house.front.setup, lambda: house.reception)
    server = ext_authz.GrpcDoor(
        ext_authz.ExtAuthz(counsel, trusts=trusts, ready=lambda: True),
        WireLimits(),
        shared=False,
    )
    address = await server.open(Address("127.0.0.1", 0))
    try:
        async with grpc.aio.insecure_channel(str(address)) as channel:
            call = channel.unary_unary(
                f"/{ext_authz.SERVICE}/Check",
                request_serializer=pb.CheckRequest.SerializeToString,
                response_deserializer=pb.CheckResponse.FromString,
            )
            told = await call(asked, timeout=5)
    finally:
        await server.close()
    if told.HasField("denied_response"):
        denied = told.denied_response
        headers = [
            (each.header.key.encode(), each.header.value.encode())
            for each in denied.headers
        ]
        said = words(headers, denied.body.encode())
        return outcome(house, denied.status.code, said, None, told=True)
    new = [
        (each.header.key.encode(), each.header.value.encode())
        for each in told.ok_response.headers
    ]
    put_in = {name for name, _ in new}
    gone = put_in | {name.encode() for name in told.ok_response.headers_to_remove}
    target = dict(new).get(b":path", target.encode()).decode()
    here = [h for h in new if not h[0].startswith((b":", b"x-gateway-"))]
    forwarded = forward("envoy_grpc", case, gone, here)
    return outcome(
        house, 200, None, sent(method, target.encode(), forwarded), told=False
    )


# ------------------------------------------------------------------------- the proof


@asynccontextmanager
async def judged(**settings: Any) -> AsyncIterator[Door]:
    """Open a house that knows the table's tokens."""
    async with door(routes=TABLE, **settings) as d:
        teach(d.facts)
        d.ledger.revoked.add("Trevoked")
        d.front.setup = replace(d.front.setup, headers=HEADERS, engines=ENGINES)
        yield d


async def through(house: Door, name: str, case: Case) -> Outcome:
    """Ask at the door of this name."""
    if name == "envoy_grpc":
        return await by_grpc(house, case)
    async with desk(house) as asked:
        return await by_engine(asked, name, case)


@pytest.mark.parametrize("name", CASES)
async def test_every_door_judges_alike(name):
    """One verdict, one identity, one upstream request; or the difference is named."""
    case = CASES[name]
    async with judged() as d:
        expected = await by_proxy(d, case)
        assert (case.status, case.reason) == (expected.status, expected.reason)
        for engine in DOORS:
            found = await through(d, engine, case)

            other = DIFFERENCES[engine].get(name)
            if other is None:
                assert same(expected, case) == same(found, case), engine
            else:
                assert other == (found.status, found.reason), engine
                assert (found.sent is None) == (found.status != 200)


def same(told: Outcome, case: Case) -> Outcome:
    """Leave out what no two doors have in common."""
    said = told.words
    if said is not None and case.line.startswith("HEAD "):
        said = (said[0], b"")
    return replace(told, words=said)


async def test_a_fault_of_ours_is_told_alike():
    """A 500 in the dialect's words, and nothing upstream."""
    case = Case(line="GET /api/a", token="Tcrash")
    async with judged() as d:
        expected = await by_proxy(d, case)
        for engine in DOORS:
            assert expected == await through(d, engine, case), engine
        d.crashes.clear()

    assert (500, "internal") == (expected.status, expected.reason)


class Lost(ClearSight):
    """Revocations have been unheard of for too long."""

    blind = True
    lost = True
    trust = 10.0


async def test_what_is_not_known_of_revocations_is_refused_alike():
    """On routes that are strict."""
    case = Case(line="GET /locked/a", token="Tr")
    strict = [api("/locked/**", strict_revocation=True)]
    async with door(routes=strict, sight=Lost()) as d:
        expected = await by_proxy(d, case)
        for engine in DOORS:
            found = await through(d, engine, case)
            # The wait is spread, lest all clients come back as one.
            assert (503, "revocations_unknown") == (found.status, found.reason)

    assert (503, "revocations_unknown") == (expected.status, expected.reason)


def test_the_table_has_every_reason_there_is_to_refuse():
    """A reason that is added is added here, or it is said why not."""
    covered = {
        case.reason for case in CASES.values() if isinstance(case.reason, Reason)
    }

    assert len(CASES) >= 60
    assert set(Reason) == covered | ELSEWHERE_DECIDED
    assert not covered & ELSEWHERE_DECIDED


def test_every_difference_is_about_a_case_that_is_there():
    """And says something else than the proxy door does."""
    for engine, differences in DIFFERENCES.items():
        for name, other in differences.items():
            assert other != (CASES[name].status, CASES[name].reason), (engine, name)
