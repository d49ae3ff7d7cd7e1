from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.credentials import upstream_target
from gateway.rules.headers import (
    HeaderRules,
    header_lines,
    requested_tunnel,
)
from gateway.rules.policy import Case, admit_open, admit_shadowed, deny, judge
from gateway.rules.target import parse_target
from gateway.values import (
    Access,
    Credentials,
    Header,
    IdentityHeaders,
    Permit,
    Reason,
    Route,
    RouteKind,
    Secret,
    Source,
    TokenFacts,
    TokenPlace,
)
from tests.rules.heads import head

ADA = TokenFacts(
    provider="melon",
    subject="ada",
    client="app",
    scopes=frozenset({"write", "read"}),
    device="A1",
    claims={
        "name": "마시마렁",
        "tags": ("b c", "a"),
        "level": 3,
        "beta": True,
        "old": False,
        "score": 1.5,
    },
)
API = Route(id="r")
RULES = HeaderRules(
    IdentityHeaders(
        claims=(
            (b"x-auth-name", "name"),
            (b"x-user-tags", "tags"),
            (b"x-level", "level"),
            (b"x-beta", "beta"),
            (b"x-old", "old"),
            (b"x-score", "score"),
            (b"x-email", "email"),
        )
    ),
    pseudonym=b"gw-7",
)
OWN_ALWAYS = [
    (b"x-forwarded-for", b"192.0.2.7"),
    (b"x-forwarded-proto", b"http"),
    (b"x-forwarded-host", b"api.example"),
    (b"via", b"1.1 gw-7"),
    (b"x-request-id", b"id-1"),
]
IDENTITY = [
    (b"x-auth-subject", b"ada"),
    (b"x-auth-client", b"app"),
    (b"x-auth-provider", b"melon"),
    (b"x-auth-device", b"A1"),
    (b"x-auth-scopes", b"read write"),
    (b"x-auth-name", b"%EB%A7%88%EC%8B%9C%EB%A7%88%EB%A0%81"),
    (b"x-user-tags", b"b%20c a"),
    (b"x-level", b"3"),
    (b"x-beta", b"true"),
    (b"x-old", b"false"),
    (b"x-score", b"1.5"),
]


def permit(
    route: Route = API,
    facts: TokenFacts = ADA,
    place: TokenPlace = TokenPlace.HEADER,
) -> Permit:
    """Permit what the facts allow, as the policy does."""
    case = Case(route, facts, 0.0, False, None)
    decision = judge(case, Credentials(Secret("T.1"), place), Source.L1)
    assert isinstance(decision, Permit)
    return decision


def anonymous(route: Route) -> Permit:
    """Permit without a token, as the policy does."""
    decision = admit_open(route)
    assert isinstance(decision, Permit)
    return decision


def sent(
    *headers: Header,
    leave: Permit | None = None,
    hop: bytes = b"",
    rules: HeaderRules = RULES,
) -> list[Header]:
    """Give what goes upstream after the Host line."""
    result = rules.upstream_headers(
        head("GET", b"/", *headers),
        leave or anonymous(Route(id="public", access=Access.PUBLIC)),
        request_id=b"id-1",
        hop=hop,
    )
    assert not isinstance(result, Reason)
    assert (b"host", b"api.example") == result[0]
    return result[1:]


# --------------------------------------------------------------- what is told


def test_the_upstream_is_told_who_calls():
    """Ours come last; a claim that the token lacks makes no header."""
    expected = [(b"accept", b"*/*"), *OWN_ALWAYS, *IDENTITY]
    assert expected == sent((b"accept", b"*/*"), leave=permit())


