import json

import pytest

from tests.test_cli import ADMIN, Listener, run
from tests.test_cli import listener as listener  # noqa: PLC0414 -- the fixture itself

MARK = {
    "id": "0123456789abcdef01234567",
    "kind": "subject",
    "provider": "melon",
    "name": "ada\x1b[2J",
    "moment": 1_800_000_000.25,
    "expires_at": 1e12,
}


def ask(listener: Listener, *words: str):
    """Run a command against the listener."""
    return run(*words, "--admin", listener.base, env=ADMIN)


def test_the_revocations_are_listed_for_people(listener):
    """A name cannot play with the terminal, and `never` is a moment too."""
    everything = {**MARK, "kind": "provider", "name": ""}
    listener.says({"revocations": [MARK, everything]})
    done = ask(listener, "revocations")
    first, second = done.stdout.splitlines()[1:]

    assert ("GET", "/api/revocations") == listener.requests[0][:2]
    assert [
        *(MARK["id"], "subject", "melon", r"ada\u001b[2J"),
        *("2027-01-15T08:00:00Z", "never"),
    ] == first.split()
    assert "-" == second.split()[3]


def test_the_revocations_are_listed_for_programs(listener):
    """As the admin listener tells them."""
    listener.says({"revocations": [MARK]})

    assert {"revocations": [MARK]} == json.loads(
        ask(listener, "revocations", "--json").stdout
    )


def test_a_revocation_is_lifted(listener):
    """By the id that the list has."""
    listener.says(b"", 204)
    done = ask(listener, "unrevoke", str(MARK["id"]))

    ((method, path, headers, _),) = listener.requests
    assert ("DELETE", f"/api/revocations/{MARK['id']}") == (method, path)
    assert f"Bearer {ADMIN['GATEWAY_ADMIN_TOKEN']}" == headers["Authorization"]
    assert (0, f"lifted {MARK['id']}\n") == (done.exit_code, done.stdout)


def test_one_that_is_not_there_cannot_be_lifted(listener):
    """Exit code 1, in the listener's words."""
    listener.says({"error": "not_found"}, 404)
    done = ask(listener, "unrevoke", str(MARK["id"]))

    assert 1 == done.exit_code
    assert "404" in done.stderr


@pytest.mark.parametrize("wrong", ["ada", "../explain", "0123"])
def test_what_is_no_id_is_not_even_asked_for(listener, wrong):
    """Exit code 2: wrong use."""
    assert 2 == ask(listener, "unrevoke", wrong).exit_code
    assert [] == listener.requests
