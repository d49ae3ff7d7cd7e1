from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli import main
from gateway.plugins import registry
from gateway.reasons import ADVICE, rows, table, text
from gateway.values import Reason

README = (Path(__file__).parents[1] / "config" / "README.md").read_text()


def test_every_reason_has_a_meaning_and_advice():
    """In one sentence each; whoever adds a reason says what to do about it."""
    assert {*Reason} == ADVICE.keys()
    for meaning, advice in ADVICE.values():
        assert meaning.endswith(".")
        assert advice.endswith((".", "?"))
        assert "|" not in meaning + advice


def test_every_dialect_says_it_in_its_own_way():
    """The status and the code that a client is told, from the dialect itself."""
    told = {row.reason: row for row in rows()}

    assert registry().dialects.keys() == told["expired"].answers.keys()
    assert {
        "melon": "403 insufficient_scope",
        "nugu": "401 access_denied",
        "ottm": "400 10074",
        "rfc6750": "403 insufficient_scope",
    } == told["insufficient_scope"].answers
    assert (
        "503 temporarily_unavailable" == told["provider_unavailable"].answers["melon"]
    )


def test_the_reference_has_the_table():
    """`gateway.reasons.table` writes it."""
    assert table() in README


@pytest.mark.parametrize("more", [(), ("GET", "http://h/"), ("-c", "missing.yaml")])
def test_the_command_lists_them_and_asks_nobody(more):
    """Whatever else stands on the line."""
    done = CliRunner().invoke(main, ["explain", "--reasons", *more])

    assert 0 == done.exit_code
    assert f"{text()}\n" == done.output
    assert all(reason.value in done.output for reason in Reason)
