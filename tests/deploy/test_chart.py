"""The chart, by real Helm 3 and 4: rendered, held to schemas, and refused."""

import json
import re
from pathlib import Path

import pytest
import trustme
import yaml

from gateway.app import registry
from gateway.config.load import Loaded, load
from tests.deploy.charts import (
    CHART,
    CI,
    KUBERNETES,
    ROOT,
    Helm,
    Object,
    Rendered,
    complaints_of_kubernetes,
    complaints_of_models,
    ports,
)

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(180)]

HELMS = [Helm("helm3"), Helm("helm4")]
OLDEST = "1.27.0"
"""What Chart.yaml asks for."""
OLD = "1.28.0"
"""Before native sidecars."""
FILES = "/run/secrets/gateway"
CUSTOM = ("gateway.networking.k8s.io", "monitoring.coreos.com")


def ci(name: str) -> Path:
    """Give a file of values."""
    return CHART / "ci" / f"{name}-values.yaml"


@pytest.fixture(params=HELMS, ids=lambda helm: helm.name)
def helm(request):
    """Both major versions."""
    return request.param


# --------------------------------------------------------------------- as it comes


@pytest.mark.parametrize("values", [None, *CI], ids=lambda path: path and path.stem)
def test_lint_is_strict_and_finds_nothing(helm, values):
    """Neither for the defaults nor for any file in ci/."""
    given = () if values is None else ("-f", values)

    done = helm("lint", "--strict", CHART, *given)

    assert done.returncode == 0, done.stdout + done.stderr


def test_package(helm, tmp_path):
    """It can be published, with its schema and without its ci files."""
    done = helm("package", CHART, "-d", tmp_path)
    (package,) = tmp_path.iterdir()
    inside = helm("show", "chart", package)

    assert done.returncode == 0, done.stderr
    assert "name: token-gateway" in inside.stdout


@pytest.mark.parametrize("helm", HELMS, ids=lambda helm: helm.name)
def test_objects_are_what_kubernetes_knows(helm, orders):
    """Every file in ci/ and the application's chart, rendered for and held to each."""
    objects = {
        version: [
            each
            for rendered in (
                *(helm.template(path, kubernetes=version) for path in CI),
                helm.template(chart=orders, kubernetes=version),
            )
            for each in rendered.objects
            if not each["apiVersion"].startswith(CUSTOM)
        ]
        for version in (OLDEST, *KUBERNETES)
    }

    assert complaints_of_kubernetes(objects) == []
    assert min(map(len, objects.values())) > 40


