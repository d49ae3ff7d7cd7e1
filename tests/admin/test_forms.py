import asyncio
import io
import re
from collections.abc import AsyncIterator

import pytest

from gateway.values import MarkKind, Reload, Secret
from tests.admin.doubles import AUTHORIZED


@pytest.fixture
def own(admin):
    """What a browser says of a form of ours."""
    return {"Origin": str(admin.make_url("")).rstrip("/")}


async def sent(client, path: str, said: dict[str, str], /, **fields: str):
    """Send a form; give the status, the text and where it leads."""
    async with client.post(
        path, data=fields, headers=said, allow_redirects=False
    ) as answer:
        return answer.status, await answer.text(), answer.headers.get("Location", "")


# ------------------------------------------------------------------------- explain

ALLOWED = {
    "route": {
        "id": "likes",
        "host": "melon.localhost",
        "path": "/oauth/likes",
        "methods": ["GET"],
        "kind": "api",
        "access": "required",
        "provider": "melon",
        "upstream": "melon",
    },
    "credentials": "header",
    "facts": {
        "source": "l1",
        "age": 2.0,
        "scopes": ["a", "b"],
        "expires_at": 1_800_000_000.0,
        "cnf": False,
        "claims": {"name": "Ada"},
    },
    "marks": [],
    "rules": [{"rule": "scopes", "outcome": "pass"}],
    "decision": "allow",
    "source": "l1",
    "upstream": {"name": "melon", "target": "/oauth/likes", "headers": ["a: b"]},
}
ANSWER = {"status": 403, "headers": ["A: b"], "body": "no"}
DENIED = {
    **ALLOWED,
    "decision": "deny",
    "reason": "revoked",
    "marks": [{"kind": "subject", "moment": 1_800_000_000.0}],
    "facts": {"source": "l1", "age": 0.0, "invalid": "expired"},
    "rules": [{"rule": "scopes", "outcome": "insufficient_scope"}],
    "answer": ANSWER,
}


@pytest.mark.parametrize(
    ("trace", "told"),
    [
        (
            ALLOWED,
            ["✓ Allowed", "a b", "2027-01-15 08:00:00 UTC", "name = Ada", "2 s old"],
        ),
        (
            DENIED,
            [
                "✕ Denied: revoked",
                "✕ expired",
                "by subject",
                "HTTP/1.1 403",
                "just now",
            ],
        ),
        ({**ALLOWED, "upstream": {"refused": "headers_too_large"}}, ["not sent"]),
        (
            {**ALLOWED, "decision": "shadow", "reason": "expired"},
            ["it would be denied: expired", "melon is sent"],
        ),
        ({**ALLOWED, "upstream": {"name": None}}, ["It goes to no upstream"]),
        ({**ALLOWED, "facts": None}, ["They could not be learned"]),
        (
            {"route": None, "decision": "deny", "reason": "no_route", "answer": ANSWER},
            ["✕ Denied: no_route", "No route is for this"],
        ),
        (
            {"route": None, "decision": "preflight", "answer": ANSWER},
            ["Answered as a preflight: 403"],
        ),
    ],
)
async def test_a_decision_is_explained_step_by_step(admin, own, explainer, trace, told):
    """Whatever the trace holds, in words."""
    explainer.trace = trace
    status, text, _ = await sent(
        admin, "/explain", own, method="GET", url="/oauth/likes", token="SECRET"
    )

    assert 200 == status
    for each in told:
        assert each in text
    assert "SECRET" not in text


async def test_the_explainer_is_asked_what_was_typed(admin, own, explainer):
    """Headers are lines; an empty token is none."""
    await sent(
        admin,
        "/explain",
        own,
        method="GET",
        url="/oauth/likes",
        headers="X-A: 1\n\nx-b:2: 3\r\n",
        token="",
    )

    expected = ("GET", "/oauth/likes", {"X-A": "1", "x-b": "2: 3"}, None)
    assert [expected] == explainer.asked


