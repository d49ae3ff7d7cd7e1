import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from prometheus_client import CollectorRegistry

from gateway.errors import ConfigError, ProviderUnavailable, StoreUnavailable
from gateway.observe.metrics import Metrics
from gateway.observe.tally import Spread
from gateway.observe.tracing import (
    Exemplars,
    TracedHttp,
    TracedStore,
    Traces,
    open_traces,
)
from gateway.ports import Question, Reply
from tests.facts.doubles import Cupboard
from tests.observe.test_metrics import exchange

CALLER = [(b"traceparent", b"00-%032x-%016x-01" % (10, 20)), (b"tracestate", b"v=1")]
SILENT = [(b"traceparent", b"00-%032x-%016x-00" % (10, 20))]
QUESTION = Question(endpoint="jwks", url="https://id.example/jwks", headers={"a": "b"})


@pytest.fixture
def exporter():
    """Keeps spans that have ended."""
    return InMemorySpanExporter()


@pytest.fixture
def traces(exporter):
    """Traces that end at once in the exporter."""
    traces = Traces(SimpleSpanProcessor(exporter))
    yield traces
    traces.close()


@contextmanager
def environment(**changes: str) -> Iterator[None]:
    """Change the environment for a while."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    yield
    for name, value in before.items():
        del os.environ[name]
        if value is not None:
            os.environ[name] = value


class Http:
    """A provider that notes what it is asked."""

    def __init__(self, *, down: bool = False) -> None:
        self.asked: list[Question] = []
        self._down = down

    async def ask(self, question: Question) -> Reply:
        self.asked.append(question)
        if self._down:
            raise ProviderUnavailable("a word that may quote somebody")
        return Reply(200, {}, b"")


def identity(span: ReadableSpan) -> int:
    """Give a span's own identifier."""
    assert span.context is not None
    identifier: int = span.context.span_id
    return identifier


def above(span: ReadableSpan) -> int:
    """Give the identifier of a span's parent."""
    assert span.parent is not None
    identifier: int = span.parent.span_id
    return identifier


