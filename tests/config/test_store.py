import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.load import load
from gateway.config.store import (
    Store,
    StoreAccess,
    Topology,
    is_redis,
    parse_store_url,
)
from gateway.errors import ConfigError
from gateway.stores.redis import SCHEMES
from gateway.values import Secret
from tests.config.texts import FRAME, REGISTRY, problems

PASSWORD = "pass-word"


def settings(keys: str) -> Store:
    """Read a store with these keys."""
    registry = replace(REGISTRY, store_schemes=("memory", *SCHEMES))
    return load(f"{FRAME}store: {{{keys}}}\n", registry, {}).config.store


def problem(keys: str) -> str:
    """Give the only problem of a store with these keys, without its line."""
    with pytest.raises(ConfigError) as refusal:
        settings(keys)
    (found,) = refusal.value.problems
    return found.partition(": ")[2]


# --------------------------------------------------------------------------- URLs


def test_a_url_names_a_server_a_database_and_a_user():
    """Escapes stand for what a URL cannot hold."""
    url = parse_store_url("rediss://ada:p%40%2F%3A@cache.example:7000/3")

    assert Topology.SINGLE == url.topology
    assert url.tls
    assert (("cache.example", 7000),) == url.hosts
    assert 3 == url.database
    assert ("ada", "p@/:") == (url.username, url.password)


@pytest.mark.parametrize(
    ("url", "hosts", "database"),
    [
        ("redis://h", (("h", 6379),), 0),
        ("redis://h/", (("h", 6379),), 0),
        ("redis://my_redis:1/0", (("my_redis", 1),), 0),
        ("redis://[::1]", (("::1", 6379),), 0),
        ("redis://[::1]:7/2", (("::1", 7),), 2),
        ("redis+sentinel://a,b:7/svc", (("a", 26379), ("b", 7)), 0),
        ("redis+sentinel://[::1],b/svc/4", (("::1", 26379), ("b", 26379)), 4),
        ("redis+cluster://a,b:7", (("a", 6379), ("b", 7)), 0),
        ("rediss+cluster://a/", (("a", 6379),), 0),
    ],
)
def test_a_port_and_a_database_may_be_left_out(url, hosts, database):
    """The usual ones are meant; sentinels have another port."""
    parsed = parse_store_url(url)

    assert (hosts, database) == (parsed.hosts, parsed.database)
    assert url.startswith("rediss") == parsed.tls


def test_a_service_is_what_sentinels_call_it():
    """No database is one."""
    parsed = parse_store_url("redis+sentinel://:pw@a,b/my-service.1/2")

    assert Topology.SENTINEL == parsed.topology
    assert "my-service.1" == parsed.service
    assert (None, "pw") == (parsed.username, parsed.password)


@pytest.mark.parametrize(
    "url",
    [
        f"redis://u:{PASSWORD}@[::1",
        f"redis://u:{PASSWORD}@",
        f"redis://u:{PASSWORD}/0@host",
        f"redis://{PASSWORD}@host",
        f"redis://u:{PASSWORD}@host:0",
        f"redis://u:{PASSWORD}@host:65536",
        f"redis://u:{PASSWORD}@host:port",
        f"redis://u:{PASSWORD}@a,b",
        f"redis://u:{PASSWORD}@host/x",
        f"rediss://u:{PASSWORD}@host?ssl_cert_reqs=none",
        f"redis://u:{PASSWORD}@host#x",
        f"redis://u:{PASSWORD}@ho st",
        f"redis:u:{PASSWORD}@host",
        f"redis+other://u:{PASSWORD}@host",
        f"redis+sentinel://u:{PASSWORD}@host",
        f"redis+sentinel://u:{PASSWORD}@host/svc/0/1",
        f"redis+cluster://u:{PASSWORD}@host/1",
    ],
)
def test_a_bad_url_is_told_with_its_line_and_never_quoted(url):
    """Nor when it came from outside; `redis://u:p@[::1` was once a traceback."""
    in_file = problems(f'store:\n  url: "{url}"\n')
    from_outside = problems("store: {url: '${env:STORE}'}\n", {"STORE": url})

    line = FRAME.count("\n") + 2
    assert in_file[0].startswith(f"{line}: store.url: expected a URL such as redis")
    assert 1 == len(in_file) == len(from_outside)
    assert PASSWORD not in in_file[0] + from_outside[0]


