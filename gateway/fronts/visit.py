"""One request at the main door, from its head to its record. Floor 4.

A visit makes a `RequestHead` of what the wire parsed, has it decided, and sees to it
that the decision happens: a `Permit` is relayed, a `Denial` is worded by its dialect.
It ends in exactly one answer and one `Exchange`. On a cache hit over a pooled
connection nothing here awaits or makes a task.
"""

import asyncio
from typing import Final

from gateway.fronts.reception import Reception, Setup
from gateway.rules.cors import cors_headers
from gateway.rules.credentials import upstream_target
from gateway.rules.headers import header_lines, requested_tunnel
from gateway.rules.options import answer_as_last
from gateway.rules.policy import deny
from gateway.rules.response_headers import response_lines
from gateway.rules.target import (
    canonical_host,
    read_target,
    split_absolute,
)
from gateway.tasks import spawn
from gateway.values import (
    Answer,
    Denial,
    Exchange,
    Header,
    Pending,
    Permit,
    Reason,
    RequestHead,
    RouteKind,
    Source,
    TokenPlace,
)
from gateway.wire.downstream import Downstream
from gateway.wire.heads import ParsedHead, Plan, ResponseHead
from gateway.wire.message import serialise_response
from gateway.wire.pool import Pool
from gateway.wire.relay import Relay

_API: Final = RouteKind.API
_USERINFO: Final = RouteKind.OAUTH_USERINFO
_QUERY: Final = TokenPlace.QUERY
_NOBODY: Final = Source.NONE
# TRACE sends the client's credentials back (RFC 9110 §9.3.8); CONNECT asks for a
# tunnel through us, whatever its target looks like (§9.3.6).
NEVER_RELAYED: Final = frozenset({"TRACE", "CONNECT"})
DECISIONS: Final = {
    Reason.PROVIDER_UNAVAILABLE: "error",
    Reason.REVOCATIONS_UNKNOWN: "error",
    Reason.LOGOUT_NOT_KEPT: "error",
    Reason.INTERNAL: "error",
    # The gatekeeper had said yes.
    Reason.UPSTREAM_INVALID: "allow",
    Reason.UPSTREAM_UNREACHABLE: "allow",
    Reason.UPSTREAM_BUSY: "allow",
    Reason.UPSTREAM_TIMEOUT: "allow",
}


def told_of(permit: Permit | None) -> tuple[str, str]:
    """Give what a record says of leave that was given: the decision and the reason."""
    if permit is None or permit.facts is None:
        shadow = None if permit is None else permit.shadow
        return ("allow", "public") if shadow is None else ("shadow", shadow)
    return "allow", "ok"


