"""The whole of what is known, against a reference that says what it may answer.

Two processes share a store, a flight lock and their marks; their provider changes its
mind and goes away, tokens are issued, run out, are revoked and unrevoked, clocks are
set, the store goes away, marks are not heard of. However a decision came about (memory,
a negative, the store, a word passed on, the provider, a refresh, grace), it is one that
the reference allows: a hit and a miss decide alike.
"""

import asyncio
from math import inf

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import ProviderUnavailable, StoreUnavailable
from gateway.facts.cached import CachedFacts, CacheSettings
from gateway.facts.chain import Chain
from gateway.facts.marks import Marks, TokenTerms
from gateway.facts.shared import CacheResources
from gateway.gatekeeper import Gatekeeper
from gateway.rules.routing import Routes
from gateway.stores.memory import MemoryStore
from gateway.values import (
    INVALID_TOKEN,
    Denial,
    Invalid,
    MarkKind,
    Pending,
    Permit,
    Reason,
    Requirements,
    Route,
    TokenFacts,
)
from tests.facts.doubles import SECRET, Tower
from tests.fakes import Clock
from tests.rules.heads import head

TTL, NEGATIVE, GRACE, AHEAD = 60.0, 10.0, 40.0, 10.0
TRUST, RECENT = 10.0, 20.0
"""How old a word may be for who is blind, and for the route that wants it recent."""
HOLDERS = {"T.ada": "ada", "T.ada2": "ada", "T.ada3": "ada", "T.ben": "ben"}
LIVES = {
    "T.ada": (-1e6, 5000.0),
    "T.ada2": (-1e6, 150.0),
    "T.ada3": (100.0, 5000.0),
    "T.ben": (-1e6, 5000.0),
}
"""From when to when the provider calls each token good."""
ROUTES = [
    Route(
        id=name,
        path=f"/{name}",
        provider="idp",
        upstream="up",
        require=Requirements(scopes=(frozenset({scope}),), max_fact_age=age),
    )
    for name, scope, age in (
        ("read", "read", None),
        ("write", "write", None),
        ("recent", "read", RECENT),
    )
]


class Server(MemoryStore):
    """A store whose entries run out, as a server's do, and which may be away."""

    shared = True
    fails = False

    async def get(self, key: str) -> bytes | None:
        self._check()
        return await super().get(key)

    async def put(self, key: str, value: bytes, *, ttl: float) -> None:
        self._check()
        await super().put(key, value, ttl=ttl)

    async def delete(self, key: str) -> None:
        self._check()
        await super().delete(key)

    def _check(self) -> None:
        if self.fails:
            raise StoreUnavailable("away")


class Sight:
    """Whether a process knows all marks."""

    blind = False
    lost = False
    trust = TRUST

    def dared(self) -> None:
        """Count nothing."""


