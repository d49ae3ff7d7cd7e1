from collections.abc import Sequence
from math import inf

import pytest

from gateway.errors import ProviderUnavailable, StoreUnavailable, TooManyUnknown
from gateway.gatekeeper import Gatekeeper, ShadowingGatekeeper
from gateway.rules.routing import Routes
from gateway.values import (
    SHADOWED,
    Access,
    Answer,
    Cors,
    Credentials,
    Decision,
    Denial,
    DeviceRule,
    Header,
    Invalid,
    Knowledge,
    Notes,
    Pending,
    Permit,
    Reason,
    RequestHead,
    Requirements,
    Route,
    RouteKind,
    Secret,
    Source,
    TokenFacts,
    TokenPlace,
    TokenShape,
)
from tests.fakes import Clock
from tests.rules.heads import head

BEARER = (b"authorization", b"Bearer T.1")
NO = Invalid(Reason.INACTIVE)


class Facts:
    """A source of facts: what is remembered, and what each question will bring.

    `told` is the list of calls made.
    """

    def __init__(self) -> None:
        self.remembered: Knowledge | None = None
        self.answers: list[Knowledge | Exception] = []
        self.told: list[str] = []
        self.clients: list[str] = []

    def recall(self, token: str, notes: Notes | None = None) -> Knowledge | None:
        self.told.append(f"recall {token}")
        return self.remembered

    async def learn(
        self, token: str, *, max_age: float = inf, client: str = ""
    ) -> Knowledge:
        limit = f" of the last {max_age:.0f} s" if max_age < inf else ""
        self.told.append(f"learn {token}{limit}")
        self.clients.append(client)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def forget(self, token: str, *, source: str) -> None:
        raise AssertionError("a decision forgets nothing")


class Marks:
    """Revocation marks by token and by subject."""

    def __init__(self) -> None:
        self.names: set[str | None] = set()

    def covers(self, provider: str, token: str, facts: TokenFacts | None) -> bool:
        assert "melon" == provider
        return token in self.names or (facts and facts.subject) in self.names

    def names_holders(self) -> bool:
        return bool(self.names)


class Sight:
    """Whether the marks of others are heard of; trust lasts ten seconds then."""

    trust = 10.0

    def __init__(self) -> None:
        self.blind = False
        self.lost = False
        self.dares = 0

    def dared(self) -> None:
        self.dares += 1


class Gate:
    """A gatekeeper of some routes of one provider, and all it depends on."""

    def __init__(self, clock: Clock, routes: Sequence[Route]) -> None:
        self.clock = clock
        self.facts = Facts()
        self.marks = Marks()
        self.routes = Routes(routes, dialect="nugu")
        self.sight = Sight()
        self.keeper = Gatekeeper(
            self.routes, {"melon": self.facts}, self.marks, clock, self.sight
        )

    def known(self, found=None, *, source: Source = Source.L1, age: float = 0.0):
        """Make a piece of knowledge of this age."""
        found = found or TokenFacts(
            provider="melon",
            subject="ada",
            scopes=frozenset({"read"}),
            expires_at=self.clock.now() + 60,
            device="A1",
        )
        return Knowledge(found, source, self.clock.now() - age)

    async def decided(self, request: RequestHead) -> Decision:
        """Decide, and wait where that is needed."""
        outcome = self.keeper.decide(request)
        if isinstance(outcome, Pending):
            return await self.keeper.settle(outcome)
        assert not isinstance(outcome, Answer)
        return outcome

    def remembered(self, request: RequestHead) -> Permit | Denial:
        """Decide at once."""
        outcome = self.keeper.decide(request)
        assert isinstance(outcome, Permit | Denial)
        return outcome

    def refusal(self, request: RequestHead) -> Denial:
        """Decide at once, and expect a no."""
        denial = self.remembered(request)
        assert isinstance(denial, Denial)
        return denial


def api(**settings) -> Route:
    """Make a resource route of the provider."""
    settings.setdefault("id", "api")
    return Route(provider="melon", dialect="melon", **settings)


def request(*headers: Header, method: str = "GET", target: bytes = b"/") -> RequestHead:
    """Make a request with a good token, unless told otherwise."""
    return head(method, target, *(headers or (BEARER,)))


