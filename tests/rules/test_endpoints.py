import pytest

from gateway.rules.endpoints import is_loopback, is_plain, secure_endpoint


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


def test_an_operator_may_vouch_for_a_plain_wire():
    """A service mesh encrypts below; nothing else is let through by that."""
    url = "http://op.svc.cluster.local/userinfo"

    assert url == secure_endpoint(url, plain_http=True)
    for bad in ("ftp://op.svc/", "http://u:p@op.svc/", "http:///", "//op.svc/"):
        with pytest.raises(ValueError, match="expected a"):
            secure_endpoint(bad, plain_http=True)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://op.svc/keys", True),
        ("https://op.svc/keys", False),
        ("http://127.0.0.1/keys", False),
    ],
)
def test_a_plain_wire_is_told_from_loopback(url, expected):
    """There is none on loopback."""
    assert expected is is_plain(url)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("::1", True), ("127.0.0.1", True), ("::ffff:10.0.0.1", False), ("op", False)],
)
def test_loopback_is_this_machine(host, expected):
    """By name or address."""
    assert expected == is_loopback(host)