@pytest.mark.parametrize(
    "fields",
    [
        {"method": "GET", "url": ""},
        {"method": "G T", "url": "/"},
        {"method": "GET", "url": "/", "headers": "no colon"},
        {"method": "GET", "url": "/", "headers": "bad name: x"},
    ],
)
async def test_a_slip_is_told_beside_the_form(admin, own, explainer, fields):
    """With what was typed, but for the token."""
    status, text, _ = await sent(admin, "/explain", own, **fields, token="SECRET")

    assert 400 == status
    assert "Expected a method, a URL" in text
    assert "SECRET" not in text
    assert [] == explainer.asked


async def test_the_form_can_be_filled_in_by_a_link(anybody):
    """From a request that was seen."""
    async with anybody.get("/explain?method=PUT&url=http%3A//a/b") as answer:
        text = await answer.text()

    assert 'value="PUT"' in text
    assert 'value="http://a/b"' in text


# --------------------------------------------------------------------- revocations


def confirmation(text: str) -> str:
    """Give the name under which a change waits."""
    found = re.search(r'name="asked" value="([^"]+)"', text)
    assert found
    return found[1]


async def test_a_revocation_is_asked_for_and_then_confirmed(admin, own, desk):
    """Nothing is done before; the token is on neither page."""
    fields = {"provider": "melon", "kind": "token", "name": " SECRET "}
    status, text, _ = await sent(admin, "/revocations", own, **fields)
    assert 200 == status
    assert "SECRET" not in text
    assert [] == desk.asked

    asked = confirmation(text)
    status, _, place = await sent(admin, "/revocations/confirm", own, asked=asked)
    assert 303 == status
    assert [("melon", MarkKind.TOKEN, Secret("SECRET"))] == desk.asked
    async with admin.get(place) as answer:
        text = await answer.text()
    assert "✓ Revoked: " in text
    assert "SECRET" not in text

    status, text, _ = await sent(admin, "/revocations/confirm", own, asked=asked)
    assert 409 == status
    assert 1 == len(desk.asked)


async def test_every_token_of_a_provider_takes_no_name(admin, own, desk):
    """And a name is no provider."""
    fields = {"provider": "melon", "kind": "provider", "name": ""}
    _, text, _ = await sent(admin, "/revocations", own, **fields)
    await sent(admin, "/revocations/confirm", own, asked=confirmation(text))

    assert [("melon", MarkKind.PROVIDER, Secret(""))] == desk.asked


@pytest.mark.parametrize(
    "fields",
    [
        {"provider": "melon", "kind": "subject", "name": ""},
        {"provider": "melon", "kind": "provider", "name": "x"},
        {"provider": "nobody", "kind": "subject", "name": "x"},
        {"provider": "melon", "kind": "nonsense", "name": "x"},
        {"provider": "melon", "kind": "all", "name": "x"},
        {"provider": "melon", "kind": "provider_name", "name": "x"},
        {},
    ],
)
async def test_what_cannot_be_revoked_is_told(admin, own, desk, fields):
    """Beside the form; nothing waits to be confirmed."""
    status, text, _ = await sent(admin, "/revocations", own, **fields)

    assert 400 == status
    assert "Expected a provider, and the name" in text
    assert [] == desk.asked


async def test_a_full_store_is_told(admin, own, desk):
    """503: nothing was changed."""
    desk.full = True
    fields = {"provider": "melon", "kind": "subject", "name": "ada"}
    _, text, _ = await sent(admin, "/revocations", own, **fields)
    status, text, _ = await sent(
        admin, "/revocations/confirm", own, asked=confirmation(text)
    )

    assert 503 == status
    assert "nothing was changed" in text


async def test_a_revocation_is_lifted_after_a_question(admin, own, desk):
    """And is gone from the list."""
    await desk.revoke("melon", MarkKind.SUBJECT, Secret("ada"))
    async with admin.get("/revocations") as answer:
        text = await answer.text()
    found = re.search(r'href="(/revocations/[0-9a-f]{24}/lift)"', text)
    assert found
    async with admin.get(found[1]) as answer:
        assert "Lift this revocation?" in await answer.text()
    assert 1 == len(desk.held)
    status, _, place = await sent(admin, found[1], own)

    assert (303, "/revocations?lifted=1") == (status, place)
    assert [] == desk.held
    async with admin.get(place) as answer:
        assert "✓ Lifted." in await answer.text()


