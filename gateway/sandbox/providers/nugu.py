"""nugu: voice. A token for one device, good for 68 years; two kinds of client error.

Apart from the floors. The subject is `user_name`, the scope always an empty list, and
the device of the authorize request's `data` returns as `ext.dvc`.
"""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from gateway.sandbox.keys import sign_hs256
from gateway.sandbox.provider import (
    Fault,
    Order,
    Provider,
    Refusal,
    word_rfc6749,
)

USER_NAME: Final = "ALDFAKK1B8ZR56315C5D"
EXPIRES_IN: Final = 2147483646
REFRESH_LIFETIME: Final = 30 * 24 * 3600


def mint(order: Order) -> dict[str, Any]:
    """Word a token answer; a renewed refresh token keeps its `jti` and `exp`."""
    client, device = order.grant.client, order.grant.device
    ticket = order.grant.id.upper()
    access: dict[str, Any] = {
        "exp": order.expires_at,
        "user_name": USER_NAME,
        "jti": order.access_id,
        "client_id": client,
        "scope": [],
        "ext": {"usr": USER_NAME, "poc": client, "dvc": device, "tkn": ticket},
    }
    refresh: dict[str, Any] = {
        "exp": order.refresh_expires_at,
        "user_name": USER_NAME,
        "jti": order.refresh_id,
        "client_id": client,
        "scope": [],
        "ati": order.access_id,
        "ext": {"usr": USER_NAME, "dvc": device, "poc": client, "tkn": ticket},
    }
    return {
        "access_token": sign_hs256(access, order.keys.nugu),
        "token_type": "Bearer",
        "refresh_token": sign_hs256(refresh, order.keys.nugu),
        "expires_in": EXPIRES_IN,
        "jti": order.access_id,
    }


def device(parameters: Mapping[str, str]) -> str | None:
    """Read the device serial number from `data`, which is JSON."""
    try:
        described = json.loads(parameters["data"])
    except (ValueError, RecursionError):
        return None
    serial = (
        described.get("deviceSerialNumber") if isinstance(described, dict) else None
    )
    if not isinstance(serial, str):
        return None
    # JSON may escape half a surrogate pair, which no token or page could carry.
    return serial if serial and serial.isprintable() else None


NUGU: Final = Provider(
    name="nugu",
    title="NUGU · 누구",
    about="음성 — voice: a speaker and its person",
    accent=("#3a3ad6", "#9b9bff"),
    person=USER_NAME,
    subject=USER_NAME,
    paths=MappingProxyType(
        {
            "authorize": "/v1/auth/oauth/authorize",
            "token": "/v1/auth/oauth/token",
            "revoke": "/v1/auth/oauth/revoke",
            "introspect": "/v1/auth/oauth/introspect",
        }
    ),
    required=("client_id", "response_type", "redirect_uri", "scope", "data", "state"),
    example=MappingProxyType(
        {"scope": "device", "data": '{"deviceSerialNumber":"ALDFG55YMYRA9E527EBD"}'}
    ),
    expires_in=EXPIRES_IN,
    refresh_lifetime=REFRESH_LIFETIME,
    json_type="application/json;charset=UTF-8",
    challenge='Form realm="NUGU", error="{code}", error_description="{description}"',
    refusals=MappingProxyType(
        {
            Fault.MALFORMED: Refusal(400, "invalid_request", "Invalid request"),
            Fault.CLIENT_MISSING: Refusal(
                401, "invalid_client", "Bad client credentials"
            ),
            Fault.BAD_CLIENT: Refusal(401, "invalid_client", "Bad client credentials"),
            Fault.CLIENT_NOT_ALLOWED: Refusal(
                401, "unauthorized_client", "Unauthorized client"
            ),
            Fault.BAD_CODE: Refusal(
                400, "invalid_grant", "Invalid authorization code: {refused}"
            ),
            Fault.BAD_REFRESH_TOKEN: Refusal(
                400, "invalid_grant", "Invalid refresh token"
            ),
            Fault.WRONG_REDIRECT_URI: Refusal(
                400, "redirect_uri_mismatch", "Redirect URI mismatch"
            ),
            Fault.UNKNOWN_SCOPE: Refusal(400, "invalid_scope", "Invalid scope"),
            Fault.UNKNOWN_GRANT_TYPE: Refusal(
                400, "unsupported_grant_type", "Unsupported grant type"
            ),
            Fault.UNKNOWN_RESPONSE_TYPE: Refusal(
                400, "unsupported_response_type", "Unsupported response type"
            ),
        }
    ),
    word=word_rfc6749,
    mint=mint,
    device=device,
)
