"""Make deploy/kubernetes, for those without Helm, of what the chart renders.

`make kubernetes` (it needs Helm, which `make deploy-test` fetches). A test holds the
files to what the chart says now.
"""

import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parent.parent
CHART: Final = ROOT / "helm" / "token-gateway"
TARGET: Final = ROOT / "deploy" / "kubernetes"
KUBERNETES: Final = "1.33.0"
"""What it is rendered for: native sidecars, and a `sleep` of kubelet's."""

Object = dict[str, Any]

_HELMS: Final = (
    "helm.sh/chart",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/instance",
)
_HEAD: Final = "# Made by `make kubernetes` of helm/token-gateway: change it there.\n"


_POD: Final = """
extraObjects:
  - |
    apiVersion: v1
    kind: Pod
    metadata:
      name: pod
      labels:
        {{- include "token-gateway.sidecar.labels" $ | nindent 8 }}
    spec:
      terminationGracePeriodSeconds: {{ include "token-gateway.sidecar.graceSeconds" $ }}
      initContainers:
        {{- include "token-gateway.sidecar.initContainers" $ | nindent 8 }}
      volumes:
        {{- include "token-gateway.sidecar.volumes" $ | nindent 8 }}
"""


def files(helm: Path) -> Mapping[Path, str]:
    """Give every file that is made here, as it should be."""
    watched = ("serviceMonitor.enabled=true", "prometheusRule.enabled=true")
    gateway = _rendered(helm, CHART, "mode=gateway", *watched)
    sidecar = _rendered(helm, CHART, "mode=sidecar", "podMonitor.enabled=true")
    monitors = ("ServiceMonitor", "PodMonitor", "PrometheusRule")
    made = ("ConfigMap", "Secret", *monitors)
    return {
        TARGET / "gateway" / "objects.yaml": _written(
            each for each in gateway if each["kind"] not in made
        ),
        TARGET / "sidecar" / "networkpolicy.yaml": _written(
            each for each in sidecar if each["kind"] == "NetworkPolicy"
        ),
        TARGET / "sidecar" / "pod.yaml": _written([_patch(helm)]),
        TARGET / "monitoring" / "monitors.yaml": _written(
            each for each in gateway + sidecar if each["kind"] in monitors
        ),
    }


def _rendered(helm: Path, chart: Path, *values: str, given: str = "") -> list[Object]:
    """Render with the configuration's own defaults; its file is the user's."""
    command = [
        *(str(helm), "template", "token-gateway", str(chart), "-f", "-"),
        *("--kube-version", KUBERNETES),
        # What the configuration connects to is not known here.
        *("--set", "networkPolicy.egress.enabled=false", "--set", "test.enabled=false"),
        *("--set", "rolloutOnChange=never"),
        *(part for value in values for part in ("--set", value)),
    ]
    done = subprocess.run(  # noqa: S603
        command, input=given, capture_output=True, text=True, check=True
    )
    return [_plain(each) for each in yaml.safe_load_all(done.stdout) if each]


def _patch(helm: Path) -> Object:
    """Give what a Deployment's pod gets: by name, so a merge adds it."""
    rendered = _rendered(helm, CHART, "mode=sidecar", given=_POD)
    (pod,) = [each for each in rendered if each["kind"] == "Pod"]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "any"},
        "spec": {
            "template": {
                "metadata": {"labels": pod["metadata"]["labels"]},
                "spec": {**pod["spec"], "volumes": _whole(pod["spec"]["volumes"])},
            }
        },
    }


def _plain(given: Object) -> Object:
    """Take away what is Helm's; every key of the Secret becomes a file."""
    for labels in _labels(given):
        for name in _HELMS:
            labels.pop(name, None)
    given["metadata"].pop("namespace", None)
    if given["kind"] == "Deployment":
        spec = given["spec"]["template"]["spec"]
        spec["volumes"] = _whole(spec["volumes"])
    return given


def _whole(volumes: list[Object]) -> list[Object]:
    for volume in volumes:
        for source in volume.get("projected", {}).get("sources", ()):
            source["secret"].pop("items")
    return volumes


def _labels(node: Any) -> Iterable[dict[str, str]]:
    """Find every map of labels in an object."""
    match node:
        case dict():
            for key, inner in node.items():
                if key in ("labels", "matchLabels", "selector") and isinstance(
                    inner, dict
                ):
                    yield inner
                yield from _labels(inner)
        case list():
            for inner in node:
                yield from _labels(inner)
        case _:
            return


def _written(objects: Iterable[Object]) -> str:
    texts = [yaml.safe_dump(each, sort_keys=False, width=100) for each in objects]
    return _HEAD + "---\n".join(texts)


if __name__ == "__main__":
    for file, text in files(ROOT / ".deploy" / "helm4" / "helm").items():
        file.write_text(text)
        sys.stdout.write(f"{file.relative_to(ROOT)}\n")
