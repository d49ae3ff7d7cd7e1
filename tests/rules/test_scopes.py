import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.scopes import for_challenge, parse_expression, parse_scope, satisfies

NAMES = st.sampled_from(["a", "b", "c", "d"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", set()),
        ("read", {"read"}),
        ("read write", {"read", "write"}),
        (" read  write read ", {"read", "write"}),
        ("admin,read", {"admin,read"}),
        ("a/b", {"a/b"}),
    ],
)
def test_scopes_are_separated_by_spaces_alone(text, expected):
    """RFC 6749 §3.3: nothing but a space separates."""
    assert expected == parse_scope(text)


@pytest.mark.parametrize("text", ["a\tb", "a\nb", 'a"', "a\\b", "é", "a\x7f", "a\n"])
def test_other_characters_make_no_scope(text):
    """The refusal names the rule, never the text."""
    with pytest.raises(ValueError, match="expected scopes of RFC 6749"):
        parse_scope(text)


def test_an_expression_is_a_choice_of_sets():
    """`["a b", "c"]` is (a and b) or c; a repetition says nothing new."""
    assert (frozenset("ab"), frozenset("c")) == parse_expression(["a b", "c", "b a"])


def test_an_empty_alternative_is_refused():
    """It would let every token through."""
    with pytest.raises(ValueError, match="at least one scope"):
        parse_expression(["a", " "])


@given(st.sets(NAMES), st.lists(st.sets(NAMES, min_size=1)))
def test_satisfaction_is_some_alternative_held_in_full(granted, alternatives):
    """Compared with the definition spelt out."""
    expression = parse_expression([" ".join(sorted(each)) for each in alternatives])
    expected = not alternatives or any(
        all(scope in granted for scope in each) for each in alternatives
    )

    assert expected == satisfies(frozenset(granted), expression)


def test_a_challenge_names_the_first_way():
    """RFC 6750 §3: a space-separated list; there is no way to say *or*."""
    assert "a b" == for_challenge(parse_expression(["b a", "c"]))
    assert "" == for_challenge(())
