"""Proves back-channel logout: what a provider posts, what comes of it, what does not."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import pytest

from gateway.errors import ProviderUnavailable
from gateway.facts.fingerprints import Fingerprint, Kind
from gateway.facts.marks import Marks
from gateway.fronts.logout import Logouts, Notary
from gateway.ports import Store
from gateway.rules import signatures
from gateway.rules.logout_tokens import EVENT
from gateway.rules.policy import admit_open
from gateway.rules.signatures import Jws
from gateway.stores.memory import MemoryStore
from gateway.tasks import spawn
from gateway.values import (
    Answer,
    Denial,
    Guard,
    LogoutTerms,
    MarkKind,
    Permit,
    RequestHead,
    Route,
    RouteKind,
    Secret,
    Target,
)
from gateway.verifiers.jwt import Settings, build
from tests.facts.doubles import OLD_SECRET, SECRET, Cupboard
from tests.fakes import Clock
from tests.fronts.house import door, oauth
from tests.signing import SECRET as KEY
from tests.signing import sign
from tests.verifiers.provider import ScriptedProvider, context
from tests.wire.harness import until

ISSUER = "https://op.example"
TERMS = LogoutTerms(issuer=ISSUER, audiences=frozenset({"shop"}))
ROUTE = Route(
    id="logout",
    kind=RouteKind.BACKCHANNEL_LOGOUT,
    provider="idp",
    guard=Guard(logout=TERMS),
)
FORM = (b"content-type", b"application/x-www-form-urlencoded")


def claims(clock: Clock, **changes: Any) -> dict[str, Any]:
    """Give what a provider says when ada has logged out."""
    members = {
        "iss": ISSUER,
        "aud": "shop",
        "iat": clock.now(),
        "exp": clock.now() + 120,
        "jti": "J1",
        "sub": "ada",
        "events": {EVENT: {}},
        **changes,
    }
    return {name: value for name, value in members.items() if value is not None}


@dataclass
class Caller:
    """Keeps `fronts.logout.Caller`."""

    request: RequestHead
    told: list[tuple[int | str, str]] = field(default_factory=list)

    def answer_denial(self, denial: Denial, *, failure: str = "") -> None:
        self.told.append((denial.reason.value, failure))

    def answer_own(self, answer: Answer, reason: str) -> None:
        self.told.append((answer.status, reason))


class Office:
    """Where logouts are taken, with the real `jwt` verifier as notary."""

    def __init__(self, clock: Clock, store: Store | None = None) -> None:
        self.clock = clock
        self.store = Cupboard() if store is None else store
        self.marks = Marks(clock=clock, terms={}, limit=2)
        self.settings = Settings(algorithms=["HS256"], key=Secret(KEY))
        self.logouts = self.taking()

    def taking(self, *secrets: str, notary: Notary | None = None) -> Logouts:
        """Open another window at the same store."""
        verifier = build(self.settings, context(ScriptedProvider(), self.clock))
        assert isinstance(verifier, Notary)
        return Logouts(
            secrets or (SECRET,),
            notaries={"idp": notary or verifier},
            marker=self.marks,
            store=self.store,
            clock=self.clock,
        )

    async def post(
        self, token: str, logouts: Logouts | None = None, route: Route = ROUTE
    ) -> tuple[int | str, str]:
        """Tell of a logout; gives the status or the reason, and what the log says."""
        head = RequestHead(
            method="POST",
            target=Target(b"/logout", None, (b"logout",)),
            host="gateway.example",
            authority=b"gateway.example",
            headers=[FORM],
            peer="192.0.2.1",
            scheme="https",
        )
        caller, permit = Caller(head), admit_open(route)
        assert isinstance(permit, Permit)
        body = urlencode({"logout_token": token}).encode()
        await (logouts or self.logouts).take(caller, permit, body)
        (told,) = caller.told
        return told

    def signed(self, **changes: Any) -> str:
        """Have the provider sign a logout."""
        return sign(claims(self.clock, **changes))

    @property
    def marked(self) -> list[tuple[MarkKind, str]]:
        """Give the marks in force."""
        return sorted((mark.kind, mark.name) for mark in self.marks.list())


@pytest.fixture
def office(clock):
    """An office with a store of its own."""
    return Office(clock)


async def test_a_logout_is_a_mark_and_a_200(office):
    """From that moment on the subject's tokens are refused."""
    assert (200, "logout") == await office.post(office.signed())
    assert [(MarkKind.SUBJECT, "ada")] == office.marked
    assert [office.clock.now()] == [mark.moment for mark in office.marks.list()]


