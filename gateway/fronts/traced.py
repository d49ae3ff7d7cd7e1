"""A request at the main door, recorded as spans. Floor 4.

Chosen instead of a plain visit where tracing is configured (`app`), so that a request
costs nothing more where it is not. The spans: the request; the decision, to which the
questions to provider and store belong that it waits for; and the upstream, from when
it is asked to the end of its answer. What a client says of traces ends here: the
upstream is told of its own span.
"""

import dataclasses

from gateway.fronts.reception import Reception, Setup
from gateway.fronts.visit import DECISIONS, Visit
from gateway.ports import Span, Told, Tracer
from gateway.rules.headers import header_lines
from gateway.rules.trace_context import without
from gateway.values import Denial, Header, Permit, Reason
from gateway.wire.downstream import Downstream
from gateway.wire.heads import ParsedHead, ResponseHead
from gateway.wire.relay import Relay

_METHODS = frozenset(
    {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE"}
)


class Tracing:
    """How visits are traced: by whom, and whether anybody's `traceparent` counts."""

    def __init__(self, tracer: Tracer, *, believes_all: bool) -> None:
        self._tracer = tracer
        self._believes_all = believes_all

    def __repr__(self) -> str:
        return f"<Tracing by {self._tracer!r}>"

    def visit(
        self,
        reception: Reception,
        setup: Setup,
        connection: Downstream,
        parsed: ParsedHead | None,
    ) -> Visit:
        """Make a visit."""
        trusted = self._believes_all or setup.proxies.trusts(connection.peer)
        headers = () if parsed is None else parsed.headers
        span = self._tracer.begin(headers, trusted=trusted)
        if parsed is not None:
            # Notes are of the header lines, which are these as much as those.
            parsed = dataclasses.replace(parsed, headers=without(parsed.headers))
        return TracedVisit(self._tracer, span, reception, setup, connection, parsed)


class TracedVisit(Visit):
    """A visit that is recorded."""

    __slots__ = ("_asking", "_deciding", "_span", "_tracer", "onward", "trace_id")

    def __init__(
        self,
        tracer: Tracer,
        span: Span,
        reception: Reception,
        setup: Setup,
        connection: Downstream,
        parsed: ParsedHead | None,
    ) -> None:
        super().__init__(reception, setup, connection, parsed)
        self._tracer = tracer
        self._span = span
        self._deciding: Span | None = None
        self._asking: Span | None = None
        self.onward = b""
        self.trace_id = span.trace_id

    # ------------------------------------------------------------------- deciding

    def begin(self, parsed: ParsedHead) -> None:
        """Decide within a span; what that must wait for belongs to it."""
        self._deciding = self._span.child("decision")
        with self._tracer.within(self._deciding):
            super().begin(parsed if self.parsed is None else self.parsed)

    def _permitted(self, permit: Permit) -> None:
        self._decided("allow", "ok", permit.source)
        super()._permitted(permit)

    def answer_denial(self, denial: Denial, *, failure: str = "") -> None:
        """End the span of the decision, if that is what it was."""
        verdict = DECISIONS.get(denial.reason, "deny")
        self._decided(verdict, denial.reason, denial.source)
        super().answer_denial(denial, failure=failure)

    def _decided(self, decision: str, reason: str, source: str) -> None:
        if self._deciding is None or self._deciding.over:
            return
        told = {
            "gateway.decision": decision,
            "gateway.reason": str(reason),
            "gateway.source": str(source),
        }
        self._deciding.end(told, failure=reason if decision == "error" else "")

    # ------------------------------------------------------------------- relaying

    def relay(self, permit: Permit) -> None:
        """Begin the upstream's span, and tell the upstream of it."""
        self.onward = header_lines(self._ask(permit))
        super().relay(permit)

    def upstream_headers(self, permit: Permit) -> list[Header] | Reason:
        """Likewise, for a request whose body is held."""
        headers = super().upstream_headers(permit)
        if isinstance(headers, Reason):
            return headers
        return [*headers, *self._ask(permit)]

    def _ask(self, permit: Permit) -> tuple[Header, ...]:
        if self._asking is None:
            self._asking = self._span.child(
                f"upstream {permit.route.upstream}", asks=True
            )
        return self._asking.onward()

    def relayed(self, relay: Relay) -> None:
        """End the upstream's span with the answer."""
        self._answered(relay.status, relay.failure)
        super().relayed(relay)

    def relay_failed(self, relay: Relay, reason: Reason) -> None:
        """End it without one."""
        self._answered(0, relay.failure or str(reason))
        super().relay_failed(relay, reason)

    def answer_whole(self, head: ResponseHead, body: bytes, *, failure: str) -> None:
        """End it with an answer that was read whole."""
        self._answered(head.status, "")
        super().answer_whole(head, body, failure=failure)

    def _answered(self, status: int, failure: str) -> None:
        if self._asking is None or self._asking.over:
            return
        told: dict[str, str | int] = {}
        if self.permit is not None:
            told["gateway.upstream"] = self.permit.route.upstream
        if status:
            told["http.response.status_code"] = status
        failure = failure or ("upstream failed" if status >= 500 else "")
        self._asking.end(told, failure=failure)

    # ------------------------------------------------------------------ the end

    def _end(
        self,
        status: int,
        decision: str,
        reason: str,
        *,
        denial: Denial | None = None,
        upstream_wait: float = 0.0,
        response_bytes: int | None = None,
        failure: str = "",
    ) -> None:
        if not self._ended:
            self._decided(decision, reason, "none")
            self._answered(0, failure or reason)
            self._finish(status, decision, reason, denial, failure)
        super()._end(
            status,
            decision,
            reason,
            denial=denial,
            upstream_wait=upstream_wait,
            response_bytes=response_bytes,
            failure=failure,
        )

    def _finish(
        self,
        status: int,
        decision: str,
        reason: str,
        denial: Denial | None,
        failure: str,
    ) -> None:
        route = None if self.permit is None else self.permit.route
        if route is None and denial is not None:
            route = denial.route
        method = "_OTHER"
        if self.head is not None and self.head.method in _METHODS:
            method = self.head.method
        told: Told = {
            "http.request.method": method,
            "http.response.status_code": status,
            "gateway.request_id": self.request_id.decode(),
            "gateway.decision": decision,
            "gateway.reason": str(reason),
            "gateway.route": "" if route is None else route.id,
            "gateway.provider": "" if route is None else route.provider,
        }
        failure = str(failure or reason) if status >= 500 else ""
        name = f"{method} {told['gateway.route'] or '_unmatched'}"
        self._span.end(told, name=name, failure=failure)