def test_the_schemas_of_kubernetes_would_complain():
    """The proof above can fail."""
    pod = {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": "none"}}

    assert len(complaints_of_kubernetes({KUBERNETES[0]: [pod]})) == 1


def test_custom_resources_are_what_their_definitions_say(helm):
    """Those of the Prometheus operator and of the Gateway API."""
    rendered = [helm.template(path) for path in CI]
    objects = [
        each
        for one in rendered
        for each in one.objects
        if each["apiVersion"].startswith(CUSTOM)
    ]
    kinds = {each["kind"] for each in objects}

    assert complaints_of_models(objects) == []
    assert {"HTTPRoute", "PodMonitor", "PrometheusRule", "ServiceMonitor"} <= kinds


def test_the_models_would_complain(helm):
    """The proof above can fail."""
    monitor = helm.template(ci("production")).one("ServiceMonitor")
    monitor["spec"]["endpoints"][0]["interval"] = "often"

    (told,) = complaints_of_models([monitor])

    assert "interval" in told


# ------------------------------------------------------------------------- refusals


WRONG = {
    "replicas=two": "replicas",
    "replica=2": "replica",
    "mode=proxy": "mode",
    "redis.mode=single": "redis.mode",
    "redis.tls.enabled=yes please": "redis.tls.enabled",
    "redis.hosts[0]=valkey": "redis.hosts.0",
    "image.digest=abc": "image.digest",
    "livenessProbe.httpGet.path=/": "livenessProbe",
    "networkPolicy.ingress.form[0]=x": "networkPolicy.ingress",
    "secrets.keys=null": "keys",
    "secrets.keys=secret": "secrets.keys",
    "config.listn.proxy=x": "config",
    "config.listen.proxy=8080": "config.listen.proxy",
    "config.drain.deadline=5 minutes": "config.drain.deadline",
    "config.routes[0].match.path=/a": "config.routes.0",
    "config.providers.a.verify[0]=magic": "config.providers.a.verify.0",
}


@pytest.mark.parametrize(("wrong", "key"), WRONG.items(), ids=WRONG)
def test_wrong_values_are_refused_by_the_schema(helm, wrong, key):
    """The message names the key; Helm 4 writes it as a pointer."""
    told = helm.refusal(wrong).replace("config.routes.0: id", "config.routes.0")

    assert "values don't meet the specifications of the schema" in told
    assert key in told or f"'/{key.replace('.', '/')}'" in told


IMPOSSIBLE = {
    ("config.store.url=memory://", "redis.mode=standalone", "redis.hosts[0]=a:1"): (
        "config.store: expected nothing, since redis.mode is standalone"
    ),
    ("redis.mode=cluster",): "redis.hosts: expected host:port",
    ("redis.mode=sentinel", "redis.hosts[0]=a:1"): "redis.service: expected",
    ("config.listen.status=127.0.0.1:9090",): "config.listen.status: expected",
    ("config.listen.proxy=unix:/run/x.sock",): "config.listen.proxy: expected",
    ("config.listen.proxy=0.0.0.0:${env:PORT}",): "config.listen.proxy: expected",
    ("config.drain.deadline=${env:DRAIN}",): "config.drain.deadline: expected",
    ("config.admin.token=${file:/run/secrets/gateway/admin}",): (
        "secrets.keys: expected admin among them"
    ),
    ("secrets.keys.secret=null", "secrets.keys.other=x"): (
        "secrets.keys: expected `secret` among them"
    ),
    ("secrets.values.other=x",): "secrets.values: expected secret",
    ("config.upstreams.a.targets[0]=http://${env:HOST}",): (
        "networkPolicy.egress.extra: expected a rule for config.upstreams.a.targets"
    ),
    ("ingress.enabled=true",): "ingress.hosts: expected at least one",
    ("httpRoute.enabled=true",): "httpRoute.parentRefs: expected at least one",
}


@pytest.mark.parametrize(
    ("wrong", "told"), IMPOSSIBLE.items(), ids=map(str, IMPOSSIBLE)
)
def test_what_cannot_work_together_is_refused(helm, wrong, told):
    """Before anything is installed; the message names the key and what was expected."""
    assert told in helm.refusal(*wrong)


def test_what_pods_learn_must_be_shared(helm):
    """Tokens that one pod has seen being issued are unknown to the others."""
    told = helm.refusal(ci("providers"), "replicas=2")

    assert "redis.mode: expected a store that pods share" in told


def test_values_of_other_charts_are_nobodys_business(helm):
    """A parent chart's `global`, and the `enabled` of a condition."""
    rendered = helm.template("enabled=true", "global.storageClass=fast")

    assert len(rendered.all("Deployment")) == 1


# --------------------------------------------------------------------- configuration


def loaded(rendered: Rendered, folder: Path) -> Loaded:
    """Load what a pod would be given, as it would be mounted."""
    secrets, config = folder / "secrets", folder / "config"
    secrets.mkdir()
    config.mkdir()
    pod = rendered.one("Pod", "-test")["spec"]
    write_secrets(pod, secrets)
    for name, text in rendered.one("ConfigMap", "token-gateway")["data"].items():
        (config / name).write_text(text.replace(FILES, str(secrets)))
    container = pod.get("initContainers", pod["containers"])[0]
    environ = {
        each["name"]: each.get("value", "a-pod") for each in container.get("env", ())
    }
    return load(config / "gateway.yaml", registry(), environ)


def write_secrets(pod: Object, folder: Path) -> None:
    """Write the files of the pod's Secrets: certificates, keys, and texts."""
    pair = trustme.CA().issue_cert("gateway.example.com")
    chain = b"".join(blob.bytes() for blob in pair.cert_chain_pems)
    contents = {".crt": chain, ".key": pair.private_key_pem.bytes()}
    for source in pod["volumes"][1]["projected"]["sources"]:
        for item in source["secret"]["items"]:
            path = folder / item["path"]
            text = f"{item['key']}-0123456789abcdef0123456789abcdef"
            path.write_bytes(contents.get(path.suffix, text.encode()))


@pytest.mark.parametrize("values", CI, ids=lambda path: path.stem)
def test_the_configuration_is_good(helm, values, tmp_path):
    """`gateway check` finds no problem in what is mounted."""
    rendered = helm.template(values)
    if "existing-config" in values.stem:
        assert all(
            "gateway.yaml" not in each["data"] for each in rendered.all("ConfigMap")
        )
        return

    config = loaded(rendered, tmp_path).config

    assert len(config.routes) >= len(rendered.configuration().get("routes", ()))


def test_numbers_stay_numbers(helm):
    """Go's floats are not written as 2e+06."""
    config = helm.template(ci("production")).configuration()

    assert 2_000_000 == config["limits"]["connections"]


def test_templates_in_the_configuration(helm):
    """Names of a release can be used in it."""
    config = helm.template(
        "config.upstreams.a.targets[0]=http://{{ .Release.Name }}-app:3000"
    ).configuration()

    assert ["http://r-app:3000"] == config["upstreams"]["a"]["targets"]


def test_the_default_installs(helm, tmp_path):
    """Without any value: a gateway that answers 404, and waits for its Secret."""
    rendered = helm.template()
    config = loaded(rendered, tmp_path).config

    assert () == config.routes
    assert "token-gateway" in str(rendered.pod()["volumes"])


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("redis-standalone", "redis://r-valkey:6379/2"),
        (
            "redis-sentinel",
            (
                "rediss+sentinel://redis-0.redis.cache.svc:26379,"
                "redis-1.redis.cache.svc:26379,redis-2.redis.cache.svc:26379/main/0"
            ),
        ),
        (
            "redis-cluster",
            "rediss+cluster://node-1.cache.example.com:6379,10.4.0.17:6379",
        ),
    ],
)
def test_every_kind_of_redis(helm, name, url):
    """By one section of values; passwords are files, never text."""
    store = helm.template(ci(name)).configuration()["store"]

    assert url == store["url"]
    assert store["password"].startswith(f"${{file:{FILES}/")


