"""What a client asks."""

from dataclasses import dataclass, field
from typing import Final

from gateway.values.words import Header, Notes, Secret, TokenPlace


@dataclass(init=False, repr=False, slots=True)
class Target:
    """A canonical origin-form target: the bytes that are judged and sent.

    `path` begins with a slash and is exactly what the client sent; `query` is what
    followed the first `?`, or None when there was none (`/a?` has an empty query).
    `segments` are the path's parts between raw slashes, percent-decoded once: the
    path `/a%62/` has `(b"ab", b"")`.
    """

    path: Final[bytes]
    query: Final[bytes | None]
    segments: Final[tuple[bytes, ...]]

    def __init__(
        self, path: bytes, query: bytes | None, segments: tuple[bytes, ...]
    ) -> None:
        self.path = path
        self.query = query
        self.segments = segments

    @property
    def raw(self) -> bytes:
        """The target as it goes on a request line."""
        return self.path if self.query is None else self.path + b"?" + self.query


@dataclass(init=False, repr=False, slots=True)
class RequestHead:
    """What every door makes of its wire, and all the rules ever see of a request.

    `host` is canonical: lower case, no port, no trailing dot. `authority` is the Host
    value as received. `peer` is the client's address (behind trusted hops, theirs);
    `scheme` is `http` or `https` as the listener or a trusted hop says. Heads with the
    same header lines, from the same peer, may share their `notes`, all those of one
    connection its `memory`.
    """

    method: Final[str]
    target: Final[Target]
    host: Final[str]
    authority: Final[bytes]
    headers: Final[list[Header]]
    peer: Final[str]
    scheme: Final[str]
    notes: Final[Notes]
    memory: Final[Notes]

    def __init__(  # noqa: PLR0913 -- its fields
        self,
        *,
        method: str,
        target: Target,
        host: str,
        authority: bytes,
        headers: list[Header],
        peer: str,
        scheme: str,
        notes: Notes | None = None,
        memory: Notes | None = None,
    ) -> None:
        self.method = method
        self.target = target
        self.host = host
        self.authority = authority
        self.headers = headers
        self.peer = peer
        self.scheme = scheme
        self.notes = {} if notes is None else notes
        self.memory = {} if memory is None else memory

    def values(self, name: bytes) -> list[bytes]:
        """All values of one header, by lower-case name, in order."""
        return [value for key, value in self.headers if key == name]


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """A bearer token found in a request. It never prints the token.

    `notes` are of the token, and never of another that takes its place (`replace`):
    they spare who finds it again its fingerprint.
    """

    token: Secret
    place: TokenPlace
    notes: Notes = field(default_factory=dict, init=False, compare=False)

    def __repr__(self) -> str:
        return f"Credentials(place={self.place.value})"
