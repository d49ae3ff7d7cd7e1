"""The servers' half of an authorization server: codes into tokens, and their fate.

Apart from the floors. Token and refresh (RFC 6749 §4.1.3, §6), revocation (RFC 7009),
introspection (RFC 7662), userinfo and JWKS (OIDC), worded by the provider's table.
"""

import hmac
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import hdrs, web

from gateway.ports import Clock
from gateway.sandbox import forms
from gateway.sandbox.keys import SandboxKeys
from gateway.sandbox.ledger import Client, Grant, Ledger, Token, TokenKind
from gateway.sandbox.provider import Fault, Order, Provider

USERINFO_SCOPE: Final = "openid"


@dataclass(frozen=True, slots=True)
class Refused:
    """Why no token is given, and the code that was refused, if it was one."""

    fault: Fault
    refused: str = ""


class TokenEndpoints:
    """One provider's endpoints for servers."""

    def __init__(
        self,
        provider: Provider,
        clients: Mapping[str, Client],
        ledger: Ledger,
        clock: Clock,
        *,
        keys: SandboxKeys,
        issuer: str,
    ) -> None:
        self._provider = provider
        self._clients = clients
        self._ledger = ledger
        self._clock = clock
        self._keys = keys
        self._issuer = issuer
        self._exchanges = {
            "authorization_code": self._redeem,
            "refresh_token": self._renew,
        }

    def routes(self) -> list[web.RouteDef]:
        """Give the routes of the endpoints that this provider has."""
        endpoints = {
            "token": (hdrs.METH_POST, self.token),
            "revoke": (hdrs.METH_POST, self.revoke),
            "introspect": (hdrs.METH_POST, self.introspect),
            "userinfo": (hdrs.METH_GET, self.userinfo),
            "jwks": (hdrs.METH_GET, self.jwks),
        }
        return [
            web.route(method, self._provider.paths[name], handler)
            for name, (method, handler) in endpoints.items()
            if name in self._provider.paths
        ]

    # ------------------------------------------------------------------- tokens

    async def token(self, request: web.Request) -> web.Response:
        """Give tokens for a code or a refresh token."""
        form = await self._form(request)
        if form is None:
            return self._provider.refuse(Fault.MALFORMED)
        basic = self._provider.basic_at_token_endpoint
        client = self._client(request, form, basic=basic)
        if isinstance(client, Fault):
            return self._provider.refuse(client)
        outcome = self._exchange(client, form)
        if isinstance(outcome, Refused):
            return self._provider.refuse(outcome.fault, outcome.refused)
        return self._issue(outcome)

    def _exchange(self, client: Client, form: Mapping[str, str]) -> Order | Refused:
        grant_type = form.get("grant_type")
        if not grant_type:
            return Refused(Fault.MALFORMED)
        exchange = self._exchanges.get(grant_type)
        if exchange is None:
            return Refused(Fault.UNKNOWN_GRANT_TYPE)
        if grant_type not in client.grant_types:
            return Refused(Fault.CLIENT_NOT_ALLOWED)
        return exchange(client, form)

    def _redeem(self, client: Client, form: Mapping[str, str]) -> Order | Refused:
        code, redirect_uri = form.get("code"), form.get("redirect_uri")
        if not code or not redirect_uri:
            return Refused(Fault.MALFORMED)
        grant = self._ledger.redeem(code, self._clock.now())
        if grant is None or grant.client != client.id:
            return Refused(Fault.BAD_CODE, code)
        if grant.redirect_uri != redirect_uri:
            return Refused(Fault.WRONG_REDIRECT_URI)
        lifetime = self._provider.refresh_lifetime
        until = None if lifetime is None else int(self._clock.now()) + lifetime
        return self._order(grant, refresh_id=str(uuid.uuid4()), refresh_until=until)

    def _renew(self, client: Client, form: Mapping[str, str]) -> Order | Refused:
        text = form.get("refresh_token")
        if not text:
            return Refused(Fault.MALFORMED)
        known = self._ledger.find(text, TokenKind.REFRESH, self._clock.now())
        if known is None or known.grant.client != client.id:
            return Refused(Fault.BAD_REFRESH_TOKEN)
        return self._order(
            known.grant,
            refresh_id=known.id,
            refresh_until=known.expires_at,
            presented=text,
        )

    def _order(
        self,
        grant: Grant,
        *,
        refresh_id: str,
        refresh_until: int | None,
        presented: str | None = None,
    ) -> Order:
        now = int(self._clock.now())
        return Order(
            grant=grant,
            access_id=str(uuid.uuid4()),
            refresh_id=refresh_id,
            issued_at=now,
            expires_at=now + 1 + self._provider.expires_in,
            refresh_expires_at=refresh_until,
            refresh_token=presented,
            issuer=self._issuer,
            keys=self._keys,
        )

    def _issue(self, order: Order) -> web.Response:
        answer = self._provider.mint(order)
        self._ledger.record(
            answer["access_token"],
            Token(
                kind=TokenKind.ACCESS,
                id=order.access_id,
                grant=order.grant,
                expires_at=order.expires_at,
            ),
        )
        self._ledger.record(
            answer["refresh_token"],
            Token(
                kind=TokenKind.REFRESH,
                id=order.refresh_id,
                grant=order.grant,
                expires_at=order.refresh_expires_at,
            ),
        )
        return self._provider.answer(json.dumps(answer))

    # ------------------------------------------------------------- their fate

    async def revoke(self, request: web.Request) -> web.Response:
        """Revoke a token; one that is unknown is as good as revoked (RFC 7009 §2.2)."""
        form = await self._form(request)
        if form is None or not form.get("token"):
            return self._provider.refuse(Fault.MALFORMED)
        client = self._client(request, form, basic=True)
        if isinstance(client, Fault):
            return self._provider.refuse(client)
        self._ledger.revoke(form["token"], client.id)
        return web.Response(headers={"Cache-Control": "no-store"})

    async def introspect(self, request: web.Request) -> web.Response:
        """Tell what an access token is; a refresh token is none (RFC 7662 §2.2)."""
        form = await self._form(request)
        if form is None or not form.get("token"):
            return self._provider.refuse(Fault.MALFORMED)
        client = self._client(request, form, basic=True)
        if isinstance(client, Fault):
            return self._provider.refuse(client)
        token = self._ledger.find(form["token"], TokenKind.ACCESS, self._clock.now())
        if token is None:
            return self._provider.answer(json.dumps({"active": False}))
        answer = {
            "active": True,
            "scope": " ".join(token.grant.scopes),
            "client_id": token.grant.client,
            "username": self._provider.person,
            "token_type": "Bearer",
            "exp": token.expires_at,
            "sub": self._provider.subject,
            "iss": self._issuer,
            "jti": token.id,
        }
        return self._provider.answer(json.dumps(answer, ensure_ascii=False))

    async def userinfo(self, request: web.Request) -> web.Response:
        """Tell who a token speaks for (OIDC Core §5.3)."""
        sent = request.headers.getall("Authorization", [])
        text = forms.parse_bearer(sent[0]) if len(sent) == 1 else None
        token = self._ledger.find(text or "", TokenKind.ACCESS, self._clock.now())
        if token is None:
            return self._provider.refuse(Fault.BAD_TOKEN)
        if USERINFO_SCOPE not in token.grant.scopes:
            return self._provider.refuse(Fault.NARROW_TOKEN)
        return self._provider.answer(json.dumps(dict(self._provider.profile)))

    async def jwks(self, request: web.Request) -> web.Response:
        """Publish the keys that are public; where tokens are HS256 there are none."""
        return self._provider.answer(
            json.dumps({"keys": self._provider.jwks(self._keys)})
        )

    # ---------------------------------------------------------------- the caller

    async def _form(self, request: web.Request) -> dict[str, str] | None:
        if request.content_type != forms.FORM_TYPE:
            return None
        return forms.parse(await request.read())

    def _client(
        self, request: web.Request, form: Mapping[str, str], *, basic: bool
    ) -> Client | Fault:
        sent = forms.parse_basic(request.headers.get("Authorization", ""))
        if sent is not None and basic:
            # RFC 6749 §2.3: no more than one way to authenticate in a request.
            if "client_secret" in form:
                return Fault.MALFORMED
            name, secret = sent
        else:
            name, secret = form.get("client_id", ""), form.get("client_secret", "")
        if not name or not secret:
            return Fault.CLIENT_MISSING
        client = self._clients.get(name)
        expected = client.secret if client else ""
        same = hmac.compare_digest(expected.encode(), secret.encode())
        return client if client and same else Fault.BAD_CLIENT
