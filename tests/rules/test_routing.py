from collections.abc import Sequence
from itertools import groupby

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.rules.routing import (
    Pattern,
    Routes,
    conflicts,
    parse_host,
    parse_pattern,
    parse_prefix,
    rewrite,
)
from gateway.rules.target import parse_target
from gateway.values import NoRoute, Reason, Route, Target
from tests.benchmarks.bench_routing import lookup_seconds
from tests.rules.heads import head


def route(path: str, *methods: str, **settings) -> Route:
    """Make a route, named after its path unless told otherwise."""
    settings.setdefault("id", path)
    return Route(path=path, methods=frozenset(methods), **settings)


def found(routes: Sequence[Route], path: bytes, method: str = "GET", host="a.example"):
    """Give the id of the route found, or the reason why there is none."""
    table = Routes(routes)
    answer = table.find(head(method, path, authority=host.encode()))
    return answer.id if isinstance(answer, Route) else answer.reason


def target(raw: bytes) -> Target:
    """Read a target that is a proper one."""
    parsed = parse_target(raw)
    assert parsed is not None
    return parsed


# ---------------------------------------------------------------------- paths


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("/", b"/", True),
        ("/", b"/a", False),
        ("/a", b"/a", True),
        ("/a", b"/a/", True),
        ("/a", b"/A", False),
        ("/a", b"/ab", False),
        ("/a", b"/a/b", False),
        ("/a/", b"/a/", True),
        ("/a/", b"/a", False),
        ("/a/**", b"/a", True),
        ("/a/**", b"/a/", True),
        ("/a/**", b"/a/b/c", True),
        ("/a/**", b"/ab", False),
        ("/**", b"/", True),
        ("/**", b"/a/b", True),
        ("/{x}", b"/a", True),
        ("/{x}", b"/a/", True),
        ("/{x}", b"/", False),
        ("/a/{x}", b"/a/", False),
        ("/a/{x}/c", b"/a/b/c", True),
        ("/admin", b"/%61dmin", True),
        ("/%61dmin", b"/admin", True),
        ("/a.b", b"/axb", False),
        ("/노래", b"/%EB%85%B8%EB%9E%98", True),
        ("/a b", b"/a%20b", True),
        ("/a%2Fb", b"/a/b", False),
    ],
)
def test_a_pattern_matches_what_it_says(pattern, path, matches):
    """Literals, whole-segment names and a closing `**`; nothing is a regex."""
    expected = pattern if matches else Reason.NO_ROUTE
    assert expected == found([route(pattern)], path)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/a/b", "/a/b"),
        (b"/a/b/", "/a/b"),
        (b"/a/x", "/a/{n}"),
        (b"/a/x/y", "/a/**"),
        (b"/a/b/z", "/a/b/z"),
        (b"/q/b/c", "/{n}/b/c"),
        (b"/a/b/c", "/a/**"),
        (b"/q", "/**"),
    ],
)
def test_the_most_specific_pattern_wins(path, expected):
    """Segment by segment: a literal over a name over the rest, with a way back."""
    paths = ["/**", "/a/**", "/a/{n}", "/a/b", "/a/b/z", "/{n}/b/c"]

    assert expected == found([route(each) for each in paths], path)


def test_the_way_back_leads_to_a_name():
    """A literal that leads nowhere does not hide the name beside it."""
    assert "/{n}/b" == found([route("/a/c"), route("/{n}/b")], b"/a/b")


# -------------------------------------------------------------------- methods


def test_the_method_comes_after_the_path():
    """A missing method is 405 with the methods there are, in order."""
    table = Routes(
        [
            route("/a", "GET", "PUT", dialect="melon", realm="m"),
            route("/**", dialect="ottm"),
        ]
    )

    expected = NoRoute(
        dialect="melon",
        realm="m",
        allow=("GET", "HEAD", "PUT"),
        reason=Reason.METHOD_NOT_ALLOWED,
    )
    assert expected == table.find(head("POST", b"/a"))


