"""One request at the main door, from its head to its record. Floor 4.

A visit makes a `RequestHead` of what the wire parsed, has it decided, and sees to it
that the decision happens: a `Permit` is relayed, a `Denial` is worded by its dialect.
It ends in exactly one answer and one `Exchange`. On a cache hit over a pooled
connection nothing here awaits or makes a task.
"""

import asyncio
import itertools
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from email.utils import formatdate
from typing import Final

import msgspec

from gateway.fronts.oauth import Guards
from gateway.gatekeeper import Gatekeeper, Pending
from gateway.ports import Clock, Dialect, Observer
from gateway.rules.cors import cors_headers
from gateway.rules.forwarded import TrustedProxies
from gateway.rules.headers import HeaderRules, requested_tunnel, upstream_target
from gateway.rules.policy import deny
from gateway.rules.target import canonical_host, parse_target, split_absolute
from gateway.tasks import spawn
from gateway.values import (
    Answer,
    Decision,
    Denial,
    Exchange,
    Header,
    Permit,
    Reason,
    RequestHead,
    RouteKind,
    Source,
    TokenPlace,
)
from gateway.wire.downstream import Downstream
from gateway.wire.message import ParsedHead, ResponseHead, serialise_response
from gateway.wire.pool import Pool
from gateway.wire.relay import Plan, Relay

_API: Final = RouteKind.API
_USERINFO: Final = RouteKind.OAUTH_USERINFO
_QUERY: Final = TokenPlace.QUERY
# TRACE sends the client's credentials back (RFC 9110 §9.3.8); CONNECT asks for a
# tunnel through us, whatever its target looks like (§9.3.6).
_NEVER_RELAYED: Final = frozenset({"TRACE", "CONNECT"})
_DECISIONS: Final = {
    Reason.PROVIDER_UNAVAILABLE: "error",
    Reason.INTERNAL: "error",
    # The gatekeeper had said yes.
    Reason.UPSTREAM_INVALID: "allow",
    Reason.UPSTREAM_UNREACHABLE: "allow",
    Reason.UPSTREAM_BUSY: "allow",
    Reason.UPSTREAM_TIMEOUT: "allow",
}

