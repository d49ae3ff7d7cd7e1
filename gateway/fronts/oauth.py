"""Guarded OAuth endpoints: a provider's own, looked after on the way. Floor 4.

The guard checks the form before the provider sees it and answers in the provider's own
error form; everything else passes unchanged. It learns two things from
answers that pass: from the token endpoint the grant of a new token, before the client
has it; from the revocation endpoint that a token is no longer good. Only these two
endpoints' bodies are ever held, 64 KiB each way.

What marks revoked is not renewed here (`facts.renewals`), and what a provider says of
the end of a session comes in by the same way (`fronts.logout`).
"""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Final, Protocol

import msgspec

from gateway.errors import (
    MessageError,
    ProviderUnavailable,
    StoreUnavailable,
    UpstreamUnavailable,
)
from gateway.facts.renewals import Renewals
from gateway.fronts.doubts import Doubts
from gateway.fronts.logout import Logouts
from gateway.ports import Clock, FactsSource, GrantWriter, Marker
from gateway.rules import resources, strict_json
from gateway.rules.credentials import upstream_target
from gateway.rules.headers import header_lines
from gateway.rules.oauth_forms import (
    RevocationRequest,
    TokenAnswer,
    TokenRequest,
    read_authorize,
    read_revocation,
    read_token,
    read_token_answer,
)
from gateway.rules.policy import deny
from gateway.tasks import spawn
from gateway.values import (
    Answer,
    Denial,
    Grant,
    Header,
    Invalid,
    MarkKind,
    Origin,
    Permit,
    Reason,
    RequestHead,
    Route,
    RouteKind,
    TokenFacts,
)
from gateway.wire.downstream import Downstream
from gateway.wire.fetch import BODY_LIMIT, Fetched, fetch
from gateway.wire.heads import ParsedHead, ResponseHead
from gateway.wire.message import serialise_request
from gateway.wire.pool import Pool, UpstreamBusy


class Visitor(Protocol):
    """What a guard needs of a visit."""

    connection: Downstream
    parsed: ParsedHead | None

    @property
    def request(self) -> RequestHead:
        """Give the request's head."""
        ...

    def pool(self, permit: Permit) -> Pool:
        """Give the connections to its upstream."""
        ...

    def relay(self, permit: Permit) -> None:
        """Send the request on as it is."""
        ...

    def upstream_headers(self, permit: Permit) -> list[Header] | Reason:
        """Give the headers for the upstream."""
        ...

    def answer_denial(self, denial: Denial, *, failure: str = "") -> None:
        """Refuse."""
        ...

    def answer_own(self, answer: Answer, reason: str) -> None:
        """Answer for what the gateway itself has done."""
        ...

    def answer_whole(self, head: ResponseHead, body: bytes, *, failure: str) -> None:
        """Send a whole response."""
        ...

    def fault(self, error: Exception) -> None:
        """Answer for a fault of ours."""
        ...


class TokenEndpoint(msgspec.Struct, frozen=True):
    """The one place whose answers teach grants."""

    origin: Origin
    path: bytes


