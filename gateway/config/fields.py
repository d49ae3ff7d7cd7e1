"""The scalar types of the configuration language. Floor 2: pure but for `ReadableFile`.

Each turns a piece of text into a value once, at the door, and says in plain words what
it expected. Plug-ins use them in their own settings: derive from `Model`, keep secrets
in `SecretText`, files in `ReadableFile`, durations and sizes in `units`.

Scalars accept text where the value is not text (`true`, `8080`), because that is what
`${env:…}` gives.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from gateway.config.units import expected
from gateway.rules.headers import fold
from gateway.rules.routing import parse_host, parse_pattern, parse_prefix
from gateway.rules.scopes import Expression, parse_expression
from gateway.values import Secret


class Model(BaseModel):
    """What every section is: immutable, and deaf to keys it does not know."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )


# ------------------------------------------------------------------------- text

# RFC 9110 §5.6.2, less `_`: names with it never pass the gateway.
_TOKEN: Final = r"[A-Za-z0-9!#$%&'*+.^`|~-]+"


@dataclass(frozen=True, slots=True)
class Text:
    """Annotation of a string that must match `pattern` as a whole."""

    pattern: str
    what: str

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.parse)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^(?:{self.pattern})$"}

    def parse(self, value: object) -> str:
        """Give the string back, or say what was expected."""
        if isinstance(value, str) and re.fullmatch(self.pattern, value):
            return value
        raise expected(self.what)


@dataclass(frozen=True, slots=True)
class SecretString:
    """Annotation of a `Secret` of at least `length` characters."""

    length: int = 1

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.parse)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "minLength": self.length, "writeOnly": True}

    def parse(self, value: object) -> Secret:
        """Give a `Secret`; the error never shows what was found."""
        if isinstance(value, str) and len(value) >= self.length:
            return Secret(value)
        raise PydanticCustomError(
            "expected_secret",
            "expected a secret, as a string of {length} characters or more",
            {"length": self.length},
        )


SecretText = Annotated[Secret, SecretString()]
"""A string that no error, log or `repr` shows."""

Name = Annotated[
    str,
    Text(
        r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
        "a name of letters, digits, `.`, `_` and `-`, at most 64",
    ),
]
"""The name of a route, provider or upstream: it becomes a metrics label."""

Method = Annotated[
    str,
    Text(
        r"(?!CONNECT$)[A-Z][A-Z-]{0,31}",
        "a method in upper case (CONNECT is never forwarded)",
    ),
]
"""A request method (case-sensitive, RFC 9110 §9.1)."""

HeaderName = Annotated[str, Text(_TOKEN, "a header name, without `_`")]
"""A field name (RFC 9110 §5.1)."""

QueryName = Annotated[
    str, Text(r"[A-Za-z0-9._~-]+", "a query parameter's name, without escapes")
]
"""A parameter of a query."""

Scope = Annotated[
    str,
    Text(
        r"[\x21\x23-\x5B\x5D-\x7E]+",
        'one scope, without spaces, `"` or `\\` (RFC 6749 §3.3)',
    ),
]
"""One scope token."""

Realm = Annotated[
    str,
    Text(r"[\x20\x21\x23-\x5B\x5D-\x7E]*", 'printable ASCII without `"` and `\\`'),
]
"""The realm of a challenge: what a quoted string can hold without escapes."""

ClaimPath = Annotated[
    str, Text(r"[^.\s]+(?:\.[^.\s]+)*", "a claim's path, such as `sub` or `ext.dvc`")
]
"""A claim, by dotted path."""

UpgradeToken = Annotated[
    str,
    Text(
        rf"(?![Hh]2[Cc]$){_TOKEN}",
        "a protocol such as websocket (h2c is never forwarded)",
    ),
]
"""A protocol of the Upgrade header (RFC 9110 §7.8)."""


# ------------------------------------------------------- what the rules can read

T = TypeVar("T")


def _as_read_by(parse: Callable[[str], T]) -> Callable[[object], T]:
    """Make a validator of a rule's own parser, whose `ValueError` says *expected …*."""

    def read(value: object) -> T:
        if not isinstance(value, str):
            raise expected("text")
        try:
            return parse(value)
        except ValueError as error:
            raise expected(str(error).removeprefix("expected ")) from None

    return read