@pytest.fixture
def gate(clock):
    """A gate with one route that wants `read`."""
    needs = Requirements(scopes=(frozenset({"read"}),))
    return Gate(clock, [api(require=needs)])


# -------------------------------------------------------------------- at once


def test_remembered_facts_are_judged_at_once(gate):
    """No wait, no question: the permit has the facts and where they came from."""
    knowledge = gate.known()
    gate.facts.remembered = knowledge

    permit = gate.keeper.decide(request())

    expected = Permit(
        route=next(iter(gate.routes)),
        facts=knowledge.found,
        credentials=Credentials(Secret("T.1"), TokenPlace.HEADER),
        source=Source.L1,
    )
    assert expected == permit
    assert ["recall T.1"] == gate.facts.told


def test_the_cache_remembers_facts_not_verdicts(gate, clock):
    """The same facts that were good a minute ago have run out by now."""
    gate.facts.remembered = gate.known()
    clock.advance(60)

    assert Reason.EXPIRED == gate.refusal(request()).reason


def test_each_route_judges_the_same_facts(clock):
    """A token good for one route is none for the other (CVE-2021-32701)."""
    gate = Gate(
        clock,
        [
            api(id="a", path="/a", require=Requirements(scopes=(frozenset({"read"}),))),
            api(id="b", path="/b", require=Requirements(scopes=(frozenset({"x"}),))),
        ],
    )
    gate.facts.remembered = gate.known()

    assert isinstance(gate.remembered(request(target=b"/a")), Permit)
    denial = gate.refusal(request(target=b"/b"))
    assert Reason.INSUFFICIENT_SCOPE == denial.reason
    assert "x" == denial.scope


def test_a_remembered_refusal_is_given_again(gate):
    """With the provider's own reason, and without asking."""
    gate.facts.remembered = gate.known(NO)

    denial = gate.remembered(request())

    assert Reason.INACTIVE == denial.reason
    assert Source.L1 == denial.source


def test_no_route_is_refused_before_anything_else(clock):
    """Nobody is asked about a token that leads nowhere."""
    gate = Gate(clock, [api(path="/a", methods=frozenset({"GET"}))])

    missing = gate.refusal(request(target=b"/b"))
    method = gate.refusal(request(target=b"/a", method="PUT"))
    unfit = gate.refusal(request(target=b"/a%2Fb"))

    assert (Reason.NO_ROUTE, "melon") == (missing.reason, missing.dialect)
    assert Reason.METHOD_NOT_ALLOWED == method.reason
    assert ("GET", "HEAD") == method.allow
    assert Reason.BAD_TARGET == unfit.reason
    assert [] == gate.facts.told


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ((b"authorization", b"Bearer a b"), Reason.MALFORMED_REQUEST),
        ((b"authorization", b"Bearer {"), Reason.MALFORMED_TOKEN),
        ((b"authorization", b"Basic x"), Reason.NO_CREDENTIALS),
    ],
)
def test_bad_credentials_ask_nobody(gate, header, reason):
    """In the dialect of the route."""
    denial = gate.remembered(request(header))

    assert (reason, "melon") == (denial.reason, denial.dialect)
    assert [] == gate.facts.told


def test_an_optional_route_takes_no_token_but_no_bad_one(clock):
    """None is anonymous; a bad one is refused, never taken for none."""
    gate = Gate(clock, [api(access=Access.OPTIONAL)])
    gate.facts.remembered = gate.known(NO)

    nobody = gate.remembered(request((b"accept", b"*/*")))

    assert isinstance(nobody, Permit)
    assert nobody.facts is None
    assert Reason.INACTIVE == gate.refusal(request()).reason


@pytest.mark.parametrize(
    "settings",
    [
        {"access": Access.PUBLIC},
        {"kind": RouteKind.OAUTH_AUTHORIZE},
        {"kind": RouteKind.OAUTH_TOKEN},
        {"kind": RouteKind.OAUTH_REVOKE},
    ],
)
def test_open_routes_ask_nobody(clock, settings):
    """A token sent there is not looked at."""
    gate = Gate(clock, [api(**settings)])

    permit = gate.remembered(request())

    assert isinstance(permit, Permit)
    assert permit.credentials is None
    assert [] == gate.facts.told


