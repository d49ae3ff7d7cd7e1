import dataclasses
import re
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.credentials import (
    TOKEN_LIMIT_BYTES,
    find_credentials,
    misfit,
    named_device,
    names_several,
    needs_token,
    redact,
    remove_query_token,
    takes_token,
    upstream_target,
)
from gateway.rules.policy import admit_open
from gateway.values import (
    Access,
    Credentials,
    DeviceRule,
    Header,
    Permit,
    Reason,
    RequestHead,
    Route,
    RouteKind,
    Secret,
    TokenPlace,
    TokenShape,
)
from tests.rules.heads import head

BOTH = frozenset({TokenPlace.HEADER, TokenPlace.QUERY})
HEADER_ONLY = Route(id="header")
EITHER = Route(id="either", token_from=BOTH)
QUERY_ONLY = Route(id="query", token_from=frozenset({TokenPlace.QUERY}))
OPEN = [
    Route(id="public", access=Access.PUBLIC),
    Route(id="authorize", kind=RouteKind.OAUTH_AUTHORIZE),
    Route(id="token", kind=RouteKind.OAUTH_TOKEN),
    Route(id="revoke", kind=RouteKind.OAUTH_REVOKE),
]
GRAMMAR = re.compile(r"[A-Za-z0-9\-._~+/]+=*")


def bearer(value: bytes) -> Header:
    """Make an Authorization header with this value."""
    return (b"authorization", value)


def found(route: Route, *headers: Header, query: bytes = b""):
    """Give what is found: the token and its place, a reason, or None."""
    answer = find_credentials(head("GET", b"/?" + query, *headers), route)
    if isinstance(answer, Credentials):
        return str(answer.token), answer.place
    return answer


# ----------------------------------------------------------------- in the header


@pytest.mark.parametrize(
    "value",
    [b"Bearer a.b-c_d~e+f/1==", b"bearer a.b-c_d~e+f/1==", b"BEARER   a.b-c_d~e+f/1=="],
)
def test_a_bearer_token_is_found(value):
    """RFC 6750 §2.1; the scheme's case and the number of spaces do not matter."""
    expected = "a.b-c_d~e+f/1==", TokenPlace.HEADER
    assert expected == found(HEADER_ONLY, bearer(value))


@pytest.mark.parametrize(
    "value", [b"", b"Basic x", b"Bearers x", b"DPoP x", b"x", b"Bearer-y z"]
)
def test_another_scheme_is_no_credentials(value):
    """Not ours to judge; it is stripped on the way to the upstream."""
    assert found(HEADER_ONLY, bearer(value)) is None


def test_what_was_read_once_is_known_by_its_note():
    """A kept-alive client repeats its lines: nobody reads them again."""
    first = head("GET", b"/", bearer(b"Bearer T.1"))
    find_credentials(first, HEADER_ONLY)
    again = dataclasses.replace(first, headers=[], notes=first.notes)

    told = find_credentials(again, HEADER_ONLY)
    assert isinstance(told, Credentials)
    assert "T.1" == told.token


def test_a_value_that_comes_again_is_not_read_again():
    """Other lines of a client change with each request, the token's seldom does."""
    first = head("GET", b"/", bearer(b"Bearer T.1"))
    other = head("GET", b"/", bearer(b"Bearer T.2"), (b"x-trace", b"2"))
    doubled = head("GET", b"/", bearer(b"Bearer T.1"), bearer(b"Bearer T.1"))

    def found_by(each: RequestHead) -> object:
        # Later requests of the first one's connection.
        return find_credentials(
            dataclasses.replace(each, notes={}, memory=first.memory), HEADER_ONLY
        )

    credentials = found_by(first)

    assert credentials is not None
    assert credentials is found_by(first)
    assert "T.2" == getattr(found_by(other), "token", "")
    assert Reason.MALFORMED_REQUEST == found_by(doubled)
    assert found_by(head("GET", b"/")) is None
    assert credentials == found_by(first)
    assert credentials is not found_by(other)


def test_no_header_is_no_credentials():
    """Nothing sent, nothing found, and nothing refused."""
    assert found(HEADER_ONLY) is None
    assert found(EITHER, query=b"a=1&accessible=%20") is None


@pytest.mark.parametrize(
    "value",
    [
        b"Bearer",
        b"Bearer  ",
        b"Bearer a b",
        b"Bearer a,b",
        b"Bearer a, Bearer b",
        b"Bearer\ta",
        b"Bearer,a",
        b'Bearer "a b"',
        b"Bearer\xff",
    ],
)
def test_anything_but_one_token_is_a_malformed_request(value):
    """RFC 6750 §3.1 `invalid_request`: none, two, or no space before it."""
    assert Reason.MALFORMED_REQUEST == found(HEADER_ONLY, bearer(value))


