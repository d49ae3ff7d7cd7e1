from prometheus_client import CollectorRegistry

from gateway.facts.mark_ledger import Book, Ledger
from gateway.facts.mark_stream import MarkStream, SightSettings
from gateway.facts.marks import Marks
from gateway.observe.metrics import Metrics
from gateway.observe.revocations import RevocationLog, watch
from tests.facts.doubles import SECRET, Tally
from tests.facts.mark_doubles import Library
from tests.wired import EventLog


def test_every_event_has_its_line(tmp_path):
    """Alarms are warnings; that all is well again is told too."""
    log, tally = EventLog(tmp_path / "log"), Tally()
    events = RevocationLog(log.log, tally)
    events.blind()
    events.lost()
    events.seeing(1.23456)
    events.evicting("allkeys-lru")
    for _ in range(3):
        events.seal_alarm()
    RevocationLog(log.log).seal_alarm()
    told = [
        (event["level"], event["event"], event.get("unseen"), event.get("policy"))
        for event in log.events()
    ]

    assert [
        ("warning", "revocations_blind", None, None),
        ("warning", "revocations_lost", None, None),
        ("info", "revocations_known", 1.235, None),
        ("warning", "store_evicts", None, "allkeys-lru"),
        ("warning", "mark_not_ours", None, None),
    ] == told
    assert 3 == tally.counts["seal_alarm",]


async def test_a_scrape_sees_how_well_they_are_known(clock, tmp_path):
    """Before anything was read: blind, lost, and somebody dared."""
    log = EventLog(tmp_path / "log")
    events, journal = RevocationLog(log.log), Library().reader()
    ledger = Ledger([Book(SECRET)], journal=journal, clock=clock, events=events)
    stream = MarkStream(
        Marks(clock=clock, terms={}, ledger=ledger),
        ledger,
        journal=journal,
        clock=clock,
        events=events,
        settings=SightSettings(),
    )
    registry = CollectorRegistry()
    in_use: list[MarkStream | None] = [stream]
    watch(Metrics(registry), lambda: in_use[0])
    stream.dared()
    log.events()

    def shown() -> list[float | None]:
        names = ("blind", "lost", "dared_total")
        alarms = [f"gateway_revocations_{name}" for name in names]
        told = (*alarms, "gateway_store_evicts")
        return [registry.get_sample_value(name) for name in told]

    seen = shown()
    in_use[0] = None

    assert [1, 1, 1, 0] == seen
    assert [None] * 4 == shown()
