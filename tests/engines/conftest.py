"""The three providers, a gateway that engines ask, and engines in front of both.

These tests run by `make engines`, which installs the engines first: 400 MB of them are
too much for `make test`.
"""

import os
from pathlib import Path

import pytest

from gateway.app import SystemClock
from gateway.demo import Ports as DemoPorts
from gateway.demo import environment
from gateway.sandbox import app
from gateway.sandbox.keys import SandboxKeys
from tests.engines.stage import ENGINES, Running, checked, render
from tests.functional.harness import (
    ADMIN_TOKEN,
    ROOT,
    Backstage,
    Gateway,
    free_ports,
    running,
)
from tests.functional.lab import KEY, open_laboratory

collect_ignore = (
    []
    if os.environ.get("ENGINES")
    else ["test_serving.py", "test_keeping.py", "test_parity.py"]
)

LISTEN = """
  authz: "127.0.0.1:{authz}"
  authz_grpc: "127.0.0.1:{grpc}"
trusted_proxies: [127.0.0.0/8]
"""
PROVIDER = f"""
  lab:
    verify: [jwt]
    jwt: {{algorithms: [HS256], key: "{KEY}"}}
"""
UPSTREAM = """
  lab: {{targets: ["http://127.0.0.1:{port}"]}}
"""
HOST = "lab.localhost"
ROUTES = f"""
  - {{id: lab-music, match: {{host: {HOST}, path: "/music/**"}}, provider: lab, token_from: [header, query], upstream: lab}}
  - {{id: lab-private, match: {{host: {HOST}, path: "/music/private/**"}}, provider: lab, upstream: lab, require: {{scopes: [private]}}}}
  - {{id: lab-bulk, match: {{host: {HOST}, path: "/bulk/**"}}, provider: lab, upstream: lab}}
  - {{id: lab-pass, match: {{host: {HOST}, path: /pass}}, provider: lab, upstream: lab, pass_token: true}}
  - {{id: lab-cut, match: {{host: {HOST}, path: "/cut/**"}}, provider: lab, upstream: lab, strip_prefix: /cut, add_prefix: /new}}
  - {{id: lab-open, match: {{host: {HOST}, path: "/open/**"}}, access: public, upstream: lab}}
  - {{id: lab-socket, match: {{host: {HOST}, path: /socket}}, provider: lab, upstream: lab, upgrades: [websocket]}}
  - {{id: lab-page, match: {{host: {HOST}, path: /page, methods: [GET, PUT]}}, provider: lab, upstream: lab, cors: {{origins: ["https://app.example"]}}}}
"""


@pytest.fixture(scope="session")
def backstage():
    """A loop for the servers behind the gateway."""
    stage = Backstage()
    yield stage
    stage.close()


@pytest.fixture(scope="session")
def sandbox(backstage):
    """The three providers and their APIs."""
    keys = SandboxKeys.generate()
    world = backstage.run(app.start(port=0, keys=keys, clock=SystemClock()))
    yield world
    backstage.run(world.close())


@pytest.fixture(scope="session")
def lab(backstage):
    """An upstream that remembers what it was asked, to the byte."""
    with open_laboratory(backstage) as upstream:
        yield upstream


@pytest.fixture(scope="session")
def config(lab, tmp_path_factory):
    """The demo's configuration and the laboratory's, with both decision doors open."""
    doors = free_ports()
    text = (ROOT / "config" / "gateway.yaml").read_text()
    listen = LISTEN.format(authz=doors.proxy, grpc=doors.status)
    for mark, more in (
        ("\nstore:", listen),
        ("\nupstreams:", PROVIDER),
        ("\nidentity_headers:", UPSTREAM.format(port=lab.port)),
    ):
        before, found, after = text.partition(mark)
        assert found
        text = before.rstrip() + "\n" + more.strip("\n") + found + after
    path: Path = tmp_path_factory.mktemp("config") / "gateway.yaml"
    path.write_text(text.rstrip() + ROUTES)
    return path


@pytest.fixture(scope="session")
def ports():
    """Where the gateway's other listeners are."""
    return free_ports()


@pytest.fixture(scope="session")
def environ(sandbox, ports):
    """What the configuration asks for."""
    places = DemoPorts(**{**ports._asdict(), "sandbox": sandbox.port})
    return {
        **environment(places, sandbox, "memory://"),
        "GATEWAY_ADMIN_TOKEN": ADMIN_TOKEN,
    }


@pytest.fixture(scope="session")
def gateway(config, ports, environ, tmp_path_factory):
    """`gateway run`, in front of the sandbox, with its doors open."""
    process = Gateway(
        ["run", "-c", str(config)],
        ports=ports,
        environ=environ,
        folder=tmp_path_factory.mktemp("gateway"),
    )
    with running(process):
        yield process


@pytest.fixture(scope="session", params=ENGINES)
def engine(request, gateway, config, environ, tmp_path_factory):
    """An engine that serves what was rendered for it."""
    chosen = ENGINES[request.param]
    if missing := chosen.missing():
        pytest.skip(missing)
    folder: Path = tmp_path_factory.mktemp(chosen.name)
    port = free_ports().proxy
    render(chosen, config, folder, port, environ)
    assert not checked(chosen, folder)
    serving = Running(chosen, folder, port)
    try:
        serving.await_open()
        yield serving
    finally:
        serving.stop()
