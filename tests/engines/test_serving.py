"""Real engines serve the three providers by what was rendered for them.

What a client hears through an engine is compared with what the gateway's own listener
says to the same request, and what the upstream is asked is read there, to the byte.
"""

import hashlib
import http.client
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from websockets.sync.client import connect as open_socket

from tests.engines.conftest import HOST
from tests.engines.stage import Running, render
from tests.functional.harness import (
    Answer,
    bearer,
    connect,
    eventually,
    free_ports,
    head,
    read_answer,
)
from tests.functional.lab import PIECE, Laboratory, sign
from tests.functional.partner import DEVICE, Partner

pytestmark = [pytest.mark.engines, pytest.mark.timeout(120)]

STRIPPING = {"nginx", "envoy"}
"""The engines that take a token out of the query; the others refuse one."""

OWN = {"server", "via", "x-content-type-options", "x-forwarded-server"}
"""Headers of answers that are an engine's."""


@pytest.fixture
def asked(lab):
    """What the upstream is asked from now on."""
    lab.requests.clear()
    return lab.requests


@contextmanager
def nothing_reaches(lab: Laboratory) -> Iterator[None]:
    """Prove that the upstream is not asked meanwhile."""
    before = len(lab.requests)
    yield
    assert len(lab.requests) == before


def heard(
    request: tuple[str, list[tuple[bytes, bytes]], bytes],
) -> dict[str, list[str]]:
    """Give the headers that the upstream was sent, by lower-case name."""
    values: dict[str, list[str]] = {}
    for name, value in request[1]:
        values.setdefault(name.decode().lower(), []).append(value.decode("latin-1"))
    return values


def worded(answer: Answer) -> tuple[int, dict[str, str | None], bytes]:
    """Give what the gateway decides of an answer."""
    status, headers, body = answer.worded
    return status, {k: v for k, v in headers.items() if k not in OWN}, body


# ----------------------------------------------------------------- three providers


@pytest.mark.parametrize(
    ("name", "target", "headers", "extra"),
    [
        ("melon", "/oauth/likes", (), {}),
        ("nugu", "/v1/devices/me", (("Device-Serial-Number", DEVICE),), {}),
        ("ottm", "/membership/v1/me", (), {}),
    ],
    ids=["melon", "nugu", "ottm"],
)
def test_the_flow_ends_in_a_token_that_opens_the_api(
    engine, name, target, headers, extra
):
    """Authorize, consent, code, token and API, all through the engine.

    Forms are checked, and token answers teach, by the gateway's own listener.
    """
    partner = Partner(name, engine)
    token = partner.token(**extra)
    answer = partner.ask("GET", target, *headers, token=token)

    assert 200 == answer.status
    told = {key.lower(): value for key, value in answer.json["gateway"].items()}
    assert name == told["x-auth-provider"]
    assert told["x-auth-subject"]
    assert "authorization" not in told