async def test_a_token_that_somebody_else_signed_is_not_heeded(office):
    """Nor one that nobody did, nor what is no token at all."""
    unsigned = sign(claims(office.clock), header={"alg": "none"})
    strange = sign(claims(office.clock), key=b"x" * 64)
    refused = ("invalid_logout_token", "logout token: not signed by the provider")

    for token in (unsigned, strange, "no-token", "a.b.c", "x" * 9000):
        assert refused == await office.post(token)
    assert [] == office.marked


@pytest.mark.parametrize(
    ("changes", "flaw"),
    [
        ({"aud": "kiosk"}, "it is meant for somebody else"),
        ({"events": None}, "it tells no logout event"),
        ({"nonce": "n"}, "it has a nonce, as ID tokens do"),
        ({"exp": 1_800_000_000.0 - 1}, "it is too old"),
    ],
)
async def test_a_flaw_is_told_to_the_operator_and_ends_nobodys_session(
    office, changes, flaw
):
    """The provider hears a 400; `rules.logout_tokens` has the whole list."""
    told = await office.post(office.signed(**changes))

    assert ("invalid_logout_token", f"logout token: {flaw}") == told
    assert [] == office.marked


async def test_claims_that_are_no_claims_are_refused(office):
    """Signed, and still nothing to go by."""
    told = await office.post(sign(b"[]"))

    assert "invalid_logout_token" == told[0]


# ----------------------------------------------------------------------- only once


async def test_a_token_is_heeded_once(office):
    """A second time it would log out who has come back (§2.6)."""
    token = office.signed()
    await office.post(token)
    await office.marks.lift(MarkKind.SUBJECT, "idp", "ada")

    assert ("invalid_logout_token", "logout token: it has been here before") == (
        await office.post(token)
    )
    assert [] == office.marked


async def test_another_process_knows_it_too(office):
    """What has been is in the store; also under a secret that is rotated out."""
    token = office.signed()
    before = office.taking(OLD_SECRET)
    await office.post(token, before)

    told = await office.post(token, office.taking(SECRET, OLD_SECRET))

    assert "invalid_logout_token" == told[0]


@pytest.mark.parametrize("secrets", [(SECRET,), (SECRET, OLD_SECRET), (OLD_SECRET,)])
async def test_of_many_at_once_one_is_heeded(office, secrets):
    """In one process or several, also where one has rotated the secret already."""
    token = office.signed()
    told: list[tuple[int | str, str]] = []
    processes = [office.taking(OLD_SECRET, SECRET), office.taking(*secrets)]

    async def post(process: Logouts) -> None:
        told.append(await office.post(token, process))

    office.store.gate.clear()
    for number in range(6):
        _ = spawn(post(processes[number % 2]), name="post")
    await asyncio.sleep(0)
    office.store.gate.set()
    await until(lambda: len(told) == 6)

    assert told.count((200, "logout")) <= 1
    assert {
        (200, "logout"),
        ("logout_not_kept", "logout token: it is being heeded elsewhere"),
        ("invalid_logout_token", "logout token: it has been here before"),
    } >= set(told)
    # Who let go of it may be told again, as by any 503: then it is heeded, once.
    told += [await office.post(token, processes[number % 2]) for number in range(2)]
    assert 1 == told.count((200, "logout"))
    assert [(MarkKind.SUBJECT, "ada")] == office.marked


async def test_a_claim_of_one_who_died_runs_out(office):
    """The provider hears *later* until then, and never that it was heeded."""
    token = office.signed()
    key = Fingerprint(SECRET, Kind.LOGOUT, "idp").store_key("J1")
    await office.store.add(key, b"claimed", ttl=10.0)
    assert "logout_not_kept" == (await office.post(token))[0]
    assert [] == office.marked

    await office.store.delete(key)
    assert (200, "logout") == await office.post(token)