def test_the_upstream_is_told_of_facts_that_outlived_their_time():
    """By us alone: what a client says of it is stripped, as lines and as headers."""
    stale = replace(permit(), source=Source.STALE)
    lie = (b"x-auth-stale", b"0")
    expected = [*OWN_ALWAYS, *IDENTITY, (b"x-auth-stale", b"1")]

    assert expected == sent(lie, leave=stale)
    assert [*OWN_ALWAYS, *IDENTITY] == sent(lie, leave=permit())
    lines = RULES.upstream_lines(head(), stale, request_id=b"id-1")
    assert isinstance(lines, bytes)
    assert lines.endswith(b"x-score: 1.5\r\nx-auth-stale: 1\r\n")


def test_nobody_is_told_where_nobody_was_asked():
    """A public route strips identity headers and adds none."""
    assert OWN_ALWAYS == sent((b"x-auth-subject", b"root"))


def test_unknown_is_not_told():
    """No claim, no header; a known lack of scopes is told as such."""
    facts = TokenFacts(provider="melon", scopes=frozenset())

    expected = [(b"x-auth-provider", b"melon"), (b"x-auth-scopes", b"")]
    assert [*OWN_ALWAYS, *expected] == sent(leave=permit(facts=facts))
    assert [*OWN_ALWAYS, expected[0]] == sent(
        leave=permit(facts=TokenFacts(provider="melon"))
    )


def test_identity_headers_are_called_what_the_config_says():
    """An empty name leaves one out; a configured name is stripped like any of ours."""
    rules = HeaderRules(
        IdentityHeaders(subject=b"x-user", client=b"", scopes=b"", device=b""),
        pseudonym=b"gw-7",
    )

    expected = [*OWN_ALWAYS, (b"x-user", b"ada"), (b"x-auth-provider", b"melon")]
    assert expected == sent((b"x-user", b"root"), leave=permit(), rules=rules)


def test_identity_headers_have_a_limit():
    """Facts that are too large to be told make the token unusable: no half truths."""
    rules = HeaderRules(IdentityHeaders(limit_bytes=100), pseudonym=b"gw-7")
    subject = msgspec.structs.replace(ADA, subject="x" * 100)

    answer = rules.upstream_headers(head(), permit(facts=subject), request_id=b"id-1")

    assert Reason.INCONSISTENT == answer


# --------------------------------------------------------- what never passes


@pytest.mark.parametrize(
    "name",
    [
        b"connection",
        b"keep-alive",
        b"proxy",
        b"proxy-connection",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",
        b"content-length",
        b"expect",
        b"host",
        b"authorization",
        b"x-request-id",
        b"x_request_id",
        b"any_name",
        b"x-auth-subject",
        b"x-auth-anything",
        b"x.auth.subject",
        b"x_auth_subject",
        b"x-user-tags",
        b"x-user.tags",
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"x-forwarded-host",
        b"x-forwarded-prefix",
        b"x-forwarded.user",
        b"forwarded",
        b"x-real-ip",
        b"x-original-url",
        b"x-original-uri",
        b"x-original-method",
        b"x-rewrite-url",
        b"x-http-method-override",
        b"x-http-method",
        b"x-method-override",
    ],
)
def test_a_client_cannot_send_what_is_not_the_clients(name):
    """Hop-by-hop, ours, the wire's, a second opinion, or a name that folds to one."""
    assert OWN_ALWAYS == sent((name, b"root"), (name, b""))


def test_everything_else_passes_in_order_byte_for_byte():
    """Unknown fields, repeated ones, and bytes beyond ASCII (RFC 9110 §5.1, §5.3)."""
    headers: list[Header] = [
        (b"x-role", b"\x85admin\xa0"),
        (b"cookie", b"a=1"),
        (b"x-role", b"second"),
        (b"cookie", b"b=2"),
        (b"range", b"bytes=0-9"),
        (b"x-forwarder", b"1"),
    ]

    assert [*headers, *OWN_ALWAYS] == sent(*headers)


