"""Guard the form of OAuth requests before a provider sees them. Floor 2: pure.

The authorize, token and revocation endpoints may be routed through the gateway. A guard
reads such a request strictly and answers what it learned, or the `Reason` to refuse it;
what is passed on is the request as it came, never what was read here. So the reading is
one that no provider can see differently: every parameter once, form-encoded UTF-8,
nothing in the URI of a token request.

What a form requires is a table, one row per provider dialect; a dialect without a row
has the RFC's. A userinfo request needs no guard: it has a token and no form.
"""

import binascii
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

import msgspec

from gateway.rules import strict_json
from gateway.values import Guard, Reason, RequestHead, RouteKind, Secret

METHODS: Final[Mapping[RouteKind, tuple[str, ...]]] = {
    RouteKind.OAUTH_AUTHORIZE: ("GET", "HEAD"),
    RouteKind.OAUTH_TOKEN: ("POST",),
    RouteKind.OAUTH_REVOKE: ("POST",),
    RouteKind.BACKCHANNEL_LOGOUT: ("POST",),
    RouteKind.PROTECTED_RESOURCE: ("GET", "HEAD"),
}
"""The methods a guarded endpoint takes: what a 405's `Allow` says."""

_FORM_TYPE: Final = re.compile(
    rb"application/x-www-form-urlencoded"
    rb'[ \t]*(?:;[ \t]*charset=(?:utf-8|"utf-8")[ \t]*)?',
    re.IGNORECASE,
)
_BAD_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
# RFC 6749 §3.3
_SCOPE: Final = re.compile(r"[!#-\[\]-~]+(?: [!#-\[\]-~]+)*")
# RFC 3986 §4.3: a scheme and URI characters, no fragment (RFC 6749 §3.1.2).
_ABSOLUTE_URI: Final = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]*:(?:[!$&-;=?-Z_a-z~\[\]]|%[0-9A-Fa-f]{2})+"
)
_LONGEST: Final = 2.0**53
"""Seconds; above it a float cannot count them any more."""


