"""The admin listener by TLS: real processes, and the commands that ask them."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.functional.harness import (
    ADMIN_TOKEN,
    Gateway,
    command,
    eventually,
    free_ports,
    running,
)
from tests.functional.lab import config
from tests.stores.servers import serving
from tests.wire.pki import Pki

OPENSSL = shutil.which("openssl") or ""
LONG_AGO = datetime(2021, 1, 1, tzinfo=UTC)
EVE = ("revoke", "--provider", "lab", "--subject", "eve")


class Place:
    """A running gateway whose admin listener has TLS."""

    def __init__(self, gateway: Gateway, pki: Pki) -> None:
        self.gateway = gateway
        self.pki = pki

    def run(
        self, *words: str, shown: Path | None = None, token: str = "", ca: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a command that asks it, by a certificate or a token."""
        there = f"https://localhost:{self.gateway.ports.admin}"
        by = [] if shown is None else ["--cert", str(shown)]
        environ = {**os.environ, "GATEWAY_ADMIN_CA": ca or str(self.pki.ca)}
        environ |= {"GATEWAY_ADMIN_TOKEN": token} if token else {}
        return command(*words, "--admin", there, *by, environ=environ)

    def audited(self) -> list[dict[str, Any]]:
        """What the audit log tells so far."""
        lines = map(json.loads, self.gateway.printed()[1].splitlines())
        return [each for each in lines if each["event"] == "audit"]


@contextmanager
def served(folder: Path, text: str) -> Iterator[Place]:
    """Run it; in the end it leaves in good order."""
    pki, ports = Pki(folder), free_ports()
    files = f"certificate: {pki.certificate}, key: {pki.key}, client_ca: {pki.ca}"
    (folder / "lab.yaml").write_text(
        "version: 1\n"
        f'listen: {{proxy: "127.0.0.1:{ports.proxy}", status: "127.0.0.1:{ports.status}",'
        f' admin: "127.0.0.1:{ports.admin}"}}\n'
        "secret: a-secret-of-the-functional-tests-0123456789\n"
        f"admin: {{token: {ADMIN_TOKEN}, tls: {{{files}}}}}\n" + text
    )
    arguments = ["run", "-c", "lab.yaml"]
    gateway = Gateway(arguments, ports=ports, environ={**os.environ}, folder=folder)
    with running(gateway):
        yield Place(gateway, pki)


@pytest.fixture(scope="module", params=[1, 2], ids=["alone", "workers"])
def place(request, tmp_path_factory, lab):
    """One process, and a parent of two: there it is the parent's listener."""
    folder = tmp_path_factory.mktemp("admin")
    if request.param == 1:
        with served(folder, config(lab)) as alone:
            yield alone
        return
    with serving("valkey") as store:
        shared = f"workers: 2\nstore: {{url: '{store.url}'}}\n"
        with served(folder, shared + config(lab)) as parent:
            yield parent


def test_a_certificate_revokes_and_lifts(place):
    """Without a token; the log says who it was."""
    ada = place.pki.show("ada")
    mark = json.loads(place.run(*EVE, shown=ada).stdout)
    listed = place.run("revocations", shown=ada)
    lifted = place.run("unrevoke", mark["id"], shown=ada)
    explained = place.run("explain", "GET", "http://h/music/a", shown=ada)

    assert "eve" in listed.stdout
    assert (0, f"lifted {mark['id']}\n") == (lifted.returncode, lifted.stdout)
    assert "decision" in json.loads(explained.stdout)
    assert ["revoke", "lift", "explain"] == [
        each["action"] for each in place.audited() if each.get("certificate") == "ada"
    ]


def test_the_token_goes_where_the_authority_is_known(place):
    """And nowhere else: the command does not even ask."""
    trusted = place.run("revocations", token=ADMIN_TOKEN)
    stranger = place.pki.ca.parent / "stranger.crt"
    trustme.CA().cert_pem.write_to_path(str(stranger))
    before = len(place.audited())
    wrong = place.run("revocations", token=ADMIN_TOKEN, ca=str(stranger))

    assert 0 == trusted.returncode
    assert 1 == wrong.returncode
    assert "is not trusted: " in wrong.stderr
    assert before == len(place.audited())


def test_who_watches_needs_neither_on_loopback(place):
    """By TLS as without."""
    assert 0 == place.run("tail", "--once").returncode
    assert 0 == place.run("top", "--once").returncode


@pytest.mark.parametrize("how", ["expired", "a stranger's"])
def test_a_certificate_that_is_not_good_revokes_nothing(place, how):
    """The handshake fails: exit code 1, and a count."""
    bad = place.pki.show("mallory", by=trustme.CA())
    if how == "expired":
        bad = place.pki.show("eve", until=LONG_AGO)
    before = place.gateway.metric("admin_refused_total", reason="handshake")
    done = place.run(*EVE, shown=bad)

    assert (1, "") == (done.returncode, done.stdout)
    eventually(
        lambda: place.gateway.metric("admin_refused_total", reason="handshake") > before
    )


@pytest.mark.skipif(not OPENSSL, reason="openssl is not installed")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"), "Cipher is (NONE)"),
        (("-tls1_2",), "Protocol  : TLSv1.2"),
        (("-tls1_3",), "New, TLSv1.3"),
    ],
)
def test_old_versions_of_tls_are_refused(place, words, said):
    """RFC 8996, as at the clients' listener."""
    there = f"127.0.0.1:{place.gateway.ports.admin}"
    done = subprocess.run(  # noqa: S603 -- the test's own words
        [OPENSSL, "s_client", "-connect", there, *words],
        input=b"",
        capture_output=True,
        timeout=30,
        check=False,
    )

    assert said in (done.stdout + done.stderr).decode(errors="replace")


def test_renewed_files_are_served_without_a_restart(tmp_path, lab):
    """The listener's certificate and the operators' authority, all at once."""
    with served(tmp_path, config(lab)) as place:
        ada = place.pki.show("ada")
        assert 0 == place.run("revocations", shown=ada).returncode
        bob = Pki(tmp_path).show("bob")

        eventually(lambda: place.run("revocations", shown=bob).returncode == 0)
        assert 1 == place.run("revocations", shown=ada).returncode
        told = '"event":"certificate_renewed","listener":"admin"'
        assert told in place.gateway.said()
        assert 1 == place.gateway.metric("tls_last_reload_successful", listener="admin")


def test_another_section_needs_a_restart(place):
    """The check of a reload says so, with file, line and key."""
    file = place.gateway.folder / "lab.yaml"
    text = file.read_text()
    file.write_text(text.replace(", client_ca: ", ", min_version: '1.3', client_ca: "))
    told = "lab.yaml:4: admin.tls.min_version: expected what it was when the process"
    eventually(lambda: told in place.gateway.said())
    file.write_text(text)
