"""Change the configuration of a gateway under load: no request is lost or half-changed."""

import itertools
import json
import os
import re
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.functional.harness import (
    Gateway,
    bearer,
    connect,
    eventually,
    head,
    read_answer,
    running,
)
from tests.functional.lab import config, sign
from tests.functional.load import crowd
from tests.stores.servers import serving

ROUTE = """
  - {{id: versioned, match: {{path: "/seen/**"}}, provider: lab, upstream: versioned, add_prefix: "/v{n}"}}
"""
UPSTREAM = """
upstreams:
  versioned: {{targets: ["http://127.0.0.1:{port}"], host: v{n}.example}}"""


def written(lab, n: int, more: str = "") -> str:
    """Write version `n`: its route and its upstream, in two places, say which it is."""
    text = config(lab).replace("\nupstreams:", UPSTREAM.format(port=lab.port, n=n))
    return text + ROUTE.format(n=n) + more


def rewrite(gateway: Gateway, old: str, new: str) -> None:
    """Change the file of a gateway, in one step."""
    path = gateway.folder / "lab.yaml"
    text = path.read_text()
    assert old in text
    swap = path.with_suffix(".new")
    swap.write_text(text.replace(old, new))
    swap.replace(path)


def told(gateway: Gateway, event: str) -> list[dict[str, Any]]:
    """Give the events of one kind that were told so far."""
    lines = gateway.printed()[1].splitlines()
    return [each for each in map(json.loads, lines) if each["event"] == event]


def reloaded(gateway: Gateway, event: str = "config_reloaded") -> dict[str, Any]:
    """Ask for a reload by signal; give what was told of it."""
    before = len(told(gateway, event))
    gateway.signal(signal.SIGHUP)
    eventually(lambda: len(told(gateway, event)) > before, told=gateway.said())
    return told(gateway, event)[-1]


def more_than(lab, count: int) -> bool:
    """Tell whether so many requests have reached the laboratory."""
    return len(lab.requests) > count


def versions(seen: list[tuple[str, list[tuple[bytes, bytes]], bytes]]) -> list[int]:
    """Give the version of each request: what its path and its Host say, both."""
    numbers = []
    for target, headers, _ in seen:
        found = re.match(r"/v(\d+)/seen/", target)
        assert found is not None
        assert dict(headers)[b"host"].decode() == f"v{found[1]}.example"
        numbers.append(int(found[1]))
    return numbers


@pytest.fixture
def gateway(start_lab, lab):
    """One of the test's own, which looks at its files only when it is told to."""
    text = written(lab, 1).replace("\nproviders:", "\nreload: {watch: 0s}\nproviders:")
    with running(start_lab(text)) as process:
        yield process


def test_under_load_nothing_is_lost_and_nothing_half_changed(gateway, lab):
    """Good and bad configurations in turn, a dozen of each, while clients never rest."""
    rounds, revoked = 12, sign()
    good: dict[str, Any] = {}
    bad: dict[str, Any] = {}
    gateway.revoke("lab", revoked)
    lab.requests.clear()
    with crowd(gateway.ports.proxy, "/seen/x", [bearer(sign())], clients=6) as met:
        for n in range(1, rounds + 1):
            rewrite(gateway, f'"/v{n}"', f'"/v{n + 1}"')
            rewrite(gateway, f"v{n}.example", f"v{n + 1}.example")
            good = reloaded(gateway)
            rewrite(gateway, "id: versioned,", "id: versioned, oops: 1,")
            bad = reloaded(gateway, "config_refused")
            rewrite(gateway, "oops: 1, ", "")
            assert 401 == gateway.ask("GET", "/seen/x", bearer(revoked)).status
        asked = met.met[200]
        met.leave()
    seen = versions(lab.requests)

    assert "routes: +0 ~1 -0; upstreams: +0 ~1 -0" == good["changes"]
    assert ["versioned"] == good["routes_changed"]
    assert good["version"] == bad["in_force"]
    assert re.fullmatch(r"lab\.yaml:\d+: routes\[12\]\.oops: .*", bad["problems"][0])
    assert {200} == set(met.met)
    assert asked > 20 * rounds
    assert set(range(1, rounds + 2)) == set(seen)
    # A request that was under way may arrive behind one of the next version, no later.
    assert all(later >= earlier - 1 for earlier, later in itertools.pairwise(seen))
    assert 0 == gateway.metric("config_last_reload_successful")
    assert rounds == gateway.metric("config_reloads_total", result="success")
    assert rounds == gateway.metric("config_reloads_total", result="failure")
    assert met.met[200] + rounds == gateway.metric(
        "http_requests_total", route="versioned"
    )