def test_a_schemes_url_is_its_stores_own_business():
    """Who adds a store need not change this file."""
    assert not is_redis("memory://")
    assert not is_redis("redisx://")
    assert "memory://" == settings("url: 'memory://'").url


secrets = st.text(min_size=1)


@given(secrets, secrets)
def test_any_password_can_be_written_in_a_url(user, password):
    """Percent-encoded, as in every URL."""

    def escaped(text: str) -> str:
        return "".join(f"%{byte:02x}" for byte in text.encode())

    parsed = parse_store_url(f"redis://{escaped(user)}:{escaped(password)}@h")

    assert (user, password) == (parsed.username, parsed.password)


@given(st.text())
def test_every_text_is_taken_apart_or_refused(text):
    """No other failure, whatever somebody writes."""
    parsed = None
    with contextlib.suppress(ValueError):
        parsed = parse_store_url(f"redis://{text}")

    assert parsed is None or all(host for host, _ in parsed.hosts)


# --------------------------------------------------------------------------- keys


def test_what_a_store_needs_to_let_us_in_is_one_value(folder):
    """And it shows no secret."""
    text = (
        f"url: 'rediss+sentinel://a/svc', username: ada, password: {PASSWORD}, "
        f"sentinel_username: eve, sentinel_password: other-{PASSWORD}, "
        f"ca_file: {folder}/ca.pem, "
        f"client_cert: {folder}/cert.pem, client_key: {folder}/key.pem"
    )
    access = settings(text).access()

    assert PASSWORD not in repr(access)
    assert access == StoreAccess(
        username=Secret("ada"),
        password=Secret(PASSWORD),
        sentinel_username=Secret("eve"),
        sentinel_password=Secret(f"other-{PASSWORD}"),
        ca_file=folder / "ca.pem",
        client_cert=folder / "cert.pem",
        client_key=folder / "key.pem",
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("password: x", "store: expected a redis URL, since there is password"),
        (
            "url: 'redis://h', ca_file: {ca}",
            "store: expected a rediss URL, since there is ca_file",
        ),
        (
            "url: 'redis://h', sentinel_password: x",
            "store: expected a redis+sentinel URL, since there is sentinel_password",
        ),
        (
            "url: 'redis://:x@h', username: ada, password: y",
            "store: expected a URL without a password, since there is password",
        ),
        (
            "url: 'redis://h', username: ada",
            "store: expected a password for username",
        ),
        (
            "url: 'redis+sentinel://h/s', sentinel_username: ada",
            "store: expected a sentinel_password for sentinel_username",
        ),
    ],
)
def test_a_key_that_would_do_nothing_is_refused(folder, text, expected):
    """Whoever wrote it believes that it does something."""
    assert expected == problem(text.format(ca=folder / "ca.pem"))


@pytest.mark.parametrize(
    "keys",
    [
        "client_cert: {0}/cert.pem",
        "client_key: {0}/key.pem",
        "client_cert: {0}/cert.pem, client_key: {0}/other.pem",
        "client_cert: {0}/text.pem, client_key: {0}/key.pem",
    ],
)
def test_a_certificate_and_its_key_belong_together(folder, keys):
    """A handshake that fails later tells less."""
    told = problem(f"url: 'rediss://h', {keys.format(folder)}")

    assert told.startswith("store: expected a client_cert and the client_key")


def test_a_file_of_certificates_holds_some(folder):
    """An empty one would trust nobody."""
    told = problem(f"url: 'rediss://h', ca_file: {folder}/text.pem")

    assert told.startswith("store.ca_file: expected a file of certificates (PEM)")
