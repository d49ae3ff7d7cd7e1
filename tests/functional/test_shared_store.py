"""Two gateways with one Valkey: what one learns the other knows, and when it dies."""

import secrets
import time

import pytest
from redis import Redis

from tests.functional.harness import Gateway, eventually, running
from tests.functional.partner import DEVICE, Partner
from tests.stores.servers import serving

ME = "/membership/v1/me"
BENEFITS = "/membership/v1/benefits"
OURS = ("Device-Serial-Number", DEVICE)


@pytest.fixture(scope="module")
def valkey():
    """The one store."""
    with serving("valkey") as server:
        yield server


@pytest.fixture(scope="module")
def pair(start_demo, valkey):
    """Two gateways that share it, and their secret."""
    secret = secrets.token_urlsafe(32)
    first = start_demo(valkey.url, GATEWAY_SECRET=secret)
    second = start_demo(valkey.url, GATEWAY_SECRET=secret)
    with running(first), running(second):
        yield first, second


@pytest.fixture
def ottm(pair):
    """A partner of ottm at either gateway."""
    return tuple(Partner("ottm", gateway) for gateway in pair)


def asked(gateway: Gateway) -> float:
    """How often this gateway has asked a provider for its word."""
    return gateway.metric("idp_requests_total", provider="ottm")


def test_a_grant_learned_by_one_is_known_to_the_other(ottm):
    """Scope and all: the token answer passed only one of them."""
    here, there = ottm
    full, narrow = here.token(), here.token(scope="openid")

    assert 200 == there.ask("GET", BENEFITS, token=full).status
    assert 200 == there.ask("GET", ME, token=narrow).status
    assert "10074" == there.ask("GET", BENEFITS, token=narrow).json["error"]["code"]


def test_facts_found_by_one_spare_the_other_the_question(ottm):
    """The provider is asked once."""
    here, there = ottm
    token = here.token()
    assert 200 == here.ask("GET", ME, token=token).status
    before = asked(there.gateway)

    answer = there.ask("GET", ME, token=token)

    assert (200, "test") == (answer.status, answer.json["nickname"])
    assert before == asked(there.gateway)
    assert 0 < there.gateway.metric("cache_requests_total", tier="l2", result="hit")


def test_a_revoked_tokens_facts_are_gone_for_both(ottm):
    """The provider was told, so whoever asks it now hears *no*."""
    here = ottm[0]
    token = here.token()
    assert 200 == here.ask("GET", ME, token=token).status

    assert 200 == here.revoke(token).status

    for partner in ottm:
        answer = partner.ask("GET", ME, token=token)
        assert "10075" == answer.json["error"]["code"]


def test_a_gateway_with_another_secret_knows_nothing(start_demo, ottm, valkey):
    """It asks for itself, and finds no grant: a new token through it would cure that."""
    token = ottm[0].token()
    with running(start_demo(valkey.url)) as stranger:
        answer = Partner("ottm", stranger).ask("GET", ME, token=token)

        assert "10075" == answer.json["error"]["code"]


def test_a_dump_of_the_store_tells_nothing(ottm, valkey):
    """No token, no subject, no scope, no client, neither in keys nor in values."""
    tokens = ottm[0].tokens()
    assert 200 == ottm[0].ask("GET", ME, token=tokens["access_token"]).status
    with Redis(port=valkey.port) as store:
        entries = list(store.scan_iter(_type="string"))
        lives = [store.ttl(key) for key in entries]
        told = [store.get(key) for key in entries]
        told += [store.lrange(key, 0, -1) for key in store.scan_iter(_type="list")]
        told += [store.hgetall(key) for key in store.scan_iter(_type="hash")]
        told += [store.xrange(key) for key in store.scan_iter(_type="stream")]
        dump = repr((list(store.scan_iter()), told))

    assert len(entries) >= 2
    assert all(0 < life <= 3600 for life in lives)
    for secret in (
        tokens["access_token"],
        tokens["refresh_token"],
        "e68a06bf9f2d4496882877cbecad27eb",
        "openid",
        "demo",
    ):
        assert secret not in dump


def test_an_entry_that_somebody_else_wrote_is_an_alarm_and_a_miss(ottm, valkey):
    """One bit of every value: nothing opens, so nothing is believed."""
    here, there = ottm
    token = here.token()
    assert 200 == here.ask("GET", BENEFITS, token=token).status
    with Redis(port=valkey.port) as store:
        for key in list(store.scan_iter(_type="string")):
            value = store.get(key)
            assert isinstance(value, bytes)
            store.set(key, value[:-1] + bytes([value[-1] ^ 1]), keepttl=True)

    answer = there.ask("GET", BENEFITS, token=token)

    assert "10075" == answer.json["error"]["code"]
    assert 0 < there.gateway.metric("seal_alarms_total")


@pytest.fixture(scope="module")
def frail(start_demo):
    """A gateway with a store that is about to fail."""
    with serving("valkey") as store, running(start_demo(store.url)) as gateway:
        yield store, gateway


def recover(gateway: Gateway) -> None:
    """Wait until the gateway has found its store again."""
    ottm = Partner("ottm", gateway)
    eventually(lambda: ottm.ask("GET", ME, token=ottm.token()).status == 200)


def test_a_store_that_dies_takes_no_token_along(frail):
    """All that is known goes on; only a new opaque token hears *later*."""
    store, gateway = frail
    melon, nugu = Partner("melon", gateway), Partner("nugu", gateway)
    ottm = Partner("ottm", gateway)
    song, speaker, member = melon.token(), nugu.token(), ottm.token()
    unknown = ottm.token()

    def all_is_well() -> None:
        assert 200 == melon.ask("GET", "/oauth/likes", token=song).status
        assert 200 == nugu.ask("GET", "/v1/devices/me", OURS, token=speaker).status
        assert 200 == ottm.ask("GET", ME, token=member).status

    all_is_well()
    store.kill()
    try:
        all_is_well()
        song, speaker = melon.token(), nugu.token()
        all_is_well()
        answer = ottm.ask("GET", ME, token=unknown)
        assert (503, "503") == (answer.status, answer.json["error"]["code"])
        assert answer.header("Retry-After")
        # The partner has its token; what that may do, nobody will know.
        assert 200 == ottm.exchange(ottm.code()).status
    finally:
        store.start()
    recover(gateway)


def test_a_store_that_hangs_costs_milliseconds(frail):
    """Its sockets are open and it answers nobody: nobody waits for it."""
    store, gateway = frail
    melon = Partner("melon", gateway)
    token = melon.token()
    store.stop()
    try:
        begun = time.monotonic()
        for _ in range(20):
            assert 200 == melon.ask("GET", "/oauth/likes", token=token).status
        answer = Partner("ottm", gateway).ask("GET", ME, token="unknown")
        took = time.monotonic() - begun
    finally:
        store.go_on()

    assert 503 == answer.status
    assert took < 0.5
    recover(gateway)


def test_a_store_that_is_not_there_at_the_start(start_demo):
    """It starts and serves what it can; not ready, since it knows no revocation."""
    nowhere = "redis://127.0.0.1:9"
    with running(start_demo(nowhere), ready=False) as gateway:
        melon = Partner("melon", gateway)

        assert 200 == melon.ask("GET", "/oauth/likes", token=melon.token()).status
        assert 0 == gateway.metric("redis_up")
        assert 503 == gateway.status("/readyz").status
        verbose = gateway.status("/readyz?verbose").body
        assert b"[!] store degraded" in verbose
        assert b"[!] revocations degraded" in verbose