def test_what_was_begun_ends_as_it_began(gateway, lab):
    """A download whose route is gone: it ends whole, and nobody new gets one."""
    lab.wait()
    with connect(gateway.ports.proxy) as line:
        line.sendall(head("GET", "/bulk/halves", "lab", [bearer(sign())]))
        eventually(lambda: gateway.metric("http_requests_in_flight") == 1)
        rewrite(gateway, "{id: bulk,", "{id: gone-soon, access: optional,")
        rewrite(gateway, '"/bulk/**"', '"/elsewhere/**"')
        change = reloaded(gateway)
        missing = gateway.ask("GET", "/bulk/halves", bearer(sign())).status
        under_way = gateway.metric("http_requests_in_flight")
        lab.go()
        answer = read_answer(line)

    assert "routes: +1 ~0 -1" == change["changes"]
    assert ["bulk"] == change["routes_removed"]
    assert ["gone-soon"] == change["routes_added"]
    assert (404, 1) == (missing, under_way)
    assert (200, 2 * 1024 * 1024) == (answer.status, len(answer.body))


def test_what_needs_a_restart_is_refused_whole(gateway):
    """The port of a listener; the route beside it does not change either."""
    rewrite(gateway, f"127.0.0.1:{gateway.ports.proxy}", "127.0.0.1:1")
    rewrite(gateway, "{id: open,", "{id: opened,")
    refused = reloaded(gateway, "config_refused")
    gateway.ask("GET", "/open/x")

    (problem,) = refused["problems"]
    assert problem.startswith("lab.yaml:2: listen.proxy: expected what it was when")
    assert 1 == gateway.metric("http_requests_total", route="open")


def mounted(folder: Path, n: int, text: str) -> None:
    """Write a volume as kubelet does: a directory of its own, and a swapped link."""
    inside = folder / f"..version_{n}"
    inside.mkdir()
    (inside / "routes.yaml").write_text(text)
    fresh = folder / "..data_tmp"
    fresh.symlink_to(inside.name)
    fresh.replace(folder / "..data")


def test_a_mounted_directory_is_noticed(start_lab, lab, tmp_path):
    """A ConfigMap's symbolic link is swapped: also from bad to good, and nobody asked."""
    route = "{{id: {}, match: {{path: /mounted}}, access: public, upstream: lab}}"
    mounted(tmp_path, 1, f"routes: [{route.format('first')}]")
    (tmp_path / "routes.yaml").symlink_to("..data/routes.yaml")
    text = f"include: ['{tmp_path}/*.yaml']\nreload: {{watch: 100ms}}\n"
    with running(start_lab(text + config(lab))) as gateway:
        gateway.ask("GET", "/mounted")
        mounted(tmp_path, 2, "routes: [")
        eventually(lambda: told(gateway, "config_refused"))
        kept = gateway.ask("GET", "/mounted").status
        mounted(tmp_path, 3, f"routes: [{route.format('second')}]")
        eventually(lambda: told(gateway, "config_reloaded"))
        gateway.ask("GET", "/mounted")
        counted = gateway.metric("http_requests_total", route="second")

        assert (200, 1) == (kept, counted)
        assert "files" == told(gateway, "config_reloaded")[0]["trigger"]
        assert 1 == gateway.metric("config_last_reload_successful")
        assert 0 == gateway.metric("http_requests_total", route="first")


