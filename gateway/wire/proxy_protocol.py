"""The PROXY protocol, versions 1 and 2: who a balancer speaks for. Floor 3, no sockets.

The header comes once, before anything else, and only from peers that configuration
trusts (haproxy.org/download/2.9/doc/proxy-protocol.txt). `read_proxy_header` says how
many bytes it still wants, and never wants one that is not the header's: so whoever reads
leaves the rest, a TLS handshake or a request, with the kernel. Any doubt is an error:
an address that was guessed would be believed by rate limits and logs.
"""

import ipaddress
import re
from typing import Final

import msgspec

from gateway.errors import MessageError

V2_LIMIT: Final = 4 * 1024
"""Bytes after a version 2 header's first 16: addresses and everything told besides."""

_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_V2_START: Final = 16
_V1_START: Final = b"PROXY "
_V1_LIMIT: Final = 107
SHORTEST: Final = len(b"PROXY UNKNOWN\r\n")
"""What a header of either version has at least."""

_PORT: Final = rb"(?:0|[1-9][0-9]{0,4})"
_V1_LINE: Final = re.compile(
    rb"PROXY (TCP4|TCP6) ([0-9a-fA-F.:]+) ([0-9a-fA-F.:]+)"
    rb" (%b) (%b)\r\n" % (_PORT, _PORT)
)
_V1_UNKNOWN: Final = re.compile(rb"PROXY UNKNOWN(?: [^\r\n]*)?\r\n")

_LOCAL, _PROXY = 0x20, 0x21
_UNSPECIFIED, _TCP4, _TCP6, _UNIX_STREAM = 0x00, 0x11, 0x21, 0x31
_SIZES: Final = {_UNSPECIFIED: 0, _TCP4: 12, _TCP6: 36, _UNIX_STREAM: 216}
"""What the addresses of each family take: two of them, and ports."""

_IP: Final = {b"TCP4": ipaddress.IPv4Address, b"TCP6": ipaddress.IPv6Address}


class ProxyHeader(msgspec.Struct, frozen=True):
    """A whole header. `source` is the client's address.

    None: the balancer speaks for itself (a health check), or does not know.
    """

    source: str | None


def read_proxy_header(data: bytes) -> ProxyHeader | int:
    """Read what there is of a header: give it, or how many bytes it wants at least.

    Raises `MessageError` as soon as it can only be none.
    """
    if data.startswith(_SIGNATURE):
        return _read_v2(data)
    if data.startswith(_V1_START):
        return _read_v1(data)
    if not _SIGNATURE.startswith(data) and not _V1_START.startswith(data):
        raise MessageError("no PROXY header where one is due")
    return SHORTEST - len(data)


def _read_v1(data: bytes) -> ProxyHeader | int:
    if len(data) < SHORTEST:
        return SHORTEST - len(data)
    ended = data.endswith(b"\n")
    if len(data) + (not ended) > _V1_LIMIT:
        raise MessageError("overlong PROXY line")
    if not ended:
        if b"\r" in data[:-1] or b"\n" in data:
            raise MessageError("malformed PROXY line")
        return 1 if data.endswith(b"\r") or len(data) == _V1_LIMIT - 1 else 2
    if _V1_UNKNOWN.fullmatch(data):
        return ProxyHeader(None)
    match = _V1_LINE.fullmatch(data)
    if match is None or max(int(match[4]), int(match[5])) > 65535:
        raise MessageError("malformed PROXY line")
    try:
        source, _ = (_IP[match[1]](match[at].decode()) for at in (2, 3))
    except ValueError:
        raise MessageError("malformed address in a PROXY line") from None
    return ProxyHeader(str(source))


def _read_v2(data: bytes) -> ProxyHeader | int:
    if len(data) < _V2_START:
        return _V2_START - len(data)
    command, family = data[12], data[13]
    length = int.from_bytes(data[14:16], "big")
    if command not in (_LOCAL, _PROXY) or length > V2_LIMIT:
        raise MessageError("unknown or oversized PROXY header")
    # Of a balancer's own connection, the family and all that follows mean nothing.
    if command == _PROXY and length < _SIZES.get(family, V2_LIMIT + 1):
        raise MessageError("unknown family or too few bytes in a PROXY header")
    if len(data) < _V2_START + length:
        return _V2_START + length - len(data)
    if len(data) > _V2_START + length:
        raise MessageError("bytes that belong to no PROXY header")
    if command == _LOCAL:
        return ProxyHeader(None)
    return ProxyHeader(_v2_source(family, data[_V2_START:]))


def _v2_source(family: int, addresses: bytes) -> str | None:
    # What follows the addresses (TLVs) is of no use to us.
    if family == _TCP4:
        return str(ipaddress.IPv4Address(addresses[:4]))
    if family == _TCP6:
        return str(ipaddress.IPv6Address(addresses[:16]))
    return None
