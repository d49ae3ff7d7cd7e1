import pytest

from gateway.rules.endpoints import is_loopback, secure_endpoint


@pytest.mark.parametrize(
    "url",
    [
        "https://auth.example/token",
        "https://auth.example:8443/token?tenant=a",
        "HTTPS://auth.example/",
        "http://127.0.0.1:9100/token",
        "http://127.8.8.8/",
        "http://[::1]:9100/token",
        "http://localhost/token",
        "http://op.localhost:9100/token",
    ],
)
def test_tls_and_loopback_are_secure(url):
    """The URL comes back as it was written."""
    assert url == secure_endpoint(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/token",
        "auth.example/token",
        "https://",
        "https:///token",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "http://auth.example/token",
        "http://localhost.evil.example/",
        "http://notlocalhost/",
        "http://10.0.0.1/",
        "http://127.1/",
        "http://127.0.0.1@evil.example/",
        "https://user:password@auth.example/",
        "https://auth.example/#fragment",
        "https://auth.example/a b",
        "https://auth.example/\n",
        "https://例え.jp/",
        "https://auth.example:port/",
        "https://auth.example:99999/",
        "https://[::1/",
    ],
)
def test_everything_else_is_refused_in_words(url):
    """A token is a secret; the message says what was expected."""
    with pytest.raises(ValueError, match="expected a"):
        secure_endpoint(url)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("::1", True), ("127.0.0.1", True), ("::ffff:10.0.0.1", False), ("op", False)],
)
def test_loopback_is_this_machine(host, expected):
    """By name or address."""
    assert expected == is_loopback(host)
