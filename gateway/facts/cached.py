"""Know a token at once, or learn it by one question. Floor 3: no rules, no wire.

What is kept are facts about a token, never verdicts on a request: the rules are
applied again on every hit. The first level is this process's memory, the second a
shared store. The store is left out where it could only cost: when it is not shared
(memory says it sooner), and when the verifiers ask nobody (a signature is checked
faster than a store is asked).

When an entry is believed:

- no longer than `ttl`, counted on the monotonic clock, and no longer than `exp` less
  `expiry_margin` by the wall clock: a stepped clock can end belief, never renew it;
- a hit never extends it, nor does the way through the store;
- an entry from the store is measured by *our* `ttl`, whatever its writer had, and
  one from the future is not believed at all. (Processes share no clock but the wall's:
  one that is set back in between can at most double the ttl.)

Facts near the end of their `ttl` are learned anew behind the caller's back: one
question for each entry, and who asked for it does not wait (`refresh_ahead`). Facts
beyond it serve, as `STALE`, those whom the provider cannot be asked for (`grace`):
neither past `exp`, nor after a `forget`, nor once the provider has said no.

Negatives live on a shelf of their own: a flood of invented tokens pushes out other
invented tokens, never a good one. They are not kept in the store; processes that wait
for the same answer hear of them (`facts.flight`).

One question per token is in flight, here and in all that share the store. It has a task of its own, so a caller that goes
away takes nothing from the others; if all went away, the answer is still remembered.
A failure is shared with those who waited for it and with nobody after them. What
began before a `forget` is handed to those who were waiting, and not kept.
"""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Final

from gateway.errors import ProviderUnavailable, TooManyUnknown
from gateway.facts.chain import Chain
from gateway.facts.fingerprints import Fingerprint, Kind, fingerprints
from gateway.facts.flight import SharedFlights
from gateway.facts.shared import CacheResources, SharedFacts
from gateway.facts.shelf import Ends, Shelf
from gateway.tasks import spawn
from gateway.values import Invalid, Knowledge, Notes, Reason, Source, TokenFacts

CLOCKS_DIFFER: Final = 1.0
"""By how many seconds the clock of another process may be ahead of ours."""

