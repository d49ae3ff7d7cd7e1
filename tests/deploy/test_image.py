"""The image, and the pod of the rendered chart, really run."""

import re
import subprocess
import threading
import time
from urllib.parse import urlencode

import pytest

from gateway.app import SystemClock
from gateway.sandbox import app as sandbox_app
from gateway.sandbox.keys import SandboxKeys
from tests.deploy.charts import CHART, ROOT, Helm, Object, Rendered
from tests.deploy.pods import (
    Image,
    Pod,
    Volumes,
    confined,
    linted,
    secret,
)
from tests.functional.harness import (
    Backstage,
    bearer,
    connect,
    eventually,
    free_ports,
    head,
    read_answer,
)
from tests.functional.load import Crowd
from tests.functional.partner import CALLBACK, DEVICE, FORM, Partner

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(400)]

PROVIDERS = CHART / "ci" / "providers-values.yaml"
ADMIN = "admin-token-of-the-deploy-tests"


@pytest.fixture(scope="module")
def backstage():
    """A loop for what stands behind the pods."""
    stage = Backstage()
    yield stage
    stage.close()


@pytest.fixture(scope="module")
def sandbox(backstage):
    """The providers and their APIs."""
    keys = SandboxKeys.generate()
    world = backstage.run(sandbox_app.start(port=0, keys=keys, clock=SystemClock()))
    yield world
    backstage.run(world.close())


@pytest.fixture
def pod(image, sandbox, tmp_path_factory):
    """Make a pod of the rendered chart, with some of its values changed."""
    made: list[Pod] = []

    def make(*values: str, kubernetes: str = "1.33.0") -> Pod:
        rendered = render(sandbox.url, *values, kubernetes=kubernetes)
        folder = tmp_path_factory.mktemp("pod")
        (spec, container) = ours(rendered)
        objects = [*rendered.objects, secrets(sandbox.keys)]
        made.append(
            Pod(image, spec, container, Volumes(folder / "v", spec, objects), folder)
        )
        return made[-1]

    yield make
    for each in made:
        each.kill()


def render(url: str, *values: str, kubernetes: str) -> Rendered:
    """Render the chart for one pod at free ports."""
    free = free_ports()
    return Helm("helm4").template(
        PROVIDERS,
        f"extraEnv[0].value={url}",
        f"config.listen.proxy=0.0.0.0:{free.proxy}",
        f"config.listen.status=0.0.0.0:{free.status}",
        f"config.listen.admin=127.0.0.1:{free.admin}",
        "preStopSeconds=3",
        "config.drain.deadline=10s",
        *values,
        kubernetes=kubernetes,
    )


def ours(rendered: Rendered) -> tuple[Object, Object]:
    """Give the pod, and the gateway's container in it."""
    spec = rendered.pod()
    (container,) = [
        each
        for each in spec.get("initContainers", []) + spec["containers"]
        if each["name"] == "token-gateway"
    ]
    return spec, container


def secrets(keys: SandboxKeys) -> Object:
    """Make the Secret that the values name."""
    return secret(
        "r-secrets",
        **{
            "gateway-secret": "a-secret-of-the-deploy-tests-0123456789",
            "admin": ADMIN,
            "melon": str(keys.melon),
            "nugu": str(keys.nugu),
        },
    )


# ------------------------------------------------------------------------ the image


def test_the_dockerfile_is_clean():
    """By hadolint, without an exception."""
    assert linted() == ""


def test_the_image_says_what_it_is(image):
    """User, command, health check and labels; the version is the program's."""
    config = image.config
    labels = config["Labels"]
    project = (ROOT / "pyproject.toml").read_text()

    assert "65532:65532" == config["User"]
    assert ["gateway"] == config["Entrypoint"]
    assert ["CMD", "gateway", "health"] == config["Healthcheck"]["Test"]
    assert "Apache-2.0" == labels["org.opencontainers.image.licenses"]
    assert f'version = "{labels["org.opencontainers.image.version"]}"' in project


def test_the_image_is_small(image, record_property):
    """What we add to the base; the README tells the number."""
    added = image.size_bytes - image.base_bytes
    record_property("added_bytes", added)

    assert 60e6 < added < 120e6


def test_the_way_of_a_request_is_compiled(image):
    """By the compiler of the builder; what runs has none."""
    site = image.root / "opt/venv/lib/python3.11/site-packages/gateway"

    assert list(site.glob("wire/relay.cpython-311-*.so"))
    assert not (image.root / "usr/bin/gcc").exists()


