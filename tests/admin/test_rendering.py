import pytest

from gateway.admin.recent import Seen
from gateway.admin.rendering import CSP, NAMES
from tests.admin.samples import exchange


async def test_a_page_binds_the_browser(anybody):
    """No script, no style in the page, nothing that is not ours, in no frame."""
    async with anybody.get("/") as answer:
        assert CSP == answer.headers["Content-Security-Policy"]
        # A form's own Origin would be null under `no-referrer`.
        assert "same-origin" == answer.headers["Referrer-Policy"]
        assert "nosniff" == answer.headers["X-Content-Type-Options"]
        text = await answer.text()

    assert "default-src 'none'" in CSP
    assert "script-src" not in CSP
    assert "unsafe" not in CSP
    assert "<script" not in text
    assert " style=" not in text


async def test_what_strangers_sent_is_text(anybody, console):
    """Method, host, path and client are theirs to choose."""
    evil = "<img src=x onerror=alert(1)>\"'&"
    console.seen = [
        Seen(0, exchange(method=evil, host=evil, path=f"/{evil}", client=evil))
    ]
    async with anybody.get("/recent", params={"client": evil}) as answer:
        text = await answer.text()
        assert 200 == answer.status

    assert "<img src=x" not in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text


@pytest.mark.parametrize(
    ("path", "headers", "status", "told"),
    [
        ("/nowhere", {"Authorization": "yes"}, 404, "There is nothing here"),
        ("/", {"Host": "evil.example"}, 421, "Expected a Host"),
        ("/recent?status=x", {}, 400, "Expected `status`"),
        ("/sign-in", {}, 401, "the admin token as password"),
    ],
)
async def test_a_problem_is_a_page_for_people(
    admin, anybody, path, headers, status, told
):
    """With the status that programs look at."""
    client = admin if "Authorization" in headers else anybody
    others = {k: v for k, v in headers.items() if k != "Authorization"}
    async with client.get(path, headers=others) as answer:
        assert status == answer.status
        assert "text/html" == answer.content_type
        assert told in (await answer.text()).replace("&#39;", "'")
        assert CSP == answer.headers["Content-Security-Policy"]


async def test_the_browser_is_asked_for_the_token_by_its_own_window(anybody):
    """Basic goes to this port alone; a cookie would go to every one of the host."""
    async with anybody.get("/sign-in") as answer:
        challenge = answer.headers["WWW-Authenticate"]
        assert 'Basic realm="gateway admin", charset="UTF-8"' == challenge
        assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(("path", "name"), NAMES)
async def test_the_page_one_is_on_is_marked(anybody, path, name):
    """For the eye, and for who hears the page."""
    async with anybody.get(path) as answer:
        text = await answer.text()

    assert f'<a href="{path}" aria-current="page">{name}</a>' in text
    assert 1 == text.count("aria-current")
    assert 1 == text.count("<h1")