def by_name(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    """Give the spans that have ended."""
    return {span.name: span for span in exporter.get_finished_spans()}


def test_a_callers_span_is_continued(traces, exporter):
    """Ours is below it, and what we ask is below ours."""
    span = traces.begin(CALLER, trusted=True)
    asking = span.child("upstream", asks=True)
    (_, value), state = asking.onward()
    asking.end({"http.response.status_code": 200})
    span.end({}, name="GET read", failure="crashed")
    spans = by_name(exporter)

    assert f"{10:032x}" == span.trace_id
    assert 20 == above(spans["GET read"])
    assert SpanKind.SERVER is spans["GET read"].kind
    assert SpanKind.CLIENT is spans["upstream"].kind
    assert identity(spans["GET read"]) == above(spans["upstream"])
    assert value == b"00-%032x-%016x-01" % (10, identity(spans["upstream"]))
    assert (b"tracestate", b"v=1") == state
    # What a client says travels on, and is kept nowhere.
    assert "v=1" not in spans["GET read"].to_json()
    assert "crashed" == spans["GET read"].status.description


def test_a_caller_who_is_not_trusted_begins_nothing(traces):
    """A trace of our own, and nothing of his goes on."""
    span = traces.begin(CALLER, trusted=False)

    assert f"{10:032x}" != span.trace_id
    assert 1 == len(span.onward())


def test_what_is_not_sampled_costs_no_span(traces, exporter):
    """It stands for all that is below it; the trace goes on."""
    span = traces.begin(SILENT, trusted=True)
    child = span.child("decision")
    child.end({"a": 1}, failure="x")
    span.end({})
    ((_, value),) = child.onward()

    assert "" == span.trace_id
    assert value.startswith(b"00-%032x-" % 10)
    assert value.endswith(b"-00")
    assert b"%016x" % 20 not in value
    assert () == exporter.get_finished_spans()


def test_a_span_ends_once(traces, exporter):
    """Whoever comes later changes nothing."""
    span = traces.begin([], trusted=True)
    span.end({"gateway.reason": "ok"})
    span.end({"gateway.reason": "internal"}, failure="late")
    (ended,) = exporter.get_finished_spans()

    assert span.over
    assert {"gateway.reason": "ok"} == ended.attributes
    assert ended.status.is_unset


async def test_a_question_to_a_provider_is_told_of_its_span(traces, exporter):
    """In a task that was begun within; nothing of the caller's but the trace."""
    http = Http()
    asking = TracedHttp("acme", http)
    span = traces.begin(CALLER, trusted=True)
    with traces.within(span):
        task = asyncio.get_running_loop().create_task(asking.ask(QUESTION))
    assert 200 == (await task).status
    told = by_name(exporter)["jwks acme"]

    (asked,) = http.asked
    expected = f"00-{10:032x}-{identity(told):016x}-01"
    assert {"a": "b", "traceparent": expected} == asked.headers
    assert {
        "gateway.provider": "acme",
        "gateway.endpoint": "jwks",
        "http.request.method": "GET",
        "http.response.status_code": 200,
    } == told.attributes


async def test_a_failure_is_told_by_its_kind(traces, exporter):
    """Its words may quote somebody; it goes on as it is."""
    span = traces.begin([], trusted=True)
    with traces.within(span), pytest.raises(ProviderUnavailable, match="quote"):
        await TracedHttp("acme", Http(down=True)).ask(QUESTION)
    cupboard = Cupboard()
    cupboard.fails = True
    with traces.within(span), pytest.raises(StoreUnavailable):
        await TracedStore(cupboard).get("k")
    spans = by_name(exporter)

    assert "ProviderUnavailable" == spans["jwks acme"].status.description
    assert "StoreUnavailable" == spans["store get"].status.description
    # Nothing is told of an exception but that: a traceback would quote as well.
    assert () == spans["jwks acme"].events


async def test_what_belongs_to_no_request_is_not_recorded(traces, exporter):
    """And asks as it would have."""
    http = Http()
    await TracedHttp("acme", http).ask(QUESTION)

    assert [QUESTION] == http.asked
    assert () == exporter.get_finished_spans()


async def test_a_span_that_is_over_leaves_its_children_to_its_parent(traces, exporter):
    """A task outlives the decision that began it."""
    span = traces.begin([], trusted=True)
    decision = span.child("decision")
    store = TracedStore(Cupboard())
    with traces.within(decision):
        decision.end({})
        await store.put("k", b"v", ttl=1)
        span.end({}, name="request")
        await store.delete("k")
    spans = by_name(exporter)

    assert identity(spans["request"]) == above(spans["store put"])
    assert "store delete" not in spans


async def test_the_store_does_what_it_did(traces, exporter):
    """And no key is told: it is made of a token."""
    cupboard = Cupboard()
    store = TracedStore(cupboard)
    with traces.within(traces.begin([], trusted=True)):
        await store.put("the-key", b"the-value", ttl=7)
        found = await store.get("the-key")
        await store.delete("the-key")
        missing = await store.get("the-key")
        added = await store.add("the-key", b"another", ttl=7)
        await store.ping()
    await store.close()
    spans = exporter.get_finished_spans()

    assert (b"the-value", None, True) == (found, missing, added)
    assert {"the-key": b"another"} == cupboard.kept
    assert store.shared
    assert ["store put", "store get", "store delete", "store get", "store add"] == [
        span.name for span in spans
    ]
    assert [True, False] == [
        span.attributes["gateway.found"] for span in spans if "get" in span.name
    ]
    assert "the-key" not in "".join(span.to_json() for span in spans)


def test_who_we_are_can_be_said_by_the_environment():
    """As everybody's SDK has it; else by our name."""
    exporter = InMemorySpanExporter()
    with environment(OTEL_SERVICE_NAME="orders-gateway"):
        named = Traces(SimpleSpanProcessor(exporter))
    named.begin([], trusted=True).end({})
    Traces(SimpleSpanProcessor(exporter)).begin([], trusted=True).end({})

    assert ["orders-gateway", "token-gateway"] == [
        span.resource.attributes["service.name"]
        for span in exporter.get_finished_spans()
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_TRACES_EXPORTER", "jaeger"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
    ],
)
def test_what_we_cannot_speak_is_refused(name, value):
    """Spans that go nowhere would be missed when they are needed."""
    with environment(**{name: value}), pytest.raises(ConfigError, match=name):
        open_traces()


def test_an_exemplar_is_a_recorded_request():
    """Of a configured route; others have no trace, or no name."""
    metrics = Metrics(CollectorRegistry())
    metrics.configured("d1", 0.0, {"route": ["likes"]})
    exemplars = Exemplars(metrics)
    for trace, route in (("", "likes"), ("aa", "likes"), ("bb", "gone")):
        exemplars.observe(exchange(route=route, trace_id=trace))
    spreads: list[Spread] = list(metrics._duration.values())

    (exemplar,) = [each for one in spreads for each in one.exemplars.values()]
    assert {"trace_id": "aa"} == exemplar.labels
    assert 0.030 == exemplar.value
    assert 1_800_000_000.03 == exemplar.timestamp
