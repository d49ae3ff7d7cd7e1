"""Proves which spans a visit makes, by a tracer that only takes note."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from gateway.fronts.traced import Tracing
from gateway.ports import Told
from gateway.values import Header
from tests.fronts.house import ROUTES, Received, api, door, read_responses, request

FORM = "content-type: application/x-www-form-urlencoded"
MARK = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Note:
    """A span that takes note of what it is told."""

    def __init__(self, name: str, parent: "Note | None", notes: "list[Note]") -> None:
        self.name = name
        self.parent = parent
        self.told: dict[str, Any] = {}
        self.failure = ""
        self.over = False
        self.trace_id = "the-trace"
        self._notes = notes
        notes.append(self)

    def onward(self) -> tuple[Header, ...]:
        return ((b"traceparent", b"of " + self.name.encode()),)

    def child(self, name: str, *, asks: bool = False) -> "Note":
        return Note(name, self, self._notes)

    def end(self, told: Told, *, name: str = "", failure: str = "") -> None:
        assert not self.over
        self.over = True
        self.told, self.failure = dict(told), failure
        self.name = name or self.name


class Notes:
    """A tracer that gives those; keeps `ports.Tracer`."""

    def __init__(self) -> None:
        self.notes: list[Note] = []
        self.trusted: list[bool] = []
        self.inside: list[Note] = []
        self.upstream: list[Received] = []

    def begin(self, headers: Sequence[Header], *, trusted: bool) -> Note:
        self.trusted.append(trusted)
        return Note("request", None, self.notes)

    @contextmanager
    def within(self, span: Any) -> Iterator[None]:
        self.inside.append(span)
        yield

    def named(self, name: str) -> Note:
        (note,) = [each for each in self.notes if each.name == name]
        return note


@pytest.fixture
def notes():
    """What was recorded."""
    return Notes()


async def asked(notes: Notes, line: str, token: str | None = None, **more: Any) -> int:
    """Put a request to a door whose visits are traced; prove that every span ended."""
    believes_all = more.pop("believes_all", True)
    body, lines = more.pop("body", None), more.pop("lines", [])
    async with door(**more) as d:
        d.front._traced = Tracing(notes, believes_all=believes_all).visit
        answer = await d.exchange(request(line, MARK, *lines, token=token, body=body))
        (told,) = read_responses(answer)
        exchange = d.only()
        notes.upstream = list(d.upstream.requests)

        assert "the-trace" == exchange.trace_id
    assert all(note.over for note in notes.notes)
    return told.status


async def test_a_request_has_a_decision_and_an_upstream(notes):
    """Both are parts of it; what the decision waits for is begun within it."""
    status = await asked(notes, "GET /api/a", "Tr")

    request_, decision = notes.named("GET api"), notes.named("decision")
    upstream = notes.named("upstream u")
    assert 200 == status
    assert [decision] == notes.inside
    assert {request_} == {decision.parent, upstream.parent}
    assert {
        "gateway.decision": "allow",
        "gateway.reason": "ok",
        "gateway.source": "provider",
    } == decision.told
    assert 200 == upstream.told["http.response.status_code"]
    assert "u" == upstream.told["gateway.upstream"]
    assert ("api", "idp", 200) == (
        request_.told["gateway.route"],
        request_.told["gateway.provider"],
        request_.told["http.response.status_code"],
    )
    (received,) = notes.upstream
    marks = [value for name, value in received.headers if name == b"traceparent"]
    assert [b"of upstream u"] == marks
    assert "" == request_.failure == decision.failure == upstream.failure


@pytest.mark.parametrize(
    ("line", "token", "status", "reason", "failure"),
    [
        ("GET /api/a", None, 401, "no_credentials", ""),
        ("GET /api/a", "Tx", 401, "inactive", ""),
        ("GET /api/a", "Tdown", 503, "provider_unavailable", "provider_unavailable"),
        ("GET /nowhere", None, 404, "no_route", ""),
        ("GET /public/../a", None, 400, "bad_target", ""),
    ],
)
async def test_a_refusal_has_no_upstream(notes, line, token, status, reason, failure):
    """Only what is ours to mend is a failure."""
    assert status == await asked(notes, line, token)

    assert ["decision"] == [
        note.name for note in notes.notes if note.parent is not None
    ]
    decision = notes.named("decision")
    assert (reason, failure) == (decision.told["gateway.reason"], decision.failure)


async def test_a_request_that_is_held_is_told_of_as_well(notes):
    """The guard asks the upstream by itself."""
    form = b"grant_type=client_credentials&client_id=a&client_secret=b"
    status = await asked(notes, "POST /oauth/token", body=form, lines=[FORM])

    assert 200 == status
    (received,) = notes.upstream
    marks = [value for name, value in received.headers if name == b"traceparent"]
    assert [b"of upstream u"] == marks
    assert 200 == notes.named("upstream u").told["http.response.status_code"]


async def test_an_upstream_that_cannot_be_reached_is_a_failure_of_its_span(notes):
    """The decision was good."""
    routes = (*ROUTES, api("/dead/**", upstream="dead"))
    status = await asked(notes, "GET /dead/a", "Tr", routes=routes)

    assert status in (502, 503, 504)
    assert "" == notes.named("decision").failure
    assert notes.named("upstream dead").failure
    assert "http.response.status_code" not in notes.named("upstream dead").told


@pytest.mark.parametrize(
    ("believes_all", "trusted", "expected"),
    [(True, "", True), (False, "", False), (False, "127.0.0.0/8", True)],
)
async def test_whose_word_counts(notes, believes_all, trusted, expected):
    """Anybody's, or a trusted proxy's."""
    await asked(notes, "GET /public/a", believes_all=believes_all, trusted=trusted)

    assert [expected] == notes.trusted


async def test_a_message_that_is_none_is_a_request_all_the_same(notes):
    """There is nothing to decide."""
    async with door() as d:
        d.front._traced = Tracing(notes, believes_all=True).visit
        await d.exchange(b"GET / HTTP/1.1\r\n\r\n")

    (note,) = notes.notes
    assert "_OTHER _unmatched" == note.name
    assert 400 == note.told["http.response.status_code"]
    assert note.over
