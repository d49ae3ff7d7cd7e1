"""What a node does with a pod, without a cluster.

The image is built by buildah from the real Dockerfile, and its containers run under
bubblewrap as the rendered chart says. As with a container runtime the root is
read-only, the user is the pod's, there is no capability and none to be gained, the
process is the first of its namespace, and volumes are laid out as kubelet does, with
`..data`. What is not here: the seccomp profile, limits of CPU and memory, and a network
of the pod's own.
"""

import base64
import fcntl
import http.client
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tests.deploy.charts import ROOT, TOOLS, Object, needed, ports, run
from tests.functional.harness import Gateway, Ports

BASE: Final = "docker.io/library/python:3.11-slim-bookworm"
BUILDER: Final = "docker.io/library/python:3.11-bookworm"
TAG: Final = "localhost/token-gateway:test"
STORAGE: Final = (
    *("--root", str(TOOLS / "storage")),
    *("--runroot", str(TOOLS / "run")),
)
CERTIFICATES: Final = Path("/etc/ssl/certs/ca-certificates.crt")
SHELLS: Final = ("sh", "dash", "bash", "rbash")

# What a runtime does last. No new privileges are possible any more (bubblewrap sees to
# that), and who leaves root leaves all capabilities but the inheritable ones.
_BECOME: Final = (
    "import ctypes, os, sys\n"
    "user, group, groups = (int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])\n"
    "os.setgroups([int(each) for each in groups.split(',') if each])\n"
    "os.setgid(group)\n"
    "os.setuid(user)\n"
    "version = (ctypes.c_uint * 2)(0x20080522, 0)\n"
    "if ctypes.CDLL(None).capset(version, (ctypes.c_uint * 6)()): os._exit(99)\n"
    "os.execvp(sys.argv[4], sys.argv[4:])\n"
)


