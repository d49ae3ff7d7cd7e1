import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.identity_values import (
    encode,
    encode_all,
    encode_claim,
    shadow_mark,
)
from gateway.rules.policy import admit_open
from gateway.values import Access, Permit, Reason, Route


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", b""),
        ("a-Z.~!", b"a-Z.~!"),
        ("a b", b"a%20b"),
        ("100%", b"100%25"),
        ("a\r\nX-Admin: 1", b"a%0D%0AX-Admin:%201"),
        ("\x00\x7f", b"%00%7F"),
        ("노", b"%EB%85%B8"),
        ("\u010a", b"%C4%8A"),
        ("\ud800", b"%ED%A0%80"),
        ("{env.SECRET}${X}%(x)s", b"{env.SECRET}${X}%25(x)s"),
    ],
)
def test_values_are_percent_encoded(text, expected):
    """Visible ASCII stays, `%` and all the rest is encoded; nothing is dropped."""
    assert expected == encode(text)


@given(st.text(st.characters()), st.text(st.characters()))
def test_no_two_values_look_alike(one, other):
    """The encoding is injective, and never more than visible ASCII."""
    assert (one == other) == (encode(one) == encode(other))
    assert all(0x21 <= byte <= 0x7E for byte in encode(one))


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        ("a b", b"a%20b"),
        (3, b"3"),
        (1.5, b"1.5"),
        (True, b"true"),
        (False, b"false"),
        (("b c", "a"), b"b%20c a"),
        ((), b""),
    ],
)
def test_claims_are_written_by_their_kind(claim, expected):
    """A list keeps its order, its members stay apart."""
    assert expected == encode_claim(claim)


def test_a_set_is_written_in_one_order():
    """Sets have none: the same scopes make the same header."""
    assert b"a b c" == encode_all(frozenset({"c", "a", "b"}))


def test_a_shadow_is_told_and_its_absence_is_not():
    """As a header, and as the line that it makes."""
    allowed = admit_open(Route(id="r", access=Access.PUBLIC))
    assert isinstance(allowed, Permit)
    assert ([], b"") == shadow_mark(allowed)

    permit = dataclasses.replace(allowed, shadow=Reason.EXPIRED)
    line = b"x-auth-shadow-denied: expired\r\n"
    assert ([(b"x-auth-shadow-denied", b"expired")], line) == shadow_mark(permit)
