"""Revoked means revoked at every door: refresh grants, userinfo, a provider's logout.

And what two processes know of a learned grant. Two gateways share one Valkey.
"""

import base64
import json
import secrets
import time
from functools import partial
from urllib.parse import urlencode

import pytest
from redis import Redis

from tests.functional.harness import (
    Answer,
    Gateway,
    bearer,
    command,
    eventually,
    running,
)
from tests.functional.lab import KEY, config, sign
from tests.functional.partner import FORM, Partner
from tests.stores.servers import serving

ISSUER = "https://op.example"
LOGOUT = """
  - id: logout
    match: {path: /logout, methods: [POST]}
    kind: backchannel-logout
    provider: op
    logout: {audiences: [shop], whole_subject: false}
  - {id: signed, match: {path: /signed}, provider: op, upstream: lab}
"""
OP = f"""providers:
  op:
    verify: [jwt]
    token_lifetime: 5m
    jwt: {{algorithms: [HS256], key: {KEY}, issuer: "{ISSUER}"}}
"""
BENEFITS, ME = "/membership/v1/benefits", "/membership/v1/me"


@pytest.fixture(scope="module")
def valkey():
    """The one store."""
    with serving("valkey") as server:
        yield server


@pytest.fixture(scope="module")
def pair(start_demo, valkey):
    """Two gateways of the demo that share it."""
    secret = secrets.token_urlsafe(32)
    first = start_demo(valkey.url, GATEWAY_SECRET=secret)
    second = start_demo(valkey.url, GATEWAY_SECRET=secret)
    with running(first), running(second):
        yield first, second


@pytest.fixture(scope="module")
def told(start_lab, lab, valkey):
    """Two gateways that a provider tells its logouts, and their store."""
    text = config(lab).replace("providers:\n", OP, 1) + LOGOUT
    text = f'store: {{url: "{valkey.url}"}}\n' + text
    first, second = start_lab(text), start_lab(text)
    with running(first), running(second):
        yield first, second


def mark(gateway: Gateway, **what: str) -> str:
    """Revoke by name through the admin listener; gives the mark's id."""
    answer = gateway.admin("POST", "/api/revocations", what)
    assert answer.status == 201, answer
    return str(answer.json["id"])


def lift(gateway: Gateway, name: str) -> None:
    """Take a mark back."""
    assert gateway.admin("DELETE", f"/api/revocations/{name}").status in (200, 204)


def claims(token: str) -> dict[str, str]:
    """Read a JWT's claims."""
    payload = token.split(".")[1]
    read: dict[str, str] = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return read


# ------------------------------------------------------------------ refresh grants


@pytest.mark.parametrize("kind", ["subject", "client"])
def test_who_is_revoked_renews_nothing_and_may_log_in_again(pair, kind):
    """Melon's refresh token is a JWT: its subject is known. At both gateways."""
    here, there = (Partner("melon", gateway) for gateway in pair)
    tokens = here.tokens()
    name = {"subject": claims(tokens["access_token"])["sub"], "client": "demo"}[kind]
    made = mark(here.gateway, provider="melon", **{kind: name})
    try:
        eventually(
            lambda: there.refresh(tokens["refresh_token"]).status == 400, within=2
        )
        refused = here.refresh(tokens["refresh_token"])
        assert (400, "invalid_grant") == (refused.status, refused.json["error"])

        anew = here.tokens()
        renewed = there.refresh(anew["refresh_token"])
        assert 200 == renewed.status
        # And so does what came of that.
        assert 200 == here.refresh(renewed.json["refresh_token"]).status
        assert 400 == here.refresh(tokens["refresh_token"]).status
    finally:
        lift(here.gateway, made)

    eventually(lambda: there.refresh(tokens["refresh_token"]).status == 200, within=2)


# ------------------------------------------------------------------------ userinfo


def test_userinfo_of_who_is_revoked_is_refused_by_who_never_saw_the_token(pair):
    """Ottm's tokens say nothing: the facts are learned before it passes."""
    here, there = (Partner("ottm", gateway) for gateway in pair)
    token = here.token()
    subject = here.ask("GET", "/oauth2/v1/userinfo", token=token).json["sub"]
    made = mark(here.gateway, provider="ottm", subject=subject)
    try:

        def refused() -> bool:
            answer = there.ask("GET", "/oauth2/v1/userinfo", token=token)
            return bool(
                answer.status == 400 and answer.json["error"]["code"] == "10075"
            )

        eventually(refused, within=2)
    finally:
        lift(here.gateway, made)


# -------------------------------------------------------------------------- logout