def test_methods_share_a_path():
    """Scope differs by method on one path (melon's likes)."""
    routes = [route("/a", "GET", id="read"), route("/a", "PUT", "DELETE", id="write")]

    assert "read" == found(routes, b"/a")
    assert "write" == found(routes, b"/a", "DELETE")


def test_what_is_found_twice_is_found_the_same():
    """A path that was asked for before is remembered, with its host and method."""
    table = Routes([route("/a", "GET"), route("/a", "POST", id="posted")])
    told = [
        [getattr(table.find(head(method, b"/a")), "id", None) for _ in range(2)]
        for method in ("GET", "POST", "PUT")
    ]

    assert [["/a", "/a"], ["posted", "posted"], [None, None]] == told


def test_get_implies_head_unless_head_is_named():
    """An own HEAD route wins over the implied one, whatever the order."""
    get, other = route("/a", "GET", id="get"), route("/a", "HEAD", id="head")

    assert "get" == found([get], b"/a", "HEAD")
    assert "head" == found([other, get], b"/a", "HEAD")
    assert "head" == found([get, other], b"/a", "HEAD")


def test_a_route_without_methods_serves_the_methods_nobody_names():
    """A named method is more specific than none."""
    routes = [route("/a", id="any"), route("/a", "PUT", id="put")]

    assert "any" == found(routes, b"/a")
    assert "put" == found(routes, b"/a", "PUT")
    assert "any" == found(routes, b"/a", "PROPFIND")


def test_trace_must_be_named():
    """It would show a browser what only the upstream should see."""
    table = Routes([route("/a")])
    answer = table.find(head("TRACE", b"/a"))

    assert isinstance(answer, NoRoute)
    assert Reason.METHOD_NOT_ALLOWED == answer.reason
    assert "GET" in answer.allow
    assert "/a" == found([route("/a", "TRACE")], b"/a", "TRACE")


# ---------------------------------------------------------------------- hosts


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("a.example", "exact"),
        ("A.Example.:80", "exact"),
        ("b.example", "suffix"),
        ("x.y.example", "suffix"),
        ("x.b.example", "longer"),
        ("example", "any"),
        ("badexample", "any"),
        ("[::1]", "six"),
    ],
)
def test_the_most_specific_host_wins(host, expected):
    """Exact over the longest suffix over any; a suffix is not its own host."""
    routes = [
        route("/**", id="any"),
        route("/**", id="suffix", host="*.example"),
        route("/**", id="longer", host="*.B.example"),
        route("/**", id="exact", host="a.Example"),
        route("/**", id="six", host="[0:0::1]"),
    ]

    assert expected == found(routes, b"/", host=host)


@pytest.mark.parametrize(
    ("path", "expected"),
    [(b"/a", "exact"), (b"/b", "longer"), (b"/c", "suffix"), (b"/d", "any")],
)
def test_a_host_without_the_path_leaves_it_to_the_next(path, expected):
    """The less specific hosts are asked in turn."""
    routes = [
        route("/d", id="any"),
        route("/c", id="suffix", host="*.example"),
        route("/b", id="longer", host="*.b.example"),
        route("/a", id="exact", host="a.b.example"),
    ]

    assert expected == found(routes, path, host="a.b.example")


def test_a_missing_route_is_told_in_the_form_of_its_host():
    """A melon host's 404 is melon's; a host of nobody's has the table's default."""
    table = Routes(
        [
            route("/a", host="melon.example", dialect="melon", realm="m"),
            route("/b", host="melon.example", dialect="ottm"),
        ],
        dialect="nugu",
        realm="NUGU",
    )

    melon = table.find(head("GET", b"/x", authority=b"melon.example"))
    nobody = table.find(head("GET", b"/a", authority=b"x.example"))

    assert NoRoute(dialect="melon", realm="m") == melon
    assert NoRoute(dialect="nugu", realm="NUGU") == nobody


# ------------------------------------------------------------ doubtful targets


