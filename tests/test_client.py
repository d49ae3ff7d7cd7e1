import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
import trustme
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.client import (
    PROVIDERS,
    AdminListener,
    ClientFailure,
    OAuthClient,
    Response,
    TlsFiles,
    TokenSource,
    _connection,
    _ConsentForm,
    fetch_token,
    request,
)
from tests.wire.pki import Pki

SECRET = "an-admin-token-that-nobody-may-read"
SOURCE = TokenSource(
    host="melon.localhost",
    authorize="/oauth/authorize",
    token="/oauth/token",
    scope="streaming user-like-read",
    extra={"data": '{"a": "b c"}'},
)
FORM = """
<form method="get">
  <input type="hidden" name="client_id" value="demo">
  <input type="hidden" name="state" value="gateway-token">
  <input type="checkbox" name="scope.a" value="on" checked disabled>
  <input type="checkbox" name="scope.b" value="on">
  <button name="decision" value="deny">No</button>
</form>
"""

Result = TypeVar("Result")


async def threaded(work: Callable[..., Result], *given: Any, **named: Any) -> Result:
    """Let the client block a thread, while the loop serves it."""
    async with asyncio.timeout(5):
        return await asyncio.to_thread(work, *given, **named)


@asynccontextmanager
async def answering(
    answer: Callable[[web.Request], web.StreamResponse], **options: Any
) -> AsyncIterator[str]:
    """Serve one handler for every path; gives the base of its addresses."""

    async def handle(asked: web.Request) -> web.StreamResponse:
        await asked.read()
        return answer(asked)

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", handle)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server(**options)
    try:
        yield str(server.make_url("")).rstrip("/")
    finally:
        await server.close()


async def failure(work: Callable[..., Any], *given: Any, **named: Any) -> str:
    """Let the client fail; gives what it says."""
    with pytest.raises(ClientFailure) as caught:
        await threaded(work, *given, **named)
    return str(caught.value)


# ----------------------------------------------------------------------- one request


async def test_a_request_is_sent_as_it_is_asked_for():
    """Method, target, headers (Host among them) and body."""
    seen: list[tuple[str, str, str, str]] = []

    def answer(asked: web.Request) -> web.Response:
        names = asked.headers["Host"], asked.headers["X-A"]
        seen.append((asked.method, asked.raw_path, *names))
        return web.Response(status=202, text="done", headers={"X-B": "2"})

    async with answering(answer) as base:
        told = await threaded(
            request,
            "PUT",
            f"{base}/a/b?c=%2F&d",
            headers={"Host": "melon.localhost", "X-A": "1"},
            body=b"body",
        )

    assert [("PUT", "/a/b?c=%2F&d", "melon.localhost", "1")] == seen
    assert (202, b"done", "2") == (told.status, told.body, told.headers["X-B"])


async def test_an_address_without_a_path_asks_for_the_root():
    """With its query, if it has one."""
    seen: list[str] = []

    def answer(asked: web.Request) -> web.Response:
        seen.append(asked.raw_path)
        return web.Response()

    async with answering(answer) as base:
        await threaded(request, "GET", base)
        await threaded(request, "GET", f"{base}?a=b")

    assert ["/", "/?a=b"] == seen


async def test_no_redirect_is_followed():
    """It could lead a secret anywhere."""
    seen: list[str] = []

    def answer(asked: web.Request) -> web.Response:
        seen.append(asked.path)
        return web.Response(status=302, headers={"Location": "/elsewhere"})

    async with answering(answer) as base:
        told = await threaded(request, "GET", f"{base}/here")

    assert 302 == told.status
    assert ["/here"] == seen


def test_a_refused_connection_says_so():
    """Where nobody was, and what may be the reason."""
    with pytest.raises(ClientFailure) as caught:
        request("GET", "http://127.0.0.1:9/readyz?verbose")

    assert "http://127.0.0.1:9 did not answer; is it running?" == str(caught.value)


