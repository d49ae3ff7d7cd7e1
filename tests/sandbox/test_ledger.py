import pytest

from gateway.sandbox.ledger import (
    CODE_LIFETIME,
    Grant,
    Ledger,
    Token,
    TokenKind,
)

NOW = 1_800_000_000.0
GRANT = Grant(id="g", client="demo", redirect_uri="https://a/cb", scopes=("s",))


def token(kind: TokenKind, expires_at: int | None = None) -> Token:
    """Make a token of the grant."""
    return Token(kind=kind, id="t", grant=GRANT, expires_at=expires_at)


@pytest.fixture
def ledger():
    """Books with a pair of tokens in them."""
    ledger = Ledger()
    ledger.record("access", token(TokenKind.ACCESS, int(NOW) + 300))
    ledger.record("refresh", token(TokenKind.REFRESH))
    return ledger


def test_code_is_good_once():
    """A code buys its grant, then nothing."""
    ledger = Ledger()
    code = ledger.open(GRANT, NOW)

    assert (20, True) == (len(code), code.isalnum())
    assert GRANT == ledger.redeem(code, NOW)
    assert ledger.redeem(code, NOW) is None


def test_code_that_comes_twice_ends_its_grant(ledger):
    """RFC 6749 §4.1.2: somebody else has it."""
    code = ledger.open(GRANT, NOW)
    ledger.redeem(code, NOW)
    ledger.redeem(code, NOW)

    assert ledger.find("access", TokenKind.ACCESS, NOW) is None
    assert ledger.find("refresh", TokenKind.REFRESH, NOW) is None


def test_code_is_short_lived():
    """A code not used in time is worth nothing."""
    ledger = Ledger()
    early, late = ledger.open(GRANT, NOW), ledger.open(GRANT, NOW)

    assert GRANT == ledger.redeem(early, NOW + CODE_LIFETIME - 1)
    assert ledger.redeem(late, NOW + CODE_LIFETIME) is None
    assert ledger.redeem("never given", NOW) is None


def test_token_is_found_by_text_kind_and_time(ledger):
    """A refresh token is no access token, and time ends what has an end."""
    assert ledger.find("access", TokenKind.ACCESS, NOW + 299) is not None
    assert ledger.find("access", TokenKind.ACCESS, NOW + 300) is None
    assert ledger.find("refresh", TokenKind.ACCESS, NOW) is None
    assert ledger.find("refresh", TokenKind.REFRESH, NOW + 1e9) is not None
    assert ledger.find("unknown", TokenKind.ACCESS, NOW) is None


@pytest.mark.parametrize(
    ("text", "client", "left"),
    [
        ("access", "demo", [False, True]),
        ("refresh", "demo", [False, False]),
        ("access", "other", [True, True]),
        ("unknown", "demo", [True, True]),
    ],
)
def test_revocation_reaches_as_far_as_it_should(ledger, text, client, left):
    """RFC 7009 §2.1: a refresh token takes the grant along; others' are left alone."""
    ledger.revoke(text, client)

    assert left == [
        ledger.find("access", TokenKind.ACCESS, NOW) is not None,
        ledger.find("refresh", TokenKind.REFRESH, NOW) is not None,
    ]


def test_books_are_counted_not_shown(ledger):
    """A log line names no token."""
    assert "<Ledger: 0 codes, 2 tokens>" == repr(ledger)