@pytest.mark.parametrize(
    "value",
    [
        b'Bearer "a"',
        b"Bearer \xffTr",
        b"Bearer Tr\xa0",
        b"Bearer a\tb",
        b"Bearer a\n",
        b"Bearer a=b",
        b"Bearer ==",
        b"Bearer {a}",
        b"Bearer " + b"a" * (TOKEN_LIMIT_BYTES + 1),
    ],
)
def test_a_token_outside_the_grammar_is_malformed(value):
    """Also one that is too long to be anybody's."""
    assert Reason.MALFORMED_TOKEN == found(HEADER_ONLY, bearer(value))


def test_the_longest_token_is_found():
    """The limit itself still passes, in both places."""
    token = "a" * TOKEN_LIMIT_BYTES

    in_header = found(EITHER, bearer(b"Bearer " + token.encode()))
    in_query = found(EITHER, query=b"access_token=" + token.encode())

    assert (token, TokenPlace.HEADER) == in_header
    assert (token, TokenPlace.QUERY) == in_query


@pytest.mark.parametrize("route", [HEADER_ONLY, EITHER, *OPEN])
@pytest.mark.parametrize("second", [b"Bearer b", b"Basic x", b""])
def test_two_authorization_headers_are_refused_everywhere(route, second):
    """No reader may choose between them, whatever the route asks for."""
    headers = bearer(b"Bearer a"), bearer(second)
    assert Reason.MALFORMED_REQUEST == found(route, *headers)


def test_a_header_token_needs_a_route_that_takes_it():
    """As a query token does."""
    assert Reason.MALFORMED_REQUEST == found(QUERY_ONLY, bearer(b"Bearer a"))


# ------------------------------------------------------------------ in the query


@pytest.mark.parametrize(
    ("query", "token"),
    [
        (b"access_token=T", "T"),
        (b"a=1&access_token=T&b=2", "T"),
        (b"&access_token=T", "T"),
        (b"access%5Ftoken=T", "T"),
        (b"%61ccess_token=%54", "T"),
        (b"access_token=a+b%2B%2f%3d", "a+b+/="),
        (b"access_token=a==", "a=="),
    ],
)
def test_a_query_token_is_found(query, token):
    """RFC 6750 §2.3: decoded once; a plus belongs to the token."""
    assert (token, TokenPlace.QUERY) == found(EITHER, query=query)
    assert (token, TokenPlace.QUERY) == found(QUERY_ONLY, query=query)
    assert (token, TokenPlace.QUERY) == found(EITHER, bearer(b"Basic x"), query=query)


@pytest.mark.parametrize(
    "query",
    [
        b"access_token",
        b"access_token=",
        b"access_token=T&access_token=T",
        b"access_token=T&access%5ftoken=U",
        b"Access_Token=T",
        b"ACCESS%5FTOKEN=T",
        b"access_token[]=T",
        b"access_token%5B0%5D=T",
        b"access.token=T",
        b"access+token=T",
        b"+access_token=T",
        b"access_token%20=T",
        b"access_token%00x=T",
        b"a=1;access_token=T",
        b"access_token;a=1",
        b"access_token=T;access_token=U",
        b"access_token=T&Access_Token=U",
    ],
)
def test_anything_but_one_parameter_is_a_malformed_request(query):
    """Repeated, empty, or a spelling that only some servers read."""
    assert Reason.MALFORMED_REQUEST == found(EITHER, query=query)


@pytest.mark.parametrize(
    "query",
    [
        b"access_token=T%zz",
        b"access_token=a%20b",
        b"access_token=T;x=1",
        b"access_token=%FF",
        b"access_token=%2541",
        b"access_token=" + b"a" * 8193,
    ],
)
def test_a_query_token_outside_the_grammar_is_malformed(query):
    """The grammar holds after decoding, once."""
    assert Reason.MALFORMED_TOKEN == found(EITHER, query=query)


@pytest.mark.parametrize("value", [b"Bearer a", b"Bearer", b'Bearer "'])
def test_two_places_are_a_malformed_request(value):
    """RFC 6750 §2: one method in a request."""
    answer = found(EITHER, bearer(value), query=b"access_token=T")
    assert Reason.MALFORMED_REQUEST == answer


@pytest.mark.parametrize(
    "query", [b"access_token=T", b"Access_Token=T", b"x;access_token=T"]
)
@pytest.mark.parametrize("access", [Access.REQUIRED, Access.OPTIONAL])
def test_a_query_token_needs_a_route_that_takes_it(query, access):
    """Else it would travel on, unjudged, in a URL."""
    route = Route(id="r", access=access)

    assert Reason.MALFORMED_REQUEST == found(route, query=query)
    assert Reason.MALFORMED_REQUEST == found(route, bearer(b"Bearer a"), query=query)


