import asyncio
import base64
import ssl
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from gateway.admin.guards import (
    HOLDER,
    SIGNED_IN,
    Problem,
    add_safe_headers,
    as_json,
    from_loopback,
    guarded,
    host_name,
    json_errors,
)
from gateway.admin.guesses import WITHIN, WRONG, Guesses
from gateway.errors import StoreUnavailable
from gateway.values import Secret
from tests.admin.doubles import keeper
from tests.fakes import Clock
from tests.wire.pki import Pki

TOKEN = Secret("an-admin-token-of-some-length")
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}


async def _work(_request: web.Request) -> web.Response:
    return as_json({"done": True})


async def _holder(request: web.Request) -> web.Response:
    return as_json({"holder": request[HOLDER], "signed_in": request[SIGNED_IN]})


async def _fail(request: web.Request) -> web.Response:
    raise {
        "problem": Problem(418, "teapot", "Expected tea."),
        "store": StoreUnavailable("redis at 10.0.0.1 did not answer"),
        "http": web.HTTPConflict(text="SECRET"),
        "crash": RuntimeError("SECRET"),
    }[request.match_info["how"]]


@pytest.fixture
def admin(aiohttp_client):
    """Give a client of a guarded application; `token` None configures none."""

    async def start(token: Secret | None = TOKEN, **options: Any):
        app = web.Application(
            middlewares=[json_errors, guarded(keeper(token, **options), ("/",))]
        )
        app.on_response_prepare.append(add_safe_headers)
        app.router.add_get("/", _work)
        app.router.add_route("*", "/api/work", _work)
        app.router.add_get("/api/fail/{how}", _fail)
        return await aiohttp_client(app)

    return start


@pytest.fixture
async def crashes():
    """Collect what is told to the loop's exception handler."""
    told: list[dict[str, object]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: told.append(context))
    return told


async def refusal(answer) -> tuple[int, str]:
    """Give the status and the code of a refusal, which is JSON in every case."""
    async with answer as response:
        assert "application/json" == response.content_type
        body = await response.json()
        assert {"error", "message"} == set(body)
        return response.status, body["error"]


async def test_the_admin_token_lets_in(admin):
    """The scheme's name is in any case (RFC 9110 §11.1)."""
    client = await admin()

    for scheme in ("Bearer", "bearer", "BEARER"):
        headers = {"Authorization": f"{scheme} {TOKEN}"}
        async with client.post("/api/work", headers=headers) as answer:
            assert {"done": True} == await answer.json()


@pytest.mark.parametrize(
    "values",
    [
        [],
        [f"Basic {TOKEN}"],
        ["Bearer"],
        ["Bearer "],
        ["Bearer wrong"],
        [f"Bearer {TOKEN}x"],
        [f"Bearer {TOKEN[:-1]}"],
        ["Bearer \udcff\u00e9"],
        [f"Bearer {TOKEN}", f"Bearer {TOKEN}"],
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_without_the_right_token_nothing_is_done(admin, method, values):
    """Reading too: the marks name subjects."""
    client = await admin()
    headers = [("Authorization", value) for value in values]
    async with client.request(method, "/api/work", headers=headers) as answer:
        assert 401 == answer.status
        assert 'Bearer realm="gateway admin"' == answer.headers["WWW-Authenticate"]
        assert str(TOKEN)[:-1] not in await answer.text()


def basic(password: str, user: str = "anyone") -> dict[str, str]:
    """Say what a browser says of a password."""
    raw = f"{user}:{password}".encode()
    return {"Authorization": f"Basic {base64.b64encode(raw).decode()}"}


async def test_a_browser_brings_the_token_as_a_password(admin):
    """With any user name, or none; the token may have colons."""
    token = Secret("a:token:with:colons")
    client = await admin(token=token)
    for user in ("", "ada"):
        async with client.get("/api/work", headers=basic(str(token), user)) as answer:
            assert 200 == answer.status


@pytest.mark.parametrize(
    "headers",
    [
        basic("wrong"),
        basic(""),
        basic(str(TOKEN) + "x"),
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic"},
        {"Authorization": f"Digest {TOKEN}"},
    ],
)
async def test_a_wrong_password_is_no_token(admin, headers):
    """Nor is what is no password at all."""
    client = await admin()
    async with client.get("/api/work", headers=headers) as answer:
        assert 401 == answer.status


async def test_a_token_is_any_text(admin):
    """UTF-8, as the challenge says (RFC 7617 §2.1)."""
    token = Secret("ein-Schlüssel-토큰-für-Admins")
    client = await admin(token=token)
    bearer = {"Authorization": f"Bearer {token}"}
    for headers in (basic(str(token)), bearer):
        async with client.get("/api/work", headers=headers) as answer:
            assert 200 == answer.status


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "127.0.0.1"},
        {"Forwarded": "for=127.0.0.1"},
        {"X-Real-IP": "127.0.0.1"},
        {"Via": "1.1 proxy"},
    ],
)
async def test_what_a_proxy_sends_is_not_from_loopback(admin, headers):
    """It may come from anywhere: the proxy is here, the reader is not."""
    client = await admin()
    async with client.get("/") as answer:
        assert 200 == answer.status
    async with client.get("/", headers=headers) as answer:
        assert 401 == answer.status


