import pytest

from gateway.errors import StoreUnavailable
from gateway.ports import Verifier
from gateway.values import Grant, Invalid, NotMine, Reason, TokenFacts
from gateway.verifiers.learned import Settings, build, knows
from tests.verifiers.provider import RememberedGrants, context

SETTINGS = Settings(token_endpoint="https://api.example/oauth2/v1/token")


@pytest.fixture
def grant(clock):
    """A grant seen half an hour ago."""
    return Grant(
        provider="melon",
        client="player",
        scopes=frozenset({"openid", "profile"}),
        issued_at=clock.now() - 1800,
        expires_at=clock.now() + 1799,
    )


@pytest.fixture
def verifier(provider, clock, grant) -> Verifier:
    """Knows the grant of one token."""
    grants = RememberedGrants({("melon", "known"): grant})
    return build(SETTINGS, context(provider, clock, grants=grants))


async def test_a_grant_tells_scope_client_and_times(verifier, clock, grant):
    """And that it is a grant, so that the chain asks for more."""
    found = await verifier.verify("known", clock.now())

    assert found == TokenFacts(
        provider="melon",
        client="player",
        scopes=frozenset({"openid", "profile"}),
        issued_at=grant.issued_at,
        expires_at=grant.expires_at,
        granted=True,
        learned_at=clock.now(),
    )


async def test_what_was_never_granted_here_is_not_mine(verifier, clock):
    """Not invalid: the token may have been made elsewhere."""
    assert NotMine() == await verifier.verify("unknown", clock.now())


@pytest.mark.parametrize(
    ("late", "expired"), [(-0.1, False), (4.9, False), (5.0, True), (900.0, True)]
)
async def test_a_grant_that_ran_out_is_an_expired_token(
    provider, clock, grant, late, expired
):
    """The provider said how long it lasts; `clock_skew` is what is accepted after."""
    grants = RememberedGrants({("melon", "known"): grant})
    verifier = build(SETTINGS, context(provider, clock, grants=grants, clock_skew=5.0))

    found = await verifier.verify("known", grant.expires_at + late)

    assert expired is (found == Invalid(Reason.EXPIRED))
    assert expired is not isinstance(found, TokenFacts)


async def test_a_store_that_is_down_knows_nothing(provider, clock):
    """Not *none*: that would be a verdict."""
    verifier = build(SETTINGS, context(provider, clock, grants=RememberedGrants()))

    with pytest.raises(StoreUnavailable):
        await verifier.verify("known", clock.now())


def test_it_knows_what_a_token_answer_states(verifier):
    """Scope, client and lifetime; nobody is asked."""
    assert frozenset({"scope", "client", "expiry"}) == knows(SETTINGS)
    assert verifier.local
    assert f"<Verifier {verifier.identity}>" == repr(verifier)


def test_the_identity_tells_whose_answers_taught(provider, clock):
    """Another endpoint, or another tolerance, is another verifier."""
    other = Settings(token_endpoint="https://api.example/token")
    identities = {
        build(SETTINGS, context(provider, clock)).identity,
        build(SETTINGS, context(provider, clock, clock_skew=1.0)).identity,
        build(other, context(provider, clock)).identity,
    }

    assert 3 == len(identities)


@pytest.mark.parametrize("url", ["http://api.example/token", "token", ""])
def test_only_a_secure_endpoint_teaches(url):
    """Anybody on a plain wire could teach scopes."""
    with pytest.raises(ValueError, match="expected a"):
        Settings(token_endpoint=url)
