"""Record requests as OpenTelemetry spans. Floor 4, extra `otel`: imported when asked for.

A span for the request, below it one for the decision (and there one for each question
to a provider and each command of the shared store), and one for the upstream, which is
told of it by W3C Trace Context. What is sampled, where spans go, and what they are said
to come from is decided by the standard `OTEL_…` variables; sampling follows the caller's
flag unless they say otherwise. A request that is not sampled costs its context only.

Spans hold what metrics hold: names in the configuration and words of ours. No path,
host, client, address, header or token; a caller's `tracestate` travels on to the
upstream, and is in no span.
"""

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.metadata import version
from typing import Final

import msgspec
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.trace import Span as OtelSpan
from opentelemetry.trace import Tracer as OtelTracer

from gateway.errors import ConfigError
from gateway.observe.metrics import Metrics
from gateway.ports import ProviderHttp, Question, Reply, Span, Store, Told
from gateway.rules import trace_context
from gateway.values import Exchange, Header

PROTOCOL: Final = "http/protobuf"
FAREWELL: Final = 1.0
"""Seconds for the last spans to be sent, when the process ends: less than a parent waits
for a worker beyond `drain.deadline`."""

_current: ContextVar["Span | None"] = ContextVar("gateway_span", default=None)
"""The span that what is done now belongs to; a task inherits it."""


class Traces:
    """Keeps `ports.Tracer` by the OpenTelemetry SDK."""

    def __init__(self, processor: SpanProcessor) -> None:
        ours = {"service.name": "token-gateway", "service.version": _version()}
        resource = Resource(ours).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("token-gateway", _version())

    def __repr__(self) -> str:
        return f"<Traces by {self._provider.sampler.get_description()}>"

    def begin(self, headers: Sequence[Header], *, trusted: bool) -> Span:
        """Begin the span of a request (`ports.Tracer`)."""
        parent = trace_context.read(headers) if trusted else None
        # An empty context, lest anything of another request be a parent.
        context, state = Context(), b""
        if parent is not None:
            state = parent.state
            flags = TraceFlags(TraceFlags.SAMPLED if parent.sampled else 0)
            caller = SpanContext(
                parent.trace_id, parent.span_id, is_remote=True, trace_flags=flags
            )
            context = set_span_in_context(NonRecordingSpan(caller), context)
        span = self._tracer.start_span("request", context, kind=SpanKind.SERVER)
        return _wrapped(self._tracer, span, None, state)

    @contextmanager
    def within(self, span: Span) -> Iterator[None]:
        """Let what is begun in here belong to `span` (`ports.Tracer`)."""
        token = _current.set(span)
        try:
            yield
        finally:
            _current.reset(token)

    def provider(self, name: str, http: ProviderHttp) -> ProviderHttp:
        """Record the questions to a provider."""
        return TracedHttp(name, http)

    def store(self, store: Store) -> Store:
        """Record the commands of a shared store."""
        return TracedStore(store)

    def close(self) -> None:
        """Send what is left, within `FAREWELL`; blocks its caller."""
        # It waits for a collector that may be away, as long as it likes: not with us.
        ending = threading.Thread(target=self._provider.shutdown, daemon=True)
        ending.start()
        ending.join(FAREWELL)


def open_traces() -> Traces:
    """Send spans where the environment says; raises `ConfigError`."""
    exporter = os.environ.get("OTEL_TRACES_EXPORTER", "otlp")
    if exporter != "otlp":
        problem = "OTEL_TRACES_EXPORTER: expected otlp; to record nothing, tracing.enabled: false"
        raise ConfigError([problem])
    for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if os.environ.get(name, PROTOCOL) != PROTOCOL:
            raise ConfigError([f"{name}: expected {PROTOCOL}"])
    return Traces(BatchSpanProcessor(OTLPSpanExporter()))


