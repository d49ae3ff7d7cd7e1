from gateway.observe.audit import AuditLog
from tests.wired import EventLog

FIELDS = {"peer": "127.0.0.1", "via": "api", "request": "POST /api/revocations"}


def test_a_change_is_written_down_whatever_the_level_is(tmp_path):
    """Who, what, when and what came of it."""
    log = EventLog(tmp_path / "events.log")
    log.log.level("error")
    audit = AuditLog(log.log)
    audit.record("revoke", "done", **FIELDS, provider="melon", kind="subject")
    audit.record("reload", "failed", **FIELDS)
    first, second = log.events()

    assert first.pop("time")
    assert {
        "level": "info",
        "event": "audit",
        "action": "revoke",
        "outcome": "done",
        **FIELDS,
        "provider": "melon",
        "kind": "subject",
    } == first
    assert ("reload", "failed") == (second["action"], second["outcome"])
    assert "<AuditLog>" == repr(audit)


def test_who_is_turned_away_again_and_again_is_told_once_in_a_while(tmp_path):
    """Each address for itself: nobody fills the disk, or hides behind another."""
    log = EventLog(tmp_path / "events.log")
    audit = AuditLog(log.log)
    for _ in range(100):
        audit.record("refused", "denied", **FIELDS)
    audit.record("refused", "denied", **{**FIELDS, "peer": "192.0.2.7"})
    told = log.events()

    assert ["127.0.0.1", "192.0.2.7"] == [each["peer"] for each in told]
    assert {"warning"} == {each["level"] for each in told}


def test_another_reason_to_be_turned_away_is_told_at_once(tmp_path):
    """That somebody guesses is news, though that a token was wrong has been told."""
    log = EventLog(tmp_path / "events.log")
    audit = AuditLog(log.log)
    for error in ("unauthorized", "unauthorized", "too_many_guesses"):
        audit.record("refused", "denied", **FIELDS, error=error)

    assert ["unauthorized", "too_many_guesses"] == [
        each["error"] for each in log.events()
    ]


def test_no_value_can_forge_a_line(tmp_path):
    """A subject is whatever a provider says."""
    log = EventLog(tmp_path / "events.log")
    AuditLog(log.log).record("revoke", "done", name='a"}\n{"event":"audit"\x1b')
    (told,) = log.events()

    assert 'a"}\n{"event":"audit"\x1b' == told["name"]
