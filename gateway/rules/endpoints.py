"""Where a token or a secret may be sent. Floor 2: pure.

RFC 7662 §4 and RFC 6750 §5.3 demand TLS towards the provider; the one exception is
loopback, where there is no wire to listen on. An operator may say that the wire is safe
though it does not look so: a service mesh speaks TLS below.
"""

from ipaddress import ip_address
from urllib.parse import urlsplit


def secure_endpoint(url: str, *, plain_http: bool = False) -> str:
    """Give `url` back when it is https, or http on loopback, or `plain_http` will do.

    Raises `ValueError`, which says what was expected.
    """
    if not url.isascii() or not url.isprintable() or " " in url:
        msg = "expected a URL of printable ASCII characters"
        raise ValueError(msg)
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        msg = "expected a URL with a real host and port"
        raise ValueError(msg) from None
    if parts.scheme not in {"http", "https"} or not host:
        msg = "expected an absolute https URL"
        raise ValueError(msg)
    if "@" in parts.netloc or "#" in url:
        msg = "expected a URL without credentials and fragment"
        raise ValueError(msg)
    if parts.scheme == "http" and not plain_http and not is_loopback(host):
        msg = "expected an https URL (plain http is for loopback alone)"
        raise ValueError(msg)
    return url


def is_plain(url: str) -> bool:
    """Tell whether a good endpoint is one that only `plain_http` lets pass."""
    parts = urlsplit(url)
    return parts.scheme == "http" and not is_loopback(parts.hostname or "")


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address is this machine (RFC 6761 §6.3)."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
