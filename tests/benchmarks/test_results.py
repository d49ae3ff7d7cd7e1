import pytest

from tests.benchmarks.figures import Sample, WrkRun
from tests.benchmarks.loads import (
    DIRECT,
    DOOR,
    HIT_1,
    HIT_64,
    HIT_512,
    OURS,
    ROUTES,
    Trial,
)
from tests.benchmarks.report import markdown, table
from tests.benchmarks.results import (
    GOALS,
    MANY_ROUTES,
    Flood,
    Goal,
    Herd,
    Pace,
    Results,
    Start,
)

MIB = 1 << 20


def sample(
    requests: int = 1000,
    cpu: float = 0.5,
    core: float = 0.5,
    p50: float = 0.001,
    p99: float = 0.002,
) -> Sample:
    """One second of a load."""
    run = WrkRun(requests=requests, seconds=1.0, bytes_read=0.0, p50=p50, p99=p99)
    return Sample(run, cpu, core)


@pytest.fixture
def results():
    """A gateway at half the speed of nginx, on a quiet machine."""
    return Results(
        about={"date": "2026-11-22 10:00 UTC"},
        notes=["**envoy** was skipped: envoy is not installed"],
        trials=[
            Trial(
                HIT_1,
                {
                    DIRECT: [sample(p50=0.000_05, cpu=0.0, core=0.9)],
                    OURS: [sample(p50=0.000_15)],
                },
                {},
            ),
            Trial(
                HIT_64,
                {
                    OURS: [sample(1000, p99=0.009)] * 3,
                    "nginx": [sample(2000, p99=0.003)] * 3,
                },
                {"naive": "10 requests, 10 refused (expected 0), 0 broken"},
            ),
            Trial(ROUTES, {OURS: [sample()], MANY_ROUTES: [sample(cpu=0.51)]}, {}),
        ],
        starts={OURS: Start(seconds=0.5, rss_bytes=70 * MIB, idle_bytes=4 * MIB)},
        paces={DOOR: Pace(rate=500, p50=0.001, p99=0.004)},
        herds={OURS: Herd(calls=1, served=2000, seconds=0.75)},
        floods={
            OURS: Flood(
                capacity=3000,
                rate=900,
                quiet_p99=0.001,
                flooded_p99=0.0015,
                grown_bytes=MIB // 2,
                left_out=0,
            )
        },
    )


FOUND = {
    "requests/s at 64 connections, of plain nginx's": (0.5, False),
    "… of Envoy's with jwt_authn and token cache": (None, None),
    "… of mod_auth_openidc's": (None, None),
    "… of the naive proxy's": (None, None),
    "p99 at 64 connections, of plain nginx's": (3.0, False),
    "p50 at 1 connection, more than direct": (100.0, True),
    "download, of plain nginx's": (None, None),
    "memory of 2,000 idle connections": (4.0, True),
    "CPU per request with 10,000 routes, of that with 10": (1.02, True),
    "p99 of the decision door, 64 connections, 500 a second": (4.0, True),
    "questions for a herd of 2,000": (1.0, True),
    "p99 of a probe beside a flood, of its quiet p99": (1.5, True),
    "memory that the flood takes": (0.5, True),
}


@pytest.mark.parametrize("goal", GOALS, ids=lambda goal: goal.what)
def test_goal_finds_its_figure(goal, results):
    """What was wanted is compared with what was found, the right way round."""
    found = goal.found(results)
    expected, met = FOUND[goal.what]

    assert expected == (None if found is None else pytest.approx(found))
    assert found is None or met == goal.met(found)


@pytest.mark.parametrize("goal", GOALS, ids=lambda goal: goal.what)
def test_goal_finds_nothing_where_nothing_was_measured(goal):
    """A peer that was skipped is no goal reached, and none missed."""
    assert goal.found(Results()) is None


def test_bound_itself_is_good_enough():
    """Wanted is at least, or at most."""
    assert Goal("", lambda _: None, 1.0).met(1.0)
    assert Goal("", lambda _: None, 1.0, at_least=True).met(1.0)


def test_disturbance_is_that_of_the_median_run_without_direct(results):
    """Nobody is measured on that core while the upstream is asked directly."""
    assert 0.0 == results.disturbed()
    assert 0.0 == Results().disturbed()


def test_table_is_markdown():
    """Names to the left, figures to the right."""
    expected = "| a | b |\n| --- | ---: |\n| c | 1 |\n| d | 2 |"

    assert expected == table(("a", "b"), [("c", "1"), ("d", "2")])


@pytest.mark.parametrize(
    "line",
    [
        "| date | 2026-11-22 10:00 UTC |",
        "| others on the measured core | 0% of it in the median run |",
        "**envoy** was skipped: envoy is not installed",
        "**naive** has no figures: 10 requests, 10 refused (expected 0), 0 broken",
        "| requests/s at 64 connections, of plain nginx's | ≥ 0.65 times | 0.5 times | **no** |",
        "| download, of plain nginx's | ≥ 0.8 times | - | not measured |",
        "| memory of 2,000 idle connections | ≤ 20 MiB | 4 MiB | yes |",
        "| questions for a herd of 2,000 | ≤ 1 | 1 | yes |",
        "| direct | 1,000 | 1.00 | 0.050 | 2.000 | - | - | - |",
        "| gateway | 1,000 | - | 1.000 | 9.000 | 500.0 | - | 50% |",
        "| nginx | 2,000 | 0.50 | 1.000 | 3.000 | 250.0 | 2.00 | 50% |",
        "| gateway | 1 | 2,000 | 0.75 |",
        "| gateway, /nginx | 500 | 1.000 | 4.000 |",
        "| gateway | 3,000 | 900 | 1.000 | 1.500 | +0.5 | 0 |",
        "| gateway | 0.50 | 70.0 | +4.0 |",
    ],
)
def test_report_tells_everything(results, line):
    """One line of the report for each thing that was found."""
    assert line in markdown(results).splitlines()


def test_report_warns_of_a_machine_that_was_not_quiet(results):
    """Figures that others moved are not to be kept."""
    for trial in results.trials:
        for rounds in trial.samples.values():
            rounds[:] = [sample(core=0.6)] * len(rounds)

    assert "10% of it in the median run; **this machine was not quiet**" in markdown(
        results
    )


def test_report_tells_of_what_was_broken_off(results):
    """A server may close connections when it is busy, but not in silence."""
    run = WrkRun(requests=9, seconds=1, bytes_read=0, p50=0, p99=0, broken=1)
    results.trials.append(Trial(HIT_512, {"apache": [Sample(run, 0.5, 0.5)] * 3}, {}))

    assert "**apache** broke off 3 requests." in markdown(results)


def test_report_of_nothing_is_still_a_report():
    """No herd and no flood: no empty tables."""
    told = markdown(Results())

    assert "# Benchmark" in told
    assert "herd:" not in told
    assert "flood of" not in told
