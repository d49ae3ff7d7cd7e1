"""Proves what is particular to Caddy; the real one runs in tests/engines."""

from gateway.render import caddy
from tests.render.sites import site


def file(**changes: str) -> str:
    """Render a site."""
    return caddy.render(site(**changes))["Caddyfile"]


def test_the_answer_names_the_upstream():
    """Caddy matches no path by itself, and rewrites none."""
    text = file()

    assert "vars gateway_upstream {rp.header.X-Gateway-Upstream}" in text
    assert "@to_api vars gateway_upstream api" in text
    assert "X-Gateway-Target" not in text
    assert "rewrite /caddy?\n" in text


def test_without_an_answer_nobody_is_asked():
    """The last word of the route."""
    assert "respond 503" in file()


def test_a_header_of_ours_is_the_answers_or_taken_out():
    """First out, whatever the client sent."""
    text = file()

    assert text.index("request_header -X-Auth-*") < text.index("{rp.header.X-Auth-")
    assert text.index("request_header -Authorization") < text.index(
        "@has_authorization"
    )
    assert "request_header -*_*" in text


def test_logs_have_no_query_and_no_headers():
    """Where tokens may be."""
    assert 2 == file().count('request>uri regexp "[?].*" ""')
    assert 2 == file().count("request>headers delete")


def test_tunnels_and_other_origins_go_to_the_gateway():
    """It ends the ones, and answers for the others."""
    both = file(route='upgrades: [websocket], cors: {origins: ["https://app.example"]}')

    assert '@tunnel header_regexp Upgrade "(?i)^(websocket)$"' in both
    assert "@cross_origin header Origin *" in both
    assert "reverse_proxy @" not in file().replace("@to_", "")


def test_tls_and_sockets():
    """As our own relay asks."""
    tls = file(upstream='targets: ["https://api.internal"], host: api.example')
    socket = file(upstream='targets: ["unix:/run/api.sock"]')

    assert "tls_server_name api.internal" in tls
    assert 'header_up Host "api.example"' in tls
    assert "to unix//run/api.sock" in socket


def test_without_a_listener_to_take_over_nothing_is_handed_to_it():
    """And it is told."""
    surveyed = site(listen="proxy_protocol: [10.0.0.0/8]")

    assert "@misdirected" not in caddy.render(surveyed)["Caddyfile"]
    assert any("421" in each for each in caddy.warnings(surveyed))


def test_a_socket_of_the_gateway_is_dialled():
    """Caddy has a way of its own to write it."""
    text = file(listen="proxy: 'unix:/run/gateway.sock'")

    assert "reverse_proxy unix//run/gateway.sock {" in text
