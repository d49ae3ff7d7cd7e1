from dataclasses import replace

import pytest

from gateway.config.load import load
from gateway.errors import ConfigError
from tests.config.texts import (
    FRAME,
    REGISTRY,
    TABLES,
    provider,
    route,
    told,
    warned,
)

USERINFO = "verify: [userinfo], userinfo: {url: 'https://p.example/me'}"
LEARNED = (
    "verify: [learned, userinfo], userinfo: {url: 'https://p.example/me'}, "
    "learned: {token_endpoint: 'https://p.example/token'}"
)
INTROSPECTION = (
    "verify: [introspection, userinfo], userinfo: {url: 'https://p.example/me'}, "
    "introspection: {url: 'https://p.example/i', client_id: a, client_secret: b}"
)
JWT = (
    "verify: [jwt], "
    "jwt: {algorithms: [HS256], key: a-key-of-more-than-thirty-two-characters, device_claim: d}"
)
BLIND = (
    "expected `learned` or `introspection` in verify, since userinfo does not tell "
    "for which client a token was made, or `any_client: true`"
)


def routed(settings: str, rest: str = "") -> str:
    """Write a provider and one route of it."""
    line = f"{{id: a, match: {{path: /a}}, provider: p, upstream: api, {rest}}}"
    return provider(settings, f"routes:\n  - {line}\n")


def two(first: str, second: str) -> str:
    """Write two routes that match so."""
    lines = "".join(
        f"  - {{id: {name}, match: {{{match}}}, provider: main, upstream: api}}\n"
        for name, match in (("a", first), ("b", second))
    )
    return f"{TABLES}routes:\n{lines}"


# ------------------------------------------------------------------------ the process


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("listen: {proxy_protocol: [10.0.0.0/8, '::1']}", ""),
        ("listen: {proxy: 'unix:/g', proxy_protocol: [unix]}", ""),
        ("listen: {proxy: 'unix:/g'}\ntrusted_proxies: [unix, 10.0.0.0/8]", ""),
        (
            "listen: {proxy: '[::1]:1', proxy_protocol: [10.0.0.0/8, unix]}",
            "listen.proxy_protocol[1]: expected a network, since listen.proxy is [::1]:1",
        ),
        (
            "listen: {proxy: 'unix:/g', proxy_protocol: [10.0.0.0/8]}",
            "listen.proxy_protocol[0]: expected `unix`, since listen.proxy is unix:/g",
        ),
        ("listen: {authz_grpc: '127.0.0.1:0'}", ""),
        (
            "listen: {authz_grpc: '127.0.0.1:0'}\nworkers: 2\nstore: {url: 'redis://r'}",
            "listen.authz_grpc: expected a port, since all workers listen on it",
        ),
        (
            "trusted_proxies: [unix]",
            "trusted_proxies[0]: expected a network, since listen.proxy is 0.0.0.0:8080",
        ),
        (
            "listen: {proxy: 'unix:/g'}\ntrusted_peers: [127.0.0.0/8, unix]",
            "trusted_peers[1]: expected a network, since engines ask over TCP",
        ),
    ],
)
def test_peers_are_such_as_can_come(text, expected):
    """A balancer that never comes so would leave everybody else without a header."""
    assert ([expected] if expected else []) == told(text)


def test_tracing_says_what_it_needs_to_be_installed():
    """Likewise; where it is off nobody needs it."""
    lacking = replace(REGISTRY, lacking={"tracing": "pip install 'it[otel]'"})

    with pytest.raises(ConfigError) as caught:
        load(f"{FRAME}tracing: {{enabled: true}}\n", lacking, {})
    assert () == load(f"{FRAME}tracing: {{enabled: false}}\n", lacking, {}).warnings

    assert [
        "tracing.enabled: expected OpenTelemetry to be installed: pip install 'it[otel]'"
    ] == [line.partition(": ")[2] for line in caught.value.problems]


