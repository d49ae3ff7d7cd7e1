"""The whole of what is known, against forty lines that say what it may answer.

Two processes share a store, a flight lock and their marks; their provider changes its
mind and goes away, tokens run out and are revoked, clocks are set. However a decision
came about (memory, store, a word passed on, the provider, grace), it is the reference's.
"""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import ProviderUnavailable
from gateway.facts.cached import CachedFacts, CacheSettings
from gateway.facts.chain import Chain
from gateway.facts.marks import Marks, TokenTerms
from gateway.facts.shared import CacheResources
from gateway.gatekeeper import Gatekeeper, Pending
from gateway.rules.routing import Routes
from gateway.stores.memory import MemoryStore
from gateway.values import (
    INVALID_TOKEN,
    Denial,
    Invalid,
    MarkKind,
    Permit,
    Reason,
    Requirements,
    Route,
    TokenFacts,
)
from tests.facts.doubles import SECRET, Tower
from tests.fakes import Clock
from tests.rules.heads import head

TTL, GRACE, AHEAD = 60.0, 40.0, 10.0
HOLDERS = {"T.ada": "ada", "T.ada2": "ada"}
LIVES = {"T.ada": 5000.0, "T.ada2": 150.0}
ROUTES = [
    Route(
        id=scope,
        path=f"/{scope}",
        provider="idp",
        upstream="up",
        require=Requirements(scopes=(frozenset({scope}),)),
    )
    for scope in ("read", "write")
]


class Server(MemoryStore):
    """A store whose entries run out, as a server's do."""

    shared = True


class Seeing:
    """A process that knows all marks."""

    blind = False
    lost = False
    trust = 10.0

    def dared(self) -> None:
        """Count nothing."""


class Reference:
    """What is true, and so what may be answered. Nothing here remembers facts."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.ends = {token: clock.now() + life for token, life in LIVES.items()}
        self.passed = 0.0
        self.stepped = False
        self.revoked: set[str] = set()
        self.bad_at: dict[str, float] = {}
        self.down_until = 0.0
        self.heard: dict[tuple[int, str], float] = {}

    @property
    def is_down(self) -> bool:
        """Tell whether it cannot be asked, or could not a second ago."""
        return self.passed < self.down_until

    def is_good(self, token: str) -> bool:
        """Tell what the provider says: its clock is never set."""
        return token not in self.bad_at and self.passed < LIVES[token]

    def may_be(self, process: int, token: str, scope: str) -> set[str]:
        """Give the outcomes a decision may have now."""
        good = "permit" if scope == "read" else "insufficient_scope"
        if {token, HOLDERS[token]} & self.revoked or self.clock.now() >= self.ends[
            token
        ]:
            allowed = {"invalid"}
        elif self.is_good(token):
            allowed = {good}
        else:
            # A change of mind is noticed when belief ends; set clocks double the ttl.
            since = self.passed - min(self.bad_at.get(token, 1e9), LIVES[token])
            late = since < TTL * (2 if self.stepped else 1) + GRACE * self.is_down
            allowed = {"invalid", good} if late else {"invalid"}
        heard = self.heard.get((process, token), -1e9)
        believes = self.passed - heard < TTL + GRACE
        if self.is_down and not (believes and good in allowed):
            allowed.add("unavailable")
        return allowed


class Provider:
    """Says what is true, while it can be asked."""

    identity = "provider"
    local = False

    def __init__(self, truth: Reference) -> None:
        self.truth = truth
        self.process = 0

    async def verify(self, token: str, now: float) -> TokenFacts | Invalid:
        truth = self.truth
        if truth.passed + 1 < truth.down_until:
            raise ProviderUnavailable("down")
        if not truth.is_good(token):
            return Invalid(Reason.INACTIVE)
        return TokenFacts(
            provider="idp",
            subject=HOLDERS[token],
            scopes=frozenset({"read"}),
            issued_at=truth.ends[token] - LIVES[token] - 1e6,
            expires_at=truth.ends[token],
        )


class World:
    """Two processes and everything around them."""

    def __init__(self) -> None:
        self.clock = clock = Clock()
        self.truth = Reference(clock)
        resources = CacheResources(
            secrets=(SECRET,), store=Server(clock), clock=clock, lock=Tower(clock)
        )
        self.marks = [Marks(clock=clock, terms={"idp": TokenTerms()}) for _ in range(2)]
        self.sources = [
            CachedFacts(
                "idp",
                Chain([Provider(self.truth)]),
                resources=resources,
                settings=CacheSettings(ttl=TTL, grace=GRACE, refresh_ahead=AHEAD),
            )
            for _ in range(2)
        ]
        self.keepers = [
            Gatekeeper(Routes(ROUTES), {"idp": source}, marks, clock, Seeing())
            for source, marks in zip(self.sources, self.marks, strict=True)
        ]

    async def do(self, move: str, process: int, token: str, amount: float) -> None:
        """Let one thing happen."""
        truth = self.truth
        if move == "advance":
            self.clock.advance(amount)
            truth.passed += amount
        elif move == "step":
            self.clock.step(amount - 50)
            truth.stepped = True
            truth.heard.clear()
        elif move == "fall silent":
            # The second after: what one process found holds for a while.
            truth.down_until = truth.passed + 3 * amount + 1
        elif move == "change its mind":
            truth.bad_at.setdefault(token, truth.passed)
        elif move == "revoke":
            await self.revoke(token, by_token=amount < 50)
        elif move == "forget":
            await self.sources[process].forget(token, source="admin")
            truth.heard.pop((process, token), None)
        else:
            await self.ask(process, token, "read" if amount < 70 else "write")

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
        self.truth.revoked.add(token if by_token else HOLDERS[token])

    async def ask(self, process: int, token: str, scope: str) -> None:
        """Have a request decided, and compare."""
        target = f"/{scope}".encode()
        bearer = (b"authorization", f"Bearer {token}".encode())
        keeper = self.keepers[process]
        decision = keeper.decide(head("GET", target, bearer))
        if isinstance(decision, Pending):
            decision = await keeper.settle(decision)
        assert isinstance(decision, Permit | Denial)

        assert outcome(decision) in self.truth.may_be(process, token, scope)

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
        ["ask"] * 8
        + ["advance"] * 4
        + ["fall silent", "change its mind"] * 2
        + ["step", "revoke", "forget"]
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
