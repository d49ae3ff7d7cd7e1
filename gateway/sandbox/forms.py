"""Parameters as OAuth wants them: form-encoded UTF-8, each at most once. Pure.

Apart from the floors. RFC 6749 §3.1 and §3.2: no parameter may be repeated; Appendix B
fixes UTF-8. What cannot be read so is None, and its sender hears `invalid_request`.
"""

import base64
from typing import Final
from urllib.parse import parse_qsl, unquote_plus

FORM_TYPE: Final = "application/x-www-form-urlencoded"
FIELD_LIMIT: Final = 64


def parse(encoded: bytes) -> dict[str, str] | None:
    """Read a query or form body; empty pairs (`?&a=b`) are passed over."""
    try:
        pairs = parse_qsl(
            encoded.decode(),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=FIELD_LIMIT,
        )
    except ValueError:
        return None
    parameters = dict(pairs)
    return parameters if len(parameters) == len(pairs) else None


def parse_basic(authorization: str) -> tuple[str, str] | None:
    """Read a client's id and secret from HTTP Basic (RFC 6749 §2.3.1)."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, secret = (
            base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
        )
    except ValueError:
        return None
    # Both halves were form-encoded before they were joined.
    return (unquote_plus(name), unquote_plus(secret)) if colon else None


def parse_bearer(authorization: str) -> str | None:
    """Read a bearer token from a header value (RFC 6750 §2.1)."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None
