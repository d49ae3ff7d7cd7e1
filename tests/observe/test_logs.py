import asyncio
import json
import logging
import os
import pty
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from gateway.errors import ProviderUnavailable
from gateway.observe.logs import configure, failure, watch_lines
from gateway.observe.metrics import Metrics
from gateway.tasks import spawn
from tests.fakes import Clock


class Output:
    """An open file and the log that writes to it; closed, its events can be read."""

    def __init__(self, path: Path, clock: Clock, level: str = "info") -> None:
        self._path = path
        self._stream = path.open("wb")
        self.log = configure(level, self._stream, clock)

    def events(self) -> list[dict[str, Any]]:
        self.log.close()
        self._stream.close()
        return [json.loads(line) for line in self._path.read_text().splitlines()]


def library(name: str) -> logging.Logger:
    """Give the logger of a library."""
    return logging.getLogger(name)  # noqa: TID251 -- libraries do log


@pytest.fixture(autouse=True)
def _own_root_logger():
    root = library("root")
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def output(tmp_path, clock):
    """A configured log, closed in the end."""
    output = Output(tmp_path / "events.log", clock)
    yield output
    output.events()


@pytest.fixture
async def crashes(output):
    """Hand what nobody catches in this loop to the log."""
    asyncio.get_running_loop().set_exception_handler(output.log.loop_failure)


def test_an_event_is_a_line_of_json(output):
    """Its time, level and name come first, then what it tells."""
    output.log.info("listening", listener="proxy", port=8080)

    events = output.events()
    assert [
        {
            "time": "2027-01-15T08:00:00.000+00:00",
            "level": "info",
            "event": "listening",
            "listener": "proxy",
            "port": 8080,
        }
    ] == events
    assert ["time", "level", "event"] == list(events[0])[:3]


def test_levels_below_the_configured_one_are_not_told(tmp_path, clock):
    """`level: warning` silences what is as it should be."""
    output = Output(tmp_path / "events.log", clock, level="warning")
    output.log.info("a")
    output.log.warning("b")
    output.log.error("c")

    assert [("warning", "b"), ("error", "c")] == [
        (event["level"], event["event"]) for event in output.events()
    ]


def test_a_terminal_gets_lines_for_people(clock):
    """Short, and control characters stay harmless."""
    reading, writing = pty.openpty()
    with os.fdopen(writing, "wb") as terminal:
        log = configure("info", terminal, clock)
        log.info("config", file="a\x1b[2J.yaml")
        log.close()
        line = os.read(reading, 1000).decode()
    os.close(reading)

    assert re.fullmatch(
        r"\d\d:\d\d:\d\d info config file=a\\x1b\[2J.yaml", line.strip()
    )


def test_a_failing_provider_is_told_once_in_an_interval(output, clock):
    """An outage is one line per half minute and kind, with what went untold."""
    for code in ("timeout", "timeout", "503", "timeout"):
        output.log.provider_request("ottm", "userinfo", code, 2.0)
    clock.advance(30.0)
    output.log.provider_request("ottm", "userinfo", "timeout", 2.0)

    assert [
        ("provider_failing", "ottm", "userinfo", "timeout", 0),
        ("provider_failing", "ottm", "userinfo", "503", 0),
        ("provider_failing", "ottm", "userinfo", "timeout", 2),
    ] == [
        (
            told["event"],
            told["provider"],
            told["endpoint"],
            told["code"],
            told["untold"],
        )
        for told in output.events()
    ]


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        *((code, 0) for code in ("200", "400", "401", "404", "cancelled")),
        *((code, 1) for code in ("302", "429", "500", "503", "refused", "tls")),
    ],
)
def test_a_verdict_is_no_failure(output, code, lines):
    """A provider that says no has answered; one that redirects or hides has not."""
    output.log.provider_request("ottm", "userinfo", code, 0.1)

    assert lines == len(output.events())


async def test_a_crashed_task_is_told_by_class_and_place(output, crashes):
    """The exception's own words may be a client's, so they are left out."""

    async def crash() -> None:
        msg = "Authorization: Bearer SECRET"
        raise ValueError(msg)

    await asyncio.wait([spawn(crash(), name="refresh")])

    [event] = output.events()
    assert ("error", "crash") == (event["level"], event["event"])
    assert "task refresh crashed" == event["message"]
    assert "ValueError" == event["error"]
    assert event["at"][-1].endswith(" crash")
    assert "SECRET" not in str(event)


