"""Every reason for a refusal: what it means, what to do, how each dialect says it. Floor 5.

The answers are the dialects' own, so this cannot tell anything else than clients hear.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import gateway.dialects
from gateway.plugins import plugins
from gateway.values import Answer, Denial, Reason

ADVICE: Final[Mapping[Reason, tuple[str, str]]] = {
    Reason.NO_CREDENTIALS: (
        "No token came, or none where the route takes one.",
        "Send `Authorization: Bearer …`; for a token in the query see `token_from`.",
    ),
    Reason.MALFORMED_REQUEST: (
        "Two tokens, or one in a place where the route takes none.",
        "Send one, in one place.",
    ),
    Reason.MALFORMED_TOKEN: (
        "It is no token by its characters, length or prefix.",
        "Look at what the client sends; see `token_shape`.",
    ),
    Reason.INACTIVE: (
        "The provider says that it is not valid, or nobody knows it.",
        "The client needs a new token. Is it this provider's?",
    ),
    Reason.EXPIRED: (
        "Its `exp` is past.",
        "The client needs a new token; clocks: `clock_skew`.",
    ),
    Reason.NOT_YET_VALID: ("Its `nbf` is to come.", "Compare the clocks."),
    Reason.BAD_SIGNATURE: (
        "No key of the provider signed it, or the algorithm is not allowed.",
        "Look at `jwt` (keys, algorithms); was a key rotated?",
    ),
    Reason.REFRESH_TOKEN: (
        "It is a refresh token.",
        "The client mixes its tokens up.",
    ),
    Reason.WRONG_ISSUER: ("Somebody else issued it.", "See `require.issuers`."),
    Reason.WRONG_AUDIENCE: (
        "It was made for another API.",
        "See `require.audiences`; the client asks for the wrong one.",
    ),
    Reason.UNPROVEN_BINDING: (
        "It is bound to a key (`cnf`) that cannot be proven here.",
        "Have the provider issue bearer tokens for this client.",
    ),
    Reason.INCONSISTENT: (
        "Those asked disagree about it, or its facts are too large to be told.",
        "Look at `verify`, and at `identity_headers.limit`.",
    ),
    Reason.REVOKED: (
        "It, or its subject, client, session or provider, was revoked here.",
        "`gateway revocations` tells; `gateway unrevoke` lifts.",
    ),
    Reason.GRANT_UNKNOWN: (
        "It is valid, but what it grants was never seen.",
        "The client gets a new token through the routed token endpoint.",
    ),
    Reason.INSUFFICIENT_SCOPE: (
        "It lacks a scope that the route demands.",
        "The client asks for that scope; see `require.scopes`.",
    ),
    Reason.CLIENT_NOT_ALLOWED: (
        "The route is not for its client.",
        "See `require.clients`.",
    ),
    Reason.CLAIM_MISMATCH: (
        "A claim is not one of the values demanded.",
        "See `require.claims`; `gateway explain` shows the claims.",
    ),
    Reason.DEVICE_MISMATCH: (
        "It was made for another device than the request names.",
        "See `require.device`.",
    ),
    Reason.STRONGER_LOGIN_NEEDED: (
        "The login is too old, or not of a kind demanded (RFC 9470).",
        "The client sends its user to log in again; see `require.acr`, `max_age`.",
    ),
    Reason.PROVIDER_UNAVAILABLE: (
        "The provider or the store did not answer: nobody knows.",
        "Look at `gateway_idp_requests_total` and the log; see `cache.grace`.",
    ),
    Reason.REVOCATIONS_UNKNOWN: (
        "Revocations were unheard of for too long, and the route is strict.",
        "Look at the store; see `revocation.max_blind`.",
    ),
    Reason.HTTPS_REQUIRED: (
        "An OAuth endpoint was asked over plain HTTP.",
        "Use HTTPS; is the proxy before us in `trusted_proxies`?",
    ),
    Reason.INVALID_FORM: (
        "A form of an OAuth endpoint is not as it must be.",
        "The client mends its request.",
    ),
    Reason.UNKNOWN_SCOPE: (
        "It asks for a scope that the provider does not have.",
        "See the provider's `scopes`.",
    ),
    Reason.UNSUPPORTED_GRANT_TYPE: (
        "The grant type is none of the provider's.",
        "The client uses another.",
    ),
    Reason.UNSUPPORTED_RESPONSE_TYPE: (
        "The response type is none of the provider's.",
        "The client uses another.",
    ),
    Reason.CLIENT_CREDENTIALS_MISSING: (
        "The client did not say who it is.",
        "It sends its id and secret.",
    ),
    Reason.GRANT_REVOKED: (
        "A refresh of what was revoked here.",
        "The user logs in again; `gateway revocations` tells.",
    ),
    Reason.INVALID_LOGOUT_TOKEN: (
        "A logout token is not as it must be.",
        "The log's `gateway.failure` says why; see `routes[].logout`.",
    ),
    Reason.LOGOUT_NOT_KEPT: (
        "A logout could not be written down.",
        "Look at the store; the provider tells it again.",
    ),
    Reason.NO_ROUTE: (
        "No route matches host and path.",
        "`gateway routes` lists them.",
    ),
    Reason.METHOD_NOT_ALLOWED: (
        "No route of this path has this method.",
        "See `match.methods`.",
    ),
    Reason.CORS_REFUSED: (
        "A page of this origin, method or header is not allowed.",
        "See the route's `cors`.",
    ),
    Reason.RATE_LIMITED: (
        "Too many unknown tokens from one address.",
        "See `limits.unknown_tokens`; behind a proxy: `trusted_proxies`.",
    ),
    Reason.UPSTREAM_INVALID: (
        "The upstream's answer is no proper HTTP.",
        "Mend the upstream.",
    ),
    Reason.UPSTREAM_UNREACHABLE: (
        "No target of the upstream takes a connection.",
        "Look at the upstream and its `targets`.",
    ),
    Reason.UPSTREAM_BUSY: (
        "All connections to the upstream are in use.",
        "See its `connections` and `waiting`, or add targets.",
    ),
    Reason.UPSTREAM_TIMEOUT: (
        "The upstream did not answer in time.",
        "See its `timeouts`.",
    ),
    Reason.UNTRUSTED_PEER: (
        "Somebody asks for decisions who may not.",
        "See `trusted_peers`.",
    ),
    Reason.BAD_QUESTION: (
        "An engine's question lacks a header, or has one twice.",
        "Use what `gateway render` writes.",
    ),
    Reason.WRONG_DOOR: (
        "The route is served by the proxy listener alone.",
        "Send its requests there.",
    ),
    Reason.DECISION_CHANGED: (
        "It was refused a moment ago, and is allowed now.",
        "The client tries again.",
    ),
    Reason.BAD_MESSAGE: (
        "The request is no proper HTTP/1.1.",
        "The client, or a proxy on the way, mends it.",
    ),
    Reason.BAD_TARGET: (
        "The target has dot segments, `//`, a bad escape or the like.",
        "The client mends it; for `%2F` see `encoded_slash`.",
    ),
    Reason.TARGET_TOO_LONG: ("The target is too long.", "See `limits.target`."),
    Reason.HEADERS_TOO_LARGE: (
        "The header lines are too many or too long.",
        "See `limits.headers` and `header_count`.",
    ),
    Reason.BODY_TOO_LARGE: ("The body is too long.", "See `body_limit`."),
    Reason.EXPECTATION_FAILED: (
        "`Expect` says something else than `100-continue`.",
        "The client leaves it out.",
    ),
    Reason.REQUEST_TIMEOUT: (
        "The request came too slowly.",
        "See `timeouts.header` and `body`.",
    ),
    Reason.CODING_NOT_IMPLEMENTED: (
        "A transfer coding other than `chunked`.",
        "The client leaves it out.",
    ),
    Reason.VERSION_NOT_SUPPORTED: (
        "Another version of HTTP.",
        "The client speaks HTTP/1.1.",
    ),
    Reason.LOOP_DETECTED: (
        "The request has been here before.",
        "An upstream leads back to this gateway.",
    ),
    Reason.INTERNAL: (
        "A fault of the gateway.",
        "Its log tells where (`crash`): report it.",
    ),
}
"""Of each reason what it means, and what to do; keys are those of the configuration."""


class Row(NamedTuple):
    """One reason; `answers` are status and code, by dialect."""

    reason: str
    meaning: str
    advice: str
    answers: Mapping[str, str]


def rows() -> Iterator[Row]:
    """Give every reason there is."""
    dialects = plugins(gateway.dialects)
    for reason in Reason:
        answers = {
            name: _told(dialect.answer(Denial(reason=reason)))
            for name, dialect in sorted(dialects.items())
        }
        yield Row(reason.value, *ADVICE[reason], answers)


def table() -> str:
    """Write all as a table in Markdown."""
    told = list(rows())
    heads = ["reason", *told[0].answers, "meaning", "what to do"]
    lines = [heads, ["---"] * len(heads)]
    lines += [
        [f"`{row.reason}`", *row.answers.values(), row.meaning, row.advice]
        for row in told
    ]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def text() -> str:
    """Write all for a terminal."""
    return "\n".join(
        f"{row.reason}\n    {row.meaning} {row.advice}\n    "
        + "; ".join(f"{name} {told}" for name, told in row.answers.items())
        for row in rows()
    )


def _told(answer: Answer) -> str:
    body = json.loads(answer.body)
    error = body.get("error", "") if isinstance(body, dict) else ""
    code = error.get("code", "") if isinstance(error, dict) else error
    return f"{answer.status} {code}".strip()
