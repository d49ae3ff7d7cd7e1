from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.target import (
    canonical_host,
    decode_form,
    decode_name,
    has_encoded_slash,
    is_plain,
    parse_target,
    read_target,
    split_absolute,
)
from gateway.values import Target

# Bytes that meet the parser's every branch far more often than random ones do.
SIGNS = b"/ a . .. ; ? % %2e %2F %2f %25 %61 %00 %0a %5C \\ # \x7f \xff %ED"
PIECES = st.sampled_from([*SIGNS.split(), b" ", b"\0"])
TARGETS = st.lists(PIECES, max_size=8).map(lambda parts: b"/" + b"".join(parts))


@pytest.mark.parametrize(
    ("raw", "path", "query", "segments"),
    [
        (b"/", b"/", None, (b"",)),
        (b"/a/b", b"/a/b", None, (b"a", b"b")),
        (b"/a%62/", b"/a%62/", None, (b"ab", b"")),
        (b"/a?", b"/a", b"", (b"a",)),
        (b"/a?b=c?d", b"/a", b"b=c?d", (b"a",)),
        (b"/a?%zz&\\&//../", b"/a", b"%zz&\\&//../", (b"a",)),
        (b"/.well-known/x", b"/.well-known/x", None, (b".well-known", b"x")),
        (b"/...", b"/...", None, (b"...",)),
        (b"/%EB%85%B8", b"/%EB%85%B8", None, ("노".encode(),)),
        (b"/a%2Fb", b"/a%2Fb", None, (b"a/b",)),
        (b"/%252e%252e", b"/%252e%252e", None, (b"%2e%2e",)),
        (b"/a;x=1/b", b"/a;x=1/b", None, (b"a;x=1", b"b")),
        (b"/a%20b", b"/a%20b", None, (b"a b",)),
        # Latin-1, of an API that is older than UTF-8.
        (b"/caf%E9/%C1rea", b"/caf%E9/%C1rea", None, (b"caf\xe9", b"\xc1rea")),
        (b"/%F0%9F%8E%B5", b"/%F0%9F%8E%B5", None, ("🎵".encode(),)),
    ],
)
def test_proper_targets_are_read_and_kept_as_they_are(raw, path, query, segments):
    """Nothing is repaired: the raw form is what came in."""
    target = parse_target(raw)

    assert Target(path, query, segments) == target
    assert raw == target.raw


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"admin",
        b"?x",
        b"*",
        b"http://a/b",
        b"/public/x#/../../admin",
        b"/a?b#c",
        b"/\\admin",
        b"/public%5c..%5cadmin",
        b"/public%5Cadmin",
        b"/public /../admin",
        b"/a?b c",
        b"/a\x00",
        b"/a\x7f",
        b"/a?\x1f",
        b"/a\xff",
        b"/a?\xff",
        b"/%",
        b"/%2",
        b"/%zz",
        b"/%+1",
        b"/admin%00",
        b"/admin%0a",
        b"/admin%0D",
        b"/admin%7f",
        b"//admin",
        b"/public//../admin",
        b"/a//",
        b"/.",
        b"/..",
        b"/public/../admin",
        b"/public/%2e%2e/admin",
        b"/public/.%2E/admin",
        b"/public/./admin",
        b"/public/..;/admin",
        b"/public/.;x=1/admin",
        b"/public/%2e%2e%3bx/admin",
        b"/public/%2f..%2fadmin",
        b"/api/..%2fadmin",
        b"/api/x%2F.;a",
        b"/public/%c0%ae%c0%ae/admin",
        b"/public/%e0%80%ae%e0%80%ae/admin",
        b"/public/%f0%80%80%ae/admin",
        b"/public/%f8%80%80%80%ae/admin",
        b"/public/%fc%80%80%80%80%ae/admin",
        b"/public%c0%afadmin",
        b"/public/%c1%9cadmin",
        b"/%c1%a1dmin",
        b"/%e0%82%b5",
    ],
)
def test_doubtful_targets_are_refused(raw):
    """Whatever two readers could read differently is no target (SECURITY §1 B)."""
    assert parse_target(raw) is None


@given(TARGETS)
def test_what_is_judged_is_what_is_sent(raw):
    """The raw form is the input, and reading it again changes nothing."""
    target = parse_target(raw)
    if target is None:
        return

    assert raw == target.raw
    assert target == parse_target(target.raw)
    assert target.segments == tuple(map(unquote_to_bytes, target.path[1:].split(b"/")))


@given(TARGETS)
def test_no_segment_ever_steps_through_the_tree(raw):
    """Neither decoding nor dropping parameters nor splitting again finds a dot."""
    target = parse_target(raw)
    for segment in target.segments if target else ():
        for part in segment.split(b"/"):
            assert part.partition(b";")[0] not in {b".", b".."}
        assert not set(segment) & {0, 10, 13, 127, ord("\\")}


LEADS = {0xC0: (0x1F, 1), 0xE0: (0x0F, 2), 0xF0: (7, 3), 0xF8: (3, 4), 0xFC: (1, 5)}
"""The bits that a first byte carries, and how many bytes follow it."""


