import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.strict_json import UnusableJson, decode

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
members = st.dictionaries(
    st.text(max_size=4),
    st.recursive(
        scalars,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text(max_size=4), inner, max_size=3)
        ),
        max_leaves=6,
    ),
    max_size=4,
)


@given(members, st.booleans())
def test_any_object_comes_back_as_it_was(value, escaped):
    """Strictness costs no honest provider anything, escaped or not."""
    body = json.dumps(value, ensure_ascii=escaped).encode()

    assert value == decode(body)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_object_or_unusable(body):
    """Nothing but the one exception ever comes out."""
    try:
        found = decode(body)
    except UnusableJson:
        return

    assert isinstance(found, dict)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"true",
        b'"text"',
        b"<html>",
        b'{"a": 1} {"a": 1}',
        b'{"active": false, "active": true}',
        b'{"deep": {"a": 1, "a": 1}}',
        b'{"exp": NaN}',
        b'{"exp": Infinity}',
        b'{"exp": -Infinity}',
        b'{"exp": 1e400}',
        b'{"exp": -1e400}',
        b'{"exp": ' + b"9" * 5000 + b"}",
        b'\xef\xbb\xbf{"active": true}',
        '{"active": true}'.encode("utf-16"),
        b'{"sub": "\xff"}',
        b'{"sub": "\xed\xa0\x80"}',
        b'{"sub": "\\ud800"}',
        b'{"\\uDFFF": 1}',
        b'{"a": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        b'{"a":' * 20_000,
    ],
    ids=lambda body: repr(body[:24]),
)
def test_what_could_be_read_in_two_ways_is_not_read(body):
    """Duplicates, giants, endless depth, foreign encodings: no answer (SECURITY §5)."""
    with pytest.raises(UnusableJson):
        decode(body)


def test_the_refusal_quotes_nothing():
    """A provider may echo the token: it must not reach a log through us."""
    with pytest.raises(UnusableJson) as refusal:
        decode(b'{"token": "SECRET", }')

    assert "SECRET" not in repr(refusal.value)
    assert refusal.value.__suppress_context__


def test_escaped_pairs_of_surrogates_are_one_character():
    """Only a lone half is refused."""
    assert {"sub": "😀"} == decode(b'{"sub": "\\ud83d\\ude00"}')
