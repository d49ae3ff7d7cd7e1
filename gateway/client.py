"""The command line's own HTTP client: get a token, ask a running gateway. Floor 5.

A client like any other, on the outside: it knows no part of the gateway but its
addresses. Blocking and small, since a command does one thing at a time.
"""

import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, parse_qs, quote, urlencode, urlsplit

from gateway.errors import GatewayError

TIMEOUT: Final = 10.0

_PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443}


class ClientFailure(GatewayError):
    """A command could not do what it was asked; the message says what came back."""


@dataclass(frozen=True, slots=True)
class Response:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """Read the body for people: what is no UTF-8 is marked, not a failure."""
        return self.body.decode(errors="replace")

    def json(self) -> Any:
        """Decode the body; raises `ClientFailure` when it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise ClientFailure(f"no JSON came back (status {self.status})") from error


def request(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    tls: ssl.SSLContext | None = None,
) -> Response:
    """Make one request. `headers` may hold `Host`. No redirect is followed.

    `tls` is for https, instead of trusting whom the system trusts.
    """
    parts, connection = _connection(url, tls)
    where = f"{parts.scheme}://{parts.netloc}"
    target = parts.path or "/"
    if parts.query:
        target += f"?{parts.query}"
    try:
        connection.request(method, target, body=body, headers=dict(headers or {}))
        answer = connection.getresponse()
        return Response(answer.status, dict(answer.getheaders()), answer.read())
    except ssl.SSLCertVerificationError as error:
        raise ClientFailure(
            f"{where} is not trusted: {error.verify_message}"
        ) from error
    except ssl.SSLError as error:
        why = (error.reason or "not understood").replace("_", " ").lower()
        raise ClientFailure(f"TLS with {where} failed: {why}") from error
    except (OSError, http.client.HTTPException) as error:
        raise ClientFailure(f"{where} did not answer; is it running?") from error
    except ValueError:
        # `from None`: the complaint quotes what it is about, which may be a token.
        message = "the address or a header has characters that cannot be sent"
        raise ClientFailure(message) from None
    finally:
        connection.close()


def _connection(
    url: str, tls: ssl.SSLContext | None = None
) -> tuple[SplitResult, http.client.HTTPConnection]:
    try:
        parts = urlsplit(url)
        if parts.scheme in _PORTS and (host := parts.hostname):
            # Always named: in an IPv6 address http.client would look for a port.
            port = parts.port or _PORTS[parts.scheme]
            if parts.scheme == "http":
                return parts, http.client.HTTPConnection(host, port, timeout=TIMEOUT)
            return parts, http.client.HTTPSConnection(
                host, port, timeout=TIMEOUT, context=tls
            )
    except (ValueError, http.client.InvalidURL):
        pass
    raise ClientFailure("expected an address such as http://127.0.0.1:9091")


# ---------------------------------------------------------- authorization code flow


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSource:
    """Where and how a provider of the demo gives tokens."""

    host: str
    authorize: str
    token: str
    scope: str
    extra: Mapping[str, str]


DEVICE: Final = "ALDFG55YMYRA9E527EBD"
"""The device serial number of nugu's documentation."""

