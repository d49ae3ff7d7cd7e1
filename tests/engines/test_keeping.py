"""Real nginx keeps decisions where the configuration dares it, and no others."""

import os
import re
import stat

import pytest

from gateway.demo import Ports as DemoPorts
from gateway.demo import environment
from tests.engines.conftest import HOST
from tests.engines.stage import ENGINES, Running, checked, render
from tests.functional.harness import (
    ADMIN_TOKEN,
    Gateway,
    bearer,
    free_ports,
    running,
)
from tests.functional.lab import sign
from tests.functional.partner import DEVICE, Partner

pytestmark = [pytest.mark.engines, pytest.mark.timeout(120)]

STRICT = """
  - {id: lab-strict, match: {host: lab.localhost, path: "/strict/**"}, provider: lab, upstream: lab, revocation: strict}
decisions: {max_age: 30s}
"""


@pytest.fixture(scope="module")
def places():
    """Where the listeners are of the gateway that lets decisions be kept."""
    return free_ports()


@pytest.fixture(scope="module")
def environ(sandbox, places):
    """What its configuration asks for."""
    ports = DemoPorts(**{**places._asdict(), "sandbox": sandbox.port})
    return {
        **environment(ports, sandbox, "memory://"),
        "GATEWAY_ADMIN_TOKEN": ADMIN_TOKEN,
    }


@pytest.fixture(scope="module")
def daring(config, environ, places, tmp_path_factory):
    """A gateway that lets decisions be kept."""
    folder, doors = tmp_path_factory.mktemp("daring"), free_ports()
    text = re.sub(
        r'authz: "[^"]*"', f'authz: "127.0.0.1:{doors.proxy}"', config.read_text()
    )
    text = re.sub(
        r'authz_grpc: "[^"]*"', f'authz_grpc: "127.0.0.1:{doors.admin}"', text
    )
    (folder / "gateway.yaml").write_text(text.rstrip() + STRICT)
    words = ["run", "-c", str(folder / "gateway.yaml")]
    process = Gateway(words, ports=places, environ=environ, folder=folder)
    with running(process):
        yield process


@pytest.fixture(scope="module")
def kept(daring, tmp_path_factory):
    """The folder where nginx keeps them, in the place of one in memory."""
    return tmp_path_factory.mktemp("kept") / "decisions"


@pytest.fixture(scope="module")
def nginx(daring, environ, kept, tmp_path_factory):
    """nginx, with what was rendered for it."""
    engine = ENGINES["nginx"]
    if missing := engine.missing():
        pytest.skip(missing)
    folder = tmp_path_factory.mktemp("keeping-nginx")
    port = free_ports().proxy
    render(engine, daring.folder / "gateway.yaml", folder, port, environ)
    conf = folder / "nginx.conf"
    text = conf.read_text()
    assert "/dev/shm/token-gateway-decisions" in text  # noqa: S108 -- nginx makes it
    conf.write_text(text.replace("/dev/shm/token-gateway-decisions", str(kept)))  # noqa: S108
    for parent in kept.parents:
        # nginx's workers are somebody else, where root starts it.
        if "pytest" in parent.name or parent == kept.parent:
            parent.chmod(0o755)
    assert not checked(engine, folder)
    serving = Running(engine, folder, port)
    try:
        serving.await_open()
        yield serving
    finally:
        serving.stop()


@pytest.fixture
def questions(daring):
    """Count how often nginx asked since the test began."""
    before = daring.metric("auth_decisions_total", door="nginx")
    return lambda: daring.metric("auth_decisions_total", door="nginx") - before


def test_leave_is_kept(nginx, lab, questions):
    """One question for many requests; each reaches the upstream as its own."""
    token = bearer(sign())
    lab.requests.clear()
    answers = [nginx.ask("GET", "/music/kept", token, host=HOST) for _ in range(5)]

    assert [200] * 5 == [answer.status for answer in answers]
    assert 1 == questions()
    assert 5 == len(lab.requests)
    assert 5 == len({answer.header("X-Request-Id") for answer in answers})
    for _, headers, _ in lab.requests:
        assert (b"X-Auth-Subject", b"ada") in headers


def test_whatever_else_is_asked_about(nginx, questions):
    """Another token, method, target or host."""
    token, other = sign(), sign()
    for method, path, carried, host in (
        ("GET", "/music/one", token, HOST),
        ("GET", "/music/one", other, HOST),
        ("PUT", "/music/one", token, HOST),
        ("GET", "/music/one?", token, HOST),
        ("GET", "/music/two", token, HOST),
        ("GET", "/music/one", token, f"{HOST}:80"),
    ):
        answer = nginx.ask(method, path, bearer(carried), host=host)
        assert 200 == answer.status

    assert 6 == questions()


def test_another_device_is_asked_about(nginx, questions):
    """The token is for one; the key has the header that names it."""
    nugu = Partner("nugu", nginx)
    token = nugu.token()
    before = questions()
    statuses = [
        nugu.ask(
            "GET", "/v1/devices/me", ("Device-Serial-Number", device), token=token
        ).status
        for device in (DEVICE, "ANOTHER", DEVICE)
    ]

    assert [200, 401, 200] == statuses
    assert 2 == questions() - before


def test_a_refusal_is_never_kept(nginx, questions):
    """Who is let in meanwhile must not wait."""
    for _ in range(3):
        assert 401 == nginx.ask("GET", "/music/a", bearer("a.b.c"), host=HOST).status

    assert 3 == questions()


def test_what_was_kept_lives_on_after_a_revocation(nginx, daring, questions):
    """The price, which `check` tells; a strict route does not pay it."""
    token = sign()
    for path in ("/music/price", "/strict/price"):
        assert 200 == nginx.ask("GET", path, bearer(token), host=HOST).status
    daring.revoke("lab", token)

    assert 200 == nginx.ask("GET", "/music/price", bearer(token), host=HOST).status
    assert 401 == nginx.ask("GET", "/strict/price", bearer(token), host=HOST).status


def test_what_is_kept_is_nginxs_alone(nginx, kept):
    """Tokens are in the keys."""
    token = sign()
    nginx.ask("GET", "/music/secret", bearer(token), host=HOST)

    assert 0o700 == stat.S_IMODE(kept.stat().st_mode)
    files = [path for path in kept.rglob("*") if path.is_file()]
    assert any(token.encode() in path.read_bytes() for path in files)
    assert os.fspath(kept) not in nginx.said()