def checksum(helm: Helm, *values: str) -> str | None:
    """Give the annotation that makes a Deployment replace its pods."""
    deployment = helm.template(ci("minimal"), *values).one("Deployment")
    notes = deployment["spec"]["template"]["metadata"]["annotations"]
    found: str | None = notes.get("checksum/token-gateway-config")
    return found


def test_pods_are_replaced_for_what_they_do_not_take_up(helm):
    """By default for `listen` and `workers`; the rest is taken up live."""
    before = checksum(helm)

    assert before == checksum(helm, "replicas=3", "config.log.level=debug")
    assert before != checksum(helm, "config.listen.status=0.0.0.0:9099")
    assert before != checksum(helm, "config.workers=2")
    tls = ("admin.tls.certificate=/a", "admin.tls.key=/b")
    assert before != checksum(helm, *(f"config.{each}" for each in tls))
    assert before == checksum(helm, "config.admin.token=a-token-of-some-length")


@pytest.mark.parametrize(
    "values",
    [
        ["rolloutOnChange=always"],
        ["config.reload.watch=0s"],
    ],
    ids=lambda values: values[0],
)
def test_pods_are_replaced_for_everything(helm, values):
    """Where nothing is taken up, or by wish."""
    assert checksum(helm, *values) != checksum(helm, *values, "config.log.level=debug")


def test_pods_are_never_replaced_by_wish(helm):
    """Somebody else sees to it."""
    assert checksum(helm, "rolloutOnChange=never") is None


