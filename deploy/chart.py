"""Make what the chart has from elsewhere: `make chart`.

values.schema.json is made from values.yaml, its comments, the table below and the schema
of the gateway's own configuration; the README's tables from the comments; rules and the
dashboard are copied. A test of
`make test` holds them to it, so nothing here can be forgotten.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

ROOT: Final = Path(__file__).parent.parent
CHART: Final = ROOT / "helm" / "token-gateway"

COPIED: Final = (
    ROOT / "deploy" / "grafana" / "token-gateway.json",
    ROOT / "deploy" / "prometheus" / "alerts.yml",
    ROOT / "deploy" / "prometheus" / "recording.yml",
)
"""What the chart carries, since Helm reads nothing outside of it."""

Schema = dict[str, Any]

_PARAMETER: Final = re.compile(r"## @param (\S+)(?: \[[a-z]+\])? (.+)")
_SECTION: Final = re.compile(r"## @section (.+)")
_MARKS: Final = ("<!-- parameters -->", "<!-- /parameters -->")
_SIDECAR: Final = (
    "<!-- sidecar: the pod of tests/deploy/orders -->",
    "<!-- /sidecar -->",
)
_NOT_AHEAD: Final = re.compile(r"\(\?![^()]*\)")
_TEMPLATE: Final = r"\{\{.+\}\}"

_STRINGS: Final[Schema] = {
    "type": "object",
    "additionalProperties": {"type": "string"},
}
_OBJECTS: Final[Schema] = {"type": "array", "items": {"type": "object"}}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_NUMBER: Final[Schema] = {"type": "integer", "minimum": 1}
_PORT: Final[Schema] = {"type": "integer", "minimum": 1, "maximum": 65535}
_SHARE: Final[Schema] = {"type": ["integer", "string"], "pattern": "^[0-9]+%?$"}
_INTERVAL: Final[Schema] = {"type": "string", "pattern": "^([0-9]+(ms|s|m|h))*$"}
_FILE: Final[Schema] = {"type": "string", "pattern": "^[A-Za-z0-9._-]*$"}
_NAME: Final[Schema] = {"type": "string", "pattern": "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"}
_FILES: Final[Schema] = {
    "type": "object",
    "additionalProperties": {"type": "string", "minLength": 1},
    "propertyNames": {"pattern": "^[A-Za-z0-9._-]+$"},
}
_PROBE: Final[Schema] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "initialDelaySeconds": _COUNT,
        "periodSeconds": _NUMBER,
        "timeoutSeconds": _NUMBER,
        "successThreshold": _NUMBER,
        "failureThreshold": _NUMBER,
    },
}

REFINED: Final[Mapping[str, Schema]] = {
    "mode": {"enum": ["gateway", "sidecar"]},
    "replicas": _COUNT,
    "commonLabels": _STRINGS,
    "commonAnnotations": _STRINGS,
    "global.imagePullSecrets": {"type": "array"},
    "image.repository": {"type": "string", "minLength": 1},
    "image.digest": {"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"},
    "image.pullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
    "image.pullSecrets": {"type": "array", "items": {"type": "string"}},
    "config": {"$ref": "#/$defs/config"},
    "configFiles": _FILES,
    "rolloutOnChange": {"enum": ["needed", "always", "never"]},
    "secrets.existingSecret": {"type": "string", "minLength": 1},
    "secrets.keys": {**_FILES, "minProperties": 1},
    "secrets.more": {
        "type": "array",
        "items": {
            "type": "object",
            "additionalProperties": False,
            "required": ["existingSecret", "keys"],
            "properties": {"existingSecret": {"type": "string"}, "keys": _FILES},
        },
    },
    "secrets.values": _STRINGS,
    "secrets.mountPath": {"type": "string", "pattern": "^/[A-Za-z0-9._/-]+[^/]$"},
    "secrets.defaultMode": {"type": ["integer", "null"], "minimum": 0, "maximum": 511},
    "redis.mode": {"enum": ["none", "standalone", "sentinel", "cluster"]},
    "redis.hosts": {
        "type": "array",
        "items": {
            "type": "string",
            "pattern": rf"^([^\s/@]+:[0-9]{{1,5}}|{_TEMPLATE}.*)$",
        },
    },
    "redis.database": _COUNT,
    "redis.passwordFile": _FILE,
    "redis.sentinel.passwordFile": _FILE,
    "redis.tls.caFile": _FILE,
    "redis.tls.certFile": _FILE,
    "redis.tls.keyFile": _FILE,
    "sidecar.native": {"enum": ["auto", "always", "never"]},
    "sidecar.appShutdownSeconds": _COUNT,
    "preStopSeconds": _NUMBER,
    "terminationGracePeriodSeconds": {"type": ["integer", "null"], "minimum": 1},
    "containerName": _NAME,
    "startupProbe": _PROBE,
    "readinessProbe": _PROBE,
    "livenessProbe": _PROBE,
    "minReadySeconds": _COUNT,
    "revisionHistoryLimit": _COUNT,
    "topologySpreadConstraints": _OBJECTS,
    "tolerations": _OBJECTS,
    "hostAliases": _OBJECTS,
    "nodeSelector": _STRINGS,
    "podLabels": _STRINGS,
    "podAnnotations": _STRINGS,
    "serviceAccount.annotations": _STRINGS,
    "service.type": {"enum": ["ClusterIP", "NodePort", "LoadBalancer"]},
    "service.port": _PORT,
    "service.nodePort": {"type": ["integer", "null"], "minimum": 1, "maximum": 65535},
    "service.annotations": _STRINGS,
    "service.labels": _STRINGS,
    "service.externalTrafficPolicy": {"enum": ["", "Cluster", "Local"]},
    "service.sessionAffinity": {"enum": ["None", "ClientIP"]},
    "service.ipFamilyPolicy": {
        "enum": ["", "SingleStack", "PreferDualStack", "RequireDualStack"]
    },
    "ingress.annotations": _STRINGS,
    "ingress.hosts": {
        "type": "array",
        "items": {
            "type": "object",
            "additionalProperties": False,
            "required": ["host"],
            "properties": {
                "host": {"type": "string"},
                "paths": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["path"],
                        "properties": {
                            "path": {"type": "string", "pattern": "^/"},
                            "pathType": {
                                "enum": ["Prefix", "Exact", "ImplementationSpecific"]
                            },
                        },
                    },
                },
            },
        },
    },
    "ingress.tls": _OBJECTS,
    "httpRoute.annotations": _STRINGS,
    "httpRoute.parentRefs": _OBJECTS,
    "httpRoute.hostnames": {"type": "array", "items": {"type": "string"}},
    "httpRoute.matches": _OBJECTS,
    "httpRoute.filters": _OBJECTS,
    "autoscaling.minReplicas": _NUMBER,
    "autoscaling.maxReplicas": _NUMBER,
    "autoscaling.cpu": {"type": ["integer", "null"], "minimum": 1},
    "autoscaling.memory": {"type": ["integer", "null"], "minimum": 1},
    "autoscaling.metrics": _OBJECTS,
    "podDisruptionBudget.maxUnavailable": _SHARE,
    "podDisruptionBudget.minAvailable": {
        **_SHARE,
        "type": ["integer", "string", "null"],
    },
    "networkPolicy.egress.enabled": {"type": ["boolean", "null"]},
    "networkPolicy.egress.except": {"type": "array", "items": {"type": "string"}},
    **{
        f"networkPolicy.{place}": _OBJECTS
        for place in (
            "ingress.from",
            "ingress.statusFrom",
            "ingress.adminFrom",
            "ingress.extra",
            "egress.dns",
            "egress.extra",
        )
    },
    **{
        f"{monitor}.{key}": shape
        for monitor in ("serviceMonitor", "podMonitor")
        for key, shape in (
            ("labels", _STRINGS),
            ("interval", _INTERVAL),
            ("scrapeTimeout", _INTERVAL),
            ("relabelings", _OBJECTS),
            ("metricRelabelings", _OBJECTS),
        )
    },
    "prometheusRule.labels": _STRINGS,
    "prometheusRule.alertLabels": _STRINGS,
    "prometheusRule.without": {"type": "array", "items": {"type": "string"}},
    "dashboard.labels": _STRINGS,
    "dashboard.annotations": _STRINGS,
    "extraArgs": {"type": "array", "items": {"type": "string"}},
    "extraEnv": _OBJECTS,
    "extraEnvFrom": _OBJECTS,
    "extraVolumes": _OBJECTS,
    "extraVolumeMounts": _OBJECTS,
    "extraContainers": _OBJECTS,
    "extraInitContainers": _OBJECTS,
    "extraObjects": {"type": "array", "items": {"type": ["object", "string"]}},
}
"""What a value must be, where its default does not say it."""

_OPEN: Final = ("global",)
"""Sections that hold keys of other charts too."""


class Parameter(NamedTuple):
    """A value as its comment tells it."""

    section: str
    path: str
    about: str


def parameters() -> Iterator[Parameter]:
    """Read the comments of values.yaml."""
    section = ""
    for line in (CHART / "values.yaml").read_text().splitlines():
        if found := _SECTION.fullmatch(line):
            section = found[1]
        elif found := _PARAMETER.fullmatch(line):
            yield Parameter(section, found[1], found[2])


def values() -> dict[str, Any]:
    """Read the values that there are when nobody gives others."""
    read: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
    return read


# ------------------------------------------------------------------------- schema


def values_schema() -> Schema:
    """Give the schema of values."""
    told = {each.path: each.about for each in parameters()}
    schema = _section("", values(), told)
    unused = sorted(REFINED.keys() - told.keys())
    if unused:
        message = f"values.yaml has no {unused[0]} with a comment"
        raise ValueError(message)
    # A chart that has this one as a dependency may switch it off by `enabled`.
    schema["properties"]["enabled"] = {"type": "boolean"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Values of token-gateway",
        **schema,
        "$defs": _language(),
    }


def _section(path: str, given: Mapping[str, Any], told: Mapping[str, str]) -> Schema:
    properties = {
        key: _value(f"{path}.{key}".lstrip("."), value, told)
        for key, value in given.items()
    }
    # Helm takes `null` for "without it": then templates would find nothing there.
    needed = [key for key, value in given.items() if value is not None]
    return {
        "type": "object",
        "additionalProperties": path in _OPEN,
        "required": [key for key in needed if path not in _OPEN and key not in _OPEN],
        "properties": properties,
    }


def _value(path: str, value: Any, told: Mapping[str, str]) -> Schema:
    if path not in told:
        if isinstance(value, dict):
            return _section(path, value, told)
        message = f"values.yaml: expected a comment `## @param {path} …`"
        raise ValueError(message)
    shape = REFINED[path] if path in REFINED else _shape(path, value)
    return {"description": told[path], **shape}


def _shape(path: str, value: Any) -> Schema:
    match value:
        case bool():
            return {"type": "boolean"}
        case str():
            return {"type": "string"}
        case dict():
            return {"type": "object"}
        case list():
            return {"type": "array"}
        case _:
            message = f"deploy/chart.py: expected {path} in REFINED"
            raise ValueError(message)


def _language() -> Schema:
    """Give the gateway's own language; the chart fills in what it leaves out."""
    schema = json.loads((ROOT / "config" / "schema.json").read_text())
    definitions: Schema = schema.pop("$defs")
    for key in ("$schema", "required", "title"):
        schema.pop(key)
    reference = definitions["Reference"]
    reference["pattern"] = f"{reference['pattern']}|{_TEMPLATE}"
    reference["description"] = "Put in when it is read, or a template of this chart."
    made: Schema = _for_go({"config": schema, **definitions})
    return made