def test_a_listener_says_what_it_needs_to_be_installed():
    """An extra is none of everybody's business, but of whoever asks for it."""
    lacking = replace(REGISTRY, lacking={"authz_grpc": "pip install 'it[grpc]'"})
    text = f"{FRAME}listen: {{authz_grpc: '127.0.0.1:1'}}\n"

    with pytest.raises(ConfigError) as caught:
        load(text, lacking, {})
    assert () == load(FRAME, lacking, {}).warnings

    assert [
        "listen.authz_grpc: expected gRPC to be installed: pip install 'it[grpc]'"
    ] == [line.partition(": ")[2] for line in caught.value.problems]


@pytest.mark.parametrize(
    ("names", "key", "other", "found"),
    [
        (
            "claims: {X-Auth-Sub: sub, x-auth-sub: sub}",
            "claims.x-auth-sub",
            "claims.X-Auth-Sub",
            '"x-auth-sub" and "X-Auth-Sub"',
        ),
        ("client: X.Who, device: X-Who", "device", "client", '"X-Who" and "X.Who"'),
        (
            "subject: x-auth-device",
            "subject",
            "device",
            '"x-auth-device" and "X-Auth-Device"',
        ),
        (
            "claims: {X-Auth-Subject: sub}",
            "claims.X-Auth-Subject",
            "subject",
            '"X-Auth-Subject" and "X-Auth-Subject"',
        ),
    ],
)
def test_an_identity_header_has_a_name_of_its_own(names, key, other, found):
    """Case tells no two apart, nor do signs where CGI's heirs read them."""
    place, parent = f"identity_headers.{key}", f"identity_headers.{other}"

    [problem] = told(f"identity_headers: {{{names}}}")
    expected = f"expected another header than {parent} names"
    assert f"{place}: {expected}: {found} are one to many servers" == problem


def test_a_clash_of_identity_headers_shows_nothing_from_outside():
    """Not what `${env:…}` gave; a header's own name stands in the file."""
    text = "identity_headers: {subject: '${env:N}', claims: {X-A: '${env:C}'}}"
    [problem] = told(text, {"N": "x-a", "C": "c"})

    assert problem.endswith('"X-A" and the value of ${env:N} are one to many servers')


def test_identity_headers_without_a_name_are_not_the_same():
    """They are left out, all of them."""
    names = "subject: '', client: '', claims: {X-A: a, X-B: b}"

    assert [] == told(f"identity_headers: {{{names}}}")


# ------------------------------------------------------------------------ providers


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("memory://", []),
        ("redis://ada:pw@host", []),
        ("mysql://ada:pw@host", ["store.url: expected one of memory://, redis://"]),
        ("memory", ["store.url: expected one of memory://, redis://"]),
    ],
)
def test_a_store_is_one_there_is(url, expected):
    """And its URL, which may hold a password, is not shown."""
    assert expected == told(f"store: {{url: '{url}'}}")


@pytest.mark.parametrize("store", ["", "store: {url: 'memory://'}"])
def test_several_workers_need_a_store_that_they_share(store):
    """A grant that one of them learned would be unknown to the others."""
    [line] = told(f"workers: 2\n{store}")

    assert line.startswith("workers: expected 1, or a store.url that processes share")


def test_several_workers_need_a_port_that_they_share():
    """A Unix domain socket would give nearly all clients to one of them."""
    more = "store: {url: 'redis://h'}\nlisten: {proxy: 'unix:/run/p.sock'}"

    [line] = told(f"workers: 2\n{more}")

    assert "workers: expected 1, or host:port in listen.proxy, which can be shared" == (
        line
    )


def test_workers_are_told_of_along_with_other_slips():
    """But not when nobody knows which store was meant."""
    slip = "limits: {header_count: 0}\n"

    assert 2 == len(told(f"workers: 2\n{slip}"))
    assert 1 == len(told("workers: 2\nstore: {url: 7}"))


