"""The promises between the floors. Floor 1: Protocols only, no network, no clock.

A verifier, store, dialect or observer is one file in its folder that keeps one of
these promises; `app.py` finds it by its file name and decides who is used.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractContextManager
from math import inf
from typing import Final, Protocol

import msgspec

from gateway.values import (
    Answer,
    Denial,
    Exchange,
    Finding,
    Grant,
    Header,
    Knowledge,
    Mark,
    MarkKind,
    MarkRecord,
    Notes,
    TokenFacts,
)

STORED_LIMIT_BYTES: Final = 64 * 1024
"""No store keeps a longer value, and nobody parses one."""


class Clock(Protocol):
    """Time as an argument: `now` can step, `monotonic` cannot."""

    def now(self) -> float:
        """Tell the wall-clock time in Unix seconds: what `exp` is compared with."""
        ...

    def monotonic(self) -> float:
        """Tell a time in seconds that never steps: what lifetimes are counted in."""
        ...


class Dialect(Protocol):
    """A provider's way to refuse. A module of `gateway.dialects` keeps this."""

    def answer(self, denial: Denial) -> Answer:
        """Word a denial: status, challenge and body, from fixed tables.

        Total over every `Reason`; carries `Cache-Control: no-store`; never holds a
        byte of the client's input.
        """
        ...


class Observer(Protocol):
    """Something that watches finished exchanges."""

    def observe(self, exchange: Exchange) -> None:
        """Take note. Never raises, never blocks, never awaits."""
        ...


Told = Mapping[str, str | int | float | bool]
"""What a span tells, by OpenTelemetry's names for it: never a client's words."""


class Span(Protocol):
    """Something that takes time, and is part of something that does."""

    @property
    def trace_id(self) -> str:
        """Name the trace it is recorded in; "" where it is not."""
        ...

    @property
    def parent(self) -> "Span | None":
        """Give what it is part of, here."""
        ...

    @property
    def over(self) -> bool:
        """Tell whether it has ended."""
        ...

    def onward(self) -> tuple[Header, ...]:
        """Give the headers that tell whoever is asked of it: `traceparent` first."""
        ...

    def child(self, name: str, *, asks: bool = False) -> "Span":
        """Begin a part of it; `asks`: somebody else is asked."""
        ...

    def end(self, told: Told, *, name: str = "", failure: str = "") -> None:
        """End it, once; `name` replaces its name, `failure` is what went wrong."""
        ...


class Tracer(Protocol):
    """Records what becomes of requests. Never raises, never blocks."""

    def begin(self, headers: Sequence[Header], *, trusted: bool) -> Span:
        """Begin a request's span; that of these headers is its parent, if `trusted`."""
        ...

    def within(self, span: Span) -> AbstractContextManager[None]:
        """Let what is begun in here belong to `span`, tasks with all they do."""
        ...


class CacheEvents(Protocol):
    """Something that counts what the facts do. Never raises, never blocks."""

    def cache(self, tier: str, result: str) -> None:
        """Count a look-up: `l1` or `l2`; `hit`, `negative_hit`, `miss` or `error`.

        Also `l1` `refresh`, facts learned anew while they serve, and of what another
        process was asked and told (`flight`) a `hit` or an `error`.
        """
        ...

    def validation(self, provider: str, method: str, source: str, result: str) -> None:
        """Count an answer given: `active`, `inactive` or `error`, and who said so."""
        ...

    def recalled(self, provider: str, method: str) -> None:
        """Count good facts found in memory: a hit and a validation in one."""
        ...

    def coalesced(self, provider: str) -> None:
        """Count a caller that shared another's question."""
        ...

    def forgotten(self, source: str) -> None:
        """Count a token whose facts were dropped, and on whose word."""
        ...

    def rate_limit(self, policy: str, *, allowed: bool) -> None:
        """Count a caller whose budget was looked at, and whether it was enough."""
        ...

    def seal_alarm(self) -> None:
        """Count a stored value that did not open: somebody else wrote it."""
        ...


class Store(Protocol):
    """Shared, expiring bytes: the second level of the cache.

    Values are neither empty nor longer than `STORED_LIMIT_BYTES`. A failure is
    `StoreUnavailable`, raised within the store's own short deadline.
    """

    @property
    def shared(self) -> bool:
        """Tell whether other processes see what is put here."""
        ...

    async def get(self, key: str) -> bytes | None:
        """Give the value, or None when there is none or it has run out."""
        ...

    async def put(self, key: str, value: bytes, *, ttl: float) -> None:
        """Keep `value` for `ttl` (more than 0) seconds in one atomic step."""
        ...

    async def add(self, key: str, value: bytes, *, ttl: float) -> bool:
        """Put it there if nothing is; tell whether. Failed, it may be there all the same."""
        ...

    async def delete(self, key: str) -> None:
        """Forget `key`; an absent key is no error."""
        ...

    async def ping(self) -> None:
        """Prove that the store answers."""
        ...

    async def close(self) -> None:
        """Let go of every connection."""
        ...