PROVIDERS: Final[Mapping[str, TokenSource]] = {
    "melon": TokenSource(
        host="melon.localhost",
        authorize="/oauth/authorize",
        token="/oauth/token",  # noqa: S106 -- a path
        scope="user-private-read streaming user-playlist-read user-like-read",
        extra={},
    ),
    "nugu": TokenSource(
        host="nugu.localhost",
        authorize="/v1/auth/oauth/authorize",
        token="/v1/auth/oauth/token",  # noqa: S106 -- a path
        scope="device",
        extra={"data": json.dumps({"deviceSerialNumber": DEVICE})},
    ),
    "ottm": TokenSource(
        host="ottm.localhost",
        authorize="/auth/authorize",
        token="/oauth2/v1/token",  # noqa: S106 -- a path
        scope="openid profile",
        extra={},
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthClient:
    """A registered client; the sandbox's own by default."""

    id: str = "demo"
    secret: str = "demo-secret"
    redirect_uri: str = "https://partner.site.com/callback"


def fetch_token(
    base: str, source: TokenSource, client: OAuthClient, scope: str | None
) -> dict[str, Any]:
    """Run the authorization code flow (RFC 6749 §4.1), consent included.

    Gives the whole token answer; raises `ClientFailure` with what the provider said.
    """
    state = "gateway-token"
    asked = {
        "response_type": "code",
        "client_id": client.id,
        "redirect_uri": client.redirect_uri,
        "scope": scope or source.scope,
        "state": state,
        **source.extra,
    }
    host = {"Host": source.host}
    page = request("GET", _address(base, source.authorize, asked), headers=host)
    if page.status != 200:
        raise ClientFailure(_told("the authorize endpoint", page))
    consent = _ConsentForm(page.text).fields | {"decision": "allow"}
    answer = request("GET", _address(base, source.authorize, consent), headers=host)
    code = _code(answer, state)
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": client.redirect_uri,
        "client_id": client.id,
        "client_secret": client.secret,
    }
    token = request(
        "POST",
        base.rstrip("/") + source.token,
        headers={**host, "Content-Type": "application/x-www-form-urlencoded"},
        body=urlencode(form).encode(),
    )
    if token.status != 200:
        raise ClientFailure(_told("the token endpoint", token))
    told = token.json()
    if not isinstance(told, dict) or "access_token" not in told:
        raise ClientFailure("the token endpoint answered 200 without an access token")
    return told


def _address(base: str, path: str, query: Mapping[str, str]) -> str:
    return f"{base.rstrip('/')}{path}?{urlencode(query, quote_via=quote)}"


def _code(answer: Response, state: str) -> str:
    location = answer.headers.get("Location") or answer.headers.get("location") or ""
    told = parse_qs(urlsplit(location).query)
    if "code" not in told or told.get("state") != [state]:
        raise ClientFailure(_told("the consent page", answer))
    return told["code"][0]


def _told(who: str, response: Response) -> str:
    return f"{who} answered {response.status}: {response.text[:300]}"


class _ConsentForm(HTMLParser):
    """Reads what a browser would send of the page's form, every box ticked."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of a field."""
        given = dict(attrs)
        name = given.get("name")
        if tag == "input" and name and "disabled" not in given:
            self.fields[name] = given.get("value") or ""


# --------------------------------------------------------------------- admin calls


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """Whom to trust, and what to show."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    """The certificate's; None: it is in the same file."""

    def context(self) -> ssl.SSLContext:
        """Read them; raises `ClientFailure`."""
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.cert is not None:
                # Without a password OpenSSL would ask the terminal for one.
                context.load_cert_chain(self.cert, self.key, password="")
        except ssl.SSLError as error:
            given = (self.ca, self.cert, self.key)
            files = ", ".join(str(file) for file in given if file is not None)
            expected = "certificates and the key of the first (PEM), without a password"
            raise ClientFailure(f"expected {expected}: {files}") from error
        except OSError as error:
            raise ClientFailure(f"a file of TLS: {error.strerror}") from error
        return context


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminListener:
    """The admin listener of a running gateway, and by what right it is asked.

    With neither a token nor a certificate, what loopback may read is answered.
    """

    base: str
    token: str | None = field(default=None, repr=False)
    tls: TlsFiles = TlsFiles()

    @property
    def has_right(self) -> bool:
        """Tell whether there is a token or a certificate to ask with."""
        return self.token is not None or self.tls.cert is not None

    def ask(
        self, method: str, path: str, body: Mapping[str, object] | None = None
    ) -> Any:
        """Put a question and give the JSON that is answered, if there is any."""
        headers = {"Content-Type": "application/json"}
        if self.token is not None:
            # http.client writes Latin-1: so these are the bytes of the token in UTF-8.
            raw = self.token.encode("utf-8", "surrogateescape")
            headers["Authorization"] = f"Bearer {raw.decode('latin-1')}"
        response = request(
            method,
            self.base.rstrip("/") + path,
            headers=headers,
            body=None if body is None else json.dumps(body).encode(),
            tls=self.tls.context() if self.base.lower().startswith("https:") else None,
        )
        if not 200 <= response.status < 300:
            raise ClientFailure(_told("the admin listener", response))
        return None if response.status == 204 else response.json()