async def test_a_callback_is_told_without_its_arguments(output, crashes):
    """The loop prints them, and they may be what was just read from a socket."""
    done = asyncio.Event()

    def receive(_data: bytes) -> None:
        done.set()
        raise RuntimeError

    asyncio.get_running_loop().call_soon(receive, b"Bearer SECRET")
    await done.wait()
    await asyncio.sleep(0)

    [event] = output.events()
    assert "SECRET" not in str(event)
    assert event["message"].startswith("Exception in callback")


def test_a_repeated_crash_is_not_a_flood(output):
    """The same failure at the same place is one line per interval."""
    for _ in range(100):
        output.log.loop_failure(None, {"message": "task x crashed"})

    assert ["task x crashed"] == [event["message"] for event in output.events()]


def test_what_was_told_is_remembered_within_bounds(output):
    """Thousands of kinds of trouble make the log forgetful, not the process fat."""
    for number in range(5000):
        output.log.repeated("trouble", number)

    assert len(output.log._told) <= 1000
    assert len(output.log._untold) <= 1000
    assert 5000 == len(output.events())


def test_a_library_is_told_by_its_place(output):
    """A server logs the line it choked on, with arguments and a traceback."""
    server = library("aiohttp.server")
    for _ in range(3):
        try:
            int("Authorization: Bearer SECRET")
        except ValueError:
            server.exception("Error handling request: %s", "SECRET")

    [event] = output.events()
    assert ("library", "aiohttp.server") == (event["event"], event["logger"])
    assert event["where"].startswith("test_logs:")
    assert "ValueError" == event["error"]
    assert "SECRET" not in str(event)


def test_a_library_that_only_chats_is_not_told(output):
    """Access lines and debug output of libraries hold whole targets."""
    library("aiohttp.access").info("GET /?access_token=SECRET")
    library("redis").warning("SECRET")

    assert ["redis"] == [event["logger"] for event in output.events()]


def test_our_own_failures_are_quoted():
    """A `GatewayError` has words that we chose for operators."""
    told = failure(ProviderUnavailable("ottm did not answer"))

    assert {"error": "ProviderUnavailable: ottm did not answer", "at": []} == told


def test_the_innermost_calls_of_a_failure_are_told():
    """A deep stack is cut to its end, where the trouble is."""

    def dig(depth: int) -> None:
        if depth == 0:
            raise KeyError
        dig(depth - 1)

    with pytest.raises(KeyError) as caught:
        dig(50)

    places = failure(caught.value)["at"]
    assert isinstance(places, list)
    assert 6 == len(places)
    assert all(place.endswith(" dig") for place in places)


def test_configuring_again_replaces_the_log(output, tmp_path, clock):
    """A library's record is told once, to the newest log."""
    newer = Output(tmp_path / "newer.log", clock)
    library("redis").warning("x")

    assert 1 == len(newer.events())
    assert [] == output.events()


def test_lost_lines_are_counted(clock):
    """A full disk costs events, never the caller."""
    with Path("/dev/full").open("wb") as full:
        log = configure("info", full, clock)
        log.info("start")
        log.close()

    assert 1 == log.dropped


def test_a_provider_that_refuses_us_is_told(output):
    """401 from introspection is our own credentials' fault (RFC 7662 §2.3)."""
    output.log.provider_request("main", "introspect", "401", 0.1)
    output.log.provider_request("main", "introspect", "200", 0.1)

    assert ["401"] == [told["code"] for told in output.events()]


def test_one_of_several_processes_says_which(tmp_path, clock):
    """In every line; the parent of them all is 0."""
    with (tmp_path / "log").open("wb") as stream:
        for number in (0, 2):
            log = configure("info", stream, clock, worker=number)
            log.info("listening", port=1)
            log.close()
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]

    assert [(0, 1), (2, 1)] == [(line["worker"], line["port"]) for line in lines]


def test_lines_that_could_not_be_written_are_shown(output):
    """Of either log; of one that is off there is nothing to be said."""

    class Access:
        dropped = 7

    alone, both = CollectorRegistry(), CollectorRegistry()
    watch_lines(Metrics(alone), output.log, None)
    watch_lines(Metrics(both), output.log, Access())
    name = "gateway_log_lines_dropped_total"

    assert 0 == both.get_sample_value(name, {"log": "events"})
    assert 7 == both.get_sample_value(name, {"log": "access"})
    assert alone.get_sample_value(name, {"log": "access"}) is None