def test_an_encoded_slash_needs_a_route_that_wants_it():
    """It stays inside its segment; elsewhere the target is refused."""
    routes = [
        route("/files/{name}", id="keeps", encoded_slash=True),
        route("/plain/**", "GET", dialect="melon"),
    ]

    assert "keeps" == found(routes, b"/files/a%2Fb")
    assert Reason.BAD_TARGET == found(routes, b"/plain/a%2fb")
    assert Reason.BAD_TARGET == found(routes, b"/plain/a%2fb", "PUT")
    assert Reason.BAD_TARGET == found(routes, b"/nowhere%2F")
    assert "/plain/**" == found(routes, b"/plain/a%252Fb")


@pytest.mark.parametrize(
    "path",
    [b"/admin;x=1", b"/admin%3bx", b"/;x/admin", b"/;/admin;y/", b"/;x/;y/admin"],
)
def test_parameters_never_lead_around_a_route(path):
    """`/admin;x` is `/admin` to a server that drops parameters (SECURITY §1 B)."""
    assert Reason.BAD_TARGET == found([route("/admin"), route("/**")], path)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/map;lat=1", "/{name}"),
        (b"/files/a;b/c", "/files/**"),
        (b"/files/;x", "/files/**"),
        (b"/x/y;z", Reason.NO_ROUTE),
    ],
)
def test_parameters_pass_where_both_readings_agree(path, expected):
    """Names and `**` take them as they come."""
    assert expected == found([route("/{name}"), route("/files/**")], path)


def test_a_bad_target_is_told_in_the_form_of_its_host():
    """The refusal has the dialect and realm of the host's first route."""
    table = Routes([route("/a", dialect="melon", realm="m")])

    expected = NoRoute(dialect="melon", realm="m", reason=Reason.BAD_TARGET)
    assert expected == table.find(head("GET", b"/a;x"))


# ------------------------------------------------------------- the whole table


PATHS = st.builds(
    lambda parts, end: "/" + "/".join([*parts, *end]),
    st.lists(st.sampled_from(["a", "b", "{n}"]), max_size=3),
    st.sampled_from([[], [""], ["**"]]),
).filter(lambda path: path != "//")
HOSTS = st.sampled_from(["*", "*.e", "*.a.e", "a.e", "b.a.e"])
METHODS = st.frozensets(st.sampled_from(["GET", "PUT", "HEAD"]), max_size=2)
TABLES = st.lists(st.tuples(HOSTS, PATHS, METHODS), min_size=1, max_size=8)


def rank(pattern: Pattern, segments: tuple[bytes, ...]) -> tuple[int, ...] | None:
    """Tell how well a pattern fits, the smaller the better: the definition."""
    ranks = []
    for index, wanted in enumerate(pattern.segments):
        if index == len(segments):
            return None
        if wanted is None and segments[index]:
            ranks.append(1)
        elif wanted == segments[index]:
            ranks.append(0)
        else:
            return None
    left = segments[len(ranks) :]
    if pattern.rest:
        return (*ranks, 2)
    if not left:
        return (*ranks, 0)
    return (*ranks, 1) if ranks and left == (b"",) else None


def narrowness(pattern: str, host: str) -> int:
    """Tell how closely a host pattern fits; 0 is not at all."""
    if pattern == host:
        return 1000
    if pattern == "*":
        return 1
    fits = pattern.startswith("*.") and host.endswith(pattern[1:])
    return 1 + len(pattern) if fits else 0


def reference(routes: list[Route], host: str, path: Target, method: str):
    """Find a route by trying them all."""

    def by_host(route: Route) -> int:
        return -narrowness(route.host, host)

    for fit, group in groupby(sorted(routes, key=by_host), key=by_host):
        ranked = [
            (fitting, route)
            for route in group
            if fit and (fitting := rank(parse_pattern(route.path), path.segments))
        ]
        if not ranked:
            continue
        best = min(fitting for fitting, _ in ranked)
        same = [route for fitting, route in ranked if fitting == best]
        named = {name: route for route in same for name in route.methods}
        if "GET" in named:
            named.setdefault("HEAD", named["GET"])
        unnamed = next((route for route in same if not route.methods), None)
        return named.get(method, unnamed) or Reason.METHOD_NOT_ALLOWED
    return Reason.NO_ROUTE