FLIGHT_UNAVAILABLE: Final = "unavailable"
"""Who has the lock of a question that nobody can answer at the moment."""


class FlightLock(Protocol):
    """One asks about a token, the other processes wait for what he tells.

    A failure is `StoreUnavailable`, raised within a short deadline.
    """

    async def take(self, key: str, owner: str) -> tuple[str, float]:
        """Take the lock, or tell who has it, and for how many seconds at most.

        Nobody ("") has it while there is a word. Failed, it may be taken: release it.
        """
        ...

    async def wait(self, key: str, seconds: float) -> bytes | None:
        """Wait for the owner's word; None: there was none in time."""
        ...

    async def release(
        self, key: str, owner: str, word: bytes, *, unavailable: bool = False
    ) -> None:
        """Tell those who wait, and let the next one ask; if the lock is still ours.

        `unavailable`: for a second nobody asks, and all find `FLIGHT_UNAVAILABLE`.
        """
        ...

    async def close(self) -> None:
        """Let go of every connection."""
        ...


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One question to a provider.

    `endpoint` is the metrics' name for it (`introspect`, `userinfo`, `jwks`,
    `discovery`); `deadline` is the total for all tries, in seconds.
    """

    endpoint: str
    url: str
    method: str = "GET"
    headers: Mapping[str, str] = {}
    form: Mapping[str, str] | None = None
    deadline: float = 2.0
    retries: int = 1


class Reply(msgspec.Struct, frozen=True):
    """A provider's whole answer, read within a byte cap; header names lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class ProviderHttp(Protocol):
    """The way to ask a provider. Everything about it is bounded.

    No redirects, no cookies, no decompression, certificate checks always on; the
    answer is read to 64 KiB at most; one total deadline for all tries.
    """

    async def ask(self, question: Question) -> Reply:
        """Ask once, and again (`retries`) after a failure to get any answer.

        A 5xx or 429 answer, a redirect, a timeout, an oversized, encoded or broken
        answer is `ProviderUnavailable`; every other status is a `Reply`.
        """
        ...


class ProviderEvents(Protocol):
    """Something that watches the questions put to providers."""

    def provider_request(
        self, provider: str, endpoint: str, code: str, seconds: float
    ) -> None:
        """Take note of one try. Never raises, never blocks, never awaits.

        `code` is the status, or how there came to be none: `timeout`, `refused`,
        `tls`, `broken`, `oversize`, `encoded`, `busy`, `open` (left alone after many
        failures) or `cancelled`.
        """
        ...


class FactsSource(Protocol):
    """Everything known of one provider's tokens. `facts.cached` keeps this."""

    def recall(self, token: str, notes: Notes | None = None) -> Knowledge | None:
        """Answer from this process's memory, at once; None means *ask*.

        `notes` are those of this very token: they spare its fingerprint the next time.
        """
        ...

    async def learn(
        self, token: str, *, max_age: float = inf, client: str = ""
    ) -> Knowledge:
        """Answer from the shared store, else from the provider; then remember.

        Facts known for longer than `max_age` seconds are passed over. Concurrent
        callers with one token share one question. `client` is the address that pays
        for a question about an invalid token. Raises `ProviderUnavailable` when the
        truth cannot be had now, `TooManyUnknown` when that address must wait.
        """
        ...

    async def forget(self, token: str, *, source: str) -> None:
        """Drop what is known of this token here and in the shared store.

        `source` is the metrics' name for who says so: `admin`, `revocation` (the
        provider's own endpoint), `token_answer` or `upstream` (which answered 401).
        """
        ...


class Revocations(Protocol):
    """The marks in force. `facts.marks` keeps this."""

    def covers(self, provider: str, token: str, facts: TokenFacts | None) -> bool:
        """Tell whether a mark refuses this token, from memory, at once.

        With `facts` None only marks by token and by provider can be told.
        """
        ...

    def names_holders(self) -> bool:
        """Tell whether any mark names a subject, a client or a session.

        Then who is about to be let through unasked must be asked about first.
        """
        ...


class Sight(Protocol):
    """Whether this process knows the marks that others make."""

    @property
    def blind(self) -> bool:
        """Tell whether it does not, at the moment. Read on every request."""
        ...

    @property
    def lost(self) -> bool:
        """Tell whether it has been blind for too long for routes that are strict."""
        ...

    @property
    def trust(self) -> float:
        """Tell for how many seconds the provider's word is believed while blind."""
        ...

    def dared(self) -> None:
        """Count a request that was let on though sight is lost."""
        ...