_WITH_A_MEANING: Final = re.compile(
    "authorization|connection|content-.*|cookie|expect|forwarded|host|keep-alive|"
    "proxy-.*|referer|te|trailer|transfer-encoding|upgrade|via|x-auth-shadow-denied|"
    "x-auth-stale|x-forwarded-.*|x-gateway-.*|x-request-id"
)


def _identity_name(text: str) -> str:
    if re.fullmatch(_TOKEN, text):
        folded = fold(text.lower().encode()).decode()
        if not _WITH_A_MEANING.fullmatch(folded):
            return text
    raise expected("a header name, without `_`, that has no meaning of its own")


IdentityName = Annotated[
    str,
    PlainValidator(_as_read_by(_identity_name)),
    WithJsonSchema({"type": "string", "pattern": f"^{_TOKEN}$"}),
]
"""A header the gateway sets towards the upstream, and strips from clients."""

OptionalIdentityName = Annotated[
    str,
    PlainValidator(_as_read_by(lambda text: text and _identity_name(text))),
    WithJsonSchema({"type": "string", "pattern": f"^(?:{_TOKEN})?$"}),
]
"""The same, or nothing."""


def _pattern(text: str) -> str:
    parse_pattern(text)
    return text


Host = Annotated[
    str, PlainValidator(_as_read_by(parse_host)), WithJsonSchema({"type": "string"})
]
"""The host a route answers for: a name, `*.suffix` or `*`."""

PathPattern = Annotated[
    str,
    PlainValidator(_as_read_by(_pattern)),
    WithJsonSchema({"type": "string", "pattern": "^/"}),
]
"""A path pattern that some canonical target can match."""

Prefix = Annotated[
    bytes,
    PlainValidator(_as_read_by(parse_prefix)),
    WithJsonSchema({"type": "string", "pattern": "^(?:/|$)"}),
]
"""Path segments that are taken away or put in front."""


def _alternatives(value: object) -> Expression:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise expected('a list of scope sets, such as ["a b", "c"]')
    try:
        return parse_expression(value)
    except ValueError as error:
        raise expected(str(error).removeprefix("expected ")) from None


ScopeExpression = Annotated[
    Expression,
    PlainValidator(_alternatives),
    WithJsonSchema({"type": "array", "items": {"type": "string"}}),
]
"""What a route demands: each text is a set, one of which the token has whole."""

# -------------------------------------------------------------- numbers and flags


def parse_flag(value: object) -> bool:
    """Read `true` or `false`, as YAML or as text; nothing else is either."""
    match value:
        case True | "true":
            return True
        case False | "false":
            return False
        case _:
            raise expected("true or false")


def parse_count(value: object) -> int:
    """Read a whole number of at least 1, as YAML or as text."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    raise expected("a whole number of 1 or more")


def parse_claim_value(value: object) -> str | int | bool:
    """Accept what a claim can be compared with exactly; a float cannot."""
    if isinstance(value, str | int):
        return value
    raise expected("text, a whole number, true or false")


ClaimValue = Annotated[
    str | int | bool,
    PlainValidator(parse_claim_value),
    WithJsonSchema({"type": ["string", "integer", "boolean"]}),
]
"""A value a claim is compared with."""


@dataclass(frozen=True, slots=True)
class OneOrMore:
    """Annotation of a list that may be written as its only item (schema alone)."""

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        several = handler(schema)
        return {"anyOf": [several["items"], several]}


Flag = Annotated[bool, BeforeValidator(parse_flag)]
"""True or false."""

Count = Annotated[
    int,
    BeforeValidator(parse_count),
    WithJsonSchema({"type": "integer", "minimum": 1}),
]
"""A whole number, at least one."""


PLAIN_HTTP: Final = "plain_http"
"""In the validation's context: whether endpoints of this provider may be plain http."""

# -------------------------------------------------------------------------- files


def _readable(path: Path, info: ValidationInfo) -> Path:
    """Find `path` beside the configuration file and prove that it can be read."""
    found: Path = (info.context or {}).get("base", Path()) / path
    try:
        found.open("rb").close()
    except (OSError, ValueError) as error:
        raise expected("a file that can be read") from error
    return found


ReadableFile = Annotated[
    Path,
    AfterValidator(_readable),
    Field(json_schema_extra={"format": "path"}),
]
"""A file, relative to the configuration file; a missing one stops the start."""