def test_connection_options_take_only_the_clients_own():
    """What `Connection` lists goes; what we add stays (GHSA-w9mr-28mw-j8hg)."""
    listed = b"close, X-Custom , x-auth-subject,X-Request-Id,via, host, x-forwarded-for"

    expected = [(b"accept", b"1"), *OWN_ALWAYS, *IDENTITY]
    assert expected == sent(
        (b"x-custom", b"1"),
        (b"connection", listed),
        (b"accept", b"1"),
        (b"via", b"1.1 x"),
        leave=permit(),
    )


@given(
    st.lists(
        st.tuples(
            st.one_of(
                st.sampled_from(
                    b"connection x-auth-subject x_auth_subject x-user-tags x-email "
                    b"x-auth-new x.level via referer host authorization".split()
                ),
                st.from_regex(rb"[a-z0-9_.!~-]{1,12}", fullmatch=True),
            ),
            st.one_of(st.just(b"x-auth-subject, x-level"), st.binary(max_size=9)),
        ),
        max_size=8,
    ),
    st.booleans(),
)
def test_no_client_controls_an_identity_header(headers, trusted):
    """Whatever comes in, and be the peer trusted, they are ours alone, and all."""
    out = sent(*headers, leave=permit(), hop=b"10.0.0.1" if trusted else b"")
    names = {name for name, _ in IDENTITY} | {b"x-email"}

    def folded(name: bytes) -> bytes:
        return name.replace(b"_", b"-").replace(b".", b"-")

    ours = [
        (name, value)
        for name, value in out
        if folded(name) in names or folded(name).startswith(b"x-auth-")
    ]
    assert IDENTITY == ours
    assert [b"id-1"] == [value for name, value in out if name == b"x-request-id"]
    assert not [name for name, _ in out if name in {b"host", b"authorization"}]


def test_a_client_that_invents_names_changes_nothing():
    """What is remembered of names is bounded; the verdicts stay the same."""
    rules = HeaderRules(IdentityHeaders(), pseudonym=b"gw-7")
    invented = [(b"x-%d" % number, b"1") for number in range(1200)]
    invented.append((b"x-" + b"y" * 100, b"1"))

    for _ in range(2):
        assert [*invented, *OWN_ALWAYS] == sent(
            *invented, (b"x_bad", b"1"), (b"x-auth-" + b"y" * 100, b"1"), rules=rules
        )
    assert "<HeaderRules: 5 identity headers>" == repr(rules)


# ------------------------------------------------------------ where it came from


def test_a_trusted_proxys_word_comes_first():
    """Its forwarding headers pass, its address is added, what it left out is told."""
    proxy: list[Header] = [
        (b"x-forwarded-for", b"198.51.100.1"),
        (b"x-forwarded-proto", b"https"),
        (b"x-real-ip", b"198.51.100.1"),
        (b"forwarded", b"for=198.51.100.1"),
    ]

    expected = [
        *proxy,
        (b"x-forwarded-for", b"10.0.0.1"),
        (b"x-forwarded-host", b"api.example"),
        (b"via", b"1.1 gw-7"),
        (b"x-request-id", b"id-1"),
    ]
    assert expected == sent(*proxy, hop=b"10.0.0.1")


def test_not_even_a_trusted_proxy_has_a_second_opinion():
    """Another URL or method than the judged one is never handed on."""
    second: list[Header] = [(b"x-original-url", b"/admin"), (b"x_http_method", b"PUT")]

    expected = [(b"x-forwarded-for", b"10.0.0.1"), *OWN_ALWAYS[1:]]
    assert expected == sent(*second, hop=b"10.0.0.1")


def test_the_scheme_and_the_authority_are_told():
    """As the listener or a trusted hop says, and as the client wrote."""
    request = head("GET", b"/", authority=b"API.example:8080", scheme="https")

    out = RULES.upstream_headers(
        request, anonymous(Route(id="p", access=Access.PUBLIC)), request_id=b"1"
    )

    assert isinstance(out, list)
    assert (b"host", b"API.example:8080") == out[0]
    assert (b"x-forwarded-proto", b"https") in out
    assert (b"x-forwarded-host", b"API.example:8080") in out


