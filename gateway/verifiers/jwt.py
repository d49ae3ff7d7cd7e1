"""Check a JSON Web Token here, by its signature and its own statements. Floor 3.

RFC 7519 and, with `require_typ: at+jwt`, RFC 9068; hardened as RFC 8725 asks. The
key is given in configuration, or fetched as a JWK set (`_keys`).

What is not of JWT form is *not mine*. Whatever is of JWT form and wrong in any way is
*invalid*; a token is never the cause of an exception. Keys that cannot be had are.

All durations are seconds.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Final, Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from gateway.config.fields import ClaimPath, Model, ReadableFile, SecretText
from gateway.config.units import Duration, PositiveDuration, expected
from gateway.errors import ProviderUnavailable
from gateway.ports import ProviderHttp, Question, Verifier, VerifierContext
from gateway.rules import claims, signatures, strict_json
from gateway.rules.claims import ClaimError, Expected, Names
from gateway.rules.endpoints import is_plain, secure_endpoint
from gateway.rules.identities import identity
from gateway.rules.signatures import AlgorithmName, Jws, KeySet, UnusableKey
from gateway.rules.strict_json import Members, UnusableJson
from gateway.values import Finding, Invalid, NotMine, Reason
from gateway.verifiers import Endpoint
from gateway.verifiers._keys import FetchedKeys, GivenKeys, Keys

TOKEN_LIMIT: Final = 8 * 1024
"""Nothing longer is parsed (CVE-2026-48525 and its kin)."""

_DISCOVERY_PATH: Final = "/.well-known/openid-configuration"


class Settings(Model):
    """How to check the JWTs of a provider. Exactly one source of keys is given."""

    algorithms: Annotated[tuple[AlgorithmName, ...], Field(min_length=1)]
    """The signature algorithms that are accepted."""
    key: SecretText | None = None
    """An HMAC secret, or a public key as PEM text."""
    jwks_file: ReadableFile | None = None
    """A JWK set on disk; it may hold HMAC keys (`oct`)."""
    jwks_url: Endpoint | None = None
    """Where the provider publishes its JWK set."""
    discovery: Endpoint | None = None
    """The issuer whose metadata (OpenID Connect Discovery) name the JWK set."""
    issuer: str | None = None
    """What `iss` must be, exactly; with `discovery` that."""
    audience: frozenset[str] = frozenset()
    """One of these must be in `aud`."""
    leeway: Annotated[Duration, Field(le=300)] = 0.0
    """Tolerated difference of clocks; at least the provider's `clock_skew`."""
    refuse_claims: frozenset[str] = frozenset({"ati"})
    """Claims whose presence tells that a token is no access token."""
    require_typ: Literal["at+jwt"] | None = None
    """What the header's `typ` must be (RFC 9068)."""
    subject_claim: ClaimPath = "sub"
    client_claim: ClaimPath = "client_id"
    device_claim: ClaimPath | None = None
    scope_claim: ClaimPath | None = "scope"
    """A list or a space-separated string; null: the tokens do not tell their scope."""
    timeout: Annotated[PositiveDuration, Field(le=30)] = 2.0
    """To fetch keys."""
    refetch_cooldown: Annotated[Duration, Field(ge=1)] = 30.0
    """Between fetches that tokens with unknown keys cause; another one hears 503."""
    jwks_ttl: PositiveDuration = 600.0
    """When fetched keys are fetched again."""
    jwks_max_age: PositiveDuration = 86_400.0
    """How long fetched keys are believed while they cannot be fetched again."""

    _given_keys: KeySet | None = PrivateAttr(default=None)

    @property
    def given_keys(self) -> KeySet | None:
        """The keys that configuration itself holds, if it does."""
        return self._given_keys

    @model_validator(mode="after")
    def _one_source_of_keys(self) -> Self:
        sources = (self.key, self.jwks_file, self.jwks_url, self.discovery)
        if sum(source is not None for source in sources) != 1:
            raise expected("one of key, jwks_file, jwks_url and discovery")
        if self.discovery is not None and self.issuer not in {None, self.discovery}:
            raise expected("issuer to be left out, or to equal discovery")
        published = self.key is None and self.jwks_file is None
        if published and any(name.startswith("HS") for name in self.algorithms):
            raise expected("a key or jwks_file for HS algorithms: they need a secret")
        if self.key is not None and len(self.algorithms) != 1:
            # RFC 8725 §3.1: one algorithm per key.
            raise expected("one algorithm for the one key")
        try:
            self._given_keys = self._read_keys()
        except UnusableKey as error:
            raise expected(str(error)) from None
        return self

    def _read_keys(self) -> KeySet | None:
        if self.key is not None:
            return signatures.one_key(self.key, self.algorithms[0])
        if self.jwks_file is not None:
            document = self.jwks_file.read_bytes()
            return signatures.key_set(document, self.algorithms)
        return None


