import asyncio
from pathlib import Path

import pytest

from gateway.certificates import Renewal
from gateway.config.listeners import Tls
from gateway.observe.series import Reading
from gateway.tasks import spawn
from gateway.wire.tls import TlsUnusable
from tests.wire.pki import Pki
from tests.wired import EventLog, until

READINGS = ("tls_certificate_expiry_timestamp_seconds", "tls_last_reload_successful")


class Place:
    """Files, a log, and what looks after the files."""

    def __init__(self, folder: Path) -> None:
        self.pki = Pki(folder)
        self.log = EventLog(folder / "events.log")
        tls = Tls(certificate=self.pki.certificate, key=self.pki.key)
        self.renewal = Renewal("admin", tls, self.log.log, every=0.01)
        self.taken_up = 0
        self.renewal.taken_up = self._take_up

    def _take_up(self) -> None:
        self.taken_up += 1


@pytest.fixture
def place(tmp_path):
    """Nothing has changed yet."""
    return Place(tmp_path)


async def test_a_renewed_certificate_is_told_and_handed_on(place):
    """With the listener whose it is, and its end; nobody need ask for it."""
    before = place.renewal.certificates.context
    task = spawn(place.renewal.run(), name="certificates")
    place.pki.issue()
    await until(lambda: place.taken_up)
    task.cancel()
    await asyncio.wait([task])
    [event] = place.log.events()

    assert before is not place.renewal.certificates.context
    assert 1 == place.taken_up
    assert (
        "certificate_renewed",
        "admin",
        int(place.renewal.certificates.not_after),
    ) == (
        event["event"],
        event["listener"],
        event["not_after"],
    )


async def test_what_cannot_be_used_is_told_once_and_not_handed_on(place):
    """What was in force goes on."""
    before = place.renewal.certificates.context
    place.pki.key.write_text("nothing of use")
    for _ in range(4):
        await place.renewal.look()
    [event] = place.log.events()

    assert ("certificate_unusable", "admin") == (event["event"], event["listener"])
    assert (before, 0) == (place.renewal.certificates.context, place.taken_up)


async def test_it_is_shown_under_the_listeners_name(place):
    """When it ends, and whether the files are what is in force."""
    shown: dict[tuple[str, ...], Reading] = {}
    place.renewal.show(
        lambda name, read, *labels: shown.__setitem__((name, *labels), read)
    )
    place.pki.key.write_text("nothing of use")
    before = [shown[name, "admin"]() for name in READINGS]
    for _ in range(2):
        await place.renewal.look()
    place.log.events()

    not_after = place.renewal.certificates.not_after
    assert [not_after, 1] == before
    assert [not_after, 0] == [shown[name, "admin"]() for name in READINGS]


def test_files_that_are_of_no_use_are_none_to_begin_with(tmp_path):
    """There is nothing in force yet."""
    pki = Pki(tmp_path)
    tls = Tls(certificate=pki.certificate, key=pki.key)
    pki.key.write_text("nothing of use")
    log = EventLog(tmp_path / "events.log")

    with pytest.raises(TlsUnusable):
        Renewal("admin", tls, log.log)
    log.events()