async def test_it_is_remembered_for_as_long_as_it_could_come_again(office):
    """And no longer: the store keeps nothing for ever. It names no token."""
    await office.post(office.signed())
    ((key, value),) = office.store.kept.items()

    assert [120.0] == list(office.store.ttls.values())
    assert Fingerprint(SECRET, Kind.LOGOUT, "idp").store_key("J1") == key
    assert "J1" not in f"{key} {value!r}"


# ------------------------------------------------------------------ what can fail


async def test_a_store_that_is_away_is_no_logout(office):
    """It could be the second time: never open. The provider hears that it failed."""
    office.store.fails = True

    assert ("logout_not_kept", "logout token: gone") == (
        await office.post(office.signed())
    )
    assert [] == office.marked


async def test_a_mark_that_cannot_be_kept_is_said_and_may_be_tried_again(office):
    """The token is not used up by our failure."""
    for name in ("eve", "kim"):
        await office.marks.add(office.marks.mark(MarkKind.SUBJECT, "idp", name))
    token = office.signed()

    told = await office.post(token)
    assert "logout_not_kept" == told[0]
    assert "no room" in told[1]

    await office.marks.lift(MarkKind.SUBJECT, "idp", "eve")
    assert (200, "logout") == await office.post(token)


async def test_a_full_memory_store_refuses(clock):
    """The list of tokens that have been is bounded, and full is loud."""
    office = Office(clock, MemoryStore(clock, limit_bytes=10))

    assert "logout_not_kept" == (await office.post(office.signed()))[0]


async def test_keys_that_cannot_be_had_are_no_verdict(office):
    """The provider may try again."""

    class Away:
        async def proven(self, token: str) -> Jws | None:
            raise ProviderUnavailable("no keys")

    told = await office.post(office.signed(), office.taking(notary=Away()))

    assert ("logout_not_kept", "logout token: the keys cannot be had") == told


async def test_a_route_without_terms_heeds_nobody(office):
    """`check` refuses such a route; if one came here, it would be closed."""
    told = await office.post(
        office.signed(), route=Route(id="x", kind=ROUTE.kind, provider="idp")
    )

    assert "invalid_logout_token" == told[0]


async def test_a_provider_without_keys_heeds_nobody(office):
    """There is nobody to prove anything."""
    route = Route(id="x", kind=ROUTE.kind, provider="other", guard=Guard(logout=TERMS))

    assert "invalid_logout_token" == (await office.post("a.b.c", route=route))[0]


# ------------------------------------------------------------------- at the door


async def test_at_the_door_it_is_a_form_like_the_others():
    """400 in the standard's words, never cached; nothing reaches an upstream."""
    route = oauth(
        RouteKind.BACKCHANNEL_LOGOUT,
        "/logout",
        "POST",
        upstream="",
        guard=Guard(logout=TERMS),
    )
    form = "Content-Type: application/x-www-form-urlencoded"
    async with door(routes=[route]) as d:
        told = await d.ask("POST /logout", form, body=b"logout_token=a.b.c")
        empty = await d.ask("POST /logout", form, body=b"state=x")

        assert (400, 400) == (told.status, empty.status)
        assert "invalid_request" == json.loads(told.body)["error"]
        assert b"no-store" == told.value(b"cache-control")
        assert ["invalid_logout_token", "invalid_form"] == [
            exchange.reason for exchange in d.exchanges
        ]
        assert not d.upstream.raw


async def test_at_the_door_a_good_one_is_a_200(clock):
    """Empty, never cached."""
    token = sign(claims(clock))

    class Proves:
        async def proven(self, token: str) -> Jws | None:
            return signatures.read(token)

    route = oauth(
        RouteKind.BACKCHANNEL_LOGOUT, "/logout", "POST", guard=Guard(logout=TERMS)
    )
    form = "Content-Type: application/x-www-form-urlencoded"
    async with door(routes=[route], notary=Proves()) as d:
        told = await d.ask("POST /logout", form, body=f"logout_token={token}".encode())

        assert (200, b"") == (told.status, told.body)
        assert b"no-store" == told.value(b"cache-control")
        assert [(MarkKind.SUBJECT, "ada")] == [
            (mark.kind, mark.name) for mark in d.ledger.marks
        ]
        assert ("allow", "logout") == (d.only().decision, d.only().reason)


def test_it_shows_nothing(office):
    """In logs it is who proves them."""
    assert "<Logouts: 1 notaries>" == repr(office.logouts)