@pytest.mark.parametrize(
    ("named", "expected"), [(b"A1", None), (b"A2", Reason.DEVICE_MISMATCH)]
)
async def test_the_device_is_compared_now_and_after_a_wait(clock, named, expected):
    """The request's device is remembered while the facts are learned."""
    rule = DeviceRule(header=b"device-serial-number")
    gate = Gate(clock, [api(require=Requirements(device=rule))])
    asked = request(BEARER, (b"device-serial-number", named))
    gate.facts.answers = [gate.known(source=Source.PROVIDER)]

    later = await gate.decided(asked)
    gate.facts.remembered = gate.known()
    now = await gate.decided(asked)

    for decision in (later, now):
        assert expected == getattr(decision, "reason", None)


# ----------------------------------------------------------------------- marks


def test_a_mark_on_the_subject_refuses_remembered_facts(gate):
    """Marks are looked up on every request."""
    gate.facts.remembered = gate.known()
    gate.marks.names = {"ada"}

    assert Reason.REVOKED == gate.refusal(request()).reason


def test_a_mark_on_the_token_spares_the_question(gate):
    """A token known to be revoked is nobody's to ask about."""
    gate.marks.names = {"T.1"}

    assert Reason.REVOKED == gate.refusal(request()).reason
    assert ["recall T.1"] == gate.facts.told


async def test_a_mark_refuses_what_was_just_learned(gate):
    """Also when it was made while the provider was being asked."""
    gate.facts.answers = [gate.known(source=Source.PROVIDER)]
    pending = gate.keeper.decide(request())
    gate.marks.names = {"ada"}

    denial = await gate.keeper.settle(pending)

    assert Reason.REVOKED == denial.reason
    assert Source.PROVIDER == denial.source


# ---------------------------------------------------------------- after a wait


@pytest.mark.parametrize("source", [Source.L2, Source.PROVIDER, Source.STALE])
async def test_unknown_tokens_are_learned_and_judged(gate, source):
    """One question, whoever answers it."""
    gate.facts.answers = [gate.known(source=source)]

    permit = await gate.decided(request())

    assert isinstance(permit, Permit)
    assert source == permit.source
    assert ["recall T.1", "learn T.1"] == gate.facts.told


async def test_a_learned_refusal_is_given(gate):
    """The provider said no."""
    gate.facts.answers = [gate.known(NO, source=Source.PROVIDER)]

    denial = await gate.decided(request())

    assert Reason.INACTIVE == denial.reason
    assert Source.PROVIDER == denial.source


@pytest.mark.parametrize("failure", [ProviderUnavailable(), StoreUnavailable()])
async def test_an_outage_is_never_a_refused_token(gate, failure):
    """503 with a time to come back, spread over one to five seconds."""
    times = set()
    for _ in range(50):
        gate.facts.answers = [failure]
        denial = await gate.decided(request())

        assert Reason.PROVIDER_UNAVAILABLE == denial.reason
        assert "melon" == denial.dialect
        times.add(denial.retry_after)
        gate.clock.advance(0.0137)

    assert {1, 2, 3, 4, 5} == times


async def test_a_provider_that_is_left_alone_tells_when_to_come_back(gate):
    """Nobody comes before it is asked again."""
    gate.facts.answers = [ProviderUnavailable("down", retry_after=20)]
    denial = await gate.decided(request())

    assert Reason.PROVIDER_UNAVAILABLE == denial.reason
    assert 20 <= denial.retry_after < 25


async def test_who_brought_too_many_unknown_tokens_is_told_to_wait(gate):
    """429: neither the token's fault nor an outage. The client's address pays."""
    gate.facts.answers = [TooManyUnknown("enough", retry_after=7)]
    denial = await gate.decided(request())

    assert (Reason.RATE_LIMITED, 7) == (denial.reason, denial.retry_after)
    assert ["192.0.2.7"] == gate.facts.clients