# ---------------------------------------------------------------------------- pods


STRICT = {
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "runAsGroup": 65532,
    "allowPrivilegeEscalation": False,
    "privileged": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


@pytest.mark.parametrize("values", CI, ids=lambda path: path.stem)
def test_every_container_of_ours_is_at_its_strictest(helm, values):
    """Nothing is written, nothing is gained; no token of the cluster is there."""
    rendered = helm.template(values)
    pods = [each["spec"] for each in rendered.all("Pod")]
    pods += [each["spec"]["template"]["spec"] for each in rendered.all("Deployment")]
    containers = [
        container
        for pod in pods
        for container in pod["containers"] + pod.get("initContainers", [])
        if "token-gateway" in container["image"]
    ]

    assert containers
    assert all(each["securityContext"] == STRICT for each in containers)
    assert all(pod["automountServiceAccountToken"] is False for pod in pods)


def test_probes_ask_the_status_port(helm):
    """Each its own path."""
    container = helm.template(ci("production")).pod()["containers"][0]
    asked = {
        name: container[f"{name}Probe"]["httpGet"]
        for name in ("startup", "readiness", "liveness")
    }

    assert {
        "startup": {"path": "/startupz", "port": "gw-status"},
        "readiness": {"path": "/readyz", "port": "gw-status"},
        "liveness": {"path": "/livez", "port": "gw-status"},
    } == asked
    assert {"gw-proxy": 8443, "gw-status": 9090} == ports(container)


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        ((), 10 + 25 + 5),
        (("config.drain.deadline=1m",), 10 + 60 + 5),
        (("config.drain.deadline=2500ms", "preStopSeconds=3"), 3 + 3 + 5),
        (("config.drain.deadline=0.5h",), 10 + 1800 + 5),
        (("config.drain.deadline=30",), 10 + 30 + 5),
        (("terminationGracePeriodSeconds=7",), 7),
    ],
)
def test_the_grace_period_holds_the_whole_end(helm, values, seconds):
    """preStop, the configuration's own drain, and some time to stop."""
    assert seconds == helm.template(*values).pod()["terminationGracePeriodSeconds"]


def test_nobody_needs_a_shell_to_sleep(helm):
    """By kubelet where it can, by Python before."""
    new, old = (
        helm.template(kubernetes=version).pod()["containers"][0]["lifecycle"]["preStop"]
        for version in ("1.30.0", "1.29.0")
    )

    assert {"sleep": {"seconds": 10}} == new
    assert ["python3", "-c", "import time; time.sleep(10)"] == old["exec"]["command"]


def test_secrets_can_be_read_by_their_user_alone(helm):
    """By the group that kubelet gives the files to; a sidecar has no say in that."""
    gateway, sidecar = (
        helm.template(ci(name)).one("Pod", "-test")["spec"]["volumes"][1]["projected"]
        for name in ("minimal", "sidecar")
    )

    assert 0o440 == gateway["defaultMode"]
    assert 0o444 == sidecar["defaultMode"]


def test_the_test_pod_is_no_gateway(helm):
    """No Service and no policy takes it for one."""
    rendered = helm.template(ci("production"))
    labels = rendered.one("Pod", "-test")["metadata"]["labels"]

    for service in rendered.all("Service"):
        assert not service["spec"]["selector"].items() <= labels.items()


def test_clients_never_come_to_the_metrics(helm):
    """The clients' Service has one port; status is a Service of its own."""
    rendered = helm.template(ci("production"))
    doors = rendered.one("Service", "token-gateway")["spec"]["ports"]
    status = rendered.one("Service", "-status")["spec"]

    assert ["gw-proxy"] == [each["targetPort"] for each in doors]
    assert ("None", "gw-status") == (
        status["clusterIP"],
        status["ports"][0]["targetPort"],
    )


