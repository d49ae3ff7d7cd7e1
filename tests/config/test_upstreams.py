import pytest
from pydantic_core import PydanticCustomError

from gateway.config.upstreams import parse_status
from tests.config.texts import loaded, told

SECURE = "targets: ['https://a.example']"


def upstream(text: str) -> str:
    """Write a configuration with this upstream."""
    return f"upstreams: {{u: {{{text}}}}}"


def problem(text: str) -> str:
    """Give the one problem of an upstream."""
    [found] = told(upstream(text))
    return found


@pytest.mark.parametrize(
    ("written", "statuses"),
    [("200", (200, 200)), (204, (204, 204)), ("200-399", (200, 399))],
)
def test_a_good_status_is_one_or_a_range(written, statuses):
    """A bare number is one."""
    assert statuses == parse_status(written)


@pytest.mark.parametrize("written", ["2xx", "99", "600", "299-200", "200-", None, True])
def test_no_other_text_is_a_status(written):
    """What is meant cannot be guessed."""
    with pytest.raises(PydanticCustomError, match="expected a status such as 200"):
        parse_status(written)


@pytest.mark.parametrize("path", ["/", "/healthz", "/up?deep=1&x=%20"])
def test_a_health_check_asks_for_a_path(path):
    """With or without a query; the rest has defaults."""
    config = loaded(upstream(f"targets: ['http://a'], health: {{path: '{path}'}}"))
    health = config.config.upstreams["u"].health

    assert health is not None
    assert path == health.path
    assert "200-299" == health.status


@pytest.mark.parametrize(
    "path", ["healthz", "http://a/", "/a b", "/a#b", "/a\\r\\nX: y"]
)
def test_a_health_check_asks_for_nothing_else(path):
    """What would break the request, or never reach the upstream."""
    found = problem(f"targets: ['http://a'], health: {{path: \"{path}\"}}")

    assert found.startswith("upstreams.u.health.path: expected a path that begins")


def test_a_status_that_is_none_is_told_at_its_key():
    """With what may stand there."""
    loaded(upstream("targets: ['http://a'], health: {path: /, status: 204}"))
    text = "targets: ['http://a'], health: {path: /, status: 2xx}"

    assert problem(text).startswith("upstreams.u.health.status: expected a status such")


def test_health_needs_a_path():
    """There is none that all servers have."""
    text = "targets: ['http://a'], health: {interval: 1s}"

    assert "upstreams.u.health.path: expected this key" == problem(text)


def test_a_target_is_given_once():
    """Twice would be twice the work, and half the truth in metrics."""
    text = "targets: ['http://a', 'http://A:80/']"

    assert problem(text).startswith("upstreams.u: expected each target once")


def test_one_name_may_be_one_server_or_several():
    """They are two different targets."""
    loaded(upstream("targets: ['http://a', 'dns:http://a']"))


def test_a_client_certificate_comes_with_its_key(folder):
    """In files that can be used."""
    cert = f"client_cert: {folder}/cert.pem"
    loaded(upstream(f"{SECURE}, {cert}, client_key: {folder}/key.pem"))
    wanted = "upstreams.u: expected a client_cert and the client_key that belongs to it"

    for text in (
        cert,
        f"client_key: {folder}/key.pem",
        f"{cert}, client_key: {folder}/other.pem",
        f"{cert}, client_key: {folder}/text.pem",
        f"client_cert: {folder}/text.pem, client_key: {folder}/key.pem",
    ):
        assert problem(f"{SECURE}, {text}").startswith(wanted)


def test_an_authority_is_a_file_of_certificates(folder):
    """The error names the key."""
    loaded(upstream(f"{SECURE}, ca_file: {folder}/ca.pem"))
    found = problem(f"{SECURE}, ca_file: {folder}/text.pem")

    assert found.startswith("upstreams.u.ca_file: expected a file of certificates")


@pytest.mark.parametrize("target", ["http://a", "dns:http://a", "unix:/a"])
def test_keys_of_tls_want_a_target_that_speaks_it(target):
    """Whoever writes them believes that it does."""
    found = problem(f"targets: ['{target}'], server_name: a.example")

    assert found.startswith("upstreams.u: expected an https target, since there is s")


def test_tls_may_be_spoken_to_some_targets_only():
    """While they are being moved."""
    loaded(upstream("targets: ['http://a', 'dns:https://a'], server_name: a.example"))
