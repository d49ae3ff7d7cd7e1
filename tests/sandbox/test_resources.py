import asyncio
from typing import Any

import pytest

from gateway.sandbox import sound
from gateway.sandbox.resources import WRITTEN
from tests.sandbox.partner import Partner, Reply

TRACK = "/melon/oauth/delivery/tracks/1001"
SIZE = sound.SIZE_BYTES
WHOLE = b"".join(sound.read(sound.key_of("1001"), range(SIZE)))
ETAG = f'"chords-{sound.key_of("1001")}"'


async def track(partner: Partner, method: str = "GET", **headers: str) -> Reply:
    """Ask for the track, with headers."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await partner.ask(method, TRACK, headers=named)


async def test_answer_shows_what_an_upstream_sees(partner):
    """The identity headers, the request's id and way, and the target as received."""
    answer = await partner.ask(
        "GET",
        "/oauth/me?q=%ED%95%9C&b=",
        headers={
            "Host": "melon.localhost:8080",
            "X-Auth-Subject": "a%20b",
            "X-Auth-Name": "%EB%A7%88",
            "X-Request-Id": "r1",
            "X-Forwarded-For": "192.0.2.1",
            "Forwarded": "for=192.0.2.1",
            "Via": "1.1 gateway",
            "Authorization": "Bearer never-shown",
            "Cookie": "never-shown",
        },
    )

    assert {
        "name": "송근욱",
        "nickname": "마시마렁",
        "gateway": {
            "X-Auth-Subject": "a%20b",
            "X-Auth-Name": "%EB%A7%88",
            "X-Request-Id": "r1",
            "X-Forwarded-For": "192.0.2.1",
            "Forwarded": "for=192.0.2.1",
            "Via": "1.1 gateway",
        },
        "request": {
            "method": "GET",
            "host": "melon.localhost:8080",
            "target": "/oauth/me?q=%ED%95%9C&b=",
        },
    } == answer.json
    assert "송근욱".encode() in answer.body
    assert b"never-shown" not in answer.body


@pytest.mark.parametrize(
    ("path", "member"),
    [
        ("/melon/oauth/delivery/streaming_path.json", "path"),
        ("/melon/oauth/playlists", "playlists"),
        ("/melon/oauth/likes", "likes"),
        ("/melon/oauth/me", "nickname"),
        ("/nugu/v1/devices/me", "deviceSerialNumber"),
        ("/ottm/membership/v1/me", "grade"),
        ("/ottm/membership/v1/benefits", "benefits"),
    ],
)
async def test_every_api_answers_json(partner, path, member):
    """No token is asked for: they trust whoever stands in front."""
    answer = await partner.ask("GET", path)

    assert (200, "application/json; charset=utf-8", "no-store") == (
        answer.status,
        answer.headers["Content-Type"],
        answer.headers["Cache-Control"],
    )
    assert [member, "gateway", "request"] == [
        name for name in answer.json if name in {member, "gateway", "request"}
    ]


async def test_header_bytes_that_are_no_text_do_no_harm(partner, sandbox):
    """A misbehaving gateway shows as question marks, not as a crash."""
    reader, writer = await asyncio.open_connection("127.0.0.1", sandbox.port)
    writer.write(
        b"GET /melon/oauth/me HTTP/1.1\r\nHost: a\r\nX-Auth-Name: \xff!\r\n"
        b"Connection: close\r\n\r\n"
    )
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert '"X-Auth-Name": "\ufffd!"'.encode() in answer


async def test_path_leads_to_a_track(partner):
    """Beside the path that was asked, whichever door it was asked at."""
    for door, headers in (("/melon", {}), ("", {"Host": "melon.localhost"})):
        found = await partner.ask(
            "GET", f"{door}/oauth/delivery/streaming_path.json", headers=headers
        )
        answer = await partner.ask("GET", found.json["path"], headers=headers)

        assert f"{door}/oauth/delivery/tracks/1001" == found.json["path"]
        assert (200, WHOLE) == (answer.status, answer.body)


async def test_likes_belong_to_the_caller(partner):
    """Each subject has their own; adding and removing twice changes nothing."""

    async def call(method: str, path: str, caller: str) -> Any:
        headers = {"X-Auth-Subject": caller}
        answer = await partner.ask(method, f"/melon/oauth/likes{path}", headers=headers)
        return answer.json["likes"]

    assert ["b"] == await call("PUT", "/b", "ada")
    assert ["a", "b"] == await call("PUT", "/a", "ada")
    assert ["a", "b"] == await call("PUT", "/a", "ada")
    assert [] == await call("GET", "", "bob")
    assert ["b"] == await call("DELETE", "/a", "ada")
    assert ["b"] == await call("DELETE", "/a", "ada")
    assert ["b"] == await call("GET", "", "ada")


async def test_device_is_the_one_the_gateway_names(partner):
    """The API believes the identity header."""
    answer = await partner.ask(
        "GET", "/nugu/v1/devices/me", headers={"X-Auth-Device": "SERIAL1"}
    )

    assert "SERIAL1" == answer.json["deviceSerialNumber"]


async def test_track_is_streamed_whole(partner):
    """With everything that a player needs to ask for parts."""
    answer = await track(partner)

    assert (200, WHOLE) == (answer.status, answer.body)
    assert ("audio/wav", "bytes", str(SIZE), ETAG, WRITTEN) == tuple(
        answer.headers[name]
        for name in (
            "Content-Type",
            "Accept-Ranges",
            "Content-Length",
            "ETag",
            "Last-Modified",
        )
    )


async def test_head_tells_the_size_and_sends_nothing(partner):
    """RFC 9110 §14.2: `Range` means something on GET only."""
    answer = await track(partner, "HEAD", Range="bytes=0-9")

    assert (200, b"", str(SIZE), "bytes") == (
        answer.status,
        answer.body,
        answer.headers["Content-Length"],
        answer.headers["Accept-Ranges"],
    )


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-3", 0, 3),
        ("bytes=40-200000", 40, 200_000),
        ("bytes=-10", SIZE - 10, SIZE - 1),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE - 1),
    ],
)
async def test_part_is_sent_alone(partner, asked, first, last):
    """206, its place, its length, its bytes."""
    answer = await track(partner, Range=asked)

    assert 206 == answer.status
    assert f"bytes {first}-{last}/{SIZE}" == answer.headers["Content-Range"]
    assert str(last - first + 1) == answer.headers["Content-Length"]
    assert WHOLE[first : last + 1] == answer.body


async def test_part_beyond_the_end_is_416(partner):
    """And says how long the track is."""
    answer = await track(partner, Range=f"bytes={SIZE}-")

    assert (416, b"", f"bytes */{SIZE}") == (
        answer.status,
        answer.body,
        answer.headers["Content-Range"],
    )


@pytest.mark.parametrize(
    ("unless", "status"),
    [(ETAG, 206), (WRITTEN, 206), ('"other"', 200), (f"W/{ETAG}", 200)],
)
async def test_part_is_sent_only_if_the_track_is_the_same(partner, unless, status):
    """RFC 9110 §13.1.5: a strong comparison, else the whole."""
    answer = await track(partner, Range="bytes=0-3", If_Range=unless)

    assert status == answer.status


async def test_listener_may_leave(partner, sandbox):
    """A connection cut in mid-song harms nobody."""
    async with partner.http.get(sandbox.url + TRACK) as response:
        await response.content.readexactly(1000)
        response.close()

    assert 200 == (await track(partner)).status
