"""Decide on a request: two pure halves around at most one wait. Floor 3.

`decide` is a plain function: what this process remembers is answered at once. Only
what it cannot know becomes a `Pending`, which a front hands to `settle`: the shared
store, then the provider. Facts are judged afresh on every request, hit or miss; a
verdict is never kept. What cannot be known now is 503, never a refused token.
"""

from collections.abc import Mapping
from math import inf
from typing import Final

from gateway.errors import ProviderUnavailable, StoreUnavailable, TooManyUnknown
from gateway.ports import Clock, FactsSource, Revocations, Sight
from gateway.rules.cors import preflight, requested_method
from gateway.rules.credentials import (
    find_credentials,
    misfit,
    named_device,
    names_several,
)
from gateway.rules.policy import (
    Case,
    admit_open,
    admit_shadowed,
    admit_userinfo,
    deny,
    deny_unrouted,
    is_recent_enough,
    judge,
    rules_for,
)
from gateway.rules.routing import Routes
from gateway.values import (
    Answer,
    Credentials,
    Decision,
    Denial,
    Invalid,
    Knowledge,
    NoRoute,
    Pending,
    Permit,
    Reason,
    RequestHead,
    Route,
    RouteKind,
    Source,
    TokenFacts,
)

_PROVIDER: Final = Source.PROVIDER
_USERINFO: Final = RouteKind.OAUTH_USERINFO


class Gatekeeper:
    """The one who decides. `sources` are the facts of each provider, by its name."""

    def __init__(
        self,
        routes: Routes,
        sources: Mapping[str, FactsSource],
        revocations: Revocations,
        clock: Clock,
        sight: Sight,
    ) -> None:
        self._routes = routes
        self._sources = sources
        self._revocations = revocations
        self._clock = clock
        self._sight = sight
        self._rules = {route.id: rules_for(route) for route in routes}

    def __repr__(self) -> str:
        return f"<Gatekeeper: {len(self._routes)} routes>"

    @property
    def blind(self) -> bool:
        """Tell whether revocations that others made are not heard of."""
        return self._sight.blind

    def decide(self, head: RequestHead) -> Decision | Answer | Pending:
        """Decide from memory; an `Answer` is that to a CORS preflight."""
        if head.method == "OPTIONS":
            answer = self._preflight(head)
            if answer is not None:
                return answer
        route = self._routes.find(head)
        if not isinstance(route, Route):
            return deny_unrouted(route)
        credentials = find_credentials(head, route)
        if isinstance(credentials, Credentials):
            return self._recall(head, route, credentials)
        if credentials is None:
            return admit_open(route)
        return deny(route, credentials)

    def revokes(self, permit: Permit) -> bool:
        """Tell whether a permit would not be given any more: its token is revoked."""
        credentials = permit.credentials
        return credentials is not None and self._revocations.covers(
            permit.route.provider, credentials.token, permit.facts
        )

    async def settle(self, pending: Pending) -> Decision:
        """Learn the facts, then judge: the provider is asked at most once."""
        knowledge = await self.inquire(pending)
        if isinstance(knowledge, Denial):
            return self.enforced(knowledge, pending.credentials)
        decision = self.conclude(pending, knowledge)
        return self.enforced(decision, pending.credentials)

    def enforced(self, decision: Decision, credentials: Credentials | None) -> Decision:
        """Give what is done about a decision: what it says."""
        return decision

    async def inquire(self, pending: Pending) -> Knowledge | Denial:
        """Learn the facts: the first half of `settle`."""
        route = pending.route
        oldest = route.require.max_fact_age
        try:
            return await self._learn(pending, inf if oldest is None else oldest)
        except TooManyUnknown as error:
            return deny(route, Reason.RATE_LIMITED, retry_after=error.retry_after)
        except ProviderUnavailable as error:
            return self._unavailable(route, error.retry_after)
        except StoreUnavailable:
            return self._unavailable(route)

    def conclude(self, pending: Pending, knowledge: Knowledge) -> Decision:
        """Judge by what was learned: the second half."""
        route = pending.route
        if route.kind is _USERINFO:
            return self._admit_userinfo(route, pending.credentials, knowledge)
        # What was asked just now is recent, however long the answer took.
        if knowledge.source is _PROVIDER or self._suffices(route, knowledge):
            return self._judge(route, pending.credentials, pending.device, knowledge)
        return self._unavailable(route)

    async def _learn(self, pending: Pending, oldest: float) -> Knowledge:
        """Learn the facts; who is blind wants a fresh word, but can do without."""
        source, token = self._sources[pending.route.provider], pending.credentials.token
        blind = self._sight.blind
        if blind:
            oldest = min(oldest, self._sight.trust)
        try:
            return await source.learn(token, max_age=oldest, client=pending.peer)
        except (ProviderUnavailable, StoreUnavailable):
            known = source.recall(token) if blind else None
            if known is None:
                raise
            return known

    def _preflight(self, head: RequestHead) -> Answer | Denial | None:
        """Answer for the route of the method that is asked about, if it has CORS."""
        method = requested_method(head)
        if method is None:
            return None
        route = self._routes.search(head.host, head.target, method)
        if isinstance(route, NoRoute) or route.cors is None:
            return None
        return preflight(route, head) or deny(route, Reason.CORS_REFUSED)

    def _recall(
        self, head: RequestHead, route: Route, credentials: Credentials
    ) -> Decision | Pending:
        """Judge by what this process remembers, else say what is missing."""
        token = credentials.token
        knowledge = self._sources[route.provider].recall(token, credentials.notes)
        if self._sight.blind:
            if self._sight.lost and not self._go_on(route):
                return self._unavailable(route, reason=Reason.REVOCATIONS_UNKNOWN)
            if knowledge is not None and not self._trusts(knowledge):
                knowledge = None
        if route.kind is _USERINFO and (
            knowledge is not None or not self._revocations.names_holders()
        ):
            return self._admit_userinfo(route, credentials, knowledge)
        require = route.require
        device = None if require.device is None else named_device(head, require.device)
        if knowledge is not None and (
            require.max_fact_age is None or self._suffices(route, knowledge)
        ):
            return self._judge(route, credentials, device, knowledge)
        if self._revocations.covers(route.provider, token, None):
            return deny(route, Reason.REVOKED)
        reason = misfit(token, route.token_shape)
        if reason is not None:
            return deny(route, reason)
        return Pending(route, credentials, device, head.peer)

    def _go_on(self, route: Route) -> bool:
        """Tell whether to go on though nobody knows what was revoked for too long."""
        if not route.strict_revocation:
            self._sight.dared()
        return not route.strict_revocation

    def _trusts(self, knowledge: Knowledge) -> bool:
        """Tell whether this is believed while blind. To distrust a *no* helps nobody."""
        age = self._clock.now() - knowledge.obtained_at
        return isinstance(knowledge.found, Invalid) or age <= self._sight.trust

    def _suffices(self, route: Route, knowledge: Knowledge) -> bool:
        """Tell whether this may be judged by. A verdict does not grow old."""
        return isinstance(knowledge.found, Invalid) or is_recent_enough(
            route, knowledge.obtained_at, self._clock.now()
        )

    def _judge(
        self,
        route: Route,
        credentials: Credentials,
        device: str | None,
        knowledge: Knowledge,
    ) -> Decision:
        found = knowledge.found
        if not isinstance(found, TokenFacts):
            return deny(route, found.reason, source=knowledge.source)
        revoked = self._revocations.covers(route.provider, credentials.token, found)
        case = Case(route, found, self._clock.now(), revoked, device)
        return judge(case, credentials, knowledge.source, self._rules[route.id])

    def _admit_userinfo(
        self, route: Route, credentials: Credentials, knowledge: Knowledge | None
    ) -> Decision:
        """Judge by marks alone: the request itself is the question to the provider.

        So nobody is asked first, unless a mark may name whose token it is.
        """
        facts, source = None, Source.NONE
        if knowledge is not None and isinstance(knowledge.found, TokenFacts):
            facts, source = knowledge.found, knowledge.source
        token = credentials.token
        revoked = self._revocations.covers(route.provider, token, facts)
        return admit_userinfo(route, credentials, facts, revoked=revoked, source=source)

    def _unavailable(
        self,
        route: Route,
        wait: int = 0,
        *,
        reason: Reason = Reason.PROVIDER_UNAVAILABLE,
    ) -> Denial:
        # Spread over five seconds, lest all clients come back as one.
        spread = int(self._clock.monotonic() * 1000) % 5
        later = max(1, wait) + spread
        return deny(route, reason, retry_after=later)


