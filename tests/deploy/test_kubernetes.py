"""The kustomize bases and components, by real kubectl."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from deploy.kubernetes import TARGET, files
from gateway.app import registry
from gateway.config.load import load
from tests.deploy.charts import (
    KUBERNETES,
    TOOLS,
    Object,
    Rendered,
    complaints_of_kubernetes,
    complaints_of_models,
    needed,
    run,
)

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(120)]

README = (TARGET / "README.md").read_text()
APPLICATION = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: orders, labels: {token-gateway/inject: "true"}}
spec:
  selector: {matchLabels: {app: orders}}
  template:
    metadata: {labels: {app: orders}}
    spec:
      containers:
        - {name: app, image: "orders:1", lifecycle: {preStop: {sleep: {seconds: 10}}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: other}
spec:
  selector: {matchLabels: {app: other}}
  template:
    metadata: {labels: {app: other}}
    spec: {containers: [{name: app, image: "other:1"}]}
"""


@pytest.fixture(params=["helm3", "helm4"])
def kubectl(request):
    """The kubectl that came with each helm: 1.31 and 1.37."""
    needed(request.param)
    return TOOLS / request.param / "kubectl"


def built(kubectl: Path, folder: Path) -> Rendered:
    """Build a folder."""
    done = run([kubectl, "kustomize", folder])
    assert done.returncode == 0, done.stderr
    return Rendered([each for each in yaml.safe_load_all(done.stdout) if each])


@pytest.fixture
def overlay(tmp_path):
    """An application that uses the components as the README tells."""
    shutil.copytree(TARGET, tmp_path / "token-gateway" / "deploy" / "kubernetes")
    folder = tmp_path / "orders"
    folder.mkdir()
    (told,) = re.findall(r"```yaml\n(resources:.*?)```", README, re.DOTALL)
    (folder / "kustomization.yaml").write_text(
        told.replace(", service.yaml", "").replace(
            "/sidecar]", "/sidecar, ../token-gateway/deploy/kubernetes/monitoring]"
        )
    )
    (folder / "deployment.yaml").write_text(APPLICATION)
    text = (TARGET / "sidecar" / "gateway.yaml").read_text()
    (folder / "gateway.yaml").write_text(text.replace("id: read", "id: mine"))
    return folder


def test_the_files_are_what_the_chart_renders():
    """`make kubernetes` after a change of the chart."""
    needed("helm4")

    for path, text in files(TOOLS / "helm4" / "helm").items():
        assert text == path.read_text(), path


def test_the_base_takes_another_configuration(kubectl, overlay):
    """As the README tells: `behavior: replace`."""
    (overlay / "kustomization.yaml").write_text(
        "resources: [../token-gateway/deploy/kubernetes/gateway]\n"
        "configMapGenerator: [{name: token-gateway, behavior: replace,"
        " files: [gateway.yaml]}]\n"
    )
    config = built(kubectl, overlay).one("ConfigMap")

    assert "token-gateway" == config["metadata"]["name"]
    assert "id: mine" in config["data"]["gateway.yaml"]


def test_everything_is_what_kubernetes_knows(kubectl, overlay):
    """Base and overlay, held to each version that knows `sleep`."""
    objects = [
        *built(kubectl, TARGET / "gateway").objects,
        *built(kubectl, overlay).objects,
    ]
    ours = [each for each in objects if "monitoring" not in each["apiVersion"]]
    custom = [each for each in objects if "monitoring" in each["apiVersion"]]

    assert complaints_of_kubernetes(dict.fromkeys(KUBERNETES[1:], ours)) == []
    assert complaints_of_models(custom) == []
    assert len(ours) > 8
    assert len(custom) >= 2


def test_the_sidecar_comes_into_the_pods_that_ask_for_it(kubectl, overlay):
    """And into no other; the image is the user's."""
    rendered = built(kubectl, overlay)
    pods: dict[str, Object] = {
        each["metadata"]["name"]: each["spec"]["template"]
        for each in rendered.all("Deployment")
    }
    spec = pods["orders"]["spec"]
    (sidecar,) = spec["initContainers"]
    policy = rendered.one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"]

    assert "initContainers" not in pods["other"]["spec"]
    assert "Always" == sidecar["restartPolicy"]
    assert "registry.example.com/token-gateway:0.1.0" == sidecar["image"]
    assert ["app"] == [each["name"] for each in spec["containers"]]
    assert policy.items() <= pods["orders"]["metadata"]["labels"].items()
    assert str(spec["terminationGracePeriodSeconds"]) in README


@pytest.mark.parametrize("shape", ["gateway", "sidecar"])
def test_the_configuration_is_good(kubectl, shape, overlay, tmp_path):
    """The example's, and the user's own in its place."""
    folder = TARGET / "gateway" if shape == "gateway" else overlay
    config = built(kubectl, folder).one("ConfigMap", "token-gateway")["data"]
    for name in ("secret", "introspection"):
        (tmp_path / name).write_text("0123456789abcdef0123456789abcdef")
    text = config["gateway.yaml"].replace("/run/secrets/gateway", str(tmp_path))

    loaded = load(text, registry(), {})

    assert ["read" if shape == "gateway" else "mine"] == [
        route.id for route in loaded.config.routes
    ]
    assert () == loaded.warnings
