"""Find the route of a request: host, then path, then method. Floor 2.

Compiled once into one trie of path segments for each host pattern, so that the cost
of a look-up follows the length of the request's path, not the number of routes. The
most specific pattern wins: an exact host over the longest `*.suffix` over `*`; at
each segment a literal over `{name}` over `**`, with a way back. Once a path matched,
the method must match too (405); where no path of a host matched, the less specific
hosts are asked.

A path with `;` is read twice, with and without parameters, because servers differ in
whether they drop them (RFC 3986 §3.3); when the two readings find different routes,
the target is refused rather than guessed at.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Final, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from gateway.rules.target import (
    canonical_host,
    has_encoded_slash,
    is_plain,
    parse_target,
)
from gateway.values import NoRoute, Reason, RequestHead, Route, Target

ANY_HOST: Final = "*"

_PERCENT: Final = ord("%")
_SEMICOLON: Final = ord(";")
_ASCII: Final = "".join(map(chr, range(0x21, 0x7F)))
_NAME: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
# RFC 9110 §9.3.8: TRACE shows what arrived, our own headers too. Only by name.
_ONLY_BY_NAME: Final = "TRACE"
_USUAL_METHODS: Final = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")


# --------------------------------------------------------------------- patterns


class Pattern(NamedTuple):
    """A path pattern, read: decoded literals, None for `{name}`, `rest` for `**`.

    Two routes with equal patterns (names do not count) compete for the same paths.
    """

    segments: tuple[bytes | None, ...]
    rest: bool


def parse_pattern(path: str) -> Pattern:
    """Read a path pattern; `ValueError` tells what was expected.

    Literals are UTF-8 text and may be written percent-encoded: `/노래` is
    `/%EB%85%B8%EB%9E%98`.
    """
    if not path.startswith("/"):
        msg = "expected a path pattern that begins with '/'"
        raise ValueError(msg)
    if "//" in path:
        msg = "expected no empty segments ('//') in a path pattern"
        raise ValueError(msg)
    parts = path[1:].split("/")
    rest = parts[-1] == "**"
    if rest:
        parts.pop()
    return Pattern(tuple(map(_parse_segment, parts)), rest)


def _parse_segment(part: str) -> bytes | None:
    if _NAME.fullmatch(part):
        return None
    if any(sign in part for sign in "{}*"):
        msg = (
            "expected a literal, a whole-segment {name} or a closing '**' "
            "(a literal '*', '{' or '}' is written %2A, %7B, %7D)"
        )
        raise ValueError(msg)
    return _parse_literal(part)


def _parse_literal(part: str) -> bytes:
    target = parse_target(b"/" + quote(part, safe=_ASCII).encode())
    if target is None or target.query is not None or len(target.segments) != 1:
        msg = (
            "expected path segments without '?', '#', '\\', controls, '.' or '..', "
            "with proper percent-encoding"
        )
        raise ValueError(msg)
    if b";" in target.segments[0]:
        msg = "expected no ';': the parameters of a segment are never matched"
        raise ValueError(msg)
    return target.segments[0]


def parse_host(text: str) -> str:
    """Read a host pattern into its canonical form; `ValueError` tells what is wrong."""
    name = text.removeprefix("*.")
    if text == ANY_HOST:
        return text
    host = canonical_host(name.encode())
    if host is None or (":" in name and not name.endswith("]")):
        msg = (
            "expected a host name without port, '*.suffix' or '*' "
            "(an international name in its xn-- form)"
        )
        raise ValueError(msg)
    return text[: len(text) - len(name)] + host


def parse_prefix(text: str) -> bytes:
    """Read `strip_prefix` or `add_prefix`: canonical, no slash at its end."""
    if text in {"", "/"}:
        return b""
    raw = quote(text, safe=_ASCII).encode().removesuffix(b"/")
    target = parse_target(raw)
    if (
        target is None
        or target.query is not None
        or raw.endswith(b"/")
        or has_encoded_slash(target)
    ):
        msg = "expected a path prefix such as '/v1', without '?', '#', '.' or '..'"
        raise ValueError(msg)
    return raw


def conflicts(routes: Sequence[Route]) -> list[tuple[Route, Route]]:
    """Give each pair of equal routes: same host, same pattern, a method in common.

    A list of methods is more specific than none at all, and `HEAD` than the `HEAD`
    that `GET` implies: such pairs are no conflict.
    """
    groups: dict[tuple[str, Pattern], list[Route]] = {}
    for route in routes:
        key = parse_host(route.host), parse_pattern(route.path)
        groups.setdefault(key, []).append(route)
    return [
        (one, other)
        for group in groups.values()
        for one, other in combinations(group, 2)
        if one.methods & other.methods or not (one.methods or other.methods)
    ]


# ------------------------------------------------------------------ compilation


class _Leaf:
    """The routes of one pattern, by method; `other` serves methods nobody names."""

    __slots__ = ("methods", "other", "refusal")

    def __init__(self, first: Route) -> None:
        self.methods: dict[str, Route] = {}
        self.other: Route | None = None
        self.refusal = NoRoute(dialect=first.dialect, realm=first.realm)

    def add(self, route: Route) -> None:
        for method in route.methods:
            self.methods[method] = route
        if not route.methods:
            self.other = route

    def close(self) -> None:
        """Once all routes are in: GET implies HEAD, and what a 405 shall say."""
        if "GET" in self.methods:
            self.methods.setdefault("HEAD", self.methods["GET"])
        allow = set(self.methods).union(_USUAL_METHODS if self.other else ())
        self.refusal = NoRoute(
            dialect=self.refusal.dialect,
            realm=self.refusal.realm,
            allow=tuple(sorted(allow)),
            reason=Reason.METHOD_NOT_ALLOWED,
        )

    def find(self, method: str) -> Route | NoRoute:
        route = self.methods.get(method)
        if route is not None:
            return route
        if self.other is None or method == _ONLY_BY_NAME:
            return self.refusal
        return self.other


class _Node:
    """One segment of the trie."""

    __slots__ = ("leaf", "literals", "name", "rest")

    def __init__(self) -> None:
        self.literals: dict[bytes, _Node] = {}
        self.name: _Node | None = None
        self.leaf: _Leaf | None = None
        self.rest: _Leaf | None = None

    def add(self, pattern: Pattern, route: Route) -> _Leaf:
        node = self
        for segment in pattern.segments:
            node = node._child(segment)
        if pattern.rest:
            leaf = node.rest = node.rest or _Leaf(route)
        else:
            leaf = node.leaf = node.leaf or _Leaf(route)
        leaf.add(route)
        return leaf

    def _child(self, segment: bytes | None) -> "_Node":
        if segment is None:
            self.name = self.name or _Node()
            return self.name
        return self.literals.setdefault(segment, _Node())

    def match(self, segments: Sequence[bytes]) -> _Leaf | None:
        """Give the most specific leaf: nearly always the way of all literals."""
        node, rest = self, None
        for segment in segments:
            if node.name is not None:
                return self.find(segments, 0)
            rest = node.rest or rest
            child = node.literals.get(segment)
            if child is None:
                # Only the last segment can be empty: one trailing slash is forgiven.
                return rest if segment else node.leaf or rest
            node = child
        return node.leaf or node.rest or rest

    def find(self, segments: Sequence[bytes], depth: int) -> _Leaf | None:
        """Give the most specific leaf below; no branch is ever entered twice."""
        if depth == len(segments):
            return self.leaf or self.rest
        segment = segments[depth]
        child = self.literals.get(segment)
        if child is not None:
            leaf = child.find(segments, depth + 1)
            if leaf is not None:
                return leaf
        if segment:
            if self.name is not None:
                leaf = self.name.find(segments, depth + 1)
                if leaf is not None:
                    return leaf
        elif self.leaf is not None:
            # Only the last segment can be empty: one trailing slash is forgiven.
            return self.leaf
        return self.rest


class _Chain:
    """The tries that apply to a host, most specific first, and its refusals."""

    __slots__ = ("bad_target", "no_route", "roots")

    def __init__(self, roots: tuple[_Node, ...], dialect: str, realm: str) -> None:
        self.roots = roots
        self.no_route = NoRoute(dialect=dialect, realm=realm)
        self.bad_target = NoRoute(
            dialect=dialect, realm=realm, reason=Reason.BAD_TARGET
        )

    def find(self, segments: Sequence[bytes]) -> _Leaf | None:
        for root in self.roots:
            leaf = root.match(segments)
            if leaf is not None:
                return leaf
        return None


class Routes:
    """A route table. `dialect` and `realm` word the 404 of a host without routes."""

    def __init__(
        self, routes: Sequence[Route], *, dialect: str = "rfc6750", realm: str = ""
    ) -> None:
        for one, other in conflicts(routes):
            msg = f"routes {one.id!r} and {other.id!r} match the same requests"
            raise ValueError(msg)
        self._routes = tuple(routes)
        first, roots = _compile(routes)
        self._chains = {
            host: _chain(host, first, roots) for host in roots if host != ANY_HOST
        }
        self._anywhere = (
            _chain(ANY_HOST, first, roots)
            if ANY_HOST in roots
            else _Chain((), dialect, realm)
        )
        # Some paths are asked for again and again; bounded, as clients make them up.
        self._found: dict[tuple[str, str, bytes], Route | NoRoute] = {}

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes)

    def __len__(self) -> int:
        return len(self._routes)

    def __repr__(self) -> str:
        return f"<Routes: {len(self._routes)} on {len(self._chains)} named hosts>"

    def find(self, head: RequestHead) -> Route | NoRoute:
        """Find the route of a request."""
        path = head.target.path
        key = (head.host, head.method, path)
        found = self._found.get(key)
        if found is None:
            found = self.search(head.host, head.target, head.method)
            if is_plain(path):
                if len(self._found) >= 256:
                    self._found.clear()
                self._found[key] = found
        return found

    def search(self, host: str, target: Target, method: str) -> Route | NoRoute:
        """Find the route that a request for `target` by `method` would take."""
        chain = self._chains.get(host) or self._suffix_chain(host)
        leaf = chain.find(target.segments)
        found = chain.no_route if leaf is None else leaf.find(method)
        path = target.path
        if (_PERCENT in path or _SEMICOLON in path) and (
            _is_ambiguous(chain, leaf, target)
            or (has_encoded_slash(target) and not _keeps_slash(found))
        ):
            return chain.bad_target
        return found

    def _suffix_chain(self, host: str) -> _Chain:
        """Try ever shorter suffixes: the cost follows the length of the name."""
        _, dot, suffix = host.partition(".")
        while dot:
            chain = self._chains.get("*." + suffix)
            if chain is not None:
                return chain
            _, dot, suffix = suffix.partition(".")
        return self._anywhere


def _compile(routes: Sequence[Route]) -> tuple[dict[str, Route], dict[str, _Node]]:
    """Give the first route and the trie of each host pattern."""
    first: dict[str, Route] = {}
    roots: dict[str, _Node] = {}
    leaves: list[_Leaf] = []
    for route in routes:
        for prefix in (route.strip_prefix, route.add_prefix):
            if prefix != parse_prefix(prefix.decode()):
                msg = f"route {route.id!r}: expected prefixes without a closing '/'"
                raise ValueError(msg)
        host = parse_host(route.host)
        first.setdefault(host, route)
        root = roots.setdefault(host, _Node())
        leaves.append(root.add(parse_pattern(route.path), route))
    for leaf in leaves:
        leaf.close()
    return first, roots


def _chain(host: str, first: Mapping[str, Route], roots: Mapping[str, _Node]) -> _Chain:
    """Line up the host pattern's own trie and those of all less specific patterns."""
    wider = [host]
    _, dot, suffix = host.removeprefix("*.").partition(".")
    while dot:
        wider.append("*." + suffix)
        _, dot, suffix = suffix.partition(".")
    wider.append(ANY_HOST)
    return _Chain(
        tuple(roots[name] for name in dict.fromkeys(wider) if name in roots),
        first[host].dialect,
        first[host].realm,
    )


