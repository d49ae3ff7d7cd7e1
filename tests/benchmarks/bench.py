"""The gateway beside its peers: `make bench`, or `python -m tests.benchmarks.bench`.

All run at once, each pinned to the same one core, and take turns being loaded; who
does not refuse a bad token is not measured. README.md tells what the figures mean.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tests.benchmarks import machine, scenes
from tests.benchmarks.doors import Doors
from tests.benchmarks.figures import percentile
from tests.benchmarks.lineup import GATEWAY, PEERS, QUICK, Peer
from tests.benchmarks.loads import (
    DECISION,
    DOWNLOAD,
    ENGINES,
    FRESH,
    HIT_1,
    HIT_64,
    HIT_512,
    OURS,
    REFUSED,
    ROUTES,
    STORE,
    UPLOAD,
    Load,
    Trial,
)
from tests.benchmarks.processes import Cores, DidNotStart
from tests.benchmarks.report import markdown
from tests.benchmarks.results import MANY_ROUTES, STEADY, Pace, Results
from tests.benchmarks.world import (
    Contestant,
    NotAsExpected,
    Site,
    direct,
    enter,
    open_site,
)
from tests.benchmarks.wrk import NotServed, take_turns

RESULTS: Final = Path(__file__).parent / "results"
SHARED_STORE: Final = "gateway, shared store"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long to measure: rounds and seconds by load, starts, seconds of a flood."""

    rounds: dict[Load, tuple[int, int]]
    starts: int
    flood: int


FULL: Final = Plan(
    rounds={
        HIT_1: (3, 2),
        HIT_64: (5, 2),
        HIT_512: (3, 2),
        FRESH: (3, 2),
        REFUSED: (3, 2),
        DOWNLOAD: (3, 1),
        UPLOAD: (3, 1),
        ROUTES: (5, 2),
        STORE: (3, 2),
        DECISION: (3, 2),
        ENGINES: (3, 2),
    },
    starts=3,
    flood=3,
)
BRIEF: Final = Plan(
    rounds={
        HIT_1: (2, 1),
        HIT_64: (3, 1),
        HIT_512: (1, 1),
        FRESH: (1, 1),
        REFUSED: (1, 1),
        DOWNLOAD: (2, 1),
        UPLOAD: (1, 1),
        ROUTES: (2, 1),
        STORE: (1, 1),
        DECISION: (2, 1),
        ENGINES: (2, 1),
    },
    starts=1,
    flood=1,
)