def _for_go(node: Any) -> Any:
    """Take what Helm's regular expressions do not know out of all patterns.

    What these refuse beyond is still refused by the gateway.
    """
    match node:
        case dict():
            made = {key: _for_go(inner) for key, inner in node.items()}
            if isinstance(made.get("pattern"), str):
                made["pattern"] = _NOT_AHEAD.sub("", made["pattern"])
            return made
        case list():
            return [_for_go(inner) for inner in node]
        case _:
            return node


# ------------------------------------------------------------------------- README


def readme(text: str) -> str:
    """Put the sidecar's pod and the tables of all values between the marks of a text."""
    pod = ["```yaml", *_pod(), "```"]
    return _between(_between(text, _SIDECAR, pod), _MARKS, [*_tables()])


def _between(text: str, marks: tuple[str, str], lines: list[str]) -> str:
    before, _, rest = text.partition(marks[0])
    after = rest.partition(marks[1])[2]
    return before + "\n".join([marks[0], *lines, marks[1]]) + after


def _pod() -> Iterator[str]:
    """Give the Deployment that the tests render: one file, its first object."""
    text = (ROOT / "tests/deploy/orders/templates/deployment.yaml").read_text()
    yield from text.partition("\n---")[0].splitlines()


def _tables() -> Iterator[str]:
    section, given = "", values()
    for each in parameters():
        if each.section != section:
            section = each.section
            yield f"\n### {section}\n\n| value | default | meaning |\n|---|---|---|"
        yield f"| `{each.path}` | {_default(given, each.path)} | {each.about} |"
    yield ""


def _default(given: Any, path: str) -> str:
    for key in path.split("."):
        given = given[key]
    if given in ("", None):
        return ""
    text = given if isinstance(given, str) else json.dumps(given)
    return f"`{text}`" if len(text) < 60 else "see values.yaml"


# -------------------------------------------------------------------------- files


def files() -> Mapping[Path, str]:
    """Give every file that is made here, as it should be."""
    page = CHART / "README.md"
    schema = json.dumps(values_schema(), indent=2, ensure_ascii=False)
    return {
        CHART / "values.schema.json": schema + "\n",
        page: readme(page.read_text()),
        **{CHART / "files" / path.name: path.read_text() for path in COPIED},
    }


if __name__ == "__main__":
    for file, text in files().items():
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        sys.stdout.write(f"{file.relative_to(ROOT)}\n")