async def test_facts_in_grace_are_judged_like_any_other(gate):
    """And the permit tells what they are."""
    gate.facts.answers = [gate.known(source=Source.STALE, age=3600)]
    permit = await gate.decided(request())

    assert isinstance(permit, Permit)
    assert Source.STALE is permit.source


def test_nobody_is_asked_about_a_token_of_another_shape(clock):
    """The shape check stands before any question."""
    gate = Gate(clock, [api(token_shape=TokenShape(prefix="acme_"))])

    assert Reason.INACTIVE == gate.refusal(request()).reason
    assert ["recall T.1"] == gate.facts.told


# ------------------------------------------------------------------- freshness


@pytest.fixture
def strict(clock):
    """A gate with one route that wants facts of the last ten seconds."""
    return Gate(clock, [api(require=Requirements(max_fact_age=10))])


async def test_young_facts_suffice(strict):
    """Nobody is asked while they are recent enough."""
    strict.facts.remembered = strict.known(age=10)

    assert isinstance(strict.remembered(request()), Permit)


async def test_facts_that_are_too_old_are_asked_for_again(strict):
    """The source is told how young they must be: one question, however many ask."""
    strict.facts.remembered = strict.known(age=11)
    strict.facts.answers = [strict.known(source=Source.PROVIDER)]

    permit = await strict.decided(request())

    assert isinstance(permit, Permit)
    assert Source.PROVIDER == permit.source
    assert ["recall T.1", "learn T.1 of the last 10 s"] == strict.facts.told


async def test_what_was_just_asked_is_recent_however_long_it_took(strict):
    """No second question in one request."""
    strict.facts.answers = [strict.known(source=Source.PROVIDER, age=12)]

    assert isinstance(await strict.decided(request()), Permit)


async def test_grace_does_not_outweigh_a_routes_limit(strict):
    """Old facts in an outage are not what the route asked for; and nobody twice."""
    strict.facts.answers = [strict.known(source=Source.STALE, age=11)]

    denial = await strict.decided(request())

    assert Reason.PROVIDER_UNAVAILABLE == denial.reason
    assert ["recall T.1", "learn T.1 of the last 10 s"] == strict.facts.told


async def test_grace_within_the_limit_serves(strict):
    """The route's own limit is what counts."""
    strict.facts.answers = [strict.known(source=Source.STALE, age=9)]

    assert isinstance(await strict.decided(request()), Permit)


def test_a_refusal_does_not_grow_old(strict):
    """Else a flood of bad tokens would reach the provider through such a route."""
    strict.facts.remembered = strict.known(NO, age=11)

    assert Reason.INACTIVE == strict.refusal(request()).reason


# -------------------------------------------------------------------- userinfo


@pytest.fixture
def userinfo(clock):
    """A gate before a provider's userinfo endpoint."""
    return Gate(clock, [api(kind=RouteKind.OAUTH_USERINFO)])


def test_userinfo_asks_nobody(userinfo):
    """The request is itself the question; what is remembered only names the caller."""
    unknown = userinfo.remembered(request())
    userinfo.facts.remembered = userinfo.known()
    known = userinfo.remembered(request())
    userinfo.facts.remembered = userinfo.known(NO)
    refused = userinfo.remembered(request())

    assert all(isinstance(each, Permit) for each in (unknown, known, refused))
    assert "T.1" == unknown.credentials.token
    assert (None, Source.NONE) == (unknown.facts, unknown.source)
    assert ("ada", Source.L1) == (known.facts.subject, known.source)
    assert (None, Source.NONE) == (refused.facts, refused.source)


async def test_userinfo_asks_first_while_a_mark_may_name_the_holder(userinfo):
    """Nothing is cached, and a mark names somebody: whose token is it, then."""
    userinfo.marks.names = {"ada"}
    userinfo.facts.answers = [
        userinfo.known(source=Source.PROVIDER),
        userinfo.known(TokenFacts(provider="melon", subject="eve")),
        userinfo.known(NO),
        ProviderUnavailable("away"),
    ]
    told = [await userinfo.decided(request()) for _ in range(4)]

    assert [Reason.REVOKED, None, None, Reason.PROVIDER_UNAVAILABLE] == [
        getattr(each, "reason", None) for each in told
    ]
    # The provider itself will word its own no.
    assert isinstance(told[2], Permit)
    assert told[2].facts is None


