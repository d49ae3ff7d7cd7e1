import struct
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.errors import MessageError
from gateway.wire.proxy_protocol import V2_LIMIT, ProxyHeader, read_proxy_header

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V4 = IPv4Address("203.0.113.7").packed + IPv4Address("10.0.0.1").packed
V6 = IPv6Address("2001:db8::7").packed + IPv6Address("fd00::1").packed
PORTS = struct.pack("!HH", 50000, 8443)
UNIX = b"/run/client".ljust(108, b"\0") + b"/run/gateway".ljust(108, b"\0")


def v2(command: int, family: int, rest: bytes) -> bytes:
    """Write a header of version 2."""
    return SIGNATURE + struct.pack("!BBH", command, family, len(rest)) + rest


HEADERS = [
    (b"PROXY TCP4 203.0.113.7 10.0.0.1 50000 8443\r\n", "203.0.113.7"),
    (b"PROXY TCP4 1.1.1.1 1.1.1.1 0 65535\r\n", "1.1.1.1"),
    (b"PROXY TCP6 2001:DB8::7 fd00::1 50000 8443\r\n", "2001:db8::7"),
    (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", "::ffff:c000:201"),
    (b"PROXY TCP6 %b %b 65535 65535\r\n" % ((b"ffff:" * 7 + b"ffff",) * 2), None),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN 203.0.113.7 10.0.0.1 1 2\r\n", None),
    (b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n", None),
    (v2(0x21, 0x11, V4 + PORTS), "203.0.113.7"),
    (v2(0x21, 0x11, V4 + PORTS + b"\x01\x00\x02h2" + b"junk"), "203.0.113.7"),
    (v2(0x21, 0x21, V6 + PORTS), "2001:db8::7"),
    (v2(0x21, 0x21, V6 + PORTS + bytes(V2_LIMIT - 36)), "2001:db8::7"),
    (v2(0x21, 0x31, UNIX), None),
    (v2(0x21, 0x00, b""), None),
    (v2(0x21, 0x00, b"whatever"), None),
    (v2(0x20, 0x00, b""), None),
    (v2(0x20, 0xFF, b"whatever"), None),
]
HEADERS[4] = (HEADERS[4][0], "ffff:" * 7 + "ffff")


def told(stream: bytes) -> tuple[ProxyHeader, bytes]:
    """Read as a connection does: only what is wanted; gives what is left besides."""
    taken = 0
    while isinstance(wanted := read_proxy_header(stream[:taken]), int):
        assert wanted > 0
        taken += wanted
        assert taken <= len(stream), "it wants what is not the header's"
    return wanted, stream[taken:]


@pytest.mark.parametrize(("header", "source"), HEADERS)
@given(rest=st.binary(max_size=40))
@example(rest=b"GET / HTTP/1.1\r\n")
def test_a_header_names_the_source_and_nothing_behind_it_is_touched(
    header, source, rest
):
    """What follows, a request or a handshake, is not asked for."""
    assert (ProxyHeader(source), rest) == told(header + rest)


@pytest.mark.parametrize("header", [header for header, _ in HEADERS])
@given(data=st.data())
def test_any_part_of_a_header_is_waited_for(header, data):
    """However the network cuts it, no more is wanted than there can be."""
    cut = data.draw(st.integers(0, len(header) - 1))
    wanted = read_proxy_header(header[:cut])

    assert isinstance(wanted, int)
    assert 0 < wanted <= len(header) - cut


@pytest.mark.parametrize(
    "start",
    [
        b"GET / HTTP/1.1\r\n",
        b"G",
        b"\x16\x03\x01\x02\x00",
        b"proxy TCP4 1.1.1.1 1.1.1.1 1 1\r\n",
        b"PROXY\tTCP4",
        b"\r\n\r\n\x00\r\nQUIT\r",
        b"\r\nGET",
        b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\n",
        b"PROXY TCP4 1.1.1.1\r\n",
        b"PROXY TCP4 1.1.1.1\rx",
        b"PROXY TCP4  1.1.1.1 1.1.1.1 1 1\r\n",
        b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1 \r\n",
        b"PROXY TCP4 1.1.1.1 1.1.1.1 01 1\r\n",
        b"PROXY TCP4 1.1.1.1 1.1.1.1 1 65536\r\n",
        b"PROXY TCP4 1.1.1.1 1.1.1.1 -1 1\r\n",
        b"PROXY TCP4 01.1.1.1 1.1.1.1 1 1\r\n",
        b"PROXY TCP4 1.1.1.256 1.1.1.1 1 1\r\n",
        b"PROXY TCP4 1.1.1.1 ::1 1 1\r\n",
        b"PROXY TCP4 ::1 ::1 1 1\r\n",
        b"PROXY TCP6 1.1.1.1 1.1.1.1 1 1\r\n",
        b"PROXY TCP6 fe80::1%eth0 ::1 1 1\r\n",
        b"PROXY UDP4 1.1.1.1 1.1.1.1 1 1\r\n",
        b"PROXY UNKNOWNX\r\n",
        b"PROXY UNKNOWN x\ry\r\n",
        b"PROXY UNKNOWN " + b"x" * 93,
        b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
        v2(0x11, 0x11, V4 + PORTS),
        v2(0x22, 0x11, V4 + PORTS),
        v2(0x21, 0x12, V4 + PORTS),
        v2(0x21, 0x22, V6 + PORTS),
        v2(0x21, 0x32, UNIX),
        v2(0x21, 0x41, UNIX),
        v2(0x21, 0x11, V4),
        v2(0x21, 0x21, V6),
        v2(0x21, 0x31, UNIX[:-1]),
        v2(0x21, 0x11, bytes(V2_LIMIT + 1)),
        v2(0x20, 0x00, bytes(V2_LIMIT + 1)),
        v2(0x20, 0x00, b"") + b"more",
    ],
)
def test_any_doubt_is_an_error(start):
    """A guessed address would be believed."""
    with pytest.raises(MessageError):
        read_proxy_header(start)


@given(st.binary(max_size=300) | st.binary(max_size=300).map(SIGNATURE.__add__))
def test_garbage_is_an_error_or_waited_for_within_bounds(garbage):
    """Never another exception, never a wait without end."""
    try:
        wanted = read_proxy_header(garbage)
    except MessageError:
        return

    if isinstance(wanted, int):
        assert 0 < wanted <= V2_LIMIT
        assert len(garbage) + wanted <= 16 + V2_LIMIT
    else:
        assert wanted.source is None or ip_address(wanted.source).version


@given(st.text("PROXYTCP46UNKW .:0123456789abcdef\r\n", max_size=120))
def test_a_line_is_whole_within_107_bytes_or_refused(text):
    """Version 1 allows no longer one."""
    line = b"PROXY " + text.encode()
    try:
        wanted = read_proxy_header(line)
    except MessageError:
        return

    assert len(line) + (wanted if isinstance(wanted, int) else 0) <= 107
