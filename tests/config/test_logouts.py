"""Proves the `logout` section: what it holds tokens to, and where it may stand."""

import pytest

from gateway.config.compile import compile_routes
from gateway.config.logouts import Logout, issuer_of, logout_terms
from gateway.values import LogoutTerms, RouteKind
from gateway.verifiers.jwt import Settings
from tests.config.texts import loaded, told, warned

LOGOUT = """
providers:
  op:
    verify: [jwt]
    dialect: ottm
    clock_skew: 3s
    token_lifetime: 5m
    jwt: {algorithms: [RS256], discovery: "https://op.example", leeway: 5s}
routes:
  - id: logout
    match: {path: /logout, methods: [POST]}
    kind: backchannel-logout
    provider: op
    logout: {audiences: [shop, kiosk]}
"""


def test_a_route_takes_the_logouts_of_its_provider():
    """Its issuer, its audiences, the larger skew; in the standard's words."""
    (route,) = compile_routes(loaded(LOGOUT).config)

    assert (RouteKind.BACKCHANNEL_LOGOUT, "op", "rfc6750", "") == (
        route.kind,
        route.provider,
        route.dialect,
        route.upstream,
    )
    assert (
        LogoutTerms(
            issuer="https://op.example",
            audiences=frozenset({"shop", "kiosk"}),
            whole_subject=True,
            longest=600.0,
            skew=5.0,
        )
        == route.guard.logout
    )


def test_what_is_written_is_what_is_meant():
    """One session alone, and how old a token may be."""
    logout = Logout.model_validate(
        {"audiences": ["shop"], "whole_subject": False, "max_age": "2m"}
    )
    settings = Settings.model_validate(
        {"algorithms": ["HS256"], "key": "k" * 64, "issuer": "op"}
    )
    terms = logout_terms(logout, settings, 9.0)

    assert ("op", False, 120.0, 9.0) == (
        terms.issuer,
        terms.whole_subject,
        terms.longest,
        terms.skew,
    )


def test_who_names_no_issuer_has_none():
    """A key alone tells nobody's name."""
    settings = Settings.model_validate({"algorithms": ["HS256"], "key": "k" * 64})

    assert "" == issuer_of(settings) == issuer_of(None)


UNPROVEN = (
    "routes[0].provider: expected a provider with `jwt` in verify, and an issuer or "
    "discovery there: they prove logout tokens"
)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("    logout: {audiences: [shop, kiosk]}\n", "", "expected this key"),
        ("[shop, kiosk]", "[]", "routes[0].logout.audiences: expected 1 or more"),
        (
            'discovery: "https://op.example"',
            'jwks_url: "https://op.example/k"',
            UNPROVEN,
        ),
        (
            "kind: backchannel-logout",
            "access: public",
            "routes[0].logout: expected kind: backchannel-logout",
        ),
        (
            "    logout:",
            "    pass_token: true\n    logout:",
            "routes[0].pass_token: expected nothing: backchannel-logout decides it",
        ),
        (
            "methods: [POST]",
            "methods: [GET]",
            "routes[0].match.methods: expected POST alone for backchannel-logout",
        ),
        ("    logout:", "    body_limit: 65KiB\n    logout:", "expected 64KiB or less"),
        ("]}\n", "], max_age: 25h}\n", "routes[0].logout.max_age: expected"),
    ],
)
def test_a_logout_that_could_not_work_is_refused(old, new, expected):
    """Before the first session that nobody ends."""
    text = LOGOUT.replace(old, new)
    assert text != LOGOUT

    assert any(expected in line for line in told(text))


def test_marks_that_never_end_are_warned_about():
    """They would fill the set."""
    endless = LOGOUT.replace("    token_lifetime: 5m\n", "")

    assert [] == warned(LOGOUT)
    assert any("kept for ever" in line for line in warned(endless))


def test_an_opaque_provider_proves_no_logout():
    """Introspection signs nothing."""
    text = LOGOUT.replace("verify: [jwt]", "verify: [introspection]").replace(
        '    jwt: {algorithms: [RS256], discovery: "https://op.example", leeway: 5s}',
        "    introspection: {url: https://op.example/i, auth: bearer, "
        "bearer_token: t0123456789abcdef}",
    )

    assert UNPROVEN in told(text)


def test_every_other_route_needs_an_upstream():
    """Only a logout goes nowhere."""
    text = LOGOUT.replace("kind: backchannel-logout", "kind: oauth-token")

    assert any("upstream: expected this key" in line for line in told(text))
