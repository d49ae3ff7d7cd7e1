"""Several processes behind one port: they answer as one, and none is missed."""

import http.client
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from gateway.fronts.ext_authz import SERVICE
from gateway.fronts.ext_authz_pb2 import CheckRequest, CheckResponse
from tests.functional.harness import (
    ADMIN_TOKEN,
    Gateway,
    bearer,
    command,
    connect,
    eventually,
    exchange,
    free_ports,
    head,
    read_answer,
    running,
)
from tests.functional.lab import KEY, MIB, PIECE, config, sign
from tests.functional.load import crowd
from tests.stores.servers import Server, serving

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity"), reason="connections are spread by Linux"
)

HTTPS = ("X-Forwarded-Proto", "https")
FORM = ("Content-Type", "application/x-www-form-urlencoded")


def shared(store: Server) -> str:
    """Write what two workers need."""
    return f"workers: 2\nstore: {{url: '{store.url}'}}\n"


@pytest.fixture(scope="module")
def valkey():
    """The store that workers share."""
    with serving("valkey") as server:
        yield server


@pytest.fixture(scope="module")
def start(start_lab, lab, valkey):
    """Start gateways with two workers in front of the laboratory."""

    def start() -> Gateway:
        gateway: Gateway = start_lab(shared(valkey) + config(lab))
        return gateway

    return start


@pytest.fixture(scope="module")
def pair(start):
    """One that several tests share: who kills a worker waits for its successor."""
    with running(start()) as gateway:
        yield gateway


@pytest.fixture
def ending(start, lab):
    """A gateway of the test's own, which the test will end."""
    lab.wait()
    with running(start()) as gateway:
        yield gateway
    lab.go()


def told(gateway: Gateway, event: str) -> list[dict[str, Any]]:
    """Give the events of one kind that were told so far."""
    lines = gateway.printed()[1].splitlines()
    return [each for each in map(json.loads, lines) if each["event"] == event]


def workers(gateway: Gateway) -> dict[int, int]:
    """Give the processes that serve now, by their number."""
    return {each["number"]: each["pid"] for each in told(gateway, "worker_serving")}


def whole(gateway: Gateway) -> bool:
    """Tell whether all workers serve."""
    return gateway.metric("workers") == 2


def lives(pid: int) -> bool:
    """Tell whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def statuses(gateway: Gateway, token: str, times: int = 40) -> set[int]:
    """Ask on so many connections that every worker is met."""
    return {gateway.ask("GET", "/page/x", bearer(token)).status for _ in range(times)}


def refuses(port: int) -> bool:
    """Tell whether nobody takes connections there."""
    try:
        connect(port).close()
    except ConnectionRefusedError:
        return True
    return False


@contextmanager
def half_heard(gateway: Gateway) -> Iterator[http.client.HTTPResponse]:
    """Hear the first half of a download."""
    with connect(gateway.ports.proxy) as line:
        line.sendall(head("GET", "/bulk/halves", "lab", [bearer(sign())]))
        with http.client.HTTPResponse(line) as response:
            response.begin()
            assert PIECE == response.read(MIB)
            yield response


# ---------------------------------------------------------------------- one gateway


def asks(port: int, token: str) -> int:
    """Ask as nginx does, on a connection of one's own."""
    told = [("X-Original-URI", "/page/x"), ("X-Original-Method", "GET")]
    headers = [*told, bearer(token), ("Connection", "close")]
    return exchange(port, head("GET", "/nginx", "lab", headers)).status