def log_out(gateway: Gateway, token: str) -> Answer:
    """Tell of a logout, as a provider does."""
    body = urlencode({"logout_token": token}).encode()
    return gateway.ask("POST", "/logout", FORM, body=body)


def logged_out(**changes: object) -> str:
    """Have the provider sign a logout."""
    now = time.time()  # noqa: TID251 -- the process under test has the real clock
    event: dict[str, object] = {
        "http://schemas.openid.net/event/backchannel-logout": {}
    }
    told = {"iss": ISSUER, "aud": "shop", "iat": now, "events": event, **changes}
    return sign(60.0, **told)


def test_a_logout_ends_one_session_at_every_gateway_and_counts_once(told):
    """Within a second; another session of the same person goes on."""
    here, _ = told
    now = time.time()  # noqa: TID251 -- likewise
    ended = sign(iss=ISSUER, sid="S1", iat=now)
    other = sign(iss=ISSUER, sid="S2", iat=now)
    for gateway in told:
        for token in (ended, other):
            assert 200 == gateway.ask("GET", "/signed", bearer(token)).status

    logout = logged_out(sid="S1")
    answer = log_out(here, logout)
    assert (200, b"", "no-store") == (
        answer.status,
        answer.body,
        answer.header("Cache-Control"),
    )

    for gateway in told:
        refused = partial(is_refused, gateway, ended)
        eventually(refused, within=1)
        assert 200 == gateway.ask("GET", "/signed", bearer(other)).status
        again = log_out(gateway, logout)
        assert (400, "invalid_request") == (again.status, again.json["error"])


def is_refused(gateway: Gateway, token: str) -> bool:
    """Tell whether this gateway lets the token in no more."""
    return gateway.ask("GET", "/signed", bearer(token)).status == 401


@pytest.mark.parametrize(
    "changes",
    [{"aud": "kiosk"}, {"iss": "https://evil.example"}, {"nonce": "n"}, {"events": {}}],
)
def test_a_logout_of_somebody_else_ends_nothing(told, changes):
    """400, and nobody is logged out."""
    token = sign(iss=ISSUER, sid="S3")

    assert 400 == log_out(told[0], logged_out(**{"sid": "S3", **changes})).status
    assert 200 == told[0].ask("GET", "/signed", bearer(token)).status


def test_a_logout_token_is_no_access_token_nor_the_other_way_round(told):
    """Both are signed by one key."""
    access = sign(iss=ISSUER, aud="shop", sid="S4")

    assert 401 == told[0].ask("GET", "/signed", bearer(logged_out(sub="x"))).status
    assert 400 == log_out(told[0], access).status


# ------------------------------------------------------------------ learned grants


def test_a_lost_grant_is_unknown_never_guessed(pair, valkey):
    """The provider vouches for the token; its scope nobody knows any more."""
    here, there = (Partner("ottm", gateway) for gateway in pair)
    token = here.token()
    assert 200 == there.ask("GET", BENEFITS, token=token).status
    fresh = here.token()
    with Redis(port=valkey.port) as store:
        for key in list(store.scan_iter("gateway:*:grant:*")):
            store.delete(key)

    answer = there.ask("GET", BENEFITS, token=fresh)
    assert (400, "10075") == (answer.status, answer.json["error"]["code"])
    # Who knows it already goes on; and a new token cures it.
    assert 200 == there.ask("GET", BENEFITS, token=token).status
    assert 200 == there.ask("GET", BENEFITS, token=here.token()).status


# ------------------------------------------------------------------------- explain


def test_explain_tells_source_age_rules_and_the_mark_and_never_the_token(told):
    """A token on standard input, to a running gateway."""
    here, _ = told
    token = sign(iss=ISSUER, sub="eve")
    made = mark(here, provider="op", subject="eve")
    try:
        answer = command(
            "explain",
            "GET",
            "http://any.example/signed",
            "--token-file",
            "-",
            "--admin",
            f"http://127.0.0.1:{here.ports.admin}",
            environ={"GATEWAY_ADMIN_TOKEN": here.admin_token},
            typed=token,
        )
    finally:
        lift(here, made)
    explained = json.loads(answer.stdout)

    assert "revoked" == explained["reason"]
    assert "provider" == explained["facts"]["source"]
    assert 0 <= explained["facts"]["age"] < 5
    assert {"rule": "revocation", "outcome": "revoked"} == explained["rules"][0]
    assert ["subject"] == [each["kind"] for each in explained["marks"]]
    assert abs(explained["marks"][0]["moment"] - time.time()) < 60  # noqa: TID251
    assert token not in answer.stdout + answer.stderr
