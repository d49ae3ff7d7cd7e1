"""A partner's server and its person's browser, on the outside of a gateway."""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from tests.functional.harness import Answer, Gateway, bearer
from tests.sandbox.partner import Form

CALLBACK = "https://partner.site.com/callback"
DEVICE = "ALDFG55YMYRA9E527EBD"
FORM = ("Content-Type", "application/x-www-form-urlencoded")


@dataclass(frozen=True)
class Provider:
    """What the provider's document tells its partners."""

    authorize: str
    endpoints: str
    asked: dict[str, str]


PROVIDERS = {
    "melon": Provider(
        "/oauth/authorize",
        "/oauth/",
        {"scope": "user-private-read streaming user-like-read"},
    ),
    "nugu": Provider(
        "/v1/auth/oauth/authorize",
        "/v1/auth/oauth/",
        {"scope": "device", "data": json.dumps({"deviceSerialNumber": DEVICE})},
    ),
    "ottm": Provider("/auth/authorize", "/oauth2/v1/", {"scope": "openid profile"}),
}


@dataclass(frozen=True)
class Partner:
    """A partner of one provider; everything it does goes through the gateway."""

    name: str
    gateway: Gateway
    client: str = "demo"

    @property
    def host(self) -> str:
        """The provider's host name, as clients see it."""
        return f"{self.name}.localhost"

    @property
    def provider(self) -> Provider:
        """Its document."""
        return PROVIDERS[self.name]

    def ask(
        self,
        method: str,
        target: str,
        *headers: tuple[str, str],
        token: str | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """Send a request to the provider's host, with a token if there is one."""
        carried = [] if token is None else [bearer(token)]
        return self.gateway.ask(
            method, target, *carried, *headers, host=self.host, body=body
        )

    # ------------------------------------------------------ the person's browser

    def authorize(self, **changes: str | None) -> Answer:
        """Open the authorize path; a change to None leaves a parameter out."""
        parameters = {
            "response_type": "code",
            "client_id": self.client,
            "redirect_uri": CALLBACK,
            "state": "xyz",
            **self.provider.asked,
            **changes,
        }
        kept = {name: value for name, value in parameters.items() if value is not None}
        query = urlencode(kept, quote_via=quote)
        return self.ask("GET", f"{self.provider.authorize}?{query}")

    def decide(self, decision: str = "allow", /, **changes: str | None) -> Answer:
        """Read the consent page, leave every box ticked, and press a button."""
        page = self.authorize(**changes)
        assert page.status == 200, page
        form = Form(page.body.decode())
        ticked = dict.fromkeys(form.ticks, "on")
        query = urlencode(
            {**form.fields, **ticked, "decision": decision}, quote_via=quote
        )
        return self.ask("GET", f"{self.provider.authorize}?{query}")

    def code(self, **changes: str | None) -> str:
        """Get an authorization code."""
        location = self.decide(**changes).header("Location") or ""
        (code,) = parse_qs(urlsplit(location).query)["code"]
        return code

    # ------------------------------------------------------- the partner's server

    def post(self, endpoint: str, *headers: tuple[str, str], **form: str) -> Answer:
        """Send a form to an endpoint for servers."""
        target = self.provider.endpoints + endpoint
        return self.ask("POST", target, FORM, *headers, body=urlencode(form).encode())

    @property
    def credentials(self) -> dict[str, str]:
        """The client's, for a form."""
        return {"client_id": self.client, "client_secret": f"{self.client}-secret"}

    def exchange(self, code: str) -> Answer:
        """Give a code for tokens."""
        return self.post(
            "token",
            grant_type="authorization_code",
            code=code,
            redirect_uri=CALLBACK,
            **self.credentials,
        )

    def tokens(self, **changes: str | None) -> dict[str, Any]:
        """Run the whole authorization code flow; gives the token answer."""
        answer = self.exchange(self.code(**changes))
        assert answer.status == 200, answer
        told: dict[str, Any] = answer.json
        return told

    def token(self, **changes: str | None) -> str:
        """Run the flow; gives the access token."""
        token: str = self.tokens(**changes)["access_token"]
        return token

    def refresh(self, token: str) -> Answer:
        """Give a refresh token for tokens."""
        return self.post(
            "token",
            grant_type="refresh_token",
            refresh_token=token,
            **self.credentials,
        )

    def revoke(self, token: str) -> Answer:
        """Revoke a token at the provider's own endpoint (RFC 7009)."""
        return self.post("revoke", token=token, **self.credentials)
