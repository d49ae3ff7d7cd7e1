import pytest

from gateway.rules.cors import cors_headers, preflight, requested_method
from gateway.values import Answer, Cors, Header, Route
from tests.rules.heads import head

FRIEND = (b"origin", b"https://app.example")
STRANGER = (b"origin", b"https://evil.example")
ASKS_PUT = (b"access-control-request-method", b"PUT")
VARY = b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
CORS = Cors(
    origins=frozenset({"https://app.example", "https://b.example"}),
    methods=frozenset({"PUT", "GET"}),
    headers=frozenset({"Authorization", "X-Trace"}),
    credentials=True,
    max_age=60,
)


def route(cors: Cors | None = CORS) -> Route:
    """Make a route with these settings."""
    return Route(id="r", cors=cors)


def ask(*headers: Header, method: str = "OPTIONS"):
    """Make a request, a preflight unless told otherwise."""
    return head(method, b"/", *headers)


def test_a_preflight_is_answered_from_the_settings():
    """Everything that is said comes from the route; nothing is stored by caches."""
    asked = (b"access-control-request-headers", b"x-trace , AUTHORIZATION,")

    expected = Answer(
        204,
        (
            (b"access-control-allow-origin", b"https://app.example"),
            (b"access-control-allow-credentials", b"true"),
            (b"access-control-allow-methods", b"GET, PUT"),
            (b"access-control-allow-headers", b"authorization, x-trace"),
            (b"access-control-max-age", b"60"),
            (b"vary", VARY),
            (b"cache-control", b"no-store"),
        ),
        b"",
    )
    assert expected == preflight(route(), ask(FRIEND, ASKS_PUT, asked))


@pytest.mark.parametrize(
    "headers",
    [
        (STRANGER, ASKS_PUT),
        (FRIEND, STRANGER, ASKS_PUT),
        (FRIEND, (b"access-control-request-method", b"DELETE")),
        (FRIEND, ASKS_PUT, (b"access-control-request-headers", b"x-other")),
        ((b"origin", b"https://\xff"), ASKS_PUT),
    ],
)
def test_a_preflight_for_anything_unlisted_is_refused(headers):
    """Origin, method and headers must all be listed."""
    assert preflight(route(), ask(*headers)) is None


def test_a_route_without_cors_answers_no_preflight():
    """No settings, no answer."""
    assert preflight(route(None), ask(FRIEND, ASKS_PUT)) is None


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (ask(FRIEND, ASKS_PUT), "PUT"),
        (ask(FRIEND, ASKS_PUT, method="GET"), None),
        (ask(ASKS_PUT), None),
        (ask(FRIEND), None),
        (ask(FRIEND, ASKS_PUT, ASKS_PUT), None),
    ],
)
def test_a_preflight_is_told_by_method_and_both_headers(asked, expected):
    """Any other OPTIONS request is an ordinary one."""
    assert expected == requested_method(asked)


def test_any_origin_is_never_allowed_credentials():
    """`*` with credentials would let every page act for its visitor."""
    cors = Cors(
        origins=frozenset({"*"}),
        methods=frozenset({"GET"}),
        headers=frozenset(),
        credentials=True,
    )

    expected = ((b"access-control-allow-origin", b"*"),)
    assert expected == cors_headers(route(cors), ask(STRANGER, method="GET"))


def test_a_friend_is_told_so_on_the_actual_response():
    """The origin, credentials where allowed, and that others get another answer."""
    expected = (
        (b"access-control-allow-origin", b"https://app.example"),
        (b"access-control-allow-credentials", b"true"),
        (b"vary", b"Origin"),
    )
    assert expected == cors_headers(route(), ask(FRIEND, method="GET"))


def test_credentials_are_off_unless_configured():
    """The default allows no cookies."""
    cors = Cors(origins=CORS.origins, methods=CORS.methods, headers=CORS.headers)

    expected = (
        (b"access-control-allow-origin", b"https://app.example"),
        (b"vary", b"Origin"),
    )
    assert expected == cors_headers(route(cors), ask(FRIEND, method="GET"))


def test_a_stranger_hears_only_that_the_answer_varies():
    """Else a shared cache would hand it to a friend's browser."""
    assert ((b"vary", b"Origin"),) == cors_headers(route(), ask(STRANGER))


def test_a_route_without_cors_adds_nothing():
    """No settings, no headers."""
    assert () == cors_headers(route(None), ask(FRIEND))
