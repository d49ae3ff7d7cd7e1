"""What every verifier in the folder keeps, whoever adds one.

A newcomer adds a sample of its settings, and what makes it know the token.
"""

import importlib
import json
import pkgutil
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import verifiers
from gateway.errors import ProviderUnavailable, StoreUnavailable
from gateway.ports import Verifier
from gateway.values import Grant, Invalid, NotMine, TokenFacts
from tests.fakes import Clock
from tests.signing import SECRET, sign
from tests.verifiers.provider import RememberedGrants, ScriptedProvider, context

URL = "https://op.example/endpoint"
CLOCK = Clock()
TOKEN = sign({"sub": "ada", "exp": CLOCK.now() + 300})
CAN_BE_KNOWN = frozenset(
    {
        "scope",
        "client",
        "expiry",
        "subject",
        "issuer",
        "audience",
        "device",
        "claims",
        "login",
    }
)

NAMES = [
    module.name
    for module in pkgutil.iter_modules(verifiers.__path__)
    if not module.name.startswith("_")
]
MODULES: dict[str, Any] = {
    name: importlib.import_module(f"gateway.verifiers.{name}") for name in NAMES
}
SETTINGS: dict[str, dict[str, Any]] = {
    "jwt": {"algorithms": ["HS256"], "key": SECRET},
    "introspection": {"url": URL, "client_id": "gateway", "client_secret": SECRET},
    "userinfo": {"url": URL},
    "learned": {"token_endpoint": URL},
}
GRANT = Grant(
    provider="melon",
    client="player",
    scopes=frozenset({"read"}),
    issued_at=CLOCK.now(),
    expires_at=CLOCK.now() + 300,
)

every_verifier = pytest.mark.parametrize("name", NAMES)


def made(
    name: str, provider: ScriptedProvider, grants: RememberedGrants | None = None
) -> Verifier:
    """Build a verifier of the sample settings."""
    module: ModuleType = MODULES[name]
    given = context(provider, CLOCK, grants=grants or RememberedGrants({}))
    verifier: Verifier = module.build(module.Settings(**SETTINGS[name]), given)
    return verifier


def test_every_verifier_has_a_sample():
    """Else the rest of this page would not speak of it."""
    assert sorted(NAMES) == sorted(SETTINGS)


@every_verifier
def test_it_declares_what_it_knows(name):
    """`gateway check` asks, before anything is built."""
    module = MODULES[name]

    known = module.knows(module.Settings(**SETTINGS[name]))

    assert known
    assert CAN_BE_KNOWN >= known


@every_verifier
def test_its_settings_name_themselves_in_a_schema(name):
    """A wrong key is refused, and `config/schema.json` holds the rest."""
    settings = MODULES[name].Settings

    schema = settings.model_json_schema()

    assert False is schema["additionalProperties"]
    assert schema["properties"]
    assert SECRET not in repr(settings(**SETTINGS[name]))
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        settings(**SETTINGS[name], no_such_key=1)


@every_verifier
def test_its_identity_is_stable_and_no_secret(name):
    """It is a part of every cache key, in every process the same."""
    first, second = (made(name, ScriptedProvider()) for _ in range(2))

    assert first.identity == second.identity
    assert first.identity.startswith(f"{name} ")
    assert SECRET not in first.identity + repr(first)


def test_no_two_verifiers_have_one_identity():
    """They would read each other's facts."""
    assert len(NAMES) == len(
        {made(name, ScriptedProvider()).identity for name in NAMES}
    )


@every_verifier
async def test_it_finds_the_facts_of_a_good_token(name):
    """With everybody's word for it, and never the token among them."""
    provider = ScriptedProvider()
    provider.says(URL, {"active": True, "sub": "ada"})
    grants = RememberedGrants({("melon", TOKEN): GRANT})

    found = await made(name, provider, grants).verify(TOKEN, CLOCK.now())

    assert isinstance(found, TokenFacts)
    assert "melon" == found.provider
    assert CLOCK.now() == found.learned_at
    assert TOKEN not in repr(found)


@every_verifier
async def test_who_is_local_asks_nobody(name):
    """And who is not cannot answer in an outage, and does not say *invalid*."""
    provider = ScriptedProvider()
    verifier = made(name, provider)

    if verifier.local:
        found = await verifier.verify(TOKEN, CLOCK.now())
        assert isinstance(found, TokenFacts | NotMine)
        assert [] == provider.questions
        return
    with pytest.raises(ProviderUnavailable) as failure:
        await verifier.verify(TOKEN, CLOCK.now())
    assert TOKEN not in str(failure.value)


@every_verifier
@given(
    text=st.text(max_size=60) | st.binary(max_size=60).map(repr),
    forge=st.sampled_from([str, lambda text: f"{text}.{text}.{text}", sign]),
)
async def test_no_token_is_the_cause_of_a_crash(
    name: str, text: str, forge: Callable[[str], str]
) -> None:
    """Any text is facts, not mine or invalid; failures have the two names."""
    provider = ScriptedProvider()
    provider.says(URL, {"active": False}, 401 if name == "userinfo" else 200)

    found = await made(name, provider).verify(forge(text), CLOCK.now())

    assert isinstance(found, NotMine | Invalid)


@every_verifier
@given(
    status=st.sampled_from([200, 200, 200, 400, 401, 403, 404]),
    body=st.binary(max_size=60)
    | st.dictionaries(
        st.sampled_from(["active", "sub", "exp", "scope", "aud", "iss", "error"]),
        st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text()),
    ).map(lambda members: json.dumps(members).encode()),
)
async def test_no_answer_is_the_cause_of_a_crash(name, status, body):
    """Whatever a provider says is facts, a verdict or no answer."""
    provider = ScriptedProvider()
    provider.says(URL, body, status)
    try:
        found = await made(name, provider).verify(TOKEN, CLOCK.now())
    except ProviderUnavailable:
        return

    assert isinstance(found, TokenFacts | NotMine | Invalid)


@every_verifier
async def test_a_store_that_is_down_has_its_own_name(name):
    """Only who reads it notices; nobody takes it for a verdict."""
    provider = ScriptedProvider()
    provider.says(URL, {"active": True, "sub": "ada"})

    try:
        found = await made(name, provider, RememberedGrants()).verify(
            TOKEN, CLOCK.now()
        )
    except StoreUnavailable:
        assert "learned" == name
        return

    assert isinstance(found, TokenFacts)
