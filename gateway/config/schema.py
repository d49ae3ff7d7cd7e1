"""The JSON schema of the configuration language, for editors and charts. Floor 2.

Made from the models that read the file, so it cannot say anything else. Wherever a
value must be more than text, it may also be a reference such as `${env:PORT}`.
"""

from typing import Any, Final

from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from gateway.config.addresses import Address
from gateway.config.model import language
from gateway.config.registry import Registry

JsonSchema = dict[str, Any]

_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_REFERENCE: Final = {"$ref": "#/$defs/Reference"}
_REFERENCE_ITSELF: Final = {
    "description": "Text from the environment or a file, put in when this is read.",
    "type": "string",
    "pattern": r"\$\{(env|file):[^}]+\}",
}
_MAPS: Final = ("$defs", "properties", "patternProperties")
_ABOUT: Final = ("description", "default")
_NARROW_TYPES: Final = ("boolean", "integer", "number")
_NARROWING: Final = frozenset({"enum", "const", "pattern", "minLength", "format"})


def schema(registry: Registry) -> JsonSchema:
    """Give the JSON schema (2020-12), with the sections of these plug-ins."""
    model = language(registry)
    made = _opened(model.model_json_schema(schema_generator=_Generator))
    made["$defs"]["Reference"] = _REFERENCE_ITSELF
    return {"$schema": _DRAFT, **made}


class _Generator(GenerateJsonSchema):
    """Shows defaults as people would write them, and few titles."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Spare the titles: they only repeat the keys."""
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchema:
        """Show plain defaults; a section's are at its own keys."""
        made = self.generate_inner(schema["schema"])
        default = schema.get("default")
        match default:
            case Address():
                return {**made, "default": str(default)}
            case float():
                return {**made, "default": f"{default:g}s"}
            case bool() | int() | str():
                return {**made, "default": default}
            case _:
                return made

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchema:
        """Refuse names that do not fit, instead of leaving them unchecked."""
        made = super().dict_schema(schema)
        closed = {"additionalProperties": False} if "patternProperties" in made else {}
        return made | closed


def _opened(node: JsonSchema) -> JsonSchema:
    """Let a reference stand wherever `node` asks for more than any text."""
    made = {**node}
    for key in _MAPS:
        if key in node:
            made[key] = {name: _opened(inner) for name, inner in node[key].items()}
    if "items" in node:
        made["items"] = _opened(node["items"])
    if "anyOf" in node:
        narrow = any(map(_is_narrow, node["anyOf"]))
        choices = [one if _is_narrow(one) else _opened(one) for one in node["anyOf"]]
        made["anyOf"] = [*choices, _REFERENCE] if narrow else choices
    elif _is_narrow(node):
        about: JsonSchema = {key: made.pop(key) for key in _ABOUT if key in made}
        made = {**about, "anyOf": [made, _REFERENCE]}
    return made


def _is_narrow(node: JsonSchema) -> bool:
    """Tell whether a text that is a reference would not be allowed here."""
    return node.get("type") in _NARROW_TYPES or not _NARROWING.isdisjoint(node)