def test_a_suspicious_query_leaves_the_header_alone():
    """A percent sign calls for a closer look, which finds nothing."""
    assert ("a", TokenPlace.HEADER) == found(
        HEADER_ONLY, bearer(b"Bearer a"), query=b"q=%20&access=1"
    )


# ------------------------------------------------------------------ who is asked


@pytest.mark.parametrize("route", OPEN, ids=lambda route: route.id)
def test_open_routes_look_at_no_token(route):
    """What is sent there passes, be it good, bad or double."""
    headers, query = bearer(b"Bearer a b"), b"access_token=T&access_token=U"

    assert found(route, headers, query=query) is None
    assert not takes_token(route)
    assert not needs_token(route)


@pytest.mark.parametrize(
    ("route", "needs"),
    [
        (Route(id="required"), True),
        (Route(id="optional", access=Access.OPTIONAL), False),
        (Route(id="userinfo", kind=RouteKind.OAUTH_USERINFO), True),
        (
            Route(id="u", kind=RouteKind.OAUTH_USERINFO, access=Access.OPTIONAL),
            True,
        ),
        (Route(id="u", kind=RouteKind.OAUTH_USERINFO, access=Access.PUBLIC), True),
    ],
)
def test_other_routes_take_a_token(route, needs):
    """Userinfo always needs one; an optional route refuses only a bad one."""
    assert takes_token(route)
    assert needs == needs_token(route)
    assert Reason.MALFORMED_TOKEN == found(route, bearer(b"Bearer {"))


@given(
    st.lists(st.binary(max_size=12).map(lambda end: b"Bearer " + end), max_size=2),
    st.lists(
        st.sampled_from(
            b"& = ; access_token access%5Ftoken %41 %zz + a T [ . Access".split()
        ),
        max_size=8,
    ),
)
def test_whatever_is_found_is_of_the_grammar(values, parts):
    """No input makes it fail, and no token outside RFC 6750 ever comes out."""
    request = head("GET", b"/?" + b"".join(parts), *map(bearer, values))

    answer = find_credentials(request, EITHER)

    if isinstance(answer, Credentials):
        assert GRAMMAR.fullmatch(answer.token)
    else:
        assert answer in {None, Reason.MALFORMED_REQUEST, Reason.MALFORMED_TOKEN}


@pytest.mark.parametrize(
    ("lines", "query", "expected"),
    [
        (0, b"", False),
        (1, b"", False),
        (2, b"", True),
        (0, b"access_token=T", False),
        (1, b"a=1&access%5Ftoken=T", True),
        (1, b"x_access_token=T&access=1", False),
        (0, b"access_token=T&access_token=T", True),
        (0, b"access_token=T;Access.Token=U", True),
        (1, b"access_token[]", True),
    ],
)
def test_every_place_counts_that_says_who_asks(lines, query, expected):
    """Of any scheme, and in any spelling that some server reads."""
    given = head("GET", b"/?" + query, *[(b"authorization", b"Basic YTpi")] * lines)

    assert expected is names_several(given)


# ------------------------------------------------------------- taking it out again


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (None, None),
        (b"", b""),
        (b"a=1", b"a=1"),
        (b"access_token=T", None),
        (b"access_token", None),
        (b"access_token=T&access%5Ftoken=U", None),
        (b"a=1&access_token=T&b=2", b"a=1&b=2"),
        (b"&access_token=T", b""),
        (b"&a=1&access_token=T", b"&a=1"),
        (b"access_token=T&", b""),
        (b"a=%zz&access_token=T&&b=+;\\", b"a=%zz&&b=+;\\"),
        (b"x_access_token=T", b"x_access_token=T"),
        (b"Access_Token=T&a=1&b=2;access.token=T", b"a=1"),
    ],
)
def test_the_token_is_taken_out_of_the_query(query, expected):
    """Every other byte stays, empty pairs too; nothing left is no query at all."""
    assert expected == remove_query_token(query)


PAIRS = st.lists(
    st.one_of(
        st.sampled_from(
            [b"", b"access_token=T", b"access%5ftoken=T", b"a=%zz", b"access", b"b=+"]
        ),
        st.binary(max_size=6).map(lambda pair: pair.replace(b"&", b"")),
    ),
    min_size=1,
)


