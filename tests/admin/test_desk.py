import json
import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import dialects
from gateway.admin.desk import Desk, Explanations, Judged
from gateway.app import plugins
from gateway.errors import ProviderUnavailable, StoreUnavailable
from gateway.facts.mark_stream import ClearSight
from gateway.facts.marks import Marks, TokenTerms
from gateway.gatekeeper import Gatekeeper
from gateway.rules.headers import HeaderRules
from gateway.rules.routing import Routes
from gateway.values import (
    Access,
    Cors,
    DeviceRule,
    IdentityHeaders,
    Invalid,
    Knowledge,
    MarkKind,
    Notes,
    Origin,
    Reason,
    Requirements,
    Route,
    RouteKind,
    Secret,
    Source,
    TokenFacts,
    TokenPlace,
    TokenShape,
    UpstreamSettings,
)
from tests.fakes import Clock

TOKEN = Secret("T.secret-of-ada")
ANYWHERE = frozenset(TokenPlace)


def api(path: str, **settings: Any) -> Route:
    """Make a route of melon."""
    known: dict[str, Any] = {"id": path[1:], "provider": "melon", "upstream": "api"}
    return Route(path=path, **known | settings)


def needs(*scopes: str, **more: Any) -> Requirements:
    """Make the requirements of a route."""
    return Requirements(scopes=(frozenset(scopes),), **more)


ROUTES = (
    api(
        "/likes",
        id="likes-read",
        methods=frozenset({"GET"}),
        require=needs("read"),
        dialect="melon",
        realm="melon",
    ),
    api("/admin", require=needs("admin"), dialect="ottm"),
    api("/stream", token_from=ANYWHERE),
    api("/device", require=Requirements(device=DeviceRule(header=b"Device"))),
    api("/fresh", require=Requirements(max_fact_age=5.0)),
    api("/shaped", token_shape=TokenShape(prefix="other-")),
    api("/optional", access=Access.OPTIONAL),
    api("/public", access=Access.PUBLIC, provider="", pass_token=True),
    api("/passing", pass_token=True, token_from=ANYWHERE),
    api("/strip/**", strip_prefix=b"/strip", add_prefix=b"/v1", upstream="named"),
    api("/userinfo", kind=RouteKind.OAUTH_USERINFO),
    api("/token", kind=RouteKind.OAUTH_TOKEN, methods=frozenset({"POST"})),
    api("/logout", kind=RouteKind.BACKCHANNEL_LOGOUT, upstream=""),
    api(
        "/page",
        methods=frozenset({"GET"}),
        cors=Cors(
            origins=frozenset({"https://app.example"}),
            methods=frozenset({"GET"}),
            headers=frozenset({"authorization"}),
        ),
    ),
)
ORIGINS = (Origin("http", "127.0.0.1", 9),)
UPSTREAMS = {
    "api": UpstreamSettings(name="api", origins=ORIGINS),
    "named": UpstreamSettings(name="named", origins=ORIGINS, host=b"inside.example"),
}