def test_a_verifier_is_asked_once():
    """A second time could only say the same."""
    lines = told(provider(USERINFO.replace("[userinfo]", "[userinfo, userinfo]")))

    assert ["providers.p.verify[1]: expected each verifier once"] == lines


def test_a_section_nobody_uses_is_a_slip():
    """An operator who wrote it believes that it works."""
    lines = told(provider(INTROSPECTION.replace("[introspection, ", "[")))

    assert ["providers.p.introspection: expected `introspection` in verify"] == lines


def test_learned_grants_confirm_nothing_alone():
    """What was granted once is not what is valid now."""
    settings = "learned: {token_endpoint: 'https://p.example/token'}"
    [line] = told(provider(f"verify: [learned], {settings}"))

    assert line.startswith("providers.p.verify: expected another verifier besides")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (USERINFO, [f"providers.p.assume_scopes: {BLIND}"]),
        (f"{USERINFO}, any_client: true", []),
        (LEARNED, []),
        (INTROSPECTION, []),
        (JWT, []),
    ],
)
def test_scopes_are_assumed_only_of_tokens_whose_client_is_known(settings, expected):
    """Userinfo accepts a token that was made for anybody."""
    assert expected == told(provider(f"{settings}, assume_scopes: [read]"))


def test_assumed_scopes_are_among_those_that_can_be_granted():
    """Where these are listed."""
    rest = "any_client: true, scopes: [read], assume_scopes: [read, raed]"
    lines = told(provider(f"{USERINFO}, {rest}"))

    assert ["providers.p.assume_scopes[1]: expected one of the `scopes`"] == lines


TOKEN_ROUTE = """\
routes:
  - {id: t, match: {path: /token}, kind: oauth-token, provider: p, upstream: %s}
"""


@pytest.mark.parametrize(
    ("endpoint", "target", "learns"),
    [
        ("https://p.example/token", "https://p.example", True),
        ("https://p.example:443/token", "https://P.example", True),
        ("http://127.0.0.1:9100/token", "http://127.0.0.1:9100", True),
        ("https://p.example/token", "https://other.example", False),
        ("http://127.0.0.1:9100/token", "http://127.0.0.1:9101", False),
    ],
)
def test_learning_needs_a_route_that_leads_to_the_token_endpoint(
    endpoint, target, learns
):
    """Elsewhere nothing is learned, and every token would have no known scope."""
    text = provider(LEARNED, TOKEN_ROUTE % "api")
    text = text.replace("https://p.example/token", endpoint)
    text = text.replace("https://api.example", target)

    assert learns == (not any("learns nothing" in line for line in warned(text)))


@pytest.mark.parametrize(
    ("match", "rest", "learns"),
    [
        ("/token", "", True),
        ("/oauth/token", "strip_prefix: /oauth, ", True),
        ("/{any}", "", True),
        ("/oauth/**", "", True),
        ("/토큰", "", True),
        ("/oauth/token", "", False),
        ("/token", "add_prefix: /v2, ", False),
    ],
)
def test_learning_needs_the_right_path_too(match, rest, learns):
    """As the upstream is asked for it; what cannot be told now is not warned about."""
    text = provider(LEARNED, TOKEN_ROUTE % "api").replace("api.example", "p.example")
    text = text.replace("{path: /token}, ", f"{{path: '{match}'}}, {rest}")

    assert learns == (warned(text) == [])


def test_learning_without_any_token_route_is_warned_about():
    """The file may be half of a story: another gateway may route the endpoint."""
    assert [
        (
            "providers.p.verify: `learned` learns nothing: no route of kind oauth-token "
            "leads to its token_endpoint"
        )
    ] == warned(provider(LEARNED))


def test_an_upstream_that_is_not_there_teaches_nothing():
    """Though that is told in its own place."""
    assert [
        (
            "routes[0].upstream: expected a known upstream, "
            'found "apy" (did you mean `api`?)'
        )
    ] == told(provider(LEARNED, TOKEN_ROUTE % "apy"))


