"""Browsers from elsewhere: preflights are answered here, since they carry no token."""

from tests.functional.harness import bearer
from tests.functional.lab import sign

FRIEND = ("Origin", "https://app.example")
STRANGER = ("Origin", "https://evil.example")


def asks(method: str, *headers: str):
    """The header lines of a preflight."""
    lines = [("Access-Control-Request-Method", method)]
    if headers:
        lines.append(("Access-Control-Request-Headers", ", ".join(headers)))
    return lines


def test_a_preflight_is_answered_without_a_token(lab_gateway, lab):
    """204 from the route's own settings; the upstream hears nothing."""
    since = len(lab.requests)
    lines = asks("PUT", "authorization", "content-type")

    answer = lab_gateway.ask("OPTIONS", "/page/one", FRIEND, *lines)

    assert (204, b"") == (answer.status, answer.body)
    assert "https://app.example" == answer.header("Access-Control-Allow-Origin")
    assert {"GET", "HEAD", "PUT"} >= set(
        (answer.header("Access-Control-Allow-Methods") or "").split(", ")
    )
    assert "authorization, content-type" == (
        answer.header("Access-Control-Allow-Headers")
    )
    assert "Origin" in (answer.header("Vary") or "")
    assert since == len(lab.requests)


def test_preflights_that_are_refused(lab_gateway):
    """A stranger, a method, and a header that the route does not list."""
    refused = [
        lab_gateway.ask("OPTIONS", "/page/one", STRANGER, *asks("GET")),
        lab_gateway.ask("OPTIONS", "/page/one", FRIEND, *asks("GET", "x-secret")),
        lab_gateway.ask("OPTIONS", "/page/one", FRIEND, *asks("DELETE")),
    ]

    assert [403, 403, 405] == [answer.status for answer in refused]
    for answer in refused:
        assert "https://evil.example" not in answer.all("Access-Control-Allow-Origin")


def test_the_request_itself_needs_its_token(lab_gateway):
    """And page scripts may read the refusal as well as the answer."""
    refused = lab_gateway.ask("GET", "/page/one", FRIEND)
    allowed = lab_gateway.ask("GET", "/page/one", FRIEND, bearer(sign()))

    assert (401, 200) == (refused.status, allowed.status)
    for answer in (refused, allowed):
        assert "https://app.example" == answer.header("Access-Control-Allow-Origin")
        assert "Origin" == answer.header("Vary")


def test_a_stranger_may_not_read(lab_gateway):
    """The answer comes, and the browser keeps it from the page."""
    answer = lab_gateway.ask("GET", "/page/one", STRANGER, bearer(sign()))

    assert [] == answer.all("Access-Control-Allow-Origin")


def test_options_that_is_no_preflight_is_an_ordinary_method(lab_gateway):
    """Without the asking header it is judged, and here not allowed."""
    answer = lab_gateway.ask("OPTIONS", "/page/one", FRIEND, bearer(sign()))

    assert 405 == answer.status