class Facts:
    """A source of facts: each token's, told when asked and remembered from then on."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.known: dict[str, TokenFacts | Invalid | Exception] = {}
        self.remembered: dict[str, Knowledge] = {}
        self.asked = 0
        self.lost_store = False
        self.forgets = False

    def recall(self, token: str, notes: Notes | None = None) -> Knowledge | None:
        return self.remembered.get(token)

    async def learn(
        self, token: str, *, max_age: float = math.inf, client: str = ""
    ) -> Knowledge:
        self.asked += 1
        found = self.known.get(token, Invalid(Reason.INACTIVE))
        if isinstance(found, Exception):
            raise found
        knowledge = Knowledge(found, Source.PROVIDER, self._clock.now())
        if not self.forgets:
            self.remembered[token] = knowledge
        return knowledge

    async def forget(self, token: str, *, source: str) -> None:
        if self.lost_store:
            raise StoreUnavailable("the store is away")
        self.remembered.pop(token, None)


class Office:
    """A desk and an explainer over the real rules, and all they depend on."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.facts = Facts(clock)
        self.facts.known[TOKEN] = self.ada()
        terms = {"melon": TokenTerms(asked=True)}
        self.marks = Marks(clock=clock, terms=terms, limit=10)
        routes = Routes(ROUTES)
        sources = {"melon": self.facts}
        self.judged = Judged(
            routes=routes,
            gatekeeper=Gatekeeper(routes, sources, self.marks, clock, ClearSight()),
            sources=sources,
            revocations=self.marks,
            headers=HeaderRules(IdentityHeaders(), pseudonym=b"gateway-test"),
            upstreams=UPSTREAMS,
            dialects=plugins(dialects),
            clock=clock,
        )
        self.desk = Desk(self.marks, lambda: sources)

    def ada(self, **changes: Any) -> TokenFacts:
        """Make the facts of a good token."""
        told: dict[str, Any] = {
            "provider": "melon",
            "subject": "ada",
            "client": "shop",
            "scopes": frozenset({"write", "read"}),
            "expires_at": self.clock.now() + 300,
            "token_id": "jti-1",
            "session_id": "sid-1",
            "device": "D1",
            "learned_at": self.clock.now(),
        }
        return TokenFacts(**told | changes)

    async def explained(
        self,
        line: str,
        headers: Mapping[str, str] | None = None,
        token: Secret | None = TOKEN,
    ) -> dict[str, Any]:
        """Explain `GET /path`; gives what came out of its JSON."""
        method, _, url = line.partition(" ")
        if url.startswith("/"):
            url = f"http://music.example{url}"
        explanations = Explanations(lambda: self.judged)
        told = await explanations.explain(method, url, headers or {}, token)
        as_json: dict[str, Any] = json.loads(json.dumps(told))
        return as_json


@pytest.fixture
def office(clock):
    """An office where nobody is known yet but ada, to the provider."""
    return Office(clock)