REFUSALS = {
    "no token": ("GET", "melon.localhost", "/oauth/likes", ()),
    "bad token": ("GET", "melon.localhost", "/oauth/likes", (bearer("a.b.c"),)),
    "nugu": ("GET", "nugu.localhost", "/v1/devices/me", (bearer("a.b.c"),)),
    "ottm, always 400": ("GET", "ottm.localhost", "/membership/v1/me", (bearer("x"),)),
    "head": ("HEAD", "melon.localhost", "/oauth/likes", ()),
    "no route": ("GET", "melon.localhost", "/nowhere", ()),
    "method": ("DELETE", "melon.localhost", "/oauth/likes", ()),
    "no host": ("GET", "nobody.example", "/", ()),
    "form": ("GET", "melon.localhost", "/oauth/authorize?scope=a&scope=b", ()),
    "basic": (
        "GET",
        "melon.localhost",
        "/oauth/likes",
        (("Authorization", "Basic x"),),
    ),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_a_refusal_is_the_providers_own(engine, gateway, what):
    """To the byte what our own listener says: status, headers and body."""
    method, host, target, headers = REFUSALS[what]
    through = engine.ask(method, target, *headers, host=host)
    own = gateway.ask(method, target, *headers, host=host)

    assert worded(own) == worded(through)


def test_a_missing_scope_is_told_with_its_name(engine):
    """RFC 6750 §3.1, through the engine."""
    answer = engine.ask("GET", "/music/private/a", bearer(sign()), host=HOST)

    assert 403 == answer.status
    assert 'scope="private"' in (answer.header("WWW-Authenticate") or "")


def test_a_revoked_token_is_refused_at_once(engine, gateway):
    """The decision is not kept by the engine."""
    token = sign()
    first = engine.ask("GET", "/music/a", bearer(token), host=HOST)
    gateway.revoke("lab", token)
    second = engine.ask("GET", "/music/a", bearer(token), host=HOST)

    assert (200, 401) == (first.status, second.status)


# -------------------------------------------------------------------- who is told


SPOOFED = {
    "any case": [("X-AUTH-SUBJECT", "root"), ("x-auth-client", "root")],
    "doubled": [("X-Auth-Subject", "root"), ("X-Auth-Subject", "root")],
    "empty": [("X-Auth-Subject", "")],
    "none of ours": [("X-Auth-Device", "root"), ("X-Auth-Stale", "1")],
    "connection": [("Connection", "close, x-auth-subject, x-auth-scopes")],
    "upstream": [("X-Gateway-Upstream", "melon"), ("X-Gateway-Target", "/admin")],
    "method": [("X-HTTP-Method-Override", "DELETE"), ("X-Original-URL", "/admin")],
    "second uri": [("X-Original-URI", "/open/a"), ("X-Rewrite-URL", "/open/a")],
    "forwarded": [
        ("X-Forwarded-For", "10.9.9.9"),
        ("X-Forwarded-Host", "evil.example"),
        ("X-Forwarded-Uri", "/open/a"),
        ("X-Forwarded-Method", "OPTIONS"),
        ("Forwarded", "for=10.9.9.9"),
        ("X-Real-IP", "10.9.9.9"),
    ],
}


@pytest.mark.parametrize("row", SPOOFED)
@pytest.mark.parametrize("token", [True, False], ids=["token", "open"])
def test_only_the_gateway_tells_who_calls(engine, asked, row, token):
    """SECURITY §1 C: what a client says of itself reaches nobody."""
    path, carried = ("/music/a", [bearer(sign())]) if token else ("/open/a", [])
    answer = engine.ask("GET", path, *carried, *SPOOFED[row], host=HOST)
    assert 200 == answer.status
    (request,) = asked
    told = heard(request)

    assert path == request[0]
    assert (["ada"] if token else None) == told.get("x-auth-subject")
    assert (["engine"] if token else None) == told.get("x-auth-client")
    assert [HOST] == told["host"]
    assert "authorization" not in told
    assert {"x-auth-device", "x-auth-stale", "x-gateway-upstream"}.isdisjoint(told)
    everything = "".join(f"{name}: {value}" for name, value in told.items())
    assert not re.search(r"root|evil|9\.9\.9|DELETE|/admin|/open/a|melon", everything)


@pytest.mark.parametrize(
    "name",
    ["X_Auth_Subject", "x_auth_subject", "X.Auth.Subject", "X_Forwarded_User"],
)
def test_a_name_that_folds_into_ours_is_not_passed_on(engine, lab, asked, name):
    """CGI and its heirs take `_` and `.` for `-`; dropped or refused."""
    answer = engine.ask("GET", "/music/a", bearer(sign()), (name, "root"), host=HOST)

    assert answer.status in (200, 400)
    assert all("root" not in str(request[1]) for request in asked)


def test_two_tokens_are_refused(engine, lab):
    """Which of them would be judged is anybody's guess."""
    with nothing_reaches(lab):
        two = [bearer(sign()), bearer(sign())]
        assert 400 == engine.ask("GET", "/music/a", *two, host=HOST).status


def test_the_token_is_passed_on_where_the_route_says_so(engine, asked):
    """And nowhere else."""
    token = sign()
    engine.ask("GET", "/pass", bearer(token), host=HOST)
    (request,) = asked

    assert [f"Bearer {token}"] == heard(request)["authorization"]


def test_a_referer_goes_on_without_a_token(engine, asked):
    """And with nothing put in for what looks like an engine's placeholder."""
    referer = "https://a.example/?access_token=SECRET&x={env.HOME}{http.request.host}"
    engine.ask("GET", "/open/a", ("Referer", referer), host=HOST)
    (request,) = asked
    (told,) = heard(request)["referer"]

    assert "SECRET" not in told
    assert "{env.HOME}{http.request.host}" in told


# ------------------------------------------------------------------------- targets


def test_a_token_in_the_query_goes_no_further(engine, lab, asked):
    """Taken out and nothing else touched, or refused; and in no log."""
    token = sign()
    target = f"/music/a%20b?x=%41+;&access_token={token}&y=%zz&z"
    answer = engine.ask("GET", target, host=HOST)
    bad = engine.ask("GET", f"/music/a?access_token=x{token}", host=HOST)

    assert bad.status in (400, 401)
    if engine.engine.name in STRIPPING:
        assert 200 == answer.status
        assert ["/music/a%20b?x=%41+;&y=%zz&z"] == [request[0] for request in asked]
    else:
        assert 400 == answer.status
        assert [] == asked
    assert token not in engine.said()


def test_a_target_is_rewritten_as_the_route_says(engine, asked):
    """By the engine, or by the gateway in its place."""
    answer = engine.ask("GET", "/cut/a?b=1", bearer(sign()), host=HOST)

    assert 200 == answer.status
    assert ["/new/a?b=1"] == [request[0] for request in asked]


ODD = [
    "/music/../open/a",
    "/music/%2e%2e/open/a",
    "/music/..;/open/a",
    "/music//a",
    "//music/a",
    "/music/a%2fb",
    "/music/a%5cb",
    "/music/a\\b",
    "/music/%00",
    "/music/%zz",
    "/music/a#b",
    "/open/..%2fmusic/a",
    "/open/%2e%2e%2fmusic/a",
    "/music;x=1/a",
    "/MUSIC/a",
    "/music.",
]


@pytest.mark.parametrize("target", ODD)
def test_an_odd_target_is_no_way_in(engine, gateway, lab, target):
    """Without a token: what our listener refuses reaches nobody through an engine."""
    own = gateway.ask("GET", target, host=HOST)
    before = len(lab.requests)
    through = engine.ask("GET", target, host=HOST)
    reached = [request[0] for request in lab.requests[before:]]

    # Some engines have an answer of their own, which is a refusal too.
    assert through.status in (own.status, 400, 404) or reached == [target]
    assert all(path.startswith("/open/") for path in reached)
    assert own.status == 200 or not reached


PLAIN = ["/music/%61?q=%41&a=1;b", "/music/a%20b~", "/music/%EB%85%B8", "/music/a;v=1"]


@pytest.mark.parametrize("target", PLAIN)
def test_what_was_judged_is_what_is_asked(engine, asked, target):
    """Or the same in other escapes, where an engine writes targets anew."""
    answer = engine.ask("GET", target, bearer(sign()), host=HOST)
    (request,) = asked

    assert 200 == answer.status
    if engine.engine.name in STRIPPING | {"caddy"}:
        assert target == request[0]
    else:
        # Traefik decodes what needs no escape, and writes `;` of a query as %3B.
        anew = target.replace("%61", "a").replace(";b", "%3Bb")
        assert request[0] in (target, anew)


# -------------------------------------------------------------------------- bodies


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_method_and_body_arrive(engine, asked, method):
    """The question about them has neither."""
    kind = ("Content-Type", "text/plain")
    body = PIECE[:100_000]
    answer = engine.ask(method, "/music/a", bearer(sign()), kind, host=HOST, body=body)
    (request,) = asked

    assert 200 == answer.status
    assert hashlib.sha256(body).digest() == hashlib.sha256(request[2]).digest()


def test_a_refused_upload_reaches_nobody(engine, lab):
    """And is refused while it is being sent."""
    with nothing_reaches(lab), connect(engine.port) as line:
        lines = [("Content-Length", "100000000"), bearer("a.b.c")]
        line.sendall(head("PUT", "/bulk/upload", HOST, lines) + PIECE[:1000])
        answer = read_answer(line)

    assert 401 == answer.status


def test_a_download_streams(engine):
    """Whole, and unchanged."""
    answer = engine.ask("GET", "/bulk/3", bearer(sign()), host=HOST)

    assert 3 * PIECE == answer.body


def test_a_connection_serves_many(engine):
    """A refusal in between changes nothing."""
    line = http.client.HTTPConnection("127.0.0.1", engine.port, timeout=10)
    statuses = []
    for token in (sign(), "a.b.c", sign()):
        headers = {"Host": HOST, "Authorization": f"Bearer {token}"}
        line.request("POST", "/music/a", body=b"hello", headers=headers)
        answer = line.getresponse()
        answer.read()
        statuses.append(answer.status)
    line.close()

    assert [200, 401, 200] == statuses


# -------------------------------------------------------- what the gateway takes over


def test_a_websocket_is_the_gateways(engine):
    """It ends with its token, which no engine sees to."""
    carried = {"Authorization": f"Bearer {sign()}"}
    line = connect(engine.port)
    with open_socket(
        f"ws://{HOST}/socket", sock=line, additional_headers=carried
    ) as channel:
        channel.send("안녕")
        assert "안녕" == channel.recv(timeout=5)


def test_a_route_without_upgrades_opens_no_tunnel(engine, asked):
    """Whatever the client asks for."""
    asking = [("Upgrade", "websocket"), ("Connection", "Upgrade"), bearer(sign())]
    answer = engine.ask("GET", "/music/a", *asking, host=HOST)

    assert 101 != answer.status
    assert all("upgrade" not in heard(request) for request in asked)


def test_another_origin_is_answered_by_the_gateway(engine, gateway):
    """Preflight and answer, as on our own listener."""
    origin = ("Origin", "https://app.example")
    method = ("Access-Control-Request-Method", "PUT")
    preflight = engine.ask("OPTIONS", "/page", origin, method, host=HOST)
    answer = engine.ask("GET", "/page", origin, bearer(sign()), host=HOST)

    assert worded(gateway.ask("OPTIONS", "/page", origin, method, host=HOST)) == (
        worded(preflight)
    )
    assert "https://app.example" == answer.header("Access-Control-Allow-Origin")


# ---------------------------------------------------------------------- no decision


@pytest.fixture(scope="module")
def alone(engine, config, environ, tmp_path_factory):
    """The same engine, asking where nobody listens."""
    folder = tmp_path_factory.mktemp(f"{engine.engine.name}-alone")
    port = free_ports().proxy
    changed = folder / "gateway.yaml"
    nobody = free_ports()
    text = re.sub(
        r'authz: "[^"]*"', f'authz: "127.0.0.1:{nobody.proxy}"', config.read_text()
    )
    text = re.sub(
        r'authz_grpc: "[^"]*"', f'authz_grpc: "127.0.0.1:{nobody.admin}"', text
    )
    changed.write_text(text)
    render(engine.engine, changed, folder, port, environ)
    serving = Running(engine.engine, folder, port)
    try:
        serving.await_answer()
        yield serving
    finally:
        serving.stop()


@pytest.mark.parametrize("path", ["/music/a", "/open/a"])
def test_without_a_decision_nobody_is_let_through(alone, lab, path):
    """Nor is a good token called bad."""
    with nothing_reaches(lab):
        answer = alone.ask("GET", path, bearer(sign()), host=HOST)

    expected = {"nginx": 503, "envoy": 503, "caddy": 502, "traefik": 500}
    assert expected[alone.engine.name] == answer.status


def test_no_log_has_a_query_or_a_token(engine, gateway):
    """Neither the engine's, on good and bad requests, nor ours."""
    token = sign()
    for target in (f"/music/a?access_token={token}", f"/nowhere?access_token={token}"):
        engine.ask("GET", target, host=HOST)
    engine.ask("GET", "/music/a?q=SECRETQUERY", bearer(token), host=HOST)
    # Of the fields that Traefik can log, the path has the query.
    sign_of_it = "route-lab-music" if engine.engine.name == "traefik" else "/music/a"
    # Engines write their lines when they see fit.
    eventually(lambda: sign_of_it in engine.said(), within=15)
    said = engine.said() + gateway.said()

    assert token not in said
    assert "SECRETQUERY" not in said
