import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.expand import Expansion, Sources, expand


def expanded(text: str, base: Path = Path(), **environ: str) -> Expansion:
    """Expand a text with these variables."""
    return expand(text, Sources(environ, base))


def test_variables_are_put_in_where_they_stand():
    """Part of a text may come from the environment."""
    expansion = expanded("http://${env:HOST}:${env:PORT}/", HOST="a", PORT="1")

    assert "http://a:1/" == expansion.text
    assert ("${env:HOST}", "${env:PORT}") == expansion.references
    assert ("a", "1") == expansion.values


@pytest.mark.parametrize(
    ("environ", "text"),
    [({}, "8080"), ({"PORT": ""}, "8080"), ({"PORT": "1"}, "1")],
)
def test_a_default_stands_for_a_variable_that_is_unset_or_empty(environ, text):
    """As in a shell."""
    assert text == expanded("${env:PORT:-8080}", **environ).text


def test_an_empty_default_is_a_default():
    """Nothing can be what an operator means."""
    assert Expansion("", ("${env:A}",)) == expanded("${env:A:-}")


def test_an_empty_variable_is_set():
    """Without a default, emptiness is the operator's word."""
    assert () == expanded("${env:A}", A="").problems


def test_an_unset_variable_is_a_problem():
    """The name helps, and is no secret."""
    assert ("${env:A} is not set",) == expanded("${env:A}").problems


def test_a_file_gives_its_text_without_the_last_newline(tmp_path):
    """Editors end files with a newline; keys have none. A second one is content."""
    (tmp_path / "key").write_bytes(b"one\n\r\n")

    assert "one\n" == expanded("${file:key}", tmp_path).text


def test_a_file_without_a_newline_is_whole(tmp_path):
    """And an absolute path is as good as a relative one."""
    (tmp_path / "key").write_text("one")

    assert "one" == expanded(f"${{file:{tmp_path / 'key'}}}").text


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "No such file or directory"),
        (b"\xff\xfe", "it is not UTF-8 text"),
        (b"x" * ((1 << 20) + 1), "it is longer than 1 MiB"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_problem(tmp_path, content, why):
    """Its name is told, its bytes are not."""
    if content is not None:
        (tmp_path / "key").write_bytes(content)

    expansion = expanded("${file:key}", tmp_path)

    assert ("", (f"${{file:key}} cannot be read: {why}",)) == (
        expansion.text,
        expansion.problems,
    )


def test_a_directory_is_no_file(tmp_path):
    """The system says why."""
    [problem] = expanded("${file:.}", tmp_path).problems

    assert problem.endswith(os.strerror(21))


@pytest.mark.parametrize(
    "text", ["${HOME}", "${env:}", "${env:A B}", "${", "${vault:x}", "${file:}"]
)
def test_an_unknown_reference_is_a_problem(text):
    """A slip must not go through as text."""
    [problem] = expanded(text, HOME="/").problems

    assert problem.startswith("expected ${env:NAME}, ${env:NAME:-default}")


@pytest.mark.parametrize(
    ("text", "literal"),
    [("$${env:A}", "${env:A}"), ("$$${env:A}", "$${env:A}"), ("$ {a} $", "$ {a} $")],
)
def test_a_dollar_can_be_written(text, literal):
    """`$${` is a literal `${`; a lone dollar is nothing special."""
    assert Expansion(literal) == expanded(text, A="secret")


@given(st.text(alphabet="${}env:filABC$-/ \n\"'[]&*!", max_size=40))
def test_what_comes_in_is_never_expanded_again(value):
    """A value that looks like a reference stays as it is, character for character."""
    environ = {"A": value, "B": "SECRET", "C": "SECRET"}

    expansion = expand("${env:A}", Sources(environ, Path("/nowhere")))

    assert Expansion(value, ("${env:A}",), (value,)) == expansion


def test_a_default_holds_no_reference():
    """Its text would become the value: a secret that everybody can read here."""
    found = expand("${env:A:-${env:B}}", Sources({"B": "b"}, Path()))

    assert ("${env:A}: expected a default without ${",) == found.problems