def test_the_listener_for_decisions_is_opened_where_it_is_configured(helm):
    """For proxies that ask; on loopback it is for the same pod alone."""
    asked, own = (
        helm.template(f"config.listen.authz={address}:9092")
        for address in ("0.0.0.0", "127.0.0.1")
    )
    doors = [
        port["port"]
        for rule in asked.one("NetworkPolicy")["spec"]["ingress"]
        for port in rule["ports"]
    ]

    assert 9092 == ports(asked.pod()["containers"][0])["gw-authz"]
    assert 9092 == asked.one("Service", "token-gateway")["spec"]["ports"][1]["port"]
    assert [8080, 9092, 9090] == doors
    assert "gw-authz" not in ports(own.pod()["containers"][0])
    assert 1 == len(own.one("Service", "token-gateway")["spec"]["ports"])


def test_operators_come_from_elsewhere_only_by_wish(helm):
    """To an address of the pod, and past the policy: clients' Service leads nowhere."""
    address = "config.listen.admin=0.0.0.0:9091"
    who = "networkPolicy.ingress.adminFrom[0].podSelector.matchLabels.team=ops"
    closed, opened = helm.template(address), helm.template(address, who)
    rules = opened.one("NetworkPolicy")["spec"]["ingress"]
    everybodys = closed.one("NetworkPolicy")["spec"]["ingress"]

    assert 9091 == ports(opened.pod()["containers"][0])["gw-admin"]
    assert "gw-admin" not in ports(helm.template().pod()["containers"][0])
    assert [8080, 9090] == [
        each["port"] for rule in everybodys for each in rule["ports"]
    ]
    assert {
        "ports": [{"port": 9091, "protocol": "TCP"}],
        "from": [{"podSelector": {"matchLabels": {"team": "ops"}}}],
    } == rules[-1]
    assert 1 == len(opened.one("Service", "token-gateway")["spec"]["ports"])
    assert "config.listen.admin: expected an address of the pod" in helm.refusal(who)


def test_selectors_find_the_pods(helm):
    """Deployment, Services, policy, budget and monitors mean the same pods."""
    rendered = helm.template(ci("production"))
    labels = rendered.one("Deployment")["spec"]["template"]["metadata"]["labels"]
    selectors = [
        rendered.one("Deployment")["spec"]["selector"]["matchLabels"],
        rendered.one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        rendered.one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        rendered.one("PodMonitor")["spec"]["selector"]["matchLabels"],
        *(each["spec"]["selector"] for each in rendered.all("Service")),
    ]
    monitored = rendered.one("ServiceMonitor")["spec"]["selector"]["matchLabels"]
    services = [
        each
        for each in rendered.all("Service")
        if monitored.items() <= each["metadata"]["labels"].items()
    ]

    assert all(each.items() <= labels.items() for each in selectors)
    assert 1 == len(services)


@pytest.mark.parametrize(
    ("values", "budgets"),
    [
        (("replicas=1",), 0),
        (("replicas=2",), 1),
        (("replicas=1", "autoscaling.enabled=true"), 1),
        (("autoscaling.enabled=true", "autoscaling.minReplicas=1"), 0),
    ],
)
def test_a_budget_never_locks_a_node(helm, values, budgets):
    """One pod alone has none: its node could not be drained."""
    rendered = helm.template(*values)

    assert budgets == len(rendered.all("PodDisruptionBudget"))
    assert ("replicas" in rendered.one("Deployment")["spec"]) == (
        "autoscaling.enabled=true" not in values
    )


# ------------------------------------------------------------------------- sidecar


@pytest.mark.parametrize("version", [OLD, *KUBERNETES])
def test_a_sidecar_is_native_where_it_can_be(helm, orders, version):
    """In the application's own pod, by the template of the README."""
    pod = helm.template(chart=orders, kubernetes=version).pod()
    native = version != OLD
    inits = pod["initContainers"] or []
    names = [each["name"] for each in pod["containers"]]

    assert (["token-gateway"] if native else []) == [each["name"] for each in inits]
    assert (["app"] if native else ["token-gateway", "app"]) == names
    if native:
        assert "Always" == inits[0]["restartPolicy"]
        assert "lifecycle" not in inits[0]
        assert inits[0]["startupProbe"]


