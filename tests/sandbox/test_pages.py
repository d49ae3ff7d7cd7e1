import re

import pytest

from tests.sandbox.partner import AUTHORIZE, CALLBACK, Form

PAGES = [
    "/",
    "/callback?code=abc&state=xyz",
    (
        f"{AUTHORIZE['melon']}?response_type=code&client_id=demo"
        f"&redirect_uri={CALLBACK}&scope=streaming"
    ),
]


@pytest.mark.parametrize("path", PAGES)
async def test_every_page_says_that_it_is_for_development(partner, path):
    """The banner is on every page, and no cache keeps any."""
    page = await partner.ask("GET", path)

    assert 200 == page.status
    assert "For development only" in page.body.decode()
    assert ("no-store", "no-referrer", "nosniff") == tuple(
        page.headers[name]
        for name in ("Cache-Control", "Referrer-Policy", "X-Content-Type-Options")
    )


@pytest.mark.parametrize("path", PAGES)
async def test_no_page_may_load_or_run_anything(partner, path):
    """Neither scripts nor outside requests; the one style sheet has a fresh nonce."""
    first, second = [await partner.ask("GET", path) for _ in range(2)]
    policy = first.headers["Content-Security-Policy"]
    (nonce,) = re.findall(r"style-src 'nonce-([\w-]+)';", policy)
    form = Form(first.body.decode())

    assert policy.startswith("default-src 'none'; ")
    assert policy.endswith("; base-uri 'none'; frame-ancestors 'none'")
    assert f'<style nonce="{nonce}">' in first.body.decode()
    assert nonce not in second.headers["Content-Security-Policy"]
    assert (set(), []) == (
        form.tags & {"script", "link", "img", "iframe"},
        form.fetches,
    )


async def test_form_may_lead_back_to_the_partner_and_nowhere_else(partner):
    """Browsers hold the redirect after a form to `form-action` too."""
    page = await partner.authorize("melon")
    start = await partner.ask("GET", "/")

    assert (
        "form-action 'self' https://partner.site.com;"
        in page.headers["Content-Security-Policy"]
    )
    assert "form-action 'none';" in start.headers["Content-Security-Policy"]


async def test_what_comes_from_outside_is_escaped(partner):
    """Autoescape holds for the callback page and for hidden fields."""
    hostile = "<script>alert(1)</script>\"'"
    callback = await partner.ask("GET", "/callback?code=%3Cscript%3E%22")
    consent = await partner.authorize("melon", state=hostile)

    assert b"<script" not in callback.body + consent.body
    assert hostile == Form(consent.body.decode()).fields["state"]
