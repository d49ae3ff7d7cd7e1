"""Request heads as a front would make them."""

from gateway.rules.target import canonical_host, parse_target
from gateway.values import Header, RequestHead


def head(
    method: str = "GET",
    target: bytes = b"/",
    *headers: Header,
    authority: bytes = b"api.example",
    peer: str = "192.0.2.7",
    scheme: str = "http",
) -> RequestHead:
    """Build a head; the target and the authority must be proper ones."""
    parsed, host = parse_target(target), canonical_host(authority)
    assert parsed is not None
    assert host is not None
    return RequestHead(
        method=method,
        target=parsed,
        host=host,
        authority=authority,
        headers=list(headers),
        peer=peer,
        scheme=scheme,
    )