@pytest.mark.parametrize(
    ("version", "waits", "grace"),
    [
        # The application waits for balancers; it ends, then the gateway drains.
        ("1.33.0", 10, 10 + 10 + 20 + 5),
        # They end side by side: the application outlives the gateway's drain.
        (OLD, 10 + 20, 30 + 10 + 20 + 5),
    ],
)
def test_the_application_goes_on_for_as_long_as_it_is_needed(
    helm, orders, version, waits, grace
):
    """A gateway whose application is gone can only answer 502."""
    pod = helm.template(chart=orders, kubernetes=version).pod()
    app = pod["containers"][-1]["lifecycle"]["preStop"]

    assert grace == pod["terminationGracePeriodSeconds"]
    assert str(waits) in str(app)


def test_a_sidecar_may_be_switched_off(helm, orders):
    """By the dependency's condition; its templates stay known."""
    rendered = helm.template("token-gateway.networkPolicy.enabled=false", chart=orders)

    assert [] == rendered.all("NetworkPolicy")


def test_a_sidecar_has_no_objects_of_a_gateway(helm):
    """One file of values, two shapes."""
    gateway = helm.template(ci("sidecar"), "mode=gateway")
    sidecar = helm.template(ci("sidecar"))

    assert {*("ConfigMap", "NetworkPolicy", "Pod", "PodMonitor", "PrometheusRule")} == {
        each["kind"] for each in sidecar.objects
    }
    assert {"Deployment", "Service", "PodDisruptionBudget"} < {
        each["kind"] for each in gateway.objects
    }
    assert gateway.configuration() == sidecar.configuration()


def test_a_sidecar_closes_the_port_of_its_application(helm, orders):
    """The policy means the application's pod, and lets only our ports in."""
    rendered = helm.template(chart=orders)
    policy = rendered.one("NetworkPolicy")["spec"]
    labels = rendered.one("Deployment")["spec"]["template"]["metadata"]["labels"]
    open_ports = [port["port"] for rule in policy["ingress"] for port in rule["ports"]]

    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    assert [8080, 9090] == open_ports
    # The application's own connections share the pod's network.
    assert ["Ingress"] == policy["policyTypes"]


# ------------------------------------------------------------------ network policy


def egress(rendered: Rendered) -> list[Object]:
    """Give where pods may connect to, without DNS."""
    rules: list[Object] = rendered.one("NetworkPolicy")["spec"]["egress"]
    assert [53, 53] == [port["port"] for port in rules[0]["ports"]]
    return rules[1:]


def reached(rule: Object) -> tuple[str, list[int]]:
    """Give what a rule opens, in short."""
    told = re.sub(r"[{}' ]|kubernetes.io/metadata.name", "", str(rule["to"]))
    return told, [port["port"] for port in rule.get("ports", ())]


def test_the_policy_follows_the_configuration(helm):
    """Namespaces for names in the cluster, ports for names outside, addresses as such."""
    rules = [reached(rule) for rule in egress(helm.template(ci("production")))]
    everywhere = "[ipBlock:cidr:0.0.0.0/0,except:[169.254.0.0/16],ipBlock:cidr:::/0]"

    assert [
        ("[ipBlock:cidr:10.9.8.7/32]", [8080]),
        ("[namespaceSelector:matchLabels::shop]", [8000]),
        ("[namespaceSelector:matchLabels::cache]", []),
        (everywhere, [443, 6379, 8443]),
        ("[ipBlock:cidr:192.0.2.10/32]", [4318]),
    ] == rules


def test_the_collector_of_traces_is_reached(helm):
    """It is named by OpenTelemetry's own variable."""
    name = "extraEnv[0].name=OTEL_EXPORTER_OTLP_ENDPOINT"
    rendered = helm.template(name, "extraEnv[0].value=http://collector.traces.svc:4318")

    assert [
        ("[namespaceSelector:matchLabels::traces]", []),
    ] == [reached(rule) for rule in egress(rendered)]