@pytest.mark.parametrize(
    "settings",
    [
        LEARNED.replace("https://p.example/token", "http://p.example/token"),
        USERINFO.replace("https", "http"),
        INTROSPECTION.replace("https://p.example/i", "http://p.example/i"),
    ],
)
def test_tokens_are_never_sent_over_plain_http(settings):
    """Loopback excepted (RFC 7662 §4, RFC 6750 §5.3)."""
    lines = told(provider(settings))

    assert any("expected an https URL" in line for line in lines)


PLAIN = [
    LEARNED.replace("https://p.example/token", "http://p.svc/token"),
    USERINFO.replace("https://p.example", "http://p.svc"),
    INTROSPECTION.replace("https://p.example/i", "http://p.svc/i"),
]


@pytest.mark.parametrize("settings", PLAIN)
def test_an_operator_may_vouch_for_the_wire(settings):
    """Where a service mesh encrypts below; said so, and warned about."""
    trusting = f"{settings}, allow_insecure_http: true"
    warnings = warned(provider(trusting))

    assert any("plain HTTP" in line for line in warnings)
    assert told(provider(f"{settings}, allow_insecure_http: false"))


def test_what_is_allowed_of_one_provider_is_not_of_the_next():
    """The switch is each provider's own."""
    text = """
providers:
  mesh:
    allow_insecure_http: ${env:MESH}
    verify: [userinfo]
    userinfo: {url: "http://op.svc/userinfo"}
  plain:
    verify: [userinfo]
    userinfo: {url: "http://op.svc/userinfo"}
"""
    lines = told(text, {"MESH": "true"})

    assert ["providers.plain.userinfo.url"] == [line.split(":")[0] for line in lines]
    assert 2 == len(told(text, {"MESH": "false"}))


# --------------------------------------------------------------------------- routes


def test_references_lead_somewhere():
    """A slip is answered with the name that was meant."""
    text = route("").replace("upstream: api,", "upstream: apy,")
    text = text.replace("provider: main", "provider: mian")

    assert [
        (
            "routes[0].upstream: expected a known upstream, "
            'found "apy" (did you mean `api`?)'
        ),
        (
            "routes[0].provider: expected a known provider, "
            'found "mian" (did you mean `main`?)'
        ),
    ] == told(text)


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("", ["routes[0]: expected a provider, or `access: public`"]),
        ("access: optional", ["routes[0]: expected a provider, or `access: public`"]),
        ("access: public", []),
    ],
)
def test_a_route_that_asks_for_a_token_has_a_provider(rest, expected):
    """Nobody else could say what the token is."""
    assert expected == told(route(rest).replace("provider: main, ", ""))


def test_a_public_route_demands_nothing():
    """A rule that is never applied would only look like one."""
    assert [
        "routes[0].require: expected nothing: a public route asks for no token"
    ] == told(route("access: public, require: {scopes: [read]}"))


def test_tokens_in_the_query_are_warned_about():
    """Some players cannot do otherwise; everybody else can."""
    [warning] = warned(route("token_from: [header, query]"))

    assert warning.startswith("routes[0].token_from: a token in a query ends up in")


@pytest.mark.parametrize(
    ("path", "prefix", "good"),
    [
        ("/v1/**", "/v1", True),
        ("/v1/a", "/v1/a", True),
        ("/v1/a", "", True),
        ("/%761/a", "/v1", True),
        ("/v1/**", "/v2", False),
        ("/{version}/a", "/v1", False),
        ("/**", "/v1", False),
        ("/v1", "/v1/a", False),
    ],
)
def test_a_prefix_that_is_taken_away_is_always_there(path, prefix, good):
    """The upstream must never see the path now with it, now without."""
    text = route(f"strip_prefix: '{prefix}'").replace("path: /a", f"path: '{path}'")

    assert good == (told(text) == [])
    assert good or told(text) == [
        "routes[0].strip_prefix: expected what match.path begins with"
    ]