class Guards:
    """The guards of all providers' endpoints."""

    def __init__(
        self,
        *,
        sources: Mapping[str, FactsSource],
        teachers: Mapping[str, TokenEndpoint],
        grants: GrantWriter,
        marker: Marker,
        renewals: Renewals,
        logouts: Logouts,
        clock: Clock,
    ) -> None:
        self._renewals = renewals
        self._logouts = logouts
        self._doubts = Doubts(sources, clock)
        self._sources = sources
        self._teachers = teachers
        self._grants = grants
        self._marker = marker
        self._clock = clock

    def __repr__(self) -> str:
        return f"<Guards: {len(self._teachers)} teaching>"

    def guard(self, visit: Visitor, permit: Permit) -> None:
        """Check the request's form; then relay it, or hold it in a task."""
        if permit.route.kind is RouteKind.PROTECTED_RESOURCE:
            # RFC 9728 §3.2: whatever the request says besides its address.
            told = resources.answer(permit.route, visit.request)
            visit.answer_own(told, "metadata")
            return
        if permit.route.kind is RouteKind.OAUTH_AUTHORIZE:
            form = read_authorize(visit.request, permit.route.guard)
            if isinstance(form, Reason):
                visit.answer_denial(deny(permit.route, form))
            else:
                visit.relay(permit)
            return
        _ = spawn(self._hold(visit, permit), name="oauth-guard")

    def refused(self, permit: Permit) -> None:
        """Take note that the upstream answered 401 to a request that was let through."""
        self._doubts.doubt(permit)

    async def _hold(self, visit: Visitor, permit: Permit) -> None:
        try:
            body = await _whole_body(visit, permit.route)
            if isinstance(body, Reason):
                visit.answer_denial(deny(permit.route, body))
            elif permit.route.kind is RouteKind.OAUTH_TOKEN:
                await self._token(visit, permit, body)
            elif permit.route.kind is RouteKind.BACKCHANNEL_LOGOUT:
                await self._logouts.take(visit, permit, body)
            else:
                await self._revoke(visit, permit, body)
        except Exception as error:  # noqa: BLE001 -- the outermost door of this task
            visit.fault(error)

    # ---------------------------------------------------------- token endpoint

    async def _token(self, visit: Visitor, permit: Permit, body: bytes) -> None:
        form = read_token(visit.request, permit.route.guard, body)
        if isinstance(form, Reason):
            visit.answer_denial(deny(permit.route, form))
            return
        if refusal := await self._judge_renewal(permit.route.provider, form):
            visit.answer_denial(deny(permit.route, refusal))
            return
        asked_at = self._clock.now()
        fetched = await self._ask(visit, permit, body)
        if fetched is None:
            return
        failure = ""
        if fetched.head.status == 200 and _has_own_host(visit, permit):
            failure = await self._hear(visit, permit, form, asked_at, fetched)
        visit.answer_whole(fetched.head, fetched.body, failure=failure)

    async def _judge_renewal(self, provider: str, form: TokenRequest) -> Reason | None:
        """Tell why a refresh grant is refused: a mark is on it, or that is unknown."""
        token = form.refresh_token
        if token is None:
            return None
        try:
            revoked = await self._renewals.refuses(provider, token, form.client_id)
        except (ProviderUnavailable, StoreUnavailable):
            return Reason.PROVIDER_UNAVAILABLE
        return Reason.GRANT_REVOKED if revoked else None

    async def _hear(
        self,
        visit: Visitor,
        permit: Permit,
        form: TokenRequest,
        asked_at: float,
        fetched: Fetched,
    ) -> str:
        """Learn what an answer teaches before the client has it; tell what failed."""
        teaches = self._teaches(visit, permit)
        try:
            answer = read_token_answer(strict_json.decode(fetched.body))
        except strict_json.UnusableJson:
            return "token answer not understood" if teaches else ""
        if answer is None:
            return "token answer teaches nothing" if teaches else ""
        provider, client = permit.route.provider, form.client_id
        failure = ""
        if answer.refresh_token is not None:
            try:
                await self._renewals.record(
                    provider, answer.refresh_token, client, asked_at
                )
            except (ProviderUnavailable, StoreUnavailable):
                failure = "refresh token could not be remembered"
        if teaches:
            failure = await self._learn(provider, client, asked_at, answer) or failure
        return failure

    def _teaches(self, visit: Visitor, permit: Permit) -> bool:
        """Tell whether this upstream is the provider's own token endpoint."""
        endpoint = self._teachers.get(permit.route.provider)
        if endpoint is None:
            return False
        origins = set(visit.pool(permit).settings.origins)
        path = upstream_target(visit.request.target, permit).partition(b"?")[0]
        return origins == {endpoint.origin} and path == endpoint.path

    async def _learn(
        self, provider: str, client: str | None, asked_at: float, answer: TokenAnswer
    ) -> str:
        """Record the grant before the client can use it; tell what went wrong."""
        grant = Grant(
            provider=provider,
            client=client,
            scopes=answer.scopes,
            issued_at=asked_at,
            # Counted from before the question: never longer than the provider means.
            expires_at=asked_at + answer.expires_in,
        )
        try:
            await self._grants.record(provider, answer.access_token, grant)
        except StoreUnavailable:
            return "grant could not be stored"
        # What was known of this token before (say, that no grant was) is outdated.
        await self._forget(provider, answer.access_token, "token_answer")
        return ""

    # ------------------------------------------------------ revocation endpoint

    async def _revoke(self, visit: Visitor, permit: Permit, body: bytes) -> None:
        form = read_revocation(visit.request, permit.route.guard, body)
        if isinstance(form, Reason):
            visit.answer_denial(deny(permit.route, form))
            return
        # Asked now: afterwards the provider has forgotten whose token it was.
        found = await self._known(permit.route.provider, form, visit.request.peer)
        fetched = await self._ask(visit, permit, body)
        if fetched is None:
            return
        failure = ""
        if fetched.head.status == 200:
            failure = await self._mark(permit.route.provider, form, found)
        visit.answer_whole(fetched.head, fetched.body, failure=failure)

    async def _known(
        self, provider: str, form: RevocationRequest, client: str
    ) -> TokenFacts | Invalid | None:
        if not form.authenticated:
            return None
        source = self._sources[provider]
        try:
            knowledge = source.recall(form.token) or await source.learn(
                form.token, client=client
            )
        except (ProviderUnavailable, StoreUnavailable):
            return None
        return knowledge.found

    async def _mark(
        self,
        provider: str,
        form: RevocationRequest,
        found: TokenFacts | Invalid | None,
    ) -> str:
        """Follow a 200: facts go in any case, a mark needs the token's own client.

        RFC 7009 §2.2: a 200 is also the answer to a token that never was, and to
        somebody else's. A refresh token takes its access token along.
        """
        await self._forget(provider, form.token, "revocation")
        if found is None or found.client is None or found.client != form.client_id:
            return ""
        if isinstance(found, TokenFacts):
            mark = self._marker.mark_token(provider, form.token, found.expires_at)
        elif found.renews is not None:
            mark = self._marker.mark(MarkKind.TOKEN_ID, provider, found.renews)
        else:
            return ""
        try:
            await self._marker.add(mark)
        except StoreUnavailable:
            return "revocation mark could not be stored"
        return ""

    async def _forget(self, provider: str, token: str, source: str) -> None:
        with contextlib.suppress(StoreUnavailable):
            await self._sources[provider].forget(token, source=source)

    # -------------------------------------------------------------- the question

    async def _ask(self, visit: Visitor, permit: Permit, body: bytes) -> Fetched | None:
        """Put the request to the upstream; None when that failed and was answered."""
        headers = visit.upstream_headers(permit)
        if isinstance(headers, Reason):
            visit.answer_denial(deny(permit.route, headers))
            return None
        request = serialise_request(
            visit.request.method,
            upstream_target(visit.request.target, permit),
            # We must be able to read the answer.
            header_lines(
                [*_without_coding(headers), (b"accept-encoding", b"identity")]
            ),
            body=len(body),
        )
        pool = visit.pool(permit)
        try:
            return await fetch(
                pool, visit.request.method, request + body, permit.route.timeouts
            )
        except (UpstreamUnavailable, TimeoutError, MessageError) as error:
            reason = next(
                reason for kind, reason in _REASONS if isinstance(error, kind)
            )
            visit.answer_denial(deny(permit.route, reason), failure=str(reason))
            return None