class ShadowingGatekeeper(Gatekeeper):
    """One for routes of which some enforce nothing (`Route.shadow`).

    A class of its own, so that where there are none nobody is asked about it.
    """

    def decide(self, head: RequestHead) -> Decision | Answer | Pending:
        """Decide from memory, and let through whom such a route would refuse."""
        decision = super().decide(head)
        if isinstance(decision, Answer):
            return decision
        route = decision.route
        if route is None or not route.shadow:
            return decision
        if isinstance(decision, Denial):
            found = find_credentials(head, route)
            credentials = found if isinstance(found, Credentials) else None
            decision = self.enforced(decision, credentials)
        if (
            route.pass_token
            and not isinstance(decision, Denial)
            and names_several(head)
        ):
            # Tokens pass as they came: the upstream might take one that was not judged,
            # for which another was let in, or that was revoked.
            return deny(route, Reason.MALFORMED_REQUEST)
        return decision

    def enforced(self, decision: Decision, credentials: Credentials | None) -> Decision:
        """Give what is done about a decision: a refusal in shadow is leave, marked."""
        if not isinstance(decision, Denial):
            return decision
        route = decision.route
        if (
            route is not None
            and credentials is not None
            and self._revocations.covers(route.provider, credentials.token, None)
        ):
            # Another reason was found first, which would have let it through.
            return deny(route, Reason.REVOKED, source=decision.source)
        return admit_shadowed(decision, credentials)
