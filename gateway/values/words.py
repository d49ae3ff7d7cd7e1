"""The vocabulary: why, where from, where to."""

import enum
from typing import Any, Final

Header = tuple[bytes, bytes]
"""One header line: the lower-cased name and the value without outer whitespace."""


REPEATED: Final = frozenset(
    (
        b"accept-ranges",
        b"cache-control",
        b"connection",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"date",
        b"keep-alive",
        b"server",
        b"strict-transport-security",
        b"transfer-encoding",
        b"vary",
        b"x-content-type-options",
    )
)
"""Response headers that servers write again and again, and that hold no secret."""

Notes = dict[object, Any]
"""What pure rules have read, each under a key of its own, so as not to read it again.

Of a request's header lines, which a kept-alive client repeats: such a note depends on
nothing but the lines, the connection and its own key. Of a connection, whose lines
change: what was read last, beside what it was read in. Of a token.
"""


class Secret(str):
    """A string that never shows itself: `repr`, and so logs and errors, see dots.

    Use `str.__str__` semantics where the text itself is needed: it is a `str`.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "<secret>"


class Reason(enum.StrEnum):
    """Why a request was refused: the one vocabulary of rules, metrics and dialects.

    The value is what operators read in logs and metrics; what a client reads is the
    dialect's business.
    """

    # The token and its absence
    NO_CREDENTIALS = "no_credentials"
    MALFORMED_REQUEST = "malformed_request"
    MALFORMED_TOKEN = "malformed_token"
    INACTIVE = "inactive"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    BAD_SIGNATURE = "bad_signature"
    REFRESH_TOKEN = "refresh_token"
    WRONG_ISSUER = "wrong_issuer"
    WRONG_AUDIENCE = "wrong_audience"
    UNPROVEN_BINDING = "unproven_binding"
    INCONSISTENT = "inconsistent"
    REVOKED = "revoked"
    GRANT_UNKNOWN = "grant_unknown"
    # What the token may do
    INSUFFICIENT_SCOPE = "insufficient_scope"
    CLIENT_NOT_ALLOWED = "client_not_allowed"
    CLAIM_MISMATCH = "claim_mismatch"
    DEVICE_MISMATCH = "device_mismatch"
    STRONGER_LOGIN_NEEDED = "stronger_login_needed"
    # What we cannot know now
    PROVIDER_UNAVAILABLE = "provider_unavailable"
    REVOCATIONS_UNKNOWN = "revocations_unknown"
    # Guarded OAuth endpoints
    HTTPS_REQUIRED = "https_required"
    INVALID_FORM = "invalid_form"
    UNKNOWN_SCOPE = "unknown_scope"
    UNSUPPORTED_GRANT_TYPE = "unsupported_grant_type"
    UNSUPPORTED_RESPONSE_TYPE = "unsupported_response_type"
    CLIENT_CREDENTIALS_MISSING = "client_credentials_missing"
    GRANT_REVOKED = "grant_revoked"
    INVALID_LOGOUT_TOKEN = "invalid_logout_token"
    LOGOUT_NOT_KEPT = "logout_not_kept"
    # Where the request goes
    NO_ROUTE = "no_route"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    CORS_REFUSED = "cors_refused"
    RATE_LIMITED = "rate_limited"
    UPSTREAM_INVALID = "upstream_invalid"
    UPSTREAM_UNREACHABLE = "upstream_unreachable"
    UPSTREAM_BUSY = "upstream_busy"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    # Doors at which engines ask
    UNTRUSTED_PEER = "untrusted_peer"
    BAD_QUESTION = "bad_question"
    WRONG_DOOR = "wrong_door"
    DECISION_CHANGED = "decision_changed"
    # The message itself
    BAD_MESSAGE = "bad_message"
    BAD_TARGET = "bad_target"
    TARGET_TOO_LONG = "target_too_long"
    HEADERS_TOO_LARGE = "headers_too_large"
    BODY_TOO_LARGE = "body_too_large"
    EXPECTATION_FAILED = "expectation_failed"
    REQUEST_TIMEOUT = "request_timeout"
    CODING_NOT_IMPLEMENTED = "coding_not_implemented"
    VERSION_NOT_SUPPORTED = "version_not_supported"
    LOOP_DETECTED = "loop_detected"
    INTERNAL = "internal"


INVALID_TOKEN: Final = frozenset(
    {
        Reason.INACTIVE,
        Reason.EXPIRED,
        Reason.NOT_YET_VALID,
        Reason.BAD_SIGNATURE,
        Reason.REFRESH_TOKEN,
        Reason.WRONG_ISSUER,
        Reason.WRONG_AUDIENCE,
        Reason.UNPROVEN_BINDING,
        Reason.INCONSISTENT,
        Reason.REVOKED,
        Reason.GRANT_UNKNOWN,
    }
)
"""Reasons that a client hears as `invalid_token` (RFC 6750 §3.1): get a new token."""


SHADOWED: Final = (INVALID_TOKEN - {Reason.REVOKED}) | {
    Reason.NO_CREDENTIALS,
    Reason.MALFORMED_REQUEST,
    Reason.MALFORMED_TOKEN,
    Reason.INSUFFICIENT_SCOPE,
    Reason.CLIENT_NOT_ALLOWED,
    Reason.CLAIM_MISMATCH,
    Reason.DEVICE_MISMATCH,
    Reason.STRONGER_LOGIN_NEEDED,
    Reason.PROVIDER_UNAVAILABLE,
    Reason.REVOCATIONS_UNKNOWN,
    Reason.RATE_LIMITED,
}
"""What a route in shadow does not refuse for: all about the token and what it may do.
Not that it was revoked: that is an order of the operator's, and no rule on trial."""


class Source(enum.StrEnum):
    """Where the facts of a decision came from."""

    NONE = "none"
    L1 = "l1"
    L2 = "l2"
    PROVIDER = "provider"
    STALE = "stale"


class TokenPlace(enum.StrEnum):
    """Where a request carries its token (RFC 6750 §2.1 and §2.3)."""

    HEADER = "header"
    QUERY = "query"


class Access(enum.StrEnum):
    """Whether a route asks for a token."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    PUBLIC = "public"


class RouteKind(enum.StrEnum):
    """What stands behind a route."""

    API = "api"
    OAUTH_AUTHORIZE = "oauth-authorize"
    OAUTH_TOKEN = "oauth-token"
    OAUTH_USERINFO = "oauth-userinfo"
    OAUTH_REVOKE = "oauth-revoke"
    BACKCHANNEL_LOGOUT = "backchannel-logout"
    PROTECTED_RESOURCE = "protected-resource"


class MarkKind(enum.StrEnum):
    """What a revocation mark names."""

    TOKEN = "token"
    TOKEN_ID = "token_id"
    SUBJECT = "subject"
    CLIENT = "client"
    SESSION = "session"
    PROVIDER = "provider"


LONGEST_CLOCK_SKEW: Final = 300.0
"""Seconds: no route accepts a token longer after its `exp`, and every mark outlives it
by as much."""