def knows(settings: Settings) -> frozenset[str]:
    """Tell which facts a token of this provider can state."""
    known = {"client", "expiry", "subject", "issuer", "audience", "claims", "login"}
    if settings.scope_claim is not None:
        known.add("scope")
    if settings.device_claim is not None:
        known.add("device")
    return frozenset(known)


def build(settings: Settings, context: VerifierContext) -> Verifier:
    """Make the verifier of one provider."""
    keys: Keys
    if settings.given_keys is not None:
        keys = GivenKeys(settings.given_keys)
    else:
        keys = FetchedKeys(
            fetcher(settings, context.http),
            context.clock,
            ttl=settings.jwks_ttl,
            max_age=settings.jwks_max_age,
            cooldown=settings.refetch_cooldown,
        )
    return _JwtVerifier(settings, context, keys)


class _JwtVerifier:
    """Keeps the promise `Verifier` for the JWTs of one provider."""

    def __init__(
        self, settings: Settings, context: VerifierContext, keys: Keys
    ) -> None:
        self._context = context
        self._keys = keys
        self._algorithms = frozenset(settings.algorithms)
        self._refused = settings.refuse_claims
        self._type = settings.require_typ
        self._names = Names(
            subject=settings.subject_claim,
            client=settings.client_claim,
            device=settings.device_claim,
            scope=settings.scope_claim,
        )
        self._expected = Expected(
            issuer=settings.discovery or settings.issuer,
            audience=settings.audience,
            leeway=max(settings.leeway, context.clock_skew),
        )
        self._identity = _identity(settings, context)

    def __repr__(self) -> str:
        return f"<Verifier {self._identity}>"

    @property
    def identity(self) -> str:
        """Tell who is asked and how: every setting, and fingerprints of given keys."""
        return self._identity

    @property
    def keys_known(self) -> int:
        """Count the keys in force (`observe.providers.KeyHolder`)."""
        return self._keys.count

    @property
    def keys_fetched_at(self) -> float | None:
        """Tell when (Unix time) they were fetched, if ever they were."""
        return self._keys.fetched_at

    @property
    def local(self) -> bool:
        """Fetching keys asks nothing about a token."""
        return True

    async def verify(self, token: str, now: float) -> Finding:
        """Prove the signature, then judge what the token says of itself."""
        if len(token) > TOKEN_LIMIT:
            return Invalid(Reason.MALFORMED_TOKEN)
        jws = signatures.read(token)
        if jws is None:
            return NotMine()
        if not self._is_acceptable(jws) or not await self._keys.prove(jws):
            return Invalid(Reason.BAD_SIGNATURE)
        return self._judge(jws, now)

    async def proven(self, token: str) -> Jws | None:
        """Give a JWT of another kind that the provider signed, else None.

        Keeps `fronts.logout.Notary`; raises `ProviderUnavailable` without keys.
        """
        jws = signatures.read(token) if len(token) <= TOKEN_LIMIT else None
        if jws is None or not self._is_acceptable(jws):
            return None
        return jws if await self._keys.prove(jws) else None

    def _is_acceptable(self, jws: Jws) -> bool:
        """Look at the header, which only selects: nothing in it is believed yet."""
        header, algorithm = jws.header, jws.header.get("alg")
        # RFC 7515 §4.1.11: we understand no extension, so any that is critical ends
        # it; RFC 7797 §3 would change what is signed.
        return (
            isinstance(algorithm, str)
            and algorithm in self._algorithms
            and isinstance(header.get("kid"), str | None)
            and "crit" not in header
            and "b64" not in header
        )

    def _judge(self, jws: Jws, now: float) -> Finding:
        if self._type is not None and _media_type(jws.header.get("typ")) != self._type:
            return Invalid(Reason.INCONSISTENT)
        try:
            members = jws.claims()
            if not self._refused.isdisjoint(members):
                return self._refresh_token(members)
            if "events" in members:
                # RFC 8417 §4.8: a security event (a logout token) opens no door.
                return Invalid(Reason.INCONSISTENT)
            found = claims.facts(
                self._context.provider,
                members,
                self._names,
                self._context.claims,
                now,
            )
        except (UnusableJson, ClaimError):
            return Invalid(Reason.INCONSISTENT)
        if found.expires_at is None:
            # Nothing else would ever end such a token.
            return Invalid(Reason.INCONSISTENT)
        reason = claims.refusal(found, self._expected, now)
        return found if reason is None else Invalid(reason)

    def _refresh_token(self, members: Members) -> Invalid:
        """Refuse, and tell which access token it renews, and whose."""
        try:
            found = claims.facts(self._context.provider, members, self._names, (), 0.0)
            renews = claims.text(members, "ati")
        except ClaimError:
            # The marker's presence alone refuses; an odd one tells nothing more.
            return Invalid(Reason.REFRESH_TOKEN)
        return Invalid(
            Reason.REFRESH_TOKEN,
            client=found.client,
            renews=renews,
            subject=found.subject,
            session_id=found.session_id,
            issued_at=found.issued_at,
        )


