import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ProviderUnavailable, StoreUnavailable
from gateway.facts.chain import Chain
from gateway.values import Finding, Invalid, NotMine, Reason, TokenFacts
from tests.facts.doubles import Oracle

NOW = 1_800_000_000.0


def facts(**known) -> TokenFacts:
    """Give facts of ottm."""
    return TokenFacts(provider="ottm", **known)


async def verdict(*findings: Finding | Exception, assume=None) -> TokenFacts | Invalid:
    """Tell what a chain makes of these findings."""
    chain = Chain([Oracle(finding) for finding in findings], assume_scopes=assume)
    return await chain.verify("token", NOW)


async def test_one_verifier_is_heard_as_it_is():
    """Its facts come through, with the moment they were learned."""
    found = facts(subject="ada", scopes=frozenset({"openid"}), learned_at=1.0)

    assert facts(
        subject="ada", scopes=frozenset({"openid"}), learned_at=NOW
    ) == await verdict(found)


async def test_the_token_and_the_moment_are_handed_on():
    """Every verifier is asked about the same token, as of the same moment."""
    first, second = Oracle(NotMine()), Oracle(facts())
    await Chain([first, second]).verify("token", NOW)

    assert [("token", NOW)] == first.asked == second.asked


async def test_the_first_invalid_ends_it():
    """Who comes after it is not even asked."""
    last = Oracle(facts())
    chain = Chain([Oracle(facts()), Oracle(Invalid(Reason.EXPIRED)), last])

    assert Invalid(Reason.EXPIRED) == await chain.verify("token", NOW)
    assert not last.asked


async def test_a_token_nobody_knows_is_inactive():
    """So is every token of a provider without verifiers."""
    assert Invalid(Reason.INACTIVE) == await verdict(NotMine(), NotMine())
    assert Invalid(Reason.INACTIVE) == await verdict()


async def test_the_earliest_end_counts():
    """The token is dead when the first who knows says so."""
    found = await verdict(facts(expires_at=NOW + 9), facts(), facts(expires_at=NOW + 5))

    assert facts(expires_at=NOW + 5, learned_at=NOW) == found


async def test_each_field_comes_from_the_first_who_knows_it():
    """Unknown is not the same as empty: an empty scope list is knowledge."""
    found = await verdict(
        facts(subject="ada", scopes=frozenset(), claims={"a": 1}),
        facts(client="c1", scopes=frozenset({"x"}), claims={"a": 2, "b": 3}, acr="0"),
    )

    assert found == facts(
        subject="ada",
        client="c1",
        scopes=frozenset(),
        acr="0",
        claims={"a": 1, "b": 3},
        learned_at=NOW,
    )


@pytest.mark.parametrize("field", ["subject", "client"])
async def test_a_contradiction_is_invalid(field):
    """Two names for one token are nobody's facts (SECURITY §5)."""
    found = await verdict(facts(**{field: "ada"}), facts(**{field: "eve"}))

    assert Invalid(Reason.INCONSISTENT) == found


async def test_agreement_is_no_contradiction():
    """Neither is one who does not know."""
    found = await verdict(facts(subject="ada"), facts(), facts(subject="ada"))

    assert facts(subject="ada", learned_at=NOW) == found


async def test_a_learned_grant_alone_confirms_nothing():
    """What was granted once may have been revoked since."""
    grant = facts(scopes=frozenset({"openid"}), granted=True)

    assert Invalid(Reason.INACTIVE) == await verdict(grant, NotMine())


async def test_a_learned_grant_adds_to_what_is_confirmed():
    """Scope and expiry from the grant, validity from userinfo."""
    grant = facts(
        scopes=frozenset({"openid"}), client="c1", expires_at=NOW + 9, granted=True
    )

    assert await verdict(grant, facts(subject="ada")) == facts(
        subject="ada",
        client="c1",
        scopes=frozenset({"openid"}),
        expires_at=NOW + 9,
        granted=True,
        learned_at=NOW,
    )


async def test_without_a_grant_the_scopes_stay_unknown():
    """The policy says what that means; nothing is guessed here."""
    found = await verdict(NotMine(), facts(subject="ada"))

    assert facts(subject="ada", learned_at=NOW) == found


async def test_a_grant_that_cannot_be_read_is_an_outage():
    """Not *no grant*: the token may well have one."""
    with pytest.raises(ProviderUnavailable):
        await verdict(StoreUnavailable("gone"), facts(subject="ada"))


async def test_an_outage_is_never_a_verdict():
    """It passes as it is."""
    with pytest.raises(ProviderUnavailable):
        await verdict(facts(), ProviderUnavailable("hung"))


async def test_assumed_scopes_stand_in_for_unknown_ones_only():
    """An operator's word fills a gap; it overrules nobody."""
    assumed = frozenset({"openid"})

    assert facts(scopes=assumed, learned_at=NOW) == await verdict(
        facts(), assume=assumed
    )
    assert facts(scopes=frozenset(), learned_at=NOW) == await verdict(
        facts(scopes=frozenset()), assume=assumed
    )


async def test_a_sender_constraint_that_anybody_names_holds():
    """It cannot be lost by asking somebody else first."""
    found = await verdict(facts(), facts(cnf=True))

    assert facts(cnf=True, learned_at=NOW) == found


def test_the_identity_tells_who_is_asked_and_what_is_assumed():
    """Chains that could disagree have different cache keys (CVE-2026-33496)."""
    one, two = Oracle(identity="one"), Oracle(identity="two")
    chains = [
        Chain([one, two]),
        Chain([two, one]),
        Chain([one]),
        Chain([Oracle(identity="one', 'two")]),
        Chain([one], assume_scopes=frozenset()),
        Chain([one], assume_scopes=frozenset({"a", "b"})),
        Chain([one], assume_scopes=frozenset({"a b"})),
    ]

    assert len(chains) == len({chain.identity for chain in chains})
    assert Chain([one, two]).identity == Chain([one, two]).identity


@given(st.lists(st.booleans()))
def test_a_chain_is_local_when_nobody_outside_is_asked(local):
    """One remote verifier makes the whole chain remote."""
    chain = Chain([Oracle(local=here) for here in local])

    assert all(local) == chain.local
