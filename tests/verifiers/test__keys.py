import asyncio

import pytest

from gateway.errors import ProviderUnavailable
from gateway.rules import signatures
from gateway.rules.signatures import Jws, KeySet
from gateway.tasks import running
from gateway.verifiers._keys import FetchedKeys, GivenKeys
from tests.signing import jwk, jwks, sign


def published(*which: int) -> KeySet:
    """Give a set of some of our keys, named after their numbers."""
    document = jwks(*(jwk("RS256", one, kid=f"k{one}") for one in which))
    return signatures.key_set(document, ("RS256",))


def signed(which: int, name: str = "") -> Jws:
    """Make a token's signature by one of them, under its name or another."""
    jws = signatures.read(
        sign({"sub": "ada"}, "RS256", {"kid": name or f"k{which}"}, which=which)
    )
    assert jws is not None
    return jws


class Provider:
    """Publishes keys; `says` may be an outage. While `gate` is clear, it thinks."""

    def __init__(self) -> None:
        self.says: KeySet | Exception = published(0)
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def fetch(self) -> KeySet:
        """Give the keys."""
        self.asked += 1
        await self.gate.wait()
        if isinstance(self.says, Exception):
            raise self.says
        return self.says


@pytest.fixture
def provider():
    """One that publishes `k0`."""
    return Provider()


@pytest.fixture
def keys(provider, clock):
    """Its keys as they are had here."""
    return FetchedKeys(provider.fetch, clock, ttl=600, max_age=86_400, cooldown=30)


async def told(keys: FetchedKeys, jws: Jws) -> bool | int:
    """Tell whether it is proven, or for how many seconds it is in doubt."""
    try:
        return await keys.prove(jws)
    except ProviderUnavailable as error:
        return error.retry_after


async def settled() -> None:
    """Let a fetch behind our back end."""
    while flights := [task for task in running() if "keys" in task.get_name()]:
        await asyncio.gather(*flights)


async def test_given_keys_are_never_in_doubt():
    """Only a reload brings others."""
    given = GivenKeys(published(0))

    assert await given.prove(signed(0))
    assert not await given.prove(signed(1))
    assert (1, None, "<GivenKeys: 1>") == (given.count, given.fetched_at, repr(given))


async def test_a_key_that_nobody_looked_for_is_in_doubt(keys, provider, clock):
    """A new key's first tokens are not called bad because somebody else's were."""
    assert await told(keys, signed(0))
    clock.advance(30)
    assert False is await told(keys, signed(0, "x"))
    provider.says = published(0, 1)
    clock.advance(10.5)

    assert 20 == await told(keys, signed(1))
    assert False is await told(keys, signed(0, "x"))
    clock.advance(19.5)
    assert True is await told(keys, signed(1))
    assert 3 == provider.asked


async def test_a_key_is_looked_for_by_a_fetch_that_began_after_its_token_came(
    keys, provider, clock
):
    """Whoever joins a fetch under way has its keys, or is in doubt."""
    assert await told(keys, signed(0))
    clock.advance(30)
    provider.says = published(0, 1)
    provider.gate.clear()
    waiting = asyncio.gather(
        told(keys, signed(0, "x")), told(keys, signed(0, "y")), told(keys, signed(1))
    )
    await asyncio.sleep(0)
    provider.gate.set()

    assert [False, 30, True] == list(await waiting)


async def test_the_first_fetch_is_a_look_for_who_began_it(keys, provider):
    """A bad token that is the first of all is bad; and again, while nobody fetches."""
    first, second = await asyncio.gather(
        told(keys, signed(0, "x")), told(keys, signed(0, "y"))
    )
    assert (False, 30) == (first, second)
    assert False is await told(keys, signed(0, "x"))
    assert 1 == provider.asked


async def test_a_withdrawn_key_is_in_no_doubt(keys, provider, clock):
    """The provider itself took it back."""
    assert await told(keys, signed(0))
    provider.says = published(1)
    clock.advance(600.5)
    assert await told(keys, signed(0))
    await settled()

    assert False is await told(keys, signed(0))


async def test_a_known_name_with_another_signature_is_bad(keys, provider):
    """The key is there, and says no; nobody is asked."""
    assert await told(keys, signed(0))

    assert False is await told(keys, signed(1, "k0"))
    assert 1 == provider.asked


async def test_made_up_names_cost_no_memory(keys, clock):
    """One is remembered for each fetch."""
    for number in range(80):
        await told(keys, signed(0, f"x{number}"))

    assert {"x0"} == keys._absent


async def test_without_keys_everything_is_in_doubt(keys, provider, clock):
    """And once they cannot be fetched again, whatever names another."""
    provider.says = ProviderUnavailable("down")
    assert 0 == await told(keys, signed(0))
    clock.advance(1)
    provider.says = published(0)
    assert True is await told(keys, signed(0))
    assert (1, clock.now(), "<FetchedKeys: 1>") == (
        keys.count,
        keys.fetched_at,
        repr(keys),
    )

    clock.advance(30)
    provider.says = ProviderUnavailable("down")
    assert 0 == await told(keys, signed(1))
    assert True is await told(keys, signed(0))
    clock.advance(86_400)
    assert 0 == await told(keys, signed(0))
    assert 0 == keys.count
