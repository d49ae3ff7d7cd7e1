import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from gateway.values import MarkKind, Reload, Secret
from tests.admin.doubles import AUTHORIZED


async def posted(admin, path: str, body: object) -> tuple[int, dict[str, object]]:
    """Post JSON; give the status and the members of the answer."""
    async with admin.post(path, json=body) as answer:
        assert "application/json" == answer.content_type
        members = await answer.json()
        assert isinstance(members, dict)
        return answer.status, members


async def test_a_decision_is_explained(admin, explainer):
    """The trace is handed on as the explainer gives it."""
    body = {
        "method": "GET",
        "url": "http://melon.localhost/oauth/likes",
        "token": "SECRET",
        "headers": {"Device-Serial-Number": "D1"},
    }
    status, trace = await posted(admin, "/api/explain", body)

    assert 200 == status
    assert {"route": "likes", "decision": "deny", "reason": "expired"} == trace
    assert [
        (
            "GET",
            "http://melon.localhost/oauth/likes",
            {"Device-Serial-Number": "D1"},
            Secret("SECRET"),
        )
    ] == explainer.asked
    assert "SECRET" not in repr(explainer.asked)


async def test_a_request_without_token_is_explained(admin, explainer):
    """No token is a case worth explaining."""
    await posted(admin, "/api/explain", {"method": "GET", "url": "/oauth/likes"})

    assert [("GET", "/oauth/likes", {}, None)] == explainer.asked


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b'{"method":"GET"}',
        b'{"method":"GET","url":7}',
        b'{"method":"GET","url":""}',
        b'{"method":"GET /SECRET","url":"/"}',
        b'{"method":"GET","url":"/","SECRET":1}',
        b'{"method":"GET","url":"/","token":""}',
        b'{"method":"GET","url":"/","url":"/SECRET"}',
        b'{"method":"GET","url":"/","headers":{"a b":"SECRET"}}',
        b'{"method":"GET","url":"/","headers":{"a":"b\\r\\nSECRET: 1"}}',
        b'{"method":"GET","url":"/","headers":[["a","SECRET"]]}',
        b"[" * 30_000,
    ],
)
async def test_an_unusable_question_hears_what_was_expected(admin, explainer, body):
    """From a fixed text: nothing that was sent comes back."""
    headers = {"Content-Type": "application/json"}
    async with admin.post("/api/explain", data=body, headers=headers) as answer:
        assert 400 == answer.status
        members = await answer.json()
    assert "invalid_request" == members["error"]
    assert 'Expected {"method"' in members["message"]
    assert "SECRET" not in str(members)
    assert [] == explainer.asked


@pytest.mark.parametrize("path", ["/api/explain", "/api/revocations"])
@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "text/plain", None]
)
async def test_forms_are_no_questions(admin, explainer, desk, path, content_type):
    """A page may post a form anywhere without asking; JSON it may not."""
    headers = {"Content-Type": content_type} if content_type else {}
    body = b'{"provider":"melon","all":true,"x":"="}'
    async with admin.post(path, data=body, headers=headers) as answer:
        assert 415 == answer.status
        assert "not_json" == (await answer.json())["error"]
    assert [] == explainer.asked + desk.asked


@pytest.mark.parametrize(("size", "status"), [(64 * 1024, 201), (64 * 1024 + 1, 413)])
async def test_a_body_has_a_limit(admin, size, status):
    """64 KiB and not a byte more."""
    head, tail = '{"provider":"melon","subject":"', '"}'
    body = head + "s" * (size - len(head) - len(tail)) + tail
    headers = {"Content-Type": "application/json"}
    async with admin.post("/api/revocations", data=body, headers=headers) as answer:
        assert status == answer.status
        assert "application/json" == answer.content_type


@pytest.mark.parametrize(
    ("body", "kind", "name"),
    [
        ({"token": "SECRET"}, MarkKind.TOKEN, "SECRET"),
        ({"token_id": "j1"}, MarkKind.TOKEN_ID, "j1"),
        ({"subject": "송근욱"}, MarkKind.SUBJECT, "송근욱"),
        ({"client": "1234"}, MarkKind.CLIENT, "1234"),
        ({"session": "s1"}, MarkKind.SESSION, "s1"),
        ({"all": True}, MarkKind.PROVIDER, ""),
        ({"session": "s1", "all": False}, MarkKind.SESSION, "s1"),
    ],
)
async def test_a_revocation_is_answered_with_its_mark(admin, desk, body, kind, name):
    """Everything about the mark, and of a token only the beginning of a fingerprint."""
    status, mark = await posted(
        admin, "/api/revocations", {"provider": "melon", **body}
    )

    assert 201 == status
    assert [("melon", kind, Secret(name))] == desk.asked
    assert len(str(mark.pop("id"))) == 24
    assert {
        "kind": kind.value,
        "provider": "melon",
        "name": "0123456789ab" if kind is MarkKind.TOKEN else name,
        "moment": 1_800_000_000.0,
        "expires_at": 1_800_000_300.0,
    } == mark


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"token": "SECRET"},
        {"provider": "melon"},
        {"provider": "melon", "all": False},
        {"provider": "melon", "all": "true"},
        {"provider": "melon", "token": "SECRET", "subject": "s"},
        {"provider": "melon", "subject": "s", "all": True},
        {"provider": "melon", "subject": ""},
        {"provider": "melon", "subject": 7},
        {"provider": "melon", "user": "SECRET"},
        {"provider": ["melon"], "subject": "s"},
    ],
)
async def test_a_revocation_names_exactly_one_thing(admin, desk, body):
    """Anything else is refused whole and says what was expected."""
    status, members = await posted(admin, "/api/revocations", body)

    assert 400 == status
    assert 'Expected {"provider": "…"} and one of' in str(members["message"])
    assert "SECRET" not in str(members)
    assert [] == desk.asked