class Bench:
    """One benchmark: the site, those who take part, and what was found so far."""

    def __init__(self, site: Site, plan: Plan, ending: ExitStack) -> None:
        self._site = site
        self._plan = plan
        self._ending = ending
        self._running: dict[str, tuple[Peer, Contestant]] = {}
        self.results = Results()

    def invite(self, peers: Sequence[Peer]) -> None:
        """Start all who are installed and do their duty; tell why others are not."""
        for peer in peers:
            say(f"starting {peer.title}")
            if missing := peer.missing():
                self._note(f"**{peer.name}** was skipped: {missing} is not installed")
                continue
            try:
                there, start = scenes.start(self._site, peer, self._plan.starts)
            except (DidNotStart, NotAsExpected, OSError) as error:
                if peer is GATEWAY:
                    raise
                self._note(f"**{peer.name}** was skipped: {error}")
                continue
            self._ending.callback(there.stop)
            self._running[peer.name] = peer, there
            self.results.starts[peer.name] = start
        cores = self._site.cores
        self.results.about = machine.about(
            [each for each, _ in self._running.values()], cores
        )

    def measure(self) -> None:
        """Do everything there is, one thing after the other."""
        everybody = list(self._running.values())
        checking = [there for peer, there in everybody if peer.checks]
        asking = [there for peer, there in everybody if peer.asks]
        all_there = [there for _, there in everybody]
        nobody = direct(self._site)
        for load, who in (
            (HIT_1, [nobody, *all_there]),
            (HIT_64, [nobody, *all_there]),
            (HIT_512, all_there),
            (FRESH, all_there),
            (REFUSED, checking),
            (DOWNLOAD, all_there),
            (UPLOAD, all_there),
        ):
            self._try(load, who)
        self._routes()
        self._shared_store()
        self.doors()
        # The herd last: Apache is not itself for a while when 2,000 leave at once.
        for there in asking:
            self._flood(there)
        for there in asking:
            self._herd(there)

    def _flood(self, there: Contestant) -> None:
        say(f"flood: {there.name}")
        try:
            flood = scenes.flood(self._site, there, self._plan.flood)
            self.results.floods[there.name] = flood
        except (NotServed, OSError, subprocess.SubprocessError) as error:
            self._note(f"**{there.name}** has no flood: {error}")

    def _herd(self, there: Contestant) -> None:
        say(f"herd: {there.name}")
        try:
            self.results.herds[there.name] = scenes.herd(self._site, there)
        except OSError as error:
            self._note(f"**{there.name}** has no herd: {error}")

    def _try(self, load: Load, who: Sequence[Contestant]) -> Trial:
        say(load.title)
        rounds, seconds = self._plan.rounds[load]
        trial = take_turns(self._site, load, who, rounds=rounds, seconds=seconds)
        self.results.trials.append(trial)
        return trial

    def _routes(self) -> None:
        """Compare with a gateway of 10,000 routes."""
        _, ours = self._running[OURS]
        other = self._variant(MANY_ROUTES, routes="routes-10000.yaml")
        self._try(ROUTES, [ours, other])
        other.stop()

    def _shared_store(self) -> None:
        """Use more tokens than the memory holds, all of them in the shared store."""
        url = f"redis://127.0.0.1:{self._site.redis_port}"
        there = self._variant(SHARED_STORE, store=url, memory="256KiB")
        scenes.teach(there)
        self._site.asked()
        self._try(STORE, [there])
        if asked := self._site.asked():
            self._note(f"**{SHARED_STORE}**: {asked:,} requests were no hits there")
        there.stop()

    def doors(self) -> None:
        """Ask for decisions, as nginx does and through engines that do."""
        doors = Doors(self._site)
        self._ending.callback(doors.gateway.stop)
        self._try(DECISION, [doors.door])
        beside = (OURS, "nginx", "envoy")
        asking = [self._running[name][1] for name in beside if name in self._running]
        started: list[Contestant] = []
        for there in doors.engines():
            started.append(there)
            self._ending.callback(there.stop)
        for text in doors.skipped:
            self._note(text)
        self._try(ENGINES, [*asking, *started])
        for there in (doors.door, *asking, *started):
            self._pace(doors, there)
        for there in (*started, doors.gateway):
            there.stop()

    def _pace(self, doors: Doors, there: Contestant) -> None:
        say(f"at a steady pace: {there.name}")
        request = doors.question(there)
        try:
            took = scenes.steady(there.port, request, STEADY, self._plan.flood)
        except OSError as error:
            self._note(f"**{there.name}** has no pace: {error}")
            return
        p50, p99 = (percentile(took, share) for share in (0.5, 0.99))
        self.results.paces[there.name] = Pace(rate=STEADY, p50=p50, p99=p99)

    def _variant(self, label: str, **values: str) -> Contestant:
        peer = replace(GATEWAY, values={**GATEWAY.values, **values})
        there = enter(self._site, peer, label)
        self._ending.callback(there.stop)
        return there

    def _note(self, text: str) -> None:
        say(text)
        self.results.notes.append(text)


def say(what: str) -> None:
    """Tell what goes on."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {what}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write the report."""
    names = [peer.name for peer in PEERS if peer is not GATEWAY]
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short, with few peers")
    parser.add_argument("--only", metavar="PEER,PEER", help=f"of {', '.join(names)}")
    parser.add_argument(
        "--doors", action="store_true", help="the decision door, and nothing else"
    )
    parser.add_argument("--install", action="store_true", help="what is missing")
    given = parser.parse_args(arguments)
    usual = ("nginx", "envoy") if given.doors else QUICK if given.quick else names
    only = given.only.split(",") if given.only else usual
    if unknown := set(only) - {OURS, *names}:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {names}")
    peers = [peer for peer in PEERS if peer is GATEWAY or peer.name in only]
    if given.install:
        machine.install(peers, say)
    if missing := GATEWAY.missing():
        parser.exit(1, f"bench: {missing} is not there: make bench builds it\n")
    if why := machine.obstacle():
        parser.exit(1, f"bench: {why}\n")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    plan = BRIEF if given.quick else FULL
    results = run(peers, plan, doors=given.doors)
    publish(results, kind="doors" if given.doors else "quick" if given.quick else "")


def run(peers: Sequence[Peer], plan: Plan, *, doors: bool = False) -> Results:
    """Measure these, or `doors` alone; whatever was started has ended when this returns or raises."""
    machine.allow_many_files()
    cores = Cores.here()
    os.sched_setaffinity(0, map(int, cores.others.split(",")))
    with open_site(cores) as site, ExitStack() as ending:
        bench = Bench(site, plan, ending)
        bench.invite(peers)
        if doors:
            bench.doors()
        else:
            bench.measure()
        return bench.results


def publish(results: Results, *, kind: str) -> None:
    """Print the report, and keep it with its picture among the results."""
    text = markdown(results)
    sys.stdout.write(f"\n{text}\n")
    day = results.about["date"].partition(" ")[0]
    path = RESULTS / f"{day}{f'-{kind}' if kind else ''}.md"
    try:
        from tests.benchmarks.plot import draw  # noqa: PLC0415 -- an extra
    except ImportError:
        say("no picture: pip install 'token-gateway[bench]'")
    else:
        if draw(results, path.with_suffix(".png")):
            text += f"\n![Cached hit]({path.stem}.png)\n"
    path.write_text(text)
    say(f"wrote {path}")


if __name__ == "__main__":
    main()
