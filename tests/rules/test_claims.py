from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.claims import (
    LATEST,
    ClaimError,
    Claims,
    Expected,
    Names,
    chosen,
    facts,
    lookup,
    refusal,
    scopes,
    text,
)
from gateway.values import Reason, TokenFacts

NOW = 1_800_000_000.0


def read(
    members: Claims, *, names: Names | None = None, kept: Sequence[str] = ()
) -> TokenFacts:
    """Read as the verifiers of melon do."""
    return facts("melon", members, names or Names(), kept, NOW)


def test_all_that_a_token_can_say_is_read():
    """Every registered claim has its place in the facts."""
    members = {
        "sub": "ada",
        "client_id": "player",
        "scope": "read write",
        "iss": "https://op.example",
        "aud": ["api", "other"],
        "iat": 1,
        "nbf": 2,
        "exp": 3.5,
        "jti": "t1",
        "sid": "s1",
        "acr": "mfa",
        "auth_time": 4,
        "ext": {"dvc": "D1"},
        "name": "마시마렁",
    }

    assert read(members, names=Names(device="ext.dvc"), kept=["name"]) == TokenFacts(
        provider="melon",
        subject="ada",
        client="player",
        scopes=frozenset({"read", "write"}),
        issuer="https://op.example",
        audience=("api", "other"),
        issued_at=1.0,
        not_before=2.0,
        expires_at=3.5,
        token_id="t1",
        session_id="s1",
        acr="mfa",
        auth_time=4.0,
        device="D1",
        claims={"name": "마시마렁"},
        learned_at=NOW,
    )


def test_silence_is_unknown_except_for_scope():
    """A token that names no scope grants none; of all else nobody told."""
    assert read({}) == TokenFacts(provider="melon", scopes=frozenset(), learned_at=NOW)


def test_scope_may_be_nobodys_word():
    """Where the tokens do not tell their scope, it stays unknown."""
    assert None is read({"scope": "read"}, names=Names(scope=None)).scopes


@pytest.mark.parametrize("cnf", [{"jkt": "x"}, {}, None, "text"])
def test_a_confirmation_is_never_overlooked(cnf):
    """Whatever it holds: we cannot check it (RFC 8705 §3)."""
    assert read({"cnf": cnf}).cnf


@pytest.mark.parametrize("name", ["exp", "iat", "nbf", "auth_time"])
@pytest.mark.parametrize(
    "value", [True, False, "3718503546", [], {}, -1, 2**63, LATEST + 1, 1e300, -0.5]
)
def test_an_instant_is_a_sane_number(name, value):
    """Booleans, strings, giants and the time before 1970 are no instants."""
    with pytest.raises(ClaimError):
        read({name: value})


@pytest.mark.parametrize("value", [0, 1.5, 1e10 + 0.5, LATEST])
def test_instants_may_have_fractions(value):
    """NumericDate is a JSON number (RFC 7519 §2)."""
    assert float(value) == read({"exp": value}).expires_at


@pytest.mark.parametrize("name", ["sub", "client_id", "iss", "jti", "sid", "acr"])
@pytest.mark.parametrize("value", [1, True, [], ["ada"], {"a": "b"}])
def test_names_are_strings(name, value):
    """A list is not its first member, nor a number its digits."""
    with pytest.raises(ClaimError):
        read({name: value})


@pytest.mark.parametrize("value", [1, {}, True, ["api", 1], [["api"]]])
@pytest.mark.parametrize("name", ["aud", "scope"])
def test_lists_are_of_strings(name, value):
    """An audience or scope of another form is not guessed at."""
    with pytest.raises(ClaimError):
        read({name: value})


def test_one_audience_is_a_list_of_one():
    """RFC 7519 §4.1.3."""
    assert ("api",) == read({"aud": "api"}).audience


@pytest.mark.parametrize("empty", [None, ""])
def test_null_and_empty_name_nobody(empty):
    """An empty subject is no subject."""
    assert None is text({"sub": empty}, "sub")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("read  write ", {"read", "write"}),
        ("read\twrite", {"read\twrite"}),
        ("admin,read", {"admin,read"}),
        ("", set()),
        ([], set()),
        (["read", "write admin"], {"read", "write admin"}),
        (None, set()),
    ],
)
def test_scope_is_parted_by_spaces_alone(value, expected):
    """`admin,read` and a list member with a space never grant `admin`."""
    assert expected == scopes({"scope": value}, "scope")


@given(st.lists(st.from_regex(r"\A[!#-\[\]-~]+\Z"), max_size=5))
def test_scope_as_list_and_as_string_mean_the_same(tokens):
    """For real scope tokens (RFC 6749 §3.3) the two forms agree."""
    assert scopes({"s": tokens}, "s") == scopes({"s": " ".join(tokens)}, "s")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("ext.dvc", "D1"),
        ("https://op.example/roles", "admin"),
        ("ext.dvc.deeper", None),
        ("ext.none", None),
        ("none", None),
    ],
)
def test_claims_are_found_by_path(path, expected):
    """A claim whose own name has dots is found before the path is walked."""
    claims = {"ext": {"dvc": "D1"}, "https://op.example/roles": "admin"}

    assert expected == lookup(claims, path)


def test_only_scalars_and_lists_of_strings_are_kept():
    """What no rule or header could use, and no codec carry, is left out."""
    claims = {
        "text": "a",
        "whole": -(2**63),
        "part": 0.5,
        "flag": True,
        "list": ["a", "b"],
        "giant": 2**63,
        "mixed": ["a", 1],
        "object": {},
        "null": None,
    }

    assert {
        "text": "a",
        "whole": -(2**63),
        "part": 0.5,
        "flag": True,
        "list": ("a", "b"),
    } == chosen(claims, [*claims, "absent"])


@pytest.mark.parametrize(
    ("found", "expected", "reason"),
    [
        ({}, {}, None),
        ({"expires_at": NOW}, {}, Reason.EXPIRED),
        ({"expires_at": NOW + 0.1}, {}, None),
        ({"expires_at": NOW - 4.9}, {"leeway": 5.0}, None),
        ({"expires_at": NOW - 5.0}, {"leeway": 5.0}, Reason.EXPIRED),
        ({"not_before": NOW + 0.1}, {}, Reason.NOT_YET_VALID),
        ({"not_before": NOW}, {}, None),
        ({"not_before": NOW + 5.0}, {"leeway": 5.0}, None),
        ({"issuer": "https://op"}, {"issuer": "https://op"}, None),
        ({"issuer": "https://op/"}, {"issuer": "https://op"}, Reason.WRONG_ISSUER),
        ({"issuer": "https://OP"}, {"issuer": "https://op"}, Reason.WRONG_ISSUER),
        ({"issuer": "https"}, {"issuer": "https://op"}, Reason.WRONG_ISSUER),
        ({}, {"issuer": "https://op"}, Reason.WRONG_ISSUER),
        ({"audience": ("b", "a")}, {"audience": frozenset({"a"})}, None),
        ({"audience": ("ab",)}, {"audience": frozenset({"a"})}, Reason.WRONG_AUDIENCE),
        ({}, {"audience": frozenset({"a"})}, Reason.WRONG_AUDIENCE),
    ],
)
def test_a_token_is_judged_by_its_own_words(found, expected, reason):
    """Issuer and audience are compared exactly (CVE-2024-53861), times with leeway."""
    facts_found = TokenFacts(provider="melon", **found)

    assert reason == refusal(facts_found, Expected(**expected), NOW)