def test_engines_ask_every_worker_and_a_killed_one_has_a_successor(
    start_lab, lab, valkey
):
    """Each listens with a socket of its own; the parent keeps them open."""
    ports = free_ports()
    text = shared(valkey) + config(lab)
    with running(start_lab(text, ports, authz=ports.sandbox)) as gateway:
        first = gateway.metric("auth_decisions_total", door="nginx")
        assert {200} == {asks(ports.sandbox, sign()) for _ in range(40)}
        counted = gateway.status("/metrics").body.decode()
        lines = [line for line in counted.splitlines() if 'door="nginx"' in line]
        os.kill(workers(gateway)[1], signal.SIGKILL)
        assert {200} == {asks(ports.sandbox, sign()) for _ in range(20)}
        eventually(lambda: len(told(gateway, "worker_ended")) and whole(gateway))
        assert {200} == {asks(ports.sandbox, sign()) for _ in range(20)}

        assert first + 80 == gateway.metric("auth_decisions_total", door="nginx")
        assert lines
        assert 401 == asks(ports.sandbox, sign(exp=1))
    assert refuses(ports.sandbox)


def calls(port: int, token: str) -> int:
    """Ask as Envoy does, on a connection of one's own; gives the status for clients."""
    asked = CheckRequest()
    http = asked.attributes.request.http
    http.method, http.path, http.host, http.scheme = "GET", "/page/x", "lab", "http"
    http.headers["authorization"] = f"Bearer {token}"
    alone = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=alone) as channel:
        check = channel.unary_unary(
            f"/{SERVICE}/Check",
            request_serializer=CheckRequest.SerializeToString,
            response_deserializer=CheckResponse.FromString,
        )
        answer = check(asked, timeout=10, wait_for_ready=True)
    if answer.status.code:
        return int(answer.denied_response.status.code)
    return 200 if answer.ok_response.headers else 0


def test_envoy_asks_every_worker_and_a_killed_one_has_a_successor(
    start_lab, lab, valkey
):
    """Each binds the port by itself; who comes anew finds one that lives."""
    ports = free_ports()
    text = shared(valkey) + config(lab)
    with running(start_lab(text, ports, authz_grpc=ports.sandbox)) as gateway:
        assert {200} == {calls(ports.sandbox, sign()) for _ in range(8)}
        os.kill(workers(gateway)[1], signal.SIGKILL)
        eventually(lambda: len(told(gateway, "worker_ended")) and whole(gateway))
        assert {200} == {calls(ports.sandbox, sign()) for _ in range(8)}
        assert 401 == calls(ports.sandbox, sign(exp=1))
        both = {
            line
            for line in gateway.status("/readyz?verbose").body.decode().splitlines()
            if "worker" in line
        }
        assert 2 == len(both)
    decided = [
        each["gateway.worker"]
        for each in gateway.exchanges()
        if each["gateway.door"] == "envoy_grpc"
    ]

    assert {1, 2} == set(decided)
    assert refuses(ports.sandbox)


def test_both_serve_and_are_counted_as_one(pair):
    """Every request once in the metrics, and what a process is by itself for each."""
    before = pair.metric("http_requests_total", route="page")
    assert {200} == statuses(pair, sign())
    text = pair.status("/metrics").body.decode()

    assert before + 40 == pair.metric("http_requests_total", route="page")
    for number in (0, 1, 2):
        assert f'process_resident_memory_bytes{{worker="{number}"}}' in text
    assert {"[+] worker 1", "[+] worker 2", "[+] store"} <= set(
        pair.status("/readyz?verbose").body.decode().splitlines()
    )


def test_the_console_shows_both_as_one(pair):
    """What went through either, and which of them it was."""
    before = pair.admin("GET", "/api/overview").json
    assert {200} == statuses(pair, sign())
    overview = pair.admin("GET", "/api/overview").json
    recent = pair.admin("GET", "/api/recent?route=page&limit=40").json["exchanges"]

    more = overview["requests"]["allowed"] - before["requests"]["allowed"]
    assert 40 == more
    assert {"wanted": 2, "serving": 2} == {
        name: overview["workers"][name] for name in ("wanted", "serving")
    }
    assert {1, 2} == {each["gateway.worker"] for each in recent}
    assert [*recent] == sorted(recent, key=_ended, reverse=True)


