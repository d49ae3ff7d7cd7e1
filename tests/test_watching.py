import json
from typing import Any

import msgspec
import pytest

from gateway.watching import OVERLAP, Follower, line, safe
from tests.admin.samples import NOW, exchange
from tests.test_cli import ADMIN, Listener, run
from tests.test_cli import listener as listener  # noqa: PLC0414 -- the fixture itself


def record(**changes: Any) -> dict[str, Any]:
    """Make a record as the admin listener tells it."""
    members: dict[str, Any] = msgspec.to_builtins(exchange(**changes))
    return members


def ask(listener: Listener, *words: str, **env: str):
    """Run a command against the listener."""
    return run(*words, "--admin", listener.base, env=env)


def test_what_there_is_is_printed_the_oldest_first(listener):
    """As in a log; the admin listener tells the newest first."""
    records = [record(request_id="new", started_at=NOW + 1), record(request_id="old")]
    listener.says({"exchanges": records})
    done = ask(listener, "tail", "--once", "--route", "likes", "--status", "4")

    ((method, path, headers, _),) = listener.requests
    assert ("GET", "/api/recent?route=likes&status=4") == (method, path)
    assert "Authorization" not in headers
    assert 0 == done.exit_code
    assert ["old", "new"] == [each.split()[-1] for each in done.stdout.splitlines()]


def test_the_token_is_sent_where_there_is_one(listener):
    """From afar, reading takes it too."""
    listener.says({"exchanges": []})
    ask(listener, "tail", "--once", **ADMIN)

    token = ADMIN["GATEWAY_ADMIN_TOKEN"]
    assert f"Bearer {token}" == listener.requests[0][2]["Authorization"]


def test_whole_records_are_for_programs(listener):
    """One a line, by the names of the access log."""
    listener.says({"exchanges": [record()]})
    done = ask(listener, "tail", "--once", "--json")

    assert record() == json.loads(done.stdout)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "✓ ok"),
        ({"decision": "deny", "reason": "expired"}, "✕ expired"),
        ({"decision": "error", "reason": "provider_unavailable"}, "! provider"),
        ({"decision": "shadow", "reason": "expired"}, "~ expired"),
        ({"reason": "upstream_timeout"}, "! upstream_timeout"),
    ],
)
def test_a_line_says_what_became_of_a_request(changes, told):
    """By a sign and a word; colour only helps."""
    text = line(record(**changes))

    assert told in text
    assert "08:00:00.005" in text
    assert "melon.localhost/oauth/likes" in text
    assert "5.0ms" in text


def test_no_stranger_commands_the_terminal():
    """Host, path and client are theirs to choose."""
    evil = "\x1b]0;owned\x07\r\n"
    text = line(record(host=evil, path=evil, client=evil))

    assert not set("\x07\r\n") & set(text)
    assert "\x1b]" not in text
    assert "\\u001b" in safe(evil)


def test_what_was_told_before_is_not_told_again():
    """Questions overlap, since workers do not end in step."""
    follower = Follower()
    one, two = record(request_id="1"), record(request_id="2", started_at=NOW + 1)
    late = record(request_id="3", started_at=NOW + 0.5)

    assert {} == follower.since()
    assert [one] == follower.new([one])
    assert {"since": f"{NOW + 0.005 - OVERLAP:.3f}"} == follower.since()
    assert [two] == follower.new([two, one])
    assert [late] == follower.new([two, late, one])
    assert [] == follower.new([two, late, one])
    assert not follower.missed


def test_a_gap_is_told():
    """More came between two looks than the ring holds."""
    follower = Follower()
    follower.new([record(request_id="1")])
    follower.new([record(request_id="9", started_at=NOW + 9)])

    assert follower.missed


def test_a_refusal_ends_it(listener):
    """Exit code 1, in the listener's words."""
    listener.says({"error": "unauthorized", "message": "Expected the token"}, 401)
    done = ask(listener, "tail")

    assert 1 == done.exit_code
    assert "Expected the token" in done.stderr
