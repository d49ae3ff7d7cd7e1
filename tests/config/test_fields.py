from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

from gateway.config import fields
from gateway.values import Secret

GOOD: dict[str, list[Any]] = {
    "Name": ["a", "likes-read", "v1.0_x", "a" * 64],
    "Method": ["GET", "M-SEARCH", "TRACE"],
    "HeaderName": ["X-Device", "a.b"],
    "QueryName": ["device", "a.b-c_d~"],
    "Scope": ["user-like-read", "https://api/x#y", "a,b"],
    "Realm": ["", "NUGU", "two words"],
    "ClaimPath": ["sub", "ext.dvc", "https://x/y"],
    "UpgradeToken": ["websocket", "h2cx"],
    "IdentityName": ["X-Auth-Subject", "remote-user"],
    "OptionalIdentityName": ["", "X-Auth-Subject"],
    "Host": ["*", "*.example.com", "api.example.com", "127.0.0.1"],
    "PathPattern": ["/", "/a/{b}/**", "/**"],
    "Flag": [True, False],
    "Count": [1, 10_000],
    "ClaimValue": ["a", 1, True],
}
BAD: dict[str, list[Any]] = {
    "Name": ["", "a b", "-a", "a/b", "a" * 65, "a\n", 5, None],
    "Method": ["get", "CONNECT", "", "A B", 1],
    "HeaderName": ["X_Device", "", "X:", "X\r\n", "이름", None],
    "QueryName": ["", "a b", "a%20b", "a&b", "a[]"],
    "Scope": ["", "a b", 'a"b', "a\\b", "a\tb", "노래"],
    "Realm": ['a"b', "a\\b", "a\nb", "노래", 5],
    "ClaimPath": ["", ".", "a.", ".a", "a..b", "a b", 5],
    "UpgradeToken": ["h2c", "H2C", "", "a b"],
    "IdentityName": ["", "Host", "content-length", "X-Forwarded-For", "a_b", 1],
    "OptionalIdentityName": ["Authorization", "a_b", None],
    "Host": ["api.example.com:80", "http://a", "a*b", "*.*", "", "a..b", 5],
    "PathPattern": ["", "a", "/a//b", "/a/../b", "/a?b", "/a#b", "/**/a", 5],
    "Prefix": ["a", "/a?b", "/a/../b", "/a%2Fb", 5],
    "ScopeExpression": ["a", [1], ["a", ""], ["a\tb"], {"a": 1}],
    "Flag": ["yes", "on", "TRUE", "1", 1, 0, None, []],
    "Count": [0, -1, "0", "-1", 1.0, True, "1.5", "٣", "9" * 20, None],
    "ClaimValue": [1.5, None, [], {}],
    "SecretText": ["", 5, None, ["a"]],
}


@pytest.mark.parametrize("name", GOOD)
def test_what_is_right_is_taken_as_it_is(name):
    """And keeps its type: True is no 1."""
    for value in GOOD[name]:
        found = TypeAdapter(getattr(fields, name)).validate_python(value)

        assert (type(value), value) == (type(found), found)


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_told_in_plain_words(name):
    """Every message says what was expected."""
    for value in BAD[name]:
        with pytest.raises(ValidationError) as caught:
            TypeAdapter(getattr(fields, name)).validate_python(value)

        [error] = caught.value.errors()
        assert error["msg"].startswith("expected ")
        assert not error["msg"].startswith("expected expected")


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (fields.Flag, "true", True),
        (fields.Flag, "false", False),
        (fields.Count, "8080", 8080),
        (fields.Host, "API.Example.COM.", "api.example.com"),
        (fields.Prefix, "/v1/", b"/v1"),
        (fields.Prefix, "", b""),
        (
            fields.ScopeExpression,
            ["a b", "c"],
            (frozenset({"a", "b"}), frozenset({"c"})),
        ),
        (fields.ScopeExpression, [], ()),
    ],
)
def test_text_becomes_a_value_at_the_door(kind, text, value):
    """What `${env:…}` gives is text, whatever it stands for."""
    assert value == TypeAdapter(kind).validate_python(text)


def test_a_secret_shows_itself_nowhere():
    """Neither a good one nor one that is too short."""
    kind = TypeAdapter(Annotated[Secret, fields.SecretString(8)])
    secret = kind.validate_python("password")

    assert "password" == str.__str__(secret)
    assert "password" not in repr(secret)
    with pytest.raises(ValidationError) as caught:
        kind.validate_python("hunter2")
    assert "expected_secret" == caught.value.errors()[0]["type"]


def test_sections_are_immutable_and_deaf_to_unknown_keys():
    """And their errors hold nothing of what was given."""

    class Section(fields.Model):
        key: str = ""
        """What it is."""

    with pytest.raises(ValidationError, match="frozen"):
        Section().key = "other"  # type: ignore[misc]
    with pytest.raises(ValidationError) as caught:
        Section(kye="hunter2")  # type: ignore[call-arg]
    assert "hunter2" not in str(caught.value)
    assert "What it is." == Section.model_fields["key"].description


def test_a_file_is_found_beside_the_configuration(tmp_path):
    """And it must be readable now, not at the first request."""
    (tmp_path / "ca.pem").write_text("x")
    kind = TypeAdapter(fields.ReadableFile)

    def found(path: str) -> Path:
        return kind.validate_python(path, context={"base": tmp_path})

    assert tmp_path / "ca.pem" == found("ca.pem")
    assert tmp_path / "ca.pem" == kind.validate_python(str(tmp_path / "ca.pem"))
    for path in ("gone.pem", ".", "a\0b"):
        with pytest.raises(ValidationError, match="expected a file that can be read"):
            found(path)


def test_the_json_schema_says_the_same():
    """Editors refuse what the program would refuse."""
    secret = TypeAdapter(fields.SecretText).json_schema()
    name = TypeAdapter(fields.Name).json_schema()
    several = TypeAdapter(
        Annotated[
            tuple[fields.ClaimValue, ...],
            Field(min_length=1),
            BeforeValidator(list),
            fields.OneOrMore(),
        ]
    ).json_schema()

    assert {"type": "string", "minLength": 1, "writeOnly": True} == secret
    assert "^(?:[A-Za-z0-9][A-Za-z0-9._-]{0,63})$" == name["pattern"]
    one = {"type": ["string", "integer", "boolean"]}
    assert [one, {"type": "array", "items": one, "minItems": 1}] == several["anyOf"]
