"""The files of `config/`, and what its README says of the language."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from gateway.app import registry
from gateway.config import load as loading
from gateway.config.addresses import Address
from gateway.config.compile import compile_routes, compile_upstreams
from gateway.config.load import Loaded
from gateway.config.model import Config, language
from gateway.config.units import parse_duration, parse_size
from gateway.errors import ConfigError
from gateway.values import RouteKind
from tests.config.test_model import section

CONFIG = Path(__file__).parents[2] / "config"
STARTER = Path(loading.__file__).with_name("starter.yaml")
README = (CONFIG / "README.md").read_text()

OURS = {"GATEWAY_SECRET": "s" * 32, "GATEWAY_ADMIN_TOKEN": "t" * 16}
MELON = {"MELON_JWT_KEY": "a-key-of-more-than-thirty-two-characters"}
NUGU = {"NUGU_JWT_KEY": "a-key-of-more-than-thirty-two-characters"}
NEEDS = {
    CONFIG / "gateway.yaml": {
        **OURS,
        **MELON,
        **NUGU,
        "OTTM_API_BASE": "http://127.0.0.1:9100",
        "SANDBOX_URL": "http://127.0.0.1:9100",
    },
    CONFIG / "melon.yaml": {**OURS, **MELON},
    CONFIG / "nugu.yaml": {**OURS, **NUGU, "NUGU_HOST": "api.nugu.example"},
    CONFIG / "ottm.yaml": {
        **OURS,
        "OTTM_MEMBER_BASE": "https://member.ottm.example",
        "OTTM_API_BASE": "https://api.ottm.example",
    },
    STARTER: {"GATEWAY_SECRET": "s" * 32, "INTROSPECTION_SECRET": "hunter2"},
}
FILES = pytest.mark.parametrize("file", NEEDS, ids=lambda file: file.name)


def good(file: Path) -> Loaded:
    """Load a file with the environment that it asks for."""
    return loading.load(file, registry(), NEEDS[file])


def test_every_file_is_tried():
    """None is forgotten here."""
    assert {*CONFIG.glob("*.yaml"), STARTER} == NEEDS.keys()


@FILES
def test_a_file_is_good(file):
    """And compiles. Only what is unwise on purpose is warned about."""
    loaded = good(file)

    assert compile_routes(loaded.config)
    assert compile_upstreams(loaded.config)
    for warning in loaded.warnings:
        assert "token_from: a token in a query" in warning


@FILES
def test_a_file_asks_for_nothing_else_and_says_so(file):
    """Every variable without a default is named in its comments or the demo's code."""
    with pytest.raises(ConfigError) as caught:
        loading.load(file, registry(), {})
    missing = set(re.findall(r"\$\{env:(\w+)\} is not set", str(caught.value)))

    assert NEEDS[file].keys() == missing


def test_the_starter_needs_two_variables():
    """A newcomer sets them and runs."""
    assert 2 == len(NEEDS[STARTER])


def test_melon_is_https_only_and_parts_reading_from_changing():
    """As its guide says; the hosts are the guide's too."""
    config = good(CONFIG / "melon.yaml").config
    routes = {route.id: route for route in compile_routes(config)}

    assert config.providers["melon"].https_only
    assert routes["authorize"].guard.https_only
    assert {"auth.melon.com", "alliance.melon.com"} == {
        route.host for route in routes.values()
    }
    assert routes["likes-read"].path == routes["likes-modify"].path
    assert {"GET"} == routes["likes-read"].methods
    assert (frozenset({"user-like-read"}),) == routes["likes-read"].require.scopes
    assert {"PUT", "POST", "DELETE"} == routes["likes-modify"].methods
    assert (frozenset({"user-like-modify"}),) == routes["likes-modify"].require.scopes


def test_nugu_binds_every_resource_to_its_device():
    """At the host that the environment names."""
    routes = compile_routes(good(CONFIG / "nugu.yaml").config)

    assert {"api.nugu.example"} == {route.host for route in routes}
    assert all(
        route.require.device is not None
        for route in routes
        if route.kind is RouteKind.API
    )


def test_ottm_learns_where_it_sends_token_requests():
    """Else no token would ever have a known scope."""
    loaded = good(CONFIG / "ottm.yaml")

    assert ("learned", "userinfo") == loaded.config.providers["ottm"].verify
    assert () == loaded.warnings


# ----------------------------------------------------------------------- README


def tables() -> dict[str, dict[str, str]]:
    """Read the default of each key from the tables, by section."""
    found: dict[str, dict[str, str]] = {}
    for block in re.split(r"^#+ ", README, flags=re.MULTILINE):
        rows = re.findall(
            r"^\| `(\w+)` \| .*? \| (.*?) ?\| .+ \|$", block, re.MULTILINE
        )
        if "| key |" in block:
            found[block.partition("\n")[0].strip("`")] = dict(rows)
    return found


def sections(model: type[BaseModel], path: str = "") -> dict[str, type[BaseModel]]:
    """Find every section of the language, by its path as the README writes it."""
    found = {path or "The file": model}
    for name, field in model.model_fields.items():
        inner, mark = section(field.annotation)
        if inner is not None:
            place = f"{path}.{name}{mark.replace('*', 'NAME')}".removeprefix(".")
            found |= sections(inner, place)
    return found


def default(field: Any) -> Any:
    """Give what a key is when it is left out; None for a section or nothing."""
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, frozenset | tuple) and not isinstance(value, Address):
        value = ", ".join(value if all(isinstance(one, str) for one in value) else [])
    if isinstance(value, BaseModel | dict | bytes) or value == "":
        return None
    return value


def test_the_readme_has_every_key_with_its_default():
    """And none that is not there."""
    written, there = tables(), sections(language(registry()))

    assert there.keys() == written.keys()
    for name, model in there.items():
        assert model.model_fields.keys() == written[name].keys(), name
        for key, field in model.model_fields.items():
            said, is_so = written[name][key].strip("`"), default(field)
            match is_so:
                case bool():
                    assert str(is_so).lower() == said, (name, key)
                case float():
                    assert is_so == parse_duration(said), (name, key)
                case int():
                    assert is_so == parse_size(said), (name, key)
                case _:
                    assert (str(is_so) if is_so else "") == said, (name, key)


def test_the_readme_names_every_plug_in():
    """Those that come with the gateway."""
    found = registry()

    for name in (*found.dialects, *found.verifiers):
        assert f"`{name}`" in README
    assert issubclass(language(found), Config)