@given(
    TABLES,
    st.sampled_from(["a.e", "b.a.e", "c.a.e", "x.e", "e", "q"]),
    st.lists(st.sampled_from(["a", "b", "c"]), max_size=4),
    st.booleans(),
    st.sampled_from(["GET", "HEAD", "PUT", "POST"]),
)
def test_the_trie_finds_what_trying_every_route_finds(
    table, host, parts, slash, method
):
    """Speed changes nothing: compared with the definition, route by route."""
    routes = [
        Route(id=str(number), host=host, path=path, methods=methods)
        for number, (host, path, methods) in enumerate(table)
    ]
    assume(not conflicts(routes))
    path = target(("/" + "/".join(parts) + "/" * (slash and bool(parts))).encode())

    answer = Routes(routes).search(host, path, method)

    seen = answer if isinstance(answer, Route) else answer.reason
    assert reference(routes, host, path, method) == seen


def test_what_was_found_before_is_found_again_and_bounded():
    """Clients may ask for any number of paths; each gets its own route."""
    table = Routes(
        [Route(id="a", path="/a/**"), Route(id="b", path="/b", methods=frozenset("P"))]
    )
    paths = [b"/a/%d" % number for number in range(600)] + [b"/b", b"/c", b"/a" * 200]

    def find(path: bytes) -> Route | NoRoute:
        return table.find(head("GET", path))

    first = [find(path) for path in paths]

    assert first == [table.search("api.example", target(path), "GET") for path in paths]
    assert first == [find(path) for path in paths]
    assert len(table._found) <= 256


def test_a_lookup_costs_the_same_among_ten_thousand_routes():
    """The cost follows the path, not the table."""
    assert lookup_seconds(10_000) < 3 * lookup_seconds(10)


def test_a_table_shows_its_routes_and_size():
    """For `gateway routes`, and for a log line."""
    routes = [route("/a", host="a.example"), route("/b")]
    table = Routes(routes)

    assert routes == list(table)
    assert 2 == len(table)
    assert "<Routes: 2 on 1 named hosts>" == repr(table)


# ---------------------------------------------------------------- for the config


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", Pattern((b"",), rest=False)),
        ("/**", Pattern((), rest=True)),
        ("/a/{b}/**", Pattern((b"a", None), rest=True)),
        ("/a/", Pattern((b"a", b""), rest=False)),
        ("/%7Ba%7D%2A", Pattern((b"{a}*",), rest=False)),
        ("/a:b@c,d", Pattern((b"a:b@c,d",), rest=False)),
    ],
)
def test_a_pattern_is_read_into_segments(path, expected):
    """Decoded literals, None for a name; equal shapes are equal values."""
    assert expected == parse_pattern(path)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", "begins with '/'"),
        ("a", "begins with '/'"),
        ("/a//b", "no empty segments"),
        ("/*", "closing '\\*\\*'"),
        ("/**/a", "closing '\\*\\*'"),
        ("/a*", "closing '\\*\\*'"),
        ("/a{b}", "whole-segment"),
        ("/{}", "whole-segment"),
        ("/{a-b}", "whole-segment"),
        ("/a?b", "without"),
        ("/a#b", "without"),
        ("/a\\b", "without"),
        ("/../a", "without"),
        ("/a%", "percent-encoding"),
        ("/a%00", "controls"),
        ("/a\n", "controls"),
        ("/a;b", "no ';'"),
    ],
)
def test_a_bad_pattern_is_told_what_was_expected(path, expected):
    """The message is for the reader who can fix it."""
    with pytest.raises(ValueError, match=f"expected.*{expected}"):
        parse_pattern(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("*", "*"),
        ("API.Example.", "api.example"),
        ("*.Example", "*.example"),
        ("[::0]", "[::]"),
    ],
)
def test_a_host_pattern_has_one_form(text, expected):
    """As request hosts have."""
    assert expected == parse_host(text)