class Exemplars:
    """Keeps `ports.Observer`: names the traces of recorded requests in the metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def observe(self, exchange: Exchange) -> None:
        """Name the trace beside the duration that was counted."""
        if exchange.trace_id:
            self._metrics.exemplify(exchange)


# -------------------------------------------------------------------------- spans


class _Recorded:
    """A span that is being recorded."""

    __slots__ = ("_parent", "_span", "_state", "_tracer", "over")

    def __init__(
        self, tracer: OtelTracer, span: OtelSpan, parent: Span | None, state: bytes
    ) -> None:
        self._tracer = tracer
        self._span = span
        self._parent = parent
        self._state = state
        self.over = False

    @property
    def trace_id(self) -> str:
        return f"{self._span.get_span_context().trace_id:032x}"

    @property
    def parent(self) -> Span | None:
        return self._parent

    def onward(self) -> tuple[Header, ...]:
        return _onward(self._span.get_span_context(), self._state)

    def child(self, name: str, *, asks: bool = False) -> Span:
        kind = SpanKind.CLIENT if asks else SpanKind.INTERNAL
        context = set_span_in_context(self._span, Context())
        span = self._tracer.start_span(name, context, kind=kind)
        return _wrapped(self._tracer, span, self, self._state)

    def end(self, told: Told, *, name: str = "", failure: str = "") -> None:
        if self.over:
            return
        self.over = True
        if name:
            self._span.update_name(name)
        self._span.set_attributes(told)
        if failure:
            self._span.set_status(Status(StatusCode.ERROR, failure))
        self._span.end()


class _Unrecorded:
    """Stands for a span that nobody records, and for all below it."""

    __slots__ = ("_context", "_state", "over")

    parent = None
    trace_id = ""

    def __init__(self, context: SpanContext, state: bytes) -> None:
        self._context = context
        self._state = state
        self.over = False

    def onward(self) -> tuple[Header, ...]:
        return _onward(self._context, self._state)

    def child(self, name: str, *, asks: bool = False) -> Span:
        return self

    def end(self, told: Told, *, name: str = "", failure: str = "") -> None:
        """Nothing was recorded."""


def _wrapped(
    tracer: OtelTracer, span: OtelSpan, parent: Span | None, state: bytes
) -> Span:
    if span.is_recording():
        return _Recorded(tracer, span, parent, state)
    return _Unrecorded(span.get_span_context(), state)


def _onward(context: SpanContext, state: bytes) -> tuple[Header, ...]:
    value = trace_context.parent(
        context.trace_id, context.span_id, sampled=context.trace_flags.sampled
    )
    told = (trace_context.PARENT, value)
    return (told, (trace_context.STATE, state)) if state else (told,)


def _version() -> str:
    return version("token-gateway")


# ------------------------------------------------------- what is done on the way


class TracedHttp:
    """Keeps `ports.ProviderHttp` by another, which it tells of as spans."""

    def __init__(self, provider: str, http: ProviderHttp) -> None:
        self._provider = provider
        self._http = http

    def __repr__(self) -> str:
        return f"<TracedHttp {self._provider}>"

    async def ask(self, question: Question) -> Reply:
        """Ask within a span, and tell the provider of it."""
        span = _begun(f"{question.endpoint} {self._provider}")
        if span is None:
            return await self._http.ask(question)
        # The caller's tracestate is between him and our upstream.
        name, value = span.onward()[0]
        headers = {**question.headers, name.decode(): value.decode()}
        told = {
            "gateway.provider": self._provider,
            "gateway.endpoint": question.endpoint,
            "http.request.method": question.method,
        }
        with _failing(span, told):
            reply = await self._http.ask(
                msgspec.structs.replace(question, headers=headers)
            )
        span.end({**told, "http.response.status_code": reply.status})
        return reply


class TracedStore:
    """Keeps `ports.Store` by another, whose commands it tells of as spans."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.shared: Final = store.shared

    def __repr__(self) -> str:
        return f"<TracedStore {self._store!r}>"

    async def get(self, key: str) -> bytes | None:
        """Give the value, or None."""
        with _command("get") as told:
            value = await self._store.get(key)
            told["gateway.found"] = value is not None
            return value

    async def put(self, key: str, value: bytes, *, ttl: float) -> None:
        """Keep `value` for `ttl` seconds."""
        with _command("put"):
            await self._store.put(key, value, ttl=ttl)

    async def add(self, key: str, value: bytes, *, ttl: float) -> bool:
        """Keep `value` if nothing is there."""
        with _command("add") as told:
            added = await self._store.add(key, value, ttl=ttl)
            told["gateway.added"] = added
            return added

    async def delete(self, key: str) -> None:
        """Forget `key`."""
        with _command("delete"):
            await self._store.delete(key)

    async def ping(self) -> None:
        """Prove that the store answers; nobody's request."""
        await self._store.ping()

    async def close(self) -> None:
        """Let go of every connection."""
        await self._store.close()


def _begun(name: str) -> Span | None:
    """Begin a span below the one that is open, if any is."""
    span = _current.get()
    # A task outlives the decision that began it.
    while span is not None and span.over:
        span = span.parent
    return None if span is None else span.child(name, asks=True)


@contextmanager
def _command(operation: str) -> Iterator[dict[str, str | int | bool]]:
    told: dict[str, str | int | bool] = {"db.operation.name": operation}
    span = _begun(f"store {operation}")
    if span is None:
        yield told
        return
    with _failing(span, told):
        yield told
    span.end(told)


@contextmanager
def _failing(span: Span, told: Mapping[str, str | int | bool]) -> Iterator[None]:
    """End the span by the kind of the failure; its words may be somebody else's."""
    try:
        yield
    except BaseException as error:
        span.end(told, failure=type(error).__name__)
        raise