@given(PAIRS)
def test_other_pairs_keep_every_byte(pairs):
    """Compared with the pairs that are not the token's."""

    def is_token(pair: bytes) -> bool:
        name = pair.split(b"=")[0].replace(b"+", b" ")
        return unquote_to_bytes(name) == b"access_token"

    kept = [pair for pair in pairs if not is_token(pair)]
    expected = b"&".join(kept) if kept else None
    if pairs == [b""]:
        expected = b""

    assert expected == remove_query_token(b"&".join(pairs))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (b"https://a/b?c=d", b"https://a/b?c=d"),
        (b"https://a/?access_token=T", b"https://a/?access_token=redacted"),
        (b"https://a/?x=%20&b=2", b"https://a/?x=%20&b=2"),
        (
            b"/?a=1&Access_Token=T;access%5Ftoken[]=U&b=2",
            b"/?a=1&Access_Token=redacted;access%5Ftoken[]=redacted&b=2",
        ),
        (b"/?a=1#access_token=V", b"/?a=1#access_token=redacted"),
        (b"/?a?access_token=T", b"/?a?access_token=redacted"),
        (b"/access_token=T", b"/access_token=T"),
        (b"?access_token=a=b", b"?access_token=redacted"),
    ],
)
def test_a_url_is_redacted(url, expected):
    """Any spelling that some server reads is blanked, wherever it stands."""
    assert expected == redact(url)


@pytest.mark.parametrize(
    "junk", [b"?" * 4096, b"&access" * 1024, b"%" * 8192, b";=" * 4096]
)
def test_hostile_urls_are_read_in_one_go(junk):
    """An expression that backtracks would not come back before the deadline."""
    assert junk == redact(junk)
    assert junk == remove_query_token(junk)


# ------------------------------------------------------------------- the device


HEADER_RULE = DeviceRule(header=b"Device-Serial-Number")
QUERY_RULE = DeviceRule(query=b"device")
EITHER_RULE = DeviceRule(header=b"device-serial-number", query=b"device")


def serial(value: bytes) -> Header:
    """Make the header that names the device."""
    return (b"device-serial-number", value)


@pytest.mark.parametrize(
    ("rule", "query", "headers", "expected"),
    [
        (HEADER_RULE, b"", [serial(b"A1")], "A1"),
        (HEADER_RULE, b"device=B", [serial(b"A1"), serial(b"A1")], "A1"),
        (HEADER_RULE, b"", [serial(b"A1"), serial(b"A2")], None),
        (HEADER_RULE, b"device=A1", [], None),
        (HEADER_RULE, b"", [serial("노".encode())], "노"),
        (HEADER_RULE, b"", [serial(b"\xff")], None),
        (QUERY_RULE, b"a=1&device=A%31", [serial(b"B")], "A1"),
        (QUERY_RULE, b"device=A1&device=A2", [], None),
        (QUERY_RULE, b"Device=A1", [], None),
        (EITHER_RULE, b"device=A1", [], "A1"),
        (EITHER_RULE, b"device=A1", [serial(b"A1")], "A1"),
        (EITHER_RULE, b"device=A1", [serial(b"A2")], None),
        (EITHER_RULE, b"", [], None),
    ],
)
def test_the_device_is_named_once(rule, query, headers, expected):
    """Two names for one device are two devices, unless they agree."""
    assert expected == named_device(head("GET", b"/?" + query, *headers), rule)


def test_a_device_is_not_sought_where_there_is_no_query():
    """A target without a query names nothing."""
    assert named_device(head("GET", b"/"), QUERY_RULE) is None


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("acme_1234", None),
        ("acme_12345", Reason.MALFORMED_TOKEN),
        ("acm_1234", Reason.INACTIVE),
        ("ACME_1234", Reason.INACTIVE),
    ],
)
def test_a_token_must_look_like_the_providers(token, reason):
    """Another prefix is another provider's token; too long is no token at all."""
    assert reason == misfit(token, TokenShape(prefix="acme_", max_bytes=9))


@pytest.mark.parametrize(
    ("place", "shadow", "pass_token", "expected"),
    [
        # Judged, so it stays here; one that nobody judged is the client's own word.
        (TokenPlace.QUERY, False, False, b"/a?b=1"),
        (TokenPlace.QUERY, False, True, b"/a?b=1"),
        (TokenPlace.HEADER, False, False, b"/a?access_token=T.1&b=1"),
        (None, False, False, b"/a?access_token=T.1&b=1"),
        # In shadow all or none, judged or not.
        (TokenPlace.QUERY, True, False, b"/a?b=1"),
        (None, True, False, b"/a?b=1"),
        (TokenPlace.QUERY, True, True, b"/a?access_token=T.1&b=1"),
        (None, True, True, b"/a?access_token=T.1&b=1"),
    ],
)
def test_the_target_that_goes_upstream(place, shadow, pass_token, expected):
    """Without the token that was judged."""
    route = Route(
        id="r",
        access=Access.PUBLIC,
        token_from=BOTH,
        shadow=shadow,
        pass_token=pass_token,
    )
    allowed = admit_open(route)
    assert isinstance(allowed, Permit)
    found = None if place is None else Credentials(Secret("T.1"), place)
    permit = dataclasses.replace(allowed, credentials=found)
    target = head("GET", b"/a?access_token=T.1&b=1").target

    assert expected == upstream_target(target, permit)
