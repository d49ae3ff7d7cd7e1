"""`gateway demo`: one command, and the lines that it prints do what they say."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.functional.harness import (
    ADMIN_TOKEN,
    Gateway,
    command,
    eventually,
    free_ports,
    running,
)
from tests.functional.lab import MIB
from tests.functional.partner import DEVICE, Partner

SCRIPT = Path(sys.executable).with_name("gateway")


def options(ports: Mapping[str, int]) -> list[str]:
    """Write ports as options."""
    return [f"--{name}-port={port}" for name, port in ports.items()]


def start(folder: Path, *more: str, program: tuple[str, ...]) -> Gateway:
    """Start a demo on ports of its own."""
    ports = free_ports()
    return Gateway(
        ["demo", *options(ports._asdict()), *more],
        ports=ports,
        environ={**os.environ, "GATEWAY_ADMIN_TOKEN": ADMIN_TOKEN},
        folder=folder,
        program=program,
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A demo, started as a newcomer does, in an empty folder."""
    folder = tmp_path_factory.mktemp("demo")
    with running(start(folder, program=(str(SCRIPT),))) as process:
        # Said once all listeners are open.
        eventually(lambda: "explain GET" in process.said())
        yield process


def pasted(demo: Gateway, provider: str) -> list[str]:
    """The lines printed for a provider, as they would be pasted."""
    printed = demo.printed()[0]
    (lines,) = re.findall(rf"^# {provider}:.*\n((?:.+\n)+)", printed, re.MULTILINE)
    return str(lines).splitlines()


def statuses(demo: Gateway, provider: str, folder: Path) -> list[str]:
    """Paste the lines into a shell; give the status lines that curl shows."""
    shell, curl = shutil.which("bash"), shutil.which("curl")
    if shell is None or curl is None:
        pytest.skip("bash and curl are needed to paste what the demo prints")
    script = "\n".join(["set -e", *pasted(demo, provider)])
    done = subprocess.run(  # noqa: S603
        [shell, "-c", script],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
        env={**os.environ, "GATEWAY_ADMIN_TOKEN": ADMIN_TOKEN},
    )
    assert 0 == done.returncode, done.stderr
    return re.findall(r"^HTTP/1.1 (\d+)", done.stdout, re.MULTILINE)


def test_melons_lines(demo, tmp_path):
    """Allowed by header and by query, a part of a track, missing scope, revoked."""
    assert ["200", "200", "403", "401"] == statuses(demo, "melon", tmp_path)
    track = (tmp_path / "track.wav").read_bytes()
    assert (1_000_000, b"RIFF") == (len(track), track[:4])


def test_nugus_lines(demo, tmp_path):
    """Allowed with its device, refused with another, revoked."""
    assert ["200", "401", "401"] == statuses(demo, "nugu", tmp_path)


def test_ottms_lines(demo, tmp_path):
    """Allowed, missing scope, revoked: every refusal a 400."""
    assert ["200", "400", "400"] == statuses(demo, "ottm", tmp_path)


def test_it_says_what_runs_where(demo):
    """Addresses, and that it is for development."""
    printed = demo.printed()[0]

    assert "FOR DEVELOPMENT ONLY" in printed
    for port in demo.ports:
        assert f"http://127.0.0.1:{port}" in printed


def test_it_listens_on_loopback_only(demo):
    """The sandbox hands out tokens to anybody."""
    table = Path("/proc/net/tcp")
    if not table.exists():
        pytest.skip("there is no /proc to look listeners up in")
    listening = re.findall(
        r": ([0-9A-F]{8}):([0-9A-F]{4}) 00000000:0000 0A ", (table.read_text())
    )
    places = {int(port, 16): place for place, port in listening}

    assert {"0100007F"} == {places[port] for port in demo.ports}


def test_the_browser_pages(demo):
    """The start page and a consent page, with the banner and nothing from elsewhere."""
    start_page = demo.ask("GET", "/oauth/nothing", host="melon.localhost")
    consent = Partner("melon", demo).authorize()

    assert 404 == start_page.status
    assert 200 == consent.status
    assert "For development only" in consent.body.decode()
    assert "default-src 'none'" in (consent.header("Content-Security-Policy") or "")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "evil.example"])
def test_a_host_that_is_not_served(demo, host):
    """404 in the default dialect: no route, no upstream."""
    answer = demo.ask("GET", "/oauth/likes", host=host)

    assert (404, "not_found") == (answer.status, answer.json["error"])


def test_it_weighs_little(demo):
    """With a sandbox of three providers in the same process."""
    assert 0 < demo.fresh_bytes < 90 * MIB


def test_it_runs_as_a_module_too(tmp_path):
    """And then prints commands that run as a module."""
    module = (sys.executable, "-m", "gateway")
    with running(start(tmp_path, program=module)) as process:
        eventually(lambda: "explain GET" in process.said())
        melon = Partner("melon", process)
        line = pasted(process, "nugu")[0]

        assert 200 == melon.ask("GET", "/oauth/likes", token=melon.token()).status
        assert "__main__" not in process.printed()[0]
        assert (
            200
            == Partner("nugu", process)
            .ask(
                "GET",
                "/v1/devices/me",
                ("Device-Serial-Number", DEVICE),
                token=printed_token(line, tmp_path),
            )
            .status
        )


def printed_token(line: str, folder: Path) -> str:
    """Run the command inside `T=$(…)`; gives what it prints."""
    done = subprocess.run(  # noqa: S602
        line.removeprefix("T=$(").removesuffix(")"),
        shell=True,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=40,
        check=True,
    )
    return done.stdout.strip()


def test_with_valkey(tmp_path):
    """`--store valkey` starts a real server; it ends with the demo."""
    program = (str(SCRIPT),)
    with running(start(tmp_path, "--store", "valkey", program=program)) as process:
        ottm = Partner("ottm", process)

        answer = ottm.ask("GET", "/membership/v1/benefits", token=ottm.token())

        assert 200 == answer.status
        assert 1 == process.metric("redis_up")
        assert 0 < process.metric("cache_requests_total", tier="l2")


def test_a_busy_port_is_told_with_the_option_to_change_it(demo):
    """Exit code 1 and one clear line, whichever of the four it is."""
    names = demo.ports._fields

    def try_to_start(name):
        ports = free_ports()._asdict() | {name: getattr(demo.ports, name)}
        return command("demo", *options(ports))

    with ThreadPoolExecutor() as pool:
        tries = list(pool.map(try_to_start, names))

    for name, done in zip(names, tries, strict=True):
        assert 1 == done.returncode
        assert f"--{name}-port" in done.stderr
        assert "the port is in use" in done.stderr
        assert "Traceback" not in done.stderr