def test_an_upstream_may_set_its_host():
    """The client's authority is then told by X-Forwarded-Host alone."""
    out = RULES.upstream_headers(
        head(), permit(), request_id=b"1", host=b"internal:9000"
    )

    assert isinstance(out, list)
    assert (b"host", b"internal:9000") == out[0]
    assert (b"x-forwarded-host", b"api.example") in out


def test_via_is_added_to_and_a_loop_is_refused():
    """RFC 9110 §7.6.3: every hop adds its own line; seeing ours again is a loop."""
    others = (b"via", b"1.0 fred, 1.1 gw-8")
    loop = head("GET", b"/", (b"via", b"1.0 fred, 1.1 gw-7"))

    assert [others, *OWN_ALWAYS] == sent(others)
    assert Reason.LOOP_DETECTED == RULES.upstream_headers(
        loop, permit(), request_id=b"1"
    )


def test_a_referer_shows_no_token():
    """On public routes, too."""
    expected = (b"referer", b"https://a/?access_token=redacted&b=1")
    assert [expected, *OWN_ALWAYS] == sent(
        (b"referer", b"https://a/?access_token=T.1&b=1")
    )


# ---------------------------------------------------------------- the token itself

BASIC = (b"authorization", b"Basic x")
JUDGED = (b"authorization", b"Bearer T.1")


@pytest.mark.parametrize(
    ("leave", "came", "expected"),
    [
        (permit(), JUDGED, None),
        (permit(Route(id="r", pass_token=True)), JUDGED, JUDGED),
        (
            permit(Route(id="r", pass_token=True), place=TokenPlace.QUERY),
            BASIC,
            JUDGED,
        ),
        (
            anonymous(Route(id="r", access=Access.OPTIONAL, pass_token=True)),
            BASIC,
            None,
        ),
        (anonymous(Route(id="r", access=Access.PUBLIC)), BASIC, None),
        (
            anonymous(Route(id="r", access=Access.PUBLIC, pass_token=True)),
            BASIC,
            BASIC,
        ),
        (anonymous(Route(id="r", kind=RouteKind.OAUTH_TOKEN)), BASIC, BASIC),
        (permit(Route(id="r", kind=RouteKind.OAUTH_USERINFO)), JUDGED, JUDGED),
    ],
)
def test_only_a_judged_token_is_handed_on(leave, came, expected):
    """And where none is judged, what is between the client and the upstream."""
    out = sent(came, leave=leave)

    assert [expected] * (expected is not None) == [
        header for header in out if header[0] == b"authorization"
    ]


def test_a_provider_is_not_told_what_it_said():
    """Userinfo takes the token; identity headers are for resource APIs."""
    leave = permit(Route(id="r", kind=RouteKind.OAUTH_USERINFO))

    assert [*OWN_ALWAYS, JUDGED] == sent(leave=leave)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/a?access_token=T.1", b"/a"),
        (b"/a?&x=%zz&access_token=T.1&y", b"/a?&x=%zz&y"),
    ],
)
def test_a_query_token_stays_here(target, expected):
    """It is taken out, and every other byte is sent as it came."""
    parsed = head("GET", target).target

    assert expected == upstream_target(parsed, permit(place=TokenPlace.QUERY))


def test_a_query_passes_where_no_token_was_judged():
    """Public and OAuth routes hand on what the client wrote; so does a header token."""
    parsed = head("GET", b"/v1/a?access_token=T.1").target
    public = Route(id="r", access=Access.PUBLIC, strip_prefix=b"/v1")

    assert b"/a?access_token=T.1" == upstream_target(parsed, anonymous(public))
    assert parsed.raw == upstream_target(parsed, permit())


# -------------------------------------------------------------------------- tunnels

TUNNEL = Route(id="ws", upgrades=frozenset({b"websocket", b"h2c"}))
ASKS = (b"connection", b"keep-alive, Upgrade")


