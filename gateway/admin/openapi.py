"""Everything under /api/ in the words of OpenAPI 3.1. Floor 4: pure.

The shapes are made from the very types that are sent and read, so they cannot drift;
what is written here by hand is which path answers what.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import msgspec

from gateway.admin.changes import ExplainBody, RevokeBody, ShownMark
from gateway.admin.overview import Overview
from gateway.admin.recent import KEPT
from gateway.admin.table import RouteRow
from gateway.config.effective import Setting
from gateway.values import RECORD_NAMES, Exchange, Reload

VERSION: Final = "1"


class RouteList(msgspec.Struct, frozen=True):
    """The answer of GET /api/routes."""

    routes: list[RouteRow]


class ShownExchange(
    Exchange,
    frozen=True,
    gc=False,
    kw_only=True,
    rename={**RECORD_NAMES, "worker": "gateway.worker"},
):
    """An exchange, by the names of the access log."""

    worker: int = 0


class ExchangeList(msgspec.Struct, frozen=True):
    """The answer of GET /api/recent: the newest first."""

    exchanges: list[ShownExchange]


class Configuration(msgspec.Struct, frozen=True):
    """The answer of GET /api/config."""

    version: str
    digest: str
    warnings: list[str]
    reload: Reload | None
    settings: list[Setting]


class MarkList(msgspec.Struct, frozen=True):
    """The answer of GET /api/revocations: the newest first."""

    revocations: list[ShownMark]


class Refusal(msgspec.Struct, frozen=True):
    """Why a request was not served: a code, and what was expected."""

    error: str
    message: str


_TYPES: Final = (
    Overview,
    RouteList,
    ExchangeList,
    Configuration,
    MarkList,
    ShownMark,
    Reload,
    ExplainBody,
    RevokeBody,
    Refusal,
)

_TOKEN: Final[list[dict[str, list[str]]]] = [{"bearer": []}, {"basic": []}]
_READING: Final = [*_TOKEN, {}]
"""On loopback nobody need sign in to read."""

_REFUSALS: Final[Mapping[int, str]] = {
    400: "The request makes no sense; the message says what was expected.",
    401: "The admin token is needed, or it was not the right one.",
    403: "No admin token is configured, or the request came from another site.",
    404: "There is nothing here.",
    408: "The body did not come in time.",
    413: "The body is too long.",
    415: "The body is not JSON.",
    421: "The Host is not one of ours.",
    429: "Too many wrong admin tokens came from there; Retry-After tells when to come.",
    503: "What is needed for this does not answer now.",
}
_READ: Final = (400, 401, 403, 421, 429, 503)
_WRITE: Final = (400, 401, 403, 408, 413, 415, 421, 429, 503)


@cache
def openapi(providers: tuple[str, ...] = ()) -> dict[str, Any]:
    """Give the description; `providers` are those whose tokens can be revoked."""
    template = "#/components/schemas/{name}"
    _, schemas = msgspec.json.schema_components(_TYPES, ref_template=template)
    _tell_of_revoking(schemas[RevokeBody.__name__], providers)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "token-gateway, the admin listener",
            "version": VERSION,
            "description": "Reading is open to loopback, where no Authorization is"
            " sent; everything else needs the admin token, or a certificate signed by"
            " `admin.tls.client_ca`.",
        },
        "paths": _paths(),
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "Any user name; the admin token as password.",
                },
            },
        },
    }


def _tell_of_revoking(schema: dict[str, Any], providers: tuple[str, ...]) -> None:
    """Say what the type does not: one of the providers, and exactly one thing."""
    if providers:
        schema["properties"]["provider"]["enum"] = list(providers)
    names = [name for name in schema["properties"] if name not in ("provider", "all")]
    choices = [
        {
            "required": [name],
            "properties": {
                **{other: {"type": "null"} for other in names},
                name: {"type": "string"},
                "all": {"const": False},
            },
        }
        for name in names
    ]
    everything = {
        "required": ["all"],
        "properties": {
            **{other: {"type": "null"} for other in names},
            "all": {"const": True},
        },
    }
    schema["oneOf"] = [*choices, everything]


def _paths() -> dict[str, Any]:
    some_id = {
        "name": "id",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "pattern": "^[0-9a-f]{24}$"},
    }
    return {
        "/api/overview": {
            "get": _read(
                "overview", "What is wrong, what went through, how all is.", Overview
            )
        },
        "/api/routes": {
            "get": _read(
                "routes",
                "The route table, with counts of the last ten minutes.",
                RouteList,
                _query("q", "Words that must all be somewhere in a row.", _TEXT),
            )
        },
        "/api/recent": {
            "get": _read(
                "recent", "The last exchanges, as wanted.", ExchangeList, *_wanted()
            )
        },
        "/api/config": {
            "get": _read(
                "config", "The configuration in force, secrets masked.", Configuration
            )
        },
        "/api/openapi.json": {"get": _read("openapi", "This.", None)},
        "/api/explain": {
            "post": {
                "operationId": "explain",
                "summary": "What would become of a request, and why.",
                "security": _TOKEN,
                "requestBody": _body(ExplainBody),
                "responses": {"200": _json("The trace.", None), **_refused(*_WRITE)},
            }
        },
        "/api/revocations": {
            "get": {
                "operationId": "revocations",
                "summary": "The marks in force; they name subjects.",
                "security": _TOKEN,
                "responses": {"200": _json("They.", MarkList), **_refused(*_READ)},
            },
            "post": {
                "operationId": "revoke",
                "summary": "Revoke one token, or all of a subject, client or session.",
                "security": _TOKEN,
                "requestBody": _body(RevokeBody),
                "responses": {
                    "201": _json("The mark.", ShownMark),
                    **_refused(*_WRITE),
                },
            },
        },
        "/api/reload": {
            "post": {
                "operationId": "reload",
                "summary": "Put the configuration of the files in force.",
                "security": _TOKEN,
                "responses": {
                    "200": _json("It is in force.", Reload),
                    "422": _json("It is not: the files have problems.", Reload),
                    **_refused(401, 403, 421, 429, 503),
                },
            }
        },
        "/api/revocations/{id}": {
            "delete": {
                "operationId": "lift",
                "summary": "Take a mark back.",
                "security": _TOKEN,
                "parameters": [some_id],
                "responses": {
                    "204": {"description": "It is gone."},
                    **_refused(401, 403, 404, 421, 429, 503),
                },
            }
        },
    }


_TEXT: Final = {"type": "string", "maxLength": 256}


def _wanted() -> list[dict[str, Any]]:
    return [
        _query("route", "A route's id.", _TEXT),
        _query("reason", "Why it was refused or let through.", _TEXT),
        _query("client", "The token's client.", _TEXT),
        _query("request_id", "The id the client was told.", _TEXT),
        _query("provider", "A provider's name.", _TEXT),
        _query("upstream", "An upstream's name.", _TEXT),
        _query(
            "decision",
            "What was decided.",
            {"type": "string", "enum": ["allow", "deny", "error", "shadow"]},
        ),
        _query(
            "status",
            "A status, or its first digit.",
            {"type": "string", "pattern": "^[1-9]([0-9]{2})?$"},
        ),
        _query(
            "since",
            "Unix seconds: only what ended then or later.",
            {"type": "number", "minimum": 0},
        ),
        _query(
            "limit",
            "How many at most.",
            {"type": "integer", "minimum": 1, "maximum": KEPT},
        ),
    ]


def _query(name: str, about: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": about, "schema": schema}


def _read(
    name: str, about: str, shape: type | None, *parameters: dict[str, Any]
) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": about,
        "security": _READING,
        "parameters": list(parameters),
        "responses": {"200": _json("As asked.", shape), **_refused(*_READ)},
    }


def _json(about: str, shape: type | None) -> dict[str, Any]:
    schema = _reference(shape) if shape else {"type": "object"}
    return {"description": about, "content": {"application/json": {"schema": schema}}}


def _body(shape: type) -> dict[str, Any]:
    content = {"application/json": {"schema": _reference(shape)}}
    return {"required": True, "content": content}


def _refused(*statuses: int) -> dict[str, Any]:
    return {str(status): _json(_REFUSALS[status], Refusal) for status in statuses}


def _reference(shape: type) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{shape.__name__}"}