_Sender = tuple[str, bytes, str, str]
"""Canonical host, authority, the client's address, scheme."""


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

    # A traced visit has more to say (`fronts.traced`); to others these cost nothing.
    onward: bytes = b""
    """Header lines that tell the upstream of the trace."""
    trace_id: str = ""

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
        reception.in_flight += 1

    def __repr__(self) -> str:
        return f"<Visit {self.request_id.decode()}>"

    # ------------------------------------------------------------------- deciding

    def begin(self, parsed: ParsedHead) -> None:
        """Decide from memory, or wait for the truth in a task."""
        head = self._request_head(parsed)
        # Asked this way round throughout: an exact type is told at once.
        if not isinstance(head, RequestHead):
            # RFC 9112 §2.2: in doubt nothing after it is believed either.
            self.connection.closing = True
            self.answer_denial(Denial(reason=head))
            return
        self.head = head
        decision = self.setup.gatekeeper.decide(head)
        if isinstance(decision, Permit):
            self._permitted(decision)
        elif isinstance(decision, Pending):
            _ = spawn(self._settle(decision), name="settle")
        elif isinstance(decision, Answer):
            # Recorded first: writing the answer may already begin the next request.
            self._end(decision.status, "allow", "preflight")
            self._answer(decision)
        else:
            self.answer_denial(decision)

    async def _settle(self, pending: Pending) -> None:
        try:
            decision = await self.setup.gatekeeper.settle(pending)
            if self.connection.gone:
                self._end_gone("client gone")
            elif isinstance(decision, Permit):
                self._permitted(decision)
            else:
                self.answer_denial(decision)
        except Exception as error:  # noqa: BLE001 -- the outermost door
            self.fault(error)

    def _permitted(self, permit: Permit) -> None:
        self.permit = permit
        if permit.route.kind is _API or permit.route.kind is _USERINFO:
            self.relay(permit)
        else:
            self.setup.guards.guard(self, permit)

    def _request_head(self, parsed: ParsedHead) -> RequestHead | Reason:
        if parsed.method in NEVER_RELAYED:
            return Reason.METHOD_NOT_ALLOWED
        raw, notes = parsed.target, parsed.notes
        if raw.startswith(b"/"):
            sender = notes.get(self.setup)
            if sender is None:
                sender = notes[self.setup] = self._sender(parsed, b"")
        else:
            # RFC 9112 §3.2.2: the authority of an absolute target replaces Host.
            absolute = split_absolute(raw)
            if absolute is None:
                return Reason.BAD_TARGET
            # Notes are of header lines alone, and this says something else.
            authority, raw, notes = *absolute, {}
            sender = self._sender(parsed, authority)
        if not isinstance(sender, tuple):
            return sender
        target = read_target(raw)
        if target is None:
            return Reason.BAD_TARGET
        host, authority, peer, scheme = sender
        return RequestHead(
            method=parsed.method,
            target=target,
            host=host,
            authority=authority,
            headers=parsed.headers,
            peer=peer,
            scheme=scheme,
            notes=notes,
            memory=self.connection.memory,
        )

    def _sender(self, parsed: ParsedHead, authority: bytes) -> _Sender | Reason:
        """Read whom the request asks, who it comes from, and how."""
        for name, value in parsed.headers:
            if name == b"host":
                authority = authority or value
                # RFC 9112 §3.2: an invalid Host is a 400, whatever the target says.
                if canonical_host(value) is None:
                    return Reason.BAD_MESSAGE
        host = canonical_host(authority) if authority else ""
        if host is None:
            return Reason.BAD_TARGET
        peer, scheme = self.connection.peer, self.connection.scheme
        proxies = self.setup.proxies
        if proxies and proxies.trusts(peer):
            peer = proxies.client(parsed.headers) or peer
            scheme = proxies.scheme(parsed.headers) or scheme
        return host, authority, peer, scheme

    # ------------------------------------------------------------------- relaying

    def pool(self, permit: Permit) -> Pool:
        """Give the connections to the upstream of a permitted request."""
        return self.setup.pools[permit.route.upstream]

    def upstream_headers(self, permit: Permit) -> list[Header] | Reason:
        """Give the headers for the upstream of a permitted request."""
        return self.setup.headers.upstream_headers(
            self.request,
            permit,
            request_id=self.request_id,
            host=self.pool(permit).settings.host,
            hop=self._hop(),
        )

    def relay(self, permit: Permit) -> None:
        """Send a permitted request to its upstream."""
        parsed, route = self.parsed, permit.route
        if parsed is None:
            return
        if 0 < route.body_limit_bytes < parsed.body:
            self.answer_denial(deny(route, Reason.BODY_TOO_LARGE))
            return
        head, setup = self.request, self.setup
        if head.method == "OPTIONS":
            answer = answer_as_last(head, route)
            if answer is not None:
                self._end(answer.status, "allow", "max_forwards")
                self._answer(answer)
                return
        pool = setup.pools[route.upstream]
        lines = setup.headers.upstream_lines(
            head,
            permit,
            request_id=self.request_id,
            host=pool.settings.host,
            hop=self._hop(),
        )
        if not isinstance(lines, bytes):
            self.answer_denial(deny(route, lines, facts=permit.facts))
            return
        upgrade = requested_tunnel(head, route) if parsed.upgrade else None
        plan = Plan(
            target=upstream_target(head.target, permit),
            lines=lines + self.onward,
            timeouts=route.timeouts,
            body_limit=route.body_limit_bytes,
            body_rate=route.body_rate_bytes,
            upgrade=upgrade or b"",
            end_with_token=route.end_with_token,
        )
        Relay(self, self.connection, pool, parsed, plan).start(self._reception.time())

    def _hop(self) -> bytes:
        """Give the address of the trusted proxy that stands between, if one does."""
        proxies, peer = self.setup.proxies, self.connection.peer
        return peer.encode() if proxies and proxies.trusts(peer) else b""

    def ends_at(self) -> float | None:
        """Tell when what is bound to the token's life must end (`RelayOwner`)."""
        permit = self.permit
        facts = None if permit is None else permit.facts
        if permit is None or facts is None or facts.expires_at is None:
            return None
        reception = self._reception
        left = facts.expires_at + permit.route.clock_skew - reception.clock.now()
        return reception.time() + left

    def revoked(self) -> bool:
        """Tell whether its token has been revoked meanwhile."""
        permit = self.permit
        return permit is not None and self.setup.gatekeeper.revokes(permit)

    def response_lines(self, head: ResponseHead) -> bytes:
        """Give the upstream's header lines for the client (`RelayOwner`)."""
        permit = self.permit
        cors: tuple[Header, ...] = ()
        by_query = False
        if permit is not None:
            credentials = permit.credentials
            by_query = credentials is not None and credentials.place is _QUERY
            if permit.route.cors is not None:
                cors = cors_headers(permit.route, self.request)
        lines = response_lines(
            head.headers,
            request_id=self.request_id,
            cors=cors,
            query_token=by_query,
        )
        if head.status >= 200 and not head.dated:
            return lines + b"date: %b\r\n" % self._reception.date()
        return lines

    def relayed(self, relay: Relay) -> None:
        """Take note of the end of a relay (`RelayOwner`)."""
        permit = self.permit
        decision, reason = "allow", "ok"
        if permit is None or permit.facts is None:
            decision, reason = told_of(permit)
        wait = relay.first_byte_at - relay.sent_at if relay.first_byte_at else 0.0
        self._end(
            relay.status or 499,
            decision,
            reason,
            upstream_wait=wait,
            failure=relay.failure,
        )
        if relay.status == 401 and permit is not None:
            self.setup.guards.refused(permit)

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
            self._end_gone(failure or "client gone")
            return
        answer = self.setup.word(denial, self.head)
        self._end(
            answer.status,
            DECISIONS.get(denial.reason, "deny"),
            denial.reason,
            denial=denial,
            response_bytes=0 if self.connection.bodiless else len(answer.body),
            failure=failure,
        )
        self._answer(answer)

    def _answer(self, answer: Answer) -> None:
        lines = b"%bX-Request-Id: %b\r\nDate: %b\r\n" % (
            header_lines(answer.headers),
            self.request_id,
            self._reception.date(),
        )
        self._write(answer.status, b"", lines, answer.body)

    def answer_own(self, answer: Answer, reason: str) -> None:
        """Answer for what the gateway itself has done."""
        self._end(answer.status, "allow", reason)
        self._answer(answer)

    def answer_whole(self, head: ResponseHead, body: bytes, *, failure: str) -> None:
        """Send an upstream's response that was read whole."""
        self._end(
            head.status, "allow", "public", response_bytes=len(body), failure=failure
        )
        self._write(head.status, head.phrase, self.response_lines(head), body)

    def _write(self, status: int, phrase: bytes, lines: bytes, body: bytes) -> None:
        connection = self.connection
        if status in (204, 304):
            framing, body = connection.bodiless_framing(), b""
        elif connection.bodiless:
            framing, body = connection.framing(0, len(body)), b""
        else:
            framing = connection.framing(len(body), None)
        connection.start(serialise_response(status, phrase, lines, framing))
        if body:
            connection.send(body)
        connection.finish()

    def fault(self, error: Exception) -> None:
        """Answer for a fault of ours, and report it."""
        loop = asyncio.get_running_loop()
        loop.call_exception_handler({"message": "visit crashed", "exception": error})
        if self._ended or self.connection.begun or self.connection.gone:
            self.connection.abort()
            self._end(500, "error", "internal")
            return
        self.answer_denial(Denial(reason=Reason.INTERNAL), failure="crashed")

    def _end_gone(self, failure: str) -> None:
        # 499 is nginx's word for it; nobody hears it.
        self._end(499, "error", "client_gone", failure=failure)

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
        """Make the record, once. `response_bytes` None: as many as the wire counted."""
        if self._ended:
            return
        self._ended = True
        head, permit, connection = self.head, self.permit, self.connection
        route, source, client = None, _NOBODY, None
        if permit is not None:
            route, source = permit.route, permit.source
            client = None if permit.facts is None else permit.facts.client
        elif denial is not None:
            route, source, client = denial.route, denial.source, denial.client
        reception = self._reception
        duration = reception.time() - self.started_at
        reception.ended(
            Exchange(
                request_id=self.request_id.decode(),
                started_at=reception.clock.now() - duration,
                duration=duration,
                upstream_wait=upstream_wait,
                method="" if head is None else head.method,
                host="" if head is None else head.host,
                path="" if head is None else head.target.path.decode("latin-1"),
                status=status,
                decision=decision,
                reason=reason,
                source=source,
                route="" if route is None else route.id,
                provider="" if route is None else route.provider,
                upstream="" if permit is None else permit.route.upstream,
                client=client or "",
                peer=connection.peer if head is None else head.peer,
                scheme=connection.scheme if head is None else head.scheme,
                request_bytes=connection.received,
                response_bytes=(
                    connection.sent if response_bytes is None else response_bytes
                ),
                failure=failure,
                trace_id=self.trace_id,
            )
        )
