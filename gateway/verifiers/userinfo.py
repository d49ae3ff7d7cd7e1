"""Ask the provider who a token speaks for: OpenID Connect Core §5.3. Floor 3.

For a provider without introspection this is the validity check. It tells the subject
and nothing of scope, client or expiry; `learned` may know those.

What the endpoint answers to a bad token differs, so configuration says which answers
are a verdict (`invalid_when`: a preset's name, or a list of signs). Everything else is
`ProviderUnavailable`: also a 200 without `sub`, which OIDC §5.3.2 makes mandatory;
such an answer says neither yes nor no, and a *no* would make clients throw away good
tokens. A sign that the token is good but lacks the scope to call this endpoint (RFC
6750 §3.1) is a verdict as well, `insufficient_scope`: no facts of such a token can
be had here, on any route.

All durations are seconds.
"""

import re
from typing import Annotated, Final, Literal

from pydantic import Field

from gateway.config.fields import ClaimPath, Model
from gateway.config.units import PositiveDuration
from gateway.errors import ProviderUnavailable
from gateway.ports import Question, Reply, Verifier, VerifierContext
from gateway.rules import claims, strict_json
from gateway.rules.claims import ClaimError
from gateway.rules.identities import identity
from gateway.rules.strict_json import UnusableJson
from gateway.values import Finding, Invalid, Reason, TokenFacts
from gateway.verifiers import Endpoint

_LACKS_SCOPE: Final = re.compile(r'\berror="?insufficient_scope\b', re.IGNORECASE)


class BodySign(Model):
    """A member of an answer."""

    path: ClaimPath
    """Where it stands, such as `error.code`."""
    equals: str
    """The text or whole number it is."""


class Sign(Model):
    """An answer that is a verdict: this status and, if given, this member."""

    status: Annotated[int, Field(ge=400, le=499)]
    body: BodySign | None = None
    means: Literal["invalid_token", "insufficient_scope"] = "invalid_token"
    """What it says of the token."""


_PRESETS: Final[dict[str, tuple[Sign, ...]]] = {
    "rfc6750": (Sign(status=401),),
    # Every error of this provider is a 400.
    "ottm": (
        Sign(status=401),
        Sign(status=400, body=BodySign(path="error.code", equals="10075")),
        Sign(
            status=400,
            body=BodySign(path="error.code", equals="10074"),
            means="insufficient_scope",
        ),
    ),
}

_MEANINGS: Final = {
    "invalid_token": Reason.INACTIVE,
    "insufficient_scope": Reason.INSUFFICIENT_SCOPE,
}


class Settings(Model):
    """Where to ask, and which answers are a verdict."""

    url: Endpoint
    """The userinfo endpoint."""
    invalid_when: (
        Literal["rfc6750", "ottm"] | Annotated[tuple[Sign, ...], Field(min_length=1)]
    ) = "rfc6750"
    """A preset, or a list of answers; every other answer is an outage."""
    timeout: Annotated[PositiveDuration, Field(le=30)] = 2.0


def knows(_settings: Settings) -> frozenset[str]:
    """Tell which facts a userinfo answer can state."""
    return frozenset({"subject", "claims"})


def build(settings: Settings, context: VerifierContext) -> Verifier:
    """Make the verifier of one provider."""
    return _UserinfoVerifier(settings, context)


class _UserinfoVerifier:
    """Keeps the promise `Verifier` by asking the userinfo endpoint."""

    def __init__(self, settings: Settings, context: VerifierContext) -> None:
        self._settings = settings
        self._context = context
        signs = settings.invalid_when
        self._signs = _PRESETS[signs] if isinstance(signs, str) else signs
        self._identity = identity(
            "userinfo",
            settings.url,
            {**settings.model_dump(exclude={"timeout"}), "kept": context.claims},
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
        """Ask with the token itself; a 200 with a subject confirms it."""
        reply = await self._context.http.ask(
            Question(
                endpoint="userinfo",
                url=self._settings.url,
                headers={
                    "Accept": "application/json",
                    "Authorization": f"Bearer {token}",
                },
                deadline=self._settings.timeout,
            )
        )
        if reply.status == 200:
            return self._facts(reply.body, now)
        return Invalid(self._verdict(reply))

    def _facts(self, body: bytes, now: float) -> TokenFacts:
        try:
            members = strict_json.decode(body)
            subject = claims.text(members, "sub")
        except (UnusableJson, ClaimError) as error:
            raise self._unavailable(f"gave no usable answer ({error})") from error
        if subject is None:
            raise self._unavailable("named no subject")
        return TokenFacts(
            provider=self._context.provider,
            subject=subject,
            claims=claims.chosen(members, self._context.claims),
            learned_at=now,
        )

    def _verdict(self, reply: Reply) -> Reason:
        for sign in self._signs:
            if _shows(reply, sign):
                return _MEANINGS[sign.means]
        challenge = reply.headers.get("www-authenticate", "")
        if 400 <= reply.status < 500 and _LACKS_SCOPE.search(challenge):
            return Reason.INSUFFICIENT_SCOPE
        raise self._unavailable(f"answered {reply.status}")

    def _unavailable(self, told: str) -> ProviderUnavailable:
        return ProviderUnavailable(
            f"{self._context.provider}: the userinfo endpoint {told}"
        )


def _shows(reply: Reply, sign: Sign) -> bool:
    if reply.status != sign.status:
        return False
    if sign.body is None:
        return True
    try:
        members = strict_json.decode(reply.body)
    except UnusableJson:
        return False
    value = claims.lookup(members, sign.body.path)
    return isinstance(value, str | int) and str(value) == sign.body.equals
