import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.observe.access_log import as_json
from gateway.values import Exchange
from tests.wired import FRAME, SIGNED

EXCHANGE = Exchange(
    request_id="r",
    started_at=1.0,
    duration=0.1,
    upstream_wait=0.1,
    method="GET",
    host="h",
    path="/read",
    status=200,
    decision="allow",
    reason="ok",
    source="l1",
    route="read",
    provider="lab",
    upstream="api",
    client="shop",
    peer="192.0.2.7",
    scheme="http",
    request_bytes=0,
    response_bytes=2,
)


def config(path: str, require: str) -> str:
    """Write a configuration."""
    return (
        f"{FRAME}providers: {{lab: {{{SIGNED}}}}}\n"
        "upstreams: {api: {targets: ['http://127.0.0.1:9']}}\n"
        f"routes: [{{id: read, match: {{path: {path}}}, provider: lab, upstream: api,"
        f" require: {{{require}}}}}]\n"
    )


@pytest.fixture
def log(tmp_path):
    """An access log: ten allowed, one without a token, one of another client."""
    lines = [EXCHANGE] * 10
    lines += [
        msgspec.structs.replace(
            EXCHANGE, decision="deny", reason="no_credentials", client=""
        ),
        msgspec.structs.replace(EXCHANGE, client="bank", host="\x1b[2J"),
    ]
    path = tmp_path / "access.log.jsonl"
    path.write_bytes(as_json(lines) + b'{"event":"listening"}\nno line\n')
    return path


def checked(folder: Path, log: Path, new: str, old: str = "") -> Result:
    """Check a new configuration against the log."""
    (folder / "new.yaml").write_text(new)
    more = []
    if old:
        (folder / "old.yaml").write_text(old)
        more = ["--was", str(folder / "old.yaml")]
    words = ["check", "-c", str(folder / "new.yaml"), "--against", str(log), *more]
    return CliRunner().invoke(main, words)


def test_what_stays_as_it_is_exits_well(tmp_path, log):
    """Lines that are none of an access log are counted, and left out."""
    done = checked(tmp_path, log, config("/read/**", ""))

    assert 0 == done.exit_code
    assert "12 requests: 12 as before, 0 would change, 0 cannot be told" in done.output
    assert "2 lines are none of an access log, and were left out" in done.output


def test_what_would_change_is_told_and_exits_with_one(tmp_path, log):
    """With how often, on which route, and one of the requests."""
    done = checked(tmp_path, log, config("/read/**", "clients: [shop]"))

    assert 1 == done.exit_code
    assert "12 requests: 11 as before, 1 would change, 0 cannot be told" in done.output
    change = "read -> read: allow -> deny client_not_allowed"
    assert f"       1  {change}  (GET \\u001b[2J/read)" in done.output
    assert "\x1b" not in done.output


def test_with_the_former_configuration_more_can_be_told(tmp_path, log):
    """Who passed a stricter rule passes a weaker one."""
    weaker = config("/read/**", "scopes: [a]")
    alone = checked(tmp_path, log, weaker)
    knowing = checked(tmp_path, log, weaker, config("/read/**", "scopes: ['a b']"))

    assert "12 requests: 1 as before, 0 would change, 11 cannot be told" in alone.output
    assert "allow -> ? the log does not hold the token's scopes" in alone.output
    assert "12 requests: 12 as before" in knowing.output
    assert [0, 0] == [alone.exit_code, knowing.exit_code]


def test_a_route_that_moved_away_is_told(tmp_path, log):
    """It would be a 404."""
    done = checked(tmp_path, log, config("/other", ""))

    assert "allow -> deny no_route" in done.output
    assert "read -> -:" in done.output
    assert 1 == done.exit_code


def test_a_log_that_is_no_text_is_left_out(tmp_path):
    """Whatever is in the file."""
    path = tmp_path / "log"
    path.write_bytes(b"\xff\xfe\n" + json.dumps([1]).encode())
    done = checked(tmp_path, path, config("/read", ""))

    assert 0 == done.exit_code
    assert "0 requests" in done.output