@pytest.mark.parametrize(
    "text", ["", "*.", "a:80", "[::1]:80", "노래.kr", "a*", "**", "*.*.a"]
)
def test_a_bad_host_pattern_is_told_what_was_expected(text):
    """A port would never match; an international name has an ASCII form."""
    with pytest.raises(ValueError, match="expected a host name"):
        parse_host(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", b""), ("/", b""), ("/v1", b"/v1"), ("/v1/", b"/v1"), ("/노", b"/%EB%85%B8")],
)
def test_a_prefix_has_one_form(text, expected):
    """No slash at the end, percent-encoded."""
    assert expected == parse_prefix(text)


@pytest.mark.parametrize("text", ["v1", "/a//", "//", "/a?b", "/..", "/a%2Fb"])
def test_a_bad_prefix_is_told_what_was_expected(text):
    """It has to be a canonical path itself."""
    with pytest.raises(ValueError, match="expected a path prefix"):
        parse_prefix(text)


def test_equal_routes_are_conflicts():
    """Same host, same shape, a method in common; names and spelling do not count."""
    routes = [
        route("/a/{x}", "GET", id="0", host="A.example"),
        route("/%61/{y}", "GET", "PUT", id="1", host="a.example."),
        route("/a/{x}", "POST", id="2", host="a.example"),
        route("/a/{x}", "GET", id="3"),
        route("/a/{x}", id="4", host="a.example"),
        route("/a/{z}", id="5", host="a.example"),
        route("/a/{x}/", "GET", id="6", host="a.example"),
    ]

    pairs = [(one.id, other.id) for one, other in conflicts(routes)]
    assert [("0", "1"), ("4", "5")] == pairs


def test_a_table_with_conflicts_is_refused():
    """Neither of two equal routes may win by its place."""
    with pytest.raises(ValueError, match="routes 'x' and 'y' match the same"):
        Routes([route("/a", id="x"), route("/a", id="y")])


def test_a_table_with_a_sloppy_prefix_is_refused():
    """Rewriting trusts the form that `parse_prefix` gives."""
    with pytest.raises(ValueError, match="route '/a': expected prefixes"):
        Routes([route("/a", strip_prefix=b"/a/")])


# --------------------------------------------------------------------- rewriting


@pytest.mark.parametrize(
    ("raw", "strip", "add", "expected"),
    [
        (b"/a/b?c", b"", b"", b"/a/b?c"),
        (b"/a/b?c", b"/a", b"", b"/b?c"),
        (b"/a", b"/a", b"", b"/"),
        (b"/a/", b"/a", b"", b"/"),
        (b"/a?", b"/a", b"", b"/?"),
        (b"/ab", b"/a", b"", b"/ab"),
        (b"/b/a", b"/a", b"", b"/b/a"),
        (b"/a/b/c", b"/a/b", b"/x", b"/x/c"),
        (b"/a", b"/a", b"/x", b"/x"),
        (b"/a/", b"/a", b"/x", b"/x/"),
        (b"/a", b"", b"/x", b"/x/a"),
        (b"/%61/%62", b"/a", b"", b"/%62"),
        (b"/%EB%85%B8/b", b"/%eb%85%b8", b"", b"/b"),
    ],
)
def test_prefixes_are_exchanged_at_a_segment_boundary(raw, strip, add, expected):
    """The prefix is told decoded; what follows is sent as received."""
    rule = route("/**", strip_prefix=strip, add_prefix=add)

    assert expected == rewrite(target(raw), rule)


@given(
    st.lists(st.sampled_from([b"a", b"%61", b"b", b"a%2Fb", b"a;x"]), max_size=4),
    st.sampled_from([b"", b"/"]),
    st.sampled_from([b"", b"/a", b"/a/b"]),
    st.sampled_from([b"", b"/x", b"/x/y"]),
)
def test_rewriting_never_leaves_the_canonical_form(parts, end, strip, add):
    """What comes out would pass the strict parser again, with one leading slash."""
    raw = (b"".join(b"/" + part for part in parts) + end) or b"/"
    rewritten = rewrite(target(raw), route("/**", strip_prefix=strip, add_prefix=add))

    assert parse_target(rewritten) is not None