def failed(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Give the rules that said no."""
    return [
        (each["rule"], each["outcome"])
        for each in told["rules"]
        if each["outcome"] != "pass"
    ]


# ----------------------------------------------------------------------- explaining


async def test_an_allowed_request_is_explained_in_full(office, clock):
    """Route, place of the token, facts, every rule, and what the upstream would get."""
    told = await office.explained("GET /likes?page=2", {"Accept": "text/html"})

    assert {
        "route": {
            "id": "likes-read",
            "host": "*",
            "path": "/likes",
            "methods": ["GET"],
            "kind": "api",
            "access": "required",
            "provider": "melon",
            "upstream": "api",
        },
        "credentials": "header",
        "facts": {
            "source": "provider",
            "age": 0.0,
            "provider": "melon",
            "subject": "ada",
            "client": "shop",
            "scopes": ["read", "write"],
            "expires_at": clock.now() + 300,
            "token_id": "jti-1",
            "session_id": "sid-1",
            "device": "D1",
            "cnf": False,
            "granted": False,
            "learned_at": clock.now(),
        },
        "marks": [],
        "rules": [{"rule": name, "outcome": "pass"} for name in RULES],
        "decision": "allow",
        "source": "provider",
        "upstream": {
            "name": "api",
            "target": "/likes?page=2",
            "headers": [
                "host: music.example",
                "accept: text/html",
                "x-forwarded-for: 127.0.0.1",
                "x-forwarded-proto: http",
                "x-forwarded-host: music.example",
                "via: 1.1 gateway-test",
                "x-request-id: explain",
                "x-auth-subject: ada",
                "x-auth-client: shop",
                "x-auth-provider: melon",
                "x-auth-device: D1",
                "x-auth-scopes: read write",
            ],
        },
    } == told


RULES = (
    "revocation",
    "times",
    "binding",
    "issuer",
    "audience",
    "scopes",
    "client",
    "claims",
    "device",
    "acr",
    "login",
)


async def test_a_refusal_is_explained_with_the_answer_a_client_would_get(office):
    """In the dialect of the route; the rule that said no is told, and so are the rest."""
    told = await office.explained("GET /admin")

    assert ("deny", "insufficient_scope") == (told["decision"], told["reason"])
    assert [("scopes", "insufficient_scope")] == failed(told)
    assert list(RULES) == [each["rule"] for each in told["rules"]]
    assert 400 == told["answer"]["status"]
    assert "10074" == json.loads(told["answer"]["body"])["error"]["code"]
    assert any(
        line.lower().startswith("www-authenticate: bearer")
        for line in told["answer"]["headers"]
    )
    assert "upstream" not in told


async def test_every_rule_tells_its_own_outcome(office, clock):
    """Not only the first that said no, which decides."""
    await office.explained("GET /likes")
    clock.advance(400)
    office.facts.remembered[TOKEN] = Knowledge(
        office.ada(scopes=frozenset(), expires_at=clock.now() - 1, cnf=True),
        Source.L1,
        clock.now() - 7.5,
    )

    told = await office.explained("GET /likes")

    assert [
        ("times", "expired"),
        ("binding", "unproven_binding"),
        ("scopes", "insufficient_scope"),
    ] == failed(told)
    assert ("expired", "l1") == (told["reason"], told["source"])
    assert 7.5 == told["facts"]["age"]
    assert [] == told["facts"]["scopes"]


async def test_what_nobody_knew_is_asked_and_remembered(office):
    """As the next request would have done: it is no dry run."""
    first = await office.explained("GET /likes")
    second = await office.explained("GET /likes")

    assert 1 == office.facts.asked
    assert "allow" == first["decision"] == second["decision"]


async def test_an_age_is_never_negative(office, clock):
    """A clock was set back: what was learned then is new, not from the future."""
    await office.explained("GET /likes")
    clock.step(-3600)

    assert 0 == (await office.explained("GET /likes"))["facts"]["age"]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (MarkKind.TOKEN_ID, "jti-1"),
        (MarkKind.SUBJECT, "ada"),
        (MarkKind.CLIENT, "shop"),
        (MarkKind.SESSION, "sid-1"),
        (MarkKind.PROVIDER, ""),
    ],
)
@pytest.mark.parametrize("known", [True, False])
async def test_the_mark_that_hits_is_told(office, clock, kind, name, known):
    """Its kind and its moment; never its name, and no mark that misses."""
    if known:
        await office.explained("GET /likes")
    others = ((MarkKind.SUBJECT, "eve"), (MarkKind.TOKEN_ID, "jti-2"))
    for other in others:
        await office.marks.add(office.marks.mark(other[0], "melon", other[1]))
    clock.advance(1)
    moment = clock.now()
    await office.marks.add(office.marks.mark(kind, "melon", name))

    told = await office.explained("GET /likes")

    assert [{"kind": kind.value, "moment": moment}] == told["marks"]
    assert "revoked" == told["reason"]


async def test_a_marked_token_is_told_though_nothing_is_known_of_it(office, clock):
    """Nobody was asked; the mark alone refuses."""
    await office.marks.add(office.marks.mark_token("melon", TOKEN))

    told = await office.explained("GET /likes")

    assert [{"kind": "token", "moment": clock.now()}] == told["marks"]
    assert (None, 0) == (told["facts"], office.facts.asked)


async def test_a_mark_from_before_a_token_does_not_hit_it(office, clock):
    """It was issued afterwards: let in again."""
    await office.marks.add(office.marks.mark(MarkKind.SUBJECT, "melon", "ada"))
    clock.advance(1)
    office.facts.known[TOKEN] = office.ada(issued_at=clock.now())

    told = await office.explained("GET /likes")

    assert ([], "allow") == (told["marks"], told["decision"])


async def test_what_is_never_kept_is_explained_too(office):
    """A ttl of 0: the rules are told all the same."""
    office.facts.forgets = True
    told = await office.explained("GET /admin")

    assert [("scopes", "insufficient_scope")] == failed(told)
    assert ("provider", 1) == (told["facts"]["source"], office.facts.asked)


async def test_a_logout_goes_nowhere(office):
    """It has no upstream that could be told of."""
    told = await office.explained("POST /logout", token=None)

    assert ("allow", {"name": None}) == (told["decision"], told["upstream"])


async def test_a_verdict_is_no_facts(office):
    """The provider said no; no rule was applied to anything."""
    told = await office.explained("GET /likes", token=Secret("T.unknown"))

    assert {"source": "provider", "age": 0.0, "invalid": "inactive"} == told["facts"]
    assert [] == told["rules"]
    assert ("deny", "inactive") == (told["decision"], told["reason"])


async def test_a_provider_that_is_down(office):
    """503, never a refused token; nothing is known, and no rule was asked."""
    office.facts.known[TOKEN] = ProviderUnavailable("melon does not answer")

    told = await office.explained("GET /likes")

    assert (None, []) == (told["facts"], told["rules"])
    assert ("deny", "provider_unavailable") == (told["decision"], told["reason"])
    assert 503 == told["answer"]["status"]
    assert any(line.startswith("Retry-After: ") for line in told["answer"]["headers"])


async def test_a_token_that_cannot_be_the_providers(office):
    """Refused by its shape; nobody was asked."""
    told = await office.explained("GET /shaped")

    assert 0 == office.facts.asked
    assert (None, "inactive") == (told["facts"], told["reason"])


async def test_facts_that_are_too_old_for_a_route_are_asked_for_again(office, clock):
    """And the explanation tells the age of the new ones."""
    await office.explained("GET /fresh")
    clock.advance(6)
    told = await office.explained("GET /fresh")

    assert 2 == office.facts.asked
    assert ("allow", 0) == (told["decision"], told["facts"]["age"])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("GET /nowhere", (404, "no_route", None)),
        ("PUT /likes", (405, "method_not_allowed", None)),
        ("GET /a/../b", (400, "bad_target", None)),
        ("GET /strip/a%2Fb", (400, "bad_target", None)),
        ("GET ftp://h/likes", (400, "bad_target", None)),
        ("GET http://h h/likes", (400, "bad_target", None)),
        ("GET http:///likes", (400, "bad_target", None)),
        ("GET likes", (400, "bad_target", None)),
        ("GET \udcff", (400, "bad_target", None)),
        ("GET /é", (400, "bad_target", None)),
    ],
)
async def test_what_leads_nowhere(office, line, expected):
    """The answer is told all the same; nobody is asked about the token."""
    told = await office.explained(line)

    answer = told["answer"]["status"], told["reason"], told["route"]
    assert expected == answer
    assert 0 == office.facts.asked


async def test_a_path_without_a_host_takes_it_from_the_headers(office):
    """As a request line does."""
    explanations = Explanations(lambda: office.judged)
    told = await explanations.explain("GET", "/strip/x", {"Host": "H.example"}, TOKEN)
    nowhere = await explanations.explain("GET", "/strip/x", {}, TOKEN)

    assert "allow" == told["decision"]
    assert "bad_target" == nowhere["reason"]


async def test_the_upstream_is_told_what_a_request_would_tell_it(office):
    """The rewritten target, the upstream's own Host, the scheme of the URL."""
    told = await office.explained("GET https://music.example/strip/a?b=c")

    assert ("named", "/v1/a?b=c") == (
        told["upstream"]["name"],
        told["upstream"]["target"],
    )
    headers = told["upstream"]["headers"]
    assert "host: inside.example" in headers
    assert "x-forwarded-proto: https" in headers
    assert "x-forwarded-host: music.example" in headers


async def test_a_request_that_has_been_here_is_no_more_sent_on(office):
    """The decision is made before the headers are: both are told."""
    told = await office.explained("GET /likes", {"Via": "1.1 gateway-test"})

    assert "allow" == told["decision"]
    assert {"refused": "loop_detected"} == told["upstream"]


async def test_a_preflight_is_answered_by_the_gateway(office):
    """With the answer; there is no token to speak of."""
    told = await office.explained(
        "OPTIONS /page",
        {"Origin": "https://app.example", "Access-Control-Request-Method": "GET"},
        token=None,
    )

    assert "preflight" == told["decision"]
    assert 204 == told["answer"]["status"]
    assert (
        "access-control-allow-origin: https://app.example" in told["answer"]["headers"]
    )


async def test_a_preflight_from_elsewhere_is_refused(office):
    """By its reason."""
    told = await office.explained(
        "OPTIONS /page",
        {"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"},
        token=None,
    )

    assert ("deny", "cors_refused") == (told["decision"], told["reason"])


async def test_a_route_without_a_token(office):
    """Required: refused. Optional and public: nobody is asked for one."""
    required = await office.explained("GET /likes", token=None)
    optional = await office.explained("GET /optional", token=None)
    public = await office.explained("GET /public")

    assert ("deny", "no_credentials") == (required["decision"], required["reason"])
    assert ["allow", "allow"] == [optional["decision"], public["decision"]]
    for told in (required, optional, public):
        assert told["credentials"] is None
        assert "facts" not in told
    assert 0 == office.facts.asked


async def test_a_bad_token_on_an_optional_route_is_refused(office):
    """None is anonymous, a bad one is not."""
    told = await office.explained("GET /optional", token=Secret("T.unknown"))

    assert ("deny", "inactive") == (told["decision"], told["reason"])


async def test_the_guarded_endpoints(office):
    """Userinfo asks the provider by itself; a token request needs no token."""
    userinfo = await office.explained("GET /userinfo")
    token = await office.explained("POST /token", token=None)

    assert ("allow", "none") == (userinfo["decision"], userinfo["source"])
    assert ("oauth-userinfo", None) == (userinfo["route"]["kind"], userinfo["facts"])
    assert ("allow", "oauth-token") == (token["decision"], token["route"]["kind"])
    assert 0 == office.facts.asked


async def test_the_named_device_is_compared(office):
    """Where the route asks for one."""
    right = await office.explained("GET /device", {"Device": "D1"})
    wrong = await office.explained("GET /device", {"Device": "D2"})

    assert "allow" == right["decision"]
    assert [("device", "device_mismatch")] == failed(wrong)


async def test_the_configuration_in_force_is_asked_for_each_time(office):
    """It may be replaced between two explanations."""
    given: list[Judged] = []

    def judged() -> Judged:
        given.append(office.judged)
        return given[-1]

    explanations = Explanations(judged)
    for _ in range(2):
        await explanations.explain("GET", "http://h/likes", {}, None)

    assert 2 == len(given)


# ------------------------------------------------------------------ never the token


PLACES = {
    "the token": ({}, TOKEN, ""),
    "a header": ({"Authorization": f"Bearer {TOKEN}"}, None, ""),
    "two tokens": ({"Authorization": f"Bearer {TOKEN}"}, TOKEN, ""),
    "another scheme": ({"Authorization": f"Basic {TOKEN}"}, None, ""),
    "no scheme": ({"AUTHORIZATION": TOKEN}, None, ""),
    "the query": ({}, None, f"?access_token={TOKEN}"),
    "the query, escaped": ({}, None, f"?a=b&access%5ftoken={TOKEN}&c=d"),
    "the query, twice": ({}, TOKEN, f"?access_token={TOKEN}"),
    "the query, otherwise spelt": ({}, None, f"?Access.Token={TOKEN}"),
    "a referer": ({"Referer": f"http://h/?access_token={TOKEN}"}, None, ""),
    "a cookie": ({"Cookie": f"session={TOKEN}"}, None, ""),
}


@pytest.mark.parametrize("path", sorted({route.path for route in ROUTES} | {"/none"}))
@pytest.mark.parametrize("place", PLACES)
async def test_no_explanation_shows_the_token(office, path, place):
    """Wherever it stood, and whatever became of the request."""
    headers, token, query = PLACES[place]
    told = await office.explained(
        f"GET {path.replace('**', 'x')}{query}", headers, token
    )

    assert TOKEN not in json.dumps(told)


@given(
    path=st.sampled_from([route.path.replace("**", "x") for route in ROUTES]),
    method=st.sampled_from(["GET", "POST", "OPTIONS"]),
    letters=st.text("abcdefghijklmnopqrstuvwxyz0123456789-._~", min_size=12),
    inactive=st.booleans(),
    query=st.booleans(),
)
async def test_no_explanation_shows_any_token(path, method, letters, inactive, query):
    """Whatever it is made of: known or not, in the header or in the query."""
    office = Office(Clock())
    token = Secret(f"T{letters}")
    if not inactive:
        office.facts.known[token] = office.ada()
    url = f"{path}?access_token={token}" if query else path
    told = await office.explained(f"{method} {url}", {}, None if query else token)

    assert token not in json.dumps(told)


# -------------------------------------------------------------------------- revoking


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (MarkKind.TOKEN, TOKEN),
        (MarkKind.TOKEN_ID, "jti-1"),
        (MarkKind.SUBJECT, "ada"),
        (MarkKind.CLIENT, "shop"),
        (MarkKind.SESSION, "sid-1"),
        (MarkKind.PROVIDER, ""),
    ],
)
async def test_every_kind_of_revocation_takes_effect_at_once(office, clock, kind, name):
    """Known before or not; lifted, the token is good again."""
    assert "allow" == (await office.explained("GET /likes"))["decision"]

    mark = await office.desk.revoke("melon", kind, Secret(name))
    revoked = await office.explained("GET /likes")
    listed = await office.desk.marks()
    await office.desk.lift(mark)
    lifted = await office.explained("GET /likes")

    assert (kind, "melon", clock.now()) == (mark.kind, mark.provider, mark.moment)
    assert ("deny", "revoked") == (revoked["decision"], revoked["reason"])
    assert [mark] == list(listed)
    assert "allow" == lifted["decision"]
    assert [] == list(await office.desk.marks())