def test_any_page_is_never_let_in_with_credentials():
    """The Fetch standard forbids it, and reflecting the origin is worse."""
    lines = told(route("cors: {origins: ['*'], credentials: true, methods: [GET]}"))

    assert 1 == len(lines)
    assert lines[0].startswith("routes[0].cors.credentials: expected false")


def test_cross_origin_methods_come_from_somewhere():
    """From `cors` or from the route."""
    cors = "cors: {origins: ['https://app.example']}"

    assert ["routes[0].cors: expected methods, since match.methods lists none"] == told(
        route(cors)
    )
    assert [] == told(route(cors).replace("path: /a", "path: /a, methods: [GET]"))


KINDS = ("oauth-authorize", "oauth-token", "oauth-userinfo", "oauth-revoke")


@pytest.mark.parametrize("kind", KINDS)
def test_a_guarded_endpoint_decides_for_itself(kind):
    """Whether it asks for a token, and what goes on."""
    lines = told(route(f"kind: {kind}, access: public, pass_token: true"))

    assert [
        f"routes[0].access: expected nothing: {kind} decides it",
        f"routes[0].pass_token: expected nothing: {kind} decides it",
    ] == lines


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (
            "oauth-token",
            ["routes[0].require: expected nothing: oauth-token decides it"],
        ),
        ("oauth-userinfo", []),
    ],
)
def test_only_userinfo_judges_a_token(kind, expected):
    """The others are asked without one."""
    assert expected == told(route(f"kind: {kind}, require: {{scopes: [read]}}"))


def test_a_guarded_endpoint_has_a_provider():
    """Whose it is."""
    text = route("kind: oauth-token").replace("provider: main, ", "")

    assert ["routes[0]: expected a provider, or `access: public`"] == told(text)


@pytest.mark.parametrize(
    ("kind", "methods", "expected"),
    [
        ("oauth-token", "POST", None),
        ("oauth-token", "GET, POST", "expected POST alone for oauth-token"),
        ("oauth-revoke", "DELETE", "expected POST alone for oauth-revoke"),
        ("oauth-authorize", "GET", None),
        ("oauth-authorize", "POST", "expected GET and HEAD alone for oauth-authorize"),
        ("oauth-userinfo", "GET, POST", None),
    ],
)
def test_a_guarded_endpoint_takes_its_own_methods(kind, methods, expected):
    """A route for another could only refuse."""
    text = route(f"kind: {kind}")
    lines = told(text.replace("path: /a", f"path: /a, methods: [{methods}]"))

    assert [f"routes[0].match.methods: {expected}" for _ in [0] if expected] == lines


def test_a_form_that_is_held_is_short():
    """64 KiB, and no limit above that is kept."""
    assert [
        "routes[0].body_limit: expected 64KiB or less for a form that is held"
    ] == told(route("kind: oauth-token, body_limit: 65KiB"))
    assert [] == told(route("kind: oauth-token, body_limit: 64KiB"))
    assert [] == told(route("body_limit: 1GiB"))


# -------------------------------------------------------------- what can be known


@pytest.mark.parametrize(
    ("rule", "fact"),
    [
        ("issuers: [a]", "issuer"),
        ("audiences: [a]", "audience"),
        ("clients: [a]", "client"),
        ("device: {header: X-Device}", "device"),
        ("acr: [phr]", "login"),
        ("max_age: 5m", "login"),
    ],
)
def test_a_rule_about_what_nobody_knows_is_refused(rule, fact):
    """It would refuse everybody."""
    key = rule.partition(":")[0]

    assert [
        (
            f"routes[0].require.{key}: expected a provider that can tell it: "
            f"none of userinfo knows the {fact} of a token"
        )
    ] == told(routed(USERINFO, f"require: {{{rule}}}"))
    assert [] == told(routed(JWT, f"require: {{{rule}}}"))


