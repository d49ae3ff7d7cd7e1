"""A partner's application, its server and its person's browser."""

import json
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

CALLBACK = "https://partner.site.com/callback"
AUTHORIZE = {
    "melon": "/melon/oauth/authorize",
    "nugu": "/nugu/v1/auth/oauth/authorize",
    "ottm": "/ottm/auth/authorize",
}
SERVERS = {
    "melon": "/melon/oauth/",
    "nugu": "/nugu/v1/auth/oauth/",
    "ottm": "/ottm/oauth2/v1/",
}
ASKED = {
    "melon": {"scope": "user-private-read streaming user-like-read"},
    "nugu": {"scope": "device", "data": '{"deviceSerialNumber":"SERIAL1"}'},
    "ottm": {"scope": "openid profile"},
}
DEMO = {"client_id": "demo", "client_secret": "demo-secret"}


@dataclass(frozen=True)
class Reply:
    """An answer, read whole."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def answered(self) -> dict[str, str]:
        """The parameters on an answered redirect."""
        query = urlsplit(self.headers["Location"]).query
        parsed = parse_qs(query, keep_blank_values=True, strict_parsing=False)
        return {name: value for name, (value,) in parsed.items()}


class Form(HTMLParser):
    """A page's form as a browser would submit it, and what the page would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self.ticks: set[str] = set()
        self.fixed: set[str] = set()
        self.buttons: list[tuple[str | None, str | None]] = []
        self.attributes: dict[str, str | None] = {}
        self.tags: set[str] = set()
        self.fetches: list[str | None] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.add(tag)
        self.fetches += [given[name] for name in ("src", "srcset") if name in given]
        if tag == "form":
            self.attributes = given
        if tag == "button":
            self.buttons.append((given["name"], given["value"]))
        if tag != "input":
            return
        name, value = given["name"] or "", given["value"] or ""
        if given["type"] == "hidden":
            self.fields[name] = value
        elif "disabled" in given:
            self.fixed.add(name)
        else:
            self.ticks.add(name)


@dataclass
class Partner:
    """A partner's application, its server and its person's browser."""

    http: aiohttp.ClientSession
    url: str

    async def ask(
        self,
        method: str,
        path: str,
        *,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> Reply:
        async with self.http.request(
            method,
            URL(self.url + path, encoded=True),
            headers=headers,
            data=body,
            allow_redirects=False,
        ) as response:
            return Reply(response.status, response.headers, await response.read())

    async def authorize(self, provider: str, **changes: str | None) -> Reply:
        """Open the authorize path; a change to None leaves a parameter out."""
        parameters = {
            "response_type": "code",
            "client_id": "demo",
            "redirect_uri": CALLBACK,
            "state": "xyz",
            **ASKED[provider],
            **changes,
        }
        kept = {name: value for name, value in parameters.items() if value is not None}
        query = urlencode(kept, quote_via=quote)
        return await self.ask("GET", f"{AUTHORIZE[provider]}?{query}")

    async def decide(
        self,
        provider: str,
        decision: str = "allow",
        *,
        untick: frozenset[str] = frozenset(),
        **changes: Any,
    ) -> Reply:
        """Read the consent page as a person would, and submit its form."""
        page = await self.authorize(provider, **changes)
        form = Form(page.body.decode())
        submitted = {
            **form.fields,
            **{name: "on" for name in form.ticks if name not in untick},
            "decision": decision,
        }
        query = urlencode(submitted, quote_via=quote)
        return await self.ask("GET", f"{AUTHORIZE[provider]}?{query}")

    async def code(self, provider: str, **changes: Any) -> str:
        return (await self.decide(provider, **changes)).answered["code"]

    async def post(
        self, provider: str, endpoint: str, *, basic: str = "", **form: str | None
    ) -> Reply:
        """Send a form to one of the endpoints for servers."""
        kept = {name: value for name, value in form.items() if value is not None}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if basic:
            headers["Authorization"] = basic
        return await self.ask(
            "POST",
            SERVERS[provider] + endpoint,
            headers=headers,
            body=urlencode(kept).encode(),
        )

    async def exchange(self, provider: str, code: str, **changes: Any) -> Reply:
        form: dict[str, Any] = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": CALLBACK,
            **DEMO,
        }
        return await self.post(provider, "token", **{**form, **changes})

    async def tokens(self, provider: str, **changes: Any) -> dict[str, Any]:
        """Run the whole flow."""
        code = await self.code(provider, **changes)
        answer: dict[str, Any] = (await self.exchange(provider, code)).json
        return answer

    async def refresh(self, provider: str, token: str, **changes: Any) -> Reply:
        form: dict[str, Any] = {
            "grant_type": "refresh_token",
            "refresh_token": token,
            **DEMO,
        }
        return await self.post(provider, "token", **{**form, **changes})

    async def introspect(self, provider: str, token: str) -> dict[str, Any]:
        reply = await self.post(provider, "introspect", token=token, **DEMO)
        answer: dict[str, Any] = reply.json
        return answer

    async def userinfo(self, *authorization: str) -> Reply:
        async with self.http.get(
            self.url + "/ottm/oauth2/v1/userinfo",
            headers=[("Authorization", value) for value in authorization],
        ) as response:
            return Reply(response.status, response.headers, await response.read())