def _ended(record: dict[str, float]) -> float:
    return record["timestamp"] + record["http.server.request.duration"]


def test_a_revocation_is_in_force_everywhere_once_it_is_confirmed(pair):
    """Also with the successor of a worker that was killed after it."""
    token, other = sign(), sign(sub="eve")
    assert {200} == statuses(pair, token) | statuses(pair, other)
    pair.revoke("lab", token)
    body = {"provider": "lab", "subject": "eve"}
    assert 201 == pair.admin("POST", "/api/revocations", body).status
    assert {401} == statuses(pair, token) | statuses(pair, other)

    os.kill(workers(pair)[1], signal.SIGKILL)
    eventually(lambda: len(told(pair, "worker_ended")) and whole(pair))
    assert {401} == statuses(pair, token) | statuses(pair, other)
    for mark in pair.admin("GET", "/api/revocations").json["revocations"]:
        assert 204 == pair.admin("DELETE", f"/api/revocations/{mark['id']}").status
    assert {200} == statuses(pair, token) | statuses(pair, other)


def test_a_client_that_revokes_its_token_at_one_is_refused_by_all(pair):
    """The marks of the guarded revocation endpoint travel too."""
    token = sign(client_id="engine")
    host, path = "melon.example", "/oauth/revoke"
    form = f"token={token}&client_id=engine&client_secret=s".encode()
    headers = [HTTPS, FORM]
    request = head("POST", path, host, headers, form)
    assert 200 == exchange(pair.ports.proxy, request).status

    assert [1] == [
        sum(mark["provider"] == "melon" for mark in each.json["revocations"])
        for each in [pair.admin("GET", "/api/revocations")]
    ]


def test_an_explanation_is_had_through_the_parent(pair):
    """Though the parent serves nobody."""
    body = {"method": "GET", "url": "http://lab/page/x", "token": sign()}
    answer = pair.admin("POST", "/api/explain", body)

    assert (200, "allow") == (answer.status, answer.json["decision"])


def test_a_hung_worker_holds_up_no_scrape_and_no_revocation_in_silence(pair):
    """The one counts with what it told last, the other says what is missing."""
    eventually(lambda: whole(pair))
    before = pair.metric("http_requests_total")
    hung = workers(pair)[2]
    os.kill(hung, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        assert before == pair.metric("http_requests_total")
        took = time.monotonic() - begun
        body = {"provider": "lab", "subject": "mallory"}
        answer = pair.admin("POST", "/api/revocations", body)
    finally:
        os.kill(hung, signal.SIGCONT)

    assert took < 3
    assert (503, "not_everywhere") == (answer.status, answer.json["error"])
    # What it was told meanwhile it does now.
    assert 201 == pair.admin("POST", "/api/revocations", body).status
    assert {401} == statuses(pair, sign(sub="mallory"))


def test_who_waits_in_the_queue_of_a_killed_worker_is_served(pair):
    """All of them: their connections are with the socket, not with the process."""
    eventually(lambda: whole(pair))
    assert {200} == statuses(pair, sign())
    victim = workers(pair)[1]
    os.kill(victim, signal.SIGSTOP)
    lines = []
    for _ in range(40):
        line = connect(pair.ports.proxy, timeout=20)
        line.sendall(head("GET", "/page/x", "lab", [bearer(sign())]))
        lines.append(line)
    os.kill(victim, signal.SIGKILL)
    answers = [read_answer(line).status for line in lines]
    for line in lines:
        line.close()

    assert [200] * 40 == answers
    assert victim != workers(pair)[1]
    # The sum of what was counted does not fall when a worker goes.
    assert 0 < pair.metric("worker_restarts_total")


def test_signals_are_the_parents(pair):
    """A whole group may be sent one (systemd, Ctrl-C): the parent tells its workers."""
    eventually(lambda: whole(pair))
    pids = workers(pair)
    for pid in pids.values():
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGINT)

    assert {200} == statuses(pair, sign())
    assert pids == workers(pair)


