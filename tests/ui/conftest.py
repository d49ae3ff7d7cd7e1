"""A running demo, and a real browser in front of it.

Chromium is the system's: Playwright's own download is not needed. What is missing and
cannot be had skips the tests that need it, by name and with the reason.
"""

import functools
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gateway.app import SystemClock
from gateway.demo import Ports as DemoPorts
from gateway.demo import environment
from gateway.sandbox import app as sandbox_app
from gateway.sandbox.keys import SandboxKeys
from tests.functional.harness import (
    ADMIN_TOKEN,
    ROOT,
    Backstage,
    Gateway,
    command,
    free_ports,
    running,
)

HERE = Path(__file__).parent
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WIDE = {"width": 1280, "height": 800}
SCHEMES = ("light", "dark")

LISTEN = """
window.violations = [];
document.addEventListener('securitypolicyviolation', (event) => {
  window.violations.push(event.effectiveDirective + ' ' + event.blockedURI);
});
"""
"""Run in every page before its own content; the page's policy does not bind it."""


@dataclass
class Tab:
    """A page, and everything it did that it should not have done."""

    page: Any
    base: str
    foreign: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def goto(self, path: str) -> Any:
        """Open a page of the console."""
        return self.page.goto(self.base + path)

    def violations(self) -> list[str]:
        """Tell what the page's policy has stopped."""
        found: list[str] = self.page.evaluate("window.violations")
        return found

    def sign_in(self) -> None:
        """Give the admin token, as the browser's own window does."""
        self.goto("/sign-in")
        assert self.page.locator(".who").inner_text() == "signed in"

    def check(self) -> None:
        """Prove that nothing was asked of others, stopped, or complained about."""
        assert [] == self.violations()
        assert [] == self.foreign
        assert [] == self.complaints


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Start the system's Chromium."""
    api = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: extra `ui`"
    )
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("chromium is not on the path: the console is tested by no browser")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def demo(tmp_path_factory) -> Iterator[Gateway]:
    """Run `gateway demo`, whole."""
    ports = free_ports()
    arguments = [
        "demo",
        *("--proxy-port", str(ports.proxy), "--status-port", str(ports.status)),
        *("--admin-port", str(ports.admin), "--sandbox-port", str(ports.sandbox)),
    ]
    process = Gateway(
        arguments,
        ports=ports,
        environ={**os.environ, "GATEWAY_ADMIN_TOKEN": ADMIN_TOKEN},
        folder=tmp_path_factory.mktemp("demo"),
    )
    with running(process):
        yield process


@pytest.fixture(scope="session")
def unwell(tmp_path_factory) -> Iterator[Gateway]:
    """Run the demo's configuration with a provider that nobody answers for."""
    stage, ports = Backstage(), free_ports()
    keys = SandboxKeys.generate()
    world = stage.run(sandbox_app.start(port=0, keys=keys, clock=SystemClock()))
    places = DemoPorts(**{**ports._asdict(), "sandbox": world.port})
    process = Gateway(
        ["run", "-c", str(ROOT / "config" / "gateway.yaml")],
        ports=ports,
        environ={
            **environment(places, world, "memory://"),
            "GATEWAY_ADMIN_TOKEN": ADMIN_TOKEN,
            "OTTM_API_BASE": f"http://127.0.0.1:{free_ports().proxy}/ottm",
        },
        folder=tmp_path_factory.mktemp("unwell"),
    )
    with running(process):
        yield process
    stage.run(world.close())
    stage.close()


@functools.cache
def token(gateway: Gateway, provider: str, scope: str = "") -> str:
    """Get a token through the gateway, as a partner would; each once."""
    return new_token(gateway, provider, scope)


def new_token(gateway: Gateway, provider: str, scope: str = "") -> str:
    """Get a token of its own."""
    base = f"http://127.0.0.1:{gateway.ports.proxy}"
    words = ["token", "--provider", provider, "--base", base]
    done = command(*words, *(["--scope", scope] if scope else []))
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="session")
def busy(demo: Gateway) -> Gateway:
    """Give the demo after some requests of many kinds."""
    melon = token(demo, "melon", "streaming user-like-read")
    ottm = token(demo, "ottm", "openid")
    for number in range(40):
        get(demo, "melon", "/oauth/likes", melon)
        get(demo, "ottm", "/membership/v1/me", ottm)
        if number % 4 == 0:
            get(demo, "melon", "/oauth/playlists", melon)
        if number % 9 == 0:
            get(demo, "ottm", "/membership/v1/benefits", ottm)
            get(demo, "melon", "/oauth/likes", "")
        if number % 13 == 0:
            get(demo, "melon", f"/nowhere/{number}", "")
    return demo


def get(gateway: Gateway, provider: str, path: str, bearer: str) -> int:
    """Make one request of a partner's."""
    lines = [("Authorization", f"Bearer {bearer}")] if bearer else []
    return gateway.ask("GET", path, *lines, host=f"{provider}.localhost").status


@pytest.fixture
def tab(chromium) -> Iterator[Callable[..., Any]]:
    """Open tabs, each a browser of its own; `signed` gives it the token."""
    contexts: list[Any] = []

    def open_tab(gateway: Gateway, *, signed: bool = True, **options: Any) -> Tab:
        base = f"http://127.0.0.1:{gateway.ports.admin}"
        if signed:
            options["http_credentials"] = {"username": "any", "password": ADMIN_TOKEN}
        context = chromium.new_context(viewport=WIDE, **options)
        contexts.append(context)
        context.add_init_script(LISTEN)
        opened = Tab(context.new_page(), base)

        def asked(request: Any) -> None:
            if not request.url.startswith(base):
                opened.foreign.append(request.url)

        def said(message: Any) -> None:
            if message.type in ("error", "warning"):
                opened.complaints.append(message.text)

        opened.page.on("request", asked)
        opened.page.on("console", said)
        opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
        return opened

    yield open_tab
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """Give the text of axe-core, which comes from npm on the first run."""
    script = HERE / "axe" / "node_modules" / "axe-core" / "axe.min.js"
    if not script.exists():
        if shutil.which("npm") is None:
            pytest.skip("npm is not on the path: axe-core cannot be had")
        done = subprocess.run(
            ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock"],  # noqa: S607
            cwd=HERE / "axe",
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"npm could not install axe-core: {done.stderr.strip()[-200:]}")
    return script.read_text()


@contextmanager
def nothing_unwanted(opened: Tab) -> Iterator[Tab]:
    """Prove it of everything that is done within."""
    yield opened
    opened.check()
