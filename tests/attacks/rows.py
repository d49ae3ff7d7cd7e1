"""What one attack by a client is: a line of data. `stage` proves the rest."""

from collections.abc import Iterable
from typing import Final, NamedTuple

HOST: Final = b"Host: books.example\r\n"
READER: Final = b"Authorization: Bearer SECRETr\r\n"
END: Final = b"Connection: close\r\n\r\n"
SMUGGLED: Final = b"GET /public/smuggled HTTP/1.1\r\n" + HOST + b"\r\n"


class Row(NamedTuple):
    """One attack: its bytes, the statuses it hears, and the requests that get through.

    `begun` tells that the upstream hears the beginning of a request, and no end.
    `group` names the kind, `source` who found it; SECURITY.md refers to groups.
    """

    name: str
    data: bytes
    statuses: tuple[int, ...]
    reached: int = 0
    begun: bool = False
    group: str = ""
    source: str = ""


def group(name: str, source: str, *rows: Row | Iterable[Row]) -> list[Row]:
    """Name the kind of some rows, and where it comes from."""
    flat = [row for each in rows for row in ([each] if isinstance(each, Row) else each)]
    return [row._replace(group=name, source=source) for row in flat]


def shown(raw: bytes) -> str:
    """Name bytes; of long ones the beginning and the length."""
    return repr(raw) if len(raw) <= 60 else f"{raw[:30]!r} and so on to {len(raw)}"


def target(raw: bytes, status: int, *, reached: int = 0, token: bool = False) -> Row:
    """Ask for a target by GET."""
    name = f"target {shown(raw)}{' with a token' if token else ''}"
    data = b"GET " + raw + b" HTTP/1.1\r\n" + HOST + (READER if token else b"") + END
    return Row(name, data, (status,), reached)


def lines(
    raw: bytes, status: int, *, path: bytes = b"/public/a", reached: int = 0
) -> Row:
    """Ask with further header lines."""
    data = b"GET " + path + b" HTTP/1.1\r\n" + HOST + raw + b"\r\n" + END
    return Row(f"line {shown(raw)} at {path.decode()}", data, (status,), reached)


def host(raw: bytes, status: int, *, reached: int = 0) -> Row:
    """Ask with these bytes for Host lines."""
    data = b"GET /public/a HTTP/1.1\r\n" + raw + END
    return Row(f"host {shown(raw)}", data, (status,), reached)


def first_line(raw: bytes, *statuses: int, reached: int = 0) -> Row:
    """Begin with this line."""
    return Row(f"begins {shown(raw)}", raw + b"\r\n" + HOST + END, statuses, reached)


def framed(raw: bytes, *statuses: int, body: bytes = b"", reached: int = 0) -> Row:
    """Post with these framing lines, a second request behind the body."""
    data = b"POST /public/a HTTP/1.1\r\n" + HOST + raw + b"\r\n\r\n" + body + SMUGGLED
    return Row(f"framed {shown(raw)} {shown(body)}", data, statuses, reached)


def chunks(raw: bytes, *statuses: int, begun: bool = True) -> Row:
    """Post these bytes as a chunked body, a second request behind it."""
    head = b"POST /public/a HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
    return Row(f"chunks {shown(raw)}", head + raw + SMUGGLED, statuses, begun=begun)


def plain(name: str, *parts: bytes, statuses: tuple[int, ...], reached: int = 0) -> Row:
    """Send these bytes."""
    return Row(name, b"".join(parts), statuses, reached)