JITTER: Final = 0.1
"""The part of a ttl that chance takes off at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSettings:
    """How long and how much: seconds and bytes. A ttl of 0 keeps nothing.

    `ttl` is for facts; `negative_ttl` for the verdict that a token is not good;
    `jitter` is the part of both that chance may take off, lest what was learned
    together run out together.
    """

    ttl: float = 60.0
    negative_ttl: float = 10.0
    expiry_margin: float = 0.0
    refresh_ahead: float = 0.0
    grace: float = 0.0
    jitter: float = 0.0
    memory_bytes: int = 64 * 1024 * 1024
    negative_bytes: int = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStats:
    """What is in memory now. `negatives` counts entries; `bytes` is of both kinds.

    `dropped` counts who is no more there, by tier (`l1`, or `negative`) and reason.
    """

    entries: int
    negatives: int
    bytes: int
    dropped: Mapping[tuple[str, str], int] = field(default_factory=dict)


class CachedFacts:
    """Keeps `ports.FactsSource` for one provider. `method` is its name in metrics."""

    def __init__(
        self,
        provider: str,
        chain: Chain,
        *,
        resources: CacheResources,
        settings: CacheSettings,
        method: str = "",
    ) -> None:
        self._provider = provider
        self._chain = chain
        self._clock = resources.clock
        self._events = resources.events
        self._settings = settings
        self._method = method
        names = fingerprints(resources.secrets, Kind.FACTS, provider, chain.identity)
        self._name = names[0]
        self._shared: SharedFacts | None = None
        if resources.store.shared and not chain.local and settings.ttl > 0:
            self._shared = SharedFacts(names, resources)
        self._abroad: SharedFlights | None = None
        if self._shared is not None and resources.lock is not None:
            secret = resources.secrets[0]
            self._abroad = SharedFlights(
                Fingerprint(secret, Kind.FLIGHT, provider, chain.identity),
                secret,
                lock=resources.lock,
                clock=resources.clock,
                events=resources.events,
            )
        # Where nobody is asked, nobody waits, and nobody need be spared.
        self._ahead = 0.0 if chain.local else settings.refresh_ahead
        self._budget = None if chain.local else resources.budget
        self._facts = Shelf(settings.memory_bytes)
        self._negatives = Shelf(settings.negative_bytes)
        self._flights: dict[bytes, _Flight] = {}

    def __repr__(self) -> str:
        return f"<CachedFacts {self._provider}: {self.stats()}>"

    # ------------------------------------------------------------- the promise

    def recall(self, token: str, notes: Notes | None = None) -> Knowledge | None:
        """Answer from this process's memory, at once; None means *ask*.

        `notes` are those of this very token: they spare its fingerprint the next time.
        """
        name: bytes | None = None if notes is None else notes.get(self)
        if name is None:
            name = self._name(token)
            if notes is not None:
                notes[self] = name
        knowledge = self._remembered(name, token)
        if knowledge is None:
            self._events.cache("l1", "miss")
        return knowledge

    async def learn(
        self, token: str, *, max_age: float = inf, client: str = ""
    ) -> Knowledge:
        """Answer from the shared store, else from the provider; then remember.

        Facts known for longer than `max_age` seconds are passed over. Concurrent
        callers with one token share one question, and the `client` of the first pays
        if it was about an invalid token. Raises `ProviderUnavailable` when the truth
        cannot be had now, `TooManyUnknown` when that client must wait.
        """
        name = self._name(token)
        oldest = self._clock.now() - max_age
        # Another flight may have landed since the caller's `recall`.
        knowledge = self._remembered(name, token)
        if knowledge is not None and self._is_young(knowledge.obtained_at, oldest):
            return knowledge
        knowledge = await self._aboard(name, token, oldest, client)
        young = self._is_young(knowledge.obtained_at, oldest)
        if not young and knowledge.source is not Source.STALE:
            # The flight was another's, and content with an older word of the store.
            knowledge = await self._aboard(name, token, oldest, client)
        if knowledge.obtained_at < oldest and knowledge.source is Source.STALE:
            raise ProviderUnavailable("what is left is too old for the caller")
        return knowledge

    async def forget(self, token: str, *, source: str) -> None:
        """Drop what is known of this token here and in the shared store.

        A store that does not answer keeps its entry until its ttl: counted.
        """
        self._events.forgotten(source)
        name = self._name(token)
        self._facts.drop(name)
        self._negatives.drop(name)
        if (flight := self._flights.pop(name, None)) is not None:
            flight.overtaken = True
        if self._shared is not None:
            await self._shared.erase(token)

    def stats(self) -> CacheStats:
        """Tell what is in memory now."""
        return CacheStats(
            entries=len(self._facts),
            negatives=len(self._negatives),
            bytes=self._facts.held_bytes + self._negatives.held_bytes,
            dropped={
                (tier, reason): count
                for tier, shelf in (("l1", self._facts), ("negative", self._negatives))
                for reason, count in (("room", shelf.ousted), ("age", shelf.outdated))
            },
        )

    # ------------------------------------------------------------- memory

    def _remembered(self, name: bytes, token: str) -> Knowledge | None:
        monotonic, now = self._clock.monotonic(), self._clock.now()
        knowledge = self._facts.find(name, monotonic, now)
        if knowledge is not None:
            self._events.recalled(self._provider, self._method)
            return knowledge
        knowledge = self._facts.find_aging(name, monotonic)
        if knowledge is not None:
            self._events.recalled(self._provider, self._method)
            self._refresh(name, token, now)
            return knowledge
        knowledge = self._negatives.find(name, monotonic, now)
        if knowledge is not None:
            self._events.cache("l1", "negative_hit")
            self._events.validation(self._provider, self._method, "l1", "inactive")
        return knowledge

    def _remember(self, name: bytes, knowledge: Knowledge) -> None:
        found = knowledge.found
        self._facts.drop(name)
        self._negatives.drop(name)
        lifetime, dies_at = self._belief(knowledge)
        if lifetime <= 0:
            return
        known = Knowledge(found, Source.L1, knowledge.obtained_at)
        lifetime *= 1 - self._settings.jitter * random.random()  # noqa: S311 -- no secret
        until = self._clock.monotonic() + lifetime
        if isinstance(found, Invalid):
            self._negatives.keep(name, known, Ends(until=until))
            return
        # Near `exp` there is nothing newer to learn; early on there need not be.
        ahead = min(self._ahead, lifetime / 2)
        renewable = self._clock.now() + lifetime + ahead < dies_at
        ends = Ends(
            until=until,
            dies_at=dies_at,
            calm_until=until - ahead if renewable else until,
            kept_until=until + self._settings.grace,
        )
        self._facts.keep(name, known, ends)

    def _belief(self, knowledge: Knowledge) -> tuple[float, float]:
        """Tell for how long, and until which moment, `knowledge` is believed."""
        found, settings, now = knowledge.found, self._settings, self._clock.now()
        if isinstance(found, Invalid):
            # Time alone turns this one verdict over: it is not worth keeping.
            early = found.reason is Reason.NOT_YET_VALID
            return (0.0 if early else settings.negative_ttl), inf
        dies_at = inf
        if found.expires_at is not None:
            dies_at = found.expires_at - settings.expiry_margin
        age = now - knowledge.obtained_at
        if age < -CLOCKS_DIFFER:
            return 0.0, dies_at
        return min(settings.ttl - max(0.0, age), dies_at - now), dies_at

    # ------------------------------------------------------------- flights

    async def _aboard(
        self, name: bytes, token: str, oldest: float, client: str
    ) -> Knowledge:
        flight = self._flights.get(name)
        if flight is None:
            flight = self._take_off(name, token, oldest, client)
        else:
            self._events.coalesced(self._provider)
        # Shielded: the one who gives up must not end it for the others.
        outcome = await asyncio.shield(flight.landed)
        source, result = Source.PROVIDER, "error"
        if isinstance(outcome, Knowledge):
            source = outcome.source
            result = "inactive" if isinstance(outcome.found, Invalid) else "active"
        self._events.validation(self._provider, self._method, source, result)
        if isinstance(outcome, Knowledge):
            return outcome
        # One exception each: a shared one would gather everybody's traceback.
        spent = isinstance(outcome, TooManyUnknown)
        failure = TooManyUnknown if spent else ProviderUnavailable
        raise failure(*outcome.args, retry_after=outcome.retry_after) from outcome

    def _refresh(self, name: bytes, token: str, now: float) -> None:
        """Learn anew what is near its end; of the store's facts only young ones do."""
        if name not in self._flights:
            self._events.cache("l1", "refresh")
            self._take_off(name, token, now - self._settings.ttl / 2)

    def _take_off(
        self, name: bytes, token: str, oldest: float, client: str = ""
    ) -> "_Flight":
        flight = self._flights[name] = _Flight(name, token, oldest, client)
        _ = spawn(self._lead(flight), name=f"learn a token of {self._provider}")
        return flight

    async def _lead(self, flight: "_Flight") -> None:
        outcome: Knowledge | ProviderUnavailable
        outcome = ProviderUnavailable("the question was given up")
        try:
            knowledge = await self._found(flight)
            if not flight.overtaken:
                self._remember(flight.name, knowledge)
            outcome = knowledge
        except TooManyUnknown as error:
            outcome = error
        except ProviderUnavailable as error:
            outcome = self._in_grace(flight) or error
        finally:
            if self._flights.get(flight.name) is flight:
                del self._flights[flight.name]
            flight.landed.set_result(outcome)

    async def _found(self, flight: "_Flight") -> Knowledge:
        knowledge = await self._look(flight)
        if knowledge is not None:
            return knowledge
        self._check_budget(flight.client)
        if self._abroad is None:
            return await self._ask(flight)
        return await self._abroad.learn(
            flight.token,
            ask=lambda: self._ask(flight),
            look=lambda: self._look(flight),
        )

    async def _look(self, flight: "_Flight") -> Knowledge | None:
        """Give what the store knows, if it is young enough."""
        if self._shared is None:
            return None
        facts, flight.occupied = await self._shared.read(
            flight.token, lambda facts: self._will_do(facts, flight.oldest)
        )
        if facts is None:
            return None
        return Knowledge(facts, Source.L2, facts.learned_at)

    async def _ask(self, flight: "_Flight") -> Knowledge:
        """Ask the verifiers, and tell the other processes."""
        # The moment *before* the question: a mark made meanwhile is newer than it.
        now = self._clock.now()
        found = await self._chain.verify(flight.token, now)
        knowledge = Knowledge(found, Source.PROVIDER, now)
        if isinstance(found, Invalid) and flight.client and self._budget is not None:
            self._budget.charge(flight.client)
        if self._shared is not None:
            await self._share(self._shared, flight, knowledge)
        return knowledge

    def _check_budget(self, client: str) -> None:
        if not client or self._budget is None:
            return
        wait = self._budget.wait(client)
        self._events.rate_limit("unknown_tokens", allowed=not wait)
        if wait:
            raise TooManyUnknown("too many unknown tokens", retry_after=wait)

    def _in_grace(self, flight: "_Flight") -> Knowledge | None:
        """Give what served a while ago, to one whom nobody can tell better."""
        monotonic, now = self._clock.monotonic(), self._clock.now()
        known = self._facts.find_outlived(flight.name, monotonic, now)
        if known is None:
            return None
        return Knowledge(known.found, Source.STALE, known.obtained_at)

    def _is_young(self, moment: float, oldest: float) -> bool:
        """Tell whether a word of that moment will do for who wants none before `oldest`.

        One from the future will not: some clock was set, and nobody knows its age.
        """
        return oldest == -inf or oldest <= moment <= self._clock.now()

    def _will_do(self, facts: TokenFacts, oldest: float) -> bool:
        if not self._is_young(facts.learned_at, oldest):
            return False
        return self._belief(Knowledge(facts, Source.L2, facts.learned_at))[0] > 0

    async def _share(
        self, shared: SharedFacts, flight: "_Flight", knowledge: Knowledge
    ) -> None:
        """Put it in the store; take back what the answer or a forget ended."""
        found = knowledge.found
        lifetime, _ = self._belief(knowledge)
        if isinstance(found, TokenFacts) and lifetime > 0 and not flight.overtaken:
            await shared.write(flight.token, found, lifetime)
            # A forget may have been faster than this write.
            flight.occupied = flight.overtaken
        if flight.occupied:
            await shared.erase(flight.token)


class _Flight:
    """One question about one token, on its way.

    `oldest` is the earliest moment whose word will do; `client` is who pays for it,
    if anybody does; `occupied` tells that the store has something that will not do,
    `overtaken` that a forget came in between.
    """

    __slots__ = (
        "client",
        "landed",
        "name",
        "occupied",
        "oldest",
        "overtaken",
        "token",
    )

    def __init__(self, name: bytes, token: str, oldest: float, client: str) -> None:
        self.client = client
        self.name = name
        self.token = token
        self.oldest = oldest
        self.occupied = False
        self.overtaken = False
        self.landed: asyncio.Future[Knowledge | ProviderUnavailable]
        self.landed = asyncio.get_running_loop().create_future()
