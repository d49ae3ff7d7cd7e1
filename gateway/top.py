"""The overview in a terminal, with rich. Floor 5; the only module that knows it.

The same order as the page: what is wrong, what went through lately, how the parts are.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gateway.admin.wording import moment, number, rate, share, size, span, took

STYLES: Final = {"good": "green", "warn": "yellow", "bad": "bold red"}
SIGNS: Final = {"good": "✓", "warn": "!", "bad": "✕"}
BARS: Final = " ▁▂▃▄▅▆▇█"
SOURCES: Final = {
    "l1": "memory (L1)",
    "l2": "store (L2)",
    "provider": "provider",
    "stale": "stale, by grace",
}

Overview = Mapping[str, Any]


def show(looks: Iterable[Overview], *, live: bool) -> None:
    """Show one look after the other: in place, or below each other."""
    console = Console()
    if not live:
        for told in looks:
            console.print(picture(told))
        return
    with Live(console=console, screen=True, auto_refresh=False) as screen:
        try:
            for told in looks:
                screen.update(picture(told), refresh=True)
        except KeyboardInterrupt:
            pass


def picture(told: Overview) -> Group:
    """Draw an overview."""
    return Group(
        _headline(told),
        *_troubles(told["troubles"]),
        Text(),
        _figures(told),
        _trend(told),
        Text(),
        _beside(_reasons(told), _sources(told["sources"])),
        Text(),
        _providers(told["providers"]),
        Text(),
        _upstreams(told["upstreams"]),
        Text(),
        _store(told),
    )


def _headline(told: Overview) -> Group:
    troubles = told["troubles"]
    bad = sum(each["level"] == "bad" for each in troubles)
    if bad:
        headline, style = f"✕ {bad} wrong", STYLES["bad"]
    elif troubles:
        headline, style = f"! {len(troubles)} to look at", STYLES["warn"]
    else:
        headline, style = "✓ all is well", STYLES["good"]
    workers = told["workers"]
    about = (
        f"{told['state']} for {span(told['now'] - told['started_at'])}"
        f"   config {told['config']}   {workers['serving']}/{workers['wanted']} workers"
        f"   token-gateway {told['version']}   {moment(told['now'])} UTC"
    )
    return Group(Text(headline, style=style), Text(about, style="dim"))


def _troubles(troubles: Sequence[Overview]) -> Iterator[RenderableType]:
    for each in troubles:
        line = Text(f"  {SIGNS[each['level']]} ", style=STYLES[each["level"]])
        line.append(each["what"], style="bold")
        yield line
        yield Text(f"    {each['means']}", style="dim")


def _figures(told: Overview) -> Table:
    requests, latency = told["requests"], told["latency"]
    every = sum(requests.values())
    table = Table.grid(padding=(0, 3))
    headings = (
        "requests",
        "allowed",
        "denied",
        "failed",
        "median",
        "95 %",
        "in flight",
    )
    table.add_row(*(Text(each, style="dim") for each in headings))
    failed = Text(
        number(requests["failed"]), style=STYLES["bad"] if requests["failed"] else ""
    )
    table.add_row(
        f"{rate(every / told['window'])}/s",
        number(requests["allowed"]),
        f"{number(requests['denied'])} ({share(requests['denied'], every)})",
        failed,
        took(latency["p50"]),
        took(latency["p95"]),
        number(told["in_flight"]),
        style="bold",
    )
    return table


def _trend(told: Overview) -> Text:
    counts = [sum(each["requests"].values()) for each in told["series"]]
    failed = [each["requests"]["failed"] for each in told["series"]]
    top = max(counts, default=0) or 1
    line = Text()
    for count, bad in zip(counts, failed, strict=True):
        bar = BARS[-(-count * (len(BARS) - 1) // top)]
        line.append(bar, style="red" if bad else "blue")
    line.append(f"  the last {span(told['window'])}", style="dim")
    return line


def _reasons(told: Overview) -> Table:
    table = _table("why refused or failed", "#requests")
    for each in told["reasons"][:6]:
        table.add_row(each["reason"], number(each["count"]))
    return table


def _sources(sources: Mapping[str, int]) -> Table:
    table = _table("facts from", "#look-ups", "#share")
    every = sum(sources.values())
    for name, count in sources.items():
        table.add_row(SOURCES.get(name, name), number(count), share(count, every))
    return table


def _providers(providers: Sequence[Overview]) -> Table:
    heads = ("provider", "state", "breaker", "#asked", "unanswered", "#now", "#waiting")
    table = _table(*heads, "#tokens", "#memory")
    for each in providers:
        now = each["now"]
        failures = ", ".join(f"{n} {code}" for code, n in each["failures"].items())
        table.add_row(
            now["provider"],
            _state(each["state"]),
            each["breaker"],
            number(each["asked"]),
            failures or "none",
            number(now["under_way"]),
            number(now["waiting"]),
            number(now["tokens"]),
            size(now["memory_bytes"]),
        )
    return table


def _upstreams(upstreams: Sequence[Overview]) -> Table:
    heads = ("upstream", "state", "target", "addresses", "#busy", "#idle", "#waiting")
    table = _table(*heads)
    for up in upstreams:
        for each in up["targets"]:
            now = each["now"]
            counts = [f"{n} {name}" for name, n in now["addresses"].items() if n]
            table.add_row(
                up["upstream"],
                _state(each["state"]),
                now["target"],
                ", ".join(counts) or "none",
                number(now["busy"]),
                number(now["idle"]),
                number(up["waiting"]),
            )
    return table


def _store(told: Overview) -> Text:
    store = told["store"]
    well = store["up"] and not store["lost"]
    line = Text("store ", style="dim")
    line.append_text(
        _state("bad" if not well else "warn" if store["blind"] else "good")
    )
    line.append(f" {store['kind']}   revocations in force {number(told['marks'])}")
    return line


def _table(*heads: str) -> Table:
    """Make a table; a heading that begins with `#` stands over numbers."""
    table = Table(box=None, header_style="dim", pad_edge=False)
    for head in heads:
        numbers = head.startswith("#")
        table.add_column(
            head.removeprefix("#"), justify="right" if numbers else "left", no_wrap=True
        )
    return table


def _state(state: str) -> Text:
    return Text(f"{SIGNS[state]} {state}", style=STYLES[state])


def _beside(*tables: Table) -> Table:
    grid = Table.grid(padding=(0, 6))
    grid.add_row(*tables)
    return grid
