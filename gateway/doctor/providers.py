"""Ask each provider as the gateway would, about a token that nobody made. Floor 5.

What is looked for: whether it can be reached, whether it accepts our credentials,
whether it says no to an invented token (one that says yes would let everybody in),
whether its keys can be had, and whether its clock is ours. With a token that is known
to be good, also the trap that some servers lay: they call a good token inactive when
the client that asks is the one it was made for, or is not in its audience.
"""

import secrets
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from typing import Any, Final

import gateway.verifiers
from gateway.config.model import Provider
from gateway.doctor.finding import BAD, GOOD, NOTE, WARN, Finding, advice, shown
from gateway.errors import GatewayError, ProviderUnavailable
from gateway.plugins import plugins
from gateway.ports import (
    Clock,
    GrantReader,
    ProviderHttp,
    Question,
    Reply,
    Verifier,
    VerifierContext,
)
from gateway.provider_http import ProviderClient
from gateway.rules import signatures, strict_json
from gateway.values import Invalid, NotMine, Reason, Secret, TokenFacts
from gateway.verifiers import jwt

SKEW_SEEN: Final = 5.0
"""Seconds: a Date is cut to the second, and an answer takes its time."""
SKEW_BAD: Final = 60.0

_KEYCLOAK: Final = "/protocol/openid-connect/token/introspect"


class Witness:
    """Keeps `ports.ProviderHttp`, and remembers what was answered and how fast.

    Also keeps `ports.ProviderEvents`, to know how there came to be no answer.
    """

    def __init__(self, clock: Clock) -> None:
        self.http: ProviderHttp | None = None
        self.code = ""
        self.seconds = 0.0
        self.skew: float | None = None
        self._clock = clock

    async def ask(self, question: Question) -> Reply:
        """Ask, and look at the answer's date."""
        if self.http is None:
            raise ProviderUnavailable("nobody is there to be asked")
        reply = await self.http.ask(question)
        # A date that a cache in between has kept is old for a good reason.
        if "age" not in reply.headers:
            self.skew = _skew(reply.headers.get("date", ""), self._clock.now())
        return reply

    def provider_request(
        self, provider: str, endpoint: str, code: str, seconds: float
    ) -> None:
        """Take note of one try."""
        self.code, self.seconds = code, seconds


async def examine(
    name: str,
    provider: Provider,
    *,
    grants: GrantReader,
    clock: Clock,
    token: Secret | None = None,
) -> list[Finding]:
    """Look at one provider; `token` is one that is known to be good."""
    witness = Witness(clock)
    async with ProviderClient(
        name,
        ca_file=str(provider.ca_file) if provider.ca_file else None,
        events=witness,
    ) as client:
        witness.http = client
        context = VerifierContext(
            provider=name,
            http=witness,
            clock=clock,
            grants=grants,
            clock_skew=provider.clock_skew,
        )
        found: list[Finding] = []
        for kind in provider.verify:
            check = _Check(name, kind, provider.settings(kind), context, witness)
            found += await check.findings(token)
        if witness.skew is not None:
            found.append(_of_the_clock(f"provider {name}: clock", witness.skew))
        return found


