"""A route in shadow, as a partner, its upstream and an operator see it."""

import json

import pytest

from tests.functional.harness import Answer, Gateway, bearer, running
from tests.functional.lab import config, sign

ROUTES = """
  - {id: trial, match: {path: /trial}, provider: lab, upstream: lab, enforce: shadow, require: {scopes: [write]}}
  - {id: passing, match: {path: /passing}, provider: lab, upstream: lab, enforce: shadow, pass_token: true, token_from: [header, query]}
"""


@pytest.fixture(scope="module")
def gateway(start_lab, lab):
    """A gateway with two routes in shadow."""
    with running(start_lab(config(lab) + ROUTES)) as process:
        yield process


def seen(lab, gateway: Gateway, target: str, *headers: tuple[str, str]):
    """Ask, and give the answer with the target and headers that went upstream."""
    lab.requests.clear()
    answer: Answer = gateway.ask("GET", target, *headers)
    if not lab.requests:
        return answer, None, {}
    ((path, lines, _),) = lab.requests
    return answer, path, {name.decode(): value.decode() for name, value in lines}


def test_what_would_be_refused_goes_on_marked_and_without_identity(gateway, lab):
    """Whatever a client says of itself."""
    lies = ("X-Auth-Shadow-Denied", "ok"), ("X-Auth-Subject", "root")
    told = []
    for token in (None, "junk", sign(scope="read"), sign(-10)):
        headers = () if token is None else (bearer(token),)
        answer, _, lines = seen(lab, gateway, "/trial", *headers, *lies)
        assert 200 == answer.status
        assert not {name for name in lines if name.startswith("x-auth-")} - {
            "x-auth-shadow-denied"
        }
        assert "authorization" not in lines
        told.append(lines["x-auth-shadow-denied"])

    assert ["no_credentials", "inactive", "insufficient_scope", "expired"] == told


def test_what_is_allowed_is_as_ever(gateway, lab):
    """With identity, and no mark."""
    answer, _, lines = seen(lab, gateway, "/trial", bearer(sign(scope="write")))

    assert 200 == answer.status
    assert "ada" == lines["x-auth-subject"]
    assert "x-auth-shadow-denied" not in lines


def test_what_was_revoked_and_what_is_malformed_is_refused(gateway, lab):
    """An order, and no request at all; nothing reaches the upstream."""
    token = sign(scope="write")
    gateway.revoke("lab", token)
    revoked, path, _ = seen(lab, gateway, "/trial", bearer(token))
    odd, other, _ = seen(lab, gateway, "/trial/../x", bearer(sign()))

    assert (401, 400) == (revoked.status, odd.status)
    assert (None, None) == (path, other)


def test_a_token_passes_as_it_came_where_it_passes(gateway, lab):
    """In the header or in the query, whatever its form."""
    token = sign(-10)
    line = f"/passing?a=1&access_token={token}"
    in_query, path, lines = seen(lab, gateway, line)
    assert line == path
    assert "authorization" not in lines
    assert "expired" == lines["x-auth-shadow-denied"]
    odd = ("Authorization", f"Bearer {token}, x")
    in_header, path, lines = seen(lab, gateway, "/passing?a=1", odd)
    assert "/passing?a=1" == path
    assert odd[1] == lines["authorization"]
    assert "malformed_request" == lines["x-auth-shadow-denied"]

    assert (200, 200) == (in_query.status, in_header.status)


def test_two_tokens_at_once_pass_nowhere(gateway, lab):
    """The upstream would choose, and the one that it takes may be revoked."""
    good, bad = sign(), sign(jti="revoked")
    gateway.revoke("lab", bad)
    line = f"/passing?access_token={good}"
    basic = ("Authorization", "Basic YWRhOmE=")
    answers = [
        seen(lab, gateway, "/passing", bearer(bad), bearer(good)),
        seen(lab, gateway, line, bearer(bad)),
        seen(lab, gateway, line, basic),
        seen(lab, gateway, f"{line}&Access_Token={bad}"),
    ]

    assert [(400, None)] * 4 == [(told.status, path) for told, path, _ in answers]


def test_it_is_counted_logged_and_explained(start_lab, lab):
    """So that somebody can tell when the partner is ready."""
    with running(start_lab(config(lab) + ROUTES)) as gateway:
        token = sign(scope="read")
        gateway.ask("GET", "/trial", bearer(token))
        counted = gateway.metric(
            "auth_decisions_total",
            route="trial",
            decision="shadow",
            reason="insufficient_scope",
        )
        explained = gateway.admin(
            "POST",
            "/api/explain",
            {"method": "GET", "url": "http://h/trial", "token": token},
        ).json
        assert 0 == gateway.stop()
        (line,) = gateway.exchanges()
        warnings = [
            each["text"]
            for each in map(json.loads, gateway.printed()[1].splitlines())
            if each["event"] == "configuration"
        ]

    assert 1 == counted
    assert ("shadow", "insufficient_scope", 200) == (
        line["gateway.decision"],
        line["gateway.reason"],
        line["http.response.status_code"],
    )
    assert ("shadow", "insufficient_scope") == (
        explained["decision"],
        explained["reason"],
    )
    assert 2 == sum("X-Auth-Shadow-Denied" in each for each in warnings)