async def test_the_facts_of_a_revoked_token_are_forgotten(office):
    """What is known by name only is left: the marks refuse it."""
    await office.explained("GET /likes")
    await office.desk.revoke("melon", MarkKind.SUBJECT, Secret("ada"))
    kept = office.facts.recall(TOKEN)
    await office.desk.revoke("melon", MarkKind.TOKEN, TOKEN)

    assert kept is not None
    assert office.facts.recall(TOKEN) is None


async def test_a_mark_of_a_token_has_no_byte_of_it(office):
    """It is a keyed fingerprint."""
    mark = await office.desk.revoke("melon", MarkKind.TOKEN, TOKEN)

    assert TOKEN not in repr(mark)
    assert 64 == len(mark.name)


async def test_a_mark_of_a_known_token_ends_with_it(office, clock):
    """Of one that nobody knows it stays, as good as for ever."""
    await office.explained("GET /likes")
    known = await office.desk.revoke("melon", MarkKind.TOKEN, TOKEN)
    unknown = await office.desk.revoke("melon", MarkKind.TOKEN, Secret("T.other"))

    assert clock.now() + 300 <= known.expires_at <= clock.now() + 3600
    assert unknown.expires_at > clock.now() + 10 * 365 * 86_400


async def test_a_token_that_the_provider_refused_has_no_known_end(office, clock):
    """A verdict tells no `exp`."""
    await office.explained("GET /likes", token=Secret("T.other"))
    mark = await office.desk.revoke("melon", MarkKind.TOKEN, Secret("T.other"))

    assert mark.expires_at > clock.now() + 10 * 365 * 86_400


