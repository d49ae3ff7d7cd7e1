import pytest

from tests.benchmarks.figures import Sample, WrkRun
from tests.benchmarks.loads import DIRECT, HIT_64, OURS, Trial
from tests.benchmarks.results import Results

plot = pytest.importorskip("tests.benchmarks.plot", exc_type=ImportError)
RUN = WrkRun(requests=1000, seconds=1.0, bytes_read=0.0, p50=0.001, p99=0.002)


def test_picture_is_drawn_of_those_whose_cost_is_known(tmp_path):
    """One bar each; the upstream by itself is no contestant."""
    samples = {DIRECT: [Sample(RUN, 0.0, 0.9)], OURS: [Sample(RUN, 0.5, 0.5)]}
    results = Results(trials=[Trial(HIT_64, samples, {})])

    assert plot.draw(results, tmp_path / "it.png")
    assert (tmp_path / "it.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_is_drawn_of_nothing(tmp_path):
    """An empty picture would be a link to nowhere."""
    assert not plot.draw(Results(), tmp_path / "it.png")
    assert not (tmp_path / "it.png").exists()