def test_userinfo_needs_a_token_without_a_mark(userinfo):
    """Marks by token and, where facts are in memory, by subject."""
    bare = userinfo.remembered(request((b"accept", b"*/*")))
    userinfo.marks.names = {"T.1"}
    by_token = userinfo.remembered(request())
    userinfo.marks.names = {"ada"}
    userinfo.facts.remembered = userinfo.known()
    by_subject = userinfo.remembered(request())

    assert Reason.NO_CREDENTIALS == bare.reason
    assert Reason.REVOKED == by_token.reason
    assert Reason.REVOKED == by_subject.reason


# ------------------------------------------------------------------------ CORS

ORIGIN = (b"origin", b"https://app.example")
ASKS_GET = (b"access-control-request-method", b"GET")
APP = Cors(
    origins=frozenset({"https://app.example"}),
    methods=frozenset({"GET"}),
    headers=frozenset(),
)


@pytest.fixture
def cors(clock):
    """A gate with one route that answers preflights, and one that does not."""
    get = frozenset({"GET"})
    return Gate(
        clock,
        [
            api(id="friendly", path="/a", methods=get, cors=APP),
            api(id="plain", path="/b", methods=get),
            api(id="own", path="/b", methods=frozenset({"OPTIONS"})),
        ],
    )


def preflight(target: bytes, *headers: Header) -> RequestHead:
    """Make a preflight for this target."""
    return request(*headers, method="OPTIONS", target=target)


def test_a_preflight_is_answered_without_a_token(cors):
    """By the route of the method that is asked about."""
    answer = cors.keeper.decide(preflight(b"/a", ORIGIN, ASKS_GET))

    assert isinstance(answer, Answer)
    assert 204 == answer.status


def test_a_stranger_is_refused(cors):
    """In the dialect of the route that was asked about."""
    stranger = (b"origin", b"https://evil.example")

    denial = cors.remembered(preflight(b"/a", stranger, ASKS_GET))

    assert (Reason.CORS_REFUSED, "melon") == (denial.reason, denial.dialect)


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (preflight(b"/b", ORIGIN, ASKS_GET), Reason.NO_CREDENTIALS),
        (preflight(b"/a", ORIGIN), Reason.METHOD_NOT_ALLOWED),
        (preflight(b"/c", ORIGIN, ASKS_GET), Reason.NO_ROUTE),
    ],
)
def test_other_options_requests_are_ordinary(cors, asked, reason):
    """No settings, no preflight, no route: judged like any request."""
    assert reason == cors.refusal(asked).reason


def test_a_gatekeeper_is_worth_a_log_line(gate):
    """Its size."""
    assert "<Gatekeeper: 1 routes>" == repr(gate.keeper)


# ------------------------------------------------------------------- blind


def test_it_tells_whether_it_is_blind(gate):
    """Whoever hands out leave that lasts must know."""
    assert not gate.keeper.blind
    gate.sight.blind = True
    assert gate.keeper.blind


async def test_who_is_blind_asks_afresh_what_is_older_than_its_trust(gate):
    """Somebody may have revoked it; younger words are believed."""
    gate.sight.blind = True
    gate.facts.remembered = gate.known(age=10.0)
    assert isinstance(gate.remembered(request()), Permit)

    gate.facts.remembered = gate.known(age=10.1)
    gate.facts.answers = [gate.known(source=Source.PROVIDER)]
    decision = await gate.decided(request())

    assert Source.PROVIDER == decision.source
    assert "learn T.1 of the last 10 s" == gate.facts.told[-1]


async def test_a_route_that_wants_younger_facts_gets_them_blind_or_not(clock):
    """The shorter of the two counts."""
    gate = Gate(clock, [api(require=Requirements(max_fact_age=3.0))])
    gate.sight.blind = True
    gate.facts.remembered = gate.known(age=4.0)
    gate.facts.answers = [gate.known(source=Source.PROVIDER)]
    await gate.decided(request())

    assert "learn T.1 of the last 3 s" == gate.facts.told[-1]


