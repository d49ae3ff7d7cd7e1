"""Spans of a running gateway, by a collector and an upstream that are told of them."""

import random
import re
import time
from collections.abc import Iterator, Sequence

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.functional.harness import (
    Gateway,
    bearer,
    eventually,
    exchange,
    head,
    running,
)
from tests.stores.servers import serving

CALLER = "b7ad6b7169203331"
SECRETIVE = ("hidden-path", "hidden.example", "hidden-agent", "hidden-state", "good-")

CONFIG = """
store: {{url: "{store}"}}
tracing: {{enabled: true{more}}}
providers:
  acme:
    verify: [introspection]
    introspection: {{url: "http://127.0.0.1:{port}/introspect", client_id: us, client_secret: secret}}
upstreams:
  lab: {{targets: ["http://127.0.0.1:{port}"]}}
routes:
  - {{id: read, match: {{path: "/api/**"}}, provider: acme, upstream: lab}}
"""


class World:
    """A provider, an upstream and a collector; what came to each."""

    def __init__(self) -> None:
        self.port = 0
        self.asked: list[web.BaseRequest] = []
        self.served: list[web.BaseRequest] = []
        self.exported: list[bytes] = []

    async def start(self) -> web.AppRunner:
        """Listen on a free port."""
        app = web.Application()
        app.router.add_post("/introspect", self.introspect)
        app.router.add_post("/v1/traces", self.collect)
        app.router.add_route("*", "/api/{rest:.*}", self.serve)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.port = runner.addresses[0][1]
        return runner

    async def introspect(self, request: web.Request) -> web.Response:
        """Know tokens that begin with `good`."""
        self.asked.append(request)
        known = str((await request.post())["token"]).startswith("good")
        exp = int(time.time()) + 300  # noqa: TID251 -- for a process with the real clock
        return web.json_response({"active": known, **({"exp": exp} if known else {})})

    async def serve(self, request: web.Request) -> web.Response:
        """Serve, or fail where that is asked for."""
        self.served.append(request)
        return web.Response(status=500 if "failing" in request.path else 200)

    async def collect(self, request: web.Request) -> web.Response:
        """Take spans."""
        self.exported.append(await request.read())
        return web.Response()

    def spans(self) -> list[Span]:
        """Every span that came."""
        return [
            span
            for each in self.exported
            for resource in ExportTraceServiceRequest.FromString(each).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def trace(self, trace: str, names: int) -> dict[str, Span]:
        """Wait for so many spans of a trace; gives them by name."""

        def found() -> dict[str, Span]:
            return {
                span.name: span for span in self.spans() if span.trace_id.hex() == trace
            }

        eventually(lambda: len(found()) >= names, told=f"not {names} spans")
        return found()


@pytest.fixture(scope="module")
def world(backstage) -> Iterator[World]:
    """One for all tests: what is theirs they know by its trace."""
    world = World()
    runner = backstage.run(world.start())
    yield world
    backstage.run(runner.cleanup())


@pytest.fixture(scope="module")
def start(start_lab, world):
    """Start a gateway that is traced."""

    def build(store: str = "memory://", more: str = "", **environ: str) -> Gateway:
        gateway: Gateway = start_lab(
            CONFIG.format(store=store, port=world.port, more=more),
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{world.port}",
            OTEL_BSP_SCHEDULE_DELAY="100",
            **environ,
        )
        return gateway

    return build


@pytest.fixture(scope="module")
def traced(start) -> Iterator[Gateway]:
    """One that shares its facts."""
    with serving("valkey") as valkey, running(start(valkey.url)) as gateway:
        yield gateway


@pytest.fixture
def trace() -> str:
    """Name a trace that nobody has named before."""
    return f"{random.getrandbits(128) | 1:032x}"


def ask(
    gateway: Gateway,
    token: str,
    trace: str,
    *,
    flags: str = "01",
    path: str = "/api/hidden-path",
) -> int:
    """Ask as part of a trace."""
    lines: Sequence[tuple[str, str]] = [
        bearer(token),
        ("traceparent", f"00-{trace}-{CALLER}-{flags}"),
        ("tracestate", "vendor=hidden-state"),
        ("User-Agent", "hidden-agent"),
    ]
    request = head("GET", path, "hidden.example", lines)
    return exchange(gateway.ports.proxy, request).status


def told(span: Span) -> dict[str, str | int]:
    """What a span tells."""
    return {
        each.key: each.value.string_value or each.value.int_value
        for each in span.attributes
    }


def named(request: web.BaseRequest) -> tuple[str, str, str]:
    """Trace, span and flags that a request names; exactly one."""
    (value,) = request.headers.getall("traceparent")
    found = re.fullmatch(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})", value)
    assert found is not None
    return found[1], found[2], found[3]


