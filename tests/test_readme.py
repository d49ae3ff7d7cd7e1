"""What the README says is true."""

import re
from pathlib import Path

import click
import pytest

from gateway.app import registry
from gateway.cli import main
from gateway.config.load import load

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()


def test_the_configuration_loads_without_a_warning(tmp_path):
    """A newcomer who copies it has a gateway, once the secrets are there."""
    (example,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    secret = tmp_path / "gateway"
    secret.write_text("0123456789abcdef0123456789abcdef")
    text = example.replace("/run/secrets/gateway", str(secret))

    loaded = load(text, registry(), {"ACME_SECRET": "a client's secret"})

    assert ["read", "write"] == [route.id for route in loaded.config.routes]
    assert () == loaded.warnings
    assert len(example.splitlines()) <= 15


@pytest.mark.parametrize("text", [README, CONTRIBUTING], ids=["readme", "contributing"])
def test_every_command_exists(text):
    """`gateway NAME` is a command, `make NAME` a target."""
    commands = set(re.findall(r"`(?:\.venv/bin/)?gateway ([a-z]+)\b(?!/)", text))
    targets = set(re.findall(r"(?m)(?:^|`)make ([a-z-]+)", text))
    makefile = (ROOT / "Makefile").read_text()

    assert isinstance(main, click.Group)
    assert set() == commands - set(main.commands)
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


@pytest.mark.parametrize("text", [README, CONTRIBUTING], ids=["readme", "contributing"])
def test_every_link_into_the_repository_leads_somewhere(text):
    """No link is dead."""
    links = re.findall(r"\]\((?!http)([^)#]+)", text)

    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_dialect_is_in_the_table():
    """The provider table is complete."""
    assert all(f"| `{name}` |" in README for name in registry().dialects)
