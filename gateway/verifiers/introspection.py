"""Ask the provider what a token is: RFC 7662. Floor 3.

`active` is a JSON boolean or there was no answer (§2.2); what the answer says of
`exp`, `nbf`, `iss` and `aud` is judged as well, since providers have said *active* of
expired tokens. A refusal of our own credentials is our misconfiguration, never the
client's fault (§2.3). So `invalid` is said of a token only where the provider said it;
every doubt is `ProviderUnavailable`.

Some servers call refresh tokens *active* too. Those that say so are understood; one
that tells them only by leaving `token_type` out (oidc-provider) needs
`require_token_type: Bearer`.

An absent `scope` is a scope that grants nothing (servers leave out an empty one): put
`learned` before this verifier where the token answer knows better.

All durations are seconds.
"""

from base64 import b64encode
from typing import Annotated, Final, Literal, Self
from urllib.parse import quote_plus

from pydantic import Field, model_validator

from gateway.config.fields import ClaimPath, Model, SecretText
from gateway.config.units import PositiveDuration, expected
from gateway.errors import ProviderUnavailable
from gateway.ports import Question, Verifier, VerifierContext
from gateway.rules import claims, strict_json
from gateway.rules.claims import ClaimError, Expected, Names
from gateway.rules.identities import identity
from gateway.rules.strict_json import Members, UnusableJson
from gateway.values import Finding, Invalid, Reason
from gateway.verifiers import Endpoint

_KIND_MEMBERS: Final = ("token_type", "token_use", "typ")
_REFRESH_KINDS: Final = frozenset({"refresh_token", "refresh", "offline"})
"""How servers say that a token is a refresh token: RFC 7662, Hydra, Keycloak."""


class Settings(Model):
    """Where to ask, and who we are there."""

    url: Endpoint
    """The introspection endpoint."""
    auth: Literal["basic", "post", "bearer"] = "basic"
    """How we show who we are: client credentials in a header or form, or a token."""
    client_id: str = ""
    client_secret: SecretText | None = None
    bearer_token: SecretText | None = None
    token_type_hint: Literal["access_token"] | None = "access_token"
    """null: send none, for a server that knows no hints."""
    require_token_type: Literal["Bearer"] | None = None
    """What `token_type` must be, for a server that tells refresh tokens by it alone."""
    issuer: str | None = None
    """What `iss` must be, exactly."""
    audience: frozenset[str] = frozenset()
    """One of these must be in `aud`."""
    subject_claim: ClaimPath = "sub"
    device_claim: ClaimPath | None = None
    timeout: Annotated[PositiveDuration, Field(le=30)] = 2.0

    @model_validator(mode="after")
    def _credentials_fit(self) -> Self:
        as_client = bool(self.client_id) and self.client_secret is not None
        as_bearer = self.bearer_token is not None
        if self.auth == "bearer":
            if self.client_id or self.client_secret or not as_bearer:
                raise expected("bearer_token, and no client credentials")
        elif as_bearer or not as_client:
            raise expected("client_id and client_secret, and no bearer_token")
        return self


def knows(settings: Settings) -> frozenset[str]:
    """Tell which facts an introspection answer can state."""
    known = {"scope", "client", "expiry", "subject", "issuer", "audience", "claims"}
    known.add("login")  # RFC 9470 §6.2
    if settings.device_claim is not None:
        known.add("device")
    return frozenset(known)


def build(settings: Settings, context: VerifierContext) -> Verifier:
    """Make the verifier of one provider."""
    return _IntrospectionVerifier(settings, context)


class _IntrospectionVerifier:
    """Keeps the promise `Verifier` by asking RFC 7662."""

    def __init__(self, settings: Settings, context: VerifierContext) -> None:
        self._settings = settings
        self._context = context
        self._headers, self._form = _credentials(settings)
        self._names = Names(
            subject=settings.subject_claim, device=settings.device_claim
        )
        self._expected = Expected(
            issuer=settings.issuer,
            audience=settings.audience,
            leeway=context.clock_skew,
        )
        self._identity = identity(
            "introspection",
            settings.url,
            {
                **settings.model_dump(exclude={"timeout"}),
                "kept": context.claims,
                "clock_skew": context.clock_skew,
            },
        )

    def __repr__(self) -> str:
        return f"<Verifier {self._identity}>"

    @property
    def identity(self) -> str:
        """Tell who is asked and how."""
        return self._identity

    @property
    def local(self) -> bool:
        """Every answer is the provider's."""
        return False

    async def verify(self, token: str, now: float) -> Finding:
        """Ask, and judge the answer's own statements too."""
        reply = await self._context.http.ask(
            Question(
                endpoint="introspect",
                url=self._settings.url,
                method="POST",
                headers=self._headers,
                form={"token": token, **self._form},
                deadline=self._settings.timeout,
            )
        )
        if reply.status in {401, 403}:
            raise self._unavailable("refuses our credentials")
        if reply.status != 200:
            raise self._unavailable(f"answered {reply.status}")
        try:
            return self._judge(strict_json.decode(reply.body), now)
        except (UnusableJson, ClaimError) as error:
            raise self._unavailable(f"gave no usable answer ({error})") from error

    def _judge(self, members: Members, now: float) -> Finding:
        active = members.get("active")
        if active is False:
            return Invalid(Reason.INACTIVE)
        if active is not True:
            msg = "active: expected a boolean"
            raise ClaimError(msg)
        if not self._is_access_token(members):
            return Invalid(Reason.REFRESH_TOKEN)
        provider, kept = self._context.provider, self._context.claims
        found = claims.facts(provider, members, self._names, kept, now)
        reason = claims.refusal(found, self._expected, now)
        return found if reason is None else Invalid(reason)

    def _is_access_token(self, members: Members) -> bool:
        kinds = [(claims.text(members, name) or "").lower() for name in _KIND_MEMBERS]
        required = self._settings.require_token_type
        return _REFRESH_KINDS.isdisjoint(kinds) and (
            required is None or kinds[0] == required.lower()
        )

    def _unavailable(self, told: str) -> ProviderUnavailable:
        return ProviderUnavailable(
            f"{self._context.provider}: the introspection endpoint {told}"
        )


def _credentials(settings: Settings) -> tuple[dict[str, str], dict[str, str]]:
    """Give the headers and form fields that every question carries."""
    headers, form = {"Accept": "application/json"}, dict[str, str]()
    if settings.token_type_hint is not None:
        form["token_type_hint"] = settings.token_type_hint
    name, secret = settings.client_id, settings.client_secret or ""
    if settings.auth == "post":
        form |= {"client_id": name, "client_secret": secret}
    elif settings.auth == "bearer":
        headers["Authorization"] = f"Bearer {settings.bearer_token}"
    else:
        # RFC 6749 §2.3.1: each is form-urlencoded before they are joined.
        pair = f"{quote_plus(name)}:{quote_plus(secret)}"
        headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
    return headers, form