def test_a_configuration_without_connections_opens_nothing(helm):
    """Only DNS."""
    assert [] == egress(helm.template())


def test_the_policy_knows_a_short_name_and_six_groups(helm):
    """A name without dots is of this namespace; IPv6 addresses are addresses."""
    rules = [reached(rule) for rule in egress(helm.template(ci("existing-config")))]

    assert [
        ("[podSelector:]", []),
        ("[ipBlock:cidr:2001:db8::7/128]", [8443]),
    ] == rules


# --------------------------------------------------------------- rules and dashboard


def test_the_rules_are_those_that_were_tested(helm):
    """Those of deploy/prometheus, every one; told apart by nothing."""
    rendered = helm.template("prometheusRule.enabled=true").one("PrometheusRule")
    files = [
        ROOT / "deploy" / "prometheus" / name
        for name in ("recording.yml", "alerts.yml")
    ]
    groups = [
        group for path in files for group in yaml.safe_load(path.read_text())["groups"]
    ]

    assert groups == rendered["spec"]["groups"]
    assert any("{{ $labels." in str(group) for group in groups)


@pytest.mark.parametrize("end", ["", "/"])
def test_alerts_lead_to_runbooks_and_may_be_left_out(helm, end):
    """By values: where the repository is read, whose the alerts are, which are not."""
    place = f"https://git.example.com/token-gateway/blob/main{end}"
    rendered = helm.template(ci("production"), f"prometheusRule.runbooks={place}")
    rule = rendered.one("PrometheusRule")
    alerts = [
        each
        for group in rule["spec"]["groups"]
        for each in group["rules"]
        if "alert" in each
    ]
    base = (
        "https://git.example.com/token-gateway/blob/main/deploy/prometheus/runbooks.md#"
    )

    assert len(alerts) > 5
    assert all(each["annotations"]["runbook_url"].startswith(base) for each in alerts)
    assert {"identity"} == {each["labels"]["team"] for each in alerts}
    assert "GatewayDenialsSpike" not in {each["alert"] for each in alerts}
    assert {"page", "ticket"} == {each["labels"]["severity"] for each in alerts}


def test_the_dashboard_is_the_one_that_was_tested(helm):
    """Byte for byte, where Grafana's sidecar finds it."""
    config = helm.template(ci("production")).one("ConfigMap", "-dashboard")
    text = (ROOT / "deploy" / "grafana" / "token-gateway.json").read_text()

    assert json.loads(text) == json.loads(config["data"]["token-gateway.json"])
    assert "1" == config["metadata"]["labels"]["grafana_dashboard"]
    assert "Gateways" == config["metadata"]["annotations"]["grafana_folder"]


# ---------------------------------------------------------------------------- notes


def test_notes_warn_of_an_open_application_port(helm):
    """Where the gateway can be bypassed, and where it leads out of the pod."""
    told = helm.notes(ci("sidecar-open"))

    assert "WARNING: the gateway can be bypassed" in told
    assert "config.upstreams.app: http://orders.shop:3000 is outside of the pod" in told
    assert "WARNING: secrets.values are kept" in told


def test_notes_of_a_closed_sidecar_say_on_what_it_rests(helm):
    """A policy that nobody enforces closes nothing."""
    told = helm.notes(ci("sidecar"))

    assert "WARNING" not in told
    assert "where the cluster's\nnetwork enforces policies" in told


def test_notes_of_a_gateway_warn_of_its_upstreams(helm):
    """They can be reached by others too."""
    told = helm.notes(ci("minimal"))

    assert (
        "WARNING: the gateway can be bypassed by whoever reaches the upstreams" in told
    )
    assert "no store that they share" in told


def test_extra_objects_are_rendered(helm):
    """Whatever else a release needs."""
    data = helm.template(ci("production")).one("ConfigMap", "environment")["data"]

    assert {"EXAMPLE": "1"} == data


def test_every_ci_file_says_what_it_is_for():
    """The first thing a reader sees; and each is YAML."""
    for path in CI:
        assert path.read_text().startswith("# ")
        assert yaml.safe_load(path.read_text())
