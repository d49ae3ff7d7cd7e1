import ipaddress

import pytest

from gateway.rules.forwarded import TrustedProxies

PROXIES = TrustedProxies(
    [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")]
)


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("fd00::1", True),
        ("192.0.2.1", False),
        ("unix", False),
    ],
)
def test_trust_is_by_network(address, trusted):
    """An IPv4 address is the same in its IPv6 dress; a non-address is nobody."""
    assert trusted is PROXIES.trusts(address)


def test_a_socket_is_trusted_only_by_its_word():
    """It is in no network, however large; and its word trusts no address."""
    proxies = TrustedProxies(["unix"])

    assert proxies
    assert not TrustedProxies()
    assert proxies.trusts("unix")
    assert not proxies.trusts("10.1.2.3")
    assert not proxies.trusts("")
    assert "10.1.2.3" == proxies.client([(b"x-forwarded-for", b"unix, 10.1.2.3")])


@pytest.mark.parametrize(
    ("told", "client"),
    [
        ([b"192.0.2.7"], "192.0.2.7"),
        ([b"6.6.6.6, 192.0.2.7, 10.0.0.2"], "192.0.2.7"),
        ([b"6.6.6.6", b"192.0.2.7 ,\t10.0.0.2"], "192.0.2.7"),
        ([b"10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ([b"2001:db8::1"], "2001:db8::1"),
        ([b"6.6.6.6, garbage, 10.0.0.2"], "10.0.0.2"),
        ([b"garbage"], None),
        ([b"1.2.3.4:80"], None),
        ([], None),
    ],
)
def test_the_client_is_the_rightmost_untrusted_address(told, client):
    """What a client wrote to the left of it changes nothing."""
    headers = [(b"x-forwarded-for", value) for value in told]

    assert client == PROXIES.client(headers)


@pytest.mark.parametrize(
    ("told", "scheme"),
    [
        ([b"https"], "https"),
        ([b"https, http"], "http"),
        ([b"http", b"HTTPS"], "https"),
        ([b"gopher"], None),
        ([], None),
    ],
)
def test_the_scheme_is_the_last_proxys_word(told, scheme):
    """An unknown scheme is no word at all."""
    headers = [(b"x-forwarded-proto", value) for value in told]

    assert scheme == PROXIES.scheme(headers)


def test_by_default_nobody_is_trusted():
    """An empty list trusts nobody, and says so."""
    nobody = TrustedProxies()

    assert not nobody
    assert PROXIES
    assert not nobody.trusts("127.0.0.1")
    assert repr(PROXIES) == "<TrustedProxies: 2 networks>"
