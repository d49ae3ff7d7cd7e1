"""Advise engines that do the proxying themselves. Floor 4: no wire of its own.

Every door at which an engine asks makes a `Question` of its wire, and an answer of the
`Advice`; what lies between is here, once, and is the main door's: the same reading of
the target, the same gatekeeper, the same header rules, one record. In doubt an engine
is told no: about what it cannot carry out, least of all, since what we cannot see to
ourselves (a token taken out of the query, a client's identity header taken away) must
not depend on its good will.

An engine sees heads. What takes a body, or an answer of ours (the token, revocation
and logout endpoints), is served through the proxy door alone.
"""

import asyncio
import dataclasses
import re
from collections.abc import Callable
from typing import Final

import msgspec

from gateway.fronts.reception import Reception, Setup
from gateway.fronts.visit import DECISIONS, NEVER_RELAYED, told_of
from gateway.rules.credentials import upstream_target
from gateway.rules.engine_headers import HEADS_ALONE
from gateway.rules.keeping import depends_on
from gateway.rules.oauth_forms import read_authorize
from gateway.rules.policy import deny
from gateway.rules.target import canonical_host, read_target
from gateway.values import (
    Answer,
    Decision,
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
from gateway.wire.message import is_utf8

_METHOD: Final = re.compile(r"[A-Z][A-Z-]{0,31}")
"""Methods are told apart by case (RFC 9110 §9.1), but not by every upstream."""


class Door(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of engine, by what it can do with advice.

    `rewrites`: it asks the upstream for the target it is told, byte for byte.
    `drops`: it takes out any header by name, not only those it always replaces.
    `preflights`: it hands any answer on, a success too, so that we may answer them.
    `folds`: it takes no other refusals than 401 and 403.
    `permits`: what is let through here is; else it is asked for words of refusal.
    """

    name: str
    rewrites: bool = False
    drops: bool = False
    preflights: bool = False
    folds: bool = False
    permits: bool = True


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A request that an engine asks about, as it came to the engine.

    `target` is the raw origin form, `headers` the client's with lower-case names,
    `peer` the client's address. `within` is for how many seconds the engine waits; then
    the truth could not be had, though what is being learned is learned. `route` is the
    one it chose by itself, "" where it goes by our answer.
    """

    door: Door
    method: str
    authority: bytes
    target: bytes
    headers: list[Header]
    peer: str
    scheme: str
    within: float | None = None
    route: str = ""


class Leave(msgspec.Struct, frozen=True, kw_only=True):
    """It may be forwarded: to `upstream`, asking for `target`, with these changes.

    `put` replaces whatever the client sent under the same names; `drop` is taken out.
    For `max_age` seconds the engine need not ask again about requests with the same
    host, method, target and values of the headers in `vary`.
    """

    permit: Permit
    upstream: str
    target: bytes
    put: tuple[Header, ...]
    drop: tuple[bytes, ...]
    request_id: bytes
    max_age: int = 0
    vary: tuple[bytes, ...] = ()


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """It may not: what to answer. A CORS preflight's answer is one, and a success."""

    answer: Answer
    request_id: bytes


Advice = Leave | Refusal


class Counsel:
    """Gives advice. `setup` and `reception` give those in force."""

    def __init__(
        self, setup: Callable[[], Setup], reception: Callable[[], Reception]
    ) -> None:
        self._setup = setup
        self._reception = reception

    def __repr__(self) -> str:
        return f"<Counsel: {self._reception()!r}>"

    async def advise(self, question: Question) -> Advice:
        """Decide; waits once at most, as `Gatekeeper.settle` does. Never raises.

        Whoever gives up on the answer may cancel this.
        """
        hearing = self._hearing(question.door, question.peer)
        try:
            return await hearing.hear(question)
        except asyncio.CancelledError:
            hearing.end(499, "error", "client_gone", failure="engine gone")
            raise
        # The outermost door: a fault of ours costs one answer, not the process.
        except Exception as error:  # noqa: BLE001
            asyncio.get_running_loop().call_exception_handler(
                {"message": "hearing crashed", "exception": error}
            )
            return hearing.refuse(Denial(reason=Reason.INTERNAL), failure="crashed")

    def refuse(self, door: Door, peer: str, reason: Reason) -> Refusal:
        """Refuse what is no proper question."""
        return self._hearing(door, peer).refuse(Denial(reason=reason))

    def _hearing(self, door: Door, peer: str) -> "_Hearing":
        return _Hearing(self._reception(), self._setup(), door, peer)


class _Hearing:
    """One question, from its beginning to its record."""

    def __init__(
        self, reception: Reception, setup: Setup, door: Door, peer: str
    ) -> None:
        self._reception = reception
        self._setup = setup
        self._door = door
        self._peer = peer
        self._started_at = reception.time()
        self._request_id = reception.request_id()
        self._head: RequestHead | None = None
        self._ended = False
        reception.in_flight += 1

    async def hear(self, question: Question) -> Advice:
        head = _request_head(question)
        if isinstance(head, Reason):
            return self.refuse(Denial(reason=head))
        self._head = head
        gatekeeper = self._setup.gatekeeper
        decision = gatekeeper.decide(head)
        if isinstance(decision, Pending):
            decision = await self._settle(decision, question.within)
        if isinstance(decision, Answer):
            return self._preflight(decision)
        return self._carry_out(head, decision, question.route)

    async def _settle(self, pending: Pending, within: float | None) -> Decision:
        try:
            async with asyncio.timeout(within):
                return await self._setup.gatekeeper.settle(pending)
        except TimeoutError:
            return deny(pending.route, Reason.PROVIDER_UNAVAILABLE, retry_after=1)

    def _preflight(self, answer: Answer) -> Refusal:
        if not self._door.preflights:
            # To this engine a success would be leave to forward.
            return self.refuse(Denial(reason=Reason.CORS_REFUSED))
        self.end(answer.status, "allow", "preflight")
        return Refusal(answer=answer, request_id=self._request_id)

    def _carry_out(self, head: RequestHead, decision: Decision, chosen: str) -> Advice:
        if isinstance(decision, Denial):
            return self.refuse(decision)
        engines = self._setup.engines
        reason = self._objection(head, decision, chosen)
        if reason is None:
            changes = engines.changes(head, decision, request_id=self._request_id)
            if isinstance(changes, Reason):
                reason = changes
            elif not self._door.drops and engines.beyond(changes):
                reason = Reason.BAD_MESSAGE
            elif not self._door.permits:
                reason = Reason.DECISION_CHANGED
            else:
                upstream = decision.route.upstream
                self.end(200, *told_of(decision), permit=decision)
                return Leave(
                    permit=decision,
                    upstream=upstream,
                    target=upstream_target(head.target, decision),
                    put=changes.put,
                    drop=changes.drop,
                    request_id=self._request_id,
                    max_age=self._keep_for(decision),
                    vary=depends_on(decision),
                )
        return self.refuse(
            deny(decision.route, reason, facts=decision.facts, source=decision.source)
        )

    def _keep_for(self, permit: Permit) -> int:
        setup = self._setup
        if setup.gatekeeper.blind:
            return 0
        return setup.keeping.seconds(permit, self._reception.clock.now())

    def _objection(
        self, head: RequestHead, permit: Permit, chosen: str
    ) -> Reason | None:
        """Tell why a permitted request is not let through at this door, if so."""
        route, credentials, door = permit.route, permit.credentials, self._door
        if route.kind not in HEADS_ALONE or chosen not in ("", route.id):
            return Reason.WRONG_DOOR
        if route.kind is RouteKind.OAUTH_AUTHORIZE:
            form = read_authorize(head, route.guard)
            if isinstance(form, Reason):
                return form
        in_query = credentials is not None and credentials.place is TokenPlace.QUERY
        passes = route.shadow and route.pass_token
        if in_query and not door.rewrites and not passes:
            # As on a route that takes no token from the query: it would go upstream.
            return Reason.MALFORMED_REQUEST
        # Not `rewrite` alone: a route in shadow loses tokens that were not judged, too.
        if (
            not door.rewrites
            and upstream_target(head.target, permit) != head.target.raw
        ):
            return Reason.WRONG_DOOR
        return None

    def refuse(self, denial: Denial, *, failure: str = "") -> Refusal:
        """Word a denial, and make the record."""
        answer = self._setup.word(denial, self._head)
        if self._door.folds:
            # The body and the very status are for whoever asks for the words.
            status = 401 if answer.status == 401 else 403
            answer = dataclasses.replace(answer, status=status, body=b"")
        self.end(
            answer.status,
            DECISIONS.get(denial.reason, "deny"),
            denial.reason,
            denial=denial,
            response_bytes=len(answer.body),
            failure=failure,
        )
        return Refusal(answer=answer, request_id=self._request_id)

    def end(
        self,
        status: int,
        decision: str,
        reason: str,
        *,
        permit: Permit | None = None,
        denial: Denial | None = None,
        response_bytes: int = 0,
        failure: str = "",
    ) -> None:
        """Make the record, once."""
        if self._ended:
            return
        self._ended = True
        head = self._head
        route, source, client = None, Source.NONE, None
        if permit is not None:
            route, source = permit.route, permit.source
            client = None if permit.facts is None else permit.facts.client
        elif denial is not None:
            route, source, client = denial.route, denial.source, denial.client
        reception = self._reception
        duration = reception.time() - self._started_at
        reception.ended(
            Exchange(
                request_id=self._request_id.decode(),
                started_at=reception.clock.now() - duration,
                duration=duration,
                upstream_wait=0.0,
                method="" if head is None else head.method,
                host="" if head is None else head.host,
                path="" if head is None else head.target.path.decode("latin-1"),
                status=status,
                decision=decision,
                reason=reason,
                source=source,
                route="" if route is None else route.id,
                provider="" if route is None else route.provider,
                # Nothing went there as far as we know.
                upstream="",
                client=client or "",
                peer=self._peer,
                scheme="" if head is None else head.scheme,
                request_bytes=0,
                response_bytes=response_bytes,
                failure=failure,
                door=self._door.name,
            )
        )


def _request_head(question: Question) -> RequestHead | Reason:
    """Read a question as the main door reads a message."""
    if not _METHOD.fullmatch(question.method):
        return Reason.BAD_QUESTION
    if question.method in NEVER_RELAYED:
        return Reason.METHOD_NOT_ALLOWED
    host = canonical_host(question.authority)
    if host is None or not all(is_utf8(value) for _, value in question.headers):
        return Reason.BAD_MESSAGE
    raw = question.target
    target = read_target(raw)
    if target is None:
        return Reason.BAD_TARGET
    return RequestHead(
        method=question.method,
        target=target,
        host=host,
        authority=question.authority,
        headers=question.headers,
        peer=question.peer,
        scheme=question.scheme,
    )
