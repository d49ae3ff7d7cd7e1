"""melon: music. RFC 6749 to the letter; HS256 tokens that name a person in Korean.

Apart from the floors. An access token lives for five minutes, a refresh token until
the person destroys it; only `ati`, the id of an access token, tells the two apart.
"""

from types import MappingProxyType
from typing import Any, Final

from gateway.sandbox.keys import sign_hs256
from gateway.sandbox.provider import (
    Fault,
    Order,
    Provider,
    Refusal,
    Scope,
    word_rfc6749,
)

NAME: Final = "송근욱"
NICKNAME: Final = "마시마렁"
SUBJECT: Final = "YjY5NjJjMjY2ZTIwMTZhNzDzOY6MhKsaWo4HQp8e4zBSoONY3kPY"
EXPIRES_IN: Final = 299


def mint(order: Order) -> dict[str, Any]:
    """Word a token answer; its members and claims come in the guide's order."""
    person = {"name": NAME, "preferred_username": NICKNAME}
    granted = {"sub": SUBJECT, "scope": list(order.grant.scopes)}
    roles = {"authorities": ["ROLE_USER"]}
    client = {"client_id": order.grant.client}
    access = (
        granted
        | person
        | {"exp": order.expires_at}
        | roles
        | {"jti": order.access_id}
        | client
    )
    refresh = (
        granted
        | {"ati": order.access_id}
        | person
        | roles
        | {"jti": order.refresh_id}
        | client
    )
    return {
        "access_token": sign_hs256(access, order.keys.melon),
        "token_type": "bearer",
        "refresh_token": sign_hs256(refresh, order.keys.melon),
        "expires_in": EXPIRES_IN,
    }


MELON: Final = Provider(
    name="melon",
    title="melon · 멜론",
    about="음악 — music: streaming, playlists, likes",
    accent=("#00702a", "#3ddc7a"),
    person=NICKNAME,
    subject=SUBJECT,
    paths=MappingProxyType(
        {
            "authorize": "/oauth/authorize",
            "token": "/oauth/token",
            "revoke": "/oauth/revoke",
            "introspect": "/oauth/introspect",
            "jwks": "/oauth/jwks.json",
        }
    ),
    required=("response_type", "client_id", "redirect_uri", "scope"),
    example=MappingProxyType(
        {"scope": "user-private-read streaming user-playlist-read user-like-read"}
    ),
    scopes=(
        Scope(
            "user-private-read",
            "개인정보(이름, 닉네임) 읽기",
            "Read your name and nickname",
            fixed=True,
        ),
        Scope("streaming", "음원 재생", "Play music"),
        Scope("user-playlist-read", "플레이리스트 읽기", "Read your playlists"),
        Scope("user-like-read", "좋아요 읽기", "Read your likes"),
        Scope("user-like-modify", "좋아요 쓰기·삭제", "Add and remove likes"),
    ),
    expires_in=EXPIRES_IN,
    basic_at_token_endpoint=True,
    json_type="application/json;charset=UTF-8",
    challenge='Basic realm="melon"',
    refusals=MappingProxyType(
        {
            Fault.MALFORMED: Refusal(
                400, "invalid_request", "A parameter is missing, repeated or malformed"
            ),
            Fault.CLIENT_MISSING: Refusal(
                401, "invalid_client", "Client credentials are missing"
            ),
            Fault.BAD_CLIENT: Refusal(401, "invalid_client", "Bad client credentials"),
            Fault.CLIENT_NOT_ALLOWED: Refusal(
                400, "unauthorized_client", "The client may not do this"
            ),
            Fault.BAD_CODE: Refusal(400, "invalid_grant", "Invalid authorization code"),
            Fault.BAD_REFRESH_TOKEN: Refusal(
                400, "invalid_grant", "Invalid refresh token"
            ),
            Fault.WRONG_REDIRECT_URI: Refusal(
                400, "invalid_grant", "Redirect URI mismatch"
            ),
            Fault.UNKNOWN_SCOPE: Refusal(
                400, "invalid_scope", "A requested scope is unknown"
            ),
            Fault.UNKNOWN_GRANT_TYPE: Refusal(
                400, "unsupported_grant_type", "The grant type is not supported"
            ),
            Fault.UNKNOWN_RESPONSE_TYPE: Refusal(
                400, "unsupported_response_type", "The response type must be code"
            ),
        }
    ),
    word=word_rfc6749,
    mint=mint,
)