@pytest.mark.parametrize(
    "failure", [ProviderUnavailable("down"), TooManyUnknown("busy"), StoreUnavailable()]
)
async def test_who_is_blind_and_cannot_ask_believes_what_it_has(gate, failure):
    """Two outages at once refuse nobody; a known mark does."""
    gate.sight.blind = True
    gate.facts.remembered = gate.known(age=50.0)
    gate.facts.answers = [failure, failure]
    assert isinstance(await gate.decided(request()), Permit)

    gate.marks.names = {"ada"}
    denial = await gate.decided(request())
    assert isinstance(denial, Denial)
    assert Reason.REVOKED == denial.reason


async def test_who_is_blind_and_knows_nothing_cannot_decide(gate):
    """As without marks: 503, never a refused token."""
    gate.sight.blind = True
    gate.facts.answers = [ProviderUnavailable("down")]
    denial = await gate.decided(request())

    assert isinstance(denial, Denial)
    assert Reason.PROVIDER_UNAVAILABLE == denial.reason


def test_a_verdict_is_believed_by_the_blind(gate):
    """Nobody makes a revoked token good again."""
    gate.sight.blind = True
    gate.facts.remembered = gate.known(NO, age=50.0)

    assert Reason.INACTIVE == gate.refusal(request()).reason


@pytest.mark.parametrize(
    ("strict", "lost"), [(True, True), (True, False), (False, True)]
)
def test_only_strict_routes_refuse_and_only_who_is_lost(clock, strict, lost):
    """The others go on, and are counted."""
    gate = Gate(clock, [api(strict_revocation=strict)])
    gate.sight.blind, gate.sight.lost = True, lost
    gate.facts.remembered = gate.known()
    decision = gate.remembered(request())

    assert (strict and lost) == isinstance(decision, Denial)
    assert (lost and not strict) == gate.sight.dares
    if isinstance(decision, Denial):
        assert Reason.REVOCATIONS_UNKNOWN == decision.reason
        assert 1 <= decision.retry_after <= 5


def test_a_permit_is_taken_back_when_its_token_is_revoked(gate):
    """Who had none needed no token."""
    gate.facts.remembered = gate.known()
    permit = gate.remembered(request())
    assert isinstance(permit, Permit)
    assert not gate.keeper.revokes(permit)

    gate.marks.names = {"ada"}
    assert gate.keeper.revokes(permit)
    public = Gate(gate.clock, [api(access=Access.PUBLIC)]).remembered(request())
    assert isinstance(public, Permit)
    assert not gate.keeper.revokes(public)


# ------------------------------------------------------------------- routes in shadow


class ShadowGate(Gate):
    """A gate with one route that enforces nothing, and one that does."""

    def __init__(self, clock: Clock) -> None:
        needs = Requirements(scopes=(frozenset({"write"}),))
        super().__init__(
            clock,
            [
                api(require=needs, shadow=True),
                api(id="full", path="/full", require=needs),
                api(
                    id="passing",
                    path="/passing",
                    token_from=frozenset(TokenPlace),
                    shadow=True,
                    pass_token=True,
                    cors=APP,
                ),
            ],
        )
        self.keeper = ShadowingGatekeeper(
            self.routes, {"melon": self.facts}, self.marks, clock, self.sight
        )


async def test_a_route_in_shadow_lets_through_and_tells_why(clock):
    """From memory, after a question, without a token, and when nobody can be asked."""
    gate = ShadowGate(clock)
    gate.facts.remembered = gate.known()
    lacks = await gate.decided(request())
    gate.facts.remembered = None
    gate.facts.answers = [gate.known(NO), ProviderUnavailable("down")]
    invalid = await gate.decided(request())
    outage = await gate.decided(request())
    without = await gate.decided(request((b"x-a", b"1")))

    told = []
    for decision in (lacks, invalid, outage, without):
        assert isinstance(decision, Permit)
        assert decision.facts is None
        told.append((decision.shadow, decision.credentials is not None))
    assert [
        (Reason.INSUFFICIENT_SCOPE, True),
        (Reason.INACTIVE, True),
        (Reason.PROVIDER_UNAVAILABLE, True),
        (Reason.NO_CREDENTIALS, False),
    ] == told