class Reference:
    """What is true, and so what may be answered. Nothing here remembers facts."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.began = clock.now()
        self.passed = 0.0
        self.stepped = self.blind = False
        self.marks: dict[str, float] = {}
        self.minds = {token: [(-inf, True)] for token in LIVES}
        self.down_until = 0.0
        self.heard: dict[tuple[int, str], float] = {}

    @property
    def is_down(self) -> bool:
        """Tell whether it cannot be asked, or could not a second ago."""
        return self.passed < self.down_until

    def said(self, token: str, *, good: bool, within: float) -> bool:
        """Tell whether the provider would have said so, lately: its clock is not set.

        Its mind holds from one change to the next, both included: who asks at that
        very moment may hear either.
        """
        born, end = LIVES[token]
        first, minds = self.passed - within, self.minds[token]
        ends = [since for since, _ in minds[1:]] + [inf]
        for (since, mind), until in zip(minds, ends, strict=True):
            last = min(until, self.passed)
            if last <= first:
                continue
            if good and mind and max(since, born) <= last and max(first, since) < end:
                return True
            before, after = since < born and first < born, last >= end
            if not good and (not mind or before or after):
                return True
        return False

    def is_revoked(self, token: str) -> bool:
        """Tell whether a mark names the token, or its holder when it was there."""
        issued = self.began + LIVES[token][0]
        return token in self.marks or issued <= self.marks.get(HOLDERS[token], -inf)

    def may_be(self, process: int, token: str, route: str) -> set[str]:
        """Give the outcomes a decision may have now."""
        good = "insufficient_scope" if route == "write" else "permit"
        # Set clocks double the ttl, and make any age look young.
        window = TTL * (2 if self.stepped else 1) + GRACE * self.is_down
        believed = TTL if self.blind else TTL + GRACE
        if route == "recent":
            believed = min(believed, RECENT)
            window = window if self.stepped else min(window, RECENT + 0.1)
        if self.blind and not self.stepped and not self.is_down:
            window = min(window, TRUST + 0.1)
        allowed = set()
        if self.said(token, good=True, within=window):
            allowed.add(good)
        # The second: for which a verdict passed on can be heard.
        if self.said(token, good=False, within=NEGATIVE + 1):
            allowed.add("invalid")
        if self.clock.now() >= self.began + LIVES[token][1] or self.is_revoked(token):
            allowed = {"invalid"}
        heard = self.heard.get((process, token), -inf)
        if self.is_down and not (self.passed - heard < believed and good in allowed):
            allowed.add("unavailable")
        return allowed


class Provider:
    """Says what is true, while it can be asked."""

    identity = "provider"
    local = False

    def __init__(self, truth: Reference) -> None:
        self.truth = truth

    async def verify(self, token: str, now: float) -> TokenFacts | Invalid:
        truth, (born, end) = self.truth, LIVES[token]
        if truth.passed + 1 < truth.down_until:
            raise ProviderUnavailable("down")
        if not (truth.minds[token][-1][1] and born <= truth.passed < end):
            return Invalid(Reason.INACTIVE)
        return TokenFacts(
            provider="idp",
            subject=HOLDERS[token],
            scopes=frozenset({"read"}),
            issued_at=truth.began + born,
            expires_at=truth.began + end,
        )


class World:
    """Two processes and everything around them."""

    def __init__(self) -> None:
        self.clock = clock = Clock()
        self.truth = Reference(clock)
        self.store, self.tower = Server(clock), Tower(clock)
        resources = CacheResources(
            secrets=(SECRET,), store=self.store, clock=clock, lock=self.tower
        )
        self.sight = Sight()
        self.marks = [Marks(clock=clock, terms={"idp": TokenTerms()}) for _ in range(2)]
        self.sources = [
            CachedFacts(
                "idp",
                Chain([Provider(self.truth)]),
                resources=resources,
                settings=CacheSettings(
                    ttl=TTL, negative_ttl=NEGATIVE, grace=GRACE, refresh_ahead=AHEAD
                ),
            )
            for _ in range(2)
        ]
        self.keepers = [
            Gatekeeper(Routes(ROUTES), {"idp": source}, marks, clock, self.sight)
            for source, marks in zip(self.sources, self.marks, strict=True)
        ]

    async def do(self, move: str, process: int, token: str, amount: float) -> None:
        """Let one thing happen."""
        truth = self.truth
        match move:
            case "advance":
                self.clock.advance(amount)
                truth.passed += amount
            case "step":
                self.clock.step(amount - 50)
                truth.stepped = True
                truth.heard.clear()
            case "fall silent":
                # The second after: what one process found holds for a while.
                truth.down_until = truth.passed + 3 * amount + 1
            case "change its mind":
                minds = truth.minds[token]
                minds.append((truth.passed, not minds[-1][1]))
                truth.heard = {
                    key: at for key, at in truth.heard.items() if key[1] != token
                }
            case "lose the store":
                self.store.fails = self.tower.fails = not self.store.fails
            case "lose sight":
                self.sight.blind = truth.blind = not truth.blind
            case "revoke":
                await self.revoke(token, by_token=amount < 50)
            case "unrevoke":
                await self.unrevoke(token, by_token=amount < 50)
            case "forget":
                await self.sources[process].forget(token, source="admin")
                truth.heard.pop((process, token), None)
            case _:
                route = ROUTES[int(amount) % len(ROUTES)]
                await self.ask(process, token, route.id)

    async def revoke(self, token: str, *, by_token: bool) -> None:
        """Mark the token, or its subject, in both processes."""
        for marks in self.marks:
            end = self.clock.now() + 1e6
            mark = (
                marks.mark_token("idp", token, end)
                if by_token
                else marks.mark(MarkKind.SUBJECT, "idp", HOLDERS[token], end)
            )
            await marks.add(mark)
        name = token if by_token else HOLDERS[token]
        # A mark is only ever extended, whatever the clock says.
        known = self.truth.marks.get(name, -inf)
        self.truth.marks[name] = max(known, self.clock.now())

    async def unrevoke(self, token: str, *, by_token: bool) -> None:
        """Lift the mark, if there is one."""
        for marks in self.marks:
            kind = MarkKind.TOKEN if by_token else MarkKind.SUBJECT
            name = marks.mark_token("idp", token).name if by_token else HOLDERS[token]
            await marks.lift(kind, "idp", name)
        self.truth.marks.pop(token if by_token else HOLDERS[token], None)

    async def ask(self, process: int, token: str, route: str) -> None:
        """Have a request decided, and compare."""
        target = f"/{route}".encode()
        bearer = (b"authorization", f"Bearer {token}".encode())
        keeper = self.keepers[process]
        decision = keeper.decide(head("GET", target, bearer))
        if isinstance(decision, Pending):
            decision = await keeper.settle(decision)
        assert isinstance(decision, Permit | Denial)

        assert outcome(decision) in self.truth.may_be(process, token, route)

        if decision.source.value == "provider" and isinstance(decision, Permit):
            self.truth.heard[process, token] = self.truth.passed
        # What goes on behind the client's back comes to its end.
        for _ in range(20):
            await asyncio.sleep(0)


def outcome(decision: Permit | Denial) -> str:
    """Name what the client hears; why a token is invalid may depend on who is asked."""
    if isinstance(decision, Permit):
        return "permit"
    if decision.reason in INVALID_TOKEN:
        return "invalid"
    if decision.reason is Reason.PROVIDER_UNAVAILABLE:
        return "unavailable"
    return decision.reason.value


moves = st.tuples(
    st.sampled_from(
        ["ask"] * 14
        + ["advance"] * 6
        + ["fall silent", "change its mind"] * 2
        + ["lose the store", "lose sight", "revoke", "unrevoke", "forget", "step"]
    ),
    st.integers(0, 1),
    st.sampled_from(sorted(HOLDERS)),
    # Quarters: exact in every sum, so that an end is an end to both.
    st.integers(0, 400).map(lambda quarters: quarters / 4),
)


@settings(max_examples=500, deadline=None)
@given(st.lists(moves, min_size=10, max_size=60))
def test_hit_and_miss_decide_alike(moves):
    """Whatever happens, in whatever order."""

    async def happen() -> None:
        world = World()
        for move in moves:
            await world.do(*move)

    asyncio.run(happen())
