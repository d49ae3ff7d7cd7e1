import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import gateway.dialects
import gateway.stores
import gateway.verifiers
from gateway.errors import ConfigError
from gateway.plugins import plugins, registry, stores_by_scheme
from tests.wired import SIGNED, configured


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A plug-in folder on the import path, with one plug-in."""
    package = tmp_path / "plugin_folder_of_the_tests"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "acme.py").write_text("NAME = 'acme'")
    monkeypatch.syspath_prepend(tmp_path)
    yield package
    for name in [name for name in sys.modules if name.startswith(package.name)]:
        del sys.modules[name]


def test_a_plugin_is_found_by_its_file_name(folder):
    """A newcomer adds one file, and touches no other."""
    found = plugins(importlib.import_module(folder.name))

    assert ["acme"] == list(found)
    assert "acme" == found["acme"].NAME


@pytest.mark.parametrize("name", ["_shared", "acme-old", "acme copy", "2nd"])
def test_what_no_module_could_be_called_is_not_run(folder, name):
    """A backup beside a plug-in is no plug-in; nor is what plug-ins share."""
    (folder / f"{name}.py").write_text("raise RuntimeError('this was run')")

    assert {"acme"} == plugins(importlib.import_module(folder.name)).keys()


def test_every_file_of_the_three_folders_is_a_plugin():
    """File by file; nothing is registered by hand."""
    for package in (gateway.dialects, gateway.verifiers, gateway.stores):
        files = {path.stem for path in Path(package.__path__[0]).glob("[!_]*.py")}

        assert files == plugins(package).keys()


def test_the_registry_tells_configuration_all_there_is():
    """Names as they stand in a configuration file."""
    known = registry()

    assert {"rfc6750", "melon", "nugu", "ottm"} <= set(known.dialects)
    assert {"jwt", "introspection", "userinfo", "learned"} <= set(known.verifiers)
    assert {"memory", "redis", "rediss"} <= set(known.store_schemes)


@pytest.mark.parametrize(
    "text",
    [
        "providers: {lab: {verify: [oracle]}}",
        "providers: {lab: {verify: [_shared]}}",
        f"providers: {{lab: {{{SIGNED}, dialect: klingon}}}}",
        'store: {url: "mongodb://127.0.0.1"}',
    ],
)
def test_an_unknown_plugin_is_a_problem_of_the_configuration(text):
    """Told at load, never met by a request."""
    with pytest.raises(ConfigError) as caught:
        configured(text)

    assert 1 == len(caught.value.problems)


def test_a_store_is_found_by_the_scheme_of_its_url():
    """One module may open several."""
    modules = stores_by_scheme()

    assert modules["redis"] is modules["rediss"]
    assert modules["memory"] is not modules["redis"]


@pytest.mark.parametrize(
    ("hidden", "lacking"),
    [
        ("grpc_health", {"authz_grpc": "pip install 'token-gateway[grpc]'"}),
        ("opentelemetry", {"tracing": "pip install 'token-gateway[otel]'"}),
        ("nothing", {}),
    ],
)
def test_what_is_not_installed_is_told_with_what_to_install(hidden, lacking):
    """By a process that cannot import it."""
    program = (
        "import importlib.abc, sys\n"
        "class Hidden(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        f"        if name.split('.')[0] == {hidden!r}: raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Hidden())\n"
        "from gateway.plugins import registry\n"
        "print(registry().lacking)\n"
    )
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert f"{lacking}\n" == done.stdout
