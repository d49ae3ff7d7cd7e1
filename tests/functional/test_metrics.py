"""What a scrape of the running gateway shows."""

import random
import re
import string

import pytest

from tests.functional.harness import Gateway, bearer, converse, head, running
from tests.functional.lab import sign

FLOOD = 400
RANDOM = random.Random(5)  # noqa: S311 -- the same requests every time

CONFIG = """
providers:
  lab:
    verify: [introspection]
    introspection: {{url: "http://127.0.0.1:{port}/introspect", client_id: us, client_secret: secret}}
upstreams:
  lab: {{targets: ["http://127.0.0.1:{port}"]}}
routes:
  - {{id: page, match: {{path: "/page/**"}}, provider: lab, upstream: lab}}
  - {{id: open, match: {{path: "/open/**"}}, access: public, upstream: lab}}
"""


def series(gateway: Gateway) -> set[str]:
    """Every series of ours that a scrape sees, without its value."""
    text = gateway.status("/metrics").body.decode()
    return set(re.findall(r"^(gateway_\S+(?: \S+)*) \S+$", text, re.MULTILINE))


def word() -> str:
    """Make up a word."""
    return "".join(RANDOM.choices(string.ascii_letters, k=12))


def requests(number: int) -> bytes:
    """Make up a request: method, path, host, token and headers nobody has seen."""
    method = "GET" if number % 2 else word().upper()
    path = RANDOM.choice(("/page/{}", "/open/{}", "/{}", "/{}?a={}", "//{}"))
    return head(
        method,
        path.format(word(), word()),
        f"{word()}.example",
        [bearer(word()), ("User-Agent", word()), (word(), word())],
        None if number % 3 else b"{}",
    )


@pytest.fixture(scope="module")
def flooded(start_lab, lab):
    """A gateway that has met one request of each kind."""
    with running(start_lab(CONFIG.format(port=lab.port))) as gateway:
        for number in range(60):
            converse(gateway.ports.proxy, close(requests(number)))
        yield gateway


def close(request: bytes) -> bytes:
    """Make it the last of its connection."""
    return request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)


def test_no_client_grows_the_series(flooded):
    """Paths, methods, hosts, tokens and headers that nobody has seen before."""
    before = series(flooded)
    for number in range(FLOOD):
        converse(flooded.ports.proxy, close(requests(number)))
    after = series(flooded)

    assert FLOOD < flooded.metric("http_requests_total")
    assert before == after
    assert len(before) > 50


def test_no_series_holds_a_clients_word(flooded):
    """Neither what was asked for, nor by whom, nor with which token."""
    token = sign()
    flooded.ask("GET", "/page/ordinary-path", bearer(token), host="ordinary.example")
    told = flooded.status("/metrics").body.decode()

    for said in (token, "ordinary", "example", "127.0.0.1"):
        lines = [line for line in told.splitlines() if said in line]
        assert all("target=" in line for line in lines), said