Serialise = Callable[[bytes], bytes]
"""Makes a response head of its framing lines."""


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a configuration decides. A visit keeps the one it began with."""

    gatekeeper: Gatekeeper
    headers: HeaderRules
    guards: Guards
    pools: Mapping[str, Pool]
    dialects: Mapping[str, Dialect]
    proxies: TrustedProxies


class Reception:
    """What visits share: numbers, dates, the clock, and who is told of their end."""

    def __init__(self, clock: Clock, observers: Sequence[Observer]) -> None:
        self.clock = clock
        self.time = time.monotonic
        self.in_flight = 0
        self._observers = tuple(observers)
        self._prefix = secrets.token_hex(6).encode() + b"-"
        self._numbers = itertools.count(1)
        self._date: tuple[int, bytes] = (0, b"")

    def __repr__(self) -> str:
        return f"<Reception: {self.in_flight} in flight>"

    def request_id(self) -> bytes:
        """Give an identifier that no other request of any process has."""
        return self._prefix + b"%x" % next(self._numbers)

    def date(self) -> bytes:
        """Give the Date of now (RFC 9110 §6.6.1), formatted once a second."""
        second = int(self.clock.now())
        if self._date[0] != second:
            self._date = (second, formatdate(second, usegmt=True).encode())
        return self._date[1]

    def begun(self) -> None:
        """Count a visit in."""
        self.in_flight += 1

    def ended(self, exchange: Exchange) -> None:
        """Count it out, and tell the observers."""
        self.in_flight -= 1
        for observer in self._observers:
            observer.observe(exchange)


class Ending(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """How a visit ended, for its record.

    `response_bytes` None means: as many as the wire has counted.
    """

    status: int
    decision: str
    reason: str
    denial: Denial | None = None
    upstream_wait: float = 0.0
    response_bytes: int | None = None
    failure: str = ""


class Visit:
    """One request, from its head to its record. A `RelayOwner`."""

    __slots__ = (
        "_ended",
        "_reception",
        "connection",
        "head",
        "parsed",
        "permit",
        "request_id",
        "setup",
        "started_at",
    )

    def __init__(
        self,
        reception: Reception,
        setup: Setup,
        connection: Downstream,
        parsed: ParsedHead | None,
    ) -> None:
        self._reception = reception
        self._ended = False
        self.setup = setup
        self.connection = connection
        self.parsed = parsed
        self.head: RequestHead | None = None
        self.permit: Permit | None = None
        self.request_id = reception.request_id()
        self.started_at = connection.head_at or reception.time()
        reception.begun()

    def __repr__(self) -> str:
        return f"<Visit {self.request_id.decode()}>"

    # ------------------------------------------------------------------- deciding

    def begin(self, parsed: ParsedHead) -> None:
        """Decide from memory, or wait for the truth in a task."""
        head = self._request_head(parsed)
        if isinstance(head, Reason):
            # RFC 9112 §2.2: in doubt nothing after it is believed either.
            self.connection.closing = True
            self.answer_denial(Denial(reason=head))
            return
        self.head = head
        decision = self.setup.gatekeeper.decide(head)
        if isinstance(decision, Pending):
            _ = spawn(self._settle(decision), name="settle")
        elif isinstance(decision, Answer):
            ending = Ending(
                status=decision.status, decision="allow", reason="preflight"
            )
            self._answer(decision, ending)
        else:
            self._decided(decision)

    async def _settle(self, pending: Pending) -> None:
        try:
            decision = await self.setup.gatekeeper.settle(pending)
            if self.connection.gone:
                self._end(_client_gone("client gone"))
            else:
                self._decided(decision)
        except Exception as error:  # noqa: BLE001 -- the outermost door
            self.fault(error)

    def _decided(self, decision: Decision) -> None:
        if isinstance(decision, Denial):
            self.answer_denial(decision)
            return
        self.permit = decision
        if decision.route.kind is _API or decision.route.kind is _USERINFO:
            self.relay(decision)
        else:
            self.setup.guards.guard(self, decision)

    def _request_head(self, parsed: ParsedHead) -> RequestHead | Reason:
        if parsed.method in _NEVER_RELAYED:
            return Reason.METHOD_NOT_ALLOWED
        raw, authority = parsed.target, b""
        if not raw.startswith(b"/"):
            # RFC 9112 §3.2.2: the authority of an absolute target replaces Host.
            absolute = split_absolute(raw)
            if absolute is None:
                return Reason.BAD_TARGET
            authority, raw = absolute
        for name, value in parsed.headers:
            if name == b"host":
                authority = authority or value
                # RFC 9112 §3.2: an invalid Host is a 400, whatever the target says.
                if canonical_host(value) is None:
                    return Reason.BAD_MESSAGE
        host = canonical_host(authority) if authority else ""
        target = parse_target(raw)
        if host is None or target is None:
            return Reason.BAD_TARGET
        peer, scheme = self.connection.peer, self.connection.scheme
        proxies = self.setup.proxies
        if proxies and proxies.trusts(peer):
            peer = proxies.client(parsed.headers) or peer
            scheme = proxies.scheme(parsed.headers) or scheme
        return RequestHead(
            method=parsed.method,
            target=target,
            host=host,
            authority=authority,
            headers=parsed.headers,
            peer=peer,
            scheme=scheme,
        )

    # ------------------------------------------------------------------- relaying

    def pool(self, permit: Permit) -> Pool:
        """Give the connections to the upstream of a permitted request."""
        return self.setup.pools[permit.route.upstream]

    def upstream_headers(self, permit: Permit) -> list[Header] | Reason:
        """Give the headers for the upstream of a permitted request."""
        head = self.request
        proxies = self.setup.proxies
        behind_proxy = proxies and proxies.trusts(self.connection.peer)
        return self.setup.headers.upstream_headers(
            head,
            permit,
            request_id=self.request_id,
            host=self.pool(permit).settings.host,
            hop=self.connection.peer.encode() if behind_proxy else b"",
        )

    def relay(self, permit: Permit) -> None:
        """Send a permitted request to its upstream."""
        parsed, route = self.parsed, permit.route
        if parsed is None:
            return
        if 0 < route.body_limit_bytes < parsed.body:
            self.answer_denial(deny(route, Reason.BODY_TOO_LARGE))
            return
        headers = self.upstream_headers(permit)
        if isinstance(headers, Reason):
            self.answer_denial(deny(route, headers, facts=permit.facts))
            return
        head = self.request
        upgrade = requested_tunnel(head, route) if parsed.upgrade else None
        now = self._reception.time()
        plan = Plan(
            target=upstream_target(head.target, permit),
            headers=headers,
            timeouts=route.timeouts,
            body_limit=route.body_limit_bytes,
            upgrade=upgrade or b"",
            ends_at=self._ends_at(permit, now),
            end_with_token=route.end_with_token,
        )
        Relay(self, self.connection, self.pool(permit), parsed, plan).start(now)

    def _ends_at(self, permit: Permit, now: float) -> float | None:
        facts = permit.facts
        if facts is None or facts.expires_at is None:
            return None
        left = facts.expires_at + permit.route.clock_skew - self._reception.clock.now()
        return now + left

    def response_headers(self, head: ResponseHead) -> list[Header]:
        """Give the upstream's headers for the client (`RelayOwner`)."""
        permit = self.permit
        cors: tuple[Header, ...] = ()
        by_query = False
        if permit is not None:
            credentials = permit.credentials
            by_query = credentials is not None and credentials.place is _QUERY
            if permit.route.cors is not None:
                cors = cors_headers(permit.route, self.request)
        headers = self.setup.headers.response_headers(
            head.headers,
            request_id=self.request_id,
            cors=cors,
            query_token=by_query,
        )
        if head.status >= 200 and not any(name == b"date" for name, _ in headers):
            headers.append((b"date", self._reception.date()))
        return headers

    def relayed(self, relay: Relay) -> None:
        """Take note of the end of a relay (`RelayOwner`)."""
        permit = self.permit
        public = permit is None or permit.facts is None
        wait = relay.first_byte_at - relay.sent_at if relay.first_byte_at else 0.0
        self._end(
            Ending(
                status=relay.status or 499,
                decision="allow",
                reason="public" if public else "ok",
                upstream_wait=wait,
                failure=relay.failure,
            )
        )

    def relay_failed(self, relay: Relay, reason: Reason) -> None:
        """Answer in the upstream's place (`RelayOwner`)."""
        permit = self.permit
        denial = Denial(reason=reason) if permit is None else deny(permit.route, reason)
        self.answer_denial(denial, failure=relay.failure)

    # ------------------------------------------------------------------- answering

    @property
    def request(self) -> RequestHead:
        """Give the head of a request that has been understood."""
        assert self.head is not None  # noqa: S101 -- decided requests have one
        return self.head

    def answer_denial(self, denial: Denial, *, failure: str = "") -> None:
        """Word a denial and send it."""
        if self.connection.gone:
            self._end(_client_gone(failure or "client gone"))
            return
        answer = self.setup.dialects[denial.dialect].answer(denial)
        if denial.route is not None and denial.route.cors is not None and self.head:
            cors = cors_headers(denial.route, self.head)
            answer = msgspec.structs.replace(answer, headers=(*answer.headers, *cors))
        ending = Ending(
            status=answer.status,
            decision=_DECISIONS.get(denial.reason, "deny"),
            reason=denial.reason.value,
            denial=denial,
            response_bytes=0 if self.connection.bodiless else len(answer.body),
            failure=failure,
        )
        self._answer(answer, ending)

    def _answer(self, answer: Answer, ending: Ending) -> None:
        headers = [
            *answer.headers,
            (b"X-Request-Id", self.request_id),
            (b"Date", self._reception.date()),
        ]

        def serialise(framing: bytes) -> bytes:
            return serialise_response(answer.status, b"", headers, framing)

        # Recorded first: writing the answer may already begin the next request.
        self._end(ending)
        self._write(serialise, answer.status, answer.body)

    def answer_whole(self, head: ResponseHead, body: bytes, *, failure: str) -> None:
        """Send an upstream's response that was read whole."""
        headers = self.response_headers(head)

        def serialise(framing: bytes) -> bytes:
            return serialise_response(head.status, head.phrase, headers, framing)

        self._end(
            Ending(
                status=head.status,
                decision="allow",
                reason="public",
                response_bytes=len(body),
                failure=failure,
            )
        )
        self._write(serialise, head.status, body)

    def _write(self, serialise: Serialise, status: int, body: bytes) -> None:
        if status in (204, 304):
            self.connection.start_bodiless(serialise)
            self.connection.finish()
        else:
            self.connection.answer(serialise, body)

    def fault(self, error: Exception) -> None:
        """Answer for a fault of ours, and report it."""
        loop = asyncio.get_running_loop()
        loop.call_exception_handler({"message": "visit crashed", "exception": error})
        if self._ended or self.connection.begun or self.connection.gone:
            self.connection.abort()
            self._end(Ending(status=500, decision="error", reason="internal"))
            return
        self.answer_denial(Denial(reason=Reason.INTERNAL), failure="crashed")

    def _end(self, ending: Ending) -> None:
        if self._ended:
            return
        self._ended = True
        self._reception.ended(self._exchange(ending))

    def _exchange(self, ending: Ending) -> Exchange:
        head, permit, denial = self.head, self.permit, ending.denial
        route, source, client = None, Source.NONE, None
        if permit is not None:
            route, source = permit.route, permit.source
            client = permit.facts.client if permit.facts is not None else None
        elif denial is not None:
            route, source, client = denial.route, denial.source, denial.client
        sent = ending.response_bytes
        duration = self._reception.time() - self.started_at
        return Exchange(
            request_id=self.request_id.decode(),
            started_at=self._reception.clock.now() - duration,
            duration=duration,
            upstream_wait=ending.upstream_wait,
            method=head.method if head is not None else "",
            host=head.host if head is not None else "",
            path=head.target.path.decode("latin-1") if head is not None else "",
            status=ending.status,
            decision=ending.decision,
            reason=ending.reason,
            source=source.value,
            route=route.id if route is not None else "",
            provider=route.provider if route is not None else "",
            upstream=permit.route.upstream if permit is not None else "",
            client=client or "",
            peer=head.peer if head is not None else self.connection.peer,
            scheme=head.scheme if head is not None else self.connection.scheme,
            request_bytes=self.connection.received,
            response_bytes=self.connection.sent if sent is None else sent,
            failure=ending.failure,
        )


def _client_gone(failure: str) -> Ending:
    # 499 is nginx's word for it; nobody hears it.
    return Ending(status=499, decision="error", reason="client_gone", failure=failure)
