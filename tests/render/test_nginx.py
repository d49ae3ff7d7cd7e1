"""Proves what is particular to nginx; the real one runs in tests/engines."""

from gateway.render import nginx
from tests.render.sites import site


def conf(**changes: str) -> str:
    """Render a site."""
    return nginx.render(site(**changes))["nginx.conf"]


def test_the_answer_names_the_location():
    """Nginx matches no path by itself."""
    text = conf()

    assert "try_files /.token-gateway/nothing @to_$gateway_upstream;" in text
    assert "location @to_api {" in text
    assert "proxy_pass http://api$gateway_target;" in text
    assert 1 == text.count("location / {")


def test_a_header_of_ours_is_the_answers_or_empty():
    """An empty value is not sent."""
    text = conf()

    assert "proxy_set_header X-Auth-Subject $gateway_x_auth_subject;" in text
    assert "proxy_set_header Authorization $gateway_authorization;" in text
    assert 'proxy_set_header X-Original-Url "";' in text


def test_no_log_has_a_target_with_its_query():
    """A token may be there; error messages quote whole requests."""
    text = conf()

    assert "error_log stderr alert;" in text
    assert "$request_uri" not in text.partition("log_format")[2].partition("\n")[0]
    assert "$request " not in text


def test_tunnels_and_other_origins_go_to_the_gateway():
    """It ends the ones, and answers for the others."""
    plain = conf()
    both = conf(route='upgrades: [websocket], cors: {origins: ["https://app.example"]}')

    assert "418" not in plain
    assert "if ($gateway_tunnel) { return 418; }" in both
    assert "if ($http_origin) { return 418; }" in both


def test_tls_is_proven():
    """To the name that the target must have."""
    text = conf(upstream='targets: ["https://api.internal"]')

    assert "proxy_pass https://api$gateway_target;" in text
    assert "proxy_ssl_verify on;" in text
    assert "proxy_ssl_name api.internal;" in text
    assert "proxy_ssl_verify" not in conf()


def test_the_host_and_a_socket_of_an_upstream():
    """As our own relay asks it."""
    text = conf(upstream='targets: ["unix:/run/api.sock"], host: api.internal')

    assert "server unix:/run/api.sock" in text
    assert 'proxy_set_header Host "api.internal";' in text


def test_hosts_are_named_unless_there_is_one_for_any():
    """So the file tells what it is for."""
    anywhere = "- {id: b, match: {path: /b}, access: public, upstream: api}"

    assert "server_name a.example;" in conf()
    assert "server_name _;" in conf(more=anywhere)


def test_without_a_listener_to_take_over_nothing_is_handed_to_it():
    """And it is told."""
    surveyed = site(listen="proxy_protocol: [10.0.0.0/8]")

    assert "@token_gateway" not in nginx.render(surveyed)["nginx.conf"]
    assert any("421" in each for each in nginx.warnings(surveyed))


def test_decisions_are_kept_only_where_the_configuration_dares():
    """In memory, under everything that they depend on."""
    device = "provider: p, require: {device: {header: Device-Serial-Number}}"
    more = f"- {{id: b, match: {{path: /b}}, upstream: api, {device}}}"
    kept = conf(more=more, rest="decisions: {max_age: 5s}")

    assert "proxy_cache" not in conf()
    assert "proxy_cache_path /dev/shm/" in kept
    assert (
        r'proxy_cache_key "$scheme\n$request_method\n$http_host\n$request_uri\n'
        r'$http_authorization\n$http_referer\n$http_device_serial_number";'
    ) in kept
    assert "proxy_set_header X-Request-Id $request_id;" in kept