def buildah(*arguments: str | Path) -> str:
    """Run a command of it, in a store of our own."""
    program = ["buildah", *STORAGE, *map(str, arguments)]
    done = subprocess.run(  # noqa: S603
        program, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip()


@dataclass(frozen=True)
class Image:
    """A built image, unpacked."""

    container: str
    root: Path
    config: Mapping[str, Any]
    size_bytes: int
    base_bytes: int

    @property
    def environ(self) -> dict[str, str]:
        """Give the environment that it sets."""
        return dict(each.split("=", 1) for each in self.config["Env"])


@contextmanager
def built() -> Iterator[Image]:
    """Build the image by the real Dockerfile; only what `FROM` names is ours."""
    for name in ("buildah", "base", "builder", "bubblewrap"):
        needed(name)
    if os.geteuid() != 0:
        pytest.skip("buildah: needs root to build and mount an image here")
    # Tests in several processes: the second finds every layer made.
    with (TOOLS / "building").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        _build()
        container = buildah("from", "--pull-never", TAG)
    try:
        yield _unpacked(container)
    finally:
        buildah("rm", container)


def _build() -> None:
    for image, stand_in in ((BASE, "base.tar"), (BUILDER, "builder.tar")):
        if not buildah("images", "--noheading", "--filter", f"reference={image}"):
            container = buildah("from", "scratch")
            buildah("add", "--quiet", container, TOOLS / stand_in, "/")
            buildah("commit", "--quiet", container, image)
            buildah("rm", container)
    settings = TOOLS / "pip.conf"
    settings.write_text(f"[global]\ncert = {CERTIFICATES}\n")
    trusted = (
        *("--volume", f"{settings}:/etc/pip.conf:ro"),
        *("--volume", f"{CERTIFICATES}:{CERTIFICATES}:ro"),
    )
    buildah(
        *("build", "--isolation", "chroot", "--pull-never", "--format", "docker"),
        *(trusted if CERTIFICATES.exists() else ()),
        *("--layers", "--ignorefile", "deploy/Dockerfile.dockerignore"),
        *("-f", "deploy/Dockerfile", "-t", TAG, "."),
    )


def _unpacked(container: str) -> Image:
    told = json.loads(buildah("inspect", "--type", "image", TAG))
    root = Path(buildah("mount", container))
    # Nothing may need a shell. (In this container of the image only.)
    for folder in ("bin", "usr/bin"):
        for shell in SHELLS:
            (root / folder / shell).unlink(missing_ok=True)
    sizes = {
        name: json.loads(buildah("images", "--json", name))[0]["size"]
        for name in (TAG, BASE)
    }
    sizes_bytes = map(_bytes, sizes.values())
    return Image(container, root, told["Docker"]["config"], *sizes_bytes)


def _bytes(text: str) -> int:
    number, unit = text.split()
    return int(float(number) * {"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9}[unit])


# ------------------------------------------------------------------------- volumes


class Volumes:
    """The volumes of a pod in a folder, as kubelet lays them out."""

    def __init__(self, folder: Path, pod: Object, objects: Sequence[Object]) -> None:
        self._folder = folder
        self._group = pod.get("securityContext", {}).get("fsGroup")
        self._objects = {
            (each["kind"], each["metadata"]["name"]): each for each in objects
        }
        self.places: dict[str, Path] = {
            volume["name"]: self._laid_out(volume)
            for volume in pod["volumes"]
            if not {"configMap", "projected"}.isdisjoint(volume)
        }

    def change(self, name: str, file: str, text: str) -> None:
        """Give a file of a ConfigMap another text, in the one step that kubelet takes."""
        place = self.places[name]
        current = place / (place / "..data").readlink()
        other = place / f"{current.name}_"
        shutil.copytree(current, other)
        (other / file).write_text(text)
        (place / "..data_tmp").symlink_to(other.name)
        (place / "..data_tmp").rename(place / "..data")
        shutil.rmtree(current)

    def _laid_out(self, volume: Object) -> Path:
        place: Path = self._folder / volume["name"]
        inside = place / "..2026_11_29"
        inside.mkdir(parents=True)
        section = volume.get("configMap") or volume["projected"]
        mode = section.get("defaultMode", 0o644)
        for name, content in self._files(volume):
            path = inside / name
            path.write_bytes(content)
            # Without fsGroup they are root's alone, and its group's.
            os.chown(path, 0, self._group or 0)
            path.chmod(mode)
            (place / name).symlink_to(f"..data/{name}")
        (place / "..data").symlink_to(inside.name)
        for folder in (place, inside):
            folder.chmod(0o755)
        return place

    def _files(self, volume: Object) -> list[tuple[str, bytes]]:
        if "configMap" in volume:
            data = self._objects["ConfigMap", volume["configMap"]["name"]]["data"]
            return [(name, text.encode()) for name, text in data.items()]
        found = []
        for source in volume["projected"]["sources"]:
            data = self._objects["Secret", source["secret"]["name"]]["data"]
            found += [
                (item["path"], base64.b64decode(data[item["key"]]))
                for item in source["secret"]["items"]
            ]
        return found


def secret(name: str, **values: str) -> Object:
    """Make a Secret."""
    data = {
        key: base64.b64encode(text.encode()).decode() for key, text in values.items()
    }
    return {"kind": "Secret", "metadata": {"name": name}, "data": data}


# ---------------------------------------------------------------------- containers


def confined(
    image: Image, pod: Object, container: Object, places: Mapping[str, Path]
) -> list[str]:
    """Give the command that runs something as this container."""
    security = {**pod.get("securityContext", {}), **container["securityContext"]}
    assert security["readOnlyRootFilesystem"] is True
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    mounts = []
    for file in ("/etc/hosts", "/etc/resolv.conf"):
        (image.root / file.lstrip("/")).touch()
        mounts += ["--ro-bind", file, file]
    for mount in container["volumeMounts"]:
        # A runtime makes the places where something is mounted.
        (image.root / mount["mountPath"].lstrip("/")).mkdir(parents=True, exist_ok=True)
        place = places[mount["name"]]
        mounts += ["--ro-bind", str(place), mount["mountPath"]]
    groups = pod.get("securityContext", {}).get("fsGroup", "")
    return [
        *(
            "bwrap",
            "--ro-bind",
            str(image.root),
            "/",
            "--proc",
            "/proc",
            "--dev",
            "/dev",
        ),
        *mounts,
        *("--unshare-pid", "--as-pid-1", "--unshare-ipc", "--unshare-uts"),
        *("--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"),
        *("--die-with-parent", "--chdir", image.config.get("WorkingDir") or "/"),
        *("python3", "-c", _BECOME, str(security["runAsUser"])),
        *(str(security["runAsGroup"]), str(groups)),
    ]


class Pod(Gateway):
    """A gateway's container, with what kubelet knows of it."""

    def __init__(
        self,
        image: Image,
        pod: Object,
        container: Object,
        volumes: Volumes,
        folder: Path,
    ) -> None:
        self.spec = pod
        self.volumes = volumes
        self.container = container
        named = ports(container)
        self._ports = named
        given = {
            each["name"]: each["value"]
            for each in container.get("env", ())
            if "value" in each
        }
        self._environ = {**image.environ, **given}
        self._confined = confined(image, pod, container, volumes.places)
        super().__init__(
            container["args"],
            ports=Ports(named["gw-proxy"], named["gw-status"], 0, 0),
            environ={**self._environ, "PATH": self._environ["PATH"]},
            folder=folder,
            program=[*self._confined, *image.config["Entrypoint"]],
        )

    # ------------------------------------------------------------------ its process

    def first_process(self) -> int:
        """Give the process that is the first of the container, as we number it."""
        until = time.monotonic() + 10
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        while time.monotonic() < until:
            if found := children.read_text().split():
                return int(found[0])
            time.sleep(0.02)
        pytest.fail(f"the container did not start: {self.said()}")

    def terminate(self) -> None:
        """Send SIGTERM to it, as a runtime does."""
        os.kill(self.first_process(), signal.SIGTERM)

    def status_of(self) -> dict[str, str]:
        """Give what the kernel says of it."""
        text = Path(f"/proc/{self.first_process()}/status").read_text()
        lines = (line.partition(":") for line in text.splitlines())
        return {name: value.strip() for name, _, value in lines}

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command with the container's rights, files and environment."""
        return subprocess.run(  # noqa: S603
            [*self._confined, *command],
            env=self._environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    # -------------------------------------------------------------- kubelet's part

    def probe(self, name: str) -> bool:
        """Ask a probe once."""
        probe = self.container[f"{name}Probe"]
        line = http.client.HTTPConnection(
            "127.0.0.1",
            self._ports[probe["httpGet"]["port"]],
            timeout=probe["timeoutSeconds"],
        )
        try:
            line.request("GET", probe["httpGet"]["path"])
            return 200 <= line.getresponse().status < 400
        except OSError:
            return False
        finally:
            line.close()

    def start(self) -> float:
        """Wait for the startup probe, in its own rhythm, then readiness; give seconds."""
        begin = time.monotonic()
        probe = self.container["startupProbe"]
        for _ in range(min(probe["failureThreshold"], 60)):
            if self.probe("startup") or self.process.poll() is not None:
                break
            time.sleep(probe["periodSeconds"])
        assert self.probe("startup"), self.said()
        assert self.probe("readiness"), self.said()
        return time.monotonic() - begin

    def pre_stop(self) -> None:
        """Do what is to be done before SIGTERM; returns when it is done."""
        hook = self.container["lifecycle"]["preStop"]
        if "sleep" in hook:
            time.sleep(hook["sleep"]["seconds"])
            return
        done = self.run(*hook["exec"]["command"])
        assert done.returncode == 0, done.stderr

    def end(self) -> int:
        """End it as kubelet does, within the grace period; gives the exit code."""
        begin = time.monotonic()
        grace = self.spec["terminationGracePeriodSeconds"]
        self.pre_stop()
        self.terminate()
        left = grace - (time.monotonic() - begin)
        return self.process.wait(timeout=left)


def linted() -> str:
    """Give what hadolint says of the Dockerfile."""
    needed("hadolint")
    done = run([TOOLS / "lint" / "bin" / "hadolint", "deploy/Dockerfile"])
    return done.stdout + done.stderr