def read_laxly(raw: bytes) -> set[int]:
    """Decode as one does who does not care whether a form is the shortest."""
    found = set()
    for at, byte in enumerate(raw):
        lead = max((each for each in LEADS if each <= byte), default=0)
        bits, count = LEADS.get(lead, (0, 0))
        rest = raw[at + 1 : at + 1 + count]
        if lead and len(rest) == count and all(0x80 <= each < 0xC0 for each in rest):
            code = byte & bits
            for each in rest:
                code = code << 6 | each & 0x3F
            found.add(code)
    return found


@given(
    st.lists(
        st.sampled_from([0x80, 0x81, 0x82, 0x9C, 0xAE, 0xAF, 0xBF, *LEADS, 0xC1, 0xE1]),
        min_size=1,
        max_size=8,
    )
)
def test_no_lax_decoder_finds_what_a_strict_one_does_not(octets):
    """No dot, slash, backslash or control, nor any other character of ASCII."""
    target = parse_target(b"/" + b"".join(b"%%%02X" % octet for octet in octets))

    assert target is None or min(read_laxly(target.segments[0]), default=128) >= 128


@given(st.text(max_size=20))
def test_text_of_any_language_passes(text):
    """In UTF-8, as it is written."""
    target = parse_target(b"/-" + quote(text, safe="").encode())

    assert (target is None) == any(ord(sign) < 32 or sign in "\x7f\\" for sign in text)


@given(st.binary(max_size=30))
def test_any_bytes_are_read_or_refused(raw):
    """No input makes the parser fail."""
    target = parse_target(raw)

    assert target is None or raw == target.raw


def test_encoded_slashes_are_known():
    """A decoded segment holds a slash only where the client encoded one."""
    assert has_encoded_slash(Target(b"/a%2fb", None, (b"a/b",)))
    assert not has_encoded_slash(Target(b"/a/b%252f", None, (b"a", b"b%2f")))


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"http://a.example/x?y", (b"a.example", b"/x?y")),
        (b"HTTPS://a:80", (b"a:80", b"/")),
        (b"http://a?x", (b"a", b"/?x")),
        (b"http://[::1]:80/", (b"[::1]:80", b"/")),
        (b"http://a#b", (b"a", b"/#b")),
        (b"http:///x", None),
        (b"http://u@a/", None),
        (b"http://a,b/", None),
        (b"ftp://a/", None),
        (b"/http://a/", None),
        (b"a:443", None),
    ],
)
def test_absolute_form_is_parted(raw, expected):
    """Only http and https, only a proper authority; the rest is still to be judged."""
    assert expected == split_absolute(raw)


@pytest.mark.parametrize(
    ("authority", "expected"),
    [
        (b"a.example", "a.example"),
        (b"A.EXAMPLE", "a.example"),
        (b"a.example.", "a.example"),
        (b"a.example.:8080", "a.example"),
        (b"a.example:", "a.example"),
        (b"my_service", "my_service"),
        (b"192.0.2.1:80", "192.0.2.1"),
        (b"[::1]", "[::1]"),
        (b"[0:0:0:0:0:0:0:1]:65535", "[::1]"),
        (b"[::FFFF:192.0.2.1]", "[::ffff:c000:201]"),
        (b"", None),
        (b".", None),
        (b"a..b", None),
        (b"a..", None),
        (b":80", None),
        (b"a:b", None),
        (b"a:65536", None),
        (b"a:000080", None),
        (b"a,b", None),
        (b"a b", None),
        (b"u@a", None),
        (b"a/b", None),
        (b"a%41", None),
        (b"a*", None),
        (b"\xff", None),
        (b"a\n", None),
        (b"::1", None),
        (b"[::1", None),
        (b"[1.2.3.4]", None),
        (b"[fe80::1%25eth0]", None),
        (b"a" * 255, "a" * 255),
        (b"a" * 256, None),
    ],
)
def test_hosts_have_one_name(authority, expected):
    """Case, port and one trailing dot do not matter; odd values are no host."""
    assert expected == canonical_host(authority)


def test_pairs_are_decoded_as_forms_are():
    """A plus is a space, a bad escape stays, the value is not the name."""
    assert b"access_token" == decode_name(b"access%5Ftoken=a%5Fb")
    assert b"a b%zz" == decode_form(b"a+b%zz")


@pytest.mark.parametrize(
    ("raw", "plain"),
    [
        (b"/a/b.mp3", True),
        (b"/" + b"a" * 255, True),
        (b"/" + b"a" * 256, False),
        (b"/a?access_token=T", False),
        (b"/a%3Faccess_token=T", False),
        (b"/a;access_token=T", False),
    ],
)
def test_only_what_can_hold_no_token_is_remembered(raw, plain):
    """And what is remembered reads as if it were new."""
    read = read_target(raw)

    assert plain == is_plain(raw)
    assert parse_target(raw) == read
    assert plain is (read_target(raw) is read)


def test_clients_who_make_up_targets_fill_no_memory():
    """Whatever they ask for, so many are remembered and no more."""
    first = read_target(b"/first")

    for number in range(300):
        assert read_target(b"/%d" % number) == parse_target(b"/%d" % number)

    assert read_target(b"/first") == first
    assert read_target(b"/first") is not first
