"""What an authorization server remembers: clients, codes, tokens. In memory, pure.

Apart from the floors: no network; `now` is an argument. A grant is what a person
allowed; every code and token belongs to one, and dies with it.
"""

import enum
import secrets
import string
from dataclasses import dataclass, field
from typing import Final

CODE_LIFETIME: Final = 300.0
CODE_LENGTH: Final = 20
_CODE_CHARACTERS: Final = string.ascii_letters + string.digits


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A registered partner application."""

    id: str
    secret: str = field(repr=False)
    redirect_uris: frozenset[str]
    grant_types: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a person allowed one client to do, and on which device."""

    id: str
    client: str
    redirect_uri: str
    scopes: tuple[str, ...]
    device: str | None = None


class TokenKind(enum.Enum):
    """What a token is good for."""

    ACCESS = enum.auto()
    REFRESH = enum.auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """An issued token, apart from its text; `expires_at` None means never."""

    kind: TokenKind
    id: str
    grant: Grant
    expires_at: int | None


class Ledger:
    """One provider's books."""

    def __init__(self) -> None:
        self._codes: dict[str, tuple[Grant, float]] = {}
        self._spent: dict[str, Grant] = {}
        self._tokens: dict[str, Token] = {}
        self._ended: set[str] = set()

    def __repr__(self) -> str:
        return f"<Ledger: {len(self._codes)} codes, {len(self._tokens)} tokens>"

    def open(self, grant: Grant, now: float) -> str:
        """Give a code for `grant`: good once, for a short while."""
        code = "".join(secrets.choice(_CODE_CHARACTERS) for _ in range(CODE_LENGTH))
        self._codes[code] = (grant, now + CODE_LIFETIME)
        return code

    def redeem(self, code: str, now: float) -> Grant | None:
        """Spend a code. One that comes twice ends its grant (RFC 6749 §4.1.2)."""
        if code in self._spent:
            self._ended.add(self._spent[code].id)
            return None
        grant, expires_at = self._codes.pop(code, (None, 0.0))
        if grant is None or now >= expires_at:
            return None
        self._spent[code] = grant
        return grant

    def record(self, text: str, token: Token) -> None:
        """Remember an issued token."""
        self._tokens[text] = token

    def find(self, text: str, kind: TokenKind, now: float) -> Token | None:
        """Give a token of that kind if it is known, unexpired and not revoked."""
        token = self._tokens.get(text)
        if token is None or token.kind is not kind or token.grant.id in self._ended:
            return None
        if token.expires_at is not None and now >= token.expires_at:
            return None
        return token

    def revoke(self, text: str, client: str) -> None:
        """Revoke a token of `client`; a refresh token takes its whole grant along.

        Another client's token is left alone (RFC 7009 §2.1).
        """
        token = self._tokens.get(text)
        if token is None or token.grant.client != client:
            return
        if token.kind is TokenKind.REFRESH:
            self._ended.add(token.grant.id)
        del self._tokens[text]
