"""Proves what engines are told of a configuration, and what is in step with it."""

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

import gateway.render
from gateway.config.addresses import Address
from gateway.config.load import load
from gateway.errors import ConfigError
from gateway.plugins import plugins, registry
from gateway.render._site import listening, survey
from tests.render.sites import site

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
ENGINES: dict[str, Any] = plugins(gateway.render)
MIXED = 'targets: ["http://127.0.0.1:1", "https://127.0.0.1:2"]'
ADDRESS = 'targets: ["https://192.0.2.7:8443"]'
NAMES = 'targets: ["https://a.example", "https://b.example"]'


@pytest.mark.parametrize("engine", ENGINES)
def test_the_examples_are_what_is_rendered(engine):
    """After a change: make render."""
    environ = {**os.environ, "GATEWAY_SECRET": "0" * 32, "ACME_SECRET": "none"}
    config = load(DEPLOY / "engines.yaml", registry(), environ).config
    surveyed = survey(config, listen=Address("0.0.0.0", 8000), gateway=None)
    folder = DEPLOY / engine

    rendered = ENGINES[engine].render(surveyed)
    assert {path.name: path.read_text() for path in folder.iterdir()} == rendered


@pytest.mark.parametrize("engine", ENGINES)
def test_no_secret_is_rendered(engine):
    """The files are for reading, and for repositories."""
    files = ENGINES[engine].render(site())

    assert "a-key-of-more" not in "".join(files.values())


@pytest.mark.parametrize("engine", ENGINES)
def test_a_door_that_is_not_open_is_asked_for(engine):
    """An engine without anybody to ask would be worth nothing."""
    closed = msgspec.structs.replace(site(), authz=None, authz_grpc=None)

    with pytest.raises(ConfigError, match=r"listen\.authz.*: expected an address"):
        ENGINES[engine].render(closed)


@pytest.mark.parametrize("engine", ENGINES)
def test_targets_of_two_schemes_are_refused(engine):
    """An engine speaks TLS to all of an upstream, or to none."""
    with pytest.raises(ConfigError, match="expected all of them https, or none"):
        ENGINES[engine].render(site(upstream=MIXED))


@pytest.mark.parametrize("targets", [NAMES, ADDRESS], ids=["names", "address"])
@pytest.mark.parametrize("engine", ENGINES)
def test_targets_without_one_name_are_refused(engine, targets):
    """What a certificate must prove could not be said."""
    with pytest.raises(ConfigError, match="expected a server_name"):
        ENGINES[engine].render(site(upstream=targets))


@pytest.mark.parametrize("engine", ENGINES)
def test_what_an_engine_cannot_see_to_is_told(engine):
    """On standard error, by the command."""
    surveyed = site(route="end_with_token: true")

    assert any("end_with_token" in each for each in ENGINES[engine].warnings(surveyed))
    assert not any("end_with" in each for each in ENGINES[engine].warnings(site()))


@pytest.mark.parametrize("engine", ["traefik", "caddy"])
def test_tokens_in_the_query_are_told_of_where_they_are_refused(engine):
    """These cannot take them out."""
    surveyed = site(route="token_from: [header, query]")

    assert any("query" in each for each in ENGINES[engine].warnings(surveyed))


def test_the_gateway_is_where_the_engine_reaches_it():
    """Not where it listens."""
    everywhere = site(listen='proxy: "0.0.0.0:1"')
    elsewhere = site(listen='proxy: "0.0.0.0:1"', gateway="gw.svc")

    assert ("127.0.0.1:1", "127.0.0.1:9092") == (
        str(everywhere.proxy),
        str(everywhere.authz),
    )
    assert ("gw.svc:1", "gw.svc:9092", "gw.svc:9093") == (
        str(elsewhere.proxy),
        str(elsewhere.authz),
        str(elsewhere.authz_grpc),
    )


def test_a_listener_that_wants_a_proxy_header_takes_nothing_over():
    """An engine would not send one."""
    assert site(listen="proxy_protocol: [10.0.0.0/8]").proxy is None


def test_only_what_engines_proxy_is_an_upstream_of_theirs():
    """The token endpoint is the gateway's own business."""
    assert ["api"] == list(site().served)


def test_identity_comes_from_the_answer_or_not_at_all():
    """Every name we own is in one of two lists."""
    surveyed = site()

    assert {"X-Auth-Subject", "X-Auth-Stale", "Authorization"} <= set(surveyed.told)
    assert {"X-Original-Uri", "X-Gateway-Upstream", "Proxy"} <= set(surveyed.blank)
    assert not set(surveyed.told) & set(surveyed.blank)


@pytest.mark.parametrize(("second", "longest"), [("2KiB", 2048), ("0", 0)])
def test_the_longest_body_is_everybodys(second, longest):
    """A shorter one could not be told apart by an engine; 0 is no limit."""
    more = f"{{id: b, match: {{path: /b}}, access: public, upstream: api, body_limit: {second}}}"
    surveyed = site(route="body_limit: 1KiB", more=f"- {more}")
    apis = tuple(route for route in surveyed.routes if route.id != "token")

    assert longest == msgspec.structs.replace(surveyed, routes=apis).longest_body


def test_where_to_listen_is_an_address():
    """As in the configuration."""
    assert Address("0.0.0.0", 80) == listening("0.0.0.0:80")
    with pytest.raises(ConfigError, match="--listen"):
        listening("80")