class MarkLedger(Protocol):
    """What all processes have written down about marks."""

    async def note(self, record: MarkRecord, *, fresh: bool = False) -> MarkRecord:
        """Write it down and give what stands there now: the latest of everything.

        A `fresh` mark was made just now, and outdoes any lifting. Raises
        `StoreUnavailable` when it cannot be written.
        """
        ...


class Journal(Protocol):
    """Books that all processes share: bounded sets of small values, and their news.

    Every failure is `StoreUnavailable`, within a second. A book is given by number.
    """

    async def get(self, book: int, field: str) -> bytes | None:
        """Give what is written under `field`."""
        ...

    async def swap(
        self, book: int, field: str, old: bytes | None, new: bytes | None
    ) -> bool:
        """Write `new` where `old` stands (None: nothing), and tell all; False if not.

        Raises `StoreUnavailable` when there is no room for another field.
        """
        ...

    async def sizes(self) -> Sequence[int]:
        """Count the fields of each book."""
        ...

    def pages(self, book: int) -> AsyncIterator[Sequence[tuple[str, bytes]]]:
        """Give all fields and values of a book, some more than once."""
        ...

    async def turn_to_end(self) -> None:
        """Let what is written from now on be the news."""
        ...

    async def news(self) -> Sequence[tuple[int, str, bytes]]:
        """Wait for news, for 300 ms at most: book, field and value of each."""
        ...

    async def eviction(self) -> str:
        """Name the store's eviction policy; "" where it does not tell."""
        ...

    async def close(self) -> None:
        """Let go of every connection."""
        ...


class MarkEvents(Protocol):
    """Something that watches over the marks. Never raises, never blocks."""

    def blind(self) -> None:
        """Take note that the marks of others are not heard of any more."""
        ...

    def lost(self) -> None:
        """Take note that this has lasted so long that strict routes refuse."""
        ...

    def seeing(self, seconds: float) -> None:
        """Take note that all is known again, after so many seconds."""
        ...

    def evicting(self, policy: str) -> None:
        """Take note that the store may forget marks by itself."""
        ...

    def seal_alarm(self) -> None:
        """Count a stored mark that did not open: somebody else wrote it."""
        ...


class GrantReader(Protocol):
    """Read access to learned grants."""

    async def recall(self, provider: str, token: str) -> Grant | None:
        """Give the grant learned for this token, or None when none ever was.

        Raises `StoreUnavailable` when that cannot be known now.
        """
        ...


class GrantWriter(Protocol):
    """The pen for learned grants."""

    async def record(self, provider: str, token: str, grant: Grant) -> None:
        """Keep `grant` until it expires; `StoreUnavailable` when it cannot be kept."""
        ...


class Marker(Protocol):
    """The pen for revocation marks."""

    def mark_token(
        self, provider: str, token: str, expires_at: float | None = None
    ) -> Mark:
        """Make the mark for a token at hand; `expires_at` is its `exp`, if known."""
        ...

    def mark(
        self, kind: MarkKind, provider: str, name: str, expires_at: float | None = None
    ) -> Mark:
        """Make the mark for what is known by name, as of now.

        `expires_at` is the last `exp` of a token it concerns, if that is known.
        """
        ...

    async def add(self, mark: Mark) -> None:
        """Put `mark` in force; `StoreUnavailable` when there is no room for it."""
        ...


class VerifierContext(msgspec.Struct, frozen=True, kw_only=True):
    """What a verifier is given when it is built.

    `claims` are the dotted claim paths that routes and identity headers ask for:
    the only claims worth keeping. `subject_claim`, `client_claim`, `device_claim`
    are dotted paths too.
    """

    provider: str
    http: ProviderHttp
    clock: Clock
    grants: GrantReader
    claims: frozenset[str] = frozenset()
    clock_skew: float = 0.0


class Verifier(Protocol):
    """One way to learn the facts of a token."""

    @property
    def identity(self) -> str:
        """Tell, without secrets, who is asked and how: a part of every cache key.

        Two verifiers that could disagree about a token have different identities
        (endpoint, client id, algorithms, key fingerprints …).
        """
        ...

    @property
    def local(self) -> bool:
        """Tell whether an answer needs no question to the provider."""
        ...

    async def verify(self, token: str, now: float) -> Finding:
        """Learn the facts: facts, *not mine* or *invalid*.

        Raises `ProviderUnavailable` (or `StoreUnavailable` for learned grants) when
        the truth cannot be had; never answers `Invalid` for an outage.
        """
        ...
