import asyncio
import contextlib
import os
import re
import shlex
import socket
from pathlib import Path
from urllib.parse import urlsplit

import click
import pytest

from gateway.app import App, SystemClock, registry
from gateway.cli import main
from gateway.client import DEVICE, PROVIDERS, OAuthClient, fetch_token, request
from gateway.config.compile import compile_routes
from gateway.config.load import Loaded, load
from gateway.demo import (
    CannotStart,
    Ports,
    configuration,
    environment,
    lines,
    sandbox,
)
from gateway.observe.logs import Log
from gateway.rules.routing import Routes
from gateway.sandbox.app import Sandbox
from gateway.server import Server
from gateway.values import NoRoute
from gateway.wire.deadlines import Deadlines
from tests.rules.heads import head

TEXT = configuration().read_text()
OTHERS = Ports(proxy=18080, status=19090, admin=19091, sandbox=19100)
API = {
    "melon": ("/oauth/likes", {}),
    "nugu": ("/v1/devices/me", {"Device-Serial-Number": DEVICE}),
    "ottm": ("/membership/v1/benefits", {}),
}
"""A request that each provider's usual token is good for."""


@pytest.fixture
async def world():
    """A sandbox on a free port."""
    async with sandbox(Ports(sandbox=0)) as running:
        yield running


def loaded(world: Sandbox, ports: Ports) -> Loaded:
    """Load the demo's configuration as the demo does."""
    environ = environment(ports, world, "memory://")
    return load(configuration(), registry(), environ)


def printed(ports: Ports, command: str = "gateway") -> str:
    """Give what a newcomer reads."""
    return lines(ports, "an-admin-token", command=command)


# ------------------------------------------------------------------- the configuration


def test_the_configuration_is_the_one_to_read():
    """The demo runs the very file that is the guide to the language."""
    assert Path(__file__).parents[1] / "config" / "gateway.yaml" == configuration()


async def test_the_environment_has_everything_the_configuration_asks_for(world):
    """Every `${env:…}`, those with a default too: ports are the demo's options."""
    settings = re.sub(r"(?m)#.*$", "", TEXT)
    asked = set(re.findall(r"\$\{env:(\w+)", settings))
    given = environment(OTHERS, world, "memory://").keys() - os.environ.keys()

    assert asked - os.environ.keys() <= given
    assert {"GATEWAY_SECRET", "MELON_JWT_KEY", "SANDBOX_URL"} <= asked


async def test_the_options_reach_the_configuration(world):
    """Ports, the store, and where the sandbox is."""
    environ = environment(OTHERS, world, "redis://127.0.0.1:1/0")
    config = load(configuration(), registry(), environ).config

    listen = config.listen
    assert (18080, 19090, 19091) == (
        listen.proxy.port,
        listen.status.port,
        listen.admin.port,
    )
    assert "redis://127.0.0.1:1/0" == config.store.url
    targets = {target for each in config.upstreams.values() for target in each.targets}
    assert {world.port} == {target.port for target in targets}


async def test_each_demo_has_secrets_of_its_own(world):
    """Long enough for the configuration, and never the same."""
    first, second = (environment(Ports(), world, "memory://") for _ in range(2))

    assert first["GATEWAY_SECRET"] != second["GATEWAY_SECRET"]
    assert 32 <= len(first["GATEWAY_SECRET"])


@pytest.mark.parametrize("given", ["", "an-admin-token-of-mine"])
async def test_an_admin_token_in_the_environment_is_kept(world, monkeypatch, given):
    """So that the printed lines stay good over a restart; an empty one is none."""
    monkeypatch.setenv("GATEWAY_ADMIN_TOKEN", given)
    told = environment(Ports(), world, "memory://")["GATEWAY_ADMIN_TOKEN"]

    assert told == given or not given
    assert 16 <= len(told)


# -------------------------------------------------------------------------- the sandbox