def test_a_device_is_known_only_where_its_claim_is():
    """`device_claim` is what makes a token name one."""
    rule = "require: {device: {header: X-Device}}"

    [line] = told(routed(JWT.replace(", device_claim: d", ""), rule))
    assert "knows the device" in line


def test_claims_are_known_where_an_answer_has_them():
    """Grants alone have none."""
    rule = "require: {claims: {tier: gold}}"

    assert [] == told(routed(USERINFO, rule))


def test_clients_are_asked_for_where_every_verifier_tells_them():
    """A JWT names its client, but userinfo would take the other tokens in."""
    both = JWT.replace("[jwt]", "[jwt, userinfo]") + ", userinfo: {url: 'https://a'}"
    rule = "require: {clients: [a]}"

    assert [f"routes[0].require.clients: {BLIND}"] == told(routed(both, rule))
    assert [] == told(routed(f"{both}, any_client: true", rule))
    assert [] == told(routed(INTROSPECTION, rule))


@pytest.mark.parametrize(
    ("settings", "scopes", "expected"),
    [
        (f"{JWT}, scopes: [read, write]", "[read write, read]", []),
        (JWT, "[whatever]", []),
        (
            f"{JWT}, scopes: [read, write]",
            "[read, raed wirte]",
            [
                (
                    "routes[0].require.scopes[1]: expected a known scope of the provider, "
                    'found "raed" (did you mean `read`?)'
                ),
                (
                    "routes[0].require.scopes[1]: expected a known scope of the provider, "
                    'found "wirte" (did you mean `write`?)'
                ),
            ],
        ),
        (
            USERINFO,
            "[read]",
            [
                (
                    "routes[0].require.scopes: expected a provider that can tell it: none "
                    "of userinfo knows the scope of a token, and assume_scopes is empty"
                )
            ],
        ),
        (f"{USERINFO}, any_client: true, assume_scopes: [read]", "[read]", []),
        (
            f"{USERINFO}, any_client: true, assume_scopes: [read], scopes: [read, write]",
            "[write]",
            [
                (
                    "routes[0].require.scopes[0]: expected a known scope of the provider, "
                    'found "write"'
                )
            ],
        ),
        (USERINFO, "[]", []),
    ],
)
def test_a_scope_is_one_that_somebody_can_grant_and_tell(settings, scopes, expected):
    """Else the route would refuse everybody."""
    assert expected == told(routed(settings, f"require: {{scopes: {scopes}}}"))


# ------------------------------------------------------------------------- equality


@pytest.mark.parametrize(
    ("first", "second", "equal"),
    [
        ("path: /a", "path: /a", True),
        ("path: '/{x}/b'", "path: '/{y}/b'", True),
        ("path: /a, methods: [GET]", "path: /a, methods: [GET, PUT]", True),
        ("path: /a, host: A.example", "path: /a, host: a.example.", True),
        ("path: /a, methods: [GET]", "path: /a, methods: [PUT]", False),
        ("path: /a, methods: [GET]", "path: /a", False),
        ("path: /a, host: a.example", "path: /a", False),
        ("path: /a/b", "path: '/a/{b}'", False),
        ("path: /a/**", "path: /a", False),
    ],
)
def test_two_routes_are_never_equal(first, second, equal):
    """Which of them applied would be chance; one that is more specific is not equal."""
    expected = [
        (
            "routes[1].match: expected another host, path or methods: "
            "the route at <configuration>:11 has the same"
        )
    ]

    assert (expected if equal else []) == told(two(first, second))


def test_ids_are_unique():
    """Metrics and logs know a route by nothing else."""
    text = two("path: /a", "path: /b").replace("id: b", "id: a")

    assert [
        (
            "routes[1].id: expected an id of its own: "
            "the route at <configuration>:11 has the same"
        )
    ] == told(text)