_REASONS: Final = (
    (UpstreamBusy, Reason.UPSTREAM_BUSY),
    (UpstreamUnavailable, Reason.UPSTREAM_UNREACHABLE),
    (TimeoutError, Reason.UPSTREAM_TIMEOUT),
    (MessageError, Reason.UPSTREAM_INVALID),
)


def _has_own_host(visit: Visitor, permit: Permit) -> bool:
    """Tell that configuration, not the client, chose the upstream's virtual host."""
    named = visit.pool(permit).settings.host is not None
    return named or not permit.route.host.startswith("*")


def _without_coding(headers: list[Header]) -> list[Header]:
    return [header for header in headers if header[0] != b"accept-encoding"]


async def _whole_body(visit: Visitor, route: Route) -> bytes | Reason:
    """Read the request's body, up to the route's limit (0: none) and 64 KiB."""
    limit = min(route.body_limit_bytes or BODY_LIMIT, BODY_LIMIT)
    parsed = visit.parsed
    if parsed is None or not parsed.body:
        return b""
    if parsed.body > limit:
        return Reason.BODY_TOO_LARGE
    collector = _BodyCollector()
    visit.connection.attach(collector)
    visit.connection.read_body(limit=limit, rate=route.body_rate_bytes)
    return await collector.done


class _BodyCollector:
    """A `RequestSink` that keeps everything; the wire bounds it."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.done: asyncio.Future[bytes | Reason] = loop.create_future()
        self._body = b""

    def request_body(self, data: bytes) -> None:
        self._body += data

    def request_end(self) -> None:
        self._settle(self._body)

    def request_failed(self, reason: Reason) -> None:
        self._settle(reason)

    def client_gone(self) -> None:
        # The answer will find nobody; the provider is not asked for it.
        self._settle(Reason.REQUEST_TIMEOUT)

    def pause_response(self) -> None:
        pass

    def resume_response(self) -> None:
        pass

    def _settle(self, outcome: bytes | Reason) -> None:
        if not self.done.done():
            self.done.set_result(outcome)
