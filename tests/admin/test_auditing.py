import re
from typing import Any

import pytest

from gateway.admin.changes import shown_mark
from gateway.values import MarkKind, Reload, Secret
from tests.admin.doubles import AUTHORIZED

Fields = dict[str, str | float]


class Auditor:
    """Keeps the promise in a list."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, Fields]] = []

    def record(self, action: str, outcome: str, /, **fields: str | float) -> None:
        self.told.append((action, outcome, fields))


@pytest.fixture
def auditor():
    """Nothing has been told yet."""
    return Auditor()


@pytest.fixture
async def client(aiohttp_client, application, auditor):
    """A client that has no token, of an application that is audited."""
    return await aiohttp_client(application(auditor=auditor))


async def ask(client, method: str, path: str, **options: Any) -> str:
    """Ask with the token, from a page of ours; give the text that comes."""
    own = {**AUTHORIZED, "Origin": str(client.make_url("")).rstrip("/")}
    async with client.request(method, path, headers=own, **options) as answer:
        text: str = await answer.text()
        return text


async def test_a_revocation_is_told_with_its_mark(client, auditor, desk):
    """Never with the token."""
    body = {"provider": "melon", "token": "SECRET"}
    await ask(client, "POST", "/api/revocations", json=body)

    mark = shown_mark(desk.held[0])
    assert [
        (
            "revoke",
            "done",
            {
                "peer": "127.0.0.1",
                "via": "api",
                "request": "POST /api/revocations",
                "provider": "melon",
                "kind": "token",
                "name": mark.name,
                "mark": mark.id,
            },
        )
    ] == auditor.told
    assert 12 == len(mark.name)


async def test_on_a_page_only_what_was_confirmed_is_a_change(client, auditor):
    """To ask for it is none."""
    fields = {"provider": "melon", "kind": "subject", "name": "ada"}
    text = await ask(client, "POST", "/revocations", data=fields)
    assert [] == auditor.told

    found = re.search(r'name="asked" value="([^"]+)"', text)
    assert found
    await ask(client, "POST", "/revocations/confirm", data={"asked": found[1]})
    ((action, outcome, told),) = auditor.told
    assert ("revoke", "done", "page", "ada") == (
        action,
        outcome,
        told["via"],
        told["name"],
    )


async def test_what_could_not_be_done_is_told_as_such(client, auditor, desk):
    """By our own word for why; a provider that is not ours is not repeated."""
    desk.full = True
    for provider in ("melon", "SECRET"):
        body = {"provider": provider, "all": True}
        await ask(client, "POST", "/api/revocations", json=body)

    assert [("failed", "unavailable"), ("failed", "unknown_provider")] == [
        (outcome, told["error"]) for _, outcome, told in auditor.told
    ]
    assert "SECRET" not in repr(auditor.told)


async def test_a_lifting_is_told(client, auditor, desk):
    """With the mark that is no more."""
    mark = shown_mark(await desk.revoke("melon", MarkKind.SUBJECT, Secret("ada")))
    await ask(client, "DELETE", f"/api/revocations/{mark.id}")

    ((action, outcome, told),) = auditor.told
    assert ("lift", "done", mark.id) == (action, outcome, told["mark"])
    assert "DELETE /api/revocations/{id}" == told["request"]


async def test_a_reload_is_told_with_what_came_of_it(client, auditor, reloader):
    """Refused, it is no failure of the request, but one of the change."""
    await ask(client, "POST", "/api/reload")
    reloader.next = Reload(ok=False, at=1.0, trigger="api", version="old")
    await ask(client, "POST", "/config/reload")

    assert [
        ("reload", "done", "bee", "routes: +1 ~0 -0"),
        ("reload", "failed", "old", ""),
    ] == [
        (action, outcome, told["version"], told["changes"])
        for action, outcome, told in auditor.told
    ]


async def test_an_explanation_is_told_without_what_was_explained(client, auditor):
    """A URL may hold a token, and headers may."""
    body = {"method": "GET", "url": "/a?access_token=SECRET", "token": "SECRET"}
    await ask(client, "POST", "/api/explain", json=body)

    ((action, outcome, told),) = auditor.told
    assert ("explain", "done", "deny") == (action, outcome, told["decision"])
    assert "SECRET" not in repr(told)


async def test_who_is_turned_away_is_told_of(client, auditor):
    """A change without the token, and a token that is wrong."""
    async with client.post("/api/reload"):
        pass
    async with client.get("/sign-in", headers={"Authorization": "Bearer SECRET"}):
        pass
    async with client.get("/sign-in"):
        pass

    assert [
        ("refused", "denied", "POST /api/reload", "unauthorized"),
        ("refused", "denied", "GET /sign-in", "unauthorized"),
    ] == [
        (action, outcome, told["request"], told["error"])
        for action, outcome, told in auditor.told
    ]
    assert "SECRET" not in repr(auditor.told)


async def test_who_signs_in_is_told_of_and_who_reads_is_not(client, auditor):
    """Reading changes nothing."""
    await ask(client, "GET", "/sign-in", allow_redirects=False)
    for path in ("/", "/recent", "/api/overview", "/api/revocations"):
        await ask(client, "GET", path)

    assert ["sign_in"] == [action for action, _, _ in auditor.told]


async def test_a_path_of_nobody_is_not_repeated(client, auditor):
    """It is whatever a client wrote."""
    async with client.post("/SECRET"):
        pass

    ((action, _, told),) = auditor.told
    assert ("refused", "POST (none)") == (action, told["request"])
