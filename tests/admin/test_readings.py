import pytest

from gateway.admin.recent import KEPT, Seen
from tests.admin.samples import NOW, exchange


async def got(client, path: str, status: int = 200):
    """Read a resource."""
    async with client.get(path) as answer:
        assert status == answer.status, await answer.text()
        return await answer.json()


async def test_the_overview_tells_what_is_wrong_first(anybody):
    """The same things as the page."""
    told = await got(anybody, "/api/overview")

    assert ("serving", "1.2.3", "c0ffee") == (
        told["state"],
        told["version"],
        told["config"],
    )
    assert ["2 of 100 requests failed lately"] == [t["what"] for t in told["troubles"]]
    assert {"allowed": 90, "denied": 8, "failed": 2} == told["requests"]
    assert ["melon"] == [each["now"]["provider"] for each in told["providers"]]


async def test_routes_are_found_by_any_words(anybody):
    """All of them must be somewhere in the row."""
    every = await got(anybody, "/api/routes")
    some = await got(anybody, "/api/routes?q=MELON+scope")

    assert ["likes", "me"] == [row["id"] for row in every["routes"]]
    assert ["likes"] == [row["id"] for row in some["routes"]]
    assert {"allowed": 90, "denied": 8, "failed": 1} == some["routes"][0]["requests"]


async def test_recent_exchanges_are_told_with_all_they_know(anybody, console):
    """By the names of the access log; a worker where there are several."""
    console.seen.append(Seen(2, exchange(request_id="two", path="/a?access_token=S")))
    told = (await got(anybody, "/api/recent"))["exchanges"]

    assert {"abc-1", "two"} == {each["gateway.request_id"] for each in told}
    by_id = {each["gateway.request_id"]: each for each in told}
    assert (2, "/a") == (
        by_id["two"]["gateway.worker"],
        by_id["two"]["url.path"],
    )
    assert "gateway.worker" not in by_id["abc-1"]
    assert ("ok", "l1", NOW) == tuple(
        by_id["abc-1"][name]
        for name in ("gateway.reason", "gateway.source", "timestamp")
    )


async def test_a_filter_is_applied(anybody):
    """Here one of them; the rest is tested with `Wanted`."""
    some = await got(anybody, "/api/recent?route=likes&status=2&limit=1&since=1")
    none = await got(anybody, "/api/recent?route=other")

    assert 1 == len(some["exchanges"])
    assert [] == none["exchanges"]


@pytest.mark.parametrize(
    "query",
    [
        "recent?rout=likes",
        "recent?route=a&route=b",
        "recent?status=40",
        "recent?status=",
        "recent?status=0",
        "recent?decision=maybe",
        "recent?limit=0",
        f"recent?limit={KEPT + 1}",
        "recent?limit=many",
        "recent?limit=%D9%A3",
        "recent?since=yesterday",
        "recent?since=-1",
        "recent?since=nan",
        "recent?since=inf",
        f"recent?client={'x' * 257}",
        "overview?q=1",
        "routes?x=1",
        f"routes?q={'x' * 257}",
        "config?all=1",
        "openapi.json?x=1",
    ],
)
async def test_a_question_that_makes_no_sense_is_refused(anybody, query):
    """A slip in a filter must not read as *nothing happened*."""
    told = await got(anybody, f"/api/{query}", 400)

    assert "invalid_request" == told["error"]
    assert "many" not in told["message"]


async def test_the_configuration_is_told_as_it_may_be_shown(anybody):
    """Masked where it was made, not here."""
    told = await got(anybody, "/api/config")

    assert ["gateway.yaml:9: unwise"] == told["warnings"]
    assert {
        "key": "secret",
        "value": "•••••",
        "origin": "gateway.yaml:3",
        "references": "${env:SECRET}",
    } == told["settings"][1]


async def test_when_no_worker_answers_that_is_told(anybody, console):
    """503: nothing is known now."""
    console.shown = None

    assert "unavailable" == (await got(anybody, "/api/overview", 503))["error"]