def test_a_rotated_secret_and_a_renewed_key_are_taken_up(start_lab, lab, tmp_path):
    """A provider's key in a file: tokens of the new one pass, those of the old do not."""
    key = tmp_path / "key"
    key.write_text("another-signing-key-of-the-laboratory-0123456")
    before = config(lab).split("key: ")[1].split("}")[0]
    text = config(lab).replace(f"key: {before}", f"key: '${{file:{key}}}'", 1)
    with running(start_lab(f"reload: {{watch: 100ms}}\n{text}")) as gateway:
        refused = gateway.ask("GET", "/music/x", bearer(sign())).status
        key.write_text(before)
        eventually(lambda: told(gateway, "config_reloaded"))
        allowed = gateway.ask("GET", "/music/x", bearer(sign())).status

        assert (401, 200) == (refused, allowed)
        assert before not in gateway.said()


# ------------------------------------------------------------------ several workers


@pytest.fixture
def pair(start_lab, lab):
    """Two workers that share a store."""
    with serving("valkey") as store:
        shared = f"workers: 2\nstore: {{url: '{store.url}'}}\nreload: {{watch: 0s}}\n"
        with running(start_lab(shared + written(lab, 1))) as process:
            yield process


def test_all_workers_change_or_none(pair, lab):
    """Under load: one result, one version, also for a worker that is killed."""
    rounds, revoked = 5, sign()
    pair.revoke("lab", revoked)
    lab.requests.clear()
    good: dict[str, Any] = {}
    with crowd(pair.ports.proxy, "/seen/x", [bearer(sign())], clients=6) as met:
        for n in range(1, rounds + 1):
            rewrite(pair, f'"/v{n}"', f'"/v{n + 1}"')
            rewrite(pair, f"v{n}.example", f"v{n + 1}.example")
            good = reloaded(pair)
            for _ in range(12):
                assert 401 == pair.ask("GET", "/seen/x", bearer(revoked)).status
            after = len(lab.requests)
            eventually(partial(more_than, lab, after + 50))
            arrived = versions(lab.requests[after:])
            # One of each client was under way; a worker that lags would serve half.
            assert set(arrived) <= {n, n + 1}
            assert arrived.count(n) <= 6
            rewrite(pair, "id: versioned,", "id: versioned, oops: 1,")
            reloaded(pair, "config_refused")
            rewrite(pair, "oops: 1, ", "")
        met.leave()

    assert "routes: +0 ~1 -0; upstreams: +0 ~1 -0" == good["changes"]
    assert {200} == set(met.met)
    assert set(range(1, rounds + 2)) == set(versions(lab.requests))
    assert 0 == pair.metric("config_last_reload_successful")
    assert rounds == pair.metric("config_reloads_total", result="success")
    assert rounds == pair.metric("config_reloads_total", result="failure")
    assert 1 == pair.metric("config_info", hash=good["version"])
    killed = told(pair, "worker_serving")[0]["pid"]
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: len(told(pair, "worker_serving")) == 3)
    lab.requests.clear()
    for _ in range(12):
        assert 200 == pair.ask("GET", "/seen/x", bearer(sign())).status
        assert 401 == pair.ask("GET", "/seen/x", bearer(revoked)).status
    assert {rounds + 1} == set(versions(lab.requests))


def test_one_worker_that_cannot_is_a_reason_for_all(pair, lab):
    """Here both: a store that does not answer. Everybody goes on as before."""
    store = re.search(r"redis://[^']+", (pair.folder / "lab.yaml").read_text())
    assert store is not None
    rewrite(pair, store[0], "redis://127.0.0.1:9")
    rewrite(pair, '"/v1"', '"/v2"')
    refused = reloaded(pair, "config_refused")
    lab.requests.clear()
    answers = {pair.ask("GET", "/seen/x", bearer(sign())).status for _ in range(12)}

    assert "the store" in refused["problems"][0]
    assert {200} == answers
    assert {"/v1/seen/x"} == {target for target, *_ in lab.requests}
    assert 200 == pair.status("/readyz").status