async def test_it_allows_and_identifies_as_any_other(clock):
    """What is allowed is no shadow."""
    gate = ShadowGate(clock)
    found = TokenFacts(provider="melon", scopes=frozenset({"write"}))
    gate.facts.remembered = gate.known(found)
    decision = await gate.decided(request())

    assert isinstance(decision, Permit)
    assert (None, found) == (decision.shadow, decision.facts)


async def test_leave_that_was_waited_for_is_no_shadow_either(clock):
    """The provider was asked, and says yes."""
    gate = ShadowGate(clock)
    found = TokenFacts(provider="melon", scopes=frozenset({"write"}))
    gate.facts.remembered = None
    gate.facts.answers = [gate.known(found)]
    decision = await gate.decided(request())

    assert isinstance(decision, Permit)
    assert (None, found) == (decision.shadow, decision.facts)


async def test_in_shadow_a_revoked_token_is_refused_all_the_same(clock):
    """Also one that nobody has asked about."""
    gate = ShadowGate(clock)
    gate.marks.names = {"T.1"}
    unknown = gate.refusal(request())
    gate.facts.remembered = gate.known()

    assert Reason.REVOKED == unknown.reason
    assert Reason.REVOKED == gate.refusal(request()).reason


@pytest.mark.parametrize(
    "found", [Invalid(Reason.INACTIVE), ProviderUnavailable("down")]
)
async def test_in_shadow_no_other_reason_hides_that_a_token_was_revoked(clock, found):
    """Its mark came while the provider was asked, or after the provider had said no."""
    gate = ShadowGate(clock)
    gate.facts.remembered = None
    gate.facts.answers = [found if isinstance(found, Exception) else gate.known(found)]
    pending = gate.keeper.decide(request())
    assert isinstance(pending, Pending)
    gate.marks.names = {"T.1"}
    late = await gate.keeper.settle(pending)
    gate.facts.remembered = gate.known(Invalid(Reason.INACTIVE))

    assert isinstance(late, Denial)
    assert Reason.REVOKED == late.reason
    assert Reason.REVOKED == gate.refusal(request()).reason


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ((BEARER, BEARER), b""),
        ((BEARER,), b"?access_token=T.2"),
        ((), b"?access_token=T.1&access_token=T.2"),
        # Judged, but an upstream might prefer the other.
        (((b"authorization", b"Basic YTpi"),), b"?access_token=T.1"),
    ],
)
@pytest.mark.parametrize("remembers", [True, False])
def test_in_shadow_two_tokens_never_pass_at_once(clock, headers, query, remembers):
    """Where they pass as they came; where none does, there is nothing to choose from."""
    gate = ShadowGate(clock)
    gate.facts.remembered = gate.known() if remembers else None
    refused = gate.refusal(head("GET", b"/passing" + query, *headers))
    lone = gate.keeper.decide(head("GET", b"/passing", BEARER))
    without = gate.keeper.decide(head("GET", b"/song" + query, *headers))

    assert ("passing", Reason.MALFORMED_REQUEST) == (
        refused.route and refused.route.id,
        refused.reason,
    )
    assert isinstance(lone, Permit if remembers else Pending)
    assert isinstance(without, Permit)


def test_in_shadow_a_preflight_is_answered_as_ever(clock):
    """It has no token to be judged."""
    gate = ShadowGate(clock)

    answer = gate.keeper.decide(preflight(b"/passing", ORIGIN, ASKS_GET))

    assert isinstance(answer, Answer)


async def test_the_routes_beside_it_enforce(clock):
    """And what no route matches is a 404."""
    gate = ShadowGate(clock)
    gate.facts.remembered = gate.known()
    lacks = gate.refusal(request(target=b"/full"))
    odd = gate.refusal(request(target=b"/full/%2F"))

    assert Reason.INSUFFICIENT_SCOPE == lacks.reason
    assert odd.reason not in SHADOWED


def test_a_gatekeeper_without_shadows_does_what_it_says(gate):
    """There is nothing to be asked about."""
    denial = Denial(reason=Reason.EXPIRED)

    assert denial is gate.keeper.enforced(denial, None)
