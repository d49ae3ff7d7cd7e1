from gateway.observe.tally import Cell, Spread, Way
from gateway.values import Exchange, Source


def way(*, upstream: bool) -> Way:
    """Give a way of fresh cells."""
    return Way(
        requests=Cell(),
        decisions=Cell(),
        request_bytes=Cell(),
        response_bytes=Cell(),
        duration=Spread((0.1, 1.0)),
        overhead=Spread((0.1, 1.0)),
        upstream=Cell() if upstream else None,
        upstream_wait=Spread((0.1, 1.0)) if upstream else None,
    )


def exchange() -> Exchange:
    """Give one that took half a second, nearly all of it the upstream's."""
    return Exchange(
        request_id="r",
        started_at=0.0,
        duration=0.5,
        upstream_wait=0.45,
        method="GET",
        host="h",
        path="/",
        status=200,
        decision="allow",
        reason="ok",
        source=Source.L1,
        route="r",
        provider="p",
        upstream="u",
        client="c",
        peer="127.0.0.1",
        scheme="http",
        request_bytes=3,
        response_bytes=7,
    )


def test_an_exchange_moves_every_series_of_its_way():
    """Overhead is what the upstream did not take."""
    moved = way(upstream=True)
    moved.count(exchange())
    moved.count(exchange())

    assert moved.upstream is not None
    assert moved.upstream_wait is not None
    assert (2, 2, 2) == (
        moved.requests.value,
        moved.decisions.value,
        moved.upstream.value,
    )
    assert (6, 14) == (moved.request_bytes.value, moved.response_bytes.value)
    assert [0, 2, 0] == moved.duration.counts
    assert [2, 0, 0] == moved.overhead.counts
    assert [0, 2, 0] == moved.upstream_wait.counts


def test_what_met_no_upstream_moves_no_series_of_one():
    """A refusal has no upstream to be counted under."""
    moved = way(upstream=False)
    moved.count(exchange())

    assert (1, None, None) == (
        moved.requests.value,
        moved.upstream,
        moved.upstream_wait,
    )


def test_a_duration_names_the_trace_that_was_counted_last():
    """One exemplar for each bucket, the newest."""
    spread = Spread((0.1, 1.0))
    spread.exemplify(0.05, "a" * 32, 1.0)
    spread.exemplify(0.06, "b" * 32, 2.0)
    spread.exemplify(9.0, "c" * 32, 3.0)

    assert {0: "b" * 32, 2: "c" * 32} == {
        index: each.labels["trace_id"] for index, each in spread.exemplars.items()
    }
