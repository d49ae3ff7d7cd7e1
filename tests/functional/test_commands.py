"""The other commands, run as an operator does: what they print and how they exit."""

import json
import os
import time

import pytest

from tests.functional.harness import ADMIN_TOKEN, ROOT, bearer, command
from tests.functional.lab import sign
from tests.functional.partner import Partner

DEMO = ROOT / "config" / "gateway.yaml"
SECRETS = {
    "GATEWAY_SECRET": "a-secret-of-the-functional-tests-0123456789",
    "GATEWAY_ADMIN_TOKEN": ADMIN_TOKEN,
    "MELON_JWT_KEY": "a-melon-key-of-the-functional-tests-0123456789",
    "NUGU_JWT_KEY": "a-nugu-key-of-the-functional-tests-0123456789",
    "OTTM_API_BASE": "http://127.0.0.1:9100/ottm",
    "SANDBOX_URL": "http://127.0.0.1:9100",
}


@pytest.fixture(scope="module")
def environ():
    """What the demo's configuration asks for."""
    return {**os.environ, **SECRETS}


@pytest.fixture(scope="module")
def base(gateway):
    """The running gateway's main door."""
    return f"http://127.0.0.1:{gateway.ports.proxy}"


@pytest.fixture(scope="module")
def desk(gateway):
    """The options that lead to its admin listener."""
    return ("--admin", f"http://127.0.0.1:{gateway.ports.admin}")


# ------------------------------------------------------------------ configuration


def test_check_says_that_a_good_file_is_good(environ):
    """Exit code 0, with what was understood."""
    done = command("check", "-c", str(DEMO), environ=environ)

    assert 0 == done.returncode
    assert "good: " in done.stdout
    assert "3 providers" in done.stdout
    assert not any(secret in done.stdout for secret in list(SECRETS.values())[:4])


def test_check_tells_every_problem_in_one_go(tmp_path, environ):
    """Exit code 1; each line names file, line, key and what was expected."""
    text = DEMO.read_text()
    slips = {
        "realm: melon": ("relm: melon", "unknown key (did you mean `realm`?)"),
        "cache: {ttl: 60s}": ("cache: {ttl: a while}", "expected a duration"),
        "upstream: ottm}": ("upstream: otto}", "expected a known upstream"),
    }
    for right, (wrong, _) in slips.items():
        text = text.replace(right, wrong, 1)
    bad = tmp_path / "bad.yaml"
    bad.write_text(text)

    done = command("check", "-c", str(bad), environ=environ)

    *problems, count = done.stderr.splitlines()
    assert (1, "") == (done.returncode, done.stdout)
    assert "3 problems." == count
    for problem, (wrong, told) in zip(problems, slips.values(), strict=True):
        assert problem.startswith(f"{bad}:{line_of(text, wrong)}: ")
        assert told in problem


def test_check_tells_what_no_request_can_meet(tmp_path, environ):
    """A route that asks for a scope which its provider does not grant."""
    text = DEMO.read_text().replace("[user-like-read]", "[user-like-raed]")
    bad = tmp_path / "bad.yaml"
    bad.write_text(text)

    done = command("check", "-c", str(bad), environ=environ)

    number = line_of(text, "user-like-raed")
    assert 1 == done.returncode
    assert f"{bad}:{number}: routes[3].require.scopes[0]: " in done.stderr


def line_of(text: str, sign: str) -> int:
    """The number of the first line with these words."""
    lines = text.splitlines()
    return next(number for number, line in enumerate(lines, 1) if sign in line)


def test_run_refuses_a_bad_file_as_check_does(tmp_path, environ):
    """A bad configuration never starts, and says why."""
    bad = tmp_path / "bad.yaml"
    bad.write_text("version: 2\n")

    done = command("run", "-c", str(bad), environ=environ)

    assert 1 == done.returncode
    assert f"{bad}:1: version" in done.stderr


def test_a_missing_secret_is_named(environ):
    """By the variable's name, at the line that asks for it."""
    lacking = {name: value for name, value in environ.items() if name != "NUGU_JWT_KEY"}

    done = command("check", "-c", str(DEMO), environ=lacking)

    number = line_of(DEMO.read_text(), "NUGU_JWT_KEY")
    assert 1 == done.returncode
    assert f"{DEMO}:{number}: " in done.stderr
    assert "${env:NUGU_JWT_KEY} is not set" in done.stderr


def test_routes_lists_what_was_understood(environ):
    """One line each: methods, host, path, provider, what it needs, where it goes."""
    done = command("routes", "-c", str(DEMO), environ=environ)

    rows = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert 0 == done.returncode
    assert "ID METHODS HOST PATH PROVIDER NEEDS UPSTREAM" == rows[0]
    assert (
        "melon-likes-read GET melon.localhost /oauth/likes melon user-like-read melon"
    ) in rows
    assert (
        "nugu-device GET nugu.localhost /v1/devices/me nugu a valid token nugu"
    ) in rows


def test_init_writes_a_file_that_is_good_and_never_overwrites(tmp_path, environ):
    """A configuration to start from."""
    path = tmp_path / "mine.yaml"

    first = command("init", str(path), environ=environ)
    again = command("init", str(path), environ=environ)
    needed = {**environ, "INTROSPECTION_SECRET": "a-secret"}
    checked = command("check", "-c", str(path), environ=needed)

    assert [0, 1, 0] == [each.returncode for each in (first, again, checked)]
    assert "nothing was written" in again.stderr
    assert "good: " in checked.stdout


