import msgspec
import pytest

from gateway.errors import StoreUnavailable
from gateway.facts.grants import Grants
from gateway.stores.memory import MemoryStore
from gateway.values import Grant
from tests.facts.doubles import OLD_SECRET, SECRET, Cupboard, Tally
from tests.fakes import Clock

TOKEN = "an-opaque-token"


@pytest.fixture
def cupboard():
    """A shared store one can look into."""
    return Cupboard()


@pytest.fixture
def tally():
    """Counts."""
    return Tally()


@pytest.fixture
def grants(cupboard, clock, tally):
    """The grants under one secret."""
    return Grants([SECRET], store=cupboard, clock=clock, events=tally)


def granted(clock: Clock, **known) -> Grant:
    """Give a grant for an hour."""
    grant = Grant(
        provider="ottm",
        client="partner-7",
        scopes=frozenset({"openid", "profile"}),
        issued_at=clock.now(),
        expires_at=clock.now() + 3599,
    )
    return msgspec.structs.replace(grant, **known)


async def test_a_grant_is_recalled_as_it_was(grants, clock):
    """Scope, client and times come back."""
    grant = granted(clock)
    await grants.record("ottm", TOKEN, grant)

    assert grant == await grants.recall("ottm", TOKEN)


async def test_a_grant_is_kept_to_its_own_end(grants, cupboard, clock):
    """Not to a cache's: nobody can be asked for it again."""
    await grants.record("ottm", TOKEN, granted(clock))
    (ttl,) = cupboard.ttls.values()

    assert 3599 == ttl

    clock.advance(3599)
    assert await grants.recall("ottm", TOKEN) is None


async def test_no_grant_is_none(grants):
    """The store answered: there is none."""
    assert await grants.recall("ottm", TOKEN) is None


async def test_another_provider_or_token_has_not_this_grant(grants, clock):
    """Both are in its name."""
    await grants.record("ottm", TOKEN, granted(clock))

    assert await grants.recall("melon", TOKEN) is None
    assert await grants.recall("ottm", TOKEN + "x") is None


@pytest.mark.parametrize("known", [{"scopes": None}, {"expires_at": 0.0}])
async def test_what_teaches_nothing_is_not_kept(grants, cupboard, clock, known):
    """An answer without scope, or one that is over already."""
    await grants.record("ottm", TOKEN, granted(clock, **known))

    assert not cupboard.kept


async def test_an_empty_scope_is_a_grant(grants, clock):
    """Known to allow nothing is not unknown."""
    await grants.record("ottm", TOKEN, granted(clock, scopes=frozenset()))
    grant = await grants.recall("ottm", TOKEN)

    assert frozenset() == grant.scopes


async def test_a_grant_that_cannot_be_kept_is_loud(grants, cupboard, clock):
    """The token answer must not be relayed then."""
    cupboard.fails = True

    with pytest.raises(StoreUnavailable):
        await grants.record("ottm", TOKEN, granted(clock))


async def test_a_grant_too_long_to_keep_is_loud(grants, clock):
    """Likewise."""
    huge = frozenset({"x" * 100_000})

    with pytest.raises(StoreUnavailable):
        await grants.record("ottm", TOKEN, granted(clock, scopes=huge))


async def test_a_store_that_cannot_be_read_is_not_an_absent_grant(grants, cupboard):
    """503, never `grant_unknown`."""
    cupboard.fails = True

    with pytest.raises(StoreUnavailable):
        await grants.recall("ottm", TOKEN)


async def test_a_forged_grant_is_none_and_an_alarm(grants, cupboard, clock, tally):
    """Whoever writes to the store grants nothing."""
    await grants.record("ottm", TOKEN, granted(clock))
    await grants.record("ottm", "theirs", granted(clock))
    ours, theirs = cupboard.kept
    cupboard.kept[theirs] = cupboard.kept[ours]

    assert await grants.recall("ottm", "theirs") is None
    assert 1 == tally.counts["seal_alarm",]


async def test_nothing_of_a_grant_can_be_read_in_the_store(grants, cupboard, clock):
    """Neither token, nor client, nor scope."""
    await grants.record("ottm", TOKEN, granted(clock))
    ((key, value),) = cupboard.kept.items()

    for word in (b"opaque", b"partner", b"openid", b"ottm"):
        assert word not in key.encode() + value


async def test_grants_outlive_a_change_of_secrets(grants, cupboard, clock, tally):
    """Whichever of the listed secrets sealed them; new ones use the first."""
    await grants.record("ottm", TOKEN, granted(clock))
    rotated = Grants([OLD_SECRET, SECRET], store=cupboard, clock=clock, events=tally)
    await rotated.record("ottm", "newer", granted(clock))

    assert granted(clock) == await rotated.recall("ottm", TOKEN)
    assert granted(clock) == await rotated.recall("ottm", "newer")
    assert await grants.recall("ottm", "newer") is None


async def test_grants_are_kept_in_memory_too(clock, tally):
    """The store that needs no server keeps the same promise."""
    grants = Grants([SECRET], store=MemoryStore(clock), clock=clock, events=tally)
    await grants.record("ottm", TOKEN, granted(clock))

    assert granted(clock) == await grants.recall("ottm", TOKEN)
