"""What an engine must change in a request that it forwards itself. Floor 2, all bytes.

Where another server does the proxying, only it can take headers out. So the upstream's
headers are made as for our own relay (`rules.headers`), and what differs from what the
client sent is told: headers to put in, whatever is there, and names to take out. The
names that tell of identity are always in one of the two lists, also where the client
sent none of them: an engine need not have shown us every header (CVE-2026-30851).

Framing, forwarding and the connection are the engine's own business.
"""

from typing import Final

import msgspec

from gateway.rules.headers import (
    IDENTITY_PREFIX,
    OWN_PREFIX,
    SECOND_OPINIONS,
    STALE_NAME,
    HeaderRules,
    fold,
)
from gateway.rules.identity_values import SHADOW_NAME
from gateway.values import Header, Permit, Reason, RequestHead, RouteKind

TARGET_NAME: Final = OWN_PREFIX + b"target"
"""Tells an engine what to ask the upstream for: rewritten, and without a token."""

UPSTREAM_NAME: Final = OWN_PREFIX + b"upstream"
"""Tells an engine the upstream of the route that was judged, by name."""

HEADS_ALONE: Final = frozenset(
    {RouteKind.API, RouteKind.OAUTH_USERINFO, RouteKind.OAUTH_AUTHORIZE}
)
"""The kinds of routes that can be judged by a request's head: an engine sees no more."""

HANDOVER: Final = "token_gateway_handover"
"""Where Envoy's configuration names an upstream that leads to our own listener, which
takes over what is not served through a decision door: a context extension."""

OWN_NAMES: Final = (TARGET_NAME, UPSTREAM_NAME)

_ENGINES_NAMES: Final = frozenset(
    {
        b"connection",
        b"content-length",
        b"expect",
        b"forwarded",
        b"host",
        b"keep-alive",
        b"max-forwards",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"via",
        b"x-real-ip",
    }
)
_ENGINES_PREFIX: Final = b"x-forwarded-"

_HOP: Final = b"engine"
"""Stands for the engine's address, which it knows itself."""


class Changes(msgspec.Struct, frozen=True, gc=False):
    """What to `put` in, in place of any value there is, and which names to `drop`."""

    put: tuple[Header, ...]
    drop: tuple[bytes, ...]


class EngineHeaders:
    """The changes that engines are told of, by the header rules of a configuration."""

    def __init__(self, rules: HeaderRules) -> None:
        self._rules = rules
        self.replaced: tuple[bytes, ...] = (
            *rules.identity_names,
            STALE_NAME,
            SHADOW_NAME,
            b"authorization",
            b"referer",
            b"x-request-id",
            b"proxy",
            b"proxy-authorization",
            *sorted(SECOND_OPINIONS),
            *OWN_NAMES,
        )
        """The names an engine replaces or takes out in every request, whatever it
        was told: each has one source, and that is our answer."""
        self._replaced = frozenset(self.replaced)
        self._folded = frozenset(map(fold, self.replaced))

    def __repr__(self) -> str:
        return f"<EngineHeaders: {len(self.replaced)} names>"

    def changes(
        self, head: RequestHead, permit: Permit, *, request_id: bytes
    ) -> Changes | Reason:
        """Give the changes for a permitted request; a `Reason` refuses it after all."""
        wanted = self._rules.upstream_headers(
            head, permit, request_id=request_id, hop=_HOP
        )
        if isinstance(wanted, Reason):
            return wanted
        replaced, kept = self._replaced, {name for name, _ in wanted}
        put, ours, theirs = list[Header](), list[Header](), list[Header]()
        for header in wanted:
            if header[0] in replaced:
                put.append(header)
            elif not _is_engines(header[0]):
                ours.append(header)
        drop = [name for name in self.replaced if name not in kept]
        for header in head.headers:
            name = header[0]
            if name in replaced or _is_engines(name):
                continue
            if name in kept:
                theirs.append(header)
            else:
                drop.append(name)
        if ours != theirs:
            there, wished = _by_name(theirs), _by_name(ours)
            put += [each for each in ours if there.get(each[0]) != wished[each[0]]]
        return Changes(tuple(put), tuple(dict.fromkeys(drop)))

    def beyond(self, changes: Changes) -> bool:
        """Tell whether to drop these names takes an engine that is told them.

        One that only knows `replaced` would let through what some upstream takes for
        a header of ours (`X_Auth_Subject`, and whatever begins as ours do).
        """
        return any(
            name not in self._replaced and self._resembles_ours(name)
            for name in changes.drop
        )

    def _resembles_ours(self, name: bytes) -> bool:
        folded = fold(name)
        return folded in self._folded or folded.startswith(
            (IDENTITY_PREFIX, OWN_PREFIX)
        )


def _is_engines(name: bytes) -> bool:
    return name in _ENGINES_NAMES or name.startswith(_ENGINES_PREFIX)


def _by_name(headers: list[Header]) -> dict[bytes, list[bytes]]:
    values: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        values.setdefault(name, []).append(value)
    return values
