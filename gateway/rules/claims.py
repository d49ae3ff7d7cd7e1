"""Turn the claims of a token into facts. Floor 2: no network, no clock, no log.

The same members arrive in a JWT (RFC 7519 §4), an introspection answer (RFC 7662 §2.2)
and a userinfo answer. Their types are checked here, not believed: libraries accept
`exp` as a string, a boolean or 2^63. What a wrong type means is the caller's business:
a JWT is then invalid, an introspection answer is no answer.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from gateway.values import Reason, TokenFacts

Claims = Mapping[str, object]

LATEST: Final = 253_402_300_799
"""The last second of the year 9999: no instant beyond it is meant seriously."""

_INTEGER_LIMIT: Final = 2**63


class ClaimError(ValueError):
    """A claim has a type it must not have. The message names it, not its value."""


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """Dotted paths of the claims whose names differ from provider to provider.

    None for `scope` means that this source says nothing about scope; otherwise an
    absent scope is a scope that grants nothing (RFC 9068 §2.2.3).
    """

    subject: str = "sub"
    client: str = "client_id"
    device: str | None = None
    scope: str | None = "scope"


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider's token must say of itself; None and empty demand nothing."""

    issuer: str | None = None
    audience: frozenset[str] = frozenset()
    leeway: float = 0.0


def facts(
    provider: str, claims: Claims, names: Names, kept: Iterable[str], now: float
) -> TokenFacts:
    """Read the facts; `kept` are the dotted claims worth keeping besides.

    Raises `ClaimError` for a claim of a wrong type.
    """
    return TokenFacts(
        provider=provider,
        subject=text(claims, names.subject),
        client=text(claims, names.client),
        scopes=None if names.scope is None else scopes(claims, names.scope),
        issuer=text(claims, "iss"),
        audience=_audience(claims),
        issued_at=_instant(claims, "iat"),
        not_before=_instant(claims, "nbf"),
        expires_at=_instant(claims, "exp"),
        token_id=text(claims, "jti"),
        session_id=text(claims, "sid"),
        acr=text(claims, "acr"),
        auth_time=_instant(claims, "auth_time"),
        device=None if names.device is None else text(claims, names.device),
        # RFC 8705 §3, RFC 9449 §6: a confirmation may never be overlooked, so even
        # an empty one counts.
        cnf="cnf" in claims,
        claims=chosen(claims, kept),
        learned_at=now,
    )


def refusal(found: TokenFacts, expected: Expected, now: float) -> Reason | None:
    """Tell why a token is not valid now or not meant here, or None when it is."""
    leeway = expected.leeway
    if found.expires_at is not None and now >= found.expires_at + leeway:
        return Reason.EXPIRED
    if found.not_before is not None and now < found.not_before - leeway:
        return Reason.NOT_YET_VALID
    if expected.issuer is not None and found.issuer != expected.issuer:
        return Reason.WRONG_ISSUER
    if expected.audience and expected.audience.isdisjoint(found.audience or ()):
        return Reason.WRONG_AUDIENCE
    return None


def lookup(claims: Claims, path: str) -> object | None:
    """Find a claim by dotted path; a claim whose own name has dots comes first."""
    if path in claims:
        return claims[path]
    here: object = claims
    for name in path.split("."):
        if not isinstance(here, Mapping) or name not in here:
            return None
        here = here[name]
    return here


def text(claims: Claims, path: str) -> str | None:
    """Give a string claim; absent, null or empty is None."""
    value = lookup(claims, path)
    if value is None or isinstance(value, str):
        return value or None
    raise _wrong(path, "a string")


def scopes(claims: Claims, path: str) -> frozenset[str]:
    """Give the scope, from a list or a space-separated string (RFC 6749 §3.3).

    Exactly: a tab or comma parts nothing, and a list member with a space in it is one
    odd scope, not two.
    """
    match lookup(claims, path):
        case None:
            return frozenset()
        case str() as line:
            return frozenset(line.split(" ")) - {""}
        case list() as members:
            return frozenset(_strings(members, path))
        case _:
            raise _wrong(path, "a string or a list of strings")


def chosen(
    claims: Claims, kept: Iterable[str]
) -> dict[str, str | int | float | bool | tuple[str, ...]]:
    """Keep these claims where they are scalars or lists of strings."""
    found: dict[str, str | int | float | bool | tuple[str, ...]] = {}
    for path in kept:
        value = lookup(claims, path)
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            found[path] = tuple(value)
        elif isinstance(value, int) and not -_INTEGER_LIMIT <= value < _INTEGER_LIMIT:
            continue  # Codecs end at 64 bits, and nobody means such a number.
        elif isinstance(value, str | int | float):
            found[path] = value
    return found


def _instant(claims: Claims, name: str) -> float | None:
    """Read a NumericDate (RFC 7519 §2). A boolean is an int to Python, not to us."""
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(name, "a number")
    if not 0 <= value <= LATEST:
        raise _wrong(name, "a moment between 1970 and 9999")
    return float(value)


def _audience(claims: Claims) -> tuple[str, ...] | None:
    match claims.get("aud"):
        case None:
            return None
        case str() as one:
            return (one,)
        case list() as several:
            return tuple(_strings(several, "aud"))
        case _:
            raise _wrong("aud", "a string or a list of strings")


def _strings(members: list[object], path: str) -> list[str]:
    found = [member for member in members if isinstance(member, str)]
    if len(found) != len(members):
        raise _wrong(path, "a list of strings")
    return found


def _wrong(path: str, expected: str) -> ClaimError:
    return ClaimError(f"{path}: expected {expected}")
