import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.facts.sealed import VERSION, SealBroken, Sealer
from gateway.ports import STORED_LIMIT_BYTES
from gateway.values import Grant, TokenFacts
from tests.facts.doubles import OLD_SECRET, SECRET

NOW = 1_800_000_000.0
KEY = "gateway:1:facts:00"
TOKEN = "the-token"
FACTS = TokenFacts(
    provider="melon",
    subject="ada-lovelace",
    scopes=frozenset({"streaming"}),
    audience=("a", "b"),
    expires_at=NOW + 300,
    claims={"name": "마시마렁", "level": 3, "ratio": 0.5, "on": True, "in": ("x", "y")},
    learned_at=NOW,
)
SEALER = Sealer(TokenFacts, SECRET)

claim = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.lists(st.text(st.characters(exclude_categories=["Cs"]))).map(tuple),
)


def sealed(facts: TokenFacts = FACTS, key: str = KEY, token: str = TOKEN) -> bytes:
    """Seal facts that may be believed for a minute."""
    value = SEALER.seal(facts, token=token, key=key, believe_until=NOW + 60)
    assert value is not None
    return value


def opened(value: bytes, key: str = KEY, token: str = TOKEN) -> TokenFacts | None:
    """Open a value at once."""
    return SEALER.open(value, token=token, key=key, now=NOW)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), claim))
def test_what_was_sealed_opens_as_it_was(claims):
    """Nothing changes on the way, types included."""
    facts = msgspec.structs.replace(FACTS, claims=claims)
    again = opened(sealed(facts))
    assert again is not None

    assert facts == again
    assert {k: type(v) for k, v in claims.items()} == {
        k: type(v) for k, v in again.claims.items()
    }


@given(st.integers(min_value=0), st.integers(1, 255))
def test_one_changed_byte_anywhere_never_opens(where, change):
    """Whoever writes to the store cannot write facts."""
    value = bytearray(sealed())
    value[where % len(value)] ^= change

    with pytest.raises(SealBroken):
        opened(bytes(value))


@given(st.integers(min_value=0))
def test_a_value_cut_short_never_opens(length):
    """Not even to a part of itself."""
    value = sealed()

    with pytest.raises(SealBroken):
        opened(value[: length % len(value)])


@given(st.binary(max_size=200))
def test_garbage_never_opens(value):
    """What we did not seal is an alarm, whatever it looks like."""
    for garbage in (value, VERSION + value):
        with pytest.raises(SealBroken):
            opened(garbage)


@given(st.text(min_size=1), st.text(min_size=1))
def test_a_copy_under_another_key_or_token_never_opens(key, token):
    """The key names provider, verifiers and token: none can be swapped."""
    if key != KEY:
        with pytest.raises(SealBroken):
            opened(sealed(), key=key)
    if token != TOKEN:
        with pytest.raises(SealBroken):
            opened(sealed(), token=token)


def test_another_secret_does_not_open():
    """The token alone is not enough."""
    with pytest.raises(SealBroken):
        Sealer(TokenFacts, OLD_SECRET).open(sealed(), token=TOKEN, key=KEY, now=NOW)


def test_a_value_of_another_type_is_not_taken_for_ours():
    """A grant under the key of facts would be a grant, not facts."""
    grant = Grant(
        provider="ottm", client=None, scopes=None, issued_at=NOW, expires_at=NOW + 9
    )
    value = Sealer(Grant, SECRET).seal(
        grant, token=TOKEN, key=KEY, believe_until=NOW + 60
    )
    assert value is not None

    class Other(msgspec.Struct):
        nobody_has_this: int

    with pytest.raises(SealBroken):
        Sealer(Other, SECRET).open(value, token=TOKEN, key=KEY, now=NOW)


def test_a_dump_reveals_nothing_readable():
    """No name, scope or claim can be found in what is stored."""
    value = sealed()

    for word in (b"ada", b"lovelace", b"streaming", b"melon", b"name", b"the-token"):
        assert word not in value
    assert "마시마렁".encode() not in value


def test_the_same_facts_never_look_the_same():
    """Two entries cannot be compared to learn that somebody came back."""
    assert sealed() != sealed()


def test_what_may_no_longer_be_believed_is_none_not_an_alarm():
    """An entry that lost its expiry, or a stale replica's, ends all the same."""
    value = sealed()

    assert FACTS == SEALER.open(value, token=TOKEN, key=KEY, now=NOW + 59.9)
    assert SEALER.open(value, token=TOKEN, key=KEY, now=NOW + 60) is None


def test_an_overlong_value_is_refused_before_anything_else():
    """100 MB under our key cost a comparison, even if they would open."""
    huge = msgspec.structs.replace(FACTS, claims={"x": "y" * STORED_LIMIT_BYTES})
    plain = msgspec.msgpack.encode((NOW + 60, huge))
    nonce = bytes(12)
    cipher = SEALER._cipher(TOKEN).encrypt(nonce, plain, VERSION + KEY.encode())

    with pytest.raises(SealBroken, match="form"):
        opened(VERSION + nonce + cipher)


@pytest.mark.parametrize(
    "claims",
    [{"big": 2**70}, {"half": "\ud800"}, {"long": "x" * STORED_LIMIT_BYTES}],
    ids=["big", "half", "long"],
)
def test_what_cannot_be_stored_is_none_not_an_error(claims):
    """A provider's odd claim costs the store, never the request."""
    facts = msgspec.structs.replace(FACTS, claims=claims)

    assert SEALER.seal(facts, token=TOKEN, key=KEY, believe_until=NOW + 60) is None


def test_the_longest_value_that_is_sealed_also_opens():
    """Both sides have the same limit."""
    room = STORED_LIMIT_BYTES - len(sealed())
    facts = msgspec.structs.replace(FACTS, claims={"x": "y" * (room + 40)})
    value = sealed(facts)

    assert STORED_LIMIT_BYTES - 60 < len(value) <= STORED_LIMIT_BYTES
    assert facts == opened(value)