def fetcher(settings: Settings, http: ProviderHttp) -> Callable[[], Awaitable[KeySet]]:
    """Give what fetches the keys that a provider publishes."""

    async def fetch() -> KeySet:
        url = settings.jwks_url
        if url is None:
            url = await _discover(str(settings.discovery), http, settings.timeout)
        body = await _get("jwks", url, http, settings.timeout)
        try:
            return signatures.key_set(body, settings.algorithms)
        except UnusableKey as error:
            msg = "the provider's JWK set is not usable"
            raise ProviderUnavailable(msg) from error

    return fetch


async def _discover(issuer: str, http: ProviderHttp, deadline: float) -> str:
    """OpenID Connect Discovery §4: who answers for the issuer, and in its name."""
    url = issuer.rstrip("/") + _DISCOVERY_PATH
    body = await _get("discovery", url, http, deadline)
    try:
        metadata = strict_json.decode(body)
        if metadata.get("issuer") != issuer:
            msg = "the metadata are another issuer's"
            raise ProviderUnavailable(msg)
        # What was allowed of the issuer is allowed of its keys.
        return secure_endpoint(
            str(metadata.get("jwks_uri")), plain_http=is_plain(issuer)
        )
    except ValueError as error:
        msg = "the provider's metadata are not usable"
        raise ProviderUnavailable(msg) from error


async def _get(endpoint: str, url: str, http: ProviderHttp, deadline: float) -> bytes:
    reply = await http.ask(
        Question(
            endpoint=endpoint,
            url=url,
            headers={"Accept": "application/json"},
            deadline=deadline,
        )
    )
    if reply.status != 200:
        msg = f"the provider's {endpoint} endpoint answered {reply.status}"
        raise ProviderUnavailable(msg)
    return reply.body


def _media_type(value: object) -> object:
    """RFC 7515 §4.1.9: `application/` may be left out, and case does not matter."""
    if not isinstance(value, str):
        return None
    return value.lower().removeprefix("application/")


def _identity(settings: Settings, context: VerifierContext) -> str:
    parts = {
        **settings.model_dump(exclude={"key", "jwks_file", "timeout"}),
        "given": settings.given_keys and settings.given_keys.fingerprint,
        "kept": context.claims,
        "clock_skew": context.clock_skew,
    }
    return identity("jwt", settings.jwks_url or settings.discovery or "local", parts)
