import json

import pytest

from tests.test_cli import run
from tests.wired import FRAME

GOOD = (
    FRAME
    + """
providers: {acme: {verify: [jwt], jwt: {algorithms: [HS256], key: a-key-of-these-tests-0123456789abcdef}}}
"""
)


@pytest.fixture
def path(tmp_path):
    """A configuration that depends on nobody."""
    file = tmp_path / "gateway.yaml"
    file.write_text(GOOD)
    return file


def test_what_is_well_is_told_too(path):
    """Who sees nothing does not know what was looked at."""
    done = run("doctor", "-c", str(path))

    assert 0 == done.exit_code
    assert "✓ provider acme: jwt: 1 key in the configuration" in done.stdout
    assert "· store (memory)" in done.stdout


def test_something_wrong_is_an_exit_code(path, unused_tcp_port):
    """With what to do, below."""
    upstream = f'upstreams: {{it: {{targets: ["http://127.0.0.1:{unused_tcp_port}"]}}}}'
    path.write_text(GOOD + upstream)
    done = run("doctor", "-c", str(path))

    assert 1 == done.exit_code
    assert "nobody listens there\n    Is it running" in done.stdout
    assert "gateway: 1 thing wrong" in done.stderr


def test_findings_are_had_as_json(path):
    """For programs."""
    told = json.loads(run("doctor", "-c", str(path), "--json").stdout)

    assert {"level", "about", "told", "todo"} == set(told[0])
    assert "good" in {each["level"] for each in told}


@pytest.mark.parametrize("words", [("--provider", "acme"), ("--token-file", "-")])
def test_a_token_is_somebodys(path, words):
    """One without the other says nothing."""
    done = run("doctor", "-c", str(path), *words, typed="SECRET")

    assert 2 == done.exit_code
    assert "SECRET" not in done.output


def test_a_provider_that_is_not_there_is_told(path):
    """A slip in its name must not read as *all is well*."""
    words = ("--provider", "acne", "--token-file", "-")
    done = run("doctor", "-c", str(path), *words, typed="SECRET")

    assert 1 == done.exit_code
    assert "there is no provider acne" in done.stderr
