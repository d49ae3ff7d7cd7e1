"""Find the bearer token of a request (RFC 6750 §2.1 and §2.3). Floor 2.

One request carries one token in one place, in the exact grammar; anything else that
looks like a token is refused, never skipped. `access_token` is told by its decoded
name. Spellings that only *some* servers take for it (`Access_Token`,
`access_token[]`, `access.token`, or behind a `;`) are never the token: where a token
is judged they are a malformed request, so that none slips past to the upstream, and
in a Referer they are redacted like the real one.
"""

import dataclasses
import re
from typing import Final
from urllib.parse import unquote_to_bytes

from gateway.rules.routing import rewrite
from gateway.rules.target import decode_form, decode_name
from gateway.values import (
    Access,
    Credentials,
    DeviceRule,
    Permit,
    Reason,
    RequestHead,
    Route,
    RouteKind,
    Secret,
    Target,
    TokenPlace,
    TokenShape,
)

TOKEN_LIMIT_BYTES: Final = 8 * 1024

_PARAMETER: Final = b"access_token"
_BEARER: Final = re.compile(rb"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9\-._~+/]+=*)")
_TOKEN: Final = re.compile(rb"[A-Za-z0-9\-._~+/]+=*")
# The scheme ends where RFC 9110 §5.6.2 token characters do: `Bearer\tx` is an
# attempt at Bearer, `Bearers x` another scheme.
_BEARER_ATTEMPT: Final = re.compile(
    rb"(?i)bearer(?![!#$%&'*+.^_`|~0-9a-z-])(.*)", re.DOTALL
)
_SEPARATORS: Final = re.compile(rb"[ ,]")
_REDACTABLE: Final = re.compile(rb"(?<=[?&;#])([^=&;#?]*)=[^&;#]*")
_PARAMETERS: Final = re.compile(rb"[&;]")
_NAME_END: Final = re.compile(rb"[\[\0]")
_PHP_NAMES: Final = bytes.maketrans(b". ", b"__")

_API: Final = RouteKind.API
_USERINFO: Final = RouteKind.OAUTH_USERINFO
_PUBLIC: Final = Access.PUBLIC
_REQUIRED: Final = Access.REQUIRED
_HEADER: Final = TokenPlace.HEADER
_QUERY: Final = TokenPlace.QUERY


def takes_token(route: Route) -> bool:
    """Tell whether a token sent to this route is judged."""
    if route.kind is _API:
        return route.access is not _PUBLIC
    return route.kind is _USERINFO


def needs_token(route: Route) -> bool:
    """Tell whether this route refuses a request without a token."""
    return takes_token(route) and (route.access is _REQUIRED or route.kind is _USERINFO)


def find_credentials(head: RequestHead, route: Route) -> Credentials | Reason | None:
    """Find the one token; None where there is none, or where nobody asks for it.

    A `Reason` is a refusal: MALFORMED_REQUEST for anything but one token in one
    allowed place, MALFORMED_TOKEN for one that is not of the grammar.
    """
    noted: _Authorization | None = head.notes.get(_NOTE)
    if noted is None:
        noted = head.notes[_NOTE] = _read_authorization(head)
    doubled, in_header = noted
    if doubled:
        # RFC 9110 §5.3: no list field, so no reader may choose between two.
        return Reason.MALFORMED_REQUEST
    if not takes_token(route):
        return None
    if _HEADER not in route.token_from and isinstance(in_header, Credentials):
        in_header = Reason.MALFORMED_REQUEST
    query = head.target.query
    if query and _might_hold_token(query):
        return _find_in_query(query, in_header, route)
    return in_header


_NOTE: Final = "authorization"
_Authorization = tuple[bool, Credentials | Reason | None]
_LastValue = tuple[bytes, Credentials | Reason | None]


def _read_authorization(head: RequestHead) -> _Authorization:
    """Tell whether the header is there twice, and what the one says."""
    values = head.values(b"authorization")
    if len(values) != 1:
        return len(values) > 1, None
    value = values[0]
    last: _LastValue | None = head.memory.get(_NOTE)
    if last is None or last[0] != value:
        last = head.memory[_NOTE] = value, _read_value(value)
    return False, last[1]


def _read_value(value: bytes) -> Credentials | Reason | None:
    found = _BEARER.fullmatch(value)
    if found is None:
        return _why_not_bearer(value)
    token = found[1]
    if len(token) > TOKEN_LIMIT_BYTES:
        return Reason.MALFORMED_TOKEN
    return Credentials(Secret(token.decode()), _HEADER)


def _why_not_bearer(value: bytes) -> Reason | None:
    """Part other schemes, which are no credentials, from broken Bearer."""
    attempt = _BEARER_ATTEMPT.fullmatch(value)
    if attempt is None:
        return None
    token = attempt[1].lstrip(b" ")
    if not token or attempt[1] == token or _SEPARATORS.search(token):
        return Reason.MALFORMED_REQUEST
    return Reason.MALFORMED_TOKEN