def test_the_image_holds_what_was_locked(image):
    """Every package at the version whose hash was written down, and nothing else."""
    lock = (ROOT / "deploy" / "image.lock").read_text()
    locked = {
        (name.lower(), version)
        for name, version in re.findall(r"(?m)^([A-Za-z0-9._-]+)==(\S+)", lock)
    }
    site = image.root / "opt/venv/lib/python3.11/site-packages"
    found = set()
    for metadata in site.glob("*.dist-info/METADATA"):
        text = metadata.read_text()
        name = re.findall(r"(?m)^Name: (.+)$", text)[0].lower().replace("_", "-")
        found.add((name, re.findall(r"(?m)^Version: (.+)$", text)[0]))

    assert {("token-gateway", "0.1.0")} == found - locked
    assert set() == locked - found
    assert lock.count("--hash=sha256:") > len(locked)


# -------------------------------------------------------------------------- the pod


def test_a_pod_serves_every_provider(pod):
    """Probes pass, and so does a request of each with its own way to learn."""
    running = pod()
    seconds = running.start()

    assert running.probe("liveness")
    assert seconds < 30
    likes = Partner("melon", running)
    token = likes.token()
    assert 200 == likes.ask("GET", "/oauth/likes", token=token).status
    assert 403 == likes.ask("GET", "/oauth/playlists", token=token).status
    voice = Partner("nugu", running)
    device = ("Device-Serial-Number", DEVICE)
    assert 200 == voice.ask("GET", "/v1/devices/me", device, token=voice.token()).status
    member = Partner("ottm", running)
    assert 200 == member.ask("GET", "/membership/v1/me", token=member.token()).status
    assert 400 == member.ask("GET", "/membership/v1/me").status
    assert running.crashes() == []


def test_the_pod_can_do_nothing_else(pod):
    """Its user, no capability, none to gain; nothing can be written, no shell is there."""
    running = pod()
    running.start()
    told = running.status_of()
    written = running.run(
        "python3",
        "-c",
        "import os\n"
        "for place in ('/', '/tmp', '/etc/gateway', '/run/secrets/gateway', '/opt/venv'):\n"
        "    try: open(os.path.join(place, 'x'), 'w')\n"
        "    except OSError: pass\n"
        "    else: print(place)\n",
    )

    assert ["65532"] * 4 == told["Uid"].split()
    assert ["65532"] * 4 == told["Gid"].split()
    assert {"0" * 16} == {told[f"Cap{kind}"] for kind in ("Eff", "Prm", "Inh", "Amb")}
    assert "1" == told["NoNewPrivs"]
    assert ("", "") == (written.stdout, written.stderr)
    assert running.run("sh", "-c", "true").returncode != 0


def test_the_images_own_health_check_passes(pod):
    """For Docker, which asks by a command; the chart's ports are others."""
    running = pod()
    running.start()
    url = f"http://127.0.0.1:{running.ports.status}"

    assert running.run("gateway", "health", "--url", url).returncode == 0
    running.terminate()
    assert running.process.wait(timeout=15) == 0
    assert running.run("gateway", "health", "--url", url).returncode == 1


def test_the_test_pod_of_helm_passes(pod, image, sandbox, tmp_path):
    """It checks what is mounted, with the secrets, and asks the gateway's readiness."""
    running = pod()
    running.start()
    rendered = render(sandbox.url, kubernetes="1.33.0")
    spec = rendered.one("Pod", "-test")["spec"]
    volumes = Volumes(tmp_path / "v", spec, [*rendered.objects, secrets(sandbox.keys)])
    check = as_command(image, spec, spec["initContainers"][0], volumes)
    (health,) = spec["containers"]
    assert health["args"][:2] == ["health", "--url"]
    url = f"http://127.0.0.1:{running.ports.status}"

    assert check.returncode == 0, check.stderr
    assert "good: 11 routes, 3 providers" in check.stdout
    assert running.run("gateway", "health", "--url", url).returncode == 0


