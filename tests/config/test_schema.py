import json
from pathlib import Path
from typing import Any

import pytest

from deploy.chart import CHART, files
from gateway.app import registry
from gateway.config.schema import schema
from tests.config.texts import REGISTRY

COMMITTED = Path(__file__).parents[2] / "config" / "schema.json"
REFERENCE = {"$ref": "#/$defs/Reference"}


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    """The schema with the plug-ins of these tests."""
    return schema(REGISTRY)


def test_the_committed_schema_is_the_programs():
    """`gateway schema > config/schema.json` after every change of the language."""
    text = json.dumps(schema(registry()), indent=2, ensure_ascii=False)

    assert f"{text}\n" == COMMITTED.read_text()


def test_the_chart_knows_the_same_language():
    """`make chart` after every change of config/schema.json."""
    made = {path.name: text for path, text in files().items()}

    assert made["values.schema.json"] == (CHART / "values.schema.json").read_text()


def test_it_is_a_schema_of_2020_12(made):
    """With everything that it refers to."""
    text = json.dumps(made)
    names = {part.partition('"')[0] for part in text.split("#/$defs/")[1:]}

    assert "https://json-schema.org/draft/2020-12/schema" == made["$schema"]
    assert names == made["$defs"].keys()
    assert ["version", "secret"] == made["required"]


def test_unknown_keys_are_refused_by_the_schema_too(made):
    """In every section, and in every table of names."""
    for name, section in made["$defs"].items():
        if section.get("type") == "object":
            assert section["additionalProperties"] is False, name
    assert made["properties"]["providers"]["additionalProperties"] is False
    assert made["additionalProperties"] is False


def test_the_sections_of_plug_ins_are_part_of_it(made):
    """With their own descriptions."""
    provider = made["$defs"]["Provider"]["properties"]
    [settings, _] = provider["jwt"]["anyOf"]
    key = made["$defs"][settings["$ref"].rpartition("/")[2]]["properties"]["key"]

    assert REGISTRY.verifiers.keys() <= provider.keys()
    assert "An HMAC secret, or a public key as PEM text." == key["description"]


def test_names_of_plug_ins_are_offered(made):
    """So that editors complete them."""
    provider = made["$defs"]["Provider"]["properties"]
    [dialect, reference] = provider["dialect"]["anyOf"]

    assert list(REGISTRY.dialects) == dialect["enum"]
    assert REFERENCE == reference
    assert list(REGISTRY.verifiers) == provider["verify"]["items"]["anyOf"][0]["enum"]


def resolved(made: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    """Follow one reference."""
    if "$ref" in node:
        found: dict[str, Any] = made["$defs"][node["$ref"].rpartition("/")[2]]
        return found
    return node


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ("Log", "access"),
        ("Limits", "header_count"),
        ("Limits", "target"),
        ("Cache", "ttl"),
        ("Listen", "proxy"),
        ("Log", "level"),
        ("Route", "kind"),
        ("Admin", "token"),
        ("Match", "path"),
    ],
)
def test_a_reference_may_stand_for_any_scalar(made, section, key):
    """A flag or a number may come from the environment."""
    node = resolved(made, made["$defs"][section]["properties"][key])

    assert REFERENCE in node["anyOf"]


def test_a_reference_never_stands_for_a_section(made):
    """What comes in is text, and never structure."""
    for key, node in made["properties"].items():
        found = resolved(made, node)
        assert (found.get("type") == "object") <= ("anyOf" not in found), key


def test_defaults_are_shown_as_they_are_written(made):
    """A duration with its unit, an address as host and port."""
    definitions = made["$defs"]

    assert "60s" == definitions["Cache"]["properties"]["ttl"]["default"]
    assert "0.0.0.0:8080" == definitions["Listen"]["properties"]["proxy"]["default"]
    assert True is definitions["Log"]["properties"]["access"]["default"]
    assert "default" not in definitions["Upstream"]["properties"]["host"]
