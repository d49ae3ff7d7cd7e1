import re

import pytest

from gateway.app import registry
from gateway.config.load import load
from tests.benchmarks.lineup import (
    GATEWAY,
    INTERPRETED,
    PEERS,
    PEERS_FOLDER,
    QUICK,
    fill,
    find,
)
from tests.benchmarks.loads import STORE_TOKENS
from tests.benchmarks.processes import Cores
from tests.benchmarks.world import Site, Tokens, route_table

TOKENS = Tokens(good="good", bad="bad", jwks="{}")
PORTS = {"port": "20001", "status_port": "20002", "admin_port": "20003"}


@pytest.fixture
def site(tmp_path):
    """A site with nothing started."""
    return Site(tmp_path, Cores("0", "1", 1), TOKENS)


def test_text_is_filled_in_and_dollars_stay():
    """`$` means something to nginx, and `@` alone to Caddy."""
    assert "$host @x 8080" == fill("$host @x @{port}", {"port": "8080"})


def test_missing_value_is_an_error():
    """A peer must not start with a hole in its settings."""
    with pytest.raises(KeyError):
        fill("@{port}", {})


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_settings_of_every_peer_can_be_filled_in(peer, site):
    """Every place in a settings file has a value of the site."""
    values = {**site.values, **peer.values, **PORTS}
    text = (PEERS_FOLDER / peer.settings).read_text() if peer.settings else ""

    assert not re.search(r"@\{", fill(text, values))


@pytest.mark.parametrize("size", [10, 10_000])
def test_settings_of_the_gateway_are_good(site, size):
    """The benchmark keeps up with the language of configuration."""
    name = f"routes-{size}.yaml"
    (site.folder / name).write_text(route_table(size))
    values = {**site.values, **GATEWAY.values, **PORTS, "routes": name}
    path = site.write(GATEWAY.settings, "gateway.yaml", values)

    loaded = load(path, registry(), {})

    assert size == len(loaded.config.routes)
    assert not loaded.warnings


def test_quick_names_peers_that_there_are():
    """A peer that is renamed must not drop out in silence."""
    assert set(QUICK) <= {peer.name for peer in PEERS}


def test_what_is_missing_is_named():
    """A skipped peer says which program to look for."""
    assert find("/no/such/module.so") is None
    assert find("no-such-program-here") is None
    assert not INTERPRETED.missing()


def test_script_goes_through_as_many_tokens_as_are_taught():
    """A token that was not taught would be a question to the provider."""
    assert f"% {STORE_TOKENS} " in (PEERS_FOLDER / "many.lua").read_text()