async def test_what_is_no_http_is_no_answer():
    """Some other server has the port."""

    async def chatter(
        _reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        writer.close()

    other = await asyncio.start_server(chatter, "127.0.0.1", 0)
    port = other.sockets[0].getsockname()[1]
    told = await failure(request, "GET", f"http://127.0.0.1:{port}/")
    other.close()

    assert f"http://127.0.0.1:{port} did not answer" in told


async def test_a_certificate_that_nobody_trusts_is_no_answer():
    """Certificates are checked, on loopback too."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: None)
    async with answering(lambda _: web.Response(), ssl=tls) as base:
        told = await failure(request, "GET", f"{base}/")

    assert told.startswith(f"{base} is not trusted: ")
    assert base.startswith("https://")


@pytest.mark.parametrize(
    "address",
    [
        "",
        "127.0.0.1:9091",
        "localhost",
        "ftp://127.0.0.1/",
        "http://",
        "http:///path",
        "http://[",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:port",
        "http://a host/",
    ],
)
def test_what_is_no_address_is_told_by_an_example(address):
    """The same words for every slip."""
    with pytest.raises(ClientFailure, match="expected an address such as http://"):
        request("GET", address)


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("http://h/", "h", 80),
        ("https://h/", "h", 443),
        ("http://[::1]/", "::1", 80),
        ("http://[::1]:9091/", "::1", 9091),
    ],
)
def test_the_port_is_the_named_one_or_the_schemes(address, host, port):
    """An IPv6 address is not searched for one."""
    _, connection = _connection(address)

    assert (host, port) == (connection.host, connection.port)


@pytest.mark.parametrize("value", [f"{SECRET}\n", f"{SECRET}\r\nX: y"])
def test_a_secret_that_cannot_be_sent_is_not_shown(value):
    """A file's closing newline is the usual reason; the complaint would quote it."""
    with pytest.raises(ClientFailure) as caught:
        AdminListener(base="http://127.0.0.1:9", token=value).ask("GET", "/api/x")

    assert "characters that cannot be sent" in str(caught.value)
    assert SECRET not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"a"', b"\xff"])
def test_what_is_no_json_is_told_with_its_status(body):
    """A proxy's page in between, most of the time."""
    with pytest.raises(ClientFailure, match=r"no JSON came back \(status 502\)"):
        Response(502, {}, body).json()


def test_a_body_is_read_for_people_whatever_it_is_made_of():
    """To be printed, not to be parsed."""
    assert {"a": [1]} == Response(200, {}, b'{"a": [1]}').json()
    assert "né\ufffd" == Response(200, {}, b"n\xc3\xa9\xff").text


# ------------------------------------------------------------------ the consent form


@pytest.mark.parametrize(
    ("html", "fields"),
    [
        ('<input name="a" value="1">', {"a": "1"}),
        ('<input name="a" value="1"/><INPUT NAME=b VALUE=2>', {"a": "1", "b": "2"}),
        ('<input name="a" value="&quot;&amp;&#44032;">', {"a": '"&가'}),
        ('<input type="checkbox" name="scope.a" value="on">', {"scope.a": "on"}),
        ('<input type="checkbox" name="a" value="on" checked disabled>', {}),
        ('<input name="a" disabled="disabled">', {}),
        ('<input name="a">', {"a": ""}),
        ('<input name="a" value>', {"a": ""}),
        ('<input value="1"><input name value="1"><input name="" value="1">', {}),
        ('<button name="decision" value="deny">No</button>', {}),
        ('<!-- <input name="a" value="1"> -->', {}),
        ("", {}),
    ],
)
def test_a_form_gives_what_a_browser_would_send(html, fields):
    """Every box ticked; what is disabled is not sent (HTML, form submission)."""
    assert fields == _ConsentForm(html).fields


# ------------------------------------------------------------- authorization code flow


@dataclass
class Provider:
    """An authorization server that remembers what it was asked, and slips on demand."""

    page: web.Response = field(
        default_factory=lambda: web.Response(text=FORM, content_type="text/html")
    )
    location: str = "https://partner.example/cb?code=C1&state=gateway-token"
    consent: int = 302
    answer: web.Response = field(
        default_factory=lambda: web.json_response({"access_token": "T1", "x": 1})
    )
    asked: list[dict[str, str]] = field(default_factory=list)
    forms: list[dict[str, str]] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    async def authorize(self, asked: web.Request) -> web.Response:
        """Show the form, then answer the decision."""
        self.hosts.add(asked.headers["Host"])
        self.asked.append(dict(parse_qsl(asked.rel_url.raw_query_string)))
        if "decision" not in self.asked[-1]:
            return self.page
        location = {"Location": self.location} if self.location else {}
        return web.Response(status=self.consent, headers=location, text="no code today")

    async def token(self, asked: web.Request) -> web.Response:
        """Answer the token request."""
        self.hosts.add(asked.headers["Host"])
        assert "application/x-www-form-urlencoded" == asked.content_type
        self.forms.append(dict(parse_qsl(await asked.text())))
        return self.answer

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Listen; gives the base of its addresses."""
        app = web.Application()
        app.router.add_get(SOURCE.authorize, self.authorize)
        app.router.add_post(SOURCE.token, self.token)
        server = TestServer(app, host="127.0.0.1")
        await server.start_server()
        try:
            yield str(server.make_url(""))
        finally:
            await server.close()

    async def refused(self) -> str:
        """Ask it for a token in vain; gives what the client says."""
        async with self.serving() as base:
            return await failure(fetch_token, base, SOURCE, OAuthClient(), None)


async def test_a_token_is_fetched_as_a_partners_server_would():
    """Ask, give the consent the form asks for, exchange the code."""
    provider = Provider()
    client = OAuthClient(
        id="me", secret="mine", redirect_uri="https://p.example/cb?x=y"
    )
    async with provider.serving() as base:
        answer = await threaded(fetch_token, base, SOURCE, client, "streaming")

    assert {"access_token": "T1", "x": 1} == answer
    first, consent = provider.asked
    assert {
        "response_type": "code",
        "client_id": "me",
        "redirect_uri": "https://p.example/cb?x=y",
        "scope": "streaming",
        "state": "gateway-token",
        "data": '{"a": "b c"}',
    } == first
    assert {
        "client_id": "demo",
        "state": "gateway-token",
        "scope.b": "on",
        "decision": "allow",
    } == consent
    assert [
        {
            "grant_type": "authorization_code",
            "code": "C1",
            "redirect_uri": "https://p.example/cb?x=y",
            "client_id": "me",
            "client_secret": "mine",
        }
    ] == provider.forms
    assert {"melon.localhost"} == provider.hosts


async def test_without_a_scope_the_usual_ones_are_asked_for():
    """Those of the provider's row in the table."""
    provider = Provider()
    async with provider.serving() as base:
        await threaded(fetch_token, base, SOURCE, OAuthClient(), None)

    assert SOURCE.scope == provider.asked[0]["scope"]


async def test_a_space_is_sent_as_the_documents_show_it():
    """`%20`, not `+`, which some servers leave as it is."""
    seen: list[str] = []

    def answer(asked: web.Request) -> web.Response:
        seen.append(asked.raw_path)
        return web.Response(status=400)

    async with answering(answer) as base:
        await failure(fetch_token, base, SOURCE, OAuthClient(), "a b")

    (path,) = seen
    assert "scope=a%20b&" in path
    assert ["a b"] == parse_qs(urlsplit(path).query)["scope"]


@pytest.mark.parametrize(
    "location",
    [
        "https://partner.example/cb?code=C1",
        "https://partner.example/cb?code=C1&state=",
        "https://partner.example/cb?code=C1&state=another",
        "https://partner.example/cb?code=C1&state=gateway-token&state=another",
        "https://partner.example/cb?state=gateway-token",
        "https://partner.example/cb?error=access_denied&state=gateway-token",
        "",
    ],
)
async def test_a_code_with_another_state_is_not_taken(location):
    """It is the answer to somebody else's question (RFC 6749 §10.12)."""
    provider = Provider(location=location)
    told = await provider.refused()

    assert "the consent page answered 302: no code today" == told
    assert [] == provider.forms


async def test_a_refused_authorize_request_tells_the_providers_words():
    """What is wrong with the request stands there."""
    provider = Provider(
        page=web.json_response({"error": {"code": "10071"}}, status=400)
    )
    told = await provider.refused()

    assert 'the authorize endpoint answered 400: {"error": {"code": "10071"}}' == told
    assert 1 == len(provider.asked)


async def test_a_refused_code_tells_the_providers_words():
    """Likewise at the token endpoint."""
    provider = Provider(
        answer=web.json_response({"error": "invalid_client"}, status=401)
    )
    told = await provider.refused()

    assert 'the token endpoint answered 401: {"error": "invalid_client"}' == told


@pytest.mark.parametrize("body", ["{}", '["access_token"]', '"access_token"', "null"])
async def test_an_answer_without_a_token_is_a_failure(body):
    """Whatever else it holds is not shown: it may be another token."""
    provider = Provider(answer=web.Response(text=body, content_type="application/json"))
    told = await provider.refused()

    assert "the token endpoint answered 200 without an access token" == told


async def test_a_page_in_another_encoding_is_read_as_far_as_it_goes():
    """Its fields are ASCII; the rest is for people."""
    page = FORM.encode() + "노래".encode("euc-kr")
    provider = Provider(page=web.Response(body=page, content_type="text/html"))
    async with provider.serving() as base:
        answer = await threaded(fetch_token, base, SOURCE, OAuthClient(), None)

    assert "T1" == answer["access_token"]


def test_the_table_has_the_three_providers():
    """Each under the host that the demo's configuration serves it."""
    hosts = {name: source.host for name, source in PROVIDERS.items()}

    assert {name: f"{name}.localhost" for name in ("melon", "nugu", "ottm")} == hosts


# ----------------------------------------------------------------- the admin listener


async def test_the_admin_listener_is_asked_in_json_and_with_the_token():
    """And its answer is given as it is; 201 is as good as 200."""
    seen: list[tuple[str, str, str, str]] = []

    def answer(asked: web.Request) -> web.Response:
        headers = asked.headers["Authorization"], asked.content_type
        seen.append((asked.method, asked.path, *headers))
        return web.json_response({"id": "m1"}, status=201)

    async with answering(answer) as base:
        body = {"provider": "melon"}
        admin = AdminListener(base=f"{base}/", token=SECRET)
        told = await threaded(admin.ask, "POST", "/api/revocations", body)

    assert {"id": "m1"} == told
    bearer = f"Bearer {SECRET}"
    assert [("POST", "/api/revocations", bearer, "application/json")] == seen


@pytest.mark.parametrize("status", [302, 400, 401, 403, 421, 503])
async def test_a_refusal_of_the_admin_listener_is_told_in_its_words(status):
    """With its status; never with the token."""

    def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text="Expected the admin token")

    async with answering(answer) as base:
        admin = AdminListener(base=base, token=SECRET)
        told = await failure(admin.ask, "POST", "/api/explain", {})

    assert f"the admin listener answered {status}: Expected the admin token" == told


