"""Every page, light and dark, in a real browser: whole, ours alone, and accessible."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.functional.harness import ROOT, eventually
from tests.ui.conftest import SCHEMES, get, new_token, nothing_unwanted, token

pytestmark = [pytest.mark.ui, pytest.mark.timeout(120)]

PAGES = ("/", "/routes", "/explain", "/recent", "/revocations", "/config")
SHOTS = ROOT / "deploy" / "screenshots"
GRAVE = ("serious", "critical")


def shoot(opened, name: str, folder: Path) -> None:
    """Take a picture; with SCREENSHOTS=write it is the one in the repository."""
    kept = os.environ.get("SCREENSHOTS") == "write"
    picture = (SHOTS if kept else folder) / f"{name}.png"
    opened.page.screenshot(path=picture)
    if kept and (smaller := shutil.which("pngquant")):
        words = ["--force", "--ext", ".png", "--speed", "1", "64", str(picture)]
        subprocess.run([smaller, *words], check=True)  # noqa: S603


def grave(opened, axe: str) -> list[str]:
    """List what axe-core finds that keeps somebody out."""
    opened.page.evaluate(axe)
    found = opened.page.evaluate("axe.run(document).then((told) => told.violations)")
    return [
        f"{each['id']}: {each['nodes'][0]['target']} {each['nodes'][0]['html']}"
        for each in found
        if each["impact"] in GRAVE
    ]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_whole_and_asks_nobody_else(tab, busy, path, scheme):
    """No complaint, nothing stopped by its own policy, no request to another origin."""
    with nothing_unwanted(tab(busy, color_scheme=scheme)) as opened:
        opened.sign_in()
        answer = opened.goto(path)

        assert answer.status == 200
        assert opened.page.locator("h1").count() == 1
        paper = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
        expected = {"light": "rgb(255, 255, 255)", "dark": "rgb(15, 19, 24)"}
        assert expected[scheme] == paper
        wide = "document.documentElement.scrollWidth <= window.innerWidth"
        assert opened.page.evaluate(wide), "the page scrolls sideways"


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("path", PAGES)
def test_a_page_keeps_nobody_out(tab, busy, axe, path, scheme):
    """Contrast, names, order: nothing serious is found by axe-core."""
    opened = tab(busy, color_scheme=scheme)
    opened.sign_in()
    opened.goto(path.replace("/recent", "/recent?limit=30"))

    assert [] == grave(opened, axe)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_is_wrong_keeps_nobody_out_either(tab, unwell, axe, scheme, tmp_path):
    """The page that matters most, and who reads it in two seconds."""
    good = token(unwell, "melon", "streaming user-like-read")
    for _ in range(30):
        get(unwell, "melon", "/oauth/likes", good)
    unknown = new_token(unwell, "ottm", "openid")

    def given_up() -> bool:
        get(unwell, "ottm", "/membership/v1/me", unknown)
        (ottm,) = (
            each
            for each in unwell.admin("GET", "/api/overview").json["providers"]
            if each["now"]["provider"] == "ottm"
        )
        return bool(ottm["breaker"] == "open")

    eventually(given_up)
    with nothing_unwanted(tab(unwell, color_scheme=scheme)) as opened:
        opened.goto("/")

        headline = opened.page.locator("h1").inner_text()
        assert "wrong" in headline
        told = opened.page.locator(".state").inner_text()
        assert "Provider ottm is left alone after many failures" in told
        assert [] == grave(opened, axe)
        shoot(opened, f"trouble-{scheme}", tmp_path)


def test_the_proofs_can_fail(tab, busy, axe):
    """A style in the page, an image of another origin, a picture without words."""
    opened = tab(busy)
    opened.goto("/")
    opened.page.evaluate("""() => {
        document.querySelector('h1').setAttribute('style', 'color: red');
        const image = document.createElement('img');
        image.src = 'http://127.0.0.1:9/outside.png';
        document.querySelector('main').append(image);
    }""")

    eventually(lambda: len(opened.violations()) > 1, told="nothing was stopped")
    assert any("127.0.0.1:9" in each for each in opened.violations())
    assert any("style-src" in each for each in opened.violations())
    assert any(each.startswith("image-alt") for each in grave(opened, axe))
    with pytest.raises(AssertionError):
        opened.check()


def test_pages_are_read_without_javascript(tab, busy):
    """All of it, and links and filters work."""
    opened = tab(busy, signed=False, java_script_enabled=False)
    opened.goto("/")
    opened.page.get_by_role("link", name="insufficient_scope").click()
    rows = opened.page.locator("tbody tr")

    assert rows.count() > 5
    assert rows.count() == opened.page.locator("tbody .tag.warn").count()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_pictures_of_the_console(tab, busy, scheme, tmp_path):
    """For the README; what they show is what a newcomer sees first."""
    opened = tab(busy, color_scheme=scheme)
    opened.sign_in()
    opened.goto("/")
    assert "All is well" in opened.page.locator("h1").inner_text()
    shoot(opened, f"overview-{scheme}", tmp_path)
    opened.goto("/recent")
    assert opened.page.locator("tbody tr").count() > 50
    shoot(opened, f"recent-{scheme}", tmp_path)
    opened.goto("/explain")
    opened.page.get_by_label("URL").fill("http://melon.localhost/oauth/playlists")
    bearer = token(busy, "melon", "streaming user-like-read")
    opened.page.get_by_label("Token").fill(bearer)
    opened.page.get_by_role("button", name="Explain").click()
    assert "✕ Denied: insufficient_scope" == opened.page.locator("h1").inner_text()
    assert bearer not in opened.page.content()
    shoot(opened, f"explain-{scheme}", tmp_path)


def test_following_shows_what_comes(tab, busy):
    """The page comes again by itself, with the filter, until it is told to stop."""
    opened = tab(busy)
    opened.goto("/recent?route=melon-me")
    opened.page.get_by_role("link", name="Follow").click()
    assert opened.page.get_by_text("following").count() == 1
    before = opened.page.locator("tbody tr:not(:has(.empty))").count()
    get(busy, "melon", "/oauth/me", "")
    rows = opened.page.locator("tbody tr:not(:has(.empty))")
    rows.nth(before).wait_for(timeout=15_000)
    opened.page.get_by_role("link", name="Stop").click()

    assert opened.page.get_by_text("following").count() == 0
    assert "route=melon-me" in opened.page.url


def test_without_the_token_there_is_no_way_in(chromium, busy):
    """The browser asks its user; nothing is kept that another port could be sent."""
    context = chromium.new_context()
    try:
        page = context.new_page()
        # What a browser without a window says where one would ask for a password.
        with pytest.raises(Exception, match="ERR_INVALID_AUTH_CREDENTIALS"):
            page.goto(f"http://127.0.0.1:{busy.ports.admin}/sign-in")
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{busy.ports.admin}/")
        assert "reading only" in page.locator(".who").inner_text()
        assert [] == context.cookies()
    finally:
        context.close()
