import dataclasses
from ipaddress import ip_network
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from gateway.config import addresses
from gateway.config.addresses import Address, UnixAddress, origin_of
from gateway.values import Origin


def read(kind: Any, value: object) -> Any:
    """Validate one value."""
    return TypeAdapter(kind).validate_python(value)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", Address("127.0.0.1", 8080)),
        ("localhost:0", Address("localhost", 0)),
        ("[::1]:9090", Address("::1", 9090)),
    ],
)
def test_a_listener_has_a_host_and_a_port(text, address):
    """And is written as it is read."""
    assert address == read(addresses.ListenAddress, text)
    assert text == str(address)


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("http://a", Origin("http", "a", 80)),
        ("https://A.example/", Origin("https", "a.example", 443)),
        ("http://my_service:8080", Origin("http", "my_service", 8080)),
        ("https://[2001:db8::1]:8443", Origin("https", "2001:db8::1", 8443)),
    ],
)
def test_a_target_is_an_origin(text, origin):
    """Its port may go without saying."""
    assert origin == read(addresses.Target, text)
    assert origin == origin_of(text)


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("dns:http://api.default.svc:8080", Origin("http", "api.default.svc", 8080)),
        ("dns:https://A.example", Origin("https", "a.example", 443)),
    ],
)
def test_a_target_may_be_every_address_of_a_name(text, origin):
    """Said in front of it."""
    found = read(addresses.Target, text)

    assert found.resolved
    assert origin == dataclasses.replace(found, resolved=False)


@pytest.mark.parametrize("path", ["/run/app.sock", "/a b/ü", "/" + "a" * 99])
def test_a_target_may_be_a_socket(path):
    """By its absolute path, which the kernel has room for."""
    assert Origin("unix", path, 0) == read(addresses.Target, f"unix:{path}")


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("10.0.0.0/8", ip_network("10.0.0.0/8")),
        ("127.0.0.1", ip_network("127.0.0.1/32")),
        ("fd00::/8", ip_network("fd00::/8")),
        ("unix", "unix"),
    ],
)
def test_a_network_is_what_ipaddress_reads(text, network):
    """An address is a network of one; `unix` is whoever may open our socket."""
    assert network == read(addresses.TrustedNetwork, text)


@pytest.mark.parametrize("text", ["api.example.com", "a:8080", "[::1]:80"])
def test_an_authority_goes_into_a_host_header(text):
    """As it stands."""
    assert text == read(addresses.Authority, text)


@pytest.mark.parametrize("text", ["*", "https://app.example.com", "http://a:8080"])
def test_an_origin_is_serialised_as_browsers_do(text):
    """Compared exactly, so nothing is normalised."""
    assert text == read(addresses.CorsOrigin, text)


@pytest.mark.parametrize("path", ["/run/gateway.sock", "/a b/ü", "/" + "a" * 99])
def test_clients_may_come_by_a_socket(path):
    """By its absolute path; or by host and port, as ever."""
    address = read(addresses.DoorAddress, f"unix:{path}")

    assert UnixAddress(path, 0) == address
    assert isinstance(address, UnixAddress)
    assert f"unix:{path}" == str(address)
    assert Address("::1", 80) == read(addresses.DoorAddress, "[::1]:80")


BAD: dict[str, list[Any]] = {
    "DoorAddress": [
        "8080",
        8080,
        "unix:",
        "unix:/",
        "unix:run/gateway.sock",
        "unix:@abstract",
        "unix:/a\n",
        "unix:/a\0",
        "unix:/" + "a" * 100,
        "unix:/" + "ü" * 60,
        "UNIX:/a",
    ],
    "ListenAddress": ["8080", ":8080", "a:65536", "a b:1", "::1:80", 8080, None],
    "Target": [
        "a:80",
        "ftp://a",
        "http://a/b",
        "http://a?b",
        "http://ada:pw@a",
        "http://a:0",
        "http://a:65536",
        "http://a\n",
        "HTTP://a",
        "dns:a:80",
        "dns:unix:/a",
        "dns://a",
        "unix:a",
        "unix:/a\n",
        "unix:/" + "a" * 100,
        "unix:/" + "ü" * 60,
        5,
    ],
    "TrustedNetwork": ["10.0.0.1/8", "a", "10.0.0.0/33", "0.0.0.0/0", "::/0", "UNIX"],
    "Authority": ["", "http://a", "a b", "a:b", None],
    "ServerName": ["", "a:443", "http://a", "[::1]", "a_b", "-a", None],
    "CorsOrigin": ["https://a/", "a.example", "null", "https://*.a", 5],
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_address_is_told_in_plain_words(name):
    """Every message says what was expected."""
    for value in BAD[name]:
        with pytest.raises(ValidationError) as caught:
            read(getattr(addresses, name), value)

        assert caught.value.errors()[0]["msg"].startswith("expected ")


def test_trusting_everybody_has_a_message_of_its_own():
    """Whoever does it must hear why not."""
    with pytest.raises(ValidationError, match="smaller than the whole Internet"):
        read(addresses.TrustedNetwork, "0.0.0.0/0")
