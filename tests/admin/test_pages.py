import base64

import pytest

from gateway.admin.pulse import Beat
from gateway.admin.recent import Seen
from gateway.values import Route
from tests.admin.doubles import TOKEN
from tests.admin.samples import (
    NOW,
    SETTLED,
    SLOT,
    exchange,
    picture,
    provider,
    store,
    tally,
)


async def page(client, path: str) -> str:
    """Read a page."""
    async with client.get(path) as answer:
        assert 200 == answer.status, await answer.text()
        text: str = await answer.text()
        return text


async def test_the_overview_begins_with_what_is_wrong(anybody, console):
    """In words; the colour only helps."""
    console.shown = picture(store=store(up=False), providers=(provider(breaker=2),))
    text = await page(anybody, "/")

    assert "✕ 2 things wrong" in text
    assert "The store (redis) does not answer" in text
    assert text.index("Provider melon is left alone") < text.index("Requests a second")


async def test_the_overview_says_when_nothing_is_wrong(anybody, console):
    """An empty gateway is no special case."""
    console.shown = picture(beats=(), providers=(), upstreams=())
    text = await page(anybody, "/")

    assert "✓ All is well" in text
    assert "No provider is configured." in text


async def test_what_is_in_shadow_is_told_beside_what_was_denied(anybody, console):
    """On the overview and at its route."""
    shadow = tally(("likes", "shadow", "expired", 7))
    console.shown = picture(beats=(Beat(SLOT, shadow),))

    assert "7 more in shadow" in await page(anybody, "/")
    assert "+ 7 in shadow" in await page(anybody, "/routes")


async def test_the_overview_leads_to_the_requests_behind_a_reason(anybody):
    """One click from *why* to *which*."""
    text = await page(anybody, "/")

    assert '<a href="/recent?reason=insufficient_scope">insufficient_scope</a>' in text


async def test_routes_are_filtered_by_words(anybody, console):
    """The words stay in their box."""
    text = await page(anybody, "/routes?q=scope+nothing-like-it")
    assert "No route has all of these words." in text
    assert 'value="scope nothing-like-it"' in text

    text = await page(anybody, "/routes?q=likes")
    assert 'href="/recent?route=likes"' in text
    assert 'href="/recent?route=me"' not in text


async def test_recent_exchanges_are_listed_and_filtered(anybody, console):
    """Empty fields of the form ask for nothing."""
    console.seen.append(Seen(0, exchange(request_id="two", client="other")))
    text = await page(anybody, "/recent?route=&client=other&status=")

    assert "two" in text
    assert "abc-1" not in text
    assert "08:00:00.005" in text


async def test_one_exchange_is_shown_whole(anybody):
    """And leads to an explanation of its like."""
    text = await page(anybody, "/recent?request_id=abc-1")

    assert "of which 4.00 ms were the upstream" in text.replace("&#39;", "'")
    url = "http%3A//melon.localhost/oauth/likes"
    assert f'href="/explain?method=GET&amp;url={url}"' in text


async def test_following_is_asked_for_and_stopped_by_a_link(anybody):
    """Nothing moves under a reader who did not ask for it."""
    async with anybody.get("/recent?route=likes") as answer:
        assert "Refresh" not in answer.headers
        assert 'href="/recent?route=likes&amp;follow=1"' in await answer.text()
    async with anybody.get("/recent?route=likes&follow=1") as answer:
        assert "2" == answer.headers["Refresh"]
        assert 'href="/recent?route=likes"' in await answer.text()


async def test_the_configuration_is_shown_with_its_origins(anybody, console):
    """Defaults on request."""
    text = await page(anybody, "/config")
    assert "gateway.yaml:3" in text
    assert "workers" not in text
    assert "! gateway.yaml:9: unwise" in text

    assert "workers" in await page(anybody, "/config?show=all")
    assert "No value has all of these words." in await page(anybody, "/config?q=zzz")


@pytest.mark.parametrize(
    ("name", "kind"), [("console.css", "text/css"), ("icon.svg", "image/svg+xml")]
)
async def test_what_pages_need_comes_from_here(anybody, name, kind):
    """And nothing else that lies in the folder, or above it."""
    async with anybody.get(f"/static/{name}") as answer:
        assert 200 == answer.status
        assert kind == answer.content_type
    for wrong in ("..%2Fpages.py", "pages.py", "console.css.map"):
        async with anybody.get(f"/static/{wrong}") as answer:
            assert answer.status in (401, 404)


@pytest.mark.parametrize(
    ("to", "place"),
    [
        ("/config", "/config"),
        ("//evil.example", "/"),
        ("/api/config", "/"),
        (None, "/"),
    ],
)
async def test_who_signed_in_is_led_to_a_page_of_ours(anybody, to, place):
    """Never to wherever a link says."""
    credentials = base64.b64encode(f"anyone:{TOKEN}".encode()).decode()
    async with anybody.get(
        "/sign-in",
        params={"to": to} if to else {},
        headers={"Authorization": f"Basic {credentials}"},
        allow_redirects=False,
    ) as answer:
        assert 303 == answer.status
        assert place == answer.headers["Location"]


async def test_of_a_thousand_routes_the_first_are_shown(anybody, console):
    """And how many there are; who looks for one filters."""
    many = tuple(Route(id=f"r{number}") for number in range(1000))
    console.config = type(SETTLED)(
        version="1", digest="d", routes=many, settings=(), warnings=(), providers=()
    )
    text = await page(anybody, "/routes")

    assert "1,000, the first 500 are shown" in text
    assert "r499<" in text
    assert "r500<" not in text
    assert "r999<" in await page(anybody, "/routes?q=r999")


async def test_of_many_values_the_first_are_shown(anybody, console):
    """Likewise."""
    console.config = type(SETTLED)(
        version="1",
        digest="d",
        routes=(),
        settings=SETTLED.settings * 300,
        warnings=(),
        providers=(),
    )

    assert "100 more values are not shown" in await page(anybody, "/config?show=all")


async def test_of_many_requests_the_newest_are_shown(anybody, console):
    """The rest is a link away."""
    console.seen = [
        Seen(0, exchange(request_id=f"r-{n}", started_at=NOW + n)) for n in range(300)
    ]
    text = await page(anybody, "/recent?route=likes")

    assert "the newest 100 of the last 500, filtered" in text
    assert ">r-299<" in text
    assert ">r-199<" not in text
    assert 'href="/recent?route=likes&amp;limit=500"' in text
    whole = await page(anybody, "/recent?route=likes&limit=500")
    assert ">r-0<" in whole
    assert "Show all" not in whole