def as_command(
    image: Image, spec: Object, container: Object, volumes: Volumes
) -> subprocess.CompletedProcess[str]:
    """Run a container to its end."""
    environ = {each["name"]: each["value"] for each in container.get("env", ())}
    return subprocess.run(  # noqa: S603
        [
            *confined(image, spec, container, volumes.places),
            "gateway",
            *container["args"],
        ],
        env={**image.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class Balanced(Crowd):
    """Clients behind a balancer that learns late which pods there are.

    Some keep their connections, the others come anew with each request.
    """

    def __init__(self, pods: list[Pod], request: bytes) -> None:
        self.pods = pods
        self._turns = 0
        super().__init__(0, request)

    @property
    def _port(self) -> int:
        self._turns += 1
        known = list(self.pods)
        return known[self._turns % len(known)].ports.proxy

    @_port.setter
    def _port(self, _port: int) -> None:
        """Nobody is at one port alone."""


def token_request(partner: Partner) -> bytes:
    """Write a request for tokens, with a fresh code."""
    form = {
        "grant_type": "authorization_code",
        "code": partner.code(),
        "redirect_uri": CALLBACK,
        **partner.credentials,
    }
    return head("POST", "/oauth/token", partner.host, [FORM], urlencode(form).encode())


@pytest.mark.parametrize("kubernetes", ["1.33.0", "1.29.0"], ids=["sleep", "exec"])
def test_the_end_of_a_pod_under_load_loses_nothing(pod, kubernetes):
    """One of two pods ends: by kubelet's sleep, or by Python's before Kubernetes 1.30.

    The balancer sends clients on to the ending pod for half of preStop; a request that
    was begun before is sent to its end, and answered, after SIGTERM.
    """
    ending, staying = pod(kubernetes=kubernetes), pod(kubernetes=kubernetes)
    ending.start()
    staying.start()
    partner = Partner("melon", ending)
    token = partner.token()
    form = token_request(partner)
    pods = [ending, staying]
    lines = [bearer(token)]
    keeping = Balanced(pods, head("GET", "/oauth/likes", partner.host, lines))
    lines.append(("Connection", "close"))
    coming = Balanced(pods, head("GET", "/oauth/likes", partner.host, lines))
    threads = [
        threading.Thread(target=clients.come)
        for clients in (keeping, coming)
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    time.sleep(1)
    learned = threading.Timer(1.5, pods.remove, [ending])
    ended: list[int] = []
    end = threading.Thread(target=lambda: ended.append(ending.end()))
    with connect(ending.ports.proxy) as begun:
        begun.sendall(form[:-20])
        learned.start()
        end.start()
        # Without this request it would be gone by then.
        time.sleep(5)
        alive = ending.process.poll() is None
        begun.sendall(form[-20:])
        answer = read_answer(begun)
    end.join(30)
    for clients in (keeping, coming):
        clients.leave()
    for thread in threads:
        thread.join(20)

    assert alive
    assert 200 == answer.status
    assert answer.json["access_token"]
    assert "close" == answer.header("Connection")
    assert [0] == ended
    assert {200} == set(keeping.met) == set(coming.met), (keeping.met, coming.met)
    assert min(keeping.met[200], coming.met[200]) > 100
    assert '"cut":0' in ending.said()


def test_a_sidecar_in_the_pod_of_an_application(image, orders, tmp_path):
    """Native, in a pod that has no fsGroup: root's files must be readable.

    It has no preStop: it gets SIGTERM when the application has ended.
    """
    free = free_ports()
    rendered = Helm("helm4").template(
        f"token-gateway.config.listen.proxy=0.0.0.0:{free.proxy}",
        f"token-gateway.config.listen.status=0.0.0.0:{free.status}",
        f"token-gateway.config.listen.admin=127.0.0.1:{free.admin}",
        chart=orders,
    )
    spec, container = ours(rendered)
    sealed = secret("r-gateway", secret="a-secret-of-the-deploy-tests-0123456789")
    volumes = Volumes(tmp_path / "v", spec, [*rendered.objects, sealed])
    running = Pod(image, spec, container, volumes, tmp_path)
    try:
        running.start()
        refused = running.ask("GET", "/orders")
        running.terminate()
        code = running.process.wait(timeout=15)
    finally:
        running.kill()

    assert "securityContext" not in spec
    assert "Always" == container["restartPolicy"]
    assert 401 == refused.status
    assert 0 == code


def test_a_pod_takes_up_another_configuration(pod):
    """Kubelet swaps what is mounted; the pod that is there serves by it."""
    running = pod("config.reload.watch=100ms")
    running.start()
    before = running.ask("GET", "/")
    name = running.container["volumeMounts"][0]["name"]
    text = (running.volumes.places[name] / "gateway.yaml").read_text()
    route = "\n- {id: front, match: {path: /}, access: public, upstream: all}\n"
    running.volumes.change(
        name, "gateway.yaml", text.replace("\nroutes:\n", f"\nroutes:{route}")
    )
    eventually(lambda: running.ask("GET", "/").status == 200)

    assert 404 == before.status
    assert running.process.poll() is None


def test_a_mistake_in_the_configuration_is_in_the_pods_status(pod):
    """Kubernetes shows the last lines of the log of a container that ended."""
    broken = pod("config.routes[0].upstream=nowhere")

    assert broken.process.wait(timeout=20) == 1
    assert "gateway.yaml" in broken.said()
    assert "expected a known upstream" in broken.said()
    assert "FallbackToLogsOnError" == broken.container["terminationMessagePolicy"]