async def test_a_busy_port_is_told_with_the_option_to_change_it():
    """Before anything else is started."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotStart) as caught:
            async with sandbox(Ports(sandbox=port)):
                pass

    message = str(caught.value)
    assert f"sandbox: cannot listen on 127.0.0.1:{port}: the port is in use" in message
    assert "--sandbox-port" in message


async def test_the_sandbox_signs_with_the_keys_it_is_given():
    """A gateway in another process must know them; the others are its own."""
    key = "a-key-of-melon-0123456789abcdef0123456789"
    async with sandbox(Ports(sandbox=0), melon=key) as running:
        assert key == running.keys.melon
        assert len(running.keys.nugu) > 30


async def test_the_sandbox_ends_with_its_context():
    """However that is left."""
    with contextlib.suppress(KeyError):
        async with sandbox(Ports(sandbox=0)) as running:
            raise KeyError
    port = running.port
    with socket.socket() as line:
        assert line.connect_ex(("127.0.0.1", port)) != 0


# ------------------------------------------------------------------------------ lines


@pytest.mark.parametrize("ports", [Ports(), OTHERS])
def test_every_printed_command_exists_with_its_options(ports):
    """Parsed as it stands by the command itself; nothing is run."""
    found = re.findall(r"\./it ([^)\n]*)", printed(ports, "./it"))
    assert isinstance(main, click.Group)

    for name, *given in map(shlex.split, found):
        # What the printed `export` puts in the environment.
        secret = ["--admin-token", "t"] if name == "revoke" else []
        command, parent = main.commands[name], main.make_context("it", ["check"])
        with command.make_context(name, [*given, *secret], parent) as context:
            assert context.params.get("provider", "melon") in PROVIDERS
    assert {"token", "revoke", "explain"} == {line.split()[0] for line in found}


def test_only_what_differs_from_the_defaults_is_printed():
    """A newcomer need not wonder what an option is for."""
    usual, moved = printed(Ports()), printed(OTHERS)

    assert "--base" not in usual
    assert "--admin" not in usual
    assert 3 == moved.count("--base http://127.0.0.1:18080")
    assert 4 == moved.count("--admin http://127.0.0.1:19091")


@pytest.mark.parametrize("ports", [Ports(), OTHERS])
def test_every_port_is_printed(ports):
    """And no other."""
    told = printed(ports)
    named = (ports.proxy, ports.status, ports.admin, ports.sandbox)

    assert all(f"http://127.0.0.1:{port}" in told for port in named)
    assert set(map(str, named)) == set(re.findall(r":(\d{4,5})\b", told))


def test_the_lines_run_the_program_they_were_printed_by():
    """In a fresh clone there is no `gateway` on the path."""
    told = printed(Ports(), ".venv/bin/gateway")

    assert 7 == told.count(".venv/bin/gateway ")
    assert not re.search(r"(?<!/)\bgateway (token|revoke|explain)", told)
    assert "export GATEWAY_ADMIN_TOKEN=an-admin-token\n" in told


async def test_every_printed_address_has_a_route(world):
    """With the method it is asked by; the sandbox's and the probes' are their own."""
    routes = Routes(compile_routes(loaded(world, Ports()).config))
    addresses = set(re.findall(r"http://\w+\.localhost[^\s\"]*", printed(Ports())))

    assert 6 <= len(addresses)
    for address in addresses:
        parts = urlsplit(address)
        host, path = (parts.hostname or "").encode(), parts.path.encode()
        assert not isinstance(routes.find(head("GET", path, authority=host)), NoRoute)


# -------------------------------------------------------------------------- the whole


async def test_each_provider_gives_a_token_that_its_api_accepts(world, tmp_path):
    """Through the gateway, consent included; ottm's scope is learned on the way."""
    loop = asyncio.get_running_loop()
    with (tmp_path / "log").open("w") as sink:
        log = Log(sink, SystemClock())
        deadlines = Deadlines(loop)
        app = App(
            loaded(world, Ports(proxy=0, status=0, admin=0)),
            deadlines=deadlines,
            log=log,
        )
        server = Server(app, deadlines)
        try:
            await server.start()
            base = f"http://{server.addresses['proxy']}"
            for name in PROVIDERS:
                assert 200 == await asyncio.to_thread(used, base, name)
        finally:
            await server.close()
            log.close()


def used(base: str, name: str) -> int:
    """Get a provider's token, and use it."""
    token = fetch_token(base, PROVIDERS[name], OAuthClient(), None)["access_token"]
    path, headers = API[name]
    bearer = {"Host": f"{name}.localhost", "Authorization": f"Bearer {token}"}
    return request("GET", base + path, headers=bearer | headers).status
