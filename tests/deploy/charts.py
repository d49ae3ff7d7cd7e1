"""Real helm, and what it rendered. `make deploy-test` fetches the tools (tools.sh)."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
TOOLS = ROOT / ".deploy"
CHART = ROOT / "helm" / "token-gateway"
CI = sorted((CHART / "ci").glob("*-values.yaml"))
KUBERNETES = ("1.29.0", "1.33.0", "1.37.0")

Object = dict[str, Any]


def needed(name: str) -> None:
    """Skip the test by name where a tool could not be had."""
    missing = TOOLS / "missing" / name
    if missing.exists():
        pytest.skip(f"{name}: {missing.read_text().strip()}")


def run(
    arguments: Sequence[str | Path], *, given: str = "", folder: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    return subprocess.run(  # noqa: S603
        list(map(str, arguments)),
        input=given,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@dataclass(frozen=True)
class Rendered:
    """The objects of a release."""

    objects: list[Object]

    def all(self, kind: str) -> list[Object]:
        """Give those of a kind."""
        return [each for each in self.objects if each["kind"] == kind]

    def one(self, kind: str, suffix: str = "") -> Object:
        """Give the only one of a kind whose name ends so."""
        found = [
            each for each in self.all(kind) if each["metadata"]["name"].endswith(suffix)
        ]
        assert len(found) == 1, f"{len(found)} of {kind}"
        return found[0]

    def pod(self) -> Object:
        """Give the pod of the only Deployment."""
        spec: Object = self.one("Deployment")["spec"]["template"]["spec"]
        return spec

    def configuration(self) -> Object:
        """Give the gateway's configuration."""
        text = self.one("ConfigMap", "token-gateway")["data"]["gateway.yaml"]
        read: Object = yaml.safe_load(text)
        return read


@dataclass(frozen=True)
class Helm:
    """One major version of Helm."""

    name: str

    def __call__(
        self, *arguments: str | Path, folder: Path = ROOT
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of it."""
        needed(self.name)
        return run([TOOLS / self.name / "helm", *arguments], folder=folder)

    def template(
        self,
        *values: Path | str,
        chart: Path = CHART,
        kubernetes: str = "1.33.0",
        more: Sequence[str] = (),
    ) -> Rendered:
        """Render a release `r` with files of values (a `Path`) and values (a `str`)."""
        done = self(*self._rendering(values, chart, kubernetes), *more)
        assert done.returncode == 0, done.stderr
        return Rendered([each for each in yaml.safe_load_all(done.stdout) if each])

    def refusal(
        self, *values: Path | str, chart: Path = CHART, kubernetes: str = "1.33.0"
    ) -> str:
        """Give what it says to values that it refuses."""
        done = self(*self._rendering(values, chart, kubernetes))
        assert done.returncode != 0, "nothing was refused"
        return done.stderr

    def notes(self, *values: Path | str) -> str:
        """Give what is told after an installation.

        `install --dry-run` of Helm 3 wants a cluster, so an extra object carries it.
        """
        rendered = self.template(*values, Path(__file__).parent / "notes-values.yaml")
        text: str = rendered.one("Notes")["text"]
        return text

    def _rendering(
        self, values: Sequence[Path | str], chart: Path, kubernetes: str
    ) -> list[str | Path]:
        return [
            *("template", "r", chart, "--namespace", "shop"),
            *("--kube-version", kubernetes),
            *_given(values),
        ]


def _given(values: Sequence[Path | str]) -> list[str | Path]:
    return [
        part
        for each in values
        for part in (("-f", each) if isinstance(each, Path) else ("--set", each))
    ]


def ports(container: Mapping[str, Any]) -> dict[str, int]:
    """Give a container's ports by name."""
    return {each["name"]: each["containerPort"] for each in container["ports"]}


def complaints_of_kubernetes(objects: Mapping[str, list[Object]]) -> list[str]:
    """Hold objects to the schemas of versions of Kubernetes."""
    needed("kubernetes-validate")
    script = Path(__file__).parent / "models" / "validate.py"
    python = TOOLS / "validate" / "bin" / "python"
    done = run([python, script], given=json.dumps(objects))
    assert done.returncode == 0, done.stderr
    told: list[str] = json.loads(done.stdout)
    return told


def complaints_of_models(objects: list[Object]) -> list[str]:
    """Hold custom resources to the models of their definitions."""
    needed("node")
    needed("models")
    source = Path(__file__).parent / "models" / "validate.mjs"
    # Node looks for packages beside the script.
    script = TOOLS / "validate.mjs"
    script.write_text(source.read_text())
    done = run(["node", script], given=json.dumps(objects))
    assert done.returncode == 0, done.stderr
    told: list[str] = json.loads(done.stdout)
    return told