async def test_a_long_refusal_is_cut_between_two_letters():
    """Three hundred of them, whatever they take in bytes."""

    def answer(_: web.Request) -> web.Response:
        return web.Response(status=500, text="노" * 1000)

    async with answering(answer) as base:
        admin = AdminListener(base=base, token=SECRET)
        told = await failure(admin.ask, "POST", "/api/explain", {})

    assert "the admin listener answered 500: " + "노" * 300 == told


async def test_an_admin_token_may_be_any_text():
    """In UTF-8, as the admin listener reads it."""
    seen: list[str] = []

    def answer(asked: web.Request) -> web.Response:
        seen.append(asked.headers["Authorization"])
        return web.json_response({})

    async with answering(answer) as base:
        admin = AdminListener(base=base, token="ein-Schlüssel-토큰")
        await threaded(admin.ask, "GET", "/api/x")

    assert "Bearer ein-Schlüssel-토큰" == seen[0]


# ----------------------------------------------------------------- the admin by TLS


@asynccontextmanager
async def secured(pki: Pki) -> AsyncIterator[str]:
    """Serve by TLS, and ask for certificates; tells whose was shown."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(pki.ca))
    tls.load_cert_chain(pki.certificate, pki.key)
    tls.verify_mode = ssl.CERT_OPTIONAL

    def answer(asked: web.Request) -> web.Response:
        shown = asked.get_extra_info("peercert") or {"subject": ""}
        return web.json_response(shown["subject"])

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: None)
    async with answering(answer, ssl=tls) as base:
        yield base.replace("127.0.0.1", "localhost")


async def test_whom_to_trust_and_what_to_show_are_files(tmp_path):
    """A certificate and its key in one, or in two."""
    pki = Pki(tmp_path)
    both, key = pki.show("ada"), tmp_path / "key.pem"
    key.write_bytes(both.read_bytes())
    async with secured(pki) as base:
        nobody, one, two = [
            await threaded(AdminListener(base=base, tls=files).ask, "GET", "/")
            for files in (
                TlsFiles(ca=pki.ca),
                TlsFiles(ca=pki.ca, cert=both),
                TlsFiles(ca=pki.ca, cert=both, key=key),
            )
        ]

    assert "" == nobody
    assert [[["commonName", "ada"]]] == one[-1:] == two[-1:]


async def test_whom_nobody_named_is_not_trusted(tmp_path):
    """Neither a stranger's authority nor the system's has signed it."""
    pki = Pki(tmp_path)
    stranger = tmp_path / "stranger.pem"
    trustme.CA().cert_pem.write_to_path(str(stranger))
    async with secured(pki) as base:
        for files in (TlsFiles(), TlsFiles(ca=stranger)):
            admin = AdminListener(base=base, token=SECRET, tls=files)
            told = await failure(admin.ask, "GET", "/")
            assert told.startswith(f"{base} is not trusted: ")


async def test_a_certificate_that_is_not_accepted_is_told_as_such(tmp_path):
    """In the alert's own words."""
    pki = Pki(tmp_path)
    shown = pki.show("eve", by=trustme.CA())
    async with secured(pki) as base:
        admin = AdminListener(base=base, tls=TlsFiles(ca=pki.ca, cert=shown))
        told = await failure(admin.ask, "GET", "/")

    assert told.startswith((f"TLS with {base} failed: ", f"{base} did not answer"))


@pytest.mark.parametrize("broken", ["ca", "cert", "key"])
async def test_files_of_no_use_are_named(tmp_path, broken):
    """Nobody is asked for a password, and nothing of them is shown."""
    pki = Pki(tmp_path)
    files = {"ca": pki.ca, "cert": pki.certificate, "key": pki.key}
    files[broken].write_text("SECRET")
    admin = AdminListener(base="https://localhost:9", tls=TlsFiles(**files))
    told = await failure(admin.ask, "GET", "/")

    assert told.startswith("expected certificates and the key of the first (PEM)")
    assert str(files[broken]) in told
    assert "SECRET" not in told


def test_the_token_is_in_no_repr():
    """It may end up in a traceback."""
    admin = AdminListener(base="https://h", token=SECRET)

    assert SECRET not in repr(admin)
    assert admin.has_right
    assert not AdminListener(base="https://h").has_right
