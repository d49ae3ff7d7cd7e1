"""Proves what an engine is told to change: what our own relay would have changed."""

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.engine_headers import Changes, EngineHeaders
from gateway.rules.headers import HeaderRules
from gateway.values import (
    Access,
    Header,
    Permit,
    Reason,
    Route,
    TokenPlace,
)
from tests.rules.heads import head
from tests.rules.test_headers import IDENTITY, RULES, anonymous, permit

ENGINES = EngineHeaders(RULES)
NAMES = {name for name, _ in IDENTITY} | {b"x-email"}
FRAMING = [
    (b"host", b"api.example"),
    (b"connection", b"x-auth-subject"),
    (b"content-length", b"5"),
    (b"te", b"trailers"),
    (b"upgrade", b"websocket"),
    (b"via", b"1.1 edge"),
    (b"x-forwarded-for", b"10.0.0.1"),
    (b"x-real-ip", b"10.0.0.1"),
]


def changes(*headers: Header, by: Permit | None = None) -> Changes:
    """Give the changes for a request with these headers."""
    told = ENGINES.changes(
        head("GET", b"/a", *headers), by or permit(), request_id=b"id-1"
    )
    assert isinstance(told, Changes)
    return told


def forwarded(told: Changes, headers: list[Header]) -> list[Header]:
    """Do as an engine does."""
    gone = {name for name, _ in told.put} | set(told.drop)
    return [header for header in headers if header[0] not in gone] + [*told.put]


def test_identity_is_put_in_and_the_token_taken_out():
    """The engine forwards, so only it can."""
    told = changes((b"authorization", b"Bearer T.1"), (b"accept", b"*/*"))

    assert ((b"x-request-id", b"id-1"), *IDENTITY) == told.put
    assert b"authorization" in told.drop
    assert b"accept" not in told.drop


def test_every_name_of_ours_is_put_in_or_dropped_whatever_was_seen():
    """An engine need not show us every header (CVE-2026-30851: no claim, no removal)."""
    told = changes()

    assert set(ENGINES.replaced) == {name for name, _ in told.put} | set(told.drop)
    assert b"x-email" in told.drop
    assert {b"x-gateway-target", b"x-gateway-upstream"} <= set(told.drop)


def test_without_a_token_no_identity_stays():
    """A public route tells of nobody, and lets nobody tell."""
    public = Route(id="r", access=Access.PUBLIC)
    told = changes((b"x-auth-subject", b"root"), by=anonymous(public))

    assert ((b"x-request-id", b"id-1"),) == told.put
    assert NAMES <= set(told.drop)


def test_framing_and_forwarding_are_the_engines_business():
    """It knows its connections; we do not."""
    told = changes(*FRAMING)

    touched = {name for name, _ in told.put} | set(told.drop)
    assert touched.isdisjoint({name for name, _ in FRAMING})


def test_a_token_in_a_referer_is_redacted():
    """It would go upstream otherwise."""
    told = changes((b"referer", b"https://a.example/?access_token=T.1"))

    assert (b"referer", b"https://a.example/?access_token=redacted") in told.put


def test_the_token_that_was_judged_is_handed_on_where_it_is_wanted():
    """From the query too: upstream it is a header."""
    route = Route(id="r", pass_token=True, token_from=frozenset(TokenPlace))
    told = changes(by=permit(route, place=TokenPlace.QUERY))

    assert (b"authorization", b"Bearer T.1") in told.put
    assert b"authorization" not in told.drop


def test_a_request_that_was_here_before_is_refused():
    """As at the main door (RFC 9110 §7.6.3)."""
    looping = head("GET", b"/a", (b"via", b"1.1 gw-7"))

    assert Reason.LOOP_DETECTED == ENGINES.changes(
        looping, permit(), request_id=b"id-1"
    )


@pytest.mark.parametrize(
    ("name", "beyond"),
    [
        (b"x_auth_subject", True),
        (b"x-auth.subject", True),
        (b"x-auth-unheard-of", True),
        (b"x_email", True),
        (b"x-gateway-else", True),
        (b"x_http_method_override", True),
        (b"x-auth-subject", False),
        (b"x-http-method-override", False),
        (b"some_header", False),
        (b"proxy-connection", False),
        (b"accept", False),
    ],
)
def test_what_looks_like_ours_takes_an_engine_that_drops_by_name(name, beyond):
    """Others only know the fixed list, and some backends fold names."""
    assert beyond == ENGINES.beyond(changes((name, b"root")))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [*sorted(NAMES), b"x_auth_subject", b"accept", b"x-auth-new", b"cookie"]
            ),
            st.sampled_from([b"", b"root", b"ada"]),
        ),
        max_size=6,
    )
)
def test_what_an_engine_forwards_is_what_we_would_have(headers):
    """Whatever the client sent, but for the hop's own headers."""
    told = changes(*headers)
    ours = RULES.upstream_headers(
        head("GET", b"/a", *headers), permit(), request_id=b"id-1"
    )

    assert not isinstance(ours, Reason)
    hops = {b"host", b"via", b"x-forwarded-for", b"x-forwarded-proto"}
    hops |= {b"x-forwarded-host"}
    assert [header for header in ours if header[0] not in hops] == forwarded(
        told, headers
    )


def test_its_looks_tell_how_much_it_replaces():
    """For a log line."""
    assert f"<EngineHeaders: {len(ENGINES.replaced)} names>" == repr(ENGINES)


class Shortening:
    """Header rules that change what a client says, as ours may one day.

    No `HeaderRules` by birth: these, compiled, can have no heir that is not.
    """

    identity_names = RULES.identity_names

    def upstream_headers(
        self, *arguments: Any, **options: Any
    ) -> list[Header] | Reason:
        """Give all as ever, but for what is accepted."""
        told = RULES.upstream_headers(*arguments, **options)
        assert not isinstance(told, Reason)
        return [
            (name, b"text/html") if name == b"accept" else (name, value)
            for name, value in told
        ]


def test_a_header_that_is_changed_on_the_way_is_put_in_as_changed():
    """And what is unchanged is left to the engine."""
    engines = EngineHeaders(cast("HeaderRules", Shortening()))
    asked = head("GET", b"/a", (b"accept", b"*/*"), (b"cookie", b"a"))
    told = engines.changes(asked, permit(), request_id=b"id-1")

    assert isinstance(told, Changes)
    assert (b"accept", b"text/html") in told.put
    assert b"cookie" not in {name for name, _ in told.put} | set(told.drop)