class Line(asyncio.Transport):
    """A connection between two addresses; nothing is ever sent on it."""

    def __init__(self, peer: str, here: str) -> None:
        super().__init__({"peername": (peer, 50_000), "sockname": (here, 9091)})


@pytest.mark.parametrize(
    ("peer", "here", "loopback"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.8.9.10", "127.0.0.1", True),
        ("::1", "::1", True),
        ("::ffff:127.0.0.1", "::ffff:127.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.2", False),
        ("fe80::1%eth0", "::1", False),
        # A service mesh's inbound proxy, for anybody.
        ("127.0.0.6", "10.0.0.2", False),
        ("", "127.0.0.1", False),
        ("localhost", "127.0.0.1", False),
    ],
)
def test_loopback_is_told_by_both_ends_of_the_connection(peer, here, loopback):
    """What cannot be read is not it."""
    request = make_mocked_request("GET", "/", transport=Line(peer, here))

    assert loopback == from_loopback(request)


@pytest.mark.parametrize("headers", [{}, AUTHORIZED, {"Authorization": "Bearer "}])
async def test_without_a_configured_token_the_api_is_off(admin, headers):
    """No token is not an empty one: nothing opens it, and the answer says why."""
    client = await admin(token=None)

    expected = (403, "admin_token_not_configured")
    assert expected == await refusal(client.get("/api/work", headers=headers))
    async with client.get("/") as answer:
        assert 200 == answer.status


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:9091", 200),
        ("localhost.", 200),
        ("127.0.0.1:9091", 200),
        ("[::1]:9091", 200),
        ("admin.internal:443", 200),
        ("10.1.2.3", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("[::1].evil.example", 421),
        ("localhost:80:80", 421),
        ("evil@localhost", 421),
        ("0.0.0.0:9091", 421),
        ("", 421),
    ],
)
async def test_only_known_hosts_are_served(admin, host, status):
    """A page whose name was rebound to loopback still sends its own name."""
    client = await admin(hosts=("admin.internal", "10.1.2.3", "0.0.0.0"))
    headers = {**AUTHORIZED, "Host": host}
    async with client.get("/api/work", headers=headers) as answer:
        assert status == answer.status


@pytest.mark.parametrize("host", ["::1", "fd00::7"])
async def test_an_address_of_the_settings_is_known_in_brackets(admin, host):
    """Settings write IPv6 addresses bare, a Host value does not (RFC 3986 §3.2.2)."""
    client = await admin(hosts=(host,))
    headers = {**AUTHORIZED, "Host": f"[{host}]:9091"}
    async with client.get("/api/work", headers=headers) as answer:
        assert 200 == answer.status


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("admin.example:9091", 200),
        ("Admin.Example", 200),
        ("one.shop.example", 200),
        ("[fd00::7]:9091", 200),
        ("10.1.2.3", 200),
        ("localhost", 200),
        ("shop.example", 421),
        ("a.b.shop.example", 421),
        ("evil.example", 421),
        ("", 421),
    ],
)
async def test_the_names_of_the_certificate_are_hosts_of_ours(admin, host, status):
    """A browser that came by another name has not believed the certificate."""
    names = frozenset({"admin.example", "*.shop.example", "fd00::7", "10.1.2.3"})
    client = await admin(names=lambda: names)
    headers = {**AUTHORIZED, "Host": host}
    async with client.get("/api/work", headers=headers) as answer:
        assert status == answer.status


# --------------------------------------------------------------------- certificates


async def test_a_certificate_does_until_it_ends(aiohttp_server, tmp_path):
    """Each request is asked anew: its connection may last for longer."""
    pki, clock = Pki(tmp_path), Clock()
    ends = datetime.fromtimestamp(clock.now() + 60, UTC)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(pki.ca))
    tls.load_cert_chain(pki.certificate, pki.key)
    tls.verify_mode = ssl.CERT_OPTIONAL
    app = web.Application(middlewares=[json_errors, guarded(keeper(now=clock.now))])
    app.router.add_route("*", "/api/work", _holder)
    server = await aiohttp_server(app, ssl=tls)
    context = pki.client()
    context.load_cert_chain(pki.show("ada", until=ends))
    told = []
    async with aiohttp.ClientSession() as http:
        for _ in range(2):
            url = f"https://localhost:{server.port}/api/work"
            async with http.post(url, json={}, ssl=context) as answer:
                told.append((answer.status, (await answer.json()).get("holder")))
            clock.advance(60)

    assert [(200, "ada"), (401, None)] == told


# -------------------------------------------------------------------------- guesses


WRONG_TOKEN = {"Authorization": "Bearer SECRET"}


