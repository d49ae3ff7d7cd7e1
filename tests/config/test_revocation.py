import pytest

from gateway.config.compile import compile_routes
from gateway.config.load import Loaded
from gateway.errors import ConfigError
from tests.wired import SIGNED, configured

ROUTE = "id: r, match: {path: /a}, provider: p, upstream: u"
REST = f"""
providers: {{p: {{{SIGNED}}}}}
upstreams: {{u: {{targets: ["http://127.0.0.1:9"]}}}}
"""
SHARED = 'store: {url: "redis://127.0.0.1:9"}\n'


def loaded(route: str = ROUTE, more: str = SHARED) -> Loaded:
    """Load a configuration with one route."""
    return configured(more + REST + f"routes: [{{{route}}}]\n")


def test_without_a_word_the_documented_times_hold():
    """And no route is strict."""
    config = loaded().config
    (route,) = compile_routes(config)

    assert (10, 300) == (config.revocation.blind_ttl, config.revocation.max_blind)
    assert not route.strict_revocation


def test_what_is_written_is_what_holds():
    """For the process and for a route."""
    more = SHARED + "revocation: {blind_ttl: 1s, max_blind: 0s}\n"
    config = loaded(ROUTE + ", revocation: strict", more).config
    (route,) = compile_routes(config)

    assert (1, 0) == (config.revocation.blind_ttl, config.revocation.max_blind)
    assert route.strict_revocation


def test_a_strict_route_is_warned_about_where_nobody_else_is_heard():
    """Several pods with memory:// know nothing of each other's revocations."""
    (warning,) = loaded(ROUTE + ", revocation: strict", "").warnings

    assert "revocation: with memory:// a revocation is known to this process" in warning
    assert not loaded(ROUTE + ", revocation: strict").warnings


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        (ROUTE + ", revocation: sometimes", "revocation"),
        (ROUTE + ", access: public, revocation: strict", "a public route asks for no"),
        (ROUTE + ", kind: oauth-token, revocation: strict", "oauth-token decides it"),
        (ROUTE + ", enforce: half", "enforce"),
        (ROUTE + ", access: public, enforce: shadow", "a public route asks for no"),
        (ROUTE + ", kind: oauth-userinfo, enforce: shadow", "oauth-userinfo decides"),
    ],
)
def test_to_enforce_or_spare_nothing_is_refused(route, expected):
    """With file, line and key."""
    with pytest.raises(ConfigError, match=expected):
        loaded(route)


def test_a_route_in_shadow_is_warned_about_as_long_as_it_is():
    """Nobody forgets it there."""
    shadowed = loaded(ROUTE + ", enforce: shadow")
    (route,) = compile_routes(shadowed.config)
    (full,) = compile_routes(loaded(ROUTE + ", enforce: full").config)

    assert (True, False) == (route.shadow, full.shadow)
    (warning,) = shadowed.warnings
    assert "enforce: this route refuses no token" in warning