class _Check:
    """One way to learn a token's facts."""

    def __init__(
        self,
        name: str,
        kind: str,
        settings: Any,
        context: VerifierContext,
        witness: Witness,
    ) -> None:
        self._about = f"provider {name}: {kind}"
        self._kind = kind
        self._settings = settings
        self._context = context
        self._witness = witness

    async def findings(self, token: Secret | None) -> list[Finding]:
        """Ask, and say what came of it."""
        match self._kind:
            case "jwt":
                return [await self._keys()]
            case "learned":
                told = "is learned from token answers that pass; nobody is asked"
                return [Finding(NOTE, self._about, told)]
            case _:
                return [finding async for finding in self._questions(token)]

    async def _questions(self, token: Secret | None) -> AsyncIterator[Finding]:
        verifier: Verifier = plugins(gateway.verifiers)[self._kind].build(
            self._settings, self._context
        )
        invented = f"doctor-{secrets.token_urlsafe(24)}"
        finding = await self._asked(verifier, invented)
        yield finding
        if finding.level != GOOD or self._kind != "introspection":
            return
        if token is not None:
            yield await self._good_token(verifier, token)
        elif _KEYCLOAK in self._settings.url:
            yield Finding(
                NOTE,
                self._about,
                "Keycloak calls a good token inactive when the client that asks is not"
                " in its audience, or is the one it was made for",
                "Give one that is good with --token-file, and it is tried.",
            )

    async def _asked(self, verifier: Verifier, invented: str) -> Finding:
        where = shown(self._settings.url)
        try:
            answer = await verifier.verify(invented, self._context.clock.now())
        except GatewayError as error:
            return self._unanswered(where, error)
        took = f"{self._witness.seconds * 1000:.0f} ms"
        match answer:
            case Invalid():
                accepted = (
                    ", and accepts our credentials"
                    if self._kind == "introspection"
                    else ""
                )
                told = f"{where} answers in {took}{accepted}"
                return Finding(GOOD, self._about, told)
            case NotMine():
                told = f"{where} was not asked about a token of this form"
                return Finding(NOTE, self._about, told)
            case TokenFacts():
                return Finding(
                    BAD,
                    self._about,
                    f"{where} says that an invented token is good",
                    "Whoever invents one is let in. Is this the endpoint of a test?",
                )

    def _unanswered(self, where: str, error: GatewayError) -> Finding:
        code = self._witness.code
        if code in ("401", "403") and self._kind == "introspection":
            return Finding(
                BAD,
                self._about,
                f"{where} does not accept our credentials ({code})",
                "Check `client_id`, `client_secret` and `auth` (basic, post or bearer):"
                " may this client introspect?",
            )
        todo = advice(code)
        if code[:1] == "4" and self._kind == "userinfo":
            todo = "`invalid_when` does not know this answer to an invalid token."
        if code == "200":
            todo = "It is no answer of this kind of endpoint: is the URL right?"
        return Finding(BAD, self._about, f"{where}: {error}", todo)

    async def _good_token(self, verifier: Verifier, token: Secret) -> Finding:
        now = self._context.clock.now()
        try:
            answer = await verifier.verify(token, now)
        except GatewayError as error:
            return self._unanswered(shown(self._settings.url), error)
        if isinstance(answer, TokenFacts):
            return Finding(GOOD, self._about, "the token that was given is active")
        if not isinstance(answer, Invalid) or answer.reason is not Reason.INACTIVE:
            why = answer.reason.value if isinstance(answer, Invalid) else "not its kind"
            return Finding(WARN, self._about, f"the token that was given is {why}")
        return _trap(self._about, self._settings.client_id, token, now)

    async def _keys(self) -> Finding:
        settings: jwt.Settings = self._settings
        given = settings.given_keys
        if given is not None:
            told = f"{_counted(len(given.keys))} in the configuration; nobody is asked"
            return Finding(GOOD, self._about, told)
        where = shown(settings.jwks_url or str(settings.discovery))
        try:
            keys = await jwt.fetcher(settings, self._witness)()
        except GatewayError as error:
            todo = advice(self._witness.code)
            if self._witness.code == "200":
                todo = (
                    "Is it the right URL, does the issuer name itself exactly so, and"
                    f" has it a key for {', '.join(settings.algorithms)}?"
                )
            return Finding(BAD, self._about, f"{where}: {error}", todo)
        return Finding(
            GOOD, self._about, f"{where} publishes {_counted(len(keys.keys))}"
        )


def _counted(keys: int) -> str:
    return f"{keys} key{'s' * (keys != 1)}"


def _trap(about: str, client: str, token: Secret, now: float) -> Finding:
    """Tell why a provider may call a token inactive that its own claims call good."""
    members = _claims(token)
    ends = members.get("exp")
    if isinstance(ends, int | float) and ends <= now:
        return Finding(WARN, about, "the token that was given is inactive: it expired")
    audience = members.get("aud", [])
    named = audience if isinstance(audience, list) else [audience]
    if client and client in (members.get("azp"), members.get("client_id")):
        return Finding(
            BAD,
            about,
            "the token that was given is called inactive, and was made for the very"
            " client that asks",
            "Some servers (Keycloak) do so: introspect with a client of its own.",
        )
    if members and client and client not in named:
        return Finding(
            BAD,
            about,
            "the token that was given is called inactive, and the client that asks is"
            " not in its audience",
            f"Have the provider put {client} into `aud` of its tokens.",
        )
    return Finding(
        WARN,
        about,
        "the token that was given is called inactive",
        "Is it still good, and of this provider?",
    )


def _claims(token: Secret) -> dict[str, Any]:
    """Read what a JWT says of itself; nothing is proven, and none is no failure."""
    jws = signatures.read(token)
    try:
        return {} if jws is None else dict(jws.claims())
    except strict_json.UnusableJson:
        return {}


def _skew(date: str, now: float) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp() - now
    except (TypeError, ValueError):
        return None


def _of_the_clock(about: str, skew: float) -> Finding:
    if abs(skew) <= SKEW_SEEN:
        return Finding(GOOD, about, "is ours, within a few seconds")
    way = "ahead of" if skew > 0 else "behind"
    return Finding(
        BAD if abs(skew) > SKEW_BAD else WARN,
        about,
        f"is {abs(skew):.0f} s {way} ours",
        "Expiry is judged by our clock: set both by NTP, or `clock_skew`.",
    )
