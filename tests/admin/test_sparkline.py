import pytest

from gateway.admin.sparkline import (
    WIDTH,
    latency_chart,
    line,
    round_up,
    steps,
    traffic_chart,
)
from gateway.admin.traffic import Latency, Moment, Outcomes


def moment(*, p95: float | None = None, **requests: int) -> Moment:
    """Make a slot of five seconds."""
    return Moment(
        at=0.0, seconds=5.0, requests=Outcomes(**requests), latency=Latency(p95=p95)
    )


@pytest.mark.parametrize(
    ("value", "top"),
    [(0, 1.0), (0.4, 0.5), (1, 1), (1.1, 2), (3, 5), (7, 10), (40, 50), (123, 200)],
)
def test_the_upper_edge_is_a_number_that_people_can_read(value, top):
    """One, two or five, and noughts."""
    assert top == pytest.approx(round_up(value))


def test_what_failed_lies_at_the_bottom():
    """Where it touches the axis it is seen first."""
    chart = traffic_chart([moment(allowed=40, failed=10), moment(allowed=50)])

    assert 10 == chart.top
    assert ["failed", "allowed"] == [layer.name for layer in chart.layers]
    assert "M0,76.8V76.8H300V96H600V96H300V96H0Z" == chart.layers[0].path


def test_an_idle_gateway_has_an_empty_chart():
    """No line along the bottom that could be read as something."""
    assert () == traffic_chart([moment(), moment()]).layers
    assert () == latency_chart([moment(), moment()]).layers


def test_a_line_has_gaps_where_nothing_was_measured():
    """Nought would read as very fast."""
    assert "M0,0H200M400,10H600" == line([2.0, None, 1.0], 2.0, 20)
    assert ("p95",) == tuple(
        layer.name for layer in latency_chart([moment(p95=0.3)]).layers
    )


def test_a_shape_is_as_wide_as_the_chart():
    """Whatever the number of slots."""
    path = steps([0.0] * 7, [1.0] * 7, 1.0, 10)

    assert f"H{WIDTH}" in path
    assert path.endswith("H0Z")