@pytest.mark.parametrize(
    ("route", "headers", "expected"),
    [
        (TUNNEL, [ASKS, (b"upgrade", b"WebSocket")], b"websocket"),
        (TUNNEL, [ASKS, (b"upgrade", b"h2c, foo/1, websocket")], b"websocket"),
        (
            TUNNEL,
            [ASKS, (b"upgrade", b"foo"), (b"upgrade", b"websocket")],
            b"websocket",
        ),
        (TUNNEL, [(b"upgrade", b"websocket")], None),
        (TUNNEL, [ASKS], None),
        (TUNNEL, [ASKS, (b"upgrade", b"h2c")], None),
        (TUNNEL, [ASKS, (b"upgrade", b"websockets")], None),
        (API, [ASKS, (b"upgrade", b"websocket")], None),
    ],
)
def test_only_a_listed_protocol_may_tunnel(route, headers, expected):
    """RFC 9110 §7.8: asked for by both headers; h2c never, even when listed."""
    assert expected == requested_tunnel(head("GET", b"/", *headers), route)


FIELDS = st.sampled_from(
    [
        (b"accept", b"*/*"),
        (b"authorization", b"Bearer T"),
        (b"connection", b"x-one"),
        (b"max-forwards", b"3"),
        (b"referer", b"/a?access_token=T"),
        (b"x-auth-subject", b"root"),
        (b"x-forwarded-for", b"10.0.0.1"),
        (b"x-one", b"1"),
    ]
)
LEAVES = [
    permit(),
    permit(route=Route(id="passing", pass_token=True)),
    permit(facts=TokenFacts(provider="melon")),
    anonymous(Route(id="public", access=Access.PUBLIC, pass_token=True)),
]


@given(st.lists(FIELDS, max_size=6), st.lists(st.sampled_from(LEAVES), max_size=12))
def test_lines_from_memory_are_the_lines_that_would_be_written(fields, leaves):
    """Whatever a client's header lines were used for before, on whichever routes."""
    request = head("GET", b"/", *fields)

    for number, leave in enumerate(leaves):
        request_id = b"id-%d" % number
        headers = RULES.upstream_headers(request, leave, request_id=request_id)
        assert not isinstance(headers, Reason)
        assert header_lines(headers) == RULES.upstream_lines(
            request, leave, request_id=request_id
        )


def test_lines_are_noted_for_a_few_routes_at_most():
    """A client that asks every route in turn fills no memory."""
    request = head("GET", b"/", (b"accept", b"*/*"))
    for number in range(100):
        leave = permit(route=Route(id=f"r{number}"))
        RULES.upstream_lines(request, leave, request_id=b"id")

    assert len(request.notes[RULES]) <= 4


def test_a_loop_and_oversized_facts_refuse_lines_too():
    """The same reasons as for headers, and nothing is noted of a loop."""
    looping = head("GET", b"/", (b"via", b"1.1 gw-7"))
    small = HeaderRules(IdentityHeaders(limit_bytes=1), pseudonym=b"gw-7")

    assert Reason.LOOP_DETECTED == RULES.upstream_lines(
        looping, permit(), request_id=b"id"
    )
    assert {} == looping.notes
    assert Reason.INCONSISTENT == small.upstream_lines(
        head(), permit(), request_id=b"id"
    )


@pytest.mark.parametrize("value", [b"NTLM TlRMTVNTUAAB", b"Negotiate YII=", b"ntlm"])
def test_a_connection_is_never_authenticated(value):
    """RFC 4559: the next client on that connection would be this one."""
    public = anonymous(Route(id="p", access=Access.PUBLIC, pass_token=True))

    assert OWN_ALWAYS == sent((b"authorization", value), leave=public)


def test_connection_cannot_take_the_type_from_a_judged_form():
    """What was judged is what is sent; other names are the client's to give up."""
    assert [(b"content-type", b"a/b"), *OWN_ALWAYS] == sent(
        (b"connection", b"content-type, x-one"),
        (b"content-type", b"a/b"),
        (b"x-one", b"1"),
    )


