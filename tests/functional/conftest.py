"""Processes that many tests share: each takes a second to start."""

import os

import pytest

from gateway.app import SystemClock
from gateway.demo import Ports as DemoPorts
from gateway.demo import environment
from gateway.sandbox import app
from gateway.sandbox.keys import SandboxKeys
from tests.functional.harness import (
    ADMIN_TOKEN,
    ROOT,
    Backstage,
    Gateway,
    Ports,
    free_ports,
    running,
)
from tests.functional.lab import config, open_laboratory


@pytest.fixture(scope="session")
def backstage():
    """A loop for the servers behind the gateways."""
    stage = Backstage()
    yield stage
    stage.close()


@pytest.fixture(scope="session")
def keys():
    """The providers' keys, known to the tests as well."""
    return SandboxKeys.generate()


@pytest.fixture(scope="session")
def sandbox(backstage, keys):
    """The three providers and their APIs."""
    world = backstage.run(app.start(port=0, keys=keys, clock=SystemClock()))
    yield world
    backstage.run(world.close())


@pytest.fixture(scope="session")
def start_demo(sandbox, tmp_path_factory):
    """Start gateways with the demo's configuration in front of the one sandbox."""

    def start(store: str = "memory://", **changes: str) -> Gateway:
        ports = free_ports()
        places = DemoPorts(**{**ports._asdict(), "sandbox": sandbox.port})
        environ = {
            **environment(places, sandbox, store),
            "GATEWAY_ADMIN_TOKEN": ADMIN_TOKEN,
            **changes,
        }
        return Gateway(
            ["run", "-c", str(ROOT / "config" / "gateway.yaml")],
            ports=ports,
            environ=environ,
            folder=tmp_path_factory.mktemp("gateway"),
        )

    return start


@pytest.fixture(scope="session")
def start_lab(tmp_path_factory):
    """Start gateways with a configuration of the test's own."""

    def start(
        text: str,
        ports: Ports | None = None,
        authz: int = 0,
        authz_grpc: int = 0,
        **environ: str,
    ) -> Gateway:
        ports, folder = ports or free_ports(), tmp_path_factory.mktemp("lab")
        doors = {"authz": authz, "authz_grpc": authz_grpc}
        asked = "".join(
            f', {name}: "127.0.0.1:{port}"' for name, port in doors.items() if port
        )
        (folder / "lab.yaml").write_text(
            "version: 1\n"
            f'listen: {{proxy: "127.0.0.1:{ports.proxy}",'
            f' status: "127.0.0.1:{ports.status}", admin: "127.0.0.1:{ports.admin}"{asked}}}\n'
            "secret: a-secret-of-the-functional-tests-0123456789\n"
            f"admin: {{token: {ADMIN_TOKEN}}}\n" + text
        )
        return Gateway(
            ["run", "-c", "lab.yaml"],
            ports=ports,
            environ={**os.environ, **environ},
            folder=folder,
        )

    return start


@pytest.fixture(scope="session")
def gateway(start_demo):
    """`gateway run` with the demo's configuration."""
    with running(start_demo()) as process:
        yield process


@pytest.fixture(scope="session")
def lab(backstage):
    """The upstream that does what a test wants."""
    with open_laboratory(backstage) as upstream:
        yield upstream


@pytest.fixture(scope="session")
def lab_gateway(start_lab, lab):
    """`gateway run` in front of the laboratory."""
    with running(start_lab(config(lab))) as process:
        yield process