def _find_in_query(
    query: bytes, in_header: Credentials | Reason | None, route: Route
) -> Credentials | Reason | None:
    pairs = query.split(b"&")
    if any(map(_resembles_token, pairs)):
        return Reason.MALFORMED_REQUEST
    tokens = [pair.partition(b"=")[2] for pair in pairs if _is_token(pair)]
    if not tokens:
        return in_header
    if in_header is not None or len(tokens) > 1 or _QUERY not in route.token_from:
        return Reason.MALFORMED_REQUEST
    # Percent-decoded only: a `+` belongs to the token grammar.
    token = unquote_to_bytes(tokens[0])
    if not token:
        return Reason.MALFORMED_REQUEST
    if len(token) > TOKEN_LIMIT_BYTES or not _TOKEN.fullmatch(token):
        return Reason.MALFORMED_TOKEN
    return Credentials(Secret(token.decode()), _QUERY)


def names_several(head: RequestHead) -> bool:
    """Tell whether more than one place says who asks, in whatever words and spelling.

    Where all of them went upstream, that would choose, and not as we did.
    """
    places = len(head.values(b"authorization"))
    query = head.target.query
    if query and _might_hold_token(query):
        for parameter in _PARAMETERS.split(query):
            places += _folds_to_token(parameter.partition(b"=")[0])
    return places > 1


# ---------------------------------------------------------- the query parameter


def misfit(token: str, shape: TokenShape) -> Reason | None:
    """Tell why a token cannot be one of this provider's, before anybody is asked.

    A foreign prefix is no fault of form: another provider's token is well-formed.
    """
    if len(token) > shape.max_bytes:
        return Reason.MALFORMED_TOKEN
    return None if token.startswith(shape.prefix) else Reason.INACTIVE


def remove_query_token(query: bytes | None) -> bytes | None:
    """Take every `access_token` out of a query; all other bytes stay as they are.

    So are spellings that only some servers take for it, which get here in shadow alone.
    None where nothing is left: `?access_token=T` alone leaves no `?`.
    """
    if not query or not _might_hold_token(query):
        return query
    kept = [
        pair
        for pair in query.split(b"&")
        if not _is_token(pair) and not _resembles_token(pair)
    ]
    return b"&".join(kept) if kept else None


def upstream_target(target: Target, permit: Permit) -> bytes:
    """Give the target to ask the upstream for: rewritten, without a query token.

    A route in shadow passes a token as it came, or none, whether judged or not.
    """
    credentials, route = permit.credentials, permit.route
    judged = credentials is not None and credentials.place is _QUERY
    if not route.pass_token if route.shadow else judged:
        query = remove_query_token(target.query)
        target = dataclasses.replace(target, query=query)
    return rewrite(target, route)


def redact(url: bytes) -> bytes:
    """Blank the value of whatever some server could take for a token in `url`."""
    return _REDACTABLE.sub(_redacted, url) if _might_hold_token(url) else url


def _redacted(parameter: re.Match[bytes]) -> bytes:
    name = parameter[1]
    return name + b"=redacted" if _folds_to_token(name) else parameter[0]


def _might_hold_token(query: bytes) -> bool:
    """Spare nearly all queries the closer look."""
    return b"%" in query or b"access" in query.lower()


def _is_token(pair: bytes) -> bool:
    return decode_name(pair) == _PARAMETER


def _resembles_token(pair: bytes) -> bool:
    """Tell whether some servers, but not all, would find a token in this pair."""
    pieces = pair.split(b";")
    if _is_token(pair):
        del pieces[0]
    return any(_folds_to_token(piece.partition(b"=")[0]) for piece in pieces)


def _folds_to_token(name: bytes) -> bool:
    """Tell whether `name` could be read as `access_token`.

    Case folded and trimmed as some frameworks do, cut at a NUL as C does, and as
    PHP has it: dots and spaces are underscores, an array's name ends at its bracket.
    """
    cut = _NAME_END.split(decode_form(name), maxsplit=1)[0]
    return cut.strip().lower().translate(_PHP_NAMES) == _PARAMETER


# ------------------------------------------------------------------- the device


def named_device(head: RequestHead, rule: DeviceRule) -> str | None:
    """Give the one device that a request names; None for none, and for several."""
    named: set[bytes] = set()
    if rule.header is not None:
        named.update(head.values(rule.header.lower()))
    if rule.query is not None and head.target.query:
        named.update(
            decode_form(pair.partition(b"=")[2])
            for pair in head.target.query.split(b"&")
            if decode_name(pair) == rule.query
        )
    if len(named) != 1:
        return None
    try:
        return named.pop().decode()
    except UnicodeDecodeError:
        return None