@pytest.mark.parametrize(
    ("value", "left"),
    [(b"5", b"4"), (b"0", b"0"), (b"x", b"x"), (b"9" * 12, b"9" * 12)],
)
def test_max_forwards_is_counted_down(value, left):
    """RFC 9110 §7.6.2; what is no number is not ours to mend."""
    assert [(b"max-forwards", left), *OWN_ALWAYS] == sent((b"max-forwards", value))


def test_remembered_identities_are_bounded_and_never_mixed_up():
    """Each permit tells its own facts, however many came before."""
    rules = HeaderRules(IdentityHeaders(), pseudonym=b"us")
    callers = [TokenFacts(provider="p", subject=f"s{number}") for number in range(2100)]

    for facts in [*callers, *callers[:3]]:
        told, lines = rules._identity(
            Permit(route=Route(id="r"), facts=facts, credentials=None, source=Source.L1)
        )
        assert told is not None
        assert facts.subject is not None
        assert (b"x-auth-subject", facts.subject.encode()) == told[0]
        assert header_lines(told) == lines

    assert len(rules._told) < len(callers)


# ------------------------------------------------------------------- routes in shadow

SHADOW = Route(id="shadow", shadow=True)
SHADOW_PASSING = Route(id="passing", shadow=True, pass_token=True)


def shadowed(route: Route, place: TokenPlace | None = TokenPlace.HEADER) -> Permit:
    """Let through what would be refused, as the policy does."""
    credentials = None if place is None else Credentials(Secret("T.1"), place)
    denial = deny(route, Reason.INSUFFICIENT_SCOPE, facts=ADA)
    leave = admit_shadowed(denial, credentials)
    assert isinstance(leave, Permit)
    return leave


def test_a_refusal_in_shadow_is_told_and_no_identity():
    """Nothing that was claimed has been accepted; no client can say it for us."""
    lies = (
        (b"x-auth-shadow-denied", b"ok"),
        (b"x-auth-subject", b"root"),
        (b"authorization", b"Bearer T.1"),
    )
    mark = (b"x-auth-shadow-denied", b"insufficient_scope")
    lines = RULES.upstream_lines(head(), shadowed(SHADOW), request_id=b"id-1")

    assert [*OWN_ALWAYS, mark] == sent(*lies, leave=shadowed(SHADOW))
    assert [*OWN_ALWAYS, *IDENTITY] == sent(*lies, leave=permit(SHADOW))
    assert isinstance(lines, bytes)
    assert lines.endswith(b"id-1\r\nx-auth-shadow-denied: insufficient_scope\r\n")


@pytest.mark.parametrize("leave", [shadowed(SHADOW_PASSING), permit(SHADOW_PASSING)])
@pytest.mark.parametrize("word", [b"Bearer T.1", b"Basic YTpi", b"bearer  T.1"])
def test_tokens_pass_a_route_in_shadow_as_they_came(leave, word):
    """Once, whatever became of them: the upstream goes on to judge by itself."""
    line = (b"authorization", word)
    told = sent(line, leave=leave)
    lines = RULES.upstream_lines(head("GET", b"/", line), leave, request_id=b"id-1")

    assert [word] == [value for name, value in told if name == b"authorization"]
    assert isinstance(lines, bytes)
    assert 1 == lines.count(b"authorization: ")


@pytest.mark.parametrize("place", [*TokenPlace, None])
def test_the_query_of_a_route_in_shadow_goes_with_its_tokens(place):
    """Untouched where they pass, without any where they do not."""
    target = parse_target(b"/a?x=1&access_token=T.1&access_token=T.2")
    assert target is not None

    assert b"/a?x=1" == upstream_target(target, shadowed(SHADOW, place))
    assert target.raw == upstream_target(target, shadowed(SHADOW_PASSING, place))
