import asyncio
from math import inf

import pytest

from gateway.app import SystemClock
from gateway.errors import ProviderUnavailable
from gateway.facts.grants import Grants
from gateway.facts.shared import CacheResources, Uncounted
from gateway.providers import Known, wire
from gateway.values import Source, TokenFacts
from tests.facts.doubles import Cupboard
from tests.wired import SIGNED, configured, issuer, token


class Watcher:
    """Hears of questions."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, str]] = []

    def provider_request(
        self, provider: str, endpoint: str, code: str, seconds: float
    ) -> None:
        self.heard.append((provider, endpoint, code))


def wired_by(settings: str, *watchers: Watcher) -> Known:
    """Wire the provider `lab` with these settings."""
    clock, store = SystemClock(), Cupboard()
    config = configured(f"providers: {{lab: {{{settings}}}}}").config
    secrets = ("a-secret",)
    return wire(
        "lab",
        config.providers["lab"],
        claims=frozenset({"level"}),
        grants=Grants(secrets, store=store, clock=clock, events=Uncounted()),
        resources=CacheResources(secrets=secrets, store=store, clock=clock),
        watchers=watchers,
    )


async def test_everything_that_knows_of_its_tokens_is_made_of_its_settings():
    """The verifiers, what is remembered, and who proves its signatures."""
    known = wired_by(SIGNED)
    learned = await known.source.learn(token(level=3))
    found = learned.found

    assert isinstance(found, TokenFacts)
    assert ("ada", {"level": 3}) == (found.subject, found.claims)
    assert Source.PROVIDER == learned.source
    assert known.chain.local
    assert known.notary is not None
    await known.client.close()


async def test_all_watchers_hear_of_every_question():
    """The metrics count it, and the log tells if it failed."""
    watchers = Watcher(), Watcher()
    async with issuer() as lab:
        lab.tokens["T1"] = {"sub": "ada"}
        asked = f'introspection: {{url: "{lab.url}", client_id: us, client_secret: x}}'
        known = wired_by(f"verify: [introspection], {asked}", *watchers)
        await known.source.learn("T1")
        await known.client.close()

    assert not known.chain.local
    assert known.notary is None
    heard = [("lab", "introspect", "200")]
    assert [heard, heard] == [each.heard for each in watchers]


async def test_an_outage_is_one_and_how_it_is_taken_is_configured():
    """After one failure nobody asks for a while, if that is what the settings say."""
    asked = (
        'introspection: {url: "http://127.0.0.1:9/", client_id: us, client_secret: x}'
    )
    known = wired_by(f"verify: [introspection], {asked}, questions: {{failures: 1}}")
    for _ in range(2):
        async with asyncio.timeout(5):
            with pytest.raises(ProviderUnavailable):
                await known.source.learn("T1", max_age=inf)
    assert 2 == known.client.breaker_state
    await known.client.close()