async def test_a_mark_that_is_gone_cannot_be_lifted(admin, own):
    """Neither asked for nor done."""
    path = f"/revocations/{'0' * 24}/lift"
    async with admin.get(path) as answer:
        assert 404 == answer.status
    assert 404 == (await sent(admin, path, own))[0]


async def test_who_only_reads_is_told_how_many_there_are(anybody, desk):
    """Marks name subjects."""
    await desk.revoke("melon", MarkKind.SUBJECT, Secret("ada"))
    async with anybody.get("/revocations") as answer:
        text = await answer.text()

    assert "1 in force" in text
    assert "ada" not in text


# -------------------------------------------------------------------------- reload


async def test_the_files_are_put_in_force_by_a_button(admin, own, reloader):
    """The page tells what came of it."""
    assert (303, "", "/config") == await sent(admin, "/config/reload", own)
    assert ["api"] == reloader.asked
    async with admin.get("/config") as answer:
        text = await answer.text()

    assert "✓ in force" in text
    assert "routes: +1 ~0 -0" in text


async def test_a_refused_configuration_is_shown_with_its_problems(admin, own, reloader):
    """And is the first thing that the overview tells."""
    reloader.next = Reload(
        ok=False,
        at=1_800_000_000.0,
        trigger="files",
        version="c0ffee",
        problems=("gateway.yaml:3: routes: expected <b>", "gateway.yaml:9: y"),
    )
    await sent(admin, "/config/reload", own)
    async with admin.get("/config") as answer:
        text = await answer.text()
    assert "✕ refused" in text
    assert "gateway.yaml:3: routes: expected &lt;b&gt;" in text
    assert "by a change of the files" in text

    async with admin.get("/api/overview") as answer:
        told = await answer.json()
    assert "The configuration in the files was refused" in {
        each["what"] for each in told["troubles"]
    }
    assert not told["reload"]["ok"]


# --------------------------------------------------------------------------- forms


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "null"},
        {"Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
@pytest.mark.parametrize(
    "path", ["/explain", "/revocations", "/revocations/confirm", "/config/reload"]
)
async def test_a_form_of_another_site_is_refused(
    admin, desk, explainer, reloader, path, headers
):
    """The browser brings the credentials by itself, so the page must be ours."""
    status, text, _ = await sent(
        admin, path, headers, provider="melon", kind="provider", method="GET", url="/"
    )

    assert 403 == status
    assert "our own page" in text
    assert [] == desk.asked + explainer.asked + reloader.asked


@pytest.mark.parametrize(
    "raw",
    [b"other=1", b"name=a&name=b", b"\xff=\xff", b"provider=melon&kind=%ff%fe"],
)
async def test_a_form_that_is_not_the_pages_is_refused(admin, own, desk, raw):
    """Doubled, unknown or no text."""
    headers = {**own, "Content-Type": "application/x-www-form-urlencoded"}
    async with admin.post("/revocations", data=raw, headers=headers) as answer:
        assert 400 == answer.status
    assert [] == desk.asked


async def test_a_file_is_no_field(admin, own, desk):
    """Multipart could hold one."""
    files = {"name": io.BytesIO(b"bytes")}
    async with admin.post("/revocations", data=files, headers=own) as answer:
        assert 400 == answer.status
    assert [] == desk.asked


async def test_a_form_must_come_in_time(aiohttp_client, application, desk):
    """Who has the token and stalls is answered, not waited for."""
    client = await aiohttp_client(application(body_seconds=0.05), headers=AUTHORIZED)
    released = asyncio.Event()

    async def stalled() -> AsyncIterator[bytes]:
        yield b"provider="
        await released.wait()

    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Sec-Fetch-Site": "same-origin",
    }
    async with client.post("/revocations", data=stalled(), headers=headers) as answer:
        assert 408 == answer.status
    released.set()