def test_a_request_is_recorded_with_all_that_it_waits_for(traced, world, trace):
    """Below the caller's span; provider and upstream are told of their own."""
    assert 200 == ask(traced, "good-1", trace)
    spans = world.trace(trace, 6)
    (served,) = at(world.served, trace)
    (asked,) = at(world.asked, trace)

    request, decision = spans["GET read"], spans["decision"]
    assert CALLER == request.parent_span_id.hex()
    assert request.span_id == decision.parent_span_id
    below = {"introspect acme", "store get", "store put"}
    assert {decision.span_id} == {spans[name].parent_span_id for name in below}
    upstream = spans["upstream lab"]
    assert request.span_id == upstream.parent_span_id
    assert (trace, upstream.span_id.hex(), "01") == named(served)
    assert (trace, spans["introspect acme"].span_id.hex(), "01") == named(asked)
    assert "vendor=hidden-state" == served.headers["tracestate"]
    assert "tracestate" not in asked.headers
    assert {
        "gateway.decision": "allow",
        "gateway.reason": "ok",
        "gateway.source": "provider",
    } == told(decision)
    assert 200 == told(request)["http.response.status_code"]
    assert "read" == told(request)["gateway.route"]


def test_no_span_holds_a_word_of_the_client(traced, world, trace):
    """Neither token nor path, host, agent or tracestate; nor what failed upstream."""
    assert 500 == ask(traced, "good-2", trace, path="/api/hidden-path/failing")
    assert 401 == ask(traced, "bad-hidden", trace)
    assert 404 == ask(traced, "good-2", trace, path="/hidden-path")
    names = world.trace(trace, 7).keys()

    assert {"GET read", "GET _unmatched", "decision", "upstream lab"} < names
    for word in (*SECRETIVE, "bad-hidden", "secret"):
        assert word.encode() not in b"".join(world.exported)


def test_what_the_caller_does_not_record_is_not_recorded(traced, world, trace):
    """But the trace goes on: the upstream hears of it. Neither metrics nor log do."""
    other = f"{int(trace, 16) ^ 2:032x}"
    assert 200 == ask(traced, "good-3", trace, flags="00")
    assert 200 == ask(traced, "good-3", other, flags="01")
    world.trace(other, 3)
    (served,) = at(world.served, trace)

    assert CALLER != named(served)[1]
    assert "00" == named(served)[2]
    assert not [span for span in world.spans() if span.trace_id.hex() == trace]
    marked = [line for line in openmetrics(traced).splitlines() if "trace_id" in line]
    assert [f'# {{trace_id="{other}"}}' in line for line in marked].count(True) == 1
    assert {"gateway_http_request_duration_seconds_bucket"} == {
        line.partition("{")[0] for line in marked
    }
    assert trace not in str(marked)
    eventually(
        lambda: [line for line in traced.exchanges() if line["trace_id"] == other]
    )
    assert trace not in traced.printed()[0]


def test_nobody_but_a_trusted_proxy_may_have_us_record(start, world, trace):
    """With `parent: trusted` the ratio decides for everybody else: here, none."""
    sampler = {
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0",
    }
    before = len(world.served)
    with running(start(more=", parent: trusted", **sampler)) as gateway:
        assert 200 == ask(gateway, "good-4", trace)
    (served,) = world.served[before:]

    assert trace != named(served)[0]
    assert "00" == named(served)[2]
    # Whose trace it was not, his state it is not either.
    assert "tracestate" not in served.headers
    assert trace not in {span.trace_id.hex() for span in world.spans()}


def test_a_collector_that_is_away_holds_up_nobody(start, trace):
    """Neither requests nor the end of the process."""
    away = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9/v1/traces"}
    with running(start(**away)) as gateway:
        assert 200 == ask(gateway, "good-5", trace)
        began = time.monotonic()
        assert 0 == gateway.stop()

    assert time.monotonic() - began < 8


def test_untraced_the_clients_context_passes_as_it_is(lab_gateway, lab, trace):
    """Who does not take part in a trace does not break it."""
    mark = f"00-{trace}-{CALLER}-01"
    lab_gateway.ask(
        "GET", "/open/traced", ("traceparent", mark), ("tracestate", "vendor=state")
    )
    (received,) = [lines for target, lines, _ in lab.requests if "traced" in target]
    passed = {name.lower(): value for name, value in received}

    assert mark.encode() == passed[b"traceparent"]
    assert b"vendor=state" == passed[b"tracestate"]


def at(requests: Sequence[web.BaseRequest], trace: str) -> list[web.BaseRequest]:
    """Give those that are part of a trace."""
    return [request for request in requests if named(request)[0] == trace]


def openmetrics(gateway: Gateway) -> str:
    """Scrape in the form that has exemplars."""
    lines = [("Accept", "application/openmetrics-text; version=1.0.0")]
    request = head("GET", "/metrics", "localhost", lines)
    return exchange(gateway.ports.status, request).body.decode()