# --------------------------------------------------------------------------- endings


@pytest.mark.parametrize("mode", ["one", "workers"])
def test_an_end_under_load_fails_nobody(mode, start, start_lab, lab):
    """What was begun is finished; answers are whole, and the last ones say so."""
    lab.wait()
    gateway = start() if mode == "workers" else start_lab(config(lab))
    port, token = gateway.ports.proxy, bearer(sign())
    with running(gateway), half_heard(gateway) as download:
        with crowd(port, "/page/x", [token]) as met:
            eventually(lambda: met.met[200] > 300)
            before = met.met[200]
            gateway.signal(signal.SIGTERM)
            eventually(lambda: gateway.status("/readyz").status == 503)
        assert refuses(port)
        assert gateway.process.poll() is None
        lab.go()
        assert PIECE == download.read()
        assert 0 == gateway.wait()
        exchanges = gateway.exchanges()

    assert before < met.met[200]
    assert {200, "refused"} <= set(met.met) <= {200, "refused", "closed"}
    assert met.met[200] + 1 == len(exchanges)
    if mode == "workers":
        assert {1, 2} == {each["gateway.worker"] for each in exchanges}


def test_a_second_signal_does_not_wait(ending):
    """What still runs is cut, visibly."""
    with half_heard(ending) as download:
        begun = time.monotonic()
        ending.signal()
        eventually(lambda: ending.status("/readyz").status == 503)
        ending.signal()

        assert 0 == ending.wait()
        assert time.monotonic() - begun < 8
        with pytest.raises((ConnectionError, http.client.IncompleteRead)):
            download.read()


def test_orphans_finish_what_was_begun_and_end(ending, lab):
    """The parent was killed: nobody tells them, and nobody is left behind."""
    pids = workers(ending).values()
    with half_heard(ending) as download:
        ending.kill()
        eventually(lambda: refuses(ending.ports.proxy))
        lab.go()
        assert PIECE == download.read()
    eventually(lambda: not any(map(lives, pids)))


@pytest.mark.alone
def test_a_worker_that_cannot_start_again_is_tried_with_rests(
    start_lab, valkey, tmp_path
):
    """Its socket takes nobody meanwhile: the other one serves everybody."""
    keys = tmp_path / "jwks.json"
    keys.write_text('{"keys": [{"kty": "oct", "k": "' + "A" * 64 + '"}]}')
    gateway = start_lab(
        f"{shared(valkey)}"
        "upstreams: {api: {targets: ['http://127.0.0.1:9']}}\n"
        "routes: [{id: a, match: {path: /a}, provider: p, upstream: api}]\n"
        "providers: {p: {verify: [jwt],"
        f" jwt: {{algorithms: [HS256], jwks_file: '{keys}'}}}}}}\n"
    )
    with running(gateway):
        keys.unlink()
        os.kill(workers(gateway)[1], signal.SIGKILL)
        eventually(lambda: len(told(gateway, "worker_ended")) >= 2)

        assert {401} == {gateway.ask("GET", "/a").status for _ in range(20)}
        assert 200 == gateway.status("/readyz").status
        assert b"[!] worker 1 degraded" in gateway.status("/readyz?verbose").body
        assert "jwks_file" in told(gateway, "worker_failed")[0]["error"]
        rests = [each["rest"] for each in told(gateway, "worker_ended")]
        assert [0, 0.25] == rests[:2]


def test_workers_without_a_shared_store_are_refused(tmp_path):
    """Before anything runs: with file, line, and what was expected."""
    path = tmp_path / "gateway.yaml"
    path.write_text(
        f"version: 1\nsecret: {KEY}\nadmin: {{token: {ADMIN_TOKEN}}}\nworkers: 2\n"
    )
    ran = command("run", "-c", str(path))

    assert 1 == ran.returncode
    assert f"{path}:4: workers: expected 1, or a store.url that" in ran.stderr
