from hypothesis import given
from hypothesis import strategies as st

from gateway.facts.fingerprints import Fingerprint, Kind, fingerprints, framed, subkey
from tests.facts.doubles import OLD_SECRET, SECRET

# Whatever a form may bring, lone surrogates too.
texts = st.text(st.characters(), max_size=40)
questions = st.tuples(st.sampled_from(Kind), texts, texts, texts)


def name_of(question: tuple[Kind, str, str, str], secret: str = SECRET) -> bytes:
    """Name a question."""
    kind, provider, identity, token = question
    return Fingerprint(secret, kind, provider, identity)(token)


@given(questions, questions)
def test_different_questions_have_different_names(ours, theirs):
    """Kind, provider, verifiers and the whole token are all in the name."""
    assert (ours == theirs) == (name_of(ours) == name_of(theirs))


@given(texts, st.integers(min_value=0), st.characters())
def test_one_character_makes_another_name(token, where, character):
    """No part of a token is left out of its name (CVE-2026-35030)."""
    where %= len(token) + 1
    other = token[:where] + character + token[where + 1 :]
    name = Fingerprint(SECRET, Kind.FACTS, "melon")

    assert (token == other) == (name(token) == name(other))


def test_long_tokens_with_one_beginning_stay_apart():
    """No hash below cuts its input (Okta, 2024-10)."""
    name = Fingerprint(SECRET, Kind.FACTS, "melon")
    names = {
        name("a" * length + ending)
        for length in (72, 4096, 8000)
        for ending in ("", "x", "y")
    }

    assert 9 == len(names)


def test_parts_do_not_run_together():
    """What looks the same when written in a row has two names (Traefik, 2026)."""
    rows = [("ab", "c", "d"), ("a", "bc", "d"), ("a", "b", "cd"), ("", "abc", "d")]
    names = {name_of((Kind.FACTS, *row)) for row in rows}

    assert len(rows) == len(names)


def test_secrets_differ_beyond_the_length_of_a_blake2b_key():
    """A key of BLAKE2b ends at 64 bytes; a secret does not."""
    question = (Kind.FACTS, "melon", "", "token")

    assert name_of(question, "s" * 64 + "1") != name_of(question, "s" * 64 + "2")


def test_each_purpose_has_a_key_of_its_own():
    """Who learned one key has not learned the others."""
    keys = {subkey(SECRET, purpose) for purpose in ("fingerprint", "seal")}

    assert 2 == len(keys)
    assert {32} == {len(key) for key in keys}


def test_a_store_key_tells_kind_and_form_only():
    """Redis sees keys of one length and alphabet, whatever the token is."""
    name = Fingerprint(SECRET, Kind.GRANT, "ottm")
    token = "%s%n\r\n*{x} secret-token"
    key = name.store_key(token)

    assert f"gateway:1:grant:{name(token).hex()}" == key
    assert "secret" not in key


def test_a_name_can_be_asked_for_again_and_again():
    """The prepared prefix is copied, never used up."""
    name = Fingerprint(SECRET, Kind.FACTS, "melon", "jwt")

    assert name("token") == name("token")
    assert 32 == len(name("token"))


def test_every_listed_secret_has_its_names_the_current_one_first():
    """Rotation looks under both."""
    current, old = fingerprints([SECRET, OLD_SECRET], Kind.MARK, "melon")

    assert Fingerprint(SECRET, Kind.MARK, "melon")("t") == current("t")
    assert Fingerprint(OLD_SECRET, Kind.MARK, "melon")("t") == old("t")


@given(texts, texts)
def test_framed_texts_are_never_a_beginning_of_each_other(one, other):
    """The length comes first, so a reader always knows where a part ends."""
    assert (one == other) == framed(one).startswith(framed(other))