def _is_ambiguous(chain: _Chain, leaf: _Leaf | None, target: Target) -> bool:
    """Tell whether a server that drops `;parameters` would land on another route."""
    bare = [segment.partition(b";")[0] for segment in target.segments]
    if tuple(bare) == target.segments:
        return False
    # `/;x/admin` is `//admin` to such a server, and `/admin` to the next.
    path = [part for part in bare[:-1] if part] + bare[-1:]
    return chain.find(path) is not leaf


def _keeps_slash(found: Route | NoRoute) -> bool:
    return isinstance(found, Route) and found.encoded_slash


# --------------------------------------------------------------------- rewriting


def rewrite(target: Target, route: Route) -> bytes:
    """Give the target as the upstream is asked for it: prefix off, prefix on.

    The prefix is compared segment by segment, decoded, as routes are; what follows
    it is sent as it was received. A target without the prefix keeps its path.
    """
    if not (route.strip_prefix or route.add_prefix):
        return target.path if target.query is None else target.raw
    path = target.path
    if route.strip_prefix:
        prefix = tuple(map(unquote_to_bytes, route.strip_prefix[1:].split(b"/")))
        depth = len(prefix)
        if target.segments[:depth] == prefix:
            path = b"".join(b"/" + part for part in path[1:].split(b"/")[depth:])
    path = route.add_prefix + path or b"/"
    return path if target.query is None else path + b"?" + target.query
