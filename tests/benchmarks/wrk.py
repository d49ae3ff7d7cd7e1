"""Put load on contestants with wrk, in rounds.

wrk is a closed loop: each connection asks again when it was answered. Every round goes
once through all contestants, in an order that moves on by one, so that a machine that
is slow for a while is slow for everybody.
"""

import subprocess
from collections.abc import Sequence
from typing import Final

from tests.benchmarks.figures import Sample, WrkRun, parse_wrk
from tests.benchmarks.lineup import PEERS_FOLDER, find
from tests.benchmarks.loads import SMALL, Load, Trial
from tests.benchmarks.world import Contestant, Site, ask

BROKEN_SHARE: Final = 0.05
"""How many requests may be lost with their connection: a server that is busy may
close one that was kept alive, as Apache does. The report tells of them."""

_GRACE: Final = 15.0
_TOLD: Final = 300
_MOST_THREADS: Final = 2


class NotServed(Exception):
    """Answers were not what a load has to get; the message says how many."""


def run_wrk(site: Site, load: Load, port: int, seconds: int) -> WrkRun:
    """Put `load` on a port for some seconds; raises `NotServed`."""
    threads = min(load.connections, site.cores.spare, _MOST_THREADS)
    command = [
        *("taskset", "-c", site.cores.others, find("wrk") or "wrk", "--latency"),
        # A slow answer is slow, not broken; wrk gives up after two seconds by itself.
        *(f"-t{threads}", f"-c{load.connections}", f"-d{seconds}s", "--timeout=10s"),
    ]
    if load.token:
        token = site.tokens.bad if load.refused else site.tokens.good
        command += ["-H", f"Authorization: Bearer {token}"]
    if load.script:
        command += ["-s", str(PEERS_FOLDER / load.script)]
    done = subprocess.run(  # noqa: S603 -- our own command
        [*command, f"http://127.0.0.1:{port}{load.path}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + _GRACE,
    )
    try:
        run = parse_wrk(done.stdout)
    except ValueError as error:
        raise NotServed(f"{error}, found: {done.stdout[-_TOLD:]!r}") from error
    wanted = run.requests if load.refused else 0
    much_broken = run.broken > BROKEN_SHARE * run.requests
    if not run.requests or much_broken or run.refused != wanted:
        raise NotServed(
            f"{run.requests} requests, {run.refused} refused (expected {wanted}),"
            f" {run.broken} broken"
        )
    return run


def sample(site: Site, load: Load, contestant: Contestant, seconds: int) -> Sample:
    """Take one sample: a first request so that the token is known, then the load."""
    if load.token:
        token = site.tokens.bad if load.refused else site.tokens.good
        ask(contestant.port, SMALL, token)
    site.cores.settle()
    core, own = site.cores.busy_seconds(), contestant.cpu_seconds()
    run = run_wrk(site, load, contestant.port, seconds)
    own = contestant.cpu_seconds() - own
    return Sample(run, own, site.cores.busy_seconds() - core, load.body_bytes)


def take_turns(
    site: Site,
    load: Load,
    contestants: Sequence[Contestant],
    *,
    rounds: int,
    seconds: int,
) -> Trial:
    """Put `load` on one contestant after the other, round by round."""
    samples: dict[str, list[Sample]] = {each.name: [] for each in contestants}
    failed: dict[str, str] = {}
    for number in range(rounds):
        turn = number % len(contestants)
        for each in (*contestants[turn:], *contestants[:turn]):
            if each.name in failed:
                continue
            try:
                samples[each.name].append(sample(site, load, each, seconds))
            except (NotServed, OSError, subprocess.SubprocessError) as error:
                failed[each.name] = str(error)
                del samples[each.name]
    return Trial(load, samples, failed)