def test_schema_is_the_one_in_the_repository(environ):
    """`config/schema.json` is generated."""
    done = command("schema", environ=environ)

    assert 0 == done.returncode
    assert json.loads((ROOT / "config" / "schema.json").read_text()) == (
        json.loads(done.stdout)
    )


# --------------------------------------------------------------------- the running


def test_token_prints_the_access_token_alone(gateway, base):
    """Ready for `T=$(gateway token …)`."""
    done = command(
        "token", "--provider", "melon", "--scope", "streaming", "--base", base
    )
    melon = Partner("melon", gateway)
    token = done.stdout.removesuffix("\n")
    stream = melon.ask("GET", "/oauth/delivery/streaming_path.json", token=token)

    assert (0, "") == (done.returncode, done.stderr)
    assert 200 == stream.status
    assert 403 == melon.ask("GET", "/oauth/likes", token=token).status


@pytest.mark.parametrize("provider", ["nugu", "ottm"])
def test_token_can_give_the_whole_answer(base, provider):
    """`--json`: what the provider's token endpoint said."""
    done = command("token", "--provider", provider, "--base", base, "--json")

    answer = json.loads(done.stdout)
    assert 0 == done.returncode
    assert {"access_token", "token_type", "refresh_token", "expires_in"} <= set(answer)


def test_token_tells_what_the_provider_said(base):
    """Exit code 1 and the provider's own words."""
    done = command(
        "token", "--provider", "ottm", "--scope", "everything", "--base", base
    )

    assert (1, "") == (done.returncode, done.stdout)
    assert "10071" in done.stderr


def test_revoke_and_explain(gateway, desk, environ):
    """Revoked from the command line; explained why, without showing the token."""
    ottm = Partner("ottm", gateway)
    token = ottm.token()
    ask = ("explain", "GET", "http://ottm.localhost/membership/v1/me")
    read = ("--token-file", "-")

    before = command(*ask, *read, *desk, environ=environ, typed=token)
    revoked = command(
        "revoke", "--provider", "ottm", *read, *desk, environ=environ, typed=token
    )
    after = command(*ask, *read, *desk, environ=environ, typed=token)

    assert [0, 0, 0] == [each.returncode for each in (before, revoked, after)]
    assert "allow" == json.loads(before.stdout)["decision"]
    told = json.loads(after.stdout)
    assert ("deny", "revoked") == (told["decision"], told["reason"])
    assert "ottm-me" == told["route"]["id"]
    assert 400 == ottm.ask("GET", "/membership/v1/me", token=token).status
    for done in (before, revoked, after):
        assert token not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("option", "claim"),
    [
        ("--subject", "sub"),
        ("--client", "client_id"),
        ("--session", "sid"),
        ("--token-id", "jti"),
    ],
)
def test_revoke_by_name(lab_gateway, option, claim):
    """Everything of that name up to now; others and later ones are let in."""
    name, now = f"the-revoked-{claim}", time.time()  # noqa: TID251 -- the real clock
    theirs = bearer(sign(300, **{claim: name, "iat": now - 10}))
    others = bearer(sign(300, iat=now - 10))
    later = bearer(sign(300, **{claim: name, "iat": now + 30}))
    assert 200 == lab_gateway.ask("GET", "/page/x", theirs).status

    done = command(
        *("revoke", "--provider", "lab", option, name),
        *("--admin", f"http://127.0.0.1:{lab_gateway.ports.admin}"),
        environ={**os.environ, "GATEWAY_ADMIN_TOKEN": ADMIN_TOKEN},
    )

    assert 0 == done.returncode
    assert name == json.loads(done.stdout)["name"]
    assert 401 == lab_gateway.ask("GET", "/page/x", theirs).status
    assert 200 == lab_gateway.ask("GET", "/page/x", others).status
    # A token id is one token, whenever that was made.
    expected = 401 if claim == "jti" else 200
    assert expected == lab_gateway.ask("GET", "/page/x", later).status


def test_explain_decides_by_a_file_as_well(environ):
    """Nothing needs to run."""
    url = "http://melon.localhost/oauth/likes"

    done = command("explain", "GET", url, "-c", str(DEMO), environ=environ)

    told = json.loads(done.stdout)
    assert ("deny", "no_credentials") == (told["decision"], told["reason"])
    assert 401 == told["answer"]["status"]


def test_the_admin_listener_wants_its_token(gateway, desk, environ):
    """A wrong one is refused; the command says so and exits with 1."""
    wrong = {**environ, "GATEWAY_ADMIN_TOKEN": "wrong-wrong-wrong-wrong"}

    done = command(
        "revoke", "--provider", "melon", "--subject", "a", *desk, environ=wrong
    )

    assert 1 == done.returncode
    assert "401" in done.stderr
    assert "wrong-wrong" not in done.stderr


def test_health(gateway):
    """0 when ready, with the parts; 1 where nobody answers."""
    url = f"http://127.0.0.1:{gateway.ports.status}"

    well = command("health", "--url", url)
    nobody = command("health", "--url", "http://127.0.0.1:9")

    assert (0, 1) == (well.returncode, nobody.returncode)
    assert well.stdout.endswith("ready\n")
    assert "did not answer" in nobody.stderr