async def test_after_so_many_wrong_tokens_none_is_looked_at(admin):
    """Not even the right one: else the next guess might be it."""
    clock = Clock()
    guesses = Guesses(clock.monotonic)
    client = await admin(guesses=guesses)
    for _ in range(WRONG):
        wrong = client.get("/api/work", headers=WRONG_TOKEN)
        assert (401, "unauthorized") == await refusal(wrong)
    clock.advance(WITHIN - 7.5)

    for headers in (WRONG_TOKEN, AUTHORIZED, basic(str(TOKEN))):
        async with client.post("/api/work", headers=headers) as answer:
            assert (429, "8") == (answer.status, answer.headers["Retry-After"])
            assert "SECRET" not in await answer.text()
    assert {"token": WRONG, "guesses": 3} == guesses.counted
    clock.advance(7.5)
    async with client.post("/api/work", headers=AUTHORIZED) as answer:
        assert 200 == answer.status


async def test_loopback_goes_on_reading_while_somebody_guesses_there(admin):
    """Also with what a browser remembers, right or wrong; it is nobody's reading then."""
    client = await admin()
    for _ in range(WRONG + 1):
        async with client.get("/", headers=WRONG_TOKEN):
            pass

    for headers in ({}, AUTHORIZED, WRONG_TOKEN):
        async with client.get("/", headers=headers) as answer:
            assert (200, {"done": True}) == (answer.status, await answer.json())
    async with client.get("/api/work", headers=AUTHORIZED) as answer:
        assert 429 == answer.status


async def test_who_brings_no_token_guesses_nothing(admin):
    """A browser's first request, and a probe's every one."""
    client = await admin()
    for _ in range(WRONG + 1):
        async with client.post("/api/work") as answer:
            assert 401 == answer.status
    async with client.post("/api/work", headers=AUTHORIZED) as answer:
        assert 200 == answer.status


async def test_what_came_through_a_proxy_is_not_loopbacks_guess(admin):
    """Whoever guesses from afar keeps nobody out who is here."""
    client = await admin()
    afar = {"X-Forwarded-For": "192.0.2.7"}
    for _ in range(WRONG + 1):
        async with client.get("/api/work", headers={**WRONG_TOKEN, **afar}):
            pass

    async with client.get("/api/work", headers={**AUTHORIZED, **afar}) as answer:
        assert 429 == answer.status
    async with client.get("/api/work", headers=AUTHORIZED) as answer:
        assert 200 == answer.status


@given(st.text())
def test_any_host_value_gets_a_name_or_none(value):
    """Never a port, and the same name again."""
    name = host_name(value)

    assert ":" not in name or name.startswith("[")
    assert name in {"", host_name(name), host_name(f"{name}:80")}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost:9091"}, 200),
        ({"Origin": "https://LOCALHOST:9091"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://evil.example"}, 403),
        ({"Origin": "http://localhost"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_pages_of_other_sites_are_refused(admin, method, headers, status):
    """With the right token too: a browser may hold it."""
    client = await admin()
    headers = {**AUTHORIZED, "Host": "localhost:9091", **headers}
    async with client.request(method, "/api/work", headers=headers) as answer:
        assert status == answer.status


async def test_a_link_from_another_site_may_be_followed(admin):
    """Reading a page changes nothing; what is under /api needs the token anyway."""
    client = await admin()
    async with client.get("/", headers={"Sec-Fetch-Site": "cross-site"}) as answer:
        assert 200 == answer.status


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("problem", (418, "teapot")),
        ("store", (503, "unavailable")),
        ("http", (409, "refused")),
        ("crash", (500, "internal")),
    ],
)
async def test_failures_are_worded_from_a_table(admin, crashes, how, expected):
    """What an exception says stays inside."""
    client = await admin()
    answer = client.get(f"/api/fail/{how}", headers=AUTHORIZED)

    assert expected == await refusal(answer)
    async with client.get(f"/api/fail/{how}", headers=AUTHORIZED) as answer:
        text = await answer.text()
        assert "SECRET" not in text
        assert "10.0.0.1" not in text


async def test_a_crash_is_told_to_the_loop(admin, crashes):
    """The log hears of it with the exception, the client without."""
    client = await admin()
    await refusal(client.get("/api/fail/crash", headers=AUTHORIZED))

    [context] = crashes
    assert "admin request crashed" == context["message"]
    assert isinstance(context["exception"], RuntimeError)


async def test_unknown_paths_and_methods_are_json_too(admin):
    """With `Allow`, which a 405 must have (RFC 9110 §15.5.6)."""
    client = await admin()

    missing = client.get("/api/SECRET", headers=AUTHORIZED)
    assert (404, "not_found") == await refusal(missing)
    async with client.post("/", headers=AUTHORIZED) as answer:
        assert 405 == answer.status
        assert "GET,HEAD" == answer.headers["Allow"]
        assert "method_not_allowed" == (await answer.json())["error"]


async def test_every_answer_stays_out_of_caches_and_frames(admin):
    """Refusals and pages alike."""
    client = await admin()

    for path in ("/", "/api/work", "/nowhere"):
        async with client.get(path) as answer:
            assert "no-store" == answer.headers["Cache-Control"]
            assert "nosniff" == answer.headers["X-Content-Type-Options"]
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'; frame-ancestors 'none'" == policy
