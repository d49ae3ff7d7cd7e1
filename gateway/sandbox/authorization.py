"""The browser's half of an authorization server: ask a person, answer with a code.

Apart from the floors. The consent form is a GET back to the same path with the same
parameters, `decision=allow|deny` and a `scope.NAME=on` for each ticked scope (distinct
names: RFC 6749 §3.1 forbids repeated ones). There is no login: this is a sandbox with
one person, and whoever reaches it may play that person.
"""

import uuid
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

from aiohttp import web

from gateway.ports import Clock
from gateway.sandbox import forms
from gateway.sandbox.ledger import Client, Grant, Ledger
from gateway.sandbox.pages import page
from gateway.sandbox.provider import Fault, Provider, Scope

DENIED: Final = {
    "error": "access_denied",
    "error_description": "User denied access",
}
MAY_BE_EMPTY: Final = frozenset({"state"})


class AuthorizationEndpoint:
    """One provider's authorize path."""

    def __init__(
        self,
        provider: Provider,
        clients: Mapping[str, Client],
        ledger: Ledger,
        clock: Clock,
    ) -> None:
        self._provider = provider
        self._clients = clients
        self._ledger = ledger
        self._clock = clock

    def routes(self) -> list[web.RouteDef]:
        """Give the endpoint's route: GET alone, for HEAD must give no code."""
        path = self._provider.paths["authorize"]
        return [web.get(path, self.authorize, allow_head=False)]

    async def authorize(self, request: web.Request) -> web.Response:
        """Show the consent page, or answer the decision it came back with."""
        parameters = forms.parse(request.rel_url.raw_query_string.encode())
        if parameters is None:
            return self._provider.refuse(Fault.MALFORMED)
        doubt = self._doubt(parameters)
        if doubt is not None:
            return self._provider.refuse(doubt)
        fault = self._fault(parameters)
        if fault is not None:
            return self._report(fault, parameters)
        decision = parameters.get("decision")
        if decision == "allow":
            return self._allow(parameters)
        if decision == "deny":
            return self._redirect(parameters, DENIED)
        return self._ask(request, parameters)

    def _doubt(self, parameters: Mapping[str, str]) -> Fault | None:
        """Find what forbids even a redirect (RFC 6749 §4.1.2.1): whose, and where."""
        if not parameters.get("client_id") or not parameters.get("redirect_uri"):
            return Fault.MALFORMED
        client = self._clients.get(parameters["client_id"])
        if client is None:
            return Fault.CLIENT_NOT_ALLOWED
        if parameters["redirect_uri"] not in client.redirect_uris:
            return Fault.WRONG_REDIRECT_URI
        return None

    def _fault(self, parameters: Mapping[str, str]) -> Fault | None:
        for name in self._provider.required:
            if not parameters.get(name) and not (
                name in MAY_BE_EMPTY and name in parameters
            ):
                return Fault.MALFORMED
        if parameters["response_type"] != "code":
            return Fault.UNKNOWN_RESPONSE_TYPE
        known = {scope.name for scope in self._provider.scopes}
        # A provider without a list of scopes takes any, and grants none.
        if known and not known.issuperset(parameters["scope"].split(" ")):
            return Fault.UNKNOWN_SCOPE
        if self._provider.device and self._provider.device(parameters) is None:
            return Fault.MALFORMED
        return None

    def _report(self, fault: Fault, parameters: Mapping[str, str]) -> web.Response:
        if not self._provider.redirects_faults:
            return self._provider.refuse(fault)
        refusal = self._provider.refusals[fault]
        return self._redirect(
            parameters,
            {"error": refusal.code, "error_description": refusal.description},
        )

    def _ask(self, request: web.Request, parameters: Mapping[str, str]) -> web.Response:
        back = urlsplit(parameters["redirect_uri"])
        return page(
            request,
            "consent.html",
            {
                "provider": self._provider,
                "client": parameters["client_id"],
                "back": f"{back.scheme}://{back.netloc}",
                "scopes": self._asked(parameters),
                "device": self._device(parameters),
                "fields": {
                    name: value
                    for name, value in parameters.items()
                    if name != "decision" and not name.startswith("scope.")
                },
            },
            # Browsers hold the redirect that answers a form to `form-action` too.
            form_targets=f"'self' {back.scheme}://{back.netloc}",
        )

    def _allow(self, parameters: Mapping[str, str]) -> web.Response:
        asked = self._asked(parameters)
        granted = tuple(
            scope.name
            for scope in asked
            if scope.fixed or f"scope.{scope.name}" in parameters
        )
        if asked and not granted:
            return self._redirect(parameters, DENIED)
        grant = Grant(
            id=uuid.uuid4().hex,
            client=parameters["client_id"],
            redirect_uri=parameters["redirect_uri"],
            scopes=granted,
            device=self._device(parameters),
        )
        code = self._ledger.open(grant, self._clock.now())
        return self._redirect(parameters, {"code": code})

    def _asked(self, parameters: Mapping[str, str]) -> list[Scope]:
        names = parameters["scope"].split(" ")
        return [scope for scope in self._provider.scopes if scope.name in names]

    def _device(self, parameters: Mapping[str, str]) -> str | None:
        return self._provider.device(parameters) if self._provider.device else None

    def _redirect(
        self, parameters: Mapping[str, str], answer: Mapping[str, str]
    ) -> web.Response:
        uri = parameters["redirect_uri"]
        state = {"state": parameters["state"]} if "state" in parameters else {}
        mark = "&" if "?" in uri else self._provider.query_mark
        # The samples write a space as %20, not as +.
        query = urlencode({**answer, **state}, quote_via=quote, safe="")
        return web.Response(
            status=302,
            headers={
                "Location": f"{uri}{mark}{query}",
                "Cache-Control": "no-store",
                "Referrer-Policy": "no-referrer",
            },
        )
