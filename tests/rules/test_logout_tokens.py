"""Holds logout tokens to OpenID Connect Back-Channel Logout 1.0 §2.4 and §2.6."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.logout_tokens import ACCEPTED, EVENT, TOKEN_ID_LIMIT, Flaw, read
from gateway.values import LogoutTerms, MarkKind
from tests.fakes import Clock

NOW = Clock().now()
TERMS = LogoutTerms(issuer="https://op.example", audiences=frozenset({"shop"}))
GOOD: dict[str, Any] = {
    "iss": "https://op.example",
    "aud": "shop",
    "iat": NOW - 1,
    "exp": NOW + 120,
    "jti": "bWJq",
    "sub": "ada",
    "sid": "08a5019c",
    "events": {EVENT: {}},
}
TYPED = {"typ": "logout+jwt"}


def told(
    terms: LogoutTerms = TERMS, header: dict[str, object] | None = None, **changes: Any
) -> Any:
    """Read a token with these claims changed; None takes one away."""
    members = {k: v for k, v in {**GOOD, **changes}.items() if v is not None}
    return read(TYPED if header is None else header, members, terms, NOW)


def test_a_good_one_ends_the_sessions_of_its_subject():
    """Unless configuration wants one session ended."""
    logout = told()

    assert (MarkKind.SUBJECT, "ada", "bWJq") == (
        logout.kind,
        logout.name,
        logout.token_id,
    )
    assert NOW + 120 == logout.ends_at


@pytest.mark.parametrize(
    ("whole", "changes", "expected"),
    [
        (False, {}, (MarkKind.SESSION, "08a5019c")),
        (False, {"sid": None}, (MarkKind.SUBJECT, "ada")),
        (False, {"sub": None}, (MarkKind.SESSION, "08a5019c")),
        (True, {"sid": None}, (MarkKind.SUBJECT, "ada")),
        (True, {"sub": None}, (MarkKind.SESSION, "08a5019c")),
    ],
)
def test_what_is_ended_is_what_it_names(whole, changes, expected):
    """§2.4: a subject, a session, or both."""
    terms = LogoutTerms(
        issuer=TERMS.issuer, audiences=TERMS.audiences, whole_subject=whole
    )
    logout = told(terms, **changes)

    assert expected == (logout.kind, logout.name)


@pytest.mark.parametrize(
    ("changes", "flaw"),
    [
        ({"iss": None}, "it is from another issuer"),
        ({"iss": "https://op.example/"}, "it is from another issuer"),
        ({"aud": None}, "it is meant for somebody else"),
        ({"aud": ["kiosk"]}, "it is meant for somebody else"),
        ({"iat": None}, "it does not tell iat and exp"),
        ({"exp": None}, "it does not tell iat and exp"),
        ({"iat": NOW + 1}, "it is from the future"),
        ({"nbf": NOW + 1}, "it is from the future"),
        ({"exp": NOW}, "it is too old"),
        ({"iat": NOW - 600, "exp": NOW + 9999}, "it is too old"),
        ({"jti": None}, "it has no usable jti"),
        ({"jti": "x" * (TOKEN_ID_LIMIT + 1)}, "it has no usable jti"),
        ({"sub": None, "sid": None}, "it names neither a subject nor a session"),
        ({"nonce": "n"}, "it has a nonce, as ID tokens do"),
        ({"nonce": ""}, "it has a nonce, as ID tokens do"),
        ({"events": None}, "it tells no logout event"),
        ({"events": {}}, "it tells no logout event"),
        ({"events": {EVENT: None}}, "it tells no logout event"),
        ({"events": {EVENT: []}}, "it tells no logout event"),
        ({"events": [EVENT]}, "it tells no logout event"),
        ({"events": EVENT}, "it tells no logout event"),
        ({"exp": "soon"}, "a claim has the wrong type"),
        ({"exp": True}, "a claim has the wrong type"),
        ({"sid": 5}, "a claim has the wrong type"),
    ],
)
def test_one_flaw_is_enough(changes, flaw):
    """§2.6, line by line; what is wrong is told in fixed words."""
    assert Flaw(flaw) == told(**changes)


@pytest.mark.parametrize(
    ("typ", "good"),
    [
        ("logout+jwt", True),
        ("application/logout+JWT", True),
        ("JWT", True),
        (None, True),
        ("at+jwt", False),
        ("secevent+jwt", False),
        (5, False),
    ],
)
def test_a_token_of_another_type_is_none(typ, good):
    """RFC 8725 §3.11; older providers do not type theirs."""
    header: dict[str, object] = {} if typ is None else {"typ": typ}

    assert good is not isinstance(told(header=header), Flaw)


def test_clocks_may_differ_as_far_as_configured():
    """Either way."""
    terms = LogoutTerms(issuer=TERMS.issuer, audiences=TERMS.audiences, skew=5.0)

    assert not isinstance(told(terms, iat=NOW + 5), Flaw)
    assert not isinstance(told(terms, exp=NOW - 4), Flaw)
    assert Flaw("it is from the future") == told(terms, iat=NOW + 6)
    assert Flaw("it is too old") == told(terms, exp=NOW - 5)


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*GOOD, "nonce", "nbf"]), json), json)
def test_whatever_it_says_it_is_read_or_refused(members, typ):
    """Total: a proven token of any other kind raises nothing."""
    logout = read({"typ": typ}, {**GOOD, **members}, TERMS, NOW)

    assert isinstance(logout, Flaw) or logout.ends_at > NOW


def test_the_answer_is_for_nobody_to_keep():
    """§2.8."""
    assert (200, b"no-store", b"") == (
        ACCEPTED.status,
        dict(ACCEPTED.headers)[b"Cache-Control"],
        ACCEPTED.body,
    )