class AuthorizeRequest(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A well-formed authorization request.

    `slash_joined_scope` tells that its scopes are joined by `/`, as melon's guide
    shows by a slip: it is passed on, and counted.
    """

    client_id: str
    slash_joined_scope: bool


class TokenRequest(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A well-formed token request; `refresh_token` only where it is the grant."""

    grant_type: str
    client_id: str | None
    refresh_token: Secret | None


class RevocationRequest(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A well-formed revocation request (RFC 7009 §2.1).

    `authenticated` tells that client credentials were *sent* in a way that this
    provider reads; whether they are right is the provider's answer.
    """

    token: Secret
    hint: str | None
    client_id: str | None
    authenticated: bool


class TokenAnswer(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a token answer teaches; `scopes` is None when it tells no `scope`."""

    access_token: Secret
    scopes: frozenset[str] | None
    expires_in: float
    refresh_token: Secret | None = None


class _Form(NamedTuple):
    """One provider's form: which parameters each request must have.

    `present` parameters may be empty, all others have a value. `basic` tells that
    client credentials may come as HTTP Basic, `secret` that they are demanded: else
    it is enough to name the client.
    """

    authorize: tuple[str, ...] = ("client_id", "redirect_uri", "response_type", "scope")
    present: tuple[str, ...] = ()
    device_data: bool = False
    grants: Mapping[str, tuple[str, ...]] = MappingProxyType(
        {
            "authorization_code": ("code", "redirect_uri"),
            "refresh_token": ("refresh_token",),
        }
    )
    credentials: tuple[str, ...] = ("client_secret",)
    basic: bool = False
    secret: bool = True


_STANDARD: Final = _Form(
    # RFC 6749 §4.1.1 and §4.1.3: redirect_uri and scope may be left out; §3.2.1: a
    # public client has no secret; RFC 7521 §4.2: an assertion is one.
    authorize=("client_id", "response_type"),
    grants={
        "authorization_code": ("code",),
        "refresh_token": ("refresh_token",),
        "client_credentials": (),
    },
    credentials=("client_secret", "client_assertion"),
    basic=True,
    secret=False,
)
_FORMS: Final[Mapping[str, _Form]] = {
    "melon": _Form(basic=True),
    "nugu": _Form(present=("data", "state"), device_data=True),
    "ottm": _Form(),
}


class _Client(msgspec.Struct, frozen=True, gc=False):
    """Who says to be asking, and whether credentials came with it."""

    name: str | None
    authenticated: bool


_Fields = Mapping[str, str]


# ------------------------------------------------------------------- the guards


def read_authorize(head: RequestHead, guard: Guard) -> AuthorizeRequest | Reason:
    """Read an authorization request, or tell why it is refused."""
    if refusal := _approach(head, guard, RouteKind.OAUTH_AUTHORIZE):
        return refusal
    fields = _parse(head.target.query or b"")
    if fields is None:
        return Reason.INVALID_FORM
    form = _FORMS.get(guard.form, _STANDARD)
    if refusal := _judge_authorize(fields, form):
        return refusal
    scope = fields.get("scope", "")
    known = not scope or _is_known(scope, guard.scopes)
    # melon's guide joins scopes by `/`, a slip that the provider itself may judge.
    if not known and not _is_known(scope.replace("/", " "), guard.scopes):
        return Reason.UNKNOWN_SCOPE
    return AuthorizeRequest(client_id=fields["client_id"], slash_joined_scope=not known)


def read_token(head: RequestHead, guard: Guard, body: bytes) -> TokenRequest | Reason:
    """Read a token request, or tell why it is refused."""
    fields = _read_post(head, guard, body, RouteKind.OAUTH_TOKEN)
    if isinstance(fields, Reason):
        return fields
    form = _FORMS.get(guard.form, _STANDARD)
    client = _read_client(head, fields, form)
    if isinstance(client, Reason):
        return client
    if not _is_identified(client, form):
        return Reason.CLIENT_CREDENTIALS_MISSING
    if refusal := _judge_grant(fields, form):
        return refusal
    refreshing = fields["grant_type"] == "refresh_token"
    return TokenRequest(
        grant_type=fields["grant_type"],
        client_id=client.name,
        refresh_token=Secret(fields["refresh_token"]) if refreshing else None,
    )


def read_revocation(
    head: RequestHead, guard: Guard, body: bytes
) -> RevocationRequest | Reason:
    """Read a revocation request, or tell why it is refused."""
    fields = _read_post(head, guard, body, RouteKind.OAUTH_REVOKE)
    if isinstance(fields, Reason):
        return fields
    client = _read_client(head, fields, _FORMS.get(guard.form, _STANDARD))
    if isinstance(client, Reason):
        return client
    if not _has(fields, ("token",)):
        return Reason.INVALID_FORM
    return RevocationRequest(
        token=Secret(fields["token"]),
        hint=fields.get("token_type_hint") or None,
        client_id=client.name,
        authenticated=client.authenticated,
    )


def read_logout(head: RequestHead, guard: Guard, body: bytes) -> Secret | Reason:
    """Read a logout request (OpenID Connect Back-Channel Logout §2.5).

    Parameters beside `logout_token` mean nothing.
    """
    fields = _read_post(head, guard, body, RouteKind.BACKCHANNEL_LOGOUT)
    if isinstance(fields, Reason):
        return fields
    token = fields.get("logout_token")
    return Secret(token) if token else Reason.INVALID_FORM


def read_token_answer(answer: Mapping[str, object]) -> TokenAnswer | None:
    """Read a decoded token answer (RFC 6749 §5.1); None means it teaches nothing."""
    token, kind = answer.get("access_token"), answer.get("token_type")
    scope, expires_in = answer.get("scope"), answer.get("expires_in")
    renewal = answer.get("refresh_token")
    if not isinstance(token, str) or not token:
        return None
    if not isinstance(kind, str) or kind.lower() != "bearer":
        return None
    if not isinstance(scope, str | None):
        return None
    # A bool is an int to Python; not to a provider.
    if isinstance(expires_in, bool) or not isinstance(expires_in, int | float):
        return None
    if not 0 < expires_in <= _LONGEST:
        return None
    return TokenAnswer(
        access_token=Secret(token),
        scopes=None if scope is None else frozenset(scope.split(" ")) - {""},
        expires_in=float(expires_in),
        refresh_token=Secret(renewal) if isinstance(renewal, str) and renewal else None,
    )


# ------------------------------------------------------------------ their parts


def _approach(head: RequestHead, guard: Guard, kind: RouteKind) -> Reason | None:
    if head.method not in METHODS[kind]:
        return Reason.METHOD_NOT_ALLOWED
    if guard.https_only and head.scheme != "https":
        return Reason.HTTPS_REQUIRED
    return None


def _read_post(
    head: RequestHead, guard: Guard, body: bytes, kind: RouteKind
) -> _Fields | Reason:
    if refusal := _approach(head, guard, kind):
        return refusal
    types = head.values(b"content-type")
    if len(types) != 1 or not _FORM_TYPE.fullmatch(types[0]):
        return Reason.INVALID_FORM
    # A coded body would be one form to us and another to who decodes it.
    if head.values(b"content-encoding"):
        return Reason.INVALID_FORM
    # RFC 6749 §2.3.1: credentials must not be in the URI; and a provider that
    # merges query and body would see other parameters than we do.
    if _parse(head.target.query or b"") != {}:
        return Reason.INVALID_FORM
    fields = _parse(body)
    return Reason.INVALID_FORM if fields is None else fields


def _judge_authorize(fields: _Fields, form: _Form) -> Reason | None:
    if not _has(fields, form.authorize):
        return Reason.INVALID_FORM
    if not fields.keys() >= set(form.present):
        return Reason.INVALID_FORM
    redirect_uri = fields.get("redirect_uri")
    if redirect_uri and not _ABSOLUTE_URI.fullmatch(redirect_uri):
        return Reason.INVALID_FORM
    if form.device_data and not _names_device(fields["data"]):
        return Reason.INVALID_FORM
    if fields["response_type"] != "code":
        return Reason.UNSUPPORTED_RESPONSE_TYPE
    return None


def _judge_grant(fields: _Fields, form: _Form) -> Reason | None:
    if not _has(fields, ("grant_type",)):
        return Reason.INVALID_FORM
    required = form.grants.get(fields["grant_type"])
    if required is None:
        return Reason.UNSUPPORTED_GRANT_TYPE
    return None if _has(fields, required) else Reason.INVALID_FORM


def _names_device(data: str) -> bool:
    """Tell whether `data` is nugu's JSON with the unique device key."""
    try:
        members = strict_json.decode(data.encode())
    except strict_json.UnusableJson:
        return False
    serial = members.get("deviceSerialNumber")
    return isinstance(serial, str) and serial != ""


def _is_known(scope: str, known: frozenset[str]) -> bool:
    """Tell whether a scope list is well formed, and of listed scopes if any are."""
    if not _SCOPE.fullmatch(scope):
        return False
    return not known or known.issuperset(scope.split(" "))


def _read_client(head: RequestHead, fields: _Fields, form: _Form) -> _Client | Reason:
    name = fields.get("client_id") or None
    secrets = [key for key in form.credentials if fields.get(key)]
    authorization = head.values(b"authorization")
    basic = [value for value in authorization if _is_basic(value)]
    # RFC 6749 §2.3: one method of client authentication in a request.
    if len(authorization) > 1 or len(secrets) + len(basic) > 1:
        return Reason.INVALID_FORM
    if not basic or not form.basic:
        return _Client(name, bool(secrets))
    login = _parse_basic(basic[0])
    if login is None:
        return Reason.CLIENT_CREDENTIALS_MISSING
    if name not in (None, login.name):
        return Reason.INVALID_FORM
    return login


def _is_identified(client: _Client, form: _Form) -> bool:
    if form.secret:
        return client.authenticated and client.name is not None
    return client.authenticated or client.name is not None


def _is_basic(value: bytes) -> bool:
    return value.lower().split()[:1] == [b"basic"]


def _parse_basic(value: bytes) -> _Client | None:
    """Read HTTP Basic; the client's name was form-encoded (RFC 6749 §2.3.1)."""
    try:
        user_pass = binascii.a2b_base64(value[5:].strip(), strict_mode=True)
        user, colon, password = user_pass.partition(b":")
        name = _decode(user)
    except ValueError:
        return None
    return _Client(name, bool(password)) if name and colon else None


def _parse(encoded: bytes) -> _Fields | None:
    """Read form-encoded parameters; None when one is repeated or malformed.

    Empty pairs are passed over: ottm's samples begin their query with `?&`.
    """
    fields: dict[str, str] = {}
    for pair in filter(None, encoded.split(b"&")):
        key, _, value = pair.partition(b"=")
        try:
            name, text = _decode(key), _decode(value)
        except ValueError:
            return None
        if name in fields:
            return None
        fields[name] = text
    return fields


def _decode(text: bytes) -> str:
    if _BAD_ESCAPE.search(text):
        raise ValueError
    return unquote_to_bytes(text.replace(b"+", b" ")).decode("utf-8")


def _has(fields: _Fields, names: tuple[str, ...]) -> bool:
    """Tell whether all have a value: without one, RFC 6749 §3.1 counts it omitted."""
    return all(fields.get(name) for name in names)
