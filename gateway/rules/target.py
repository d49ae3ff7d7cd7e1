"""Read a request target strictly, once. Floor 2: no network, clock or log.

What is judged is what is sent: a target is never repaired, collapsed or re-encoded,
only accepted as it stands or refused. Refused is whatever two readers could read
differently: fragments, backslashes, controls, bad percent signs, `//`, overlong UTF-8
(`%c0%ae` is a dot to a decoder that is lax), and segments that are or decode to `.` or
`..`, also before `;` parameters (SECURITY §1 B). Other bytes beyond ASCII are opaque.

An encoded slash is accepted here, because routes may allow it; it stays opaque: it
never separates segments. A decoded segment holds a raw `/` if and only if the client
wrote `%2F`, so `rules.routing` can refuse it where the route found does not want it.
"""

import functools
import ipaddress
import re
from typing import Final
from urllib.parse import unquote_to_bytes

from gateway.values import Target

_VISIBLE: Final = bytes(range(0x21, 0x7F))
_PATH_BYTES: Final = _VISIBLE.translate(None, b"#\\")
_QUERY_BYTES: Final = _VISIBLE.translate(None, b"#")
_PLAIN_BYTES: Final = _VISIBLE.translate(None, b"?%;")
# As numbers: a tenth of the time in `in` (this runs on every request).
_PERCENT: Final = ord("%")
_DOT: Final = ord(".")
_BAD_PERCENT: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
# RFC 3629 §3 and §10: controls, backslashes, and forms longer than a character needs.
_NEVER_DECODED: Final = re.compile(
    rb"[\x00-\x1f\x7f\\]"
    rb"|[\xc0\xc1][\x80-\xbf]"
    rb"|\xe0[\x80-\x9f][\x80-\xbf]"
    rb"|\xf0[\x80-\x8f][\x80-\xbf]{2}"
    rb"|\xf8[\x80-\x87][\x80-\xbf]{3}"
    rb"|\xfc[\x80-\x83][\x80-\xbf]{4}"
)

# RFC 9110 §7.2 with RFC 3986 §3.2.2, less what no server is called: escapes,
# sub-delimiters (a comma joins two Host values) and empty labels.
_HOST: Final = re.compile(
    rb"(?:([A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)\.?|\[([0-9A-Fa-f:.]+)\])"
    rb"(?::([0-9]{0,5}))?"
)
_ABSOLUTE: Final = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://([^/?#]*)(.*)", re.DOTALL)


def is_plain(raw: bytes) -> bool:
    """Tell whether a target is nothing but a path, as it is written.

    A query, or what a slip makes of one (`%3F`, `;`), may hold a token, and tokens are
    not for keeping.
    """
    return len(raw) <= 256 and not raw.translate(None, _PLAIN_BYTES)


_familiar: Final[dict[bytes, Target]] = {}
_REMEMBERED: Final = 256


def read_target(raw: bytes) -> Target | None:
    """Do as `parse_target`, and remember those that are plain: clients repeat them."""
    target = _familiar.get(raw)
    if target is None:
        target = parse_target(raw)
        if target is not None and is_plain(raw):
            if len(_familiar) >= _REMEMBERED:
                _familiar.clear()
            _familiar[raw] = target
    return target


def parse_target(raw: bytes) -> Target | None:
    """Read an origin-form target; None means `Reason.BAD_TARGET`.

    The query passes byte for byte, bad percent signs included: no rule reads it as
    a whole, and RFC 9110 §7.7 forbids to touch it.
    """
    path, mark, query = raw.partition(b"?")
    before, *segments = path.split(b"/")
    if (
        before
        or not segments
        or b"" in segments[:-1]
        or path.translate(None, _PATH_BYTES)
        or query.translate(None, _QUERY_BYTES)
    ):
        return None
    encoded = _PERCENT in path
    if encoded:
        if _BAD_PERCENT.search(path) or _NEVER_DECODED.search(unquote_to_bytes(path)):
            return None
        segments = list(map(unquote_to_bytes, segments))
    if (encoded or (_DOT in path and b"/." in path)) and any(map(_is_dotted, segments)):
        return None
    return Target(path, query if mark else None, tuple(segments))


def _is_dotted(segment: bytes) -> bool:
    """Tell whether some reader would take `segment` for a step in the tree."""
    return any(part.partition(b";")[0] in (b".", b"..") for part in segment.split(b"/"))


def has_encoded_slash(target: Target) -> bool:
    """Tell whether a segment holds a slash that does not separate."""
    return any(b"/" in segment for segment in target.segments)


def split_absolute(raw: bytes) -> tuple[bytes, bytes] | None:
    """Part `http://host/path` into its authority and its origin form.

    The authority replaces the Host header (RFC 9112 §3.2.2). None means that this is
    no absolute form of ours: another scheme, or no proper authority. The origin form
    has still to pass `parse_target`.
    """
    found = _ABSOLUTE.fullmatch(raw)
    if found is None:
        return None
    authority, origin_form = found.groups()
    if canonical_host(authority) is None:
        return None
    if origin_form.startswith(b"/"):
        return authority, origin_form
    return authority, b"/" + origin_form


@functools.lru_cache(maxsize=128)
def canonical_host(authority: bytes) -> str | None:
    """Name the host of a Host value; None means that the value is no proper one.

    Lower case, without port and trailing dot; an IPv6 address in its one canonical
    spelling, in brackets. Remembers the last few values: a server hears few names.
    """
    found = _HOST.fullmatch(authority)
    if found is None:
        return None
    name, address, port = found.groups()
    if port and int(port) > 0xFFFF:
        return None
    if name is not None:
        return name.decode().lower() if len(name) <= 255 else None
    try:
        return f"[{ipaddress.IPv6Address(address.decode())}]"
    except ValueError:
        return None


def decode_name(pair: bytes) -> bytes:
    """Give the decoded name of a `name=value` pair: `+` is a space, `%XX` a byte."""
    return decode_form(pair.partition(b"=")[0])


def decode_form(text: bytes) -> bytes:
    """Decode `application/x-www-form-urlencoded` text; bad escapes stay as they are."""
    return unquote_to_bytes(text.replace(b"+", b" "))
