from pathlib import Path

import yaml

from gateway.config.load import load
from gateway.plugins import registry
from gateway.render import envoy, nginx
from tests.benchmarks.doors import KEPT, LISTEN, for_one_core, without_log
from tests.benchmarks.lineup import GATEWAY
from tests.benchmarks.processes import Cores
from tests.benchmarks.world import Site, Tokens, route_table
from tests.render.sites import site

PORTS = {"port": "20001", "status_port": "20002", "admin_port": "20003"}


def test_what_is_rendered_can_be_set_up_for_one_core():
    """The benchmark keeps up with what is rendered."""
    kept = site(rest="decisions: {max_age: 5s}")
    conf = for_one_core(nginx.render(kept)["nginx.conf"])

    assert KEPT in conf
    assert "worker_processes 1;" in conf
    assert "access_log off;" in conf
    assert "proxy_cache decisions;" in conf


def test_envoys_log_can_be_taken_out():
    """And nothing else with it."""
    rendered = envoy.render(site())["envoy.yaml"]
    whole, less = yaml.safe_load(rendered), yaml.safe_load(without_log(rendered))
    filters = whole["static_resources"]["listeners"][0]["filter_chains"][0]["filters"]
    filters[0]["typed_config"].pop("access_log")

    assert whole == less


def test_the_gateways_doors_can_be_opened(tmp_path: Path):
    """The benchmark keeps up with the language of configuration."""
    stage = Site(tmp_path, Cores("0", "1", 1), Tokens(good="g", bad="b", jwks="{}"))
    (tmp_path / "routes-10.yaml").write_text(route_table(10))
    doors = LISTEN.format(authz=20004, grpc=20005)
    values = {**stage.values, **GATEWAY.values, **PORTS, "doors": doors}
    path = stage.write(GATEWAY.settings, "gateway.yaml", values)
    config = load(path, registry(), {}).config

    assert ("127.0.0.1:20004", "127.0.0.1:20005") == (
        str(config.listen.authz),
        str(config.listen.authz_grpc),
    )
    assert config.decisions.max_age == 30
