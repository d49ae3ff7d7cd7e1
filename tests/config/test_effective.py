from pathlib import Path

import pytest

from gateway.app import registry
from gateway.config.effective import HIDDEN, Setting, settings
from gateway.config.load import load

TEXT = """version: 1
secret: a-secret-that-is-long-enough-012345
admin: {token: "${env:ADMIN}"}
store: {url: "redis://user:hunter2@${env:HOST}:6379"}
listen: {proxy: "127.0.0.1:${env:PORT}"}
limits: {connections: "${env:MANY}"}
providers:
  acme:
    verify: [introspection]
    realm: "${env:REALM}"
    introspection:
      url: "https://id.example/introspect?key=in-the-file"
      client_id: api
      client_secret: a-client-secret
  keyed:
    verify: [userinfo]
    any_client: true
    userinfo: {url: "https://id.example/me?key=${env:KEY}"}
upstreams:
  orders: {targets: ["http://127.0.0.1:3000", "dns:http://orders:80"]}
routes:
  - id: read
    match: {path: /orders/**, methods: [POST, GET]}
    provider: acme
    require: {scopes: ["a b", c], clients: [shop, "${env:REALM}"]}
    upstream: orders
"""

ENVIRON = {
    "ADMIN": "an-admin-token-0123456789",
    "HOST": "redis.internal",
    "PORT": "8443",
    "MANY": "77",
    "REALM": "from-the-environment",
    "KEY": "an-api-key-of-somebody",
}


@pytest.fixture
def told(tmp_path: Path) -> dict[str, Setting]:
    """The settings of a configuration that has a bit of everything, by key."""
    path = tmp_path / "gateway.yaml"
    path.write_text(TEXT)
    return {each.key: each for each in settings(load(path, registry(), ENVIRON))}


@pytest.mark.parametrize(
    ("key", "value", "origin", "references"),
    [
        ("version", "1", "gateway.yaml:1", ""),
        ("secret", HIDDEN, "gateway.yaml:2", ""),
        ("admin.token", HIDDEN, "gateway.yaml:3", "${env:ADMIN}"),
        ("store.url", "redis://…@redis.internal:6379", "gateway.yaml:4", "${env:HOST}"),
        ("listen.proxy", "127.0.0.1:8443", "gateway.yaml:5", "${env:PORT}"),
        ("limits.connections", "77", "gateway.yaml:6", "${env:MANY}"),
        ("providers.acme.realm", HIDDEN, "gateway.yaml:10", "${env:REALM}"),
        (
            "providers.acme.introspection.url",
            "https://id.example/introspect?…",
            "gateway.yaml:12",
            "",
        ),
        (
            "providers.acme.introspection.client_secret",
            HIDDEN,
            "gateway.yaml:14",
            "",
        ),
        ("providers.keyed.userinfo.url", HIDDEN, "gateway.yaml:18", "${env:KEY}"),
        ("providers.acme.cache.ttl", "60 s", "", ""),
        ("providers.acme.jwt", "none", "", ""),
        (
            "upstreams.orders.targets",
            "http://127.0.0.1:3000, dns:http://orders:80",
            "gateway.yaml:20",
            "",
        ),
        ("routes[0].match.methods", "GET, POST", "gateway.yaml:23", ""),
        ("routes[0].access", "required", "", ""),
        ("routes[0].pass_token", "false", "", ""),
        ("workers", "1", "", ""),
        # An item that came from outside hides the list.
        ("routes[0].require.clients", HIDDEN, "gateway.yaml:25", "${env:REALM}"),
        ("routes[0].require.scopes", "a b, c", "gateway.yaml:25", ""),
    ],
)
def test_a_value_is_told_with_its_origin(told, key, value, origin, references):
    """As it is in force, where it stands, and what it was expanded from."""
    assert Setting(key, value, origin, references) == told[key]


def test_nothing_secret_is_told(told):
    """Neither a secret nor what came from outside as text."""
    shown = repr(list(told.values()))

    for secret in (
        "a-secret-that-is-long",
        "an-admin-token",
        "hunter2",
        "a-client-secret",
        "in-the-file",
        "an-api-key",
        "from-the-environment",
    ):
        assert secret not in shown


def test_an_included_file_is_named(tmp_path):
    """A route's origin is where somebody would change it."""
    (tmp_path / "more.yaml").write_text(
        "routes:\n  - {id: more, match: {path: /more}, provider: acme, upstream: orders}\n"
    )
    path = tmp_path / "gateway.yaml"
    path.write_text(TEXT + "include: [more.yaml]\n")
    told = {each.key: each for each in settings(load(path, registry(), ENVIRON))}

    assert "more.yaml:2" == told["routes[1].id"].origin


def test_a_text_has_no_file():
    """What was loaded from no file is told by the name it goes by."""
    told = {each.key: each for each in settings(load(TEXT, registry(), ENVIRON))}

    assert "<configuration>:1" == told["version"].origin


def test_a_file_elsewhere_is_named_in_full(tmp_path):
    """Relative to the configuration it would lead nowhere."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    more = tmp_path / "b" / "more.yaml"
    more.write_text(
        "routes:\n  - {id: more, match: {path: /more}, provider: acme, upstream: orders}\n"
    )
    path = tmp_path / "a" / "gateway.yaml"
    path.write_text(TEXT + f'include: ["{more}"]\n')
    told = {each.key: each for each in settings(load(path, registry(), ENVIRON))}

    assert told["routes[1].id"].origin.endswith("more.yaml:2")
