import json
import os
import pty
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.observe.access_log import AccessLog, as_json, as_text
from gateway.values import RECORD_NAMES, Exchange

EXCHANGE = Exchange(
    request_id="r1",
    started_at=1_800_000_000.25,
    duration=0.0012,
    upstream_wait=0.001,
    method="GET",
    host="melon.localhost",
    path="/oauth/likes",
    status=403,
    decision="deny",
    reason="insufficient_scope",
    source="l1",
    route="likes-read",
    provider="melon",
    upstream="",
    client="1234",
    peer="127.0.0.1",
    scheme="http",
    request_bytes=0,
    response_bytes=65,
)


def exchange(**changes: object) -> Exchange:
    """Give the exchange with some fields changed."""
    return msgspec.structs.replace(EXCHANGE, **changes)


class Descriptor:
    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return os.isatty(self._fd)


def test_the_field_names_are_what_is_documented():
    """Whoever parses the log relies on every name."""
    line = json.loads(as_json([EXCHANGE]))

    assert {
        "gateway.request_id": "r1",
        "timestamp": 1_800_000_000.25,
        "http.server.request.duration": 0.0012,
        "gateway.upstream_wait": 0.001,
        "http.request.method": "GET",
        "server.address": "melon.localhost",
        "url.path": "/oauth/likes",
        "http.response.status_code": 403,
        "gateway.decision": "deny",
        "gateway.reason": "insufficient_scope",
        "gateway.source": "l1",
        "gateway.route": "likes-read",
        "gateway.provider": "melon",
        "gateway.upstream": "",
        "gateway.client_id": "1234",
        "client.address": "127.0.0.1",
        "url.scheme": "http",
        "http.request.body.size": 0,
        "http.response.body.size": 65,
        "gateway.failure": "",
        "gateway.door": "proxy",
        "trace_id": "",
    } == line


def test_an_exchange_becomes_a_line_of_json(tmp_path):
    """One line each, to an open file."""
    with (tmp_path / "access.log").open("wb") as sink:
        log = AccessLog(sink)
        log.observe(exchange(request_id="r1"))
        log.observe(exchange(request_id="r2"))
        log.close()
    lines = (tmp_path / "access.log").read_text().splitlines()

    assert ["r1", "r2"] == [json.loads(line)["gateway.request_id"] for line in lines]
    assert 0 == log.dropped


def test_a_terminal_gets_lines_for_people():
    """A short line with the status, the place and the reason."""
    reading, writing = pty.openpty()
    log = AccessLog(Descriptor(writing))
    log.observe(EXCHANGE)
    log.close()
    line = os.read(reading, 1000).decode()
    os.close(reading)
    os.close(writing)

    words = "403 GET melon.localhost/oauth/likes deny insufficient_scope likes-read"
    assert f"{words} 1.2ms" == line.strip().partition(" ")[2]


def test_a_permit_on_a_terminal_tells_where_the_facts_came_from():
    """There is no reason to tell, and no route is a dash."""
    line = as_text([exchange(decision="allow", reason="", route="", status=200)])

    assert b"allow l1 - 1.2ms\n" in line


def test_what_went_well_may_be_sampled_and_nothing_else(tmp_path):
    """Whoever asks why finds the line: refusals, failures and what broke have one."""
    well = exchange(status=200, decision="allow", reason="ok")
    others = [
        EXCHANGE,
        exchange(status=200, decision="allow", failure="cut"),
        exchange(status=304, decision="allow"),
        exchange(status=502, decision="allow"),
    ]
    with (tmp_path / "access.log").open("wb") as sink:
        log = AccessLog(sink, one_in=50)
        for each in (*others, *[well] * 1000):
            log.observe(each)
        log.close()
    count = len((tmp_path / "access.log").read_text().splitlines()) - len(others)

    assert 1 <= count <= 100
    assert 0 == log.dropped


def test_every_field_has_a_name_outside():
    """One that is forgotten would come out by the name it has within."""
    assert EXCHANGE.__struct_fields__ == tuple(RECORD_NAMES)
    assert len(RECORD_NAMES) == len({*RECORD_NAMES.values()})


@pytest.mark.parametrize("render", [as_json, as_text])
def test_a_query_never_comes_out(render):
    """Records have none; if a door slips, the token in it still stays inside."""
    slips = ("?", "%3F", "%3f", ";")
    paths = [f"/a{slip}access_token=SECRET&b=c" for slip in slips]
    line = render([EXCHANGE, *(exchange(path=path) for path in paths)])

    assert b"SECRET" not in line
    assert b"/a" in line
    assert 5 == line.count(b"\n")


@pytest.mark.parametrize("render", [as_json, as_text])
def test_a_path_cannot_forge_a_line_or_steer_a_terminal(render):
    """Line ends, escape sequences and their 8-bit forms stay in their string."""
    path = '/\r\n{"status":200}\x1b[2J\x9b2J\x85\u2028\x7f"'
    line = render([exchange(path=path)])

    assert line.isascii()
    assert 1 == line.count(b"\n")
    assert not {*line[:-1]} & {*range(0x20)}
    assert 1 == len(line.decode().splitlines())


@given(st.lists(st.tuples(st.text(), st.text(), st.text()), min_size=1))
def test_whatever_was_received_is_one_parsable_line(requests):
    """Any text, lone surrogates too, comes back as it was, but for a query."""
    exchanges = [
        exchange(path=path, host=host, client=client) for path, host, client in requests
    ]
    lines = as_json(exchanges).split(b"\n")

    assert b"" == lines.pop()
    told = [json.loads(line) for line in lines]
    assert [
        (re.split(r"\?|%3[fF]|;", path)[0], host, client)
        for path, host, client in requests
    ] == [
        (line["url.path"], line["server.address"], line["gateway.client_id"])
        for line in told
    ]


@given(st.lists(st.characters(categories=["Cs"]), min_size=1))
def test_bytes_that_are_no_text_are_escaped(paths):
    """A lone surrogate is a JSON escape, not a crash of the log."""
    lines = as_json([exchange(path=path) for path in paths]).splitlines()

    assert paths == [json.loads(line)["url.path"] for line in lines]


def test_what_waits_is_bounded_in_bytes(tmp_path):
    """Long paths fill the room sooner, and what finds none is counted."""
    with (tmp_path / "access.log").open("wb") as sink:
        log = AccessLog(sink, capacity_bytes=5000)
        log.observe(exchange(path="/" + "x" * 8000))
        log.close()

    assert 1 == log.dropped


def test_one_of_several_processes_says_which(tmp_path):
    """In every line, whatever is in it; the other fields stay as they are."""
    awkward = exchange(path='/a"}\n{', failure="}")
    with (tmp_path / "log").open("wb") as stream:
        log = AccessLog(stream, worker=3)
        for each in (EXCHANGE, awkward, exchange(path="/\ud800")):
            log.observe(each)
        log.close()
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]

    assert [3, 3, 3] == [line.pop("gateway.worker") for line in lines]
    assert json.loads(as_json([EXCHANGE])) == lines[0]
    assert awkward.path == lines[1]["url.path"]