@pytest.mark.parametrize("kind", MarkKind)
async def test_a_provider_that_is_not_configured(office, kind):
    """There is nothing to revoke, whatever is named."""
    with pytest.raises(LookupError):
        await office.desk.revoke("acme", kind, Secret("ada"))

    assert [] == list(await office.desk.marks())


async def test_a_revocation_that_finds_no_room_is_an_error(office):
    """Never lost in silence; and the facts are not dropped as if it had been made."""
    await office.explained("GET /likes")
    for number in range(10):
        await office.desk.revoke("melon", MarkKind.SUBJECT, Secret(f"s{number}"))

    with pytest.raises(StoreUnavailable):
        await office.desk.revoke("melon", MarkKind.TOKEN, TOKEN)
    assert office.facts.recall(TOKEN) is not None


async def test_a_lost_store_stops_no_revocation(office):
    """The mark is in force; what the store still has is refused by it."""
    await office.explained("GET /likes")
    office.facts.lost_store = True

    await office.desk.revoke("melon", MarkKind.TOKEN, TOKEN)

    assert "revoked" == (await office.explained("GET /likes"))["reason"]


async def test_a_mark_that_is_gone_can_be_lifted(office):
    """Twice is no error."""
    mark = await office.desk.revoke("melon", MarkKind.SUBJECT, Secret("ada"))
    await office.desk.lift(mark)
    await office.desk.lift(mark)

    assert [] == list(await office.desk.marks())