async def test_an_unknown_provider_is_told(admin, desk):
    """Without its name, which is the client's input."""
    body = {"provider": "SECRET", "subject": "s"}
    status, members = await posted(admin, "/api/revocations", body)

    assert (400, "unknown_provider") == (status, members["error"])
    assert "SECRET" not in str(members)


async def test_a_mark_that_cannot_be_kept_is_an_error(admin, desk):
    """Whoever revokes must not believe that it is done."""
    desk.full = True
    body = {"provider": "melon", "subject": "s"}
    status, members = await posted(admin, "/api/revocations", body)

    assert (503, "unavailable") == (status, members["error"])


async def test_marks_are_listed_and_lifted_by_their_id(admin, desk):
    """The id of the answer, the list and the location are one."""
    _, first = await posted(
        admin, "/api/revocations", {"provider": "melon", "subject": "a"}
    )
    body = {"provider": "melon", "subject": "b"}
    async with admin.post("/api/revocations", json=body) as answer:
        location = answer.headers["Location"]
        second = await answer.json()
    async with admin.get("/api/revocations") as answer:
        assert {"revocations": [first, second]} == await answer.json()
    async with admin.delete(location) as answer:
        assert 204 == answer.status

    assert ["a"] == [mark.name for mark in desk.held]
    async with admin.delete(location) as answer:
        assert 404 == answer.status
        assert "not_found" == (await answer.json())["error"]


async def test_a_mark_made_again_keeps_its_id(admin):
    """Its moment moves on; what it names does not."""
    body = {"provider": "melon", "token": "SECRET"}
    _, first = await posted(admin, "/api/revocations", body)
    _, again = await posted(admin, "/api/revocations", body)
    _, other = await posted(
        admin, "/api/revocations", {**body, "token": None, "client": "1"}
    )

    assert first["id"] == again["id"]
    assert first["id"] != other["id"]


async def test_a_body_must_come_in_time(aiohttp_client, application, desk):
    """Who has the token and stalls is answered, not waited for."""
    client = await aiohttp_client(application(body_seconds=0.05), headers=AUTHORIZED)
    released = asyncio.Event()

    async def stalled() -> AsyncIterator[bytes]:
        yield b'{"provider":'
        await released.wait()

    headers = {"Content-Type": "application/json"}
    path = "/api/revocations"
    async with client.post(path, data=stalled(), headers=headers) as answer:
        assert 408 == answer.status
        assert "request_timeout" == (await answer.json())["error"]
    released.set()

    assert [] == desk.asked


REFUSED = Reload(
    ok=False, at=1.0, trigger="api", version="c0ffee", problems=("a.yaml:3: x",)
)


async def test_the_configuration_of_the_files_is_put_in_force(admin, reloader):
    """And what came of it is told."""
    async with admin.post("/api/reload") as answer:
        told = await answer.json()

    assert 200 == answer.status
    assert (True, "bee", "routes: +1 ~0 -0") == (
        told["ok"],
        told["version"],
        told["changes"],
    )
    assert ["api"] == reloader.asked


async def test_a_configuration_with_a_problem_is_told_with_it(admin, reloader):
    """422: it was understood, and it is not in force."""
    reloader.next = REFUSED
    async with admin.post("/api/reload") as answer:
        assert 422 == answer.status
        assert ["a.yaml:3: x"] == (await answer.json())["problems"]


async def test_where_nothing_reloads_that_is_told(aiohttp_client, application):
    """503, as for everything that cannot be done now."""
    client = await aiohttp_client(application(reloader=None), headers=AUTHORIZED)
    async with client.post("/api/reload") as answer:
        assert 503 == answer.status


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/reload"),
        ("POST", "/api/explain"),
        ("GET", "/api/revocations"),
        ("POST", "/api/revocations"),
        ("DELETE", "/api/revocations/0"),
    ],
)
async def test_all_of_it_is_guarded(anybody, explainer, desk, reloader, method, path):
    """No resource is reached without the token, from afar, or under another name."""
    client = anybody
    body = json.dumps({"provider": "melon", "all": True, "method": "GET", "url": "/"})
    headers = {"Content-Type": "application/json"}
    async with client.request(method, path, data=body, headers=headers) as answer:
        assert 401 == answer.status
    headers |= {**AUTHORIZED, "Host": "evil.example"}
    async with client.request(method, path, data=body, headers=headers) as answer:
        assert 421 == answer.status

    assert [] == explainer.asked + desk.asked + reloader.asked
