"""ottm: membership for game partners. Opaque tokens; every error is a 400.

Apart from the floors. Five codes must do for everything that can go wrong, so several
faults share one: the message says which.
"""

import json
import secrets
from types import MappingProxyType
from typing import Any, Final

from gateway.sandbox.keys import SandboxKeys, sign_rs256
from gateway.sandbox.provider import Fault, Order, Provider, Refusal, Scope

SUBJECT: Final = "e68a06bf9f2d4496882877cbecad27eb"
NICKNAME: Final = "test"
EXPIRES_IN: Final = 3599

INVALID_REQUEST: Final = Refusal(400, "10051", "Invalid request")
INVALID_SCOPE: Final = Refusal(400, "10071", "Invalid oauth2 scope")
INSUFFICIENT_SCOPE: Final = Refusal(400, "10074", "Insufficient oauth2 scope")
INVALID_TOKEN: Final = Refusal(400, "10075", "Invalid oauth2 token")
UNAUTHORIZED_CLIENT: Final = Refusal(400, "10076", "Unauthorized oauth2 client")


def mint(order: Order) -> dict[str, Any]:
    """Word a token answer; the id_token comes with `openid` (OIDC Core §3.1.2.1)."""
    answer: dict[str, Any] = {
        "access_token": secrets.token_urlsafe(96),
        "refresh_token": order.refresh_token or secrets.token_urlsafe(96),
        "scope": " ".join(order.grant.scopes),
    }
    if "openid" in order.grant.scopes:
        answer["id_token"] = _id_token(order)
    return answer | {"token_type": "Bearer", "expires_in": EXPIRES_IN}


def _id_token(order: Order) -> str:
    claims = {
        "sub": SUBJECT,
        "aud": order.grant.client,
        "iss": order.issuer,
        "iat": order.issued_at,
        "exp": order.expires_at,
    }
    return sign_rs256(claims, order.keys.ottm)


def word(refusal: Refusal) -> str:
    """Write the error envelope, to the byte."""
    error = {"code": refusal.code, "message": refusal.description}
    return json.dumps({"error": error, "payload": None})


OTTM: Final = Provider(
    name="ottm",
    title="OTTM · 멤버십",
    about="게임 파트너 멤버십 — membership for game partners",
    accent=("#8a2be2", "#cf9bff"),
    person=NICKNAME,
    subject=SUBJECT,
    paths=MappingProxyType(
        {
            "authorize": "/auth/authorize",
            "token": "/oauth2/v1/token",
            "revoke": "/oauth2/v1/revoke",
            "introspect": "/oauth2/v1/introspect",
            "userinfo": "/oauth2/v1/userinfo",
            "jwks": "/oauth2/v1/jwks",
        }
    ),
    required=("scope", "response_type", "redirect_uri", "client_id"),
    example=MappingProxyType({"scope": "openid profile"}),
    scopes=(
        Scope("openid", "회원 식별", "Know who you are"),
        Scope("profile", "닉네임과 이메일 읽기", "Read your nickname and e-mail"),
    ),
    expires_in=EXPIRES_IN,
    # Every error of the document is a 400, so none travels on a redirect; and its
    # sample of a redirect begins the query with an empty pair.
    redirects_faults=False,
    query_mark="?&",
    refusals=MappingProxyType(
        {
            Fault.MALFORMED: INVALID_REQUEST,
            Fault.CLIENT_MISSING: INVALID_REQUEST,
            Fault.BAD_CLIENT: UNAUTHORIZED_CLIENT,
            Fault.CLIENT_NOT_ALLOWED: UNAUTHORIZED_CLIENT,
            Fault.BAD_CODE: INVALID_REQUEST,
            Fault.BAD_REFRESH_TOKEN: INVALID_TOKEN,
            Fault.WRONG_REDIRECT_URI: INVALID_REQUEST,
            Fault.UNKNOWN_SCOPE: INVALID_SCOPE,
            Fault.UNKNOWN_GRANT_TYPE: INVALID_REQUEST,
            Fault.UNKNOWN_RESPONSE_TYPE: INVALID_REQUEST,
            Fault.BAD_TOKEN: INVALID_TOKEN,
            Fault.NARROW_TOKEN: INSUFFICIENT_SCOPE,
        }
    ),
    word=word,
    mint=mint,
    profile=MappingProxyType(
        {"sub": SUBJECT, "nickname": NICKNAME, "email": "test@flask.global"}
    ),
    jwks=SandboxKeys.published,
)
